"""Indices of implants in bones against cases whose answer is known."""

import json

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.implants.materials import load_material
from organtwin.implants.screws import BoneScrew
from organtwin.index import Index, require_groups
from organtwin.materials.bone import OrthotropicBone
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.recovery import WEIGHTS
from organtwin.mechanics.small_strain import SmallStrain
from organtwin.orthopaedics import weighted_indices as weighted
from organtwin.orthopaedics.fracture_indices import bone_indices, bone_risk
from organtwin.orthopaedics.gap_indices import (
    STAGES,
    callus_indices,
    callus_modulus,
    callus_tissue,
    gap_indices,
    gap_motion,
)
from organtwin.orthopaedics.gruen_indices import gruen_zones
from organtwin.orthopaedics.index_groups import GROUPS
from organtwin.orthopaedics.joint_indices import (
    Seam,
    centre_of_pressure,
    contact_indices,
    step_indices,
    stiffness_index,
    subsidence_indices,
)
from organtwin.orthopaedics.micromotion_indices import micromotion, micromotion_indices
from organtwin.orthopaedics.remodelling import RemodellingLaw, adapt_density
from organtwin.orthopaedics.screw_indices import pull_out_force, screw_indices, shear_strength
from organtwin.orthopaedics.shielding_indices import (
    shielding,
    shielding_indices,
    stimulus,
    stress_loss,
)
from organtwin.orthopaedics.states import cell_state, rigid_motion, surface_state
from organtwin.orthopaedics.strength_indices import (
    cycle_of,
    fatigue_use,
    reversed_limit,
    strength_indices,
)
from organtwin.surgery.placement import Frame
from organtwin.verify.geometry import box

COMM = MPI.COMM_SELF
NONE = np.zeros(0)


def by_name(found):
    """Indices by their names, after a look at what all of them must tell."""
    indices, notes = found
    require_groups(indices, GROUPS)
    for one in indices:
        assert one.formula and one.source and one.unit
        assert Index.from_record(json.loads(json.dumps(one.record()))) == one
    assert len({one.name for one in indices}) == len(indices)
    assert all(note.endswith(".") for note in notes)
    return {one.name: one for one in indices}


def six(xx=0.0, yy=0.0, zz=0.0, yz=0.0, xz=0.0, xy=0.0):
    """A symmetric tensor in the six numbers of `recovery`."""
    return np.array([xx, yy, zz, yz, xz, xy]) * WEIGHTS


# --- weights ------------------------------------------------------------------------------------


def test_quantiles_go_by_weight():
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 8.0, 1.0])
    found = weighted.quantiles(COMM, values, weights, (0.0, 0.5, 0.8, 0.85, 0.95, 1.0))
    np.testing.assert_allclose(found, [1.0, 1.0, 1.0, 2.0, 3.0, 3.0], atol=1e-9)
    assert weighted.share(COMM, values > 1.5, weights) == pytest.approx(0.2)
    assert weighted.mean(COMM, values, weights) == pytest.approx(1.3)
    assert weighted.largest(COMM, NONE) == -np.inf
    assert np.isnan(weighted.quantiles(COMM, NONE, NONE, (0.5,))[0])


def test_averages_in_balls():
    points = np.array([[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0], [9.0, 0, 0]])
    volumes, values = np.array([1.0, 3.0, 1.0, 1.0]), np.array([4.0, 0.0, 8.0, 5.0])
    found = weighted.ball_average(COMM, points, volumes, values, 1.0)
    np.testing.assert_allclose(found, [1.0, 12.0 / 5.0, 2.0, 5.0])
    np.testing.assert_allclose(
        weighted.ball_average(COMM, points, volumes, np.column_stack([values, values]), 0.0)[:, 1],
        values,
    )
    with pytest.raises(InputError, match="radius"):
        weighted.ball_average(COMM, points, volumes, values, -1.0)


# --- micromotion --------------------------------------------------------------------------------


def motion(sizes, area, opening=0.0):
    n = len(sizes)
    slip = np.zeros((n, 3))
    slip[:, 2] = sizes
    start = np.full((n, 3), 0.4)  # slip from insertion that both states share
    return micromotion(np.zeros((n, 3)), np.asarray(area, float),
                       (start + slip, np.full(n, opening)), (start, np.zeros(n)))  # fmt: skip


