"""Keys of the case file of an organ's mesh: from an image, labels or surfaces to tetrahedra."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from organtwin.case.organ_tissues import Anatomy
from organtwin.case.quantities import Angle, Count, InputFile, InputPath, Length, Number, Volume
from organtwin.case.section import Section


class Source(Section):
    """What the mesh is made from: `labels`, `image` with `recipe`, or `surfaces`."""

    labels: InputPath | None = None
    """Segmentation: NIfTI, NRRD, MHA, 3D Slicer's `.seg.nrrd`, DICOM-SEG, or the folder or file of
    TotalSegmentator; relative to the case file."""
    names: dict[str, Annotated[Count, Field(ge=1, le=255)]] | None = None
    """Integer of each structure in `labels`, by anatomical name; not for files that have names."""
    image: InputPath | None = None
    """Scan: NIfTI, NRRD, MHA, DICOM file or folder."""
    series: tuple[str | Count, ...] = ()
    """DICOM series by number or a part of the description; several are joined."""
    recipe: str | None = None
    """How the image is segmented; `organtwin segment recipes` lists them."""
    engine: Literal["auto", "own", "totalsegmentator", "monai"] = "auto"
    """What segments; `auto` takes an installed network before organtwin's own recipe."""
    bundle: InputPath | None = None
    """Folder of a MONAI bundle with weights, for the engine `monai`."""
    contrast: Number | None = None
    """Smallest value (HU) of blood with contrast, or of dense bone, in place of the one found."""
    surfaces: dict[str, InputFile] | None = None
    """Closed surface of each region, nested or apart: STL, PLY, VTP, OBJ or VTK."""
    unit: Literal["mm", "cm", "m", "um"] = "mm"
    """Unit of the surfaces' files."""
    space: Literal["LPS", "RAS"] | None = None
    """Axes of the surfaces' files, if they don't tell them rightly."""
    repair: bool = True
    """Whether surfaces are repaired first; every change is told."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        given = [
            key
            for key, value in (
                ("labels", self.labels), ("image", self.image), ("surfaces", self.surfaces)
            )
            if value
        ]  # fmt: skip
        if len(given) != 1:
            found = " and ".join(f"`{key}`" for key in given) or "none"
            raise ValueError(f"one of `labels`, `image` and `surfaces` is needed, {found} given.")
        if (self.image is None) != (self.recipe is None):
            raise ValueError(
                "`image` and `recipe` go together; `organtwin segment recipes` lists these."
            )
        if self.engine == "monai" and self.bundle is None:
            raise ValueError("the engine `monai` needs the folder of a `bundle`.")
        if self.names is not None and self.labels is None:
            raise ValueError("`names` belong to `labels`.")
        return self

    @field_validator("surfaces")
    @classmethod
    def _few(cls, surfaces: dict[str, Path] | None) -> dict[str, Path] | None:
        if surfaces is not None and len(surfaces) > 255:
            raise ValueError("more than 255 surfaces.")
        return surfaces


class Wall(Section):
    """A wall of even thickness around a label."""

    around: Annotated[tuple[str, ...], Field(min_length=1)]
    """Label that it surrounds, or a list of labels."""
    thickness: Annotated[Length, Field(gt=0.0, le=20.0)]
    """How thick it is."""
    into: tuple[str, ...] = ()
    """Labels that it may take from, besides the background."""
    open: tuple[tuple[Number, Number, Number], ...] = ()
    """Points `[x, y, z]` (mm, LPS) on ends of vessels, as veins that are cut off in the scan: the
    label is cut flat there, and the wall is open."""

    @field_validator("around", mode="before")
    @classmethod
    def _one_or_several(cls, around: object) -> object:
        return (around,) if isinstance(around, str) else around


class Labels(Section):
    """What is done to the labels before they are meshed.

    They are corrected, merged, surrounded by walls, which grow into no other label and share the
    room that is too narrow for two of them, and then only those that are kept stay.
    """

    corrected: InputFile | None = None
    """A `.seg.nrrd` that takes the place of all labels: what was corrected in 3D Slicer."""
    merge: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    """New label → labels that become it."""
    keep: tuple[str, ...] = ()
    """Labels that become regions; all without it."""
    walls: dict[str, Wall] = {}
    """Walls that are grown, by the name of the new label."""
    islands_below: Annotated[Volume, Field(ge=0.0)] = 0.0
    """Components smaller than this are given to what surrounds them."""


class Near(Section):
    """Finer or coarser cells near a region, a point or markups of 3D Slicer."""

    region: str | None = None
    """Region whose surface it is about, or ..."""
    point: tuple[Number, Number, Number] | None = None
    """... a point `[x, y, z]` (mm, LPS), or ..."""
    markup: InputFile | None = None
    """... points, lines and curves of a `.mrk.json`."""
    size: Annotated[Length, Field(gt=0.05, le=50.0)]
    """Edge length there ..."""
    distance: Annotated[Length, Field(ge=0.0)] = 0.0
    """... up to this distance."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        given = [k for k in ("region", "point", "markup") if getattr(self, k) is not None]
        if len(given) != 1:
            found = " and ".join(f"`{key}`" for key in given) or "none"
            raise ValueError(f"one of `region`, `point` and `markup` is needed, {found} given.")
        return self


