"""Cuts, holes, gaps and screws in bodies for which all is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organtwin.image.volume import Grid
from organtwin.landmarks.record import Plane
from organtwin.surgery.bodies import Bodies
from organtwin.surgery.cuts import osteotomy, remove
from organtwin.surgery.fit import gap_map
from organtwin.surgery.screws import Screw, purchase, rod, shell
from organtwin.surgery.tools import Drill
from organtwin.verify.record import Record, Sense

type Points = NDArray[np.float64]

#: Radius and length of a rod, radius of a hole across it (mm).
RADIUS, LENGTH, HOLE = 15.0, 50.0, 3.0
#: Wall of a tube (mm), and the angle of a saw's blade by the tangents of its normal.
WALL, TILTED = 3.0, (0.3, 0.2, 0.93)
NAME = "bone_surgery"


def rod_body(voxel: float) -> Bodies:
    """The rod along z, on a grid that does not fit it."""
    low = np.array([-RADIUS, -RADIUS, 0.0]) - 4.0 + 0.13 * voxel
    i, j, k = (np.ceil(np.array([2 * RADIUS, 2 * RADIUS, LENGTH]) + 8.0) / voxel).astype(int) + 1
    grid = Grid((int(i), int(j), int(k)), np.full(3, voxel), low, np.eye(3))
    points = grid.points(np.indices(grid.shape).reshape(3, -1).T)
    radial = np.linalg.norm(points[:, :2], axis=1) - RADIUS
    along = np.abs(points[:, 2] - 0.5 * LENGTH) - 0.5 * LENGTH
    field = np.maximum(radial, along).reshape(grid.shape)
    return Bodies(grid, {"bone": field.astype(np.float32)})


def hole_error(voxel: float) -> float:
    r"""Relative error of the volume of a hole across the rod, by its surfaces.

    The volume is that of two crossing cylinders, :math:`4 \int \sqrt{R^2 - x^2}
    \sqrt{r^2 - x^2} dx`, by quadrature.
    """
    x = np.linspace(-HOLE, HOLE, 100_001)
    exact = float(
        np.trapezoid(4.0 * np.sqrt(RADIUS**2 - x**2) * np.sqrt(np.maximum(HOLE**2 - x**2, 0)), x)
    )
    whole = rod_body(voxel)
    far = np.array([0.0, RADIUS + 5.0, 0.0])
    middle = np.array([0.0, 0.0, 0.47 * LENGTH])
    left = remove(whole, Drill(middle - far, middle + far, 2.0 * HOLE)).bodies
    return (whole.surface("bone").volume - left.surface("bone").volume) / exact - 1.0


def cut_errors(voxel: float, kerf: float) -> tuple[float, float, float]:
    """Errors of an oblique cut.

    Returns:
        Relative error of its area, largest distance of its faces from their planes away from the
        rim (mm), and error of the gap between them (mm).
    """
    normal = np.array(TILTED) / np.linalg.norm(TILTED)
    middle = np.array([0.0, 0.0, 0.5 * LENGTH])
    made = osteotomy(rod_body(voxel), "bone", Plane(middle, normal), ("upper", "lower"), kerf=kerf)
    heights = []
    for name in made.parts:
        points = made.bodies.surface(name).points
        height = (points - middle) @ normal
        inner = np.hypot(points[:, 0], points[:, 1]) < RADIUS - 2.0 * voxel
        heights.append(height[inner & (np.abs(height) < 0.5 * kerf + voxel)])
    off = max(float(np.abs(np.abs(h) - 0.5 * kerf).max()) for h in heights)
    gap = float(heights[0].mean() - heights[1].mean())
    return made.area / (np.pi * RADIUS**2 / normal[2]) - 1.0, off, gap - kerf


def records(*, quick: bool) -> list[Record]:
    """Holes, cuts, gaps and purchase against geometry.

    Args:
        quick: Coarser voxels.
    """
    coarse, fine = (2.0, 1.0) if quick else (1.0, 0.5)
    errors = [abs(hole_error(voxel)) for voxel in (coarse, fine)]
    order = float(np.log2(errors[0] / errors[1]))
    area, off, gap = cut_errors(fine, 0.3)
    geometry, most = "geometry", Sense.AT_MOST
    tube = shell(rod(np.zeros(3), np.array([0.0, 0, LENGTH]), 2 * RADIUS, sides=96), WALL)
    at = np.array([0.0, 0.0, 0.5 * LENGTH])
    across = np.array([RADIUS + 2.0, 0.0, 0.0])
    held = purchase(Screw(at - across, at + across, 3.5, 2.4), tube)
    ball = np.array([RADIUS + 4.0, 0.0, 0.0]) + at
    outside = rod(np.zeros(3), np.array([0.0, 0, LENGTH]), 2 * RADIUS, sides=240)
    pin = rod(ball, ball + np.array([10.0, 0, 0]), 4.0, sides=24)
    nearest = float(gap_map(pin, outside).distances.min())
    return [
        Record(NAME, "error of a hole's volume", errors[1], "1", 0.0, 0.03 if quick else 0.01,
               geometry, most),
        Record(NAME, "order of it in the voxel's edge", order, "1", 1.5, 0.0, geometry,
               Sense.AT_LEAST),
        Record(NAME, "error of a cut's area", abs(area), "1", 0.0, 0.01, geometry, most),
        Record(NAME, "distance of a cut's faces from their planes", off, "mm", 0.0, 5e-3, geometry,
               most),
        Record(NAME, "error of a gap of 0.3 mm", abs(gap), "mm", 0.0, 5e-3, geometry, most),
        Record(NAME, "thread in the cortex of a tube", held.cortical, "mm", 2 * WALL, 0.2,
               geometry),
        Record(NAME, "tip beyond the far cortex", held.tip_beyond, "mm", 2.0, 0.1, geometry),
        Record(NAME, "smallest gap of a pin beside a rod", nearest, "mm", 4.0, 0.02, geometry),
    ]  # fmt: skip
