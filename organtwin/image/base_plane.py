"""Where to cut the ventricles: a plane below the four valves that keeps as much as it can."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap

#: Valve → (ventricle, what it opens into).
VALVES = {
    "mitral": ("lv_blood", "left_atrium"),
    "aortic": ("lv_blood", "aorta"),
    "tricuspid": ("rv_blood", "right_atrium"),
    "pulmonary": ("rv_blood", "pulmonary_artery"),
}
#: Part of a valve's interface that may lie below the plane; the wall closes over it.
TOLERATED_BELOW = 0.05
#: Largest angle between the plane's normal and the long axis (degrees).
LARGEST_TILT = 28.0


@dataclass(frozen=True)
class BasePlane:
    """Base of the ventricles; the apex lies on the side that ``normal`` points away from.

    Attributes:
        point: A point of the plane, on the long axis (mm), shape (3,).
        normal: Unit vector towards the atria, shape (3,).
        apex: Tip of the LV cavity (mm), shape (3,).
        tilt: Angle between ``normal`` and the LV long axis (degrees).
        valves: Names of the valves that were found.
    """

    point: NDArray[np.float64]
    normal: NDArray[np.float64]
    apex: NDArray[np.float64]
    tilt: float
    valves: tuple[str, ...]


def find_base_plane(labels: LabelMap) -> BasePlane:
    """Plane below all valves that keeps the largest share of the ventricles.

    The LV long axis runs from the tip of the LV cavity, its voxel farthest from the mitral valve,
    to the centre of that valve. Planes tilted against it by up to ``LARGEST_TILT`` are raised until
    ``TOLERATED_BELOW`` of some valve lies below; of those that cut each cavity in one piece the
    one that keeps most of LV wall, LV cavity and RV cavity wins.

    Args:
        labels: Label map on an isotropic grid, a spacing of 2 mm is fine enough.

    Raises:
        InputError: the ventricles don't open anywhere, or no plane cuts each in one piece.
    """
    valves = _valves(labels)
    lv = labels.points(np.argwhere(labels.mask("lv_blood")))
    top = next(valves[name] for name in ("mitral", "aortic", "lv_blood") if name in valves)
    centre = top.mean(axis=0)
    apex = lv[np.argmax(np.sum((lv - centre) ** 2, axis=1))]
    axis = (centre - apex) / np.linalg.norm(centre - apex)
    parts = [
        labels.points(np.argwhere(labels.mask(name)))
        for name in ("lv_myocardium", "lv_blood", "rv_blood")
    ]
    candidates = []
    for normal in _normals(axis):
        height = min(float(np.quantile(x @ normal, TOLERATED_BELOW)) for x in valves.values())
        kept = sum(float(np.mean(x @ normal < height)) for x in parts)
        candidates.append((round(kept, 6), height, normal))
    candidates.sort(key=lambda item: -item[0])
    for _, height, normal in candidates:
        if all(_cut_in_one(labels, name, normal, height) for name in ("lv_blood", "rv_blood")):
            along = (height - apex @ normal) / (axis @ normal)
            tilt = float(np.degrees(np.arccos(np.clip(axis @ normal, -1.0, 1.0))))
            return BasePlane(apex + along * axis, normal, apex, tilt, tuple(valves))
    raise InputError(
        "base plane",
        "no plane below the valves cuts the left and the right ventricle in one piece each.",
        "Check the segmentation near the valves.",
    )


def _valves(labels: LabelMap) -> dict[str, NDArray[np.float64]]:
    """Points of each valve's interface; a ventricle that no valve closes opens to background."""
    found = {}
    for valve, (ventricle, beyond) in VALVES.items():
        if beyond in labels.names:
            points = _interface(labels, labels.mask(ventricle), labels.mask(beyond))
            if len(points):
                found[valve] = points
    for ventricle in ("lv_blood", "rv_blood"):
        if ventricle == "rv_blood" and found:
            continue  # an RV without labelled valves is cut where the LV is
        if not any(VALVES[valve][0] == ventricle for valve in found if valve in VALVES):
            outside = labels.values == 0
            points = _interface(labels, labels.mask(ventricle), outside)
            if len(points):
                found[ventricle] = points
    if not any(name in found for name in ("mitral", "aortic", "lv_blood")):
        raise InputError(
            "base plane",
            "the LV cavity is closed all around: it touches neither atrium, aorta nor background.",
            "Label the left atrium and the aorta, or leave the cavity open at the base.",
        )
    return found


def _interface(
    labels: LabelMap, one: NDArray[np.bool_], other: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Centres of the voxel faces between two masks (mm), shape (n, 3)."""
    faces = []
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 0.5
        lower = tuple(slice(None, -1) if k == axis else slice(None) for k in range(3))
        upper = tuple(slice(1, None) if k == axis else slice(None) for k in range(3))
        between = (one[lower] & other[upper]) | (other[lower] & one[upper])
        faces.append(np.argwhere(between) + step)
    return labels.points(np.concatenate(faces))


def _normals(axis: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    helper = np.eye(3)[int(np.argmin(np.abs(axis)))]
    first = np.cross(axis, helper)
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    normals = [axis]
    for tilt in np.radians(np.arange(4.0, LARGEST_TILT + 1e-9, 4.0)):
        for turn in np.radians(np.arange(0.0, 360.0, 15.0)):
            sideways = np.cos(turn) * first + np.sin(turn) * second
            normals.append(np.cos(tilt) * axis + np.sin(tilt) * sideways)
    return normals


def _cut_in_one(labels: LabelMap, name: str, normal: NDArray[np.float64], height: float) -> bool:
    mask = labels.mask(name)
    index = np.argwhere(mask)
    heights = labels.points(index) @ normal
    thickness = 1.5 * float(labels.spacing.max())
    slab = np.zeros(mask.shape, bool)
    slab[tuple(index[(heights < height) & (heights > height - thickness)].T)] = True
    pieces, number = ndimage.label(slab, np.ones((3, 3, 3)))
    if number == 0:
        return False
    sizes = np.bincount(pieces.ravel())[1:]
    return bool(sizes.max() > 0.95 * sizes.sum())
