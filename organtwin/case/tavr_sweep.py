"""A rehearsal from its case file: members of the sweep, what they share, their ranks."""

from __future__ import annotations

import csv
import json
import logging
import math
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from mpi4py import MPI

from organtwin.case.load import load_tavr_case
from organtwin.case.manifest import git_commit, machine, versions
from organtwin.case.members import (
    Ensemble,
    Member,
    State,
    Work,
    Workers,
    finished,
    read_indices,
)
from organtwin.case.schema_rehearsal import ChoiceSettings, RehearsalCase, Value
from organtwin.case.schema_tavr import TavrCase
from organtwin.case.stages import Stage, sha256
from organtwin.choice import Choice, IndexValue, Rank, found_in
from organtwin.errors import InputError, OrgantwinError
from organtwin.export.atomic import write_text
from organtwin.export.pages import read_json
from organtwin.tavr.criteria import DEFAULT

logger = logging.getLogger(__name__)

#: Folder of the stages that members share.
BASE = "shared"
#: Axis of a sweep → setting of a deployment.
AXES = {
    "device": "device.name", "size": "device.size",
    "depth": "deployment.depth", "tilt": "deployment.tilt",
}  # fmt: skip


@dataclass(frozen=True)
class CaseDeployment:
    """Deploys by a case file with other settings; each member in a folder of its own.

    The scan is segmented and measured once. Members with the same device and size share a mesh, as
    far as they do not change it: where the case does not say how much of the aorta is meshed, it is
    what the device needs at the depth 0, whatever its own depth is.

    Attributes:
        file: Case file of a deployment.
        settings: Settings of all members.
        shared: Folder with what members share.
    """

    file: Path
    settings: tuple[tuple[str, Value], ...]
    shared: Path

    @property
    def measured(self) -> Path:
        """Folder of the measures."""
        return self.shared / "stages" / "measure"

    def case(self, member: Member) -> TavrCase:
        """The case of a member."""
        settings = {**dict(self.settings), **member.settings}
        case = load_tavr_case(self.file, Member("", settings).overrides)
        above = self._above(case)
        if above is None:
            return case
        return load_tavr_case(self.file, Member("", {**settings, "root.above": above}).overrides)

    def key(self, member: Member) -> str:
        """Resolved settings, contents of the files that are read, version and code.

        Where files lie and where results are written counts for nothing.
        """
        from organtwin.case.tavr_pipeline import inputs

        case = self.case(member)
        content = case.model_dump(exclude={"title", "output"})
        # A device may be given by its file, whose place counts no more than that of the scan.
        content["device"]["name"] = Path(case.device.name).stem
        files = [_content(file) for file in inputs(case)]
        return Stage("member", settings=(content, files), code=code_of(case)).key[:16]

    def measure(self) -> None:
        """Segment and measure the scan.

        Raises:
            OrgantwinError: that is not possible.
        """
        from organtwin.case.tavr_pipeline import run_tavr

        case = load_tavr_case(self.file, Member("", dict(self.settings)).overrides)
        try:
            run_tavr(case, out=self.shared, only={"measure"}, comm=MPI.COMM_SELF)
        except OrgantwinError:
            # The case's own device may not fit; each member is judged by itself.
            if not (self.measured / "stage.json").is_file():
                raise

    def prepare(self, members: Sequence[Member]) -> None:
        """Measure, and mesh once for each device and size."""
        from organtwin.case.tavr_pipeline import run_tavr

        if members:
            self.measure()
        for base, member in {self._base(one): one for one in reversed(members)}.items():
            _take_over(self.shared, base)
            own = {key: one for key, one in member.settings.items() if key.startswith("device.")}
            try:
                case = self.case(Member("", own))
                run_tavr(case, out=base, only={"measure", "root"}, comm=MPI.COMM_SELF)
            except OrgantwinError as error:
                logger.info("%s: no mesh to share: %s", base.name, error)  # members tell why

    def __call__(self, member: Member, out: Path) -> None:
        """Work it, on one rank; stages whose settings differ from those shared are done anew."""
        from organtwin.case.tavr_pipeline import run_tavr

        for base in (self._base(member), self.shared):
            _take_over(base, out)
        run_tavr(self.case(member), out=out, comm=MPI.COMM_SELF)

    def _base(self, member: Member) -> Path:
        """Folder with what members of one device and size share."""
        case = load_tavr_case(self.file, Member("", {**dict(self.settings),
                                                     **member.settings}).overrides)  # fmt: skip
        return self.shared / f"{Path(case.device.name).stem}-{case.device.size}"

    def _above(self, case: TavrCase) -> str | None:
        """Length of aorta that the device needs at the depth 0; none if the case tells it."""
        from organtwin.case.tavr_root import LEAST, height_needed
        from organtwin.devices.device_files import load_device, sizes

        measures = self.measured / "measures.json"
        device = case.device
        if case.root.above is not None or not measures.is_file():
            return None
        if device.size not in sizes(device.name):
            return None
        junction = read_json(measures)["measures"]["junction_height"]["value"]
        needed = height_needed(load_device(device.name, device.size), 0.0) - junction
        return f"{max(needed, LEAST):.1f} mm"