def test_shares_of_an_interface_by_micromotion():
    found = by_name(micromotion_indices(
        motion([0.01, 0.04, 0.10, 0.20], [3.0, 3.0, 2.0, 2.0]), comm=COMM
    ))  # fmt: skip
    assert found["micromotion_share_ingrowth"].value == pytest.approx(60.0)
    assert found["micromotion_share_fibrous"].value == pytest.approx(20.0)
    assert found["micromotion_share_fibrous"].verdict == "above"
    assert found["micromotion_50"].value == pytest.approx(40.0)
    assert found["micromotion_95"].value == pytest.approx(200.0)
    assert found["micromotion_max"].value == pytest.approx(200.0)
    assert found["micromotion_mean"].value == pytest.approx(3 + 12 + 20 + 40)


def test_opening_counts_as_motion():
    one = motion([0.03], [1.0], opening=0.04)
    assert one.magnitude[0] == pytest.approx(0.05)
    found = by_name(micromotion_indices(one, comm=COMM))
    assert found["micromotion_sliding_95"].value == pytest.approx(30.0)
    assert found["micromotion_95"].value == pytest.approx(50.0)


def test_micromotion_by_zone_and_without_area():
    zones = np.array([1, 1, 7])
    indices, notes = micromotion_indices(
        motion([0.01, 0.02, 0.3], [1.0, 1.0, 1.0]), comm=COMM, zones=zones
    )
    found = by_name((indices, notes))
    assert found["micromotion_95_zone_1"].value == pytest.approx(20.0)
    assert found["micromotion_95_zone_7"].verdict == "above"
    assert len(notes) == 5
    assert micromotion_indices(motion([], []), comm=COMM)[0] == []
    with pytest.raises(InputError, match="zones"):
        micromotion_indices(motion([0.1], [1.0]), comm=COMM, zones=zones)
    with pytest.raises(InputError, match="points"):
        micromotion(np.zeros((2, 3)), np.ones(2), (np.zeros((2, 3)), np.zeros(2)),
                    (np.zeros((1, 3)), np.zeros(1)))  # fmt: skip


def test_zones_of_gruen_run_down_laterally_and_up_medially():
    frame = Frame(np.array([1.0, 2.0, 3.0]), np.eye(3))  # z up, x medially
    heights = [-10.0, -50.0, -80.0, -100.0, -80.0, -50.0, -10.0, 20.0, 20.0, -200.0]
    places = np.array([[x, 0.0, z] for x, z in zip(
        [-5, -5, -5, -5, 5, 5, 5, -5, 5, 0], heights, strict=True)]) + frame.origin  # fmt: skip
    zones = gruen_zones(places, frame, 0.0, -90.0)
    assert zones.tolist() == [1, 2, 3, 4, 5, 6, 7, 1, 0, 0]
    with pytest.raises(InputError, match="tip"):
        gruen_zones(places, frame, 0.0, 5.0)


# --- gap ----------------------------------------------------------------------------------------


def test_strain_of_a_gap_that_closes_and_shears():
    # 2 mm wide; half of it closes by 0.1 mm (5 %), half by 0.3 mm (15 %) and shears by 0.4 mm.
    jump = np.array([[0.0, 0.0, 0.1], [0.4, 0.0, 0.3]])
    gap = gap_motion(np.ones(2), np.tile([0.0, 0.0, 1.0], (2, 1)), 2.0, jump)
    np.testing.assert_allclose(gap.strain, [0.05, 0.15])
    np.testing.assert_allclose(gap.shear, [0.0, 0.4], atol=1e-12)
    found = by_name(gap_indices(gap, comm=COMM))
    assert found["interfragmentary_strain_50"].value == pytest.approx(5.0)
    assert found["interfragmentary_strain_50"].verdict == "within"
    assert found["interfragmentary_strain_95"].value == pytest.approx(15.0)
    assert found["interfragmentary_strain_95"].verdict == "above"
    assert found["interfragmentary_window"].value == pytest.approx(50.0)
    assert found["interfragmentary_excess"].value == pytest.approx(50.0)
    assert found["interfragmentary_axial"].value == pytest.approx(0.2)
    assert found["interfragmentary_shear_max"].value == pytest.approx(0.4)
    with pytest.raises(InputError, match="width"):
        gap_motion(np.ones(2), np.ones((2, 3)), 0.0, jump)
    assert gap_indices(gap_motion(NONE, np.zeros((0, 3)), 1.0, np.zeros((0, 3))), comm=COMM)[1]


