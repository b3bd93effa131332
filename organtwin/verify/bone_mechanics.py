"""Verification problems of bones and implants: press fit, preload, errors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.materials.bone import OrthotropicBone
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.formulation import PENALTY, Formulation
from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.recovery import Recovery
from organtwin.mechanics.small_strain import SmallStrain, small_stress
from organtwin.mechanics.terms import BodyForce, Traction
from organtwin.mechanics.tie import Tie
from organtwin.mesh.domain import Domain
from organtwin.solve.assembly import integral
from organtwin.verify.bone_geometry import Layer, layers
from organtwin.verify.geometry import box

#: Young's moduli (kPa) of compact bone and of titanium, and Poisson's ratio.
COMPACT, TITANIUM, NU = 17e6, 110e6, 0.3


def elastic(
    E: float, nu: float = NU, *, region: str = "", eigenstrain: ufl.core.expr.Expr | None = None
) -> SmallStrain:
    """An isotropic material, in one region or everywhere."""
    law = OrthotropicBone.isotropic(E, nu)
    return SmallStrain(law, cartesian(), (region,) if region else (), eigenstrain)


@dataclass(frozen=True)
class PressFit:
    """Two rings with an interference, over Lamé's solution.

    Attributes:
        pressure: Between them.
        hoop: Stress around the bore of the outer ring.
    """

    pressure: float
    hoop: float


def press_fit(comm: MPI.Comm, path: Path, size: float) -> PressFit:
    """A ring of titanium, 10 to 15 mm, 20 µm too large for one of bone, 15 to 22 mm; plane strain.

        p = (δ/b) / [((b² + a²)/(b² − a²) − ν₁)/E₁ + ((c² + b²)/(c² − b²) + ν₂)/E₂]

    with E/(1 − ν²) for E and ν/(1 − ν) for ν. The interference is an eigenstrain of the inner
    ring; its mesh is coarser than that of the outer one, and they are tied.

    Args:
        comm: Communicator.
        path: Where the gmsh file is written.
        size: Edges of the outer ring's mesh (mm).
    """
    a, b, c, height, delta = 10.0, 15.0, 22.0, 2.0, 0.02
    parts = [Layer("stem", a, b, 1.3 * size, 0.0, height), Layer("bone", b, c, size, 0.0, height)]
    domain = layers(comm, path, parts, angle=np.pi / 2, joined=False)
    swelling = ufl.as_matrix([[delta / b, 0, 0], [0, delta / b, 0], [0, 0, 0]])
    materials = [
        elastic(TITANIUM, region="stem", eigenstrain=swelling), elastic(COMPACT, region="bone")
    ]  # fmt: skip
    symmetry = [Dirichlet(f"{part.name}_{face}", component=i) for part in parts
                for face, i in (("x0", 0), ("y0", 1), ("z0", 2), ("z1", 2))]  # fmt: skip
    tie = Tie(domain, "bone_inner", "stem_outer", penalty=1000 * COMPACT / size)
    problem = LinearElasticity(
        domain, [*materials, tie], dirichlet=symmetry, formulation=PENALTY, name="press_fit"
    )
    problem.solve()
    force, u = tie.force(), problem.u
    soft = [((b * b + a * a) / (b * b - a * a), -1.0, TITANIUM),
            ((c * c + b * b) / (c * c - b * b), 1.0, COMPACT)]  # fmt: skip
    give = sum((k + sign * NU / (1 - NU)) * (1 - NU**2) / E for k, sign, E in soft)
    p = delta / b / give
    around = materials[1].stress(u)
    x = ufl.SpatialCoordinate(domain.mesh)
    t = ufl.as_vector([-x[1], x[0], 0.0]) / ufl.sqrt(x[0] ** 2 + x[1] ** 2)
    hoop = integral(ufl.dot(t, around * t) * domain.ds("bone_inner", degree=4))
    hoop /= domain.area("bone_inner")
    return PressFit(float(np.abs(force[:2]).mean()) / (b * height) / p, hoop / (p * soft[1][0]))


@dataclass(frozen=True)
class Preload:
    """A clamped joint, over the closed form.

    Attributes:
        clamping: Force in the bolt after tightening.
        share: Part of an external force that the bolt takes.
    """

    clamping: float
    share: float


def bolt_preload(comm: MPI.Comm, path: Path, size: float) -> Preload:
    """A bar in a sleeve below a nearly rigid head; the bar is shortened by 0.1 %.

        F = e L / (L/E_b A_b + L/E_s A_s),     ΔF = F_ext k_b/(k_b + k_s),     k = E A/L

    Without Poisson's effect (ν = 0) both are exact for a rigid head. The head is 1000 times as
    stiff as the bar.
    """
    L, e, outside = 40.0, 1e-3, 1e5
    parts = [Layer("bolt", 0.0, 4.0, size, 0.0, L), Layer("sleeve", 5.0, 10.0, size, 0.0, L),
             Layer("head", 0.0, 10.0, size, L, L + 8.0)]  # fmt: skip
    domain = layers(comm, path, parts, angle=np.pi / 2, joined=True)
    short = ufl.as_matrix([[0, 0, 0], [0, 0, 0], [0, 0, -e]])
    pull = fem.Constant(domain.mesh, 0.0)
    bolt = elastic(TITANIUM, 0.0, region="bolt", eigenstrain=short)
    joint = LinearElasticity(
        domain,
        [bolt, elastic(COMPACT, 0.0, region="sleeve"),
         elastic(1000 * TITANIUM, 0.0, region="head"),
         Traction(("head_z1",), ufl.as_vector([0.0, 0.0, pull]))],
        dirichlet=[Dirichlet(f"{part.name}_{face}", component=i)
                   for part in parts for face, i in (("x0", 0), ("y0", 1))]
        + [Dirichlet(f"{name}_z0", component=2) for name in ("bolt", "sleeve")],
        name="preload",
    )  # fmt: skip
    forces = []
    for force in (0.0, outside):
        pull.value = force / 4 / domain.area("head_z1")
        joint.solve()
        forces.append(-4 * float(joint.reaction("bolt_z0")[2]))
    k = [E * 4 * domain.area(f"{name}_z0") / L
         for name, E in (("bolt", TITANIUM), ("sleeve", COMPACT))]  # fmt: skip
    joint.release()
    tight = e * L * k[0] * k[1] / (k[0] + k[1])
    taken = (forces[1] - forces[0]) / outside
    return Preload(forces[0] / tight, taken * (k[0] + k[1]) / k[0])


def error_estimate(comm: MPI.Comm, n: int, formulation: Formulation) -> float:
    """Estimated over true error of a cube whose displacement is known.

    The edges are 1 mm; the displacement is prescribed at the border.

    Args:
        comm: Communicator.
        n: Divisions of its edges.
        formulation: Linear or quadratic elements.
    """
    domain = box(comm, (1.0, 1.0, 1.0), (n, n, n))
    U = known_displacement(domain)
    material = elastic(1000.0)

    def stress(u: ufl.core.expr.Expr) -> ufl.core.expr.Expr:
        return small_stress(material.material, ufl.sym(ufl.grad(u)), material.directions)

    faces = [Dirichlet(f"{axis}{end}", U) for axis in "xyz" for end in (0, 1)]
    cube = LinearElasticity(
        domain, [material, BodyForce(-ufl.div(stress(U)))],
        dirichlet=faces, formulation=formulation, degree=4, name="estimate",
    )  # fmt: skip
    cube.solve()
    e = cube.u - U
    true = integral(ufl.inner(stress(e), ufl.sym(ufl.grad(e))) * domain.dx(degree=6))
    found = Recovery(cube).error()
    cube.release()
    return float(np.sqrt(found.square / true))


def known_displacement(domain: Domain) -> ufl.core.expr.Expr:
    """A smooth displacement (mm) that no element represents."""
    x = ufl.SpatialCoordinate(domain.mesh)
    return ufl.as_vector([
        ufl.sin(2 * x[1]) * x[2], ufl.cos(2 * x[0]) * x[1] / 2, ufl.exp(x[0]) * ufl.sin(x[2])
    ])  # fmt: skip
