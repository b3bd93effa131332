import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay

from organtwin.errors import InputError, MeshError
from organtwin.mesh.conforming.batches import EDGES, OPPOSITE, Changes, Patch, apply, neighbours
from organtwin.mesh.conforming.cavities import contract, insert
from organtwin.mesh.conforming.cell_shape import OBTUSE, shape_of, shapes
from organtwin.mesh.conforming.faces_between import crossing_vertices, interface_triangles
from organtwin.mesh.conforming.improvement import improve
from organtwin.mesh.conforming.swaps import _triangulations, remove_edges, remove_faces
from organtwin.mesh.conforming.vertex_moves import move
from organtwin.mesh.intersections import intersecting_pairs
from organtwin.mesh.quality import dihedral_angles, signed_volumes


def sphere(count, radius):
    height = 1 - 2 * (np.arange(count) + 0.5) / count
    turn = np.pi * (1 + np.sqrt(5)) * np.arange(count)
    flat = np.sqrt(1 - height**2)
    return radius * np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=1)


def positive(points, cells):
    cells = cells.copy()
    turned = signed_volumes(points, cells) < 0
    cells[turned] = cells[turned][:, [1, 0, 2, 3]]
    return cells


def ball(seed=0):
    """Delaunay's tetrahedra of a ball in a shell: flat ones inside and at the interface."""
    rng = np.random.default_rng(seed)
    inside = rng.standard_normal((900, 3))
    inside *= (9.0 * np.cbrt(rng.random(900)) / np.linalg.norm(inside, axis=1))[:, None]
    radius = np.linalg.norm(inside, axis=1)
    points = np.concatenate([
        sphere(700, 10.0), sphere(300, 6.0), inside[np.abs(radius - 6.0) > 0.5]
    ])  # fmt: skip
    cells = positive(points, Delaunay(points).simplices.astype(np.int64))
    regions = 1 + (np.linalg.norm(points[cells].mean(axis=1), axis=1) < 5.9).astype(np.int64)
    return points, cells, regions


def borders(cells, regions):
    pairs, counts = np.unique(interface_triangles(cells, regions)[1], axis=0, return_counts=True)
    return dict(zip(map(tuple, pairs.tolist()), counts.tolist(), strict=True))


def pieces(cells, regions):
    beyond = neighbours(cells)
    cell, corner = np.nonzero((beyond >= 0) & (regions[beyond] == regions[:, None]))
    joined = coo_matrix((np.ones(len(cell)), (cell, beyond[cell, corner])), (len(cells),) * 2)
    return connected_components(joined)[0]


def patch_of(points, cells, regions=None, reach=np.inf):
    regions = np.ones(len(cells), np.int64) if regions is None else np.asarray(regions)
    reach = np.full(len(points), reach)
    return Patch(points, cells, regions, points, reach, np.ones(len(points), bool))


def around_axis(count, height=1.0):
    """Cells around an edge from below to above a polygon."""
    turn = 2 * np.pi * np.arange(count) / count
    ring = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
    points = np.concatenate([[[0, 0, -height], [0, 0, height]], ring])
    number = np.arange(count)
    cells = np.stack([0 * number, 0 * number + 1, 2 + number, 2 + (number + 1) % count], axis=1)
    return points, cells


def test_shape_is_the_least_weighted_sine_of_the_dihedral_angles():
    points = np.random.default_rng(1).random((400, 3))
    cells = positive(points, np.arange(400).reshape(-1, 4))
    angles = dihedral_angles(points, cells)
    sines = np.sin(np.radians(angles)) * np.where(angles > 90, OBTUSE, 1.0)
    assert shapes(points, cells) == pytest.approx(sines.min(axis=1), rel=1e-9)
    assert (shapes(points, cells[:, [1, 0, 2, 3]]) < 0).all()


def test_tables_of_corners_keep_the_orientation():
    points = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    for edge in EDGES:
        assert signed_volumes(points, edge[None])[0] > 0
    for corner, others in enumerate(OPPOSITE):
        assert signed_volumes(points, np.array([[corner, *others]]))[0] > 0


def test_neighbours_share_the_face_and_point_back():
    _, cells, _ = ball()
    beyond = neighbours(cells)
    cell, corner = np.nonzero(beyond >= 0)
    face = np.sort(cells[cell[:, None], OPPOSITE[corner]], axis=1)
    other = beyond[cell, corner]
    assert all(set(f) <= set(c) for f, c in zip(face, cells[other], strict=True))
    assert (beyond[other] == cell[:, None]).any(axis=1).all()


