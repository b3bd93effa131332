"""Verification problems of rings in vessels: balance with an elastic tube, pull-out by friction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gmsh
import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.optimize import brentq

from organtwin.devices.cylinder import Cylinder, Strut
from organtwin.devices.fibre_laws import ElasticFibre, FibreLaw, SuperelasticFibre
from organtwin.devices.load_path import follow
from organtwin.errors import SolverError
from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.nitinol import Nitinol
from organtwin.mechanics import rigid
from organtwin.mechanics.contact import Contact, ContactLaw
from organtwin.mechanics.contact_solve import solve_in_contact
from organtwin.mechanics.formulation import PENALTY
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.rigid import Obstacle
from organtwin.mechanics.terms import Incompressibility, PassiveStress
from organtwin.mesh.domain import Domain, read_domain
from organtwin.mesh.tetrahedra import gmsh_session
from organtwin.parallel import on_root
from organtwin.solve.nonlinear import Tolerances
from organtwin.verify.beams import STRUT, pulled_ring, ring, ring_model
from organtwin.verify.inelastic import nitinol_curve
from organtwin.verify.mechanics import require
from organtwin.verify.problem import shared_file
from organtwin.verify.record import Record, Sense

Floats = NDArray[np.float64]

#: Radius (mm) of the rings at rest.
RADIUS = 10.0
#: Young's modulus of the elastic ring (kPa).
METAL = 5e7
#: Penalty of the rings' contact (mN/mm²): they press with 6 N/mm, which leaves 0.01 µm.
HARD = 5e8
#: Tolerance: Lamé's solution is that of small strains, which are 0.1 to 0.3 % here.
SMALL = 3e-3
#: Part of the imbalance of the forces, over the ring's, that ends the search for the radius.
CLOSE = 1e-6


@dataclass(frozen=True)
class Tube:
    """An elastic tube in plane strain, of which a slice belongs to each ring.

        u = C F,   C = (1 + ν) [(1 − 2ν) a² + b²] / (2π E h (b² − a²))

    with the displacement u of its inner side under the radial force F of a ring.

    Attributes:
        inner, outer: a, b (mm).
        height: h of the slice (mm).
        E: Young's modulus (kPa).
        nu: Poisson's ratio.

    Source:
        Lamé's solution; Timoshenko & Goodier, Theory of Elasticity, section 28.
    """

    inner: float
    outer: float
    height: float
    E: float
    nu: float = 0.3

    @property
    def compliance(self) -> float:
        """C (mm/mN)."""
        a, b, nu = self.inner, self.outer, self.nu
        shape = ((1 - 2 * nu) * a**2 + b**2) / (b**2 - a**2)
        return (1 + nu) * shape / (2 * math.pi * self.E * self.height)


class Bore:
    """A rigid cylinder about the z-axis whose radius may change.

    Attributes:
        radius: Of its surface (mm).
    """

    def __init__(self, radius: float) -> None:
        self.radius = radius

    def distance(self, y: Floats) -> tuple[Floats, Floats, Floats]:
        """As `rigid.Cylinder`."""
        return rigid.Cylinder((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), self.radius).distance(y)


class TubeModel:
    """A quarter of a slice of a tube by finite elements, in contact with a cylinder within.

    Args:
        comm: Communicator.
        tube: Its sizes.
        cells: Divisions of the wall; eight times as many around the quarter.
        friction: Coefficient.
    """

    def __init__(self, comm: MPI.Comm, tube: Tube, cells: int, friction: float = 0.0) -> None:
        domain = quarter_tube(comm, tube, cells)
        self._bore, self._place = Bore(tube.inner), fem.Constant(domain.mesh, np.zeros(3))
        # So stiff that penetrations stay far below the displacements.
        law = ContactLaw(stiffness=10 * tube.E, friction=friction)
        self._contact = Contact(domain, "inside", Obstacle(self._bore, self._place), law)
        mu, kappa = tube.E / (2 * (1 + tube.nu)), tube.E / (3 * (1 - 2 * tube.nu))
        flat = [Dirichlet("y0", component=1), Dirichlet("x0", component=0)]
        self._solid = Mechanics(
            domain,
            [PassiveStress(NeoHookean(mu)), Incompressibility(kappa), self._contact],
            formulation=PENALTY,
            dirichlet=[*flat, *(Dirichlet(z, component=2) for z in ("z0", "z1"))],
            tolerances=Tolerances(increment=1e-7),
        )

    def force(self, radius: float) -> float:
        """Sum of the radial forces (mN) of the whole slice on a cylinder of this radius (mm)."""
        self._bore.radius = radius
        x, y, _ = self._pressed()
        # ∫ p cos θ a h dθ over a quarter is a h p, a 2π-th of the whole.
        return float(math.pi * (abs(x) + abs(y)))

    def pull(self, way: float) -> float:
        """Force (mN) of the whole slice against a motion of the cylinder along the axis (mm)."""
        self._place.value[2] = way
        return float(4 * abs(self._pressed()[2]))

    def _pressed(self) -> Floats:
        require(solve_in_contact(self._solid, [self._contact]).outcome)
        self._solid.commit()
        return self._contact.report().force


class RingModel:
    """A ring of beams that a cylinder around it holds.

    Args:
        law: Metal.
    """

    def __init__(self, law: FibreLaw) -> None:
        self._sector = ring(RADIUS, 8, 8)
        felt = Strut(np.zeros(9), self._sector.mesh.tributary)
        self._tool = Cylinder(felt, penalty=HARD, radius=RADIUS)
        self._model = ring_model(self._sector, law, self._tool)

    def force(self, radius: float) -> float:
        """Sum of the radial forces (mN) once the cylinder has come to a radius (mm)."""
        start = self._tool.radius

        def apply(factor: float) -> None:
            self._tool.radius = start + factor * (radius - start)

        follow(self._model, apply, largest=0.25)
        return self._sector.copies * self._tool.force(self._model.x)


@dataclass(frozen=True)
class Balance:
    """A ring in a tube.

    Attributes:
        widening: Displacement of the tube's inner side (mm).
        force: Sum of the radial forces (mN).
        pull: Force along the axis (mN) that moves the ring; 0 without friction.
    """

    widening: float
    force: float
    pull: float


def ring_in_tube(
    comm: MPI.Comm, law: FibreLaw, tube: Tube, *, crimped: float, cells: int = 3,
    friction: float = 0.0,
) -> Balance:  # fmt: skip
    """A ring is crimped, put into a tube and let go until both press alike.

    Ring and tube meet in a cylinder whose radius is searched from below, because the ring's force
    depends on its way: the ring presses on it by the contact of devices, the tube by that of
    solids. Collective.

    Args:
        comm: Communicator; rank 0 moves the ring.
        law: Metal.
        tube: Its sizes.
        crimped: Radius that the ring is crimped to (mm), below the tube's.
        cells: Divisions of the tube's wall.
        friction: Coefficient; if there is one, the ring is pulled along the tube at the end.

    Raises:
        SolverError: no balance was found.
    """
    model = TubeModel(comm, tube, cells, friction)
    metal = RingModel(law)
    on_root(comm, partial(metal.force, crimped))
    stiffness = 1 / tube.compliance + 2 * math.pi * law.youngs_modulus * STRUT.area / RADIUS
    radius = tube.inner
    for _ in range(60):
        out = on_root(comm, partial(metal.force, radius))
        held = model.force(radius) if radius > tube.inner else 0.0
        if abs(out - held) < CLOSE * out:
            pull = max(model.pull(way) for way in np.linspace(0, 0.02, 5)[1:]) if friction else 0.0
            return Balance(radius - tube.inner, held, pull)
        radius += 0.999 * (out - held) / stiffness
    raise SolverError("ring_in_tube", "no balance after 60 steps.", "Refine the tube.")


def elastic_balance(tube: Tube) -> tuple[float, float]:
    """Widening (mm) and radial force (mN) of an elastic ring: F = 2π E A (R − a − C F)/R."""
    K = 2 * math.pi * METAL * STRUT.area / RADIUS
    force = K * (RADIUS - tube.inner) / (1 + K * tube.compliance)
    return tube.compliance * force, force


def superelastic_balance(law: Nitinol, tube: Tube) -> tuple[float, float]:
    """Widening (mm) and radial force (mN) of a ring of Nitinol that was crimped to martensite.

        F = −2π A P(ε),   1 + ε = (a + C F)/R

    on the way back, where the law of solids has compression stiffer by its asymmetry; `Nitinol`
    with none is meant here.
    """

    def miss(stress: float) -> float:
        stretch = math.exp(-float(nitinol_curve(law, np.array(stress), loading=False)))
        force = 2 * math.pi * STRUT.area * stress / stretch
        return RADIUS * stretch - tube.inner - tube.compliance * force

    stress = float(brentq(miss, 1.0, 0.999 * float(law.AM_start)))
    stretch = math.exp(-float(nitinol_curve(law, np.array(stress), loading=False)))
    force = 2 * math.pi * STRUT.area * stress / stretch
    return tube.compliance * force, force


def ring_records(comm: MPI.Comm, *, quick: bool) -> list[Record]:
    """Rings in elastic tubes against the closed form, and their pull-out."""
    name, cells, mu = "ring_in_tube", 2 if quick else 4, 0.3
    lame = "2πEA(R − r)/R and Lamé's tube"
    records = []
    for kind, E, inner in (("as stiff as the ring", 3e6, 9.97), ("ten times softer", 3e5, 9.985)):
        tube = Tube(inner, 12.0, 1.0, E)
        found = ring_in_tube(comm, ElasticFibre(METAL), tube, crimped=9.8, cells=cells, friction=mu)
        u, force = elastic_balance(tube)
        records += [
            Record(name, f"elastic ring, tube {kind}: widening over the closed form",
                   found.widening / u, "1", 1.0, SMALL, lame),
            Record(name, f"elastic ring, tube {kind}: radial force over the closed form",
                   found.force / force, "1", 1.0, SMALL, lame),
            Record(name, f"elastic ring, tube {kind}: pull-out over μ times that force",
                   found.pull / (mu * force), "1", 1.0, SMALL, f"Coulomb's law and {lame}"),
        ]  # fmt: skip
    law, tube = Nitinol.stent(), Tube(9.6, 12.0, 1.0, 8e6)
    found = ring_in_tube(comm, SuperelasticFibre(law), tube, crimped=9.0, cells=cells)
    u, force = superelastic_balance(law, tube)
    lower = "closed form of the loop on its way back, and Lamé's tube"
    records += [
        Record(name, "superelastic ring let go in a tube: widening over the closed form",
               found.widening / u, "1", 1.0, SMALL, lower),
        Record(name, "superelastic ring let go in a tube: radial force over the closed form",
               found.force / force, "1", 1.0, SMALL, lower),
    ]  # fmt: skip
    pull, _ = on_root(comm, lambda: pulled_ring(mu, HARD))
    exact = mu * 2 * math.pi * METAL * STRUT.area * 0.01
    records.append(
        Record(name, "oversized ring in a rigid vessel, pull-out less μ 2πEA(R − r)/R, relative",
               abs(pull / exact - 1), "1", 0.0, 2e-3, "Coulomb's law, closed form", Sense.AT_MOST)
    )  # fmt: skip
    return records


def quarter_tube(comm: MPI.Comm, tube: Tube, cells: int) -> Domain:
    """Quarter of a slice with curved edges: inside, outside, y0 and x0 of symmetry, z0 and z1."""
    with shared_file(comm, "tube.msh") as file:
        on_root(comm, lambda: _write(file, tube, cells))
        return read_domain(file, comm)


def _write(file: Path, tube: Tube, cells: int) -> None:
    a, b = tube.inner, tube.outer
    with gmsh_session():
        geo = gmsh.model.geo
        points = [geo.addPoint(*x, 0) for x in ((0, 0), (a, 0), (b, 0), (0, b), (0, a))]
        low, high = geo.addLine(points[1], points[2]), geo.addLine(points[3], points[4])
        outer = geo.addCircleArc(points[2], points[0], points[3])
        inner = geo.addCircleArc(points[4], points[0], points[1])
        face = geo.addPlaneSurface([geo.addCurveLoop([low, outer, high, inner])])
        for curve, count in ((low, cells), (high, cells), (outer, 8 * cells), (inner, 8 * cells)):
            geo.mesh.setTransfiniteCurve(curve, count + 1)
        geo.mesh.setTransfiniteSurface(face)
        top, body, *sides = geo.extrude([(2, face)], 0, 0, tube.height, numElements=[1])
        geo.synchronize()
        names = ("z0", "z1", "y0", "outside", "x0", "inside")
        for number, (name, tag) in enumerate(
            zip(names, (face, top[1], *(side[1] for side in sides)), strict=True), start=1
        ):
            gmsh.model.addPhysicalGroup(2, [tag], number, name)
        gmsh.model.addPhysicalGroup(3, [body[1]], 1, "wall")
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.setOrder(2)
        gmsh.write(str(file))
