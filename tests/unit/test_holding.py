from __future__ import annotations

import numpy as np
import pytest

from organtwin.image.volume import LabelMap
from organtwin.mesh.conforming.holding import Anchors, hold, numbers_of, rooms
from organtwin.mesh.conforming.interfaces import Interfaces
from organtwin.mesh.conforming.ladder import conform
from organtwin.mesh.conforming.remeshing import remesh
from organtwin.mesh.conforming.route import MeshOptions, corners_of
from organtwin.mesh.conforming.sizes import SizeField, Sizes
from organtwin.mesh.conforming.topology import net_of
from organtwin.mesh.conforming.wrapping import wrap
from organtwin.mesh.proof import prove

SPACING = np.array([1.0, 1.0, 1.4])


@pytest.fixture(scope="module")
def labels() -> LabelMap:
    """A body with a tip, cut in two by a slanted plane, on oblique voxels."""
    x, y, z = np.indices((26, 18, 14)) - np.array([9.0, 8.5, 6.5]).reshape(3, 1, 1, 1)
    z = 1.4 * z
    body = x**2 + y**2 + z**2 < 6.3**2
    tip = (x > 0) & (y**2 + z**2 < (2.6 - 0.16 * x) ** 2) & (x < 14)
    values = (body | tip).astype(np.uint8)
    values[(values > 0) & (x + 0.6 * y + 0.3 * z > 2.0)] = 2
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    return LabelMap(values, {"body": 1, "tip": 2}, SPACING, np.array([5.0, 6.0, 7.0]), turn)


def sheet(height: float) -> Interfaces:
    """A flat square of many triangles between regions 1 and 0."""
    i, j = np.indices((7, 7)).reshape(2, -1)
    points = np.column_stack([i, j, np.full(len(i), height)]).astype(float)
    a = (7 * i + j)[(i < 6) & (j < 6)]
    triangles = np.concatenate([np.stack([a, a + 7, a + 8], 1), np.stack([a, a + 8, a + 1], 1)])
    return Interfaces(points, triangles, np.tile([1, 0], (len(triangles), 1)), {"a": 1})


def test_corners_are_those_that_vertices_moved_away_from(labels: LabelMap) -> None:
    smooth = wrap(labels)
    index = labels.grid.index(corners_of(smooth.points, labels.grid))
    assert np.allclose(index + 0.5, np.round(index + 0.5))
    moved = np.abs(labels.grid.index(smooth.points) - index)
    assert moved.max() < 0.5
    assert moved.max() > 0.4


def test_a_sheet_is_pulled_to_the_anchor_that_is_too_far_and_only_there() -> None:
    flat = sheet(0.0)
    net = net_of(flat.points, flat.triangles, flat.sides)
    places = np.array([[3.3, 2.9, 0.6], [1.0, 4.2, 0.3]])
    anchors = Anchors(places, numbers_of(np.array([[1, 0]] * 2)), np.eye(3)[[2, 2]], 0.5)
    held = hold(net, numbers_of(flat.sides), anchors)
    lifted = held.points[:, 2]
    assert 0.05 < lifted.max() < 0.2
    assert (lifted > 0).sum() <= 4
    after = Interfaces(held.points, flat.triangles, flat.sides, flat.names)
    assert rooms(flat, anchors)[1] == pytest.approx(0.6)
    assert 0.45 < rooms(after, anchors)[1] <= 0.5


def test_room_is_what_the_nearest_anchor_leaves() -> None:
    flat = sheet(0.0)
    anchors = Anchors(np.array([[3.0, 3.0, 0.3]]), np.array([65536]), np.eye(3)[[2]], 0.5)
    room, away = rooms(flat, anchors)
    assert away == pytest.approx(0.3)
    assert room[7 * 3 + 3] == pytest.approx(0.2)
    assert np.isinf(room[0])
    assert np.isinf(rooms(flat, anchors.part(np.array([False])))[0]).all()


def test_remeshing_alone_leaves_corners_behind_and_anchors_bring_it_back(labels: LabelMap) -> None:
    smooth = wrap(labels)
    half = 0.5 * float(np.linalg.norm(SPACING))
    anchors = Anchors.of(smooth, corners_of(smooth.points, labels.grid), half, half)
    free, kept = (
        remesh(smooth, SizeField.constant(2.5), deviation=0.25, anchors=a) for a in (None, anchors)
    )
    assert rooms(free, anchors)[1] > 1.01 * half
    assert rooms(kept, anchors)[1] <= half
    for name in labels.names:
        assert kept.volume(name) == pytest.approx(smooth.volume(name), rel=2e-3)


def test_meshes_are_within_half_a_voxel_diagonal_both_ways(labels: LabelMap) -> None:
    made = conform(labels, MeshOptions(Sizes(2.5)))
    proof = prove(made.mesh, labels)
    assert proof.voxel_diagonal is not None
    for region in proof.regions.values():
        assert region.hausdorff <= 0.5 * proof.voxel_diagonal
        assert abs(region.volume_error) < 5e-3
    assert proof.quality.min_dihedral >= 10.0
    assert any("0.50 of their diagonals" in told for told in made.decisions)
