"""The head of a femur: the part of a surface that is most of a sphere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.landmarks.fits import SphereFit, fit_sphere, frame, unit
from organtwin.landmarks.record import Confidence, against, favouring
from organtwin.mesh.surface_files import TriangleSurface

type Vector = NDArray[np.float64]

#: Radii that the search for the head tries (mm).
RADII = np.arange(14.0, 32.1, 1.0)
#: Triangles that vote; more make the search slower, not better.
VOTERS = 2500
#: How near voted centres must lie to count as one (mm).
NEARNESS = 2.0
#: Distance from the sphere within which the surface belongs to the head (share of the radius) and
#: largest angle between its normal and the sphere's (degrees).
BAND, TURN = 0.05, 25.0
ROUNDS = 100


@dataclass(frozen=True)
class Facets:
    """Triangles as points.

    Attributes:
        middles: Centroids (mm), shape (n, 3).
        normals: Unit normals, shape (n, 3).
        areas: Areas (mm²), shape (n,).
    """

    middles: Vector
    normals: Vector
    areas: Vector


def facets_of(surface: TriangleSurface) -> Facets:
    """Triangles of a surface as points with a normal and an area."""
    a, b, c = (surface.points[surface.triangles[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    double = np.linalg.norm(cross, axis=1)
    # None is left out: which triangles vote must not hang on the rounding of a sliver's area.
    return Facets((a + b + c) / 3.0, cross / np.maximum(double, 1e-9)[:, None], 0.5 * double)


def find_head(surface: TriangleSurface) -> tuple[SphereFit, Confidence]:
    """The part of a bone that is most of a sphere.

    Triangles vote for centres along their inward normals, for all radii; where most area of a
    sphere agrees, a sphere is fitted to what lies near it and faces away from its centre, until the
    same triangles come back.

    Raises:
        InputError: nothing is round.
    """
    facets = facets_of(surface)
    centre, radius = _vote(facets)
    inside = np.zeros(len(facets.areas), bool)
    fit = SphereFit(centre, radius, np.nan)
    for _ in range(ROUNDS):
        before, inside = inside, _on_sphere(facets, fit)
        if np.count_nonzero(inside) < 10 or np.array_equal(before, inside):
            break
        fit = fit_sphere(facets.middles[inside], facets.areas[inside])
    covered = float(facets.areas[inside].sum() / (4.0 * np.pi * fit.radius**2))
    if covered < 0.15:
        raise InputError(
            "femur",
            "no part of the surface is round as a femoral head is.",
            "Check the unit (mm) and that it is a femur with its head; or place `femoral_head` (a "
            "list of points on it) or `femoral_head_centre` in 3D Slicer.",
        )
    return fit, _head_confidence(facets, fit, inside, covered)


def radius_around(facets: Facets, centre: Vector) -> float:
    """Median distance (mm) of the surface that faces away from a given centre of the head.

    Raises:
        InputError: there is none at the distance of a femoral head's surface.
    """
    away = facets.middles - centre
    distance = np.linalg.norm(away, axis=1)
    facing = np.einsum("ij,ij->i", away, facets.normals) / np.maximum(distance, 1e-12)
    near = (distance > 0.8 * RADII[0]) & (distance < 1.2 * RADII[-1])
    near &= facing > np.cos(np.radians(TURN))
    if not near.any():
        raise InputError(
            "femur",
            "no surface lies around the placed `femoral_head_centre` as that of a head does.",
            "Check that it was placed on this bone, or place `femoral_head` (a list of points on "
            "its surface).",
        )
    order = np.argsort(distance[near])
    total = np.cumsum(facets.areas[near][order])
    return float(distance[near][order][np.searchsorted(total, 0.5 * total[-1])])


def _vote(facets: Facets) -> tuple[Vector, float]:
    """Centre and radius on which most surface agrees, as a share of the sphere."""
    step = max(len(facets.areas) // VOTERS, 1)
    middles, normals = facets.middles[::step], facets.normals[::step]
    areas = facets.areas[::step] * step
    best, winner = -1.0, (middles[0], float(RADII[0]))
    for radius in RADII:
        centres = middles - radius * normals
        near = cKDTree(centres).sparse_distance_matrix(
            cKDTree(centres), NEARNESS, output_type="coo_matrix"
        )
        votes = np.bincount(near.row, areas[near.col], minlength=len(centres))
        place = int(np.argmax(votes))
        share = float(votes[place]) / (4.0 * np.pi * radius**2)
        if share > best:
            agreeing = near.col[near.row == place]
            middle = np.average(centres[agreeing], axis=0, weights=areas[agreeing])
            best, winner = share, (middle, float(radius))
    return winner


def _on_sphere(facets: Facets, fit: SphereFit) -> NDArray[np.bool_]:
    away = facets.middles - fit.centre
    distance = np.linalg.norm(away, axis=1)
    facing = np.einsum("ij,ij->i", away, facets.normals) / np.maximum(distance, 1e-12)
    near = np.abs(distance - fit.radius) < BAND * fit.radius
    return np.asarray(near & (facing > np.cos(np.radians(TURN))))


def _head_confidence(
    facets: Facets, fit: SphereFit, inside: NDArray[np.bool_], covered: float
) -> Confidence:
    """From the residual, how much of the sphere there is, and fits to halves of it."""
    pole = unit(np.average(facets.middles[inside], axis=0, weights=facets.areas[inside])
                - fit.centre)  # fmt: skip
    axes = frame(pole)
    away = facets.middles - fit.centre
    shifts = []
    for direction in (axes[0], axes[1], axes[0] + axes[1], axes[0] - axes[1]):
        for half in (away @ direction > 0.0, away @ direction <= 0.0):
            part = inside & half
            shifts.append(fit_sphere(facets.middles[part], facets.areas[part]).centre - fit.centre)
    spread = float(np.sqrt(np.mean(np.sum(np.array(shifts) ** 2, axis=1))))
    return Confidence((
        against("distance from the sphere", fit.residual, 1.5, "mm"),
        favouring("share of the sphere", 100.0 * covered, 20.0, "%"),
        against("shift of the centre from one half alone", spread, 3.0, "mm"),
    ))  # fmt: skip
