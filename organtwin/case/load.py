"""Read a case file, apply overrides, and say everything that is wrong with it at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, time
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from organtwin.case.organ import OrganCase
from organtwin.case.presets import with_presets
from organtwin.case.quantities import Unit, marks
from organtwin.case.schema import Case
from organtwin.case.schema_calibration import CalibrationCase
from organtwin.case.schema_implant import LOADS, ImplantCase
from organtwin.case.schema_rehearsal import RehearsalCase
from organtwin.case.schema_tavr import TavrCase
from organtwin.errors import InputError, suggestion

#: Sections that only the case of a valve has.
VALVE = {"device", "deployment"}
#: Sections of which the case of an implant in a bone has one.
IMPLANT = set(LOADS)

#: Bytes of a case file at most; long ones have some ten thousand.
LARGEST = 1 << 20
#: Pydantic's kinds of errors → what the file should have there.
NEEDED = {
    "string_type": "text in quotes",
    "path_type": "a path in quotes",
    "bool_type": "`true` or `false`",
    "bool_parsing": "`true` or `false`",
    "tuple_type": "a list in brackets",
    "list_type": "a list in brackets",
}
NUMBERS = {
    "int_type": "whole",
    "int_from_float": "whole",
    "int_parsing": "whole",
    "float_type": "plain",
    "float_parsing": "plain",
}

type Location = tuple[int | str, ...]


class CaseError(InputError):
    """One or several problems of a case file.

    Args:
        problems: Complete sentences, each with its place.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("", "", "")
        self.problems = tuple(problems)
        self.args = (self.problems,)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        return "\n  ".join([f"{len(self.problems)} problems:", *self.problems])


def load_case(path: str | Path, overrides: Sequence[str] = ()) -> Case:
    """Read and check the case file of a simulation.

    Args:
        path: TOML file.
        overrides: Settings that replace those of the file, as ``section.key=value`` with a TOML
            value or bare text: ``'mechanics.active.reference_tension=100 kPa'``.

    Returns:
        The case, with the keys of its presets below its own; paths of inputs are absolute,
        quantities in organtwin's units.

    Raises:
        InputError: the file is missing or not TOML, an override is malformed, or a preset unknown.
        CaseError: keys or values are wrong; names all of them.
    """
    return _load(Path(path), overrides, Case)


def load_organ_case(path: str | Path, overrides: Sequence[str] = ()) -> OrganCase:
    """Read and check the case file of an organ's mesh; see `load_case`."""
    return _load(Path(path), overrides, OrganCase)


def load_calibration_case(path: str | Path, overrides: Sequence[str] = ()) -> CalibrationCase:
    """Read and check the case file of a calibration; see `load_case`."""
    return _load(Path(path), overrides, CalibrationCase)


def load_tavr_case(path: str | Path, overrides: Sequence[str] = ()) -> TavrCase:
    """Read and check the case file of a valve's deployment; see `load_case`."""
    return _load(Path(path), overrides, TavrCase)


def load_implant_case(path: str | Path, overrides: Sequence[str] = ()) -> ImplantCase:
    """Read and check the case file of an implant in a bone; see `load_case`."""
    return _load(Path(path), overrides, ImplantCase)


def load_rehearsal_case(path: str | Path, overrides: Sequence[str] = ()) -> RehearsalCase:
    """Read and check the case file of a rehearsal; see `load_case`."""
    return _load(Path(path), overrides, RehearsalCase)


def is_tavr_case(path: str | Path) -> bool:
    """Whether a case file is that of a valve's deployment: it has ``[device]`` or ``[deployment]``.

    Raises:
        InputError: the file is missing or not TOML.
    """
    return bool(_read(Path(path)).keys() & VALVE)


def is_implant_case(path: str | Path) -> bool:
    """Whether a case file is that of an implant: it has ``[hip_stem]`` or one of its kin.

    Raises:
        InputError: the file is missing or not TOML.
    """
    return bool(_read(Path(path)).keys() & IMPLANT)


def is_organ_case(path: str | Path) -> bool:
    """Whether a case file is that of an organ's mesh: it has a section ``[source]``.

    Raises:
        InputError: the file is missing or not TOML, or has neither ``[source]`` nor any section of
            a heart's simulation.
    """
    settings = _read(Path(path))
    if "source" in settings:
        return True
    if settings.keys() & (VALVE | IMPLANT):
        return False
    if not settings.keys() & (Case.model_fields.keys() - OrganCase.model_fields.keys()):
        meant = get_close_matches("source", settings, n=1)
        raise InputError(
            Path(path).name,
            "`[source]` is missing: the labels, the image or the surfaces to mesh.",
            f"Did you mean it by `[{meant[0]}]`?"
            if meant
            else "See docs/meshes.md; a heart's simulation has `[image]` instead.",
        )
    return False


def _load[Schema: BaseModel](file: Path, overrides: Sequence[str], schema: type[Schema]) -> Schema:
    settings = _read(file)
    for override in overrides:
        _override(settings, override)
    if schema is Case:
        settings = with_presets(settings, file.name)
    try:
        return schema.model_validate(settings, context={"folder": file.resolve().parent})
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True)
        sentences = [_sentence(file.name, schema, settings, detail) for detail in details]
        raise CaseError(sentences) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > LARGEST:
            raise InputError(
                str(file),
                f"is larger than {LARGEST} bytes; case files are short.",
                "Check the path.",
            )
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = [p.name for p in file.parent.glob("*.toml")] if file.parent.is_dir() else []
        hint = suggestion(file.name, near) if near else "Check the path."
        raise InputError(str(file), "no such case file.", hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(file), f"can't be read as text ({error}).") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        shown = text.splitlines()[int(line[1]) - 1].strip() if line else ""
        remedy = f"The line reads: {shown}" if shown else "See the TOML rules for values and keys."
        raise InputError(str(file), f"not valid TOML: {error}.", remedy) from None
    except RecursionError:
        raise InputError(
            str(file), "is nested too deeply.", "Case files have few levels."
        ) from None