def test_a_callus_stiffens_with_time():
    moduli = [callus_modulus(weeks) for weeks in STAGES.values()]
    assert moduli == sorted(moduli)
    assert callus_modulus(0.0) == pytest.approx(1e3)
    assert callus_modulus(2.0) == pytest.approx(np.sqrt(1e3 * 1e4))  # logarithmic between stages
    assert callus_modulus(52.0) == pytest.approx(6e6)
    with pytest.raises(InputError, match="weeks"):
        callus_modulus(-1.0)
    with pytest.raises(InputError, match="stages"):
        callus_modulus(1.0, [(0.0, 1.0), (0.0, 2.0)])


def test_tissue_of_a_callus():
    strain = np.array([[0.04, 0, -0.02], [0.1, 0, -0.05], [0.1, 0, 0], [0.2, 0, 0]])
    pressure = np.array([100.0, 200.0, 0.0, 200.0])
    assert callus_tissue(strain, pressure).tolist() == [0, 1, 2, 2]
    found = by_name(callus_indices(strain, pressure, np.array([1.0, 2.0, 3.0, 4.0]), comm=COMM))
    assert found["callus_intramembranous"].value == pytest.approx(10.0)
    assert found["callus_endochondral"].value == pytest.approx(20.0)
    # Uniaxial 0.2: octahedral shear strain 2/3 √2 · 0.2.
    assert found["callus_octahedral_95"].value == pytest.approx(100 * 2 / 3 * np.sqrt(2) * 0.2)
    with pytest.raises(InputError, match="length"):
        callus_indices(strain, pressure, np.ones(3), comm=COMM)


# --- shielding ----------------------------------------------------------------------------------


def test_a_bar_beside_a_stem_loses_energy_with_the_square_of_its_load():
    # Bone that carries a share a of the load has a² of the energy: a = 0.4 in zone 7, 0.9 in 6.
    before = [np.full(4, 2.0), np.full(4, 4.0)]
    share = np.array([0.4, 0.4, 0.9, 1.5]) ** 2
    found = shielding(before, [share * one for one in before], np.full(4, 0.5), np.ones(4))
    np.testing.assert_allclose(found.intact, 6.0)  # mean of both loads over the density
    np.testing.assert_allclose(found.change, share - 1.0)
    indices, notes = shielding_indices(found, comm=COMM, zones=np.array([7, 7, 6, 0]))
    named = by_name((indices, notes))
    assert named["shielding_zone_7"].value == pytest.approx(84.0)
    assert named["shielding_zone_7"].verdict == "above"
    assert named["shielding_zone_6"].value == pytest.approx(19.0)
    assert named["shielding"].value == pytest.approx(100 * (1 - share.mean()))
    assert named["resorption"].value == pytest.approx(50.0)
    assert named["resorption_zone_7"].value == pytest.approx(100.0)
    assert named["formation"].value == pytest.approx(25.0)
    assert len(notes) == 5
    np.testing.assert_allclose(stress_loss(np.array([2.0, 0.0]), np.array([0.5, 1.0])), [0.75, 0.0])


def test_bad_stimuli_are_refused():
    with pytest.raises(InputError, match="density"):
        stimulus([np.ones(2)], np.array([1.0, 0.0]))
    with pytest.raises(InputError, match="no load"):
        stimulus([], np.ones(2))
    with pytest.raises(InputError, match="2 loads before"):
        shielding([np.ones(2)] * 2, [np.ones(2)], np.ones(2), np.ones(2))
    found = shielding([np.zeros(2)], [np.ones(2)], np.ones(2), np.ones(2))
    np.testing.assert_array_equal(found.change, 0.0)
    assert "no energy" in shielding_indices(found, comm=COMM)[1][0]
    with pytest.raises(InputError, match="dead zone"):
        shielding_indices(found, comm=COMM, dead_zone=1.0)


