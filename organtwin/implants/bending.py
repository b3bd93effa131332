"""Plates laid on bone: bent to a smooth surface fitted to it, constant thickness, round holes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from scipy.interpolate import BSpline, CubicSpline
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.implants.implant import Implant, LocalFrame
from organtwin.implants.plate_surface import Drawing, drawing, raised
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
#: Distance (mm) of the knots along a plate, and the largest power across it.
KNOTS, POWER = 8.0, 3
#: Stiffness (mm⁴) of a plate against its misfit that is tried at first, at last, and its steps.
SOFTEST, STIFFEST, STIFFER = 10.0, 1e8, 4.0
#: How often the step between a plate that is too soft and one that is not is halved.
HALVINGS = 3
#: Distance (mm) from the plate up to which bone is what it lies on.
BESIDE = 3.0
#: Fewest samples of the bone below a plate.
LEAST = 45
#: Weight of what bends a plate both ways at once, where it is bent along, across and twisted only.
STIFF = 1e4
#: Smallest radius of a plate in its thicknesses, for which it is made stiffer; our choice.
GENTLE = 3.0
#: Rounds of lifting the plate off the bone.
LIFTS = 8
#: Stretch in its plane (parts) beyond which bending a plate would not do.
MOST_STRETCH = 0.35


@dataclass(frozen=True)
class Bed:
    """Surface z(x, y) = Σ s_j(x) (y / b)^j that follows the bone under a plate, in its frame (mm).

    Attributes:
        along: Cubic splines s_j, one for each power of y.
        across: Length b that y is divided by (mm).
        residual: Root mean square distance of the bone's samples from it along z (mm).
        stiffness: Of the plate that it was fitted by (mm⁴).
    """

    along: tuple[BSpline, ...]
    across: float
    residual: float
    stiffness: float

    def height(self, x: Points, y: Points, dx: int = 0, dy: int = 0) -> Points:
        """Height z or a derivative of it at places."""
        found = np.zeros(np.broadcast(x, y).shape)
        for j in range(dy, len(self.along)):
            found += self.along[j](x, nu=dx) * _power(y, j, dy, self.across)
        return np.asarray(found)

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
    gap: float = 0.0,
) -> Implant:
    """Bend a plate onto a bone.

    A surface z(x, y) in the plate's frame is fitted to the outside of the bone below it, and
    resists as a thin plate does,

        mean (z - z_bone)² + S mean (z_xx² + 2 z_xy² + z_yy²) = min,

    with the least stiffness S for which it is curved no tighter than `GENTLE` thicknesses, no
    steeper than `STEEPEST` and stretched no more than `MOST_STRETCH`: it follows the bone's shape,
    not its bumps. Lengths along the plate's middle line, and from there across it, are kept; the
    normals carry the thickness. Around its axis each hole stays flat, so that it is a round,
    straight cylinder. At last the plate is lifted along z until it does not enter the bone.

    Args:
        plate: Its drawing.
        bone: Closed surface of the bone, facing outwards.
        frame: Where the plate's middle lies about, x along it, z off the bone.
        size: Edge length (mm) of its triangles.
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
    drawn = drawing(plate, size)
    bed, lay = _gentle(plate, drawn, bone, frame)
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
        f"Bent to the bone with a residual of {bed.residual:.2f} mm.",
        f"It stands off by {off.mean():.2f} mm on average, {off.max():.2f} mm at most.",
        f"Bending stretched it by up to {100 * stretch:.1f} % in its plane.",
    )
    middle = underside(np.zeros((1, 2)))[0][0]
    return raised(plate, drawn, underside, size, LocalFrame(middle, frame.axes), notes)


def _gentle(
    plate: Plate, drawn: Drawing, bone: TriangleSurface, frame: LocalFrame
) -> tuple[Bed, _Lay]:
    """Bed that follows the bone best of those a plate can be bent to.

    Of a plate that is free to be bent both ways at once, and of one that is bent along, bent across
    and twisted alone, each as soft as may be, the nearer to the bone.
    """
    samples = _below(plate, drawn, bone, frame)
    best: tuple[Bed, _Lay] | None = None
    for mixed in (1.0, STIFF):
        fit, stiffness = _Fit(plate, drawn, samples, mixed), SOFTEST
        made, gentle = _bent(plate, drawn, fit(stiffness))
        while not gentle and stiffness < STIFFEST:
            stiffness *= STIFFER
            made, gentle = _bent(plate, drawn, fit(stiffness))
        soft = stiffness / STIFFER
        for _ in range(HALVINGS if gentle and stiffness > SOFTEST else 0):
            middle = np.sqrt(soft * stiffness)
            tried, enough = _bent(plate, drawn, fit(middle))
            made, stiffness, soft = (tried, middle, soft) if enough else (made, stiffness, middle)
        if best is None or (gentle and made[0].residual < best[0].residual):
            best = made
    assert best is not None
    return best


