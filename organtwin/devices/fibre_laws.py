"""Metals under tension and compression, as the fibres of a strut feel them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from organtwin.materials.nitinol import Nitinol
from organtwin.materials.parameters import check_parameters, parameter
from organtwin.materials.plastic import J2Plasticity

Array = NDArray[np.float64]
History = Mapping[str, Array]

#: Newton sweeps of the return mapping with saturation: it converges from below.
SWEEPS = 12
#: Overstress at which a fibre goes on to flow or transform: rounding must not decide that for a
#: step that has not begun, or the first tangent is a random mixture of elastic and soft fibres.
EDGE = 1e-9


@dataclass(frozen=True)
class FibreStep:
    """What a fibre does in a step; all arrays have the shape of the strain.

    Attributes:
        stress: First Piola–Kirchhoff stress along the fibre (kPa).
        tangent: Its derivative by the strain (kPa), consistent with the step.
        history: To start the next step from, once this one is accepted.
    """

    stress: Array
    tangent: Array
    history: History


class FibreLaw(Protocol):
    """Stress along a fibre whose sides are free.

    Strains are those of length, ε = l/L − 1.
    """

    @property
    def youngs_modulus(self) -> float:
        """Of the metal at rest (kPa)."""
        ...

    @property
    def poissons_ratio(self) -> float:
        """Of the metal at rest."""
        ...

    def start(self, shape: tuple[int, ...]) -> History:
        """History of fibres that were never strained."""
        ...

    def step(self, strain: Array, history: History) -> FibreStep:
        """Stress at the end of a step that began with ``history``."""
        ...

    def energies(self, history: History) -> tuple[Array, Array]:
        """Elastic energy, and work that is not elastic, per reference volume (kPa)."""
        ...


@dataclass(frozen=True)
class ElasticFibre:
    """P = E ε.

    Attributes:
        E: Young's modulus (kPa), > 0.
        nu: Poisson's ratio.
    """

    E: float = field(metadata=parameter("kPa", above=0.0))
    nu: float = field(default=0.3, metadata=parameter("1", above=-1.0, at_most=0.5))

    def __post_init__(self) -> None:
        check_parameters(self)

    @property
    def youngs_modulus(self) -> float:
        """E (kPa)."""
        return self.E

    @property
    def poissons_ratio(self) -> float:
        """ν."""
        return self.nu

    def start(self, shape: tuple[int, ...]) -> History:
        """Strain of the last step."""
        return {"strain": np.zeros(shape)}

    def step(self, strain: Array, history: History) -> FibreStep:
        """P = E ε."""
        return FibreStep(self.E * strain, np.full_like(strain, self.E), {"strain": strain})

    def energies(self, history: History) -> tuple[Array, Array]:
        """½ E ε² and nothing."""
        return 0.5 * self.E * history["strain"] ** 2, np.zeros_like(history["strain"])


@dataclass(frozen=True)
class PlasticFibre:
    """`J2Plasticity` under uniaxial stress: logarithmic strain e = ln(1 + ε), Kirchhoff stress τ.

        τ = E (e − e_p),   |τ| ≤ σ_y(α),   α̇ = |ė_p|,   P = τ / (1 + ε)

    With free sides the law of solids gives this for small elastic strains: plastic flow keeps the
    volume, so that the axial strains add up. Elastically both differ by terms of order e².

    Attributes:
        metal: Yield stress and hardening, and μ, from which E = 2 μ (1 + ν).
        nu: Poisson's ratio.
    """

    metal: J2Plasticity
    nu: float = field(default=0.3, metadata=parameter("1", above=-1.0, at_most=0.5))

    def __post_init__(self) -> None:
        check_parameters(self)

    @property
    def youngs_modulus(self) -> float:
        """E = 2 μ (1 + ν) (kPa)."""
        return 2.0 * float(self.metal.mu) * (1.0 + self.nu)

    @property
    def poissons_ratio(self) -> float:
        """ν."""
        return self.nu

    def flow_stress(self, alpha: Array) -> tuple[Array, Array, Array]:
        """σ_y(α), its slope and its integral from 0 to α (kPa)."""
        first, H = float(self.metal.yield_stress), float(self.metal.hardening)
        stress, slope = first + H * alpha, np.full_like(alpha, H)
        work = first * alpha + 0.5 * H * alpha**2
        if self.metal.saturation_stress is not None:
            rise = float(self.metal.saturation_stress) - first
            rate = float(self.metal.saturation_rate)
            fall = np.exp(-rate * alpha)
            stress, slope = stress + rise * (1 - fall), slope + rise * rate * fall
            work = work + rise * (alpha - (1 - fall) / rate)
        return stress, slope, work

    def start(self, shape: tuple[int, ...]) -> History:
        """Plastic strain e_p, α and stress τ (kPa)."""
        return {name: np.zeros(shape) for name in ("plastic", "alpha", "stress")}

    def step(self, strain: Array, history: History) -> FibreStep:
        """Radial return in one dimension."""
        E, stretch = self.youngs_modulus, _stretch(strain)
        trial = E * (np.log(stretch) - history["plastic"])
        size, flow = np.abs(trial), np.zeros_like(strain)
        # The excess is convex in the flow and falls: Newton's method climbs to the root.
        for _ in range(SWEEPS):
            stress, slope, _ = self.flow_stress(history["alpha"] + flow)
            excess = size - E * flow - stress * (1 + EDGE)
            flow = np.maximum(flow + excess / (E + slope), 0.0)
            if not (excess > 1e-13 * E).any():
                break
        slope = self.flow_stress(history["alpha"] + flow)[1]
        tau = trial - E * flow * np.sign(trial)
        tangent = np.where(flow > 0, E * slope / (E + slope), E)
        new = {
            "plastic": history["plastic"] + flow * np.sign(trial),
            "alpha": history["alpha"] + flow,
            "stress": tau,
        }
        return _pulled_back(tau, tangent, stretch, new)

    def energies(self, history: History) -> tuple[Array, Array]:
        """½ τ²/E, and the plastic work ∫ σ_y dα, of which hardening may store a part."""
        return 0.5 * history["stress"] ** 2 / self.youngs_modulus, self.flow_stress(
            history["alpha"]
        )[2]


@dataclass(frozen=True)
class SuperelasticFibre:
    """`Nitinol` under uniaxial stress, in logarithmic strain and Kirchhoff stress.

        τ = E(ξ) (e ∓ ε_L ξ),    P = τ / (1 + ε)

    In compression the stresses of the transformation are larger, and its strain is smaller, by the
    factor (√(2/3) + α) / (√(2/3) − α), as the law of solids has it. A fibre that changes from
    tension to compression within a step has lost its martensite on the way.

    Attributes:
        metal: Parameters.
    """

    metal: Nitinol

    @property
    def youngs_modulus(self) -> float:
        """Of austenite (kPa)."""
        return float(self.metal.E_austenite)

    @property
    def poissons_ratio(self) -> float:
        """ν."""
        return float(self.metal.nu)

    def start(self, shape: tuple[int, ...]) -> History:
        """Log strain, ξ, stress τ (kPa) and work ∫ τ de (kPa)."""
        return {name: np.zeros(shape) for name in ("strain", "martensite", "stress", "work")}

    def step(self, strain: Array, history: History) -> FibreStep:
        """Transformation by the kinetics of `Nitinol`, integrated exactly over the step."""
        law, stretch = self.metal, _stretch(strain)
        e, sign = np.log(stretch), np.where(strain < 0, -1.0, 1.0)
        same = np.where(history["strain"] < 0, -1.0, 1.0) == sign
        xi_old = np.where(same, history["martensite"], 0.0)
        f_old = np.where(same, np.abs(history["stress"]), 0.0)
        factor = np.where(sign < 0, self.asymmetry, 1.0)
        E = float(law.E_austenite)
        force = _Force(
            E * np.abs(e), E * float(law.eps_L) / factor, 1 - float(law.E_martensite) / E
        )
        xi, rate = self._martensite(force, xi_old, f_old, factor)
        size = force.at(xi)
        tau = sign * size
        tangent = E * ((1 - force.m * xi) + force.by_xi(xi) * rate)
        work = history["work"] + 0.5 * (history["stress"] + tau) * (e - history["strain"])
        new = {"strain": e, "martensite": xi, "stress": tau, "work": work}
        return _pulled_back(tau, tangent, stretch, new)

    @property
    def asymmetry(self) -> float:
        """Stress at which the transformation begins in compression, over that in tension."""
        root, alpha = math.sqrt(2 / 3), float(self.metal.alpha)
        return (root + alpha) / (root - alpha)

    def energies(self, history: History) -> tuple[Array, Array]:
        """½ τ²/E(ξ), and what else was put in: lost, or held by martensite until it goes back."""
        law = self.metal
        E = float(law.E_austenite) + history["martensite"] * (
            float(law.E_martensite) - float(law.E_austenite)
        )
        elastic = 0.5 * history["stress"] ** 2 / E
        return elastic, history["work"] - elastic

    def _martensite(
        self, f: _Force, xi_old: Array, f_old: Array, factor: Array
    ) -> tuple[Array, Array]:
        """ξ and dξ/da at the end of a step."""
        law = self.metal
        start, finish = float(law.AM_start) * factor, float(law.AM_finish) * factor
        back, end = float(law.MA_start) * factor, float(law.MA_finish) * factor
        trial = f.at(xi_old)
        loading = trial > np.maximum(f_old, start) * (1 + EDGE)
        unloading = trial < np.minimum(f_old, back) * (1 - EDGE)

        rest = 1 - xi_old
        span = np.maximum(finish - np.maximum(f_old, start), 1e-6 * finish)
        forward = np.clip(f.solve(rest, span, span + rest * (f.a - finish)), xi_old, 1.0)
        forward = np.where(f.at(np.ones_like(xi_old)) >= finish, 1.0, forward)
        forward_rate = rest * (1 - f.m * forward) / (span - rest * f.by_xi(forward))

        span = np.maximum(np.minimum(f_old, back) - end, 1e-6 * end)
        reverse = np.clip(f.solve(xi_old, span, xi_old * (f.a - end)), 0.0, xi_old)
        reverse = np.where(f.a <= end, 0.0, reverse)
        reverse_rate = xi_old * (1 - f.m * reverse) / (span - xi_old * f.by_xi(reverse))

        xi = np.where(loading, forward, np.where(unloading, reverse, xi_old))
        rate = np.where(loading, forward_rate, np.where(unloading, reverse_rate, 0.0))
        moves = (xi > 0) & (xi < 1) & (xi != xi_old)
        return xi, np.where(moves, rate, 0.0)


@dataclass(frozen=True)
class _Force:
    """|τ| as a function of ξ at a given strain: f(ξ) = (1 − m ξ)(a − b ξ), as in `Nitinol`."""

    a: Array
    b: Array
    m: float

    def at(self, xi: Array) -> Array:
        return np.asarray((1 - self.m * xi) * (self.a - self.b * xi))

    def by_xi(self, xi: Array) -> Array:
        return np.asarray(-self.m * (self.a - self.b * xi) - self.b * (1 - self.m * xi))

    def solve(self, share: Array, span: Array, c: Array) -> Array:
        """Smaller root of m b w ξ² − [d + w (b + m a)] ξ + c = 0 with w = share and d = span."""
        quadratic = share * self.m * self.b
        linear = span + share * (self.b + self.m * self.a)
        root = np.sqrt(np.maximum(linear**2 - 4 * quadratic * c, 1e-6 * linear**2))
        return np.asarray(2 * c / (linear + root))


def _stretch(strain: Array) -> Array:
    # A Newton step on its way may overshoot; such a state is not accepted by the solver.
    return np.maximum(1.0 + strain, 1e-3)


def _pulled_back(tau: Array, tangent: Array, stretch: Array, history: History) -> FibreStep:
    """P and dP/dε from τ and dτ/d ln λ."""
    return FibreStep(tau / stretch, (tangent - tau) / stretch**2, history)


def cobalt_chromium() -> PlasticFibre:
    """Annealed L605 cobalt–chromium with linear hardening.

    E = 240 GPa, ν = 0.3, yield stress 450 MPa. Young's modulus and yield stress lie in the middle
    of the ranges 233–243 GPa and 414–476 MPa that the literature names. The hardening modulus of
    2 GPa is our choice: from 450 MPa to an ultimate strength near 1 GPa over a strain of 0.3.
    """
    metal = J2Plasticity.from_engineering(240e6, 0.3, 450e3, hardening=2e6)
    return PlasticFibre(metal, 0.3)
