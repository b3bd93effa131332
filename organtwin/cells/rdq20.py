"""Active tension by cooperative regulatory units and cross-bridges: the model RDQ20-MF."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from organtwin.cells.tension import DrivenBy
from organtwin.errors import InputError
from organtwin.materials.active import FilamentOverlap
from organtwin.solve.native import compiled

Array = NDArray[np.float64]
_DOUBLES = np.ctypeslib.ndpointer(dtype=np.float64, flags="C_CONTIGUOUS")

#: Rows of a state array after the probabilities of the triplets, as in rdq20.c.
MU_0, MU_1, RATE, GAIN = range(16, 20)
#: Number of permissive neighbours, and states of tropomyosin and troponin in the middle, by row.
_NEIGHBOURS = np.array([(row >> 3 & 1) + (row >> 1 & 1) for row in range(16)])
_PERMISSIVE = np.array([row >> 2 & 1 for row in range(16)], dtype=bool)
_BOUND = np.array([row & 1 for row in range(16)], dtype=bool)


@dataclass(frozen=True)
class RDQ20MF:
    """Contraction of cardiac sarcomeres, human ones at body temperature unless told otherwise.

        Ta = h(SL) a_XB μ¹,
        dμ⁰/dt = μ⁰_f P − r μ⁰,     dμ¹/dt = μ¹_f P + μ⁰ dλ/dt − r μ¹,     r = r₀ + α |dλ/dt|

    P, the permissive share of the sites, follows from 16 probabilities of triplets of neighbouring
    regulatory units: a tropomyosin becomes permissive more easily beside permissive ones (γ) and
    with calcium on its troponin (μ), which binds at the rate K_off/K_d(SL) [Ca]. μ⁰ and μ¹ are the
    share of the attached cross-bridges and their mean distortion, each summed over permissive and
    non-permissive sites: the source has both apart, but detachment does not depend on the site and
    only the sums appear in the tension. In r stands the stretch rate of the step before.

    Attributes:
        a_XB: Tension per mean distortion (kPa).
        SL0: Sarcomere length at λ = 1 (µm).
        LA, LM, LB: Lengths of actin, myosin and the bare zone (µm).
        Q: Equilibrium of an isolated tropomyosin with calcium.
        mu: Factor of calcium on that equilibrium.
        gamma: Cooperativity of neighbouring tropomyosins.
        Kd0: Dissociation constant of calcium at SL = 2.15 µm (µM).
        alphaKd: Its change with length (µM/µm).
        Koff, Kbasic: Rates of troponin and tropomyosin (1/ms).
        r0: Detachment of cross-bridges in an isometric sarcomere (1/ms).
        alpha: Detachment by the stretch rate.
        mu0_f, mu1_f: Attachment at a permissive site: share and distortion (1/ms).
        SL_sensitive: Length (µm) above which calcium sensitivity does not grow on. Not in the
            source, whose K_d vanishes at 2.82 µm.

    Source:
        Regazzoni, Dedè & Quarteroni (2020), PLOS Comput. Biol. 16(10):e1008294; numbers of the
        authors' public code.
    """

    a_XB: float = 22894.0
    SL0: float = 2.2
    LA: float = 1.25
    LM: float = 1.65
    LB: float = 0.18
    Q: float = 2.0
    mu: float = 10.0
    gamma: float = 12.0
    Kd0: float = 0.381
    alphaKd: float = -0.571
    Koff: float = 0.1
    Kbasic: float = 0.013
    r0: float = 0.13431
    alpha: float = 25.184
    mu0_f: float = 0.032653
    mu1_f: float = 0.000778
    SL_sensitive: float = 2.4

    driven_by: ClassVar[DrivenBy] = "calcium"
    #: Rows of a state array: triplets (left, middle, right; calcium), moments of the cross-bridges,
    #: stretch rate of the last step (1/ms), distortion gained per stretch rate (ms).
    state_names: ClassVar[tuple[str, ...]] = (
        *(f"{row >> 1:03b}{row & 1}" for row in range(16)), "mu_0", "mu_1", "rate", "gain",
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name in ("a_XB", "SL0", "Q", "mu", "gamma", "Koff", "Kbasic", "r0", "mu0_f", "mu1_f"):
            if getattr(self, name) <= 0:
                raise InputError("RDQ20MF", f"{name} = {getattr(self, name)}.", "It must be > 0.")
        if self.Kd0 - self.alphaKd * (2.15 - self.SL_sensitive) <= 0:
            raise InputError(
                "RDQ20MF",
                f"calcium could not leave troponin at SL = {self.SL_sensitive:g} µm.",
                "Raise Kd0, or lower SL_sensitive or the magnitude of alphaKd.",
            )

    @classmethod
    def rat(cls) -> RDQ20MF:
        """Rat cells at room temperature, same source."""
        return cls(
            Kd0=0.835, alphaKd=-1.258, Koff=0.12, Kbasic=0.02, mu0_f=0.032708, mu1_f=0.000779,
            SL_sensitive=2.3,
        )  # fmt: skip

    @property
    def overlap(self) -> FilamentOverlap:
        """Share of the myosin heads that face one actin filament each."""
        lengths = (self.LM, 2 * self.LA - self.LB, 2 * self.LA + self.LB, 2 * self.LA + self.LM)
        return FilamentOverlap(
            slope=self.SL0 / (self.LM - self.LB),
            knots=tuple(length / self.SL0 for length in lengths),
            signs=(1, 1, 1, -1),
            offset=(lengths[0] + lengths[1]) / self.SL0,
        )

    def rest(self, points: int) -> Array:
        """No calcium, nothing permissive, nothing attached; shape (20, points)."""
        states = np.zeros((len(self.state_names), points))
        states[0] = 1.0
        return states

    def dissociation(self, stretch: Array) -> Array:
        """K_d (µM) of calcium from troponin at the stretch λ."""
        length = np.minimum(self.SL0 * stretch, self.SL_sensitive)
        return np.asarray(self.Kd0 - self.alphaKd * (2.15 - length))

    def kinetics(self, states: Array, drive: Array, stretch: Array, dt: float) -> Array:
        """States after ``dt`` at a held stretch and without a change of it.

        Regulatory units by the classical Runge–Kutta scheme, cross-bridges exactly for a held P.

        Args:
            states: Shape (20, points).
            drive: Free calcium at the end of the step (µM).
            stretch: λ at the start of the step.
            dt: Step (ms), cut into sub-steps of at most `SUBSTEP`.
        """
        new = np.array(states, order="C")
        binding = self.Koff * np.maximum(drive, 0.0) / self.dissociation(stretch)
        steps = max(1, round(np.ceil(dt / SUBSTEP)))
        _functions(_library()).advance(
            new.shape[1], dt / steps, steps, self._constants(), np.ascontiguousarray(binding), new
        )
        return new

    def affine(self, states: Array, dt: float) -> tuple[Array, Array]:
        """Ta/h at the end of a step as an affine function of the stretch change.

        The distortion is linear in the stretch rate, which is constant over the step.

        Returns:
            Ta₀ and K (kPa), shape (points,) each. For short steps K is the stiffness a_XB μ⁰ of
            the attached cross-bridges.
        """
        return self.a_XB * states[MU_1], self.a_XB * states[GAIN] / dt

    def distort(self, states: Array, stretch_change: Array, dt: float) -> Array:
        """States after the cross-bridges followed a stretch change over ``dt``."""
        new = states.copy()
        new[RATE] = stretch_change / dt
        new[MU_1] += states[GAIN] * new[RATE]
        return new

    def tension(self, states: Array, stretch: Array) -> Array:
        """Ta (kPa) of the given states at the stretch λ, shape (points,)."""
        return self.overlap(stretch) * self.a_XB * states[MU_1]

    def permissivity(self, states: Array) -> Array:
        """P, permissive share of the sites, shape (points,)."""
        return np.asarray(states[:16][_PERMISSIVE].sum(axis=0))

    def _constants(self) -> Array:
        """What rdq20.c calls parameters."""
        opening = self.Q * self.gamma**_NEIGHBOURS * np.where(_BOUND, 1.0, 1 / self.mu)
        closing = self.gamma ** (2.0 - _NEIGHBOURS)
        turning = self.Kbasic * np.where(_PERMISSIVE, closing, opening)
        others = [self.Koff, self.Koff / self.mu, self.mu0_f, self.mu1_f, self.r0, self.alpha]
        return np.concatenate([turning, others])


#: Longest step of the regulatory units (ms).
SUBSTEP = 0.25


@cache
def _library() -> str:
    return str(compiled((files("organtwin.cells") / "rdq20.c").read_text("utf-8")))


@cache
def _functions(library: str) -> ctypes.CDLL:
    code = ctypes.CDLL(library)
    size = ctypes.c_size_t
    code.advance.argtypes = [size, ctypes.c_double, size, _DOUBLES, _DOUBLES, _DOUBLES]
    code.advance.restype = None
    return code
