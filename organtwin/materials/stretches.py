"""Functions of the principal stretches that can be differentiated twice at every state."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ufl
from ufl.core.expr import Expr

from organtwin.materials.kinematics import Scalar

#: Below this norm of dev C / mean C the series about equal eigenvalues is summed: its third order
#: is the first that is left out of the energy, at 1e-16, and of the tangent, at 1e-8.
_NEARLY_EQUAL = 1e-4
#: Below this distance of their argument from 1 the functions T are expanded, to second order.
_NEARLY_ONE = 1e-5


def isochoric_power_sums(C: Expr, powers: Sequence[Scalar]) -> list[Expr]:
    """Σᵢ cᵢ^β over the eigenvalues cᵢ of J^(−2/3) C, the squares of the isochoric stretches.

    The sum is smooth where eigenvalues coincide, but the eigenvalues themselves are not, and a
    derivative by way of them would divide zero by zero: at rest, and in every uniaxial or
    equibiaxial test. Hence, with the mean m of the cᵢ and d the deviator of C over its mean:

    - eigenvalues all nearly equal, c = m(1 + d): m^β (3 + binom(β, 2) tr d² + binom(β, 3) tr d³);
    - else one eigenvalue c₁ is simple, the largest if det d > 0 and the smallest if not, and
      given by Cardano's formula, m(1 ± 2p T_⅓(|r|)). The other two have the product 1/c₁ and the
      mean z/√c₁, so that their powers sum to 2 c₁^(−β/2) T_β(z).

    T_a(x) = cos(a acos x), or cosh(a acosh x) for x > 1, is smooth through x = 1, where the pair
    coincides: there it is summed as a series.

    Args:
        C: Right Cauchy–Green tensor.
        powers: The β.

    Returns:
        A sum for each β.
    """
    mean, shrink = ufl.tr(C) / 3, ufl.det(C) ** (-1 / 3)
    deviator = C - mean * ufl.Identity(3)
    square, det = ufl.inner(deviator, deviator), ufl.det(deviator)
    nearly_equal = ufl.lt(square, (_NEARLY_EQUAL * mean) ** 2)
    m, simple = shrink * mean, shrink * _simple_eigenvalue(mean, square, det)
    z = (3 * m - simple) / 2 * ufl.sqrt(simple)
    sums = []
    for beta in powers:
        cubic = (square + (beta - 2) / mean * det) / mean**2
        near = m**beta * (3 + beta * (beta - 1) / 2 * cubic)
        far = simple**beta + 2 * simple ** (-beta / 2) * _through_one(z, beta, _hyperbolic)
        sums.append(ufl.conditional(nearly_equal, near, far))
    return sums


def _simple_eigenvalue(mean: Expr, square: Expr, det: Expr) -> Expr:
    """The eigenvalue of C that is farthest from their mean; tr dev², det dev of its deviator."""
    p = ufl.sqrt(ufl.max_value(square, (_NEARLY_EQUAL / 2 * mean) ** 2) / 6)
    r = det / (2 * p**3)
    side = ufl.conditional(ufl.ge(r, 0), 1.0, -1.0)
    return mean + 2 * p * side * _through_one(side * r, 1 / 3, _circular)


def _through_one(x: Expr, a: Scalar, apart: Callable[[Expr, Scalar], Expr]) -> Expr:
    """T_a(x): near 1 the hypergeometric series ₂F₁(a, −a; ½; (1 − x)/2), else as ``apart`` says."""
    y, square = x - 1, a * a
    series = 1 + square * y * (1 + (square - 1) / 6 * y)
    return ufl.conditional(ufl.lt(abs(y), _NEARLY_ONE), series, apart(x, a))


# The bounds keep the branch that is not taken free of infinities, which -ffast-math forbids.


def _circular(x: Expr, a: Scalar) -> Expr:
    return ufl.cos(a * ufl.acos(ufl.min_value(x, 1 - _NEARLY_ONE / 2)))


def _hyperbolic(x: Expr, a: Scalar) -> Expr:
    return ufl.cosh(a * ufl.ln(x + ufl.sqrt(ufl.max_value(x**2 - 1, _NEARLY_ONE))))
