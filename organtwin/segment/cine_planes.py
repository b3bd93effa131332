"""Planes of a cine scan that may lie anyhow in space, and rays sampled in them."""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.image.volume import Grid, Sequence

type Array = NDArray[np.float64]

#: Between short-axis slices (degrees).
LARGEST_ANGLE = 10.0


@dataclass(frozen=True, eq=False)
class Plane:
    """One slice through the heart at all phases.

    Attributes:
        values: Signal, shape (phases, columns, rows).
        grid: Its pixels, shape (columns, rows, 1).
    """

    values: NDArray[np.float32]
    grid: Grid

    @property
    def normal(self) -> Array:
        """Unit normal, shape (3,)."""
        return np.asarray(self.grid.direction[:, 2])

    def sample(self, points: Array) -> Array:
        """Signal at points, brought into the plane along its normal.

        Args:
            points: Patient coordinates (mm), shape (..., 3), the same at all phases.

        Returns:
            Linearly interpolated signal, shape (phases, ...); beyond the image that of its rim.
        """
        index = self.grid.index(points.reshape(-1, 3))[:, :2].T
        found = [ndimage.map_coordinates(v, index, order=1, mode="nearest") for v in self.values]
        return np.asarray(found, dtype=np.float64).reshape(len(self.values), *points.shape[:-1])

    def sample_each(self, points: Array) -> Array:
        """Signal at points of their own for each phase, (phases, ..., 3) → (phases, ...)."""
        found = [
            ndimage.map_coordinates(
                v, self.grid.index(p.reshape(-1, 3))[:, :2].T, order=1, mode="nearest"
            )
            for v, p in zip(self.values, points, strict=True)
        ]
        return np.asarray(found, dtype=np.float64).reshape(points.shape[:-1])

    def height(self, points: Array) -> Array:
        """Signed distance (mm) of points from the plane."""
        return np.asarray((points - self.grid.origin) @ self.normal)


def planes(sequence: Sequence) -> tuple[Plane, ...]:
    """The slices of a sequence, each with all its phases."""
    grid = sequence.grid
    values = np.stack([image.values for image in sequence.images]).astype(np.float32)
    return tuple(
        Plane(
            values[:, :, :, k],
            Grid(
                (grid.shape[0], grid.shape[1], 1),
                grid.spacing,
                grid.points([[0, 0, k]])[0],
                grid.direction,
            ),
        )
        for k in range(grid.shape[2])
    )


def at_phases(sequence: Sequence, shares: Array) -> Sequence:
    """The phases of a sequence nearest to given shares of the beat.

    Without a told length of the beat, the phases are taken as evenly spread over it.

    Args:
        sequence: Phases of another scan, at another heart rate.
        shares: Wanted times as parts of the beat, shape (n,).
    """
    cycle = beat(sequence)
    apart = np.abs((sequence.times[None, :] / cycle - shares[:, None] + 0.5) % 1.0 - 0.5)
    chosen = np.argmin(apart, axis=1)
    return Sequence(
        tuple(sequence.images[k] for k in chosen), sequence.times[chosen], sequence.cycle
    )


def beat(sequence: Sequence) -> float:
    """Length of the beat (ms): the told one, else the time of all phases, a step for each.

    A told one that ends before the last phase does is not believed.
    """
    times = sequence.times
    span = float(times[-1] - times[0])
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    told = sequence.cycle or 0.0
    return told if told > span else span + step


def stack(short: Sequence | Several[Sequence], shares: Array | None = None) -> tuple[Plane, ...]:
    """Short-axis planes of one joined sequence or of several, sorted along their normal.

    Raises:
        InputError: there is none, or they aren't parallel.
    """
    parts = (short,) if isinstance(short, Sequence) else tuple(short)
    if not parts:
        raise InputError("cine", "no short-axis slices.", "Give the short-axis series.")
    wanted = parts[0].times / beat(parts[0]) if shares is None else shares
    every = [plane for part in parts for plane in planes(at_phases(part, wanted))]
    normal = every[0].normal
    least = min(min(abs(float(p.normal @ normal)), 1.0) for p in every)
    apart = float(np.degrees(np.arccos(least)))
    if apart > LARGEST_ANGLE:
        raise InputError(
            "cine",
            f"the short-axis slices aren't parallel: {apart:.0f} degrees between two of them.",
            "Give the long-axis series apart from the short-axis ones.",
        )
    return tuple(sorted(every, key=lambda plane: float(plane.grid.origin @ normal)))


def unit(vector: Any) -> Array:
    """The vector at length one."""
    return np.asarray(vector, float) / float(np.linalg.norm(vector))
