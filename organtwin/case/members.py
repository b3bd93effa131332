"""Members of a rehearsal: plans, each carried out in a folder of its own, kept and gone on with."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

import psutil
from mpi4py import MPI

from organtwin.calibrate.executors import executor
from organtwin.case.schema_rehearsal import Value
from organtwin.errors import OrgantwinError
from organtwin.export.atomic import write_text
from organtwin.run.lock import claimed

logger = logging.getLogger(__name__)

#: What a member leaves, the record of how far it is, and the lock of who works on it.
INDICES, RECORD, CLAIM = "indices.json", "member.json", ".claim"


@dataclass(frozen=True)
class Member:
    """A plan by its settings.

    Attributes:
        name: Of its folder.
        settings: Dotted path → value, as in a case file.
    """

    name: str
    settings: Mapping[str, Value]

    @property
    def overrides(self) -> list[str]:
        """As cases are loaded with them."""
        return [f"{key}={json.dumps(value)}" for key, value in self.settings.items()]


class Work(Protocol):
    """Does one member; can be sent to another process."""

    def prepare(self, members: Sequence[Member]) -> None:
        """Do once what these members share."""
        ...

    def key(self, member: Member) -> str:
        """Tells members apart whose results differ."""
        ...

    def __call__(self, member: Member, out: Path) -> None:
        """Leave ``indices.json`` in a folder, going on with what is there."""
        ...


@dataclass(frozen=True)
class State:
    """How far a member is.

    Attributes:
        name: Of the member.
        status: ``waiting``, ``running``, ``interrupted``, ``finished`` or ``failed``.
        key: Of the settings that it was started with.
        reason: Why it failed.
        started: When, in seconds since 1970.
        seconds: Time that it took so far, over all starts (s).
        host, process: Where it runs or ran.
    """

    name: str
    status: str = "waiting"
    key: str = ""
    reason: str = ""
    started: float = 0.0
    seconds: float = 0.0
    host: str = ""
    process: int = 0


@dataclass
class Ensemble:
    """Members, and how far each of them is.

    What a member got to stays in its folder. Those that are finished are used again, those that
    were killed go on, a failed one is kept with its reason and stops no other. Several processes,
    as the tasks of a job array, may work on the same members: each takes what no other one has.

    Attributes:
        members: What is to be done.
        work: Does one.
        folder: Holds a folder for each.
        again: Whether failed ones are tried again, and those that are said to run on another
            machine, of which it can't be seen whether they do.
    """

    members: Sequence[Member]
    work: Work
    folder: Path
    again: bool = False
    _keys: dict[str, str] = field(default_factory=dict)

    def states(self) -> list[State]:
        """How far each is, from the files."""
        return [self._state(member) for member in self.members]

    def todo(self) -> list[Member]:
        """Members that are neither finished nor failed, nor running elsewhere."""
        return [member for member, _ in self._todo()]

    def _todo(self) -> list[tuple[Member, State]]:
        pairs = zip(self.members, self.states(), strict=True)
        return [(member, state) for member, state in pairs if self._wanted(state)]

    def _wanted(self, state: State) -> bool:
        if state.status in ("waiting", "interrupted"):
            return True
        elsewhere = state.status == "running" and state.host != socket.gethostname()
        return self.again and (state.status == "failed" or elsewhere)

    def run(self, pool: Executor, most: int | None = None) -> list[Member]:
        """Do what is to do, on an executor; the members whose process died.

        Args:
            pool: Where.
            most: How many at most.
        """
        chosen = self._todo()[:most]
        with claimed(self.folder / CLAIM, wait=True):
            self.work.prepare([member for member, _ in chosen])
        self._keys.clear()  # what they share may decide what they are
        futures: dict[Future[State], Member] = {}
        lost = []
        for member, seen in chosen:
            try:
                out = self.folder / member.name
                futures[pool.submit(run_member, self.work, member, out, seen)] = member
            except BrokenExecutor:
                lost.append(member)
        for count, future in enumerate(as_completed(futures), start=1):
            try:
                state = future.result()
            except BrokenExecutor:
                lost.append(futures[future])
                continue
            logger.info("%d of %d: %s", count, len(chosen), in_words(state))
        return lost

    def run_on(self, workers: int = 1, most: int | None = None) -> None:
        """Do what is to do in processes of this machine.

        If one dies (memory), what it and its neighbours worked on is started again in half as many
        processes; a member that dies alone in its process has failed.

        Args:
            workers: How many at once; 1 works in this process.
            most: How many members at most.
        """
        with executor(workers) as pool:
            assert pool is not None
            lost = self.run(pool, most)
        if len(lost) == 1 or (lost and workers <= 2):
            for member in lost:
                self._alone(member)
        elif lost:
            logger.warning("A process died; %d members start again.", len(lost))
            Ensemble(lost, self.work, self.folder, self.again).run_on(workers // 2)

    def _alone(self, member: Member) -> None:
        """In a process of its own, which may die."""
        # Two workers make processes; with one it would be this process that dies.
        with executor(2) as pool:
            assert pool is not None
            out = self.folder / member.name
            try:
                state = pool.submit(
                    run_member, self.work, member, out, self._state(member)
                ).result()
            except BrokenExecutor:
                reason = "its process was killed, as it is when memory runs out."
                state = replace(self._state(member), status="failed", reason=reason)
                _write(out, state)
            logger.info("%s", in_words(state))

    def _state(self, member: Member) -> State:
        if member.name not in self._keys:
            self._keys[member.name] = self.work.key(member)
        return state_of(self.folder / member.name, member.name, self._keys[member.name])


@dataclass(frozen=True)
class Workers:
    """Who does the members: processes of this machine, ranks of MPI, or a Dask cluster.

    Attributes:
        processes: Of this machine; on several ranks these work instead, a member each.
        cluster: Address of a Dask scheduler; its workers see the same files.
        most: How many members at most.
        again: Whether members that failed, or were lost on another machine, are tried again.
        comm: Communicator.
    """

    processes: int = 1
    cluster: str | None = None
    most: int | None = None
    again: bool = False
    comm: MPI.Intracomm = field(default_factory=lambda: MPI.COMM_WORLD)

    def lead[T](self, work: Callable[[Callable[[Ensemble], None]], T]) -> T | None:
        """Let rank 0 work with a function that runs ensembles; collective.

        Returns:
            What ``work`` returned; None on the other ranks, which did what it asked for.

        Raises:
            OrgantwinError: what ``work`` raised, on all ranks.
        """
        failure: OrgantwinError | None = None
        found: T | None = None
        with executor(1, cluster=self.cluster, comm=self.comm) as pool:
            if pool is not None:
                try:
                    found = work(lambda ensemble: self._run(ensemble, pool))
                except OrgantwinError as error:
                    failure = error
        failure = self.comm.bcast(failure)
        if failure is not None:
            raise failure
        return found

    def _run(self, ensemble: Ensemble, pool: Executor) -> None:
        ensemble.again = self.again
        if self.comm.size == 1 and self.cluster is None:
            ensemble.run_on(self.processes, self.most)
            return
        for member in ensemble.run(pool, self.most):
            logger.warning("%s was lost with its process; it goes on at the next start, where that "
                           "is on another machine with --again.", member.name)  # fmt: skip


def run_member(work: Work, member: Member, out: Path, seen: State) -> State:
    """Do one member and note how it went; whatever it raises is its reason to have failed.

    Args:
        work: Does it.
        member: What.
        out: Its folder.
        seen: How far it was when it was chosen. One that another process has taken up since then
            is left to that.
    """
    key = work.key(member)
    with claimed(out / CLAIM) as mine:
        found = state_of(out, member.name, key)
        if not mine or replace(found, key="") != replace(seen, key=""):
            return found
        return _done(work, member, out, key)


def _done(work: Work, member: Member, out: Path, key: str) -> State:
    """A member as it came to its end."""
    begun = time.time()
    before = _read(out)
    spent = before.seconds if before is not None and before.key == key else 0.0
    here = State(member.name, "running", key, "", begun, spent, socket.gethostname(), os.getpid())
    out.mkdir(parents=True, exist_ok=True)
    _write(out, here)
    status, reason = "interrupted", ""
    try:
        work(member, out)
        if (out / INDICES).is_file():
            status = "finished"
        else:
            status, reason = "failed", f"it left no {INDICES}."
    except OrgantwinError as error:
        status, reason = "failed", str(error)
    except Exception as error:  # a mistake in the program is this member's alone
        status, reason = "failed", f"{type(error).__name__}: {error}"
        (out / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
    finally:
        seconds = round(spent + time.time() - begun, 1)
        done = replace(here, status=status, reason=reason, seconds=seconds)
        _write(out, done)
    return done


def state_of(out: Path, name: str, key: str) -> State:
    """How far the member in a folder is.

    Args:
        out: Its folder.
        name: Its name.
        key: Of its settings now; what was done with others counts for nothing.
    """
    found = _read(out)
    if found is None or found.key != key:
        return State(name, key=key)
    if found.status == "finished" and not (out / INDICES).is_file():
        return replace(found, status="interrupted")
    if found.status == "running" and found.host == socket.gethostname() and not _alive(found):
        return replace(found, status="interrupted")
    return found


def minutes(state: State) -> float:
    """Time that a member took so far."""
    now = time.time() - state.started if state.status == "running" else 0.0
    return (state.seconds + now) / 60.0


def in_words(state: State) -> str:
    """A member's state in a line."""
    spent = f"{minutes(state):.1f} min"
    if state.status == "failed":
        return f"{state.name} failed: {state.reason}"
    if state.status == "finished":
        return f"{state.name} finished in {spent}"
    if state.status == "running":
        return f"{state.name} runs on {state.host} since {spent}"
    return f"{state.name} {state.status}"


def read_indices(out: Path) -> list[dict[str, object]]:
    """Records of a finished member."""
    found: list[dict[str, object]] = json.loads((out / INDICES).read_text(encoding="utf-8"))
    return found


def finished(states: Sequence[State]) -> Iterator[State]:
    """Those that are finished."""
    return (state for state in states if state.status == "finished")


def _alive(state: State) -> bool:
    """Whether the process that works on a member is still there, and the same one."""
    try:
        return psutil.Process(state.process).create_time() <= state.started
    except psutil.Error:
        return False


def _read(out: Path) -> State | None:
    try:
        return State(**json.loads((out / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write(out: Path, state: State) -> None:
    write_text(out / RECORD, json.dumps(asdict(state), indent=2) + "\n")
