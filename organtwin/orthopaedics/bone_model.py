"""Bones as far as images don't show them: a longer shaft, a cortex and densities by law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.volume import Grid, Image
from organtwin.landmarks.fits import unit
from organtwin.landmarks.record import Sphere
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.surgery.bodies import Bodies, bodies_of_surfaces, grid_around, pieces
from organtwin.surgery.reduction import fit_faces
from organtwin.surgery.screws import grey_at
from organtwin.surgery.signed import signed_field

type Points = NDArray[np.float64]
type Field = NDArray[np.float32]

#: Heights (mm) above the end of what an image shows between which it passes into a template.
BLEND = (4.0, 12.0)
#: Edge of voxels (mm) on which a template is fitted.
COARSE = 3.0
#: Share of the bone's surface by which a template is fitted: two persons' bones differ.
ALIKE = 0.7
#: Width (mm) over which the cortex passes into what it encloses.
SOFT = 1.0


@dataclass(frozen=True)
class CortexLaw:
    """Thickness of the cortex and grey value under it by the height along a bone; our choice.

    Attributes:
        heights: Along the bone from a landmark (mm), ascending, shape (n,).
        thickness: Of the cortex there (mm).
        inner: Grey value of what it encloses (HU).
        level: Grey value of the cortex (HU).
        source: Where it comes from.
    """

    heights: tuple[float, ...]
    thickness: tuple[float, ...]
    inner: tuple[float, ...]
    level: float = 1400.0
    source: str = "our choice"

    def __post_init__(self) -> None:
        if not len(self.heights) == len(self.thickness) == len(self.inner) >= 1:
            raise InputError("cortex law", "its lists differ in length.", "Give one of each.")
        if (np.diff(self.heights) <= 0.0).any() or min(self.thickness) <= 0.0:
            raise InputError(
                "cortex law", "heights don't ascend or a thickness is not positive.", "Sort them."
            )

    def thick(self, heights: Points) -> Points:
        """Thickness (mm) at heights (mm)."""
        return np.interp(heights, self.heights, self.thickness)

    def grey(self, depth: Points, heights: Points) -> Points:
        """Grey value (HU) at depths under the surface (mm) and heights (mm).

        The cortex goes on outside the bone, so that elements at its surface average bone only.
        """
        inner = np.interp(heights, self.heights, self.inner)
        share = np.clip((depth - self.thick(heights)) / SOFT, 0.0, 1.0)
        return np.asarray(self.level + share * (inner - self.level))


def painted(bone: TriangleSurface, law: CortexLaw, up: Points, zero: Points, voxel: float) -> Image:
    """An image (HU) of a bone without a scan, by a law.

    Args:
        bone: Closed surface.
        law: Of cortex and density.
        up: Direction of heights, shape (3,).
        zero: Where heights are counted from (mm), shape (3,).
        voxel: Edge of its voxels (mm).
    """
    grid = grid_around(bone.points, voxel, 4.0 * voxel)
    depth = -signed_field(bone, grid).astype(np.float64)
    height = _heights(grid, up, zero)
    return Image(law.grey(depth, height).astype(np.float32), grid, "HU")


def grown(bodies: Bodies, name: str, by: float) -> Bodies:
    """Bodies of which one has its surface moved along its normal by a length (mm), outwards."""
    if not by:
        return bodies
    return bodies.changed({name: np.asarray(bodies.field(name) - by, np.float32)})


def canal_of(bodies: Bodies, name: str, law: CortexLaw, up: Points, zero: Points) -> Field:
    """Signed distance (mm) of what the cortex of a bone encloses."""
    heights = _heights(bodies.grid, up, zero)
    return np.asarray(bodies.field(name) + law.thick(heights), np.float32)


def extended(
    bone: TriangleSurface, axis: Points, low: Points, by: float, *, voxel: float
) -> TriangleSurface:
    """A bone whose section at a plane goes on along an axis: a straight shaft.

    Args:
        bone: Closed surface; what lies beyond the plane is replaced.
        axis: Where the shaft goes on to, shape (3,).
        low: A point of the plane (mm), which is square to the axis, shape (3,).
        by: Length beyond the plane (mm), where it ends in a plane too.
        voxel: Edge of the voxels that it is made on (mm).

    Raises:
        InputError: the plane misses the bone.
    """
    along = unit(np.asarray(axis, float))
    first = bodies_of_surfaces({"bone": bone}, voxel, margin=4.0)
    ends = np.concatenate([bone.points, bone.points + (by + 8.0) * along])
    grid = grid_around(ends, voxel, 4.0)
    places = grid.points(np.indices(grid.shape).reshape(3, -1).T)
    beyond = (places - low) @ along
    there = places - np.maximum(beyond, 0.0)[:, None] * along
    value = first.at("bone", there)
    if not (value[np.abs(beyond) < voxel] < 0.0).any():
        raise InputError("shaft", "the plane of its end misses the bone.", "Move it up.")
    value = np.maximum(value, beyond - by).reshape(grid.shape)
    made = Bodies(grid, {"bone": value.astype(np.float32)})
    return made.surface("bone")


@dataclass(frozen=True)
class Completed:
    """A bone of which an image shows a part, completed by another person's.

    Attributes:
        surface: Its closed surface.
        rms: Root mean square distance of both where the image shows it (mm).
        scale: By how much the other one was made larger.
        border: A point of the plane above which it is the image's (mm), shape (3,).
        up: Normal of that plane, to the image's part, shape (3,).
    """

    surface: TriangleSurface
    rms: float
    scale: float
    border: Points
    up: Points


def completed(
    bone: TriangleSurface,
    template: TriangleSurface,
    heads: tuple[Sphere, Sphere],
    *,
    mirrored: bool,
    up: Points,
    voxel: float,
) -> Completed:
    """The upper part of a femur with the rest of a template, scaled by the heads and fitted to it.

    The template starts with its head on that of the bone, as it lies in its own image (both
    patients on their backs), and is moved rigidly onto the part that the image shows. Over `BLEND`
    above the image's end the one passes into the other.

    Args:
        bone: Closed surface of the part, cut at its lower end.
        template: Closed surface of a femur with more of its shaft.
        heads: Head of the bone and of the template.
        mirrored: Whether the template is of the other side.
        up: Normal of the plane that cuts the bone, into it, shape (3,).
        voxel: Edge of the voxels that it is made on (mm).

    Raises:
        InputError: the template does not fit (`organtwin.surgery.reduction.fit_faces`).
    """
    own, other = heads
    way = np.array([-1.0, 1.0, 1.0]) if mirrored else np.ones(3)
    scale = own.radius / other.radius
    triangles = template.triangles[:, ::-1] if mirrored else template.triangles
    start = own.centre + scale * way * (template.points - other.centre)
    placed = TriangleSurface(start, np.ascontiguousarray(triangles))
    end = float((bone.points @ up).min())
    coarse = [bodies_of_surfaces({"bone": s}, COARSE).surface("bone") for s in (bone, placed)]
    shown = (coarse[0].points[coarse[0].triangles] @ up).min(axis=1) > end + BLEND[0]
    # All of it is looked at: a part would have a rim, which the fit would follow.
    whole = np.ones(len(coarse[1].triangles), bool)
    # Faces of a fracture look at each other, those of two bones the same way.
    goal = TriangleSurface(coarse[1].points, np.ascontiguousarray(coarse[1].triangles[:, ::-1]))
    fit = fit_faces(coarse[0], shown, goal, whole, kept=ALIKE)
    placed = fit.motion.inverse.surface(placed)
    both = bodies_of_surfaces({"bone": bone, "rest": placed}, voxel, margin=4.0)
    grid = both.grid
    level = _heights(grid, up, np.zeros(3)) - end
    share = np.clip((level - BLEND[0]) / (BLEND[1] - BLEND[0]), 0.0, 1.0)
    value = share * both.field("bone") + (1.0 - share) * both.field("rest")
    made = Bodies(grid, {"bone": value.astype(np.float32)})
    made = Bodies(grid, {"bone": pieces(made, "bone")[0]})
    border = bone.points.mean(axis=0)
    border = border + (end + BLEND[1] - float(border @ up)) * up
    return Completed(made.surface("bone"), fit.rms, scale, border, np.asarray(up, float))


def merged(scan: Image, other: Image, border: Points, up: Points) -> Image:
    """An image with the values of a scan above a plane and of another one below it.

    Args:
        scan: What is known.
        other: Values on the grid that is wanted.
        border: A point of the plane (mm), shape (3,).
        up: Its normal, to the scan's side, shape (3,).
    """
    values = np.array(other.values, np.float32)
    above = np.argwhere(_heights(other.grid, up, border) > 0.0)
    places = other.grid.points(above)
    index = scan.grid.index(places)
    known = ((index >= 0.0) & (index <= np.array(scan.grid.shape) - 1.0)).all(axis=1)
    values[tuple(above[known].T)] = grey_at(scan, places[known])
    return Image(values, other.grid, scan.quantity)


def _heights(grid: Grid, up: Points, zero: Points) -> Points:
    """Height (mm) of each voxel's centre along a direction, shape of the grid."""
    way = unit(np.asarray(up, float))
    steps = [float(grid.spacing[k]) * float(grid.direction[:, k] @ way) for k in range(3)]
    i, j, k = (np.arange(n, dtype=np.float64) * s for n, s in zip(grid.shape, steps, strict=True))
    start = float((grid.origin - zero) @ way)
    return np.asarray(start + i[:, None, None] + j[None, :, None] + k[None, None, :])