def code_of(case: TavrCase) -> tuple[str, ...]:
    """Modules and packages that decide what a deployment comes to: those of its stages."""
    from organtwin.case.tavr_pipeline import SOLVERS, measure_stage

    return tuple(sorted({*measure_stage(case).code, "organtwin.mesh", *SOLVERS, "organtwin.tavr"}))


def _content(file: Path) -> str:
    """Hash of a file, which all members ask for."""
    found = file.stat()
    return _hashed(file, found.st_mtime_ns, found.st_size)


@cache
def _hashed(file: Path, changed: int, size: int) -> str:
    return sha256(file)


def _take_over(base: Path, out: Path) -> None:
    """Copy stages that are not there yet, and the measures if they are others."""
    stages = base / "stages"
    for stage in sorted(stages.iterdir()) if stages.is_dir() else ():
        own = out / "stages" / stage.name
        if stage.name == "measure" and _key(own) != _key(stage):
            shutil.rmtree(own, ignore_errors=True)
        if not own.exists():
            shutil.copytree(stage, own)


def _key(stage: Path) -> object:
    return read_json(stage / "stage.json").get("account", {}).get("key")


@dataclass(frozen=True)
class Outcome:
    """What a rehearsal has come to.

    Attributes:
        members: Of the sweep.
        states: How far each is.
        indices: Name → indices of those that are finished.
        ranks: These, best first.
        choice: What they were ranked by.
    """

    members: tuple[Member, ...]
    states: tuple[State, ...]
    indices: Mapping[str, tuple[IndexValue, ...]]
    ranks: tuple[Rank, ...]
    choice: Choice

    @property
    def best(self) -> Member | None:
        """The one that is ranked first; None while there is none."""
        first = self.ranks[0].name if self.ranks else ""
        return next((one for one in self.members if one.name == first), None)


def run_rehearsal(
    case: RehearsalCase, *, out: Path, workers: Workers | None = None, deploy: Work | None = None
) -> Outcome | None:
    """Do the members of a sweep and rank them; collective.

    Args:
        case: What to deploy.
        out: Result directory; members that it holds are used again or gone on with.
        workers: Who does them; this process without it.
        deploy: Does a member, in place of the case's own deployment.

    Returns:
        What it has come to; None on other ranks than 0.

    Raises:
        InputError: the case does not fit together.
    """
    own = deploy or deployment_of(case, out)

    def work(run: Callable[[Ensemble], None]) -> Outcome:
        choice_of(case.choice)  # refused before anything is computed
        members = prepared(case, own, out)
        run(Ensemble(members, own, out / "members"))
        outcome = look(case, members, own, out)
        write_ranking(case, outcome, out)
        return outcome

    return (workers or Workers()).lead(work)


def deployment_of(case: RehearsalCase, out: Path) -> CaseDeployment:
    """What does a member of a case."""
    return CaseDeployment(case.case, tuple(case.settings.items()), out / BASE)


def prepared(case: RehearsalCase, deploy: Work, out: Path) -> tuple[Member, ...]:
    """Members of the sweep; measures the scan if that decides what there is."""
    if _by_fit(case) and isinstance(deploy, CaseDeployment):
        deploy.measure()
    return known_members(case, out)


def known_members(case: RehearsalCase, out: Path) -> tuple[Member, ...]:
    """Members of the sweep; none while it is not known which sizes fit.

    Raises:
        InputError: there is nothing to deploy, or a setting is wrong.
    """
    common = dict(case.settings)
    names = case.sweep.device or (_case(case, common).device.name,)
    if not _by_fit(case):
        return members_of(case, names, {})
    if not (out / BASE / "stages" / "measure" / "stage.json").is_file():
        return ()
    files = {name: _case(case, {**common, AXES["device"]: name}).device.name for name in names}
    return members_of(case, names, {one: fitting_sizes(files[one], out) for one in names})


def _case(case: RehearsalCase, settings: Mapping[str, Value]) -> TavrCase:
    return load_tavr_case(case.case, Member("", settings).overrides)


def _by_fit(case: RehearsalCase) -> bool:
    return case.sweep.size == "fitting"


def fitting_sizes(name: str, out: Path) -> tuple[str, ...]:
    """Sizes of a device that fit the annulus that was measured.

    Args:
        name: Device of the catalogue, or its file.
        out: Result directory.
    """
    from organtwin.case.tavr_root import read_measures, sizes_of
    from organtwin.devices.device_files import sizes

    found = read_measures(out / BASE / "stages" / "measure")
    compared = dict(zip(sizes(name), found.sizes(sizes_of(name)), strict=True))
    return tuple(size for size, one in compared.items() if one.fits)


