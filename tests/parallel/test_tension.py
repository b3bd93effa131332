"""A heart contracts by every model of active tension, the same on all ranks as on one."""

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.cells.prescribed_tension import CurveTension
from organtwin.cells.rdq20 import RDQ20MF
from organtwin.materials.active import TensionCurve
from organtwin.materials.isotropic import NeoHookean
from organtwin.mechanics.formulation import P1_P1
from tests.hearts import PRESSURES, heart, rule, small_ventricles

MODELS = {
    "RDQ20-MF": RDQ20MF(),
    "prescribed": CurveTension(TensionCurve((0.0, 40.0), (0.0, 60.0)), beta_0=2.3),
}


def contracted(comm, path, model):
    """Figures of a heart after 24 ms, going on half-way from its state; excited at x = 0 first."""
    domain = small_ventricles(comm, path)
    beating, _ = heart(
        domain, rule(domain), law=NeoHookean(mu=6.0), formulation=P1_P1, tension=model
    )
    beating.fill(PRESSURES)
    beating.fit_loop(beating.loop.rest())
    wave = beating.ep.v
    for n in range(12):
        wave.interpolate(lambda x, t=2.0 * (n + 1): 60 * np.tanh(t - 4 - 0.1 * np.abs(x[0])) - 30)
        assert beating.advance(2.0 * n, 2.0 * n + 2.0).converged
        if n == 6:
            saved = {name: values.copy() for name, values in beating.state.items()}
            beating.muscle.states[:] = np.nan
            beating.restore(saved)
    tension = np.concatenate(comm.allgather(beating.muscle.tension()))
    return [
        *beating.mechanics.volumes(), *beating.mechanics.pressures,
        *np.quantile(tension, [0.0, 0.1, 0.5, 0.9, 1.0]),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_contraction_does_not_depend_on_the_number_of_ranks(name, shared_tmp_path):
    together = contracted(MPI.COMM_WORLD, shared_tmp_path, MODELS[name])
    alone = contracted(MPI.COMM_SELF, shared_tmp_path, MODELS[name])
    assert together == pytest.approx(alone, rel=1e-5)
    assert together[2] > 2 * PRESSURES[0]
    assert together[4] >= 0.0
    assert together[7] > 5.0