def test_a_bar_adapts_to_the_density_at_which_it_is_stimulated_as_it_should():
    # Under a stress σ: U = σ²/2E, E = c ρ^γ, so U/ρ = S₀ at ρ = (σ² / 2 c S₀)^(1/(γ + 1)).
    stress, c, gamma, reference = np.array([4e3, 8e3, 1e2, 9e4]), 4.73e6, 1.56, 4.0
    law = RemodellingLaw(rate=0.1)
    adapted = adapt_density(
        np.full(4, 0.8), np.ones(4), lambda rho: stress**2 / (2 * c * rho**gamma), law,
        reference=reference, comm=COMM, step=0.5, until=400.0,
    )  # fmt: skip
    steady = (stress**2 / (2 * c * reference)) ** (1 / (gamma + 1))
    np.testing.assert_allclose(adapted.density, steady.clip(law.lowest, law.highest), rtol=1e-4)
    assert adapted.settled
    assert adapted.mass[-1] == pytest.approx(adapted.density.sum(), rel=1e-6)
    assert (np.diff(adapted.time) > 0.0).all()


def test_nothing_changes_in_the_dead_zone():
    law = RemodellingLaw(dead_zone=0.75)
    np.testing.assert_allclose(
        law.speed(np.array([0.1, 0.3, 1.7, 2.0]), 1.0), [0.1 - 0.25, 0.0, 0.0, 0.25]
    )
    still = adapt_density(np.ones(1), np.ones(1), lambda rho: 1.5 * rho, law, reference=1.0,
                          comm=COMM, step=1.0, until=10.0)  # fmt: skip
    assert still.settled
    assert still.time == (0.0,)
    # With a rate that is constant in time the change is rate times time.
    up = adapt_density(np.ones(1), np.ones(1), lambda rho: 2.0 * rho, RemodellingLaw(rate=0.01),
                       reference=1.0, comm=COMM, step=5.0, until=12.0)  # fmt: skip
    assert up.density[0] == pytest.approx(1.12)
    assert up.time == (0.0, 5.0, 10.0, 12.0)
    with pytest.raises(InputError, match="rate"):
        RemodellingLaw(rate=0.0)
    with pytest.raises(InputError, match="lowest"):
        RemodellingLaw(lowest=2.0)
    with pytest.raises(InputError, match="not positive"):
        adapt_density(np.zeros(1), np.ones(1), lambda rho: rho, law, reference=1.0, comm=COMM,
                      step=1.0, until=1.0)  # fmt: skip


# --- bone ---------------------------------------------------------------------------------------


def test_bone_yields_earlier_in_tension_than_in_compression():
    far = np.array([[0.0, 0, 0], [50.0, 0, 0], [100.0, 0, 0]])
    pull, push = six(zz=0.0073, xx=-0.002), six(zz=-0.0104, xx=0.003)
    found = bone_risk(far, np.array([pull, push, 0.5 * pull]), np.ones(3), comm=COMM)
    np.testing.assert_allclose(found.risk, [1.0, 1.0, 0.5])
    np.testing.assert_allclose(found.tension, [1.0, 0.003 / 0.0073, 0.5])
    # A pure shear γ/2 = 0.0073: ±0.0073 are the principal strains.
    shear = bone_risk(far[:1], six(xy=0.0073)[None], np.ones(1), comm=COMM)
    np.testing.assert_allclose([shear.tension[0], shear.compression[0]], [1.0, 0.0073 / 0.0104])


def test_one_bad_element_does_not_decide():
    line = np.column_stack([np.linspace(0.0, 40.0, 81), np.zeros(81), np.zeros(81)])
    strain = np.tile(six(zz=0.002), (81, 1))
    strain[40] = six(zz=0.05)
    raw = bone_risk(line, strain, np.ones(81), comm=COMM, radius=0.0)
    smooth = bone_risk(line, strain, np.ones(81), comm=COMM)  # 13 cells in each ball
    assert raw.risk.max() == pytest.approx(0.05 / 0.0073)
    assert smooth.risk.max() == pytest.approx((12 * 0.002 + 0.05) / 13 / 0.0073)
    found = by_name(bone_indices(raw, comm=COMM))
    assert found["bone_yielded"].value == pytest.approx(100.0 / 81)
    assert found["bone_risk_max"].verdict == "above"
    better = by_name(bone_indices(smooth, comm=COMM, key="femur"))
    assert better["femur_risk_999"].verdict == "within"
    assert better["femur_load_to_yield"].value == pytest.approx(1.0 / smooth.risk.max())
    with pytest.raises(InputError, match="yield"):
        bone_risk(line, strain, np.ones(81), comm=COMM, yields=(0.0, 1.0))


