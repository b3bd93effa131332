"""Measures of aortic roots whose truth is known from their parameters."""

from dataclasses import replace

import numpy as np
import pytest

from organtwin.aortic_root.calcium import RULES, Blood, threshold_of
from organtwin.aortic_root.definitions import DEFINITIONS
from organtwin.aortic_root.measurements import measure_root
from organtwin.aortic_root.measures_file import as_record
from organtwin.aortic_root.measures_store import store_measures, stored_measures
from organtwin.aortic_root.notes import notes_of
from organtwin.aortic_root.outline import Outline
from organtwin.aortic_root.parametric import Nodule, ParametricRoot
from organtwin.aortic_root.phantom import Scanner, labels, scan
from organtwin.aortic_root.sizing import DeviceSize, oversizing, refuse_too_large
from organtwin.aortic_root.synthetic import ARCHED, ROOTS, SCATTERED, USUAL
from organtwin.errors import InputError
from organtwin.image import markups
from organtwin.image.volume import Image
from organtwin.landmarks.aorta import HINGES, AorticLook, look_at_aorta
from organtwin.landmarks.fits import angle, fit_plane
from organtwin.landmarks.record import Confidence, Evidence, Landmark, Plane, Point, find
from tests.aortic_roots import worst

COARSE = Scanner(voxel=1.1, above=28.0, below=28.0, around=10.0)
LIMED = replace(USUAL, calcium=SCATTERED)
SIZES = (DeviceSize("20", 20.0), DeviceSize("26", 26.0), DeviceSize("34", 34.0))


# ------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize("name", list(ROOTS))
def test_truth_agrees_with_the_wall(name):
    root = ROOTS[name][0]
    truth, turn = root.truth(), np.linspace(0.0, 2.0 * np.pi, 7200, endpoint=False)
    for ring, height in (("annulus", 0.0), ("outflow", -4.0), ("junction", root.junction_height)):
        edge = root.wall(turn, np.full(len(turn), height))[:, :2]
        after = np.roll(edge, -1, axis=0)
        area = 0.5 * np.sum(edge[:, 0] * after[:, 1] - edge[:, 1] * after[:, 0])
        assert truth[f"{ring}_area"] == pytest.approx(area, rel=1e-4)
        length = np.linalg.norm(after - edge, axis=1).sum()
        assert truth[f"{ring}_perimeter"] == pytest.approx(length, rel=1e-4)
    if "sinus_level" in truth:  # bent roots are cut askew there
        widest = root.radius(turn, truth["sinus_level"])
        for other in (-1.0, 1.0):
            assert np.sum(widest**2) > np.sum(root.radius(turn, truth["sinus_level"] + other) ** 2)
    up = root.axes[2]
    assert np.abs((root.hinges() - root.centre) @ up).max() < 1e-9
    assert angle(up, np.array([0.0, 0.0, 1.0])) >= truth["aortic_angulation"] - 1e-9
    assert set(truth) <= set(DEFINITIONS)


def test_bent_roots_keep_their_rings_and_tilt_the_junction():
    root = replace(ARCHED, outflow_lean=20.0, outflow_towards=-40.0)
    points = np.random.default_rng(1).uniform(-20.0, 20.0, (200, 3)) + np.array([0.0, 0.0, 8.0])
    assert root.to_root(root.to_patient(points)) == pytest.approx(points, abs=1e-9)
    turn = np.linspace(0.0, 2.0 * np.pi, 720, endpoint=False)
    ring = root.to_patient(root.wall(turn, np.full(720, root.junction_height)))
    top = fit_plane(ring)
    assert top.residual < 1e-9
    tilt = angle(top.normal, root.axes[2])
    assert min(tilt, 180.0 - tilt) == pytest.approx(root.arch, abs=1e-6)
    straight, bent = replace(USUAL).truth(), root.truth()
    for name in ("annulus_area", "outflow_area", "junction_area", "annulus_diameter_max"):
        assert bent[name] == pytest.approx(straight[name])
    # The left sinus lies where the aorta bends to: its ostium and its side of the junction sink.
    assert bent["coronary_height_left"] < straight["coronary_height_left"] - 2.0
    assert bent["sinus_height_left"] < 17.0 < 23.0 < bent["sinus_height_right"]
    flat = replace(root, arch=0.0, outflow_lean=0.0).truth()
    for name in ("junction_height", "sinus_height_left", "coronary_height_right"):
        assert flat[name] == pytest.approx(straight[name], abs=0.02)


