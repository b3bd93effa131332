"""The middle line of an aorta from its end at the heart, found or placed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from organtwin.image.volume import LabelMap
from organtwin.landmarks.record import Confidence, Curve, Landmark, against, favouring
from organtwin.segment.centreline import Centreline, along_skeleton, trace

type Vector = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: Length of the vessel that gives the first axis of the root (mm).
STRAIGHT = 40.0
#: Smoothing of the mask before its middle line is sought (voxels).
BLUR = 1.0


def way_out(labels: LabelMap, mask: Mask, known: dict[str, Landmark]) -> tuple[Vector, Vector]:
    """Where the vessel begins at the heart, and a place further along it.

    Args:
        labels: Label map; ``lv_blood`` or ``heart`` tells which end is at the heart.
        mask: The aorta.
        known: Landmarks; without ``aortic_centreline`` it is found and added.
    """
    placed = known.get("aortic_centreline")
    if placed is not None and isinstance(placed.geometry, Curve):
        points = placed.geometry.points
        points = points[::-1] if _ends_at_heart(labels, points[[0, -1]]) else points
        along = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
        return points[0], _along(points, along)
    mask = _even(mask)
    line = along_skeleton(mask, labels.grid)
    line = line.reversed() if _ends_at_heart(labels, line.points[[0, -1]]) else line
    known["aortic_centreline"] = _line_landmark(mask, labels, line)
    return line.points[0], _along(line.points, line.along)


def _even(mask: Mask) -> Mask:
    """A mask without single voxels and holes, from which skeletons grow branches and rings."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), BLUR) > 0.5
    return np.asarray(ndimage.binary_fill_holes(soft if soft.any() else mask))


def _along(points: Vector, along: Vector) -> Vector:
    return np.asarray(points[min(int(np.searchsorted(along, STRAIGHT)), len(points) - 1)])


def _ends_at_heart(labels: LabelMap, ends: Vector) -> bool:
    """Whether the second of two ends is that at the heart."""
    heart = next((name for name in ("lv_blood", "heart") if name in labels.names), None)
    if heart is not None and labels.mask(heart).any():
        inside = labels.points(np.argwhere(labels.mask(heart)))
        middle = inside.mean(axis=0) if heart == "heart" else None
        distance = (
            np.linalg.norm(ends - middle, axis=1)
            if middle is not None
            else cKDTree(inside).query(ends)[0]
        )
        return bool(distance[1] < distance[0])
    return bool(ends[1, 1] < ends[0, 1])


def _line_landmark(mask: Mask, labels: LabelMap, line: Centreline) -> Landmark:
    """The centreline; another weight of depth against length shows how sure it is."""
    other = trace(mask, labels.grid, line.points[0], line.points[-1], pull=1.5)
    away = float(np.median(cKDTree(other.points).query(line.points)[0]))
    radius = float(np.median(line.radius))
    evidence = (
        against("distance to a path with half the pull to the middle", away / radius * 100.0, 30.0,
                "% of the radius"),
        favouring("radius in voxels", radius / float(np.mean(labels.spacing)), 2.0),
        favouring("length in radii", line.length / radius, 2.0),
    )  # fmt: skip
    return Landmark(
        "aortic_centreline", Curve(line.points, line.radius), Confidence(evidence),
        measures={"length mm": line.length},
    )  # fmt: skip
