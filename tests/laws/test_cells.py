"""What holds of every cell model in the library, whatever its equations."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest

from organtwin.cells.catalogue import library
from organtwin.cells.codegen import Scheme
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.errors import InputError

NAMES = tuple(library())
DEFINITIONS = sorted({entry["definition"] for entry in library().values() if "definition" in entry})


def entry(name):
    own = library()[name]
    return {**library()[own.get("like", name)], **own}


@cache
def kernel(name):
    return compile_kernel(CellModel.load(name))


def random_states(kernel, n, seed=0):
    """Positive states within a factor of three of the initial ones."""
    random = np.random.default_rng(seed)
    start = kernel.initial_states(n)
    states = np.abs(start) * np.exp(random.uniform(-np.log(3.0), np.log(3.0), start.shape))
    return np.where(start == 0.0, random.uniform(0.0, 0.1, start.shape), states)


@pytest.mark.parametrize("name", NAMES)
def test_entries_are_complete(name):
    model = CellModel.load(name)
    assert model.potential in model.states
    assert -100.0 < model.states[model.potential] < -60.0
    assert re.search(r"\((19|20)\d\d\)", model.citation)
    assert model.calcium is None or model.calcium in model.states
    assert all(name in model.parameters for name in entry(name).get("currents", {}).values())


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_definitions_name_their_source_and_licence(definition):
    text = (files("organtwin.cells") / "library" / definition).read_text("utf-8")
    header = text.split("\n\n", 1)[0]
    assert all(line.startswith("#") for line in header.splitlines())
    assert "Source: " in header
    assert "licence" in header
    assert re.search(r"doi 10\.\d{4}", header)


@pytest.mark.parametrize("name", NAMES)
def test_rates_are_finite_at_any_potential(name):
    """Also exactly at all numbers of the definition, where quotients may be 0/0, and beside."""
    model = CellModel.load(name)
    written = {float(text) for text in re.findall(r"\d+\.?\d*(?:e-?\d+)?", model.definition)}
    special = np.array([v for v in written if v <= 120.0])
    special = np.concatenate([special, -special, special - 80.0, -110.0 + special])
    beside = [np.nextafter(special, 999.0), special - 1e-9, special + 1e-6]
    v = np.concatenate([np.random.default_rng(1).uniform(-120.0, 80.0, 500), special, *beside])
    dy, dv = kernel(name).rates(random_states(kernel(name), len(v)), v)
    assert np.isfinite(dy).all()
    assert np.isfinite(dv).all()


@pytest.mark.parametrize("name", NAMES)
def test_states_stay_finite_in_long_steps(name):
    """The step's own expressions (slopes, relaxations) have no holes either."""
    v = np.linspace(-120.0, 80.0, 401)
    states = random_states(kernel(name), len(v), seed=2)
    kernel(name).step(states, v, 0.0, 0.1)
    assert np.isfinite(states).all()
    assert np.isfinite(v).all()


@pytest.mark.parametrize("name", NAMES)
def test_one_beat_fires_and_returns_to_rest(name):
    cell = kernel(name)
    states, v = cell.initial_states(1), np.array([cell.initial_potential])
    times = np.concatenate([np.arange(0.0, 20.0, 0.02), np.arange(20.0, 1000.05, 0.1)])
    potential = [v[0]]
    for t, end in pairwise(times):
        cell.step(states, v, t, end - t, 52.0 if t < 1.0 - 1e-9 else 0.0)
        potential.append(v[0])
    potential = np.array(potential)
    assert 10.0 < potential.max() < 60.0
    assert (np.diff(times)[potential[1:] > -40.0]).sum() > 100.0
    assert potential[-1] == pytest.approx(potential[0], abs=2.0)
    assert np.isfinite(states).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_at_rest_stays_there(name):
    """Without a stimulus nothing fires within 100 ms, nor does a small one fire it."""
    cell = kernel(name)
    states, v = cell.initial_states(2), np.full(2, cell.initial_potential)
    v[1] += 1.0
    for n in range(1000):
        cell.step(states, v, 0.1 * n, 0.1)
    np.testing.assert_allclose(v, cell.initial_potential, atol=3.0)


@pytest.mark.parametrize(
    ("name", "current"), [(n, c) for n in NAMES for c in entry(n).get("currents", {})]
)
def test_currents_scale_with_their_parameter(name, current):
    """The rate of the potential is affine in each factor, and does depend on it."""
    cell, parameter = kernel(name), entry(name)["currents"][current]
    states = random_states(cell, 50, seed=3)
    for row, state in zip(states, cell.states, strict=True):
        # Gates that are shut at rest would hide their current.
        if not re.match(r"(Na|K|Ca|Cl)_|CaMK", state) and row.max() < 3.0:
            row[:] = np.random.default_rng(5).uniform(0.1, 0.9, len(row))
    v = np.random.default_rng(4).uniform(-90.0, 40.0, 50)
    whole = cell.model.parameters[parameter]
    rates = []
    for factor in (0.0, 0.5, 1.0):
        model = cell.model.with_parameters({parameter: factor * whole})
        rates.append(compile_kernel(model).rates(states, v)[1])
    assert np.abs(rates[2] - rates[0]).max() > 1e-6
    rounding = 1e-10 * np.abs(rates).max()
    np.testing.assert_allclose(rates[1], (rates[0] + rates[2]) / 2, rtol=1e-9, atol=rounding)


@pytest.mark.parametrize("name", [n for n in NAMES if "calcium" not in entry(n)])
def test_models_without_calcium_say_so(name):
    cell = kernel(name)
    with pytest.raises(InputError, match=f"`{name}`.*no calcium"):
        cell.calcium(cell.initial_states(1))


#: Courtemanche's cell in fibrillation as its store begins to release; gates shut or wide are left
#: at their initial values.
RELEASING = {
    "m": 0.998, "h": 5.5e-8, "j": 0.303, "oa": 0.794, "oi": 0.769, "ua": 0.937, "xr": 0.104,
    "xs": 0.065, "d": 0.724, "f": 0.693, "fCa": 0.594, "u_rel": 0.0293, "v_rel": 0.264,
    "w_rel": 0.882, "Na_i": 13.9, "K_i": 136.3, "Ca_i": 2.398e-4, "Ca_up": 1.554, "Ca_rel": 0.297,
}  # fmt: skip


@pytest.mark.parametrize("scheme", list(Scheme))
def test_a_release_that_feeds_itself_keeps_its_bounds(scheme):
    """Its slope is positive, and huge where the sigmoids of the release are steep."""
    cell = compile_kernel(CellModel.load("courtemanche_1998"), scheme=scheme)
    ends = []
    for dt in (0.005, 0.05, 0.1):
        states, v = cell.initial_states(9), np.full(9, 8.123)  # vector loop and remainder
        for name, value in RELEASING.items():
            states[cell.states.index(name)] = value
        for _ in range(round(20.0 / dt)):
            cell.step(states, v, 0.0, dt)
            assert (states[cell.states.index("u_rel")] <= 1.0).all()
            assert (states[cell.states.index("Ca_i")] < 5e-4).all()
        np.testing.assert_allclose(states, states[:, :1] * np.ones(9), rtol=1e-9)
        ends.append(v[0])
    np.testing.assert_allclose(ends[1:], ends[0], atol=0.15)
