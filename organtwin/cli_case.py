"""What `organtwin run` and its kin do with a case file: of a heart, a valve or an implant."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from organtwin.errors import InputError

if TYPE_CHECKING:
    from mpi4py import MPI

    from organtwin.case.estimate import Estimate
    from organtwin.case.implant_estimate import ImplantEstimate
    from organtwin.case.schema import Case
    from organtwin.case.tavr_estimate import TavrEstimate

    type Size = Estimate | TavrEstimate | ImplantEstimate

#: Settings that are named, of those that a run does not have.
MOST = 5


@dataclass(frozen=True)
class Kind:
    """How the case files of a kind are worked on.

    Attributes:
        load: Path and settings → the checked case.
        run: Does its stages.
        estimate: Case and number of ranks → its expected size.
        numbers: Files of the result directory that people look into.
        stages: Stage of a heart's simulation → the stage that commands mean by it here.
    """

    load: Callable[[Path, Sequence[str]], Any]
    run: Callable[..., Path]
    estimate: Callable[[Any, int], Size]
    numbers: tuple[str, ...]
    stages: Mapping[str, str] = field(default_factory=dict)


def kind_of(path: Path, comm: MPI.Comm) -> Kind:
    """Kind of a case file, by its sections; collective.

    Raises:
        InputError: the file is missing or not TOML.
    """
    from organtwin.case.load import is_implant_case, is_tavr_case
    from organtwin.parallel import on_root

    def name() -> str:
        if is_tavr_case(path):
            return "valve"
        return "implant" if is_implant_case(path) else "heart"

    return {"heart": _heart, "valve": _valve, "implant": _implant}[on_root(comm, name)]()


def _heart() -> Kind:
    from organtwin.case.estimate import estimate
    from organtwin.case.pipeline import run_case

    return Kind(_load_heart, run_case, estimate, ("scalars.csv", "run.json"))


def _valve() -> Kind:
    from organtwin.case.load import load_tavr_case
    from organtwin.case.tavr_estimate import estimate
    from organtwin.case.tavr_pipeline import run_tavr

    stages = {
        "image": "measure", "mesh": "root", "cell": "root", "solve": "deploy", "report": "report",
    }  # fmt: skip
    return Kind(load_tavr_case, run_tavr, estimate, ("indices.json", "run.json"), stages)


def _implant() -> Kind:
    from organtwin.case.implant_estimate import estimate
    from organtwin.case.implant_pipeline import run_implant
    from organtwin.case.load import load_implant_case

    stages = {"image": "plan", "mesh": "plan", "cell": "plan", "solve": "solve", "report": "report"}
    numbers = ("indices.json", "result.npz", "run.json")
    return Kind(load_implant_case, run_implant, estimate, numbers, stages)


def _load_heart(path: Path, settings: Sequence[str]) -> Case:
    """A heart's case; one that only makes a mesh is told."""
    from organtwin.case.load import is_organ_case, load_case

    if is_organ_case(path):
        raise InputError(
            path.name,
            "its `[source]` makes it the case of an organ's mesh, which has nothing to solve.",
            f"Mesh it: `organtwin mesh {path}`.",
        )
    return load_case(path, settings)


def run(
    path: Path, settings: Sequence[str], out: Path | None, fresh: bool, only: set[str] | None,
    comm: MPI.Comm,
) -> None:  # fmt: skip
    """Do the stages of a case and tell where to look; collective.

    Args:
        path: Case file.
        settings: Settings that replace those of the file.
        out: Result directory instead of the case's own.
        fresh: Do finished stages anew.
        only: Stages of a heart's simulation that are wanted; all if None.
        comm: Communicator.
    """
    from organtwin.parallel import on_root

    kind = kind_of(path, comm)
    case = on_root(comm, lambda: kind.load(path, settings))
    if only == {"report"}:
        on_root(comm, lambda: _require_run_of(case, out or case.output.directory, "report"))
    wanted = None if only is None else {kind.stages.get(name, name) for name in only}
    directory = kind.run(case, out=out, fresh=fresh, only=wanted, comm=comm)
    if comm.rank == 0 and (only is None or "report" in only):
        films = sorted((directory / "fields").glob("*.pvd"))
        typer.echo(
            f"\nReport:    {directory / 'report.html'}\n"
            f"Pictures:  {directory / 'pictures'}\n"
            f"ParaView:  {' '.join(str(film) for film in films) or 'no fields were written'}\n"
            f"Numbers:   {', '.join(str(directory / name) for name in kind.numbers)}"
        )


def print_resolved(path: Path, settings: Sequence[str], comm: MPI.Comm) -> None:
    """The case as TOML with its size in comments, to be saved and run again; collective."""
    from organtwin.parallel import on_root

    kind = kind_of(path, comm)
    case = on_root(comm, lambda: kind.load(path, settings))
    size = on_root(comm, lambda: kind.estimate(case, comm.size))
    if comm.rank:
        return
    import tomli_w

    typer.echo(tomli_w.dumps(case.model_dump(mode="json", exclude_none=True)))
    rows = {
        **size.in_words(),
        "memory": f"{size.memory / 1024:.1f} GiB",
        "time": f"{size.time / 60:.0f} min on {comm.size} rank(s)",
    }
    typer.echo("# Estimated, to a factor of two:")
    for name, value in rows.items():
        number, unit = value.split(" ", 1) if " " in value else (value, "")
        typer.echo(f"#   {name:<20} {number:>10} {unit}".rstrip())


def require_begun(
    path: Path, settings: Sequence[str], out: Path | None, fresh: bool, comm: MPI.Comm
) -> None:
    """Refuse to go on with a run that never began; collective.

    Raises:
        InputError: there is none in its directory, or one with other settings, or it is to begin
            anew.
    """
    from organtwin.parallel import on_root

    if fresh:
        raise InputError("--resume", "--fresh begins anew.", "Leave one of them out.")
    kind = kind_of(path, comm)

    def look() -> None:
        case = kind.load(path, settings)
        _require_run_of(case, out or case.output.directory, "--resume")

    on_root(comm, look)


def _require_run_of(case: Any, directory: Path, what: str) -> None:
    """Refuse a directory that holds no run of a case, or one with other settings.

    Raises:
        InputError: naming what is not as it was; places of files may be others.
    """
    from organtwin.case.manifest import read_manifest

    record = read_manifest(directory)
    if record is None:
        raise InputError(
            what, f"{directory} holds no run.",
            f"Begin one without {what}, or name its directory with --out.",
        )  # fmt: skip
    now, then = (dict(_flat(one)) for one in (_told(case), record.get("case", {})))
    changed = [
        f"{key} = {then.get(key, 'none')}, now {now.get(key, 'none')}"
        for key in sorted(now.keys() | then.keys())
        if now.get(key) != then.get(key)
        and not all(str(one.get(key, "")).startswith("/") for one in (now, then))
    ]
    if changed:
        more = f" and {len(changed) - MOST} more" if len(changed) > MOST else ""
        raise InputError(
            what, f"the run in {directory} has other settings: {'; '.join(changed[:MOST])}{more}.",
            "Give the case file and the settings (--set) of that run.",
        )  # fmt: skip


def _told(case: Any) -> dict[str, Any]:
    """A case as records hold it."""
    told: dict[str, Any] = json.loads(json.dumps(case.model_dump(mode="json", exclude_none=True)))
    return told


def _flat(section: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value
