"""Import of cell models: a file in another format becomes a definition, an entry and a test.

What the file calls its potential, calcium and stimulus is found by annotations, labels or customary
names; time and potential are converted to ms and mV, all other variables keep their units. The
equations are ordered, and those that no rate needs are left out.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tomli_w
from numpy.typing import NDArray
from sympy.printing.c import reserved_words

from organtwin.cells.accuracy import Beat, StepError, integrate, reference_beat, step_errors
from organtwin.cells.foreign import Foreign, Variable, names_in, number, read
from organtwin.cells.kernel import Kernel, compile_kernel
from organtwin.cells.model import CellModel
from organtwin.errors import InputError, suggestion
from organtwin.units import registry

Array = NDArray[np.float64]

#: Stimuli (mV/ms) that are tried for the reference trace, the first one the same as for pacing,
#: and their duration (ms).
STRENGTHS, DURATION = (52.0, 104.0), 1.0
#: A cell that comes above this after the stimulus is excited (mV).
_EXCITED = -20.0
#: Length of the reference trace (ms).
LENGTH = 600.0
#: Relative difference of the right-hand sides at random states that counts as rounding.
ROUNDING = 1e-9
#: Difference of the trace that the written test allows (mV; relative for calcium).
TRACE_TOLERANCE, CALCIUM_TOLERANCE = 0.05, 2e-3

_POTENTIAL = re.compile(r"v|vm|v_m|e|em|e_m|v_membrane|membrane_potential", re.I)
_CALCIUM = re.compile(r"ca_?i|ca_?in|ca_?myo|cai_?free|ca_?cyto?|ca_?i_?bulk", re.I)
_CALCIUM_LABELS = ("cytosolic_calcium_concentration", "intracellular_calcium_concentration")
_STIMULUS = re.compile(
    r"(i_?)?stim(ulus)?(_?current)?|i_?st|i_?stim_?(c|i)?|i_?app(lied)?|i_?ext", re.I
)
#: What kernels call their own in C, and what formulas call functions.
_TAKEN = (
    frozenset(reserved_words)
    | frozenset(keyword.kwlist)
    | frozenset(
        """
    y v n p q i dt dv dy J stride stimulus choose exponential phi step rates current advance
    advance_again STATES FIELDS BLOCK ALWAYS NAN INFINITY
    exp log sqrt pow fabs fmin fmax floor ceil tanh sin cos tan asin acos atan expm1 rint fma memcpy
    Abs Conditional Lt Le Gt Ge Eq Ne And Or Not Min Max states parameters expressions
    E I S N O Q pi oo nan inf
    """.split()  # noqa: SIM905
    )
)
#: Names of currents by what follows g_ or P_, in lower case.
_CURRENTS = {
    "na": "INa", "nal": "INaL", "to": "Ito", "cal": "ICaL", "ca_l": "ICaL", "kr": "IKr",
    "ks": "IKs", "k1": "IK1", "kur": "IKur", "f": "If", "sus": "Isus", "ncx": "INaCa",
    "naca": "INaCa", "nak": "INaK", "kb": "IKb", "bk": "IKb", "nab": "INab", "bna": "INab",
    "cab": "ICab", "bca": "ICab", "pca": "IpCa", "pk": "IpK",
}  # fmt: skip
_CONDUCTANCE = re.compile(r"(?:g|p|k)_?(.+?)(?:_?(?:max|bar)|_b)?", re.I)


@dataclass(frozen=True)
class Wanted:
    """What the user says about a file, where it does not speak for itself.

    Attributes:
        potential: Name of the potential in the file.
        calcium: Name of the free cytosolic calcium.
        stimulus: Names of what is set to zero.
        time_unit: Unit of time.
        potential_unit: Unit of the potential.
    """

    potential: str | None = None
    calcium: str | None = None
    stimulus: Sequence[str] = ()
    time_unit: str | None = None
    potential_unit: str | None = None


@dataclass(frozen=True)
class Translation:
    """A foreign model in organtwin's words.

    Attributes:
        foreign: The model as its file has it.
        model: The model for the kernel.
        names: Identifier in ``foreign`` → name, of the states, parameters and equations.
        units: Name → unit as the file has it, after the conversion of the potential.
        to_ms: Duration of the file's unit of time.
        to_mv: Size of the file's unit of the potential.
        stimulus: Identifiers in ``foreign`` of what was set to zero.
        currents: Current → parameter that scales it, where the names tell.
        unused: Number of equations and parameters that no rate needs.
        notes: What the user should know.
    """

    foreign: Foreign
    model: CellModel
    names: Mapping[str, str]
    units: Mapping[str, str]
    to_ms: float
    to_mv: float
    stimulus: Sequence[str]
    currents: Mapping[str, str]
    unused: int
    notes: Sequence[str]


@dataclass(frozen=True)
class Import:
    """What was imported, and how well.

    Attributes:
        translation: The model.
        rates_error: Largest relative difference of the right-hand sides at random states.
        trace: One beat of the original equations.
        strength: Its stimulus (mV/ms).
        trace_error: Largest difference of the kernel's right-hand side from ``trace`` (mV).
        steps: Errors by time step.
        files: What was written.
    """

    translation: Translation
    rates_error: float
    trace: Beat
    strength: float
    trace_error: float
    steps: Sequence[StepError]
    files: Sequence[Path] = field(default=())


def import_model(
    path: Path,
    *,
    name: str | None = None,
    into: Path | None = None,
    wanted: Wanted | None = None,
    replace_files: bool = False,
) -> Import:
    """Translate a cell model, check it against the original, and write it.

    Args:
        path: CellML, .mmt or gotran file.
        name: Of the model; that of the file if none.
        into: Directory that takes the definition, the entry, the trace and the test; nothing is
            written if none.
        wanted: Names and units that the file does not tell.
        replace_files: Write over files that are there.

    Raises:
        InputError: the file can't be used as it is; files are in the way.
        SetupError: Myokit or the C compiler is missing.
        SolverError: the original equations can't be integrated.
    """
    name = _identifier(name or path.stem)
    files = [] if into is None else _free_files(into, name, replace_files)
    translation = translate(read(path), name, wanted or Wanted())
    kernel = compile_kernel(translation.model)
    error = rates_error(translation, kernel)
    strength, trace, met = _excited_trace(translation)
    translation = replace(translation, notes=[*translation.notes, *_doubts(kernel, trace, met)])
    steps = step_errors(kernel, strength=strength, duration=DURATION, length=LENGTH)
    difference = _trace_error(kernel, trace, strength)
    found = Import(translation, error, trace, strength, difference, steps, files)
    if into is not None:
        into.mkdir(parents=True, exist_ok=True)
        texts = (_definition_file, _entry_file, _trace_file, _test_file)
        for file, text in zip(files, texts, strict=True):
            file.write_text(text(found), encoding="utf-8")
    return found


# --- from the file's words to organtwin's ---------------------------------------------------------


def translate(foreign: Foreign, name: str, wanted: Wanted) -> Translation:
    """The model in organtwin's grammar, units of time and potential, and names.

    Raises:
        InputError: there is no potential, or no unit of it or of time; the rates depend on time.
    """
    potential, calcium, notes = _potential(foreign, wanted), _calcium(foreign, wanted), []
    to_ms = _to_ms(foreign, wanted)
    to_mv = _to_mv(foreign, potential, wanted)
    stimulus = _stimulus(foreign, wanted)
    formulas = {key: "0" if key in stimulus else text for key, text in foreign.formulas.items()}
    constants = {k: 0.0 if k in stimulus else v for k, v in foreign.constants.items()}
    used = _reachable(foreign.states, formulas)
    if foreign.time in used:
        raise _depends_on_time(foreign, formulas, used)
    to_micromolar = 1.0
    if calcium is not None:
        factor = foreign.variables[calcium].factor("micromolar")
        if factor is None and wanted.calcium:
            raise InputError(
                str(foreign.path),
                f"`{foreign.variables[calcium].place}` is no concentration "
                f"(unit {foreign.variables[calcium].unit or 'none'}).",
                "Choose another state with --calcium.",
            )
        if factor is None:
            notes.append(f"`{foreign.variables[calcium].place}` is no concentration: no calcium.")
            calcium = None
        to_micromolar = factor or 1.0
    kept = [key for key in foreign.variables if key in used]
    names = _names(foreign, kept, potential)
    equations = _ordered(foreign, {k: formulas[k] for k in kept if k in formulas})
    parameters = {k: constants[k] for k in kept if k in constants}
    notes += foreign.notes
    everything = len(foreign.formulas) + len(foreign.constants)
    translation = Translation(
        foreign=foreign,
        model=_empty(name, foreign),
        names=names,
        units=_units(foreign, names, potential, to_mv),
        to_ms=to_ms,
        to_mv=to_mv,
        stimulus=stimulus,
        currents=_currents(foreign, names, parameters),
        unused=everything - len(equations) - len(parameters),
        notes=notes,
    )
    states = dict(foreign.states)
    states[potential] *= to_mv
    definition = _definition(translation, states, parameters, equations, potential)
    model = replace(
        translation.model,
        definition=definition,
        states={names[key]: value for key, value in states.items()},
        parameters={names[key]: value for key, value in parameters.items()},
        potential=names[potential],
        calcium=None if calcium is None else names[calcium],
        to_micromolar=to_micromolar,
    )
    # A definition that can't be read back would be found out only by who uses it.
    model.equations()
    return replace(translation, model=model)


def _empty(name: str, foreign: Foreign) -> CellModel:
    citation = foreign.reference or f"imported from {foreign.path.name}: name the paper here"
    return CellModel(name, "", {}, {}, "", None, 1.0, citation)


def _find(foreign: Foreign, name: str, among: Collection[str], kind: str) -> str:
    """Identifier of the variable that the user calls ``name``."""
    for key in among:
        if name in (key, foreign.variables[key].name, foreign.variables[key].place):
            return key
    known = {foreign.variables[key].name for key in among}
    raise InputError(str(foreign.path), f"no {kind} `{name}`.", suggestion(name, known))


def _potential(foreign: Foreign, wanted: Wanted) -> str:
    if wanted.potential:
        return _find(foreign, wanted.potential, foreign.states, "state")
    states = {key: foreign.variables[key] for key in foreign.states}
    labelled = [
        k for k, v in states.items() if v.label in ("membrane_voltage", "membrane_potential")
    ]
    volts = [k for k, v in states.items() if v.factor("mV") is not None]
    named = [k for k, v in states.items() if _POTENTIAL.fullmatch(v.name)]
    # By unit and name first: a gate may be called v, too.
    both = [key for key in named if key in volts]
    in_membrane = [
        k for k in named if re.search(r"membrane|cell", states[k].component, re.I)
    ]  # fmt: skip
    for candidates in (labelled, both, volts, in_membrane, named):
        if len(candidates) == 1:
            return candidates[0]
    raise InputError(
        str(foreign.path),
        "which state is the transmembrane potential?",
        f"Name it with --potential. States: {', '.join(v.place for v in states.values())}.",
    )


def _calcium(foreign: Foreign, wanted: Wanted) -> str | None:
    if wanted.calcium:
        return _find(foreign, wanted.calcium, foreign.states, "state")
    states = {key: foreign.variables[key] for key in foreign.states}
    labelled = [k for k, v in states.items() if v.label in _CALCIUM_LABELS]
    named = [k for k, v in states.items() if _CALCIUM.fullmatch(v.name)]
    return next((found[0] for found in (labelled, named) if len(found) == 1), None)


def _stimulus(foreign: Foreign, wanted: Wanted) -> tuple[str, ...]:
    """What gives the stimulus: labelled as such, or called so."""
    candidates = [*foreign.formulas, *foreign.constants]
    inner = [key for key in candidates if key not in foreign.states]
    if wanted.stimulus:
        return tuple(_find(foreign, name, inner, "variable") for name in wanted.stimulus)
    known = foreign.variables
    labelled = [
        k for k in inner if known[k].label in ("membrane_stimulus_current", "stimulus_current")
    ]
    # i_st is also what sinus node models call their sustained current.
    named = [
        key for key in inner
        if _STIMULUS.fullmatch(known[key].name)
        and ("stim" in known[key].name.lower() or _is_timed(foreign, key))
    ]  # fmt: skip
    bound = [key for key in inner if known[key].label == "pace"]
    return tuple(dict.fromkeys([*labelled, *named, *bound]))


def _is_timed(foreign: Foreign, key: str) -> bool:
    """Whether a variable depends on time other than through states."""
    inner = {k: text for k, text in foreign.formulas.items() if k not in foreign.states}
    return foreign.time in _reachable([key], inner)


def _depends_on_time(
    foreign: Foreign, formulas: Mapping[str, str], used: Collection[str]
) -> InputError:
    where = [
        foreign.variables[key].place
        for key, text in formulas.items()
        if key in used and foreign.time in names_in(text)
    ]
    return InputError(
        str(foreign.path),
        f"{', '.join(where)} depend(s) on time itself, which a cell in tissue does not.",
        "If that is the stimulus, name it with --stimulus.",
    )


def _to_ms(foreign: Foreign, wanted: Wanted) -> float:
    time = foreign.variables[foreign.time] if foreign.time else Variable("time", "")
    return _factor(foreign, time, "ms", wanted.time_unit, "--time-unit")


def _to_mv(foreign: Foreign, potential: str, wanted: Wanted) -> float:
    variable = foreign.variables[potential]
    return _factor(foreign, variable, "mV", wanted.potential_unit, "--potential-unit")


def _factor(
    foreign: Foreign, variable: Variable, unit: str, said: str | None, option: str
) -> float:
    if said is not None:
        try:
            variable = replace(variable, unit=said, size=registry().Quantity(1.0, said))
        # Pint raises many things for what is no unit.
        except Exception:
            raise InputError(option, f"`{said}` is no unit.", f"Say for example {unit}.") from None
    factor = variable.factor(unit)
    if factor is None:
        problem = (
            f"is in `{variable.unit}`, not convertible to" if variable.unit else "has no unit for"
        )
        raise InputError(
            str(foreign.path),
            f"`{variable.place}` {problem} {unit}.",
            f"If you know the unit, say it: {option} {unit}.",
        )
    return factor


def _reachable(roots: Iterable[str], formulas: Mapping[str, str]) -> set[str]:
    """What the formulas of ``roots`` use, and themselves."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting += names_in(formulas[key]) if key in formulas else ()
    return found


