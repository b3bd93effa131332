"""Audit log: who ran what on which input, line by line, each line bound to the one before.

A line is a JSON object. ``hash`` is the SHA-256 of the rest of the line, ``previous`` the hash of
the line before, so that nobody can change, delete or reorder lines without breaking what follows.
That needs no secret, hence does not stop an attacker who may write the file and rewrites it to the
end; who keeps a hash elsewhere can tell by it (`verify`, ``head``). Lines cut off at the end show
in ``FILE.head``, which holds the number of lines and the last hash.

No patient's identity: inputs are told by the hash of their content, never by name or path, and
the command by its name without arguments.

A line that a full disk or a stop of the machine cut short is taken back, and the next one tells of
it (``torn``).
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import logging
import os
import re
import socket
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from organtwin.errors import InputError

logger = logging.getLogger(__name__)

#: Environment variables: the file of the log (``off`` for none), and whether hosts are told.
PLACE, HOST = "ORGANTWIN_AUDIT", "ORGANTWIN_AUDIT_HOST"
#: Name of the log in a result directory.
NAME = "audit.jsonl"
#: What the first line follows.
START = "0" * 64
#: Longest line that is read as one.
LONGEST = 1 << 20
#: Inputs that are told one by one; of more, such as the slices of a scan, all together.
MOST = 64


@dataclass(frozen=True)
class Verdict:
    """What `verify` found.

    Attributes:
        lines: Number of lines that hold.
        last: Hash of the last of them.
        broken: Number of the first line that does not hold, from 1; None if all do.
        reason: What is wrong there.
    """

    lines: int
    last: str
    broken: int | None = None
    reason: str = ""


def place(directory: Path | None = None) -> Path | None:
    """File of the log: the environment's, else in the result directory, else none."""
    wanted = os.environ.get(PLACE, "")
    if wanted.lower() in ("off", "none"):
        return None
    if wanted:
        return Path(wanted).expanduser()
    return None if directory is None else directory / NAME


def content_hash(paths: Iterable[Path]) -> dict[str, str]:
    """Hash of each file's content, or of all files below a folder; numbered, not named."""
    found = {}
    for number, path in enumerate(sorted(set(paths), key=str), 1):
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        hashes = sorted(_sha256(file) for file in files)
        whole = hashlib.sha256("".join(hashes).encode()).hexdigest() if path.is_dir() else hashes[0]
        found[f"input{number}"] = whole
    return found


def numbered(hashes: Iterable[str]) -> dict[str, str]:
    """Hashes of inputs as a line tells them: one by one, or many by the hash of them all."""
    found = sorted(hashes)
    if len(found) <= MOST:
        return {f"input{number}": digest for number, digest in enumerate(found, 1)}
    return {f"{len(found)} inputs": hashlib.sha256("".join(found).encode()).hexdigest()}


