"""Pseudo-ECG against a direct quadrature, electrodes and leads, intervals, and the paper."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.electrophysiology.ecg import (
    ELECTRODES,
    LEADS,
    LIMBS,
    PseudoECG,
    given_electrodes,
    lead_voltages,
    standing_adult,
)
from organtwin.errors import InputError
from organtwin.export.ecg_intervals import corrected_qt, intervals, qrs_axis
from organtwin.export.ecg_paper import chosen_gain, ecg_paper
from organtwin.verify.geometry import box

SIZE = np.array([4.0, 6.0, 5.0])
SIGMA = np.diag([0.3, 0.1, 0.05])
SLOPE = np.array([2.0, -3.0, 5.0])


@pytest.fixture(scope="module")
def domain():
    return box(MPI.COMM_SELF, tuple(SIZE), (4, 6, 5))


def potential(domain, formula):
    v = fem.Function(fem.functionspace(domain.mesh, ("P", 1)))
    v.interpolate(formula)
    return v


def quadrature(electrode, sigma_b):
    """−1/(4πσ_b) ∫ σ∇v·∇(1/r) dx over the box with Gauss's rule, 12 points along each edge."""
    at, weight = np.polynomial.legendre.leggauss(12)
    points = [s * (at + 1) / 2 for s in SIZE]
    x = np.stack(np.meshgrid(*points, indexing="ij"))
    w = np.einsum("i,j,k->ijk", weight, weight, weight) * SIZE.prod() / 8
    d = x - electrode[:, None, None, None]
    gradient = -d / np.linalg.norm(d, axis=0) ** 3
    return -np.sum(w * np.einsum("i,ijkl->jkl", SIGMA @ SLOPE, gradient)) / (4 * np.pi * sigma_b)


@pytest.mark.parametrize("electrode", [(40.0, -10.0, 25.0), (2.0, 3.0, -12.0), (-60.0, 3.0, 2.5)])
def test_linear_potential(domain, electrode):
    point = np.array(electrode)
    ecg = PseudoECG(
        fem.functionspace(domain.mesh, ("P", 1)),
        ufl.as_matrix(SIGMA.tolist()),
        {"e": point},
        sigma_b=0.25,
    )
    found = ecg(potential(domain, lambda x: SLOPE @ x - 80.0))["e"]
    assert found == pytest.approx(quadrature(point, 0.25), rel=1e-4)


def test_wave_that_comes_is_positive(domain):
    """An electrode that a front of depolarisation runs towards sees a positive potential."""
    V = fem.functionspace(domain.mesh, ("P", 1))
    ecg = PseudoECG(V, 0.1 * ufl.Identity(3), {"ahead": [50, 3, 2.5], "behind": [-50, 3, 2.5]})
    front = ecg(potential(domain, lambda x: np.where(x[0] < 2.0, 30.0, -85.0)))
    assert front["ahead"] > 0 > front["behind"]


def test_rest_gives_no_signal(domain):
    V = fem.functionspace(domain.mesh, ("P", 1))
    ecg = PseudoECG(V, 0.1 * ufl.Identity(3), {"e": [50, 3, 2.5]})
    assert ecg(potential(domain, lambda x: np.full(x.shape[1], -85.0)))["e"] == pytest.approx(
        0.0, abs=1e-12
    )


def test_electrodes_surround_the_centre_of_the_tissue(domain):
    electrodes = standing_adult(domain)
    for name, offset in LIMBS.items():
        np.testing.assert_allclose(electrodes[name], SIZE / 2 + np.array(offset))
    # Patient axes LPS: the left arm lies on the positive side, the leg below.
    assert electrodes["LA"][0] > electrodes["RA"][0]
    assert electrodes["LL"][2] < electrodes["RA"][2]


# --- twelve leads -------------------------------------------------------------------------------


def some_potentials(shift=0.0):
    return {name: shift + np.sin(3.1 * k) for k, name in enumerate(ELECTRODES)}