def test_leaflets_hang_between_hinge_points_and_commissures():
    along, across = np.meshgrid(np.linspace(-1.0, 1.0, 41), np.linspace(0.0, 1.0, 21))
    for leaflets in ("closed", "open"):
        root = replace(USUAL, leaflets=leaflets)
        for cusp in range(3):
            points = root.leaflet(cusp, along, across)
            hinge = root.to_patient(root.leaflet(cusp, np.zeros(1), np.zeros(1)))[0]
            assert hinge == pytest.approx(root.hinges()[cusp])
            assert points[:, 0, 2] == pytest.approx(np.full(21, root.commissure_height))
            turn = np.arctan2(points[..., 1], points[..., 0])
            far = np.hypot(points[..., 0], points[..., 1])
            assert np.all(far <= root.radius(turn, points[..., 2]) + 1e-6), "inside the wall"
        tips = np.array([root.leaflet(k, np.zeros(1), np.ones(1))[0] for k in range(3)])
        apart = np.linalg.norm(tips[:, :2], axis=1)
        assert apart.max() < 1e-9 if leaflets == "closed" else apart.min() > 9.0


def test_volumes_of_nodules_are_split_by_the_annulus():
    found = LIMED.calcium_volumes()
    ball = np.pi * 4.0**3 / 6.0
    assert found["right", "valve"] == pytest.approx(ball)
    assert found["left", "outflow"] == pytest.approx(ball)
    assert found["non_coronary", "outflow"] == pytest.approx(0.5 * ball)
    assert sum(found.values()) == pytest.approx(3.0 * ball + np.pi * 3.0**3 / 6.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"commissures": (-30.0, 90.0, 340.0)}, "commissures"),
        ({"commissure_height": 30.0}, "between annulus and junction"),
        ({"leaflets": "ajar"}, "no leaflets `ajar`"),
        ({"calcium": (Nodule("left", "leaflet", 9.0, 0.9),)}, "next cusp"),
        ({"calcium": (Nodule("left", "leaflet", 3.0), Nodule("left", "leaflet", 2.0))}, "touches"),
        ({"calcium": (Nodule("left", "valve", 3.0),)}, "no part `valve`"),
    ],
)
def test_roots_that_make_no_sense_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(USUAL, **change)


def test_a_scan_shows_what_the_parameters_say():
    bare = replace(COARSE, noise=0.0, blur=0.01)
    image, map_ = scan(LIMED, bare), labels(LIMED, bare, calcium=True)
    assert image.grid.matches(map_.grid)

    def value(local):
        index = np.round(image.grid.index(LIMED.to_patient(np.array([local])))).astype(int)
        return float(image.values[tuple(index[0])])

    assert value([0.0, 0.0, 30.0]) == pytest.approx(bare.contrast)
    assert value([0.0, 0.0, -6.0]) == pytest.approx(bare.contrast)
    assert value(LIMED.nodule_centre(LIMED.calcium[0])) == pytest.approx(1200.0)
    assert value([22.0, 0.0, 30.0]) == pytest.approx(bare.fat)
    ball = map_.volume_ml("calcium") * 1000.0
    assert ball == pytest.approx(sum(LIMED.calcium_volumes().values()), rel=0.06)
    noisy = scan(LIMED, replace(bare, noise=20.0)).values - image.values
    assert float(noisy.std()) == pytest.approx(20.0, rel=0.02)


# ---------------------------------------------------------------------------------------- outlines


