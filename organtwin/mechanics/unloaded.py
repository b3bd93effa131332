"""Reference state of a body that an image shows under load.

Two ways to the same state, the direct one and a fixed point; see docs/decisions/reference-state.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import basix
import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError, SolverError
from organtwin.mechanics.cavity import Cavity
from organtwin.mechanics.configuration import (
    FromReference,
    moved,
    on_mesh,
    pull,
    refuse_histories,
    with_directions,
)
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.formulation import TAYLOR_HOOD, Formulation
from organtwin.mechanics.problem import Mechanics
from organtwin.mechanics.terms import Fields, Term
from organtwin.mesh.domain import Domain
from organtwin.parallel import total
from organtwin.solve import options, steward
from organtwin.solve.assembly import integral, matrix
from organtwin.solve.linear import DirectSolver
from organtwin.solve.nonlinear import Tolerances
from organtwin.solve.outcome import Outcome

Vector = NDArray[np.float64]

#: Times that a correction of the fixed point is halved before it is given up.
HALVINGS = 5


@dataclass(frozen=True)
class LoadedBody:
    """A body as the image shows it.

    Attributes:
        domain: Mesh of the image.
        terms: Summands of the weak form, written as if the mesh were the reference state. Springs
            are then at rest in the reference state, and forces per volume or area count what is
            there.
        cavities: Blood cavities.
        pressures: Their pressures (kPa) when the image was taken.
        dirichlet: Surfaces that no load moves.
        loaded_fibres: Whether the terms' directions are those of the image, where a line carried
            back by the deformation is the reference fibre. If not, they are directions of the
            reference state, given at the places that their material points have in the image.
        scale: Called with the share of the load, 0 to 1, for loads in ``terms``.
        formulation: Finite elements.
        degree: Quadrature degree of volume terms.
        tolerances: Of the nonlinear solver.
    """

    domain: Domain
    terms: Sequence[Term]
    cavities: Sequence[Cavity] = ()
    pressures: Sequence[float] = ()
    dirichlet: Sequence[Dirichlet] = ()
    loaded_fibres: bool = False
    scale: Callable[[float], None] = lambda share: None
    formulation: Formulation = TAYLOR_HOOD
    degree: int = 4
    tolerances: Tolerances = field(default_factory=lambda: Tolerances(increment=1e-9))

    def __post_init__(self) -> None:
        if len(self.pressures) != len(self.cavities):
            raise InputError(
                "LoadedBody",
                f"{len(self.pressures)} pressures for {len(self.cavities)} cavities.",
                "Give the pressure of each cavity, in their order.",
            )
        if any(condition.value is not None for condition in self.dirichlet):
            raise InputError(
                "LoadedBody",
                "a surface is displaced by a given value.",
                "Hold surfaces where the image shows them, or support them by springs.",
            )
        refuse_histories(tuple(self.terms))

    def space(self) -> fem.FunctionSpace:
        """Space of displacements, numbered as in every problem of this body."""
        return self.formulation.displacements(self.domain.mesh)

    def terms_from(self, U: fem.Function) -> list[Term]:
        """The terms for the reference state X = x + U, on the mesh of the image."""
        return [FromReference(term, U, self.loaded_fibres) for term in self.terms]


@dataclass(frozen=True)
class ReferenceState:
    """Where the body would be without load.

    Attributes:
        U: Displacement (mm) from the image to the reference state.
        p: Hydrostatic pressure (kPa) of the loaded body.
        method: How it was found.
        iterations: Nonlinear solves' iterations (direct) or geometries tried (fixed point).
        path: Load steps on the way.
        residual: Largest distance (mm) between the image and where the loads bring the reference
            state, in a forward solve from there.
        pressures: Of the cavities (kPa).
    """

    U: fem.Function
    p: fem.Function | None
    method: str
    iterations: int
    path: steward.Path
    residual: float
    pressures: tuple[float, ...]

    @property
    def largest_displacement(self) -> float:
        """Largest distance (mm) between image and reference state; collective."""
        return largest(self.U)

    def domain(self, image: Domain) -> Domain:
        """Mesh of the reference state, of second order, with the image's cells and names."""
        return moved(image, self.U)

    def sentence(self) -> str:
        """What a report says of it; collective."""
        pressures = ", ".join(f"{p:g}" for p in self.pressures)
        loads = f"cavity pressures of {pressures} kPa" if pressures else "the loads"
        return (
            f"Reference state: found from the loaded image by the {self.method} in "
            f"{self.iterations} iterations, up to {self.largest_displacement:.3g} mm from it; "
            f"{loads} bring it back to the image within {self.residual:.1e} mm."
        )


