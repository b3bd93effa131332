"""Sheaths of catheters: rigid tubes around a frame that move along the axis; the hook within."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.cylinder import Cylinder
from organtwin.devices.meridian import revolved
from organtwin.devices.newton import Touching
from organtwin.errors import InputError

Array = NDArray[np.float64]


@dataclass
class _Tube(Cylinder):
    """Rigid tube from its mouth upwards, inside which the frame lies.

    Attributes:
        mouth: Height from which on the tube is straight (mm); to be changed between steps.
    """

    around: bool = field(init=False, default=True)
    mouth: float = -np.inf
    _before: float | None = field(init=False, default=None)

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


@dataclass
class Sheath(_Tube):
    """A tube with a rounded mouth.

    Its wall of thickness 2 l ends in half a circle of radius l below the mouth. Axes of struts stay
    half a strut's depth from both.

    Attributes:
        lip: l (mm).
    """

    lip: float = 1.0

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


@dataclass
class Capsule(_Tube):
    """A tube that widens smoothly below its mouth to a funnel: nothing snaps as it leaves it.

        R(s) = r + m b h(s/b),   h(t) = t³ − t⁴/2 up to t = 1, t − 1/2 beyond

    at the depth s below the mouth: its slope rises from 0 to m, and its curvature is continuous.
    Axes of struts stay on the meridian with r less half a strut's depth. A funnel without end is no
    drawing of a catheter's mouth: it stands for one, lets the frame out by and by, and is felt only
    where a frame would widen faster than it does. Our choice.

    Attributes:
        bend: b (mm); best as long as two elements or more.
        slope: m, tangent of the funnel's angle to the axis.
    """

    bend: float = 8.0
    slope: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.bend > 0 and self.slope > 0):
            raise InputError(
                "Capsule", f"bend {self.bend:g} mm, slope {self.slope:g}.", "Both are > 0."
            )

    def gap(self, x: Array) -> tuple[Array, Array, Array]:
        """Penetration of the struts' outer side, and the inward direction."""
        t = np.maximum(self.mouth - x[:, 2], 0.0) / self.bend
        near = np.minimum(t, 1.0)
        wide = near**3 - 0.5 * near**4 + np.maximum(t - 1.0, 0.0)
        R = self.radius - self.strut.half_depth + self.slope * self.bend * wide
        first = -self.slope * near**2 * (3 - 2 * near)  # by height, downwards it widens
        second = 6 * self.slope / self.bend * near * (1 - near)
        return revolved(x, R, first, second, around=True)

    def clear(self, top: float, radius: float) -> float:
        """Height of the mouth (mm) from which on a frame is free of it.

        Args:
            top: Height of the frame's upper end (mm).
            radius: To its outer side, where it is widest when free (mm).
        """
        return top + max(radius - self.radius, 0.0) / self.slope + 0.5 * self.bend


@dataclass
class Hook:
    """Springs that hold nodes along the z-axis, as a catheter holds a frame's outflow.

    Attributes:
        stiffness: Of each node (mN/mm), (n,); zero where nothing is held.
        height: At which they are held (mm), (n,).
        share: Of the stiffness that is there, 1 to 0; to be changed between steps.
    """

    stiffness: Array
    height: Array
    share: float = 1.0

    def foresee(self, x: Array, dx: Array) -> Touching:
        """No contact."""
        return np.zeros(len(x), bool)

    def push(self, x: Array, touching: Touching | None = None) -> tuple[Array, Array]:
        """Forces and their derivatives."""
        k, force, slope = self.share * self.stiffness, np.zeros_like(x), np.zeros((len(x), 3, 3))
        force[:, 2], slope[:, 2, 2] = k * (self.height - x[:, 2]), -k
        return force, slope

    def commit(self, x: Array) -> None:
        """Nothing to remember."""
