"""What a person changed in labels: added, removed, new and dropped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from organtwin.errors import InputError
from organtwin.image.segmentation import nearest_labels
from organtwin.image.volume import LabelMap
from organtwin.segment.morphology import Mask
from organtwin.units import ML


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
