import json

import numpy as np
import pytest
import pyvista as pv
from mpi4py import MPI
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.geodesics import Triangles, gather_surface
from organtwin.anatomy.landmarks import activation_sites
from organtwin.anatomy.purkinje import (
    LEFT,
    REGIONS,
    RIGHT,
    Growth,
    Origin,
    bundle_origin,
    grow,
    purkinje_tree,
    statistics,
)
from organtwin.anatomy.tree_files import read_tree, write_tree
from organtwin.errors import InputError, MeshError
from organtwin.verify.biventricle import biventricle


@pytest.fixture(scope="module")
def heart(tmp_path_factory):
    domain = biventricle(MPI.COMM_SELF, tmp_path_factory.mktemp("tree") / "heart.msh", size=8.0)
    return domain, coordinates(domain)


@pytest.fixture(scope="module")
def tree(heart):
    return purkinje_tree(*heart)


def plane(size=60.0, n=20):
    """A square in z = 0, seen from above."""
    grid = np.linspace(0.0, size, n + 1)
    points = np.array([[x, y, 0.0] for y in grid for x in grid])
    corner = np.array([k + (n + 1) * m for m in range(n) for k in range(n)])
    lower = np.column_stack([corner, corner + 1, corner + n + 2])
    upper = np.column_stack([corner, corner + n + 2, corner + n + 1])
    return Triangles(points, np.concatenate([lower, upper]))


def start(x, y):
    return Origin(np.array([x, y, 0.0]), np.array([1.0, 0.0, 0.0]))


def test_walk_on_a_plane_is_straight_and_ends_at_the_border():
    surface = plane()
    triangle, x = surface.nearest(np.array([[5.3, 7.1, 2.0], [5.3, 7.1, 0.0]]))
    np.testing.assert_allclose(x, [[5.3, 7.1, 0.0]] * 2, atol=1e-12)
    d = np.array([[0.6, 0.8, 0.0], [-0.6, -0.8, 0.0]])
    _, end, heading, stopped = surface.walk(triangle, x, d, 20.0)
    np.testing.assert_allclose(end[0], [5.3 + 12.0, 7.1 + 16.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(heading, d, atol=1e-12)
    assert list(stopped) == [False, True]
    assert min(end[1][:2]) == pytest.approx(0.0, abs=1e-9)


def test_walk_over_a_fold_keeps_its_length_and_its_angle_to_the_edge():
    points = np.array([[0, 0, 0], [0, 10, 0], [-10, 5, 0], [0, 5, 10]], dtype=float)
    surface = Triangles(points, np.array([[0, 1, 2], [1, 0, 3]]))
    x, d = np.array([[-2.0, 3.0, 0.0]]), np.array([[0.8, 0.6, 0.0]])
    triangle, end, heading, _ = surface.walk(np.array([0]), x, d, 5.0)
    assert triangle[0] == 1
    np.testing.assert_allclose(end[0], [0.0, 6.0, 2.0], atol=1e-12)
    np.testing.assert_allclose(heading[0], [0.0, 0.6, 0.8], atol=1e-12)


def test_nearest_point_is_that_of_a_dense_sample(heart):
    surface = gather_surface(heart[0], "rv_endo")
    shares = np.random.default_rng(3).dirichlet(np.ones(3), 200)
    sample = np.einsum("sk,mki->msi", shares, surface.points[surface.corners]).reshape(-1, 3)
    outside = surface.points[::40] + np.array([3.0, -2.0, 1.0])
    _, found = surface.nearest(outside)
    for x, nearest in zip(outside, found, strict=True):
        best = np.linalg.norm(sample - x, axis=1).min()
        assert best - 1.0 < np.linalg.norm(nearest - x) <= best + 1e-9


def test_surface_that_is_no_manifold_is_refused():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0]], dtype=float)
    fan = Triangles(points, np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]]))
    with pytest.raises(MeshError, match="more than two"):
        grow(fan, start(0.1, 0.1), Growth())


def test_same_seed_same_tree(heart, tree):
    again = purkinje_tree(*heart)
    np.testing.assert_array_equal(again.points, tree.points)
    np.testing.assert_array_equal(again.segments, tree.segments)
    other = purkinje_tree(*heart, left=Growth(seed=2))
    assert len(other.points) != len(tree.points)


def test_tree_lies_on_the_endocardia(heart, tree):
    for name in ("left", "right"):
        surface = gather_surface(heart[0], {"left": "lv_endo", "right": "rv_endo"}[name])
        junctions = tree.junctions[tree.region[tree.junctions] == REGIONS.index(name)]
        assert len(junctions) > 50
        x = tree.points[junctions]
        np.testing.assert_allclose(surface.nearest(x)[1], x, atol=1e-9)


