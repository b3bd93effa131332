"""The aortic root: hinge points, annulus and junction of a phantom that has them exactly."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from organtwin.errors import InputError
from organtwin.image.volume import Grid, Image, LabelMap
from organtwin.landmarks.aorta import HINGES, aorta_landmarks
from organtwin.landmarks.attachment import Attachment
from organtwin.landmarks.knees import knee
from organtwin.landmarks.record import Curve, Landmark, Plane, Point, find
from organtwin.landmarks.sinuses import _common_plane
from organtwin.landmarks.ventricles import ventricle_landmarks

#: Radius of the tube, bulge of the sinuses, heights of commissures and junction (mm).
TUBE, BULGE, COMMISSURE, JUNCTION = 12.0, 5.0, 16.0, 20.0
#: Directions of the sinuses in the phantom's frame (degrees): right, left, non-coronary.
SINUSES = (-90.0, 30.0, 150.0)
TILT = Rotation.from_euler("xyz", [12.0, -18.0, 0.0], degrees=True)
PLACE = np.array([10.0, -20.0, 300.0])


def wall(height, turn):
    """Radius of the phantom; each sinus begins at a parabola with its lowest point at height 0."""
    radius = np.full(np.broadcast(height, turn).shape, TUBE)
    for middle in np.radians(SINUSES):
        off = (turn - middle + np.pi) % (2.0 * np.pi) - np.pi
        low = COMMISSURE * (off / np.radians(60.0)) ** 2
        share = (height - low) / (JUNCTION - low)
        inside = (np.abs(off) < np.radians(60.0)) & (share > 0.0) & (share < 1.0)
        bump = BULGE * np.sin(np.pi * share) * np.cos(1.5 * off) ** 2
        radius += np.where(inside, bump, 0.0)
    return radius


def phantom(spacing):
    """Signed distance, roughly, from the wall and the height of each voxel, on a tilted grid."""
    shape = (np.array([56.0, 56.0, 92.0]) / spacing).astype(int)
    grid = Grid(tuple(int(n) for n in shape), np.full(3, spacing), np.zeros(3), np.eye(3))
    index = np.indices(grid.shape).reshape(3, -1).T
    local = TILT.inv().apply(grid.points(index) - grid.points(shape[None] / 2.0 - 0.5))
    local[:, 2] += 10.0
    inside = wall(local[:, 2], np.arctan2(local[:, 1], local[:, 0])) - np.hypot(*local.T[:2])
    shift = PLACE - TILT.apply([0.0, 0.0, 10.0]) - grid.points(shape[None] / 2.0 - 0.5)[0]
    return (
        replace(grid, origin=np.round(shift + TILT.apply([0, 0, 20.0]), 9)),
        inside.reshape(grid.shape),
        local[:, 2].reshape(grid.shape),
    )


def labelled(spacing, *, outflow=True, ends=0.0):
    grid, inside, height = phantom(spacing)
    values = np.where(inside > 0.0, np.where(height > ends, 1, 2), 0).astype(np.uint8)
    values[np.abs(height - 12.0) > 34.0] = 0
    names = {"aorta": 1, "lv_blood" if outflow else "heart": 2}
    return LabelMap(values, names, grid.spacing, grid.origin, grid.direction)


def scan(spacing, noise=0.0):
    grid, inside, _ = phantom(spacing)
    share = np.clip(inside / spacing + 0.5, 0.0, 1.0)  # partial volume
    grey = 50.0 + 400.0 * share
    grey += noise * np.random.default_rng(1).standard_normal(grey.shape)
    return Image(grey.astype(np.float32), grid, "HU")


def centre_of(labels):
    """Where the phantom's height and radius are 0."""
    shape = np.array(labels.values.shape)
    return labels.points((shape / 2.0 - 0.5)[None])[0] - TILT.apply([0.0, 0.0, 10.0])


def truth(labels):
    turns = np.radians(SINUSES)
    ring = TUBE * np.column_stack([np.cos(turns), np.sin(turns), np.zeros(3)])
    return centre_of(labels) + TILT.apply(ring)


def tilt_of(normal):
    return np.degrees(np.arccos(np.clip(normal @ TILT.apply([0, 0, 1.0]), -1.0, 1.0)))


@pytest.fixture(scope="module")
def fine():
    labels = labelled(1.0)
    return labels, aorta_landmarks(labels)


def errors(labels, found):
    points = np.array([find(found, name).geometry.at for name in HINGES])
    return np.linalg.norm(points - truth(labels), axis=1)


def test_hinge_points_lie_within_a_voxel(fine):
    assert errors(*fine).max() < 1.0


def test_annulus_and_junction(fine):
    labels, found = fine
    annulus, junction = (find(found, n) for n in ("aortic_annulus", "sinotubular_junction"))
    assert tilt_of(annulus.geometry.normal) < 2.0
    assert np.linalg.norm(annulus.geometry.centre - centre_of(labels)) < 1.0
    assert annulus.geometry.diameter == pytest.approx(2.0 * TUBE, rel=0.05)
    above = centre_of(labels) + TILT.apply([0.0, 0.0, JUNCTION])
    assert tilt_of(junction.geometry.normal) < 2.0
    assert abs(junction.geometry.height(above)) < 1.0
    assert junction.geometry.diameter == pytest.approx(2.0 * TUBE, rel=0.03)
    assert annulus.confidence.value > 0.5 and junction.confidence.value > 0.7