# --- names ----------------------------------------------------------------------------------------


def _identifier(name: str) -> str:
    """A name for files and symbols."""
    plain = re.sub(r"\W+", "_", name).strip("_").lower()
    return plain if plain[:1].isalpha() else f"model_{plain}"


def _names(foreign: Foreign, kept: Sequence[str], potential: str) -> dict[str, str]:
    """Short unique names: those of the file, with the component where they collide."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    counts: dict[str, int] = {}
    for key in kept:
        counts[foreign.variables[key].name] = counts.get(foreign.variables[key].name, 0) + 1
    for key in sorted(kept, key=lambda key: key != potential):
        variable = foreign.variables[key]
        short, long = variable.name, f"{variable.component}_{variable.name}".strip("_")
        wanted = [short, "V", long] if key == potential else [short, long]
        if counts[short] > 1 and key != potential:
            wanted = [long]
        wanted += [f"{long}_{number}" for number in range(1, len(kept) + 1)]
        names[key] = next(name for name in wanted if name not in taken and _is_free(name))
        taken.add(names[key])
    return {key: names[key] for key in kept}


def _is_free(name: str) -> bool:
    # d…_dt are rates, and kernels make names of their own with the endings.
    reserved = re.fullmatch(r"d.*_dt|.*_(mid|old|row|in_file)", name)
    return name.isidentifier() and name not in _TAKEN and not reserved


def _units(
    foreign: Foreign, names: Mapping[str, str], potential: str, to_mv: float
) -> dict[str, str]:
    units = {name: foreign.variables[key].unit for key, name in names.items()}
    if to_mv != 1.0 or not units[names[potential]]:
        units[names[potential]] = "mV"
    return units


def _currents(
    foreign: Foreign, names: Mapping[str, str], parameters: Collection[str]
) -> dict[str, str]:
    """Current → its conductance, permeability or maximum, where a parameter's name tells."""
    found: dict[str, list[str]] = {}
    for key in parameters:
        match = _CONDUCTANCE.fullmatch(foreign.variables[key].name)
        if match and match[1].lower() in _CURRENTS:
            found.setdefault(_CURRENTS[match[1].lower()], []).append(names[key])
    return {current: scales[0] for current, scales in found.items() if len(scales) == 1}


