"""Pressure between two layers of cartilage by an elastic foundation, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError

type Floats = NDArray[np.float64]
type Integers = NDArray[np.int64]

#: Order of the values of a column in a table.
WIDTH = 8


@dataclass(frozen=True)
class Foundation:
    """Cartilage that is pressed as if it could not give way sideways.

    Attributes:
        modulus: Young's modulus (kPa); 5 MPa, remembered as that of Blankevoort et al. (1991),
            "Articular contact in a three-dimensional model of the knee", not read.
        poisson: Poisson's ratio, of the same source.
    """

    modulus: float = 5e3
    poisson: float = 0.45

    def __post_init__(self) -> None:
        if not (self.modulus > 0.0 and 0.0 <= self.poisson < 0.5):
            raise InputError("cartilage", f"E = {self.modulus:g} kPa, ν = {self.poisson:g}.",
                             "Give E > 0 and 0 <= ν < 0.5.")  # fmt: skip

    @property
    def confined(self) -> float:
        """Modulus of a layer between rigid walls (kPa): (1 - ν) E / ((1 + ν) (1 - 2 ν))."""
        nu = self.poisson
        return (1.0 - nu) * self.modulus / ((1.0 + nu) * (1.0 - 2.0 * nu))


@dataclass(frozen=True)
class Columns:
    """Columns of cartilage that stand on a joint's surface, all along one direction.

    Attributes:
        place: Feet on the bone (mm), shape (n, 3).
        area: Their areas across the direction (mm²), shape (n,).
        gap: Distance of both cartilages along it (mm), negative where they overlap, shape (n,).
        thickness: Of both layers together (mm), shape (n,).
        half: Number of the joint's half, shape (n,).
        part: Number of the body that carries the column, shape (n,).
    """

    place: Floats
    area: Floats
    gap: Floats
    thickness: Floats
    half: Integers
    part: Integers

    def table(self) -> Floats:
        """All values, shape (n, 8)."""
        return np.column_stack(
            [self.place, self.area, self.gap, self.thickness, self.half, self.part]
        )

    @classmethod
    def of_table(cls, values: Floats) -> Columns:
        """What `table` gave."""
        return cls(values[:, :3], values[:, 3], values[:, 4], values[:, 5],
                   values[:, 6].astype(np.int64), values[:, 7].astype(np.int64))  # fmt: skip

    def of_half(self, half: int) -> Columns:
        """Those of one half."""
        own = self.half == half
        return Columns(self.place[own], self.area[own], self.gap[own], self.thickness[own],
                       self.half[own], self.part[own])  # fmt: skip


@dataclass(frozen=True)
class Pressed:
    """Columns under a force.

    Attributes:
        pressure: At each (kPa), shape (n,).
        approach: How far the other side came (mm).
        strain: Largest shortening over the thickness.
    """

    pressure: Floats
    approach: float
    strain: float


def press(columns: Columns, sunk: Floats, force: float, law: Foundation | None = None) -> Pressed:
    r"""Pressure of a rigid body that a force moves straight onto the columns.

    .. math:: p_i = M \max(0, a - g_i - s_i) / h_i, \qquad \sum_i p_i A_i = F

    with the gap g, the way s by which a column's foot sank, the thickness h, the confined modulus M
    and the approach a, which is found. What gives way to the side, menisci and turning of the other
    bone are left out.

    Args:
        columns: Of one half of a joint.
        sunk: How far each foot sank (mm), shape (n,).
        force: Along the columns (mN), positive.
        law: Of the cartilage.

    Raises:
        InputError: no columns, or no force.
    """
    if not len(columns.gap) or not force > 0.0:
        raise InputError("cartilage", f"{len(columns.gap)} columns under {force:g} mN.",
                         "Give a surface with cartilage and a force onto it.")  # fmt: skip
    stiff = (law or Foundation()).confined * columns.area / columns.thickness
    open_ = columns.gap + sunk
    # Between two gaps the force is linear in the approach.
    order = np.argsort(open_)
    touching = np.cumsum(stiff[order])
    lost = np.cumsum((stiff * open_)[order])
    tries = (force + lost) / touching
    ends = np.append(open_[order][1:], np.inf)
    approach = float(tries[int(np.argmax(tries <= ends))])
    overlap = np.maximum(approach - open_, 0.0)
    pressure = stiff * overlap / columns.area
    return Pressed(pressure, approach, float((overlap / columns.thickness).max()))


def sunk_columns(
    columns: Columns, vertices: Sequence[Integers], points: Floats, moved: Floats, up: Floats
) -> Floats:
    """How far the feet of columns sank with the bodies that carry them (mm), shape (n,).

    Args:
        columns: The columns.
        vertices: Numbers of the vertices of the joint's surface on each body.
        points: All vertices (mm), shape (k, 3).
        moved: Their displacements (mm), shape (k, 3).
        up: Direction of the columns, shape (3,).
    """
    from scipy.spatial import cKDTree

    result = np.zeros(len(columns.gap))
    for number, own in enumerate(vertices):
        here = np.flatnonzero(columns.part == number)
        if not len(here) or not len(own):
            continue
        away, near = cKDTree(points[own]).query(columns.place[here], k=min(3, len(own)))
        away, near = away.reshape(len(here), -1), near.reshape(len(here), -1)
        weight = 1.0 / np.maximum(away, 1e-6) ** 2
        down = -(moved[own] @ up)[near]
        result[here] = (weight * down).sum(axis=1) / weight.sum(axis=1)
    return result