def test_grey_values_do_as_well():
    labels = labelled(1.5, ends=3.0)
    found = aorta_landmarks(labels, scan(1.5, noise=20.0))
    assert errors(labels, found).max() < 1.0
    assert tilt_of(find(found, "aortic_annulus").geometry.normal) < 3.0


@pytest.mark.parametrize("spacing", [1.5, 2.0])
def test_coarse_labels_give_hinge_points_within_a_voxel_and_the_size_of_the_annulus(spacing):
    labels = labelled(spacing)
    found = aorta_landmarks(labels)
    assert errors(labels, found).max() < spacing
    annulus = find(found, "aortic_annulus")
    # Planners choose a device by these, within half a millimetre of diameter.
    assert annulus.geometry.diameter == pytest.approx(2.0 * TUBE, abs=0.3)
    assert annulus.measures["area mm²"] == pytest.approx(np.pi * TUBE**2, rel=0.025)
    assert annulus.measures["perimeter mm"] == pytest.approx(2.0 * np.pi * TUBE, rel=0.02)


def rough(labels, much):
    """The same with voxels at its border changed at random, by so many voxels."""
    inside = labels.values > 0
    away = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    noise = much * np.random.default_rng(0).standard_normal(inside.shape)
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    values = np.where(away + noise > 0.0, labels.values[tuple(nearest)], 0)
    return replace(labels, values=values.astype(np.uint8))


def test_single_wrong_voxels_do_not_matter():
    labels = rough(labelled(1.5), 1.0)
    found = aorta_landmarks(labels)
    assert errors(labels, found).max() < 1.5
    assert find(found, "aortic_annulus").confidence.value > 0.5


@pytest.mark.slow
def test_confidence_falls_with_the_noise_and_with_flat_sinuses(monkeypatch):
    def trust():
        return find(aorta_landmarks(labelled(1.5)), "aortic_annulus").confidence.value

    whole = trust()
    assert find(aorta_landmarks(rough(labelled(1.5), 2.0)), "aortic_annulus").confidence.value < (
        0.8 * whole
    )
    monkeypatch.setitem(globals(), "BULGE", 1.0)
    flat = trust()
    monkeypatch.setitem(globals(), "BULGE", 0.0)
    assert trust() < 0.05 < flat < 0.5 * whole


def test_confidence_falls_without_an_outflow_tract_and_with_coarse_voxels(fine):
    sure = find(fine[1], "aortic_annulus").confidence.value
    cut = aorta_landmarks(labelled(1.5, outflow=False))
    assert find(cut, "aortic_annulus").confidence.value < 0.5 * sure
    coarse = find(aorta_landmarks(labelled(3.0)), "aortic_annulus").confidence.value
    assert coarse < 0.8 * sure


def test_a_smooth_wall_has_no_ostia(fine):
    assert not [m for m in fine[1] if m.name.startswith("coronary") and m.confidence.value > 0.1]


def test_a_branch_on_the_wall_is_a_candidate():
    grid, inside, _ = phantom(1.5)
    labels = labelled(1.5, ends=3.0)
    root = centre_of(labels) + TILT.apply([0.0, 0.0, 11.0])
    way = TILT.apply([np.cos(np.radians(30.0)), np.sin(np.radians(30.0)), 0.0])
    away = grid.points(np.indices(grid.shape).reshape(3, -1).T) - root
    along = away @ way
    off = np.linalg.norm(away - along[:, None] * way, axis=1).reshape(grid.shape)
    inside = np.maximum(inside, np.where(along.reshape(grid.shape) > 0.0, 2.2 - off, -9.0))
    grey = (50.0 + 400.0 * np.clip(inside / 1.5 + 0.5, 0.0, 1.0)).astype(np.float32)
    found = aorta_landmarks(labels, Image(grey, grid, "HU"))
    best = find(found, "coronary_ostium_left")
    assert best.confidence.value > 0.3
    assert np.linalg.norm(best.geometry.at - (root + 17.0 * way)) < 2.5


def test_a_placed_hinge_point_moves_the_annulus():
    labels = labelled(2.0)
    at = truth(labels)[1] + TILT.apply([0.0, 0.0, 6.0])
    mine = Landmark("hinge_left", Point(at), source="markups mine.mrk.json")
    again = aorta_landmarks(labels, given={"hinge_left": mine})
    assert find(again, "hinge_left") is mine
    plane = find(again, "aortic_annulus")
    assert abs(plane.geometry.height(at)) < 1e-9
    assert tilt_of(plane.geometry.normal) > 5.0
    assert plane.source == "automatic"


