"""A beat from a loaded image: where strain is measured from."""

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.circulation.limit_cycle import beat
from organtwin.circulation.network import LV, RV, ClosedLoop
from organtwin.circulation.open_loop import OpenLoop
from organtwin.coupling.electromechanics import Electromechanics
from organtwin.coupling.measures import HeartFields, HeartScalars
from organtwin.coupling.reference import Held, Unloaded
from organtwin.materials.isotropic import NeoHookean
from organtwin.mechanics.formulation import FORMULATIONS, P1_P1
from organtwin.mesh.domain import cellwise_vectors
from organtwin.solve.outcome import Step
from organtwin.units import ML
from tests.hearts import PRESSURES, heart, rule, small_ventricles

SOFT = NeoHookean(mu=6.0)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    domain = small_ventricles(MPI.COMM_SELF, tmp_path_factory.mktemp("image"))
    return domain, rule(domain)


def sought(image, kind=Unloaded):
    domain, directions = image
    return heart(
        domain,
        directions,
        law=SOFT,
        formulation=P1_P1,
        reference=kind.sought(domain, P1_P1, loaded_fibres=True),
    )


@pytest.fixture(scope="module")
def unloaded(image):
    """A heart at end-diastole, what was found, and its state there."""
    beating, passive = sought(image)
    found = beating.muscle.reference.find(beating.mechanics, PRESSURES)
    beating.take_image(PRESSURES, found.p)
    settled = beat(beating.loop, beating.loop.rest())[-1]
    settled[[LV, RV]] = beating.mechanics.volumes()
    beating.fit_loop(settled)
    return beating, passive, found, {name: x.copy() for name, x in beating.state.items()}


def at_start(unloaded):
    beating, _, _, start = unloaded
    beating.restore(start)
    return beating


def in_cells(domain):
    space = cellwise_vectors(domain)
    axes = [fem.Function(space) for _ in range(3)]
    for i, axis in enumerate(axes):
        axis.x.array.reshape(-1, 3)[:, i] = 1.0
    return axes


def test_the_loaded_equilibrium_is_the_image(unloaded):
    beating, _, found, _ = unloaded
    assert found.residual < 1e-8
    assert found.largest_displacement > 0.5
    assert np.abs(at_start(unloaded).mechanics.u.x.array).max() < 1e-8
    assert beating.mechanics.pressures == pytest.approx(PRESSURES)


def test_the_stretch_at_the_start_is_that_of_the_loaded_muscle(unloaded):
    stretch = at_start(unloaded).muscle.stretch.x.array
    assert stretch.max() > 1.05
    assert 1.0 < np.median(stretch) < 1.05


@pytest.mark.parametrize("loop", [ClosedLoop.regazzoni_2022(), OpenLoop.adult()])
def test_blood_of_either_circulation_is_accounted_for(unloaded, loop):
    known = at_start(unloaded)
    beating = Electromechanics(
        known.ep, known.mechanics, known.muscle, loop, loop.rest(),
        refinement=known.ep.refinement,
    )  # fmt: skip
    filled = beating.mechanics.volumes()
    size = beating.fit_loop(loop.rest())
    assert size == pytest.approx(filled[0] / loop.rest()[loop.ventricles[0]])
    blood = beating.loop.blood(beating.loop_state).sum()
    assert all(beating.advance(t, t + 4.0).converged for t in (0.0, 4.0, 8.0))
    now = beating.mechanics.volumes()
    assert np.abs(now - filled).max() > 0.1
    assert beating.loop_state[loop.ventricles] == pytest.approx(now)
    assert abs(beating.loop.blood(beating.loop_state).sum() - blood) < 1e-6
    row = HeartScalars(beating)(12.0, Step(8.0, 12.0))
    assert row["V_lv [mL]"] == pytest.approx(now[0] / ML)
    assert ("V_la [mL]" in row) == isinstance(loop, ClosedLoop)


def test_the_reference_state_has_less_blood_and_as_much_tissue(image, unloaded):
    beating, _, found, _ = unloaded
    domain, _ = image
    full = at_start(unloaded).mechanics.volumes()
    beating.mechanics.guess(found.U)
    empty = beating.mechanics.volumes()
    assert (empty < 0.95 * full).all()
    volume = beating.muscle.reference.volume(domain)
    assert volume == pytest.approx(domain.volume(), rel=0.02)


def test_strain_and_stress_are_those_of_the_loaded_heart(image, unloaded):
    beating, passive, _, _ = unloaded
    domain, _ = image
    at_start(unloaded)
    fields = HeartFields(beating, passive, *in_cells(domain), {})()
    assert np.abs(fields["displacement"].x.array).max() < 1e-8
    assert np.abs(fields["fibre_strain"].x.array).max() > 0.05
    assert fields["von_mises_stress"].x.array.max() > PRESSURES[0]


def test_the_beat_begins_and_can_be_resumed(image, unloaded):
    beating = at_start(unloaded)
    assert beating.advance(0.0, 2.0).converged
    kept = {name: x.copy() for name, x in beating.state.items()}
    assert beating.advance(2.0, 4.0).converged
    pressures = beating.mechanics.pressures.copy()
    assert pressures[0] > PRESSURES[0]

    again, _ = sought(image)  # knows nothing of the reference state
    again.loop = beating.loop
    again.restore(kept)
    assert again.advance(2.0, 4.0).converged
    assert again.mechanics.pressures == pytest.approx(pressures, rel=1e-6)
    row = HeartScalars(again)(4.0, Step(2.0, 4.0))
    assert row["p_lv [mmHg]"] == pytest.approx(pressures[0] / 0.133322387415, rel=1e-6)


def test_filling_goes_on_from_the_image(unloaded):
    beating = at_start(unloaded)
    before = beating.mechanics.volumes()
    beating.fill(1.2 * PRESSURES)
    assert beating.mechanics.pressures == pytest.approx(1.2 * PRESSURES)
    assert (beating.mechanics.volumes() > before).all()


@pytest.mark.slow
def test_a_prestressed_image_stays_where_it_is(image):
    beating, _ = sought(image, Held)
    domain, _ = image
    held = beating.muscle.reference
    found = held.find(beating.mechanics, PRESSURES)
    beating.take_image(PRESSURES, found.p)
    assert np.abs(beating.mechanics.u.x.array).max() < 1e-3
    assert beating.muscle.stretch.x.array.max() > 1.05
    assert held.volume(domain) == pytest.approx(domain.volume(), rel=0.02)
    assert held.mean.x.array.reshape(-1, 9)[:, 0].max() > 1.05


@pytest.mark.slow
@pytest.mark.parametrize("formulation", ["P1-P1", "P2-P0", "P2"])
def test_other_formulations_beat_and_show_their_pressure(image, formulation):
    domain, directions = image
    beating, passive = heart(domain, directions, law=SOFT, formulation=FORMULATIONS[formulation])
    beating.fill(PRESSURES)
    settled = beat(beating.loop, beating.loop.rest())[-1]
    settled[[LV, RV]] = beating.mechanics.volumes()
    beating.fit_loop(settled)
    assert beating.advance(0.0, 2.0).converged
    fields = HeartFields(beating, passive, *in_cells(domain), {})()
    pressure = fields["pressure"].x.array
    assert np.isfinite(pressure).all()
    assert 0.3 < np.median(pressure) < 0.7  # the wall is stretched along itself
