"""Metal plasticity at finite strain."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import ufl
from ufl.core.expr import Expr

from organtwin.errors import InputError, suggestion
from organtwin.materials.kinematics import Scalar
from organtwin.materials.parameters import check_parameters, parameter

#: Newton sweeps of the return mapping with saturation; the elastic slope dominates in metals.
SWEEPS = 5


@dataclass(frozen=True)
class J2Plasticity:
    """Von Mises plasticity with isotropic hardening and a multiplicative split F = Fᵉ Fᵖ.

        τ = μ dev b̄ᵉ,     |τ| ≤ √(2/3) σ_y(α),
        σ_y(α) = σ₀ + H α + (σ_∞ − σ₀)(1 − e^{−δ α})

    with the volume-preserving elastic left Cauchy–Green tensor b̄ᵉ = J^(−2/3) F C_p⁻¹ Fᵀ and the
    equivalent plastic strain α. Plastic flow keeps the volume. The law is a deviatoric stress:
    the volumetric part is that of `Incompressibility` with the bulk modulus.

    Not covered: kinematic hardening (Bauschinger effect), dependence on rate or temperature,
    plastic anisotropy, damage, and elastic strains that are large themselves.

    Attributes:
        mu: Shear modulus μ (kPa), > 0.
        yield_stress: σ₀ (kPa), > 0.
        hardening: H, linear hardening modulus (kPa), ≥ 0.
        saturation_stress: σ_∞ (kPa), ≥ σ₀; None for linear hardening.
        saturation_rate: δ, > 0 with a saturation stress.

    Source:
        Simo (1988), Comput. Methods Appl. Mech. Eng. 66:199–219 and 68:1–31; Simo & Hughes (1998),
        Computational Inelasticity, chapter 9; Voce (1955), Metallurgia 51:219–226.
    """

    mu: Scalar = field(metadata=parameter("kPa", above=0.0))
    yield_stress: Scalar = field(metadata=parameter("kPa", above=0.0))
    hardening: Scalar = field(default=0.0, metadata=parameter("kPa", at_least=0.0))
    saturation_stress: Scalar | None = field(default=None, metadata=parameter("kPa", above=0.0))
    saturation_rate: Scalar = field(default=0.0, metadata=parameter("1", at_least=0.0))

    def __post_init__(self) -> None:
        check_parameters(self)
        end, start, rate = self.saturation_stress, self.yield_stress, self.saturation_rate
        if isinstance(end, float | int) and isinstance(start, float | int) and end < start:
            raise InputError(
                "J2Plasticity",
                f"saturation_stress = {end:g} kPa lies below yield_stress = {start:g} kPa.",
                "Softening is not covered.",
            )
        if end is not None and isinstance(rate, float | int) and rate == 0:
            raise InputError(
                "J2Plasticity", "saturation_rate = 0.", "It must be > 0 with a saturation stress."
            )

    @classmethod
    def from_engineering(
        cls, youngs_modulus: float, poissons_ratio: float, yield_stress: float, **rest: float
    ) -> J2Plasticity:
        """With μ = E / (2 (1 + ν)); ``rest`` names the other attributes (kPa).

        Raises:
            InputError: E ≤ 0, ν outside −1…0.5, or an unknown parameter.
        """
        if youngs_modulus <= 0 or not -1 < poissons_ratio <= 0.5:
            raise InputError(
                "J2Plasticity",
                f"E = {youngs_modulus} kPa, ν = {poissons_ratio}.",
                "E must be > 0 and ν above −1, at most 0.5.",
            )
        unknown = set(rest) - {f.name for f in fields(cls)}
        if unknown:
            name = min(unknown)
            remedy = suggestion(name, (f.name for f in fields(cls)))
            raise InputError("J2Plasticity", f"no parameter `{name}`.", remedy)
        return cls(youngs_modulus / (2 * (1 + poissons_ratio)), yield_stress, **rest)

    def flow_stress(self, alpha: Expr) -> Expr:
        """σ_y(α) (kPa)."""
        linear = self.yield_stress + self.hardening * alpha
        if self.saturation_stress is None:
            return linear
        rise = self.saturation_stress - self.yield_stress
        return linear + rise * (1 - ufl.exp(-self.saturation_rate * alpha))

    def flow_slope(self, alpha: Expr) -> Expr:
        """dσ_y/dα (kPa)."""
        if self.saturation_stress is None:
            return self.hardening + 0 * alpha
        rise = self.saturation_stress - self.yield_stress
        return self.hardening + rise * self.saturation_rate * ufl.exp(-self.saturation_rate * alpha)

    def return_map(self, F: Expr, metric: Expr, alpha_old: Expr) -> PlasticStep:
        """Stress and plastic flow of a step, by the radial return.

        Args:
            F: Deformation gradient at its end.
            metric: C̄_p⁻¹ at its start, symmetric with determinant 1.
            alpha_old: Equivalent plastic strain at its start.
        """
        b = ufl.det(F) ** (-2 / 3) * F * metric * F.T
        s = self.mu * ufl.dev(b)
        # The tiny addition keeps the derivative of the norm finite without any strain.
        norm = ufl.sqrt(ufl.inner(s, s) + (1e-12 * self.mu) ** 2)
        mu_bar = self.mu * ufl.tr(b) / 3
        flow = self._flow(norm, mu_bar, alpha_old)
        stress = (1 - 2 * mu_bar * flow / norm) * s
        return PlasticStep(stress, alpha_old + ufl.sqrt(2 / 3) * flow, stress / self.mu)

    def _flow(self, norm: Expr, mu_bar: Expr, alpha_old: Expr) -> Expr:
        """Δγ ≥ 0 of norm − 2 μ̄ Δγ = √(2/3) σ_y(α_old + √(2/3) Δγ).

        The left side less the right one is convex and falls, so Newton's method goes up to the
        root from zero; where hardening is linear one sweep is exact.
        """
        root = ufl.sqrt(2 / 3)
        flow = 0
        for _ in range(1 if self.saturation_stress is None else SWEEPS):
            alpha = alpha_old + root * flow
            excess = norm - 2 * mu_bar * flow - root * self.flow_stress(alpha)
            slope = 2 * mu_bar + 2 / 3 * self.flow_slope(alpha)
            flow = ufl.max_value(flow + excess / slope, 0)
        return flow


@dataclass(frozen=True)
class PlasticStep:
    """What a return mapping gives.

    Attributes:
        stress: Kirchhoff stress deviator τ (kPa).
        alpha: Equivalent plastic strain at the end of the step.
        elastic_deviator: dev b̄ᵉ at the end of the step.
    """

    stress: Expr
    alpha: Expr
    elastic_deviator: Expr

    def metric(self, F: Expr) -> Expr:
        """C̄_p⁻¹ at the end of the step, J^(2/3) F⁻¹ b̄ᵉ F⁻ᵀ.

        The mean of b̄ᵉ follows from det b̄ᵉ = 1, so that the plastic volume does not drift over many
        steps: x³ − |d|²/2 x + det d − 1 = 0 with d = dev b̄ᵉ.
        """
        d = self.elastic_deviator
        x = 1 + ufl.inner(d, d) / 6
        for _ in range(6):
            value = x**3 - ufl.inner(d, d) / 2 * x + ufl.det(d) - 1
            x = x - value / (3 * x**2 - ufl.inner(d, d) / 2)
        b = d + x * ufl.Identity(3)
        inverse = ufl.inv(F)
        return ufl.det(F) ** (2 / 3) * ufl.sym(inverse * b * inverse.T)
