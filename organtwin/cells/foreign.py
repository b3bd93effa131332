"""Cell models in other people's formats: CellML 1.0, 1.1 and 2.0, Myokit's .mmt, gotran's .ode.

All of them are read into a `Foreign`: variables with their units, and formulas as text in the
grammar of `organtwin.cells.model`, in the names and units of the file. Beside them stands the
right-hand side as the file has it, evaluated without organtwin's own translation, to check that.
"""

from __future__ import annotations

import ast
import io
import math
import re
import tokenize
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pint
from numpy.typing import NDArray

from organtwin.errors import InputError, SetupError
from organtwin.units import registry

Array = NDArray[np.float64]
Rates = Callable[[Array], Array]

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_CMETA = "{http://www.cellml.org/metadata/1.0#}"
_RATE = "rate_of_"
_OXMETA = "oxford-metadata#"


@dataclass(frozen=True)
class Variable:
    """A variable of a file.

    Attributes:
        name: As the file has it, within its component.
        component: Where it stands.
        unit: Of its values, as text; empty if the file tells none.
        size: The unit as a quantity, or None.
        label: What the file says that it is: an annotation, label or binding.
    """

    name: str
    component: str
    unit: str = ""
    size: Any = None
    label: str = ""

    @property
    def place(self) -> str:
        """Component and name."""
        return f"{self.component}.{self.name}" if self.component else self.name

    def factor(self, unit: str) -> float | None:
        """Factor from the variable's unit to ``unit``; None if there is no such."""
        if self.size is None:
            return None
        try:
            value = float(self.size.to(unit).magnitude)
        except pint.DimensionalityError:
            return None
        # Prefixes are powers of ten: what the conversion rounds off is not meant.
        power = float(10.0 ** round(math.log10(value))) if value > 0.0 else value
        return power if abs(value / power - 1.0) < 1e-12 else value


@dataclass(frozen=True)
class Foreign:
    """A model as a file has it.

    Attributes:
        path: The file.
        name: Of the model.
        reference: Where its equations come from, if the file tells.
        variables: By an identifier that the formulas use.
        states: State → initial value.
        constants: Variables that are plain numbers.
        formulas: Of the others; those of states are their rates.
        time: The variable that is time.
        rates: Builds the file's own right-hand side, states in order, some variables set to zero.
        notes: What reading the file brought up.
    """

    path: Path
    name: str
    reference: str
    variables: Mapping[str, Variable]
    states: Mapping[str, float]
    constants: Mapping[str, float]
    formulas: Mapping[str, str]
    time: str | None
    rates: Callable[[Sequence[str]], Rates]
    notes: Sequence[str] = field(default=())

    def names(self, key: str) -> set[str]:
        """Variables that the formula of ``key`` uses."""
        return names_in(self.formulas[key]) if key in self.formulas else set()


def names_in(formula: str) -> set[str]:
    """Variables of a formula."""
    tree = ast.parse(formula, mode="eval")
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in called}


def read(path: Path) -> Foreign:
    """Read a cell model.

    Raises:
        InputError: there is no such file, it is of another format, or it is broken.
        SetupError: Myokit is missing, which reads CellML and .mmt.
    """
    readers = {".cellml": _cellml, ".xml": _cellml, ".mmt": _mmt, ".ode": _gotran}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            str(path),
            f"`{path.suffix}` is no format of cell models.",
            "Known: .cellml, .mmt, .ode.",
        )
    if not path.is_file():
        raise InputError(str(path), "no such file.", "Check the path.")
    return reader(path)


# --- CellML and Myokit ----------------------------------------------------------------------------


def _myokit() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import myokit
            import myokit.formats.cellml
            import myokit.formats.python
    except ImportError:
        raise SetupError(
            "ionic import", "Myokit, which reads this format, is missing.",
            "Install it: pip install 'organtwin[cellml]' (or pip install 'myokit>=1.39').",
        ) from None  # fmt: skip
    return myokit


def _cellml(path: Path) -> Foreign:
    myokit = _myokit()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = myokit.formats.cellml.CellMLImporter().model(str(path))
        # Beside its own errors, the reader lets those of its parts through.
        except Exception as error:
            raise InputError(str(path), f"not readable as CellML: {error}", "") from None
    notes = [str(warning.message) for warning in caught]
    root = ElementTree.parse(path).getroot()
    return _from_myokit(path, model, _annotations(root), _documented(root), notes)