class Threshold(Section):
    """What a mesh must reach; a mesh below it is refused."""

    min_dihedral: Annotated[Angle, Field(ge=0.0, le=40.0)] = 5.0
    """Smallest dihedral angle."""
    volume_error: Annotated[Number, Field(gt=0.0)] = 0.01
    """Largest relative error of a region's volume ..."""
    over: Annotated[Volume, Field(ge=0.0)] = 5000.0
    """... if it is larger than this."""
    hausdorff: Annotated[Length, Field(gt=0.0)] | None = None
    """Largest distance between a region's surface and that of its voxels."""


class OrganMesh(Section):
    """Edge lengths, smoothing and threshold of the tetrahedra."""

    size: Annotated[Length, Field(gt=0.05, le=50.0)]
    """Edge length where nothing else is said."""
    smallest: Annotated[Length, Field(gt=0.02, le=50.0)] | None = None
    """Shortest edge length that curvature and thickness may ask for; a quarter of `size` without
    it."""
    by_region: dict[str, Annotated[Length, Field(gt=0.05, le=50.0)]] = {}
    """Edge length of regions."""
    curvature: Annotated[Number, Field(gt=3.0, le=200.0)] | None = None
    """Edges around a full circle of the surface's curvature."""
    thickness: Annotated[Number, Field(gt=0.0, le=20.0)] | None = None
    """Cells across thin walls."""
    near: tuple[Near, ...] = ()
    """Edge lengths near regions and points."""
    gradation: Annotated[Number, Field(gt=0.0, le=2.0)] = 0.3
    """How much the edge length may grow per length."""
    resolution: Annotated[Length, Field(ge=0.1, le=10.0)] | None = None
    """Voxel edge that finer labels are coarsened to; without it a third of the smallest edge length
    and of the thinnest grown wall. Where that loses a label, tears a wall or closes a gap, voxels
    stay finer."""
    crease: Annotated[Angle, Field(gt=0.0, lt=180.0)] | None = None
    """Angle between triangles of surfaces from which closed rings of edges stay sharp, as those of
    devices; 40 degrees suit most."""
    polished: bool = False
    """Whether MMG makes the tetrahedra rounder in the end, which takes longer than all else."""
    threshold: Threshold = Threshold()

    @field_validator("near", mode="before")
    @classmethod
    def _several(cls, near: object) -> object:
        if isinstance(near, dict):
            raise ValueError("write [[mesh.near]] with two brackets: there may be several.")
        return near


class OrganOutput(Section):
    """What is written, and where."""

    directory: Path = Path("results/mesh")
    """Result directory; relative to where the command is run."""
    formats: Annotated[
        tuple[Literal["vtu", "xdmf", "carp", "inp", "exo"], ...], Field(min_length=1)
    ] = ("vtu",)
    """Formats besides `mesh.msh`, which organtwin goes on with; all but `inp` hold fibres."""


class OrganCase(Section):
    """One mesh from image to report."""

    title: str = "Mesh"
    """Heading of the report."""
    source: Source
    labels: Labels = Labels()
    mesh: OrganMesh
    anatomy: Anatomy | None = None
    output: OrganOutput = OrganOutput()