def members_of(
    case: RehearsalCase, devices: Sequence[str], fitting: Mapping[str, Sequence[str]]
) -> tuple[Member, ...]:
    """Every value of a sweep with every other.

    Args:
        case: The rehearsal.
        devices: Names of devices.
        fitting: Device → sizes that fit, where the sweep asks for these.

    Raises:
        InputError: there is nothing to deploy, or two members have the same name.
    """
    sweep = case.sweep
    rest: dict[str, Sequence[Value]] = {
        AXES[axis]: values for axis, values in (("depth", sweep.depth), ("tilt", sweep.tilt))
        if values
    }  # fmt: skip
    rest |= sweep.more
    members = []
    for device in devices:
        sizes: Sequence[Value] = fitting[device] if sweep.size == "fitting" else sweep.size
        for size, *values in product(sizes, *rest.values()):
            settings = {
                AXES["device"]: device, AXES["size"]: str(size),
                **dict(zip(rest, values, strict=True)),
            }  # fmt: skip
            members.append(Member(name_of(settings), settings))
    if not members:
        raise InputError(
            "[sweep]", "no size of these devices fits the annulus.",
            'Give sizes, `size = ["23"]`, or look at the measures in shared/stages/measure.',
        )  # fmt: skip
    names = [one.name for one in members]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError("[sweep]", f"`{min(twice)}` is there twice.", "Leave one value out.")
    return tuple(members)


def name_of(settings: Mapping[str, Value]) -> str:
    """Name of a folder that tells settings apart: ``sapien3_like-23-depth_4mm``."""
    parts = []
    for key, value in settings.items():
        text = Path(str(value)).stem if key == AXES["device"] else str(value)
        text = re.sub(r"[^A-Za-z0-9._+-]", "", text)
        parts.append(text if key.startswith("device.") else f"{key.rpartition('.')[2]}_{text}")
    return "-".join(parts)


def choice_of(settings: ChoiceSettings) -> Choice:
    """Rules and criteria of a case."""
    return DEFAULT.adjusted(settings.weights, settings.limits, settings.without_rules)


def look(case: RehearsalCase, members: Sequence[Member], deploy: Work, out: Path) -> Outcome:
    """What a rehearsal has come to, from its files."""
    choice = choice_of(case.choice)
    states = Ensemble(members, deploy, out / "members").states()
    indices = {
        one.name: found_in(read_indices(out / "members" / one.name)) for one in finished(states)
    }
    return Outcome(tuple(members), tuple(states), indices, choice.ranked(indices), choice)


# ----------------------------------------------------------------------------------------- writing


def write_ranking(case: RehearsalCase, outcome: Outcome, out: Path) -> None:
    """Write ``ranking.json`` and ``ranking.csv``."""
    settings = {one.name: dict(one.settings) for one in outcome.members}
    record: dict[str, Any] = {
        **provenance(case),
        "ranks": [
            {
                **asdict(rank), "why": rank.why, "settings": settings[rank.name],
                "indices": {
                    one.name: {"value": number(one.value), "unit": one.unit}
                    for one in outcome.indices[rank.name]
                },
            }
            for rank in outcome.ranks
        ],
        "members": [
            {"name": one.name, "status": one.status, "reason": one.reason,
             "seconds": one.seconds, "settings": settings[one.name]}
            for one in outcome.states
        ],
        "rules": [asdict(one) for one in outcome.choice.rules],
        "criteria": [asdict(one) for one in outcome.choice.criteria],
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "ranking.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    with (out / "ranking.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(_rows(outcome))


def _rows(outcome: Outcome) -> Iterator[list[str]]:
    """Ranked members, then the others, with settings and all indices."""
    keys = list(dict.fromkeys(key for one in outcome.members for key in one.settings))
    units = {one.name: one.unit for found in outcome.indices.values() for one in found}
    yield ["place", "name", *keys, "status", "advised", "score",
           *(name if unit in ("1", "") else f"{name} [{unit}]" for name, unit in units.items()),
           "why"]  # fmt: skip
    settings = {one.name: one.settings for one in outcome.members}
    for rank in outcome.ranks:
        values = {one.name: one.value for one in outcome.indices[rank.name]}
        yield [
            str(rank.place), rank.name, *(str(settings[rank.name].get(key, "")) for key in keys),
            "finished", "yes" if rank.advised else "no", f"{rank.score:.3f}",
            *(_cell(values.get(name, math.nan)) for name in units), rank.why,
        ]  # fmt: skip
    for state in outcome.states:
        if state.status != "finished":
            own = settings[state.name]
            yield ["", state.name, *(str(own.get(key, "")) for key in keys), state.status, "", "",
                   *("" for _ in units), state.reason]  # fmt: skip


def provenance(case: RehearsalCase) -> dict[str, Any]:
    """What a record begins with."""
    return {
        "title": case.title, "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "case": case.model_dump(mode="json", exclude_none=True), "versions": versions(),
        "git_commit": git_commit(), "machine": machine(),
    }  # fmt: skip


def number(value: float) -> float | None:
    """As JSON knows it."""
    return value if math.isfinite(value) else None


def _cell(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""


def progress_of(out: Path) -> str:
    """Where a deployment that is not finished is, from the state that it kept."""
    kept = read_json(out / "stages" / "deploy" / "state" / "checkpoint.json")
    if kept:
        return f"deployed by {100.0 * float(kept['t']):.0f} %"
    done = read_json(out / "run.json").get("stages", {})
    return f"after {list(done)[-1]}" if done else ""
