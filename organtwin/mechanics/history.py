"""Terms that remember: viscous stress, plastic flow, martensite, growth.

Their histories are fields at the quadrature points. During a solve stresses depend on the history
of the last accepted step and on the present deformation, by formulas that the tangent is derived
from exactly; `commit` evaluates the same formulas to get the next history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import ArrayLike, NDArray
from ufl.core.expr import Expr

from organtwin.errors import InputError, SolverError
from organtwin.materials import viscoelastic
from organtwin.materials.growth import GrowthLaw, Load, growth_inverse
from organtwin.materials.kinematics import Directions, Material, Scalar, as_constants
from organtwin.materials.nitinol import Nitinol
from organtwin.materials.plastic import J2Plasticity, PlasticStep
from organtwin.materials.viscoelastic import MaxwellBranch
from organtwin.mechanics.terms import Fields
from organtwin.mesh.domain import Domain
from organtwin.solve import options

if TYPE_CHECKING:
    from organtwin.mechanics.problem import Mechanics

Array = NDArray[np.float64]

#: Most sweeps of Newton's method for an implicit growth law.
SWEEPS = 20
#: Change of a multiplier that ends them; the stress takes one sweep more.
CLOSE = 1e-10


class Histories:
    """Named fields at the quadrature points that move on together.

    Args:
        domain: Mesh with names.
        degree: Quadrature degree of the forms that they stand in.
        regions: Where they are followed; the whole domain if none.
        initial: Value at the start of each field, a number or an array of its shape.
    """

    def __init__(
        self, domain: Domain, degree: int, regions: Sequence[str] = (), **initial: ArrayLike
    ) -> None:
        self.degree = degree
        self._cells = _owned_cells(domain, regions)
        self._fields = {
            name: _quadrature_field(domain, degree, name, np.asarray(value, dtype=np.float64))
            for name, value in initial.items()
        }
        self._next: dict[str, tuple[fem.Expression, fem.Function]] = {}

    def __getitem__(self, name: str) -> fem.Function:
        return self._fields[name]

    @property
    def state(self) -> Mapping[str, Array]:
        """Views of the values of this rank, ghosts included."""
        return {name: field.x.array for name, field in self._fields.items()}

    def follow(self, **new: Expr) -> None:
        """Say what the fields will be at the next `commit`, as functions of the present state."""
        for name, expression in new.items():
            space = self._fields[name].function_space
            compiled = fem.Expression(
                expression,
                space.element.interpolation_points,
                comm=space.mesh.comm,
                jit_options=options.jit(),
            )
            self._next[name] = compiled, fem.Function(space)

    def commit(self) -> None:
        """Evaluate all fields, then replace them; collective."""
        for name, (expression, new) in self._next.items():
            new.x.array[:] = self._fields[name].x.array
            new.interpolate(expression, cells0=self._cells)
            new.x.scatter_forward()
        for name, (_, new) in self._next.items():
            self._fields[name].x.array[:] = new.x.array

    def check(self, s: Fields) -> None:
        """Refuse a problem that integrates with other points.

        Raises:
            InputError: its quadrature degree is another one.
        """
        if s.degree != self.degree:
            raise InputError(
                "Mechanics",
                f"degree = {s.degree}, but a history is kept at points of degree {self.degree}.",
                "Give the term and the problem the same degree.",
            )


class ViscousOverstress:
    """Internal virtual work ∫ P_v : ∇δu of Maxwell branches beside an elastic law.

    The law itself is a `PassiveStress` of its own: the sum of the two is the generalised Maxwell
    body. Just the isochoric stress relaxes. Steps are those of the problem (``dt``, ms); in a
    static problem all branches are relaxed.

    Args:
        domain: Mesh with names.
        material: The elastic law.
        branches: Relaxation times and shares.
        directions: Fibre frame, if the law needs one.
        regions: Names of the regions that it fills; the whole domain if none.
        degree: Quadrature degree of the problem.
    """

    def __init__(
        self,
        domain: Domain,
        material: Material,
        branches: Sequence[MaxwellBranch],
        *,
        directions: Directions | None = None,
        regions: tuple[str, ...] = (),
        degree: int = 4,
    ) -> None:
        if not branches:
            raise InputError("ViscousOverstress", "no branches.", "Give at least one.")
        self.material = material
        self.branches = tuple(as_constants(branch, domain.mesh) for branch in branches)
        self.directions = directions
        self.regions = regions
        zero = np.zeros((3, 3))
        names = [f"Q{i}" for i in range(len(self.branches))]
        self._histories = Histories(domain, degree, regions, S=zero, **dict.fromkeys(names, zero))

    @property
    def state(self) -> Mapping[str, Array]:
        """Isochoric elastic stress and stress of each branch (kPa)."""
        return self._histories.state

    def commit(self) -> None:
        """Keep the stresses of the end of the step."""
        self._histories.commit()

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """∫ P_v : ∇δu dx."""
        self._histories.check(s)
        S, Q = self._stresses(s)
        self._histories.follow(S=S, **Q)
        return _internal_work(self.stress(s), domain, self.regions, s)

    def stress(self, s: Fields) -> Expr:
        """P_v (kPa) between the last accepted step and the present state."""
        _, Q = self._stresses(s)
        return viscoelastic.first_piola(sum(Q.values(), start=ufl.zero(3, 3)), s.F)

    def _stresses(self, s: Fields) -> tuple[Expr, dict[str, Expr]]:
        """S̃ and the stress of each branch at the end of the step."""
        h = self._histories
        S = viscoelastic.isochoric_stress(self.material, s.F.T * s.F, self.directions)
        return S, {
            f"Q{i}": viscoelastic.overstress(h[f"Q{i}"], h["S"], S, branch, s.dt)
            for i, branch in enumerate(self.branches)
        }


class PlasticStress:
    """Internal virtual work ∫ P : ∇δu of a metal that yields, without its pressure.

    Together with `Incompressibility` and the bulk modulus, which every formulation knows.

    Quadratic displacements need quadrature of degree 4: with the six points of degree 3 in a
    tetrahedron some motions of a yielding cell have no stiffness.

    Args:
        domain: Mesh with names.
        law: Elasticity, yield stress and hardening.
        regions: Names of the regions that it fills; the whole domain if none.
        degree: Quadrature degree of the problem.
    """

    def __init__(
        self,
        domain: Domain,
        law: J2Plasticity,
        *,
        regions: tuple[str, ...] = (),
        degree: int = 4,
    ) -> None:
        self.law = as_constants(law, domain.mesh)
        self.regions = regions
        self._histories = Histories(domain, degree, regions, metric=np.eye(3), alpha=0.0)

    @property
    def state(self) -> Mapping[str, Array]:
        """Plastic metric C̄_p⁻¹ and equivalent plastic strain."""
        return self._histories.state

    @property
    def plastic_strain(self) -> fem.Function:
        """Equivalent plastic strain α at the quadrature points."""
        return self._histories["alpha"]

    def commit(self) -> None:
        """Keep the plastic flow of the step."""
        self._histories.commit()

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """∫ P : ∇δu dx."""
        self._histories.check(s)
        step = self._step(s)
        self._histories.follow(metric=step.metric(s.F), alpha=step.alpha)
        return _internal_work(self.stress(s), domain, self.regions, s)

    def stress(self, s: Fields) -> Expr:
        """P (kPa) without pressure, between the last accepted step and the present state."""
        return self._step(s).stress * ufl.inv(s.F).T

    def _step(self, s: Fields) -> PlasticStep:
        return self.law.return_map(s.F, self._histories["metric"], self._histories["alpha"])


class SuperelasticStress:
    """Internal virtual work ∫ P : ∇δu of Nitinol, its pressure included.

    Args:
        domain: Mesh with names.
        law: Moduli and transformation stresses.
        regions: Names of the regions that it fills; the whole domain if none.
        degree: Quadrature degree of the problem.
    """

    def __init__(
        self,
        domain: Domain,
        law: Nitinol,
        *,
        regions: tuple[str, ...] = (),
        degree: int = 4,
    ) -> None:
        self.law = as_constants(law, domain.mesh)
        self.regions = regions
        self._histories = Histories(domain, degree, regions, xi=0.0, force=0.0)

    @property
    def state(self) -> Mapping[str, Array]:
        """Martensite fraction, and transformation force (kPa) of the last step."""
        return self._histories.state

    @property
    def martensite(self) -> fem.Function:
        """Martensite fraction ξ at the quadrature points."""
        return self._histories["xi"]

    def commit(self) -> None:
        """Keep the transformation of the step."""
        self._histories.commit()

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """∫ P : ∇δu dx.

        Raises:
            InputError: the formulation has a pressure as unknown, which this law leaves unused.
        """
        self._histories.check(s)
        _refuse_pressure(s, "SuperelasticStress")
        _, xi, force = self._step(s)
        self._histories.follow(xi=xi, force=force)
        return _internal_work(self.stress(s), domain, self.regions, s)

    def stress(self, s: Fields) -> Expr:
        """P (kPa) between the last accepted step and the present state."""
        return self._step(s)[0]

    def _step(self, s: Fields) -> tuple[Expr, Expr, Expr]:
        return self.law.step(s.F, self._histories["xi"], self._histories["force"])


class GrowingTissue:
    """Internal virtual work ∫ P : ∇δu of tissue that grows, F = Fᵉ Fᵍ.

        P = ∂[m Ψ(Fᵉ)]/∂Fᵉ Fᵍ⁻ᵀ,     m = J_g if energy counts per grown volume, 1 otherwise

    The first means that new tissue is like the old one, the second that the same stiffness is
    spread over more volume. In incompressible tissue the elastic part keeps the volume, J = J_g,
    so this takes the place of both `PassiveStress` and `Incompressibility`.

    Growth takes its own time (days, say): set ``dt`` before a step, zero stops growth.

    Args:
        domain: Mesh with names.
        material: Elastic law of Fᵉ.
        law: How it grows.
        directions: Fibre frame.
        incompressible: Whether the volume is held; otherwise ``material`` gives the whole energy.
        bulk_modulus: κ (kPa) of a volume that is held; None for exactly.
        per_grown_volume: See above.
        remodelled: Law of the share 1 − 1/J_g of the tissue, if new tissue differs from old one.
        regions: Names of the regions that it fills; the whole domain if none.
        degree: Quadrature degree of the problem.

    Source:
        Rodriguez, Hoger & McCulloch (1994), J. Biomech. 27:455–467.
    """

    def __init__(
        self,
        domain: Domain,
        material: Material,
        law: GrowthLaw,
        directions: Directions,
        *,
        incompressible: bool = True,
        bulk_modulus: Scalar | None = None,
        per_grown_volume: bool = True,
        remodelled: Material | None = None,
        regions: tuple[str, ...] = (),
        degree: int = 4,
    ) -> None:
        self.material = material
        self.remodelled = remodelled
        self.law: GrowthLaw = as_constants(law, domain.mesh)
        self.directions = directions
        self.incompressible = incompressible
        self.bulk_modulus = bulk_modulus
        self.per_grown_volume = per_grown_volume
        self.regions = regions
        self.dt = fem.Constant(domain.mesh, 0.0)
        self._comm = domain.comm
        self._found = fem.Constant(domain.mesh, 1.0)  # NaN while growth is not found
        self._histories = Histories(domain, degree, regions, theta=np.ones(3))
        self._guess = Histories(domain, degree, regions, theta=np.ones(3))

    @property
    def state(self) -> Mapping[str, Array]:
        """Growth multipliers along fibre, sheet and normal."""
        return self._histories.state

    @property
    def growth(self) -> fem.Function:
        """Growth multipliers (ϑ_f, ϑ_s, ϑ_n) at the quadrature points."""
        return self._histories["theta"]

    def commit(self) -> None:
        """Keep the growth of the step; collective.

        Raises:
            SolverError: the law has none for the accepted deformation.
        """
        if self.law.implicit and not self._sweep():
            raise SolverError(
                "GrowingTissue", "no growth belongs to this deformation.", "Take shorter steps."
            )
        self._histories.commit()

    def refresh(self, problem: Mechanics) -> None:
        """Find the growth that belongs to the present deformation, point by point; collective.

        Where there is none the residual is not finite, and the solver turns back.
        """
        if self.law.implicit:
            self._found.value = 1.0 if self._sweep() else np.nan

    def _sweep(self) -> bool:
        """Newton's method from the growth of the last step, so that no failed attempt lasts.

        Returns:
            Whether it converged, the same on all ranks.
        """
        guess = self._guess["theta"].x.array
        guess[:] = self.growth.x.array
        for _ in range(SWEEPS):
            before = guess.copy()
            self._guess.commit()
            change = float(np.abs(guess - before).max(initial=0.0))
            # A maximum over the ranks may lose a NaN, but no infinity.
            change = self._comm.allreduce(change if np.isfinite(change) else np.inf, op=MPI.MAX)
            if change < CLOSE:
                return True
            if np.isinf(change):
                break
        guess[:] = self.growth.x.array
        return False

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """∫ P : ∇δu dx, and the constraint on the volume where there is one.

        Raises:
            InputError: formulation and volume do not fit each other.
        """
        self._histories.check(s)
        self._histories.follow(theta=self._grown(s))
        self._guess.follow(theta=self._grown(s))
        work = _internal_work(self.stress(s), domain, self.regions, s)
        return self._found * (work + self._volume(self._carrying(s), domain, s))

    def stress(self, s: Fields) -> Expr:
        """P (kPa) between the last accepted step and the present state.

        Without the pressure that holds the volume of incompressible tissue.
        """
        theta = self._carrying(s)
        P = self._elastic_piola(theta, s.F) * growth_inverse(theta, self.directions)
        return volume(theta) * P if self.per_grown_volume else P

    def _grown(self, s: Fields) -> Expr:
        """Multipliers at the end of the step."""
        load = Load(s.F, self.directions, lambda theta: self._mandel_trace(theta, s))
        return self.law.grown(self.growth, self._guess["theta"], load, self.dt)

    def _carrying(self, s: Fields) -> Expr:
        """Multipliers that the load of the step is carried with."""
        return self._grown(s) if self.law.implicit else self.growth

    def _elastic_piola(self, theta: Expr, F: Expr) -> Expr:
        """∂Ψ/∂Fᵉ (kPa)."""
        Fe = ufl.variable(F * growth_inverse(theta, self.directions))
        P = ufl.diff(self.material.strain_energy(Fe.T * Fe, self.directions), Fe)
        if self.remodelled is None:
            return P
        new = ufl.diff(self.remodelled.strain_energy(Fe.T * Fe, self.directions), Fe)
        return P / volume(theta) + (1 - 1 / volume(theta)) * new

    def _mandel_trace(self, theta: Expr, s: Fields) -> Expr:
        """tr(Cᵉ Sᵉ) = Fᵉ : ∂Ψ/∂Fᵉ, with the pressure's share 3 p Jᵉ."""
        Fe = s.F * growth_inverse(theta, self.directions)
        trace = ufl.inner(Fe, self._elastic_piola(theta, s.F))
        if not self.incompressible:
            return trace
        return trace + 3 * self._pressure(theta, s) * s.J / volume(theta)

    def _pressure(self, theta: Expr, s: Fields) -> Expr:
        if s.p is not None:
            return s.p
        if self.bulk_modulus is None:
            raise InputError(
                "GrowingTissue",
                "a penalty formulation holds the volume only nearly, and bulk_modulus is missing.",
                "Give it, take TAYLOR_HOOD, or set incompressible=False.",
            )
        Je = s.J / volume(theta)
        return self.bulk_modulus / 2 * (Je - 1 / Je)

    def _volume(self, theta: Expr, domain: Domain, s: Fields) -> ufl.Form:
        if not self.incompressible:
            _refuse_pressure(s, "GrowingTissue with incompressible=False")
            return ufl.Form([])
        if s.stabilised:
            raise InputError(
                "GrowingTissue", "it knows no stabilised formulation.", "Take TAYLOR_HOOD."
            )
        p = self._pressure(theta, s)
        work = _internal_work(p * ufl.cofac(s.F), domain, self.regions, s)
        if s.p is None:
            return work
        give = 0 if self.bulk_modulus is None else p / self.bulk_modulus
        constraint = (s.J - volume(theta) * (1 + give)) * s.p_test
        return work + constraint * domain.dx(*self.regions, degree=s.degree)


