"""Interfaces with triangles of the size that is wanted, their curves and corners kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import MeshError
from organtwin.mesh.conforming.collapse import collapse
from organtwin.mesh.conforming.cutouts import Cutout
from organtwin.mesh.conforming.cuts import Cuts
from organtwin.mesh.conforming.flipping import flip, smallest_angles
from organtwin.mesh.conforming.holding import Anchors, hold, numbers_of
from organtwin.mesh.conforming.interfaces import Interfaces
from organtwin.mesh.conforming.original import Original
from organtwin.mesh.conforming.region_volumes import keep_volumes
from organtwin.mesh.conforming.relaxing import balance, relax, side_middles
from organtwin.mesh.conforming.sizes import SizeField
from organtwin.mesh.conforming.splitting import split
from organtwin.mesh.conforming.topology import FROZEN, Flags, Index, Net, Points, net_of
from organtwin.mesh.intersections import intersecting_pairs
from organtwin.mesh.vectors import lengths_of, unit

#: Smallest angle (degrees) below which sizes are reduced, and what they then are, in parts of the
#: triangle's least height.
_NARROW, _ACROSS = 22.0, 1.5
#: Times of the size from which edges are split before anything else is done.
_MANY = 3.0


@dataclass(frozen=True)
class Remeshing:
    """How interfaces are remeshed.

    Attributes:
        sweeps: Rounds of splitting, collapsing, flipping and relaxing, first time.
        again: The same, each time after sizes were reduced.
        attempts: How often sizes may be reduced where triangles cross, are narrow, or lie too far
            away, how often again where they cross, and how often the surface may then be kept as
            it was where they still cross.
        around: Distance from such places, in sizes, up to which the surface is remeshed again.
        reduction: By what sizes are multiplied.
        gradation: Growth of sizes with the distance from there.
        crease: Angle between triangles (degrees) from which an edge inside a patch is kept, where
            such edges close a ring; none without it.
    """

    sweeps: int = 4
    again: int = 2
    attempts: tuple[int, int, int] = (1, 5, 3)
    around: float = 3.0
    reduction: float = 0.6
    gradation: float = 0.3
    crease: float | None = None


@dataclass(frozen=True)
class _Wanted:
    """Sizes of a field, reduced around places but not below ``least``."""

    field: SizeField
    places: Points
    sizes: NDArray[np.float64]
    gradation: float
    least: float

    def at(self, points: Points) -> NDArray[np.float64]:
        size = self.field.at(points)
        if not len(self.places):
            return size
        count = min(4, len(self.places))
        distance, near = cKDTree(self.places).query(points, k=count)
        reduced = np.maximum(self.sizes, self.least)[near] + self.gradation * distance
        return np.minimum(size, reduced.reshape(len(points), count).min(axis=1))

    def reduced(self, places: Points, sizes: NDArray[np.float64]) -> _Wanted:
        return replace(
            self,
            places=np.concatenate([self.places, places]),
            sizes=np.concatenate([self.sizes, sizes]),
        )


def remesh(
    interfaces: Interfaces,
    size: SizeField,
    *,
    deviation: float,
    anchors: Anchors | None = None,
    options: Remeshing = Remeshing(),
) -> Interfaces:
    """Triangles of about equal sides, as large as the field says, near the surface.

    Curves where regions meet stay curves, and vertices where curves end or bodies touch stay where
    they are. Cuts stay in their planes. Sizes are reduced where triangles would otherwise cross
    each other or lie further from the surface than allowed. Volumes of the regions are restored at
    the end.

    Args:
        interfaces: Borders of regions, finer or coarser than wanted.
        size: Edge length (mm).
        deviation: Distance from the surface that triangles may have (mm); chords of a sphere of
            radius R have s² / (8 R).
        anchors: Places that the triangles are pulled to where they come too far from them.
        options: Rounds and attempts.

    Source:
        Botsch & Kobbelt (2004), Symp Geometry Processing, 189-196, for the order of the steps.
    """
    net = net_of(interfaces.points, interfaces.triangles, interfaces.sides, options.crease)
    sides = np.zeros((net.sheet.max() + 1, 2), np.int64)
    sides[net.sheet] = interfaces.sides
    net = _shortened(net, size)
    original = Original(net, deviation)
    least = 0.5 * float(np.median(net.lengths))
    wanted = _Wanted(size, np.empty((0, 3)), np.empty(0), options.gradation, least)
    fine, (soft, local, _) = net, options.attempts
    net = _remeshed(net, wanted, original, options.sweeps)
    for attempt in range(sum(options.attempts) + 1):
        result = _fitted(balance(net, original, deviation), interfaces, sides, anchors)
        crossed = np.unique(crossing(result))
        if attempt < soft + local:
            bad = _poor(result, crossed, original) if attempt < soft else _only(result, crossed)
            places, now, sizes = _smaller(wanted, result, bad, options.reduction, attempt < soft)
            if len(places):
                wanted = wanted.reduced(places, sizes)
                cut = Cutout.around(net, places, options.around * now)
                net = cut.put_back(_remeshed(cut.part, wanted, original, options.again))
                continue
        if not len(crossed):
            break
        fine, wanted = _frozen(fine, wanted, result, crossed)
        net = _remeshed(fine, wanted, original, options.again)
    else:
        raise _refusal(result, crossed)
    result, _ = result.compacted()
    return replace(
        interfaces,
        points=result.points,
        triangles=result.triangles,
        sides=sides[result.sheet],
    )


def _shortened(net: Net, size: SizeField) -> Net:
    """Triangles cut down to the size if some are far longer: no edge of those may collapse."""
    cut = int((net.lengths > _MANY * size.at(net.points)[net.edges.ends].mean(axis=1)).sum())
    while cut:
        net, cut = split(net, size.at(net.points))
    return net


def _fitted(net: Net, wanted: Interfaces, sides: Index, anchors: Anchors | None) -> Net:
    """Triangles shifted for volumes and pulled to anchors, at last where that was not enough."""
    if anchors is None:
        return keep_volumes(net, wanted, sides)
    cuts = Cuts.of(wanted)
    held = _held(net, sides, anchors, cuts)
    return _held(keep_volumes(held, wanted, sides), sides, anchors, cuts)


def _held(net: Net, sides: Index, anchors: Anchors, cuts: Cuts) -> Net:
    """Triangles pulled to anchors, those of cuts within their planes."""
    own = sides[net.sheet]
    net = hold(net, numbers_of(own), anchors)
    return replace(net, points=cuts.flattened(net.points, net.triangles, own[:, 1]))


def _only(net: Net, triangles: Index) -> Flags:
    result = np.zeros(len(net.triangles), bool)
    result[triangles] = True
    return result


def _poor(net: Net, crossed: Index, original: Original) -> Flags:
    """Triangles that cross others or are far from the surface."""
    return far(net, original) | _only(net, crossed)


def _smaller(
    wanted: _Wanted, net: Net, bad: Flags, reduction: float, narrow: bool
) -> tuple[Points, NDArray[np.float64], NDArray[np.float64]]:
    """Places of bad triangles, sizes there now, and what they should be; of narrow ones, too."""
    corners = net.points[net.triangles]
    middles = corners.mean(axis=1)
    longest = lengths_of(corners - np.roll(corners, -1, axis=1)).max(axis=1)
    now = wanted.at(middles)
    if narrow:
        # Short edges that can't go need small triangles around them.
        height = lengths_of(net.normals) / np.maximum(longest, 1e-300)
        slim = smallest_angles(corners) < _NARROW
        across = np.maximum(_ACROSS * height, reduction * now)
        sizes = np.where(slim, np.minimum(now, across), now)
    else:
        # The deviation often wants far shorter edges already, which larger sizes don't change.
        sizes = now = np.minimum(now, longest)
    sizes = np.where(bad, np.minimum(sizes, reduction * now), sizes)
    smaller = np.maximum(sizes, wanted.least) < 0.99 * now
    return middles[smaller], now[smaller], sizes[smaller]


def _frozen(fine: Net, wanted: _Wanted, net: Net, crossed: Index) -> tuple[Net, _Wanted]:
    """The original with its vertices frozen around crossing triangles, and sizes for its edges."""
    corners = net.points[net.triangles[crossed]]
    reach = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2).max(axis=1)
    middles = corners.mean(axis=1)
    tree = cKDTree(fine.points)
    found = tree.query_ball_point(middles, reach + wanted.least)
    near = np.unique(np.concatenate([np.array(row, np.int64) for row in found]))
    kind = fine.kind.copy()
    kind[near] = FROZEN
    length = np.zeros(len(kind))
    for k in range(2):
        np.maximum.at(length, fine.edges.ends[:, k], fine.lengths)
    return replace(fine, kind=kind), wanted.reduced(fine.points[near], length[near])


def _refusal(net: Net, crossed: Index) -> MeshError:
    x, y, z = net.points[net.triangles[crossed[0]]].mean(axis=0)
    return MeshError(
        "remeshing",
        f"{len(crossed)} triangles cross others, one at ({x:.1f}, {y:.1f}, {z:.1f}) mm.",
        "Ask for smaller edges or a smaller deviation.",
    )


def _remeshed(net: Net, wanted: _Wanted, original: Original, sweeps: int) -> Net:
    """Split, collapse, flip and relax, then enlarge the angles."""
    net = _collapsed(net, wanted, original)
    for sweep in range(sweeps):
        net = split(net, wanted.at(net.points))[0]
        net = _collapsed(net, wanted, original)
        net = flip(net, original, even=True)[0]
        net = relax(net, wanted.at(net.points), original)
        if sweep >= sweeps - 2:
            net = flip(net, original, even=False)[0]
            net = relax(net, wanted.at(net.points), original)
    return flip(net, original, even=False)[0]


def _collapsed(net: Net, wanted: _Wanted, original: Original) -> Net:
    net, number = collapse(net, wanted.at(net.points), original)
    return net.compacted()[0] if number else net


def far(net: Net, original: Original) -> Flags:
    """Triangles too far from their sheets, at their centres or the middles of their edges."""
    centres = net.points[net.triangles].mean(axis=1)
    middles, sheet, facing, within = side_middles(net)
    beside = original.on_sheets(middles, sheet, facing).distances[within].max(axis=1)
    inside = original.on_sheets(centres, net.sheet, unit(net.normals)).distances
    return np.asarray(np.maximum(beside, inside) > original.deviation)


def crossing(net: Net) -> Index:
    """Pairs of triangles that cross, shape (k, 2)."""
    return intersecting_pairs(net.points, net.triangles)
