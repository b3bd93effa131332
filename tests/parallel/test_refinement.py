"""Refined domains: the mesh that `red` makes of the whole, on any number of ranks."""

import numpy as np
import pytest
from dolfinx import mesh
from mpi4py import MPI

from organtwin.mesh.domain import Domain, refine
from organtwin.mesh.refinement import red
from organtwin.mesh.volume_mesh import TetrahedralMesh

COMM = MPI.COMM_WORLD


def cells_of(msh):
    """Corners of own cells, shape (n, 4, 3)."""
    own = msh.topology.index_map(3).size_local
    return msh.geometry.x[msh.geometry.dofmaps[0][:own]]


def by_place(corners):
    """Cells with their corners in order, in an order that needs no numbers."""
    found = np.round(corners, 9)
    for k in range(len(found)):
        found[k] = found[k][np.lexsort(found[k].T[::-1])]
    flat = found.reshape(len(found), -1)
    return flat[np.lexsort(flat.T[::-1])]


@pytest.fixture(scope="module")
def cube():
    """Six tetrahedra in each of 27 cubes, where many diagonals are equally long; a tagged plane."""
    box = mesh.create_box(
        COMM, [(0, 0, 0), (3, 3, 3)], (3, 3, 3), mesh.CellType.tetrahedron,
        ghost_mode=mesh.GhostMode.none,
    )  # fmt: skip
    dim = box.topology.dim
    box.topology.create_entities(dim - 1)
    box.topology.create_connectivity(dim - 1, dim)
    own = np.arange(box.topology.index_map(dim).size_local, dtype=np.int32)
    right = (mesh.compute_midpoints(box, dim, own)[:, 0] > 1.0).astype(np.int32)
    plane = mesh.locate_entities(box, dim - 1, lambda x: np.isclose(x[0], 1.0))
    tags = mesh.meshtags(box, dim, own, 1 + right)
    facets = mesh.meshtags(box, dim - 1, plane, np.full(len(plane), 7, np.int32))
    return Domain(box, tags, facets, {"left": 1, "right": 2}, {"plane": 7})


def whole(domain):
    """The mesh of all ranks as one, on each of them."""
    corners = np.concatenate(COMM.allgather(cells_of(domain.mesh)))
    points, cells = np.unique(np.round(corners.reshape(-1, 3), 12), axis=0, return_inverse=True)
    cells = cells.reshape(-1, 4)
    return TetrahedralMesh(points, cells, np.ones(len(cells), np.int64), {"all": 1})


@pytest.mark.parametrize("times", [1, 2])
def test_parts_are_those_of_the_whole_mesh(cube, times):
    made, expected = refine(cube, times).fine, whole(cube)
    for _ in range(times):
        expected = red(expected)
    corners = np.concatenate(COMM.allgather(cells_of(made.mesh)))
    np.testing.assert_array_equal(by_place(corners), by_place(expected.points[expected.cells]))


def test_parts_lie_in_their_parents_and_keep_names(cube):
    refinement = refine(cube, 2)
    fine, coarse = cells_of(refinement.fine.mesh), cells_of(cube.mesh)[refinement.parent]
    edges = coarse[:, 1:] - coarse[:, :1]
    local = np.linalg.solve(
        edges.transpose(0, 2, 1), fine.mean(axis=1)[:, :, None] - coarse[:, 0][:, :, None]
    )[..., 0]
    assert local.min() > 0.0 and local.sum(axis=1).max() < 1.0
    counts = np.bincount(refinement.parent, minlength=len(cells_of(cube.mesh)))
    assert (counts == 64).all()
    for name, volume in (("left", 9.0), ("right", 18.0)):
        assert refinement.fine.volume(name) == pytest.approx(volume, rel=1e-12)
    assert refinement.fine.area("plane") == pytest.approx(9.0, rel=1e-12)


def test_the_parent_stays_as_it_was(cube):
    before = cube.volume()
    refine(cube)
    assert cube.volume() == pytest.approx(before, rel=1e-14)
