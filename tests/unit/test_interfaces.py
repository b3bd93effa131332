"""Interfaces between labels: closed, smooth within bounds, volumes kept, free of crossings."""

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
import SimpleITK as sitk

from organtwin.errors import InputError, MeshError
from organtwin.image.volume import LabelMap
from organtwin.mesh.conforming.from_surfaces import from_surfaces
from organtwin.mesh.conforming.wrapping import Wrapping, wrap, wrap_and_tell
from organtwin.mesh.intersections import intersecting_pairs
from organtwin.mesh.surface_files import TriangleSurface

SHARED = Path(__file__).parents[3] / "shared/data"
TURNED = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
MIRRORED = TURNED * [1.0, 1.0, -1.0]


def label_map(values, spacing=(1.0, 1.0, 1.0), direction=None):
    values = np.asarray(values, np.uint8)
    names = {f"r{code}": int(code) for code in np.unique(values) if code}
    axes = np.eye(3) if direction is None else direction
    return LabelMap(values, names, np.array(spacing), np.array([30.0, -70.0, 5.0]), axes)


def radius(n, middle):
    return np.linalg.norm(np.indices((n, n, n)) - middle, axis=0)


def heart(n=30):
    """A wall around blood in two halves, and a part that touches both."""
    r = radius(n, 14.3)
    x = np.indices(r.shape)[0]
    values = np.where(r < 12.0, 1, 0)
    values[(r < 8.0) & (x < 15)] = 2
    values[(r < 8.0) & (x >= 15)] = 3
    return values


def ball(size, centre=(0.0, 0.0, 0.0)):
    found = pv.Icosphere(radius=size, center=centre, nsub=3)
    return TriangleSurface(
        np.asarray(found.points, np.float64), np.asarray(found.regular_faces, np.int64)
    )


def assert_closed(surfaces):
    for name in surfaces.names:
        edges = surfaces.boundary(name)[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
        _, which = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
        assert not np.bincount(which.ravel(), np.where(edges[:, 0] < edges[:, 1], 1, -1)).any()


def assert_sound(surfaces):
    assert_closed(surfaces)
    assert (surfaces.sides[:, 0] > surfaces.sides[:, 1]).all()
    assert not len(intersecting_pairs(surfaces.points, surfaces.triangles))


@pytest.mark.parametrize(
    "direction", [np.eye(3), TURNED, MIRRORED], ids=["plain", "turned", "mirrored"]
)
@pytest.mark.parametrize("thickness", [1.0, 8.0])
def test_regions_are_closed_oriented_and_keep_their_volumes(direction, thickness):
    labels = label_map(heart(), (1.0, 0.8, thickness), direction)
    told = wrap_and_tell(labels)
    assert_sound(told.interfaces)
    for name in labels.names:
        wanted = np.count_nonzero(labels.mask(name)) * labels.voxel_volume
        assert told.interfaces.volume(name) == pytest.approx(wanted, rel=1e-3)
        assert abs(told.volume_error[name]) < 1e-3
    assert told.shift <= told.bound <= 0.5 * np.linalg.norm(labels.spacing)


def test_every_pair_that_touches_has_a_patch_with_normals_out_of_the_larger_number():
    surfaces = wrap(label_map(heart()))
    assert surfaces.pairs == (("r1", "outside"), ("r2", "r1"), ("r3", "r1"), ("r3", "r2"))
    assert surfaces.area("r2", "r3") == surfaces.area("r3", "r2") == pytest.approx(201.0, rel=0.05)
    assert (surfaces.patch("r2", "r3") == surfaces.patch("r3", "r2")[:, ::-1]).all()
    x = surfaces.points[surfaces.patch("r3", "r2")]
    normal = np.cross(x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]).sum(axis=0)
    assert normal[0] < -0.95 * np.linalg.norm(normal)
    with pytest.raises(InputError, match="no region `r4`"):
        surfaces.volume("r4")


