"""Small strains in `Mechanics` with `Contact`: what the closed form says, and friction."""

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.materials.bone import OrthotropicBone
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.contact import Contact, ContactLaw
from organtwin.mechanics.contact_solve import solve_in_contact
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.formulation import PENALTY_P1
from organtwin.mechanics.problem import Mechanics
from organtwin.mechanics.rigid import Obstacle, Plane
from organtwin.mechanics.small_strain import SmallStrain
from organtwin.solve.outcome import Outcome
from organtwin.verify.geometry import box


def test_a_block_between_plates_has_the_strain_of_their_approach():
    """Frictionless plate, confined sides: σ = E (1−ν)/((1+ν)(1−2ν)) ε, and a penalty in series.

    Exact for small strains, whatever the strain: a law of large ones would be off by ε here.
    """
    E, nu, way, penalty = 1000.0, 0.3, 0.1, 1e5
    domain = box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (2, 2, 2))
    place = fem.Constant(domain.mesh, np.array([0.0, 0.0, 1.0]))
    plate = Obstacle(Plane((0.0, 0.0, 0.0), (0.0, 0.0, -1.0)), translation=place)
    contact = Contact(domain, "z1", plate, ContactLaw(penalty=penalty))
    sides = [Dirichlet(f"{axis}{i}", component=k) for k, axis in enumerate("xy") for i in (0, 1)]
    block = Mechanics(
        domain, [SmallStrain(OrthotropicBone.isotropic(E, nu), cartesian()), contact],
        formulation=PENALTY_P1, dirichlet=[Dirichlet("z0", component=2), *sides],
    )  # fmt: skip
    for share in (0.5, 1.0):
        place.value[2] = 1.0 - share * way
        assert solve_in_contact(block, [contact]).outcome is Outcome.CONVERGED
        block.commit()
    M = E * (1 - nu) / ((1 + nu) * (1 - 2 * nu))
    p = way / (1 / M + 1 / penalty)
    report = contact.report()
    assert report.force == pytest.approx([0.0, 0.0, -p], rel=1e-6, abs=1e-6 * p)
    assert report.area == pytest.approx(1.0)
    top = block.u.x.array.reshape(-1, 3)[:, 2].min()
    assert top == pytest.approx(-p / M, rel=1e-6)
