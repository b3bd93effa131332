"""Kinematic growth: the laws by which tissue grows along and across its fibres."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import ufl
from ufl.core.expr import Expr

from organtwin.materials.kinematics import Directions, Scalar
from organtwin.materials.parameters import check_parameters, parameter


class Pattern(StrEnum):
    """Directions in which a single growth multiplier ϑ acts."""

    ISOTROPIC = "isotropic"
    FIBRE = "fibre"
    CROSS_FIBRE = "cross_fibre"
    SHEET = "sheet"

    @property
    def acts(self) -> tuple[bool, bool, bool]:
        """Whether along fibre, sheet and normal."""
        return {
            Pattern.ISOTROPIC: (True, True, True),
            Pattern.FIBRE: (True, False, False),
            Pattern.CROSS_FIBRE: (False, True, True),
            Pattern.SHEET: (False, True, False),
        }[self]

    def multipliers(self, theta: Expr) -> Expr:
        """(ϑ_f, ϑ_s, ϑ_n) with ``theta`` where it acts and 1 elsewhere."""
        return ufl.as_vector([theta if acts else ufl.as_ufl(1.0) for acts in self.acts])


class Trigger(StrEnum):
    """What makes tissue grow."""

    #: Elastic stretch of the fibres, λᵉ = |Fᵉ f₀|.
    FIBRE_STRETCH = "fibre_stretch"
    #: Trace of the elastic Mandel stress Cᵉ Sᵉ (kPa).
    MANDEL_STRESS = "mandel_stress"


@dataclass(frozen=True)
class Load:
    """What a growth law may look at, as functions of the multipliers (ϑ_f, ϑ_s, ϑ_n).

    Attributes:
        F: Deformation gradient.
        directions: Fibre frame.
        mandel_trace: tr(Cᵉ Sᵉ) (kPa) at given multipliers.
    """

    F: Expr
    directions: Directions
    mandel_trace: Callable[[Expr], Expr]

    def elastic(self, theta: Expr) -> Expr:
        """Fᵉ = F Fᵍ⁻¹."""
        return self.F * growth_inverse(theta, self.directions)

    def fibre_stretch(self, theta: Expr) -> Expr:
        """λᵉ = |Fᵉ f₀|."""
        f = self.F * self.directions.f0
        return ufl.sqrt(ufl.inner(f, f)) / theta[0]


class GrowthLaw(Protocol):
    """How the multipliers change over a step."""

    @property
    def implicit(self) -> bool:
        """Whether the tissue carries load with the multipliers of the end of the step already.

        Otherwise it carries it with those of the start, and grows when the step is accepted.
        """
        ...

    def grown(self, theta_old: Expr, guess: Expr, load: Load, dt: Expr) -> Expr:
        """(ϑ_f, ϑ_s, ϑ_n) at the end of a step.

        An implicit law takes one sweep of Newton's method from ``guess``. Once that has converged,
        the derivative of the sweep by the deformation is that of the solution.

        Args:
            theta_old: Multipliers at the start of the step.
            guess: Multipliers at its end as far as they are known.
            load: Deformation and stress.
            dt: Length of the step in the time unit of the law.
        """
        ...


def growth_tensor(theta: Expr, directions: Directions) -> Expr:
    """Fᵍ = ϑ_f f₀⊗f₀ + ϑ_s s₀⊗s₀ + ϑ_n n₀⊗n₀."""
    frame = (directions.f0, directions.s0, directions.n0)
    return sum((theta[i] * ufl.outer(d, d) for i, d in enumerate(frame)), start=ufl.zero(3, 3))


def growth_inverse(theta: Expr, directions: Directions) -> Expr:
    """Fᵍ⁻¹."""
    return growth_tensor(ufl.as_vector([1 / theta[i] for i in range(3)]), directions)


@dataclass(frozen=True)
class LimitedGrowth:
    """One multiplier ϑ that grows beyond a threshold, ever slower towards a limit.

        ϑ̇ = k(ϑ) (x − x_crit),     k = 1/τ [(ϑ_max − ϑ)/(ϑ_max − ϑ_min)]^γ          if x ≥ x_crit
                                   k = 1/τ_r [(ϑ − ϑ_min)/(ϑ_max − ϑ_min)]^γ_r       otherwise

    by the implicit Euler method, x being the trigger. With the fibre stretch along the fibre this
    is eccentric growth of a ventricle under volume overload, with the Mandel stress along the
    sheet concentric growth under pressure overload.

    Attributes:
        pattern: Directions that grow.
        trigger: x.
        threshold: x_crit (1, or kPa).
        theta_max: ϑ_max, > 1.
        tau: τ, in the time unit of the steps (times kPa with a stress as trigger), > 0.
        gamma: γ, ≥ 1.
        theta_min: ϑ_min, 0 to 1, above 0; ϑ at rest is 1.
        tau_reverse: τ_r, > 0; None for growth that does not go back.
        gamma_reverse: γ_r, ≥ 1.

    Source:
        Göktepe, Abilez, Parker & Kuhl (2010), J. Theor. Biol. 265:433–442; reverse growth as in
        Hirschvogel's ambit.
    """

    pattern: Pattern
    trigger: Trigger
    threshold: Scalar = field(metadata=parameter("1"))
    theta_max: Scalar = field(metadata=parameter("1", above=1.0))
    tau: Scalar = field(metadata=parameter("1", above=0.0))
    gamma: Scalar = field(default=2.0, metadata=parameter("1", at_least=1.0))
    theta_min: Scalar = field(default=1.0, metadata=parameter("1", above=0.0, at_most=1.0))
    tau_reverse: Scalar | None = field(default=None, metadata=parameter("1", above=0.0))
    gamma_reverse: Scalar = field(default=1.0, metadata=parameter("1", at_least=1.0))

    implicit = True

    def __post_init__(self) -> None:
        check_parameters(self)

    @classmethod
    def goektepe_eccentric(cls) -> LimitedGrowth:
        """Fibres that grow with their stretch: values of the package fenicsx-growth, per step."""
        return cls(Pattern.FIBRE, Trigger.FIBRE_STRETCH, 1.01, 1.5, 100.0, 2.0)

    @classmethod
    def goektepe_concentric(cls) -> LimitedGrowth:
        """Sheets that grow with the stress (kPa): values of fenicsx-growth, per step."""
        return cls(Pattern.SHEET, Trigger.MANDEL_STRESS, 0.12, 1.2, 10000.0, 2.0)

    def rate(self, theta: Expr, load: Load) -> Expr:
        """ϑ̇ at the multiplier ``theta``."""
        multipliers = self.pattern.multipliers(theta)
        by = {
            Trigger.FIBRE_STRETCH: load.fibre_stretch,
            Trigger.MANDEL_STRESS: load.mandel_trace,
        }[self.trigger]
        excess = by(multipliers) - self.threshold
        span = self.theta_max - self.theta_min
        forward = (ufl.max_value(self.theta_max - theta, 0) / span) ** self.gamma / self.tau
        return ufl.conditional(ufl.ge(excess, 0), forward, self._reverse(theta, span)) * excess

    def grown(self, theta_old: Expr, guess: Expr, load: Load, dt: Expr) -> Expr:
        """A sweep of Newton's method towards ϑ − ϑ_old − Δt ϑ̇(ϑ) = 0."""
        scalar = self.pattern.acts.index(True)
        theta = ufl.variable(guess[scalar])
        rest = theta - theta_old[scalar] - dt * self.rate(theta, load)
        return self.pattern.multipliers(theta - rest / ufl.diff(rest, theta))

    def _reverse(self, theta: Expr, span: Expr) -> Expr:
        if self.tau_reverse is None:
            return ufl.as_ufl(0.0)
        share = ufl.max_value(theta - self.theta_min, 0) / span
        return share**self.gamma_reverse / self.tau_reverse


