"""How an implant fits: gap and interference, distance of a plate, filling of a canal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyvista as pv
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.landmarks.cuts import Outlines, cut
from organtwin.landmarks.fits import frame, unit
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.surgery.rigid import Rigid
from organtwin.surgery.signed import signed_distances

type Points = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: Borders of the bands of a gap map (mm): press fit, line to line, small and large gaps.
BANDS = (-0.5, -0.1, 0.1, 0.5, 1.0, 2.0)
#: Distances (mm) below which the share of a plate's underside is told.
PLATE_BANDS = (1.0, 2.0)
#: Edge of an implant's triangles above which the map is sampled on finer ones (mm).
FINE = 1.5
#: Room at which an implant counts as seated (mm).
CLOSE = 0.01


@dataclass(frozen=True)
class GapMap:
    """Signed distance of an implant's surface from a bone.

    Attributes:
        surface: The implant where it is; large triangles are divided.
        distances: From the middle of each triangle to the bone (mm): positive a gap, negative
            interference, shape (m,).
    """

    surface: TriangleSurface
    distances: Points

    @property
    def mean(self) -> float:
        """Mean signed distance by area (mm)."""
        return float(np.average(self.distances, weights=self.surface.areas))

    @property
    def mean_gap(self) -> float:
        r"""Mean gap (mm) of the part with a gap: :math:`\int \max(d, 0) / \int [d > 0]`."""
        return self._mean(self.distances > 0.0)

    @property
    def largest_gap(self) -> float:
        """Largest gap (mm); 0 without one."""
        return float(max(self.distances.max(), 0.0))

    @property
    def largest_interference(self) -> float:
        """Largest depth in the bone (mm), positive; 0 without one."""
        return float(max(-self.distances.min(), 0.0))

    def share(self, low: float = -np.inf, high: float = np.inf) -> float:
        """Share of the area with low <= d < high (mm)."""
        chosen = (self.distances >= low) & (self.distances < high)
        return float(self.surface.areas[chosen].sum() / self.surface.areas.sum())

    def bands(self, borders: Sequence[float] = BANDS) -> dict[str, float]:
        """Share of the area in each band between borders (mm), and below and above them."""
        ends = [-np.inf, *borders, np.inf]
        return {f"{low:g} to {high:g} mm": self.share(low, high) for low, high in pairwise(ends)}

    def only(self, kept: Mask) -> GapMap:
        """The map of a part of the implant, such as the underside of a plate."""
        return GapMap(self.surface.select(kept), self.distances[kept])

    def write(self, path: Path) -> None:
        """Write it for ParaView or 3D Slicer (LPS): cell values ``gap`` (mm)."""
        mesh = pv.PolyData.from_regular_faces(self.surface.points, self.surface.triangles)
        mesh.cell_data["gap"] = self.distances
        path.parent.mkdir(parents=True, exist_ok=True)
        mesh.save(str(path))

    def _mean(self, chosen: Mask) -> float:
        if not chosen.any():
            return 0.0
        return float(np.average(self.distances[chosen], weights=self.surface.areas[chosen]))


@dataclass(frozen=True)
class PlateFit:
    """Distance of a plate's underside from the bone.

    Attributes:
        mean: Mean distance by area, interference as 0 (mm).
        largest: Largest distance (mm).
        interference: Largest depth in the bone (mm).
        shares: Distance (mm) → share of the underside's area that is nearer.
        area: Area of the underside (mm²).
    """

    mean: float
    largest: float
    interference: float
    shares: Mapping[float, float]
    area: float


@dataclass(frozen=True)
class CanalLevel:
    """A stem in the canal at one level.

    Attributes:
        at: Place along the axis from its start (mm).
        area_ratio: Area of the stem's section by that of the canal; NaN where one has none.
        width_ratios: Width of the stem by that of the canal in each direction asked for.
        outside: Largest distance of the stem's outline out of the canal (mm), 0 if it is inside.
    """

    at: float
    area_ratio: float
    width_ratios: tuple[float, ...]
    outside: float


def gap_map(implant: TriangleSurface, bone: TriangleSurface, *, fine: float = FINE) -> GapMap:
    """Signed distance of an implant from the surface of a bone, see `GapMap`.

    Args:
        implant: Closed surface of the implant where it is, its triangles outwards.
        bone: Closed surface of the bone, after it was prepared.
        fine: Triangles with longer edges (mm) are divided before.
    """
    parts = divided(implant, fine)
    middles = parts.points[parts.triangles].mean(axis=1)
    return GapMap(parts, signed_distances(middles, bone))


def divided(surface: TriangleSurface, edge: float) -> TriangleSurface:
    """The same surface in triangles with edges of at most a length (mm), the longest halved.

    Neighbours may have vertices in the middle of each other's edges: for sampling, not for meshes.
    """
    points, triangles = surface.points, surface.triangles
    while True:
        corners = points[triangles]
        lengths = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
        large = np.flatnonzero(lengths.max(axis=1) > edge)
        if not len(large):
            return TriangleSurface(points, triangles)
        first = np.argmax(lengths[large], axis=1)
        a, b, c = (triangles[large, (first + k) % 3] for k in range(3))
        middle = len(points) + np.arange(len(large))
        points = np.concatenate([points, 0.5 * (points[a] + points[b])])
        halves = [np.stack(corner, axis=1) for corner in ((a, middle, c), (middle, b, c))]
        triangles = np.concatenate([np.delete(triangles, large, axis=0), *halves])


def underside(surface: TriangleSurface, towards: Points, *, tilt: float = 45.0) -> Mask:
    """Triangles of a plate that face a direction within an angle (degrees), shape (m,)."""
    a, b, c = (surface.points[surface.triangles[:, k]] for k in range(3))
    across = np.cross(b - a, c - a)
    normals = across / np.maximum(np.linalg.norm(across, axis=1), 1e-300)[:, None]
    way = np.asarray(towards, float) / np.linalg.norm(towards)
    return np.asarray(normals @ way >= np.cos(np.radians(tilt)))


def plate_fit(
    found: GapMap, towards: Points, *, tilt: float = 45.0, bands: Sequence[float] = PLATE_BANDS
) -> PlateFit:
    """Distance of a plate from the bone under it.

    Args:
        found: Map of the plate.
        towards: From the plate to the bone, shape (3,).
        tilt: Largest angle between the underside's triangles and that direction (degrees).
        bands: Distances (mm) below which the share is told.

    Raises:
        InputError: no triangle faces the bone.
    """
    under = underside(found.surface, towards, tilt=tilt)
    if not under.any():
        raise InputError("plate", "no triangle of it faces the bone.", "Turn the direction.")
    part = found.only(under)
    areas = part.surface.areas
    return PlateFit(
        mean=float(np.average(np.maximum(part.distances, 0.0), weights=areas)),
        largest=part.largest_gap,
        interference=part.largest_interference,
        shares={band: part.share(high=band) for band in bands},
        area=float(areas.sum()),
    )


def canal_fill(
    stem: TriangleSurface,
    canal: TriangleSurface,
    start: Points,
    end: Points,
    levels: Sequence[float],
    *,
    directions: Sequence[Points] = (),
) -> tuple[CanalLevel, ...]:
    r"""How far a stem fills the canal at levels along an axis.

    .. math:: f_A = A_{stem} / A_{canal}, \quad f_w(e) = w_{stem}(e) / w_{canal}(e)

    with the widths w of both sections along a direction e: that from side to side is what an
    anteroposterior radiograph shows. Of several outlines the one nearest to the axis counts.

    Args:
        stem: Closed surface of the stem.
        canal: Closed surface of what the endosteum encloses.
        start: Where levels are counted from (mm), shape (3,).
        end: Another point of the axis (mm), shape (3,).
        levels: Distances from the start along the axis (mm).
        directions: Directions of widths, shape (3,) each; two at right angles without it.

    Raises:
        InputError: no level has both sections.
    """
    axis = unit(np.asarray(end, float) - start)
    chosen = [np.asarray(d, float) for d in directions] or list(frame(axis)[:2])
    ways = [unit(d - (d @ axis) * axis) for d in chosen]
    found = []
    for level in levels:
        place = start + level * axis
        sections = [_nearest(cut(surface, place, axis), place) for surface in (stem, canal)]
        if any(section is None for section in sections):
            found.append(CanalLevel(float(level), np.nan, (np.nan,) * len(ways), np.nan))
            continue
        (own, ring), (room, wall) = (s for s in sections if s is not None)
        widths = tuple(float(np.ptp(ring @ w) / np.ptp(wall @ w)) for w in ways)
        out = float(signed_distances(ring, canal).max())
        found.append(CanalLevel(float(level), own / room, widths, max(out, 0.0)))
    if not found or all(np.isnan(level.area_ratio) for level in found):
        raise InputError(
            "canal fill", "no level has a section of both the stem and the canal.",
            "Give levels along the axis on which both lie (mm).",
        )  # fmt: skip
    return tuple(found)


def require_fits(levels: Sequence[CanalLevel], *, thickness: float, place: str = "stem") -> None:
    """Refuse a stem that is larger than the canal by more than the reamer may take.

    Args:
        levels: What `canal_fill` found.
        thickness: Bone that may be reamed away at most (mm).
        place: What messages call it.

    Raises:
        InputError: with the level at which it is worst.
    """
    known = [level for level in levels if not np.isnan(level.outside)]
    worst = max(known, key=lambda level: level.outside)
    if worst.outside > thickness:
        raise InputError(
            place,
            f"it is larger than the canal: {worst.outside:.1f} mm into the cortex at "
            f"{worst.at:.0f} mm; {thickness:g} mm may be reamed.",
            "Take a smaller size, or turn it in the canal.",
        )


def seated(
    implant: TriangleSurface,
    bone: TriangleSurface,
    direction: Points,
    *,
    clearance: float = 0.0,
    reach: float = 50.0,
) -> Rigid:
    """Motion along a direction until an implant is as near to the bone as it may be.

    Args:
        implant: Closed surface, clear of the bone or in it.
        bone: Closed surface of the bone.
        direction: From the implant to the bone, shape (3,).
        clearance: Smallest distance that is left (mm); negative lets it press in.
        reach: Longest way forwards and back (mm).

    Raises:
        InputError: it does not meet the bone on the way, or cannot be freed.
    """
    way = unit(np.asarray(direction, float))
    samples = divided(implant, FINE).points

    def room(along: float) -> float:
        return float(signed_distances(samples + along * way, bone).min()) - clearance

    along, left = 0.0, room(0.0)
    while left < 0.0:
        along -= max(-left, CLOSE)
        left = room(along)
        if along < -reach:
            raise InputError(
                "seating", f"it is in the bone even {reach:g} mm back.", "Start it clear of it."
            )
    # No place comes nearer by more than the way, so that the room is always a safe step.
    while left > CLOSE:
        along += left
        left = room(along)
        if along > reach:
            raise InputError(
                "seating", f"it does not meet the bone within {reach:g} mm.",
                "Check its place and direction; is it on the other side?",
            )  # fmt: skip
    return Rigid.by(along * way)


def _nearest(found: Outlines, place: Points) -> tuple[float, Points] | None:
    """Area and points of the outer outline nearest to a place."""
    outer = np.flatnonzero(found.areas > 0.0)
    if not len(outer):
        return None
    away = np.linalg.norm(found.centres[outer] - place, axis=1)
    best = int(outer[np.argmin(away)])
    return float(found.areas[best]), found.segments[found.outline == best].reshape(-1, 3)
