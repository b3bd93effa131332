"""Scars and their border zones in the wall, the same on any mesh of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from dolfinx import mesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.anatomy.coordinates import Coordinates
from organtwin.anatomy.segments import aha_segments
from organtwin.anatomy.ventricular_coordinates import ventricular_coordinates
from organtwin.errors import InputError
from organtwin.mesh.domain import Domain

Array = NDArray[np.float64]
Cells = NDArray[np.bool_]
#: Digits (mm) to which a point is the same on all ranks.
_DIGITS = 6


@dataclass(frozen=True)
class Segments:
    """Scar in segments of the left ventricle.

    Attributes:
        numbers: AHA segments, 1 to 17.
    """

    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Ball:
    """Scar in a ball.

    Attributes:
        centre: Its middle (mm), shape (3,).
        radius: Its radius (mm).
    """

    centre: Array
    radius: float


@dataclass(frozen=True)
class Zones:
    """Where a scar and its border zone are.

    Attributes:
        scar: Whether each local cell (owned and ghosts) is scar.
        border: Whether it is border zone.
        distance: Of the cells' midpoints from the scar (mm), 0 in it.
    """

    scar: Cells
    border: Cells
    distance: Array


def zones(
    domain: Domain, place: Segments | Ball, border_width: float, *, at: Coordinates | None = None
) -> Zones:
    """Scar and border zone; collective.

    A cell belongs to what its midpoint lies in. The distance from segments is that to the nearest
    vertex of the scar, so that on a coarse mesh the border zone has the width of a cell at least.

    Args:
        domain: Ventricles, see `aha_segments`.
        place: The scar.
        border_width: Distance up to which tissue is border zone (mm).
        at: Coordinates of these ventricles where they are at hand, also on another mesh of them.

    Raises:
        InputError: no cell is scar.
    """
    middles = midpoints(domain)
    if isinstance(place, Ball):
        distance = np.maximum(np.linalg.norm(middles - place.centre, axis=1) - place.radius, 0.0)
        scar = distance == 0.0
    else:
        scar = np.isin(aha_segments(domain, at=at).x.array.round(), place.numbers)
        distance = _distance_from(domain, scar, middles)
    if not sum(domain.comm.allgather(int(scar.sum()))):
        raise InputError("infarct", "it holds no cell of the mesh.", "Enlarge it, or refine.")
    return Zones(scar, (distance <= border_width) & ~scar, distance)


def wall_point(domain: Domain, height: float, angle: float) -> Array:
    """Place half-way through the left ventricular wall, by universal coordinates; collective.

    Args:
        domain: Ventricles, see `ventricular_coordinates`.
        height: Apicobasal coordinate, 0 at the apex, 1 at the base.
        angle: Rotational coordinate (rad).

    Returns:
        Midpoint (mm) of the cell that is closest to it, shape (3,).
    """
    at = ventricular_coordinates(domain)
    z, rho, phi = (
        f.x.array[f.function_space.dofmap.list].mean(axis=1)
        for f in (at.apicobasal, at.transmural, at.rotational)
    )
    # An angle of one radian is about as far on the wall as half the way from apex to base.
    turn = np.abs(np.exp(1j * phi) - np.exp(1j * angle))
    cost = np.hypot(np.hypot(z - height, 0.5 * turn), 0.2 * (rho - 0.5))
    cost[at.transventricular.x.array > 0] = np.inf
    owned = domain.mesh.topology.index_map(3).size_local
    points = gathered(domain, np.column_stack([cost, midpoints(domain)])[:owned])
    return np.asarray(points[np.argmin(points[:, 0].round(_DIGITS)), 1:])


def midpoints(domain: Domain) -> Array:
    """Midpoints of the local cells, owned and ghosts (mm), shape (cells, 3)."""
    cells = domain.mesh.topology.index_map(3)
    everything = np.arange(cells.size_local + cells.num_ghosts, dtype=np.int32)
    return np.asarray(mesh.compute_midpoints(domain.mesh, 3, everything))


def gathered(domain: Domain, rows: Array) -> Array:
    """Rows of all ranks in an order that does not depend on who had them; collective."""
    whole = np.concatenate(domain.comm.allgather(rows))
    return np.asarray(whole[np.lexsort(whole.round(_DIGITS).T[::-1])])


def spread(points: Array, count: int) -> Array:
    """``count`` of the points, each as far from those before it as can be.

    Args:
        points: (n, 3) in mm; the first is taken.
        count: At most n.

    Source:
        Gonzalez (1985), Theor. Comput. Sci. 38:293–306 (farthest-point clustering).
    """
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < count:
        chosen.append(int(np.argmax(distance.round(_DIGITS))))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return points[chosen]


def _distance_from(domain: Domain, scar: Cells, middles: Array) -> Array:
    """Distance (mm) of points from the nearest vertex of the scar on any rank, 0 in the scar."""
    owned = domain.mesh.topology.index_map(3).size_local
    nodes = np.unique(domain.mesh.geometry.dofmaps[0][:owned][scar[:owned]])
    parts: Sequence[Array] = domain.comm.allgather(domain.mesh.geometry.x[nodes])
    points = np.concatenate(parts)
    if not len(points):
        return np.full(len(middles), np.inf)
    distance, _ = cKDTree(points).query(middles)
    return np.asarray(np.where(scar, 0.0, distance))
