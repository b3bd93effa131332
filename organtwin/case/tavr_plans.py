"""Rehearsed deployments of valves: devices, sizes, depths and tilts in one root."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from mpi4py import MPI
from pydantic import BaseModel

from organtwin.case.load import load_tavr_case
from organtwin.case.members import Member
from organtwin.case.schema_rehearsal import Factor, RehearsalCase, Value
from organtwin.case.schema_tavr import TavrCase
from organtwin.case.stages import Stage, content_key
from organtwin.case.sweep import mean_voxel, name_of, require_different
from organtwin.choice import Choice
from organtwin.errors import InputError, OrgantwinError
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
TILT, TOWARDS = AXES["tilt"], "deployment.towards"
#: Half-widths that are our choice: what a planner would not be surprised by.
FACTORS = {
    "mesh": Factor(key="root.size", times=1.25),
    "segmentation": Factor(key="root.outwards", change="half a voxel"),
    "wall stiffness": Factor(key="tissue.stiffness", times=1.5),
    "bed stiffness": Factor(key=("tissue.bed", "tissue.bed_outflow"), times=2.0),
    "friction": Factor(key="deployment.friction", times=1.5),
    "depth": Factor(key="deployment.depth", change="1 mm"),
    "tilt": Factor(key="deployment.tilt", change="3 deg"),
    "turn": Factor(key="deployment.turn", change="6 deg"),
}
#: Those of them that are boundary conditions: what holds the root.
BOUNDARY = ("bed stiffness",)


@dataclass(frozen=True)
class TavrPlans:
    """Deployments of a rehearsal's sweep.

    Attributes:
        case: The rehearsal.
        out: Its result directory.
    """

    case: RehearsalCase
    out: Path

    @property
    def work(self) -> CaseDeployment:
        """Deploys by the case file of a single deployment."""
        return CaseDeployment(self.case.case, tuple(self.case.settings.items()), self.out / BASE)

    @property
    def trials(self) -> CaseDeployment:
        """The same: pictures take little of the time of a deployment."""
        return self.work

    @property
    def choice(self) -> Choice:
        """Usual rules and criteria."""
        return DEFAULT

    @property
    def factors(self) -> Mapping[str, Factor]:
        """What is usually not known well."""
        return FACTORS

    @property
    def boundary(self) -> tuple[str, ...]:
        """What holds the root."""
        return BOUNDARY

    def prepare(self) -> None:
        """Measure the scan if that decides what there is."""
        if self._by_fit:
            self.work.measure()

    def members(self) -> tuple[Member, ...]:
        """Members of the sweep; none while it is not known which sizes fit.

        Raises:
            InputError: there is nothing to deploy, or a setting is wrong.
        """
        names = self.case.sweep.device or (self.load({}).device.name,)
        if not self._by_fit:
            return members_of(self.case, names, {})
        if not (self.work.measured / "stage.json").is_file():
            return ()
        files = {name: self.load({AXES["device"]: name}).device.name for name in names}
        return members_of(self.case, names, {one: self._fitting(files[one]) for one in names})

    def load(self, settings: Mapping[str, Value]) -> TavrCase:
        """The case of one deployment: all members' settings, and these."""
        merged = Member("", {**self.case.settings, **settings})
        return load_tavr_case(self.case.case, merged.overrides)

    def voxel(self) -> float:
        """Mean edge of the scan's voxels (mm)."""
        scan = self.load({}).scan
        return mean_voxel(scan.file, scan.series or None)

    def both_ways(self, case: BaseModel, key: str, step: float) -> tuple[dict[str, Value], ...]:
        """Tilted less and more in the plane of the tilt; less than not at all is to the other side.

        None for another setting than the tilt.
        """
        assert isinstance(case, TavrCase)
        if key != TILT:
            return ()
        tilt, towards = case.deployment.tilt, case.deployment.towards
        found: list[dict[str, Value]] = []
        for one in (tilt - step, tilt + step):
            side = towards if one >= 0.0 else towards + (180.0 if towards <= 180.0 else -180.0)
            found.append({TILT: f"{abs(one):.6g} deg", TOWARDS: f"{side:.6g} deg"})
        return tuple(found)

    def progress(self, out: Path) -> str:
        """Where a deployment that is not finished is, from the state that it kept."""
        kept = read_json(out / "stages" / "deploy" / "state" / "checkpoint.json")
        if kept:
            return f"deployed by {100.0 * float(kept['t']):.0f} %"
        done = read_json(out / "run.json").get("stages", {})
        return f"after {list(done)[-1]}" if done else ""

    @property
    def _by_fit(self) -> bool:
        return self.case.sweep.size == "fitting"

    def _fitting(self, name: str) -> tuple[str, ...]:
        """Sizes of a device, by its name or file, that fit the annulus that was measured."""
        from organtwin.case.tavr_root import read_measures, sizes_of
        from organtwin.devices.device_files import sizes

        found = read_measures(self.work.measured)
        compared = dict(zip(sizes(name), found.sizes(sizes_of(name)), strict=True))
        return tuple(size for size, one in compared.items() if one.fits)


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
        files = [content_key(file) for file in inputs(case)]
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
        """Deploy it, on one rank; stages whose settings differ from those shared are done anew."""
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
            members.append(Member(name_of(settings, "device"), settings))
    if not members:
        raise InputError(
            "[sweep]", "no size of these devices fits the annulus.",
            'Give sizes, `size = ["23"]`, or look at the measures in shared/stages/measure.',
        )  # fmt: skip
    require_different(members)
    return tuple(members)