# --- the definition -------------------------------------------------------------------------------


def _ordered(foreign: Foreign, formulas: Mapping[str, str]) -> list[tuple[str, str]]:
    """Equations in an order of evaluation that keeps components together.

    Raises:
        InputError: some depend on each other.
    """
    needs = {
        key: {n for n in names_in(text) if n in formulas and n not in foreign.states}
        for key, text in formulas.items()
    }
    order: list[tuple[str, str]] = []
    done: set[str] = set()
    component = ""
    while len(order) < len(formulas):
        ready = [key for key in formulas if key not in done and needs[key] <= done]
        if not ready:
            stuck = sorted(foreign.variables[key].place for key in formulas if key not in done)
            raise InputError(
                str(foreign.path), f"equations depend on each other: {', '.join(stuck[:5])}.", ""
            )
        by_part: dict[str, list[str]] = {}
        for key in ready:
            by_part.setdefault(foreign.variables[key].component, []).append(key)
        if component not in by_part:
            component = max(by_part, key=lambda part: len(by_part[part]))
        for key in by_part[component]:
            order.append((key, formulas[key]))
            done.add(key)
    return order


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self.names.get(node.id, node.id), node.ctx)


def _definition(
    translation: Translation,
    states: Mapping[str, float],
    parameters: Mapping[str, float],
    equations: Sequence[tuple[str, str]],
    potential: str,
) -> str:
    """Text of the definition."""
    foreign, names, units = translation.foreign, translation.names, translation.units
    in_formulas = dict(names)
    lines = [*_heading(translation), "states("]
    lines += _declared({names[k]: v for k, v in states.items()}, units)
    lines += [")", "", "parameters("]
    lines += _declared({names[k]: v for k, v in parameters.items()}, units)
    lines += [")"]
    if translation.to_mv != 1.0:
        in_formulas[potential] = f"{names[potential]}_in_file"
        scaled = f"{number(1.0 / translation.to_mv)}*{names[potential]}"
        unit = foreign.variables[potential].unit
        lines += ["", 'expressions("Units")', f"{in_formulas[potential]} = {scaled}  # {unit}"]
    part = None
    renamed = _Renamed(in_formulas)
    for key, formula in equations:
        component = foreign.variables[key].component
        if component != part:
            part = component
            lines += ["", f'expressions("{(component or "model").replace("_", " ")}")']
        text = ast.unparse(renamed.visit(ast.parse(formula, mode="eval")))
        if key in states:
            factor = (translation.to_mv if key == potential else 1.0) / translation.to_ms
            scaled = text if factor == 1.0 else f"{number(factor)}*({text})"
            lines.append(f"d{names[key]}_dt = {scaled}")
        else:
            unit = units[names[key]]
            lines.append(f"{names[key]} = {text}" + (f"  # {unit}" if unit else ""))
    return "\n".join(lines) + "\n"


