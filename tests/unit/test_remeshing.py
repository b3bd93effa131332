from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from organtwin.image.volume import LabelMap
from organtwin.mesh.conforming.flipping import smallest_angles
from organtwin.mesh.conforming.interfaces import Interfaces
from organtwin.mesh.conforming.remeshing import Remeshing, crossing, remesh
from organtwin.mesh.conforming.sizes import SizeField
from organtwin.mesh.conforming.topology import ALONG, CORNER, INSIDE, Net, net_of
from organtwin.mesh.conforming.wrapping import wrap


def touching_balls(voxel: float = 1.0) -> Interfaces:
    x = np.arange(-14.0, 14.0, voxel)
    x, y, z = np.meshgrid(x, x, x, indexing="ij")
    values = np.zeros(x.shape, np.uint8)
    values[(x + 3.3) ** 2 + y**2 + z**2 < 9**2] = 1
    values[((x - 5.3) ** 2 + y**2 + z**2 < 7.5**2) & (values == 0)] = 2
    return wrap(LabelMap(values, {"a": 1, "b": 2}, np.full(3, voxel), np.full(3, -14.0), np.eye(3)))


def thin_shell(voxel: float = 0.6) -> Interfaces:
    x = np.arange(-9.0, 9.0, voxel)
    r = np.sqrt(sum(c**2 for c in np.meshgrid(x, x, x, indexing="ij")))
    values = ((r < 8.0) & (r >= 6.5)).astype(np.uint8)
    return wrap(LabelMap(values, {"wall": 1}, np.full(3, voxel), np.full(3, -9.0), np.eye(3)))


def box(x: float, y: float, z: float) -> Interfaces:
    points = np.indices((2, 2, 2)).reshape(3, -1).T * np.array([x, y, z])
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = np.array([t for a, b, c, d in faces for t in ((a, b, c), (a, c, d))])
    return Interfaces(points, triangles, np.tile([1, 0], (12, 1)), {"box": 1})


def net_from(interfaces: Interfaces) -> Net:
    return net_of(interfaces.points, interfaces.triangles, interfaces.sides)


def euler(net: Net) -> int:
    return len(np.unique(net.triangles)) - len(net.edges.count) + len(net.triangles)


def on_curves(net: Net) -> int:
    ends = net.edges.ends[net.edges.curve]
    return len(np.unique(ends)) - len(ends)


def check_sound(before: Interfaces, after: Interfaces) -> None:
    old, new = net_from(before), net_from(after)
    assert euler(new) == euler(old)
    assert on_curves(new) == on_curves(old)
    assert after.pairs == before.pairs
    assert after.names == before.names
    assert len(crossing(new)) == 0
    for name in before.names:
        assert after.volume(name) == pytest.approx(before.volume(name), rel=1e-9)


@pytest.fixture(scope="module")
def coarse_shell() -> tuple[Interfaces, Interfaces]:
    shell = thin_shell()
    return shell, remesh(shell, SizeField.constant(1.5), deviation=0.2)


@pytest.mark.parametrize(("voxel", "size"), [(1.0, 2.0), (2.0, 1.2)])
def test_touching_balls_keep_their_curve_and_volumes(voxel: float, size: float) -> None:
    balls = touching_balls(voxel)
    after = remesh(balls, SizeField.constant(size), deviation=0.2)
    check_sound(balls, after)
    net = net_from(after)
    assert np.median(net.lengths) == pytest.approx(size, rel=0.25)
    assert (smallest_angles(after.corners) < 20.0).mean() < 0.02


def test_a_thin_shell_is_coarsened_without_crossings(
    coarse_shell: tuple[Interfaces, Interfaces],
) -> None:
    before, after = coarse_shell
    check_sound(before, after)
    angles = smallest_angles(after.corners)
    assert angles.min() > 25.0
    assert angles.mean() > 50.0
    ratio = net_from(after).lengths / 1.5
    assert ((ratio > 0.6) & (ratio < 1.6)).mean() > 0.99
    radius = np.linalg.norm(after.corners.mean(axis=1), axis=1)
    assert np.minimum(abs(radius - 8.0), abs(radius - 6.5)).max() < 0.6


def test_the_same_input_gives_the_same_bits(coarse_shell: tuple[Interfaces, Interfaces]) -> None:
    before, after = coarse_shell
    again = remesh(before, SizeField.constant(1.5), deviation=0.2)
    assert np.array_equal(again.points, after.points)
    assert np.array_equal(again.triangles, after.triangles)


def test_creases_of_a_box_are_kept_and_large_triangles_refined() -> None:
    before = box(6.0, 4.0, 3.0)
    after = remesh(before, SizeField.constant(1.0), deviation=0.05, options=Remeshing(crease=40.0))
    check_sound(before, after)
    assert len(after.triangles) > 200
    on_side = (np.abs(after.points) < 1e-9) | (np.abs(after.points - [6.0, 4.0, 3.0]) < 1e-9)
    assert on_side.any(axis=1).all()
    assert on_side.all(axis=1).sum() == 8


def test_vertices_are_told_apart_by_what_meets_there() -> None:
    first, second = box(1.0, 1.0, 1.0), box(1.0, 1.0, 1.0)
    # Two boxes that touch in one vertex, and two with a common edge.
    corner = _joined(first, replace(second, points=second.points + 1.0))
    assert (net_from(corner).kind == CORNER).sum() == 1
    edge = _joined(first, replace(second, points=second.points + np.array([1.0, 1.0, 0.0])))
    net = net_from(edge)
    assert net.edges.curve.sum() == 1
    assert (net.kind == CORNER).sum() == 2
    assert (net.kind == ALONG).sum() == 0
    assert (net_from(first).kind == INSIDE).all()


def _joined(first: Interfaces, second: Interfaces) -> Interfaces:
    points = np.concatenate([first.points, second.points])
    triangles = np.concatenate([first.triangles, second.triangles + len(first.points)])
    unique, number = np.unique(points, axis=0, return_inverse=True)
    sides = np.concatenate([first.sides, second.sides])
    return Interfaces(unique, number.ravel()[triangles], sides, first.names)
