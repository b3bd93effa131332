"""Images in words: geometry, phases, grey values; label maps: the volume of each label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organtwin.image.volume import Grid, Image, Sequence
from organtwin.units import ML

#: Shares of voxels that are told, in percent from the smallest value to the largest.
PERCENTILES = (0.0, 1.0, 25.0, 50.0, 75.0, 99.0, 100.0)
#: What Hounsfield units up to a limit usually are. Conventional limits, for a glance: contrast and
#: spongy bone share a range, and no limit segments anything.
HU_CLASSES = (
    (-1024.0, "outside the field of view"),
    (-300.0, "air, lung"),
    (-30.0, "fat"),
    (130.0, "soft tissue, blood"),
    (500.0, "contrast, spongy bone"),
    (np.inf, "dense bone, metal"),
)
#: Neighbouring voxels, the background aside, that are equal: label maps have a larger share.
EQUAL_NEIGHBOURS = 0.7
#: Number of layers that are looked at for it.
LAYERS = 40
DIRECTIONS = {
    "L": "left", "R": "right", "P": "posterior", "A": "anterior", "S": "superior", "I": "inferior",
}  # fmt: skip


def about_grid(grid: Grid) -> list[str]:
    """Lines on size, spacing, place and axes of a grid."""
    low, high = grid.box()
    facing = ", ".join(DIRECTIONS[letter] for letter in grid.axis_codes)
    oblique = f", oblique by {grid.obliqueness:.1f} degrees" if grid.obliqueness > 0.05 else ""
    right = np.linalg.det(grid.direction) > 0
    corner = "; ".join(
        f"{name} {a:.1f} to {b:.1f}" for name, a, b in zip("xyz", low, high, strict=True)
    )
    return [
        f"voxels     {' x '.join(str(n) for n in grid.shape)}",
        f"spacing    {_numbers(grid.spacing)} mm",
        f"extent     {_numbers(grid.extent)} mm",
        f"origin     {_numbers(grid.origin)} mm (LPS)",
        f"centres    {corner} mm",
        f"axes       {grid.axis_codes}: towards {facing}{oblique}",
        *(f"           {_numbers(axis)}" for axis in grid.direction.T),
        f"handedness {'right' if right else 'left (mirrored)'}",
    ]


def about_image(image: Image | Sequence) -> list[str]:
    """Lines on geometry, phases and grey values of a scan."""
    lines = about_grid(image.grid)
    if isinstance(image, Sequence):
        times, count = image.times, len(image.images)
        beat = "" if image.cycle is None else f"; beat of {image.cycle:.0f} ms"
        lines.append(f"phases     {count}, {times[0]:.1f} to {times[-1]:.1f} ms{beat}")
        values = np.stack([phase.values for phase in image.images])
    else:
        values = image.values
    return lines + about_values(values, image.quantity)


def about_values(values: NDArray[Any], quantity: str) -> list[str]:
    """Lines on the distribution of grey values."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    unit = {"HU": "Hounsfield units (HU)", "grey": "unit not told"}.get(quantity, quantity)
    lines = [f"values     {unit}, {values.dtype}"]
    if finite.size < values.size:
        lines.append(f"           {values.size - finite.size} voxels hold no number")
    if finite.size == 0:
        return lines
    found = np.percentile(finite, PERCENTILES)
    names = ["smallest", *(f"{p:.0f} %" for p in PERCENTILES[1:-1]), "largest"]
    lines += [f"  {name:<8} {value:10.5g}" for name, value in zip(names, found, strict=True)]
    if quantity == "HU":
        lines += [f"  {name:<26} {100 * share:6.2f} %" for name, share in hu_shares(finite).items()]
    return lines


def hu_shares(values: NDArray[Any]) -> dict[str, float]:
    """Share of the voxels in each class of Hounsfield units; see `HU_CLASSES`."""
    limits = [limit for limit, _ in HU_CLASSES]
    counts = np.histogram(values, bins=[-np.inf, *limits])[0]
    return {name: float(n / values.size) for (_, name), n in zip(HU_CLASSES, counts, strict=True)}


def about_labels(values: NDArray[Any], grid: Grid, names: Mapping[str, int]) -> list[str]:
    """Lines on the geometry and on the volume of each label, with its name if there is one."""
    integers, counts = np.unique(values, return_counts=True)
    called = {integer: name for name, integer in names.items()}
    voxel = grid.voxel_volume / ML
    return [
        *about_grid(grid),
        "label      volume",
        *(
            f"{integer:5.0f} {count * voxel:11.1f} mL  {called.get(int(integer), '')}".rstrip()
            for integer, count in zip(integers, counts, strict=True)
            if integer != 0
        ),
    ]


def is_label_map(image: Image) -> bool:
    """Whether the values are labels rather than grey: whole, and equal among most neighbours."""
    values = image.values
    if values.dtype.kind == "f" or values.min() < -1 or not values.any():
        return False
    layers = np.flatnonzero(values.any(axis=(0, 1)))  # a choice of them will do
    chosen = values[:, :, layers[:: -(-len(layers) // LAYERS)]]
    before, after = chosen[:-1], chosen[1:]
    inside = (before > 0) | (after > 0)
    equal = np.count_nonzero(inside & (before == after))
    return bool(equal > EQUAL_NEIGHBOURS * np.count_nonzero(inside))


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value + 0.0:.4g}" for value in values)