def unload(body: LoadedBody) -> ReferenceState:
    """Reference state from the inverse elastostatic problem; collective.

    The unknown is the reference place of the image's points. With f = I + ∇U and F = f⁻¹,
    equilibrium holds on the known geometry,

        ∫ σ : ∇δu dv = ∫ t · δu da,     σ = P(F) Fᵀ / J,

    where the cavities' pressures are dead loads. The load grows from zero, where U = 0.

    Raises:
        SolverError: no reference state at some load: a thin wall can be shown by an image under a
            pressure that none of its unloaded shapes would carry.

    Source:
        Govindjee & Mihalic (1996), Comput. Methods Appl. Mech. Eng. 136:47–57.
    """
    domain = body.domain
    dead = [_DeadCavity(domain, cavity, body.space()) for cavity in body.cavities]
    inverse = Mechanics(
        domain,
        [*(_Inverse(term, body.loaded_fibres) for term in body.terms), *dead],
        dirichlet=body.dirichlet,
        formulation=body.formulation,
        degree=body.degree,
        tolerances=body.tolerances,
        name="inverse",
    )

    def apply(share: float) -> None:
        for load, pressure in zip(dead, body.pressures, strict=True):
            load.pressure.value = share * pressure
        body.scale(share)

    path = put_on(inverse, apply, "unloaded state", body.pressures)
    U = inverse.u
    U.name = "unloading"
    _require_untangled(domain, U, body.degree)
    forward = _forward(body, U)
    forward.w.x.array[:] = inverse.w.x.array
    forward.guess(fem.Constant(domain.mesh, np.zeros(3)))
    residual = _resolved(forward, body)
    return ReferenceState(
        U, _pressure(forward), "inverse elastostatic problem", path.iterations, path, residual,
        tuple(body.pressures),
    )  # fmt: skip


@dataclass(frozen=True)
class FixedPoint:
    """How the fixed-point method iterates.

    Attributes:
        tolerance: Distance (mm) between the loaded state and the image that ends it.
        iterations: Most geometries tried.
        relaxation: Share of the first correction that is taken; the others have Aitken's.
        bounds: Of the relaxation.
    """

    tolerance: float = 1e-4
    iterations: int = 60
    relaxation: float = 1.0
    bounds: tuple[float, float] = (0.1, 2.0)


def unload_by_fixed_point(body: LoadedBody, method: FixedPoint = FixedPoint()) -> ReferenceState:
    """Reference state by repeated forward solves; collective.

    Load the guess X, see how far from the image x it gets, and correct: X ← X − α (X + u(X) − x),
    with Aitken's α, halved while the new guess does not carry the load. Needs nothing but forward
    solves.

    Raises:
        SolverError: no guess nearer to it carries the load, or the distance does not go to zero.

    Source:
        Sellier (2011), J. Fluids Struct. 27:1461–1470; relaxation after Rausch et al. (2017), J.
        Biomech. 58:227–231.
    """
    V = body.space()
    U = fem.Function(V, name="unloading")
    forward = _forward(body, U)
    path = put_on(forward, _loader(forward, body), "first guess", body.pressures)
    owned = V.dofmap.index_map.size_local * V.dofmap.bs
    off, relaxation = np.zeros(owned), method.relaxation
    for iteration in range(method.iterations):
        before, off = off, forward.u.x.array[:owned].copy()
        distance = largest(forward.u)
        if distance < method.tolerance:
            return ReferenceState(
                U, _pressure(forward), "fixed-point method", iteration + 1, path, distance,
                tuple(body.pressures),
            )  # fmt: skip
        if iteration > 0:
            relaxation *= _aitken(V.mesh.comm, before, off)
            relaxation = float(np.clip(relaxation, *method.bounds))
        relaxation = _next_guess(U, forward, relaxation, body.degree)
        if relaxation == 0.0:
            raise SolverError(
                "fixed point",
                f"no shape nearer than {distance:.3g} mm to the reference state carries the load.",
                "Lower the pressures, use a stiffer tissue, or solve the inverse problem.",
            )
    raise SolverError(
        "fixed point",
        f"after {method.iterations} geometries the image is still missed by {distance:.3g} mm.",
        "Solve the inverse problem (`unload`), or take more iterations.",
    )


