"""Observations from CSV files."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from organtwin.calibrate.observations import Observation, Observations
from organtwin.calibrate.quantities import known
from organtwin.errors import InputError, suggestion
from organtwin.units import quantity

COLUMNS = ("quantity", "value", "unit", "error", "time", "held_out", "source")
_NEEDED = ("quantity", "value", "unit", "error")
_TRUE, _FALSE = ("yes", "true", "1"), ("", "no", "false", "0")


def read_csv(path: str | Path) -> Observations:
    """Observations of a CSV file.

    Its first row names the columns: ``quantity``, ``value``, ``unit``, ``error`` (one standard
    deviation, in the same unit); optional are ``time`` (with unit), ``held_out`` (yes, no) and
    ``source``. Empty rows and rows that begin with # are left out.

    Raises:
        InputError: the file is missing or a row is wrong; names file and row.
    """
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(file), f"can't be read as text ({error}).") from None
    kept = [
        (number, line)
        for number, line in enumerate(lines, start=1)
        if line.strip(" ,") and not line.startswith("#")
    ]
    rows = csv.DictReader(line for _, line in kept)
    _check(rows.fieldnames or (), file)
    found = tuple(
        _observation(row, f"{file.name}, row {number}")
        for (number, _), row in zip(kept[1:], rows, strict=True)
    )
    if not found:
        raise InputError(str(file), "no observations in it.", "Write one in each row.")
    return Observations(found)


def _check(columns: object, file: Path) -> None:
    names = [str(name).strip() for name in columns] if isinstance(columns, list) else []
    for name in names:
        if name not in COLUMNS:
            raise InputError(
                f"{file.name}, row 1", f"unknown column `{name}`.", suggestion(name, COLUMNS)
            )
    for name in _NEEDED:
        if name not in names:
            raise InputError(
                f"{file.name}, row 1",
                f"no column `{name}`.",
                f"Name the columns {', '.join(_NEEDED)}; optional: {', '.join(COLUMNS[4:])}.",
            )


def _observation(row: Mapping[str | None, str | None], place: str) -> Observation:
    if None in row or None in row.values():
        raise InputError(place, "not as many fields as columns.", "Leave empty fields empty.")
    field = {str(name): str(text).strip() for name, text in row.items()}
    wanted = known(field["quantity"], f"{place}, quantity")
    value, error = (
        quantity(f"{field[name]} {field['unit']}", wanted.unit, f"{place}, {name}")
        for name in ("value", "error")
    )
    time = field.get("time", "")
    held = field.get("held_out", "").lower()
    if held not in (*_TRUE, *_FALSE):
        raise InputError(f"{place}, held_out", f'"{held}" is neither yes nor no.')
    return Observation(
        wanted.name, value, error, quantity(time, "ms", f"{place}, time") if time else None,
        held in _TRUE, f"{place}; {field['source']}" if field.get("source") else place,
    )  # fmt: skip
