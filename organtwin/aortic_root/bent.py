"""A parametric root whose aorta bends off its annulus and whose outflow tract leans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.aortic_root.parametric import CUSPS, Coronary, ParametricRoot

type Vector = NDArray[np.float64]


@dataclass(frozen=True)
class BentRoot(ParametricRoot):
    r"""A `ParametricRoot` in bent space, as in people: the junction is tilted against the annulus.

    Above the annulus the axis is an arc that turns by :math:`\alpha` up to the junction; sections
    across it stay plane and as they are. Below, sections are shifted sideways in proportion to
    their depth, by :math:`\tan \beta`. The annulus' plane is as it was, so are the areas and
    diameters of annulus, outflow tract and junction and the attachments' lowest points. Our choice.

    Attributes:
        arch: Turn :math:`\alpha` of the axis between annulus and junction (degrees).
        towards: Direction that the aorta bends to (degrees).
        outflow_lean: Angle :math:`\beta` between outflow tract and the annulus' axis (degrees).
        outflow_towards: Direction in which the outflow tract runs off downwards (degrees).
    """

    arch: float = 25.0
    towards: float = 60.0
    outflow_lean: float = 0.0
    outflow_towards: float = 60.0

    def to_patient(self, points: Vector) -> Vector:
        """Patient's coordinates (LPS, mm) of points of the straight root, shape (..., 3)."""
        return super().to_patient(self._bent(np.asarray(points, float)))

    def to_root(self, points: Vector) -> Vector:
        """Coordinates in the straight root of points in the patient (mm), shape (..., 3)."""
        return self._straight(super().to_root(np.asarray(points, float)))

    def truth(self) -> dict[str, float]:
        """What is known in closed form: what the bend leaves as it was, and heights in the bend."""
        kept = ("annulus", "outflow", "junction_area", "junction_peri", "junction_diam", "aortic")
        found = {name: value for name, value in super().truth().items() if name.startswith(kept)}
        angle = np.radians(self.arch)
        top = self._bent(np.array([0.0, 0.0, self.junction_height]))
        way = self._aside[0]
        found["junction_height"] = float(top[2])
        across = np.cos(angle) * np.array([0.0, 0.0, 1.0]) + np.sin(angle) * way
        low = self.wall(np.radians(self.middles), np.zeros(3))
        for cusp, one in zip(CUSPS, low, strict=True):
            found[f"sinus_height_{cusp}"] = float((top - one) @ across)
        return found | {f"coronary_height_{c.cusp}": self._lower_edge(c) for c in self.coronaries}

    @property
    def _aside(self) -> tuple[Vector, Vector]:
        """Unit vectors in which the aorta and, downwards, the outflow tract run off."""
        one, other = (np.array([np.cos(t), np.sin(t), 0.0])
                      for t in np.radians([self.towards, self.outflow_towards]))  # fmt: skip
        return one, other

    def _bent(self, points: Vector) -> Vector:
        """Points of the straight root in the bent one (mm), shape (..., 3)."""
        way, down = self._aside
        height = points[..., 2:]
        below = points - np.minimum(height, 0.0) * np.tan(np.radians(self.outflow_lean)) * down
        curvature = np.radians(self.arch) / self.junction_height
        if curvature == 0.0:
            return np.asarray(below)
        turn, along = curvature * height, points @ way
        far = 1.0 / curvature - along[..., None]  # from the axis of the bend
        across = points - along[..., None] * way - height * np.array([0.0, 0.0, 1.0])
        above = across + (1.0 / curvature - far * np.cos(turn)) * way
        above = above + far * np.sin(turn) * np.array([0.0, 0.0, 1.0])
        return np.where(height > 0.0, above, below)

    def _straight(self, points: Vector) -> Vector:
        """Points of the bent root in the straight one (mm), shape (..., 3)."""
        way, down = self._aside
        height = points[..., 2:]
        below = points + np.minimum(height, 0.0) * np.tan(np.radians(self.outflow_lean)) * down
        curvature = np.radians(self.arch) / self.junction_height
        if curvature == 0.0:
            return np.asarray(below)
        along = (points @ way)[..., None]
        # Far beyond the arc's middle points would come round to it; no wall is there.
        aside = np.maximum(1.0 / curvature - along, 1e-6)
        far, turn = np.hypot(aside, height), np.arctan2(height, aside)
        across = points - along * way - height * np.array([0.0, 0.0, 1.0])
        above = across + (1.0 / curvature - far) * way
        above = above + turn / curvature * np.array([0.0, 0.0, 1.0])
        return np.where(height > 0.0, above, below)

    def _lower_edge(self, coronary: Coronary) -> float:
        """Least height of an ostium's rim over the annulus (mm)."""
        half, turn = 0.5 * coronary.diameter, self.middles[CUSPS.index(coronary.cusp)]
        turn = np.radians(turn + coronary.off)
        round_ = np.linspace(0.0, 2.0 * np.pi, 73)
        height, aside = coronary.height + half * (1.0 + np.sin(round_)), half * np.cos(round_)
        own = np.full(73, float(self.radius(turn, np.asarray(coronary.height + half))))
        for _ in range(4):  # the tube's wall meets that of the sinus
            own = self.radius(turn + np.arcsin(aside / own), height)
        rim = self.wall(turn + np.arcsin(aside / own), height)
        return float(self._bent(rim)[:, 2].min())