def _mmt(path: Path) -> Foreign:
    myokit = _myokit()
    try:
        model = myokit.load_model(str(path))
    except Exception as error:
        raise InputError(str(path), f"not readable as .mmt: {error}", "") from None
    if model is None:
        raise InputError(str(path), "there is no model in it.", "It needs a section [[model]].")
    meta = model.meta
    reference = " ".join(meta[key] for key in ("ref", "desc", "description") if key in meta)
    return _from_myokit(path, model, {}, " ".join(reference.split()), [])


def _annotations(root: ElementTree.Element) -> dict[tuple[str, str], str]:
    """Component and variable → what the Oxford metadata of a file say that it is."""
    meanings = {}
    for about in root.iter(f"{_RDF}Description"):
        for said in about:
            meaning = said.get(f"{_RDF}resource", "")
            if said.tag.endswith("}is") and _OXMETA in meaning:
                meanings[about.get(f"{_RDF}about", "#")[1:]] = meaning.split(_OXMETA)[1]
    found = {}
    for component in (e for e in root.iter() if e.tag.endswith("}component")):
        for variable in (e for e in component if e.tag.endswith("}variable")):
            identity = variable.get(f"{_CMETA}id") or variable.get("id") or ""
            if identity in meanings:
                place = component.get("name", ""), variable.get("name", "")
                found[place] = meanings[identity]
    return found


def _documented(root: ElementTree.Element) -> str:
    """The paragraph of a CellML file's documentation that cites a paper."""
    for part in root.iter():
        if str(part.tag).endswith(("}para", "}ulink")):
            text = " ".join("".join(part.itertext()).split())
            if re.search(r"\b(19|20)\d\d\b.*\d+\s*[-–]\s*\d+", text) and len(text) < 600:
                return text
    return ""


def _from_myokit(
    path: Path, model: Any, annotations: Mapping[tuple[str, str], str], reference: str,
    notes: Sequence[str],
) -> Foreign:  # fmt: skip
    myokit = _myokit()
    try:
        model.validate()
        model.create_unique_names()
        everything = {_key(v): v for v in model.variables(deep=True)}
        known = {name: _variable(v, annotations) for name, v in everything.items()}
        states = {_key(v): v.initial_value(as_float=True) for v in model.states()}
        others = {k: v for k, v in everything.items() if k not in states and v.binding() is None}
        constants = {k: float(v.eval()) for k, v in others.items() if v.is_literal()}
        formulas = {
            k: _formula(v.rhs(), myokit, path) for k, v in everything.items()
            if k in states or (k in others and k not in constants)
        }  # fmt: skip
    except (myokit.MyokitError, ValueError, ArithmeticError) as error:
        raise InputError(str(path), f"{error}", "Correct the file.") from None
    _name_rates(formulas, known)
    # What a protocol or a simulation would fill in, and organtwin does not.
    for name, v in everything.items():
        if v.binding() not in (None, "time"):
            constants[name] = 0.0
    time = model.time()
    return Foreign(
        path=path,
        name=str(model.name() or path.stem),
        reference=reference,
        variables=known,
        states=states,
        constants=constants,
        formulas=formulas,
        time=_key(time) if time is not None else None,
        rates=lambda zero: _python_rates(model, zero),
        notes=notes,
    )


def _name_rates(formulas: dict[str, str], known: dict[str, Variable]) -> None:
    """Rates that other formulas use become variables of their own."""
    used = set().union(*(names_in(text) for text in formulas.values()))
    for name in sorted(used - known.keys()):
        key = name.removeprefix(_RATE)
        state = known[key]
        known[name] = Variable(f"{_RATE}{state.name}", state.component)
        formulas[name], formulas[key] = formulas[key], name


def _variable(v: Any, annotations: Mapping[tuple[str, str], str]) -> Variable:
    component = v.parent(_myokit().Component).name()
    label = annotations.get((component, v.name())) or v.meta.get("oxmeta")
    return Variable(
        v.name(), component, *_unit(v.unit()), str(label or v.label() or v.binding() or "")
    )


def _key(v: Any) -> str:
    """Identifier of a Myokit variable, whose own name may be a word of Python."""
    return f"x_{v.uname()}"


