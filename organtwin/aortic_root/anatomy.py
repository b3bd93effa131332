"""Tetrahedra of a patient's aortic root: wall, leaflets, calcium, with names for what matters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from organtwin.aortic_root.measured_wall import MeasuredWall
from organtwin.aortic_root.measurements import RootMeasures
from organtwin.aortic_root.root_tags import Lesion, told, with_calcium, with_patches
from organtwin.aortic_root.wall_of_scan import measured_wall
from organtwin.errors import InputError
from organtwin.image.volume import Image, LabelMap
from organtwin.landmarks.aorta import HINGES
from organtwin.landmarks.record import Plane, Point, find
from organtwin.mesh.quality import MeshQuality, mesh_quality
from organtwin.mesh.shapes.flat_cells import without_flat_cells
from organtwin.mesh.shapes.limits import within
from organtwin.mesh.shapes.root_form import STANDS, Leaflet, RootForm, Valve, hang
from organtwin.mesh.shapes.root_mesh import mesh_root
from organtwin.mesh.volume_mesh import TetrahedralMesh

type Vector = NDArray[np.float64]

PLACE = "aortic root"
#: Names of the leaflets, in the order of the hinge points.
NAMES = ("right", "left", "non")
#: How far a hinge point may lie off the wall (mm).
OFF = 5.0
#: Part by which the annulus of a mesh may differ from the measured one before it is told.
UNLIKE = 0.05


@dataclass(frozen=True)
class RootModel:
    """What is meshed of a root. All numbers are our choice.

    Attributes:
        size: Edge length (mm).
        wall: Thickness of the wall (mm).
        leaflets: ``closed``, ``open`` or ``none``; a CT shows little more than where they hang.
        thickness: Thickness of the leaflets (mm).
        below: Length of the outflow tract below the annulus (mm).
        above: Length of the ascending aorta over the junction (mm).
        commissures: Height of the commissures between annulus and junction, 0 to 1; CT doesn't
            show it.
        outwards: How far the whole wall is moved out of the blood, along its normal (mm): half a
            voxel either way is what the segmentation leaves open.
    """

    size: float = 1.5
    wall: float = 2.0
    leaflets: str = "closed"
    thickness: float = 0.8
    below: float = 10.0
    above: float = 25.0
    commissures: float = 0.85
    outwards: float = 0.0

    def __post_init__(self) -> None:
        place = "RootModel"
        within(place, "size", self.size, 0.3, 5.0)
        within(place, "wall", self.wall, 0.3, 6.0)
        within(place, "thickness", self.thickness, 0.2, 2.0)
        within(place, "below", self.below, 3.0, 15.0)
        within(place, "above", self.above, 5.0, 80.0)
        within(place, "commissures", self.commissures, 0.4, 0.97, "of the height")
        within(place, "outwards", self.outwards, -2.0, 2.0)
        if self.leaflets not in {*STANDS, "none"}:
            raise InputError(place, f"no leaflets `{self.leaflets}`.", "closed, open or none.")


@dataclass(frozen=True)
class RootAnatomy:
    """A meshed root.

    Attributes:
        mesh: Regions ``wall``, ``leaflet_right``, ``leaflet_left``, ``leaflet_non`` and, if there
            is any, ``calcium``; surfaces ``inner`` without ``ostium_right``, ``ostium_left``,
            ``membranous_septum``, further ``outer``, ``inlet``, ``outlet``, ``ventricular``,
            ``aortic``, ``free_edge`` and ``leaflet_right-wall``, ... (LPS, mm).
        form: What it was meshed from.
        wall: The measured wall.
        annulus_area: Area in the plane of the annulus (mm²), to compare with the measured one.
        quality: Angles, shapes, volumes; errors of these are against the measured calcium.
        lesions: Calcium, lesion by lesion.
        notes: What to look at, one sentence each.
    """

    mesh: TetrahedralMesh
    form: RootForm
    wall: MeasuredWall
    annulus_area: float
    quality: MeshQuality
    lesions: tuple[Lesion, ...]
    notes: tuple[str, ...]


def root_anatomy(
    found: RootMeasures, image: Image | None, labels: LabelMap, model: RootModel | None = None
) -> RootAnatomy:
    """Mesh a measured root.

    The wall is that of `organtwin.aortic_root.wall_of_scan`. Leaflets hang from commissure to
    hinge point to commissure; the commissures lie in the directions in which the sinuses are
    parted, at a share of the height between annulus and junction. The free edges are parametric,
    see `organtwin.mesh.shapes.root_form.Leaflet`.

    Args:
        found: What `organtwin.aortic_root.measurements.measure_root` gave.
        image: The scan; none where the labels alone were measured.
        labels: Its labels.
        model: What is meshed; by default closed leaflets and edges of 1.5 mm.

    Raises:
        InputError: the field of view cuts the root off, the wall isn't seen, or no leaflets hang
            from these hinge points and commissures.
        MeshError: leaflets cross each other or the wall.
    """
    model = model or RootModel()
    seen = measured_wall(found, image, labels, model.below, model.above)
    wall = replace(seen, outwards=model.outwards)
    leaflets = () if model.leaflets == "none" else _leaflets(found, wall, model)
    form = RootForm(wall.place, wall.low, wall.high, model.wall, leaflets, PLACE)
    mesh = with_patches(without_flat_cells(mesh_root(form, model.size)), found)
    lesions: tuple[Lesion, ...] = ()
    if found.calcium is not None:
        mesh, lesions = with_calcium(mesh, found.calcium, labels.grid)
    volumes = {name: mesh.volume(name) / 1000.0 for name in mesh.region_names}
    lime = sum(one.measured for one in lesions) / 1000.0
    quality = mesh_quality(mesh.points, mesh.cells, volumes,
                           {**volumes, **({"calcium": lime} if lesions else {})})  # fmt: skip
    area, notes = _annulus(found, seen)
    if model.outwards:
        area = wall.area(Plane(found.frame.origin, found.frame.axes[2]))
        notes = (*notes, f"The wall was moved outwards by {model.outwards:g} mm.")
    notes = (*wall.notes, *notes, *told(lesions))
    return RootAnatomy(mesh, form, wall, area, quality, lesions, notes)


def _annulus(found: RootMeasures, wall: MeasuredWall) -> tuple[float, tuple[str, ...]]:
    """Area of the wall in the plane of the annulus (mm²), and whether it is the measured one."""
    area = wall.area(Plane(found.frame.origin, found.frame.axes[2]))
    measured = found.outlines["annulus"].area
    if abs(area / measured - 1.0) < UNLIKE:
        return area, ()
    note = (
        f"The annulus has {area:.0f} mm² in the mesh, {measured:.0f} mm² as it was measured: look "
        "at the hinge points."
    )
    return area, (note,)


def _leaflets(found: RootMeasures, wall: MeasuredWall, model: RootModel) -> tuple[Leaflet, ...]:
    hinges = _hinges(found, wall)
    turns = np.array([turn for turn, _ in hinges])
    order = np.argsort((turns - turns[0]) % (2.0 * np.pi))
    rising = turns[0] + (turns[order] - turns[0]) % (2.0 * np.pi)
    ways = np.array([hinges[k][1] for k in order])
    ends = _commissures(found, wall, model.commissures, rising)
    height = float(np.mean([way for _, way in ends]) - np.mean(ways))
    valve = Valve.standing(model.leaflets, model.thickness, wall.radius(rising, ways), height)
    names = [NAMES[k] for k in order]
    low = list(zip(rising.tolist(), ways.tolist(), strict=True))
    return hang(wall.place, names, low, ends, valve, PLACE)


def _hinges(found: RootMeasures, wall: MeasuredWall) -> list[tuple[float, float]]:
    """Angle and way along the axis of the hinge points: right, left, non-coronary.

    Raises:
        InputError: one is missing, or lies off the wall.
    """
    missing = {*HINGES} - {one.name for one in found.landmarks}
    if missing:
        raise InputError(
            PLACE, f"no hinge points {sorted(missing)}: leaflets can't be hung.",
            "Place them in 3D Slicer, or mesh without leaflets.",
        )  # fmt: skip
    places = [find(found.landmarks, name).geometry for name in HINGES]
    points = np.array([one.at for one in places if isinstance(one, Point)])
    turn, way, far = wall.locate(points)
    off = far - wall.radius(turn, way)
    for name, own in zip(HINGES, off, strict=True):
        if not abs(own) <= OFF:
            where = f"{abs(own):.1f} mm off the wall" if np.isfinite(own) else "beyond the ends"
            raise InputError(
                f"landmark `{name}`", f"lies {where} of the root that is meshed.",
                "Correct it in 3D Slicer, or mesh without leaflets.",
            )  # fmt: skip
    return list(zip(turn.tolist(), way.tolist(), strict=True))


def _commissures(
    found: RootMeasures, wall: MeasuredWall, share: float, hinges: Vector
) -> list[tuple[float, float]]:
    """Angle and way along the axis of the commissure after each hinge point.

    Raises:
        InputError: one isn't between its hinge points.
    """
    sinuses, frame = found.outlines["sinuses"], found.frame
    # Directions are told from the middle of the annulus, in the section of the sinuses.
    x, y, _ = frame.coordinates(sinuses.points)
    own = np.unwrap(np.arctan2(y, x))
    order = np.argsort(own % (2.0 * np.pi))
    index = np.interp(frame.commissures, own[order] % (2.0 * np.pi), np.arange(len(own)))
    turn = wall.locate(sinuses.points[order][np.round(index).astype(int)])[0]
    after = hinges[0] + np.sort((turn - hinges[0]) % (2.0 * np.pi))
    following = np.append(hinges[1:], hinges[0] + 2.0 * np.pi)
    if not np.all((after > hinges) & (after < following)):
        raise InputError(
            PLACE, "the commissures don't lie between the hinge points.",
            "Correct the hinge points in 3D Slicer, or mesh without leaflets.",
        )  # fmt: skip
    annulus = Plane(frame.origin, frame.axes[2])
    normal = found.outlines["junction"].axes[2]
    junction = Plane(found.outlines["junction"].centroid,
                     normal if normal @ frame.axes[2] > 0.0 else -normal)  # fmt: skip
    low, high = (wall.meets(after, plane) for plane in (annulus, junction))
    return list(zip(after.tolist(), (low + share * (high - low)).tolist(), strict=True))