# --- implant ------------------------------------------------------------------------------------


def test_safety_of_a_rod_that_is_pulled_again_and_again():
    titanium = load_material("Ti6Al4V")
    stress = np.tile(six(zz=2e5), (4, 1))  # 200 MPa, from 0
    cycle = cycle_of(stress, np.zeros((4, 6)))
    np.testing.assert_allclose(cycle.amplitude, 1e5)
    np.testing.assert_allclose(cycle.mean, 1e5)
    found = by_name(strength_indices(cycle, np.ones(4), titanium, comm=COMM, key="stem"))
    assert found["stem_stress_max"].value == pytest.approx(200.0)
    assert found["stem_yield_safety"].value == pytest.approx(titanium.yield_stress / 2e5)
    limit = reversed_limit(titanium.fatigue_limit, titanium.yield_stress)
    use = 1e5 / limit + 1e5 / titanium.yield_stress
    assert found["stem_fatigue_safety"].value == pytest.approx(1.0 / use)
    assert "Soderberg" in found["stem_fatigue_safety"].formula
    goodman = by_name(strength_indices(cycle, np.ones(4), titanium, comm=COMM, ultimate=9.5e5))
    assert "Goodman" in goodman["implant_fatigue_safety"].formula


def test_the_fatigue_limit_itself_is_the_end_of_safety():
    limit, strength = 5e5, 8.62e5
    for ratio in (-1.0, 0.0, 0.1, 0.5):
        peak = np.tile(six(zz=limit), (1, 1))
        use = fatigue_use(cycle_of(peak, ratio * peak), limit, strength, ratio=ratio)
        assert use[0] == pytest.approx(1.0)
    assert reversed_limit(limit, strength, -1.0) == limit
    # Pressed instead of pulled only the amplitude counts.
    pressed = cycle_of(-np.tile(six(zz=limit), (1, 1)), np.zeros((1, 6)))
    assert pressed.mean[0] == 0.0
    # Turning the direction of a stress has an amplitude, though its von Mises stress stays.
    turned = cycle_of(six(xx=1e5)[None], six(yy=1e5)[None])
    assert turned.amplitude[0] == pytest.approx(0.5e5 * np.sqrt(3.0))
    with pytest.raises(InputError, match="ratio"):
        reversed_limit(limit, strength, 1.0)
    with pytest.raises(InputError, match="limit"):
        reversed_limit(limit, 0.5 * limit)
    with pytest.raises(InputError, match="shapes"):
        cycle_of(np.zeros((1, 6)), np.zeros((2, 6)))


def test_one_sharp_corner_does_not_decide_on_an_implant():
    stress = np.tile(six(zz=1e5), (2000, 1))
    stress[7] *= 20.0
    volume = np.ones(2000)
    steel = load_material("316L")
    found = by_name(strength_indices(cycle_of(stress, 0.0 * stress), volume, steel, comm=COMM))
    assert found["implant_stress_max"].value == pytest.approx(2000.0)
    assert found["implant_stress_999"].value == pytest.approx(100.0)
    assert found["implant_yield_safety"].verdict == "within"
    with pytest.raises(InputError, match="length"):
        strength_indices(cycle_of(stress, stress), np.ones(3), steel, comm=COMM)


# --- screws -------------------------------------------------------------------------------------


def test_pull_out_adds_up_along_the_thread():
    screw = BoneScrew(diameter=6.5, core=4.5, pitch=2.5, length=40.0, head_diameter=9.0,
                      head_height=6.0, drive=0.0, name="pedicle screw")  # fmt: skip
    along = np.arange(0.25, 40.0, 0.5)
    even = pull_out_force(screw, along, np.full(80, 0.25))
    assert even == pytest.approx(screw.pull_out(float(shear_strength(np.array(0.25))), 40.0))
    assert float(shear_strength(np.array(1.0))) == pytest.approx(21.6e3)
    half = np.where(along < 20.0, 0.25, -1.0)  # fat in half of the scan's voxels
    assert pull_out_force(screw, along, half) == pytest.approx(0.5 * even)
    with pytest.raises(InputError, match="uneven"):
        pull_out_force(screw, along**2, half)
    with pytest.raises(InputError, match="mm of a thread"):
        pull_out_force(screw, 2.0 * along, half)


