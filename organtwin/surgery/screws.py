"""Screws in bone: purchase in both cortices, length, breach, density along the thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.image.volume import Image, LabelMap
from organtwin.landmarks.fits import frame, unit
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.surgery.bodies import Bodies
from organtwin.surgery.signed import signed_distances
from organtwin.surgery.tools import Drill

type Points = NDArray[np.float64]
type Codes = NDArray[np.int64]
#: Tissue at points (LPS, mm), (n, 3) to (n,): `OUTSIDE`, `TRABECULAR` or `CORTICAL`.
type Tissue = Callable[[Points], Codes]

OUTSIDE, TRABECULAR, CORTICAL = 0, 1, 2
#: Distance of places along a screw (mm), and their number around it.
STEP, AROUND = 0.1, 24
#: Rings of places between core and thread, for densities.
RINGS = 4
#: How far beyond its tip the far cortex is looked for (mm).
BEYOND = 100.0
#: Thread in a cortex that counts as purchase (mm), our choice.
HOLD = 1.0
#: Share of the circle that must be in bone for its wall to be there.
MOST = 0.5
#: Borders (mm) of grades A to E of breaches, known by the names of Gertzbein and Robbins (1990);
#: the paper was not read.
GRADES = (("A", 0.0), ("B", 2.0), ("C", 4.0), ("D", 6.0))


@dataclass(frozen=True)
class Screw:
    """A screw by its axis.

    Attributes:
        entry: Where its axis leaves the head or the plate (LPS, mm), shape (3,).
        tip: Its tip (LPS, mm), shape (3,).
        diameter: Outer diameter of the thread (mm).
        core: Diameter of its core (mm).
        thread: Length of the thread from the tip (mm); all of it without.
        name: What messages call it.
    """

    entry: Points
    tip: Points
    diameter: float
    core: float
    thread: float | None = None
    name: str = "screw"

    def __post_init__(self) -> None:
        if not 0.0 < self.core <= self.diameter:
            raise InputError(
                self.name, f"a core of {self.core:g} mm in a thread of {self.diameter:g} mm.",
                "Give 0 < core <= diameter.",
            )  # fmt: skip
        if not self.length > 0.0:
            raise InputError(self.name, "entry and tip are at one place.", "Place its tip.")

    @property
    def length(self) -> float:
        """From the head to the tip (mm)."""
        return float(np.linalg.norm(np.asarray(self.tip, float) - self.entry))

    @property
    def axis(self) -> Points:
        """Unit vector from the head to the tip, shape (3,)."""
        return unit(np.asarray(self.tip, float) - self.entry)

    @property
    def thread_start(self) -> float:
        """Where the thread begins, from the head (mm)."""
        return self.length - min(self.length, self.thread or self.length)

    def pilot(self, *, diameter: float | None = None, beyond: float = 0.0) -> Drill:
        """Pilot hole: as wide as the core without a diameter, to the tip and on beyond it (mm)."""
        back = self.entry - 20.0 * self.axis
        return Drill(back, self.tip + beyond * self.axis, diameter or self.core)

    def surface(self, *, sides: int = 32) -> TriangleSurface:
        """Closed cylinder as wide as the thread, from head to tip."""
        return rod(self.entry, self.tip, self.diameter, sides=sides)


@dataclass(frozen=True)
class Purchase:
    r"""What a screw's thread holds in.

    Lengths are :math:`\int s(x) dx` along the thread with the share s of the circle of mean
    thread diameter :math:`(D + d) / 2` that lies in the tissue.

    Attributes:
        cortical: Length of the thread in cortical bone (mm).
        trabecular: Length of the thread in trabecular bone (mm).
        outside: Length of the thread outside bone (mm).
        near_cortex: Part of ``cortical`` where the axis enters the bone, up to a diameter beside
            the axis' own way through the cortex (mm).
        far_cortex: The same where the axis leaves the bone (mm).
        bicortical: Whether 1 mm of thread or more is in each of them.
        tip_beyond: From the far surface of the bone to the tip along the axis (mm), negative where
            the tip is in the bone.
        standoff: From the head to where the axis enters the bone (mm).
        through: From the head to the far surface along the axis (mm).
        wall: Largest distance of the thread's outside from the bone between one diameter after the
            entry and one before the exit or tip (mm): the breach of a wall, the radius at most; 0
            if it stays inside.
    """

    cortical: float
    trabecular: float
    outside: float
    near_cortex: float
    far_cortex: float
    bicortical: bool
    tip_beyond: float
    standoff: float
    through: float
    wall: float


@dataclass(frozen=True)
class Trajectory:
    """Density along a screw.

    Attributes:
        along: Places along the axis from the head (mm), shape (n,).
        values: Mean grey value (HU of a CT) between core and thread there, shape (n,).
        mean: Mean of them.
        lowest: Mean of the lowest quarter of the thread.
        notes: What limits it, one sentence each.
    """

    along: Points
    values: Points
    mean: float
    lowest: float
    notes: tuple[str, ...] = ()


def shell(bone: TriangleSurface, thickness: float) -> Tissue:
    """Tissue of a bone with a cortex of constant thickness (mm) under its surface."""

    def at(points: Points) -> Codes:
        depth = -signed_distances(points, bone)
        return np.where(depth < 0.0, OUTSIDE, np.where(depth <= thickness, CORTICAL, TRABECULAR))

    return at


def tissue_of_bodies(bodies: Bodies, cortical: Sequence[str], trabecular: Sequence[str]) -> Tissue:
    """Tissue by bodies: in one of the cortical ones, else in one of the trabecular ones."""

    def at(points: Points) -> Codes:
        result = np.full(len(points), OUTSIDE)
        for names, code in ((trabecular, TRABECULAR), (cortical, CORTICAL)):
            for name in names:
                result[bodies.at(name, points) <= 0.0] = code
        return result

    return at


def tissue_of_labels(
    labels: LabelMap, cortical: Sequence[str], trabecular: Sequence[str]
) -> Tissue:
    """Tissue by labels, that of the nearest voxel.

    Raises:
        InputError: a label is not there.
    """
    codes = np.full(256, OUTSIDE)
    for names, code in ((trabecular, TRABECULAR), (cortical, CORTICAL)):
        labels.mask(*names)
        codes[[labels.names[name] for name in names]] = code

    def at(points: Points) -> Codes:
        index = np.round(labels.grid.index(points)).astype(int)
        last = np.array(labels.values.shape) - 1
        there = ((index >= 0) & (index <= last)).all(axis=1)
        found = codes[labels.values[tuple(np.clip(index, 0, last).T)]]
        return np.where(there, found, OUTSIDE)

    return at


def tissue_of_scan(image: Image, bone: TriangleSurface, cortical_above: float) -> Tissue:
    """Tissue in a bone's surface by the scan: cortical from a grey value (HU) on."""

    def at(points: Points) -> Codes:
        result = np.full(len(points), OUTSIDE)
        inside = np.flatnonzero(signed_distances(points, bone) <= 0.0)
        if len(inside):
            dense = grey_at(image, points[inside]) >= cortical_above
            result[inside] = np.where(dense, CORTICAL, TRABECULAR)
        return result

    return at


