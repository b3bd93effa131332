"""The sheath of a catheter: a rigid tube around a frame that moves along the axis."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.cylinder import Cylinder

Array = NDArray[np.float64]


@dataclass
class Sheath(Cylinder):
    """Rigid tube from its mouth upwards, inside which the frame lies.

    Its wall of thickness 2 l ends in half a circle of radius l below the mouth. Axes of struts stay
    half a strut's depth from both.

    Attributes:
        mouth: Height from which on the tube is straight (mm); to be changed between steps.
        lip: l (mm).
    """

    around: bool = field(init=False, default=True)
    mouth: float = -np.inf
    lip: float = 1.0
    _before: float | None = field(init=False, default=None)

    def gap(self, x: Array) -> tuple[Array, Array, Array]:
        """Penetration of the struts' outer side, and the inward direction."""
        rho = np.maximum(np.hypot(x[:, 0], x[:, 1]), 1e-9)
        radial = np.column_stack([x[:, 0] / rho, x[:, 1] / rho, np.zeros_like(rho)])
        hoop = np.column_stack([-radial[:, 1], radial[:, 0], np.zeros_like(rho)])
        upright = np.array([0.0, 0.0, 1.0])
        # From the lip's circle, whose centre is level with the mouth, or from the wall above it.
        lip = self.lip + self.strut.half_depth
        out = rho - (self.radius + self.lip)
        down = np.minimum(x[:, 2] - self.mouth, 0.0)
        away = np.maximum(np.hypot(out, down), 1e-9)
        on_lip = down < 0
        e_out, e_down = np.where(on_lip, out / away, -1.0), np.where(on_lip, down / away, 0.0)
        e = e_out[:, None] * radial + e_down[:, None] * upright
        along = -e_down[:, None] * radial + e_out[:, None] * upright
        bend = np.where(on_lip, 1 / away, 0.0)
        turn = bend[:, None, None] * along[:, :, None] * along[:, None]
        turn += (e_out / rho)[:, None, None] * hoop[:, :, None] * hoop[:, None]
        g = np.where(on_lip, lip - away, lip + out)
        g = np.where(out > self.lip, -1e6, g)  # outside the tube
        return np.maximum(g, -1e6), e, turn

    def pull(self, x: Array) -> float:
        """Force (mN) that moves the sheath, upwards; negative if the frame pushes it off."""
        return float(self.push(x)[0][:, 2].sum())

    def commit(self, x: Array) -> None:
        """Remember where points are held, and where the sheath is."""
        super().commit(x)
        self._before = self.mouth

    def _carried(self) -> Array:
        before = self.mouth if self._before is None else self._before
        moved = 0.0 if math.isinf(before) else self.mouth - before
        return np.array([0.0, 0.0, moved])