def test_laws_of_the_twelve_leads():
    potentials = some_potentials()
    leads = lead_voltages(potentials)
    assert tuple(leads) == tuple(LEADS)
    assert leads["I"] + leads["III"] == pytest.approx(leads["II"])
    assert leads["aVR"] + leads["aVL"] + leads["aVF"] == pytest.approx(0.0, abs=1e-12)
    # Goldberger's leads are 3/2 of the limb's potential against Wilson's terminal.
    wilson = (potentials["RA"] + potentials["LA"] + potentials["LL"]) / 3
    assert leads["aVF"] == pytest.approx(1.5 * (potentials["LL"] - wilson))
    assert leads["V3"] == pytest.approx(potentials["V3"] - wilson)


def test_leads_do_not_see_a_common_potential():
    shifted, leads = lead_voltages(some_potentials(57.0)), lead_voltages(some_potentials())
    assert shifted == pytest.approx(leads, abs=1e-12)


def test_electrode_that_is_missing_is_named():
    potentials = some_potentials()
    del potentials["V4"]
    with pytest.raises(InputError, match="lead V4 needs V4"):
        lead_voltages(potentials)
    assert "V5" in lead_voltages(potentials, ("I", "V5"))


def test_places_of_the_electrodes(domain):
    places = standing_adult(domain)
    assert set(places) == set(ELECTRODES)
    chest = np.array([places[f"V{k}"] for k in range(1, 7)])
    # From right to left, from front to back, V4 to V6 on one level below V1 and V2.
    assert (np.diff(chest[:, 0]) > 0).all()
    assert places["V6"][1] > places["V5"][1] > places["V4"][1] > places["V2"][1]
    assert places["V1"][1] == pytest.approx(places["V2"][1])
    assert len(set(np.round(chest[3:, 2], 9))) == 1
    assert chest[0, 2] == chest[1, 2] > chest[2, 2] > chest[3, 2]
    assert given_electrodes(domain, places).keys() == places.keys()


def test_chest_lies_in_front_of_a_large_heart():
    heart = box(MPI.COMM_SELF, (100.0, 140.0, 100.0), (2, 2, 2))
    places = standing_adult(heart)
    assert places["V1"][1] < -20.0 + 5.0
    given_electrodes(heart, places)


def test_positions_that_are_given(domain):
    places = {name: list(point) for name, point in standing_adult(domain).items()}
    limbs = {name: places[name] for name in ("RA", "LA", "LL")}
    assert set(given_electrodes(domain, limbs, leads=("I", "II"))) == {"RA", "LA", "LL"}
    with pytest.raises(InputError, match="lead V1 needs V1"):
        given_electrodes(domain, limbs)
    with pytest.raises(InputError, match=r"no electrode `V7`"):
        given_electrodes(domain, {**places, "V7": [0, 0, 0]})
    with pytest.raises(InputError, match=r"electrode `V2`.*is no point"):
        given_electrodes(domain, {**places, "V2": [0.0, 1.0]})
    with pytest.raises(InputError, match=r"electrode `V3`.*inside the tissue"):
        given_electrodes(domain, {**places, "V3": [1.1, 2.2, 3.3]})
    with pytest.raises(InputError, match="no lead `aVf`"):
        given_electrodes(domain, places, leads=("aVf",))


def test_wave_to_the_left_and_down_has_that_axis(domain):
    """The pseudo-ECG of a front that runs to the left and down, between electrodes far away."""
    V = fem.functionspace(domain.mesh, ("P", 1))
    ecg = PseudoECG(V, 0.1 * ufl.Identity(3), standing_adult(domain))
    phases = np.linspace(0.0, 8.0, 41)
    direction = np.array([1.0, 0.0, -1.0]) / np.sqrt(2.0)
    rows = []
    for phase in phases:
        v = potential(domain, lambda x, s=phase: -30 - 55 * np.tanh(direction @ x + 4.0 - s))
        rows.append(lead_voltages(ecg(v), ("I", "II", "aVF")))
    leads = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    # Real limbs are not at the corners of Einthoven's triangle; the quadrant is sure.
    assert 0 < qrs_axis(phases, leads) < 90


# --- intervals ----------------------------------------------------------------------------------


def bell(t, height, centre, width):
    return height * np.exp(-0.5 * ((t - centre) / width) ** 2)


def one_beat(t, axis=40.0, t_wave=0.3):
    """QRS complex from 100 to 180 ms in the direction ``axis``, T wave about 400 ms."""
    inside = (t > 100) & (t < 180)
    qrs = np.where(inside, np.sin(np.pi * (t - 100) / 80) ** 2, 0.0)
    size = qrs + bell(t, t_wave, 400.0, 30.0)
    angles = {"I": 0.0, "II": 60.0, "III": 120.0}
    return {k: 0.2 + size * np.cos(np.radians(axis - a)) for k, a in angles.items()}


