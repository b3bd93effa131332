from pathlib import Path

import numpy as np
import pytest
from dolfinx.io import gmsh as gmshio
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap
from organtwin.mesh.domain import read_domain
from organtwin.mesh.slices import Plane, mesh_slice, write_slice

NAMES = {"wall": 1, "left": 2, "right": 3}


def hollow_ball() -> LabelMap:
    """A wall of 16 mm radius around two halves around a hollow of 5 mm."""
    x = np.indices((40,) * 3) - 19.5
    r = np.sqrt((x**2).sum(axis=0))
    values = np.zeros((40,) * 3, np.uint8)
    values[r < 16] = 1
    values[(r < 12) & (x[0] < 0)] = 2
    values[(r < 12) & (x[0] >= 0)] = 3
    values[r < 5] = 0
    return LabelMap(values, NAMES, np.ones(3), np.full(3, -19.5), np.eye(3))


PLANES = [Plane((0, 0, 0), (0, 0, 1)), Plane((0, 0, 0), (1, 0.3, 1)), Plane((1, 2, 0), (0, -2, 0))]


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("size", [1.0, 3.0])
def test_slice_has_the_areas_of_the_solids(plane, size) -> None:
    mesh = mesh_slice(hollow_ball(), plane, size)
    normal = np.array(plane.normal) / np.linalg.norm(plane.normal)
    off = abs(float(normal @ plane.point))
    assert mesh.area("wall") == pytest.approx(np.pi * (16**2 - 12**2), rel=0.05)
    halves = mesh.area("left") + mesh.area("right")
    assert halves == pytest.approx(np.pi * (12**2 - 5**2), rel=0.05)
    assert max(abs(error) for error in mesh.area_error.values()) < 0.02
    assert np.abs((mesh.places - plane.point) @ normal).max() < 1e-9
    r = np.linalg.norm(mesh.places, axis=1)
    assert r.max() == pytest.approx(16.0, abs=0.6)
    assert off == 0.0 or off == pytest.approx(2.0)


def test_borders_are_shared_by_both_sides_and_smooth() -> None:
    mesh = mesh_slice(hollow_ball(), PLANES[0], 1.5)
    assert set(mesh.curve_names) == {
        "wall-outside", "left-outside", "right-outside", "left-wall", "right-wall", "right-left",
    }  # fmt: skip
    t = mesh.triangles
    sides = np.sort(np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]]), axis=1)
    region = np.tile(mesh.regions, 3)
    edge, count = np.unique(sides, axis=0, return_counts=True)
    assert count.max() == 2
    tagged = {tuple(e) for e in np.sort(mesh.edges, axis=1).tolist()}
    assert {tuple(e) for e in edge[count == 1].tolist()} <= tagged
    order = np.lexsort(sides.T)
    pairs = sides[order]
    same = (pairs[1:] == pairs[:-1]).all(axis=1)
    differ = same & (region[order][1:] != region[order][:-1])
    assert {tuple(e) for e in pairs[1:][differ].tolist()} <= tagged
    outer = mesh.edges[mesh.edge_tags == mesh.curve_names["wall-outside"]]
    assert np.linalg.norm(mesh.points[outer], axis=2) == pytest.approx(16.0, abs=0.6)


def test_thin_wall_is_cut_finer_instead_of_lost() -> None:
    x = np.indices((30, 30, 5))[:2] - 14.5
    r = np.hypot(*x)
    values = (r < 12).astype(np.uint8)
    values[r < 10.5] = 2
    labels = LabelMap(values, {"wall": 1, "blood": 2}, np.ones(3), np.zeros(3), np.eye(3))
    mesh = mesh_slice(labels, Plane((0, 0, 2), (0, 0, 1)), 8.0)
    voxels = np.count_nonzero(values[:, :, 2] == 1)
    assert mesh.area("wall") == pytest.approx(voxels, rel=0.05)


def test_labels_that_are_not_wanted_are_outside() -> None:
    mesh = mesh_slice(hollow_ball(), PLANES[0], 2.0, names=["left"])
    assert set(mesh.region_names) == {"left"}
    assert set(mesh.curve_names) == {"left-outside"}


def test_files_are_read_in_the_plane_and_in_space(tmp_path: Path) -> None:
    mesh = mesh_slice(hollow_ball(), PLANES[1], 2.0)
    write_slice(mesh, tmp_path / "space.msh")
    domain = read_domain(tmp_path / "space.msh", MPI.COMM_SELF)
    assert set(domain.regions) == set(NAMES)
    assert len(domain.facets("wall-outside")) > 20
    write_slice(mesh, tmp_path / "flat.msh", flat=True)
    flat = gmshio.read_from_msh(tmp_path / "flat.msh", MPI.COMM_SELF, 0, gdim=2)
    assert flat.mesh.geometry.dim == 2
    assert flat.mesh.topology.index_map(2).size_local == len(mesh.triangles)


def test_planes_that_miss_and_sizes_that_fail_are_refused() -> None:
    with pytest.raises(InputError, match="meets none"):
        mesh_slice(hollow_ball(), Plane((0, 0, 18), (0, 0, 1)), 2.0)
    with pytest.raises(InputError, match="size"):
        mesh_slice(hollow_ball(), PLANES[0], 0.0)
    with pytest.raises(InputError, match="no length"):
        mesh_slice(hollow_ball(), Plane((0, 0, 0), (0, 0, 0)), 2.0)
    with pytest.raises(InputError, match="no label"):
        mesh_slice(hollow_ball(), PLANES[0], 2.0, names=["liver"])


@pytest.mark.parametrize("size", [1.0, 3.0])
def test_labels_at_the_end_of_thick_slices_are_whole(size) -> None:
    values = np.zeros((40, 40, 6), np.uint8)
    values[10:38, 10:30, 2:] = 1
    labels = LabelMap(values, {"bone": 1}, np.array([1.0, 1.0, 6.0]), np.zeros(3), np.eye(3))
    mesh = mesh_slice(labels, Plane((0, 20, 0), (0, 1, 0)), size)
    assert mesh.area("bone") == pytest.approx(28 * 24, rel=0.02)
    assert mesh.places[:, 2].max() == pytest.approx(5.5 * 6.0, abs=0.3)
    assert set(mesh.curve_names) == {"bone-outside"}