def volume(theta: Expr) -> Expr:
    """J_g = ϑ_f ϑ_s ϑ_n."""
    return theta[0] * theta[1] * theta[2]


def _internal_work(P: Expr, domain: Domain, regions: tuple[str, ...], s: Fields) -> ufl.Form:
    return ufl.inner(P, ufl.grad(s.u_test)) * domain.dx(*regions, degree=s.degree)


def _refuse_pressure(s: Fields, what: str) -> None:
    if s.p is not None:
        raise InputError(
            what,
            "its stress holds the pressure already, which the formulation has as unknown.",
            "Pass `formulation=PENALTY` to Mechanics.",
        )


def _owned_cells(domain: Domain, regions: Sequence[str]) -> NDArray[np.int32]:
    owned = domain.mesh.topology.index_map(domain.mesh.topology.dim).size_local
    if not regions:
        return np.arange(owned, dtype=np.int32)
    cells = domain.cells(*regions)
    return cells[cells < owned]


def _quadrature_field(domain: Domain, degree: int, name: str, initial: Array) -> fem.Function:
    shape: dict[str, Any] = {"value_shape": initial.shape} if initial.ndim else {}
    cell = domain.mesh.basix_cell()
    element = basix.ufl.quadrature_element(cell, degree=degree, **shape)
    field = fem.Function(fem.functionspace(domain.mesh, element), name=name)
    field.x.array[:] = np.resize(initial, field.x.array.shape)
    return field
