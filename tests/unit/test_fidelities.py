"""The comparison of tissue models, on a small piece of wall."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import pace
from organtwin.electrophysiology.conductivity import Conductivity, bidomain_conductivity
from organtwin.electrophysiology.eikonal import Velocity
from organtwin.electrophysiology.stimulus import Balls, Stimulus
from organtwin.electrophysiology.tissue import Model
from organtwin.errors import SolverError
from organtwin.verify.fidelities import compare, heart, table, tuned, wall

SIGMA = Conductivity(0.14, 0.05, 0.05, 1.0)


@pytest.fixture(scope="module")
def tissue():
    domain, directions = wall(MPI.COMM_SELF, 1.0)
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_endo"))
    cell = pace(kernel, cycle_length=800.0, beats=2)
    corner = Stimulus(Balls({"corner": np.zeros(3)}, radius=2.1))
    # Velocities that these conductivities give on this mesh.
    velocity = Velocity(0.5, 0.3, 0.3)
    return heart(domain, directions, kernel, cell, [corner], velocity, SIGMA)


def test_each_model_is_beside_the_bidomain(tissue):
    found = {f.model: f for f in compare(tissue)}
    assert list(found) == list(Model)
    best = found[Model.BIDOMAIN]
    assert best.rms == best.largest == best.offset == 0.0
    assert found[Model.MONODOMAIN].ratio == 1.0
    assert found[Model.PSEUDO_BIDOMAIN].rms == found[Model.MONODOMAIN].rms
    for model in (Model.MONODOMAIN, Model.EIKONAL, Model.REACTION_EIKONAL_DIFFUSION):
        f = found[model]
        assert 0.0 < f.spread <= f.rms <= f.largest
        assert f.rms**2 == pytest.approx(f.spread**2 + f.offset**2)
        assert f.total == pytest.approx(best.total, rel=0.5)
    assert found[Model.MONODOMAIN].rms < 0.2 * found[Model.EIKONAL].rms
    assert found[Model.EIKONAL].ratio < 0.5 and best.ratio > 1.5
    assert table(list(found.values())).count("\n") == len(Model) + 1


def test_without_the_reference_among_the_models_it_is_run_all_the_same(tissue):
    (mono, reference) = compare(tissue, [Model.MONODOMAIN], reference=Model.PSEUDO_BIDOMAIN)
    assert mono.rms == 0.0 and reference.model is Model.PSEUDO_BIDOMAIN


def test_parallel_sum_of_the_spaces_is_the_monodomain():
    inner, outer = bidomain_conductivity(SIGMA)
    for name in ("fibre", "sheet", "normal", "endocardial_layer"):
        i, e = getattr(inner, name), getattr(outer, name)
        assert i * e / (i + e) == pytest.approx(getattr(SIGMA, name))


def test_fibres_of_the_wall_turn_from_one_side_to_the_other():
    _, directions = wall(MPI.COMM_SELF, 1.0)
    f, s, n = (d.x.array.reshape(-1, 3) for d in (directions.f0, directions.s0, directions.n0))
    np.testing.assert_allclose(np.cross(f, s), n, atol=1e-12)
    angle = np.rad2deg(np.arctan2(f[:, 1], f[:, 0]))
    assert angle.min() == pytest.approx(-angle.max()) and 40.0 < angle.max() < 60.0


def test_wave_that_dies_is_told(tissue):
    weak = replace(tissue, stimuli=(replace(tissue.stimuli[0], strength=1.0),))
    with pytest.raises(SolverError, match=r"monodomain model: 0\.0 % of the nodes"):
        compare(weak, [], reference=Model.MONODOMAIN)


def test_tuned_conductivities_follow_the_velocities():
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_endo"))
    cell = pace(kernel, cycle_length=800.0, beats=1)
    sigma = tuned(kernel, cell, Velocity(0.6, 0.4, 0.4, 1.0), 1.2, dt=0.1, comm=MPI.COMM_SELF)
    assert sigma.normal == sigma.sheet < sigma.fibre < sigma.endocardial_layer
