"""How the parts of a coupled step depend on each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from organtwin.errors import InputError


class Scheme(StrEnum):
    """What of a step from t to t + Δt is solved together.

    In all of them displacement, cavity pressures and circulation are. They differ in what the
    tension knows of the stretch λ at t + Δt.

    Source:
        Regazzoni & Quarteroni (2021), Comput. Methods Appl. Mech. Eng. 373:113506: why the naive
        scheme oscillates, and the term that stabilises it.
    """

    #: Kinetics at the old stretch; the equilibrium carries the stiffness K of the attached
    #: cross-bridges, Ta = h(λ) [Ta₀ + K (λ − λ₀)].
    STABILISED = "stabilised"
    #: The same with K = 0: cross-bridges feel the motion only in the next step. It oscillates as
    #: soon as K exceeds what else resists a fast stretch. For comparison only.
    NAIVE = "naive"
    #: Kinetics, and electrophysiology with its feedback, at the new stretch: the stabilised step
    #: is repeated until nothing changes. A reference for small meshes.
    MONOLITHIC = "monolithic"


@dataclass(frozen=True)
class FixedPoint:
    """When the repetitions of a monolithic step end.

    Attributes:
        tolerance: Largest change of the stretch at any point.
        repetitions: Most repetitions; the step fails if they do not suffice.
    """

    tolerance: float = 1e-8
    repetitions: int = 50

    def __post_init__(self) -> None:
        if not self.tolerance > 0 or self.repetitions < 1:
            raise InputError(
                "FixedPoint",
                f"tolerance {self.tolerance:g}, {self.repetitions} repetitions.",
                "The tolerance must be > 0, and there must be at least one repetition.",
            )
