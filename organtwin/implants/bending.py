"""Plates laid on bone: bent to a smooth surface fitted to it, constant thickness, round holes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyvista as pv
from numpy.polynomial import polynomial
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.implants.implant import Implant, LocalFrame
from organtwin.implants.plate_surface import Drawing, check_room, drawing, raised
from organtwin.implants.plates import Plate
from organtwin.mesh.shapes.limits import within
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.vectors import unit

type Points = NDArray[np.float64]

#: Distance (mm) of the places where the bone's outside is sampled.
BIN = 2.0
#: Cosine of the angle with the plate's z axis from which bone counts as facing the plate.
FACING = 0.25
#: Share of the plate's places that must have bone below them.
COVERED = 0.6
#: Largest slope of the bone under a plate (degrees).
STEEPEST = 68.0
#: Weight of the polynomial's curved terms against the mean square of the samples' misfit.
HELD = 1e-3
#: Distance (mm) from the plate up to which bone is what it lies on.
BESIDE = 3.0
#: Fewest samples of the bone below a plate.
LEAST = 45
#: Degree of the mixed term that only twists, and the weight of those beyond it.
TWIST, STIFF = 2, 1e4
#: Smallest radius of a plate in its thicknesses, for which degrees are lowered; our choice.
GENTLE = 3.0
#: Rounds of lifting the plate off the bone.
LIFTS = 8
#: Stretch in its plane (parts) beyond which bending a plate would not do.
MOST_STRETCH = 0.35


@dataclass(frozen=True)
class Bed:
    """Polynomial z(x, y) that follows the bone under a plate, in the plate's frame (mm).

    Attributes:
        coefficients: Of x^i y^j, scaled places, shape (p + 1, q + 1).
        scale: Lengths that x and y are divided by (mm).
        residual: Root mean square distance of the bone's samples from it along z (mm).
    """

    coefficients: Points
    scale: tuple[float, float]
    residual: float

    @property
    def degrees(self) -> tuple[int, int]:
        """Degrees along x and y."""
        return self.coefficients.shape[0] - 1, self.coefficients.shape[1] - 1

    def height(self, x: Points, y: Points, dx: int = 0, dy: int = 0) -> Points:
        """Height z or a derivative of it at places."""
        c = polynomial.polyder(self.coefficients, dx, axis=0)
        c = polynomial.polyder(c, dy, axis=1)
        along, across = self.scale
        found = polynomial.polyval2d(x / along, y / across, c)
        return np.asarray(found / (along**dx * across**dy))

    def curvature(self, x: Points, y: Points) -> Points:
        """Largest principal curvature (1/mm) at places, without sign."""
        p, q = self.height(x, y, 1), self.height(x, y, 0, 1)
        r, s, t = self.height(x, y, 2), self.height(x, y, 1, 1), self.height(x, y, 0, 2)
        w = 1.0 + p * p + q * q
        mean = ((1 + q * q) * r - 2 * p * q * s + (1 + p * p) * t) / (2.0 * w**1.5)
        gauss = (r * t - s * s) / w**2
        return np.asarray(np.abs(mean) + np.sqrt(np.maximum(mean**2 - gauss, 0.0)))


def bend_plate(
    plate: Plate,
    bone: TriangleSurface,
    frame: LocalFrame,
    size: float,
    *,
    degrees: tuple[int, int] = (6, 4),
    gap: float = 0.0,
) -> Implant:
    """Bend a plate onto a bone.

    A polynomial z(x, y) in the plate's frame is fitted to the outside of the bone below it: a plate
    is stiff and follows the bone's shape, not its bumps. Lengths along the plate's middle line, and
    from there across it, are kept; the normals carry the thickness. Around its axis each hole stays
    flat, so that it is a round, straight cylinder. At last the plate is lifted along z until it
    does not enter the bone.

    Args:
        plate: Its drawing.
        bone: Closed surface of the bone, facing outwards.
        frame: Where the plate's middle lies about, x along it, z off the bone.
        size: Edge length (mm) of its triangles.
        degrees: Degrees of the polynomial along and across, 2 or more; lowered down to 2 while the
            plate would be curved too tightly for its thickness or too steep.
        gap: Smallest distance (mm) from the bone.

    Returns:
        The plate in the bone's coordinates; its frame has the given axes and its origin in the
        middle of the underside. Its notes say how far it stands off and how much it was stretched.

    Raises:
        InputError: there is no or too little bone below it, it is too steep or too curved, or the
            plate would have to be stretched.
        MeshError: the bent plate cuts itself.
    """
    within(plate.name, "gap", gap, 0.0, 20.0)
    within(plate.name, "degree", min(degrees), 2, 12, "")
    drawn = drawing(plate, size)
    bed, lay, radius = _gentle(plate, drawn, bone, frame, degrees)
    check_room(plate, radius)
    steep = np.degrees(np.arccos(lay(drawn.places)[1][:, 2].min()))
    if steep > STEEPEST:
        raise InputError(
            plate.name, f"the bone falls away by {steep:.0f} degrees under it.",
            "Turn z of its frame off the bone, make it smaller, or move it.",
        )  # fmt: skip
    stretch = _stretch(drawn, lay(drawn.places)[0])
    if stretch > MOST_STRETCH:
        raise InputError(
            plate.name, f"it would be stretched by {100 * stretch:.0f} %, not bent.",
            "Make it narrower, or lay it where the bone is less curved.",
        )  # fmt: skip
    places = np.concatenate([drawn.places, drawn.places[drawn.triangles].mean(axis=1)])
    lift, off = _lifted(frame.out(lay(places)[0]), bone, frame.axes[2], gap)
    shift = np.array([0.0, 0.0, lift])

    def underside(at: Points) -> tuple[Points, Points]:
        points, normals = lay(at)
        return frame.out(points + shift), normals @ frame.axes

    notes = (
        f"Fitted to the bone by degrees {bed.degrees} with a residual of {bed.residual:.2f} mm.",
        f"It stands off by {off.mean():.2f} mm on average, {off.max():.2f} mm at most.",
        f"Bending stretched it by up to {100 * stretch:.1f} % in its plane.",
    )
    middle = underside(np.zeros((1, 2)))[0][0]
    return raised(plate, drawn, underside, size, LocalFrame(middle, frame.axes), notes)


def _gentle(
    plate: Plate,
    drawn: Drawing,
    bone: TriangleSurface,
    frame: LocalFrame,
    degrees: tuple[int, int],
) -> tuple[Bed, _Lay, float]:
    """Bed that follows the bone best of those a plate can be bent to, and its smallest radius.

    First all mixed terms are free, with lower and lower degrees; then those that curve it both ways
    at once are held at zero, so that it is bent along, bent across and twisted.
    """
    samples = _below(plate, drawn, bone, frame)
    flat = np.cos(np.radians(STEEPEST))
    for mixed in (None, TWIST):
        p, q = degrees
        while True:
            bed = fitted(plate, drawn, samples, (p, q), mixed)
            lay = _Lay(plate, bed)
            radius = 1.0 / max(float(bed.curvature(*lay.feet(drawn.places).T).max()), 1e-9)
            points, normals = lay(drawn.places)
            gentle = (
                radius >= GENTLE * plate.thickness
                and normals[:, 2].min() >= flat
                and _stretch(drawn, points) <= MOST_STRETCH
            )
            if gentle:
                return bed, lay, radius
            if max(p, q) <= 2:
                break
            p, q = max(p - 1, 2), max(q - 1, 2)
    return bed, lay, radius


def _below(plate: Plate, drawn: Drawing, bone: TriangleSurface, frame: LocalFrame) -> Points:
    """Samples of the bone below a plate, not of what falls away beside it, in its frame (n, 3).

    Raises:
        InputError: there is no or too little bone below it.
    """
    low, high = drawn.places.min(axis=0) - BIN, drawn.places.max(axis=0) + BIN
    samples = _outside(bone, frame, low, high)
    if len(samples):
        away = cKDTree(drawn.places).query(samples[:, :2])[0]
        samples = samples[away < BESIDE]
    if len(samples) < LEAST:
        raise InputError(
            plate.name, "no bone below it.", "Put its frame on the bone, z pointing off it."
        )
    cells = {tuple(c) for c in np.floor(samples[:, :2] / BIN).astype(int).tolist()}
    below = [tuple(c) in cells for c in np.floor(drawn.places / BIN).astype(int).tolist()]
    if np.mean(below) < COVERED:
        raise InputError(
            plate.name, f"only {100 * np.mean(below):.0f} % of it has bone below.",
            "Move it, or take a smaller one.",
        )  # fmt: skip
    return samples


def fitted(
    plate: Plate,
    drawn: Drawing,
    samples: Points,
    degrees: tuple[int, int],
    mixed: int | None = None,
) -> Bed:
    """Polynomial through samples of the bone below a plate.

    Args:
        plate: The plate.
        drawn: Triangles of it.
        samples: In its frame (mm), shape (n, 3).
        degrees: Along and across.
        mixed: Largest degree of terms of both x and y; all without it.
    """
    low, high = drawn.places.min(axis=0) - BIN, drawn.places.max(axis=0) + BIN
    along, across = np.abs([low, high]).max(axis=0).tolist()
    x, y = samples[:, 0] / along, samples[:, 1] / across
    matrix = polynomial.polyvander2d(x, y, list(degrees))
    # Rigid terms are free; the others are held a little where there are no samples.
    weak = np.ones((degrees[0] + 1, degrees[1] + 1))
    weak[0, 0] = weak[1, 0] = weak[0, 1] = 0.0
    if mixed is not None:
        i, j = np.indices(weak.shape)
        weak[(i > 0) & (j > 0) & (i + j > mixed)] = STIFF
    held = HELD * np.sqrt(len(samples)) * np.diag(weak.ravel())
    found = np.linalg.lstsq(
        np.concatenate([matrix, held]), np.pad(samples[:, 2], (0, len(held))), rcond=None
    )[0]
    residual = float(np.sqrt(np.mean((matrix @ found - samples[:, 2]) ** 2)))
    return Bed(found.reshape(degrees[0] + 1, degrees[1] + 1), (along, across), residual)


def _outside(bone: TriangleSurface, frame: LocalFrame, low: Points, high: Points) -> Points:
    """Places of the bone that face the plate, the uppermost of each bin, in its frame, (n, 3)."""
    points = frame.into(bone.points)
    a, b, c = (points[bone.triangles[:, k]] for k in range(3))
    facing = unit(np.cross(b - a, c - a))[:, 2] > FACING
    near = ((np.maximum(np.maximum(a, b), c)[:, :2] > low)
            & (np.minimum(np.minimum(a, b), c)[:, :2] < high)).all(axis=1)  # fmt: skip
    corners = points[bone.triangles[facing & near]]
    if not len(corners):
        return np.empty((0, 3))
    body = pv.PolyData.from_regular_faces(
        corners.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3)
    )
    body = body.clean().subdivide_adaptive(max_edge_len=0.7 * BIN) if len(corners) else body
    places = np.asarray(body.points, float)
    places = places[((places[:, :2] > low) & (places[:, :2] < high)).all(axis=1)]
    cell = np.floor(places[:, :2] / BIN).astype(np.int64)
    number = np.unique(cell, axis=0, return_inverse=True)[1].ravel()
    top = np.full(int(number.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(top, number, places[:, 2])
    # On the steepest bone that counts a bin falls off by so much.
    fall = BIN * np.sqrt(2.0) * np.sqrt(1.0 / FACING**2 - 1.0)
    return np.asarray(places[places[:, 2] > top[number] - fall])


class _Lay:
    """Places of the plate to points and normals of the bed, in the plate's frame."""

    def __init__(self, plate: Plate, bed: Bed) -> None:
        self.bed = bed
        self.holes = [(np.array([h.x, h.y]), 0.5 * h.diameter) for h in plate.holes]
        self.rims = [_rim(self.holes, k) for k in range(len(self.holes))]
        reach = 1.2 * float(np.abs(plate.outline).max()) + 5.0
        x = np.linspace(-reach, reach, 801)
        along = _arc(x, np.sqrt(1.0 + bed.height(x, np.zeros_like(x), 1) ** 2))
        self.spine = CubicSpline(along, x)

    def feet(self, places: Points) -> Points:
        """x, y in the frame of places of the plate, by arc length along and across."""
        x = np.asarray(self.spine(places[:, 0]))
        y = np.zeros_like(x)
        step = places[:, 1] / 24.0
        for _ in range(24):  # midpoint rule for dy/dv = 1 / sqrt(1 + z_y²)
            half = y + 0.5 * step / np.sqrt(1.0 + self.bed.height(x, y, 0, 1) ** 2)
            y = y + step / np.sqrt(1.0 + self.bed.height(x, half, 0, 1) ** 2)
        return np.column_stack([x, y])

    def smooth(self, places: Points) -> tuple[Points, Points]:
        x, y = self.feet(places).T
        points = np.column_stack([x, y, self.bed.height(x, y)])
        slope = np.column_stack(
            [-self.bed.height(x, y, 1), -self.bed.height(x, y, 0, 1), np.ones_like(x)]
        )
        return points, unit(slope)

    def __call__(self, places: Points) -> tuple[Points, Points]:
        """With the surroundings of holes made flat."""
        points, normals = self.smooth(places)
        for (middle, radius), rim in zip(self.holes, self.rims, strict=True):
            away = places - middle
            part = np.clip((radius + rim - np.linalg.norm(away, axis=1)) / rim, 0.0, 1.0)
            near = part > 0.0
            if not near.any():
                continue
            foot, axis = self.smooth(middle[None])
            # The rotation nearest to the derivative: x and y of the flat part.
            beside = self.smooth(middle + 0.01 * np.eye(2))[0] - foot
            u, _, v = np.linalg.svd(beside, full_matrices=False)
            flat = foot[0] + away[near] @ (u @ v)
            weight = (part * part * (3.0 - 2.0 * part))[near, None]
            points[near] += weight * (flat - points[near])
            normals[near] = unit(normals[near] + weight * (axis[0] - normals[near]))
        return points, normals


