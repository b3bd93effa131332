"""Pool of the left ventricle in a cine scan, at every phase: volumes, surfaces, labels."""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.volume import Grid, LabelMap, Sequence
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.segment.cine_base import Annulus, Side, base_plane, follow, smooth_ends, wall_ends
from organtwin.segment.cine_contours import Tracing
from organtwin.segment.cine_find import axis_through, find_discs
from organtwin.segment.cine_planes import Plane, at_phases, beat, planes, stack
from organtwin.segment.cine_surface import PARTS, Frame, Star, closed, fit, rasterise
from organtwin.segment.cine_views import Contour, in_plane, trace_long, trace_short
from organtwin.units import ML

type Array = NDArray[np.float64]

#: Distance (mm) of border points along the walls.
APART = 2.0


@dataclass(frozen=True)
class CineOptions:
    """How the pool is segmented; all lengths are those of adults' hearts, none of one patient.

    Attributes:
        tracing: Of the border in a plane.
        annulus: Of the base.
        stretch: Length over width of the ventricle, for coordinates in which it is about round.
        degree: Highest degree of the surface's harmonics.
        smoothness: Weight of the surface's bending.
        ring: Share of the median score that a slice's disc needs for the slice to be traced.
        off_axis: Largest distance (mm) of a long-axis plane from the middle of the ventricle.
        tilt: Largest angle (degrees) of a long-axis plane to the axis.
        keep_muscle: Whether papillary muscles and trabeculae inside the pool keep their volume
            over the beat, as muscle does; else they count only as far as they are seen apart
            from the wall, which they are not in systole.
        voxel: Of the label maps (mm).
    """

    tracing: Tracing = field(default_factory=Tracing)
    annulus: Annulus = field(default_factory=Annulus)
    stretch: float = 1.8
    degree: int = 8
    smoothness: float = 1e-5
    ring: float = 0.4
    off_axis: float = 12.0
    tilt: float = 20.0
    keep_muscle: bool = True
    voxel: float = 1.5


@dataclass(frozen=True, eq=False)
class Cine:
    """The left ventricle's pool through the beat.

    Attributes:
        times: Of the phases from the trigger (ms), shape (n,).
        volumes: Of the pool, papillary muscles and trabeculae included (mL), shape (n,).
        surfaces: Closed surfaces, parts ``lv_endo`` and ``base``; vertex k is the same way from
            the centre at every phase.
        stars: The same as smooth radius functions, not cut by the base.
        bases: Point and unit normal of the base plane at every phase, shape (n, 2, 3).
        contours: Of every plane that was traced.
        decisions: What was decided, one sentence each.
        confidence: 0 to 1.
        voxel: Of label maps (mm).
        cycle: Length of the beat (ms): the told one, else that which the phases fill.
    """

    times: Array
    volumes: Array
    surfaces: tuple[TriangleSurface, ...]
    stars: tuple[Star, ...]
    bases: Array
    contours: tuple[Contour, ...]
    decisions: tuple[str, ...]
    confidence: float
    voxel: float = 1.5
    cycle: float | None = None

    @property
    def end_diastole(self) -> int:
        """Phase of the largest volume."""
        return int(np.argmax(self.volumes))

    @property
    def end_systole(self) -> int:
        """Phase of the smallest volume."""
        return int(np.argmin(self.volumes))

    @property
    def edv(self) -> float:
        """End-diastolic volume (mL)."""
        return float(self.volumes.max())

    @property
    def esv(self) -> float:
        """End-systolic volume (mL)."""
        return float(self.volumes.min())

    @property
    def ejection_fraction(self) -> float:
        """Part of the end-diastolic volume that is ejected."""
        return 1.0 - self.esv / self.edv

    def labels(self, phase: int) -> LabelMap:
        """Pool as a label map with cubic voxels along the ventricle's axes."""
        return rasterise(
            self.stars[phase], self.bases[phase, 0], self.bases[phase, 1], self._grid(), "lv_blood"
        )

    def _grid(self) -> Grid:
        axes = self.stars[0].frame.axes
        every = np.concatenate([s.points for s in self.surfaces]) @ axes.T
        low, high = every.min(axis=0) - self.voxel, every.max(axis=0) + self.voxel
        i, j, k = (int(n) for n in np.ceil((high - low) / self.voxel) + 1)
        return Grid((i, j, k), np.full(3, self.voxel), low @ axes, axes.T.copy())


