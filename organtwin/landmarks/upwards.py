"""Which way is up in a tibia: away from the cut, or where most surface faces along an axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.landmarks.fits import fit_plane_robustly, unit
from organtwin.mesh.surface_files import TriangleSurface

type Vector = NDArray[np.float64]

#: Triangles that belong to the plateau face upwards within this angle (degrees).
UPWARDS = 30.0
#: Surface within this distance of a plane was cut, not grown (mm).
FLAT = 0.1
#: Triangles that vote for planes, mm of offset that count like a turn of one radian, planes that
#: are looked at, the thickness of a cut's plane (mm) and the share of all area in it.
VOTERS, LEVER, CANDIDATES, SKIN, CUT = 4000, 20.0, 40, 1.0, 0.04


def upwards(surface: TriangleSurface) -> Vector:
    """Direction towards the plateau, roughly.

    It is away from the flat cut of a bone that ends with the image, else the axis of inertia along
    which most surface faces; a long bone has only its long axis to choose from.
    """
    cut_off = _cut_end(surface)
    if cut_off is not None:
        return -cut_off
    middles, _, areas = facets(surface)
    centre = np.average(middles, axis=0, weights=areas)
    spread = middles - centre
    axes = np.linalg.eigh((spread.T * areas) @ spread)[1].T
    extent = np.ptp(surface.points @ axes.T, axis=0)
    candidates = axes[2:] if extent[2] > 1.8 * extent[1] else axes
    ways = np.concatenate([candidates, -candidates])
    return np.asarray(ways[int(np.argmax([_facing_area(surface, way) for way in ways]))])


def _cut_end(surface: TriangleSurface) -> Vector | None:
    """Outward normal of the largest plane in a surface, if it is large enough for a cut."""
    middles, cross, areas = facets(surface)
    normals = cross / np.maximum(areas, 1e-9)[:, None]
    offset = np.einsum("ij,ij->i", middles - middles.mean(axis=0), normals)
    step = max(len(areas) // VOTERS, 1)
    planes = np.column_stack([normals * LEVER, offset])[::step]
    weights = areas[::step]
    tree = cKDTree(planes)
    near = tree.sparse_distance_matrix(tree, 1.0, output_type="coo_matrix")
    votes = np.bincount(near.row, weights[near.col], minlength=len(planes))
    found, largest = None, CUT * float(areas.sum())
    for best in np.argsort(-votes, kind="stable")[:CANDIDATES]:
        agreeing = near.col[near.row == best]
        normal = unit(np.average(normals[::step][agreeing], axis=0, weights=weights[agreeing]))
        height = middles @ normal
        # A cut is an end: no part of the bone lies beyond.
        flat = (height > height.max() - SKIN) & (normals @ normal > np.cos(np.radians(10.0)))
        area = float(areas[flat].sum())
        if area > largest:
            found, largest = normal, area
    return found


def _facing_area(surface: TriangleSurface, way: Vector) -> float:
    """Area at one end that faces a direction without being flat as a cut (mm²)."""
    middles, cross, areas = facets(surface)
    height = middles @ way
    length = float(np.ptp(height))
    facing = cross @ way > np.cos(np.radians(UPWARDS)) * areas
    facing &= height > height.max() - min(0.35 * length, 40.0)
    if np.count_nonzero(facing) < 20:
        return 0.0
    fit = fit_plane_robustly(middles[facing], areas[facing])
    off = np.abs((middles[facing] - fit.centre) @ fit.normal)
    return float(areas[facing][off > FLAT].sum())


def facets(surface: TriangleSurface) -> tuple[Vector, Vector, Vector]:
    """Middles, normals times areas, and areas of the triangles."""
    a, b, c = (surface.points[surface.triangles[:, k]] for k in range(3))
    cross = 0.5 * np.cross(b - a, c - a)
    return (a + b + c) / 3.0, cross, np.linalg.norm(cross, axis=1)