def _unit(unit: Any) -> tuple[str, Any]:
    """Text and size of a Myokit unit."""
    if unit is None:
        return "", None
    bases = ("gram", "meter", "second", "ampere", "kelvin", "candela", "mole")
    units = registry()
    size = units.Quantity(unit.multiplier(), "")
    for base, exponent in zip(bases, unit.exponents(), strict=True):
        if exponent:
            size = size * units.Quantity(1.0, base) ** exponent
    # Myokit prefers to write 1/ms as a conductance per capacitance.
    per_time = {"[mS/uF]": "1/ms", "[S/F]": "1/s"}
    return per_time.get(str(unit), str(unit).strip("[]")), size


def _python_rates(model: Any, zero: Sequence[str]) -> Rates:
    """The right-hand side in Python as Myokit writes it, variables ``zero`` set to 0."""
    myokit = _myokit()
    model = model.clone()
    model.create_unique_names()
    for v in list(model.variables(deep=True)):
        if _key(v) in zero:
            v.set_rhs(0)
    model.validate()
    model.create_unique_names()
    names = [v.uname() for v in model.states()]
    writer = myokit.formats.python.PythonExpressionWriter()
    writer.set_lhs_function(lambda lhs: _reference_name(lhs, myokit))
    lines = ["def rates(values):", f"    {', '.join(f'v_{name}' for name in names)}, = values"]
    lines += [f"    v_{v.uname()} = 0.0" for v in model.variables(bound=True, deep=True)]
    for group in model.solvable_order().values():
        for equation in group:
            bound = isinstance(equation.lhs, myokit.Name) and equation.lhs.var().binding()
            if not bound:
                lines.append(f"    {writer.eq(equation)}")
    lines.append(f"    return [{', '.join(f'd_{name}' for name in names)}]")
    return _compiled("\n".join(lines), {"math": _MATH})


def _reference_name(lhs: Any, myokit: Any) -> str:
    kind = "d" if isinstance(lhs, myokit.Derivative) else "v"
    return f"{kind}_{lhs.var().uname()}"


def _compiled(code: str, names: Mapping[str, Any]) -> Rates:
    space: dict[str, Any] = dict(names)
    exec(compile(code, "<right-hand side>", "exec"), space)
    function = space["rates"]

    def rates(values: Array) -> Array:
        """Right-hand side as an array; no number where a formula has none."""
        try:
            return np.array(function(values.tolist()), dtype=np.float64)
        # The kernel gives no number either, which is what the caller looks for.
        except (ArithmeticError, ValueError, TypeError):
            return np.full(len(values), np.nan)

    return rates


def _exp(x: float) -> float:
    return math.exp(x) if x < 709.0 else math.inf


_MATH = SimpleNamespace(**{**vars(math), "exp": _exp})


# --- formulas of Myokit in organtwin's grammar ----------------------------------------------------


def _formula(e: Any, myokit: Any, path: Path) -> str:
    """Text of a Myokit expression."""
    operators = {
        myokit.Plus: "+", myokit.Minus: "-", myokit.Multiply: "*", myokit.Divide: "/",
    }  # fmt: skip
    functions = {
        myokit.Sqrt: "sqrt({})", myokit.Exp: "exp({})", myokit.Abs: "Abs({})",
        myokit.Floor: "floor({})", myokit.Ceil: "-floor(-({}))", myokit.Sin: "sin({})",
        myokit.Cos: "cos({})", myokit.Log10: "log({})/2.302585092994046",
        myokit.Tan: "sin({0})/cos({0})", myokit.ASin: "asin({})", myokit.ACos: "acos({})",
        myokit.ATan: "atan({})", myokit.Not: "Not({})",
        myokit.Equal: "Eq({}, {})", myokit.NotEqual: "Not(Eq({}, {}))",
        myokit.More: "Gt({}, {})", myokit.Less: "Lt({}, {})", myokit.MoreEqual: "Ge({}, {})",
        myokit.LessEqual: "Le({}, {})", myokit.And: "And({}, {})", myokit.Or: "Or({}, {})",
        myokit.Quotient: "floor(({0})/({1}))", myokit.Remainder: "({0}) - ({1})*floor(({0})/({1}))",
    }  # fmt: skip

    def text(e: Any) -> str:
        kind = type(e)
        if kind is myokit.Number:
            return number(float(e.eval()))
        if kind is myokit.Name:
            return _key(e.var())
        if kind is myokit.Derivative:
            return f"{_RATE}{_key(e.var())}"
        # Numbers such as sqrt(2) would be taken for symbols of the computer algebra.
        if isinstance(e, myokit.Function) and e.is_literal():
            return number(float(e.eval()))
        if kind in operators:
            return f"({text(e[0])}) {operators[kind]} ({text(e[1])})"
        if kind is myokit.Power:
            return f"({text(e[0])})**({text(e[1])})"
        if kind is myokit.PrefixMinus:
            return f"-({text(e[0])})"
        if kind is myokit.PrefixPlus:
            return text(e[0])
        if kind is myokit.Log:
            parts = [f"log({text(part)})" for part in e]
            return parts[0] if len(parts) == 1 else f"{parts[0]}/{parts[1]}"
        if kind is myokit.If:
            return _choice([(e[0], e[1])], e[2], text)
        if kind is myokit.Piecewise:
            parts = list(e)
            return _choice(list(zip(parts[:-1:2], parts[1:-1:2], strict=True)), parts[-1], text)
        if kind in functions:
            return f"({functions[kind].format(*(text(part) for part in e))})"
        raise InputError(
            str(path), f"`{e.code()}` has no counterpart in organtwin.", "Rewrite that formula."
        )

    return ast.unparse(ast.parse(text(e), mode="eval"))