def test_sizes_of_an_ellipse():
    turn = np.arange(720) * 2.0 * np.pi / 720
    a, b = 14.0, 10.0
    radii = a * b / np.hypot(b * np.cos(turn), a * np.sin(turn))
    ring = Outline(np.zeros(3), np.eye(3), radii)
    truth = ParametricRoot(annulus=(2 * a, 2 * b), turn=0.0).truth()
    assert ring.area == pytest.approx(truth["annulus_area"], rel=1e-4)
    assert ring.perimeter == pytest.approx(truth["annulus_perimeter"], rel=1e-4)
    assert ring.calipers == pytest.approx((2 * b, 2 * a), rel=1e-4)
    assert ring.centroid == pytest.approx(np.zeros(3), abs=1e-9)
    # Steiner's formula of a parallel curve.
    grown = ring.area + 0.5 * ring.perimeter + 0.25 * np.pi
    assert ring.moved(0.5).area == pytest.approx(grown, rel=2e-3)


# ---------------------------------------------------------------------------------------- measures


@pytest.fixture(scope="module")
def coarse():
    return scan(LIMED, COARSE), labels(LIMED, COARSE)


@pytest.fixture(scope="module")
def measured(coarse):
    return measure_root(*coarse)


def test_measures_are_stored_and_read_as_they_were(measured, tmp_path):
    again = stored_measures(store_measures(measured, tmp_path / "measures.npz"))
    assert as_record(again, []) == as_record(measured, [])
    assert again.quantities == measured.quantities
    assert np.array_equal(again.calcium.mask, measured.calcium.mask)
    for name, outline in measured.outlines.items():
        assert np.array_equal(again.outlines[name].radii, outline.radii)


@pytest.mark.parametrize("content", [b"", b"no measures", b"PK\x03\x04cut short"])
def test_damaged_measures_are_refused(content, tmp_path):
    file = tmp_path / "measures.npz"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"measures\.npz.*no measures of a root"):
        stored_measures(file)


def test_stored_measures_make_nothing_but_measures(tmp_path):
    file = tmp_path / "measures.npz"
    np.savez(file, tree=np.array('{"is": "Path", "of": "/"}'))
    with pytest.raises(InputError, match="no measures of a root"):
        stored_measures(file)


def test_a_coarse_scan_is_measured_within_what_planners_allow(measured):
    area, (_, diameter), (_, height) = worst(LIMED, measured)
    assert abs(area) < 3.0
    assert abs(diameter) < 0.5
    assert abs(height) < 1.0
    assert set(measured.quantities) == set(DEFINITIONS)
    for one in measured.quantities.values():
        assert one.low <= one.value <= one.high
    ring = measured.quantities["annulus_area_diameter"]
    assert 0.5 * COARSE.voxel < ring.high - ring.low < 3.0 * COARSE.voxel


def test_cusps_septum_and_calcium_lie_where_they_are(measured):
    ways = np.array([
        np.cos(turn) * measured.frame.axes[0] + np.sin(turn) * measured.frame.axes[1]
        for turn in measured.frame.commissures
    ])  # fmt: skip
    places = ways @ LIMED.axes.T
    turns = np.sort(np.degrees(np.arctan2(places[:, 1], places[:, 0])) % 360.0)
    assert turns == pytest.approx(np.sort(np.array(LIMED.commissures) % 360.0), abs=8.0)
    septum = LIMED.to_root(measured.septum.points)
    middle = np.degrees(np.arctan2(*septum.mean(axis=0)[1::-1])) % 360.0
    assert middle == pytest.approx(LIMED.commissures[2], abs=8.0)
    assert septum[:, 2].min() == pytest.approx(-2.1, abs=1.0)
    assert septum[:, 2].max() == pytest.approx(4.5, abs=1.0)
    lime = measured.calcium
    assert lime.blood.mean == pytest.approx(COARSE.contrast, rel=0.02)
    assert lime.threshold == pytest.approx(lime.blood.mean + 100.0)
    assert lime.lesions == len(LIMED.calcium)
    for place, volume in LIMED.calcium_volumes().items():
        score = lime.regions[place]
        assert score.low <= score.volume <= score.high
        if volume:
            assert score.corrected == pytest.approx(volume, rel=0.35)
            assert volume < score.volume < 2.5 * volume, "blur makes it larger, not smaller"
            assert score.agatston > 0.0
        else:
            assert score.volume < 2.0


