"""The reference pages of case files, written from their schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from organtwin.case.organ import OrganCase
from organtwin.case.quantities import Unit, marks
from organtwin.case.schema import Case
from organtwin.case.schema_calibration import CalibrationCase
from organtwin.case.schema_implant import ImplantCase
from organtwin.case.schema_tavr import TavrCase

_HEAD = """# Case file

A case file is TOML. Quantities are strings with a unit (`"3 mm"`, `"80 mmHg"`, `"75 / min"`); any
unit of the right kind will do. Only `[image]` must be there: every other key has the default shown
here. An unknown key, a wrong unit or an impossible value is refused before anything is written.

`organtwin run case.toml --set mesh.size="8 mm"` replaces a value for one run, and
`organtwin run case.toml --dry-run` prints the case with all defaults filled in.

*This page is written from the schema by `make docs`.*
"""


_ORGAN_HEAD = """# Case file of a mesh

A case file with a section `[source]` makes the mesh of any organ, from an image, labels or
surfaces: `organtwin mesh case.toml`. What it does is told in [meshes](meshes.md). Quantities are
strings with a unit; `[source]` and `[mesh] size` must be there, every other key has the default
shown here. `--set mesh.size="3 mm"` replaces a value for one run.

*This page is written from the schema by `make docs`.*
"""


_CALIBRATION_HEAD = """# Case file of a calibration

From measurements to parameters: `organtwin calibrate case.toml`. What it does is told in
[calibration](calibration.md). Quantities are strings with a unit; `[calibration.parameters]` and
`[calibration.observations]` must be there, every other key has the default shown here.
`--set calibration.smoother.members=400` replaces a value for one run.

*This page is written from the schema by `make docs`.*
"""


_TAVR_HEAD = """# Case file of a transcatheter valve

From a contrast CT to a deployed valve: `organtwin run case.toml`. What it does is told in
[tavr](tavr.md). Quantities are strings with a unit; `[scan] file` and `[device] name` must be
there, every other key has the default shown here. `--set deployment.depth="5 mm"` replaces a value
for one run, and `--dry-run` prints the case with all defaults filled in.

*This page is written from the schema by `make docs`.*
"""


_IMPLANT_HEAD = """# Case file of an implant in a bone

A hip stem, pedicle screws or a fractured tibial plateau, from image to report: `organtwin run
case.toml`. What it does is told in [implant-cases](implant-cases.md). Quantities are strings with
a unit; `[bone]` and one of `[hip_stem]`, `[pedicle_screw]` and `[tibial_plateau]` must be there,
every other key has the default shown here. `--set loads.mass="60 kg"` replaces a value for one
run, and `--dry-run` prints the case with all defaults filled in.

*This page is written from the schema by `make docs`.*
"""


def implant_reference() -> str:
    """The page of implants in bones, as Markdown."""
    return "\n".join([_IMPLANT_HEAD, *_section("", ImplantCase, set())]).rstrip() + "\n"


def tavr_reference() -> str:
    """The page of valves, as Markdown."""
    return "\n".join([_TAVR_HEAD, *_section("", TavrCase, set())]).rstrip() + "\n"


def calibration_reference() -> str:
    """The page of calibrations, as Markdown."""
    return "\n".join([_CALIBRATION_HEAD, *_section("", CalibrationCase, set())]).rstrip() + "\n"


def case_reference() -> str:
    """The page of simulations, as Markdown."""
    return "\n".join([_HEAD, *_section("", Case, set())]).rstrip() + "\n"


def organ_reference() -> str:
    """The page of meshes, as Markdown."""
    return "\n".join([_ORGAN_HEAD, *_section("", OrganCase, set())]).rstrip() + "\n"


def _section(
    name: str, model: type[BaseModel], told: set[tuple[str, type]], *, several: bool = False
) -> Iterator[str]:
    if (name, model) in told:  # a section that several choices have
        return
    told.add((name, model))
    table = f"[[{name}]]" if several else f"[{name}]"
    heading = f"## `{table}`" if name else "## Top level"
    yield f"{heading}\n"
    yield f"{_sentence(model.__doc__)}\n"
    own = [(key, field) for key, field in model.model_fields.items() if not _models(field)]
    if own:
        yield "| key | default | meaning |"
        yield "|---|---|---|"
        yield from (f"| `{key}` | {_default(field)} | {_meaning(field)} |" for key, field in own)
        yield ""
    for key, field in model.model_fields.items():
        inner = f"{name}.{key}".lstrip(".")
        if get_origin(field.annotation) is dict:
            inner += ".NAME"
        for choice in _models(field):
            yield from _section(inner, choice, told, several=get_origin(field.annotation) is tuple)


def _models(field: FieldInfo) -> list[type[BaseModel]]:
    """Sections that may stand at this key; several for a choice of laws."""
    return _sections_in(field.annotation)


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _sections_in(part)]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    if field.default is None:
        return "none"
    return f"`{_toml(field.default, _unit(field))}`"


def _toml(value: Any, unit: Unit | None) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item, unit) for item in value)}]"
    if unit:
        return f'"{unit.text(value)}"'
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else f'"{value}"'


def _meaning(field: FieldInfo) -> str:
    parts = [_sentence(field.description)] if field.description else []
    choices = _choices(field.annotation)
    if len(choices) == 1 and field.is_required():
        parts.append(f'`"{choices[0]}"` chooses this.')
    elif len(choices) == 1:
        parts.append("Chooses this, as does leaving it out." if not parts else "")
    elif choices:
        parts.append("One of " + ", ".join(f"`{choice}`" for choice in choices) + ".")
    bounds = _bounds(field)
    if bounds:
        parts.append(f"{bounds[0].upper()}{bounds[1:]}.")
    return " ".join(part for part in parts if part)


def _bounds(field: FieldInfo) -> str:
    unit = _unit(field)
    words = []
    for mark in marks(field):
        for kind, attribute, phrase in (
            (Gt, "gt", "more than"), (Ge, "ge", "at least"),
            (Lt, "lt", "less than"), (Le, "le", "at most"),
        ):  # fmt: skip
            if isinstance(mark, kind):
                limit = getattr(mark, attribute)
                words.append(f"{phrase} {unit.text(limit) if unit else f'{limit:g}'}")
    return ", ".join(words)


def _unit(field: FieldInfo) -> Unit | None:
    return next((mark for mark in marks(field) if isinstance(mark, Unit)), None)


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())
