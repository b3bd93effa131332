"""Volumes of regions kept in remeshing, by the smallest shifts of the patches between them."""

from __future__ import annotations

import numpy as np

from organtwin.mesh.conforming.interfaces import Interfaces, cones
from organtwin.mesh.conforming.relaxing import settled
from organtwin.mesh.conforming.topology import INSIDE, Index, Net, Points

#: Newton steps; shifts are parts of a chord's height, so that few are needed.
_STEPS = 3
#: More than numbers of regions differ.
_WIDE = 2**16


def keep_volumes(net: Net, wanted: Interfaces, sides: Index) -> Net:
    """Shift vertices inside sheets along their normals until regions have their volumes.

    Of all shifts of the patches that do, those with the least Σ area * shift² are taken. Curves
    and corners stay, and so do cuts and vertices whose triangles would turn over.

    Args:
        net: Triangles.
        wanted: Interfaces with the volumes (mm³) to reach.
        sides: Regions behind and in front of each sheet, shape (sheets, 2).
    """
    regions = np.unique(sides)
    regions = regions[regions > 0]
    pairs, of_sheet = np.unique(sides, axis=0, return_inverse=True)
    of_sheet = of_sheet.ravel()
    way = (pairs[:, 0] == regions[:, None]).astype(float) - (pairs[:, 1] == regions[:, None])
    before = _numbered(wanted.sides, pairs)
    goal = way @ _swept(wanted.points, wanted.triangles, before, len(pairs))
    for _ in range(_STEPS):
        patch = of_sheet[net.sheet]
        missing = goal - way @ _swept(net.points, net.triangles, patch, len(pairs))
        normals = net.vertex_normals * (net.kind == INSIDE)[:, None]
        rate = np.where(pairs[:, 1] < 0, 0.0, _rates(net, normals, patch, len(pairs)))
        root = np.sqrt(rate)
        shift = np.linalg.lstsq(way * root, missing, rcond=1e-9)[0] / np.maximum(root, 1e-300)
        shift[rate <= 0] = 0.0
        of_vertex = np.zeros(len(net.points))
        of_vertex[net.triangles.ravel()] = np.repeat(shift[patch], 3)
        net = settled(net, net.points + of_vertex[:, None] * normals)
    return net


def _numbered(sides: Index, pairs: Index) -> Index:
    """Row of ``pairs`` that each row of ``sides`` is."""
    # One number for each pair, in the order of the sorted rows.
    known, wanted = (_WIDE * rows[:, 0] + rows[:, 1] for rows in (pairs, sides))
    return np.asarray(np.searchsorted(known, wanted))


def _swept(points: Points, triangles: Index, patch: Index, number: int) -> Points:
    """Volume (mm³) between each patch and one place, the origin, shape (number,)."""
    return np.bincount(patch, cones(points[triangles]), number)


def _rates(net: Net, normals: Points, patch: Index, number: int) -> Points:
    """Volume that each patch sweeps for a unit shift along the normals (mm²), shape (number,)."""
    swept = (net.normals[:, None] * normals[net.triangles]).sum(axis=(1, 2)) / 6.0
    return np.maximum(np.bincount(patch, swept, number), 0.0)