def test_tree_has_one_root_no_loops_and_ends_in_junctions(tree):
    assert tree.connected().all()
    assert len(tree.segments) == len(tree.points) - 1
    children = np.bincount(tree.segments[:, 0], minlength=len(tree.points))
    np.testing.assert_array_equal(np.flatnonzero(children == 0), tree.junctions)
    assert np.bincount(tree.segments[:, 1], minlength=len(tree.points))[tree.root] == 0


def test_branches_keep_clear_of_each_other():
    growth = Growth(trunk=15.0, base_margin=0.0, clearance=1.2)
    tree = grow(plane(), start(5.0, 30.0), growth)
    assert len(tree.junctions) > 60
    graph = csr_array((tree.lengths, tuple(tree.segments.T)), shape=(len(tree.points),) * 2)
    along = dijkstra(graph, directed=False)
    across = np.linalg.norm(tree.points[:, None] - tree.points[None], axis=2)
    # Nearer along the tree are only parents, children and siblings.
    strangers = along > 2 * (growth.length + 4 * growth.length_deviation)
    assert across[strangers].min() >= growth.clearance
    # In the plane no segment crosses another one.
    a, b = tree.points[tree.segments[:, 0], :2], tree.points[tree.segments[:, 1], :2]

    def side(p, q, r):
        u, w = (q - p)[:, None], r[None] - p[:, None]
        return np.sign(u[..., 0] * w[..., 1] - u[..., 1] * w[..., 0])

    cross = (side(a, b, a) * side(a, b, b) < 0) & (side(a, b, a) * side(a, b, b) < 0).T
    assert not cross.any()


def test_branches_keep_off_the_border_and_the_trunk_does_not():
    tree = grow(plane(), start(1.0, 30.0), Growth(trunk=20.0, base_margin=10.0))
    junctions = tree.points[tree.junctions, :2]
    # The step that would cross the margin is not taken.
    assert np.minimum(junctions, 60.0 - junctions).min() >= 10.0
    assert tree.points[tree.root, 0] == pytest.approx(1.0)


def test_repulsion_and_angle_spread_the_branches():
    def spread(**change):
        tree = grow(plane(), start(5.0, 30.0), Growth(trunk=10.0, generations=4, **change))
        return np.ptp(tree.points[:, 1])

    assert spread(angle=0.5, repulsion=0.0) > 1.2 * spread(angle=0.2, repulsion=0.0)
    assert spread(angle=0.2, repulsion=0.3) > 1.2 * spread(angle=0.2, repulsion=0.0)


def test_fascicles_leave_the_trunk_at_their_angles():
    growth = Growth(trunk=10.0, fascicles=((0.6, 12.0), (-0.4, 9.0)), generations=1)
    tree = grow(plane(), start(10.0, 30.0), growth)
    fork = np.array([20.0, 30.0, 0.0])
    for angle, length in growth.fascicles:
        tip = fork + length * np.array([np.cos(angle), np.sin(angle), 0.0])
        assert np.linalg.norm(tree.points - tip, axis=1).min() < 1e-9


def test_removed_side_is_gone_and_cut_side_has_lost_the_root(tree):
    right_only = tree.without("left")
    assert set(right_only.region) == {0, 2}
    assert right_only.connected().all()
    whole = np.count_nonzero(tree.region[tree.junctions] == 2)
    assert len(right_only.junctions) == whole
    blocked = tree.cut("left")
    np.testing.assert_array_equal(blocked.connected(), tree.region != 1)
    assert len(blocked.segments) == len(tree.segments) - 1
    np.testing.assert_array_equal(blocked.junctions, tree.junctions)
    for wrong in (lambda: tree.without("his"), lambda: blocked.cut("left")):
        with pytest.raises(InputError):
            wrong()
    with pytest.raises(InputError, match="Did you mean `left`"):
        tree.cut("lefd")


def test_statistics_and_coverage_of_the_heart(heart, tree):
    found = statistics(heart[0], tree)
    assert found.junctions == len(tree.junctions)
    assert found.length == pytest.approx(tree.lengths.sum())
    assert 0.9 < found.segment < 1.01
    # The base is spared by 12 mm; elsewhere no place is farther from a junction than that.
    assert found.coverage < 16.0
    assert found.median_distance < 4.0


