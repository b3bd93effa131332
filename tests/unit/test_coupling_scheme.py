"""The naive staggered scheme oscillates, ours does not, and ours tends to the monolithic one."""

from dataclasses import replace

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.coupling.feedback import Feedback
from organtwin.coupling.reference import Unloaded
from organtwin.coupling.scheme import FixedPoint, Scheme
from organtwin.coupling.steps import Steps
from organtwin.errors import InputError
from organtwin.materials.isotropic import NeoHookean
from organtwin.mechanics.formulation import P1_P1
from organtwin.run.simulate import simulate
from organtwin.solve.nonlinear import Tolerances
from organtwin.solve.outcome import Outcome
from tests.beating import FEEDBACK, beating_heart
from tests.hearts import PRESSURES, heart, rule, small_ventricles

SOFT = NeoHookean(mu=6.0)
DT = 1.0  # ms


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A small heart at end-diastole and its state there; calcium rises from 0.1 µM by 0.02 /ms."""
    domain = small_ventricles(MPI.COMM_SELF, tmp_path_factory.mktemp("heart"))
    # Not sought, so that the image is free of load: the forms are those of other tests.
    reference = Unloaded.sought(domain, P1_P1, loaded_fibres=True)
    beating, _ = heart(domain, rule(domain), law=SOFT, formulation=P1_P1, reference=reference)
    beating.mechanics.tolerances = Tolerances(increment=1e-8)
    beating.fill(PRESSURES)
    beating.fit_loop(beating.loop.rest())
    return beating, {name: values.copy() for name, values in beating.state.items()}


def run(filled, scheme, dt, end, begin=0.0):
    """Stretch rates (1/ms) of each step that converged, then pressures and stretches at the end."""
    beating, start = filled
    beating.restore(start)
    beating.scheme = scheme
    rates, before = [], beating.muscle.present
    for n in range(round((end - begin) / dt)):
        step = beating.advance(begin + n * dt, begin + (n + 1) * dt)
        if not step.converged:
            break
        rates.append((beating.muscle.present - before) / dt)
        before = beating.muscle.present
    return np.array(rates), beating.mechanics.pressures.copy(), before


def swings(rates):
    """RMS over the points of the second difference in time of the stretch rate, step by step."""
    return np.sqrt((np.diff(rates, 2, axis=0) ** 2).mean(axis=1))


@pytest.mark.slow
def test_linear_displacements_need_few_points(tmp_path):
    """Filled and pulling, of fibres that turn: 4 points in a cell in place of 11."""
    domain = small_ventricles(MPI.COMM_SELF, tmp_path)
    found = []
    for degree in (P1_P1.quadrature, 4):
        beating, _ = heart(domain, rule(domain, degree), formulation=P1_P1, degree=degree)
        beating.fill(PRESSURES)
        beating.fit_loop(beating.loop.rest())
        full = beating.mechanics.volumes()
        assert all(beating.advance(t, t + 2.0).converged for t in np.arange(0.0, 60.0, 2.0))
        found.append((full, beating.mechanics.volumes(), beating.mechanics.pressures.copy()))
    few, many = np.array(found)
    assert few[:2] == pytest.approx(many[:2], rel=3e-3)
    assert few[2] == pytest.approx(many[2], rel=1e-2)
    assert few[2, 0] > 2 * PRESSURES[0]


def test_the_naive_scheme_oscillates_and_ours_does_not(filled):
    """At 1 ms, where the cross-bridges have become stiffer than the tissue."""
    naive, ours = (
        run(filled, scheme, DT, 90.0, 60.0)[0] for scheme in (Scheme.NAIVE, Scheme.STABILISED)
    )
    assert len(ours) == 30
    rms = np.sqrt((ours**2).mean(axis=1))
    assert swings(ours)[12:].max() < 0.1 * rms[12:].max()
    wild = swings(naive)
    assert wild[-1] > 1000 * wild[10]
    assert wild[-1] > 10 * rms.max()
    # Each step overshoots: what the rate gains in one it loses in the next.
    gains = np.diff(naive[-6:], axis=0)
    assert ((gains[1:] * gains[:-1]).sum(axis=1) < 0).all()


def test_cavities_hold_the_blood_of_the_circulation_also_when_a_valve_opens(filled):
    """With the default tolerances, through contraction into ejection."""
    heart, start = filled

    def gaps(tolerances):
        """Largest gap over volume of each step, flow into the aorta (mm³/ms), LV volume (mm³)."""
        heart.restore(start)
        heart.scheme, heart.mechanics.tolerances = Scheme.STABILISED, tolerances
        table = []
        for n in range(45):
            assert heart.advance(2.0 * n, 2.0 * n + 2.0).converged
            volumes, blood = heart.mechanics.volumes(), heart.loop_state[heart.loop.ventricles]
            flows = heart.loop.flows(heart.loop_state, 2.0 * n + 2.0, heart.mechanics.pressures)
            gap = (np.abs(volumes - blood) / volumes).max()
            table.append((gap, flows.aortic, volumes[0]))
        return np.array(table).T

    own = heart.mechanics.tolerances
    try:
        closed, flow, volume = gaps(Tolerances())
        left, _, _ = gaps(Tolerances(constraint=np.inf))
    finally:
        heart.mechanics.tolerances = own
    assert flow[10] < 0.1 * flow[-1]  # the valve was shut, and has opened
    assert closed.max() <= 1e-10
    assert closed.max() * volume[0] <= 1e-8 * (volume[0] - volume[-1])
    assert left.max() > 2e-9  # what increments alone leave


def test_ours_tends_to_the_monolithic_scheme_with_order_one(filled):
    differences = []
    for dt in (2.0, 1.0):
        _, p, stretch = run(filled, Scheme.MONOLITHIC, dt, 28.0, 20.0)
        assert filled[0].change < 1e-8
        _, q, other = run(filled, Scheme.STABILISED, dt, 28.0, 20.0)
        differences.append([np.abs(p - q).max(), np.sqrt(((stretch - other) ** 2).mean())])
    orders = np.log2(np.divide(*differences))
    assert (orders > 0.9).all()


@pytest.mark.slow
def test_all_schemes_tend_to_the_refined_monolithic_solution(filled):
    """The monolithic one with order 1, ours as near to it, the naive one further off."""
    end, found = 32.0, {}
    _, _, reference = run(filled, Scheme.MONOLITHIC, 0.125, end)
    for scheme in Scheme:
        for dt in (2.0, 1.0, 0.5):
            _, _, stretch = run(filled, scheme, dt, end)
            found[scheme, dt] = float(np.sqrt(((stretch - reference) ** 2).mean()))
    for scheme in (Scheme.MONOLITHIC, Scheme.STABILISED):
        assert np.log2(found[scheme, 2.0] / found[scheme, 0.5]) / 2 > 0.9
    assert found[Scheme.STABILISED, 1.0] < 1.2 * found[Scheme.MONOLITHIC, 1.0]
    assert found[Scheme.NAIVE, 1.0] > found[Scheme.MONOLITHIC, 1.0]


@pytest.mark.slow
def test_adaptive_steps_keep_the_error_they_are_told(filled):
    beating, start = filled
    _, reference, _ = run(filled, Scheme.STABILISED, 0.125, 48.0)
    errors, counts = [], []
    for tolerance in (0.1, 0.00625):
        beating.restore(start)
        beating.steps = Steps(0.25, 8.0, displacement=tolerance, pressure=tolerance)
        account = simulate(beating, t_end=48.0, dt=0.25, wanted=lambda: beating.wanted_step)
        errors.append(np.abs(beating.mechanics.pressures - reference).max())
        counts.append(account.steps)
    beating.steps = None
    # Of order one: a sixteenth of the local error is a quarter of the global one.
    assert errors[1] < 0.45 * errors[0]
    assert counts[0] < 0.5 * counts[1] < 96


def test_a_monolithic_step_that_does_not_settle_is_refused(filled):
    beating, start = filled
    beating.restore(start)
    beating.scheme = Scheme.MONOLITHIC
    usual, beating.fixed_point = beating.fixed_point, FixedPoint(1e-14, 1)
    before = {name: values.copy() for name, values in beating.state.items()}
    step = beating.advance(0.0, 8.0)
    beating.fixed_point = usual
    assert step.outcome is Outcome.NEWTON_STALLED
    assert all((beating.state[name] == values).all() for name, values in before.items())
    with pytest.raises(InputError, match="repetition"):
        FixedPoint(repetitions=0)


@pytest.mark.slow
def test_with_electrical_feedback_ours_tends_to_the_monolithic_scheme(tmp_path):
    """Cells, current of stretched channels and conduction at the old or at the new deformation."""
    domain = small_ventricles(MPI.COMM_SELF, tmp_path)
    beating = beating_heart(domain, feedback=replace(FEEDBACK, tolerance=1e-12))
    start = {name: values.copy() for name, values in beating.state.items()}
    found = []
    for dt in (4.0, 2.0):
        ends = []
        for scheme in (Scheme.MONOLITHIC, Scheme.STABILISED):
            _, pressures, stretch = run((beating, start), scheme, dt, 24.0)
            ends.append([pressures, stretch, beating.ep.v.x.array.copy()])
        found.append([np.sqrt(np.mean((a - b) ** 2)) for a, b in zip(*ends, strict=True)])
    assert beating.change <= beating.fixed_point.tolerance
    assert (np.log2(np.divide(*found)) > 0.85).all()


@pytest.mark.slow
def test_stretch_lifts_the_resting_potential_and_changes_the_wave(tmp_path):
    """Filled walls are stretched: their channels leak before the wave comes."""
    domain = small_ventricles(MPI.COMM_SELF, tmp_path)
    potentials = {}
    felt = {
        "none": Feedback(),
        "current": Feedback(FEEDBACK.stretch_activated_current),
        "conduction": Feedback(conduction=True),
    }
    for name, feedback in felt.items():
        beating = beating_heart(domain, feedback=feedback)
        stretch = beating.muscle.present
        assert all(beating.advance(2.0 * n, 2.0 * n + 2.0).converged for n in range(3))
        potentials[name] = beating.ep.v.x.array.copy()
    rest = potentials["none"] < -80.0
    assert stretch.mean() > 1.0
    assert (potentials["current"] - potentials["none"])[rest].mean() > 0.05
    assert np.abs(potentials["conduction"] - potentials["none"]).max() > 0.5