def test_stairs_vanish():
    # The staircase of a ball has half more area than the ball, and normals 30 degrees off.
    labels = label_map(radius(30, 14.4) < 12.0)
    surfaces = wrap(labels)
    x = surfaces.corners - labels.points(np.array([[14.4] * 3]))[0]
    normal, middle = np.cross(x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]), x.mean(axis=1)
    cosine = (normal * middle).sum(axis=1)
    cosine /= np.linalg.norm(normal, axis=1) * np.linalg.norm(middle, axis=1)
    angle = np.degrees(np.arccos(cosine.clip(max=1.0)))
    assert np.sqrt((angle**2).mean()) < 3.0
    assert surfaces.area("r1", "outside") == pytest.approx(4.0 * np.pi * 144.0, rel=0.01)


@pytest.mark.parametrize(("wall", "clear"), [(1.0, 0.2), (1.5, 1.1), (2.0, 1.6), (3.0, 2.6)])
def test_thin_walls_keep_both_sides_apart(wall, clear):
    r = radius(34, 16.3)
    labels = label_map(np.where(r < 10.0, 2, np.where(r < 10.0 + wall, 1, 0)))
    surfaces = wrap(labels)
    middle = labels.points(np.array([[16.3] * 3]))[0]
    inner, outer = (
        np.linalg.norm(surfaces.points[np.unique(surfaces.patch(*pair))] - middle, axis=1)
        for pair in (("r2", "r1"), ("r1", "outside"))
    )
    assert_sound(surfaces)
    assert np.percentile(outer, 1) - np.percentile(inner, 99) > clear
    assert surfaces.volume("r1") == pytest.approx(np.count_nonzero(labels.mask("r1")), rel=1e-3)


def test_bars_and_tunnels_of_one_voxel_stay_open():
    values = np.zeros((16, 9, 9))
    values[2:14, 4, 4] = 1
    for bar in (values, 1.0 - values):
        labels = label_map(bar)
        points = wrap(labels).points - labels.points(np.array([[7.5, 4.0, 4.0]]))[0]
        beside = np.linalg.norm(points[:, 1:], axis=1)
        near = (np.abs(points[:, 0]) < 4.0) & (beside < 1.0)
        assert near.sum() >= 28
        assert beside[near].min() > 0.3


def test_noise_has_no_crossings_and_keeps_its_volumes():
    noise = np.random.default_rng(3).integers(0, 4, (9, 9, 9))
    told = wrap_and_tell(label_map(noise))
    assert_sound(told.interfaces)
    assert max(map(abs, told.volume_error.values())) < 1e-3


def test_voxels_that_touch_by_a_corner_or_an_edge_stay_apart_or_meet_without_crossing():
    values = np.zeros((7, 7, 7))
    values[1:3, 1:3, 1:3] = 1
    values[3:5, 3:5, 1:3] = 1
    values[3:5, 1:3, 3:5] = 2
    values[5, 5, 3] = 3
    told = wrap_and_tell(label_map(values))
    assert_sound(told.interfaces)
    assert max(map(abs, told.volume_error.values())) < 1e-3


def test_labels_at_the_border_of_the_image_are_closed_there():
    surfaces = wrap(label_map(np.ones((4, 5, 6))))
    assert_sound(surfaces)
    assert surfaces.volume("r1") == pytest.approx(120.0, rel=1e-3)


def test_islands_and_holes_are_dropped_and_told():
    values = heart()
    values[0, 0, 0] = 3
    values[5, 14, 14] = 0
    told = wrap_and_tell(label_map(values), Wrapping(islands_below=2.0))
    assert {piece.name for piece in told.dropped} == {"r3", "background"}
    assert str(told.dropped[0]).endswith("were dropped.")
    assert told.interfaces.pairs == wrap(label_map(heart())).pairs
    with pytest.raises(InputError, match="no component is larger"):
        wrap(label_map(values), Wrapping(islands_below=1e6))


