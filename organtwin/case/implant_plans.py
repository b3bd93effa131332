"""Rehearsed implants: sizes, positions, configurations and loads in one bone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from mpi4py import MPI
from pydantic import BaseModel

from organtwin.case.implant_plan import fineness_of
from organtwin.case.load import load_implant_case
from organtwin.case.members import Member
from organtwin.case.schema_implant import ImplantCase
from organtwin.case.schema_rehearsal import HALF_A_VOXEL, Factor, RehearsalCase, Sweep, Value
from organtwin.case.stages import Stage, content_key
from organtwin.case.sweep import mean_voxel, name_of, require_different
from organtwin.choice import Choice
from organtwin.errors import InputError
from organtwin.export.pages import read_json
from organtwin.orthopaedics.criteria import CHOICES
from organtwin.orthopaedics.holding import HELD

#: Half-widths that are our choice; boundary conditions come first, for they are known to matter
#: most: six of them moved the stiffness of femora by 280 % (PMC4583333, abstract read).
HELD_BY, MUSCLES = "how it is held", "muscles"
BOUNDARY = (HELD_BY, MUSCLES)
_MESH = Factor(key=("mesh.bone", "mesh.implant", "mesh.interface"), times=1.25)
_MASS = Factor(key="loads.mass", times=1.15)
_SEGMENTATION = Factor(key="bone.outwards", change=HALF_A_VOXEL)
#: What a segmentation may be off of a bone that has no voxels.
_SURFACE = Factor(key="bone.outwards", change="0.5 mm")


def _laws(*names: str) -> Factor:
    return Factor(runs=tuple({"bone.law": name} for name in names))


def _held(kind: str) -> Factor:
    """The other ways to hold a bone than the usual one."""
    return Factor(runs=tuple({"bone.held": how} for how in HELD[kind][1:]))


FACTORS: Mapping[str, Mapping[str, Factor]] = {
    "hip_stem": {
        HELD_BY: _held("hip_stem"),
        MUSCLES: Factor(runs=({"loads.muscles": False},)),
        "body mass": _MASS,
        "density law": _laws("keller_1994_femur", "morgan_2003_femoral_neck"),
        "segmentation": _SEGMENTATION,
        "length that is kept": Factor(key="hip_stem.beyond", change="15 mm"),
        "friction": Factor(key="hip_stem.friction", times=1.5),
        "press fit": Factor(key="hip_stem.interference", times=2.0),
        "version": Factor(key="hip_stem.version", change="5 deg"),
        "mesh": _MESH,
    },
    "pedicle_screw": {
        HELD_BY: _held("pedicle_screw"),  # its loads are forces, whatever the body's mass is
        "density law": _laws("keller_1994_vertebra", "morgan_2003_vertebra"),
        "segmentation": _SEGMENTATION,
        "friction": Factor(key="pedicle_screw.friction", times=1.5),
        "mesh": _MESH,
    },
    "tibial_plateau": {
        HELD_BY: _held("tibial_plateau"),
        "bearing": Factor(key="tibial_plateau.bearing", times=1.5),
        "body mass": _MASS,
        "density law": _laws("morgan_2003_tibia", "morgan_2003_pooled"),
        "graft": Factor(key="tibial_plateau.graft_modulus", times=2.0),
        "mesh": _MESH,
    },
}


@dataclass(frozen=True)
class ImplantPlans:
    """Operations of a rehearsal's sweep.

    Attributes:
        case: The rehearsal.
    """

    case: RehearsalCase

    @property
    def work(self) -> CaseOperation:
        """Operates by the case file of a single implant."""
        return CaseOperation(self.case.case, tuple(self.case.settings.items()))

    @property
    def trials(self) -> CaseOperation:
        """The same without pictures and page, which take a third of the time."""
        return replace(self.work, pictures=False)

    @property
    def choice(self) -> Choice:
        """Usual rules and criteria."""
        case = self.load({})
        touching = case.tibial_plateau is not None and not case.tibial_plateau.gap
        return CHOICES["touching_plateau" if touching else case.kind]

    @property
    def factors(self) -> Mapping[str, Factor]:
        """What is usually not known well."""
        case = self.load({})
        usual = dict(FACTORS[case.kind])
        if "segmentation" in usual and case.bone.scan is None and case.bone.labels is None:
            usual["segmentation"] = _SURFACE
        return usual

    @property
    def boundary(self) -> tuple[str, ...]:
        """How the bone is held, and whether muscles pull."""
        return BOUNDARY

    def prepare(self) -> None:
        """Nothing: the case tells its members."""

    def members(self) -> tuple[Member, ...]:
        """Every value of the sweep with every other.

        Raises:
            InputError: there is nothing to do, a setting is wrong, or one of valves.
        """
        sweep = self.case.sweep
        for name in ("device", "size", "depth", "tilt"):
            if getattr(sweep, name) != Sweep.model_fields[name].default:
                raise InputError(
                    f"[sweep] {name}", "it is a setting of valves.",
                    'Name it by its path: `more."hip_stem.size" = ["3", "4"]`.',
                )  # fmt: skip
        if not sweep.more:
            raise InputError(
                "[sweep]", "nothing is varied.", 'Write `more."hip_stem.size" = ["3", "4"]`.'
            )
        members = []
        for values in product(*sweep.more.values()):
            settings = dict(zip(sweep.more, values, strict=True))
            self.load(settings)  # refused before anything is computed
            members.append(Member(name_of(settings), settings))
        require_different(members)
        return tuple(members)

    def load(self, settings: Mapping[str, Value]) -> ImplantCase:
        """The case of one operation: all members' settings, and these; the mesh's sizes as used."""
        merged = Member("", {**self.case.settings, **settings})
        case = load_implant_case(self.case.case, merged.overrides)
        mesh = case.mesh.model_copy(update=vars(fineness_of(case)))
        return case.model_copy(update={"mesh": mesh})

    def voxel(self) -> float:
        """Mean edge of the scan's, or of the labels', voxels (mm)."""
        bone = self.load({}).bone
        file = bone.scan or bone.labels
        if file is None:
            raise InputError(
                str(self.case.case), "there are no voxels.", "Write the change as a length."
            )
        return mean_voxel(file)

    def both_ways(self, case: BaseModel, key: str, step: float) -> tuple[dict[str, Value], ...]:
        """None: all settings are just numbers."""
        return ()

    def progress(self, out: Path) -> str:
        """Where an operation that is not finished is."""
        done = read_json(out / "run.json").get("stages", {})
        return f"after {list(done)[-1]}" if done else ""


@dataclass(frozen=True)
class CaseOperation:
    """Operates by a case file with other settings; each member in a folder of its own.

    Attributes:
        file: Case file of an implant.
        settings: Settings of all members.
        pictures: Whether each gets a report.
    """

    file: Path
    settings: tuple[tuple[str, Value], ...]
    pictures: bool = True

    def case(self, member: Member) -> ImplantCase:
        """The case of a member."""
        merged = Member("", {**dict(self.settings), **member.settings})
        return load_implant_case(self.file, merged.overrides)

    def key(self, member: Member) -> str:
        """Resolved settings, contents of the files that are read, version and code."""
        from organtwin.case.implant_pipeline import PLANNERS, SOLVERS, implant_files, inputs

        case = self.case(member)
        content = case.model_dump(exclude={"title", "output"})
        # Where files lie counts for nothing.
        content["bone"] |= dict.fromkeys(("scan", "labels", "surface", "landmarks"))
        for key, value in content[case.kind].items():
            if value in implant_files(case):
                content[case.kind][key] = Path(value).stem
        files = [content_key(file) for file in inputs(case)]
        code = tuple(sorted({*PLANNERS, *SOLVERS, "organtwin.orthopaedics"}))
        return Stage("member", settings=(content, files), code=code).key[:16]

    def prepare(self, members: Sequence[Member]) -> None:
        """Nothing is shared."""

    def __call__(self, member: Member, out: Path) -> None:
        """Operate, on one rank."""
        from organtwin.case.implant_pipeline import run_implant

        only = None if self.pictures else {"judge"}
        run_implant(self.case(member), out=out, only=only, comm=MPI.COMM_SELF)
