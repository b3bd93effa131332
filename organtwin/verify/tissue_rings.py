"""Verification problems of frames in tissue: rings of beams in tubes of finite elements."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.devices.cylinder import Cylinder, Strut
from organtwin.devices.deployment import Deployment
from organtwin.devices.equilibrium import BeamProblem
from organtwin.devices.fibre_laws import ElasticFibre, FibreLaw, SuperelasticFibre
from organtwin.devices.load_path import follow
from organtwin.devices.section import FibreSection
from organtwin.devices.tissue_contact import StrutLaw, TissueContact, strut_points
from organtwin.errors import SolverError
from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.nitinol import Nitinol
from organtwin.mechanics.formulation import PENALTY, PENALTY_P1, Formulation
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import Incompressibility, PassiveStress
from organtwin.verify.beams import STRUT, ring
from organtwin.verify.record import Record, Sense
from organtwin.verify.rings import (
    HARD,
    METAL,
    RADIUS,
    Tube,
    elastic_balance,
    quarter_tube,
    superelastic_balance,
)

Floats = NDArray[np.float64]

NAME, LAME = "ring_in_tissue", "2πEA(R − r)/R and Lamé's tube"
#: Penalty of the ring on the tube over the tube's Young's modulus.
STIFF = 100.0


def ring_within(
    comm: MPI.Comm, law: FibreLaw, tube: Tube, cells: int, *, friction: float = 0.0,
    formulation: Formulation = PENALTY, stiff: float = STIFF, pulled: bool = False,
    crimper: float | None = None,
) -> Deployment:  # fmt: skip
    """A quarter of a ring half way up a quarter of a slice of a tube, before they are in balance.

    Args:
        comm: Communicator.
        law: Metal.
        tube: Its sizes.
        cells: Divisions of the wall; the ring has twice as many elements as there are around.
        friction: Coefficient.
        formulation: Of the tube.
        stiff: Penalty over the tube's Young's modulus.
        pulled: Whether the ring is held along the axis, to be moved.
        crimper: Radius (mm) of a cylinder around the ring; None without.
    """
    domain = quarter_tube(comm, tube, cells)
    mu = fem.Constant(domain.mesh, tube.E / (2 * (1 + tube.nu)))
    kappa = fem.Constant(domain.mesh, tube.E / (3 * (1 - 2 * tube.nu)))
    flat = [Dirichlet("y0", component=1), Dirichlet("x0", component=0)]
    wall = Mechanics(
        domain,
        [PassiveStress(NeoHookean(mu)), Incompressibility(kappa)],
        formulation=formulation,
        dirichlet=[*flat, *(Dirichlet(z, component=2) for z in ("z0", "z1"))],
    )
    sector = ring(RADIUS, 16 * cells, 4)
    middle = np.array([0.0, 0.0, 0.5 * tube.height])
    mesh, held = replace(sector.mesh, points=sector.mesh.points + middle), sector.supports
    if pulled:
        for node in range(len(mesh.points)):
            held = held.pinned(node, 2)
    depth = np.zeros(len(mesh.points))
    tools = []
    if crimper is not None:
        tools.append(Cylinder(Strut(depth, mesh.tributary), penalty=HARD, radius=crimper))
    metal = BeamProblem(mesh, [FibreSection(STRUT, law)], supports=held, actions=tools)
    pressing = StrutLaw(stiff * tube.E, friction)
    contact = TissueContact(wall, ("inside",), strut_points(mesh, depth), pressing)
    # The stiff penalty leaves penetrations of 1e-6 mm.
    return Deployment(wall, metal, contact, tolerance=1e-9)


@dataclass(frozen=True)
class Balance:
    """A ring in a tube.

    Attributes:
        widening: Of the tube, where the ring is (mm).
        force: Sum of the normal forces (mN).
        imbalance: Net force on both, over that sum.
    """

    widening: float
    force: float
    imbalance: float


def balance(both: Deployment, tube: Tube) -> Balance:
    """What a ring and a tube in equilibrium do, for all of the ring."""
    grip = both.contact.grip()
    rho = np.hypot(*both.beams.x[:, :2].T).mean()
    off = np.linalg.norm(grip.force + grip.back) / grip.pressing
    return Balance(float(rho) - tube.inner, 4 * grip.pressing, float(off))


def oversized(
    comm: MPI.Comm, tube: Tube, cells: int, formulation: Formulation = PENALTY
) -> Balance:
    """An elastic ring that is too large for a tube finds its balance. Collective.

    Raises:
        SolverError: there is none.
    """
    both = ring_within(comm, ElasticFibre(METAL), tube, cells, formulation=formulation)
    _require(both)
    return balance(both, tube)


def released(comm: MPI.Comm, law: FibreLaw, tube: Tube, crimped: float, cells: int) -> Balance:
    """A ring is crimped to a radius (mm) within a tube, and let go. Collective.

    Raises:
        SolverError: no equilibrium on the way.
    """
    both = ring_within(comm, law, tube, cells, crimper=RADIUS)
    crimper = both.beams.actions[0]
    assert isinstance(crimper, Cylinder)

    def to(start: float, end: float, factor: float) -> None:
        crimper.radius = start + factor * (end - start)

    # Alone first: at rest it is larger than the tube.
    follow(both.beams, lambda s: to(RADIUS, crimped, s), largest=0.25)
    follow(both, lambda s: to(crimped, 1.01 * RADIUS, s), largest=0.25)
    return balance(both, tube)


def pull_out(
    comm: MPI.Comm, tube: Tube, cells: int, friction: float, *,
    formulation: Formulation = PENALTY, stiff: float = STIFF,
) -> float:  # fmt: skip
    """Force along a tube that moves an oversized elastic ring, over μ times the radial force.

    Raises:
        SolverError: no equilibrium on the way.
    """
    both = ring_within(
        comm, ElasticFibre(METAL), tube, cells, friction=friction, formulation=formulation,
        stiff=stiff, pulled=True,
    )  # fmt: skip
    _require(both)
    both.commit()
    motion, most = np.zeros((len(both.beams.x), 6)), 0.0
    for step in (0.05, 0.05, 0.1):
        motion[:, 2] = step * tube.height
        _require(both, motion)
        both.commit()
        grip = both.contact.grip()
        most = max(most, float(abs(grip.force[2])) / (friction * grip.pressing))
    return most


def _require(both: Deployment, motion: Floats | None = None) -> None:
    attempt = both.solve(motion)
    if not attempt.converged:
        raise SolverError("ring in tube", attempt.reason, "Refine the tube.")


def tissue_records(comm: MPI.Comm, *, quick: bool) -> list[Record]:
    """Rings of beams in tubes of finite elements against the closed form, and their pull-out."""
    records = []
    for kind, E in (("as stiff as the ring", 3e6), ("a hundred times softer", 3e4)):
        tube = Tube(0.9997 * RADIUS, 12.0, 0.1, E)
        for cells in (1, 2) if quick else (1, 2, 4):
            found = oversized(comm, tube, cells)
            text = f"elastic ring, tube {kind}, {8 * cells} facets around a quarter"
            records += _against(text, found, elastic_balance(tube), LAME, 2e-3)
    soft = Tube(0.99 * RADIUS, 12.0, 0.2, 3e5)
    flat = oversized(comm, soft, 2, PENALTY_P1), oversized(comm, soft, 2)
    records += [
        Record(NAME, "elastic ring, linear over quadratic tetrahedra: radial force",
               flat[0].force / flat[1].force, "1", 1.0, 0.02, "rounded facets"),
        Record(NAME, "net force on ring and tube over the radial force", found.imbalance, "1", 0.0,
               1e-12, "action and reaction", Sense.AT_MOST),
        Record(NAME, "elastic ring pulled along the tube: force over μ times the radial force",
               pull_out(comm, Tube(0.9997 * RADIUS, 12.0, 0.1, 3e4), 2, 0.3), "1", 1.0, 1e-3,
               "Coulomb's law"),
    ]  # fmt: skip
    law, tube = Nitinol.stent(), Tube(9.6, 12.0, 0.1, 8e7)
    let_go = released(comm, SuperelasticFibre(law), tube, 9.0, 2)
    lower = "closed form of the loop on its way back, and Lamé's tube"
    text = "superelastic ring let go in a tube"
    return records + _against(text, let_go, superelastic_balance(law, tube), lower, 3e-3)


def _against(
    text: str, found: Balance, exact: tuple[float, float], source: str, tolerance: float
) -> list[Record]:
    """Widening and force over those of a closed form."""
    return [
        Record(NAME, f"{text}: {what} over the closed form", value / known, "1", 1.0, tolerance,
               source)
        for what, value, known in zip(
            ("widening", "radial force"), (found.widening, found.force), exact, strict=True
        )
    ]  # fmt: skip
