"""Keys of the case file of an implant in a bone: a stem, pedicle screws, a plate on a fracture."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from organtwin.bone.laws import LAWS
from organtwin.case.quantities import (
    Angle,
    Count,
    InputFile,
    InputPath,
    Length,
    Number,
    Pressure,
    Unit,
)
from organtwin.case.schema_credibility import Credibility
from organtwin.case.section import Section
from organtwin.errors import suggestion
from organtwin.implants.materials import names as materials
from organtwin.implants.tables import catalogue_names
from organtwin.orthopaedics.hip_loads import HIP_LOADS
from organtwin.orthopaedics.holding import HELD, JOINTS
from organtwin.orthopaedics.knee_loads import KNEE_LOADS
from organtwin.orthopaedics.plateau_plan import CONDYLE_BENCH, FRICTION
from organtwin.orthopaedics.spine_loads import SPINE_LOADS
from organtwin.surgery.sides import side_of_name

Mass = Annotated[float, Unit("kg", "kg")]
Force = Annotated[float, Unit("N", "N")]
MineralDensity = Annotated[float, Unit("g/cm^3", "g/cm^3")]
Share = Annotated[Number, Field(ge=0.0, le=1.0)]
Friction = Annotated[Number, Field(ge=0.0, le=1.5)]
Strength = Annotated[Pressure, Field(ge=0.0, le=1e5)]

#: Loads that each kind of case can name.
LOADS = {
    "hip_stem": tuple(HIP_LOADS),
    "pedicle_screw": (*SPINE_LOADS, "pull_out"),
    "tibial_plateau": (*KNEE_LOADS, CONDYLE_BENCH),
}  # fmt: skip


def _material(name: str) -> str:
    """A material of the catalogue, or ``auto``."""
    if name != "auto" and name not in materials():
        raise ValueError(f"no material `{name}`. {suggestion(name, materials())}")
    return name


def _implant(name: str, info: ValidationInfo) -> str:
    """An implant of the catalogue, or the absolute path of a file beside the case."""
    if name in catalogue_names():
        return name
    file = Path((info.context or {}).get("folder", "."), name).resolve()
    if not file.is_file():
        raise ValueError(
            f'no implant "{name}" in the catalogue, and no such file. '
            f"{suggestion(name, catalogue_names())}"
        )
    return str(file)


MaterialName = Annotated[str, AfterValidator(_material)]
#: An implant of the catalogue, or a file whose relative path starts at the case file.
ImplantFile = Annotated[str, AfterValidator(_implant)]


class Rod(Section):
    """A rod of a calibration phantom that lies in the scan."""

    density: Annotated[MineralDensity, Field(ge=-0.2, le=2.0)]
    """Its density of mineral."""
    start: tuple[Length, Length, Length]
    """A point of its axis (LPS)."""
    end: tuple[Length, Length, Length]
    """Another point of its axis."""


class Bone(Section):
    """The bone: labels or a surface, and the scan that tells its stiffness."""

    scan: InputPath | None = None
    """CT in Hounsfield units; without it cortex and density follow a law of the site."""
    labels: InputPath | None = None
    """Segmentation, on any grid in the coordinates of the scan."""
    names: dict[str, Annotated[Count, Field(ge=1, le=255)]] | None = None
    """Integer of each structure in `labels`; not for files that have names."""
    label: str | None = None
    """Name of the bone in `labels`: `femur_right`, `vertebrae_L3`, `tibia`."""
    surface: InputFile | None = None
    """Closed surface of the bone instead of `labels` (STL, PLY, OBJ, VTK; mm)."""
    landmarks: InputFile | None = None
    """Markups of 3D Slicer (`.mrk.json`): landmarks and lines placed by hand, which win."""
    side: Literal["left", "right"] | None = None
    """Side of the body, if it is known; checked against the bone's shape."""
    calibration: Literal["tissues", "rods", "given", "default"] = "default"
    """How HU become density: by air, fat and muscle in the scan, by rods of a phantom, by `slope`
    and `intercept`, or by default numbers with a warning."""
    rods: tuple[Rod, ...] = ()
    """Rods of the phantom."""
    rod_radius: Annotated[Length, Field(gt=0.0, le=50.0)] = 8.0
    """Radius of the rods."""
    slope: Annotated[Number, Field(ge=1e-4, le=5e-3)] | None = None
    """Density (g/cm³) of a Hounsfield unit."""
    intercept: Annotated[MineralDensity, Field(ge=-0.5, le=0.5)] = 0.0
    """Density at 0 HU."""
    law: str = "auto"
    """From density to modulus, see docs/bone-density.md; `auto` takes `keyak_1998` for a femur,
    `kopperdahl_2002` for a vertebra, `keyak_1994` for a tibia."""
    poisson: Annotated[Number, Field(ge=0.0, lt=0.5)] = 0.3
    """Poisson's ratio."""
    outwards: Annotated[Length, Field(ge=-3.0, le=3.0)] = 0.0
    """By how much the surface of the bone is moved along its normal: what a segmentation may be
    off. Screws stay where they are; not of a tibial plateau."""
    held: Literal["fixed", "guided", "potted", "bed"] = "fixed"
    """How the bone is held: its end is fixed, or rests on springs (`bed`); of a femur the head may
    also be `guided` along the shaft, a vertebra be `potted` up to half of its height."""

    @field_validator("law")
    @classmethod
    def _known(cls, law: str) -> str:
        if law != "auto" and law not in LAWS:
            raise ValueError(f"no law `{law}`. {suggestion(law, LAWS)}")
        return law

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if (self.labels is None) == (self.surface is None):
            raise ValueError("give either `labels` or `surface`.")
        if self.names is not None and self.labels is None:
            raise ValueError("`names` belong to `labels`.")
        said = side_of_name(self.label or "")
        if self.side is not None and said is not None and said != self.side:
            raise ValueError(f'`label` is "{self.label}" and `side` "{self.side}".')
        if self.calibration == "rods" and len(self.rods) < 2:
            raise ValueError("calibration by rods needs two `[[bone.rods]]` or more.")
        if self.calibration == "given" and self.slope is None:
            raise ValueError('calibration = "given" needs `slope`.')
        return self


