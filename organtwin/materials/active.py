"""Contraction: active stress along the fibres and across them, or active strain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import ArrayLike, NDArray
from ufl.core.expr import Expr

from organtwin.errors import InputError
from organtwin.materials.kinematics import Directions, Material, Scalar, frame
from organtwin.materials.parameters import check_parameters, parameter

Array = NDArray[np.float64]


class FibreTension(Protocol):
    """Active tension of the muscle as a function of its present stretch."""

    def tension(self, stretch: Expr) -> Expr:
        """Tension per reference area (kPa) at the fibre stretch λ."""
        ...


@dataclass(frozen=True)
class ConstantTension:
    """A tension that does not depend on the stretch.

    Attributes:
        Ta: Tension per reference area (kPa).
    """

    Ta: Scalar

    def tension(self, stretch: Expr) -> Expr:
        """``Ta``, whatever the stretch."""
        return self.Ta


@dataclass(frozen=True)
class FilamentOverlap:
    """Dependence of the tension on the overlap of thick and thin filaments.

        h(λ) = max(0, 1 + β (Σᵢ sᵢ min(λ, kᵢ) − c))

    Attributes:
        slope: β.
        knots: Stretches kᵢ at which the slope changes.
        signs: sᵢ, 1 or −1 each.
        offset: c.
    """

    slope: Scalar
    knots: tuple[float, ...]
    signs: tuple[int, ...]
    offset: float

    @classmethod
    def land_2017(cls, slope: Scalar) -> FilamentOverlap:
        """1 + β (min(λ, 1.2) + min(λ, 0.87) − 1.87), Land et al. (2017)."""
        return cls(slope, knots=(1.2, 0.87), signs=(1, 1), offset=1.87)

    def __call__(self, stretch: Array) -> Array:
        """Values at the stretches λ."""
        sliding = self._sum([np.minimum(stretch, knot) for knot in self.knots])
        return np.maximum(0.0, 1 + self.slope * (sliding - self.offset))

    def form(self, stretch: Expr) -> Expr:
        """h(λ) in a weak form."""
        sliding = self._sum([ufl.min_value(stretch, knot) for knot in self.knots])
        return ufl.max_value(1 + self.slope * (sliding - self.offset), 0.0)

    def _sum(self, terms: Sequence[Any]) -> Any:
        total = terms[0] if self.signs[0] > 0 else -terms[0]
        for sign, term in zip(self.signs[1:], terms[1:], strict=True):
            total = total + term if sign > 0 else total - term
        return total


@dataclass(frozen=True)
class AffineTension:
    """Tension whose dependence on the stretch is carried through the solve of a time step.

        Ta(λ) = h(λ) [Ta₀ + K (λ − λ₀)]

    ``Ta₀`` and ``K`` come from `organtwin.cells.tension.TensionModel.affine`: K is the stiffness
    that the attached cross-bridges show against a fast stretch. Leaving it out makes staggered
    electromechanics oscillate.

    Attributes:
        Ta0: Tension/h if the stretch stays as it was (kPa).
        K: Stiffness of the attached cross-bridges (kPa).
        stretch_old: λ₀ at the start of the step.
        overlap: h(λ).

    Source:
        Regazzoni & Quarteroni (2021), Comput. Methods Appl. Mech. Eng. 373:113506.
    """

    Ta0: fem.Function
    K: fem.Function
    stretch_old: fem.Function
    overlap: FilamentOverlap

    def tension(self, stretch: Expr) -> Expr:
        """Ta(λ) (kPa)."""
        return self.overlap.form(stretch) * (self.Ta0 + self.K * (stretch - self.stretch_old))


@dataclass(frozen=True)
class TensionCurve:
    """Tension over time, linear between given points and constant beyond them.

    Attributes:
        times: Instants after activation (ms), increasing.
        values: Tensions (kPa), ≥ 0, one per instant.
        period: The curve starts anew after it (ms); None for a single beat.

    Raises:
        InputError: the points make no curve.
    """

    times: tuple[float, ...]
    values: tuple[float, ...]
    period: float | None = None

    def __post_init__(self) -> None:
        times, values = np.asarray(self.times), np.asarray(self.values)
        problem = None
        if times.shape != values.shape or times.size < 2:
            problem = f"{times.size} instants and {values.size} tensions."
        elif not np.isfinite(np.concatenate([times, values])).all():
            problem = "a point is no number."
        elif (np.diff(times) <= 0).any():
            problem = "the instants do not increase."
        elif (values < 0).any():
            problem = f"a tension of {values.min():g} kPa."
        elif self.period is not None and self.period < times[-1] - times[0]:
            problem = f"a period of {self.period:g} ms is shorter than the curve."
        if problem is not None:
            raise InputError("TensionCurve", problem, "Give increasing instants, tensions ≥ 0.")

    @classmethod
    def twitch(
        cls, peak: float, rise: float, fall: float, duration: float, delay: float = 0.0
    ) -> TensionCurve:
        """A twitch with a plateau, linear between instants 1 ms apart.

            T(t) = T_peak tanh²(s / τ_c) tanh²((t_dur − s) / τ_r),    s = t − t_emd, 0 < s < t_dur

        Args:
            peak: T_peak (kPa); the twitch comes the closer to it the longer it lasts.
            rise: τ_c (ms).
            fall: τ_r (ms).
            duration: t_dur (ms).
            delay: t_emd from the activation to the onset of tension (ms).

        Raises:
            InputError: a time is not positive.

        Source:
            Niederer et al. (2011), Cardiovasc. Res. 89:336–343, as its public implementations have
            it; theirs makes T_peak and τ_c depend on length, too.
        """
        if min(rise, fall, duration) <= 0 or delay < 0:
            raise InputError(
                "TensionCurve.twitch",
                f"rise {rise:g}, fall {fall:g}, duration {duration:g}, delay {delay:g} ms.",
                "Rise, fall and duration must be > 0, the delay ≥ 0.",
            )
        s = np.linspace(0.0, duration, max(3, round(np.ceil(duration)) + 1))
        T = peak * (np.tanh(s / rise) * np.tanh((duration - s) / fall)) ** 2
        before = [] if delay == 0 else [0.0]
        times = [*before, *(delay + s)]
        return cls(tuple(map(float, times)), tuple(map(float, [*before, *T])))

    def __call__(self, t: ArrayLike) -> Array:
        """Tension (kPa) at ``t`` (ms) after activation; before it that of the first point."""
        since = np.asarray(t, dtype=np.float64) - self.times[0]
        if self.period is not None:
            since = since - self.period * np.floor(np.maximum(since, 0.0) / self.period)
        return np.interp(since, np.asarray(self.times) - self.times[0], self.values)


@dataclass(frozen=True)
class PrescribedTension:
    """A tension that follows a curve in time, at each point from its activation on.

    Attributes:
        curve: Tension over time.
        Ta: What holds the present tension (kPa): a constant, or a field.
        activation: Time (ms) at which the curve starts; a field of ``Ta``'s space, or a number.
            A point that is never activated (inf) keeps the curve's first tension.

    Raises:
        InputError: a field of activation times with a constant tension.
    """

    curve: TensionCurve
    Ta: fem.Constant | fem.Function
    activation: float | fem.Function = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.activation, fem.Function) and (
            not isinstance(self.Ta, fem.Function)
            or len(self.Ta.x.array) != len(self.activation.x.array)
        ):
            raise InputError(
                "PrescribedTension",
                "activation times and tension are not of the same space.",
                "Make both functions of one space.",
            )
        self.set_time(0.0)

    def set_time(self, t: float) -> None:
        """Take the tensions of time ``t`` (ms)."""
        start = self.activation
        since = t - (start.x.array if isinstance(start, fem.Function) else start)
        if isinstance(self.Ta, fem.Function):
            self.Ta.x.array[:] = self.curve(since)
        else:
            self.Ta.value = float(self.curve(since))

    def tension(self, stretch: Expr) -> Expr:
        """The present ``Ta``, whatever the stretch."""
        return self.Ta


@dataclass(frozen=True)
class SecondPiolaTension:
    """Tension whose second Piola–Kirchhoff stress does not depend on the stretch.

        Ta(λ) = Sa λ,     so that P = Sa F f₀⊗f₀ and S = Sa f₀⊗f₀

    Attributes:
        Sa: Second Piola–Kirchhoff stress along the fibre (kPa).

    Source:
        Land et al. (2015), Proc. R. Soc. A 471:20150641, problem 3.
    """

    Sa: Scalar

    def tension(self, stretch: Expr) -> Expr:
        """Sa λ (kPa)."""
        return self.Sa * stretch


@dataclass(frozen=True)
class ActiveStress:
    """Orthotropic active stress.

        P = Ta(λ) [F f₀⊗f₀ / |F f₀| + ν F n₀⊗n₀ / |F n₀|]

    The second term stands for the dispersion of the myofibrils about the mean fibre, within the
    wall: along the sheet, which thickens in systole, there is none.

    Attributes:
        muscle: Tension Ta(λ) with λ = |F f₀|.
        cross_fibre_fraction: ν, share of the tension along the sheet normal, 0 to 1.

    Source:
        Regazzoni et al. (2022), J. Comput. Phys. 457:111083; dispersion after
        Genet et al. (2014), J. Appl. Physiol. 117:142–152.
    """

    muscle: FibreTension
    cross_fibre_fraction: Scalar = 0.0

    def first_piola(self, F: Expr, directions: Directions) -> Expr:
        """Active first Piola–Kirchhoff stress (kPa)."""
        f0 = directions.f0
        Ta = self.muscle.tension(fibre_stretch(F, f0))
        return Ta * (_along(F, f0) + self.cross_fibre_fraction * _along(F, directions.n0))


@dataclass(frozen=True)
class ActiveStrain:
    """Passive tissue whose unloaded shape contracts: F = Fₑ Fₐ.

        Fₐ = (1 + γ) f₀⊗f₀ + (1 + γ)^(−θ) s₀⊗s₀ + (1 + γ)^(θ−1) n₀⊗n₀,     det Fₐ = 1,
        Ψ(C) = Ψ_passive(Fₐ⁻ᵀ C Fₐ⁻¹)

    A material like any other: where an active stress adds work along the fibre, here the muscle
    is stretched against its new length, so ellipticity is that of the passive law.

    Attributes:
        material: The passive law.
        gamma: γ, active strain of the fibre, > −1; negative when it shortens.
        sheet_share: θ, share of the thickening that goes along the sheet; 1/2 makes it the same
            in all directions across the fibre.

    Source:
        Ambrosi & Pezzuto (2012), J. Elasticity 107:199–212; orthotropic: Rossi et al. (2014),
        Eur. J. Mech. A/Solids 48:129–142.
    """

    material: Material
    gamma: Scalar = field(metadata=parameter("1", above=-1.0))
    sheet_share: Scalar = field(default=0.5, metadata=parameter("1", at_least=0.0, at_most=1.0))

    def __post_init__(self) -> None:
        check_parameters(self)

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``, per passive volume."""
        axes = frame(directions, self)
        stretch = 1 + self.gamma
        shares = (-1, self.sheet_share, 1 - self.sheet_share)
        inverse = sum(
            stretch**share * ufl.outer(d, d)
            for share, d in zip(shares, (axes.f0, axes.s0, axes.n0), strict=True)
        )
        return self.material.strain_energy(inverse * C * inverse, axes)


def fibre_stretch(F: Expr, direction: Expr) -> Expr:
    """Stretch |F d| of the material direction ``d``."""
    return ufl.sqrt(ufl.inner(F * direction, F * direction))


def _along(F: Expr, direction: Expr) -> Expr:
    return ufl.outer(F * direction, direction) / fibre_stretch(F, direction)
