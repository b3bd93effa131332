"""Members of an ensemble: run on any executor, kept in files, retried and accounted for."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from organtwin.calibrate.observations import Observations
from organtwin.calibrate.parameters import Parameter, as_mapping
from organtwin.errors import OrgantwinError

type Vector = NDArray[np.float64]
type Matrix = NDArray[np.float64]

logger = logging.getLogger(__name__)


class Model(Protocol):
    """What predicts observations from parameters."""

    @property
    def observations(self) -> Observations:
        """What it predicts, in their order."""
        ...

    @property
    def fingerprint(self) -> str:
        """Tells models apart whose predictions differ: settings, inputs, versions."""
        ...

    @property
    def batch(self) -> int:
        """Members that it computes best at once; 1 if each is a run of its own."""
        ...

    def __call__(self, values: Matrix, attempt: int) -> Matrix:
        """Predictions (members, observations) of parameters (members, parameters).

        NaN stands where a member failed; a batch of one may also raise. ``attempt`` counts from 0;
        a later one computes with half the step of that before.
        """
        ...


@dataclass(frozen=True)
class Failure:
    """A try that failed.

    Attributes:
        round: Which time the ensemble was run, from 0.
        member: Which member.
        attempt: Which try, from 0.
        parameters: Name → value, in organtwin's units.
        reason: Why, in words.
    """

    round: int
    member: int
    attempt: int
    parameters: dict[str, float]
    reason: str


@dataclass
class Runner:
    """Runs ensembles of one model.

    Every result is written to a folder, under a hash of the model and the parameters, whole or not
    at all: a run that was stopped goes on where it was. A member that fails is tried again with
    half the time step, then with a quarter; what fails even then is NaN for the caller to replace.

    Attributes:
        model: What is run.
        parameters: Its parameters, in the order of the columns.
        executor: Where.
        folder: Where results are kept; None keeps none.
        retries: Further attempts at a member that failed.
        failures: Every try that failed.
        computed, reused: Members that were computed, and read from files.
    """

    model: Model
    parameters: Sequence[Parameter]
    executor: Executor
    folder: Path | None = None
    retries: int = 2
    failures: list[Failure] = field(default_factory=list)
    computed: int = 0
    reused: int = 0
    rounds: int = 0

    def run(self, values: Matrix) -> Matrix:
        """Predictions (members, observations); rows of NaN for those that failed for good."""
        kept = [self._kept(row) for row in values]
        todo = [k for k, one in enumerate(kept) if one is None]
        self.reused += len(values) - len(todo)
        self.computed += len(todo)
        for attempt in range(self.retries + 1):
            batch = self.model.batch if attempt == 0 else 1
            for member, result, reason in self._tried(values, todo, attempt, batch):
                if reason:
                    self._note(member, values[member], attempt, reason)
                else:
                    kept[member] = result
                    self._keep(values[member], result)
            todo = [k for k in todo if kept[k] is None]
        self._tell(len(values), len(todo))
        self.rounds += 1
        length = max((len(one) for one in kept if one is not None), default=0)
        return np.array([np.full(length, np.nan) if one is None else one for one in kept])

    def _tried(
        self, values: Matrix, members: list[int], attempt: int, batch: int
    ) -> Iterator[tuple[int, Vector, str]]:
        """Member, its prediction, and the reason if it failed; in a fixed order."""
        parts = [members[k : k + batch] for k in range(0, len(members), batch)]
        submitted = [
            (part, self.executor.submit(self.model, values[part], attempt)) for part in parts
        ]
        for part, future in submitted:
            results, reason = _outcome(future)
            for position, member in enumerate(part):
                if results is None:
                    yield member, np.empty(0), reason
                elif not np.isfinite(results[position]).all():
                    yield member, np.empty(0), "no finite prediction"
                else:
                    yield member, results[position], ""

    def _note(self, member: int, values: Vector, attempt: int, reason: str) -> None:
        known = dict(as_mapping(self.parameters, values))
        self.failures.append(Failure(self.rounds, member, attempt, known, reason))
        logger.warning(
            "Member %d of round %d failed at try %d: %s",
            member + 1, self.rounds, attempt + 1, reason,
        )  # fmt: skip

    def _tell(self, members: int, lost: int) -> None:
        tries = sum(failure.round == self.rounds for failure in self.failures)
        if tries:
            logger.warning(
                "Round %d: %d tries at %d members failed; %d members failed at every try.",
                self.rounds, tries, members, lost,
            )  # fmt: skip

    def _file(self, values: Vector) -> Path | None:
        if self.folder is None:
            return None
        text = " ".join(f"{p.name}={v:.12e}" for p, v in zip(self.parameters, values, strict=True))
        key = hashlib.sha256(f"{self.model.fingerprint}\n{text}".encode()).hexdigest()
        return self.folder / f"{key[:32]}.npy"

    def _kept(self, values: Vector) -> Vector | None:
        file = self._file(values)
        if file is None or not file.is_file():
            return None
        try:
            return np.asarray(np.load(file), dtype=np.float64)
        except (OSError, ValueError, EOFError) as error:
            logger.warning("%s is damaged (%s): its member is run again.", file, error)
            return None

    def _keep(self, values: Vector, result: Vector) -> None:
        file = self._file(values)
        if file is None:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".part")
        with draft.open("wb") as stream:
            np.save(stream, result)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)


def _outcome(future: Future[Matrix]) -> tuple[Matrix | None, str]:
    """What a model returned, or why it did not; a mistake in the program is not a failed member."""
    try:
        return future.result(), ""
    except (OrgantwinError, ArithmeticError, np.linalg.LinAlgError) as error:
        return None, str(error)
    except BrokenExecutor as error:
        raise OrgantwinError(
            "members",
            f"a worker died ({error}), killed perhaps for want of memory.",
            "Finished members are kept: run it again, with fewer workers.",
        ) from None
