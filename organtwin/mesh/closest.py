"""Nearest places on a surface of triangles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.mesh.vectors import dots

type Points = NDArray[np.float64]
type Triangles = NDArray[np.int64]

#: Samples whose triangles are looked at for each place.
CANDIDATES = 12
#: Samples are at most this many times the triangles, and this many more.
SAMPLES = (2.0, 100_000)
#: Squared sine of an angle below which a triangle has no inside.
FLAT = 1e-24
#: Places handled at once, which bounds the memory.
BATCH = 200_000


def closest_on_triangles(
    places: Points, points: Points, triangles: Triangles, candidates: int = CANDIDATES
) -> tuple[Points, NDArray[np.int64]]:
    """Nearest place on a surface, searched on the triangles of the nearest samples.

    Samples stand all over the triangles, a typical edge length apart, so that large triangles are
    found, too. Where very many samples would be needed they are further apart; the distance then
    found may be too large, never too small.

    Args:
        places: Where from (mm), shape (n, 3).
        points: Vertices of the surface (mm), shape (v, 3).
        triangles: Vertex indices, shape (m, 3), at least one.
        candidates: Samples looked at for each place.

    Returns:
        Places on the surface (mm), (n, 3), and their triangles, (n,).
    """
    corners = points[triangles]
    stand, home = samples(corners)
    tree = cKDTree(stand)
    number = min(candidates, len(home))
    found, owner = np.empty_like(places), np.empty(len(places), np.int64)
    for first in range(0, len(places), BATCH):
        part = slice(first, first + BATCH)
        near = home[np.asarray(tree.query(places[part], number)[1]).reshape(-1, number)]
        feet = on_triangles(places[part, None], corners[near])
        away = feet - places[part, None]
        best = np.argmin(dots(away, away), axis=1)
        rows = np.arange(len(best))
        found[part], owner[part] = feet[rows, best], near[rows, best]
    return found, owner


def distances(places: Points, points: Points, triangles: Triangles) -> NDArray[np.float64]:
    """Distance (mm) of each place from a surface, see `closest_on_triangles`, shape (n,)."""
    nearest, _ = closest_on_triangles(places, points, triangles)
    return np.asarray(np.linalg.norm(places - nearest, axis=1))


def on_triangles(x: Points, corners: Points) -> Points:
    """Nearest places of triangles; x broadcasts against corners[..., 0, :]."""
    a, b, c = (corners[..., k, :] for k in range(3))
    u, v, w = b - a, c - a, x - a
    uu, uv, vv = dots(u, u), dots(u, v), dots(v, v)
    wu, wv = dots(w, u), dots(w, v)
    det = uu * vv - uv * uv
    flat = det <= FLAT * uu * vv
    det = np.where(flat, 1.0, det)
    s, t = (vv * wu - uv * wv) / det, (uu * wv - uv * wu) / det
    inside = (s >= 0) & (t >= 0) & (s + t <= 1) & ~flat
    result = a + s[..., None] * u + t[..., None] * v
    out = np.nonzero(~inside)
    x = np.broadcast_to(x, a.shape)[out]
    feet = np.stack(
        [on_segments(x, corners[out][:, [i, j]]) for i, j in ((0, 1), (1, 2), (2, 0))], axis=1
    )
    away = feet - x[:, None]
    result[out] = feet[np.arange(len(x)), dots(away, away).argmin(axis=1)]
    return np.asarray(result)


def on_segments(x: Points, ends: Points) -> Points:
    """Nearest places of segments; x broadcasts against ends[..., 0, :]."""
    start, along = ends[..., 0, :], ends[..., 1, :] - ends[..., 0, :]
    part = dots(x - start, along) / np.maximum(dots(along, along), 1e-300)
    return np.asarray(start + part.clip(0.0, 1.0)[..., None] * along)


def samples(corners: Points) -> tuple[Points, NDArray[np.int64]]:
    """Places all over triangles, no two neighbours far apart, and the triangles they are on."""
    longest = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2).max(axis=1)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    # The edge of a regular triangle of the same area: slender ones need several samples.
    typical = np.sqrt(2.0 / np.sqrt(3.0) * np.linalg.norm(across, axis=1))
    spacing = max(1.5 * float(np.median(typical)), 1e-6 * float(longest.max()), 1e-300)
    allowed = SAMPLES[0] * len(corners) + SAMPLES[1]
    while (np.ceil(longest / spacing) ** 2).sum() > allowed:
        spacing *= 1.3
    parts = np.maximum(np.ceil(longest / spacing), 1).astype(np.int64)
    places, home = [], []
    for number in np.unique(parts):
        chosen = np.flatnonzero(parts == number)
        weights = _weights(int(number))
        places.append(np.einsum("wk,mkx->mwx", weights, corners[chosen]).reshape(-1, 3))
        home.append(np.repeat(chosen, len(weights)))
    return np.concatenate(places), np.concatenate(home)


def _weights(number: int) -> Points:
    """Barycentric coordinates of the centres of number² equal parts of a triangle."""
    i, j = np.indices((number, number)).reshape(2, -1)
    upright = np.stack([i, j], axis=1)[i + j < number] + 1.0 / 3.0
    turned = np.stack([i, j], axis=1)[i + j < number - 1] + 2.0 / 3.0
    two = np.concatenate([upright, turned]) / number
    return np.column_stack([1.0 - two.sum(axis=1), two])