def segment_cine(
    short: Sequence | Several[Sequence],
    long: Several[Sequence] = (),
    options: CineOptions | None = None,
    *,
    seed: Array | None = None,
) -> Cine:
    """Segment the left ventricle's pool at all phases of a cine scan.

    The first phase must be near the end of diastole, as it is when phases count from the R wave.

    Args:
        short: Short-axis slices: one joined sequence, or several with any gaps between.
        long: Long-axis slices (two, three, four chambers); those that miss the ventricle are
            left out. Without them, base and apex are guessed from the short axis.
        options: Limits and lengths.
        seed: Point (mm, LPS) in the ventricle's pool, if it is not to be searched.

    Raises:
        InputError: no ventricle found, or too few slices show it.
    """
    chosen = options or CineOptions()
    slices = stack(short)
    first = short if isinstance(short, Sequence) else next(iter(short))
    shares = first.times / beat(first)
    discs = find_discs(slices, seed)
    middle, axis = axis_through(discs, slices)
    quality = np.array([disc.score / np.sqrt(disc.radius) for disc in discs])
    used = [k for k in range(len(slices)) if quality[k] > chosen.ring * np.median(quality)]
    if len(used) < 2:
        raise InputError(
            "cine",
            f"a pool in a closed ring of wall is seen in {len(used)} short-axis slice(s) only.",
            "Give more slices between apex and base.",
        )
    notes = [f"short axis: {len(used)} of {len(slices)} slices show a pool in a closed ring."]
    heights = [float((discs[k].centre - middle) @ axis) for k in used]
    origin = middle + 0.5 * (min(heights) + max(heights)) * axis
    frame = Frame.along(origin, axis, chosen.stretch)
    contours = [trace_short(slices[k], discs[k], chosen.tracing) for k in used]
    views = _views(long, shares, frame, chosen, notes)
    outlines = [trace_long(view, frame, contours, chosen.tracing) for view in views]
    sides = _sides(views, outlines, frame, chosen)
    bases, certain = _bases(sides, frame, contours, chosen, notes)
    contours += outlines
    stars, surfaces = _surfaces(frame, contours, sides, bases, chosen, notes)
    volumes = np.array([s.volume for s in surfaces]) / ML
    cost = np.concatenate([c.cost.ravel() for c in contours])
    clear = float(np.clip(1.0 - np.median(cost) / chosen.tracing.wall, 0.0, 1.0))
    return Cine(
        first.times, volumes, surfaces, stars, bases, tuple(contours), tuple(notes),
        float(clear * certain), chosen.voxel, beat(first),
    )  # fmt: skip


def _views(
    long: Several[Sequence], shares: Array, frame: Frame, options: CineOptions, notes: list[str]
) -> list[Plane]:
    """Long-axis planes that go through the ventricle, at the phases of the short axis."""
    axis, kept = frame.axes[2], []
    every = [plane for sequence in long for plane in planes(at_phases(sequence, shares))]
    for number, plane in enumerate(every, 1):
        away = abs(float(plane.height(frame.origin)))
        tilt = float(np.degrees(np.arcsin(min(1.0, abs(float(plane.normal @ axis))))))
        fits = away <= options.off_axis and tilt <= options.tilt
        if fits:
            kept.append(plane)
        notes.append(
            f"long axis {number}: {away:.0f} mm off the ventricle's middle, {tilt:.0f} degrees "
            f"to its axis: {'used' if fits else 'left out'}."
        )
    return kept


def _sides(
    views: Several[Plane], outlines: Several[Contour], frame: Frame, options: CineOptions
) -> list[Side]:
    """The wall on both sides of every long-axis plane, followed to the base."""
    sides = []
    for view, outline in zip(views, outlines, strict=True):
        centre, across, along = in_plane(view, frame)
        for way in (across, -across):
            edge = outline.distance(centre, way)
            sides.append(follow(view, centre, way, along, edge, outline.level, options.annulus))
    return sides


def _bases(
    sides: Several[Side],
    frame: Frame,
    contours: Several[Contour],
    options: CineOptions,
    notes: list[str],
) -> tuple[Array, float]:
    """Base plane of every phase and how certain it is."""
    axis = frame.axes[2]
    phases = len(contours[0].points)
    if not sides:
        return _bases_guessed(frame, contours, notes), 0.3
    points, certain = wall_ends(sides, axis, options.annulus)
    weight = np.median(certain, axis=1)
    smooth = smooth_ends(points, certain, options.annulus.harmonics)
    bases = np.array([base_plane(smooth[:, t], weight, axis) for t in range(phases)])
    travel = float(np.ptp((bases[:, 0] - frame.origin) @ axis))
    notes.append(
        f"base: from the ends of the wall on {len(sides)} sides, certainties "
        f"{', '.join(f'{w:.2f}' for w in weight)}; it moves by {travel:.1f} mm."
    )
    return bases, float(np.mean(weight))


