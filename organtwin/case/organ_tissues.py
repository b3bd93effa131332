"""Keys of directions and coordinates on an organ's mesh: vessels, ventricles, atria, bone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from organtwin.case.quantities import Angle, Count, InputFile, InputPath, Length, Number
from organtwin.case.section import Section
from organtwin.mesh.tissue import Place

#: Names that files can have.
NAME = re.compile(r"\w+")


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _places(value: Any) -> Any:
    """One place or a list of them: names, or points of three numbers."""
    single = isinstance(value, str) or _is_point(value)
    places = (value,) if single else value
    if not isinstance(places, list | tuple) or not all(
        isinstance(place, str) or _is_point(place) for place in places
    ):
        raise ValueError(
            f"{value!r} is no place: give names of facets or regions, or points [x, y, z] in mm."
        )
    return tuple(p if isinstance(p, str) else tuple(float(x) for x in p) for p in places)


def _is_point(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(isinstance(x, int | float) and not isinstance(x, bool) for x in value)
    )


#: Names of regions; a single one may stand without brackets.
Regions = Annotated[tuple[str, ...], BeforeValidator(_several)]
#: Where a wall ends; a single place may stand without brackets.
Places = Annotated[tuple[Place, ...], BeforeValidator(_places)]
#: Share of a Laplace field.
Level = Annotated[Number, Field(gt=-1.0, lt=1.0)]


class Vessel(Section):
    """Directions in the wall of a vessel: around, along and through it, or helical.

    Where the wall ends is told by the name of a region that lies beyond, by the name of a facet,
    as `aorta-outside` for an opening of the lumen, or by a point `[x, y, z]` (mm, LPS) in it.
    """

    wall: Annotated[Regions, Field(min_length=1)]
    """Regions of the wall."""
    lumen: Annotated[Regions, Field(min_length=1)]
    """Regions of the blood inside; they must be in the mesh."""
    inlet: Annotated[Places, Field(min_length=1)]
    """Where the blood comes in."""
    outlets: Annotated[Places, Field(min_length=1)]
    """Where it leaves, one or more places."""
    angle: Annotated[Angle, Field(ge=-90.0, le=90.0)] = 0.0
    """Angle of the fibres to the circumferential direction, towards the outlets."""


class Marks(Section):
    """Surfaces of ventricles as integers on a surface, as Cobiveco has them."""

    file: InputFile
    """Surface of the muscle: VTP, VTK or PLY; unit and axes as those of `[source]`."""
    array: str = "class"
    """Name of the integers at its points or triangles."""
    base: Count = 1
    """Integer of the base ..."""
    epi: Count = 2
    """... of the epicardium ..."""
    lv_endo: Count = 3
    """... of the left ventricular endocardium ..."""
    rv_endo: Count = 4
    """... and of the right ventricular one."""


class Ventricles(Section):
    """Fibres, universal coordinates and the 17 segments of ventricles.

    Their surfaces are told by the blood that they touch, or by marks. Without both, the muscle must
    have a flat base, and they are told by shape.
    """

    muscle: Annotated[Regions, Field(min_length=1)]
    """Regions of the muscle of both ventricles, or of the left one alone."""
    rv_wall: Regions = ()
    """Those of them that are the free wall of the right ventricle; without it, it is found by
    distances from the surfaces."""
    lv_blood: Regions = ()
    """Regions of the blood of the left ventricle ..."""
    rv_blood: Regions = ()
    """... and of the right one."""
    base: Places = ()
    """Where the muscle ends: regions that it touches or that the blood opens towards, facets, or
    points in openings, as for vessels. Without it all openings of the blood."""
    marks: Marks | None = None
    alpha_endo: Annotated[Angle, Field(ge=-90.0, le=90.0)] = 60.0
    """Helix angle of the fibres at the endocardium ..."""
    alpha_epi: Annotated[Angle, Field(ge=-90.0, le=90.0)] = -60.0
    """... and at the epicardium."""
    beta_endo: Annotated[Angle, Field(ge=-90.0, le=90.0)] = -65.0
    """Angle of the sheets at the endocardium ..."""
    beta_epi: Annotated[Angle, Field(ge=-90.0, le=90.0)] = 25.0
    """... and at the epicardium."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.marks and (self.lv_blood or self.rv_blood or self.base):
            raise ValueError("`marks` take the place of `lv_blood`, `rv_blood` and `base`.")
        if self.rv_blood and not self.lv_blood:
            raise ValueError("`rv_blood` needs `lv_blood`.")
        if self.base and not self.lv_blood:
            raise ValueError("`base` needs `lv_blood`.")
        foreign = [name for name in self.rv_wall if name not in self.muscle]
        if foreign:
            raise ValueError(f"`{foreign[0]}` of `rv_wall` is not in `muscle`.")
        return self


