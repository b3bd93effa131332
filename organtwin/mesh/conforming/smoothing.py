"""Bounded smoothing of nets: the least bending that the voxels allow, volumes kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import MeshError
from organtwin.mesh.conforming.bending import least_bending
from organtwin.mesh.conforming.folding import crossing, diagonals, folded, split
from organtwin.mesh.conforming.net import Net
from organtwin.mesh.conforming.room import room_of
from organtwin.mesh.conforming.volumes import Keeper

type Points = NDArray[np.float64]
type Triangles = NDArray[np.int64]


@dataclass(frozen=True)
class Smoothing:
    """How nets are smoothed.

    Attributes:
        reach: How far a vertex may move along each grid axis (voxels), below one half.
        gap: How close sheets on both sides of one voxel may come (voxels), along a grid axis.
        rounds: Most rounds of the minimisation.
        still: Largest step in a round (voxels) at which it ends.
        along: Weight of bending along the surface, which only levels out distances between
            vertices, against that across it.
        volume: Relative error of a body's volume that is allowed.
        attempts: Most rounds of keeping volumes while unfolding squares.
    """

    reach: float = 0.499
    gap: float = 0.5
    rounds: int = 300
    still: float = 5e-4
    along: float = 0.07
    volume: float = 1e-4
    attempts: int = 12


@dataclass(frozen=True)
class Smoothed:
    """Where the vertices went.

    Attributes:
        moved: Shift of each vertex from its corner (voxels), shape (n, 3).
        triangles: Two for each square, first halves first, shape (2 q, 3).
        unfolded: Number of vertices whose room was reduced.
    """

    moved: Points
    triangles: Triangles
    unfolded: int


def smooth(net: Net, spacing: Points, sizes: Points, options: Smoothing) -> Smoothed:
    """Move vertices within boxes until borders bend least, with the volumes that bodies have.

    What is minimised is told in `organtwin.mesh.conforming.bending`. Then patches are shifted along
    their normals until each body has its size, and where a square can't be split such that it
    stays clear of all others the room of its vertices is reduced.

    Args:
        net: Squares around the voxels.
        spacing: Edges of a voxel (mm), shape (3,).
        sizes: Volume of each body (mm³), shape (b,).
        options: How far and how long.

    Raises:
        MeshError: squares stay folded or cut others whatever is tried.
    """
    room = room_of(net, options.reach, options.gap)
    moved = least_bending(net, room, options.rounds, options.still, options.along)
    keeper = Keeper(net, spacing, sizes)
    tight = np.zeros(len(moved), bool)
    along = diagonals(net, moved, spacing)
    triangles = split(net, along)
    calm = False
    for attempt in range(2 * options.attempts):
        # Volumes that can't be kept give way to squares that can't be unfolded otherwise.
        if attempt < options.attempts:
            moved = keeper.kept(moved, triangles, room, options.volume)
        along = diagonals(net, moved, spacing, along)
        triangles = split(net, along)
        bad = folded(net, moved)
        if not bad.any():
            bad = crossing(net, moved, triangles)
        if bad.any():
            calm = False
        elif calm or attempt >= options.attempts or keeper.near(moved, triangles, options.volume):
            break
        else:
            calm = True
        vertices = np.unique(net.quads[bad])
        tight[vertices] = True
        room = room.reduced(vertices)
        moved = room.clip(moved)
    if bad.any():
        raise MeshError(
            "smoothing", f"{int(bad.sum())} squares stay folded or cut others.", "Lower its reach."
        )
    return Smoothed(moved, triangles, int(tight.sum()))
