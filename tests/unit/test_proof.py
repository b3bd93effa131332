from dataclasses import replace

import numpy as np
import pytest
import pyvista as pv

from organtwin.errors import MeshError
from organtwin.image.volume import LabelMap
from organtwin.mesh.conforming.coarsening import coarsened
from organtwin.mesh.conforming.faces_between import with_interfaces
from organtwin.mesh.conforming.from_surfaces import from_surfaces
from organtwin.mesh.conforming.ladder import conform
from organtwin.mesh.conforming.route import MeshOptions
from organtwin.mesh.conforming.sizes import Sizes
from organtwin.mesh.proof import Requirements, prove, prove_interfaces, require, voxel_faces
from organtwin.mesh.quality import scaled_jacobian
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.volume_mesh import TetrahedralMesh

from tests.voxel_meshes import tetrahedra_of  # isort: skip

#: Six tetrahedra around a diagonal of the unit cube.
KUHN = np.array([
    [0, 1, 3, 7], [0, 3, 2, 7], [0, 2, 6, 7], [0, 6, 4, 7], [0, 4, 5, 7], [0, 5, 1, 7],
])  # fmt: skip
SPACING = np.array([1.0, 2.0, 4.0])
ANGLE = np.radians(30.0)
DIRECTION = np.array(
    [[np.cos(ANGLE), -np.sin(ANGLE), 0], [np.sin(ANGLE), np.cos(ANGLE), 0], [0, 0, -1.0]]
)
ORIGIN = np.array([10.0, -20.0, 5.0])


def block(size: float) -> TetrahedralMesh:
    """Box of six tetrahedra around voxels 2..9 of each axis, scaled about its middle."""
    corners = np.indices((2, 2, 2)).reshape(3, -1).T[:, ::-1] * 1.0
    index = 5.5 + size * 8.0 * (corners - 0.5)
    points = ORIGIN + (index * SPACING) @ DIRECTION.T
    cells = KUHN[:, [0, 2, 1, 3]]  # the grid mirrors
    return TetrahedralMesh(points, cells, np.ones(6, np.int64), {"block": 1})


@pytest.fixture(scope="module")
def labels() -> LabelMap:
    values = np.zeros((12, 12, 12), np.uint8)
    values[2:10, 2:10, 2:10] = 3
    return LabelMap(values, {"block": 3}, SPACING, ORIGIN, DIRECTION)


def test_an_exact_mesh_has_no_errors(labels: LabelMap) -> None:
    proof = prove(block(1.0), labels)
    region = proof.regions["block"]
    assert region.wanted_ml == pytest.approx(512 * 8 / 1000)
    assert region.volume_error == pytest.approx(0.0, abs=1e-12)
    assert region.hausdorff == pytest.approx(0.0, abs=1e-9)
    assert proof.voxel_diagonal == pytest.approx(np.sqrt(21.0))
    assert proof.quality.inverted == 0


def test_a_mesh_that_is_too_large_is_measured_and_refused(labels: LabelMap) -> None:
    proof = prove(block(1.25), labels)
    region = proof.regions["block"]
    assert region.volume_error == pytest.approx(1.25**3 - 1.0)
    # An eighth of each half edge, to all sides of a corner.
    assert region.hausdorff == pytest.approx(np.linalg.norm(0.125 * 8.0 * SPACING))
    with pytest.raises(MeshError, match=r"volume of `block` off by \+95.3 %, 1 % allowed"):
        require(proof, Requirements(over_ml=1.0), "[mesh] threshold")
    with pytest.raises(MeshError, match=r"surface of `block` up to 4.58 mm off, 2 mm allowed"):
        require(proof, Requirements(min_dihedral=1.0, hausdorff=2.0), "[mesh] threshold")
    require(proof, Requirements(min_dihedral=1.0), "[mesh] threshold")  # a small region


