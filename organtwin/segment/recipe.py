"""What a recipe is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.volume import Grid, Image, LabelMap
from organtwin.segment.morphology import Mask

if TYPE_CHECKING:
    from organtwin.segment.cine import Cine

#: What may do the work: the first one installed, organtwin itself, or another program.
ENGINES = ("auto", "own", "totalsegmentator", "monai")


@dataclass(frozen=True)
class Options:
    """How a recipe is run.

    Attributes:
        engine: One of `ENGINES`.
        threshold: Smallest value of blood with contrast, or of dense bone (HU); found in the image
            if None.
        device: Where another program computes: ``cpu``, or ``gpu``.
        fast: Let another program work at a lower resolution.
        bundle: Folder of a MONAI bundle with weights, for the engine ``monai``.
    """

    engine: str = "auto"
    threshold: float | None = None
    device: str = "cpu"
    fast: bool = False
    bundle: Path | None = None


@dataclass(frozen=True)
class Draft:
    """Masks by name, the later ones over the earlier ones, and how they were found.

    Attributes:
        masks: Name → voxels.
        decisions: What was decided on the way, one sentence each, with numbers.
        thresholds: Name → grey value.
        seeds: Name → place (mm, LPS).
    """

    masks: Mapping[str, Mask]
    decisions: tuple[str, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    seeds: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Segmented:
    """Labels, and how they were made.

    Attributes:
        labels: The labels.
        recipe: Name of the recipe.
        engine: What was used, with its version.
        decisions: What was decided on the way, one sentence each, with numbers.
        thresholds: Name → grey value.
        seeds: Name → place (mm, LPS).
        wholes: Name of a structure → labels that it is divided into.
        phase: Phase of a sequence that the labels belong to.
        cine: All phases of it, of the recipe `lv_cine_mr`.
    """

    labels: LabelMap
    recipe: str
    engine: str
    decisions: tuple[str, ...]
    thresholds: Mapping[str, float]
    seeds: Mapping[str, tuple[float, float, float]]
    wholes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    phase: int = 0
    cine: Cine | None = None


def painted(draft: Draft, grid: Grid) -> LabelMap:
    """One label map of the masks that hold a voxel, numbered from 1.

    Raises:
        InputError: all are empty.
    """
    values = np.zeros(grid.shape, np.uint8)
    names = [name for name, mask in draft.masks.items() if mask.any()]
    if not names:
        raise InputError("segment", "the recipe found nothing.", " ".join(draft.decisions))
    for number, name in enumerate(names, 1):
        values[draft.masks[name]] = number
    kept = {name: number for number, name in enumerate(names, 1) if (values == number).any()}
    return LabelMap(values, kept, grid.spacing, grid.origin, grid.direction)


def refuse_unless_ct(image: Image, recipe: str) -> None:
    """Refuse what has no Hounsfield units.

    Raises:
        InputError: the values aren't HU.
    """
    if image.quantity != "HU":
        raise InputError(
            recipe,
            f"needs a CT in Hounsfield units; the values are `{image.quantity}` from "
            f"{float(image.values.min()):g} to {float(image.values.max()):g}.",
            "Give the CT itself, not rescaled values; air must be below -500.",
        )


def at(points: NDArray[np.float64]) -> tuple[float, float, float]:
    """A place (mm) as three numbers."""
    x, y, z = (round(float(value), 1) for value in points)
    return x, y, z