def _rim(holes: list[tuple[Points, float]], number: int) -> float:
    """Width (mm) around a hole over which the plate becomes flat: the radius, if there is room."""
    middle, radius = holes[number]
    others = [
        0.5 * (float(np.linalg.norm(middle - other)) - radius - beside)
        for k, (other, beside) in enumerate(holes)
        if k != number
    ]
    return min([radius, *others])


def _arc(x: Points, speed: Points) -> Points:
    """Length from x = 0 along a curve, by the trapezoidal rule."""
    steps = 0.5 * (speed[1:] + speed[:-1]) * np.diff(x)
    length = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(length - np.interp(0.0, x, length))


def _stretch(drawn: Drawing, points: Points) -> float:
    """Largest principal stretch or its inverse over the triangles, less one."""
    t = drawn.triangles
    flat = np.stack([drawn.places[t[:, k]] - drawn.places[t[:, 0]] for k in (1, 2)], axis=2)
    bent = np.stack([points[t[:, k]] - points[t[:, 0]] for k in (1, 2)], axis=2)
    values = np.linalg.svd(bent @ np.linalg.inv(flat), compute_uv=False)
    return float(max(values[:, 0].max(), (1.0 / values[:, 1]).max()) - 1.0)


def _lifted(points: Points, bone: TriangleSurface, up: Points, gap: float) -> tuple[float, Points]:
    """Shift along ``up`` (mm) that brings points to ``gap`` off the bone, and their distances."""
    body = pv.PolyData.from_regular_faces(bone.points, bone.triangles)
    lift = 0.0
    for _ in range(LIFTS):
        there = pv.PolyData(points + lift * up).compute_implicit_distance(body)
        off = np.asarray(there["implicit_distance"])
        if abs(off.min() - gap) < 1e-3:
            break
        lift += gap - float(off.min())
    return lift, off
