"""Finite-strain viscoelasticity: Maxwell branches beside any elastic law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import ufl
from ufl.core.expr import Expr

from organtwin.errors import InputError
from organtwin.materials.kinematics import Directions, Material, Scalar
from organtwin.materials.parameters import check_parameters, parameter


@dataclass(frozen=True)
class MaxwellBranch:
    """One term of a Prony series: a spring and a dashpot beside the elastic law.

    Loaded at once and held, the isochoric stress is (1 + Σ βᵢ e^{−t/τᵢ}) times the elastic one.

    Attributes:
        share: β, instantaneous stress of the branch per stress of the elastic law, ≥ 0.
        time: τ, relaxation time (ms), > 0.
    """

    share: Scalar = field(metadata=parameter("1", at_least=0.0))
    time: Scalar = field(metadata=parameter("ms", above=0.0))

    def __post_init__(self) -> None:
        check_parameters(self)


def prony(shares: Sequence[float], times: Sequence[float]) -> tuple[MaxwellBranch, ...]:
    """Branches of a normalised Prony series, G(t)/G₀ = 1 − Σ gᵢ (1 − e^{−t/τᵢ}).

    That form refers to the instantaneous stiffness G₀, a `MaxwellBranch` to the one after
    relaxation: βᵢ = gᵢ / (1 − Σ g).

    Args:
        shares: gᵢ, each ≥ 0, their sum below 1.
        times: τᵢ (ms).

    Raises:
        InputError: the series leaves no stiffness, or its lists differ in length.
    """
    if len(shares) != len(times):
        problem = f"{len(shares)} shares and {len(times)} times."
        raise InputError("prony", problem, "Give a time for each share.")
    rest = 1 - sum(shares)
    if rest <= 0:
        raise InputError("prony", f"the shares add up to {sum(shares)}.", "Keep the sum below 1.")
    return tuple(MaxwellBranch(g / rest, t) for g, t in zip(shares, times, strict=True))


def isochoric_stress(material: Material, C: Expr, directions: Directions | None) -> Expr:
    """S̃ = DEV[2 ∂Ψ(C̄)/∂C̄] (kPa): what drives the branches.

    Args:
        material: The elastic law; just its response to the volume-preserving part C̄ counts.
        C: Right Cauchy–Green tensor.
        directions: Fibre frame, if the law needs one.
    """
    C = ufl.variable(C)
    J = ufl.sqrt(ufl.det(C))
    energy = material.strain_energy(J ** (-2 / 3) * C, directions)
    return J ** (2 / 3) * 2 * ufl.diff(energy, C)


def overstress(Q_old: Expr, S_old: Expr, S: Expr, branch: MaxwellBranch, dt: Expr) -> Expr:
    """Stress of a branch at the end of a step, of Q̇ + Q/τ = β dS̃/dt.

        Q = e^{−x} Q_old + β (1 − e^{−x})/x (S̃ − S̃_old),     x = Δt/τ

    This is exact while S̃ grows linearly over the step, and second order otherwise.

    Args:
        Q_old: Stress of the branch at the start (kPa).
        S_old: S̃ at the start.
        S: S̃ at the end.
        branch: Its parameters.
        dt: Length of the step (ms).

    Source:
        Simo (1987), Comput. Methods Appl. Mech. Eng. 60:153–173; the recurrence of Taylor, Pister &
        Goudreau (1970), Int. J. Numer. Methods Eng. 2:45–59.
    """
    x = dt / branch.time
    decay = ufl.exp(-x)
    # Below 1e-4 the quotient loses digits; its series is good to 1e-9 there.
    smooth = ufl.conditional(ufl.lt(x, 1e-4), 1 - x / 2, (1 - decay) / ufl.max_value(x, 1e-4))
    return decay * Q_old + branch.share * smooth * (S - S_old)


def first_piola(Q: Expr, F: Expr) -> Expr:
    """P = J^(−2/3) F DEV[Q] (kPa) of the branches' stress: without any pressure.

    Args:
        Q: Sum over the branches.
        F: Deformation gradient.
    """
    C = F.T * F
    deviator = Q - ufl.inner(Q, C) / 3 * ufl.inv(C)
    return ufl.det(F) ** (-2 / 3) * F * deviator
