from __future__ import annotations

import re

import numpy as np
import pytest

from organtwin.cells.codegen import Scheme
from organtwin.cells.kernel import Kernel, compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import PacedCell, pace

# Rates at one made-up state (below), by the public Myokit files of O'Hara et al. (2011) and Tomek
# et al. (2020), which Myokit 1.39.2 evaluates without organtwin's translation.
CONCENTRATIONS = {
    "Na_i": 8.0, "Na_ss": 9.0, "K_i": 144.0, "K_ss": 143.0, "Cl_i": 29.0, "Cl_ss": 30.0,
    "Ca_i": 2e-4, "Ca_ss": 3e-3, "Ca_nsr": 1.6, "Ca_jsr": 1.4,
    "Jrelnp": 0.1, "Jrelp": 0.2, "CaMKt": 0.02,
}  # fmt: skip
RATES = {
    "ohara_rudy_2011_endo": {
        "V": 230.139694753, "Na_i": 0.0286040575952, "Na_ss": -0.498054233206,
        "K_i": -0.0147366874044, "K_ss": 0.499907989064, "Ca_i": 3.77459359941e-06,
        "Ca_ss": 0.000271585989079, "Ca_nsr": 0.00064253410853, "Ca_jsr": -0.0467364731923,
        "Jrelnp": 0.78796766682, "CaMKt": 7.24222222222e-05, "iF": -0.0799741650217,
        "m": 2.0159544516,
    },
    "ohara_rudy_2011_epi": {
        "V": 229.88248382, "Na_i": 0.0286046126488, "Na_ss": -0.497789466112,
        "K_i": -0.0148109354076, "K_ss": 0.499889586877, "Ca_i": 3.24323920974e-06,
        "Ca_ss": 0.000283251979185, "Ca_nsr": 0.00101346825413, "Ca_jsr": -0.0467364731923,
        "Jrelnp": 0.949808718981, "CaMKt": 7.24222222222e-05, "iF": -0.0799776142943,
        "m": 2.0159544516,
    },
    "ohara_rudy_2011_m": {
        "V": 236.400905344, "Na_i": 0.0286205116261, "Na_ss": -0.496503831931,
        "K_i": -0.0148010511197, "K_ss": 0.499769972661, "Ca_i": 3.75337305579e-06,
        "Ca_ss": 0.000361011547856, "Ca_nsr": 0.00064253410853, "Ca_jsr": -0.0467364731923,
        "Jrelnp": 3.41788476444, "CaMKt": 7.24222222222e-05, "iF": -0.0799741650217,
        "m": 2.0159544516,
    },
    "tor_ord_2019_endo": {
        "V": 40.9754827842, "Na_i": 0.0169693350333, "Na_ss": -0.490194470215,
        "K_i": -0.0149132109403, "K_ss": 0.499925577858, "Ca_i": 3.92449440336e-06,
        "Ca_ss": 0.000464806182382, "Ca_nsr": 0.000722539396027, "Ca_jsr": -0.0717741966579,
        "Cl_i": 0.0147087933257, "Cl_ss": -0.499601768777, "Jrelnp": 0.443878069561,
        "CaMKt": 7.24222222222e-05, "iF": -0.0799741650217, "m": 7.85436408117,
    },
    "tor_ord_2019_epi": {
        "V": 39.4451072021, "Na_i": 0.0169603977844, "Na_ss": -0.489158487105,
        "K_i": -0.0150882339925, "K_ss": 0.499910693429, "Ca_i": 3.3818424974e-06,
        "Ca_ss": 0.000475399106314, "Ca_nsr": 0.00118249773657, "Ca_jsr": -0.0717741966579,
        "Cl_i": 0.0147087933257, "Cl_ss": -0.499601768777, "Jrelnp": 0.53690120227,
        "CaMKt": 7.24222222222e-05, "iF": -0.0799776142943, "m": 7.85436408117,
    },
    "tor_ord_2019_m": {
        "V": 45.8866178615, "Na_i": 0.0169987903787, "Na_ss": -0.485939677512,
        "K_i": -0.0150838207559, "K_ss": 0.499851155715, "Ca_i": 4.30107932798e-06,
        "Ca_ss": 0.000521873397128, "Ca_nsr": 0.000722539396027, "Ca_jsr": -0.0717741966579,
        "Cl_i": 0.0147087933257, "Cl_ss": -0.499601768777, "Jrelnp": 1.56015566207,
        "CaMKt": 7.24222222222e-05, "iF": -0.0799741650217, "m": 7.85436408117,
    },
}  # fmt: skip
NAMES = tuple(RATES)

