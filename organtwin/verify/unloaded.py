"""Reference states: a ventricle that is loaded and unloaded again, a sphere known by formula."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from scipy.integrate import quad
from scipy.optimize import brentq
from ufl.core.expr import Expr

from organtwin.materials.guccione import Guccione
from organtwin.materials.kinematics import (
    Directions,
    Scalar,
    as_constants,
    isochoric_first_invariant,
    isochoric_second_invariant,
)
from organtwin.mechanics.cavity import Cavity
from organtwin.mechanics.configuration import carried, moved
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.prestress import prestress
from organtwin.mechanics.problem import Mechanics
from organtwin.mechanics.terms import (
    FollowerPressure,
    Incompressibility,
    PassiveStress,
    Spring,
    Term,
)
from organtwin.mechanics.unloaded import (
    FixedPoint,
    LoadedBody,
    put_on,
    unload,
    unload_by_fixed_point,
)
from organtwin.mesh.domain import Domain
from organtwin.parallel import total
from organtwin.solve import options
from organtwin.solve.assembly import integral
from organtwin.solve.nonlinear import Tolerances
from organtwin.verify.geometry import hollow_sphere_octant, truncated_ellipsoid

CAVITY = Cavity("lv", "lv_endo", "base")
TIGHT = Tolerances(increment=1e-10)


@dataclass(frozen=True)
class Recovered:
    """How well an unloaded shape is found again.

    Attributes:
        inflation: Largest displacement of the inflation (mm).
        direct: Error of the inverse problem's displacement, relative in the nodal l² norm.
        fixed_point: The same of the fixed-point method.
        resolved: Distance (mm) from the image in the forward solve that ends the inverse problem.
        prestressed: Error of the deformation F_pre that the prestressed image carries, relative to
            F − I of the inflation in the l² norm of the quadrature points.
    """

    inflation: float
    direct: float
    fixed_point: float
    resolved: float
    prestressed: float


def recovered_ventricle(
    comm: MPI.Comm, path: Path, *, size: float, pressure: float = 1.5
) -> Recovered:
    """Inflate an ellipsoidal ventricle, take that for an image, and look for what it was before.

    Guccione's tissue, incompressible, fibres around the axis, springs on the epicardium, the base
    held. The image is a mesh of second order, as the displacement is; with straight edges it would
    show another shape than the one computed.

    Args:
        comm: Communicator.
        path: Where the gmsh file is written.
        size: Edge length (mm).
        pressure: In the cavity (kPa).
    """
    unloaded = truncated_ellipsoid(comm, path, size=size)
    frame = around_the_axis(unloaded)
    forward = Mechanics(
        unloaded,
        wall(unloaded, frame),
        cavities=[CAVITY],
        dirichlet=[Dirichlet("base")],
        tolerances=TIGHT,
    )

    def fill(share: float) -> None:
        forward.pressures[:] = share * pressure

    put_on(forward, fill, "filling", [pressure])
    u = forward.u
    image = moved(unloaded, u)
    body = LoadedBody(
        image,
        wall(image, Directions(*(carried(d, image) for d in (frame.f0, frame.s0, frame.n0)))),
        cavities=[CAVITY],
        pressures=[pressure],
        dirichlet=[Dirichlet("base")],
        tolerances=TIGHT,
    )
    direct = unload(body)
    fixed = unload_by_fixed_point(body, FixedPoint(tolerance=1e-7))
    return Recovered(
        inflation=float(comm.allreduce(np.abs(u.x.array).max(initial=0.0), op=MPI.MAX)),
        direct=_error(direct.U, u, unloaded),
        fixed_point=_error(fixed.U, u, unloaded),
        resolved=direct.residual,
        prestressed=_error_of_gradient(prestress(body).F, u, unloaded),
    )


def wall(domain: Domain, frame: Directions) -> list[Term]:
    """Tissue of the ventricle and the springs around it."""
    law = as_constants(Guccione(stiffness=2.0, b_f=8.0, b_t=2.0, b_fs=4.0), domain.mesh)
    return [
        PassiveStress(law, frame),
        Incompressibility(),
        Spring(("epi",), fem.Constant(domain.mesh, 0.1), normal_only=True),
    ]


def around_the_axis(domain: Domain) -> Directions:
    """Fibres around the z axis, sheets towards it, at the quadrature points of degree 4."""
    msh = domain.mesh
    element = basix.ufl.quadrature_element(msh.basix_cell(), value_shape=(3,), degree=4)
    space = fem.functionspace(msh, element)
    cells = np.arange(msh.topology.index_map(3).size_local, dtype=np.int32)
    points = space.element.interpolation_points
    place = fem.Expression(ufl.SpatialCoordinate(msh), points, jit_options=options.jit())
    x = place.eval(msh, cells).reshape(-1, 3) * [1.0, 1.0, 0.0]
    outward = x / np.linalg.norm(x, axis=1, keepdims=True)
    axis = np.broadcast_to([0.0, 0.0, 1.0], x.shape)
    found = []
    for values in (np.cross(axis, outward), outward, axis):
        function = fem.Function(space)
        function.x.array.reshape(-1, 3)[space.dofmap.list[: len(cells)].ravel()] = values
        function.x.scatter_forward()
        found.append(function)
    return Directions(*found)


def _error(U: fem.Function, u: fem.Function, domain: Domain) -> float:
    """|U + u| / |u| over the nodes."""
    comm, back = domain.comm, carried(U, domain)
    there = carried(u, domain)
    owned = there.function_space.dofmap.index_map.size_local * 3
    off, all_of_it = (
        total(comm, float(np.sum(values[:owned] ** 2)))
        for values in (back.x.array + there.x.array, there.x.array)
    )
    return float(np.sqrt(off / all_of_it))


def _error_of_gradient(F_pre: fem.Function, u: fem.Function, domain: Domain) -> float:
    """|F_pre − F| / |F − I| over the quadrature points."""
    found = carried(F_pre, domain)
    space = found.function_space
    strained = fem.Function(space)
    F = ufl.Identity(3) + ufl.grad(u)
    points = space.element.interpolation_points
    strained.interpolate(fem.Expression(F, points, jit_options=options.jit()))
    owned = space.dofmap.index_map.size_local
    F_found, F_exact = (f.x.array.reshape(-1, 3, 3)[:owned] for f in (found, strained))
    off, all_of_it = (
        total(domain.comm, float(np.sum(difference**2)))
        for difference in (F_found - F_exact, F_exact - np.eye(3))
    )
    return float(np.sqrt(off / all_of_it))


# --- sphere ------------------------------------------------------------------------------------

#: Inner and outer radius of the loaded sphere (mm), pressure inside (kPa), Mooney's constants.
INNER, OUTER, PRESSURE, C1, C2 = 30.0, 40.0, 5.0, 60.0, -20.0


@dataclass(frozen=True)
class Rubber:
    """c₁ (Ī₁ − 3) + c₂ (Ī₂ − 3), with the source's c₂ < 0 that `MooneyRivlin` refuses.

    Attributes:
        c_1, c_2: Stiffnesses (kPa).
    """

    c_1: Scalar
    c_2: Scalar

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        first = self.c_1 * (isochoric_first_invariant(C) - 3)
        return first + self.c_2 * (isochoric_second_invariant(C) - 3)


def shrunk_sphere(comm: MPI.Comm, path: Path, *, size: float) -> float:
    """Mean radial displacement (mm) of the inner face of a loaded sphere to its unloaded state.

    An octant of a hollow sphere of incompressible Mooney–Rivlin rubber, shown by the image under a
    pressure inside.

    Args:
        comm: Communicator.
        path: Where the gmsh file is written.
        size: Edge length (mm).
    """
    domain = hollow_sphere_octant(comm, path, inner=INNER, outer=OUTER, size=size)
    pressure = fem.Constant(domain.mesh, 0.0)
    law = as_constants(Rubber(C1, C2), domain.mesh)
    body = LoadedBody(
        domain,
        [
            PassiveStress(law),
            Incompressibility(),
            FollowerPressure(("inner",), pressure),
        ],
        dirichlet=[Dirichlet(f"{axis}0", component=i) for i, axis in enumerate("xyz")],
        scale=lambda share: setattr(pressure, "value", share * PRESSURE),
    )
    U = unload(body).U
    x = ufl.SpatialCoordinate(domain.mesh)
    ds = domain.ds("inner", degree=6)
    radial = ufl.dot(U, x) / ufl.sqrt(ufl.dot(x, x))
    return integral(radial * ds) / domain.area("inner")


def shrinkage() -> float:
    """The same displacement by formula.

    Incompressible, R³ = r³ + c with the hoop stretch λ = r/R, and the pressure is the sum of the
    stress differences through the wall,

        p = ∫ 2 (λ² − λ⁻⁴) (2 c₁ + 2 c₂ λ²) / r dr   from the inner to the outer radius.
    """

    def pressure(c: float) -> float:
        def slope(r: float) -> float:
            square = r**2 / (r**3 + c) ** (2 / 3)
            return 4 * (square - square**-2) * (C1 + C2 * square) / r

        return float(quad(slope, INNER, OUTER, epsabs=1e-12)[0])

    c = brentq(lambda c: pressure(c) - PRESSURE, -5000.0, 0.0, xtol=1e-10)
    return float((INNER**3 + c) ** (1 / 3) - INNER)