def test_origin_is_chosen_by_site_or_by_point(heart):
    domain, at = heart
    usual = bundle_origin(domain, at.axis, "lv_endo")
    assert at.axis.height(usual.point[None])[0] == pytest.approx(0.88, abs=0.1)
    small = Growth(trunk=6.0, base_margin=0.0, generations=2)
    site = activation_sites(domain, at, ["lv_anterior"])["lv_anterior"]
    by_site = purkinje_tree(domain, at, left=small, right=None, origins={"left": "lv_anterior"})
    assert set(by_site.region) == {0, 1}
    assert np.linalg.norm(by_site.points - site, axis=1).min() < 1e-9
    off = Origin(site + 0.1 * at.axis.front, at.axis.direction)
    given = purkinje_tree(domain, at, left=small, right=None, origins={"left": off})
    np.testing.assert_allclose(np.linalg.norm(given.points - site, axis=1).min(), 0.0, atol=0.11)
    # It runs to the base, not to the apex.
    assert (
        at.axis.height(given.points[given.junctions]).mean()
        > at.axis.height(by_site.points[by_site.junctions]).mean()
    )
    with pytest.raises(InputError, match="not on the endocardium"):
        purkinje_tree(domain, at, left=small, right=None, origins={"left": "rv_septal"})
    with pytest.raises(InputError, match="no site `lv_septum`"):
        purkinje_tree(domain, at, left=small, right=None, origins={"left": "lv_septum"})
    with pytest.raises(InputError, match="origin of `right`"):
        purkinje_tree(domain, at, left=small, right=None, origins={"right": off})


def test_defaults_are_growths_without_crossings():
    assert LEFT.clearance >= LEFT.segment / np.sqrt(2)
    assert RIGHT.trunk > LEFT.trunk
    with pytest.raises(InputError, match="could cross"):
        Growth(clearance=0.5)
    with pytest.raises(InputError, match="length"):
        Growth(length=0.0)


@pytest.mark.parametrize("suffix", [".vtp", ".vtu", ".json"])
def test_files_give_the_tree_back(tree, tmp_path, suffix):
    back = read_tree(write_tree(tree, tmp_path / f"tree{suffix}"))
    np.testing.assert_allclose(back.points, tree.points, atol=1e-12)
    np.testing.assert_array_equal(back.segments, tree.segments)
    np.testing.assert_array_equal(back.junctions, tree.junctions)
    np.testing.assert_array_equal(back.region, tree.region)
    assert back.root == tree.root


FORK = {
    "points": [[0, 0, 0], [1, 0, 0], [2, 1, 0], [2, -1, 0]],
    "segments": [[0, 1], [1, 2], [1, 3]],
    "root": 0,
}


def test_junctions_and_regions_of_a_users_tree_may_be_left_out(tmp_path):
    path = tmp_path / "fork.json"
    path.write_text(json.dumps(FORK))
    tree = read_tree(path)
    assert list(tree.junctions) == [2, 3]
    assert not tree.region.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segments": [[0, 1], [1, 9]]}, "outside 0 to 3"),
        ({"segments": [[0, 1]]}, "2 points are not connected"),
        ({"segments": [[0, 1], [1, 2], [1, 3], [1, 0]]}, "occur twice"),
        ({"points": [[0, 0, 0]] * 4}, "have no length"),
        ({"points": [[0, 0, 0], [1, 0, 0], [2, float("nan"), 0], [2, -1, 0]]}, "not finite"),
        ({"region": ["his", "his", "lefd", "left"]}, "not a tree"),
        ({"region": ["his"]}, "not one for each point"),
        ({"root": 7}, "root 7"),
        ({"root": None}, "not a tree"),
        ({"junctions": []}, "no junctions"),
    ],
)
def test_what_is_no_tree_is_refused(tmp_path, change, message):
    path = tmp_path / "fork.json"
    path.write_text(json.dumps(FORK | change))
    with pytest.raises(InputError, match=message) as error:
        read_tree(path)
    assert error.value.place == str(path)


def test_files_that_hold_no_tree_are_refused(tree, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_tree(tmp_path / "none.vtu")
    with pytest.raises(InputError, match="unknown format"):
        write_tree(tree, tmp_path / "tree.stl")
    pv.Sphere().save(tmp_path / "ball.vtp")
    with pytest.raises(InputError, match="cells are no lines"):
        read_tree(tmp_path / "ball.vtp")
    pv.Line().save(tmp_path / "line.vtp")
    with pytest.raises(InputError, match="no point array `root`"):
        read_tree(tmp_path / "line.vtp")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InputError, match="not a tree"):
        read_tree(tmp_path / "broken.json")
    (tmp_path / "empty.json").write_text("{}")
    with pytest.raises(InputError, match="no 'points'"):
        read_tree(tmp_path / "empty.json")