def test_hinge_points_are_those_of_the_leaflets_where_the_aorta_arches():
    root = replace(ARCHED, arch=15.0, towards=60.0, outflow_lean=25.0, outflow_towards=90.0)
    look = look_at_aorta(labels(root, COARSE), scan(root, COARSE))
    up = root.axes[2]
    found = np.array([find(look.landmarks, name).geometry.at for name in HINGES])
    assert np.abs((found - root.hinges()) @ up).max() < 0.8
    assert angle(find(look.landmarks, "aortic_annulus").geometry.normal, up) < 3.0
    tilt = angle(look.found.junction.normal, up)
    assert tilt == pytest.approx(root.arch, abs=4.0)
    # All three were found by their leaflets, and look as unlike as the bend makes them.
    assert all(lobe.border.darkness > 0.1 for lobe in look.found.lobes)


def test_hinge_points_that_lie_unlike_most_are_told():
    ring, up = 12.0, np.array([0.0, 0.0, 1.0])
    turns = np.radians([0.0, 120.0, 240.0])
    hinges = ring * np.column_stack([np.cos(turns), np.sin(turns), np.zeros(3)])

    def notes(hinges, source="automatic"):
        sure = Confidence((Evidence("seen", 1.0, "", 0.9),))
        less = Confidence((Evidence("seen", 1.0, "", 0.5),))
        known = [Landmark(name, Point(at), less if "left" in name else sure, source)
                 for name, at in zip(HINGES, hinges, strict=True)]  # fmt: skip
        fit = fit_plane(hinges)
        plane = Plane(fit.centre, fit.normal * np.sign(fit.normal @ up))
        top = Plane(22.0 * up, up)
        return notes_of(AorticLook(tuple(known)), plane, hinges, top, {}, {}, lost=False)[:-2]

    assert notes(hinges) == ()
    high = hinges + np.array([[0.0] * 3, [0.0, 0.0, 10.0], [0.0] * 3])
    told = notes(high)
    assert len(told) == 2
    assert "tilted 29°" in told[0] and "first at `hinge_left`" in told[0]
    assert "`hinge_left` lies 12 mm below the junction, the others 22 and 22 mm" in told[1]
    assert notes(high, "markups mine.mrk.json") == (), "a person knows"


def test_what_was_placed_in_slicer_wins(coarse, measured):
    image, map_ = coarse
    up = LIMED.axes[2]
    hinge = find(measured.landmarks, "hinge_left").geometry.at + 4.0 * up
    mine = markups.Landmarks("points", hinge[None], ("hinge_left",))
    found = measure_root(image, map_, overrides=[mine])
    assert find(found.landmarks, "hinge_left").source == "markups"
    low = found.quantities["coronary_height_left"].value
    assert low < measured.quantities["coronary_height_left"].value - 2.0
    assert angle(found.frame.axes[2], measured.frame.axes[2]) > 5.0


# ------------------------------------------------------------------------------------------- input


def test_what_cannot_be_measured_is_told(coarse):
    image, map_ = coarse
    dark = Image(np.minimum(image.values, 60.0), image.grid, "HU")
    with pytest.raises(InputError, match=r"no contrast.*60 HU"):
        measure_root(dark, map_)
    with pytest.raises(InputError, match="`grey`, not HU"):
        measure_root(replace(image, quantity="grey"), map_)
    far = markups.Landmarks("points", np.array([[500.0, 0.0, 0.0]]), ("hinge_left",))
    with pytest.raises(InputError, match=r"`hinge_left`: \(500, 0, 0\) lies outside of the image"):
        measure_root(image, map_, overrides=[far])


