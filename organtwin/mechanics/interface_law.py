"""What two sides of an interface do to each other at a point: contact, friction, bond."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mechanics.contact_surface import Floats

type Flags = NDArray[np.bool_]

#: Automatic penalty: this many times stiffness / facet size.
PENALTY_FACTOR = 20.0
#: Automatic tangential penalty relative to the normal one.
TANGENTIAL_SHARE = 0.5
#: Part of the limit by which a traction at it may miss it.
AT_LIMIT = 1e-6
#: States of a point.
OPEN, STICKS, SLIDES = 0, 1, 2


@dataclass(frozen=True)
class InterfaceLaw:
    """Contact by a penalty, Coulomb's friction with cohesion, a limit of tension.

    With the jump j = u − ū between the sides, the normal n and the gap g = g₀ − j·n,

        t = λ − ε g,   p = max(−T b, t),   |τ| ≤ c b + μ max(t, 0),   τ̂ = λ_τ + ε_τ (s − s₀)

    with the multipliers λ, λ_τ (zero unless augmented), the slip s = j − (j·n) n, its part s₀ that
    is permanent, and the bond b, 1 at first and 0 once it is lost. τ is τ̂, shortened to its limit.
    While t < 0 the share of the cohesion that is left falls linearly to nothing at t = −T, or −c
    where T = 0, so that an open interface carries no shear.

    Attributes:
        stiffness: E (kPa), of the order of Young's modulus of the softer side; ε = 20 E/h with the
            mean edge h of the first surface's facets.
        penalty: ε (kPa/mm), if it is not to follow from the stiffness.
        friction: μ, ≥ 0.
        cohesion: c (kPa), ≥ 0.
        tension: T (kPa), ≥ 0, the normal strength.
        bond_length: Slip, summed up, or opening (mm) after which a point's cohesion and tension
            are lost for good; never if None.
        tangential_penalty: ε_τ (kPa/mm); ε/2 if None.

    Source:
        Wriggers (2006), Computational Contact Mechanics, chapters 5 and 6 (penalty, return mapping
        of Coulomb's friction); how cohesion fades as a point opens is our choice.
    """

    stiffness: float | None = None
    penalty: float | None = None
    friction: float = 0.0
    cohesion: float = 0.0
    tension: float = 0.0
    bond_length: float | None = None
    tangential_penalty: float | None = None

    def __post_init__(self) -> None:
        for name in ("friction", "cohesion", "tension"):
            value = getattr(self, name)
            if not value >= 0:
                raise InputError("InterfaceLaw", f"{name} = {value:g}.", "It must be ≥ 0.")
        for name in ("stiffness", "penalty", "bond_length", "tangential_penalty"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError("InterfaceLaw", f"{name} = {value:g}.", "It must be > 0.")
        if self.penalty is None and self.stiffness is None:
            raise InputError(
                "InterfaceLaw",
                "neither penalty nor stiffness is given.",
                "Give the stiffness of the softer side (kPa); the penalty follows from it.",
            )

    def penalties(self, size: float) -> tuple[float, float]:
        """ε and ε_τ (kPa/mm) for facets with this mean edge (mm)."""
        normal = self.penalty or PENALTY_FACTOR * (self.stiffness or 0.0) / size
        return normal, self.tangential_penalty or TANGENTIAL_SHARE * normal

    def respond(self, trial: Trial, bond: Floats) -> Response:
        """Tractions of trial ones.

        Args:
            trial: At the points.
            bond: b.
        """
        t, width = trial.normal, self.tension or self.cohesion or 1.0
        left = np.clip(1.0 + np.minimum(t, 0.0) / width, 0.0, 1.0)
        limit = self.cohesion * bond * left + self.friction * np.maximum(t, 0.0)
        fades = (t < 0) & (left > 0)
        slope = np.where(fades, self.cohesion * bond / width, np.where(t > 0, self.friction, 0.0))
        closed = t >= -self.tension * bond
        pressure = np.maximum(-self.tension * bond, t)
        size = np.linalg.norm(trial.shear, axis=1)
        slides = size > limit
        shrink = np.divide(limit, size, out=np.ones_like(size), where=slides)
        holds = closed | (limit > 0)
        shear = np.where(holds[:, None], trial.shear * shrink[:, None], 0.0)
        return Response(trial, pressure, shear, closed, holds, slides & holds, shrink, limit, slope)


@dataclass(frozen=True)
class Trial:
    """Tractions as if nothing opened or slid.

    Attributes:
        normal: t (kPa), (n,).
        shear: τ̂ (kPa), (n, 3), in the tangent plane.
        normals: n, (n, 3).
        penalties: ε and ε_τ (kPa/mm).
    """

    normal: Floats
    shear: Floats
    normals: Floats
    penalties: tuple[float, float]


@dataclass(frozen=True)
class Response:
    """Tractions at points.

    Attributes:
        trial: What they were made of.
        pressure: p (kPa).
        shear: τ (kPa), (n, 3).
        closed: Whether p follows the gap.
        holds: Whether there is any shear to be carried.
        slides: Whether τ is at its limit.
        shrink: |τ|/|τ̂|.
        limit: What |τ| may be (kPa).
        slope: Its derivative by t.
    """

    trial: Trial
    pressure: Floats
    shear: Floats
    closed: Flags
    holds: Flags
    slides: Flags
    shrink: Floats
    limit: Floats
    slope: Floats

    @property
    def traction(self) -> Floats:
        """Traction p n + τ (kPa), what the first side does to the other, (n, 3)."""
        return self.pressure[:, None] * self.trial.normals + self.shear

    @property
    def state(self) -> NDArray[np.int64]:
        """`OPEN`, `STICKS` or `SLIDES`.

        A point that has slid in the last accepted step is at its limit, but for rounding.
        """
        size = np.linalg.norm(self.trial.shear, axis=1)
        slides = self.holds & (size > 0) & (self.shrink * size >= (1 - AT_LIMIT) * self.limit)
        return np.where(slides, SLIDES, np.where(self.closed | self.holds, STICKS, OPEN))

    def tangent(self, *, symmetric: bool = False, least: float = 0.0) -> Floats:
        """Derivative of the traction by the jump (kPa/mm), (n, 3, 3).

        Args:
            symmetric: Leave out how the limit of the shear follows the pressure, which is what
                makes it unsymmetric.
            least: Share of the penalties that stays where a point is open or slides.
        """
        n, (eps, eps_t) = self.trial.normals, self.trial.penalties
        along = n[:, :, None] * n[:, None, :]
        across = np.eye(3) - along
        D = eps * np.where(self.closed, 1.0, least)[:, None, None] * along
        size = np.linalg.norm(self.trial.shear, axis=1)
        e = self.trial.shear / np.where(size > 0, size, 1.0)[:, None]
        turning = self.shrink[:, None, None] * (across - e[:, :, None] * e[:, None, :])
        stays = np.where(self.slides[:, None, None], turning, across)
        stays = np.where(self.holds[:, None, None], stays, 0.0)
        weak = np.where(self.slides | ~self.holds, least, 0.0)
        D += eps_t * (stays + weak[:, None, None] * across)
        if not symmetric:
            rise = np.where(self.slides, self.slope * eps, 0.0)
            D += rise[:, None, None] * e[:, :, None] * n[:, None, :]
        return D
