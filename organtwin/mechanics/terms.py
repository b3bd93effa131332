"""Summands of the weak form of finite-strain equilibrium.

Static and time-dependent, passive and active problems differ in their list of terms, not in their
class. Every term is a small record with one method that gives its form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray
from petsc4py import PETSc
from ufl.core.expr import Expr

from organtwin.errors import InputError
from organtwin.materials.active import ActiveStress
from organtwin.materials.kinematics import Directions, Material, Scalar, first_piola
from organtwin.mesh.domain import Domain
from organtwin.solve.assembly import compiled, integral

if TYPE_CHECKING:
    from organtwin.mechanics.problem import Mechanics


@dataclass(frozen=True)
class Fields:
    """What terms are written in, at the level where the scheme evaluates forces.

    That is the end of the step in a quasi-static problem and t_{n+1−αf} in a dynamic one.

    Attributes:
        u: Displacement (mm).
        p: Pressure (kPa), None in a penalty formulation.
        u_old: Displacement at the start of the step.
        u_test: Test function of the displacement.
        p_test: Test function of the pressure, None in a penalty formulation.
        dt: Time from the start of the step to the level of ``u`` (ms); a very large number in a
            static problem.
        degree: Quadrature degree of volume terms.
        stabilised: Whether the pair of elements needs a pressure stabilisation.
        rates: Velocity (mm/ms) and acceleration (mm/ms²) of a dynamic scheme.
    """

    u: Expr
    p: Expr | None
    u_old: Expr
    u_test: Expr
    p_test: Expr | None
    dt: Expr
    degree: int
    stabilised: bool = False
    rates: tuple[Expr, Expr] | None = None

    @property
    def F(self) -> Expr:
        """Deformation gradient I + ∇u."""
        return ufl.Identity(3) + ufl.grad(self.u)

    @property
    def F_old(self) -> Expr:
        """Deformation gradient at the start of the step."""
        return ufl.Identity(3) + ufl.grad(self.u_old)

    @property
    def J(self) -> Expr:
        """Volume ratio det F."""
        return ufl.det(self.F)

    @property
    def u_dot(self) -> Expr:
        """Velocity (mm/ms): the scheme's, by backward difference in a quasi-static problem."""
        return self.rates[0] if self.rates else (self.u - self.u_old) / self.dt

    @property
    def u_ddot(self) -> Expr:
        """Acceleration (mm/ms²).

        Raises:
            InputError: the problem is quasi-static.
        """
        if self.rates is None:
            raise InputError(
                "Mechanics",
                "a term needs the acceleration, but the problem is quasi-static.",
                "Pass `scheme=GeneralisedAlpha.from_radius(0.8)`.",
            )
        return self.rates[1]

    @property
    def E_dot(self) -> Expr:
        """Rate of the Green–Lagrange strain (1/ms)."""
        if self.rates:
            return ufl.sym(self.F.T * ufl.grad(self.u_dot))
        return (self.F.T * self.F - self.F_old.T * self.F_old) / (2 * self.dt)


class Term(Protocol):
    """One summand of the residual.

    A term may also have any of the methods of `Refreshed`, `History` and `Assembled`.
    """

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """The summand, linear in the test functions."""
        ...


@runtime_checkable
class Refreshed(Protocol):
    """A term with data that follow the present displacement: gaps, pairings."""

    def refresh(self, problem: Mechanics) -> None:
        """Called before every evaluation of the residual; collective."""
        ...


@runtime_checkable
class History(Protocol):
    """A term that remembers: plastic strain, slip, viscous stress."""

    def commit(self) -> None:
        """Take the present state over; called once per accepted step, on all ranks."""
        ...

    @property
    def state(self) -> Mapping[str, NDArray[np.float64]]:
        """Views of what `commit` changes, for checkpoints and for going back."""
        ...