def _next_guess(U: fem.Function, forward: Mechanics, relaxation: float, degree: int) -> float:
    """Correct the guess as far as it carries the load; the share that was taken, 0 if none."""
    domain, start = forward.domain, (U.x.array.copy(), forward.w.x.array.copy())
    for _ in range(HALVINGS):
        _correct(U, forward, relaxation)
        sound = _smallest_volume(domain, U, degree) > 0
        if sound and forward.solve().outcome is Outcome.CONVERGED:
            return relaxation
        U.x.array[:], forward.w.x.array[:] = start
        relaxation /= 2
    return 0.0


def _correct(U: fem.Function, forward: Mechanics, relaxation: float) -> None:
    """Move the guess against the present distance, and the loaded state along with it."""
    loaded = forward.u
    U.x.array[:] -= relaxation * loaded.x.array
    loaded.x.array[:] *= 1 - relaxation
    forward.guess(loaded)


def _aitken(comm: MPI.Comm, before: Vector, now: Vector) -> float:
    """Factor on the relaxation from two successive distances."""
    change = now - before
    return -total(comm, float(before @ change)) / total(comm, float(change @ change))


# --- solves ------------------------------------------------------------------------------------


def put_on(
    problem: Mechanics, apply: Callable[[float], None], what: str, pressures: Sequence[float]
) -> steward.Path:
    """Put the whole load on; collective.

    Args:
        problem: Without load.
        apply: Sets the loads to a share.
        what: Is looked for, in words.
        pressures: Of the cavities under the whole load (kPa).

    Raises:
        SolverError: the path ends before.
    """
    path = steward.follow(problem, apply)
    if not path.converged:
        raise no_state(what, path.factor, pressures, path.reason)
    return path


def no_state(what: str, share: float, pressures: Sequence[float], why: str) -> SolverError:
    """The error of a load path that ends before the whole load."""
    reached = ", ".join(f"{share * p:.3g} of {p:g}" for p in pressures)
    return SolverError(
        what,
        f"none is found beyond {100 * share:.0f} % of the load"
        + (f" ({reached} kPa)" if reached else "")
        + f". {why}",
        "The wall is too soft or too thin for this pressure, so that no shape without load leads "
        "to the image: check thickness, units and stiffness, or keep the image's shape and "
        "prestress it (`prestress`).",
    )


def _forward(body: LoadedBody, U: fem.Function) -> Mechanics:
    return Mechanics(
        body.domain,
        body.terms_from(U),
        cavities=body.cavities,
        dirichlet=body.dirichlet,
        formulation=body.formulation,
        degree=body.degree,
        tolerances=body.tolerances,
        name="reference",
    )


def _loader(forward: Mechanics, body: LoadedBody) -> Callable[[float], None]:
    def apply(share: float) -> None:
        body.scale(share)
        forward.pressures[:] = share * np.asarray(body.pressures, dtype=float)

    return apply


def _pressure(problem: Mechanics) -> fem.Function | None:
    return problem.p if problem.Q is not None else None


def _resolved(forward: Mechanics, body: LoadedBody) -> float:
    """Distance (mm) from the image of the equilibrium next to it."""
    _loader(forward, body)(1.0)
    solution = forward.solve()
    if solution.outcome is not Outcome.CONVERGED:
        raise SolverError(
            "unloaded state",
            f"the loads do not bring it back to the image ({solution.outcome.name}).",
            "The image may show an unstable state: check pressures and stiffness.",
        )
    return largest(forward.u)


