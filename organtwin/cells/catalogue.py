"""Names of the cell models in the library (apart from `model`, which loads a computer algebra)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def library() -> Mapping[str, dict[str, Any]]:
    """Entries of the library by name."""
    path = files("organtwin.cells") / "library" / "library.toml"
    return tomllib.loads(path.read_text("utf-8"))
