from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.image.volume import Image, LabelMap
from organtwin.mesh.domain import read_domain
from organtwin.mesh.hexahedra import VoxelOptions, cell_means, voxel_hexahedra
from organtwin.mesh.hexahedral_mesh import (
    hexahedron_volumes,
    scaled_jacobians,
    with_cell_values,
    write_hexahedra,
)

MIRROR = np.diag([1.0, -1.0, 1.0])


def ball(direction: np.ndarray = MIRROR, spacing: float = 1.5, shape: int = 28) -> LabelMap:
    index = np.indices((shape,) * 3).reshape(3, -1).T - 0.5 * (shape - 1)
    r = np.linalg.norm(index * spacing, axis=1).reshape((shape,) * 3)
    values = np.zeros(r.shape, np.uint8)
    values[r < 18.0] = 1
    values[r < 12.0] = 2
    origin = direction @ np.full(3, -0.5 * (shape - 1) * spacing)
    return LabelMap(
        values, {"cortical": 1, "trabecular": 2}, np.full(3, spacing), origin, direction
    )


@pytest.mark.parametrize("direction", [np.eye(3), MIRROR, np.eye(3)[[1, 2, 0]]])
def test_every_voxel_becomes_a_brick_of_positive_volume(direction) -> None:
    labels = ball(direction)
    mesh = voxel_hexahedra(labels).mesh
    assert len(mesh.cells) == np.count_nonzero(labels.values)
    assert hexahedron_volumes(mesh.points, mesh.cells) == pytest.approx(1.5**3)
    assert scaled_jacobians(mesh.points, mesh.cells) == pytest.approx(1.0)
    for name in labels.names:
        assert mesh.volume(name) == pytest.approx(1000 * labels.volume_ml(name))


def test_facets_close_the_surface_and_point_outwards() -> None:
    mesh = voxel_hexahedra(ball()).mesh
    assert set(mesh.facet_names) == {"cortical-outside", "trabecular-cortical"}
    outer = mesh.facets[mesh.facet_tags == mesh.facet_names["cortical-outside"]]
    a, b, c, d = (mesh.points[outer[:, k]] for k in range(4))
    vector = 0.5 * np.cross(c - a, d - b)
    assert vector.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
    middle = (a + b + c + d) / 4
    assert np.einsum("ij,ij->", vector, middle) / 3 == pytest.approx(len(mesh.cells) * 1.5**3)


def test_the_end_of_the_image_and_other_labels_have_names() -> None:
    values = np.ones((3, 4, 5), np.uint8)
    values[2] = 3
    labels = LabelMap(
        values, {"bone": 1, "cartilage": 3}, np.ones(3), np.zeros(3), np.eye(3)
    )  # fmt: skip
    mesh = voxel_hexahedra(labels, ["bone"]).mesh
    assert set(mesh.facet_names) == {"bone-edge", "bone-cartilage"}
    assert np.count_nonzero(mesh.facet_tags == mesh.facet_names["bone-cartilage"]) == 20


@pytest.mark.parametrize(("length", "coarsening"), [(5, 2), (7, 2), (7, 3), (8, 3), (9, 4)])
def test_a_shaft_that_the_image_cuts_within_a_block_has_its_edge(length, coarsening) -> None:
    wide = 2 * coarsening
    values = np.zeros((3 * wide, 3 * wide, length), np.uint8)
    values[wide : 2 * wide, wide : 2 * wide] = 1
    labels = LabelMap(values, {"bone": 1}, np.ones(3), np.zeros(3), np.eye(3))
    mesh = voxel_hexahedra(labels, options=VoxelOptions(coarsening=coarsening)).mesh
    x = mesh.points[mesh.facets]
    area = 0.5 * np.cross(x[:, 2] - x[:, 0], x[:, 3] - x[:, 1])
    for name, number in mesh.facet_names.items():
        along = area[mesh.facet_tags == number][:, 2]
        for way in (1.0, -1.0):
            whole = wide**2 if name == "bone-edge" else 0
            assert np.maximum(way * along, 0.0).sum() == pytest.approx(whole)
    assert set(mesh.facet_names) == {"bone-edge", "bone-outside"}


