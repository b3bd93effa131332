from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.errors import InputError, OrgantwinError
from organtwin.mesh.domain import read_domain
from organtwin.mesh.hexahedral_mesh import hexahedron_volumes, scaled_jacobians, write_hexahedra
from organtwin.mesh.quality import dihedral_angles, signed_volumes
from organtwin.mesh.regions import faces
from organtwin.mesh.shapes.aortic_root import AorticRoot
from organtwin.mesh.shapes.meshing import mesh_shape
from organtwin.mesh.shapes.root_mesh import leaflet_surface, mesh_root
from organtwin.mesh.shapes.solids import Box, Plate, Slab, Sphere, Tube
from organtwin.mesh.shapes.structured import mesh_hexahedra
from organtwin.mesh.shapes.ventricles import Biventricle, EllipsoidalVentricle
from organtwin.mesh.volume_mesh import TetrahedralMesh, outer_facets

LAYERS = (("endo_layer", 1.0), ("epi_layer", 2.0))
SIDES = {"x0", "x1", "y0", "y1"}
SHAPES = [
    (Box((10.0, 8.0, 6.0)), 3.0, {*SIDES, "z0", "z1"}, 1e-9),
    (Slab(8.0, 6.0, LAYERS), 1.5, {*SIDES, "endo", "epi", "epi_layer-endo_layer"}, 1e-9),
    (Sphere(10.0), 3.0, {"outer"}, 0.04),
    (Sphere(10.0, hollow=8.0), 3.0, {"inner", "outer"}, 0.03),
    (Tube(8.0, 20.0), 3.0, {"inner", "outer", "inlet", "outlet"}, 0.01),
    (
        Tube(8.0, 30.0, LAYERS, bend=90.0, lumen="blood"),
        3.0,
        {"outer", "inlet", "outlet", "inlet_wall", "outlet_wall", "endo_layer-blood",
         "epi_layer-endo_layer"},
        0.02,
    ),
    (
        Plate(holes=((10.0, 6.0, 2.0), (30.0, 6.0, 2.5))),
        2.0,
        {"bottom", "top", "sides", "hole1", "hole2"},
        0.01,
    ),
    (EllipsoidalVentricle((20.0, 24.0, 50.0)), 7.0, {"lv_endo", "epi", "base"}, 0.01),
]  # fmt: skip


def area(mesh: TetrahedralMesh, name: str) -> float:
    t = mesh.points[mesh.facets[mesh.facet_tags == mesh.facet_names[name]]]
    return 0.5 * float(np.linalg.norm(np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]), axis=1).sum())


def covers_the_boundary(mesh: TetrahedralMesh) -> bool:
    known = {tuple(f) for f in np.sort(mesh.facets, axis=1).tolist()}
    return {tuple(f) for f in outer_facets(mesh.cells).tolist()} <= known


@pytest.mark.parametrize(
    ("shape", "size", "surfaces", "error"), SHAPES, ids=lambda v: type(v).__name__
)
def test_shape_has_its_volumes_and_names(shape, size, surfaces, error) -> None:
    mesh = mesh_shape(shape, size)
    assert set(mesh.facet_names) == surfaces
    assert list(mesh.region_names) == list(shape.volumes())
    for name, volume in shape.volumes().items():
        assert mesh.volume(name) == pytest.approx(volume, rel=error)
    assert (signed_volumes(mesh.points, mesh.cells) > 0).all()
    assert covers_the_boundary(mesh)
    assert dihedral_angles(mesh.points, mesh.cells).min() > 10.0


def test_sphere_converges_with_order_two() -> None:
    exact = Sphere(10.0).volumes()["sphere"]
    error = [exact - mesh_shape(Sphere(10.0), size).volume("sphere") for size in (4.0, 2.0)]
    assert np.log2(error[0] / error[1]) > 1.8


