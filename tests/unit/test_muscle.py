"""Muscle at quadrature points: the tension in the weak form is that of the states afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.cells.prescribed_tension import CurveTension
from organtwin.cells.rdq20 import RDQ20MF
from organtwin.cells.tension import Land2017, TensionModel
from organtwin.coupling.muscle import Muscle, TensionFeedback
from organtwin.materials.active import TensionCurve
from organtwin.materials.pointwise import cartesian
from organtwin.verify.geometry import box

DOMAIN = box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (1, 1, 1))
MODELS = [
    Land2017(),
    RDQ20MF(),
    CurveTension(TensionCurve((0.0, 90.0), (0.0, 60.0)), beta_0=2.3),
    CurveTension(TensionCurve((0.0, 90.0), (0.0, 60.0)), beta_0=2.3, v_0=0.004),
]
NAMES = ["Land 2017", "RDQ20-MF", "prescribed", "prescribed, velocity-dependent"]


def shortened(model: TensionModel, feedback: TensionFeedback) -> tuple[Muscle, np.ndarray]:
    """A muscle that shortened while it was excited, and its last tension in the weak form (kPa)."""
    muscle = Muscle(DOMAIN, cartesian(), model, degree=2, feedback=feedback)
    new = fem.Constant(DOMAIN.mesh, 1.0)
    form = fem.Expression(muscle.stress.muscle.tension(new), muscle.points)
    drive = np.full(muscle.states.shape[1], 0.8 if model.driven_by == "calcium" else 20.0)
    for value in np.linspace(1.0, 0.92, 40):
        muscle.prepare(drive, 2.0)
        new.value = value
        solved = np.asarray(form.eval(DOMAIN.mesh, np.arange(6, dtype=np.int32))).ravel()
        muscle.finish(np.full(drive.shape, value), 2.0)
    return muscle, solved


@pytest.mark.parametrize("rate", [True, False])
@pytest.mark.parametrize("stretch", [True, False])
@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_states_take_over_the_tension_of_the_solve(model, stretch, rate):
    muscle, solved = shortened(model, TensionFeedback(stretch, rate))
    assert solved.min() > 5.0
    np.testing.assert_allclose(muscle.tension(), solved, rtol=1e-12)


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_without_feedback_the_fibre_pulls_as_if_it_were_held(model):
    muscle, solved = shortened(model, TensionFeedback(stretch=False, stretch_rate=False))
    held = Muscle(DOMAIN, cartesian(), model, degree=2)
    drive = np.full(held.states.shape[1], 0.8 if model.driven_by == "calcium" else 20.0)
    for _ in range(40):
        held.prepare(drive, 2.0)
        held.finish(np.ones(drive.shape), 2.0)
    np.testing.assert_allclose(solved, held.tension(), rtol=1e-12)
    np.testing.assert_allclose(muscle.states, held.states, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("model", [*MODELS[:2], MODELS[3]], ids=[*NAMES[:2], NAMES[3]])
def test_either_feedback_lowers_the_tension_of_a_shortening_fibre(model):
    free, isometric, both = (
        shortened(model, TensionFeedback(*parts))[1][0]
        for parts in ((False, False), (True, False), (True, True))
    )
    assert both < 0.95 * isometric
    assert isometric < 0.99 * free
