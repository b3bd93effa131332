"""Active tension that follows the transmembrane potential, without calcium in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NashPanfilov:
    """Tension driven by the potential, at a rate that is faster while the cell is depolarised.

        dTa/dt = ε(v) (k_T ⟨v − v_r⟩ − Ta),
        ε(v) = ε₀ + (ε_∞ − ε₀) exp(−exp(−ξ (v − v_c)))

    For studies that need some contraction in step with the electrical wave. It knows neither
    calcium nor length, so it must not be asked about either: `Land2017` does.

    Attributes:
        k_T: Tension per potential above rest (kPa/mV), > 0.
        v_rest: v_r (mV).
        v_critical: v_c (mV), about which the rate changes.
        rate_rest, rate_active: ε₀ and ε_∞ (1/ms), > 0.
        steepness: ξ (1/mV), > 0.

    Source:
        Nash & Panfilov (2004), Prog. Biophys. Mol. Biol. 85:501–522; smooth rate of Göktepe & Kuhl
        (2010), Comput. Mech. 45:227–243. Rates and potentials are the defaults of SimVascular's
        svFSI; there is no default for k_T.
    """

    k_T: float
    v_rest: float = -80.0
    v_critical: float = -30.0
    rate_rest: float = 0.1
    rate_active: float = 1.0
    steepness: float = 1.0

    def __post_init__(self) -> None:
        for name in ("k_T", "rate_rest", "rate_active", "steepness"):
            if not getattr(self, name) > 0:
                raise InputError(
                    "NashPanfilov", f"{name} = {getattr(self, name)}.", "It must be > 0."
                )

    def rest(self, points: int) -> Array:
        """Relaxed tensions (kPa), shape (points,)."""
        return np.zeros(points)

    def rate(self, v: Array) -> Array:
        """ε(v) (1/ms)."""
        with np.errstate(over="ignore"):  # far below v_c the inner exponential is infinite
            share = np.exp(-np.exp(-self.steepness * (v - self.v_critical)))
        return self.rate_rest + (self.rate_active - self.rate_rest) * share

    def kinetics(self, Ta: Array, v: Array, dt: float) -> Array:
        """Tensions (kPa) after ``dt`` (ms) at a held potential ``v`` (mV): exact then."""
        target = self.k_T * np.maximum(v - self.v_rest, 0.0)
        return target + (Ta - target) * np.exp(-self.rate(v) * dt)
