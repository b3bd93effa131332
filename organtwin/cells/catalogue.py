"""Names of the cell models in the library (apart from `model`, which loads a computer algebra)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from organtwin.errors import InputError, suggestion

_REQUIRED = ("definition", "potential", "citation")
_KEYS = (*_REQUIRED, "calcium", "currents", "parameters", "states", "stimulus_ions")


@cache
def library() -> Mapping[str, dict[str, Any]]:
    """Entries of the library by name."""
    path = files("organtwin.cells") / "library" / "library.toml"
    return tomllib.loads(path.read_text("utf-8"))


def is_own(name: str) -> bool:
    """Whether a model's name is the path of an entry of one's own, outside the library."""
    return name.endswith(".toml")


def own_entry(path: Path) -> dict[str, Any]:
    """Entry of a model outside the library: a TOML file with the keys of a library's entry.

    Raises:
        InputError: there is no such file, or it lacks a key or has another one.
    """
    try:
        entry = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(
            str(path), "no such file.", "`organtwin ionic import` writes such files."
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(str(path), f"not readable as TOML: {error}.", "") from None
    unknown, missing = sorted(entry.keys() - set(_KEYS)), sorted(set(_REQUIRED) - entry.keys())
    if unknown:
        raise InputError(str(path), f"no key `{unknown[0]}`.", suggestion(unknown[0], _KEYS))
    if missing:
        raise InputError(str(path), f"no `{missing[0]}`.", "Every model needs one.")
    if not (path.parent / entry["definition"]).is_file():
        raise InputError(
            str(path), f"no file `{entry['definition']}` beside it.", "Correct `definition`."
        )
    return entry


@cache
def drugs() -> Mapping[str, dict[str, Any]]:
    """Entries of the drug library by name."""
    path = files("organtwin.cells") / "library" / "drugs.toml"
    return tomllib.loads(path.read_text("utf-8"))