def _bent(plate: Plate, drawn: Drawing, bed: Bed) -> tuple[tuple[Bed, _Lay], bool]:
    """A plate laid on a bed, and whether it is bent gently."""
    lay = _Lay(plate, bed)
    curved = float(bed.curvature(*lay.feet(drawn.places).T).max())
    if curved * GENTLE * plate.thickness > 1.0:
        return (bed, lay), False
    points, normals = lay(drawn.places)
    flat = np.cos(np.radians(STEEPEST))
    sound = normals[:, 2].min() >= flat and _stretch(drawn, points) <= MOST_STRETCH
    return (bed, lay), bool(sound)


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


class _Fit:
    """Least squares of a stiff plate on samples of the bone below it.

    Args:
        plate: The plate.
        drawn: Triangles of it.
        samples: In its frame (mm), shape (n, 3).
        mixed: Weight of what bends it both ways at once.
    """

    def __init__(self, plate: Plate, drawn: Drawing, samples: Points, mixed: float) -> None:
        self.samples = samples
        self.across = float(np.abs(drawn.places[:, 1]).max()) + BIN
        reach = _reach(plate) + KNOTS
        inner = np.linspace(-reach, reach, int(np.ceil(2.0 * reach / KNOTS)) + 1)
        step = inner[1] - inner[0]
        ends = step * np.arange(1, 4)
        self.knots = np.concatenate([inner[0] - ends[::-1], inner, inner[-1] + ends])
        self.number = len(self.knots) - 4
        self.matrix = self._terms(samples[:, 0], samples[:, 1], 0, 0)
        # Energy on a grid of the plate's middle strip and beyond its ends.
        x, y = (g.ravel() for g in np.meshgrid(
            np.linspace(-reach, reach, 2 * len(inner)), np.linspace(-1.0, 1.0, 7) * self.across,
        ))  # fmt: skip
        rows = [self._terms(x, y, 2, 0), np.sqrt(2.0) * self._terms(x, y, 1, 1),
                self._terms(x, y, 0, 2)]  # fmt: skip
        both = np.sqrt(mixed - 1.0)
        if both:
            # What is left is z = a(x) + b(y) + c x y.
            rows += [both * self._terms(x, y, 2, 1), both / self.across * self._terms(x, y, 1, 2)]
        self.bent = np.concatenate(rows) / np.sqrt(len(x))

    def __call__(self, stiffness: float) -> Bed:
        """Bed of a plate of some stiffness (mm⁴)."""
        z = self.samples[:, 2]
        held = np.sqrt(stiffness * len(z)) * self.bent
        found = np.linalg.lstsq(
            np.concatenate([self.matrix, held]), np.pad(z, (0, len(held))), rcond=None
        )[0]
        residual = float(np.sqrt(np.mean((self.matrix @ found - z) ** 2)))
        parts = found.reshape(POWER + 1, self.number)
        along = tuple(BSpline(self.knots, part, 3) for part in parts)
        return Bed(along, self.across, residual, stiffness)

    def _terms(self, x: Points, y: Points, dx: int, dy: int) -> Points:
        """Values or derivatives of all terms at places, shape (n, terms)."""
        splines = BSpline(self.knots, np.eye(self.number), 3)(x, nu=dx)
        parts = [splines * _power(y, j, dy, self.across)[:, None] for j in range(POWER + 1)]
        return np.concatenate(parts, axis=1)


def _power(y: Points, j: int, dy: int, across: float) -> Points:
    """Derivative of (y / b)^j."""
    if dy > j:
        return np.zeros_like(y, dtype=float)
    factor = float(np.prod(np.arange(j - dy + 1, j + 1)))
    return np.asarray(factor * (y / across) ** (j - dy) / across**dy)


def _reach(plate: Plate) -> float:
    """Distance (mm) from its middle up to which a plate's middle line is laid."""
    return 1.2 * float(np.abs(plate.outline).max()) + 5.0


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
        reach = _reach(plate)
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
