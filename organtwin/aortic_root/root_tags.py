"""What a mesh of a root is told about: ostia, membranous septum, calcium."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from organtwin.aortic_root import septum
from organtwin.aortic_root.calcium import OUTSIDE, PARTS, Calcium
from organtwin.aortic_root.measurements import RootMeasures
from organtwin.aortic_root.ostia import Ostium
from organtwin.image.volume import Grid
from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.volume_mesh import TetrahedralMesh

type Vector = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: Diameter of an ostium whose artery wasn't seen, and how far from its plane the wall may lie (mm).
UNSEEN, DEEP = 3.5, 6.0
#: Most of the volume of a lesion that a mesh may hold too little of before it is told.
LESS = 0.05


@dataclass(frozen=True)
class Lesion:
    """A lesion of calcium in a mesh.

    Attributes:
        centre: Its middle in the scan (LPS, mm), shape (3,).
        measured: Its volume, corrected for blur (mm³).
        meshed: Volume of its cells (mm³).
        farthest: Largest distance of one of these from the voxels of the lesion (mm).
    """

    centre: Vector
    measured: float
    meshed: float
    farthest: float


def with_patches(mesh: TetrahedralMesh, found: RootMeasures) -> TetrahedralMesh:
    """The mesh with ``ostium_right``, ``ostium_left``, ``membranous_septum`` out of ``inner``.

    An ostium is what of the inner surface lies in the cylinder of its artery's diameter; 3.5 mm
    where the artery wasn't seen. The septum is the region of `organtwin.aortic_root.septum`.
    """
    own = np.flatnonzero(mesh.facet_tags == mesh.facet_names["inner"])
    middles = mesh.points[mesh.facets[own]].mean(axis=1)
    chosen = {f"ostium_{side}": _ostium(one, middles) for side, one in found.ostia.items()}
    chosen["membranous_septum"] = _septum(found, middles)
    tags, names = mesh.facet_tags.copy(), dict(mesh.facet_names)
    for name, here in chosen.items():
        names[name] = max(names.values()) + 1
        tags[own[here]] = names[name]
    return replace(mesh, facet_tags=tags, facet_names=names)


def _ostium(one: Ostium, points: Vector) -> Mask:
    """Whether points of the wall lie in an ostium."""
    off = points - one.at
    along = off @ one.way
    aside = np.linalg.norm(off - along[:, None] * one.way, axis=1)
    return np.asarray((aside < 0.5 * (one.diameter or UNSEEN)) & (np.abs(along) < DEEP))


def _septum(found: RootMeasures, points: Vector) -> Mask:
    """Whether points of the wall lie in the region of the membranous septum."""
    frame = found.frame
    x, y, height = frame.coordinates(points)
    cx, cy = found.levels.middle(height, frame)
    turn = np.arctan2(y - cy, x - cx) - found.septum.direction
    turn = (turn + np.pi) % (2.0 * np.pi) - np.pi
    wide = np.abs(turn) * np.hypot(x - cx, y - cy) < 0.5 * septum.WIDTH
    return np.asarray(wide & (height > -septum.BELOW) & (height < septum.ABOVE))


def with_calcium(
    mesh: TetrahedralMesh, lime: Calcium, grid: Grid
) -> tuple[TetrahedralMesh, tuple[Lesion, ...]]:
    """The mesh with a region ``calcium``: of each lesion the cells nearest to its voxels.

    Cells of wall and leaflets are taken in the order of their distance from the lesion until they
    have its volume, corrected for blur by the share that its root's calcium has
    (`organtwin.aortic_root.calcium.Score`). So the volume is kept to half a cell, but what hangs in
    the blood beside a leaflet is laid along it. Cells farther than 3 mm are left; what is missing
    then is seen in the `Lesion`. Our choice.

    Args:
        mesh: Wall and leaflets.
        lime: Calcium of the scan.
        grid: The scan's grid.
    """
    label, count = ndimage.label(lime.mask, np.ones((3, 3, 3)))
    volumes = signed_volumes(mesh.points, mesh.cells)
    middles = mesh.points[mesh.cells].mean(axis=1)
    free = np.ones(len(mesh.cells), bool)
    regions, lesions = mesh.regions.copy(), []
    number = max(mesh.region_names.values()) + 1
    share = _corrected(lime)
    index = np.argwhere(lime.mask)
    own, places = label[tuple(index.T)], grid.points(index)
    # The largest first, so that small ones beside it don't take its cells.
    for lesion in np.argsort(-np.bincount(own, minlength=count + 1)[1:], kind="stable") + 1:
        here = places[own == lesion]
        wanted = share * len(here) * grid.voxel_volume
        far = cKDTree(here).query(middles, distance_upper_bound=OUTSIDE)[0]
        order = np.argsort(far, kind="stable")
        order = order[free[order] & np.isfinite(far[order])]
        total = np.cumsum(volumes[order])
        # The last cell is taken where it is more than half needed.
        taken = order[: int(np.searchsorted(total - 0.5 * volumes[order], wanted))]
        regions[taken], free[taken] = number, False
        lesions.append(Lesion(
            here.mean(axis=0), wanted, float(volumes[taken].sum()),
            float(far[taken].max(initial=0.0)),
        ))  # fmt: skip
    if not lesions:
        return mesh, ()
    names = {**mesh.region_names, "calcium": number}
    return replace(mesh, regions=regions, region_names=names), tuple(lesions)


def _corrected(lime: Calcium) -> float:
    """Volume corrected for blur over that above the threshold, of all calcium."""
    whole = sum(lime.total(part) for part in PARTS)
    scores = lime.regions.values()
    return sum(score.corrected for score in scores) / whole if whole > 0.0 else 1.0


def told(lesions: tuple[Lesion, ...]) -> tuple[str, ...]:
    """Sentences about lesions that a mesh holds too little of."""
    return tuple(
        f"Of {one.measured:.0f} mm³ of calcium at ({', '.join(f'{x:.0f}' for x in one.centre)}) mm "
        f"{one.meshed:.0f} mm³ are meshed: no more cells lie within {OUTSIDE:g} mm."
        for one in lesions
        if one.meshed < (1.0 - LESS) * one.measured
    )
