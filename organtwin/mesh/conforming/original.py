"""The surface before remeshing: nearest places on it, sheet by sheet and curve by curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.mesh.closest import SAMPLES, on_segments, on_triangles, samples
from organtwin.mesh.conforming.gaps import half_gaps
from organtwin.mesh.conforming.topology import CORNER, Index, Net, Points, normals_of
from organtwin.mesh.vectors import dots, lengths_of, unit

#: Samples near a place whose triangles or curve edges are looked at.
_NEAREST = 5
#: How many of them are looked at first where only nearness is asked for.
_FIRST = 2
#: Part of the allowed distance that is allowed everywhere, however near other parts are.
_FLOOR = 0.1
#: Places looked at in one go, which bounds the memory.
_CHUNK = 40_000


@dataclass(frozen=True)
class Feet:
    """Nearest places.

    Attributes:
        points: Where they are (mm), shape (k, 3).
        normals: Unit normals of the triangles there, shape (k, 3).
        distances: From the places asked for (mm), shape (k,).
        limits: Distances that are allowed there (mm), shape (k,).
    """

    points: Points
    normals: Points
    distances: NDArray[np.float64]
    limits: NDArray[np.float64]

    @property
    def near(self) -> NDArray[np.bool_]:
        """Whether the places asked for are as near as they have to be, shape (k,)."""
        return np.asarray(self.distances <= self.limits)


class Original:
    """Triangles and curves to project onto; samples of them stand in a tree.

    The number of the sheet is a fourth coordinate of the tree, so that nothing is projected onto
    another sheet nearby.

    Args:
        net: The triangles.
        deviation: Distance from them that is allowed (mm); where another part of the surface is
            near and at corners, it is less.
    """

    def __init__(self, net: Net, deviation: float) -> None:
        self.deviation = deviation
        self.corners = net.points[net.triangles]
        self.sheet = net.sheet
        self.normals = unit(normals_of(self.corners))
        narrow = 0.5 * half_gaps(net, 2.0 * deviation)
        # Sheets that meet in a corner may do so at small angles.
        narrow[net.kind == CORNER] = 0.0
        self.limits = np.maximum(narrow[net.triangles].min(axis=1), _FLOOR * deviation)
        self.apart = 10.0 * max(float(np.ptp(net.points, axis=0).max()), 1.0)
        places, self.home = samples(self.corners)
        self.tree = self._tree(places, net.sheet[self.home])
        self.classes, of_edge = np.unique(curve_marks(net), return_inverse=True)
        self.segments = net.points[net.edges.ends[net.edges.curve]]
        self.curve = of_edge.ravel()
        self.curve_tree = None
        if len(self.segments):
            self.curve_places, self.curve_home = _along(self.segments)
            self.curve_tree = self._tree(self.curve_places, self.curve[self.curve_home])

    def _tree(self, places: Points, number: Index) -> cKDTree:
        return cKDTree(np.column_stack([places, self.apart * number]), balanced_tree=False)

    def on_sheets(self, places: Points, sheet: Index, normals: Points) -> Feet:
        """Nearest places on sheets, on triangles that face like ``normals`` where there are any."""
        parts = [
            self._on_sheets(places[part], sheet[part], normals[part])
            for part in _parts(len(places))
        ]
        return Feet(*(np.concatenate([getattr(p, n) for p in parts]) for n in Feet.__annotations__))

    def are_near(self, places: Points, sheet: Index, normals: Points) -> NDArray[np.bool_]:
        """Whether places are as near to sheets as they have to be, shape (k,).

        The same as ``on_sheets(...).near``, most of it told from fewer triangles.
        """
        parts = [
            self._are_near(places[part], sheet[part], normals[part]) for part in _parts(len(places))
        ]
        return np.concatenate(parts)

    def _are_near(self, places: Points, sheet: Index, normals: Points) -> NDArray[np.bool_]:
        around = self._near(self.tree, self.home, places, sheet)
        result = self._on_sheets(places, sheet, normals, around[:, :_FIRST]).near
        rest = np.flatnonzero(~result)
        result[rest] = self._on_sheets(places[rest], sheet[rest], normals[rest], around[rest]).near
        return result

    def _on_sheets(
        self, places: Points, sheet: Index, normals: Points, near: Index | None = None
    ) -> Feet:
        if near is None:
            near = self._near(self.tree, self.home, places, sheet)
        foot = on_triangles(places[:, None], self.corners[near])
        distance = lengths_of(foot - places[:, None])
        wrong = np.where(self.sheet[near] == sheet[:, None], 0.0, 2.0 * self.apart)
        wrong += self.apart * (dots(self.normals[near], normals[:, None]) < 0.0)
        best = (distance + wrong).argmin(axis=1)
        rows = np.arange(len(places))
        home = near[rows, best]
        return Feet(foot[rows, best], self.normals[home], distance[rows, best], self.limits[home])

    def on_curves(self, places: Points, marks: NDArray[np.uint64]) -> Points:
        """Nearest places on curves between the sheets that the marks stand for."""
        number = np.searchsorted(self.classes, marks).clip(max=max(len(self.classes) - 1, 0))
        parts = [self._on_curves(places[part], number[part]) for part in _parts(len(places))]
        return np.concatenate(parts)

    def _on_curves(self, places: Points, number: Index) -> Points:
        near = self._near(self.curve_tree, self.curve_home, places, number)
        foot = on_segments(places[:, None], self.segments[near])
        distance = lengths_of(foot - places[:, None])
        distance += np.where(self.curve[near] == number[:, None], 0.0, self.apart)
        return np.asarray(foot[np.arange(len(places)), distance.argmin(axis=1)])

    def _near(self, tree: cKDTree, home: Index, places: Points, number: Index) -> Index:
        count = min(_NEAREST, len(home))
        # Unbounded, the search for the last samples of a small sheet would visit all others.
        found = tree.query(
            np.column_stack([places, self.apart * number]),
            k=count,
            distance_upper_bound=0.5 * self.apart,
        )[1].reshape(len(places), count)
        found = np.where(found == len(home), found[:, :1], found).clip(max=len(home) - 1)
        return np.asarray(home[found])


def curve_marks(net: Net) -> NDArray[np.uint64]:
    """Number for each curve edge that tells between which sheets it lies.

    The sum of scrambled numbers of the sheets that meet there, the same in any order.
    """
    edges = net.edges
    sheet = net.sheet[edges.slot // 3].astype(np.uint64) + np.uint64(1)
    mixed = sheet * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    if not len(edges.start):
        return np.empty(0, np.uint64)
    return np.asarray(np.add.reduceat(mixed ^ (mixed >> np.uint64(32)), edges.start)[edges.curve])


def _along(segments: Points) -> tuple[Points, Index]:
    """Places all along segments and the segments they are on."""
    length = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1)
    spacing = max(1.5 * float(np.median(length)), float(length.sum()) / SAMPLES[1], 1e-300)
    parts = np.maximum(np.ceil(length / spacing), 1).astype(np.int64)
    home = np.repeat(np.arange(len(segments)), parts)
    within = np.arange(len(home)) - np.repeat(np.cumsum(parts) - parts, parts)
    part = ((within + 0.5) / parts[home])[:, None]
    return segments[home, 0] * (1.0 - part) + segments[home, 1] * part, home


def _parts(number: int) -> list[slice]:
    return [slice(k, k + _CHUNK) for k in range(0, max(number, 1), _CHUNK)]
