"""Walls of a given thickness grown around a label, thinner than a voxel if wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage import measure

from organtwin.errors import InputError, suggestion
from organtwin.image.editing import merged
from organtwin.image.volume import LabelMap
from organtwin.units import ML

type Points = NDArray[np.float64]

#: Thickness and resolution (mm) that can be asked for.
THICKNESS, RESOLUTION = (0.1, 50.0), (0.05, 20.0)
#: Voxels of the finer grid for a thickness, and how many there may be in all.
ACROSS, LARGEST = 4, 300_000_000
#: Width of the Gaussian that rounds off the stairs of a label (voxels of the map).
SIGMA = 1.25


@dataclass(frozen=True)
class OpenEnd:
    """A flat end of a vessel, on which no wall grows.

    Attributes:
        point: A point of its plane (mm).
        normal: Its normal out of the vessel.
    """

    point: tuple[float, float, float]
    normal: tuple[float, float, float]


@dataclass(frozen=True)
class WallMap:
    """A label map with a wall.

    Attributes:
        labels: The map; finer than the given one where the wall needs it.
        volume_ml: Volume of the wall, voxels counted (mL).
        taken_ml: Label → what the wall took of it (mL).
    """

    labels: LabelMap
    volume_ml: float
    taken_ml: dict[str, float]


def grow_wall(
    labels: LabelMap, around: str, thickness: float, name: str, *, into: Sequence[str] = (),
    beside: Mapping[str, Sequence[str]] | None = None, ends: Sequence[OpenEnd] = (),
    resolution: float | None = None,
) -> WallMap:  # fmt: skip
    """Grow a wall around a label, into background and the labels that are named, no others.

    The indicator of the label is convolved with a Gaussian of 1.25 voxels and sampled on a grid
    whose voxels are integer parts of the given ones. The surface of the label is the level of its
    indicator that encloses the volume of its voxels; the wall is what lies nearer to it than the
    thickness, measured to the plane of the nearest vertex of that surface. Next to it the
    largest indicator of the others wins; elsewhere these keep their voxels.

    Args:
        labels: Label map.
        around: Label to grow around, as a blood pool.
        thickness: Of the wall (mm).
        name: Name of the wall; a label of that name is added to.
        into: Labels that may become wall.
        beside: Walls that were grown before, each with the labels inside it. What lies nearer to
            this one's label than to theirs is taken from them, so that two walls share a gap that
            is too narrow for both.
        ends: Flat ends of the label that stay open.
        resolution: Largest voxel edge of the result (mm); by default a quarter of the thickness,
            and no finer than the map if that is enough.

    Raises:
        InputError: no such label, or a thickness or resolution that can't be.
    """
    _check(labels, around, name, thickness, resolution, into)
    wanted = resolution or max(thickness / ACROSS, RESOLUTION[0])
    parts = np.maximum(1, np.ceil(labels.spacing / wanted - 1e-9)).astype(int)
    box = _box(labels, around, thickness)
    near = LabelMap(
        labels.values[box], labels.names, labels.spacing,
        labels.points(np.array([[k.start for k in box]]))[0], labels.direction,
    )  # fmt: skip
    part = _refined(near, around, parts)
    band = surface_distance(part, around, near, thickness)
    own = part.values[tuple(band.index.T)]
    wall = np.isin(own, [0, *(labels.names[other] for other in into)])
    for rival, inside in (beside or {}).items():
        wall |= (own == labels.names[rival]) & _nearer(part, band, inside)
    wall &= band.distance <= thickness
    for end in ends:
        wall &= ~_beyond(part, end, band, float(labels.spacing.max()))
    number = labels.names.get(name, max(labels.names.values()) + 1)
    taken = {
        other: float(np.count_nonzero(own[wall] == labels.names[other])) * part.voxel_volume / ML
        for other in into
    }
    part.values[tuple(band.index[wall].T)] = number
    values = _repeated(labels.values, parts)
    values[tuple(slice(k.start * n, k.stop * n) for k, n in zip(box, parts, strict=True))] = (
        part.values
    )
    grown = _on_parts(labels, values, {**labels.names, name: number}, parts)
    volume = float(np.count_nonzero(wall)) * part.voxel_volume / ML
    return WallMap(grown, volume, taken)


def grow_wall_around(
    labels: LabelMap, several: Sequence[str], thickness: float, name: str, *,
    into: Sequence[str] = (), beside: Mapping[str, Sequence[str]] | None = None,
) -> WallMap:  # fmt: skip
    """Grow one wall around labels that touch; inside it they stay as they are.

    Args:
        labels: Label map.
        several: Labels to grow around, as the parts of a vessel.
        thickness: Of the wall (mm).
        name: Name of the wall.
        into: Labels that may become wall.
        beside: Walls that were grown before, see `grow_wall`; those that are within this one, or
            around the same labels, keep what they have.

    Raises:
        InputError: as `grow_wall`.
    """
    within = {name, *several}
    rivals = {
        wall: inside
        for wall, inside in (beside or {}).items()
        if wall not in within and within.isdisjoint(inside)
    }
    if len(several) == 1:
        return grow_wall(labels, several[0], thickness, name, into=into, beside=rivals)
    whole = " and ".join(several)  # no label is called so
    together = merged(labels, {whole: several}, "grow_wall")
    grown = grow_wall(together, whole, thickness, name, into=into, beside=rivals)
    own = labels.mask(*several)
    nearest = ndimage.distance_transform_edt(
        ~own, sampling=labels.spacing, return_distances=False, return_indices=True
    )
    parted = labels.values[tuple(nearest)]
    values = grown.labels.values
    inside = np.argwhere(values == together.names[whole])
    wall = values == grown.labels.names[name]
    parts = np.array(values.shape) // labels.values.shape
    values[tuple(inside.T)] = parted[tuple((inside // parts).T)]
    number = labels.names.get(name, max(labels.names.values()) + 1)
    values[wall] = number
    return replace(grown, labels=replace(grown.labels, names={**labels.names, name: number}))


@dataclass(frozen=True)
class Band:
    """Voxels outside a label, near its smooth surface.

    Attributes:
        index: Their indices, shape (m, 3).
        distance: Distance from the surface (mm), shape (m,).
        near: The nearest vertex of the surface, in mm along the grid axes from voxel (0, 0, 0),
            shape (m, 3).
    """

    index: NDArray[np.int64]
    distance: NDArray[np.float64]
    near: Points


def surface_distance(fine: LabelMap, name: str, original: LabelMap, largest: float) -> Band:
    """Distance of voxels from the smooth surface of a label.

    Args:
        fine: Grid whose voxels are parts of those of the original.
        name: The label.
        original: The map that the label comes from.
        largest: Distance (mm) beyond which none is needed.
    """
    parts = np.round(original.spacing / fine.spacing).astype(int)
    own = original.mask(name)
    share = _share(original, own, parts)
    level = _level(share, own, parts)
    vertices, _, normals, _ = measure.marching_cubes(  # type: ignore[no-untyped-call]
        share, level, spacing=tuple(fine.spacing)
    )
    coarse = ndimage.distance_transform_edt(~own, sampling=original.spacing)
    reach = largest + 2.0 * float(np.linalg.norm(original.spacing))
    steps = np.indices(tuple(parts)).reshape(3, -1).T
    index = (np.argwhere(coarse <= reach)[:, None] * parts + steps).reshape(-1, 3)
    index = index[share[tuple(index.T)] < level]
    place = index * fine.spacing
    length, nearest = cKDTree(vertices).query(
        place, distance_upper_bound=largest + 2.0 * float(fine.spacing.max()), workers=1
    )
    known = np.isfinite(length)
    index, place, length, nearest = (x[known] for x in (index, place, length, nearest))
    to = place - vertices[nearest]
    height = np.abs(np.einsum("ij,ij->i", to, normals[nearest]))
    aside = np.sqrt(np.maximum(length**2 - height**2, 0.0))
    distance = np.where(aside <= fine.spacing.max(), height, length)
    return Band(index, distance, np.asarray(vertices[nearest], np.float64))


def _nearer(fine: LabelMap, band: Band, others: Sequence[str]) -> NDArray[np.bool_]:
    """Voxels that are nearer to the label of the band than to other labels."""
    centres = ndimage.distance_transform_edt(~fine.mask(*others), sampling=fine.spacing)
    return np.asarray(band.distance < centres[tuple(band.index.T)] - 0.5 * fine.spacing.min())


def _box(labels: LabelMap, name: str, thickness: float) -> tuple[slice, slice, slice]:
    """Part of the map that a wall around the label can reach, and room for the Gaussian."""
    pad = np.ceil(thickness / labels.spacing).astype(int) + 2 + int(np.ceil(4.0 * SIGMA))
    own = labels.mask(name)
    found = []
    for axis, n in enumerate(own.shape):
        there = np.flatnonzero(own.any(axis=tuple(k for k in range(3) if k != axis)))
        low, high = max(0, int(there[0] - pad[axis])), min(n, int(there[-1] + pad[axis]) + 1)
        found.append(slice(low, high))
    return found[0], found[1], found[2]


def _refined(labels: LabelMap, around: str, parts: NDArray[np.int64]) -> LabelMap:
    """Labels on a grid with so many parts of a voxel along each axis, one of them rounded off."""
    if np.prod(parts * labels.values.shape) > LARGEST:
        raise InputError(
            "grow_wall",
            f"the wall needs {np.prod(parts * labels.values.shape):.3g} voxels.",
            "Crop the label map or give a coarser resolution.",
        )
    own = labels.mask(around)
    others = (labels.values > 0) & ~own
    touched = ndimage.binary_dilation(others, np.ones((3, 3, 3)))
    contact = touched & ndimage.binary_dilation(own, np.ones((3, 3, 3)), iterations=2)
    values, free, shared = (_repeated(v, parts) for v in (labels.values, ~touched, contact))
    values[shared] = _prevailing(labels, labels.names[around], parts)[shared]
    values[free] = 0
    share = _share(labels, own, parts)
    inside = (share >= _level(share, own, parts)) & (free | shared)
    values[inside] = labels.names[around]
    return _on_parts(labels, values, labels.names, parts)


def _prevailing(labels: LabelMap, without: int, parts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Label, other than one, whose blurred indicator is largest in each part of a voxel."""
    values = np.zeros(tuple(parts * labels.values.shape), np.uint8)
    best = np.zeros(values.shape, np.float32)
    for code in np.setdiff1d(labels.values, without):
        share = _share(labels, labels.values == code, parts)
        wins = share > best
        best[wins] = share[wins]
        values[wins] = code
    return values


