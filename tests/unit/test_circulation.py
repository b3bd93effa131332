"""The closed loop: its balance, its beat, and its valves."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest

from organtwin.circulation.elements import (
    BLOOD_DENSITY,
    RESISTANCE,
    Chamber,
    Valve,
    Valves,
    Windkessel,
    elastance,
)
from organtwin.circulation.limit_cycle import Extrapolation, beat_change, limit_cycle
from organtwin.circulation.limit_cycle import beat as one_beat
from organtwin.circulation.network import AR_SYS, LA, LV, RV, VEN_SYS, ClosedLoop
from organtwin.circulation.open_loop import IN, SYS, OpenLoop
from organtwin.errors import InputError, SolverError
from organtwin.units import ML, MMHG


def settled(loop, beats):
    y = loop.rest()
    for _ in range(beats):
        y = one_beat(loop, y)[-1]
    return y


@pytest.fixture(scope="module")
def beat() -> tuple[ClosedLoop, np.ndarray, np.ndarray]:
    """States and left ventricular pressures of one settled beat, at 1 ms."""
    loop = ClosedLoop.regazzoni_2022()
    y = limit_cycle(loop, loop.rest()).state
    states, pressures = [y], [loop.pressures(y, 0.0)["lv"]]
    for t in range(800):
        y, _ = loop.step(y, float(t), 1.0)
        states.append(y)
        pressures.append(loop.pressures(y, t + 1.0)["lv"])
    return loop, np.array(states), np.array(pressures)


def test_no_blood_is_lost(beat):
    loop, states, _ = beat
    volumes = [loop.blood(y).sum() for y in states]
    stroke = np.ptp(states[:, LV])
    assert np.ptp(volumes) < 1e-8 * stroke


def test_limit_cycle(beat):
    """A settled beat ends where it began, and both ventricles eject the same."""
    _, states, _ = beat
    assert states[-1] == pytest.approx(states[0], rel=1e-5)
    assert np.ptp(states[:, LV]) == pytest.approx(np.ptp(states[:, RV]), rel=1e-5)


def test_beat_is_that_of_the_source(beat):
    """Systemic and left ventricular pressures in the range of the published defaults."""
    _, states, pressures = beat
    assert 100 < pressures.max() / MMHG < 130
    assert 70 < states[:, AR_SYS].min() / MMHG < 90
    assert 0.45 < np.ptp(states[:, LV]) / states[:, LV].max() < 0.65


def test_scaling_keeps_pressures():
    loop = ClosedLoop.regazzoni_2022()
    half = loop.scaled(0.5)
    y = loop.rest()
    small = y.copy()
    small[:4] *= 0.5
    small[8:] *= 0.5
    for t in range(200):
        y, _ = loop.step(y, float(t), 1.0)
        small, _ = half.step(small, float(t), 1.0)
    assert small[4:8] == pytest.approx(y[4:8], rel=1e-9)
    assert small[:4] == pytest.approx(0.5 * y[:4], rel=1e-9)


def test_slope_is_the_derivative():
    loop = ClosedLoop.regazzoni_2022()
    y, p, h = settled(loop, 3), np.array([12.0, 3.0]), 1e-4
    _, slope = loop.step(y, 100.0, 2.0, p)
    for i in range(2):
        up, down = p.copy(), p.copy()
        up[i] += h
        down[i] -= h
        change = loop.step(y, 100.0, 2.0, up)[0] - loop.step(y, 100.0, 2.0, down)[0]
        assert change[[LV, RV]] / (2 * h) == pytest.approx(slope[:, i], rel=1e-6, abs=1e-3)


def test_first_order_in_time():
    loop = ClosedLoop.regazzoni_2022()

    def after(dt: float) -> np.ndarray:
        y = loop.rest()
        for n in range(round(200 / dt)):
            y, _ = loop.step(y, n * dt, dt)
        return y[:8]

    exact = after(0.05)
    errors = [np.linalg.norm((after(dt) - exact) / exact) for dt in (2.0, 1.0)]
    assert 0.8 < np.log2(errors[0] / errors[1]) < 1.3


def test_closed_valves_hold():
    """A ventricle at a pressure between atrium and artery keeps its volume."""
    loop = ClosedLoop.regazzoni_2022()
    y = settled(loop, 3)
    p_la = loop.pressures(y, 50.0)["la"]
    between = np.array([(p_la + y[AR_SYS]) / 2, 0.8])
    new, _ = loop.step(y, 50.0, 1.0, between)
    assert abs(new[LV] - y[LV]) < 1e-2 * ML / 1000


def test_narrow_valve_loses_what_bernoulli_says():
    """4 v² in mmHg and m/s, and at small flow the resistance."""
    valve = Valve(1e-6, 1e3, area=100.0)
    velocity = valve.flow(40.0 * MMHG)[0] / 100.0  # mm/ms = m/s
    assert 4.0 * velocity**2 == pytest.approx(40.0, rel=0.01)
    drop = BLOOD_DENSITY * velocity**2 / 2
    assert drop == pytest.approx(40.0 * MMHG, rel=1e-3)
    assert valve.flow(1e-16)[0] == pytest.approx(1e-10, rel=1e-3)


@pytest.mark.parametrize("drop", [3.0, 1e-3, -1e-3, -9.0])
def test_slope_of_a_valve(drop):
    valve = Valve(1e-3, 1e3, area=120.0, leak_area=30.0)
    flow, slope = valve.flow(drop)
    h = 1e-6 * abs(drop)
    change = valve.flow(drop + h)[0] - valve.flow(drop - h)[0]
    assert change / (2 * h) == pytest.approx(slope, rel=1e-6)
    assert np.sign(flow) == np.sign(drop)


def test_formulas_of_many_are_those_of_each():
    """Elastances and flows in one call, drops of zero and closed leaks included."""
    chambers = [
        Chamber(1.0, 0.1, 0.0, 250.0, 150.0, 0.0),
        Chamber(0.2, 0.3, -170.0, 90.0, 120.0, 1.0),
    ]
    t = np.arange(0.0, 1600.0, 7.0)
    E = elastance(t[:, None], 800.0, *np.transpose([astuple(c)[:5] for c in chambers]))
    for k, chamber in enumerate(chambers):
        tau = (t - chamber.onset) % 800.0
        rising = (1 - np.cos(np.pi * tau / chamber.T_C)) / 2
        falling = (1 + np.cos(np.pi * (tau - chamber.T_C) / chamber.T_R)) / 2
        parts = [tau < chamber.T_C, tau < chamber.T_C + chamber.T_R]
        f = np.select(parts, [rising, falling], 0.0)
        assert E[:, k] == pytest.approx(chamber.E_B + chamber.E_A * f, rel=1e-13)
        assert [chamber.elastance(x, 800.0) for x in t] == pytest.approx(E[:, k], rel=1e-14)
    valves = Valves(
        Valve(1e-3, 1e3), Valve(1e-3, 1e3, 100.0, 30.0), Valve(2e-3, 1e3, leak_area=20.0),
        Valve(1e-6, 1e3, area=100.0),
    )  # fmt: skip
    for drops in np.array([[1.0, 2.0, -1.0, 0.0], [-2.0, -3.0, 0.5, 0.0], [0.0, 0.0, 0.0, -1.0]]):
        flows, slopes = valves.flows(drops)
        each = (valves.mitral, valves.aortic, valves.tricuspid, valves.pulmonary)
        for valve, drop, flow, slope in zip(each, drops, flows, slopes, strict=True):
            assert (flow, slope) == pytest.approx(valve.flow(float(drop)), rel=1e-14)
            orifice = valve.area if drop > 0 else valve.leak_area
            through = flow if drop > 0 else flow - drop / valve.R_closed
            lost = BLOOD_DENSITY * through**2 / (2 * orifice**2) if orifice > 0 else abs(drop)
            assert valve.R_open * abs(through) + lost == pytest.approx(abs(drop), rel=1e-12)


def with_valve(name, **changes):
    loop = ClosedLoop.regazzoni_2022()
    valve = replace(getattr(loop.valves, name), **changes)
    return replace(loop, valves=replace(loop.valves, **{name: valve}))


@pytest.fixture(scope="module")
def healthy():
    loop = ClosedLoop.regazzoni_2022()
    return loop, limit_cycle(loop, loop.rest())


def test_aortic_stenosis(healthy):
    """A narrow valve of 0.8 cm² asks for a gradient that a severe stenosis has."""
    loop = with_valve("aortic", area=80.0)
    y = limit_cycle(loop, healthy[1].state).state
    states = one_beat(loop, y)
    p = np.array([[loop.pressures(x, k)[n] for n in ("lv", "ar_sys")]
                  for k, x in enumerate(states)]) / MMHG  # fmt: skip
    flow = np.array([loop.flows(x, k).aortic for k, x in enumerate(states)])
    open_ = flow > 1.0
    gradient = (p[:, 0] - p[:, 1])[open_]
    jet = flow[open_] / 80.0
    assert 35.0 < gradient.mean() < 80.0
    # What is not Bernoulli's is the small resistance of the open valve.
    assert gradient == pytest.approx(4.0 * jet**2 + 0.0075 * flow[open_], rel=0.02, abs=0.1)
    assert np.ptp(states[:, LV]) < np.ptp(one_beat(healthy[0], healthy[1].state)[:, LV])


def test_mitral_regurgitation(healthy):
    """What the ventricle ejects is what passes the aortic valve and what flows back."""
    loop = with_valve("mitral", leak_area=40.0)
    cycle = limit_cycle(loop, healthy[1].state)
    states = one_beat(loop, cycle.state)
    mitral = np.array([loop.flows(y, k).mitral for k, y in enumerate(states)])[1:]
    aortic = np.array([loop.flows(y, k).aortic for k, y in enumerate(states)])[1:]
    assert mitral.sum() == pytest.approx(aortic.sum(), rel=1e-5)
    back = -mitral[mitral < 0].sum()
    assert 20.0 < back / ML < 80.0
    assert states[:, LA].max() > one_beat(healthy[0], healthy[1].state)[:, LA].max()


@pytest.mark.parametrize(
    "change", [{}, {"aortic": {"area": 70.0}}, {"mitral": {"leak_area": 50.0}}]
)
def test_limit_cycle_is_found_sooner(change):
    """By extrapolation, in half of the beats, with the blood that was there."""
    loop = ClosedLoop.regazzoni_2022()
    for name, changes in change.items():
        loop = with_valve(name, **changes)
    y = loop.rest()
    y[VEN_SYS] *= 1.1
    cycle = limit_cycle(loop, y, dt=4.0)
    assert beat_change(cycle.state, one_beat(loop, cycle.state, 4.0)[-1]) < 2e-6
    stroke = np.ptp(one_beat(loop, cycle.state, 4.0)[:, LV])
    assert abs(loop.blood(cycle.state).sum() - loop.blood(y).sum()) < 1e-8 * stroke
    beats, change_ = 0, 1.0
    while change_ > 1e-6:
        end = one_beat(loop, y, 4.0)[-1]
        y, change_, beats = end, beat_change(y, end), beats + 1
    assert cycle.beats <= beats / 2
    assert cycle.state == pytest.approx(y, rel=1e-5)


def test_extrapolations_side_by_side_are_those_of_each():
    """Fixed points of two linear maps, which Anderson's method finds in as many steps as states."""
    rng = np.random.default_rng(2)
    maps = 0.9 * np.linalg.qr(rng.normal(size=(2, 3, 3)))[0]
    shift = rng.normal(size=(2, 3))

    def image(y):
        return np.einsum("mij,mj->mi", maps, y) + shift

    y, together = np.ones((2, 3)), Extrapolation()
    one = [Extrapolation(), Extrapolation()]
    for _ in range(5):
        new = together.next(y, image(y))
        each = [one[m].next(y[m], image(y)[m]) for m in range(2)]
        assert new == pytest.approx(np.array(each), rel=1e-9)
        y = new
    assert y == pytest.approx(np.linalg.solve(np.eye(3) - maps, shift[..., None])[..., 0], rel=1e-9)
    assert beat_change(y, 2.0 * y) == pytest.approx([1.0, 1.0])


