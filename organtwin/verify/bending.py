"""Four-point bending of a tube of compact bone around spongy bone, as a composite beam."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ufl
from mpi4py import MPI

from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.formulation import PENALTY
from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.terms import BodyForce
from organtwin.mesh.distribute import distribute
from organtwin.solve.assembly import integral
from organtwin.verify.bone_mechanics import COMPACT, NU, elastic
from organtwin.verify.solid_grids import tubes

#: Radii (mm) of the bore, of the border of both kinds of bone, and of the tube; E (kPa) inside.
RADII, SPONGY = (3.0, 9.0, 14.0), 0.5e6


@dataclass(frozen=True)
class Bending:
    """Over beam theory.

    Attributes:
        deflection: Of the middle against the supports.
        curvature: At the middle.
        strain: Along the tube at its outer border in the middle.
        without_shear: Deflection that bending alone gives over that with shear.
    """

    deflection: float
    curvature: float
    strain: float
    without_shear: float


def four_point_bending(comm: MPI.Comm, around: int) -> Bending:
    """Supports 240 mm apart, rollers 80 mm apart, 500 N each.

        δ = F L³/3B − F a² (3L − a)/6B + F (L − a)/S,   B = Σ E I,   S = Σ κ G A

    with half the spans L and a. κ of a thick tube is Cowper's, taken for each layer as if it were
    alone. A half of the section and of the length is meshed. The load of a roller is spread over
    the section and, as a Gaussian of 4 mm, along the tube: nothing but beam theory is asked.

    Args:
        comm: Communicator.
        around: Divisions of the half circle.

    Source:
        Cowper (1966), J. Appl. Mech. 33:335–340 (κ).
    """
    L, a, F, width = 120.0, 40.0, 500e3, 4.0
    names, moduli = ("spongy", "compact"), (SPONGY, COMPACT)
    levels = np.linspace(0.0, L, 25)
    mesh = tubes(RADII, names, (1, 1), around, levels, angle=np.pi) if comm.rank == 0 else None
    domain = distribute(mesh, comm)
    x, _, z = ufl.SpatialCoordinate(domain.mesh)
    shape = ufl.exp(-(((z - a) / width) ** 2))
    whole = integral(shape * domain.dx(degree=6))
    load = ufl.as_vector([-F / 2 / whole * shape, 0.0, 0.0])
    materials = [elastic(E, region=name) for name, E in zip(names, moduli, strict=True)]
    held = [Dirichlet("end", component=1)]
    held += [Dirichlet(f"{name}_{face}", component=i)
             for name in names for face, i in (("z0", 2), ("z1", 0))]  # fmt: skip
    beam = LinearElasticity(
        domain, [*materials, BodyForce(load)], dirichlet=held, formulation=PENALTY, degree=4,
        name="bending",
    )  # fmt: skip
    beam.solve()
    middle, ends = ([f"{name}_{face}" for name in names] for face in ("z0", "z1"))
    w = [integral(beam.u[0] * domain.ds(*at)) / domain.area(*at) for at in (middle, ends)]
    strain = ufl.grad(beam.u)[2, 2]
    section, outer = domain.ds(*middle, degree=4), domain.ds("compact_z0", degree=4)
    bend, edge = (abs(integral(strain * x * d) / integral(x * x * d)) for d in (section, outer))
    beam.release()
    B, S = _stiffness(moduli, around)
    bent, moment = F * L**3 / 3 - F * a**2 * (3 * L - a) / 6, F * (L - a)
    deflection = bent / B + moment / S
    return Bending(
        (w[1] - w[0]) / deflection, bend * B / moment, edge * B / moment, bent / B / deflection
    )


def _stiffness(moduli: tuple[float, ...], around: int) -> tuple[float, float]:
    """Σ E I and Σ κ G A of rings whose borders are polygons with twice ``around`` corners."""
    angle = np.pi / around
    second = 2 * around * np.sin(angle) * (2 + np.cos(angle)) / 24
    area = around * np.sin(angle)
    B = S = 0.0
    for E, inner, outer in zip(moduli, RADII[:-1], RADII[1:], strict=True):
        B += E * second * (outer**4 - inner**4)
        S += _cowper(inner / outer) * E / (2 * (1 + NU)) * area * (outer**2 - inner**2)
    return B, S


def _cowper(m: float) -> float:
    """Shear coefficient of a tube of radii m and 1."""
    q = (1 + m**2) ** 2
    return float(6 * (1 + NU) * q / ((7 + 6 * NU) * q + (20 + 12 * NU) * m**2))
