"""Ionic models: published measures, a tight stiff integration, and what goes wrong clearly."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import PacedCell, pace
from organtwin.errors import InputError, SetupError

EPI = "ten_tusscher_2006_epi"
STRENGTH, DURATION = 52.0, 1.0


@pytest.fixture(scope="module")
def kernel():
    return compile_kernel(CellModel.load(EPI))


# --- published measures ---------------------------------------------------------------------------

#: Rest (mV), APD50 and APD90 (ms) after 100 beats at 1 Hz, computed with Myokit and CVODES (1e-8)
#: from the public definitions of the model.
MEASURES = {
    "ten_tusscher_2006_endo": (-85.489, 275.3, 302.98),
    "ten_tusscher_2006_epi": (-85.460, 275.9, 303.08),
    "ten_tusscher_2006_m": (-85.327, 372.1, 402.66),
}


@pytest.mark.parametrize("name", MEASURES)
def test_action_potential_measures(name):
    """Five beats from the published initial state come within 1.5 % of the hundredth beat.

    The reference stimulus lasts half as long, which moves peak and steepest rise but not these.
    """
    rest, apd50, apd90 = MEASURES[name]
    cell = pace(compile_kernel(CellModel.load(name)), cycle_length=1000.0, beats=5)
    assert cell.rest == pytest.approx(rest, abs=0.15)
    assert cell.apd50 == pytest.approx(apd50, rel=0.015)
    assert cell.apd90 == pytest.approx(apd90, rel=0.015)
    assert 35.0 < cell.peak < 45.0
    assert 300.0 < cell.upstroke < 400.0
    assert 0.05 < cell.calcium.min() < 0.15 and 0.5 < cell.calcium.max() < 1.5


def test_variants_differ():
    """Only the numbers of the published cell types, not their equations."""
    endo, epi, mid = (CellModel.load(f"ten_tusscher_2006_{kind}") for kind in ("endo", "epi", "m"))
    assert endo.definition == epi.definition == mid.definition
    assert endo.parameters["g_to"] == pytest.approx(epi.parameters["g_to"] / 4, rel=0.02)
    assert mid.parameters["g_Ks"] == pytest.approx(epi.parameters["g_Ks"] / 4)
    assert mid.parameters["g_to"] == epi.parameters["g_to"]


# --- time integration -----------------------------------------------------------------------------


def integrated(kernel, times):
    """Potential and calcium of one beat from the initial state, integrated to 1e-9."""
    start = np.append(kernel.initial_states()[:, 0], kernel.initial_potential)
    potential, calcium = [], []
    for on, (t0, t1) in ((True, (0.0, DURATION)), (False, (DURATION, times[-1] + 1))):

        def rhs(_, y, on=on):
            dy, dv = kernel.rates(np.ascontiguousarray(y[:-1, None]), y[-1:].copy())
            return np.append(dy[:, 0], dv[0] + on * STRENGTH)

        inside = times[(times >= t0) & (times < t1)] if on else times[times >= t0]
        end = solve_ivp(
            rhs, (t0, t1), start, method="LSODA", rtol=1e-8, atol=1e-10, t_eval=[*inside, t1]
        ).y
        start = end[:, -1]
        potential.append(end[-1, : len(inside)])
        calcium.append(kernel.calcium(end[:-1])[: len(inside)])
    return np.concatenate(potential), np.concatenate(calcium)


def stepped(kernel, times, cells=1):
    states, v = kernel.initial_states(cells), np.full(cells, kernel.initial_potential)
    potential, calcium = [v[0]], [kernel.calcium(states)[0]]
    for t, end in pairwise(times):
        kernel.step(states, v, t, end - t, STRENGTH if t < DURATION - 1e-9 else 0.0)
        potential.append(v[0])
        calcium.append(kernel.calcium(states)[0])
    return np.array(potential), np.array(calcium)


def apd90(times, v):
    level = v.max() - 0.9 * (v.max() - v[0])
    k = np.flatnonzero((v[:-1] >= level) & (v[1:] < level))[-1]
    rise = times[np.flatnonzero(v > -20.0)[0]]
    return times[k] + (v[k] - level) / (v[k] - v[k + 1]) * (times[k + 1] - times[k]) - rise


def grid(dt, late):
    """Steps of ``dt`` over the upstroke (20 ms), of ``late`` to 400 ms."""
    return np.concatenate([np.arange(0.0, 20.0, dt), np.arange(20.0, 400.0 + late / 2, late)])


@pytest.fixture(scope="module")
def exact(kernel):
    times = grid(0.01, 0.1)
    return times, *integrated(kernel, times)


@pytest.mark.parametrize(
    ("dt", "late", "repolarisation", "plateau", "peak"),
    [(0.02, 0.02, 0.2, 0.15, 0.002), (0.05, 0.05, 0.5, 0.35, 0.005), (0.05, 0.25, 0.7, 0.5, 0.01)],
)
def test_exponential_euler_against_stiff_integration(
    kernel, exact, dt, late, repolarisation, plateau, peak
):
    """A whole action potential; the last case is the schedule of the monodomain solver."""
    fine, v_exact, calcium_exact = exact
    times = grid(dt, late)
    v, calcium = stepped(kernel, times)
    duration = apd90(times, v) - apd90(fine, v_exact)
    difference = np.abs(v - np.interp(times, fine, v_exact))[(times > 20) & (times < 250)].max()
    assert abs(duration) < repolarisation
    assert difference < plateau
    assert calcium.max() == pytest.approx(calcium_exact.max(), rel=peak)


@pytest.mark.parametrize("late", [0.25, 0.5])
def test_long_steps_are_stable_after_the_upstroke(kernel, late):
    """Nothing oscillates: repolarisation is monotone and the cell comes to rest."""
    times = grid(0.05, late)
    v, calcium = stepped(kernel, times)
    assert (np.diff(v[times > 60.0]) < 0.02).all()
    assert v[-1] == pytest.approx(-85.0, abs=0.5)
    assert (calcium > 0).all()


def test_all_cells_of_an_array_take_the_same_steps(kernel):
    """Also those in the remainder of the vector loop."""
    states, v = kernel.initial_states(13), np.full(13, kernel.initial_potential)
    for n in range(100):
        kernel.step(states, v, 0.05 * n, 0.05, STRENGTH if n < 20 else 0.0)
    np.testing.assert_allclose(v, v[0], rtol=1e-9)
    np.testing.assert_allclose(states, states[:, :1] * np.ones(13), rtol=1e-9)


# --- pacing ---------------------------------------------------------------------------------------


def test_paced_cell_survives_json(kernel):
    cell = pace(kernel, cycle_length=400.0, beats=1, dt=0.05)
    again = PacedCell.from_json(cell.to_json())
    for name in ("states", "time", "potential", "calcium"):
        np.testing.assert_array_equal(getattr(again, name), getattr(cell, name))
    assert (again.v, again.apd90, again.drift) == (cell.v, cell.apd90, cell.drift)
    assert again.states.shape == (kernel.n_states,)


# --- refusals -------------------------------------------------------------------------------------


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="Did you mean `ten_tusscher_2006_epi`"):
        CellModel.load("ten_tuscher_2006_epi")
    model = CellModel.load(EPI)
    with pytest.raises(InputError, match=r"no parameter `g_na`\. Did you mean `g_Na`"):
        model.with_parameters({"g_na": 1.0})
    with pytest.raises(InputError, match=r"no state `Ca_j`\. Did you mean"):
        model.with_initial({"Ca_j": 1.0})


@pytest.mark.parametrize(("rows", "columns"), [(17, 4), (18, 3)])
def test_arrays_of_another_shape_are_refused(kernel, rows, columns):
    with pytest.raises(InputError, match=r"shape \(18, 4\)"):
        kernel.step(np.zeros((rows, columns)), np.zeros(4), 0.0, 0.1)
    with pytest.raises(InputError, match=r"shape \(18, 4\)"):
        kernel.rates(np.zeros((rows, columns)), np.zeros(4))


@pytest.mark.parametrize(
    ("definition", "problem"),
    [
        ("states(V=-85)\ndV_dt = -i\ni = V", "line 2: `i` is used before it is known"),
        ("states(V=-85)\n\ndV_dt = -(V", "line 3"),
        ("states(V=-85)\nfor i in x: pass", "line 2: neither a declaration"),
        ("states(V=-85)\nconstants(a=1)", "line 2: no declaration `constants`"),
        ("states(V=-85)\nparameters(a=b)", "line 2: `a` is no number"),
        ("states(V=-85)\ni = V", "no rate `dV_dt`"),
    ],
)
def test_wrong_definitions_name_the_line(definition, problem):
    model = replace(CellModel.load(EPI), definition=definition)
    with pytest.raises(InputError, match=problem.replace("(", r"\(")):
        model.equations()


# --- compilation ----------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A model that compiles at once, and an empty cache."""
    monkeypatch.setenv("ORGANTWIN_CACHE", str(tmp_path))
    text = "states(V=-80, w=0)\nparameters(k=0.1)\ndw_dt = k*(V - w)\ndV_dt = -w\n"
    return replace(
        CellModel.load(EPI),
        definition=text,
        states={"V": -80.0, "w": 0.0},
        parameters={"k": 0.1},
        calcium="w",
    )


