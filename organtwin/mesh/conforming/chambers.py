"""Chambers: the connected volumes that interfaces enclose, found before anything is filled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from organtwin.errors import MeshError

if TYPE_CHECKING:
    from organtwin.mesh.conforming.interfaces import Interfaces

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Places that a message names, at most.
NAMED = 12


@dataclass(frozen=True)
class Chambers:
    """Connected volumes between interfaces; those that touch in edges or corners only are apart.

    Attributes:
        sides: Chamber behind and in front of each triangle, (m, 2); below 0 outside and in hollows,
            another number for each connected surface of theirs.
        regions: Region of each chamber, `regions[0]` is 0, shape (k + 1,).
        volumes: Volume (mm³) of each, that of number 0 is 0, shape (k + 1,).
    """

    sides: Index
    regions: Index
    volumes: Points


def chambers(interfaces: Interfaces) -> Chambers:
    """Chambers of interfaces, from the triangles alone.

    Around each edge the triangles are sorted by angle; the sides that face each other across the
    space between two neighbours belong to one shell. A shell that encloses a volume is the outer
    border of a chamber; one seen from inside is the border of something in a chamber of the same
    region, the smallest around it (solid angle 4 pi).

    Raises:
        MeshError: two sides that face each other belong to different regions: the interfaces are
            open, cross each other or are turned the wrong way there.
    """
    shell, count = _shells(interfaces)
    points, triangles = interfaces.points, interfaces.triangles
    sides = interfaces.sides
    six = np.einsum(
        "ij,ij->i",
        np.cross(points[triangles[:, 0]], points[triangles[:, 1]]),
        points[triangles[:, 2]],
    )
    volume = np.bincount(shell[:, 0], six, count) - np.bincount(shell[:, 1], six, count)
    region = np.zeros(count, np.int64)
    region[shell.ravel()] = sides.ravel()
    outer = np.nonzero((region > 0) & (volume > 0))[0]
    chamber = np.zeros(count, np.int64)
    chamber[outer] = np.arange(1, len(outer) + 1)
    for inner in np.nonzero((region > 0) & (volume <= 0))[0].tolist():
        around = outer[region[outer] == region[inner]]
        chamber[inner] = chamber[_container(interfaces, shell, inner, around, volume)]
    volumes = np.bincount(chamber, volume / 6.0, len(outer) + 1)
    empty = np.flatnonzero(region == 0)
    volumes[0] = 0.0
    chamber[empty] = -1 - np.arange(len(empty))
    return Chambers(chamber[shell], np.append(0, region[outer]), volumes)


def _shells(interfaces: Interfaces) -> tuple[Index, int]:
    """Number of the shell on each side of each triangle, (m, 2), and how many there are."""
    points, triangles, sides = interfaces.points, interfaces.triangles, interfaces.sides
    start = triangles.ravel()
    end = np.roll(triangles, -1, axis=1).ravel()
    opposite = np.roll(triangles, -2, axis=1).ravel()
    low, high = np.minimum(start, end), np.maximum(start, end)
    edge = low * np.int64(len(points)) + high
    angle = _angles(points[high] - points[low], points[opposite] - points[low])
    order = np.lexsort((angle, edge))
    first = np.append(True, edge[order][1:] != edge[order][:-1])
    begin = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    following = np.append(np.arange(1, len(order)), 0)
    last = np.append(first[1:], True)
    following[last] = begin[last]
    # A triangle that runs along the edge has its front towards growing angles.
    forward = (start < end).astype(np.int64)
    half = np.arange(len(start)) // 3 * 2
    growing, falling = (half + forward)[order], (half + 1 - forward)[order][following]
    label = sides.ravel()
    wrong = label[growing] != label[falling]
    if wrong.any():
        raise _inconsistent(interfaces, order[wrong], (low, high), label[growing[wrong]])
    n = 2 * len(triangles)
    graph = sparse.csr_matrix((np.ones(len(growing), np.int8), (growing, falling)), (n, n))
    count, shell = csgraph.connected_components(graph, directed=False)
    return shell.astype(np.int64).reshape(-1, 2), int(count)


def _angles(axis: Points, arm: Points) -> Points:
    """Angle of the arms around the axes, from a direction that depends on the axis only."""
    least = np.eye(3)[np.abs(axis).argmin(axis=1)]
    one = np.cross(axis, least)
    two = np.cross(axis, one) / np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-300)
    return np.arctan2(np.einsum("ij,ij->i", arm, two), np.einsum("ij,ij->i", arm, one))


def _inconsistent(
    interfaces: Interfaces, half_edges: Index, ends: tuple[Index, Index], labels: Index
) -> MeshError:
    low, high = (number[half_edges] for number in ends)
    middles = np.unique(0.5 * (interfaces.points[low] + interfaces.points[high]), axis=0)
    names = {number: name for name, number in interfaces.names.items()} | {0: "outside"}
    concerned = ", ".join(f"`{names.get(k, str(k))}`" for k in np.unique(labels).tolist())
    places = ", ".join(f"({x:.2f}, {y:.2f}, {z:.2f})" for x, y, z in middles[:NAMED])
    return MeshError(
        "interfaces",
        f"{concerned} open, crossing another surface or turned the wrong way at {len(middles)} "
        f"edges, near {places} mm{' and others' if len(middles) > NAMED else ''}.",
        "Smooth the interfaces less or repair the surfaces.",
    )


def _container(
    interfaces: Interfaces, shell: Index, inner: int, around: Index, volume: Points
) -> int:
    """The smallest of the shells around that has the inner shell inside."""
    points, triangles = interfaces.points, interfaces.triangles
    mine = np.nonzero((shell == inner).any(axis=1))[0][0]
    place = points[triangles[mine]].mean(axis=0)
    for candidate in around[np.argsort(volume[around], kind="stable")]:
        behind, front = (triangles[shell[:, k] == candidate] for k in (0, 1))
        corners = points[np.concatenate([behind, front[:, ::-1]])]
        inside = (corners.min(axis=(0, 1)) <= place).all() and (
            corners.max(axis=(0, 1)) >= place
        ).all()
        if inside and _solid_angle(corners - place) > 2.0 * np.pi:
            return int(candidate)
    name = next(n for n, k in interfaces.names.items() if k == interfaces.sides[shell == inner][0])
    raise MeshError(
        "interfaces",
        f"a surface of `{name}` near ({place[0]:.2f}, {place[1]:.2f}, {place[2]:.2f}) mm is "
        "turned inside out.",
        "Repair the surfaces.",
    )


def _solid_angle(corners: Points) -> float:
    """Solid angle of triangles, (m, 3, 3), seen from the origin: 4 pi inside a closed surface.

    Source:
        Van Oosterom & Strackee (1983), IEEE Trans. Biomed. Eng. 30:125-126, equation 8.
    """
    a, b, c = (corners[:, k] for k in range(3))
    la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
    top = np.einsum("ij,ij->i", a, np.cross(b, c))
    bottom = (
        la * lb * lc
        + np.einsum("ij,ij->i", a, b) * lc
        + np.einsum("ij,ij->i", b, c) * la
        + np.einsum("ij,ij->i", c, a) * lb
    )
    return float(2.0 * np.arctan2(top, bottom).sum())
