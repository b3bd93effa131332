"""How far a stage is: a bar on a terminal, plain lines in a log; rank 0 alone shows it."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psutil
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

if TYPE_CHECKING:  # the doctor logs too, also where MPI can't start
    from mpi4py import MPI

logger = logging.getLogger(__name__)

#: Least time between two lines of a log (s).
LOG_INTERVAL = 10.0


class Progress(Protocol):
    """What a stage tells about its way through its work."""

    def __call__(self, fraction: float, note: str = "") -> None:
        """Say that ``fraction`` (0 to 1) is done; ``note`` is a word on where it stands."""
        ...


@cache
def console() -> Console:
    """The console that bars and messages share, so that they don't overwrite each other."""
    return Console(stderr=True, force_terminal=True if _launcher_has_terminal() else None)


@contextmanager
def showing(title: str, comm: MPI.Comm) -> Iterator[Progress]:
    """Show the progress of one stage while the block runs.

    Args:
        title: Name of the stage.
        comm: Its rank 0 shows, the others stay silent.

    Yields:
        The function that the stage calls with the fraction done.
    """
    if comm.rank:
        yield _silent
    elif console().is_terminal:
        with _bar(title) as progress:
            yield progress
    else:
        yield _Lines(title)


class SimulatedTime:
    """Where a simulation stands, how fast it is and when it ends, in a few words.

    Args:
        start: Simulated time at which it begins (ms).
        end: Simulated time at which it ends (ms).
    """

    def __init__(self, start: float, end: float) -> None:
        self._start, self._end = start, end
        self._begun = time.monotonic()

    def __call__(self, t: float) -> str:
        """Words for the simulated time ``t`` (ms)."""
        elapsed = time.monotonic() - self._begun
        if t <= self._start or elapsed <= 0:
            return f"{t:.0f} ms"
        speed = (t - self._start) / elapsed
        left = timedelta(seconds=round((self._end - t) / speed))
        return f"{t:.0f} of {self._end:.0f} ms, {speed:.3g} ms per second, ends in {left}"


def _silent(fraction: float, note: str = "") -> None:
    """Show nothing."""


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description:<20}"),
        BarColumn(bar_width=32),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with RichProgress(*columns, console=console(), refresh_per_second=4) as bars:
        task = bars.add_task(title, total=1.0, note="")

        def show(fraction: float, note: str = "") -> None:
            bars.update(task, completed=fraction, note=note)

        yield show
        bars.update(task, completed=1.0, note="")


class _Lines:
    """A line of the log now and then."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.last = time.monotonic()

    def __call__(self, fraction: float, note: str = "") -> None:
        if time.monotonic() - self.last >= LOG_INTERVAL:
            self.last = time.monotonic()
            logger.info("%s: %.0f %% %s", self.title, 100 * fraction, note)


def _launcher_has_terminal() -> bool:
    """Whether mpiexec, which hands our lines on through a pipe, itself writes to a terminal."""
    if sys.stderr.isatty():
        return True
    try:
        launchers = [
            p for p in psutil.Process().parents() if p.name().startswith(("mpi", "orte", "prte"))
        ]
        return any("/pts/" in str(Path(f"/proc/{p.pid}/fd/2").readlink()) for p in launchers)
    except (OSError, psutil.Error):
        return False