def test_islands_that_hang_by_an_edge_are_dropped() -> None:
    values = np.zeros((6, 6, 6), np.uint8)
    values[1:3, 1:3, 1:3] = 1
    values[3, 3, 1] = 1
    labels = LabelMap(values, {"bone": 1}, np.full(3, 10.0), np.zeros(3), np.eye(3))
    voxels = voxel_hexahedra(labels)
    assert (voxels.pieces, len(voxels.mesh.cells)) == (2, 8)
    assert voxels.dropped_ml == pytest.approx(1.0)
    assert len(voxel_hexahedra(labels, options=VoxelOptions(pieces=2)).mesh.cells) == 9


@pytest.mark.parametrize("coarsening", [2, 3])
def test_coarse_bricks_keep_the_volume(coarsening) -> None:
    labels = ball()
    mesh = voxel_hexahedra(labels, options=VoxelOptions(coarsening=coarsening)).mesh
    volume = sum(mesh.volume(name) for name in labels.names)
    assert volume == pytest.approx(1.5**3 * np.count_nonzero(labels.values), rel=0.01)


@pytest.mark.parametrize("coarsening", [1, 2])
def test_smoothing_stays_within_its_bounds_and_rounds_the_ball(coarsening) -> None:
    options = VoxelOptions(coarsening=coarsening, smoothing=20)
    rough = voxel_hexahedra(ball(), options=VoxelOptions(coarsening=coarsening))
    fine = voxel_hexahedra(ball(), options=options)
    assert fine.jacobian >= options.jacobian
    assert fine.moved <= options.shift * 1.5 * coarsening + 1e-9
    assert (hexahedron_volumes(fine.mesh.points, fine.mesh.cells) > 0).all()
    outer = fine.mesh.facets[fine.mesh.facet_tags == fine.mesh.facet_names["cortical-outside"]]
    used = np.unique(outer)
    deviation = [np.linalg.norm(m.mesh.points[used], axis=1).std() for m in (rough, fine)]
    assert deviation[1] < 0.75 * deviation[0]


@pytest.mark.parametrize("coarsening", [1, 2])
def test_cells_take_the_mean_of_the_image(coarsening) -> None:
    labels = ball(np.eye(3))
    voxels = voxel_hexahedra(labels, options=VoxelOptions(coarsening=coarsening))
    places = labels.points(np.indices(labels.values.shape).reshape(3, -1).T)
    values = (3.0 * places[:, 0] + 100.0).reshape(labels.values.shape).astype(np.float32)
    means = cell_means(voxels, Image(values, labels.grid, "HU"))
    middle = voxels.mesh.points[voxels.mesh.cells].mean(axis=1)
    off = np.abs(means - (3.0 * middle[:, 0] + 100.0))
    assert np.median(off) < 1e-4
    assert off.max() <= 3.0 * 1.5 * 0.5 * (coarsening - 1) + 1e-3


def test_file_is_read_as_a_domain_and_keeps_values(tmp_path: Path) -> None:
    voxels = voxel_hexahedra(ball(), options=VoxelOptions(coarsening=2))
    mesh = with_cell_values(voxels.mesh, hu=np.arange(len(voxels.mesh.cells), dtype=float))
    write_hexahedra(mesh, tmp_path / "bone.msh")
    write_hexahedra(mesh, tmp_path / "bone.vtu")
    assert (tmp_path / "bone.vtu").stat().st_size > 0
    domain = read_domain(tmp_path / "bone.msh", MPI.COMM_SELF)
    assert domain.mesh.topology.cell_name() == "hexahedron"
    assert set(domain.regions) == {"cortical", "trabecular"}
    for name, number in mesh.region_names.items():
        assert len(domain.cells(name)) == np.count_nonzero(mesh.regions == number)
    for name, number in mesh.facet_names.items():
        assert len(domain.facets(name)) == np.count_nonzero(mesh.facet_tags == number)


def test_impossible_wishes_are_refused(tmp_path: Path) -> None:
    labels = ball()
    with pytest.raises(InputError, match="no label `bone`"):
        voxel_hexahedra(labels, ["bone"])
    with pytest.raises(InputError, match="coarsening"):
        VoxelOptions(coarsening=0)
    mesh = voxel_hexahedra(labels).mesh
    with pytest.raises(InputError, match="rows"):
        with_cell_values(mesh, hu=np.zeros(3))
    with pytest.raises(InputError, match="no format"):
        write_hexahedra(mesh, tmp_path / "bone.stl")
