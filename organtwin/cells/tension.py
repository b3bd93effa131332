"""Active tension of muscle cells: the interface of its models, and that of Land and colleagues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.materials.active import FilamentOverlap

Array = NDArray[np.float64]

#: What a model takes from the cells: free calcium (µM) or the transmembrane potential (mV).
DrivenBy = Literal["calcium", "potential"]


class TensionModel(Protocol):
    """Contraction of many points at once, each with states of its own.

    A step is `kinetics` at the old stretch, an equilibrium in which

        Ta(λ) = h(λ) [Ta₀ + K (λ − λ₀)]

    with Ta₀ and K of `affine`, and `distort` by the stretch that was found; then `tension` is
    that of the equilibrium. All that a point remembers is in its states, so that a run can go on
    from them, wherever the point lies.
    """

    @property
    def driven_by(self) -> DrivenBy:
        """What `kinetics` takes."""
        ...

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the rows of a state array."""
        ...

    @property
    def overlap(self) -> FilamentOverlap:
        """h(λ)."""
        ...

    def rest(self, points: int) -> Array:
        """Relaxed state, shape (states, points)."""
        ...

    def kinetics(self, states: Array, drive: Array, stretch: Array, dt: float) -> Array:
        """States after ``dt`` (ms) at a held stretch.

        Args:
            states: Shape (states, points).
            drive: Of ``driven_by`` at the end of the step, shape (points,).
            stretch: λ at the start of the step.
            dt: Step (ms).
        """
        ...

    def affine(self, states: Array, dt: float) -> tuple[Array, Array]:
        """Ta₀ and K (kPa), shape (points,) each, from the states after `kinetics`."""
        ...

    def distort(self, states: Array, stretch_change: Array, dt: float) -> Array:
        """States after `kinetics` → those at the end of a step in which λ changed as given."""
        ...

    def tension(self, states: Array, stretch: Array) -> Array:
        """Ta (kPa) of the given states at the stretch λ, shape (points,)."""
        ...