def _heading(translation: Translation) -> list[str]:
    foreign = translation.foreign
    source = foreign.reference or "not told by the file; name the paper here."
    zero = ", ".join(foreign.variables[key].place for key in translation.stimulus) or "none"
    return [
        f"# {foreign.name}, imported by organtwin from {foreign.path.name}.",
        "#",
        f"# Source: {source}",
        "# Licence: that of the file it was imported from; check it before you pass this on.",
        "# Units: time ms, potential mV, the others as in the comments.",
        f"# Stimulus of the file, set to zero: {zero}.",
        "",
    ]


def _declared(values: Mapping[str, float], units: Mapping[str, str]) -> list[str]:
    return [
        f"    {name}={value!r}," + (f"  # {units[name]}" if units.get(name) else "")
        for name, value in values.items()
    ]


# --- checks ---------------------------------------------------------------------------------------


def rates_error(translation: Translation, kernel: Kernel, samples: int = 50) -> float:
    """Largest relative difference of the kernel's rates from the original's at random states.

    Relative to the largest rate of that state among the samples; states within 20 % of the initial
    ones, potentials from −90 to 40 mV.

    Raises:
        InputError: the original has no finite rates at any of them.
    """
    foreign, model = translation.foreign, translation.model
    rates = foreign.rates(translation.stimulus)
    random = np.random.default_rng(1)
    start = np.array(list(foreign.states.values()))
    order = [translation.names[key] for key in foreign.states]
    v = order.index(model.potential)
    per_ms = np.where(np.arange(len(order)) == v, translation.to_mv, 1.0) / translation.to_ms
    theirs, ours = [], []
    for _ in range(samples):
        y = start * random.uniform(0.8, 1.2, len(start))
        y[start == 0.0] = random.uniform(0.0, 0.01, int((start == 0.0).sum()))
        y[v] = random.uniform(-90.0, 40.0) / translation.to_mv
        original = rates(y) * per_ms
        if np.isfinite(original).all():
            theirs.append(original)
            ours.append(_kernel_rates(kernel, order, y, translation.to_mv))
    if not theirs:
        raise InputError(
            str(foreign.path), "no finite rates near the initial state.", "Check its numbers."
        )
    scale = np.abs(theirs).max(axis=0)
    difference = np.abs(np.array(ours) - np.array(theirs)).max(axis=0)
    return float(np.max(difference / np.where(scale > 0.0, scale, 1.0)))


