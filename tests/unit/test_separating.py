"""Regions taken apart: nodes, volumes, facets on both sides, edges where three regions meet."""

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.mesh.distribute import distribute
from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.separating import separate
from organtwin.mesh.volume_mesh import TetrahedralMesh, outer_facets

#: Kuhn's six tetrahedra of a cube, by its corners (bits x, y, z).
KUHN = np.array([[0, 1, 3, 7], [0, 5, 1, 7], [0, 3, 2, 7], [0, 4, 5, 7], [0, 2, 6, 7],
                 [0, 6, 4, 7]])  # fmt: skip
NAMES = {"a": 1, "b": 2, "c": 3, "d": 4}


def blocks(n, regions, surface=None):
    """Cubes of 1 mm in tetrahedra; regions by the number of the cube's corner (i, j, k)."""
    number = np.arange((n[0] + 1) * (n[1] + 1) * (n[2] + 1)).reshape(np.array(n) + 1)
    grid = np.indices(number.shape).reshape(3, -1).T.astype(float)
    corners = [number[i : i + n[0], j : j + n[1], k : k + n[2]].ravel()
               for k in (0, 1) for j in (0, 1) for i in (0, 1)]  # fmt: skip
    cells = np.stack(corners, axis=1)[:, KUHN].reshape(-1, 4)
    places = np.indices(n).reshape(3, -1).T
    of = np.repeat([regions(*p) for p in places], 6)
    facets = outer_facets(cells)
    top = facets[(grid[facets][:, :, 2] == n[2]).all(axis=1)]
    names = {name: k for name, k in NAMES.items() if k in of}
    return TetrahedralMesh(
        grid, cells, of, names, top, np.full(len(top), 5), {"top": 5},
        vertex_values={"x": grid[:, 0]},
    )  # fmt: skip


def same_sides(mesh, a, b, shared=0):
    """Number of facets, and whether those of both surfaces are the same triangles."""
    one, two = (mesh.facets[mesh.facet_tags == mesh.facet_names[name]]
                for name in (f"{a}_at_{b}", f"{b}_at_{a}"))  # fmt: skip
    assert len(np.intersect1d(one, two)) == shared
    rows = [np.sort(np.round(mesh.points[t], 9) @ [1.0, 1e3, 1e6], axis=1) for t in (one, two)]
    return len(one), np.array_equal(*(r[np.lexsort(r.T)] for r in rows))


def test_two_cubes_get_nodes_of_their_own():
    whole = blocks((2, 2, 2), lambda i, j, k: 1 + (i > 0))
    apart = separate(whole, [("b", "a")])
    assert len(apart.points) == 27 + 9
    assert len(apart.cells) == len(whole.cells)
    for name in "ab":
        assert apart.volume(name) == pytest.approx(4.0)
    np.testing.assert_allclose(apart.points[apart.cells], whole.points[whole.cells])
    assert same_sides(apart, "a", "b") == (8, True)
    sides = [set(apart.cells[apart.regions == k].ravel()) for k in (1, 2)]
    assert not sides[0] & sides[1]
    np.testing.assert_allclose(apart.vertex_values["x"], apart.points[:, 0])


def test_facets_look_out_of_their_region():
    apart = separate(blocks((2, 1, 1), lambda i, j, k: 1 + i), [("a", "b")])
    for name, out in (("a_at_b", 1.0), ("b_at_a", -1.0)):
        t = apart.points[apart.facets[apart.facet_tags == apart.facet_names[name]]]
        normal = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])
        np.testing.assert_allclose(normal, np.tile([out, 0, 0], (2, 1)))


def test_a_surface_on_both_sides_follows_its_cells():
    whole = blocks((2, 2, 2), lambda i, j, k: 1 + (i > 0))
    apart = separate(whole, [("a", "b")])
    top = apart.facets[apart.facet_tags == apart.facet_names["top"]]
    faces = outer_facets(apart.cells)
    assert len(top) == 8
    assert {tuple(f) for f in np.sort(top, axis=1).tolist()} <= {tuple(f) for f in faces.tolist()}
    # Both sides have facets of the surface, on nodes of their own.
    area = np.linalg.norm(
        np.cross(
            apart.points[top[:, 1]] - apart.points[top[:, 0]],
            apart.points[top[:, 2]] - apart.points[top[:, 0]],
        ),
        axis=1,
    )
    assert area.sum() / 2 == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("pairs", "nodes"),
    [
        # Four bars around the edge x = y = 1, which has 3 nodes; each half border adds 3.
        ([("a", "b")], 3),  # the edge stays whole: c and d glue a to b
        ([("a", "b"), ("c", "d")], 9),
        ([("a", "b"), ("b", "d"), ("c", "d"), ("a", "c")], 12 + 9),
        ([("a", "b"), ("b", "d")], 6 + 3),
    ],
)
def test_regions_that_meet_at_an_edge(pairs, nodes):
    whole = blocks((2, 2, 2), lambda i, j, k: 1 + i + 2 * j)
    apart = separate(whole, pairs)
    assert len(apart.points) == 27 + nodes
    assert apart.points[apart.cells] == pytest.approx(whole.points[whole.cells])
    assert (signed_volumes(apart.points, apart.cells) > 0).all()
    for a, b in pairs:
        glued = 3 if len(pairs) == 1 else 0
        assert same_sides(apart, a, b, glued) == (4, True)


def test_three_regions_meet_at_an_edge():
    # a is the half x < 1, b and c are quarters.
    whole = blocks((2, 2, 1), lambda i, j, k: 1 if i == 0 else 2 + j)
    both = separate(whole, [("a", "b"), ("a", "c")])
    assert len(both.points) == 18 + 6
    one = separate(whole, [("a", "b")])
    assert len(one.points) == 18 + 2
    every = separate(whole, [("a", "b"), ("c", "a"), ("b", "c")])
    assert len(every.points) == 18 + 6 + 4
    assert one.volume("a") == pytest.approx(2.0)


def test_a_region_in_the_midst_of_another():
    whole = blocks((3, 3, 3), lambda i, j, k: 2 if (i, j, k) == (1, 1, 1) else 1)
    apart = separate(whole, [("a", "b")])
    assert len(apart.points) == 64 + 8
    assert same_sides(apart, "b", "a") == (12, True)


def test_what_cannot_be_separated_is_refused():
    whole = blocks((3, 1, 1), lambda i, j, k: 1 + i)
    for pairs, message in (
        ([("a", "e")], "no region `e`"), ([("a", "a")], "from itself"),
        ([("a", "c")], "`a` and `c` share no face"),
        ([("a", "b"), ("b", "a")], "share no face"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            separate(whole, pairs)


def test_a_domain_knows_both_sides():
    whole = blocks((2, 2, 2), lambda i, j, k: 1 + (i > 0))
    domain = distribute(separate(whole, [("a", "b")]), MPI.COMM_SELF)
    for name in ("a_at_b", "b_at_a", "top"):
        assert domain.area(name) == pytest.approx(4.0)
    assert domain.volume("a") == pytest.approx(4.0)