@pytest.mark.parametrize(("corners", "count"), [(3, 1), (4, 2), (5, 5), (6, 14), (7, 42)])
def test_polygons_have_catalan_many_triangulations(corners, count):
    triangles, choices = _triangulations(corners)
    assert len(np.unique(np.sort(choices, axis=1), axis=0)) == count
    area = np.array([(j - i) * (k - j) * (k - i) for i, j, k in triangles])
    assert choices.shape == (count, corners - 2) and (area > 0).all()


@pytest.mark.parametrize(("count", "height"), [(3, 2.0), (4, 2.0), (5, 2.0), (6, 12.0)])
def test_a_long_edge_is_replaced_by_a_triangulated_polygon(count, height):
    points, cells = around_axis(count, height)
    cells = positive(points, cells)
    patch = patch_of(points, cells)
    inside, across = remove_edges(patch, np.ones(count, bool), 1.0)
    after, done = apply(patch, inside)
    assert done == 1 and len(across.gain) == 0
    assert len(after.cells) == 2 * (count - 2)
    volume = signed_volumes(points, after.cells)
    assert (volume > 0).all()
    assert volume.sum() == pytest.approx(signed_volumes(points, cells).sum())
    assert shapes(points, after.cells).min() > shapes(points, cells).min()


def test_two_flat_cells_become_three_around_a_new_edge():
    points, three = around_axis(3, height=0.3)
    two = positive(points, np.array([[2, 3, 4, 0], [2, 3, 4, 1]]))
    patch = patch_of(points, two)
    after, done = apply(patch, remove_faces(patch, np.ones(2, bool), 1.0))
    assert done == 1
    assert {frozenset(c) for c in after.cells.tolist()} == {frozenset(c) for c in three.tolist()}
    assert (signed_volumes(points, after.cells) > 0).all()


def test_an_edge_of_an_interface_turns_only_within_reach():
    # Two regions above and below a square; a flat cell lies on one diagonal of the square.
    points = np.array([
        [0, 0, 0], [2, 0, 0], [1, 1, 0.02], [1, -1, 0.02], [1, 0, 1.5], [1, 0, -1.5]
    ])  # fmt: skip
    cells = positive(points, np.array([[0, 1, 2, 3], [0, 2, 3, 4], [1, 2, 3, 4],
                                       [0, 1, 2, 5], [0, 1, 3, 5]]))  # fmt: skip
    regions = np.array([1, 1, 1, 2, 2])
    for reach, turns in ((0.01, 0), (0.1, 1)):
        patch = patch_of(points, cells, regions, reach)
        after, done = apply(patch, remove_edges(patch, np.arange(5) == 0, shape_of(12.0))[1])
        assert done == turns
        assert borders(after.cells, after.regions) == borders(cells, regions)
        assert (signed_volumes(after.points, after.cells) > 0).all()
    assert len(after.cells) == 4
    assert shapes(after.points, after.cells).min() > shape_of(12.0)


@pytest.mark.parametrize(("keys", "made"), [([7, 8], 2), ([7, 7], 1), ([], 2)])
def test_two_changes_don_t_lay_interfaces_through_the_same_edge(keys, made):
    cells = np.arange(8).reshape(2, 4)
    patch = patch_of(np.random.default_rng(0).random((8, 3)), cells)
    number = np.array([0, 1])
    changes = Changes(
        number, number, cells[:, [1, 2, 0, 3]], number, number + 1, np.array([0.1, 0.2]),
        edges=np.array(keys, np.int64),
    )  # fmt: skip
    assert apply(patch, changes)[1] == made


def test_a_vertex_moves_to_the_middle_but_not_beyond_its_reach():
    points, cells = around_axis(6)
    points = np.concatenate([points, [[0.55, 0.1, 0.2]]])
    apart = np.concatenate([np.where(cells == 0, 8, cells), np.where(cells == 1, 8, cells)])
    cells = apart[signed_volumes(points, apart) > 0]
    before = shapes(points, cells).min()
    for reach in (np.inf, 0.1):
        patch = patch_of(points, cells, reach=0.0)
        patch.reach[8] = reach
        after, done = move(patch, np.array([8]), 1.0, 40)
        assert done > 0 and shapes(after.points, cells).min() > before
        assert np.linalg.norm(after.points[8] - points[8]) <= reach + 1e-12
        assert np.array_equal(after.points[:8], points[:8])