def _kernel_rates(kernel: Kernel, order: Sequence[str], y: Array, to_mv: float) -> Array:
    """Rates in the order of the file's states."""
    values = dict(zip(order, y, strict=True))
    potential = kernel.model.potential
    states = np.array([[values[name]] for name in kernel.states])
    dy, dv = kernel.rates(states.reshape(kernel.n_states, 1), np.array([values[potential] * to_mv]))
    found = dict(zip(kernel.states, dy[:, 0], strict=True)) | {potential: dv[0]}
    return np.array([found[name] for name in order])


def _excited_trace(translation: Translation) -> tuple[float, Beat, bool]:
    """Stimulus, trace and whether it met the tolerance, for the first stimulus that excites."""
    tried = []
    for strength in STRENGTHS:
        trace, met = reference_trace(translation, strength)
        tried.append((strength, trace, met))
        if _is_excited(trace):
            return tried[-1]
    return tried[0]


def _is_excited(beat: Beat) -> bool:
    return bool((beat.potential[beat.time > DURATION] > _EXCITED).any())


def _doubts(kernel: Kernel, trace: Beat, met: bool) -> list[str]:
    """What is strange about a beat."""
    doubts = []
    rest = kernel.initial_potential
    if not -120.0 < rest < -20.0:
        doubts.append(f"the potential starts at {rest:g} mV: is its unit in the file right?")
    if not _is_excited(trace):
        doubts.append(f"a stimulus of {STRENGTHS[-1]:g} mV/ms does not excite the cell.")
    elif not np.isfinite(trace.apd90):
        doubts.append(f"no repolarisation within {trace.time[-1]:g} ms after the stimulus.")
    if not met:
        doubts.append("the rates jump and hold the solution there: the trace is less accurate.")
    return doubts