def test_kernels_are_compiled_once(small, tmp_path, monkeypatch):
    first = compile_kernel(small)
    (library,) = tmp_path.glob("cells/*.so")
    written = library.stat().st_mtime_ns
    monkeypatch.setenv("CC", "/no/such/compiler")
    time.sleep(0.02)
    # Other numbers are arguments, so they need no other library.
    second = compile_kernel(small.with_parameters({"k": 0.2}))
    assert [p.stat().st_mtime_ns for p in tmp_path.glob("cells/*")] == [written]
    states, v = np.zeros((1, 1)), np.array([-80.0])
    assert first.rates(states, v)[0][0, 0] == pytest.approx(-8.0)
    assert second.rates(states, v)[0][0, 0] == pytest.approx(-16.0)


def test_loaded_kernels_leave_the_arithmetic_of_others_alone(small):
    compile_kernel(small)
    subnormal = np.array([1e-310])
    assert (subnormal * 0.5)[0] == 5e-311


@pytest.mark.parametrize("compiler", ["/no/such/compiler", "false"])
def test_missing_compiler_is_told(small, tmp_path, monkeypatch, compiler):
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(SetupError, match=f"`{compiler}` does not work.*apt-get install gcc"):
        compile_kernel(small)
    assert not list(tmp_path.glob("cells/*"))


def test_gates_relax_exactly(small):
    """Linear rates are integrated exactly for frozen potential, whatever the step."""
    kernel = compile_kernel(small)
    states, v = np.zeros((1, 1)), np.array([-80.0])
    kernel.step(states, v, 0.0, 7.0)
    assert states[0, 0] == pytest.approx(-80.0 * (1 - np.exp(-0.7)), rel=1e-12)


def test_pacing_that_no_cell_follows_is_told(kernel, caplog):
    pace(kernel, cycle_length=200.0, beats=4)
    assert "does not follow a stimulus every 200 ms" in caplog.text
    caplog.clear()
    pace(kernel, cycle_length=800.0, beats=2)
    assert not caplog.text


@pytest.mark.parametrize("wrong", [{"cycle_length": -5.0}, {"beats": 0}, {"dt": 0.0}])
def test_pacing_with_nonsense_is_refused(kernel, wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))} = "):
        pace(kernel, **wrong)