def test_load_and_safety_of_screws():
    down = np.array([0.0, 0.0, -1.0])
    forces = {"screw_1": np.array([0.0, 0.0, 3e5]), "screw_2": np.array([1e5, 0.0, 0.0])}
    indices, notes = screw_indices(forces, {"screw_1": down, "screw_2": down},
                                   {"screw_1": 6e5}, grey={"screw_1": 90.0})  # fmt: skip
    found = by_name((indices, notes))
    assert found["screw_1_share"].value == pytest.approx(75.0)
    assert found["screw_1_pull_out_safety"].value == pytest.approx(2.0)
    assert found["screw_1_density"].verdict == "below"
    assert found["screw_2_axial"].value == 0.0
    assert notes == ["Pull-out of `screw_2` is not told: the density along it is not known."]
    with pytest.raises(InputError, match="screw_2"):
        screw_indices(forces, {"screw_1": down}, {})


# --- joint --------------------------------------------------------------------------------------


def test_a_fragment_that_sinks_makes_a_step():
    n = 5
    one = np.column_stack([np.linspace(0, 8, n), np.zeros(n), np.zeros(n)])
    other = one + np.array([0.0, 1.0, -0.5])  # reduced 0.5 mm too low
    sunk = np.tile([0.0, 0.3, -2.0], (n, 1)) * np.linspace(0, 1, n)[:, None]
    seam = Seam(one, other, np.zeros((n, 3)), sunk, np.ones(n), np.array([0.0, 0.0, 1.0]))
    found = by_name(step_indices(seam, comm=COMM))
    assert found["step_off_initial"].value == pytest.approx(0.5)
    assert found["step_off"].value == pytest.approx(2.5)
    assert found["step_off"].verdict == "above"
    assert found["step_off_mean"].value == pytest.approx(1.5)
    assert found["step_off_change"].value == pytest.approx(2.0)
    assert found["gap_widening"].value == pytest.approx(0.3)


def test_subsidence_and_stiffness():
    moved = np.tile([0.2, 0.0, -0.6], (10, 1))
    moved[0] = [0.0, 0.0, -9.0]
    area = np.array([0.001, *np.ones(9)])
    found = by_name(subsidence_indices(moved, np.array([0.0, 0.0, 1.0]), area, comm=COMM))
    assert found["plateau_subsidence"].value == pytest.approx(0.6, rel=1e-2)
    assert found["plateau_subsidence_max"].value == pytest.approx(0.6)
    index = stiffness_index(np.array([0.0, 0.0, -1.5e6]), np.array([0.1, 0.0, -3.0]))
    assert (index.value, index.unit) == (pytest.approx(500.0), "N/mm")
    with pytest.raises(InputError, match="moves by"):
        stiffness_index(np.array([0.0, 0.0, -1.0]), np.array([0.0, 0.0, 1.0]))


def test_contact_of_a_hertzian_ball():
    # p = p₀ √(1 - r²/a²): force 2/3 π a² p₀, mean 2/3 p₀.
    a, p0, step = 5.0, 6e3, 0.05
    x, y = (g.ravel() for g in np.mgrid[-6:6:step, -6:6:step] + 0.5 * step)
    inside = np.maximum(1.0 - (x**2 + y**2) / a**2, 0.0)
    pressure = np.where(inside > 0.0, p0 * np.sqrt(inside), -50.0)  # suction outside counts nothing
    places = np.column_stack([x + 3.0, y, 0.0 * x])
    normal = np.tile([0.0, 0.0, 1.0], (len(x), 1))
    area = np.full(len(x), step**2)
    found = by_name(contact_indices(places, area, pressure, normal, comm=COMM))
    assert found["cartilage_contact_area"].value == pytest.approx(np.pi * a**2, rel=1e-2)
    assert found["cartilage_pressure_max"].value == pytest.approx(6.0, rel=1e-3)
    assert found["cartilage_pressure_mean"].value == pytest.approx(4.0, rel=1e-2)
    force = 2.0 / 3.0 * np.pi * a**2 * p0 / 1e3
    assert found["cartilage_contact_force"].value == pytest.approx(force, rel=1e-3)
    centre = centre_of_pressure(places, area, pressure, comm=COMM)
    np.testing.assert_allclose(centre, [3.0, 0.0, 0.0], atol=1e-9)
    assert "nothing touches" in contact_indices(places, area, -area, normal, comm=COMM)[1][0]
    with pytest.raises(InputError, match="nothing touches"):
        centre_of_pressure(places, area, -area, comm=COMM)
    with pytest.raises(InputError, match="length"):
        contact_indices(places, area[:3], pressure, normal, comm=COMM)


