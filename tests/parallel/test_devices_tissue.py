"""A ring in a tube on all ranks equals itself on one."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from organtwin.devices.fibre_laws import ElasticFibre
from organtwin.mechanics.formulation import PENALTY_P1
from organtwin.parallel import on_root
from organtwin.verify import tissue_rings
from organtwin.verify.rings import METAL, Tube

TUBE = Tube(9.99, 12.0, 0.2, 3e4)


def numbers(comm):
    """Positions of a ring that is pressed into a tube and pulled along it, and what it meets."""
    both = tissue_rings.ring_within(
        comm, ElasticFibre(METAL), TUBE, 1, friction=0.2, formulation=PENALTY_P1,
        stiff=10, pulled=True,
    )  # fmt: skip
    motion = np.zeros((len(both.beams.x), 6))
    for step in (0.0, 0.01, 0.02):
        motion[:, 2] = step
        assert both.solve(motion).converged
        both.commit()
    grip, norm = both.contact.grip(), both.tissue.w.x.petsc_vec.norm()
    return np.concatenate([both.beams.x.ravel(), grip.force, [grip.pressing, grip.rubbing, norm]])


def test_ranks_do_not_matter():
    comm = MPI.COMM_WORLD
    alone = on_root(comm, lambda: numbers(MPI.COMM_SELF))
    together = numbers(comm)
    np.testing.assert_allclose(together, alone, rtol=1e-6, atol=1e-9)