class HipStem(Section):
    """A cementless stem in a femur; see docs/implant-cases.md."""

    family: ImplantFile = "tapered_stem"
    """Implant file of stems: of the catalogue, or a path relative to the case file."""
    size: str = "auto"
    """One of its sizes; `auto` takes the largest that fits."""
    material: MaterialName = "auto"
    """Material; `auto` takes that of the implant file."""
    neck_cut: Annotated[Length, Field(ge=0.0, le=40.0)] | None = None
    """Height of the neck's cut over the lesser trochanter; without it what brings the hip's centre
    back to its height."""
    neck: Literal["auto", "standard", "lateral", "varus"] = "auto"
    """Version of the stem's neck; `auto` takes what brings the hip's centre back."""
    head: Annotated[Length, Field(ge=-8.0, le=16.0)] | None = None
    """How much farther out than the plain one the head sits; as `neck` without it."""
    version: Annotated[Angle, Field(ge=-45.0, le=45.0)] = 0.0
    """Turn of the stem about the shaft against the neck."""
    ream: Annotated[Length, Field(ge=0.0, le=4.0)] = 1.0
    """Depth to which cortex may be broached away."""
    keep: Annotated[Length, Field(ge=0.5, le=6.0)] = 2.0
    """Thickness of bone that must stay around the stem."""
    beyond: Annotated[Length, Field(ge=10.0, le=120.0)] = 35.0
    """Length of bone below the stem's tip; its end is held."""
    longer: bool = True
    """Whether a shaft that ends too early goes on straight."""
    template: InputFile | None = None
    """Surface of another femur (STL, PLY, OBJ, VTK; mm), for a bone that its image cuts off below
    the neck; `[bone] side` is needed with it."""
    interference: Annotated[Length, Field(ge=0.0, le=0.5)] = 0.03
    """By how much the coated part is larger than its canal, on each side."""
    friction: Friction = 0.6
    """Coefficient of Coulomb friction of the coated part."""
    friction_polished: Friction = 0.2
    """The same without coating."""
    ingrown: Strength = 0.0
    """Shear and normal strength of a coating that bone has grown into."""