def _choice(cases: list[tuple[Any, Any]], otherwise: Any, text: Callable[[Any], str]) -> str:
    # A CellML piecewise without <otherwise> has no value there: the last piece serves as well.
    if otherwise.is_literal() and math.isnan(otherwise.eval()):
        *cases, (_, otherwise) = cases
    formula = text(otherwise)
    for condition, value in reversed(cases):
        formula = f"Conditional({text(condition)}, {text(value)}, {formula})"
    return formula


def number(value: float) -> str:
    """Shortest text that gives the number back; whole numbers without a point."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


# --- gotran ---------------------------------------------------------------------------------------

_SYNONYMS = {"ln": "log", "abs": "Abs", "fabs": "Abs"}
_TIMES = ("time", "t")
_GOTRAN: dict[str, Any] = {
    "exp": _exp, "expm1": math.expm1, "log": math.log, "sqrt": math.sqrt, "Abs": abs,
    "floor": math.floor, "sin": math.sin, "cos": math.cos, "tanh": math.tanh,
    "asin": math.asin, "acos": math.acos, "atan": math.atan,
    "Lt": lambda a, b: a < b, "Le": lambda a, b: a <= b, "Gt": lambda a, b: a > b,
    "Ge": lambda a, b: a >= b, "Eq": lambda a, b: a == b, "Not": lambda a: not a,
    "And": lambda *a: all(a), "Or": lambda *a: any(a), "Min": min, "Max": max, "pi": math.pi,
}  # fmt: skip


class _Plain(ast.NodeTransformer):
    """Gotran's other spellings in organtwin's."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "pow" and len(node.args) == 2:
            return ast.BinOp(node.args[0], ast.Pow(), node.args[1])
        if name == "log10":
            log = ast.Call(ast.Name("log", ast.Load()), node.args, [])
            return ast.BinOp(log, ast.Div(), ast.Constant(math.log(10.0)))
        if name in _SYNONYMS:
            node.func = ast.Name(_SYNONYMS[name], ast.Load())
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(math.pi) if node.id == "pi" else node


def _gotran(path: Path) -> Foreign:
    text = path.read_text("utf-8")
    try:
        tree = ast.parse(text)
        comments = _comments(text)
    except (SyntaxError, tokenize.TokenError) as error:
        raise InputError(str(path), f"not readable as gotran: {error}", "") from None
    declared: dict[str, dict[str, float]] = {"states": {}, "parameters": {}}
    variables: dict[str, Variable] = {}
    assigned: dict[str, str] = {}
    part = ""
    for node in tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            call = node.value
            titles = [a.value for a in call.args if isinstance(a, ast.Constant)]
            part = str(titles[0]) if titles else ""
            for name, value, unit in _scalars(call, path):
                declared[ast.unparse(call.func)][name] = value
                variables[name] = Variable(name, part, *_gotran_unit(unit))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            assigned[name] = ast.unparse(ast.fix_missing_locations(_Plain().visit(node.value)))
            said = comments.get(node.end_lineno or node.lineno, "")
            variables[name] = Variable(name, part, *_gotran_unit(said))
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            raise InputError(str(path), f"line {node.lineno} is not understood.", "")
    return _from_gotran(path, declared, variables, assigned)