def in_parts(spacing):
    """The phantom with the names that the recipe gives: the root and what follows it."""
    labels = labelled(spacing)
    height = phantom(spacing)[2]
    values = np.where((labels.values == 1) & (height > JUNCTION), 3, labels.values)
    names = {"aortic_root": 1, "lv_blood": 2, "ascending_aorta": 3}
    return replace(labels, values=values.astype(np.uint8), names=names)


def test_labels_of_the_recipe_give_the_same_as_one_aorta():
    whole, parts = aorta_landmarks(labelled(2.0)), aorta_landmarks(in_parts(2.0))
    for name in (*HINGES, "aortic_annulus", "sinotubular_junction"):
        one, other = find(whole, name).geometry, find(parts, name).geometry
        assert all(np.array_equal(v, getattr(other, key)) for key, v in vars(one).items())
    names = {landmark.name for landmark in ventricle_landmarks(in_parts(2.0))}
    assert "aortic_valve" in names and "lv_opening" not in names


def test_a_placed_junction_is_asked_before_the_shape_is():
    labels = labelled(2.0)
    # The label ends within the sinuses: nothing bends into a tube.
    values = np.where(phantom(2.0)[2] > 9.0, 0, labels.values).astype(np.uint8)
    labels = replace(labels, values=values)
    with pytest.raises(InputError, match=r"bend nowhere.*Or place.*`sinotubular_junction`"):
        aorta_landmarks(labels)
    top = Plane(centre_of(labels) + TILT.apply([0.0, 0.0, JUNCTION]), TILT.apply([0.0, 0, -1.0]))
    junction = Landmark("sinotubular_junction", top, source="mine")
    found = aorta_landmarks(labels, given={"sinotubular_junction": junction})
    assert find(found, "sinotubular_junction") is junction
    assert tilt_of(find(found, "aortic_annulus").geometry.normal) < 10.0


def test_where_nothing_is_seen_all_that_was_placed_is_enough():
    labels = labelled(3.0)
    dark = Image(np.zeros(labels.grid.shape, np.float32), labels.grid, "HU")
    with pytest.raises(InputError, match=r"no brighter.*Or place"):
        aorta_landmarks(labels, dark)
    base = centre_of(labels)
    up = TILT.apply([0.0, 0.0, 1.0])
    line = np.array([base + 40.0 * up, base])  # from the wrong end
    given = {
        "aortic_centreline": Landmark("aortic_centreline", Curve(line), source="mine"),
        "aortic_annulus": Landmark("aortic_annulus", Plane(base, up), source="mine"),
        "sinotubular_junction": Landmark("sinotubular_junction", Plane(base, up), source="mine"),
    }
    assert {landmark.name for landmark in aorta_landmarks(labels, dark, given)} == set(given)
    del given["aortic_annulus"]
    given |= {name: Landmark(name, Point(at), source="mine")
              for name, at in zip(HINGES, truth(labels), strict=True)}  # fmt: skip
    annulus = find(aorta_landmarks(labels, dark, given), "aortic_annulus").geometry
    assert annulus.diameter == pytest.approx(2.0 * TUBE)
    assert annulus.normal @ up == pytest.approx(1.0)


def test_a_plane_that_most_bends_agree_on():
    turns = np.radians(np.arange(0.0, 360.0, 10.0))
    ring = 14.0 * np.column_stack([np.cos(turns), np.sin(turns), 0.2 * np.cos(turns)])
    ring[20:30, 2] += 12.0  # more than a quarter of them lie elsewhere, and all on one side
    plane, residual = _common_plane(ring, np.ones(36), np.array([0.0, 0.0, 1.0]))
    assert plane.normal == pytest.approx(np.array([-0.2, 0.0, 1.0]) / np.sqrt(1.04), abs=1e-6)
    assert residual < 1e-6


def test_the_lowest_place_of_an_attachment():
    def lowest(*heights):
        return Attachment(np.array(heights), np.array([11.0, 0.0, 0.0]), (-0.5, 0.6), 0, 0).lowest

    assert lowest(-3.0, 4.0, 10.0) == pytest.approx(-0.2, abs=0.01)  # -m/2k
    assert lowest(-3.0, 4.0, 1.0) == pytest.approx(-0.5), "no farther than it was seen"
    assert lowest(-3.0, 0.0, 0.0) == pytest.approx(0.0, abs=0.01), "level: the middle"


def test_a_knee_between_two_lines():
    x = np.arange(20.0, 0.0, -0.5)
    found = knee(x, np.where(x > 7.3, 10.0 + 0.8 * (x - 7.3), 10.0))
    assert found.place == pytest.approx(7.3, abs=0.1)
    assert found.beyond == pytest.approx(6.8, abs=0.2)
    assert knee(x[:3], x[:3]) is None


def test_what_is_no_aorta_is_refused():
    labels = labelled(3.0)
    with pytest.raises(InputError, match="no label `aorta`"):
        aorta_landmarks(replace(labels, names={"vein": 1}))
    with pytest.raises(InputError, match="different grids"):
        aorta_landmarks(labels, scan(1.5))
