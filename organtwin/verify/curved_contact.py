"""Patch test of contact on curved surfaces: a tube in a tube, pressed from outside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.materials.bone import OrthotropicBone
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.contact import Contact, ContactLaw
from organtwin.mechanics.contact_solve import solve_in_contact
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.formulation import PENALTY
from organtwin.mechanics.problem import Mechanics
from organtwin.mechanics.small_strain import SmallStrain
from organtwin.mechanics.terms import Traction
from organtwin.solve.assembly import integral
from organtwin.verify.bone_geometry import Layer, layers
from organtwin.verify.mechanics import require

#: Radii of the bore, of the surface between, and of the outside (mm); height of the slice.
BORE, BETWEEN, OUTSIDE, HEIGHT = 8.0, 10.0, 13.0, 0.5
#: Young's modulus and the pressure from outside (kPa), Poisson's ratio.
E, LOAD, NU = 1000.0, 1.0, 0.3


@dataclass(frozen=True)
class CurvedPatch:
    """Two tubes in contact against one tube of both.

    Attributes:
        pressure: Mean pressure between them over Lamé's.
        scatter: Standard deviation of the pressure over its mean, along the surface.
        stress: Error of the stress in L² over its norm.
    """

    pressure: float
    scatter: float
    stress: float


def curved_patch(
    comm: MPI.Comm, path: Path, size: float, *, degree: int = 4, two_pass: bool = False
) -> CurvedPatch:
    """Tubes of one material, their meshes not matching, under a pressure from outside.

        σ_rr = A − B/r²,   σ_θθ = A + B/r²,   A = −p c²/(c² − a²),   B = A a²

    in plane strain, as if they were one. Elements are quadratic, in shape as in displacement.

    Args:
        comm: Communicator.
        path: Where the gmsh file is written.
        size: Edges of the inner tube's mesh (mm); those of the outer one are longer by a quarter.
        degree: Of the quadrature of the contact.
        two_pass: Whether both surfaces are integrated over.
    """
    tubes = [Layer("inner", BORE, BETWEEN, size, 0.0, HEIGHT),
             Layer("outer", BETWEEN, OUTSIDE, 1.25 * size, 0.0, HEIGHT)]  # fmt: skip
    domain = layers(comm, path, tubes, angle=np.pi / 2, joined=False, order=2)
    contact = Contact(
        domain, "inner_outer", "outer_inner", ContactLaw(stiffness=E),
        degree=degree, two_pass=two_pass,
    )  # fmt: skip
    law = SmallStrain(OrthotropicBone.isotropic(E, NU), cartesian())
    n = ufl.FacetNormal(domain.mesh)
    load = fem.Constant(domain.mesh, LOAD)
    problem = Mechanics(
        domain, [law, contact, Traction(("outer_outer",), -load * n)],
        formulation=PENALTY,
        dirichlet=[Dirichlet(f"{part}_{face}", component=i) for part in ("inner", "outer")
                   for face, i in (("x0", 0), ("y0", 1), ("z0", 2), ("z1", 2))],
    )  # fmt: skip
    require(solve_in_contact(problem, [contact]).outcome)
    A = -LOAD * OUTSIDE**2 / (OUTSIDE**2 - BORE**2)
    B = A * BORE**2
    x = ufl.SpatialCoordinate(domain.mesh)
    r2 = x[0] ** 2 + x[1] ** 2
    out = ufl.as_vector([x[0], x[1], 0.0])
    radial = ufl.outer(out, out) / r2
    flat = ufl.as_matrix([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2 * NU]])
    exact = A * flat + B / r2 * (ufl.diag(ufl.as_vector([1.0, 1.0, 0.0])) - 2 * radial)
    off = law.stress(problem.u) - exact
    dx = domain.dx(degree=6)
    error = integral(ufl.inner(off, off) * dx) / integral(ufl.inner(exact, exact) * dx)
    between = B / BETWEEN**2 - A
    _, found = contact.samples()
    count, total, square = (
        comm.allreduce(float(v)) for v in (len(found), found.sum(), (found**2).sum())
    )
    mean = total / count
    spread = np.sqrt(max(square / count - mean**2, 0.0))
    return CurvedPatch(mean / between, spread / mean, float(np.sqrt(error)))