@runtime_checkable
class Assembled(Protocol):
    """A term with contributions that no form can express, over the dofs of ``problem.W``."""

    def add_residual(self, R: PETSc.Vec) -> None:
        """Add to the assembled residual (owned rows); collective."""
        ...

    def tangent(self) -> PETSc.Mat:
        """Its derivative at the present displacement; collective."""
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
        regions: Names; the whole domain if none.

    Source:
        Aróstica et al. (2025), Comput. Methods Appl. Mech. Eng. 435:117485.
    """

    eta: Scalar
    regions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        at_least_zero("Viscosity", "eta", self.eta)

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """∫ η Ė : sym(Fᵀ ∇δu) dx."""
        strain = ufl.sym(s.F.T * ufl.grad(s.u_test))
        dx = domain.dx(*self.regions, degree=s.degree)
        return self.eta * ufl.inner(s.E_dot, strain) * dx


class VolumeEnergy(Enum):
    """Energy U(J) of a change of volume, from which the pressure is p = U′(J)."""

    #: κ/2 (J − 1)², p = κ (J − 1).
    QUADRATIC = "quadratic"
    #: κ/4 (J² − 1 − 2 ln J), p = κ/2 (J − 1/J), which no compression exhausts.
    LOGARITHMIC = "logarithmic"


@dataclass(frozen=True)
class Incompressibility:
    """What holds the volume, in every formulation.

    With a pressure as unknown, ∫ p cof F : ∇δu + ∫ (J − Ĵ(p)) δp, where Ĵ is the volume ratio at
    which U′(Ĵ) = p: 1 + p/κ of the quadratic energy, p/κ + √(1 + (p/κ)²) of the logarithmic one, 1
    of an incompressible body. In a penalty formulation ∫ U′(J) cof F : ∇δu.

    A stabilised formulation adds −∫ (p − Πp)(δp − Πδp)/μ with the mean Πp of the pressure in each
    cell. It vanishes for pressures that are constant in each cell, is symmetric, needs no mesh
    size, and is what linear displacements lack to control the rest of the pressure.

    Attributes:
        bulk_modulus: κ (kPa), > 0; None for exactly incompressible, which a penalty cannot be.
        shear_modulus: μ (kPa), > 0, the stiffness that scales the stabilisation: that of the
            tissue at rest, of the size of its stiffness within a factor of ten or so. Needed by
            stabilised formulations, otherwise without effect.
        energy: U(J). If None, quadratic where there is a pressure and logarithmic where not.
        regions: Names; the whole domain if none. Beside tissue that changes its volume freely or
            holds it by its own law; only in penalty formulations, as a pressure has to be
            determined everywhere.

    Source:
        Bochev, Dohrmann & Gunzburger (2006), SIAM J. Numer. Anal. 44:82–101 (stabilisation);
        Aróstica et al. (2025), Comput. Methods Appl. Mech. Eng. 435:117485 (logarithmic energy).
    """

    bulk_modulus: Scalar | None = None
    shear_modulus: Scalar | None = None
    energy: VolumeEnergy | None = None
    regions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("bulk_modulus", "shear_modulus"):
            above_zero("Incompressibility", name, getattr(self, name))

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """Virtual work and constraint.

        Raises:
            InputError: the formulation needs a modulus that is missing, or the whole domain.
        """
        if s.p is not None and self.regions:
            raise InputError(
                "Incompressibility",
                f"the pressure would be undetermined outside {', '.join(self.regions)}.",
                "Take PENALTY, or hold the volume everywhere.",
            )
        dx = domain.dx(*self.regions, degree=s.degree)
        if s.p is None:
            return self._penalty(s.J) * ufl.inner(ufl.cofac(s.F), ufl.grad(s.u_test)) * dx
        work = s.p * ufl.inner(ufl.cofac(s.F), ufl.grad(s.u_test)) * dx
        form = work + self._constraint(s) * dx
        return form - self._stabilisation(domain, s) * dx if s.stabilised else form

    def _constraint(self, s: Fields) -> Expr:
        constraint = (s.J - 1) * s.p_test
        if self.bulk_modulus is None:
            return constraint
        if self.energy is VolumeEnergy.LOGARITHMIC:
            share = s.p / self.bulk_modulus
            return (s.J - share - ufl.sqrt(1 + share**2)) * s.p_test
        return constraint - s.p / self.bulk_modulus * s.p_test

    def _penalty(self, J: Expr) -> Expr:
        if self.bulk_modulus is None:
            raise InputError(
                "Incompressibility",
                "a penalty formulation holds the volume only nearly, and bulk_modulus is missing.",
                "Give it (some hundred times the shear modulus), or take TAYLOR_HOOD.",
            )
        if self.energy is VolumeEnergy.QUADRATIC:
            return self.bulk_modulus * (J - 1)
        return self.bulk_modulus / 2 * (J - 1 / J)

    def _stabilisation(self, domain: Domain, s: Fields) -> Expr:
        """(p − Πp)(δp − Πδp)/μ, its mean over the cell.

        For a linear p this is ∇p · M ∇δp with the second moment M of the cell about its centroid,
        and M = A M₀ Aᵀ with the map A from the reference tetrahedron, where M₀ = (I − 11ᵀ/4)/20.
        """
        if self.shear_modulus is None:
            raise InputError(
                "Incompressibility",
                "a stabilised formulation needs shear_modulus.",
                "Give the shear modulus of the tissue at rest (kPa).",
            )
        A = ufl.Jacobian(domain.mesh)
        one = ufl.as_matrix(np.ones((3, 3)).tolist())
        M0 = (ufl.Identity(3) - one / 4) / 20
        gradient, gradient_test = A.T * ufl.grad(s.p), A.T * ufl.grad(s.p_test)
        return ufl.dot(gradient, M0 * gradient_test) / self.shear_modulus


@dataclass(frozen=True)
class Spring:
    """Spring and dashpot (Robin condition) on named surfaces.

        ∫ [k (u·N) + c (u̇·N)] (δu·N) ds   along the normal, or with u itself in all directions

    Along the normal on the epicardium this is the pericardium of Pfaller et al. (2019),
    Biomech. Model. Mechanobiol. 18:503–529; its stiffness may be a field.

    Attributes:
        surfaces: Names.
        stiffness: k (kPa/mm), ≥ 0; a number or a field.
        damping: c (kPa·ms/mm), ≥ 0; a number or a field.
        normal_only: Whether the tangential directions are free.
    """

    surfaces: tuple[str, ...]
    stiffness: Scalar
    damping: Scalar = 0.0
    normal_only: bool = False

    def __post_init__(self) -> None:
        at_least_zero("Spring", "stiffness", self.stiffness)
        at_least_zero("Spring", "damping", self.damping)

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """The virtual work of spring and dashpot."""
        N = ufl.FacetNormal(domain.mesh)
        force = self.stiffness * s.u + self.damping * s.u_dot
        ds = domain.ds(*self.surfaces, degree=4)
        if self.normal_only:
            return ufl.dot(force, N) * ufl.dot(s.u_test, N) * ds
        return ufl.dot(force, s.u_test) * ds


@dataclass(frozen=True)
class Robin:
    """Springs and dashpots that differ between the normal and the tangent plane.

        ∫ [k_n N⊗N + k_t (I − N⊗N)] u · δu ds, and the same with the dampings and u̇

    Attributes:
        surfaces: Names.
        normal: k_n (kPa/mm), ≥ 0; a number or a field, as all of them.
        tangential: k_t (kPa/mm), ≥ 0.
        normal_damping: c_n (kPa·ms/mm), ≥ 0.
        tangential_damping: c_t (kPa·ms/mm), ≥ 0.
    """

    surfaces: tuple[str, ...]
    normal: Scalar = 0.0
    tangential: Scalar = 0.0
    normal_damping: Scalar = 0.0
    tangential_damping: Scalar = 0.0

    def __post_init__(self) -> None:
        for name in ("normal", "tangential", "normal_damping", "tangential_damping"):
            at_least_zero("Robin", name, getattr(self, name))

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """The virtual work of springs and dashpots."""
        N = ufl.FacetNormal(domain.mesh)
        along = self.normal * s.u + self.normal_damping * s.u_dot
        across = self.tangential * s.u + self.tangential_damping * s.u_dot
        force = across + ufl.dot(along - across, N) * N
        return ufl.dot(force, s.u_test) * domain.ds(*self.surfaces, degree=4)


@dataclass(frozen=True)
class SpringBed:
    """A bed of parallel springs between named surfaces and a foundation that may move.

        ∫ k x (δu·d) ds,     x = (u − g)·d,     with min(x, 0) for x if the bed does not pull

    Attributes:
        surfaces: Names.
        stiffness: k (kPa/mm), ≥ 0; a number or a field.
        direction: d, unit vector (three components, UFL) away from the foundation.
        foundation: g, its displacement (mm, three components); zero if None.
        compression_only: Whether the surface may lift off.
    """

    surfaces: tuple[str, ...]
    stiffness: Scalar
    direction: Expr
    foundation: Expr | None = None
    compression_only: bool = False

    def __post_init__(self) -> None:
        at_least_zero("SpringBed", "stiffness", self.stiffness)

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """The virtual work of the springs."""
        moved = s.u if self.foundation is None else s.u - self.foundation
        x = ufl.dot(moved, self.direction)
        if self.compression_only:
            x = ufl.min_value(x, 0)
        work = self.stiffness * x * ufl.dot(s.u_test, self.direction)
        return work * domain.ds(*self.surfaces, degree=4)


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
        return -ufl.dot(self.force, s.u_test) * domain.dx(*self.regions, degree=max(s.degree, 2))


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
        return -ufl.dot(self.traction, s.u_test) * domain.ds(
            *self.surfaces, degree=max(s.degree, 4)
        )


class RigidLoad:
    """A force and a moment on named surfaces, spread as a rigid body would take them.

        t = a + b × (X − c),     ∫ t ds = force,     ∫ (X − c) × t ds = moment

    Of all tractions with this resultant it is the smallest in L². It keeps its direction while
    the body moves, and acts on the reference area.

    Args:
        domain: Mesh with names.
        surfaces: Names; together more than a straight line.
        force: Resultant (mN), three components; may be a `fem.Constant` that changes.
        moment: Moment (mN·mm) about ``point``; zero if None.
        point: c (mm).

    Raises:
        InputError: no such surface, or one without extent. Collective.
    """

    def __init__(
        self,
        domain: Domain,
        surfaces: tuple[str, ...],
        force: Expr,
        moment: Expr | None = None,
        point: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        self.surfaces, self.force, self.moment = surfaces, force, moment
        self._point = fem.Constant(domain.mesh, np.asarray(point, dtype=np.float64))
        resultants = self._resultants(domain)
        if np.linalg.cond(resultants) > 1e14:
            raise InputError(
                "RigidLoad",
                f"{', '.join(surfaces)} have no extent to take a force and a moment by.",
                "Choose surfaces that are not empty and not a straight line.",
            )
        self._inverse = fem.Constant(domain.mesh, np.linalg.inv(resultants))

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """−∫ t · δu ds."""
        zero = ufl.as_vector([0.0, 0.0, 0.0])
        moment = zero if self.moment is None else self.moment
        load = ufl.as_vector([self.force[i] for i in range(3)] + [moment[i] for i in range(3)])
        ab = self._inverse * load
        a, b = (ufl.as_vector([ab[i] for i in part]) for part in ((0, 1, 2), (3, 4, 5)))
        t = a + ufl.cross(b, self._arm(domain))
        return -ufl.dot(t, s.u_test) * domain.ds(*self.surfaces, degree=max(s.degree, 2))

    def _arm(self, domain: Domain) -> Expr:
        return ufl.SpatialCoordinate(domain.mesh) - self._point

    def _resultants(self, domain: Domain) -> NDArray[np.float64]:
        """Force and moment of the six unit tractions e_i and e_i × (X − c), as columns."""
        r, ds = self._arm(domain), domain.ds(*self.surfaces, degree=2)
        which = fem.Constant(domain.mesh, np.zeros(6))
        a, b = (ufl.as_vector([which[i] for i in part]) for part in ((0, 1, 2), (3, 4, 5)))
        t = a + ufl.cross(b, r)
        moment = ufl.cross(r, t)
        rows = [compiled(x[i] * ds) for x in (t, moment) for i in range(3)]
        matrix = np.zeros((6, 6))
        for j in range(6):
            which.value[:] = np.eye(6)[j]
            matrix[:, j] = [integral(row) for row in rows]
        return matrix


@dataclass(frozen=True)
class Inertia:
    """Inertia ∫ ρ ü · δu dx of a dynamic problem.

    Attributes:
        density: ρ (mg/mm³), per reference volume, > 0; 1 of water.
        regions: Names; the whole domain if none.
    """

    density: Scalar
    regions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        above_zero("Inertia", "density", self.density)

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """Virtual work of the acceleration."""
        work = self.density * ufl.dot(s.u_ddot, s.u_test)
        return work * domain.dx(*self.regions, degree=s.degree)


def at_least_zero(place: str, name: str, value: Scalar | None) -> None:
    """Refuse a negative number, also where a `fem.Constant` holds it.

    Raises:
        InputError: it is negative.
    """
    number = _number(value)
    if number is not None and not number >= 0:
        raise InputError(place, f"{name} = {number:g}.", "It must be ≥ 0.")


def above_zero(place: str, name: str, value: Scalar | None) -> None:
    """Refuse a number that is not positive, also where a `fem.Constant` holds it.

    Raises:
        InputError: it is zero or negative.
    """
    number = _number(value)
    if number is not None and not number > 0:
        raise InputError(place, f"{name} = {number:g}.", "It must be > 0.")


def _number(value: Scalar | None) -> float | None:
    """The number that a parameter is; None of a field or of a tensor."""
    if isinstance(value, fem.Constant):
        return float(value.value) if value.value.ndim == 0 else None
    return float(value) if isinstance(value, float | int) else None