def reference_trace(
    translation: Translation, strength: float = STRENGTHS[0], length: float = LENGTH
) -> tuple[Beat, bool]:
    """One beat of the file's own equations, integrated without organtwin's translation of them.

    Returns:
        The beat, and whether the tolerance of 1e-8 was met.

    Raises:
        SolverError: they can't be integrated.
    """
    foreign, model = translation.foreign, translation.model
    to_ms, to_mv = translation.to_ms, translation.to_mv
    order = [translation.names[key] for key in foreign.states]
    row = order.index(model.potential)
    start = np.array(list(foreign.states.values()))
    time, y, met = integrate(
        foreign.rates(translation.stimulus), start, row, length / to_ms,
        strength * to_ms / to_mv, DURATION / to_ms, times=_times(length) / to_ms,
        name=foreign.name,
    )  # fmt: skip
    calcium = None
    if model.calcium is not None:
        calcium = y[order.index(model.calcium)] * model.to_micromolar
    end = np.delete(y[:, -1], row)
    return Beat(time * to_ms, y[row] * to_mv, calcium, end), met


def _times(length: float) -> Array:
    """A few dozen times (ms), dense at first."""
    early = [0.0, 0.5, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0]
    return np.append(early, np.arange(20.0, length + 1.0, 20.0))


