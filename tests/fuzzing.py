"""Valid files, damaged by hypothesis, for the readers; run as a program it prints the figures.

    python -m tests.fuzzing EXAMPLES FOLDER [READER ...]

A reader is fuzzed in a forked process, whose memory is limited, so that a file that claims
terabytes can't have them. What it counts goes to ``count.json``, anew for each input: a crash
leaves the input and the count.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

#: What a reader may take besides what the process has when it starts (bytes).
MEMORY = 1 << 30
#: Longest that a process may take to begin (s), besides a second for each input.
PATIENCE = 150
#: Signals whose handlers (PETSc's, MPI's) would end the parent too.
ENDINGS = (
    signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGILL, signal.SIGTERM,
)  # fmt: skip
#: Crashes of a reader after which it is given up.
MOST_CRASHES = 5

type Step = tuple[str, float, int]
OPERATIONS = ("flip", "byte", "cut", "zero", "repeat", "number", "integer", "swap")
#: What is put in place of a number in the text of a header.
NUMBERS = (
    b"0", b"-1", b"1e308", b"nan", b"999999999", b"99999999999999999999", b"4294967295", b"2.5",
    b"x",
)  # fmt: skip
#: Little-endian integers for binary headers.
INTEGERS = (0, 1, 2**15 - 1, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)


@dataclass(frozen=True)
class Target:
    """A reader and what it reads.

    Attributes:
        make: Writes a valid file (and others) into a folder; gives the one that is damaged.
        read: Reads it.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], object]


def damages() -> st.SearchStrategy[list[Step]]:
    """One to four damages: what is done, where (as a share of the file), with which value."""
    step = st.tuples(
        st.sampled_from(OPERATIONS),
        # Headers are at the beginning: half of the damages go there.
        st.one_of(st.floats(0, 1, exclude_max=True), st.floats(0, 0.05)),
        st.integers(0, 255),
    )
    return st.lists(step, min_size=1, max_size=4)


def damaged(data: bytes, steps: list[Step]) -> bytes:
    """The bytes after some damages."""
    found = bytearray(data)
    for what, where, value in steps:
        at = min(int(where * len(found)), max(len(found) - 1, 0))
        if not found:
            break
        if what == "flip":
            found[at] ^= 1 << (value % 8)
        elif what == "byte":
            found[at] = value
        elif what == "cut":
            del found[at:]
        elif what == "zero":
            found[at : at + value] = bytes(min(value, len(found) - at))
        elif what == "repeat":
            found[at:at] = found[at : at + value]
        elif what == "number":
            found = _with_number(found, at, NUMBERS[value % len(NUMBERS)])
        elif what == "integer":
            size = (2, 4, 8)[value % 3]
            number = INTEGERS[value % len(INTEGERS)] & (1 << 8 * size) - 1
            found[at : at + size] = number.to_bytes(size, "little")
        else:
            other = (at * 7919 + value) % len(found)
            found[at], found[other] = found[other], found[at]
    return bytes(found)


def _with_number(data: bytearray, at: int, number: bytes) -> bytearray:
    """The next number in the text after a place, replaced."""
    digits = b"0123456789.-+"
    start = next((k for k in range(at, min(at + 400, len(data))) if data[k] in digits), None)
    if start is None:
        return data
    end = start
    while end < len(data) and data[end] in digits:
        end += 1
    return data[:start] + number + data[end:]


def fuzz(target: Target, examples: int, number: int, folder: Path) -> None:
    """Read damaged files; counts what happens in ``count.json``."""
    from organtwin.errors import OrgantwinError

    logging.disable(logging.CRITICAL)
    file = target.make(folder)
    valid = file.read_bytes()
    target.read(file)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    count: Counter[str] = Counter()
    bugs: dict[str, str] = {}

    @seed(number)
    @settings(
        max_examples=examples, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(damages())
    def once(steps: list[Step]) -> None:
        data = damaged(valid, steps)
        file.write_bytes(data)
        count["inputs"] += 1
        (folder / "count.json").write_text(json.dumps({"count": count, "bugs": bugs}))
        try:
            target.read(file)
            count["read"] += 1
        except OrgantwinError as error:
            count["refused"] += 1
            # The process of a library ended; the user gets a message all the same.
            count["contained"] += "it crashed" in str(error) or "took longer" in str(error)
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)
            own = [f for f in place if "/organtwin/" in f.filename]
            where = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "?"
            key = f"{type(error).__name__} at {where}"
            count["bugs"] += 1
            if key not in bugs:
                bugs[key] = str(error)[:200]
                (folder / f"bug_{len(bugs)}{''.join(file.suffixes)}").write_bytes(data)

    once()
    (folder / "count.json").write_text(json.dumps({"count": count, "bugs": bugs}))


def fuzzed(target: Target, examples: int, folder: Path) -> dict[str, Any]:
    """Fuzz a reader in forked processes until all examples are tried; what happened.

    Returns:
        ``count`` of inputs, those read, refused (``contained``: a library's process had ended), met
        by other errors (``bugs``) or by the end of the process (``crashes``); and ``bugs``,
        what was said.
    """
    total: Counter[str] = Counter()
    bugs: dict[str, str] = {}
    number = 0
    while total["inputs"] < examples and total["crashes"] < MOST_CRASHES:
        own = folder / f"{number}"
        own.mkdir(parents=True)
        left = examples - total["inputs"]
        code = _ended(_forked(lambda: fuzz(target, left, number, own), own), PATIENCE + left)  # noqa: B023
        record = own / "count.json"
        if not record.is_file():
            raise RuntimeError(f"nothing was tried: {(own / 'said').read_text()[-2000:]}")
        found = json.loads(record.read_text())
        total.update(found["count"])
        bugs |= found["bugs"]
        if code:
            total["crashes"] += 1
            bugs[f"crash {code} of {own.name}"] = (own / "said").read_text()[-300:]
        number += 1
    return {"count": dict(total), "bugs": bugs}


def glanced(targets: Mapping[str, Target], examples: int, folder: Path) -> dict[str, Any]:
    """A few inputs for each of many readers, all in one forked process; what each met, by name."""

    def work() -> None:
        for number, target in enumerate(targets.values()):
            own = folder / f"{number}"
            own.mkdir()
            fuzz(target, examples, number, own)

    code = _ended(_forked(work, folder), PATIENCE)
    if code:
        raise RuntimeError(f"code {code}: {(folder / 'said').read_text()[-2000:]}")
    return {
        name: json.loads((folder / f"{number}" / "count.json").read_text())
        for number, name in enumerate(targets)
    }


def _forked(work: Callable[[], None], folder: Path) -> int:
    """Number of a process that does the work; what it prints goes to a file."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT)
        os.dup2(said, 1)
        os.dup2(said, 2)
        for ending in ENDINGS:
            signal.signal(ending, signal.SIG_DFL)
        work()
        code = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _ended(child: int, limit: float) -> int:
    """Exit code of a process, which is killed when its time is over."""
    start = time.monotonic()
    while time.monotonic() - start < limit:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL


if __name__ == "__main__":
    import organtwin  # noqa: F401  before what uses its libraries
    from tests.fuzzed_readers import TARGETS

    tries, place, *chosen = sys.argv[1:]
    for name in chosen or TARGETS:
        told = fuzzed(TARGETS[name], int(tries), Path(place) / name)
        print(f"{name:<24} {told['count']}", *told["bugs"].items(), sep="\n    ", flush=True)
