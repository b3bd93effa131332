"""Fibre energies, and ways to leave the fibres without stiffness in compression."""

from __future__ import annotations

import ufl
from ufl.core.expr import Expr

from organtwin.materials.kinematics import Scalar


def exponential(a: Scalar | Expr, b: Scalar, square: Expr) -> Expr:
    """a/2b (e^{b x²} − 1), given x²."""
    return a / (2 * b) * (ufl.exp(b * square) - 1)


def sharp(a: Scalar, b: Scalar, x: Expr) -> Expr:
    """a/2b (e^{b⟨x⟩²} − 1), ⟨x⟩ = max(x, 0): the stiffness jumps by 2a at x = 0."""
    return exponential(a, b, ufl.max_value(x, 0) ** 2)


def smooth(a: Scalar, b: Scalar, x: Expr, delta: Scalar) -> Expr:
    """The same with a stiffness that grows from zero within 0 < x < δ.

        ∂Ψ/∂x = a x e^{bx²} (3t² − 2t³),     t = x/δ,

    up to a factor of e^{0.3 b δ²} below δ; from there on it is `sharp`'s. It is convex in x.
    """
    # h(x) replaces x²: its derivative is 2x (3t² − 2t³), so h = x² − 0.3 δ² above δ.
    x = ufl.max_value(x, 0)
    t = ufl.min_value(x / delta, 1)
    below = delta**2 * (1.5 * t**4 - 0.8 * t**5)
    above = x**2 - (delta * t) ** 2
    return exponential(a * ufl.exp(0.3 * b * delta**2), b, below + above)


def logistic(a: Scalar, b: Scalar, x: Expr, k: Scalar) -> Expr:
    """a/2b (e^{b x²} − 1) / (1 + e^{−kx}): the energy faded out on both sides of x = 0.

    Not convex: for x < 0 there is a range in which the fibre pushes less the more it is compressed.

    Source:
        Aróstica et al. (2025), Comput. Methods Appl. Mech. Eng. 435:117485, with k = 100.
    """
    return exponential(a, b, x**2) / (1 + ufl.exp(-k * x))


def dispersed_strain(C: Expr, direction: Expr, kappa: Scalar | None) -> Expr:
    """H : C − 1 with H = κ I + (1 − 3κ) d⊗d: the mean stretch of dispersed fibres, less one.

    κ = 0 (or None) is a family of parallel fibres, I₄ − 1; κ = 1/3 one in all directions.

    Source:
        Gasser, Ogden & Holzapfel (2006), J. R. Soc. Interface 3:15–35.
    """
    I4 = ufl.dot(direction, C * direction)
    return I4 - 1 if kappa is None else kappa * ufl.tr(C) + (1 - 3 * kappa) * I4 - 1
