"""Which labels become regions, their components, and small ones dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError, suggestion
from organtwin.image.volume import LabelMap


@dataclass(frozen=True)
class Dropped:
    """A component that was too small.

    Attributes:
        name: Label that it had; ``background`` for a hole.
        volume: Its volume (mm³).
        place: Mean of its voxels (mm), shape (3,).
    """

    name: str
    volume: float
    place: NDArray[np.float64]

    def __str__(self) -> str:
        x, y, z = self.place
        return f"{self.name}: {self.volume:.3g} mm³ at ({x:.1f}, {y:.1f}, {z:.1f}) were dropped."


def select(labels: LabelMap, names: Sequence[str] | None) -> LabelMap:
    """The named labels, all without names; the rest becomes background.

    Raises:
        InputError: an unknown label, or nothing is labelled.
    """
    for name in names or ():
        if name not in labels.names:
            raise InputError("label map", f"no label `{name}`.", suggestion(name, labels.names))
    wanted = labels.names if names is None else names
    codes = {name: labels.names[name] for name in wanted if labels.names[name]}
    keep = np.zeros(256, np.uint8)
    keep[list(codes.values())] = list(codes.values())
    values = keep[labels.values]
    if not values.any():
        said = ", ".join(codes) or "with any name"
        raise InputError("label map", f"no voxel is labelled {said}.", "Segment it first.")
    return replace(labels, values=values, names=codes)


def without_islands(labels: LabelMap, below: float) -> tuple[LabelMap, tuple[Dropped, ...]]:
    """Small components given to the label, or background, of the nearest voxel that stays.

    Args:
        labels: Labels; components hang together by faces.
        below: Volume (mm³) under which a component goes; holes count, too.

    Raises:
        InputError: nothing would be left.
    """
    if below <= labels.voxel_volume:
        return labels, ()
    bodies, kinds = components(labels.values)
    count = np.bincount(bodies.ravel(), minlength=len(kinds))
    small = count * labels.voxel_volume < below
    small[0] = False
    if small[kinds > 0].all():
        raise InputError(
            "label map",
            f"no component is larger than {below:.3g} mm³.",
            "Lower the smallest volume of an island.",
        )
    gone = small[bodies]
    if not gone.any():
        return labels, ()
    nearest = ndimage.distance_transform_edt(
        gone, sampling=labels.spacing, return_distances=False, return_indices=True
    )
    values = labels.values[tuple(nearest)]
    return replace(labels, values=values), _told(labels, bodies, kinds, count, small)


def _told(
    labels: LabelMap,
    bodies: NDArray[np.int32],
    kinds: NDArray[np.uint8],
    count: NDArray[np.int64],
    small: NDArray[np.bool_],
) -> tuple[Dropped, ...]:
    place = np.nonzero(small[bodies])
    body = bodies[place]
    middle = [np.bincount(body, index, len(kinds)) / np.maximum(count, 1) for index in place]
    points = labels.points(np.stack(middle, axis=1))
    called = {code: name for name, code in labels.names.items()} | {0: "background"}
    found = [
        Dropped(called[int(kinds[k])], float(count[k]) * labels.voxel_volume, points[k])
        for k in np.flatnonzero(small)
    ]
    return tuple(sorted(found, key=lambda piece: -piece.volume))


def components(values: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Parts of each label that hang together by faces.

    Returns:
        Number of the part that each voxel belongs to, 0 for the background that reaches the
        image's border; label of each part.
    """
    bodies = np.zeros(values.shape, np.int32)
    holes, number = ndimage.label(np.pad(values == 0, 1, constant_values=True))
    # The first part found holds the first voxel of the padding.
    bodies[...] = np.maximum(holes[1:-1, 1:-1, 1:-1] - 1, 0)
    kinds = [0] * number
    for code, box in enumerate(ndimage.find_objects(values), 1):
        if box is not None:
            mask = values[box] == code
            parts, number = ndimage.label(mask)
            bodies[box][mask] = parts[mask] + (len(kinds) - 1)
            kinds += [code] * number
    return bodies, np.array(kinds, np.uint8)
