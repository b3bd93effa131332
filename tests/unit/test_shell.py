"""Shells of known shape: areas, borders, edges, names, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.electrophysiology.stimulus import Surface
from organtwin.errors import InputError, MeshError
from organtwin.mesh.domain import read_domain, refine
from organtwin.mesh.shell import Shell, shell_from_labels
from tests.shells import OPENINGS, RADIUS, VALVE, atrium_and_ventricle


@pytest.fixture(scope="module")
def labels():
    return atrium_and_ventricle()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("shell") / "shell.msh"


@pytest.fixture(scope="module")
def shell(labels, path) -> Shell:
    return shell_from_labels(labels, "atrium", OPENINGS, size=2.0, path=path)


def edges_of(shell):
    t = shell.triangles
    pairs = np.sort(np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]]), axis=1)
    return np.unique(pairs, axis=0, return_counts=True)


def test_area_is_that_of_a_sphere_without_its_cap(shell):
    # A sphere's cap has the area 2 pi R times its height. The Gaussian draws a ball in by s²/R, one
    # per cent of its radius here, and rounds off the rim.
    assert shell.area == pytest.approx(2 * np.pi * RADIUS * (RADIUS - VALVE), rel=0.04)


def test_points_lie_on_the_sphere_and_above_the_valve(shell):
    r = np.linalg.norm(shell.points, axis=1)
    on_rim = np.unique(shell.borders["valve"])
    inner = np.setdiff1d(np.arange(len(r)), on_rim)
    away = shell.points[inner, 2] > VALVE + 3.0
    np.testing.assert_allclose(r[inner][away], RADIUS, atol=0.4)
    assert shell.points[:, 2].min() > VALVE - 1.0
    np.testing.assert_allclose(shell.points[on_rim, 2], VALVE, atol=1.0)


def test_closed_but_for_one_loop_around_the_valve(shell):
    edges, count = edges_of(shell)
    assert set(count) == {1, 2}
    border = edges[count == 1]
    np.testing.assert_array_equal(np.sort(shell.borders["valve"], axis=0), np.sort(border, axis=0))
    _, met = np.unique(border, return_counts=True)
    assert (met == 2).all()
    # A disc: vertices - edges + faces = 1, which two loops would not give.
    assert len(shell.points) - len(edges) + len(shell.triangles) == 1


def test_edges_have_the_size_and_triangles_face_outwards(shell):
    edges, _ = edges_of(shell)
    length = np.linalg.norm(shell.points[edges[:, 0]] - shell.points[edges[:, 1]], axis=1)
    assert np.mean(length) == pytest.approx(2.0, rel=0.15)
    assert np.quantile(length, 0.01) > 1.0
    assert length.max() < 4.0
    a, b, c = (shell.points[shell.triangles[:, k]] for k in range(3))
    outwards = np.einsum("ij,ij->i", np.cross(b - a, c - a), a + b + c)
    assert np.mean(outwards > 0) > 0.99


def test_domain_has_the_names_areas_and_lengths(shell, path):
    domain = read_domain(path, MPI.COMM_SELF)
    assert domain.mesh.topology.dim == 2
    assert domain.mesh.geometry.dim == 3
    assert set(domain.regions) == {"atrium"}
    assert set(domain.surfaces) == {"valve"}
    assert domain.volume("atrium") == pytest.approx(shell.area)
    ends = shell.points[shell.borders["valve"]]
    length = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).sum()
    assert domain.area("valve") == pytest.approx(length)
    # What is left of the voxels' stairs makes the rim longer.
    assert length == pytest.approx(2 * np.pi * np.sqrt(RADIUS**2 - VALVE**2), rel=0.08)


def test_refinement_keeps_areas_and_names(path):
    coarse = read_domain(path, MPI.COMM_SELF)
    fine = refine(coarse).fine
    assert fine.volume("atrium") == pytest.approx(coarse.volume("atrium"))
    assert fine.area("valve") == pytest.approx(coarse.area("valve"))
    assert fine.mesh.topology.index_map(2).size_local == 4 * len(coarse.cells("atrium"))


def test_current_enters_at_the_border(shell, path):
    domain = read_domain(path, MPI.COMM_SELF)
    V = fem.functionspace(domain.mesh, ("P", 1))
    share = Surface(domain, ("valve",)).share(V)
    assert share.sum() == len(np.unique(shell.borders["valve"]))
    assert set(share) == {0.0, 1.0}


def test_place_in_the_patient_is_kept(labels, shell, tmp_path):
    moved = atrium_and_ventricle(shift=np.array([100.0, -50.0, 7.0]))
    other = shell_from_labels(moved, "atrium", OPENINGS, size=2.0, path=tmp_path / "moved.msh")
    shift = moved.origin - labels.origin
    np.testing.assert_allclose(
        other.points.mean(axis=0), shell.points.mean(axis=0) + shift, atol=0.1
    )


def test_two_openings_have_a_border_each(labels, tmp_path):
    values = labels.values.copy()
    x, y, z = labels.points(np.indices(values.shape).reshape(3, -1).T).T.reshape(3, *values.shape)
    values[(np.hypot(y, z - 4.0) < 5.0) & (x > 11.0)] = labels.names["far"]
    both = replace(labels, values=values)
    openings = OPENINGS | {"vein": "far"}
    found = shell_from_labels(both, "atrium", openings, size=2.0, path=tmp_path / "two.msh")
    edges, count = edges_of(found)
    assert len(found.points) - len(edges) + len(found.triangles) == 0  # an annulus
    assert sum(len(border) for border in found.borders.values()) == np.count_nonzero(count == 1)
    assert found.points[found.borders["vein"], 0].min() > 9.0
    assert found.points[found.borders["valve"], 2].max() < VALVE + 1.5


def test_what_cannot_be_a_shell_is_refused(labels, tmp_path):
    path = tmp_path / "refused.msh"
    with pytest.raises(InputError, match=r"no label `atrum`\. Did you mean `atrium`"):
        shell_from_labels(labels, "atrum", OPENINGS, path=path)
    with pytest.raises(InputError, match="it has no opening"):
        shell_from_labels(labels, "atrium", {}, path=path)
    with pytest.raises(InputError, match=r"0\.1 mm is outside 0.3 to 5 mm"):
        shell_from_labels(labels, "atrium", OPENINGS, size=0.1, path=path)
    with pytest.raises(MeshError, match="hardly touches what lies beyond `valve`"):
        shell_from_labels(labels, "atrium", {"valve": "far"}, path=path)
    assert not path.exists()