def test_new_and_contracted_vertices_raise_the_worst_cell_and_keep_the_volume():
    points, cells, regions = ball()
    for change in (insert, contract):
        patch = patch_of(points, cells, regions)
        border = np.unique(interface_triangles(cells, regions)[0])
        patch.reach[border] = 0.0
        bad = shapes(points, cells) < shape_of(12.0)
        after, done = apply(patch, change(patch, bad, shape_of(12.0)))
        shape = shapes(after.points, after.cells)
        assert done > 0 and (shape > 0).all()
        assert (shape < shape_of(12.0)).sum() < bad.sum()
        assert borders(after.cells, after.regions) == borders(cells, regions)
        for region in (1, 2):
            volume = signed_volumes(after.points, after.cells)[after.regions == region].sum()
            wanted = signed_volumes(points, cells)[regions == region].sum()
            assert volume == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("seed", [0, 1])
def test_flat_cells_of_two_regions_become_good_ones(seed):
    points, cells, regions = ball(seed)
    made = improve(points, cells, regions, shift=np.full(len(points), 0.3), target=12.0)
    angles = dihedral_angles(made.points, made.cells)
    assert made.smallest[0] < 2.0 and made.largest[0] > 170.0
    assert made.smallest[1] == pytest.approx(angles.min()) and angles.min() >= 12.0
    assert made.largest[1] == pytest.approx(angles.max()) and angles.max() <= 163.0
    assert len(made.below) == 0 and not made.reasons
    assert made.shifted <= 0.3 + 1e-12
    assert borders(made.cells, made.regions) == borders(cells, regions)
    assert pieces(made.cells, made.regions) == pieces(cells, regions)
    border = np.unique(interface_triangles(cells, regions)[0])
    assert len(np.unique(made.cells)) == len(made.points) > border.max()
    for region in (1, 2):
        before = signed_volumes(points, cells)[regions == region].sum()
        after = signed_volumes(made.points, made.cells)[made.regions == region].sum()
        assert after - before == pytest.approx(made.volumes[region], abs=1e-8)
        assert after == pytest.approx(before, rel=0.01)


def test_without_reach_the_interfaces_stay_as_they_are():
    points, cells, regions = ball()
    made = improve(points, cells, regions, shift=np.zeros(len(points)), target=12.0)
    before, after = (
        np.unique(np.sort(p[interface_triangles(c, r)[0]].reshape(-1, 9), axis=1), axis=0)
        for p, c, r in ((points, cells, regions), (made.points, made.cells, made.regions))
    )
    assert np.array_equal(before, after)
    assert made.shifted == 0.0
    assert made.smallest[1] > made.smallest[0]
    assert sum(made.reasons.values()) == len(made.below)
    assert max(map(abs, made.volumes.values())) < 1e-9


def test_a_good_mesh_is_left_alone_and_the_same_comes_out_twice():
    points, cells, regions = ball()
    shift = np.full(len(points), 0.3)
    first, second = (improve(points, cells, regions, shift=shift) for _ in range(2))
    assert np.array_equal(first.points, second.points)
    assert np.array_equal(first.cells, second.cells)
    again = improve(first.points, first.cells, first.regions, shift=np.zeros(len(first.points)))
    assert np.array_equal(again.cells, first.cells) and not again.done


def test_an_outer_boundary_that_comes_to_cross_itself_is_found_and_undone():
    points, cells, regions = ball()
    top, low = np.argmax(points[:, 2]), np.argmin(points[:, 2])
    apart = points[top, 2] - points[low, 2] + 0.05
    two = np.concatenate([points, points + np.array([0.0, 0.0, apart])])
    both = np.concatenate([cells, cells + len(points)]), np.tile(regions, 2)
    before = patch_of(two, *both)
    assert len(crossing_vertices(before, before)) == 0
    pushed = two.copy()
    pushed[top, 2] += 0.5
    found = crossing_vertices(before, patch_of(pushed, *both))
    assert top in found and found.max() < len(points)
    made = improve(two, *both, shift=np.full(len(two), 0.3))
    assert len(made.below) == 0
    triangles, sides = interface_triangles(made.cells, made.regions)
    assert len(intersecting_pairs(made.points, triangles[sides[:, 1] == 0])) == 0


def test_inverted_cells_and_senseless_targets_are_refused():
    points, cells, regions = ball()
    shift = np.zeros(len(points))
    with pytest.raises(InputError, match="60 degrees"):
        improve(points, cells, regions, shift=shift, target=60.0)
    with pytest.raises(InputError, match="shift"):
        improve(points, cells, regions, shift=shift[:-1])
    with pytest.raises(InputError, match="region 0"):
        improve(points, cells, regions - 1, shift=shift)
    cells[7] = cells[7][[1, 0, 2, 3]]
    with pytest.raises(MeshError, match="1 inverted"):
        improve(points, cells, regions, shift=shift)
