"""A beat from a loaded image is the same on all ranks as on one."""

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.circulation.limit_cycle import beat
from organtwin.circulation.network import LV, RV
from organtwin.coupling.reference import Held, Unloaded
from organtwin.materials.isotropic import NeoHookean
from organtwin.mechanics.formulation import P1_P1
from tests.hearts import PRESSURES, heart, rule, small_ventricles


def begun(comm, path, kind):
    """Figures of the reference state, and of the heart after two steps."""
    domain = small_ventricles(comm, path)
    reference = kind.sought(domain, P1_P1, loaded_fibres=True)
    beating, _ = heart(
        domain, rule(domain), law=NeoHookean(mu=6.0), formulation=P1_P1, reference=reference
    )
    found = reference.find(beating.mechanics, PRESSURES)
    beating.take_image(PRESSURES, found.p)
    settled = beat(beating.loop, beating.loop.rest())[-1]
    settled[[LV, RV]] = beating.mechanics.volumes()
    beating.fit_loop(settled)
    for n in range(2):
        assert beating.advance(2.0 * n, 2.0 * n + 2.0).converged
    own = beating.mechanics.domain.mesh.topology.index_map(3).size_local * len(
        beating.muscle.points
    )
    stretch = np.concatenate(comm.allgather(beating.muscle.stretch.x.array[:own]))
    return [
        reference.volume(domain), *beating.mechanics.volumes(), *beating.mechanics.pressures,
        *np.quantile(stretch, [0.0, 0.1, 0.5, 0.9, 1.0]),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [Unloaded, pytest.param(Held, marks=pytest.mark.slow)])
def test_reference_state_and_beat_do_not_depend_on_the_number_of_ranks(kind, shared_tmp_path):
    together = begun(MPI.COMM_WORLD, shared_tmp_path, kind)
    assert together == pytest.approx(begun(MPI.COMM_SELF, shared_tmp_path, kind), rel=1e-5)