def append(log: Path, entry: Mapping[str, Any]) -> str:
    """Add a line; concurrent runs wait for each other; the hash of the line.

    Args:
        log: The file; made, for its owner only, if it is not there.
        entry: What to note; ``previous``, ``number`` and ``hash`` are added.

    Raises:
        InputError: the file can't be written.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)  # given up when the file is closed
            return _append(log, stream, entry)
    except OSError as error:
        raise InputError(
            f"audit log {log}",
            f"it can't be written ({error.strerror}).",
            f"Choose another file by {PLACE}, or `{PLACE}=off` for none.",
        ) from None


def _append(log: Path, stream: FileIO, entry: Mapping[str, Any]) -> str:
    number, previous, torn = _tail(log, stream)
    content = {"number": number + 1, **entry, **torn, "previous": previous}
    content["hash"] = _hash(content)
    size = stream.seek(0, os.SEEK_END)
    _write(stream, _line(content), size)
    draft = _head(log).with_name(f".{_head(log).name}.part")
    draft.write_text(json.dumps({"lines": number + 1, "hash": content["hash"]}) + "\n")
    draft.chmod(0o600)
    draft.replace(_head(log))
    return str(content["hash"])


def _write(stream: FileIO, line: bytes, size: int) -> None:
    """All of a line or nothing of it, as on a disk that is full."""
    try:
        left = memoryview(line)
        while left:
            left = left[stream.write(left) :]
        os.fsync(stream.fileno())
    except OSError:
        with suppress(OSError):  # a file that only grows can't be cut
            stream.truncate(size)
        raise


def _tail(log: Path, stream: FileIO) -> tuple[int, str, dict[str, int]]:
    """Number and hash of the last line, and what the next one tells of a torn one after it.

    A line that never came to its end, as where the machine stopped, makes room: the head does not
    know it. One that was whole once stays as a broken line.
    """
    size = stream.seek(0, os.SEEK_END)
    if size == 0:
        return 0, START, {}
    stream.seek(max(0, size - 2 * LONGEST))
    whole, end, rest = stream.readall().rpartition(b"\n")
    number, last = _line_end(log, whole)
    if not rest:
        return number, last, {}
    if int(_head_content(log).get("lines", 0)) == number:
        with suppress(OSError):
            stream.truncate(size - len(rest))
            return number, last, {"torn": len(rest)}
    _write(stream, b"\n", size)
    return (number, last, {}) if end else (0, START, {})


def _line_end(log: Path, data: bytes) -> tuple[int, str]:
    """Number and hash of the last of some lines; those of the head where it is none."""
    if not data:
        return 0, START
    try:
        found = json.loads(data.rpartition(b"\n")[2])
        return int(found["number"]), str(found["hash"])
    except (ValueError, KeyError, TypeError, RecursionError):
        lines = _head_content(log)
        return int(lines.get("lines", 0)), str(lines.get("hash", START))


def forget(log: Path) -> None:
    """Remove a log, for a run that was refused and leaves nothing behind."""
    log.unlink(missing_ok=True)
    _head(log).unlink(missing_ok=True)


def verify(log: Path, head: str | None = None) -> Verdict:
    """Check a log line by line.

    Args:
        log: The file.
        head: Hash that was noted elsewhere; one of the lines has to have it.

    Raises:
        InputError: the file can't be read.
    """
    before, previous, number, seen = START, START, 0, head is None
    try:
        with log.open("rb") as stream:
            while line := stream.readline(LONGEST):
                reason, found = _checked(line, number + 1, previous)
                if reason:
                    return Verdict(number, previous, number + 1, reason)
                before, previous, number = previous, found, number + 1
                seen = seen or found == head
    except OSError as error:
        raise InputError(f"audit log {log}", f"can't be read ({error.strerror}).") from None
    noted = _head_content(log)
    # The head is written after the line: a run that was killed between them leaves it behind.
    known = [(number, previous), (number - 1, before)]
    if noted and (noted.get("lines"), noted.get("hash")) not in known:
        reason = f"{noted.get('lines')} lines were written, and the last one had another hash"
        return Verdict(number, previous, number + 1, reason)
    if not seen:
        return Verdict(number, previous, number + 1, "no line has the hash that was given")
    return Verdict(number, previous)


def _checked(line: bytes, number: int, previous: str) -> tuple[str, str]:
    """What is wrong with a line, and its hash."""
    if not line.endswith(b"\n"):
        return "it is cut short", ""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return "it is no JSON", ""
    if not isinstance(content, dict) or "hash" not in content:
        return "it has no hash", ""
    if content.get("hash") != _hash(content) or line != _line(content):
        return "its content was changed", ""
    if content.get("number") != number or content.get("previous") != previous:
        told = f"it does not follow from line {number - 1}" if number > 1 else "it is no first line"
        return f"{told}: lines were deleted, added or reordered", ""
    return "", str(content["hash"])


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"


def _hash(content: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in content.items() if key != "hash"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _head(log: Path) -> Path:
    return log.with_name(f"{log.name}.head")


def _head_content(log: Path) -> dict[str, Any]:
    try:
        found = json.loads(_head(log).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def command() -> str:
    """What runs: a command of organtwin without its arguments, which may hold names, or Python."""
    program = Path(sys.argv[0])
    own = program.name == "organtwin" or program.parts[-2:] == ("organtwin", "__main__.py")
    verbs = [word for word in sys.argv[1:] if re.fullmatch("[a-z]+", word)]
    return f"organtwin {verbs[0]}" if own and verbs else "python"


def who() -> dict[str, str]:
    """User, and host if ``ORGANTWIN_AUDIT_HOST=1``."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = f"uid {os.getuid()}"  # in a container without a table of users
    told = {"user": user}
    if os.environ.get(HOST, "") in ("1", "yes", "true"):
        told["host"] = socket.gethostname()
    return told


@dataclass(frozen=True)
class Run:
    """A begun run, of which the log tells the end.

    Attributes:
        log: The file; None if nothing is noted.
        about: What both lines tell.
        begun: When, of the monotonic clock (s).
    """

    log: Path | None
    about: Mapping[str, str]
    begun: float

    def end(self, outcome: str) -> None:
        """Note how it ended; that the log is full is no reason to lose what was computed."""
        if self.log is None:
            return
        seconds = round(time.monotonic() - self.begun, 3)
        line = {"event": "end", "time": _now(), **self.about, "outcome": outcome}
        try:
            append(self.log, {**line, "seconds": seconds})
        except InputError as error:
            logger.warning("%s", error)


def begin(
    log: Path | None, command: str, inputs: Mapping[str, str], facts: Mapping[str, Any]
) -> Run:
    """Note the begin of a run, before anything is computed; on one rank.

    Args:
        log: Where; None notes nothing.
        command: What is run.
        inputs: Hashes of what is read, by name (`content_hash`).
        facts: Versions and the like.

    Raises:
        InputError: the log can't be written.
    """
    about = {"run": uuid.uuid4().hex[:16], **who(), "command": command}
    if log is not None:
        append(log, {"event": "begin", "time": _now(), **about, "inputs": dict(inputs), **facts})
    return Run(log, about, time.monotonic())


@contextmanager
def noted(
    log: Path | None, command: str, inputs: Mapping[str, str], facts: Mapping[str, Any]
) -> Iterator[None]:
    """Note begin and end of a block and how it ended; see `begin`.

    Raises:
        InputError: the log can't be written, before the block is begun.
    """
    run = begin(log, command, inputs, facts)
    try:
        yield
    except BaseException as error:
        run.end(outcome(error))
        raise
    run.end("complete")


def outcome(error: BaseException) -> str:
    """How a run ended that raised; the message stays out, it may cite what is private."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "refused" if isinstance(error, InputError) else f"failed: {type(error).__name__}"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
