"""What a person changed in labels: added, removed, new and dropped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.segmentation import nearest_labels
from organtwin.image.volume import Grid, LabelMap
from organtwin.segment.morphology import Mask
from organtwin.units import ML

#: Share of a correction that may lie outside the scan.
MOST_OUTSIDE = 0.5
#: Steps of two grids that are equal differ by less than this part of a voxel.
SAME = 1e-3


@dataclass(frozen=True)
class Change:
    """What happened to one label.

    Attributes:
        name: Its name.
        kept: Volume that is in both (mL).
        added: Volume that is only in the corrected one (mL).
        removed: Volume that is only in the original one (mL).
    """

    name: str
    kept: float
    added: float
    removed: float

    @property
    def changed(self) -> bool:
        """Whether any voxel differs."""
        return self.added > 0.0 or self.removed > 0.0

    def record(self) -> dict[str, str | float]:
        """What a JSON report holds."""
        return asdict(self)


def doubts(original: LabelMap, corrected: LabelMap) -> tuple[str, ...]:
    """What speaks against a correction having been made of these labels, one sentence each.

    3D Slicer keeps the voxels of the scan and cuts them to what is segmented.

    Raises:
        InputError: most of what is segmented lies outside the scan.
    """
    outside = _outside(original.grid, corrected)
    if outside > MOST_OUTSIDE:
        raise InputError(
            "--corrected",
            f"{100 * outside:.0f} % of what is segmented lies outside the scan: it has "
            f"{_extent(_labelled_box(corrected))}, the scan {_extent(original.grid.box())}.",
            "Check that both belong to the same scan.",
        )
    found = []
    if outside > 0:
        found.append(
            f"{100 * outside:.2g} % of what is segmented lies outside the scan and was left out."
        )
    here, there = original.grid, corrected.grid
    step = np.abs(there.direction * there.spacing - here.direction * here.spacing).max()
    shift = here.index(there.origin)
    if step > SAME * here.spacing.min():
        one, two = (" x ".join(f"{x:.4g}" for x in grid.spacing) for grid in (there, here))
        found.append(
            f"its voxels are others than the scan's ({one} mm for {two} mm, or turned): "
            "changes along borders may come from that."
        )
    elif np.abs(shift - np.round(shift)).max() > 10 * SAME:
        found.append("its voxels lie between the scan's: changes along borders may come from that.")
    return tuple(found)


def _outside(grid: Grid, labels: LabelMap) -> float:
    """Share of the labelled voxels whose centres lie outside a grid."""
    index = grid.index(labels.points(np.argwhere(labels.values)))
    inside = ((index >= -0.5 - SAME) & (index <= np.array(grid.shape) - 0.5 + SAME)).all(axis=1)
    return float(np.mean(~inside)) if len(inside) else 0.0


def _labelled_box(labels: LabelMap) -> NDArray[np.float64]:
    places = labels.points(np.argwhere(labels.values))
    return np.array([places.min(axis=0), places.max(axis=0)])


def _extent(box: NDArray[np.float64]) -> str:
    return (
        ", ".join(
            f"{axis} {low:.1f} to {high:.1f}" for axis, low, high in zip("xyz", *box, strict=True)
        )
        + " mm (LPS)"
    )


def changes(original: LabelMap, corrected: LabelMap) -> tuple[Change, ...]:
    """Compare labels of the same names; labels of one of both only are added or removed as a whole.

    Args:
        original: What a recipe made.
        corrected: The same after correction; 3D Slicer cuts it to what is segmented.

    Raises:
        InputError: the corrected labels lie outside the original grid.
    """
    values, lost = corrected.values, 0
    if not corrected.grid.matches(original.grid):
        values = nearest_labels(corrected.to_sitk(), original.grid)
        scale = corrected.voxel_volume / original.voxel_volume
        lost = int(np.count_nonzero(corrected.values) * scale) if not values.any() else 0
    if lost:
        raise InputError(
            "correction", "nothing of the corrected labels lies on the scan.",
            "Check that both belong to the same scan.",
        )  # fmt: skip
    names = [*original.names, *(name for name in corrected.names if name not in original.names)]
    empty = np.zeros(original.values.shape, bool)
    ml = original.voxel_volume / ML

    def change(name: str) -> Change:
        before: Mask = original.mask(name) if name in original.names else empty
        after: Mask = values == corrected.names[name] if name in corrected.names else empty
        return Change(
            name,
            float(np.count_nonzero(before & after) * ml),
            float(np.count_nonzero(after & ~before) * ml),
            float(np.count_nonzero(before & ~after) * ml),
        )

    return tuple(change(name) for name in names)


def table(rows: Iterable[Change]) -> str:
    """The changes as text, one line per label."""
    head = f"{'label':<24}{'kept':>10}{'added':>10}{'removed':>10}   mL"
    return "\n".join(
        [head, *(f"{r.name:<24}{r.kept:>10.2f}{r.added:>10.2f}{r.removed:>10.2f}" for r in rows)]
    )
