"""Pathologies as presets: keys of a case that ship with their sources."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from organtwin.case.schema import Case
from organtwin.case.schema_circulation import OpenCirculation
from organtwin.errors import InputError, suggestion

#: Keys of a case file: tables within tables.
type Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Preset:
    """Keys of a case file for one pathology.

    Attributes:
        name: Name in a case file.
        description: What it is.
        sources: Where each key's value is from, by its name with dots.
        settings: The keys.
    """

    name: str
    description: str
    sources: Mapping[str, str]
    settings: Settings


@cache
def presets() -> Mapping[str, Preset]:
    """All presets by name."""
    folder = files("organtwin.case") / "presets"
    found = sorted(file.name for file in folder.iterdir() if file.name.endswith(".toml"))
    return {
        name.removesuffix(".toml"): _read(name.removesuffix(".toml"), folder.joinpath(name))
        for name in found
    }


def _read(name: str, file: Any) -> Preset:
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    head = content.pop("preset")
    return Preset(name, head["description"], head["sources"], content)


def with_presets(settings: Settings, place: str) -> dict[str, Any]:
    """Settings on top of those of the presets that they name, later presets above earlier ones.

    What a user gives wins, key by key; a list, such as that of the infarcts, is one key. Keys of a
    closed loop are left out where the user has an open one.

    Args:
        settings: Keys of a case file.
        place: The file, for messages.

    Raises:
        InputError: no preset of that name.
    """
    merged: dict[str, Any] = {}
    for name in _names(settings.get("preset", ())):
        if name not in presets():
            known = suggestion(name, presets())
            raise InputError(f"{place}, preset", f"no preset `{name}`.", known)
        merged = _over(merged, presets()[name].settings)
    return _over(_fitting(merged, settings), settings)


def leaves(settings: Settings, above: str = "") -> Iterator[tuple[str, Any]]:
    """Keys that are no tables, by their name with dots, and their values."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def told(case: Case) -> list[str]:
    """What the presets of a case set, and what they did not, in words."""
    return [_in_words(case, presets()[name]) for name in case.preset]


def _in_words(case: Case, preset: Preset) -> str:
    resolved = case.model_dump(mode="json", exclude_none=True)
    own = _fitting(preset.settings, resolved)
    wanted = Case.model_validate(_over(resolved, own)).model_dump(mode="json", exclude_none=True)
    kept: list[str] = []
    replaced: list[str] = []
    for name, _ in leaves(own):
        value = _at(resolved, name)
        (kept if value == _at(wanted, name) else replaced).append(f"{name} = {_short(value)}")
    parts = [f"sets {', '.join(kept)}"] if kept else []
    parts += [f"would set others where the case has {', '.join(replaced)}"] if replaced else []
    return f"The preset `{preset.name}` {'; it '.join(parts)}."


def _fitting(preset: Settings, settings: Settings) -> Settings:
    """The keys of a preset that a case with this circulation has."""
    circulation, own = settings.get("circulation"), preset.get("circulation", {})
    if not isinstance(circulation, Mapping) or circulation.get("model") != "open_loop":
        return preset
    kept = {key: own[key] for key in own if key in OpenCirculation.model_fields}
    return {**preset, "circulation": kept}


def _names(value: Any) -> Sequence[str]:
    """Names of presets; what is no name is left to the schema to complain of."""
    several = [value] if isinstance(value, str) else value
    if not isinstance(several, list | tuple):
        return ()
    return [name for name in several if isinstance(name, str)]


def _over(below: Settings, above: Settings) -> dict[str, Any]:
    """Two trees of keys in one; where both have a value that of ``above`` counts."""
    both = {
        key: _over(below[key], above[key])
        for key in below.keys() & above.keys()
        if isinstance(below[key], Mapping) and isinstance(above[key], Mapping)
    }
    return {**below, **above, **both}


def _at(settings: Settings, name: str) -> Any:
    value: Any = settings
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_short(one) for one in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key} = {_short(one)}' for key, one in value.items())}}}"
    return str(value)
