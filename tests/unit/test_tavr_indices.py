"""Indices of deployed valves: round frames in round tubes, patches under known press."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from organtwin.devices.device_files import Fatigue
from organtwin.devices.leak import Blood
from organtwin.devices.tissue_contact import Pressed
from organtwin.errors import InputError
from organtwin.index import Index, require_groups
from organtwin.tavr.contact_indices import anchoring_indices, contact_indices
from organtwin.tavr.coronary_indices import coronary_indices
from organtwin.tavr.deployed import WALL, Deployed
from organtwin.tavr.fatigue import fatigue, fatigue_indices, with_fatigue
from organtwin.tavr.flow_indices import flow_indices
from organtwin.tavr.frame_indices import frame_indices, position_indices, sections
from organtwin.tavr.groups import GROUPS
from organtwin.tavr.haemodynamics import MMHG, Haemodynamics
from organtwin.tavr.indices import assess, judge
from organtwin.tavr.leak_indices import TIGHT, skirt_gap
from organtwin.tavr.root_record import RootRecord
from organtwin.tavr.wall_indices import wall_indices
from tests.deployed_valves import DEPTH, deployed, root, tube

OUTER = 12.855  # of the SAPIEN-3-like 26 as cut


@pytest.fixture(scope="module")
def valve():
    return deployed()


@pytest.fixture(scope="module")
def judged(valve):
    return assess(valve, root())


def by_name(found):
    return {one.name: one for one in found}


# --- record -------------------------------------------------------------------------------------


def test_a_record_comes_back_from_its_file(valve, tmp_path):
    wall = len(valve.wall[1])
    full = replace(valve, stress=np.arange(wall, dtype=float), fatigue_safety=2.0,
                   strain_amplitude=np.full(len(valve.ends), 1e-3),
                   strain_mean=np.zeros(len(valve.ends)))  # fmt: skip
    again = Deployed.load(full.save(tmp_path / "deep" / "deployed.npz"))
    for name, value in vars(full).items():
        found = getattr(again, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(found, value)
            assert found.dtype == value.dtype
        elif not isinstance(value, (dict, Pressed)):
            assert found == value
    assert again.stress_before is None
    assert list(again.surfaces) == list(full.surfaces)
    for name, (points, triangles) in full.surfaces.items():
        np.testing.assert_array_equal(again.surfaces[name][0], points)
        np.testing.assert_array_equal(again.surfaces[name][1], triangles)
        np.testing.assert_array_equal(again.surfaces_before[name], points)
    np.testing.assert_array_equal(again.pressed.places, full.pressed.places)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": np.zeros((3, 3))}, "`rest` has the shape"),
        ({"ends": np.array([[0, 10_000]])}, "`thickness` has the shape"),
        ({"nominal": 0.0}, "not positive"),
        ({"family": "mechanical"}, "`family`"),
        ({"stress": np.zeros(3)}, r"`stress` has the shape \(3,\)"),
        ({"placement_axes": 2 * np.eye(3)}, "right angles"),
        ({"surfaces": {"inner": (np.zeros((1, 3)), np.array([[0, 1, 2]]))}}, "not there"),
        ({"surfaces_before": {"inner": np.zeros((1, 3))}}, "does not fit"),
    ],
)
def test_records_that_can_not_be_are_refused(valve, change, message):
    with pytest.raises(InputError, match=message):
        replace(valve, **change)


def test_nodes_that_are_no_numbers_are_refused(valve):
    nodes = valve.nodes.copy()
    nodes[3, 1] = np.nan
    with pytest.raises(InputError, match="`nodes` holds numbers that are not finite"):
        replace(valve, nodes=nodes)


def test_damaged_files_are_told(valve, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        Deployed.load(tmp_path / "none.npz")
    text = tmp_path / "text.npz"
    text.write_text("no")
    with pytest.raises(InputError, match=r"text\.npz: can't be read"):
        Deployed.load(text)
    np.savez(tmp_path / "other.npz", nodes=np.zeros((2, 3)))
    with pytest.raises(InputError, match="no deployed valve of this version"):
        Deployed.load(tmp_path / "other.npz")
    whole = dict(np.load(valve.save(tmp_path / "whole.npz")))
    for lost, message in (("nodes", "nodes"), ("pressed.places", "pressed.places"),
                          ("triangles.inner", "triangles.inner")):  # fmt: skip
        np.savez(tmp_path / "part.npz", **{k: v for k, v in whole.items() if k != lost})
        with pytest.raises(InputError, match=message):
            Deployed.load(tmp_path / "part.npz")
    np.savez(tmp_path / "bad.npz", **whole | {"width": np.zeros(2)})
    with pytest.raises(InputError, match=r"bad\.npz: `width` has the shape"):
        Deployed.load(tmp_path / "bad.npz")


def test_the_axis_of_a_tilted_frame(valve):
    c, s = np.cos(0.2), np.sin(0.2)
    R = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    moved = replace(valve, nodes=valve.nodes @ R.T + [1.0, 2.0, 3.0])
    np.testing.assert_allclose(moved.axis, R[:, 2], atol=1e-9)
    np.testing.assert_allclose(moved.origin, R @ [0, 0, -DEPTH] + [1.0, 2.0, 3.0], atol=1e-9)
    np.testing.assert_allclose(moved.axes @ moved.axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(moved.axes) == pytest.approx(1.0)
    assert moved.height_of(7.0) == pytest.approx(7.0)
    found = by_name(position_indices(moved, root()))
    assert found["frame_tilt"].value == pytest.approx(np.degrees(0.2))


def test_a_root_comes_back_from_json():
    one = root(calcium={"left": 80.0})
    again = RootRecord.from_record(json.loads(json.dumps(one.as_record())))
    np.testing.assert_array_equal(again.axes, one.axes)
    assert again.coronaries["left"].diameter == 3.0
    assert (again.calcium, again.septum_below) == (one.calcium, 2.1)
    with pytest.raises(InputError, match="lacks"):
        RootRecord.from_record({"origin": [0, 0, 0]})
    with pytest.raises(InputError, match="Measure the root"):
        root(axes=2 * np.eye(3))


def test_what_is_taken_from_the_measures_of_a_root():
    names = ("annulus_area", "annulus_perimeter", "junction_height", "coronary_height_left")
    score = SimpleNamespace(corrected=42.0)
    found = SimpleNamespace(
        quantities={name: SimpleNamespace(value=10.0 + k) for k, name in enumerate(names)},
        frame=SimpleNamespace(origin=np.ones(3), axes=np.eye(3)),
        ostia={side: SimpleNamespace(at=np.zeros(3), diameter=0.0) for side in ("left", "right")},
        septum=SimpleNamespace(direction=1.5),
        calcium=SimpleNamespace(regions={("left", "valve"): score, ("left", "outflow"): score}),
    )
    one = RootRecord.of(found)
    assert (one.annulus_area, one.annulus_perimeter, one.junction_height) == (10.0, 11.0, 12.0)
    assert list(one.coronaries) == ["left"]  # the right one has no height
    assert (one.coronaries["left"].height, one.coronaries["left"].wide) == (13.0, 3.5)
    assert (one.septum_direction, one.septum_below, one.calcium) == (1.5, 2.1, {"left": 42.0})
    np.testing.assert_allclose(one.height(np.array([[1.0, 1.0, 4.0]])), 3.0)


# --- indices ------------------------------------------------------------------------------------


def test_every_index_tells_formula_unit_source_and_verdict(judged):
    names = [one.name for one in judged.indices]
    assert len(names) == len(set(names)) > 40
    for one in judged.indices:
        assert one.formula, one.source
        assert one.unit
        assert Index.from_record(json.loads(json.dumps(one.record()))) == one
    assert {one.group for one in judged.indices} | {"fatigue"} == set(GROUPS)
    order = [GROUPS.index(one.group) for one in judged.indices]
    assert order == sorted(order)


def test_thresholds_judge():
    verdicts = [Index.of("wall", "a", x, "1", "f", "s", 1.0, 2.0).verdict
                for x in (0.9, 1.0, 2.0, 2.1)]  # fmt: skip
    assert verdicts == ["below", "within", "within", "above"]
    free = Index.of("wall", "a", 1.0, "1", "f", "s")
    assert (free.verdict, free.concerns) == ("none", False)
    with pytest.raises(InputError, match="nan"):
        Index.of("wall", "a", float("nan"), "1", "f", "s")
    with pytest.raises(InputError, match="group ''"):
        Index.of("", "a", 1.0, "1", "f", "s")
    require_groups([free], GROUPS)
    with pytest.raises(InputError, match="'walls'"):
        require_groups([free, Index.of("walls", "a", 1.0, "1", "f", "s")], GROUPS)
    with pytest.raises(InputError, match="KeyError"):
        Index.from_record({"name": "a"})


def test_a_round_frame_is_as_wide_as_it_was_cut(judged):
    for level in ("inflow", "annulus", "leaflets", "outflow"):
        least, most = (judged[f"frame_{level}_diameter_{k}"].value for k in ("min", "max"))
        assert least == pytest.approx(2 * OUTER, rel=0.03)
        assert most == pytest.approx(2 * OUTER, rel=2e-3)
        assert judged[f"frame_{level}_expansion"].value == pytest.approx(1.0, abs=0.02)
        assert judged[f"frame_{level}_eccentricity"].value < 0.03
        assert judged[f"frame_{level}_expansion"].verdict == "within"
    assert judged["frame_asymmetry"].value == pytest.approx(0.0, abs=1e-9)


def test_a_crushed_frame_is_underexpanded_and_oval():
    flat = deployed(stretch=(0.95, 0.8, 1.1))
    cuts, missed = sections(flat, root())
    assert not missed
    found = by_name(frame_indices(flat, cuts))
    for level in ("inflow", "leaflets", "outflow"):
        assert found[f"frame_{level}_expansion"].value == pytest.approx(0.76, abs=0.02)
        assert found[f"frame_{level}_expansion"].verdict == "below"
        assert found[f"frame_{level}_eccentricity"].value == pytest.approx(1 - 0.8 / 0.95, abs=0.02)
        assert found[f"frame_{level}_eccentricity"].verdict == "above"


def test_a_waisted_frame_is_judged_at_its_waist():
    found = by_name(frame_indices(*(lambda v: (v, sections(v, root())[0]))(
        deployed(("evolut_like", "26")))))  # fmt: skip
    assert found["frame_leaflets_diameter_max"].value == pytest.approx(22.45, abs=0.1)
    assert found["frame_leaflets_expansion"].value == pytest.approx(1.0, abs=0.01)
    assert found["frame_outflow_diameter_max"].value > 30.0


def test_a_frame_that_is_longer_on_one_side():
    lopsided = deployed()
    nodes = lopsided.nodes.copy()
    nodes[:, 2] *= 1.0 + 0.05 * nodes[:, 0] / OUTER
    uneven = by_name(frame_indices(replace(lopsided, nodes=nodes), {}))["frame_asymmetry"]
    assert 5.5 < uneven.value < 12.0
    assert uneven.verdict == "above"


def test_depth_and_the_septum_below_it():
    deep = by_name(position_indices(deployed(depth=4.0), root()))
    assert deep["implantation_depth"].value == pytest.approx(4.0)
    assert deep["delta_msid"].value == pytest.approx(2.1 - 4.0)
    assert deep["delta_msid"].verdict == "below"
    assert deep["frame_offset"].value == pytest.approx(0.0, abs=1e-9)
    high = by_name(position_indices(deployed(depth=1.0), root(origin=np.array([0.5, 0, 0]))))
    assert high["delta_msid"].verdict == "within"
    assert high["frame_offset"].value == pytest.approx(0.5)


# --- contact ------------------------------------------------------------------------------------


def press(turn, height, force, radius=12.86):
    """Struts of half a millimetre that press on the tube."""
    turn, height = np.atleast_1d(turn), np.broadcast_to(height, np.shape(np.atleast_1d(turn)))
    places = np.column_stack([radius * np.cos(turn), radius * np.sin(turn), height])
    force = np.broadcast_to(force, len(turn)).astype(float)
    return Pressed(places, force, 0.1 * force, np.full(len(turn), 0.5))


def test_contact_on_the_septum_and_under_it():
    both = [press(0.5 * np.pi + np.array([0.0, 0.1]), 1.0, [40.0, 100.0]),
            press(0.5 * np.pi, -6.0, 30.0), press(-1.0, 1.0, 500.0)]  # fmt: skip
    felt = Pressed(*(np.concatenate([getattr(p, k) for p in both])
                     for k in ("places", "normal", "tangential", "length")))  # fmt: skip
    valve = deployed(pressed=felt)
    found = by_name(contact_indices(valve, root())[0])
    points, triangles = valve.surfaces["membranous_septum"]
    sides = points[triangles]
    area = (
        0.5
        * np.linalg.norm(
            np.cross(sides[:, 1] - sides[:, 0], sides[:, 2] - sides[:, 0]), axis=1
        ).sum()
    )
    assert found["contact_pressure_index"].value == pytest.approx(2 * 0.5 * 0.4 / area)
    assert found["septum_contact_pressure_max"].value == pytest.approx(100.0 / 0.2)
    assert found["septum_contact_pressure_max"].verdict == "above"
    assert found["septum_contact_force"].value == pytest.approx(0.14)
    assert found["conduction_contact_force"].value == pytest.approx(0.03)
    assert found["conduction_contact_pressure_index"].verdict == "within"
    assert found["contact_pressure_max"].value == pytest.approx(2500.0)


def test_safety_against_migration():
    flow = Haemodynamics()
    found = assess(deployed(pressed=press(np.arange(6.0), 0.0, 2000.0)), root(), flow)
    area = np.pi * OUTER**2
    assert found["anchoring_force"].value == pytest.approx(12.0)
    assert found["migration_load"].value == pytest.approx(1e-3 * flow.closing * area, rel=0.03)
    assert found["friction_needed"].value == pytest.approx(found["migration_load"].value / 12.0)
    safety = 0.2 * 12.0 / found["migration_load"].value
    assert found["migration_safety"].value == pytest.approx(safety)
    assert found["migration_safety"].verdict == "below"
    slippery, notes = anchoring_indices(deployed(friction=0.0), flow, area)
    assert "migration_safety" not in by_name(slippery)
    assert "had no friction" in notes[0]


# --- wall ---------------------------------------------------------------------------------------


def test_stress_stretch_and_oversizing():
    valve = deployed()
    points, triangles = valve.wall
    height = points[triangles].mean(axis=1)[:, 2]
    stress = np.where(np.abs(height) <= 2.0, 300.0, 100.0)
    grown = {name: (one[0] * [1.12, 1.12, 1.0], one[1]) for name, one in valve.surfaces.items()}
    wide = replace(valve, surfaces=grown, stress=4.0 * stress, stress_before=stress)
    found = by_name(wall_indices(wide, root())[0])
    assert found["wall_stress_annulus"].value == pytest.approx(1200.0)
    assert found["wall_stress_sinuses"].value == pytest.approx(400.0)
    assert found["wall_stress_ratio_aorta"].value == pytest.approx(4.0)
    assert found["injury_margin_annulus"].value == pytest.approx(1.0)
    assert found["injury_margin_outflow_tract"].value == pytest.approx(3.0)
    assert found["annulus_stretch"].value == pytest.approx(1.12)
    assert found["annulus_stretch"].verdict == "above"
    assert found["areal_stretch"].value == pytest.approx(1.12)
    assert found["annulus_ellipticity"].value == pytest.approx(1.0, abs=0.01)
    # Calcium and the ends of the mesh are not the wall's.
    hard = np.abs(height - 1.0) < 0.8
    spotted = replace(wide, stress=np.where(hard | (height < -13.5), 9e3, wide.stress))
    assert by_name(wall_indices(spotted, root())[0])["wall_stress_annulus"].value == 9e3
    found = by_name(wall_indices(replace(spotted, calcified=hard), root())[0])
    assert found["wall_stress_annulus"].value == pytest.approx(1200.0)
    assert found["wall_stress_outflow_tract"].value == pytest.approx(400.0)
    small = by_name(wall_indices(valve, root(11.0))[0])
    assert small["oversizing_area"].value == pytest.approx(100 * ((25.71 / 22) ** 2 - 1))
    assert small["oversizing_area"].verdict == "above"
    assert small["oversizing_perimeter"].value == pytest.approx(100 * (25.71 / 22 - 1))


def test_stress_that_is_not_known_is_left_out(judged):
    names = {one.name for one in judged.indices}
    assert not {name for name in names if name.startswith(("wall_stress", "injury"))}
    assert any("the stress was not computed" in note for note in judged.notes)


# --- leak ---------------------------------------------------------------------------------------


def test_a_frame_that_fits_leaks_nothing(judged):
    assert judged["sealed_share"].value == 1.0
    assert judged["gap_area_smallest"].value == judged["gap_area_inflow"].value == 0.0
    assert judged["paravalvular_grade"].value == 1.0
    assert judged["regurgitant_volume"].value < 1e-3


def test_a_ring_around_the_skirt_leaks_by_the_closed_form():
    valve, flow = deployed(radius=13.4), Haemodynamics(blood=Blood(viscosity=3.5))
    found = assess(valve, root(13.4), flow)
    around = skirt_gap(valve)
    ring = np.pi * (13.4**2 - OUTER**2)
    assert found["gap_area_smallest"].value == pytest.approx(ring, rel=0.02)
    np.testing.assert_allclose(around.gap.width, 13.4 - OUTER, atol=0.03)
    # Thick blood: no losses at the ends.
    heights = around.gap.rays.heights
    length = (heights[-1] - heights[0]) * len(heights) / (len(heights) - 1)
    cube = float((around.gap.width**3).mean())
    exact = np.pi * (13.4 + OUTER) * cube * flow.closing / (12 * 3.5 * length)
    assert found["paravalvular_flow"].value == pytest.approx(exact, rel=0.01)
    volume = 1e-3 * found["paravalvular_flow"].value * flow.diastole
    assert found["regurgitant_volume"].value == pytest.approx(volume)
    forward = 5000.0 / 70.0
    assert found["regurgitant_fraction"].value == pytest.approx(volume / (forward + volume))
    assert found["sealed_share"].value == 0.0


def test_leaflets_fill_the_gap():
    behind, inside = tube(13.0, -10.0, 10.0), tube(6.0, -10.0, 10.0)
    bare = deployed(radius=13.6)
    leafed = replace(bare, surfaces={**bare.surfaces, "ventricular": behind, "aortic": inside})
    gap, filled = (skirt_gap(one) for one in (bare, leafed))
    assert filled.gap.wall.mean() == pytest.approx(13.0, abs=0.01)
    assert gap.gap.wall.mean() == pytest.approx(13.6, abs=0.01)
    assert "without native leaflets" in gap.notes[0]
    assert filled.notes == ()
    assert (filled.gap.width[filled.gap.width > 0] > TIGHT).all()


def test_a_skirt_below_the_mesh_is_told():
    low = skirt_gap(deployed(depth=17.5))
    assert "heights of the skirt" in low.notes[0]
    assert "no wall around the skirt" in skirt_gap(deployed(depth=30.0))
    assert "not known" in skirt_gap(deployed(skirt=0.0))


# --- coronaries ---------------------------------------------------------------------------------


def test_coronaries_beside_a_round_frame(judged):
    for side in ("right", "left"):
        away = judged[f"valve_to_coronary_{side}"]
        assert away.value == pytest.approx(12.86 - OUTER, abs=0.12)
        assert away.verdict == "below"
    assert any("No leaflet" in note or "no leaflet" in note for note in judged.notes)
    assert "cusp_to_ostium_left" not in {one.name for one in judged.indices}


def plate(x, top, half=4.0):
    """Two triangles that stand across x, up to a height."""
    points = np.array([[x, -half, 2.0], [x, half, 2.0], [x, half, top], [x, -half, top]])
    return points, np.array([[0, 1, 2], [0, 2, 3]])


@pytest.mark.parametrize(
    ("top", "away", "advised"), [(16.0, 2.0, 1), (16.0, 6.0, 0), (11.0, 2.0, 0)]
)
def test_a_leaflet_before_an_ostium(top, away, advised):
    valve = deployed(radius=12.86 + away)
    valve = replace(valve, surfaces={**valve.surfaces, "aortic": plate(OUTER + 0.5, top)})
    found = by_name(coronary_indices(valve, root(12.86 + away))[0])
    assert found["valve_to_coronary_right"].value == pytest.approx(away, abs=0.15)
    gap = np.hypot(away - 0.5, max(14.0 - top, 0.0))
    assert found["cusp_to_ostium_right"].value == pytest.approx(gap / 4.0, abs=0.06)
    assert found["leaflet_tip_over_ostium_right"].value == pytest.approx(top - 12.0, abs=0.1)
    assert found["laceration_right"].value == advised
    assert found["laceration_right"].concerns is bool(advised)
    assert "laceration_left" not in found


def test_a_frame_that_ends_below_the_ostia():
    short, notes = coronary_indices(deployed(depth=8.0), root())
    assert any("ends below the left ostium" in note for note in notes)
    assert -0.05 < by_name(short)["valve_to_coronary_left"].value < 0.5  # chords of twelve struts


# --- flow and fatigue ---------------------------------------------------------------------------


def test_orifice_and_gradient_of_a_fully_expanded_valve():
    flow = Haemodynamics(surface=1.9)

    def expected(valve):
        found, notes = flow_indices(valve, sections(valve, root())[0], flow)
        return by_name(found), notes

    found, _ = expected(deployed())
    orifice = found["effective_orifice_area"].value
    assert orifice == pytest.approx(1.74 / 0.92, rel=0.01)
    mean = 5e3 / 70 / 0.3  # mL/s in ejection
    pascal = 0.5 * 1060 * np.pi**2 / 8 * (mean / orifice / 100) ** 2
    assert found["mean_gradient"].value == pytest.approx(1e-3 * pascal / MMHG)
    assert found["indexed_orifice_area"].value == pytest.approx(orifice / 1.9)
    small, _ = expected(deployed(stretch=(0.9, 0.9, 1.0)))
    assert small["effective_orifice_area"].value == pytest.approx(0.81 * orifice, rel=0.02)
    assert small["indexed_orifice_area"].verdict == "below"
    other, notes = expected(deployed(size="27"))
    assert other["effective_orifice_area"].value == pytest.approx(
        0.34 / 0.92 * np.pi * 1.2855**2, rel=0.02
    )
    assert "none is known of this" in notes[0]


def test_circulations_that_can_not_be():
    for change, message in (({"diastole": 900.0}, "fit into a beat"), ({"aortic": 1.0}, "higher"),
                            ({"surface": 19.0}, "body surface")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            Haemodynamics(**change)


def test_fatigue_of_the_worst_fibre():
    valve = deployed()
    m = len(valve.ends)
    diastole, systole = np.full((m, 3), 0.01), np.full((m, 3), 0.01)
    systole[5] += [0.001, -0.002, 0.0]
    strains = fatigue(diastole, systole, Fatigue(amplitude=0.004))
    assert strains.safety == pytest.approx(4.0)
    assert strains.amplitude[5] == pytest.approx(0.001)
    assert strains.mean[5] == pytest.approx(0.009)
    goodman = fatigue(diastole, systole, Fatigue(amplitude=0.004, static=0.1))
    assert goodman.safety == pytest.approx(1 / (0.25 + 0.09))
    found = by_name(fatigue_indices(with_fatigue(valve, strains))[0])
    assert found["fatigue_safety"].value == pytest.approx(4.0)
    assert found["fatigue_safety"].verdict == "within"
    assert found["strain_amplitude_max"].value == pytest.approx(0.001)
    with pytest.raises(InputError, match="both ends of a beat"):
        fatigue(diastole, systole[:2], Fatigue(amplitude=0.004))


def test_a_turned_and_moved_world_has_the_same_indices(valve, judged):
    c, s = np.cos(0.7), np.sin(0.7)
    R = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    shift = np.array([30.0, -200.0, 1000.0])

    def move(x):
        return x @ R.T + shift

    surfaces = {name: (move(p), t) for name, (p, t) in valve.surfaces.items()}
    other = replace(
        valve, nodes=move(valve.nodes), surfaces=surfaces, placement_axes=R.T,
        surfaces_before={name: one[0] for name, one in surfaces.items()},
    )  # fmt: skip
    one = root()
    ostia = {side: replace(c, at=move(c.at)) for side, c in one.coronaries.items()}
    turned = replace(one, origin=shift, axes=R.T, coronaries=ostia)
    for found, known in zip(judge(other, turned), judged.indices, strict=True):
        assert (found.name, found.verdict) == (known.name, known.verdict)
        assert found.value == pytest.approx(known.value, rel=1e-6, abs=1e-6), found.name


def test_wall_is_all_of_its_surfaces(valve):
    points, triangles = valve.wall
    assert len(triangles) == sum(len(valve.surfaces[name][1]) for name in WALL)
    last = valve.surfaces["membranous_septum"]
    np.testing.assert_array_equal(points[triangles[-1]], last[0][last[1][-1]])
