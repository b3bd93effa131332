"""Cell models as data: equations in a text file, read into symbols.

A definition is a subset of the gotran language: ``states(...)``, ``parameters(...)``,
``expressions("title")`` and assignments in the order of evaluation; ``dX_dt`` is the rate of state
``X``. It happens to be Python's syntax, so Python's parser reads it and sympy takes the formulas.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import sympy
from sympy.parsing.sympy_parser import parse_expr

from organtwin.cells.catalogue import is_own, library, own_entry
from organtwin.errors import InputError, suggestion


class _Floor(sympy.Function):
    """Largest integer below; flat where a slope is asked for."""

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sympy.Integer(0)

    def _ccode(self, printer: Any) -> str:
        return f"floor({printer._print(self.args[0])})"


_FUNCTIONS = {
    # Evaluated, exp(a + b) would become exp(a)*exp(b), which overflows where gates are steep.
    "exp": lambda x: sympy.exp(x, evaluate=False),
    "log": sympy.log,
    "sqrt": sympy.sqrt,
    "Abs": sympy.Abs,
    "Conditional": lambda condition, yes, no: sympy.Piecewise((yes, condition), (no, True)),
    "Lt": sympy.Lt,
    "Le": sympy.Le,
    "Gt": sympy.Gt,
    "Ge": sympy.Ge,
    "And": sympy.And,
    "Or": sympy.Or,
    "Not": sympy.Not,
    "Eq": sympy.Eq,
    "expm1": lambda x: sympy.exp(x) - 1,
    "tanh": sympy.tanh,
    "sin": sympy.sin,
    "cos": sympy.cos,
    "asin": sympy.asin,
    "acos": sympy.acos,
    "atan": sympy.atan,
    "floor": _Floor,
    "Min": sympy.Min,
    "Max": sympy.Max,
}
_DECLARATIONS = ("states", "parameters", "expressions")


@dataclass(frozen=True)
class CellModel:
    """An ionic model.

    Attributes:
        name: Name in the library.
        definition: Text of the equations.
        states: State → initial value, the potential (mV) among them.
        parameters: Parameter → value.
        potential: State that is the transmembrane potential (mV).
        calcium: State that is the free cytosolic calcium; none in phenomenological models.
        to_micromolar: Factor from the unit of ``calcium`` to µM.
        citation: Where the equations come from.
        currents: Current → parameter that scales it.
        stimulus_ions: State → how much of it (mM) a stimulus brings along per mV; potassium mostly.
    """

    name: str
    definition: str
    states: Mapping[str, float]
    parameters: Mapping[str, float]
    potential: str
    calcium: str | None
    to_micromolar: float
    citation: str
    currents: Mapping[str, str] = field(default_factory=dict)
    stimulus_ions: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, name: str) -> CellModel:
        """Model of the library, or of the TOML file of that path (see `from_file`).

        Raises:
            InputError: there is none of that name.

        >>> CellModel.load("ten_tusscher_2006_endo").parameters["g_to"]
        0.073
        """
        if is_own(name):
            return cls.from_file(Path(name))
        entries = library()
        if name not in entries:
            raise InputError("ionic model", f"no `{name}`.", suggestion(name, entries))
        entry = {**entries[entries[name].get("like", name)], **entries[name]}
        text = (files("organtwin.cells") / "library" / entry["definition"]).read_text("utf-8")
        return cls._from_entry(name, entry, text)

    @classmethod
    def from_file(cls, path: Path) -> CellModel:
        """Model outside the library: a TOML file with the keys of a library's entry.

        Its ``definition`` is a file beside it. `organtwin ionic import` writes both.

        Raises:
            InputError: one of the files is missing or wrong.
        """
        entry = own_entry(path)
        text = (path.parent / entry["definition"]).read_text("utf-8")
        model = cls._from_entry(path.stem, entry, text)
        for kind, name in (("potential", model.potential), ("calcium", model.calcium)):
            if name is not None and name not in model.states:
                raise InputError(
                    str(path), f"{kind}: no state `{name}`.", suggestion(name, model.states)
                )
        _require(str(path), "parameter", model.currents.values(), model.parameters)
        return model

    @classmethod
    def _from_entry(cls, name: str, entry: Mapping[str, Any], text: str) -> CellModel:
        statements = _parse(text, entry["definition"])
        calcium = entry.get("calcium", {"state": None, "to_micromolar": 1.0})
        model = cls(
            name=name,
            definition=text,
            states=statements.states,
            parameters=statements.parameters,
            potential=entry["potential"],
            calcium=calcium["state"],
            to_micromolar=calcium["to_micromolar"],
            citation=entry["citation"],
            currents=entry.get("currents", {}),
            stimulus_ions=entry.get("stimulus_ions", {}),
        )
        return model.with_parameters(entry.get("parameters", {})).with_initial(
            entry.get("states", {})
        )

    def with_parameters(self, changes: Mapping[str, float]) -> CellModel:
        """The model with other parameter values.

        Raises:
            InputError: a parameter is not one of the model's.
        """
        _require(f"cell model `{self.name}`", "parameter", changes, self.parameters)
        return replace(self, parameters={**self.parameters, **changes})

    def with_initial(self, changes: Mapping[str, float]) -> CellModel:
        """The model with other initial values.

        Raises:
            InputError: a state is not one of the model's.
        """
        _require(f"cell model `{self.name}`", "state", changes, self.states)
        return replace(self, states={**self.states, **changes})

    def with_currents_scaled(self, factors: Mapping[str, float]) -> CellModel:
        """The model with its currents multiplied by factors.

        Raises:
            InputError: a current is not one of the model's.

        >>> epi = CellModel.load("ten_tusscher_2006_epi")
        >>> epi.with_currents_scaled({"IKr": 0.5}).parameters["g_Kr"]
        0.0765
        """
        _require(f"cell model `{self.name}`", "current", factors, self.currents)
        parameters = dict(self.parameters)
        for current, factor in factors.items():
            parameters[self.currents[current]] *= factor
        return self.with_parameters(parameters)

    def equations(self) -> list[tuple[sympy.Symbol, sympy.Expr]]:
        """Assignments in the order of evaluation; ``dX_dt`` are the rates."""
        return _parse(self.definition, self.name).equations


@dataclass(frozen=True)
class _Statements:
    states: dict[str, float]
    parameters: dict[str, float]
    equations: list[tuple[sympy.Symbol, sympy.Expr]]


@cache
def _parse(text: str, place: str) -> _Statements:
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise InputError(place, f"line {error.lineno}: {error.msg}.", "See the format.") from None
    declared: dict[str, dict[str, float]] = {"states": {}, "parameters": {}}
    symbols: dict[str, sympy.Symbol] = {}
    equations: list[tuple[sympy.Symbol, sympy.Expr]] = []
    for node in tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            for kind, name, value in _declarations(node.value, place):
                declared[kind][name] = value
                symbols[name] = sympy.Symbol(name, real=True)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            unknown = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
            unknown -= symbols.keys() | _FUNCTIONS.keys()
            if unknown:
                raise InputError(
                    place,
                    f"line {node.lineno}: `{min(unknown)}` is used before it is known.",
                    suggestion(min(unknown), symbols),
                )
            expression = parse_expr(ast.unparse(node.value), {**symbols, **_FUNCTIONS})
            symbols[name] = sympy.Symbol(name, real=True)
            equations.append((symbols[name], expression))
        else:
            raise InputError(
                place, f"line {node.lineno}: neither a declaration nor `name = formula`.", ""
            )
    for name in declared["states"]:
        if f"d{name}_dt" not in symbols:
            raise InputError(place, f"no rate `d{name}_dt`.", f"State `{name}` needs one.")
    return _Statements(declared["states"], declared["parameters"], equations)


def _declarations(call: ast.Call, place: str) -> Iterator[tuple[str, str, float]]:
    """Kind, name and value of what ``states(...)`` or ``parameters(...)`` declares."""
    kind, line = ast.unparse(call.func), f"line {call.lineno}"
    if kind not in _DECLARATIONS:
        raise InputError(
            place, f"{line}: no declaration `{kind}`.", suggestion(kind, _DECLARATIONS)
        )
    for keyword in call.keywords:
        try:
            value = float(ast.literal_eval(keyword.value))
        except (ValueError, TypeError):
            raise InputError(
                place, f"{line}: `{keyword.arg}` is no number.", "Values are plain numbers."
            ) from None
        yield kind, str(keyword.arg), value


def _require(place: str, kind: str, names: Iterable[str], known: Mapping[str, Any]) -> None:
    for name in names:
        if name not in known:
            remedy = suggestion(name, known) if known else f"It names no {kind}s at all."
            raise InputError(place, f"no {kind} `{name}`.", remedy)
