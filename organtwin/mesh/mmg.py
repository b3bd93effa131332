"""Working with MMG, which takes signals for itself and does not give them back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: Signals that ask a run to end.
ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


@contextmanager
def signals_kept() -> Iterator[None]:
    """Hold back signals while MMG works, which would end the process, and keep their handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in ASKING}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # one that Python has not set stays
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