def test_inverted_and_flat_cells_are_refused(labels: LabelMap) -> None:
    mesh = block(1.0)
    turned = TetrahedralMesh(
        mesh.points, mesh.cells[:, [1, 0, 2, 3]], mesh.regions, mesh.region_names
    )
    with pytest.raises(MeshError, match="6 inverted tetrahedra"):
        require(prove(turned, labels), Requirements(), "[mesh] threshold")
    with pytest.raises(MeshError, match=r"smallest dihedral angle 1[0-9.]+ degrees, 30 wanted"):
        require(prove(mesh, labels), Requirements(min_dihedral=30.0), "[mesh] threshold")


def test_faces_of_long_voxels_are_cut_into_squarish_parts(labels: LabelMap) -> None:
    middles, halves = voxel_faces(labels.mask("block"), labels)
    assert (2 * halves).max() <= 1.5 * SPACING.min()
    area = np.prod(np.where(halves > 0, 2 * halves, 1.0), axis=1).sum()
    a, b, c = 8 * SPACING
    assert area == pytest.approx(2 * (a * b + b * c + c * a))
    assert len(middles) == len(halves)


def test_against_interfaces_in_each_other() -> None:
    ball, core = (
        TriangleSurface(s.points.astype(float), s.regular_faces.astype(np.int64))
        for s in (pv.Sphere(radius=r, theta_resolution=20, phi_resolution=20) for r in (20, 12))
    )
    source = from_surfaces({"wall": ball, "blood": core})
    made = conform(source, MeshOptions(sizes=Sizes(default=6.0)))
    proof = prove_interfaces(made.mesh, source)
    for name in ("wall", "blood"):
        region = proof.regions[name]
        assert region.wanted_ml == pytest.approx(source.volume(name) / 1000)
        assert abs(region.volume_error) < 0.01
        assert region.hausdorff < 1.0
    require(proof, Requirements(over_ml=1.0), "[mesh] threshold")


def test_a_label_without_cells_is_told(labels: LabelMap) -> None:
    values = labels.values.copy()
    values[0, 0, :3] = 5
    more = replace(labels, values=values, names={"block": 3, "speck": 5})
    with pytest.raises(MeshError, match=r"no cells of `speck`, 0\.024 mL"):
        require(prove(block(1.0), more), Requirements(), "[mesh] threshold")


def test_a_torn_wall_is_refused() -> None:
    n, voxel = 52, 0.5
    x = (np.stack(np.indices((n, n, n)), axis=3) - (n - 1) / 2) * voxel
    distance = np.linalg.norm(x, axis=3)
    values = (distance < 11).astype(np.uint8) + (distance < 10)
    shell = LabelMap(values, {"wall": 1, "blood": 2}, np.full(3, voxel), np.zeros(3), np.eye(3))
    # Wrapping would stay finer than that by itself.
    torn = conform(coarsened(shell, 1.6), MeshOptions(sizes=Sizes(default=5.0))).mesh
    with pytest.raises(MeshError, match=r"mm2 of `blood-outside` that .* a wall is torn or a gap"):
        require(prove(torn, shell), Requirements(), "[mesh] threshold")
    whole = conform(shell, MeshOptions(sizes=Sizes(default=5.0, by_label={"wall": 1.5}))).mesh
    assert prove(whole, shell).torn == {}


def test_hyphens_in_names_tear_no_walls() -> None:
    values = np.zeros((12, 12, 12), np.uint8)
    values[2:10, 2:10, 2:10] = 1
    names = {"left-atrium": 1}
    voxels = tetrahedra_of(values, names, 1.0)
    mesh, _ = with_interfaces(voxels.points, voxels.cells, voxels.regions, names)
    found = prove(mesh, LabelMap(values, names, np.ones(3), np.zeros(3), np.eye(3)))
    assert found.torn == {}
    assert found.regions["left-atrium"].hausdorff == pytest.approx(0.0, abs=1e-9)


def test_scaled_jacobian_of_known_tetrahedra() -> None:
    regular = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    assert scaled_jacobian(regular, np.array([[1, 0, 2, 3]]))[0] == pytest.approx(1.0)
    corner = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    # J = 1; at the three outer corners the edges are 1, √2, √2.
    assert scaled_jacobian(corner, np.array([[0, 1, 2, 3]]))[0] == pytest.approx(np.sqrt(2) / 2)