def grey_at(image: Image, points: Points) -> Points:
    """Grey values at points (LPS, mm), between voxels by parts, (n, 3) to (n,).

    Raises:
        InputError: a point lies off the scan.
    """
    index = image.grid.index(points)
    last = np.array(image.values.shape) - 1.0
    if (index < -0.5).any() or (index > last + 0.5).any():
        x, y, z = points[np.argmax(np.maximum(-index, index - last).max(axis=1))]
        raise InputError(
            "scan", f"({x:.1f}, {y:.1f}, {z:.1f}) mm lies off it.",
            "Check the points: LPS in mm; files of other programs may be RAS.",
        )  # fmt: skip
    found = ndimage.map_coordinates(
        image.values, index.T, order=1, mode="nearest", output=np.float64
    )
    return np.asarray(found)


def purchase(screw: Screw, tissue: Tissue) -> Purchase:
    """What a screw's thread holds in, and how its length fits; see `Purchase`.

    Raises:
        InputError: its axis meets no bone between head and tip.
    """
    length = screw.length
    reach = np.arange(0.5 * STEP, length + BEYOND, STEP)
    on_axis = tissue(screw.entry + reach[:, None] * screw.axis)
    enters, leaves = _runs(on_axis > OUTSIDE, reach)
    met = [k for k, place in enumerate(enters) if place < length]
    if not met:
        off = (
            "it starts where there is bone only beyond its tip" if len(enters) else "there is none"
        )
        raise InputError(
            screw.name, f"it lies outside the bone: on its way of {length:.0f} mm {off}.",
            "Check entry and tip: LPS in mm, the right side, and from head to tip.",
        )  # fmt: skip
    exit_at = leaves[met[-1]]
    places = reach[reach < length]
    middle = _shares(screw, tissue, places, 0.25 * (screw.diameter + screw.core))
    threaded = places >= screw.thread_start
    sums = {code: float(share[threaded].sum() * STEP) for code, share in middle.items()}
    near, far = _cortices(screw, on_axis, middle[CORTICAL], places, (enters[met[0]], exit_at))
    wall = _wall(screw, tissue, enters[met[0]], min(exit_at, length))
    return Purchase(
        cortical=sums[CORTICAL],
        trabecular=sums[TRABECULAR],
        outside=sums[OUTSIDE],
        near_cortex=near,
        far_cortex=far,
        bicortical=near >= HOLD and far >= HOLD,
        tip_beyond=length - exit_at,
        standoff=enters[met[0]],
        through=exit_at,
        wall=wall,
    )


