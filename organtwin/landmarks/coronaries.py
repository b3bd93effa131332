"""Candidates for the coronary ostia: narrow bumps of the sinus wall that lead outwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.landmarks.record import (
    Confidence,
    Evidence,
    Landmark,
    Plane,
    Point,
    against,
    favouring,
)
from organtwin.landmarks.root import Root

type Vector = NDArray[np.float64]

#: What is wider than this is no coronary artery but a sinus or a neighbour (mm).
WIDEST = 6.0
#: Least length of a bump (mm), and what counts for a ray that found no wall.
BUMP, LOST = 1.2, 8.0
#: Usual diameter of an ostium and how much it varies (mm).
DIAMETER, VARIATION = 3.5, 2.0
#: Candidates of two looks within this distance are the same (mm).
SAME = 4.0
#: Candidates told per coronary cusp.
MOST = 2


@dataclass(frozen=True)
class _Bump:
    """A place where the wall leads outwards."""

    at: Vector
    diameter: float
    length: float


def ostia(
    looks: Sequence[Root], widest: float, known: Mapping[str, Landmark], voxel: float
) -> list[Landmark]:
    """Candidates near the right and the left cusp, best first.

    Where the wall, unrolled, rises over its own opening by a disc wider than any coronary artery, a
    vessel may leave. It must do so at other levels of the wall too.

    Args:
        looks: The unrolled root, first as it is, then with the wall at other levels.
        widest: Height where the sinuses are widest (mm).
        known: Landmarks of the root: hinge points, ``aortic_annulus``, ``sinotubular_junction``.
        voxel: Voxel size (mm).
    """
    annulus, junction = (known[n].geometry for n in ("aortic_annulus", "sinotubular_junction"))
    if not (isinstance(annulus, Plane) and isinstance(junction, Plane)):
        return []
    every = [_bumps(look, widest) for look in looks]
    found: dict[str, list[Landmark]] = {"right": [], "left": []}
    for bump in every[0]:
        cusp, aside = _cusp(bump.at, looks[0], known)
        if cusp in found:
            evidence = _evidence(bump, aside, annulus, junction, every[1:], voxel)
            found[cusp].append(
                Landmark("", Point(bump.at), Confidence(evidence),
                         measures={"diameter mm": bump.diameter, "length seen mm": bump.length})
            )  # fmt: skip
    return [
        Landmark(f"coronary_ostium_{cusp}" + ("" if place == 0 else f"_{place + 1}"),
                 one.geometry, one.confidence, measures=one.measures)
        for cusp, some in found.items()
        for place, one in enumerate(
            sorted(some, key=lambda c: -c.confidence.value)[:MOST])
        if one.confidence.value > 0.01
    ]  # fmt: skip


def _bumps(root: Root, widest: float) -> list[_Bump]:
    rows = np.flatnonzero((np.abs(root.heights - widest) < 22.0) & np.isfinite(root.areas))
    if len(rows) < 8:
        return []
    heights = root.heights[rows]
    high, wide = _cell(root, rows)
    radii = np.where(root.open[rows], root.radii[rows] + LOST, root.raw[rows])
    size = (max(int(WIDEST / high), 3), max(int(WIDEST / wide), 3))
    wall = ndimage.grey_opening(radii, size=size, mode=("nearest", "wrap"))
    bump = radii - wall
    # The edge of an open leaflet in front parts an ostium by a row.
    label, count = _ringed(ndimage.binary_closing(bump > BUMP, np.ones((3, 1))))
    found = []
    for number in range(1, count + 1):
        where = label == number
        area = float(np.count_nonzero(where)) * high * wide
        if not 0.7 < area < np.pi / 4.0 * WIDEST**2:
            continue
        weight = np.maximum(bump[where], 0.0)
        height = float(np.average(heights[np.nonzero(where)[0]], weights=weight))
        turn = np.average(np.exp(1j * root.angles[np.nonzero(where)[1]]), weights=weight)
        row = int(np.argmin(np.abs(heights - height)))
        radius = float(np.mean(wall[row, np.unique(np.nonzero(where)[1])]))
        centre = root.centres[rows[row]]
        at = centre + radius * root.direction(float(np.angle(turn)))
        found.append(_Bump(at, 2.0 * float(np.sqrt(area / np.pi)), float(weight.max())))
    return found


def _cell(root: Root, rows: NDArray[np.int64]) -> tuple[float, float]:
    """Height and width of a cell of the unrolled wall (mm)."""
    width = float(np.nanmedian(root.radii[rows])) * 2.0 * np.pi / root.radii.shape[1]
    return float(root.heights[1] - root.heights[0]), width


def _ringed(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """Connected parts of a mask whose last column meets the first."""
    label, count = ndimage.label(mask, np.ones((3, 3)))
    for one, other in zip(label[:, 0], label[:, -1], strict=True):
        if one and other and one != other:
            label[label == other] = one
    return label, count


def _cusp(at: Vector, root: Root, known: Mapping[str, Landmark]) -> tuple[str, float]:
    """Cusp whose hinge point is nearest in angle, and how far it is off (degrees)."""
    hinges = {name: known[f"hinge_{name}"].geometry for name in ("right", "left", "non_coronary")}
    middle = np.mean([g.at for g in hinges.values() if isinstance(g, Point)], axis=0)
    own = _turn(at - middle, root)
    off = {
        name: abs((_turn(g.at - middle, root) - own + 180.0) % 360.0 - 180.0)
        for name, g in hinges.items()
        if isinstance(g, Point)
    }
    best = min(off, key=lambda name: off[name])
    return best, off[best]


def _turn(vector: Vector, root: Root) -> float:
    return float(np.degrees(np.arctan2(vector @ root.axes[1], vector @ root.axes[0])))


def _evidence(
    bump: _Bump,
    aside: float,
    annulus: Plane,
    junction: Plane,
    others: Sequence[list[_Bump]],
    voxel: float,
) -> tuple[Evidence, ...]:
    low, high = float(annulus.height(bump.at)), float(junction.height(bump.at))
    # From a few mm above the hinge points to a few above the junction.
    outside = max(6.0 - low, high - 3.0, 0.0)
    again = sum(any(np.linalg.norm(b.at - bump.at) < SAME for b in look) for look in others) / max(
        len(others), 1
    )
    return (
        favouring("length of the bump", bump.length, 2.5, "mm"),
        favouring("length over diameter", bump.length / bump.diameter, 0.4),
        against("diameter off from usual", bump.diameter - DIAMETER, VARIATION, "mm"),
        favouring("diameter", bump.diameter / voxel, 2.0, "voxels"),
        against("height outside the sinuses", outside, 3.0, "mm"),
        against("angle to the middle of the cusp", aside, 45.0, "°"),
        favouring("seen at other levels of the wall", 100.0 * again, 40.0, "%"),
    )
