"""A mesh file dealt over the ranks: each gets its share of nodes and cells, the mesh is whole."""

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.mesh import msh_parts
from organtwin.mesh.domain import read_domain
from organtwin.mesh.mesh_files import write_mesh
from organtwin.mesh.volume_mesh import TetrahedralMesh
from organtwin.parallel import on_root, total

COMM = MPI.COMM_WORLD
N = 6


def cube():
    """A cube of 10 mm in N³ boxes of six tetrahedra, which stand in no order."""
    lines = np.linspace(0.0, 10.0, N + 1)
    points = np.stack(np.meshgrid(lines, lines, lines, indexing="ij"), axis=-1).reshape(-1, 3)
    step = (N + 1) ** 2, N + 1, 1
    first = np.arange((N + 1) ** 3).reshape(N + 1, N + 1, N + 1)[:-1, :-1, :-1].ravel()
    cells = []
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 0, 2), (2, 1, 0), (0, 2, 1)):
        path = [0, step[i], step[i] + step[j], step[i] + step[j] + step[k]]
        if (i, j, k) in ((1, 0, 2), (2, 1, 0), (0, 2, 1)):
            path[1], path[2] = path[2], path[1]
        cells.append(first[:, None] + np.array(path))
    order = np.random.default_rng(1).permutation(6 * N**3)
    tetrahedra = np.concatenate(cells)[order]
    low = points[tetrahedra].mean(axis=1)[:, 2] < 5.0
    return TetrahedralMesh(points, tetrahedra, np.where(low, 1, 2), {"low": 1, "high": 2})


def test_every_rank_gets_its_share(shared_tmp_path, monkeypatch):
    monkeypatch.setattr(msh_parts, "ROWS", 100)
    file = shared_tmp_path / "cube.msh"
    on_root(COMM, lambda: write_mesh(cube(), file))
    part = msh_parts.read_parts(file, COMM)
    nodes, cells = (N + 1) ** 3, 6 * N**3
    facets = 12 * N**2
    assert total(COMM, len(part.points)) == nodes
    assert total(COMM, len(part.cells)) == cells
    assert total(COMM, len(part.facets)) == facets
    assert len(part.points) <= -(-nodes // COMM.size)
    assert len(part.cells) <= -(-(cells + facets) // COMM.size)
    assert len(part.facets) <= facets // COMM.size + 100


def test_the_mesh_has_its_regions_and_surfaces(shared_tmp_path):
    file = shared_tmp_path / "cube.msh"
    on_root(COMM, lambda: write_mesh(cube(), file))
    domain = read_domain(file, COMM)
    assert domain.volume("low") == pytest.approx(500.0)
    assert domain.volume("high") == pytest.approx(500.0)
    assert domain.area("boundary") == pytest.approx(600.0)
    x = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0]].mean(axis=1)
    low = domain.cell_tags.indices[domain.cell_tags.values == domain.regions["low"]]
    assert (x[low][:, 2] < 5.0).all()


def test_a_damaged_file_is_refused_by_all_ranks(shared_tmp_path):
    file = shared_tmp_path / "cube.msh"

    def cut():
        write_mesh(cube(), file)
        text = file.read_text()
        file.write_text(text[: len(text) // 2])

    on_root(COMM, cut)
    with pytest.raises(InputError, match=r"ends too early|words for numbers"):
        read_domain(file, COMM)
