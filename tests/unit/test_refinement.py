from dataclasses import replace

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.mesh.quality import mean_ratio, signed_volumes
from organtwin.mesh.refinement import red
from organtwin.mesh.volume_mesh import TetrahedralMesh

#: Vertices of a cube along the six ways from corner 0 to corner 7, bits for x, y and z.
WAYS = np.array(
    [[0, 1, 3, 7], [0, 3, 2, 7], [0, 2, 6, 7], [0, 6, 4, 7], [0, 4, 5, 7], [0, 5, 1, 7]]
)


def cubes(n, jitter=0.0, seed=0):
    """A cube of n³ cubes of six tetrahedra each, two regions, their border tagged."""
    place = np.indices((n + 1,) * 3).reshape(3, -1).T
    points = place + jitter * np.random.default_rng(seed).uniform(-1, 1, place.shape)
    low = np.indices((n,) * 3).reshape(3, -1).T
    bits = np.array([[k & 1, k >> 1 & 1, k >> 2 & 1] for k in range(8)])
    corner = ((low[:, None] + bits) * [(n + 1) ** 2, n + 1, 1]).sum(axis=2)
    cells = corner[:, WAYS].reshape(-1, 4)
    turned = signed_volumes(points, cells) < 0
    cells[turned] = cells[turned][:, [1, 0, 2, 3]]
    regions = 1 + (points[cells].mean(axis=1)[:, 0] > n // 2).astype(np.int64)
    faces = np.unique(
        np.sort(cells[:, [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]].reshape(-1, 3)), axis=0
    )
    facets = faces[(place[faces][..., 0] == n // 2).all(axis=1)]
    return TetrahedralMesh(
        points=points,
        cells=cells,
        regions=regions,
        region_names={"low": 1, "high": 2},
        facets=facets,
        facet_tags=np.full(len(facets), 5),
        facet_names={"border": 5},
        vertex_values={"height": points[:, 2] * 2.0},
        cell_values={"number": np.arange(len(cells))},
        fibres={"f0": np.tile([1.0, 0.0, 0.0], (len(cells), 1))},
    )


def renumbered(mesh, seed):
    rng = np.random.default_rng(seed)
    order, cells = rng.permutation(len(mesh.points)), rng.permutation(len(mesh.cells))
    number = np.argsort(order)
    even = np.array([[0, 1, 2, 3], [1, 2, 0, 3], [3, 2, 1, 0], [2, 3, 0, 1], [1, 0, 3, 2]])
    turn = even[rng.integers(0, len(even), len(cells))]
    vertices = np.take_along_axis(number[mesh.cells[cells]], turn, axis=1)
    return TetrahedralMesh(mesh.points[order], vertices, mesh.regions[cells], mesh.region_names)


def geometry(mesh):
    """Cells by the coordinates of their vertices, in an order that needs no numbers."""
    where = np.lexsort(mesh.points.T[::-1])
    rank = np.empty(len(where), np.int64)
    rank[where] = np.arange(len(where))
    cells = np.sort(rank[mesh.cells], axis=1)
    return mesh.points[where], cells[np.lexsort(cells.T)]


@pytest.mark.parametrize("jitter", [0.0, 0.1])
def test_the_refined_mesh_does_not_depend_on_the_numbering(jitter):
    mesh = cubes(3, jitter)
    points, cells = geometry(red(red(mesh)))
    for seed in range(3):
        other_points, other_cells = geometry(red(red(renumbered(mesh, seed))))
        assert np.array_equal(points, other_points)
        assert np.array_equal(cells, other_cells)


def test_eight_cells_with_the_same_volume_region_and_fibres_come_from_each():
    mesh = cubes(2, 0.1)
    fine = red(mesh)
    volumes = signed_volumes(fine.points, fine.cells).reshape(-1, 8)
    assert len(fine.cells) == 8 * len(mesh.cells)
    assert volumes == pytest.approx(
        signed_volumes(mesh.points, mesh.cells)[:, None] / 8 + 0 * volumes
    )
    assert np.array_equal(fine.regions, np.repeat(mesh.regions, 8))
    assert np.array_equal(fine.cell_values["number"], np.repeat(np.arange(len(mesh.cells)), 8))
    assert (fine.fibres["f0"] == [1.0, 0.0, 0.0]).all()
    assert fine.vertex_values["height"] == pytest.approx(2.0 * fine.points[:, 2])
    assert fine.volume("low") == pytest.approx(mesh.volume("low"))


def test_faces_fit_and_facets_stay_faces_between_the_regions():
    mesh = cubes(2, 0.1)
    fine = red(mesh)
    corners = fine.cells[:, [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]].reshape(-1, 3)
    faces, owner, count = np.unique(
        np.sort(corners, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    assert count.max() == 2 and (count == 1).sum() == 4 * 12 * 2**2
    regions = np.zeros((len(faces), 2), bool)
    regions[owner.ravel(), np.repeat(fine.regions, 4) - 1] = True
    between = faces[regions.all(axis=1)]
    assert np.array_equal(np.unique(np.sort(fine.facets, axis=1), axis=0), between)
    assert (fine.facet_tags == 5).all() and len(fine.facet_tags) == 4 * len(mesh.facets)


def test_shapes_stay_as_good_over_many_refinements():
    even = cubes(1)
    shape = mean_ratio(even.points, even.cells).min()
    for _ in range(4):
        even = red(even)
        # Cubes cut in six are cut into such cubes again.
        assert mean_ratio(even.points, even.cells) == pytest.approx(shape)
    uneven = cubes(2, 0.25)
    worst = []
    for _ in range(4):
        worst.append(mean_ratio(uneven.points, uneven.cells).min())
        uneven = red(uneven)
    assert worst[1] > 0.5 * worst[0]
    assert worst[3] == pytest.approx(worst[2], rel=0.01)


def test_facets_elsewhere_and_whole_numbers_at_vertices_are_refused():
    mesh = cubes(2)
    with pytest.raises(InputError, match="facet 0 is no face"):
        red(replace(mesh, facets=np.array([[0, 1, 26]]), facet_tags=np.array([1])))
    with pytest.raises(InputError, match="`aha` at the vertices holds int64"):
        red(replace(mesh, vertex_values={"aha": np.arange(27)}))
