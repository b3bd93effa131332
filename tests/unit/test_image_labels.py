from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.image.base_plane import find_base_plane
from organtwin.image.geometry import Geometry, read_geometry, write_geometry
from organtwin.image.labels import biventricular
from organtwin.image.ventricular_walls import with_walls
from organtwin.image.volume import LabelMap
from tests.synthetic import NAMES, two_ellipsoids


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return biventricular(two_ellipsoids(), resolution=1.5, smoothing=1.5)


def paint(labels: LabelMap, where: np.ndarray, name: str) -> LabelMap:
    values = labels.values.copy()
    values[where] = NAMES[name]
    return replace(labels, values=values)


def test_plane_lies_just_below_the_valves() -> None:
    plane = find_base_plane(two_ellipsoids())
    assert plane.tilt < 5
    np.testing.assert_allclose(plane.normal, [0, 0, 1], atol=0.1)
    assert 12.0 < plane.point[2] < 15.1
    np.testing.assert_allclose(plane.apex[2], -45, atol=3)
    assert plane.valves == ("mitral", "tricuspid")


def test_tissue_is_one_piece_and_cavities_open_at_the_base_only(geometry: Geometry) -> None:
    labels, top = geometry.labels, geometry.layers
    assert ndimage.label(labels.mask("lv", "rv"))[1] == 1
    assert not labels.values[:, :, top:].any()
    for name in ("lv_blood", "rv_blood"):
        blood = labels.mask(name)
        assert ndimage.label(blood)[1] == 1
        around = ndimage.binary_dilation(blood) & ~blood
        assert not (around & (labels.values == 0))[:, :, :top].any()
        assert blood[:, :, top - 1].any()


def test_base_plane_runs_between_voxel_layers(geometry: Geometry) -> None:
    labels = geometry.labels
    np.testing.assert_allclose(labels.direction[:, 2], geometry.base_normal)
    np.testing.assert_allclose(labels.direction.T @ labels.direction, np.eye(3), atol=1e-12)
    assert np.linalg.det(labels.direction) == pytest.approx(1.0)
    height = (geometry.base_point - labels.origin) @ geometry.base_normal / labels.spacing[2]
    assert height == pytest.approx(geometry.layers - 0.5, abs=1e-9)


def test_rv_wall_is_as_thick_as_asked_for(geometry: Geometry) -> None:
    thicker = biventricular(two_ellipsoids(), resolution=1.5, smoothing=1.5, rv_wall_thickness=6.0)
    for made, thickness in ((geometry, 3.0), (thicker, 6.0)):
        labels = made.labels
        depth = ndimage.distance_transform_edt(~labels.mask("rv_blood"), sampling=labels.spacing)
        outer = labels.mask("rv") & ndimage.binary_dilation(labels.values == 0)
        far_from_lv = ndimage.distance_transform_edt(~labels.mask("lv")) > 10
        below = np.arange(labels.values.shape[2]) < made.layers - 2
        centre = np.median(depth[outer & far_from_lv & below]) + 0.5 * labels.spacing[0]
        assert centre == pytest.approx(thickness + 0.75, abs=0.8)
    assert thicker.volumes_ml["rv"] > 1.7 * geometry.volumes_ml["rv"]
    assert thicker.volumes_ml["lv"] == pytest.approx(geometry.volumes_ml["lv"], rel=0.01)


@pytest.mark.parametrize(
    ("spacing", "direction"),
    [
        ((1.5, 1.5, 1.5), np.diag([1.0, -1.0, 1.0])),
        ((1.5, 1.5, 1.5), np.array([[0.0, 1, 0], [0, 0, -1], [1, 0, 0]])),
        ((0.9, 1.2, 3.0), np.eye(3)),
        ((1.2, 1.5, 2.5), np.linalg.qr(np.array([[1, 0.5, 0.2], [-0.5, 1, 0.3], [0, -0.4, 1]]))[0]),
    ],
    ids=["mirrored", "permuted", "anisotropic", "oblique"],
)
def test_grid_of_the_image_does_not_matter(
    geometry: Geometry, spacing: tuple[float, float, float], direction: np.ndarray
) -> None:
    other = biventricular(two_ellipsoids(spacing, direction), resolution=1.5, smoothing=1.5)
    # Cavities and walls end at a plane whose height is known to a voxel: 3 mm of 60 mm at most.
    for name, volume in geometry.volumes_ml.items():
        assert other.volumes_ml[name] == pytest.approx(volume, rel=0.06), name
    for name in ("lv", "rv_blood"):
        here, there = (g.labels.points(np.argwhere(g.labels.mask(name))) for g in (geometry, other))
        np.testing.assert_allclose(there.mean(axis=0), here.mean(axis=0), atol=1.5)


def test_files_give_the_geometry_back(geometry: Geometry, tmp_path: Path) -> None:
    write_geometry(geometry, tmp_path)
    again = read_geometry(tmp_path)
    np.testing.assert_array_equal(again.labels.values, geometry.labels.values)
    np.testing.assert_allclose(again.labels.direction, geometry.labels.direction, atol=1e-12)
    np.testing.assert_allclose(again.base_point, geometry.base_point)
    assert again.decisions == geometry.decisions
    assert again.volumes_ml == geometry.volumes_ml
    (tmp_path / "geometry.json").write_text("{}")
    with pytest.raises(InputError, match="no geometry"):
        read_geometry(tmp_path)