class PedicleScrew(Section):
    """Two pedicle screws in a vertebra."""

    canal: str = "spinal_cord"
    """Name of the spinal canal or cord in `[bone] labels`."""
    family: ImplantFile = "pedicle_screws"
    """Implant file of the screws: of the catalogue, or a path relative to the case file."""
    size: str = "6.0"
    """One of its sizes."""
    length: Annotated[Length, Field(ge=20.0, le=80.0)] | None = None
    """Length of the screws; the longest whose tip stays in the bone without it."""
    turn: Annotated[Angle, Field(ge=-15.0, le=15.0)] = 0.0
    """Turn of both towards the middle, about the pedicle, from the way that keeps the most bone;
    not of lines that `landmarks` place."""
    material: MaterialName = "auto"
    """Material; `auto` takes that of the implant file."""
    friction: Friction = 0.3
    """Coefficient of Coulomb friction between thread and bone."""
    cohesion: Strength | None = None
    """Shear strength of the thread's interface; of the bone's density along the screw without
    it."""
    pull: Annotated[Force, Field(gt=0.0, le=3000.0)] = 200.0
    """Force along each screw of the load `pull_out`."""


class TibialPlateau(Section):
    """A split-depression fracture of the lateral tibial plateau, reduced and held."""

    fixation: Literal["plate", "screws", "none"] = "plate"
    """A lateral locking plate with its screws, lag screws as a raft, or nothing."""
    fracture: Literal["split_depression", "split"] = "split_depression"
    """A wedge and a piece of the joint pressed in (Schatzker II), or the wedge alone (I)."""
    plate: ImplantFile = "tibial_plateau_plate"
    """Implant file of the plate: of the catalogue, or a path relative to the case file."""
    plate_size: str = "3"
    """One of its sizes."""
    plate_turn: Annotated[Angle, Field(ge=-60.0, le=60.0)] = 0.0
    """Turn of the plate and its raft of screws to the front from lateral."""
    plate_gap: Annotated[Length, Field(ge=0.5, le=5.0)] = 1.2
    """Least distance of the plate from the bone."""
    aside: Annotated[Length, Field(ge=-8.0, le=12.0)] = 6.0
    """How far lateral of the middle of the lateral plateau the split enters the joint."""
    gap: Annotated[Length, Field(ge=0.0, le=3.0)] = 1.2
    """Width of the fracture lines, filled by callus. With 0 the fragments touch and rub on each
    other: nothing heals, and `weeks` and `callus` are not used."""
    friction: Annotated[Number, Field(ge=0.0, le=2.0)] = FRICTION
    """Coefficient of friction between fragments that touch."""
    depth: Annotated[Length, Field(ge=0.0, le=15.0)] = 8.0
    """How deep the piece was pressed before it was lifted: the void under it."""
    step: Annotated[Length, Field(ge=0.0, le=8.0)] = 0.0
    """By how much it stays too low."""
    graft: bool = True
    """Whether the void is filled."""
    graft_modulus: Annotated[Pressure, Field(gt=0.0, le=2e7)] = 200e3
    """Young's modulus of the graft."""
    raft: Annotated[Count, Field(ge=1, le=4)] = 3
    """Number of lag screws without a plate."""
    weeks: Annotated[tuple[Annotated[Number, Field(ge=0.0, le=52.0)], ...], Field(min_length=1)] = (
        1.0, 6.0, 12.0,
    )  # fmt: skip
    """Weeks after surgery that are computed."""
    callus: Annotated[
        tuple[Annotated[Pressure, Field(gt=0.0, le=2e7)], ...], Field(min_length=1)
    ] = (1e3, 100e3, 1000e3)
    """Young's modulus of the callus at each of them; our choice, from granulation tissue to
    woven bone."""
    bearing: Annotated[Number, Field(gt=0.0, le=1.0)] = 0.2
    """Share of the loads of daily life that is borne: partial weight bearing."""
    cartilage: bool = False
    """Whether the joint presses where the cartilages of tibia and femur meet, and their pressure is
    told; `[bone] names` needs `femur`, `femoral_cartilage`, `lateral_tibial_cartilage` and
    `medial_tibial_cartilage`."""
    bench: Annotated[Force, Field(gt=0.0, le=5000.0)] = 500.0
    """Force of the load `lateral_condyle`: a bench test that presses this condyle alone."""

    @model_validator(mode="after")
    def _as_many(self) -> Self:
        if len(self.weeks) != len(self.callus):
            raise ValueError("`weeks` and `callus` must be of one length.")
        if any(b <= a for a, b in pairwise(self.weeks)):
            raise ValueError("`weeks` must rise.")
        return self