@dataclass(frozen=True)
class Land2017:
    """Contraction of human ventricular myocytes at 37 °C.

        Ta = h(λ) T_ref/r_s [S (ζ_s + 1) + W ζ_w],       dζ/dt = A dλ/dt − c ζ

    with calcium-bound troponin, a blocked (B), an unbound (U), a weakly (W) and a strongly bound
    (S) state of the cross-bridges, and their distortions ζ by the stretch rate.

    Attributes:
        T_ref: Tension at full activation and rest length (kPa).
        ca50: Calcium at half activation, at λ = 1 (µM).
        k_trpn, k_u, k_uw, k_ws: Rates of troponin, unblocking and cross-bridge cycling (1/ms).
        n_trpn, n_tm: Cooperativity of troponin and of tropomyosin.
        trpn50: Troponin occupation at which half of the sites are unblocked.
        r_w, r_s: Steady-state shares of weakly and strongly bound cross-bridges.
        gamma_w, gamma_s: Detachment by distortion (1/ms).
        phi: Distortion decay relative to the cycling rates.
        A_eff: Distortion per stretch.
        beta_0, beta_1: Length dependence of the tension and of ca50 (µM).

    Source:
        Land et al. (2017), J. Mol. Cell. Cardiol. 106:68–83; the
        numbers are those of its public implementations.
    """

    T_ref: float = 120.0
    ca50: float = 0.805
    k_trpn: float = 0.1
    n_trpn: float = 2.0
    k_u: float = 0.04
    n_tm: float = 2.4
    trpn50: float = 0.35
    k_uw: float = 0.182
    k_ws: float = 0.012
    r_w: float = 0.5
    r_s: float = 0.25
    gamma_w: float = 0.615
    gamma_s: float = 0.0085
    phi: float = 2.23
    A_eff: float = 25.0
    beta_0: float = 2.3
    beta_1: float = -2.4

    #: Rows of a state array: calcium-bound troponin, blocked tropomyosin, weakly and strongly bound
    #: cross-bridges and their mean distortions.
    state_names: ClassVar = ("CaTRPN", "B", "W", "S", "zeta_w", "zeta_s")
    driven_by: ClassVar[DrivenBy] = "calcium"

    def __post_init__(self) -> None:
        for name in ("T_ref", "ca50", "k_trpn", "k_u", "k_uw", "k_ws", "phi", "A_eff"):
            if getattr(self, name) <= 0:
                raise InputError("Land2017", f"{name} = {getattr(self, name)}.", "It must be > 0.")

    # --- rates that follow from the parameters

    @property
    def k_wu(self) -> float:
        """Rate from weakly bound to unbound (1/ms)."""
        return self.k_uw * (1 / self.r_w - 1) - self.k_ws

    @property
    def k_su(self) -> float:
        """Rate from strongly bound to unbound (1/ms)."""
        return self.k_ws * (1 / self.r_s - 1) * self.r_w

    @property
    def k_b(self) -> float:
        """Rate of blocking (1/ms)."""
        bound = self.r_s + (1 - self.r_s) * self.r_w
        return self.k_u * self.trpn50**self.n_tm / (1 - bound)

    @property
    def distortion(self) -> float:
        """A: distortion of a bound cross-bridge per stretch."""
        return self.A_eff * self.r_s / ((1 - self.r_s) * self.r_w + self.r_s)

    @property
    def decay_w(self) -> float:
        """Decay of the distortion of weakly bound cross-bridges (1/ms)."""
        return self.phi * self.k_uw * (1 - self.r_s) * (1 - self.r_w) / ((1 - self.r_s) * self.r_w)

    @property
    def decay_s(self) -> float:
        """Decay of the distortion of strongly bound cross-bridges (1/ms)."""
        return self.phi * self.k_ws * (1 - self.r_s) * self.r_w / self.r_s

    def rest(self, points: int) -> Array:
        """Relaxed state, shape (6, points): everything blocked, nothing bound."""
        states = np.zeros((len(self.state_names), points))
        states[1] = 1.0
        return states

    @property
    def overlap(self) -> FilamentOverlap:
        """h(λ), the dependence of the tension on the filament overlap."""
        return FilamentOverlap.land_2017(self.beta_0)

    def tension(self, states: Array, stretch: Array) -> Array:
        """Ta (kPa) of the given states at the stretch λ, shape (points,)."""
        _, _, W, S, zeta_w, zeta_s = states
        return self.overlap(stretch) * self.T_ref / self.r_s * (S * (zeta_s + 1) + W * zeta_w)

    def kinetics(self, states: Array, drive: Array, stretch: Array, dt: float) -> Array:
        """States after ``dt`` at a held stretch and a held rate of it.

        Exponential integrator: in each equation the coefficient of its own unknown is frozen
        for the sub-step, so that no rate limits the stability.

        Args:
            states: Shape (6, points).
            drive: Free calcium at the end of the step (µM).
            stretch: λ at the start of the step.
            dt: Step (ms), cut into sub-steps of at most 0.5 ms.
        """
        trpn, B, W, S, zeta_w, zeta_s = states
        ca50 = self.ca50 + self.beta_1 * (np.minimum(stretch, 1.2) - 1)
        binding = self.k_trpn * (np.maximum(drive, 0) / ca50) ** self.n_trpn
        loss_w = self.k_wu + self.k_ws + self.gamma_w * np.abs(zeta_w)
        detach = np.where(zeta_s > 0, zeta_s, np.where(zeta_s < -1, -zeta_s - 1, 0.0))
        loss_s = self.k_su + self.gamma_s * detach
        substeps = max(1, round(np.ceil(dt / 0.5)))
        h = dt / substeps
        for _ in range(substeps):
            trpn = _relax(trpn, binding, binding + self.k_trpn, h)
            power = np.maximum(trpn, 1e-12) ** (self.n_tm / 2)
            U = 1 - B - W - S
            block = self.k_b * np.minimum(100.0, 1 / power)
            B_new = _relax(B, block * (1 - W - S), block + self.k_u * power, h)
            W_new = _relax(W, self.k_uw * (U + W), self.k_uw + loss_w, h)
            S = _relax(S, self.k_ws * W, loss_s, h)
            B, W = B_new, W_new
        return np.stack([trpn, B, W, S, zeta_w, zeta_s])

    def distort(self, states: Array, stretch_change: Array, dt: float) -> Array:
        """States after the distortions followed a stretch change over ``dt`` (exactly).

        The stretch rate is constant over the step, so that

            ζ(t+dt) = ζ(t) e^{−c dt} + A Δλ (1 − e^{−c dt}) / (c dt).
        """
        new = states.copy()
        for row, decay in ((4, self.decay_w), (5, self.decay_s)):
            new[row] = states[row] * np.exp(-decay * dt) + self._gain(decay, dt) * stretch_change
        return new

    def affine(self, states: Array, dt: float) -> tuple[Array, Array]:
        """Ta/h(λ) at the end of a step as an affine function of the stretch change.

            Ta = h(λ) [Ta₀ + K (λ − λ₀)]

        Both follow from `distort` by hand: the tension is affine in the distortions, and they are
        in Δλ. This is the term that a staggered scheme must carry to be stable.

        Args:
            states: States after `kinetics`, distortions of the start of the step.
            dt: Step (ms).

        Returns:
            Ta₀ and K (kPa), shape (points,) each.

        Source:
            Regazzoni & Quarteroni (2021), Comput. Methods Appl. Mech. Eng. 373:113506.
        """
        _, _, W, S, zeta_w, zeta_s = states
        scale = self.T_ref / self.r_s
        held_w = zeta_w * np.exp(-self.decay_w * dt)
        held_s = zeta_s * np.exp(-self.decay_s * dt)
        slope = W * self._gain(self.decay_w, dt) + S * self._gain(self.decay_s, dt)
        return scale * (S * (held_s + 1) + W * held_w), scale * slope

    def _gain(self, decay: float, dt: float) -> float:
        return float(self.distortion * -np.expm1(-decay * dt) / (decay * dt))


def _relax(value: Array, gain: Array, loss: Array | float, dt: float) -> Array:
    """Exact solution of y' = gain − loss y with both coefficients held."""
    target = gain / loss
    return target + (value - target) * np.exp(-loss * dt)
