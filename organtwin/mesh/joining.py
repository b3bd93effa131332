"""Layers of cells joined with what gmsh fills between them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from organtwin.mesh.conforming.cuts import Cuts
from organtwin.mesh.conforming.faces_between import interface_triangles, with_interfaces
from organtwin.mesh.conforming.improvement import improve
from organtwin.mesh.conforming.interfaces import Interfaces
from organtwin.mesh.conforming.sizes import SizeField
from organtwin.mesh.conforming.tetrahedra import fill
from organtwin.mesh.volume_mesh import TetrahedralMesh

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Smallest dihedral angle (degrees) that is sought in fillings.
TARGET = 12.0


def filled(
    points: Points, triangles: Index, sides: Index, names: Mapping[str, int],
    size: SizeField | None,
) -> tuple[Points, Index, Index]:  # fmt: skip
    """Cells between triangles, which stay.

    Args:
        points: Vertices of the whole mesh so far (mm), shape (n, 3).
        triangles: Borders, shape (m, 3).
        sides: Regions behind and in front of each, see `Interfaces`, shape (m, 2).
        names: Regions to fill.
        size: Edge lengths inside; those of the triangles spread inwards without.

    Returns:
        Vertices inside (mm), numbered from n on in the cells; cells; region of each.

    Raises:
        MeshError: the borders can't be filled.
    """
    used, flat = np.unique(triangles, return_inverse=True)
    borders = Interfaces(points[used], flat.reshape(-1, 3), sides, names)
    x, cells, regions = _improved(borders, *fill(borders, size))
    number = np.concatenate([used, len(points) + np.arange(len(x) - len(used))])
    return x[len(used) :], number[cells], regions


def _improved(
    borders: Interfaces, points: Points, cells: Index, regions: Index
) -> tuple[Points, Index, Index]:
    """The cells with larger angles if that leaves all borders as they are."""
    better = improve(points, cells, regions, shift=np.zeros(len(points)), target=TARGET)
    n = len(borders.points)
    wanted = {tuple(t) for t in np.sort(borders.triangles, axis=1).tolist()}
    found = interface_triangles(better.cells, better.regions)[0]
    same = {tuple(t) for t in np.sort(found, axis=1).tolist()} == wanted
    if same and np.array_equal(better.points[:n], borders.points):
        return better.points, better.cells, better.regions
    return points, cells, regions


def joined(
    points: Points, layers: tuple[Index, Index], made: list[tuple[Points, Index, Index]],
    names: Mapping[str, int], cuts: Cuts | None = None,
) -> TetrahedralMesh:  # fmt: skip
    """One mesh of layers and fillings.

    Args:
        points: Vertices of layers and borders (mm), shape (n, 3).
        layers: Cells and their regions.
        made: What `filled` gave, for each filling.
        names: All regions.
        cuts: Planes that cut regions off.

    Returns:
        Cells of layers come first; facets are named by pairs of regions, ``blood-wall``.
    """
    n = len(points)
    xs, cells, regions = [points], [layers[0]], [layers[1]]
    for x, own, region in made:
        shift = sum(len(part) for part in xs) - n
        xs.append(x)
        cells.append(np.where(own >= n, own + shift, own))
        regions.append(region)
    all_cells, all_regions = np.concatenate(cells), np.concatenate(regions)
    return with_interfaces(np.concatenate(xs), all_cells, all_regions, dict(names), cuts)[0]