# Tenth beat at 1 Hz from the settled states by the same files with CVODES (1e-8): APD90 (ms), rest
# and peak (mV), largest calcium (uM).
SETTLED = {
    "ohara_rudy_2011_endo": (265.72, -87.999, 42.91, 0.3228),
    "ohara_rudy_2011_epi": (228.15, -87.929, 38.70, 0.6474),
    "ohara_rudy_2011_m": (330.02, -87.695, 40.46, 1.1198),
    "tor_ord_2019_endo": (272.43, -89.751, 32.86, 0.3859),
    "tor_ord_2019_epi": (236.60, -90.746, 32.36, 0.6830),
    "tor_ord_2019_m": (349.96, -91.344, 30.80, 1.1481),
}
# The hundredth beat from the published initial values, likewise: APD30, 50, 90 (ms), rest and peak
# (mV).
HUNDREDTH = {
    "ohara_rudy_2011_endo": (161.5, 205.0, 266.78, -87.998, 43.05),
    "ohara_rudy_2011_epi": (155.1, 186.4, 233.62, -87.932, 39.21),
    "ohara_rudy_2011_m": (220.8, 277.9, 350.50, -87.752, 41.34),
    "tor_ord_2019_endo": (166.6, 219.9, 272.44, -89.747, 32.86),
    "tor_ord_2019_epi": (160.9, 201.4, 241.34, -89.852, 32.17),
    "tor_ord_2019_m": (191.6, 294.3, 354.96, -89.473, 30.83),
}


def _kernel(model: CellModel) -> Kernel:
    return compile_kernel(model, scheme=Scheme.GENERALISED_2)


def _paced(model: CellModel, beats: int) -> PacedCell:
    strength = 116.0 if model.name.startswith("ohara") else 106.0
    return pace(
        _kernel(model), cycle_length=1000.0, beats=beats, dt=0.05, strength=strength, duration=0.5
    )


def _made_up(kernel: Kernel) -> np.ndarray:
    gate = {name: 0.2 if name.startswith("Kr_") else 0.5 for name in kernel.states}
    return np.array([[(gate | CONCENTRATIONS)[name]] for name in kernel.states])


@pytest.mark.parametrize("name", NAMES)
def test_the_rates_are_those_of_the_published_files(name: str) -> None:
    kernel = _kernel(CellModel.load(name))
    dy, dv = kernel.rates(_made_up(kernel), np.array([-20.0]))
    rates = {"V": dv[0], **dict(zip(kernel.states, dy[:, 0], strict=True))}
    assert {key: rates[key] for key in RATES[name]} == pytest.approx(RATES[name], rel=1e-9)


@pytest.mark.parametrize("name", ["ohara_rudy_2011_epi", "tor_ord_2019_epi"])
def test_the_rates_are_smooth_where_the_constant_field_equation_is_0_over_0(name: str) -> None:
    kernel = _kernel(CellModel.load(name))
    v = np.array([-0.01, -0.0026, -1e-9, 0.0, 1e-9, 0.0026, 0.01])
    dy, dv = kernel.rates(np.repeat(_made_up(kernel), len(v), axis=1), v)
    for rates in (*dy, dv):
        line = rates[0] + (rates[-1] - rates[0]) * (v - v[0]) / (v[-1] - v[0])
        np.testing.assert_allclose(rates, line, rtol=5e-6, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_each_current_is_proportional_to_its_parameter(name: str) -> None:
    model = CellModel.load(name)
    for parameter in model.currents.values():
        none, once, twice = (
            _rate_of_the_potential(
                model.with_parameters({parameter: k * model.parameters[parameter]})
            )
            for k in (0.0, 1.0, 2.0)
        )
        assert once != none
        assert twice - once == pytest.approx(once - none, rel=1e-6), parameter


def _rate_of_the_potential(model: CellModel) -> float:
    kernel = _kernel(model)
    return float(kernel.rates(_made_up(kernel), np.array([-20.0]))[1][0])


def test_a_drained_store_of_calcium_stays_finite() -> None:
    kernel = _kernel(CellModel.load("tor_ord_2019_m"))
    states, v = kernel.initial_states(1), np.array([0.0])
    states[kernel.states.index("Ca_jsr")] = -1e-4
    for n in range(200):
        kernel.step(states, v, 0.05 * n, 0.05)
    assert np.isfinite(states).all()
    assert states[kernel.states.index("Ca_jsr"), 0] > 0.0


@pytest.mark.parametrize("name", NAMES)
def test_ten_beats_from_the_stored_states_change_nothing(name: str) -> None:
    cell = _paced(CellModel.load(name), 10)
    apd90, rest, peak, calcium = SETTLED[name]
    assert cell.apd90 == pytest.approx(apd90, rel=0.005)
    assert cell.rest == pytest.approx(rest, rel=0.001)
    assert cell.peak == pytest.approx(peak, rel=0.01)
    assert cell.calcium.max() == pytest.approx(calcium, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_hundred_beats_from_the_published_initial_values(name: str) -> None:
    model = CellModel.load(name)
    declared = model.definition.split("parameters(")[0].split("states(")[1]
    initial = {key: float(value) for key, value in re.findall(r"(\w+)=([-+.\de]+)", declared)}
    assert initial.keys() == model.states.keys()
    cell = _paced(model.with_initial(initial), 100)
    measured = (cell.apd30, cell.apd50, cell.apd90, cell.rest, cell.peak)
    assert measured == pytest.approx(HUNDREDTH[name], rel=0.01)
