"""Tables of scalars over time."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError


def read_table(path: str | Path) -> dict[str, NDArray[np.float64]]:
    """Columns of a CSV file, of a finished run or of one that still writes.

    A last line that has no end yet is left out.

    Args:
        path: CSV file with a header, for example ``scalars.csv`` of a result directory.

    Returns:
        Header of the column, for example ``"p_lv [mmHg]"`` → values (n,).

    Raises:
        InputError: the file is missing, empty, or its rows are not numbers.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(str(file), "no such table.", "Run the case first.")
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    rows = list(csv.reader(line for line in lines if line.endswith("\n")))
    if not rows:
        raise InputError(str(file), "the table is empty.", "Run the case again.")
    header = rows[0]
    try:
        values = np.array(rows[1:], dtype=np.float64).reshape(-1, len(header))
    except ValueError as error:
        raise InputError(str(file), f"not a table of numbers ({error}).") from None
    return {name: values[:, column] for column, name in enumerate(header)}


def write_rows(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write a table whose columns are the keys of its rows, all the same."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(list(rows[0]))
        table.writerows([f"{value:.10g}" for value in row.values()] for row in rows)
