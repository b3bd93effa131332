"""What a stage tells about its work, as JSON beside its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from organtwin.export.atomic import write_text


def write_record(file: Path, record: Any) -> None:
    """Write a stage's record: whole or not at all; arrays as lists, paths as text."""
    text = json.dumps(record, indent=2, ensure_ascii=False, default=_plain)
    write_text(file, text + "\n")


def read_record(file: Path) -> dict[str, Any]:
    """Content of a stage's record, which its stage has left."""
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _plain(value: Any) -> Any:
    """What JSON does not know, as it knows it."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
