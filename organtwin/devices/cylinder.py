"""Rigid tools that touch frames: a crimper, a balloon or a vessel as cylinder, plates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.meridian import revolved
from organtwin.errors import InputError

Array = NDArray[np.float64]

#: Penalty per length of strut (mN/mm²) unless another is given. Our choice: struts press with
#: 100 mN/mm where they touch, which makes 0.2 µm.
PENALTY = 5e5


@dataclass(frozen=True)
class Strut:
    """What of the struts a tool feels at the nodes.

    Attributes:
        half_depth: From a node to the strut's surface, across the tube (mm), (n,).
        length: Length of strut that belongs to each node (mm), (n,).
    """

    half_depth: Array
    length: Array


@dataclass
class _Contact(ABC):
    """Pressing and rubbing of a rigid surface on nodes; subclasses say where the surface is.

        f = max(0, λ + ε ℓ g) e,   |t| ≤ μ |f|

    with the penetration g, the penalty ε per length, the length ℓ of strut of the node and the
    multiplier λ of `augment`. Until it slides, a point is held by a spring (of a fifth of the
    penalty) to where the last accepted step left it, or has been carried to with the surface.
    """

    strut: Strut
    friction: float = 0.0
    penalty: float = PENALTY
    active: bool = True
    multiplier: Array = field(init=False)
    _anchor: Array | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.penalty <= 0 or self.friction < 0:
            raise InputError(
                type(self).__name__, f"penalty {self.penalty}, friction {self.friction}.",
                "The penalty is > 0 and the friction is not negative.",
            )  # fmt: skip
        self.multiplier = np.zeros(len(self.strut.length))

    @abstractmethod
    def gap(self, x: Array) -> tuple[Array, Array, Array]:
        """Penetration (mm), (n,), direction of the force (n, 3), its derivative by x (n, 3, 3)."""

    def pressing(self, x: Array) -> tuple[Array, Array]:
        """Normal force on each node (mN), (n,), and its direction (n, 3)."""
        g, e, _ = self.gap(x)
        return np.maximum(self._normal(g), 0.0), e

    def _normal(self, g: Array) -> Array:
        """λ + ε ℓ g (mN), negative where there is no contact."""
        if not self.active:
            return np.zeros_like(g)
        return np.asarray(self.multiplier + self.penalty * self.strut.length * g)

    def foresee(self, x: Array, dx: Array) -> NDArray[np.bool_]:
        """Which nodes a straight motion ``dx`` from ``x`` would bring or leave in contact.

        Newton's method takes these and not those found at its end: the penetrations are so small
        that the curvature of a path easily ends the contact of a point that is to stay.
        """
        g, e, _ = self.gap(x)
        return np.asarray(self._normal(g - np.einsum("ni,ni->n", e, dx)) > 0)

    def push(self, x: Array, touching: NDArray[np.bool_] | None = None) -> tuple[Array, Array]:
        """Forces on the nodes (mN) and their derivatives (mN/mm).

        Args:
            x: Positions (mm), (n, 3).
            touching: Nodes taken to be in contact, whatever their gap; by their gap if None.
        """
        g, e, turn = self.gap(x)
        f = self._normal(g)
        on = (f > 0) if touching is None else touching & self.active
        f = np.where(on, f, 0.0)
        # The penetration grows against the direction of the force.
        slope = np.where(on, self.penalty * self.strut.length, 0.0)
        normal = -slope[:, None] * e
        force = f[:, None] * e
        stiffness = e[:, :, None] * normal[:, None] + f[:, None, None] * turn
        if self.friction > 0 and self._anchor is not None:
            rub, rub_slope, _ = self._rub(x, np.maximum(f, 0.0), e, normal)
            force, stiffness = force + rub, stiffness + rub_slope
        return force, stiffness

    def _rub(self, x: Array, f: Array, e: Array, normal: Array) -> tuple[Array, Array, Array]:
        """Tangential forces, their derivatives, and the spring (mN/mm) of each node."""
        assert self._anchor is not None
        spring = 0.2 * self.penalty * self.strut.length * (f > 0)
        P = np.eye(3) - e[:, :, None] * e[:, None]
        slip = np.einsum("nij,nj->ni", P, x - self._anchor - self._carried())
        size = np.maximum(np.linalg.norm(slip, axis=1), 1e-300)
        along, bound = slip / size[:, None], self.friction * f
        slides = spring * size > bound
        rub = -np.where(slides, bound / size, spring)[:, None] * slip
        stick = -spring[:, None, None] * P
        slide = -(bound / size)[:, None, None] * (P - along[:, :, None] * along[:, None])
        slide -= self.friction * along[:, :, None] * normal[:, None]
        return rub, np.where(slides[:, None, None], slide, stick), spring

    def _carried(self) -> Array:
        """Motion of the surface (mm) since the last commit, (3,); none unless a subclass moves."""
        return np.zeros(3)

    def commit(self, x: Array) -> None:
        """Remember where points are held."""
        if self.friction == 0:
            return
        anchor = x.copy()
        if self._anchor is not None:
            f, e = self.pressing(x)
            rub, _, spring = self._rub(x, f, e, np.zeros_like(x))
            touching = spring > 0
            anchor[touching] += rub[touching] / spring[touching, None]
        self._anchor = anchor

    def augment(self, x: Array) -> float:
        """Take the present forces as multipliers; the largest penetration (mm) before."""
        g, _, _ = self.gap(x)
        touching = self._normal(g) > 0
        self.multiplier = np.maximum(self._normal(g), 0.0)
        return float(np.abs(g[touching]).max(initial=0.0))

    def energy(self, x: Array) -> float:
        """Energy in the penalty springs (µJ), without multipliers."""
        g, _, _ = self.gap(x)
        on = self._normal(g) > 0
        return float(0.5 * np.sum(self.penalty * self.strut.length * np.where(on, g, 0.0) ** 2))

    def force(self, x: Array) -> float:
        """Sum of the normal forces (mN)."""
        return float(self.pressing(x)[0].sum())


@dataclass
class Cylinder(_Contact):
    """Rigid cylinder about the z-axis.

    Attributes:
        radius: Of its surface (mm); to be changed between steps.
        around: True for a crimper or a vessel around the frame, False for a balloon within.
    """

    radius: float = np.inf
    around: bool = True

    def gap(self, x: Array) -> tuple[Array, Array, Array]:
        """Penetration of the struts' outer or inner side, and the inward or outward direction."""
        depth, flat = self.strut.half_depth, np.zeros(len(x))
        R = self.radius - depth if self.around else self.radius + depth
        return revolved(x, R, flat, flat, around=self.around)


@dataclass
class Plate(_Contact):
    """Rigid plate.

    Attributes:
        normal: Unit vector from the plate into the room of the frame, (3,).
        place: Distance of the plate from the origin along the normal (mm); negative behind it.
    """

    normal: tuple[float, float, float] = (1.0, 0.0, 0.0)
    place: float = -np.inf

    def gap(self, x: Array) -> tuple[Array, Array, Array]:
        """Penetration, measured at the struts' outer side."""
        n = np.asarray(self.normal, float)
        g = np.maximum(self.place - x @ n + self.strut.half_depth, -1e6)
        return g, np.tile(n, (len(x), 1)), np.zeros((len(x), 3, 3))
