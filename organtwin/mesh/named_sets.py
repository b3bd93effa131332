"""Regions and surfaces from sets that may overlap, as finite-element decks name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.volume_mesh import WHOLE, TetrahedralMesh, outer_facets

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]


@dataclass(frozen=True)
class NamedSets:
    """Sets of a file, each under its name.

    Attributes:
        cells: Numbers of tetrahedra.
        facets: Vertex indices of triangles, shape (k, 3).
        vertices: Numbers of vertices.
    """

    cells: Mapping[str, Index] = field(default_factory=dict)
    facets: Mapping[str, Index] = field(default_factory=dict)
    vertices: Mapping[str, Index] = field(default_factory=dict)


def mesh_with_sets(
    points: Points, cells: Index, sets: NamedSets, loose: Index | None = None
) -> TetrahedralMesh:
    """A mesh whose regions and surfaces are the sets.

    Where sets overlap the smallest has the cell or facet. A set of vertices has the outer facets
    with all corners in it, unless a set of facets has them; sets of all vertices are left out.
    What no set has gets the integer 0.

    Args:
        points: Vertices, shape (n, 3).
        cells: Tetrahedra, shape (m, 4).
        sets: The sets.
        loose: Triangles that may be in no set, shape (k, 3).
    """
    regions, region_names = painted(len(cells), sets.cells)
    if not region_names:
        regions, region_names = np.ones(len(cells), np.int64), {WHOLE: 1}
    spanned = _spanned(len(points), outer_facets(cells), sets.vertices) if sets.vertices else []
    facets, tags, facet_names = _united(spanned, sets.facets, loose)
    return TetrahedralMesh(points, cells, regions, region_names, facets, tags, facet_names)


def painted(number: int, sets: Mapping[str, Index]) -> tuple[Index, dict[str, int]]:
    """Integer of the smallest set that has each of some things, 0 for none; name → integer."""
    tags = np.zeros(number, np.int64)
    names = {name: k for k, name in enumerate(sets, 1)}
    for name in sorted(sets, key=lambda name: -len(np.unique(sets[name]))):
        tags[sets[name]] = names[name]
    return tags, {name: k for name, k in names.items() if (tags == k).any()}


def places(numbers: Index, wanted: Index) -> Index:
    """Where wanted numbers stand among others; those that are not there are left out."""
    if not len(numbers):
        return np.empty(0, np.int64)
    order = np.argsort(numbers)
    near = np.searchsorted(numbers, wanted, sorter=order).clip(max=len(numbers) - 1)
    found = order[near]
    return np.asarray(found[numbers[found] == wanted])


def _spanned(vertices: int, outer: Index, sets: Mapping[str, Index]) -> list[tuple[str, Index]]:
    """Outer facets of sets of vertices, the largest set first."""
    found = []
    for name, own in sorted(sets.items(), key=lambda item: -len(np.unique(item[1]))):
        inside = np.zeros(vertices, bool)
        inside[own] = True
        chosen = outer[inside[outer].all(axis=1)]
        if len(chosen) and not inside.all():
            found.append((name, chosen))
    return found


def _united(
    spanned: Sequence[tuple[str, Index]], sets: Mapping[str, Index], loose: Index | None
) -> tuple[Index, Index, dict[str, int]]:
    """Each facet once, with the set that comes last."""
    explicit = sorted(sets.items(), key=lambda item: -len(item[1]))
    parts = [*spanned, *explicit]
    names = {name: k for k, name in enumerate(dict.fromkeys([*sets, *dict(spanned)]), 1)}
    facets = [own for _, own in parts]
    tags = [np.full(len(own), names[name]) for name, own in parts]
    if loose is not None and len(loose):
        facets, tags = [loose, *facets], [np.zeros(len(loose), np.int64), *tags]
    if not facets:
        return np.empty((0, 3), np.int64), np.empty(0, np.int64), {}
    # The first in the reversed order is the last one given.
    every, every_tag = np.concatenate(facets)[::-1], np.concatenate(tags)[::-1]
    first = np.sort(np.unique(np.sort(every, axis=1), axis=0, return_index=True)[1])[::-1]
    every, every_tag = every[first], every_tag[first]
    return every, every_tag, {name: k for name, k in names.items() if (every_tag == k).any()}


def sides(mesh: TetrahedralMesh, facets: Index, table: Sequence[Sequence[int]]) -> Index:
    """A cell and one of its sides for each facet, by a format's order of sides.

    Args:
        mesh: The mesh.
        facets: Vertex indices of faces of its cells, shape (k, 3).
        table: Corners (from 0) of each side.

    Returns:
        Cell and side, both from 0, shape (k, 2).

    Raises:
        InputError: a facet is no face of a cell.
    """
    every = np.sort(mesh.cells[:, table].reshape(-1, 3), axis=1)
    both = np.concatenate([every, np.sort(facets, axis=1)])
    same = np.unique(both, axis=0, return_inverse=True)[1].ravel()
    place = np.full(len(both), -1)
    place[same[: len(every)]] = np.arange(len(every))
    found = place[same[len(every) :]]
    if (found < 0).any():
        raise InputError("mesh", f"{int((found < 0).sum())} facets are no faces of a cell.")
    return np.column_stack(np.divmod(found, 4))
