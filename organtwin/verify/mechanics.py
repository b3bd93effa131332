"""Verification problems of the finite-strain solver."""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import fem, geometry
from mpi4py import MPI
from numpy.typing import NDArray
from ufl.core.expr import Expr

from organtwin.errors import SolverError
from organtwin.materials.holzapfel_ogden import HolzapfelOgden
from organtwin.materials.kinematics import as_constants, first_piola
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import (
    BodyForce,
    Incompressibility,
    PassiveStress,
    Term,
)
from organtwin.mesh.domain import Domain
from organtwin.solve.nonlinear import Tolerances
from organtwin.solve.outcome import Outcome
from organtwin.verify.geometry import box
from organtwin.verify.norms import relative_error


def manufactured_solid(comm: MPI.Comm, n: int) -> tuple[float, float, float]:
    """Errors against a chosen displacement of a nearly incompressible orthotropic cube.

    The displacement u = ε (sin πx cos πy, sin πy (cos πz − cos πx), −cos πy sin πz), whose
    divergence is zero, its pressure p = κ (J − 1) and the body force −Div(P + p cof F) that holds
    it, in a cube of 1 mm of `HolzapfelOgden` tissue.

    Args:
        comm: Communicator.
        n: Divisions of each edge.

    Returns:
        Error of u in L² and H¹, of p in L², each relative.
    """
    domain = box(comm, (1.0, 1.0, 1.0), (n, n, n))
    msh = domain.mesh
    kappa = fem.Constant(msh, 50.0)
    soft = HolzapfelOgden(a=1.0, b=2.0, a_f=2.0, b_f=2.0, a_s=1.0, b_s=2.0, a_fs=0.5, b_fs=2.0)
    law = as_constants(soft, msh)
    u_exact = wave(domain)
    F = ufl.Identity(3) + ufl.grad(u_exact)
    p_exact = kappa * (ufl.det(F) - 1)
    P = first_piola(law, F, cartesian()) + p_exact * ufl.cofac(F)
    terms: list[Term] = [
        PassiveStress(law, cartesian()),
        Incompressibility(kappa),
        BodyForce(-ufl.div(P)),
    ]
    sides = [Dirichlet(name, u_exact) for name in domain.surfaces]
    cube = Mechanics(
        domain, terms, dirichlet=sides, degree=4, tolerances=Tolerances(increment=1e-9)
    )
    cube.guess(u_exact)
    require(cube.solve().outcome)
    return solid_errors(domain, (cube.u, cube.p), (u_exact, p_exact))


def wave(domain: Domain) -> Expr:
    """A displacement (mm) without divergence.

    u = 0.05 (sin πx cos πy, sin πy (cos πz − cos πx), −cos πy sin πz)
    """
    X = ufl.SpatialCoordinate(domain.mesh)
    sin, cos = ([f(ufl.pi * X[i]) for i in range(3)] for f in (ufl.sin, ufl.cos))
    u = [sin[0] * cos[1], sin[1] * (cos[2] - cos[0]), -cos[1] * sin[2]]
    return fem.Constant(domain.mesh, 0.05) * ufl.as_vector(u)


def solid_errors(
    domain: Domain, found: tuple[Expr, Expr], exact: tuple[Expr, Expr]
) -> tuple[float, float, float]:
    """Relative errors of u in L² and H¹ and of p in L²; collective.

    Args:
        domain: The body.
        found: u and p.
        exact: u and p.
    """
    dx = domain.dx(degree=6)
    (u, p), (u_exact, p_exact) = found, exact
    return (
        relative_error(u, u_exact, dx),
        relative_error(ufl.grad(u), ufl.grad(u_exact), dx),
        relative_error(p, p_exact, dx),
    )


def require(outcome: Outcome) -> None:
    """Raise what went wrong with a solve.

    Raises:
        SolverError: it did not converge.
    """
    if outcome is not Outcome.CONVERGED:
        raise SolverError("verification", f"no equilibrium ({outcome.name}).", outcome.value)


def value_at(f: fem.Function, point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Value of ``f`` at a point, from whichever rank has it."""
    mesh = f.function_space.mesh
    points = point.reshape(1, 3)
    tree = geometry.bb_tree(mesh, 3, padding=1e-6)
    candidates = geometry.compute_collisions_points(tree, points)
    cells = geometry.compute_colliding_cells(mesh, candidates, points).links(0)
    local = f.eval(points, cells[:1]) if len(cells) else None
    found = [value for value in mesh.comm.allgather(local) if value is not None]
    if not found:
        raise SolverError("verification", f"no cell holds the point {point}.", "Refine the mesh.")
    return np.asarray(found[0]).ravel()