@pytest.mark.slow
def test_both_ventricles_have_their_volumes_a_flat_base_and_surfaces_on_the_ellipsoids() -> None:
    shape = Biventricle()
    mesh = mesh_shape(shape, 8.0)
    assert set(mesh.facet_names) == {"lv_endo", "rv_endo", "epi", "base", "rv-lv"}
    assert covers_the_boundary(mesh)
    assert dihedral_angles(mesh.points, mesh.cells).min() > 10.0
    for name, volume in shape.volumes().items():
        assert mesh.volume(name) == pytest.approx(volume, rel=0.02)

    def vertices(name: str) -> np.ndarray:
        return mesh.points[np.unique(mesh.facets[mesh.facet_tags == mesh.facet_names[name]])]

    assert np.ptp(vertices("base")[:, 2]) < 1e-9
    on_left = np.sum((vertices("lv_endo") / shape.left.radii) ** 2, axis=1)
    assert on_left == pytest.approx(np.ones(len(on_left)), abs=1e-5)
    assert vertices("rv_endo")[:, 0].max() < 0
    # The septal side of the right cavity belongs to cells of the left ventricle.
    septal = np.sort(mesh.facets[mesh.facet_tags == mesh.facet_names["rv_endo"]], axis=1)
    own = faces(mesh.cells[mesh.regions == mesh.region_names["lv"]])
    both = np.concatenate([np.unique(septal, axis=0), np.unique(own, axis=0)])
    assert (np.unique(both, axis=0, return_counts=True)[1] == 2).sum() > 20


def test_file_of_a_shape_is_read_as_a_domain(tmp_path: Path) -> None:
    shape = EllipsoidalVentricle()
    mesh = mesh_shape(shape, 8.0, tmp_path / "lv.msh", order=2)
    domain = read_domain(tmp_path / "lv.msh", MPI.COMM_SELF)
    assert domain.mesh.geometry.cmaps[0].degree == 2
    assert domain.regions == mesh.region_names
    assert len(domain.cells("lv")) == len(mesh.cells)
    for name, number in mesh.facet_names.items():
        assert len(domain.facets(name)) == np.count_nonzero(mesh.facet_tags == number)


@pytest.mark.slow
def test_curved_edges_reach_the_volume_with_few_cells(tmp_path: Path) -> None:
    shape = EllipsoidalVentricle()
    mesh = mesh_shape(shape, 8.0, tmp_path / "lv.msh", order=2)
    exact = shape.volumes()["lv"]
    curved = read_domain(tmp_path / "lv.msh", MPI.COMM_SELF).volume("lv")
    assert abs(curved / exact - 1) < 0.1 * abs(mesh.volume("lv") / exact - 1)


def test_aortic_root_is_conforming_and_complete() -> None:
    root = AorticRoot()
    mesh = mesh_shape(root, 2.0)
    assert dihedral_angles(mesh.points, mesh.cells).min() > 10.0
    assert list(mesh.region_names) == ["wall", "leaflet_right", "leaflet_left", "leaflet_non"]
    assert (signed_volumes(mesh.points, mesh.cells) > 0).all()
    assert np.unique(faces(mesh.cells), axis=0, return_counts=True)[1].max() == 2
    assert covers_the_boundary(mesh)
    assert len(np.unique(mesh.cells)) == len(mesh.points)
    leaflets = [mesh.volume(f"leaflet_{name}") for name in ("right", "left", "non")]
    assert leaflets == pytest.approx([leaflets[0]] * 3, rel=0.01)
    assert leaflets[0] == pytest.approx(root.leaflet * area(mesh, "aortic") / 3, rel=0.1)


def test_wall_of_the_aortic_root_has_the_volume_of_its_formula() -> None:
    root = replace(AorticRoot(), leaflet=0.0)
    angle, z = np.meshgrid(
        np.pi / 300 * (np.arange(600) + 0.5), np.linspace(-root.below, 35.0, 801), indexing="ij"
    )
    r = root.radius(angle, z)
    ring = 0.5 * ((r + root.wall) ** 2 - r**2)
    exact = np.trapezoid(ring.mean(axis=0) * 2 * np.pi, z[0])
    errors = [mesh_root(root, size).volume("wall") / exact - 1 for size in (4.0, 2.0)]
    assert abs(errors[1]) < 0.006
    assert abs(errors[1]) < 0.4 * abs(errors[0])