class Loads(Section):
    """What acts on the bone."""

    mass: Annotated[Mass, Field(ge=25.0, le=250.0)] = 75.0
    """Mass of the body."""
    activities: tuple[str, ...] = ()
    """Loads by name; of a hip, a spine or a knee, see docs/implant-planning.md. Without them
    `walking` and `stairs_up`, of a spine `walking` and `pull_out`."""
    increments: Annotated[Count, Field(ge=1, le=50)] = 1
    """Parts that each load is taken in at least."""
    muscles: bool = True
    """Whether muscles pull at a femur; without them the joint's force acts alone."""


class ImplantMesh(Section):
    """Tetrahedra of bone and implant; each kind of case has its own sizes without them."""

    bone: Annotated[Length, Field(ge=1.0, le=15.0)] | None = None
    """Edge length in bone."""
    implant: Annotated[Length, Field(ge=0.5, le=10.0)] | None = None
    """Edge length in implants."""
    interface: Annotated[Length, Field(ge=0.5, le=10.0)] | None = None
    """Edge length where they meet."""
    voxel: Annotated[Length, Field(ge=0.3, le=4.0)] | None = None
    """Edge of the voxels on which bodies are cut and joined."""


class ImplantOutput(Section):
    """What is written, and where."""

    directory: Path = Path("results/implant")
    """Result directory; relative to where the command is run."""
    fields: bool = True
    """Whether fields are written for ParaView."""


class ImplantCase(Section):
    """One implant in one bone, from image to report.

    One of `[hip_stem]`, `[pedicle_screw]` and `[tibial_plateau]` must be there, and tells the kind.
    """

    title: str = "Implant"
    """Heading of the report."""
    bone: Bone
    hip_stem: HipStem | None = None
    pedicle_screw: PedicleScrew | None = None
    tibial_plateau: TibialPlateau | None = None
    loads: Loads = Loads()
    mesh: ImplantMesh = ImplantMesh()
    output: ImplantOutput = ImplantOutput()
    credibility: Credibility = Credibility()

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        there = [name for name in LOADS if getattr(self, name) is not None]
        if len(there) != 1:
            raise ValueError(
                "give one of `[hip_stem]`, `[pedicle_screw]`, `[tibial_plateau]`; found "
                + (" and ".join(there) or "none") + "."
            )  # fmt: skip
        known = LOADS[there[0]]
        for name in self.loads.activities:
            if name not in known:
                raise ValueError(f"[loads] activities: no load `{name}`. {suggestion(name, known)}")
        if self.bone.labels is not None and self.bone.label is None:
            raise ValueError("[bone] `label` is missing: the name of the bone in `labels`.")
        if self.bone.surface is not None and there[0] != "hip_stem":
            raise ValueError(f"[bone] surface: `[{there[0]}]` needs `labels`.")
        self._as_its_kind(there[0])
        return self

    def _as_its_kind(self, kind: str) -> None:
        """Refuse what only other kinds have."""
        if self.bone.held not in HELD[kind]:
            known = ", ".join(HELD[kind])
            raise ValueError(f"[bone] held: `[{kind}]` knows no `{self.bone.held}`, but {known}.")
        if self.bone.outwards and kind == "tibial_plateau":
            raise ValueError("[bone] outwards: not of a `[tibial_plateau]`.")
        if not self.loads.muscles and kind not in JOINTS:
            raise ValueError(f"[loads] muscles: loads of `[{kind}]` have none to leave out.")

    @property
    def kind(self) -> str:
        """``hip_stem``, ``pedicle_screw`` or ``tibial_plateau``."""
        return next(name for name in LOADS if getattr(self, name) is not None)
