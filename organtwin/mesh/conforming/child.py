"""Work of a library that may hang or crash, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import MeshError

#: Signals whose handlers (PETSc's, MPI's) must not run in the child: they end the whole job.
_OWN = (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGILL, signal.SIGTERM)
#: Longest pause between two looks at the child (s).
_PAUSE = 0.05


def in_child(
    work: Callable[[], tuple[NDArray[np.generic], ...]], limit: float, place: str
) -> tuple[NDArray[np.generic], ...]:
    """Do work in a forked process, so that neither a crash nor a hang reaches this one.

    Args:
        work: Gives arrays; must not touch MPI, nor print through Python.
        limit: Time after which it is stopped (s).
        place: Library, for messages.

    Returns:
        The arrays.

    Raises:
        MeshError: what the work raised, or that it crashed or took too long.
    """
    with TemporaryDirectory() as folder:
        child = os.fork()
        if child == 0:
            _be_child(work, Path(folder))
        status = _waited(child, limit)
        failure = Path(folder) / "failure.json"
        if failure.is_file():
            raise MeshError(*json.loads(failure.read_text(encoding="utf-8")))
        if status is None:
            raise MeshError(place, f"it took longer than {limit:.0f} s.")
        if os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) != 0:
            code = os.waitstatus_to_exitcode(status)
            raise MeshError(place, f"it crashed (code {code}).")
        return tuple(np.load(path) for path in sorted(Path(folder).glob("*.npy")))


def _be_child(work: Callable[[], tuple[NDArray[np.generic], ...]], folder: Path) -> None:
    """Work, leave the arrays or the failure in the folder, and end."""
    code = 1
    try:
        for number in _OWN:
            signal.signal(number, signal.SIG_DFL)
        for k, array in enumerate(work()):
            np.save(folder / f"{k:02d}.npy", array)
        code = 0
    except MeshError as error:
        told = json.dumps([error.place, error.problem, error.remedy])
        (folder / "failure.json").write_text(told, encoding="utf-8")
    except BaseException as error:  # nothing may come out of here: it would run on twice
        told = json.dumps(["child", f"{type(error).__name__}: {error}.", ""])
        (folder / "failure.json").write_text(told, encoding="utf-8")
    finally:
        os._exit(code)


def _waited(child: int, limit: float) -> int | None:
    """Status of the child when it has ended; None if it had to be killed."""
    start = time.monotonic()
    pause = 0.001
    try:
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status
            if time.monotonic() - start > limit:
                break
            time.sleep(pause)
            pause = min(2.0 * pause, _PAUSE)
    except BaseException:  # Ctrl-C: the child must not stay behind
        _kill(child)
        raise
    _kill(child)
    return None


def _kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
