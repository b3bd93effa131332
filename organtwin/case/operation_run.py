"""A run of an operation's case, of a valve or an implant: its stages, its record, its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from shutil import rmtree

from mpi4py import MPI

from organtwin.case.manifest import Manifest
from organtwin.case.progress import Progress
from organtwin.case.reporting import report
from organtwin.case.stages import Stage, Work, run_stage
from organtwin.errors import SolverError
from organtwin.parallel import on_root

#: Folder of a stage → its decisions, and its numbers with their units.
type Findings = Callable[[str, Path], tuple[list[str], Mapping[str, tuple[float, str]]]]


class OperationRun:
    """Does stages one after the other, and takes what they found over into ``run.json``.

    Args:
        directory: Result directory.
        manifest: Record of the run.
        fresh: Do finished stages anew.
        findings: Name and folder of a stage → what it found.
        draw: Draws the pictures of the result directory.
        write: Writes its page.
        comm: Communicator.
    """

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        *,
        fresh: bool,
        findings: Findings,
        draw: Callable[[Path, Progress], object],
        write: Callable[[Path], object],
        comm: MPI.Comm,
    ) -> None:
        self.directory, self.manifest, self.fresh, self.comm = directory, manifest, fresh, comm
        self._findings, self._draw, self._write = findings, draw, write

    def folder(self, stage: Stage) -> Path:
        """Where a stage's files lie."""
        return stage.folder(self.directory)

    def do(self, stage: Stage, work: Work, *, everyone: bool = False) -> None:
        """Do a stage if it is not done yet: by rank 0, or by everyone; collective."""
        account = run_stage(
            stage, self.directory, work, comm=self.comm, fresh=self.fresh,
            ranks="all" if everyone else "one",
        )  # fmt: skip
        self.manifest.add_stage(account)
        self._note(stage)

    def solve(self, stage: Stage, work: Work, *, state: str, judged: Stage) -> None:
        """Do the stage that is solved by all ranks; collective.

        Args:
            stage: It leaves its record also where it fails.
            work: Goes on from what lies in its folder's ``state``.
            state: Name of a folder, which goes when the stage is done.
            judged: The stage after it, whose files tell of another solve once this one begins.

        Raises:
            SolverError: it failed; what was found before is reported.
        """
        folder = self.folder(stage)
        kept = partial(rmtree, folder / state, ignore_errors=True)
        if self.fresh:
            on_root(self.comm, kept)

        def afresh(folder: Path, progress: Progress) -> None:
            on_root(self.comm, lambda: self._forget(stage, judged))
            work(folder, progress)

        try:
            self.do(stage, afresh, everyone=True)
        except SolverError as error:
            if on_root(self.comm, lambda: (folder / f"{stage.name}.json").is_file()):
                self._note(stage)
                self.report(f"{type(error).__name__}: {error}")
            raise
        on_root(self.comm, kept)

    def report(self, failure: str = "") -> None:
        """Pictures and page; of a solve that failed with the reason; collective."""

        def write() -> None:
            if failure:
                self.manifest.content.update(status="failed", error=failure)
                self.manifest.write()
            self._write(self.directory)

        report(self.manifest, self.comm, partial(self._draw, self.directory), write)

    def _forget(self, stage: Stage, judged: Stage) -> None:
        """Remove what another solve left here, lest a failed one be told by it."""
        after = self.folder(judged)
        for file in (
            self.folder(stage) / f"{stage.name}.json", after / f"{judged.name}.json",
            after / "stage.json", self.directory / "indices.json",
        ):  # fmt: skip
            file.unlink(missing_ok=True)

    def _note(self, stage: Stage) -> None:
        decisions, numbers = on_root(
            self.comm, lambda: self._findings(stage.name, self.folder(stage))
        )
        self.manifest.add_decisions(decisions)
        self.manifest.add_results(numbers)