@dataclass(frozen=True)
class KerckhoffsGrowth:
    """Fibre and cross-fibre growth by two strains, each with a sigmoidal response.

    Over a step, ϑ_f is multiplied by 1 + Δt r_f and the cross-fibre multipliers by √(1 + Δt r_c):

        r = a k(ϑ) / (1 + e^{−b (E − s)})     if E ≥ 0,     k = 1 / (1 + e^{c (ϑ − ϑ₅₀)})
        r = −a / (1 + e^{b (E + s)})          otherwise

    with the elastic Green–Lagrange strain along the fibre (E_ff) and the largest one across it,
    both less their set points. Growth follows the strains at the end of the step.

    Attributes:
        rate_f, rate_c: a, largest rate (1/day).
        slope_f, slope_c: b.
        half_f, half_c: s, strain of half the rate.
        limit_f, limit_c: ϑ₅₀, growth that halves the rate.
        limit_slope_f, limit_slope_c: c.
        set_f, set_c: Strains at which the tissue is at home.

    Source:
        Kerckhoffs, Omens & McCulloch (2012), Mech. Res. Commun. 42:40–50; formulas and values as in
        the package fenicsx-growth.
    """

    rate_f: Scalar = field(default=0.31, metadata=parameter("1/day", at_least=0.0))
    slope_f: Scalar = field(default=150.0, metadata=parameter("1", above=0.0))
    half_f: Scalar = field(default=0.06, metadata=parameter("1", at_least=0.0))
    limit_f: Scalar = field(default=1.35, metadata=parameter("1", above=0.0))
    limit_slope_f: Scalar = field(default=40.0, metadata=parameter("1", above=0.0))
    rate_c: Scalar = field(default=0.1, metadata=parameter("1/day", at_least=0.0))
    slope_c: Scalar = field(default=75.0, metadata=parameter("1", above=0.0))
    half_c: Scalar = field(default=0.07, metadata=parameter("1", at_least=0.0))
    limit_c: Scalar = field(default=1.28, metadata=parameter("1", above=0.0))
    limit_slope_c: Scalar = field(default=60.0, metadata=parameter("1", above=0.0))
    set_f: Scalar = field(default=0.0, metadata=parameter("1"))
    set_c: Scalar = field(default=0.0, metadata=parameter("1"))

    implicit = False

    def __post_init__(self) -> None:
        check_parameters(self)

    def grown(self, theta_old: Expr, guess: Expr, load: Load, dt: Expr) -> Expr:
        """The multipliers after the step."""
        Fe = load.elastic(theta_old)
        E = (Fe.T * Fe - ufl.Identity(3)) / 2
        d = load.directions
        along = _response(
            ufl.inner(d.f0, E * d.f0) - self.set_f, theta_old[0], self.rate_f, self.slope_f,
            self.half_f, self.limit_f, self.limit_slope_f,
        )  # fmt: skip
        across = _response(
            _largest_across(E, d) - self.set_c, theta_old[1], self.rate_c, self.slope_c,
            self.half_c, self.limit_c, self.limit_slope_c,
        )  # fmt: skip
        wide = ufl.sqrt(1 + dt * across)
        return ufl.as_vector([theta_old[0] * (1 + dt * along), theta_old[1] * wide,
                              theta_old[2] * wide])  # fmt: skip