# --- states -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pulled():
    """A bar of E = 2 GPa, pulled along z by 0.1 %."""
    domain = box(COMM, (2.0, 2.0, 4.0), (2, 2, 4))
    bone = SmallStrain(OrthotropicBone.isotropic(2e6, 0.0), cartesian())
    top = Dirichlet("z1", fem.Constant(domain.mesh, 0.004), component=2)
    problem = LinearElasticity(
        domain, [bone],
        dirichlet=[top, *(Dirichlet(f"{x}0", component=k) for k, x in enumerate("xyz"))],
    )  # fmt: skip
    problem.solve()
    return problem


def test_a_bar_by_its_cells_and_facets(pulled):
    state = cell_state(pulled, "box")
    assert state.volume.sum() == pytest.approx(16.0)
    np.testing.assert_allclose(state.stress, np.tile(six(zz=2e3), (len(state.cells), 1)), atol=1e-4)
    np.testing.assert_allclose(state.energy, 0.5 * 2e3 * 1e-3, rtol=1e-6)
    top = surface_state(pulled.domain, pulled.u, "z1")
    assert top.area.sum() == pytest.approx(4.0)
    np.testing.assert_allclose(top.normal, np.tile([0.0, 0.0, 1.0], (len(top.area), 1)), atol=1e-12)
    np.testing.assert_allclose(top.moved[:, 2], 0.004, rtol=1e-6)
    index = stiffness_index(np.array([0.0, 0.0, 8e3]), top.moved.mean(axis=0))
    assert index.value == pytest.approx(2e3 * 4.0 / 4.0)  # E A / l: 2 GPa, 4 mm², 4 mm


@pytest.mark.parametrize("degree", [1, 2])
def test_displacements_of_facets_are_those_at_their_corners(pulled, degree):
    u = fem.Function(fem.functionspace(pulled.domain.mesh, ("P", degree, (3,))))
    A = np.array([[1.0, 2.0, 3.0], [-4.0, 5.0, 6.0], [7.0, 8.0, -9.0]])
    u.interpolate(lambda x: A @ x + np.ones((3, 1)))
    found = surface_state(pulled.domain, u, "x1", "y0")
    np.testing.assert_allclose(found.moved, found.middle @ A.T + 1.0, rtol=1e-12)
    assert found.area.sum() == pytest.approx(16.0)
    ways = np.unique(found.normal.round(9) + 0.0, axis=0)
    np.testing.assert_array_equal(ways, [[0, -1, 0], [1, 0, 0]])


def test_motion_of_a_fragment_is_found_again():
    rng = np.random.default_rng(3)
    points, weight = rng.normal(0.0, 10.0, (50, 3)), rng.uniform(0.5, 2.0, 50)
    turn, shift = np.array([1e-3, -2e-3, 5e-4]), np.array([0.1, 0.2, -0.3])
    moved = shift + np.cross(turn, points)
    found = rigid_motion(points, moved, weight, comm=COMM)
    np.testing.assert_allclose(found.turn, turn, rtol=1e-9)
    np.testing.assert_allclose(found.at(points), moved, atol=1e-12)
    assert found.residual < 1e-12
    with pytest.raises(InputError, match="on a line"):
        rigid_motion(points[:2], moved[:2], weight[:2], comm=COMM)
    with pytest.raises(InputError, match="no points"):
        rigid_motion(np.zeros((0, 3)), np.zeros((0, 3)), NONE, comm=COMM)