@pytest.mark.parametrize("step", [0.5, 1.0, 2.0])
def test_intervals(step):
    t = np.arange(0.0, 800.0, step)
    found = intervals(t, one_beat(t))
    # The ends of a sine are slow: the tenth of its fastest change comes 2.5 ms later.
    assert found.qrs == pytest.approx(80.0, abs=6.0)
    assert found.t_peak == pytest.approx(400.0, abs=step)
    # The tangent of a bell at its turning point ends two widths after its peak.
    assert found.t_end == pytest.approx(460.0, abs=1.5 * step)
    assert found.qt == pytest.approx(360.0, abs=3.0 + 1.5 * step)
    assert found.axis == pytest.approx(40.0, abs=0.5)


@pytest.mark.parametrize("axis", [-120.0, -30.0, 0.0, 90.0, 179.0])
def test_axis(axis):
    t = np.arange(0.0, 800.0, 1.0)
    leads = one_beat(t, axis)
    leads["aVF"] = (leads["II"] + leads["III"]) / 2
    assert intervals(t, leads).axis == pytest.approx(axis, abs=0.5)
    assert intervals(t, {k: leads[k] for k in ("I", "II")}).axis == pytest.approx(axis, abs=0.5)


def test_what_is_not_there_is_not_a_number():
    t = np.arange(0.0, 800.0, 1.0)
    flat = intervals(t, {"I": np.zeros_like(t), "aVF": np.zeros_like(t)})
    assert np.isnan([flat.qrs, flat.qt, flat.axis]).all()
    without_t = intervals(t, one_beat(t, t_wave=0.0))
    assert without_t.qrs > 70
    assert np.isnan(without_t.qt)
    early = t[t < 430]
    cut_off = intervals(early, one_beat(early))
    assert cut_off.t_peak == 400.0
    assert np.isnan(cut_off.qt)
    rising = t[t < 380]
    assert np.isnan(intervals(rising, one_beat(rising)).t_peak)


def test_corrected_qt_is_what_it_would_be_at_60_per_minute():
    assert corrected_qt(360.0, 1000.0) == 360.0
    assert corrected_qt(360.0, 512.0) == pytest.approx(450.0)


# --- paper --------------------------------------------------------------------------------------


def twelve(t, factor=1.0):
    beat = one_beat(t)
    wave = factor * (beat["II"] - 0.2)
    return {name: (1 - 0.15 * k) * wave for k, name in enumerate(LEADS)}


def test_paper_has_true_scale(tmp_path):
    """A record of ten seconds: 250 mm of leads, squares of a millimetre, in points of 1/72 inch."""
    t = np.arange(0.0, 10000.0, 4.0)
    leads = {name: np.tile(lead, 13)[: len(t)] for name, lead in twelve(t[t < 800]).items()}
    svg, png = ecg_paper(t, leads, [tmp_path / "a.svg", tmp_path / "a.png"], title="Test")
    width = float(svg.read_text(encoding="utf-8").split('width="')[1].split("pt")[0])
    assert width / 72 * 25.4 == pytest.approx(280.0, abs=0.01)
    assert png.stat().st_size > 10_000


@pytest.mark.parametrize(("factor", "gain"), [(0.1, 20.0), (1.0, 10.0), (4.0, 5.0)])
def test_gain_is_a_standard_one(tmp_path, factor, gain):
    t = np.arange(0.0, 800.0, 2.0)
    assert chosen_gain(twelve(t, factor)) == gain
    assert ecg_paper(t, twelve(t, factor), tmp_path / "b.png")[0].is_file()


def test_paper_needs_twelve_leads(tmp_path):
    t = np.arange(0.0, 800.0, 2.0)
    leads = twelve(t)
    leads["V33"] = leads.pop("V3")
    with pytest.raises(InputError, match=r"lead V3 is missing.*`V33`"):
        ecg_paper(t, leads, tmp_path / "c.png")
    with pytest.raises(InputError, match="not a finite value for every time"):
        ecg_paper(t, {**twelve(t), "I": t[1:]}, tmp_path / "c.png")
