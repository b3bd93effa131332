"""Summands of the weak form of finite-strain equilibrium.

Static and time-dependent, passive and active problems differ in their list of terms, not in their
class. Every term is a small record with one method that gives its form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from organtwin.materials.active import ActiveStress
from organtwin.materials.kinematics import Directions, Material, Scalar, first_piola
from organtwin.mesh.domain import Domain


@dataclass(frozen=True)
class Fields:
    """What terms are written in.

    Attributes:
        u: Displacement (mm), p: pressure (kPa) of the present time.
        u_old: Displacement of the previous time.
        u_test, p_test: Test functions.
        dt: Time step (ms); infinite (a very large number) in a static problem.
        degree: Quadrature degree of volume terms.
    """

    u: Expr
    p: Expr
    u_old: Expr
    u_test: Expr
    p_test: Expr
    dt: fem.Constant
    degree: int

    @property
    def F(self) -> Expr:
        """Deformation gradient I + ∇u."""
        return ufl.Identity(3) + ufl.grad(self.u)

    @property
    def J(self) -> Expr:
        """Volume ratio det F."""
        return ufl.det(self.F)

    @property
    def u_dot(self) -> Expr:
        """Velocity (mm/ms) by backward difference."""
        return (self.u - self.u_old) / self.dt


class Term(Protocol):
    """One summand of the residual."""

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """The summand, linear in the test functions."""
        ...


@dataclass(frozen=True)
class PassiveStress:
    """Internal virtual work ∫ P : ∇δu of the passive tissue, P = ∂Ψ/∂F.

    Attributes:
        material: Strain energy.
        directions: Fibre frame, if the material needs one.
        regions: Names of the regions that it fills; the whole domain if none.
    """

    material: Material
    directions: Directions | None = None
    regions: tuple[str, ...] = ()

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """∫ P : ∇δu dx."""
        P = first_piola(self.material, s.F, self.directions)
        return ufl.inner(P, ufl.grad(s.u_test)) * domain.dx(*self.regions, degree=s.degree)


@dataclass(frozen=True)
class ActiveTension:
    """Internal virtual work ∫ P_a : ∇δu of the contracting tissue."""

    stress: ActiveStress
    directions: Directions
    regions: tuple[str, ...] = ()

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """∫ P_a : ∇δu dx."""
        P = self.stress.first_piola(s.F, self.directions)
        return ufl.inner(P, ufl.grad(s.u_test)) * domain.dx(*self.regions, degree=s.degree)


@dataclass(frozen=True)
class Viscosity:
    """Kelvin–Voigt viscosity of the tissue, S = η Ė, from the potential η/2 tr(Ė²).

    Attributes:
        eta: η (kPa·ms); 100 in the source.

    Source:
        Aróstica et al. (2025), Comput. Methods Appl. Mech. Eng. 435:117485.
    """

    eta: Scalar

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """∫ η Ė : sym(Fᵀ ∇δu) dx, with Ė by backward difference."""
        F_old = ufl.Identity(3) + ufl.grad(s.u_old)
        E_dot = (s.F.T * s.F - F_old.T * F_old) / (2 * s.dt)
        strain = ufl.sym(s.F.T * ufl.grad(s.u_test))
        return self.eta * ufl.inner(E_dot, strain) * domain.dx(degree=s.degree)


@dataclass(frozen=True)
class Incompressibility:
    """Pressure that holds the volume: ∫ p cof F : ∇δu + ∫ (J − 1 − p/κ) δp.

    With quadratic displacements and linear pressures (Taylor–Hood) the pair is stable for every
    κ up to infinity and does not lock.

    Attributes:
        bulk_modulus: κ (kPa); None for exactly incompressible.
    """

    bulk_modulus: Scalar | None = None

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """∫ p J F⁻ᵀ : ∇δu + (J − 1 − p/κ) δp dx."""
        dx = domain.dx(degree=s.degree)
        work = s.p * ufl.inner(ufl.cofac(s.F), ufl.grad(s.u_test)) * dx
        constraint = (s.J - 1) * s.p_test * dx
        if self.bulk_modulus is not None:
            constraint -= s.p / self.bulk_modulus * s.p_test * dx
        return work + constraint


@dataclass(frozen=True)
class Spring:
    """Spring and dashpot (Robin condition) on named surfaces.

        ∫ [k (u·N) + c (u̇·N)] (δu·N) ds   along the normal, or with u itself in all directions

    Along the normal on the epicardium this is the pericardium of Pfaller et al. (2019),
    Biomech. Model. Mechanobiol. 18:503–529.

    Attributes:
        surfaces: Names.
        stiffness: k (kPa/mm).
        damping: c (kPa·ms/mm).
        normal_only: Whether the tangential directions are free.
    """

    surfaces: tuple[str, ...]
    stiffness: Scalar
    damping: Scalar = 0.0
    normal_only: bool = False

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """The virtual work of spring and dashpot."""
        N = ufl.FacetNormal(domain.mesh)
        force = self.stiffness * s.u + self.damping * s.u_dot
        ds = domain.ds(*self.surfaces, degree=4)
        if self.normal_only:
            return ufl.dot(force, N) * ufl.dot(s.u_test, N) * ds
        return ufl.dot(force, s.u_test) * ds


@dataclass(frozen=True)
class FollowerPressure:
    """Pressure on named surfaces that follows their motion: ∫ p cof F N · δu ds.

    Attributes:
        surfaces: Names.
        pressure: p (kPa), positive when it pushes the tissue.
    """

    surfaces: tuple[str, ...]
    pressure: Scalar

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """Virtual work of the load."""
        N = ufl.FacetNormal(domain.mesh)
        n = ufl.dot(ufl.cofac(s.F), N)
        return self.pressure * ufl.dot(n, s.u_test) * domain.ds(*self.surfaces, degree=4)


@dataclass(frozen=True)
class BodyForce:
    """Force per reference volume: −∫ b · δu dx.

    Attributes:
        force: b (mN/mm³), three components.
        regions: Names; the whole domain if none.
    """

    force: Expr
    regions: tuple[str, ...] = ()

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """Virtual work of the force."""
        return -ufl.dot(self.force, s.u_test) * domain.dx(*self.regions, degree=s.degree)


@dataclass(frozen=True)
class Traction:
    """Force per reference area: −∫ t · δu ds.

    Attributes:
        surfaces: Names.
        traction: t (kPa), three components; may use the facet normal.
    """

    surfaces: tuple[str, ...]
    traction: Expr

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """Virtual work of the traction."""
        return -ufl.dot(self.traction, s.u_test) * domain.ds(*self.surfaces, degree=s.degree)
