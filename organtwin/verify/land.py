"""Problems of Land et al. (2015): a beam, an inflated and a contracting ventricle.

Source:
    Land et al. (2015), Verification of cardiac mechanics software, Proc. R. Soc. A 471:20150641.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.materials.active import ActiveStress, SecondPiolaTension
from organtwin.materials.guccione import Guccione
from organtwin.materials.kinematics import Directions, as_constants
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.cavity import Cavity
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import (
    ActiveTension,
    FollowerPressure,
    Incompressibility,
    PassiveStress,
    Term,
)
from organtwin.mesh.domain import Domain
from organtwin.solve.assembly import integral
from organtwin.solve.nonlinear import Tolerances
from organtwin.solve.steward import LoadStep, Path, follow
from organtwin.verify.ellipsoid import Grid, layered_ellipsoid, radii
from organtwin.verify.geometry import box
from organtwin.verify.mechanics import require, value_at

type Array = NDArray[np.float64]

#: Largest root-mean-square correction (mm) at loads on the way and at the last one.
ON_THE_WAY, AT_THE_END = 1e-3, 1e-6
#: Iterations that factors may serve.
PATIENCE = 20
#: Quadrature degree of volume terms.
DEGREE = 4
#: Reference positions (mm) of the apex.
APEX = {"endocardium": -17.0, "epicardium": -20.0}


@dataclass(frozen=True)
class Loading:
    """A problem and how a share of its load, 0 to 1, is put on.

    Attributes:
        problem: Without load.
        apply: Sets the loads to a share.
        largest: Longest step. Longer ones need new factors, which cost more than the iterations of
            several short ones.
    """

    problem: Mechanics
    apply: Callable[[float], None]
    largest: float


def beam(domain: Domain) -> Loading:
    """Problem 1: a bar fixed at one end under 4 Pa that follow its lower face."""
    law = Guccione(stiffness=2.0, b_f=8.0, b_t=2.0, b_fs=4.0)
    return _pressed(domain, law, "z0", 0.004, held="x0", largest=0.15)


def inflation(domain: Domain) -> Loading:
    """Problem 2: a ventricle of isotropic tissue, fixed at its base, under 10 kPa."""
    law = Guccione(stiffness=10.0, b_f=1.0, b_t=1.0, b_fs=1.0)
    return _pressed(domain, law, "lv_endo", 10.0, held="base", largest=0.08)


def _pressed(
    domain: Domain, law: Guccione, surface: str, full: float, *, held: str, largest: float
) -> Loading:
    """Passive tissue with fibres along x under a pressure (kPa) on a surface, held at another."""
    pressure = fem.Constant(domain.mesh, 0.0)
    terms: list[Term] = [
        PassiveStress(as_constants(law, domain.mesh), cartesian()),
        Incompressibility(),
        FollowerPressure((surface,), pressure),
    ]
    problem = Mechanics(domain, terms, dirichlet=[Dirichlet(held)], degree=DEGREE)

    def apply(share: float) -> None:
        pressure.value = full * share

    return Loading(problem, apply, largest)


def contraction(domain: Domain, fibres: Directions | None = None) -> Loading:
    """Problem 3: a ventricle that contracts with 60 kPa against 15 kPa, both growing together.

    Args:
        domain: The ventricle.
        fibres: Its directions; `helical_fibres` if None.
    """
    pressure, Ta = fem.Constant(domain.mesh, 0.0), fem.Constant(domain.mesh, 0.0)
    law = as_constants(Guccione(stiffness=2.0, b_f=8.0, b_t=2.0, b_fs=4.0), domain.mesh)
    directions = fibres or helical_fibres(domain, DEGREE)
    terms: list[Term] = [
        PassiveStress(law, directions),
        ActiveTension(ActiveStress(SecondPiolaTension(Ta)), directions),
        Incompressibility(),
        FollowerPressure(("lv_endo",), pressure),
    ]
    problem = Mechanics(domain, terms, dirichlet=[Dirichlet("base")], degree=DEGREE)

    def apply(share: float) -> None:
        pressure.value, Ta.value = 15.0 * share, 60.0 * share

    return Loading(problem, apply, largest=0.08)


def carry_out(loading: Loading, *, first: float = 0.05) -> Path:
    """Put the whole load on; collective.

    States on the way need only be near equilibrium; the last one is then made precise.

    Args:
        loading: From no load.
        first: First share of the load.

    Returns:
        Account of the way and, as its last step, of the end.

    Raises:
        SolverError: no equilibrium.
    """
    problem = loading.problem
    problem.tolerances = Tolerances(increment=ON_THE_WAY, patience=PATIENCE)
    path = follow(problem, loading.apply, first=first, largest=loading.largest)
    path.require()
    problem.tolerances = Tolerances(increment=AT_THE_END, patience=PATIENCE)
    end = problem.solve()
    require(end.outcome)
    last = LoadStep(1.0, 1.0, end.outcome, end.iterations, end.factorisations, 0.0)
    return replace(path, attempts=(*path.attempts, last))


def deflection(problem: Mechanics) -> float:
    """Height (mm) of the point that was at (10, 0.5, 1) mm."""
    return 1.0 + float(value_at(problem.u, np.array([10.0, 0.5, 1.0]))[2])


def shape(problem: Mechanics) -> dict[str, float]:
    """Height (mm) of the apex on both sides and volume (mm³) of the cavity, by name."""
    u = problem.u
    heights = {name: z + float(value_at(u, np.array([0.0, 0.0, z]))[2]) for name, z in APEX.items()}
    return {**heights, "volume": _volume(problem)}


def _volume(problem: Mechanics) -> float:
    """Volume (mm³) below the base, which is fixed."""
    domain, centre = problem.domain, fem.Constant(problem.domain.mesh, np.array([0.0, 0.0, 5.0]))
    cavity = Cavity("lv", "lv_endo", "base")
    return integral(cavity.volume_form(domain, problem.displacement, centre))


def land_problem_1(comm: MPI.Comm, cells: tuple[int, int, int] = (20, 4, 4)) -> float:
    """Deflected height (mm) of the beam, of 10 × 1 × 1 mm with fibres along it."""
    loading = beam(box(comm, (10.0, 1.0, 1.0), cells))
    carry_out(loading)
    return deflection(loading.problem)


def land_problem_2(comm: MPI.Comm, grid: Grid) -> dict[str, float]:
    """`shape` of the inflated ventricle."""
    loading = inflation(layered_ellipsoid(comm, grid))
    carry_out(loading)
    return shape(loading.problem)


def land_problem_3(comm: MPI.Comm, grid: Grid) -> dict[str, float]:
    """`shape` of the contracted ventricle, whose fibres have no direction on the axis."""
    loading = contraction(layered_ellipsoid(comm, grid))
    carry_out(loading)
    return shape(loading.problem)


def wall_depth(x: Array) -> Array:
    """How deep in the wall points lie: 0 on the endocardium, 1 on the epicardium.

    The root t of (x² + y²) / (7 + 3t)² + z² / (17 + 3t)² = 1 by Newton's method.

    Args:
        x: Points (mm), (3, n), not on the inner focal disk.
    """
    r2, z2 = x[0] ** 2 + x[1] ** 2, x[2] ** 2
    t = np.full_like(r2, 0.5)
    for _ in range(50):
        short, long = radii(t)
        gap = r2 / short**2 + z2 / long**2 - 1
        change = gap / (6 * (r2 / short**3 + z2 / long**3))
        t = t + change
        if np.abs(change).max(initial=0.0) < 1e-14:
            break
    return np.asarray(t)


def wall_directions(x: Array, t: Array) -> tuple[Array, Array, Array]:
    """Meridional, circumferential and outward directions at depth ``t``, each (3, n).

    On the axis, where they have no limit, the meridional one is taken along x.
    """
    short, long = radii(t)
    r = np.hypot(x[0], x[1])
    on_axis = r < 1e-12
    cos, sin = (np.where(on_axis, e, x[i] / np.where(on_axis, 1, r)) for i, e in ((0, 1), (1, 0)))
    # Along the ellipse through the point, away from the apex.
    along_r, along_z = -short / long * x[2], long / short * r
    length = np.hypot(along_r, along_z)
    meridional = np.stack([along_r * cos, along_r * sin, along_z]) / length
    around = np.stack([-sin, cos, np.zeros_like(r)])
    return meridional, around, np.cross(around, meridional, axis=0)


def helix(x: Array, t: Array) -> tuple[Array, Array]:
    """Fibres at +90° on the endocardium to −90° on the epicardium, and the outward direction."""
    meridional, around, outward = wall_directions(x, t)
    angle = np.pi / 2 * (1 - 2 * t)
    return np.sin(angle) * meridional + np.cos(angle) * around, outward


def helical_fibres(domain: Domain, degree: int) -> Directions:
    """The fibres of problem 3 at the points of a quadrature rule.

    Args:
        domain: The truncated ellipsoid.
        degree: Of the quadrature.
    """
    cell = domain.mesh.basix_cell()
    element = basix.ufl.quadrature_element(cell, value_shape=(3,), degree=degree)
    space = fem.functionspace(domain.mesh, element)
    fibre, sheet = fem.Function(space), fem.Function(space)
    x = space.tabulate_dof_coordinates().T
    for function, values in zip((fibre, sheet), helix(x, wall_depth(x)), strict=True):
        function.x.array[:] = values.T.ravel()
    return Directions(fibre, sheet, ufl.cross(fibre, sheet))