def _bases_guessed(frame: Frame, contours: Several[Contour], notes: list[str]) -> Array:
    """Base half a gap above the highest traced slice, without motion."""
    axis = frame.axes[2]
    heights = np.sort([float((c.points[0].mean(axis=0) - frame.origin) @ axis) for c in contours])
    gap = float(np.median(np.diff(heights)))
    point = frame.origin + (heights[-1] + 0.5 * gap) * axis
    notes.append(
        f"base: no long axis; taken {0.5 * gap:.1f} mm above the highest traced slice at all "
        "phases. Its motion is unknown, so systolic volumes come out too large."
    )
    return np.repeat(np.array([point, axis])[None], len(contours[0].points), axis=0)


def _surfaces(
    frame: Frame,
    contours: Several[Contour],
    sides: Several[Side],
    bases: Array,
    options: CineOptions,
    notes: list[str],
) -> tuple[tuple[Star, ...], tuple[TriangleSurface, ...]]:
    """Surface of every phase through the border points below the base."""
    phases = len(bases)
    stars, surfaces = [], []
    lowest = options.annulus.lowest
    clouds = [_cloud(frame, contours, sides, bases[t], t, lowest) for t in range(phases)]
    muscle = np.array([_muscle(contours, bases[t], t) for t in range(phases)])
    for t in range(phases):
        star, surface = _surface(frame, clouds[t], bases[t], 0.0, options)
        stars.append(star)
        surfaces.append(surface)
    if options.keep_muscle:
        volumes = np.array([s.volume for s in surfaces])
        fullest = int(np.argmax(volumes))
        lacking = muscle[fullest] - muscle
        notes.append(
            f"papillary muscles and trabeculae: {muscle[fullest] / ML:.1f} mL in the pool when it "
            f"is fullest, {muscle[int(np.argmin(volumes))] / ML:.1f} mL seen apart from the wall "
            "when it is smallest; kept at the first at all phases."
        )
        for t in range(phases):
            wanted = volumes[t] + max(lacking[t], 0.0)
            stars[t], surfaces[t] = _grown(frame, clouds[t], bases[t], wanted, options)
    return tuple(stars), tuple(surfaces)


def _cloud(
    frame: Frame,
    contours: Several[Contour],
    sides: Several[Side],
    base: Array,
    phase: int,
    lowest: float,
) -> tuple[Array, Array]:
    """Border points of a phase below the base, (n, 3), and their weights.

    In the long axis, closed contours count up to the height at which the walls are followed.
    """
    parts = [side.border(phase, lowest, APART) for side in sides]
    for contour in contours:
        points, weights = contour.border(phase)
        height = (points - frame.origin) @ frame.axes[2]
        counts = contour.short | (height < lowest)
        parts.append((points[counts], weights[counts]))
    points = np.concatenate([p for p, _ in parts])
    weights = np.concatenate([w for _, w in parts])
    below = (points - base[0]) @ base[1] <= 0.0
    return points[below], weights[below]


def _muscle(contours: Several[Contour], base: Array, phase: int) -> float:
    """Volume (mm³) of what isn't blood inside the short-axis contours below the base."""
    short = [c for c in contours if c.short]
    centres = np.array([c.points[phase].mean(axis=0) for c in short])
    height = (centres - base[0]) @ base[1]
    order = np.argsort(height)
    area = np.array([short[k].muscle[phase] for k in order]) * (height[order] < 0.0)
    gap = np.gradient(height[order]) if len(order) > 1 else np.ones(1)
    return float(area @ np.abs(gap))


def _surface(
    frame: Frame, cloud: tuple[Array, Array], base: Array, grow: float, options: CineOptions
) -> tuple[Star, TriangleSurface]:
    points, weights = cloud
    outward = points - frame.origin
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    star = fit(
        frame, points + grow * outward, weights,
        degree=options.degree, smoothness=options.smoothness,
    )  # fmt: skip
    return star, closed(star, base[0], base[1])


def _grown(
    frame: Frame, cloud: tuple[Array, Array], base: Array, wanted: float, options: CineOptions
) -> tuple[Star, TriangleSurface]:
    """Surface shifted outwards till it has the wanted volume (mm³)."""
    grow = 0.0
    star, current = _surface(frame, cloud, base, grow, options)
    for _ in range(3):
        wall = current.triangle_values["part"] == PARTS["lv_endo"]
        area = float(current.areas[wall].sum())
        grow += (wanted - current.volume) / area
        star, current = _surface(frame, cloud, base, grow, options)
    return star, current