def clearance(screw: Screw, region: TriangleSurface) -> float:
    r"""Distance (mm) of a screw's thread from a region that it must not enter, negative inside.

    .. math:: c = \min_{0 \le x \le L} d_{region}(x) - D / 2

    as of a rod with round ends: a spinal canal, a joint surface, a vessel.

    Args:
        screw: The screw.
        region: Closed surface of the region.
    """
    places = np.linspace(0.0, screw.length, max(int(np.ceil(screw.length / STEP)), 1) + 1)
    away = signed_distances(screw.entry + places[:, None] * screw.axis, region)
    return float(away.min()) - 0.5 * screw.diameter


def breach_grade(breach: float) -> str:
    """Grade A to E of a breach of a pedicle's wall (mm): none, below 2, 4, 6 mm, or more."""
    return next((grade for grade, most in GRADES if breach <= most), "E")


def trajectory(screw: Screw, image: Image, *, step: float = 0.5) -> Trajectory:
    r"""Density profile along the thread: mean over the annulus between core and thread.

    .. math:: \bar{h}(x) = \frac{4}{\pi (D^2 - d^2)} \int_{d/2}^{D/2} \int_0^{2\pi} h\, r\,
        d\varphi\, dr

    Args:
        screw: The screw; its thread's part is measured.
        image: Scan before surgery, a CT for HU.
        step: Distance of the places along the axis (mm).

    Raises:
        InputError: it lies off the scan, or the step is not positive.
    """
    if not step > 0.0:
        raise InputError(screw.name, f"a step of {step:g} mm.", "Give a positive one.")
    along = np.arange(screw.thread_start + 0.5 * step, screw.length, step)
    low, high = 0.25 * screw.core**2, 0.25 * screw.diameter**2
    radii = np.sqrt(low + (np.arange(RINGS) + 0.5) / RINGS * (high - low))
    rings = [grey_at(image, _ring(screw, along, r)).reshape(len(along), -1) for r in radii]
    values = np.concatenate(rings, axis=1).mean(axis=1)
    lowest = np.sort(values)[: max(len(values) // 4, 1)].mean()
    notes = []
    depth = 0.5 * (screw.diameter - screw.core)
    if float(image.grid.spacing.max()) > 2.0 * depth:
        spacing = " x ".join(f"{s:.3g}" for s in image.grid.spacing)
        notes.append(
            f"Voxels of {spacing} mm are coarser than the thread ({depth:.2g} mm deep): bone and "
            "what is beside it are mixed."
        )
    if image.quantity != "HU":
        notes.append(f"The values are {image.quantity}, not HU.")
    return Trajectory(along, values, float(values.mean()), float(lowest), tuple(notes))


def rod(start: Points, end: Points, diameter: float, *, sides: int = 32) -> TriangleSurface:
    """Closed cylinder with the volume of a round one, its triangles outwards.

    Args:
        start: Middle of one end (mm), shape (3,).
        end: Middle of the other, shape (3,).
        diameter: Diameter of the round cylinder (mm).
        sides: Number of its sides.
    """
    along = np.asarray(end, float) - start
    length = float(np.linalg.norm(along))
    axes = frame(along)
    turn = 2.0 * np.pi * np.arange(sides) / sides
    # A polygon of as much area as the circle.
    radius = 0.5 * diameter * np.sqrt(2.0 * np.pi / (sides * np.sin(2.0 * np.pi / sides)))
    ring = radius * (np.cos(turn)[:, None] * axes[0] + np.sin(turn)[:, None] * axes[1])
    levels = max(int(np.ceil(length * sides / (np.pi * diameter))), 1)
    shares = np.linspace(0.0, 1.0, levels + 1)
    points = np.concatenate([ring + start + share * along for share in shares])
    points = np.concatenate([points, [np.asarray(start, float), np.asarray(end, float)]])
    k = np.arange(sides)
    after = (k + 1) % sides
    triangles = [np.stack([np.full(sides, len(points) - 2), after, k], axis=1)]
    for level in range(levels):
        a, b = level * sides + k, level * sides + after
        triangles.append(np.stack([a, b, b + sides], axis=1))
        triangles.append(np.stack([a, b + sides, a + sides], axis=1))
    top = levels * sides
    triangles.append(np.stack([np.full(sides, len(points) - 1), top + k, top + after], axis=1))
    return TriangleSurface(points, np.concatenate(triangles).astype(np.int64))


def _runs(inside: NDArray[np.bool_], along: Points) -> tuple[list[float], list[float]]:
    """Where stretches begin and end (mm)."""
    change = np.diff(np.concatenate([[0], inside.astype(np.int8), [0]]))
    half = 0.5 * STEP
    starts, stops = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    return (along[starts] - half).tolist(), (along[stops - 1] + half).tolist()


def _ring(screw: Screw, along: Points, radius: float) -> Points:
    """Places around the axis, shape (len(along) * AROUND, 3)."""
    axes = frame(screw.axis)
    turn = 2.0 * np.pi * np.arange(AROUND) / AROUND
    circle = radius * (np.cos(turn)[:, None] * axes[0] + np.sin(turn)[:, None] * axes[1])
    middles = screw.entry + along[:, None] * screw.axis
    return np.asarray((middles[:, None] + circle).reshape(-1, 3))


def _shares(screw: Screw, tissue: Tissue, places: Points, radius: float) -> dict[int, Points]:
    """Share of the circle in each tissue at places along the axis."""
    codes = tissue(_ring(screw, places, radius)).reshape(len(places), AROUND)
    return {code: (codes == code).mean(axis=1) for code in (OUTSIDE, TRABECULAR, CORTICAL)}


def _cortices(
    screw: Screw, on_axis: Codes, share: Points, places: Points, surfaces: tuple[float, float]
) -> tuple[float, float]:
    """Thread in the cortex at the surfaces where the axis enters and leaves the bone.

    Obliquely to the axis a cortex reaches beyond the axis' own way through it, by a diameter here.
    """
    along = np.asarray(STEP * (np.arange(len(on_axis)) + 0.5), np.float64)
    starts, stops = _runs(on_axis == CORTICAL, along)
    enter, leave = surfaces
    half = 0.5 * (enter + leave)
    near = next(
        (b for a, b in zip(starts, stops, strict=True) if enter <= b and a <= enter + STEP), enter
    )
    far = next(
        (a for a, b in zip(starts, stops, strict=True) if b >= leave - STEP and a <= leave), leave
    )
    # No cortex counts twice in a thin bone.
    wide = screw.diameter
    windows = ((enter - wide, min(near + wide, half)), (max(far - wide, half), leave + wide))
    threaded = places >= screw.thread_start
    first, last = (
        float(share[threaded & (places >= low) & (places < high)].sum() * STEP)
        for low, high in windows
    )
    return first, last


def _wall(screw: Screw, tissue: Tissue, start: float, stop: float) -> float:
    """Breach of a wall (mm): how deep the outside of the thread is out of the bone."""
    places = np.arange(start + screw.diameter, stop - screw.diameter, 5.0 * STEP)
    if not len(places):
        return 0.0

    def out(radius: float) -> bool:
        return bool((tissue(_ring(screw, places, radius)) == OUTSIDE).any())

    low, high = 0.0, 0.5 * screw.diameter
    if not out(high):
        return 0.0
    # The largest radius at which all of the circle is in bone, halved to half a step.
    while high - low > 0.5 * STEP:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if out(middle) else (middle, high)
    return 0.5 * screw.diameter - low