def _from_gotran(
    path: Path,
    declared: Mapping[str, Mapping[str, float]],
    variables: dict[str, Variable],
    assigned: Mapping[str, str],
) -> Foreign:
    states, constants = declared["states"], declared["parameters"]
    rate = {f"d{name}_dt": name for name in states}
    missing = sorted(rate.keys() - assigned.keys())
    if missing:
        raise InputError(str(path), f"no rate `{missing[0]}`.", "Every state needs one.")
    used = set().union(*(names_in(formula) for formula in assigned.values()))
    time = next((t for t in _TIMES if t in used and t not in variables), None) or "time"
    unknown = sorted(used - variables.keys() - {time})
    if unknown:
        raise InputError(str(path), f"`{unknown[0]}` is not defined.", "Define it.")
    variables[time] = replace(_gotran_time(states, variables), name=time)
    # Formulas that use a rate get that rate's formula.
    formulas = {
        rate.get(name, name): _inlined(text, assigned, rate) for name, text in assigned.items()
    }
    return Foreign(
        path=path,
        name=path.stem,
        reference="",
        variables={k: v for k, v in variables.items() if k not in rate},
        states=states,
        constants=constants,
        formulas=formulas,
        time=time,
        rates=lambda zero: _gotran_rates(states, constants, assigned, time, zero),
    )


def _inlined(formula: str, assigned: Mapping[str, str], rate: Mapping[str, str]) -> str:
    for name in names_in(formula) & rate.keys():
        formula = re.sub(rf"\b{name}\b", f"({_inlined(assigned[name], assigned, rate)})", formula)
    return formula


def _scalars(call: ast.Call, path: Path) -> Iterator[tuple[str, float, str]]:
    """Name, value and unit of what ``states(...)`` or ``parameters(...)`` declares."""
    if ast.unparse(call.func) not in ("states", "parameters"):
        return
    for keyword in call.keywords:
        value, unit = keyword.value, ""
        if isinstance(value, ast.Call) and value.args:
            told = {str(k.arg): k.value for k in value.keywords}
            unit = str(ast.literal_eval(told["unit"])) if "unit" in told else ""
            value = value.args[0]
        try:
            yield str(keyword.arg), float(ast.literal_eval(value)), unit
        except (ValueError, TypeError):
            raise InputError(
                str(path), f"line {call.lineno}: `{keyword.arg}` is no number.", "Give its value."
            ) from None


def _comments(text: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}


def _gotran_unit(text: str) -> tuple[str, Any]:
    if not text:
        return "", None
    try:
        size = registry().Quantity(1.0, text)
    # Whatever pint raises, an ordinary comment is no unit.
    except Exception:
        return "", None
    return text.replace("**", "^"), size


def _gotran_time(states: Mapping[str, float], variables: Mapping[str, Variable]) -> Variable:
    """Time, in the unit that a state's and its rate's unit imply."""
    for name in states:
        size, rate = variables[name].size, variables[f"d{name}_dt"].size
        if size is not None and rate is not None and (size / rate).check("[time]"):
            return Variable("time", "", f"{(size / rate).to_compact().units:~}", size / rate)
    return Variable("time", "")


def _gotran_rates(
    states: Mapping[str, float], constants: Mapping[str, float], assigned: Mapping[str, str],
    time: str, zero: Sequence[str],
) -> Rates:  # fmt: skip
    """The right-hand side as Python evaluates the file, each formula once it can be."""
    lines = ["def rates(values):", f"    {', '.join(states)}, = values", f"    {time} = 0.0"]
    lines += [f"    {name} = {value!r}" for name, value in constants.items()]
    done = {*states, *constants, time}
    left = {name: "0.0" if name in zero else text for name, text in assigned.items()}
    while left:
        ready = [name for name, text in left.items() if names_in(text) <= done]
        if not ready:
            raise InputError("gotran model", f"`{min(left)}` depends on itself.", "")
        lines += [f"    {name} = {_lazy(left.pop(name))}" for name in ready]
        done |= set(ready)
    lines.append(f"    return [{', '.join(f'd{name}_dt' for name in states)}]")
    return _compiled("\n".join(lines), _GOTRAN)


class _Lazy(ast.NodeTransformer):
    """``Conditional`` as Python's own, which leaves the other branch alone."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "Conditional":
            return ast.IfExp(*node.args)
        return node


def _lazy(formula: str) -> str:
    return ast.unparse(ast.fix_missing_locations(_Lazy().visit(ast.parse(formula, mode="eval"))))
