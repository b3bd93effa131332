"""Superelastic shape-memory alloys at finite strain."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import ufl
from ufl.core.expr import Expr

from organtwin.errors import InputError
from organtwin.materials.kinematics import Scalar
from organtwin.materials.parameters import check_parameters, parameter

#: Terms of the series of the logarithm: 1e-6 absolute for principal stretches up to 1.5.
TERMS = 6


@dataclass(frozen=True)
class Nitinol:
    """Isothermal superelasticity: austenite turns into martensite under stress, and back.

        τ = 2G (e − ε̂ ξ n) + K (ln J − 3 α ε̂ ξ) I,     n = e / |e|,     ε̂ = ε_L / (√(2/3) + α)
        f(τ) = |dev τ| + α tr τ,     R(σ) = σ (√(2/3) + α)

    with the Kirchhoff stress τ, the deviator e of the logarithmic strain and the martensite
    fraction ξ. Between R(σ_AM start) and R(σ_AM finish) a rising f makes martensite at the rate
    ξ̇ = (1 − ξ) ḟ / (R_finish − f); between R(σ_MA start) and R(σ_MA finish) a falling f removes it,
    ξ̇ = ξ ḟ / (f − R_finish). Both are integrated exactly over a step. The moduli go linearly from
    austenite to martensite with ξ, at the same Poisson ratio.

    Stresses are those of uniaxial tension. As in the source the transformation strain follows the
    direction of the total strain at once. Not covered: dependence on temperature and rate,
    plastic strain of martensite, thermal martensite, different slopes of inner loops.

    Attributes:
        E_austenite, E_martensite: Young's moduli (kPa), > 0.
        nu: Poisson's ratio, above −1, below 0.5.
        eps_L: ε_L, axial transformation strain of full martensite in tension, > 0.
        AM_start, AM_finish: Stress at which loading begins and ends to make martensite (kPa).
        MA_start, MA_finish: Stress at which unloading begins and ends to remove it (kPa).
        alpha: α, asymmetry: √(2/3) (σ_c − σ_t) / (σ_c + σ_t) of the start stresses in compression
            and tension, see `asymmetry`; 0 ≤ α < √(2/3).

    Source:
        Auricchio & Taylor (1997), Comput. Methods Appl. Mech. Eng. 143:175–194.
    """

    E_austenite: Scalar = field(metadata=parameter("kPa", above=0.0))
    E_martensite: Scalar = field(metadata=parameter("kPa", above=0.0))
    nu: Scalar = field(metadata=parameter("1", above=-1.0, below=0.5))
    eps_L: Scalar = field(metadata=parameter("1", above=0.0))
    AM_start: Scalar = field(metadata=parameter("kPa", above=0.0))
    AM_finish: Scalar = field(metadata=parameter("kPa", above=0.0))
    MA_start: Scalar = field(metadata=parameter("kPa", above=0.0))
    MA_finish: Scalar = field(metadata=parameter("kPa", above=0.0))
    alpha: Scalar = field(
        default=0.0, metadata=parameter("1", at_least=0.0, below=math.sqrt(2 / 3))
    )

    def __post_init__(self) -> None:
        check_parameters(self)
        self._check_order()

    def _check_order(self) -> None:
        order = ("MA_finish", "MA_start", "AM_start", "AM_finish")
        for low, high in (order[:2], order[1:3], order[2:]):
            a, b = getattr(self, low), getattr(self, high)
            known = isinstance(a, float | int) and isinstance(b, float | int)
            if known and not a < b:
                raise InputError(
                    "Nitinol", f"{low} = {a} kPa, {high} = {b} kPa.", f"{low} must be the lower."
                )

    @classmethod
    def stent(cls) -> Nitinol:
        """Set of a self-expanding (colonic) stent at 22 °C.

        Source:
            Advances in Biomechanics and Tissue Regeneration (2019), Table 3.2.
        """
        return cls(52.65e6, 38.25e6, 0.33, 0.06, 385e3, 460e3, 200e3, 180e3)

    def martensite(self, e: Expr, theta: Expr, xi_old: Expr, f_old: Expr) -> Expr:
        """ξ at the end of a step, 0 to 1.

        Args:
            e: |e|, norm of the logarithmic strain deviator at its end.
            theta: ln J at its end.
            xi_old: ξ at its start.
            f_old: f(τ) at its start (kPa).
        """
        f = self._force(e, theta)
        loading = ufl.gt(f.at(xi_old), ufl.max_value(f_old, self._threshold(self.AM_start)))
        unloading = ufl.lt(f.at(xi_old), ufl.min_value(f_old, self._threshold(self.MA_start)))
        unchanged = ufl.conditional(unloading, self._reverse(f, xi_old, f_old), xi_old)
        return ufl.conditional(loading, self._forward(f, xi_old, f_old), unchanged)

    def kirchhoff(self, F: Expr, xi: Expr) -> Expr:
        """Rᵀ τ R (kPa) at the martensite fraction ``xi``, F = R U: τ in the axes of C."""
        e, theta = logarithmic_deviator(F.T * F), ufl.ln(ufl.det(F))
        G, K, strain = self._moduli(xi)
        deviator = 2 * G * (1 - strain * xi / _norm(e)) * e
        return deviator + K * (theta - 3 * self.alpha * strain * xi) * ufl.Identity(3)

    def step(self, F: Expr, xi_old: Expr, f_old: Expr) -> tuple[Expr, Expr, Expr]:
        """First Piola–Kirchhoff stress (kPa), ξ and f(τ) (kPa) at the end of a step.

        Args:
            F: Deformation gradient at its end.
            xi_old: ξ at its start.
            f_old: f(τ) at its start (kPa).
        """
        e, theta = _norm(logarithmic_deviator(F.T * F)), ufl.ln(ufl.det(F))
        xi = self.martensite(e, theta, xi_old, f_old)
        # In Lagrangian axes: the stress deviator has the axes of C, so F⁻ᵀ T is P.
        P = ufl.inv(F).T * self.kirchhoff(F, xi)
        return P, xi, self._force(e, theta).at(xi)

    def _threshold(self, stress: Scalar) -> Expr:
        return stress * (ufl.sqrt(2 / 3) + self.alpha)

    def _moduli(self, xi: Expr) -> tuple[Expr, Expr, Expr]:
        """G, K (kPa) and ε̂."""
        E = self.E_austenite + xi * (self.E_martensite - self.E_austenite)
        G, K = E / (2 * (1 + self.nu)), E / (3 * (1 - 2 * self.nu))
        return G, K, self.eps_L / (ufl.sqrt(2 / 3) + self.alpha)

    def _force(self, e: Expr, theta: Expr) -> _Force:
        G, K, strain = self._moduli(0)
        a = 2 * G * e + 3 * self.alpha * K * theta
        b = (2 * G + 9 * self.alpha**2 * K) * strain
        return _Force(a, b, 1 - self.E_martensite / self.E_austenite)

    def _forward(self, f: _Force, xi_old: Expr, f_old: Expr) -> Expr:
        start, finish = self._threshold(self.AM_start), self._threshold(self.AM_finish)
        rest = 1 - xi_old
        span = ufl.max_value(finish - ufl.max_value(f_old, start), 1e-6 * finish)
        # (1 − ξ) (R − f_start) = (1 − ξ_old) (R − f(ξ))
        xi = f.solve(rest, span, span + rest * (f.a - finish))
        xi = ufl.max_value(ufl.min_value(xi, 1), xi_old)
        return ufl.conditional(ufl.ge(f.at(1), finish), 1, xi)

    def _reverse(self, f: _Force, xi_old: Expr, f_old: Expr) -> Expr:
        start, finish = self._threshold(self.MA_start), self._threshold(self.MA_finish)
        span = ufl.max_value(ufl.min_value(f_old, start) - finish, 1e-6 * finish)
        # ξ (f_start − R) = ξ_old (f(ξ) − R)
        xi = f.solve(xi_old, span, xi_old * (f.a - finish))
        xi = ufl.min_value(ufl.max_value(xi, 0), xi_old)
        return ufl.conditional(ufl.le(f.a, finish), 0, xi)


@dataclass(frozen=True)
class _Force:
    """f as a function of ξ at a given strain: f(ξ) = (1 − m ξ)(a − b ξ)."""

    a: Expr
    b: Expr
    m: Expr

    def at(self, xi: Expr) -> Expr:
        return (1 - self.m * xi) * (self.a - self.b * xi)

    def solve(self, share: Expr, span: Expr, c: Expr) -> Expr:
        """Smaller root ξ of m b w ξ² − [d + w (b + m a)] ξ + c = 0, w = share and d = span.

        Both kinetic laws have this form once f(ξ) is put in.
        """
        quadratic = share * self.m * self.b
        linear = span + share * (self.b + self.m * self.a)
        root = ufl.sqrt(ufl.max_value(linear**2 - 4 * quadratic * c, 1e-6 * linear**2))
        return 2 * c / (linear + root)


def asymmetry(tension: float, compression: float) -> float:
    """α of the stresses (kPa) at which loading begins to make martensite.

    Raises:
        InputError: a stress that is not positive, or compression below tension.
    """
    if not 0 < tension <= compression:
        problem = f"tension {tension} kPa, compression {compression} kPa."
        raise InputError("asymmetry", problem, "Both are > 0, compression is the larger.")
    return math.sqrt(2 / 3) * (compression - tension) / (compression + tension)


def logarithmic_deviator(C: Expr) -> Expr:
    """dev(½ ln C): deviator of the logarithmic strain.

    By ln C̄ = 2 (Z + Z³/3 + Z⁵/5 + …) with Z = (C̄ − I)(C̄ + I)⁻¹ for the volume-preserving part C̄:
    unlike formulas with principal axes this is smooth where two stretches are equal. The error is
    below 1e-6 for principal stretches from 0.67 to 1.5 (metals strain less).
    """
    one = ufl.Identity(3)
    C = ufl.det(C) ** (-1 / 3) * C
    Z = (C - one) * ufl.inv(C + one)
    square = Z * Z
    series = one / (2 * TERMS - 1)
    for k in reversed(range(TERMS - 1)):
        series = one / (2 * k + 1) + square * series
    return ufl.dev(ufl.sym(Z * series))


def _norm(e: Expr) -> Expr:
    # Far below the strain at which martensite begins; keeps the derivative finite at rest.
    return ufl.sqrt(ufl.inner(e, e) + 1e-20)