def test_chosen_labels_only():
    assert set(wrap(label_map(heart()), Wrapping(labels=["r2"])).names) == {"r2"}
    with pytest.raises(InputError, match="no label `r7`"):
        wrap(label_map(heart()), Wrapping(labels=["r7"]))
    with pytest.raises(InputError, match="no voxel is labelled"):
        wrap(label_map(np.zeros((3, 3, 3))))


def test_coarser_voxels_keep_the_volumes_of_the_given_ones():
    labels = label_map(heart(), (1.0, 1.0, 3.0))
    fine, coarse = wrap_and_tell(labels), wrap_and_tell(labels, Wrapping(resolution=2.0))
    assert len(coarse.interfaces.triangles) < 0.5 * len(fine.interfaces.triangles)
    assert max(map(abs, coarse.volume_error.values())) < 1e-3
    assert set(wrap(labels, Wrapping(resolution=50.0)).names) == set(labels.names)


def test_coarser_voxels_that_would_close_a_gap_are_refused_with_the_labels_beside_it():
    values = np.zeros((24, 24, 24), np.uint8)
    values[4:10, 4:20, 4:20], values[11:18, 4:20, 4:20] = 1, 2
    made = wrap_and_tell(label_map(values), Wrapping(resolution=3.0))
    assert ("r2", "r1") not in made.interfaces.pairs
    assert made.grid.spacing == pytest.approx(2.1)
    (told,) = made.refused
    assert "3 mm" in told and "`r1` and `r2`" in told
    assert not wrap_and_tell(label_map(values)).refused


def test_nested_surfaces_cut_their_regions_out_of_each_other():
    surfaces = from_surfaces(
        {"wall": ball(8.0), "blood": ball(5.0), "other": ball(3.0, (20.0, 0.0, 0.0))}
    )
    assert set(surfaces.pairs) == {("wall", "outside"), ("blood", "wall"), ("other", "outside")}
    assert_closed(surfaces)
    whole = ball(8.0).volume - ball(5.0).volume
    assert surfaces.volume("wall") == pytest.approx(whole)


def test_a_hollow_belongs_to_what_lies_around():
    outer, inner = ball(8.0), ball(5.0)
    hollow = TriangleSurface(
        np.concatenate([outer.points, inner.points]),
        np.concatenate([outer.triangles, inner.triangles[:, ::-1] + len(outer.points)]),
    )
    alone = from_surfaces({"wall": hollow, "clot": ball(2.0)})
    assert set(alone.pairs) == {("wall", "outside"), ("clot", "outside")}
    inside = from_surfaces({"body": ball(20.0), "wall": hollow, "clot": ball(2.0)})
    assert set(inside.pairs) == {("body", "outside"), ("wall", "body"), ("clot", "body")}


def test_surfaces_that_cut_each_other_or_are_open_are_refused_with_their_names():
    with pytest.raises(MeshError, match=r"`a` and `b`: they cut or touch each other at \("):
        from_surfaces({"a": ball(5.0), "b": ball(5.0, (4.0, 0.0, 0.0))})
    whole = ball(5.0)
    with pytest.raises(MeshError, match="surface `a`: hole"):
        from_surfaces({"a": TriangleSurface(whole.points, whole.triangles[1:])})
    with pytest.raises(InputError):
        from_surfaces({})


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data here")
@pytest.mark.parametrize(
    ("file", "resolution"),
    [
        ("aorta-ct/T716_aorta_true_false_lumen.nii.gz", None),
        ("wholeheart-labels/wh.nii.gz", 1.0),
        ("torso-ct/example_seg_fast_force_split.nii.gz", None),
    ],
)
def test_real_label_maps(file, resolution):
    image = sitk.ReadImage(str(SHARED / file))
    codes = np.unique(sitk.GetArrayViewFromImage(image))
    labels = LabelMap.from_sitk(image, {f"r{code}": int(code) for code in codes if code})
    told = wrap_and_tell(labels, Wrapping(resolution=resolution, islands_below=300.0))
    assert_sound(told.interfaces)
    large = [error for n, error in told.volume_error.items() if labels.volume_ml(n) > 5.0]
    assert max(map(abs, large)) < 1e-3