def largest(u: fem.Function) -> float:
    """Length of the longest nodal vector; collective."""
    longest = np.linalg.norm(u.x.array.reshape(-1, 3), axis=1).max(initial=0.0)
    return float(u.function_space.mesh.comm.allreduce(longest, op=MPI.MAX))


def _require_untangled(domain: Domain, U: fem.Function, degree: int) -> None:
    """Refuse a reference state whose cells are turned inside out somewhere."""
    if _smallest_volume(domain, U, degree) <= 0:
        raise SolverError(
            "unloaded state",
            "it turns tetrahedra inside out, so the wall has collapsed.",
            "Lower the pressures, use a stiffer tissue or a finer mesh.",
        )


def _smallest_volume(domain: Domain, U: fem.Function, degree: int) -> float:
    """Smallest det(I + ∇U) at the quadrature points; collective."""
    points, _ = basix.make_quadrature(domain.mesh.basix_cell(), degree)
    volume = fem.Expression(ufl.det(pull(domain, U).f), points, jit_options=options.jit())
    cells = np.arange(domain.mesh.topology.index_map(3).size_local, dtype=np.int32)
    smallest = float(np.min(volume.eval(domain.mesh, cells), initial=np.inf))
    return float(domain.comm.allreduce(smallest, op=MPI.MIN))


# --- the inverse problem's terms ---------------------------------------------------------------


@dataclass(frozen=True)
class _Inverse:
    """A term of the reference state when the unknown is the displacement *to* that state."""

    term: Term
    loaded_fibres: bool

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        place = pull(domain, s.u)
        # Nothing moves: the old displacement is the new one, and rates vanish.
        seen = replace(s, u=-s.u, u_old=-s.u)
        term = with_directions(self.term, -s.u) if self.loaded_fibres else self.term
        return on_mesh(term.form(domain, seen), domain, place, place)


class _DeadCavity:
    """The load −p ∂V/∂u of a cavity in the place where the image shows it.

    The lid pulls at the nodes of the rim. These point forces are written as the density whose work
    is theirs for every displacement of the space.

    Args:
        domain: Mesh of the image.
        cavity: The cavity.
        V: Space of the displacement.
    """

    def __init__(self, domain: Domain, cavity: Cavity, V: fem.FunctionSpace) -> None:
        self.cavity = cavity
        self.pressure = fem.Constant(domain.mesh, 0.0)
        nodes = cavity.rim(domain, V)
        x = V.tabulate_dof_coordinates()[nodes]
        count = domain.comm.allreduce(len(nodes))
        self._centre = domain.comm.allreduce(x.sum(axis=0)) / count
        self._lid = _density(domain, V, nodes, _area(domain, cavity.endocardium) / 3 / count)

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """−p ∂/∂u of −1/3 ∫ (x + u − c) · cof F N ds at u = 0, and the lid's share."""
        x, n = ufl.SpatialCoordinate(domain.mesh), ufl.FacetNormal(domain.mesh)
        centre = fem.Constant(domain.mesh, self._centre)
        L = ufl.grad(s.u_test)
        turned = ufl.tr(L) * n - ufl.dot(n, L)  # change of cof F N
        change = ufl.dot(s.u_test, n) + ufl.dot(x - centre, turned)
        wall = self.pressure * change / 3 * domain.ds(self.cavity.endocardium, degree=4)
        return wall - self.pressure * ufl.dot(self._lid, s.u_test) * domain.dx(degree=4)


def _area(domain: Domain, surface: str) -> Vector:
    """Vector area ∫ n ds (mm²)."""
    n, ds = ufl.FacetNormal(domain.mesh), domain.ds(surface, degree=4)
    return np.array([integral(n[i] * ds) for i in range(3)])


def _density(
    domain: Domain, V: fem.FunctionSpace, nodes: NDArray[np.int32], force: Vector
) -> fem.Function:
    """Field g with ∫ g·v = Σ force·v over the nodes, for every v of the space."""
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    M = matrix(ufl.dot(u, v) * domain.dx(degree=4))
    g, b = fem.Function(V), M.createVecLeft()
    b.array.reshape(-1, 3)[nodes] = force
    solver = DirectSolver(M, "lid_")
    solver.factorise()
    solver.solve(b, g.x.petsc_vec)
    g.x.scatter_forward()
    return g
