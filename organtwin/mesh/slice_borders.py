"""Borders between the labels of pixels, as smooth chains of segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from organtwin.mesh.taubin import taubin

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Rounds of smoothing of borders, and the largest shift (parts of a pixel).
ROUNDS, SHIFT = 30, 0.5


@dataclass(frozen=True)
class Pixels:
    """Labels in a plane.

    Attributes:
        values: Label of each pixel, 0 outside, indexed ``[i, j]``.
        low: Centre of pixel (0, 0) (mm), shape (2,).
        step: Edge of a pixel (mm).
    """

    values: NDArray[np.uint8]
    low: Points
    step: float

    def at(self, points: Points) -> NDArray[np.uint8]:
        """Label of the pixel nearest to each point (mm)."""
        index = np.round((points - self.low) / self.step).astype(np.int64)
        index = np.clip(index, 0, np.array(self.values.shape) - 1)
        return np.asarray(self.values[index[:, 0], index[:, 1]])


@dataclass(frozen=True)
class Curves:
    """Borders as chains from junction to junction, or closed.

    Attributes:
        points: Vertices (mm), shape (n, 2).
        chains: Vertex numbers along each border; a closed one ends with its first.
        pairs: Labels on both sides of each, the larger first, shape (number of chains, 2).
    """

    points: Points
    chains: Sequence[Index]
    pairs: Index


def borders(pixels: Pixels) -> Curves:
    """Smooth borders between pixels of different labels, from junction to junction."""
    return _chained(*_smoothed_net(pixels))


def _smoothed_net(pixels: Pixels) -> tuple[Points, Index, Index]:
    """Vertices, edges and labels on both sides, (n, 2), (k, 2), (k, 2), of pixels' borders."""
    v = pixels.values.astype(np.int64)
    shape = np.array(v.shape) + 1
    edges, pairs = [], []
    for axis in (0, 1):
        low, high = (np.moveaxis(v, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        i, j = np.nonzero(low != high)
        start = np.stack([i + 1, j], axis=1)[:, :: 1 - 2 * axis]
        end = start + np.eye(2, dtype=np.int64)[1 - axis]
        ends = [np.ravel_multi_index(tuple(x.T), shape) for x in (start, end)]
        edges.append(np.stack(ends, axis=1))
        pairs.append(np.sort(np.stack([low[i, j], high[i, j]], axis=1), axis=1)[:, ::-1])
    corner, flat = np.unique(np.concatenate(edges), return_inverse=True)
    edge = flat.reshape(-1, 2)
    index = np.stack(np.unravel_index(corner, shape), axis=1)
    points = pixels.low + (index - 0.5) * pixels.step
    linked = graph(edge, len(points))
    degree = np.asarray(linked.sum(axis=1)).ravel()
    shift = taubin(points, linked, degree < 4, ROUNDS, SHIFT * pixels.step)
    return points + shift, edge, np.concatenate(pairs)


def _chained(points: Points, edges: Index, pairs: Index) -> Curves:
    """Edges put in a row from junction to junction."""
    n = len(points)
    degree = np.bincount(edges.ravel(), minlength=n)
    plain = degree == 2
    inner = plain[edges].all(axis=1)
    part = csgraph.connected_components(graph(edges[inner], n), directed=False)[1]
    chains: list[Index] = []
    found: list[Index] = []
    key = np.where(plain[edges[:, 0]], part[edges[:, 0]], part[edges[:, 1]])
    single = ~plain[edges].any(axis=1)
    for pair, edge in zip(pairs[single], edges[single], strict=True):
        chains.append(edge)
        found.append(pair)
    order = np.argsort(key[~single], kind="stable")
    own_edges, own_pairs = edges[~single][order], pairs[~single][order]
    starts = np.flatnonzero(np.diff(key[~single][order], prepend=-1))
    for group, pair in zip(np.split(own_edges, starts[1:]), own_pairs[starts], strict=True):
        chains.append(_row(group, plain))
        found.append(pair)
    return Curves(points, chains, np.array(found))


def _row(edges: Index, plain: NDArray[np.bool_]) -> Index:
    """Vertices of one chain in order; the first one again at the end if it is closed."""
    vertices, flat = np.unique(edges, return_inverse=True)
    local = flat.reshape(-1, 2)
    tips = np.flatnonzero(~plain[vertices])
    if len(tips) == 1 or not len(tips):
        # A loop: cut it open at its junction, or at its first vertex.
        first = tips[0] if len(tips) else local[0, 0]
        cut = np.argwhere(local == first)
        local[cut[1][0], cut[1][1]] = len(vertices)
        vertices = np.append(vertices, vertices[first])
        tips = np.array([first])
    walk = csgraph.depth_first_order(
        graph(local, len(vertices)), int(tips[0]), directed=False, return_predecessors=False
    )
    return np.asarray(vertices[walk])


def resampled(curves: Curves, length: float) -> tuple[Points, Index, Index]:
    """Segments of about a length: vertices, edges, chain of each edge."""
    tips = np.unique([chain[[0, -1]] for chain in curves.chains])
    points = [curves.points[tips]]
    edges, owner = [], []
    count = len(tips)
    for k, chain in enumerate(curves.chains):
        x = curves.points[chain]
        way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(x, axis=0), axis=1))])
        parts = max(1, round(way[-1] / length)) if length else len(chain) - 1
        if chain[0] == chain[-1]:
            parts = max(parts, min(6, len(chain) - 1))
        at = np.linspace(0.0, way[-1], parts + 1)[1:-1] if length else way[1:-1]
        points.append(np.stack([np.interp(at, way, x[:, d]) for d in (0, 1)], axis=1))
        first, last = np.searchsorted(tips, chain[[0, -1]])
        row = np.concatenate([[first], count + np.arange(len(at)), [last]])
        edges.append(np.stack([row[:-1], row[1:]], axis=1))
        owner.append(np.full(len(row) - 1, k))
        count += len(at)
    return np.concatenate(points), np.concatenate(edges), np.concatenate(owner)


def graph(edges: Index, n: int) -> sparse.csr_matrix:
    """Symmetric adjacency of n vertices."""
    ends = np.concatenate([edges, edges[:, ::-1]])
    return sparse.csr_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (n, n))
