from __future__ import annotations

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.image.volume import Grid, LabelMap
from organtwin.mesh.conforming.interfaces import Interfaces
from organtwin.mesh.conforming.sizes import (
    Near,
    SizeField,
    Sizes,
    _regions,
    curvature_radii,
    graded,
    size_field,
    thicknesses,
)
from organtwin.mesh.conforming.wrapping import wrap


def shell(outer: float, inner: float, voxel: float = 1.0) -> Interfaces:
    x = np.arange(-outer - 2 * voxel, outer + 2 * voxel, voxel)
    r = np.sqrt(sum(c**2 for c in np.meshgrid(x, x, x, indexing="ij")))
    values = ((r < outer) & (r >= inner)).astype(np.uint8)
    labels = LabelMap(values, {"wall": 1}, np.full(3, voxel), np.full(3, x[0]), np.eye(3))
    return wrap(labels)


def two_boxes() -> Interfaces:
    values = np.zeros((22, 12, 12), np.uint8)
    values[1:11, 1:11, 1:11], values[11:21, 1:11, 1:11] = 1, 2
    return wrap(LabelMap(values, {"a": 1, "b": 2}, np.ones(3), np.zeros(3), np.eye(3)))


def test_a_constant_size_holds_everywhere() -> None:
    points = np.array([[0.0, 0.0, 0.0], [1e3, -50.0, 7.0]])
    assert SizeField.constant(2.5).at(points) == pytest.approx([2.5, 2.5])
    assert size_field(two_boxes(), Sizes(1.5)).at(points) == pytest.approx([1.5, 1.5])


def test_sizes_grow_no_faster_than_the_gradation() -> None:
    values = np.full((21, 15, 11), 9.0)
    values[10, 7, 5] = 1.0
    spacing = np.full(3, 1.5)
    result = graded(values, spacing, 0.3)
    distance = np.linalg.norm(
        (np.indices(values.shape).reshape(3, -1).T - [10, 7, 5]) * spacing, axis=1
    ).reshape(values.shape)
    exact = np.minimum(1.0 + 0.3 * distance, 9.0)
    assert (result >= exact - 1e-12).all()
    assert (result - 1.0 <= 1.13 * (exact - 1.0) + 1e-12).all()
    for axis in range(3):
        assert np.abs(np.diff(result, axis=axis)).max() <= 0.3 * spacing[axis] + 1e-12


def test_each_region_has_its_size_and_borders_the_smaller_one() -> None:
    field = size_field(two_boxes(), Sizes(2.0, by_label={"a": 1.0, "b": 4.0}, gradation=0.5))
    in_a, border, in_b = field.at(np.array([[5.0, 6.0, 6.0], [10.5, 6.0, 6.0], [17.5, 6.0, 6.0]]))
    assert in_a == pytest.approx(1.0)
    assert border == pytest.approx(1.0, abs=0.3)
    assert 2.5 < in_b <= 4.0


def test_points_of_a_grid_find_their_regions_near_and_far_from_borders() -> None:
    surfaces = two_boxes()
    middle = np.array([10.5, 5.5, 5.5])
    grid = Grid((31, 21, 21), np.full(3, 1.0), middle - [15.0, 10.0, 10.0], np.eye(3))
    x, y, z = grid.points(np.indices(grid.shape).reshape(3, -1).T).T
    within = (np.abs(y - 5.5) < 5.0) & (np.abs(z - 5.5) < 5.0)
    wanted = np.where(within & (np.abs(x - 5.5) < 5.0), 1, 0)
    wanted = np.where(within & (np.abs(x - 15.5) < 5.0), 2, wanted)
    # Smoothing rounds the edges of the boxes.
    away = np.abs(np.abs(np.stack([x - 5.5, x - 15.5, y - 5.5, z - 5.5])) - 5.0)
    sure = (away > 0.8).all(axis=0)
    found = _regions(surfaces, grid).ravel()
    np.testing.assert_array_equal(found[sure], wanted[sure])
    assert sure.mean() > 0.4


def test_sizes_near_a_border_and_near_points() -> None:
    boxes = two_boxes()
    place = np.array([[1.0, 6.0, 6.0]])
    sizes = Sizes(3.0, near=(Near(("a", "b"), 1.0, 2.0), Near(place, 0.5)))
    at_border, at_place, far = size_field(boxes, sizes).at(
        np.array([[9.0, 6.0, 6.0], place[0], [20.0, 6.0, 6.0]])
    )
    assert at_border == pytest.approx(1.0, abs=0.1)
    assert at_place == pytest.approx(0.5, abs=0.1)
    assert far > 2.5


def test_thickness_of_a_shell_is_measured() -> None:
    wall = shell(14.0, 11.0)
    found = thicknesses(wall, 10.0)
    assert np.median(found) == pytest.approx(3.0, rel=0.1)
    sizes = size_field(wall, Sizes(4.0, thickness=2.0, smallest=0.5)).at(wall.points)
    assert np.median(sizes) == pytest.approx(1.5, rel=0.1)


def test_curvature_of_a_sphere_is_measured() -> None:
    ball = shell(12.0, 0.0)
    assert np.median(curvature_radii(ball)) == pytest.approx(12.0, rel=0.2)
    sizes = size_field(ball, Sizes(6.0, curvature=24.0)).at(ball.points)
    assert np.median(sizes) == pytest.approx(2.0 * np.pi * 12.0 / 24.0, rel=0.25)


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        (Sizes(2.0, by_label={"c": 1.0}), "no region `c`"),
        (Sizes(-1.0), "-1 is no edge length"),
        (Sizes(2.0, near=(Near("a", 0.0),)), "near 0"),
        (Sizes(2.0, near=(Near(("a", "a"), 1.0),)), "don't touch"),
    ],
)
def test_impossible_sizes_are_refused(sizes: Sizes, told: str) -> None:
    with pytest.raises(InputError, match=told):
        size_field(two_boxes(), sizes)
