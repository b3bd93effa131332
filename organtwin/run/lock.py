"""One run at a time in a result directory."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.parallel import on_root

logger = logging.getLogger(__name__)

#: Name of the lock in a result directory; it goes with the run.
NAME = ".lock"
#: What file systems answer that know no locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def locked(directory: Path, comm: MPI.Comm) -> Iterator[None]:
    """Keep other runs out of a directory while the block runs; collective.

    The lock is the operating system's (``flock``): it ends with the process, however that ends, so
    a killed run leaves none. Where the file system knows no locks, a warning says so.

    Args:
        directory: Result directory; made if it is not there.
        comm: Its rank 0 holds the lock.

    Raises:
        InputError: another run holds it.
    """
    descriptor = on_root(comm, lambda: _take(directory))
    try:
        yield
    finally:
        if comm.rank == 0 and descriptor is not None:
            (directory / NAME).unlink(missing_ok=True)  # before it is free, so it is ours
            os.close(descriptor)
            with suppress(OSError):
                directory.rmdir()  # a run that was refused leaves nothing


@contextmanager
def claimed(file: Path, *, wait: bool = False) -> Iterator[bool]:
    """Keep other processes out of a piece of work, on this machine and on others of its disk.

    Args:
        file: Made if it is not there; it stays.
        wait: Wait for the other one instead of leaving the work to it.

    Yields:
        Whether this process has it; where the file system knows no locks it always has.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        mine = True
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            mine = False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            logger.warning("%s has no file locks: let one process work at a time", file.parent)
        yield mine


def _take(directory: Path) -> int | None:
    """Descriptor of the locked file; None without locks."""
    file = directory / NAME
    directory.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            told = os.read(descriptor, 1000).decode(errors="replace")
            os.close(descriptor)
            if error.errno in _NO_LOCKS:
                logger.warning("%s has no file locks: mind that no other run writes it", directory)
                return None
            raise InputError(
                f"result directory {directory}",
                f"another run writes there{_words(told)}.",
                "Wait for it, stop it, or choose another directory with --out.",
            ) from None
        try:
            same = os.fstat(descriptor).st_ino == file.stat().st_ino
        except FileNotFoundError:
            same = False
        if same:
            break
        os.close(descriptor)  # the run before took its lock away meanwhile
    who = {"process": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")}
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps(who).encode())
    return descriptor


def _words(told: str) -> str:
    try:
        who = json.loads(told)
        return f" (process {who['process']} on {who['host']} since {who['since']})"
    except (ValueError, KeyError, TypeError):
        return ""