def _on_parts(
    labels: LabelMap, values: NDArray[np.uint8], names: Mapping[str, int],
    parts: NDArray[np.int64],
) -> LabelMap:  # fmt: skip
    """Label map of values on the grid of parts of voxels."""
    first = ((1.0 / parts) - 1.0) / 2.0
    return LabelMap(
        values, names, labels.spacing / parts, labels.points(first[None])[0], labels.direction
    )


def _repeated[T: np.generic](values: NDArray[T], parts: NDArray[np.int64]) -> NDArray[T]:
    for axis, n in enumerate(parts):
        values = np.repeat(values, n, axis=axis)
    return np.array(values)


def _share(
    labels: LabelMap, mask: NDArray[np.bool_], parts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Blurred indicator at the centres of the parts of voxels."""
    width = SIGMA * float(labels.spacing.max()) / labels.spacing
    blurred = ndimage.gaussian_filter(mask.astype(np.float32), width, mode="nearest")
    for axis, n in enumerate(parts):
        if n > 1:
            blurred = _stretched(blurred, axis, int(n))
    return np.asarray(blurred)


def _stretched(values: NDArray[np.float32], axis: int, n: int) -> NDArray[np.float32]:
    """Cubic interpolation at n points in each voxel along an axis (Catmull-Rom)."""
    v = np.moveaxis(values, axis, 0)
    padded = np.concatenate([v[:1], v[:1], v, v[-1:], v[-1:]])
    result = np.empty((len(v) * n, *v.shape[1:]), np.float32)
    for k in range(n):
        t = (k + 0.5) / n - 0.5
        start = 1 if t < 0 else 2
        t = t % 1.0
        weights = (
            0.5 * (-t + 2 * t**2 - t**3), 0.5 * (2 - 5 * t**2 + 3 * t**3),
            0.5 * (t + 4 * t**2 - 3 * t**3), 0.5 * (t**3 - t**2),
        )  # fmt: skip
        result[k::n] = sum(
            w * padded[start - 1 + m : start - 1 + m + len(v)] for m, w in enumerate(weights)
        )
    return np.moveaxis(result, 0, axis)


def _level(share: NDArray[np.float32], mask: NDArray[np.bool_], parts: NDArray[np.int64]) -> float:
    """Level of a blurred indicator that encloses the volume of the label's voxels."""
    count = int(np.count_nonzero(mask)) * int(np.prod(parts))
    flat = share[share > 0.01]
    if count >= len(flat):
        return 0.01
    ordered = np.partition(flat, [len(flat) - count - 1, len(flat) - count])
    return float(0.5 * (ordered[len(flat) - count - 1] + ordered[len(flat) - count]))


def _beyond(fine: LabelMap, end: OpenEnd, band: Band, tolerance: float) -> NDArray[np.bool_]:
    """Voxels on the far side of an end whose nearest point of the surface lies in the end."""
    normal = np.asarray(end.normal, np.float64)
    normal = fine.direction.T @ (normal / np.linalg.norm(normal))
    point = fine.direction.T @ (np.asarray(end.point) - fine.origin)
    over = (band.index * fine.spacing - point) @ normal > 0
    return np.asarray(over & (np.abs((band.near - point) @ normal) <= tolerance))


def _check(
    labels: LabelMap, around: str, name: str, thickness: float, resolution: float | None,
    into: ArrayLike,
) -> None:  # fmt: skip
    for wanted in (around, *np.atleast_1d(into).tolist()):
        if wanted not in labels.names:
            problem = f"no label `{wanted}`."
            raise InputError("grow_wall", problem, suggestion(wanted, labels.names))
    if name == around or not name:
        raise InputError("grow_wall", f"the wall is named `{name}`.", "Give it another name.")
    if not labels.mask(around).any():
        raise InputError("grow_wall", f"no voxel is `{around}`.", "Check the label map.")
    if name not in labels.names and max(labels.names.values()) == 255:
        raise InputError("grow_wall", "all 255 integers may be in use.", "Renumber the labels.")
    for what, value, (low, high) in (
        ("thickness", thickness, THICKNESS), ("resolution", resolution, RESOLUTION),
    ):  # fmt: skip
        if value is not None and not low <= value <= high:
            problem = f"{what} is {value:g} mm, outside {low:g} to {high:g} mm."
            raise InputError("grow_wall", problem, "Give it in mm.")