@pytest.mark.parametrize("end", ["below", "above"])
def test_a_root_that_the_field_of_view_cuts_off_is_refused(coarse, end):
    image, map_ = coarse
    level = 5.0 if end == "below" else 10.0
    layer = int(image.grid.index(LIMED.to_patient(np.array([[0.0, 0.0, level]])))[0, 2])
    part = slice(layer, None) if end == "below" else slice(None, layer)
    grid = replace(image.grid, shape=image.values[:, :, part].shape,
                   origin=image.grid.points([[0, 0, part.start or 0]])[0])  # fmt: skip
    cut = Image(image.values[:, :, part], grid, "HU")
    with pytest.raises(InputError, match=r"cut off|cuts it off"):
        measure_root(cut, replace(map_, values=map_.values[:, :, part], origin=grid.origin))


def test_oversizing():
    area, length = (450.0, 430.0, 470.0), (76.0, 74.0, 78.0)
    found = [oversizing(one, area, length) for one in SIZES]
    assert found[1].by_area == pytest.approx(100.0 * (0.25 * np.pi * 26.0**2 / 450.0 - 1.0))
    assert found[1].by_perimeter == pytest.approx(100.0 * (np.pi * 26.0 / 76.0 - 1.0))
    assert found[1].by_area_range[0] < found[1].by_area < found[1].by_area_range[1]
    assert [one.fits for one in found] == [False, True, False]
    assert refuse_too_large(found, "26") is found[1]
    with pytest.raises(InputError, match=r"102 % larger.*risks a rupture.*Choose 26"):
        refuse_too_large(found, "34")
    with pytest.raises(InputError, match="no size `27`"):
        refuse_too_large(found, "27")
    assert oversizing(DeviceSize("x", 23.0, 406.0), area, length).by_area < 0.0
    # 47 % by area and 20 % by perimeter: too large for a balloon, usual for a self-expanding frame.
    wide = DeviceSize("29", 29.0), DeviceSize("29", 29.0, sized_by="perimeter")
    assert [oversizing(one, area, length).too_large for one in wide] == [True, False]
    with pytest.raises(InputError, match="sized by `weight`"):
        DeviceSize("29", 29.0, sized_by="weight")


@pytest.mark.parametrize(
    ("rule", "blood", "level"),
    [
        ("adaptive", Blood(400.0, 15.0), 500.0),
        ("adaptive", Blood(400.0, 40.0), 560.0),
        ("blood_plus_100", Blood(400.0, 40.0), 500.0),
        ("850", Blood(400.0, 15.0), 850.0),
        ("450_or_850", Blood(250.0, 15.0), 450.0),
        ("450_or_850", Blood(310.0, 15.0), 850.0),
    ],
)
def test_thresholds(rule, blood, level):
    assert threshold_of(blood, rule) == pytest.approx(level)
    assert rule in RULES
    with pytest.raises(InputError, match="no rule"):
        threshold_of(blood, "loose")


# -------------------------------------------------------------------------------------- fine scans


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ROOTS))
def test_roots_are_measured_within_what_planners_allow(name):
    root, scanner = ROOTS[name]
    found = measure_root(scan(root, scanner), labels(root, scanner))
    area, (_, diameter), (_, height) = worst(root, found)
    assert abs(area) < 3.0
    assert abs(diameter) < 0.5
    assert abs(height) < 1.0
    sure = {f"coronary_ostium_{c.cusp}" for c in root.coronaries}
    assert all(find(found.landmarks, n).confidence.value > 0.2 for n in sure)
    for place, volume in root.calcium_volumes().items():
        score = found.calcium.regions[place]
        assert score.low <= volume <= score.high
        assert score.corrected == pytest.approx(volume, rel=0.35)


@pytest.mark.slow
def test_labels_alone_are_measured():
    root, scanner = ROOTS["usual"]
    found = measure_root(None, labels(root, scanner))
    truth = root.truth()
    assert found.quantities["annulus_area"].value == pytest.approx(truth["annulus_area"], rel=0.03)
    assert found.calcium is None
    assert any("coronary ostium" in note for note in found.notes)