def _trace_error(kernel: Kernel, trace: Beat, strength: float) -> float:
    beat = reference_beat(
        kernel, length=float(trace.time[-1]), strength=strength, duration=DURATION, times=trace.time
    )
    return float(np.max(np.abs(beat.potential - trace.potential)))


# --- files ----------------------------------------------------------------------------------------


def _free_files(into: Path, name: str, replace_files: bool) -> list[Path]:
    """Where the definition, the entry, the trace and the test go."""
    files = [into / f"{name}{ending}" for ending in (".ode", ".toml", ".csv")]
    files.append(into / f"test_{name}.py")
    there = [file for file in files if file.exists()]
    if there and not replace_files:
        raise InputError(
            str(there[0]), "is there already.", "Take another --name, or replace it with --force."
        )
    return files


def _definition_file(found: Import) -> str:
    return found.translation.model.definition


def _entry_file(found: Import) -> str:
    model, name = found.translation.model, found.translation.model.name
    entry: dict[str, object] = {"definition": f"{name}.ode", "potential": model.potential}
    if model.calcium is not None:
        entry["calcium"] = {"state": model.calcium, "to_micromolar": model.to_micromolar}
    if found.translation.currents:
        entry["currents"] = dict(found.translation.currents)
    entry["citation"] = model.citation
    # Plain values first: what follows a table would belong to it.
    plain = {k: v for k, v in entry.items() if not isinstance(v, dict)}
    return tomli_w.dumps(plain | {k: v for k, v in entry.items() if isinstance(v, dict)})


def _trace_file(found: Import) -> str:
    trace = found.trace
    columns = [trace.time, trace.potential, *([] if trace.calcium is None else [trace.calcium])]
    head = "time_ms,potential_mV" + ("" if trace.calcium is None else ",calcium_uM")
    rows = (",".join(f"{value:.10g}" for value in row) for row in zip(*columns, strict=True))
    return "\n".join([head, *rows]) + "\n"


_TEST = '''\
"""`{name}` against one beat of the file it was imported from, {file}.

The trace was integrated by LSODA (1e-8) from the file's own equations, stimulated with
{strength:g} mV/ms for {duration:g} ms. Written by `organtwin ionic import`.
"""

from pathlib import Path

import numpy as np
import pytest

from organtwin.cells.accuracy import reference_beat{step_import}
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel

HERE = Path(__file__).parent
STIMULUS = {{"length": {length:g}, "strength": {strength:g}, "duration": {duration:g}}}


@pytest.fixture(scope="module")
def kernel():
    return compile_kernel(CellModel.from_file(HERE / "{name}.toml"))


def test_equations_give_the_reference_trace(kernel):
    trace = np.genfromtxt(HERE / "{name}.csv", delimiter=",", names=True)
    beat = reference_beat(kernel, times=trace["time_ms"], **STIMULUS)
    np.testing.assert_allclose(beat.potential, trace["potential_mV"], rtol=0, atol={tolerance})
'''
_CALCIUM_TEST = """\
    np.testing.assert_allclose(beat.calcium, trace["calcium_uM"], rtol={calcium_tolerance})
"""
_STEP_TEST = '''

def test_largest_accurate_time_step(kernel):
    """The duration of the action potential is right within 1 %."""
    (error,) = step_errors(kernel, [{step:g}], **STIMULUS)
    assert error.accurate
'''


def _test_file(found: Import) -> str:
    model = found.translation.model
    steps = [error.dt for error in found.steps if error.accurate]
    text = _TEST
    text += _CALCIUM_TEST if model.calcium is not None else ""
    text += _STEP_TEST if steps else ""
    return text.format(
        name=model.name,
        file=found.translation.foreign.path.name,
        step_import=", step_errors" if steps else "",
        length=LENGTH,
        strength=found.strength,
        duration=DURATION,
        tolerance=TRACE_TOLERANCE,
        calcium_tolerance=CALCIUM_TOLERANCE,
        step=max(steps, default=0.0),
    )
