"""The axis of an aortic root and the plane of its annulus, small enough for a JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from organtwin.aortic_root.anatomy import RootAnatomy
from organtwin.errors import InputError

type Vector = NDArray[np.float64]

PLACE = "RootAxis"
#: Distance of points along an axis that is written down, and where a place is looked for (mm).
STEP, FINE = 2.0, 0.1


@dataclass(frozen=True)
class RootAxis:
    """Curve through the lumen from the outflow tract to the ascending aorta.

    Attributes:
        points: Points along it (LPS, mm), shape (n, 3), n ≥ 2, towards the aorta.
        annulus: Where it passes the annulus (mm), shape (3,).
        normal: Unit normal of the annulus, towards the aorta, shape (3,).
    """

    points: Vector
    annulus: Vector
    normal: Vector

    def __post_init__(self) -> None:
        for name in ("points", "annulus", "normal"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        if self.points.ndim != 2 or self.points.shape[0] < 2 or self.points.shape[1:] != (3,):
            raise InputError(PLACE, f"points of shape {self.points.shape}.", "Give n ≥ 2 of three.")
        for name in ("annulus", "normal"):
            if getattr(self, name).shape != (3,):
                raise InputError(PLACE, f"{name} isn't three numbers.", "Give x, y and z.")
        everything = np.concatenate([self.points.ravel(), self.annulus, self.normal])
        length = float(np.linalg.norm(self.normal))
        steps = np.linalg.norm(np.diff(self.points, axis=0), axis=1)
        if not np.isfinite(everything).all() or not length > 0.0 or not steps.min() > 0.0:
            raise InputError(
                PLACE, "points that coincide, no normal, or no numbers.", "Measure the root again."
            )
        object.__setattr__(self, "normal", self.normal / length)

    @classmethod
    def straight(
        cls, low: Vector | list[float], high: Vector | list[float], annulus: float
    ) -> RootAxis:
        """From ``low`` to ``high`` (mm); the annulus lies across it at ``annulus`` mm from low."""
        low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
        normal = (high - low) / np.linalg.norm(high - low)
        return cls(np.stack([low, high]), low + annulus * normal, normal)

    def to_dict(self) -> dict[str, Any]:
        """As lists of numbers, for a JSON file."""
        return {name: getattr(self, name).tolist() for name in ("points", "annulus", "normal")}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> RootAxis:
        """What `to_dict` gave.

        Raises:
            InputError: a part is missing, or isn't made of numbers.
        """
        try:
            found = {name: np.asarray(record[name], dtype=np.float64)
                     for name in ("points", "annulus", "normal")}  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(PLACE, f"not an axis: {error}.", "Write it again.") from error
        return cls(**found)

    def height(self, x: Vector) -> Vector:
        """Height of places over the plane of the annulus (mm); ``x`` (n, 3)."""
        return np.asarray((x - self.annulus) @ self.normal)

    def leading(self, start: Vector, axes: Vector, height: float) -> Vector:
        """Directions turned as little as can be, so that the third leads along the lumen.

        Args:
            start: Where the line begins (mm), shape (3,).
            axes: Rows: two directions across the annulus and the one over it, shape (3, 3).
            height: Over the start, along the third of them (mm): there the line meets the axis.

        Returns:
            The rows turned, shape (3, 3).
        """
        own = (self.points - start) @ axes.T
        order = np.argsort(own[:, 2])
        x, y = (np.interp(height, own[order, 2], own[order, i]) for i in (0, 1))
        turn, _ = Rotation.align_vectors(_unit(np.array([[x, y, height]])), [[0.0, 0.0, 1.0]])
        return np.asarray((axes.T @ turn.as_matrix()).T)

    def seen_from(self, x: Vector) -> tuple[Vector, Vector]:
        """Direction of the axis nearest to places, and unit vectors from it to them.

        Args:
            x: Places (mm), shape (n, 3).

        Returns:
            Two arrays of unit vectors (n, 3); a place on the axis itself gets any across it.
        """
        way = np.concatenate(
            [[0.0], np.cumsum(np.linalg.norm(np.diff(self.points, axis=0), axis=1))]
        )
        curve = CubicSpline(way, self.points)
        fine = np.linspace(0.0, way[-1], int(way[-1] / FINE) + 2)
        nearest = fine[cKDTree(curve(fine)).query(x)[1]]
        along = _unit(curve(nearest, 1))
        off = x - curve(nearest)
        off -= np.einsum("ij,ij->i", off, along)[:, None] * along
        far = np.linalg.norm(off, axis=1)
        aside = np.cross(along, np.eye(3)[np.argmin(np.abs(along), axis=1)])
        return along, _unit(np.where(far[:, None] > 1e-9, off, aside))


def axis_of(anatomy: RootAnatomy) -> RootAxis:
    """The axis that a root was meshed about; the annulus lies where its way is zero."""
    wall = anatomy.wall
    ways = np.linspace(wall.low, wall.high, max(int((wall.high - wall.low) / STEP), 2) + 1)
    here = np.zeros(1)
    return RootAxis(wall.axis.at(ways), wall.axis.at(here)[0], wall.axis.axes(here)[0, 2])


def _unit(v: Vector) -> Vector:
    return np.asarray(v / np.linalg.norm(v, axis=1)[:, None])