@dataclass(frozen=True)
class KroonGrowth:
    """Isotropic growth that brings the fibre stretch back to a set point.

    Over a step the volume is multiplied by 1 + Δt β (λᵉ − 1 − s), without a limit: growth has no
    memory but the volume. It follows the stretch at the end of the step.

    Attributes:
        rate: β (1 per time unit of the steps), ≥ 0.
        set_point: s, fibre strain at which the tissue is at home.

    Source:
        Kroon et al. (2009), Med. Image Anal. 13:346–353, with a fixed reference configuration;
        values of the package fenicsx-growth (there per step).
    """

    rate: Scalar = field(default=0.01, metadata=parameter("1", at_least=0.0))
    set_point: Scalar = field(default=0.13, metadata=parameter("1"))

    implicit = False

    def __post_init__(self) -> None:
        check_parameters(self)

    def grown(self, theta_old: Expr, guess: Expr, load: Load, dt: Expr) -> Expr:
        """The multipliers after the step."""
        strain = load.fibre_stretch(theta_old) - 1 - self.set_point
        return (1 + dt * self.rate * strain) ** (1 / 3) * theta_old


@dataclass(frozen=True)
class PrescribedGrowth:
    """Multipliers that are given, as constants or fields that may change between steps.

    Attributes:
        fibre, sheet, normal: ϑ_f, ϑ_s, ϑ_n, > 0.
    """

    fibre: Scalar = field(default=1.0, metadata=parameter("1", above=0.0))
    sheet: Scalar = field(default=1.0, metadata=parameter("1", above=0.0))
    normal: Scalar = field(default=1.0, metadata=parameter("1", above=0.0))

    implicit = True

    def __post_init__(self) -> None:
        check_parameters(self)

    def grown(self, theta_old: Expr, guess: Expr, load: Load, dt: Expr) -> Expr:
        """The given multipliers, whatever the load."""
        return ufl.as_vector([self.fibre, self.sheet, self.normal])


def _largest_across(E: Expr, d: Directions) -> Expr:
    """Largest strain in the plane across the fibre."""
    ss, nn, sn = (ufl.inner(a, E * b) for a, b in ((d.s0, d.s0), (d.n0, d.n0), (d.s0, d.n0)))
    return (ss + nn) / 2 + ufl.sqrt(((ss - nn) / 2) ** 2 + sn**2)


def _response(
    E: Expr, theta: Expr, rate: Scalar, slope: Scalar, half: Scalar, limit: Scalar, fall: Scalar
) -> Expr:
    """Rate r of `KerckhoffsGrowth`; exponents are bounded, so that none overflows."""
    room = 1 / (1 + _exp(fall * (theta - limit)))
    more = rate * room / (1 + _exp(-slope * (E - half)))
    return ufl.conditional(ufl.ge(E, 0), more, -rate / (1 + _exp(slope * (E + half))))


def _exp(x: Expr) -> Expr:
    return ufl.exp(ufl.min_value(ufl.max_value(x, -500), 500))
