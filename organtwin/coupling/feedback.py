"""Mechano-electric feedback: what the cells and the conduction feel of the motion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.coupling.nesting import Nesting
from organtwin.electrophysiology.diffusion import Diffusion
from organtwin.electrophysiology.reaction_diffusion import ReactionDiffusion
from organtwin.errors import InputError
from organtwin.parallel import agree
from organtwin.process import Process

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StretchActivatedCurrent:
    """Current through channels that open when the fibre is longer than at rest.

        I = g s(λ) (v − E),     s(λ) = max(λ − 1, 0)/(λ_max − 1)

    It is added to the cells' own currents in ∂v/∂t = −(I_ion + I).

    Attributes:
        conductance: g, per capacitance (1/ms, which is nS/pF), ≥ 0. No default: published values
            differ by orders of magnitude.
        reversal_potential: E (mV). That of channels that let all cations pass; chosen by us, not
            fitted.
        largest_stretch: λ_max at which s = 1, > 1; s goes on beyond it.

    Source:
        Linear opening and current as in Weise & Panfilov (2013), PLoS ONE 8:e59317, for human
        ventricular cells; the numbers are not theirs.
    """

    conductance: float
    reversal_potential: float = -20.0
    largest_stretch: float = 1.1

    def __post_init__(self) -> None:
        if not (0 <= self.conductance < np.inf and self.largest_stretch > 1):
            raise InputError(
                "StretchActivatedCurrent",
                f"conductance {self.conductance:g}/ms, largest stretch {self.largest_stretch:g}.",
                "The conductance must be ≥ 0, the largest stretch > 1.",
            )

    def rate(self, stretch: Array) -> Array:
        """Rate g s(λ) (1/ms)."""
        return self.conductance * np.maximum(stretch - 1, 0.0) / (self.largest_stretch - 1)

    def relaxed(self, v: Array, rate: Array, dt: float) -> Array:
        """Potential v (mV) after ``dt`` (ms) of this current alone: E + (v − E) e^{−g s Δt}."""
        E = self.reversal_potential
        return np.asarray(E + (v - E) * np.exp(-rate * dt))


@dataclass(frozen=True)
class Feedback:
    """What electrophysiology feels of the motion.

    Attributes:
        stretch_activated_current: Current of stretched cells; None for none.
        conduction: Whether the potential spreads through the deformed body,

                χ (C_m ∂v/∂t + I_ion) = ∇·(J F⁻¹ D F⁻ᵀ ∇v),     D = R σ Rᵀ,     F = R U

            on the mesh of the image, F from there. The conductivity turns with the tissue, and so
            does the membrane: χ is its area per volume of the image.
        tolerance: Change of an entry of F in any cell after which the matrix is assembled anew.

    Source:
        Monodomain equation of a moving body: Regazzoni et al. (2022), J. Comput. Phys. 457:111083.
        Ours are two choices. With χ per volume of the moving tissue the left side would have a
        factor J, which is 1 but for the tissue's compression. With axes of D that lie along
        convected fibres, F f₀, and not along R f₀, shear would turn them a little further.
    """

    stretch_activated_current: StretchActivatedCurrent | None = None
    conduction: bool = False
    tolerance: float = 0.01

    @property
    def acts(self) -> bool:
        """Whether there is any."""
        return self.conduction or self.stretch_activated_current is not None


NO_FEEDBACK = Feedback()


class StretchDrive:
    """A stretch-activated current at the nodes, as a `Drive` of excitable tissue.

    Args:
        current: The current.
        nodes: Number of local nodes (owned and ghosts).
    """

    def __init__(self, current: StretchActivatedCurrent, nodes: int) -> None:
        self.current = current
        self.rate = np.zeros(nodes)

    @property
    def state(self) -> Mapping[str, Array]:
        """Rate g s(λ) (1/ms) at the nodes."""
        return {"stretch_rate_of_current": self.rate}

    def apply(self, v: Array, t: float, dt: float) -> None:
        """Move v (mV) by the current for ``dt`` (ms)."""
        open_ = np.flatnonzero(self.rate)
        v[open_] = self.current.relaxed(v[open_], self.rate[open_], dt)

    def overlaps(self, t0: float, t1: float) -> bool:
        """It has no edges in time."""
        return False

    def beat(self, t: float) -> int:
        """It begins no beats."""
        return 0


class ElectricalFeedback:
    """Takes what the mechanics found over into the electrophysiology.

    Args:
        feedback: What it feels.
        ep: Monodomain model.
        nesting: Of the electrical mesh in the mechanical one.

    Raises:
        InputError: this model of the electrophysiology cannot feel it.
    """

    def __init__(self, feedback: Feedback, ep: Process, nesting: Nesting) -> None:
        self.feedback = feedback
        self._nesting = nesting
        self._drive: StretchDrive | None = None
        self._spread: Diffusion | None = None
        agree(nesting.comm, _unfit(feedback, ep))
        assert isinstance(ep, ReactionDiffusion)
        if feedback.stretch_activated_current is not None:
            self._drive = StretchDrive(feedback.stretch_activated_current, len(ep.v.x.array))
            ep.add_drive(self._drive)
        if feedback.conduction:
            assert isinstance(ep.spread, Diffusion)
            self._spread = ep.spread
            self._spread.follow_deformation()

    def take(self, stretch: Array, displacement: fem.Function) -> None:
        """Take stretch at the muscle's points and displacement (mm) over; collective."""
        if self._drive is not None:
            at_nodes = self._nesting.to_nodes(stretch)
            self._drive.rate[:] = self._drive.current.rate(at_nodes)
        if self._spread is not None:
            F = self._nesting.deformation(displacement)
            change = float(np.abs(F - self._spread.deformation).max(initial=0.0))
            if self._nesting.comm.allreduce(change, op=MPI.MAX) > self.feedback.tolerance:
                self._spread.deform(F)


def electrical_feedback(
    feedback: Feedback, ep: Process, nesting: Nesting
) -> ElectricalFeedback | None:
    """What takes the motion over, None if nothing is felt; collective.

    Raises:
        InputError: ``ep`` cannot feel it.
    """
    return ElectricalFeedback(feedback, ep, nesting) if feedback.acts else None


def _unfit(feedback: Feedback, ep: Process) -> InputError | None:
    """Why a model of the electrophysiology cannot feel the motion."""
    if not isinstance(ep, ReactionDiffusion):
        return InputError(
            "feedback",
            "the electrophysiology prescribes the potential, which then feels nothing.",
            "Choose the monodomain model, or switch the electrical feedback off.",
        )
    if feedback.conduction and not isinstance(ep.spread, Diffusion):
        return InputError(
            "feedback",
            "conduction through the deformed body exists for the monodomain model only.",
            "Choose it, or leave `conduction` out.",
        )
    return None
