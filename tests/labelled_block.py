"""Two labelled blocks on an oblique grid, for the readers and writers of segmentations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from organtwin.image.volume import Grid, LabelMap

SHARED = Path(__file__).parents[2] / "shared/data"
real = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data aren't here")

TURN, _ = np.linalg.qr(np.array([[1.0, 0.2, 0.1], [-0.3, 1.0, 0.0], [0.1, 0.2, 1.0]]))
TURN[:, 2] = np.cross(TURN[:, 0], TURN[:, 1])
GRID = Grid((12, 14, 6), np.array([1.0, 1.5, 2.0]), np.array([5.0, -40.0, 7.0]), TURN)
RED, GREY = (1.0, 0.0, 0.0), (0.5, 0.25, 0.125)


def block() -> np.ndarray:
    values = np.zeros(GRID.shape, np.uint8)
    values[2:10, 3:9, 1:5] = 3
    values[2:10, 9:12, 1:5] = 7
    return values


def labels(values: np.ndarray | None = None, names: dict[str, int] | None = None) -> LabelMap:
    return LabelMap(
        block() if values is None else values,
        names or {"Left Ventricle": 3, "Épicarde": 7},
        GRID.spacing,
        GRID.origin,
        GRID.direction,
    )
