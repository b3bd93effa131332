"""Verification problems of the finite-strain solver."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem, geometry
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import SolverError
from organtwin.materials.guccione import Guccione
from organtwin.materials.holzapfel_ogden import HolzapfelOgden
from organtwin.materials.kinematics import Directions, as_constants, first_piola
from organtwin.mechanics.cavity import Cavity
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import (
    BodyForce,
    FollowerPressure,
    Incompressibility,
    PassiveStress,
    Term,
)
from organtwin.parallel import total
from organtwin.solve.nonlinear import Tolerances
from organtwin.solve.outcome import Outcome
from organtwin.verify.geometry import box, truncated_ellipsoid


def axes() -> Directions:
    """Fibre, sheet and normal along x, y and z."""
    return Directions(*(ufl.as_vector(np.eye(3)[i].tolist()) for i in range(3)))


def land_problem_1(comm: MPI.Comm, cells: tuple[int, int, int] = (20, 4, 4)) -> float:
    """Deflected height of the beam of Land et al. (2015), problem 1.

    A bar of 10 × 1 × 1 mm with fibres along it, fixed at one end, bends under a pressure of
    4 Pa that follows its lower face.

    Returns:
        z coordinate (mm) that the point (10, 0.5, 1) mm moves to.
    """
    domain = box(comm, (10.0, 1.0, 1.0), cells)
    pressure = fem.Constant(domain.mesh, 0.0)
    law = as_constants(Guccione(stiffness=2.0, b_f=8.0, b_t=2.0, b_fs=4.0), domain.mesh)
    beam = Mechanics(
        domain,
        [PassiveStress(law, axes()), Incompressibility(), FollowerPressure(("z0",), pressure)],
        dirichlet=[Dirichlet("x0")],
        tolerances=Tolerances(increment=1e-8),
    )
    for share in np.linspace(0, 1, 9)[1:]:
        pressure.value = 0.004 * share
        _require(beam, beam.solve().outcome)
    return 1.0 + float(_value_at(beam.u, np.array([10.0, 0.5, 1.0]))[2])


def land_problem_2(comm: MPI.Comm, path: Path, size: float = 1.5) -> dict[str, float]:
    """Inflation of the idealised ventricle of Land et al. (2015), problem 2, to 10 kPa.

    Returns:
        Apex height (mm) on the endocardium and epicardium, cavity volume (mm³).
    """
    domain = truncated_ellipsoid(comm, path, size=size)
    law = as_constants(Guccione(stiffness=10.0, b_f=1.0, b_t=1.0, b_fs=1.0), domain.mesh)
    ventricle = Mechanics(
        domain,
        [PassiveStress(law, axes()), Incompressibility()],
        cavities=[Cavity("lv", "lv_endo", "base")],
        dirichlet=[Dirichlet("base")],
        tolerances=Tolerances(increment=1e-7),
    )
    for pressure in (*np.arange(0.1, 3.0, 0.1), *np.arange(3.0, 10.1, 0.5)):
        _require(ventricle, ventricle.solve(pressures=[pressure]).outcome)
    apex = {
        name: z + float(_value_at(ventricle.u, np.array([0.0, 0.0, z]))[2])
        for name, z in (("endocardium", -17.0), ("epicardium", -20.0))
    }
    return {**apex, "volume": float(ventricle.volumes()[0])}


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
    X = ufl.SpatialCoordinate(msh)
    sin, cos = ([f(ufl.pi * X[i]) for i in range(3)] for f in (ufl.sin, ufl.cos))
    wave = [sin[0] * cos[1], sin[1] * (cos[2] - cos[0]), -cos[1] * sin[2]]
    u_exact = fem.Constant(msh, 0.05) * ufl.as_vector(wave)
    F = ufl.Identity(3) + ufl.grad(u_exact)
    p_exact = kappa * (ufl.det(F) - 1)
    P = first_piola(law, F, axes()) + p_exact * ufl.cofac(F)
    terms: list[Term] = [
        PassiveStress(law, axes()),
        Incompressibility(kappa),
        BodyForce(-ufl.div(P)),
    ]
    sides = [Dirichlet(name, u_exact) for name in domain.surfaces]
    cube = Mechanics(
        domain, terms, dirichlet=sides, degree=4, tolerances=Tolerances(increment=1e-9)
    )
    cube.guess(u_exact)
    _require(cube, cube.solve().outcome)
    u, p = cube.u, cube.p
    dx = domain.dx(degree=6)
    pairs = (
        (u - u_exact, u_exact),
        (ufl.grad(u - u_exact), ufl.grad(u_exact)),
        (p - p_exact, p_exact),
    )
    errors = [np.sqrt(_square(comm, e, dx) / _square(comm, ref, dx)) for e, ref in pairs]
    return errors[0], errors[1], errors[2]


def _square(comm: MPI.Comm, expression: ufl.core.expr.Expr, dx: ufl.Measure) -> float:
    form = fem.form(ufl.inner(expression, expression) * dx)
    return total(comm, fem.assemble_scalar(form))


def _require(problem: Mechanics, outcome: Outcome) -> None:
    if outcome is not Outcome.CONVERGED:
        raise SolverError("verification", f"no equilibrium ({outcome.name}).", outcome.value)


def _value_at(f: fem.Function, point: NDArray[np.float64]) -> NDArray[np.float64]:
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