def test_decisions_tell_numbers(geometry: Geometry) -> None:
    text = " ".join(geometry.decisions)
    for words in ("below the valves", "3 mm outwards", "mL of LV", "smoothed", "% of lv_blood"):
        assert words in text
    assert all(sentence.endswith(".") for sentence in geometry.decisions)


def test_small_islands_are_dropped_and_told() -> None:
    labels = two_ellipsoids()
    shape = labels.values.shape
    island = np.zeros(shape, bool)
    island[5:11, 40:46, 30:36] = True
    made = biventricular(paint(labels, island, "lv_myocardium"), resolution=1.5, smoothing=1.5)
    assert made.volumes_ml["lv"] == pytest.approx(
        biventricular(labels, resolution=1.5, smoothing=1.5).volumes_ml["lv"], rel=0.01
    )


def test_thin_and_holed_lv_wall_is_closed() -> None:
    labels = two_ellipsoids()
    hole = labels.mask("lv_myocardium") & (np.arange(labels.values.shape[0])[:, None, None] < 28)
    values = labels.values.copy()
    values[hole] = 0
    made = biventricular(replace(labels, values=values), resolution=1.5, smoothing=1.5)
    assert any("grown to at least 3 mm" in sentence for sentence in made.decisions)
    blood = made.labels.mask("lv_blood")
    around = ndimage.binary_dilation(blood) & ~blood
    assert not (around & (made.labels.values == 0))[:, :, : made.layers].any()


def test_noisy_labels_give_the_same_heart(geometry: Geometry) -> None:
    labels = two_ellipsoids()
    random = np.random.default_rng(1)
    values = labels.values.copy()
    flipped = random.random(values.shape) < 0.02
    values[flipped] = random.integers(0, 6, int(flipped.sum()))
    noisy = biventricular(replace(labels, values=values), resolution=1.5, smoothing=1.5)
    for name in ("lv", "lv_blood", "rv_blood"):
        assert noisy.volumes_ml[name] == pytest.approx(geometry.volumes_ml[name], rel=0.08)
    assert ndimage.label(noisy.labels.mask("lv", "rv"))[1] == 1


def test_two_pieces_are_refused_with_their_volumes() -> None:
    labels = two_ellipsoids()
    second = np.zeros(labels.values.shape, bool)
    second[2:20, 2:20, 30:50] = True
    with pytest.raises(InputError, match=r"`lv_blood`: is in disconnected pieces of \d+.* mL and"):
        biventricular(paint(labels, second, "lv_blood"))


def test_missing_label_and_impossible_settings() -> None:
    labels = two_ellipsoids()
    without = replace(labels, names={k: v for k, v in NAMES.items() if k != "rv_blood"})
    with pytest.raises(InputError, match="label `rv_blood` is missing"):
        biventricular(without)
    with pytest.raises(InputError, match=r"rv_wall_thickness: 40 mm is outside 1 to 12 mm"):
        biventricular(labels, rv_wall_thickness=40.0)


def test_closed_left_ventricle_is_refused() -> None:
    labels = two_ellipsoids()
    values = labels.values.copy()
    near = ndimage.binary_dilation(labels.mask("lv_blood"), iterations=3)
    values[near & ~labels.mask("lv_blood")] = NAMES["lv_myocardium"]
    closed = replace(labels, values=values, names={k: NAMES[k] for k in NAMES if "atrium" not in k})
    with pytest.raises(InputError, match="closed all around"):
        biventricular(closed)


def test_muscle_of_both_ventricles_is_shared_out(geometry: Geometry) -> None:
    grown = geometry.labels
    muscle = np.where(grown.mask("lv", "rv"), 1, 0) + 2 * grown.mask("lv_blood")
    values = (muscle + 3 * grown.mask("rv_blood")).astype(np.uint8)
    one = replace(grown, values=values, names={"myocardium": 1, "lv_blood": 2, "rv_blood": 3})
    made = with_walls(one)
    assert made.mask("lv_myocardium", "rv_myocardium").sum() == one.mask("myocardium").sum()
    agreed = made.mask("lv_myocardium") == grown.mask("lv")
    assert agreed[one.mask("myocardium")].mean() > 0.9
    assert made.volume_ml("rv_myocardium") == pytest.approx(grown.volume_ml("rv"), rel=0.3)
    again = biventricular(one, resolution=1.5, smoothing=1.5, rv_wall_thickness=1.0)
    assert again.volumes_ml["rv"] > 0.6 * geometry.volumes_ml["rv"]
    with pytest.raises(InputError, match="Name both parts"):
        with_walls(replace(one, names={**one.names, "rv_myocardium": 4}))


def test_muscle_that_is_not_outside_is_refused() -> None:
    values = np.zeros((9, 9, 9), np.uint8)
    values[2:7, 2:7, 2:7], values[4, 4, 4] = 3, 1
    labels = LabelMap(
        values, {"lv_blood": 2, "myocardium": 1, "rv_blood": 3}, np.ones(3), np.zeros(3), np.eye(3)
    )
    with pytest.raises(InputError, match="between the left ventricle and the outside"):
        with_walls(labels)
