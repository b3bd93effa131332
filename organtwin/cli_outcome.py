"""What commands do with errors: one message and an exit code; see docs/running.md."""

from __future__ import annotations

import errno
import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from organtwin.errors import DiskError, InputError, OrgantwinError

#: Exit code of a file that can't be written (EX_IOERR of sysexits.h), and the system's reasons.
NOT_WRITTEN = 74
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


def code_of(error: OrgantwinError) -> int:
    """Exit code of an error: 2 for wrong input, 74 for a full disk, else 1."""
    if isinstance(error, InputError):
        return 2
    return NOT_WRITTEN if isinstance(error, DiskError) else 1


def not_written(error: OSError) -> str:
    """What is told of a file that can't be written."""
    return (
        f"organtwin: {error.filename or 'a file'}: can't be written ({error.strerror}); what was "
        "computed is kept. Make room, then run the case again: it goes on."
    )


@contextmanager
def outcome() -> Iterator[None]:
    """Turn what a command raises, and signals, into one message and an exit code, on rank 0 alone.

    Processes that work for the command are ended with it: what they have computed is kept.
    """
    from mpi4py import MPI

    from organtwin.run.stopping import INTERRUPTED, SIGNALS

    def tell(message: str) -> None:
        if MPI.COMM_WORLD.rank == 0:
            typer.echo(message, err=True)

    try:
        before = {number: signal.signal(number, _stop) for number in SIGNALS}
    except ValueError:  # off the main thread Python takes no handlers
        before = {}
    try:
        yield
    except OrgantwinError as error:
        tell(f"organtwin: {error}")
        raise typer.Exit(code_of(error)) from None
    except KeyboardInterrupt as stop:
        tell("\norgantwin: interrupted; what was computed is kept.")
        code = getattr(stop, "code", INTERRUPTED)
        if MPI.COMM_WORLD.size > 1:
            MPI.COMM_WORLD.Abort(code)  # others wait for this rank
        raise typer.Exit(code) from None
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        tell(not_written(error))
        raise typer.Exit(NOT_WRITTEN) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    """Handler of signals: a pool of processes would wait for what they are at."""
    from organtwin.run.stopping import stop_at_once

    for worker in multiprocessing.active_children():
        worker.terminate()
    stop_at_once(number, frame)
