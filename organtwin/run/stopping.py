"""Stopping on request: a signal ends the run after the present step, with its state kept.

A cluster sends SIGTERM before it ends a job (Slurm: time limit, preemption), SIGUSR1 when asked to
(``sbatch --signal=USR1@120``), a user sends SIGINT by Ctrl-C. Within a time loop the first of them
is a request; a second one, and any outside of a time loop, ends the run at once.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mpi4py import MPI

from organtwin.errors import OrgantwinError
from organtwin.run.checkpoint import Checkpoint
from organtwin.solve.outcome import Step

logger = logging.getLogger(__name__)

#: Signals that ask for an end.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
#: Exit codes: of Ctrl-C, and of a run that others stopped and that goes on when it is run again
#: (EX_TEMPFAIL of sysexits.h).
INTERRUPTED, STOPPED = 130, 75
#: Longest time between two checkpoints (s), and the environment variable that says otherwise.
WALL_INTERVAL, SWITCH = 600.0, "ORGANTWIN_CHECKPOINT_SECONDS"


class StoppedError(OrgantwinError):
    """A run was stopped on request; its state is kept, running it again goes on from there.

    Attributes:
        code: Exit code.
    """

    def __init__(self, place: str, problem: str, remedy: str, code: int) -> None:
        super().__init__(place, problem, remedy)
        self.code = code

    def __reduce__(self) -> tuple[type[StoppedError], tuple[str, str, str, int]]:
        return StoppedError, (self.place, self.problem, self.remedy, self.code)


class StopAtOnce(KeyboardInterrupt):
    """A signal that ends a run outside of a time loop, or the second one within.

    Attributes:
        code: Exit code.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = exit_code(number)


def exit_code(number: int) -> int:
    """Exit code of a run that this signal ended."""
    return INTERRUPTED if number == signal.SIGINT else STOPPED


def stop_at_once(number: int, frame: FrameType | None) -> None:
    """Handler of signals that come outside of time loops.

    Raises:
        StopAtOnce: always.
    """
    raise StopAtOnce(number)


class Requests:
    """Signals that came while `listening`."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take a signal; the second one ends the run at once.

        Raises:
            StopAtOnce: it is the second.
        """
        if self._number:
            raise StopAtOnce(number)
        self._number = number
        logger.warning("stopping after this step; a second signal stops at once")

    def asked(self, comm: MPI.Comm) -> int:
        """The signal that some rank has, 0 for none; collective."""
        return int(comm.allreduce(self._number, op=MPI.MAX))


@contextmanager
def listening() -> Iterator[Requests]:
    """Take signals as requests while the block runs."""
    requests = Requests()
    # Off the main thread Python takes no handlers: there nothing is asked.
    try:
        before = {number: signal.signal(number, requests) for number in SIGNALS}
    except ValueError:
        before = {}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Keeper:
    """Observer of every step: keeps the state now and then by the clock, and ends on request.

    Put it behind the others, so that they have seen the time that the run stops at.

    Args:
        comm: Communicator.
        checkpoint: What keeps the state.
        requests: Signals.
        seconds: Longest time between two checkpoints (s); that of the environment if None.
    """

    every = 0.0

    def __init__(
        self,
        comm: MPI.Comm,
        checkpoint: Checkpoint,
        requests: Requests,
        seconds: float | None = None,
    ) -> None:
        self._comm = comm
        self._checkpoint = checkpoint
        self._requests = requests
        self._seconds = wall_interval() if seconds is None else seconds

    def observe(self, t: float, step: Step) -> None:
        """Look at the clock and at the signals; collective.

        Raises:
            StoppedError: a signal asked for it.
        """
        asked = self._requests.asked(self._comm)
        late = self._comm.bcast(time.monotonic() - self._checkpoint.written > self._seconds)
        if (asked or late) and self._checkpoint.last != t:
            self._checkpoint.observe(t, step)
        if asked:
            kept = self._checkpoint.last
            raise StoppedError(
                signal.Signals(asked).name,
                f"stopped at t = {t:g} ms; "
                + ("no state could be kept." if kept is None else f"kept is {kept:g} ms."),
                "Running the case again goes on from there.",
                exit_code(asked),
            )


def wall_interval() -> float:
    """Longest time between two checkpoints (s) that the environment asks for."""
    try:
        return max(0.0, float(os.environ.get(SWITCH, WALL_INTERVAL)))
    except ValueError:
        logger.warning("%s is no number: %g s are taken", SWITCH, WALL_INTERVAL)
        return WALL_INTERVAL
