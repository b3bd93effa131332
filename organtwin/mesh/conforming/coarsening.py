"""Labels on coarser voxels, for nets of fewer and larger squares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap

type Distances = NDArray[np.float32]

#: Voxels around a label in which its distance is known.
_MARGIN = 4


def coarsened(labels: LabelMap, edge: float) -> LabelMap:
    """Labels on voxels whose edges are at least ``edge`` long.

    Each label has a signed distance from its border, which is interpolated linearly, and the
    largest wins. Axes whose voxels are long enough stay as they are: finer voxels hold no more
    than the given ones, and leave smoothing less room to level out terraces.

    Args:
        labels: Any label map.
        edge: Shortest edge of the new voxels (mm).

    Raises:
        InputError: the edge is not positive, or a label vanishes.
    """
    if edge <= 0.0:
        raise InputError("resolution", f"it is {edge:g} mm.", "Give a positive length.")
    values, low = _cut_out(labels.values)
    spacing = np.maximum(labels.spacing, edge)
    steps = spacing / labels.spacing
    places = [_places(n, step) for n, step in zip(values.shape, steps, strict=True)]
    best = np.full(tuple(map(len, places)), -np.inf, np.float32)
    result = np.zeros(best.shape, np.uint8)
    boxes = enumerate(ndimage.find_objects(values), 1)
    everywhere = tuple(slice(0, n) for n in values.shape)
    for code, box in ((0, everywhere), *((c, _grown(b, values.shape)) for c, b in boxes if b)):
        # Further away a label can't win; at its border the distances are the same in its box.
        window = tuple(
            slice(*np.searchsorted(x, (part.start, part.stop - 1)).tolist())
            for x, part in zip(places, box, strict=True)
        )
        within = [x[w] - part.start for x, w, part in zip(places, window, box, strict=True)]
        distance = _between(_signed(values[box] == code, labels.spacing), within)
        wins = distance > best[window]
        best[window][wins] = distance[wins]
        result[window][wins] = code
    lost = [n for n, c in labels.names.items() if (values == c).any() and not (result == c).any()]
    if lost:
        raise InputError(
            "resolution",
            f"`{lost[0]}` has no voxel left at {edge:.3g} mm.",
            "Ask for a finer resolution, or a shorter edge length if it follows from that.",
        )
    origin = labels.points((low + np.array([x[0] for x in places]))[None])[0]
    return LabelMap(result, labels.names, spacing, origin, labels.direction)


def _grown(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """A box with a border of `_MARGIN` voxels, as far as there are any."""
    return tuple(
        slice(max(part.start - _MARGIN, 0), min(part.stop + _MARGIN, n))
        for part, n in zip(box, shape, strict=True)
    )


def _cut_out(values: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The labelled part with a border of two voxels, and the index of its first voxel."""
    box = ndimage.find_objects((values > 0).view(np.uint8))[0]
    return np.pad(values[box], 2), np.array([part.start for part in box]) - 2


def _places(number: int, step: float) -> NDArray[np.float64]:
    """Places of the new voxels, in old ones, in a row of old voxels, as far at either end."""
    count = int((number - 1) / step) + 1
    return np.asarray(0.5 * (number - 1) + (np.arange(count) - 0.5 * (count - 1)) * step)


def _signed(mask: NDArray[np.bool_], spacing: NDArray[np.float64]) -> Distances:
    """Distance (mm) from the nearest voxel of the other kind, positive inside."""
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    return np.asarray(inside - outside, np.float32)


def _between(values: Distances, places: list[NDArray[np.float64]]) -> Distances:
    """Linear interpolation at places given for each axis."""
    for axis, place in enumerate(places):
        low = np.clip(place.astype(np.int64), 0, values.shape[axis] - 2)
        part = (place - low).astype(np.float32).reshape(np.where(np.arange(3) == axis, -1, 1))
        one, two = values.take(low, axis), values.take(low + 1, axis)
        values = one + part * (two - one)
    return values