def _override(settings: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise InputError(
            f"--set {text}", "not of the form key=value.", 'Write for example mesh.size="4 mm".'
        )
    section = settings
    for depth, name in enumerate(names[:-1], start=1):
        section = section.setdefault(name, {})
        if not isinstance(section, dict):
            place = ".".join(names[:depth])
            raise InputError(f"--set {text}", f"`{place}` is a value, not a section.")
    section[names[-1]] = _toml_value(value.strip())


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


# --- from pydantic's account of an error to a sentence ------------------------------------------


def _sentence(
    file: str, schema: type[BaseModel], settings: Mapping[str, Any], detail: ErrorDetails
) -> str:
    """The sentence that tells one error of validation, with its place."""
    keys, model, unit = _follow(schema, detail["loc"])
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = model.model_fields if model else ()
        problem = f"unknown key `{keys[-1]}`. {suggestion(str(keys[-1]), known)}"
        return f"{_place(file, keys[:-1])}: {problem}"
    if kind == "missing":
        return f"{_place(file, keys[:-1])}: `{keys[-1]}` is missing.{_purpose(model, keys[-1])}"
    problem = _problem(detail, _value(settings, keys), unit)
    purpose = _purpose(model, keys[-1]) if kind in NEEDED or kind in NUMBERS else ""
    return f"{_place(file, keys, in_section=kind)}: {problem}{purpose}"


def _problem(detail: ErrorDetails, value: Any, unit: Unit | None) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    shown = f'"{value}"' if isinstance(value, str) else _short(value)
    bound = {
        "greater_than": "more than", "greater_than_equal": "at least",
        "less_than": "less than", "less_than_equal": "at most",
    }.get(kind)  # fmt: skip
    if bound:
        limit = context[{"more": "gt", "at l": "ge", "less": "lt", "at m": "le"}[bound[:4]]]
        allowed = unit.text(limit) if unit else f"{limit:g}"
        return f"{shown} is not possible: it must be {bound} {allowed}."
    if kind == "literal_error":
        return f"unknown value {shown}. {suggestion(str(value), _quoted(context['expected']))}"
    if kind == "union_tag_invalid":
        tag = str(context["tag"])
        known = suggestion(tag, _quoted(context["expected_tags"]))
        return f'unknown {str(context["discriminator"]).strip("'")} "{tag}". {known}'
    if kind == "union_tag_not_found":
        return f"{context['discriminator']} is missing.".replace("'", "`")
    if kind == "value_error":
        return str(context["error"])
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return f"{shown} stands where a section with keys is needed."
    if kind == "too_short":
        return "at least one value is needed."
    if kind in NUMBERS:
        return f"{shown} is not a {NUMBERS[kind]} number."
    if kind in NEEDED:
        return f"{shown} stands where {NEEDED[kind]} is needed."
    return f"{shown}: {detail['msg'].lower()}."


def _follow(
    schema: type[BaseModel], location: Location
) -> tuple[list[int | str], type[BaseModel] | None, Unit | None]:
    """Keys of the file behind pydantic's location, the section they end in, the value's unit.

    Pydantic's location also holds the tag of a union's member, which is no key of the file.
    """
    keys: list[int | str] = []
    model: type[BaseModel] | None = schema
    candidates: tuple[Any, ...] = ()
    unit = None
    for step in location:
        chosen = [m for m in candidates if len(candidates) > 1 and _has_tag(m, step)]
        if chosen:
            model, candidates = chosen[0], ()
            continue
        if len(candidates) == 1:
            model, candidates = candidates[0], ()
        keys.append(step)
        if candidates:
            continue  # a name or a number of an entry, which stands before the tag
        field = model.model_fields.get(str(step)) if model else None
        if field is None:
            continue
        unit = next((mark for mark in marks(field) if isinstance(mark, Unit)), None)
        candidates = _sections(field.annotation)
    return keys, model, unit


def _sections(annotation: Any) -> tuple[type[BaseModel], ...]:
    """Sections that a key may hold, itself or in a list or under names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(kind for inner in get_args(annotation) for kind in _sections(inner))


def _has_tag(model: type[BaseModel], tag: int | str) -> bool:
    return any(tag in get_args(field.annotation) for field in model.model_fields.values())


def _place(file: str, keys: Sequence[int | str], in_section: str = "section") -> str:
    """``case.toml, [mechanics.passive] a`` or, for a section, ``case.toml, [mechanics]``."""
    names = [str(key) for key in keys if isinstance(key, str)]
    entry = "".join(f", entry {key + 1}" for key in keys if isinstance(key, int))
    if not names:
        return file
    if in_section in ("section", "union_tag_invalid", "union_tag_not_found"):
        return f"{file}, [{'.'.join(names)}]"
    if len(names) == 1:
        return f"{file}, {names[0]}{entry}"
    return f"{file}, [{'.'.join(names[:-1])}] {names[-1]}{entry}"


def _value(settings: Mapping[str, Any], keys: Sequence[int | str]) -> Any:
    value: Any = settings
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return value
    return value


def _purpose(model: type[BaseModel] | None, key: int | str) -> str:
    field = model.model_fields.get(str(key)) if model else None
    text = (field.description or "") if field else ""
    return f" It is: {text.split('. ')[0].rstrip('.')}." if text else ""


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def _short(value: Any) -> str:
    text = str(value) if isinstance(value, date | time) else repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."
