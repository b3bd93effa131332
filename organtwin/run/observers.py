"""Observers: who looks at a process, when, and what is kept of it."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Protocol

from dolfinx import fem
from mpi4py import MPI

from organtwin.solve.outcome import Step


class Writer(Protocol):
    """Something that stores fields of one time."""

    def write(self, t: float, fields: Mapping[str, fem.Function]) -> None:
        """Store the fields at time ``t`` (ms); collective."""
        ...


class Fields:
    """Store fields at intervals.

    Args:
        writer: Where to.
        fields: Gives the fields of the present state; collective.
        every: Interval (ms).
    """

    def __init__(
        self, writer: Writer, fields: Callable[[], Mapping[str, fem.Function]], every: float
    ) -> None:
        self.every = every
        self._writer = writer
        self._fields = fields

    def observe(self, t: float, step: Step) -> None:
        """Write the present fields."""
        self._writer.write(t, self._fields())


class Table:
    """A row of numbers after each step, in a file that is readable at any time.

    Args:
        comm: Communicator; rank 0 writes.
        path: CSV file.
        row: Gives the columns of the present state by their headings; collective.
        every: Interval (ms); 0 for each step.
        resume: Time (ms) that an interrupted run goes on from: earlier rows of the file are kept.
        kept: Rows of that time itself that are kept, too.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        path: Path,
        row: Callable[[float, Step], Mapping[str, float]],
        every: float = 0.0,
        resume: float | None = None,
        kept: int = 0,
    ) -> None:
        self.every = every
        self._comm = comm
        self._kept = kept
        self._row = row
        self._path = path
        self._resume = resume
        self._stream: IO[str] | None = None

    def observe(self, t: float, step: Step) -> None:
        """Append the present numbers."""
        row = self._row(t, step)
        if self._comm.rank != 0:
            return
        if self._stream is None:
            earlier = self._earlier_rows()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Replaced in one go: a kill meanwhile leaves the rows that were there.
            draft = self._path.with_name(f".{self._path.name}.part")
            with draft.open("w", newline="") as stream:
                csv.writer(stream).writerows([list(row), *earlier])
            draft.replace(self._path)
            self._stream = self._path.open("a", newline="")
        csv.writer(self._stream).writerow([f"{value:.12g}" for value in row.values()])
        self._stream.flush()

    def sync(self) -> None:
        """Bring all rows to the disk: a state that is kept goes on behind them."""
        if self._stream is not None:
            os.fsync(self._stream.fileno())

    def _earlier_rows(self) -> list[list[str]]:
        if self._resume is None or not self._path.is_file():
            return []
        # A kill or a full disk may have cut the last line short.
        # A machine that stopped may leave zeros.
        text = self._path.read_text(encoding="utf-8", errors="replace").split("\0")[0]
        lines = text.splitlines(keepends=True)
        rows = list(csv.reader(line for line in lines if line.endswith("\n")))[1:]
        before = sum(float(row[0]) < self._resume - 1e-9 for row in rows)
        there = sum(float(row[0]) < self._resume + 1e-9 for row in rows)
        return rows[: min(before + self._kept, there)]

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
