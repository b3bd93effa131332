"""How well labels agree with a reference: overlap, volume and distance of the surfaces."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.image.volume import Grid, LabelMap
from organtwin.segment.morphology import Mask
from organtwin.units import ML


@dataclass(frozen=True)
class Agreement:
    """One label against its reference.

    Attributes:
        name: What is compared.
        volume: Volume (mL).
        reference_volume: Volume of the reference (mL).
        dice: ``2 |A ∩ B| / (|A| + |B|)``, 1 for the same voxels, 0 for none in common.
        mean_distance: Mean distance of the surfaces, over both surfaces (mm).
        distance_95: Distance that 95 % of either surface stay below, the larger of both (mm).
        hausdorff: Largest distance of a point of either surface from the other (mm).
    """

    name: str
    volume: float
    reference_volume: float
    dice: float
    mean_distance: float
    distance_95: float
    hausdorff: float

    @property
    def volume_difference(self) -> float:
        """Volume more than that of the reference, as a part of it."""
        return self.volume / self.reference_volume - 1.0 if self.reference_volume else math.inf

    def record(self) -> dict[str, str | float | None]:
        """What a JSON report holds; distances that don't exist are None."""
        facts = asdict(self) | {"volume_difference": self.volume_difference}
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in facts.items()
        }


def compare(name: str, mask: Mask, reference: Mask, grid: Grid) -> Agreement:
    """Compare two masks on one grid.

    Raises:
        InputError: the shapes differ.
    """
    if mask.shape != reference.shape:
        raise InputError(
            f"compare `{name}`", f"masks of {mask.shape} and {reference.shape} voxels.",
            "Sample both on one grid.",
        )  # fmt: skip
    common, sizes = np.count_nonzero(mask & reference), (mask.sum(), reference.sum())
    dice = 2.0 * common / float(sum(sizes)) if sum(sizes) else 1.0
    mean, most, largest = _distances(surface(mask, grid), surface(reference, grid))
    ml = grid.voxel_volume / ML
    return Agreement(name, sizes[0] * ml, sizes[1] * ml, dice, mean, most, largest)


def structures(
    labels: LabelMap, wholes: Mapping[str, Iterable[str]] | None = None
) -> dict[str, Mask]:
    """Masks of all labels, and of the structures that are divided into several.

    Args:
        labels: Labels.
        wholes: Name of a structure → its labels; those that don't exist are left out.
    """
    masks = {name: labels.mask(name) for name in labels.names}
    for whole, parts in (wholes or {}).items():
        present = [part for part in parts if part in labels.names]
        if present:
            masks[whole] = labels.mask(*present)
    return masks


def agreement(
    masks: Mapping[str, Mask], reference: Mapping[str, Mask], grid: Grid
) -> tuple[Agreement, ...]:
    """Compare every mask that has a reference of the same name, in the order of the reference.

    Args:
        masks: What was segmented, see `structures`.
        reference: What it should be; masks may overlap.
        grid: Where the voxels of both lie.

    Raises:
        InputError: no name is in both.
    """
    names = [name for name in reference if name in masks]
    if not names:
        raise InputError(
            "agreement", f"the reference has none of {', '.join(masks)}.",
            f"It has {', '.join(reference)}; call its labels by names that are segmented.",
        )  # fmt: skip
    return tuple(compare(name, masks[name], reference[name], grid) for name in names)


@dataclass(frozen=True)
class Faces:
    """Faces of voxels between inside and outside: centres (mm) and areas (mm²)."""

    centres: NDArray[np.float64]
    areas: NDArray[np.float64]


def surface(mask: Mask, grid: Grid) -> Faces:
    """Faces of the voxels that bound a mask; where it leaves the image there are none."""
    centres, areas = [], []
    for axis in range(3):
        ahead = np.moveaxis(mask, axis, 0)
        index = np.argwhere(ahead[1:] != ahead[:-1]).astype(np.float64)
        index[:, 0] += 0.5
        order = [1, 2]
        order.insert(axis, 0)
        centres.append(grid.points(index[:, order]))
        area = float(np.prod(np.delete(grid.spacing, axis)))
        areas.append(np.full(len(index), area))
    return Faces(np.concatenate(centres), np.concatenate(areas))


def _distances(one: Faces, other: Faces) -> tuple[float, float, float]:
    """Mean, 95 % and largest distance between two surfaces, each weighted by area."""
    if not (len(one.centres) and len(other.centres)):
        same = len(one.centres) == len(other.centres)
        return (0.0, 0.0, 0.0) if same else (math.inf, math.inf, math.inf)
    there = cKDTree(other.centres).query(one.centres)[0]
    back = cKDTree(one.centres).query(other.centres)[0]
    total = one.areas.sum() + other.areas.sum()
    mean = float((there @ one.areas + back @ other.areas) / total)
    most = max(
        float(np.quantile(off, 0.95, weights=areas, method="inverted_cdf"))
        for off, areas in ((there, one.areas), (back, other.areas))
    )
    return mean, most, float(max(there.max(), back.max()))


def table(rows: Iterable[Agreement]) -> str:
    """The figures as text, one line per label."""
    columns = ("label", "volume", "reference", "diff.", "Dice", "mean", "95 %", "largest")
    units = ("", "mL", "mL", "%", "", "mm", "mm", "mm")
    shape = "{:<24}{:>10}{:>11}{:>8}{:>7}{:>8}{:>8}{:>9}"
    lines = [shape.format(*columns), shape.format(*units)]
    lines += [
        f"{r.name:<24}{r.volume:>10.1f}{r.reference_volume:>11.1f}"
        f"{100.0 * r.volume_difference:>+8.1f}{r.dice:>7.3f}{r.mean_distance:>8.2f}"
        f"{r.distance_95:>8.2f}{r.hausdorff:>9.1f}"
        for r in rows
    ]
    return "\n".join(lines)