def test_aortic_root_has_its_diameters() -> None:
    root = AorticRoot()
    mesh = mesh_root(root, 2.0)
    inner = mesh.points[np.unique(mesh.facets[mesh.facet_tags == mesh.facet_names["inner"]])]
    r = np.hypot(inner[:, 0], inner[:, 1])
    for name, level in (("annulus", -root.below), ("aorta", root.height + root.above)):
        assert 2 * r[np.abs(inner[:, 2] - level) < 1e-6] == pytest.approx(getattr(root, name))
    bulge = r[np.abs(inner[:, 2] - 0.5 * root.height) < 1.5]
    assert 2 * bulge.max() == pytest.approx(root.sinus, rel=0.02)
    edge = mesh.points[np.unique(mesh.facets[mesh.facet_tags == mesh.facet_names["free_edge"]])]
    assert np.hypot(edge[:, 0], edge[:, 1]).min() == pytest.approx(root.orifice, abs=root.leaflet)


@pytest.mark.parametrize(
    "change",
    [
        {"orifice": 1.2}, {"orifice": 7.5}, {"leaflet": 0.4}, {"belly": 0.0},
        {"annulus": 26.0, "sinus": 34.0, "junction": 28.0}, {"effective_height": 14.0},
    ],
)  # fmt: skip
def test_aortic_root_meshes_over_its_range(change) -> None:
    mesh = mesh_root(replace(AorticRoot(), **change), 2.0)
    assert covers_the_boundary(mesh)
    assert dihedral_angles(mesh.points, mesh.cells).min() > 5.0


def test_leaflets_of_the_root_as_surfaces() -> None:
    surface = leaflet_surface(AorticRoot(), 2.0)
    assert set(surface.names) == {"leaflet_right", "leaflet_left", "leaflet_non"}
    a, b, c = (surface.points[surface.triangles[:, k]] for k in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).mean() > 0.8


@pytest.mark.parametrize(
    "shape",
    [Box((4.0, 5.0, 6.0)), Slab(8.0, 6.0, LAYERS), Tube(8.0, 30.0, LAYERS, bend=90.0)],
    ids=lambda s: type(s).__name__,
)
def test_hexahedra_of_a_shape_have_the_names_of_its_tetrahedra(shape, tmp_path: Path) -> None:
    mesh = mesh_hexahedra(shape, 1.0)
    tetrahedra = mesh_shape(shape, 4.0)
    assert set(mesh.facet_names) == set(tetrahedra.facet_names)
    assert mesh.region_names == tetrahedra.region_names
    for name, volume in shape.volumes().items():
        assert mesh.volume(name) == pytest.approx(volume, rel=0.005)
    assert (hexahedron_volumes(mesh.points, mesh.cells) > 0).all()
    assert scaled_jacobians(mesh.points, mesh.cells).min() > 0.98
    write_hexahedra(mesh, tmp_path / "h.msh")
    domain = read_domain(tmp_path / "h.msh", MPI.COMM_SELF)
    assert domain.mesh.topology.cell_name() == "hexahedron"
    for name, number in mesh.facet_names.items():
        assert len(domain.facets(name)) == np.count_nonzero(mesh.facet_tags == number)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Box((1.0, -1.0, 1.0)),
        lambda: Slab(layers=(("a", 1.0), ("a", 1.0))),
        lambda: Slab(layers=()),
        lambda: Sphere(5.0, hollow=6.0),
        lambda: Tube(10.0, 20.0, bend=180.0),
        lambda: Plate(holes=((1.0, 6.0, 2.0),)),
        lambda: Plate(holes=((10.0, 6.0, 2.0), (13.0, 6.0, 2.0))),
        lambda: EllipsoidalVentricle(base=59.0),
        lambda: Biventricle(shift=0.0, right=(30.0, 30.0, 55.0)),
        lambda: Biventricle(shift=2.0),
        lambda: AorticRoot(sinus=10.0),
        lambda: AorticRoot(orifice=0.1),
        lambda: AorticRoot(height=float("nan")),
        lambda: mesh_shape(Box(), 0.0),
        lambda: mesh_shape(Box(), 5.0, order=3),
        lambda: mesh_shape(AorticRoot(), 2.0, order=2),
        lambda: mesh_hexahedra(Tube(lumen="blood"), 2.0),
    ],
)
def test_impossible_shapes_are_refused(make) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert isinstance(caught.value, OrgantwinError) and caught.value.remedy