def test_no_limit_cycle_in_time():
    loop = ClosedLoop.regazzoni_2022()
    with pytest.raises(SolverError, match="no limit cycle after 2 beats"):
        limit_cycle(loop, loop.rest(), most=2)


def test_windkessel_fills_exponentially():
    """At a constant ventricular pressure p_C = p_∞ + (p_0 − p_∞) e^{−t/τ}."""
    loop = OpenLoop.adult()
    valve, arteries = loop.valves.aortic, loop.systemic
    R_in = valve.R_open + arteries.Z
    p = 15.0
    rate = (1 / R_in + 1 / arteries.R) / arteries.C
    final = (p / R_in + arteries.p_ven / arteries.R) / (rate * arteries.C)

    def error(dt):
        y = loop.rest()
        for k in range(round(100.0 / dt)):
            y, _ = loop.step(y, k * dt, dt, np.array([p, 0.0]))
        return y[SYS] - (final + (loop.rest()[SYS] - final) * np.exp(-100.0 * rate))

    assert abs(error(0.25)) < 0.01
    assert 0.9 < np.log2(error(1.0) / error(0.5)) < 1.1


def test_open_loop_at_its_limit_cycle():
    """Each ventricle ejects what it took, at pressures of an adult."""
    loop = OpenLoop.adult()
    y = limit_cycle(loop, loop.rest()).state
    states = one_beat(loop, y)
    assert states[-1][IN] == pytest.approx(states[0][IN], abs=1e-5 * np.ptp(states[:, LV]))
    root = [loop.pressures(x, k)["ar_sys"] / MMHG for k, x in enumerate(states)]
    assert 60.0 < min(root) < 95.0 and 100.0 < max(root) < 150.0
    blood = [loop.blood(x).sum() for x in states]
    assert np.ptp(blood) < 1e-8 * np.ptp(states[:, LV])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Valve(1.0, 0.5), "open resistance"),
        (lambda: Valve(1.0, 10.0, area=10.0, leak_area=20.0), "leak"),
        (lambda: Windkessel(1.0, 0.0, 1.0), "C = 0"),
        (lambda: Chamber(1.0, 0.0, 0.0, 100.0, 100.0, 0.0), "E_B"),
        (lambda: ClosedLoop.regazzoni_2022(period=0.0), "period"),
    ],
)
def test_impossible_parameters(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_pressure_at_the_root_of_the_aorta_is_above_that_of_the_compliance_while_blood_comes():
    loop = ClosedLoop.regazzoni_2022()
    loop = replace(loop, systemic=replace(loop.systemic, Z_ar=0.05 * RESISTANCE))
    y, t = loop.rest(), 0.0
    for _ in range(200):
        y, _ = loop.step(y, t, 1.0)
        t += 1.0
    flow, pressures = loop.flows(y, t).aortic, loop.pressures(y, t)
    assert flow > 100.0
    assert pressures["ar_sys"] == pytest.approx(y[AR_SYS] + 0.05 * RESISTANCE * flow)
    assert pressures["lv"] - pressures["ar_sys"] == pytest.approx(0.0075 * RESISTANCE * flow)
