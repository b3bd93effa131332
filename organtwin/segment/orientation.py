"""Recipes speak of left, front and above: images turned to these axes, and labels turned back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organtwin.image.volume import ANATOMICAL, Grid, Image


@dataclass(frozen=True)
class Turn:
    """How the axes of a grid were turned.

    Attributes:
        order: Axis of the original grid that each new axis was.
        flipped: Whether each new axis runs the other way.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    def forth(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of the original grid on the turned one."""
        axes = tuple(axis for axis in range(3) if self.flipped[axis])
        return np.ascontiguousarray(np.flip(values.transpose(self.order), axes))

    def back(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of the turned grid on the original one."""
        axes = tuple(axis for axis in range(3) if self.flipped[axis])
        inverse = np.argsort(self.order)
        return np.ascontiguousarray(np.flip(values, axes).transpose(*inverse))


def upright(image: Image) -> tuple[Image, Turn]:
    """The image with axes that come nearest to left, posterior and superior, and how to go back."""
    grid = image.grid
    rows = [next(r for r in range(3) if code in ANATOMICAL[r]) for code in grid.axis_codes]
    order = np.argsort(rows)
    spacing, direction = grid.spacing[order], grid.direction[:, order].copy()
    flipped = np.array([direction[axis, axis] < 0 for axis in range(3)])
    first = np.zeros(3)
    first[order] = np.where(flipped, np.array(grid.shape)[order] - 1, 0)
    direction[:, flipped] *= -1.0
    turn = Turn(_three(order), _three(flipped))
    values = turn.forth(image.values)
    i, j, k = values.shape
    turned = Grid((i, j, k), spacing, grid.points(first), direction)
    return replace(image, values=values, grid=turned), turn


def _three(values: NDArray[Any]) -> tuple[Any, Any, Any]:
    first, second, third = values.tolist()
    return first, second, third