class LeftAtrium(Section):
    """Fibres and bundles of the left atrium; its ends are told as those of vessels."""

    wall: Annotated[Regions, Field(min_length=1)]
    """Regions of the wall."""
    blood: Annotated[Regions, Field(min_length=1)]
    """Regions of the blood inside; they must be in the mesh."""
    mitral: Annotated[Places, Field(min_length=1)]
    """Where the wall ends at the mitral valve ..."""
    left_veins: Annotated[Places, Field(min_length=1)]
    """... at the left pulmonary veins ..."""
    right_veins: Annotated[Places, Field(min_length=1)]
    """... and at the right ones."""
    appendage: tuple[Number, Number, Number] | None = None
    """Tip of the appendage (mm, LPS)."""
    tau_mv: Level = 0.65
    """Level from which fibres run around the mitral valve."""
    tau_lpv: Level = 0.10
    """Level up to which they run around the left veins."""
    tau_rpv: Level = 0.65
    """Level from which they run around the right veins."""


class RightAtrium(Section):
    """Fibres and bundles of the right atrium; its ends are told as those of vessels."""

    wall: Annotated[Regions, Field(min_length=1)]
    """Regions of the wall."""
    blood: Annotated[Regions, Field(min_length=1)]
    """Regions of the blood inside; they must be in the mesh."""
    tricuspid: Annotated[Places, Field(min_length=1)]
    """Where the wall ends at the tricuspid valve ..."""
    superior: Annotated[Places, Field(min_length=1)]
    """... at the superior caval vein ..."""
    inferior: Annotated[Places, Field(min_length=1)]
    """... and at the inferior one."""
    appendage: tuple[Number, Number, Number] | None = None
    """Tip of the appendage (mm, LPS)."""
    tau_tv: Level = 0.9
    """Level from which fibres run around the tricuspid valve."""
    tau_raw: Level = 0.55
    """Level from which the wall is that next to the valve."""
    tau_ct_minus: Level = -0.18
    """Level from which fibres run along the crista terminalis."""
    tau_ct_plus: Level = -0.1
    """Level up to which they do."""
    tau_icv: Level = 0.9
    """Level from which they run around the inferior caval vein."""
    tau_scv: Level = 0.1
    """Level up to which they run around the superior caval vein."""
    tau_ib: Level = 0.135
    """Level below which lies the intercaval bundle."""
    tau_ras: Level = 0.35
    """Level over which lies the middle of the septum."""


class Bone(Section):
    """Direction of the trabeculae, from the grey values of the scan."""

    regions: Annotated[Regions, Field(min_length=1)]
    """Regions of the bone."""
    image: InputPath | None = None
    """Scan; that of `[source]` without it."""
    series: tuple[str | Count, ...] = ()
    """DICOM series of it by number or a part of the description."""
    noise: Annotated[Length, Field(gt=0.0, le=10.0)] = 0.3
    """Width of the Gaussian that takes the noise off; at least 0.7 voxels are taken."""
    window: Annotated[Length, Field(gt=0.0, le=50.0)] = 3.0
    """Width of the Gaussian over which directions are averaged, some times the distance of
    trabeculae."""


class Anatomy(Section):
    """Directions and coordinates on the mesh.

    `fields/anatomy.vtu` has them all, the formats of `[output]` the directions.
    """

    degree: Literal[1, 2] = 2
    """Degree of the Laplace fields; 2 for walls of one or two cells."""
    vessels: dict[str, Vessel] = {}
    ventricles: Ventricles | None = None
    left_atrium: LeftAtrium | None = None
    right_atrium: RightAtrium | None = None
    bone: Bone | None = None

    @field_validator("vessels")
    @classmethod
    def _named(cls, vessels: dict[str, Vessel]) -> dict[str, Vessel]:
        for name in vessels:
            if not NAME.fullmatch(name) or name in cls.model_fields:
                raise ValueError(f"`{name}` can't name a vessel; `aorta` could.")
        return vessels

    @property
    def files(self) -> tuple[Path, ...]:
        """Files and folders that it names."""
        marks = self.ventricles.marks if self.ventricles else None
        given = (marks.file if marks else None, self.bone.image if self.bone else None)
        return tuple(path for path in given if path is not None)

    @property
    def regions(self) -> dict[str, tuple[str, ...]]:
        """Key of the case file → regions that it names."""
        found: dict[str, tuple[str, ...]] = {}
        for name, vessel in self.vessels.items():
            found[f"[anatomy.vessels.{name}] wall"] = vessel.wall
            found[f"[anatomy.vessels.{name}] lumen"] = vessel.lumen
        for name, atrium in (("left", self.left_atrium), ("right", self.right_atrium)):
            if atrium:
                found[f"[anatomy.{name}_atrium] wall"] = atrium.wall
                found[f"[anatomy.{name}_atrium] blood"] = atrium.blood
        if self.ventricles:
            for key in ("muscle", "lv_blood", "rv_blood"):
                found[f"[anatomy.ventricles] {key}"] = getattr(self.ventricles, key)
        if self.bone:
            found["[anatomy.bone] regions"] = self.bone.regions
        return found
