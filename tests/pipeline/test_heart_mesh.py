"""The real heart: what every later stage takes for granted about its mesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI
from scipy import sparse
from scipy.sparse import csgraph

from organtwin.image.geometry import Geometry
from organtwin.image.labels import biventricular
from organtwin.image.readers import read_labels
from organtwin.mesh.domain import Domain, read_domain, refine
from organtwin.mesh.quality import MeshReport
from organtwin.mesh.regions import faces
from organtwin.mesh.tetrahedra import tetrahedralise
from organtwin.units import ML

HEART = Path(__file__).parents[2] / "meshes/wholeheart/wh.nii.gz"
NAMES = {
    "lv_myocardium": 1, "left_atrium": 2, "lv_blood": 3, "right_atrium": 4, "rv_blood": 5,
    "aorta": 6, "pulmonary_artery": 7,
}  # fmt: skip
SURFACES = ("lv_endo", "rv_endo", "epi", "base")


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return biventricular(read_labels(HEART, NAMES))


@pytest.fixture(scope="module", params=[5.0, 8.0], ids=["5mm", "8mm"])
def report(
    request: pytest.FixtureRequest, geometry: Geometry, tmp_path_factory: pytest.TempPathFactory
) -> MeshReport:
    size: float = request.param
    return tetrahedralise(geometry, size=size, path=tmp_path_factory.mktemp("m") / "heart.msh")


@pytest.fixture(scope="module")
def domain(report: MeshReport) -> Domain:
    return read_domain(report.path, MPI.COMM_SELF)


def triangles(domain: Domain, *names: str) -> np.ndarray:
    """Vertices of the facets of surfaces, in the numbers of the geometry."""
    mesh = domain.mesh
    mesh.topology.create_connectivity(2, 0)
    to_node = np.zeros(mesh.geometry.x.shape[0], np.int64)
    cells, nodes = mesh.topology.connectivity(3, 0).array, mesh.geometry.dofmaps[0].ravel()
    to_node[cells] = nodes
    facets = mesh.topology.connectivity(2, 0)
    return to_node[np.array([facets.links(f) for f in domain.facets(*names)])]


def pieces(t: np.ndarray, by: int) -> int:
    """Number of pieces of triangles that hang together by `by` common vertices."""
    keys = t if by == 1 else np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [0, 2]]])
    rows = np.repeat(np.arange(len(t)), 3) if by == 1 else np.tile(np.arange(len(t)), 3)
    flat = keys.reshape(-1, by)
    column = np.unique(np.sort(flat, axis=1), axis=0, return_inverse=True)[1].ravel()
    incidence = sparse.csr_matrix((np.ones(len(rows)), (rows, column)))
    return int(csgraph.connected_components(incidence @ incidence.T, directed=False)[0])


def test_kept_parts_of_the_ventricles(geometry: Geometry) -> None:
    assert geometry.volumes_ml["lv"] > 0.9 * 87.6
    assert geometry.volumes_ml["lv_blood"] > 0.8 * 49.0
    assert geometry.volumes_ml["rv_blood"] > 0.8 * 66.9
    assert 15 < geometry.volumes_ml["rv"] < 30


def test_quality(report: MeshReport) -> None:
    quality = report.quality
    fine = report.size == 5.0
    assert quality.cells <= (14000 if fine else 4000)
    assert quality.min_dihedral >= 5.0
    assert quality.first_percentile_dihedral > (18.0 if fine else 8.0)
    assert abs(quality.volume_error["lv"]) <= 0.02
    assert abs(quality.volume_error["rv"]) <= 0.05
    assert max(abs(error) for error in report.cavity_error.values()) < 1e-6


def test_domain_agrees_with_the_report(report: MeshReport, domain: Domain) -> None:
    for name, volume in report.quality.volumes_ml.items():
        assert domain.volume(name) == pytest.approx(volume * ML, rel=1e-10)
    for name, area in report.surfaces.items():
        assert domain.area(name) == pytest.approx(area, rel=1e-10)
    assert domain.area() == pytest.approx(domain.area(*SURFACES), rel=1e-12)


def test_surfaces_are_closed_manifolds_with_one_rim(domain: Domain) -> None:
    whole = triangles(domain, *SURFACES)
    pairs = np.sort(np.concatenate([whole[:, [0, 1]], whole[:, [1, 2]], whole[:, [0, 2]]]), axis=1)
    edges, counts = np.unique(pairs, axis=0, return_counts=True)
    assert (counts == 2).all()
    # Euler's number of a sphere: one closed surface without handles or pinched vertices.
    assert len(np.unique(whole)) - len(edges) + len(whole) == 2
    assert pieces(whole, by=2) == 1
    base = np.unique(triangles(domain, "base"))
    for name in ("lv_endo", "rv_endo"):
        t = triangles(domain, name)
        assert pieces(t, by=2) == 1
        pairs = np.sort(np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [0, 2]]]), axis=1)
        edges, counts = np.unique(pairs, axis=0, return_counts=True)
        rim = edges[counts == 1]
        assert np.isin(rim, base).all()
        assert (np.unique(rim, return_counts=True)[1] == 2).all()
        loop = sparse.csr_matrix((np.ones(len(rim)), rim.T), [rim.max() + 1] * 2)
        parts = csgraph.connected_components(loop, directed=False)[1]
        assert len(set(parts[np.unique(rim)])) == 1


def test_base_is_a_plane(domain: Domain, geometry: Geometry) -> None:
    x = domain.mesh.geometry.x
    height = (x - geometry.base_point) @ geometry.base_normal
    assert np.abs(height[np.unique(triangles(domain, "base"))]).max() < 1e-6
    assert height.max() < 1e-6


def test_regions_are_in_one_piece(domain: Domain) -> None:
    cells = np.asarray(domain.mesh.geometry.dofmaps[0], np.int64)
    for name in ("lv", "rv"):
        own = cells[domain.cells(name)]
        face = np.unique(faces(own), axis=0, return_inverse=True)[1].ravel()
        rows = np.tile(np.arange(len(own)), 4)
        incidence = sparse.csr_matrix((np.ones(len(rows)), (rows, face)))
        number, _ = csgraph.connected_components(incidence @ incidence.T, directed=False)
        assert number == 1, name


def test_tissue_lies_where_the_image_has_it(domain: Domain) -> None:
    """In patient coordinates: cell centres of the LV are LV voxels of the file, nearly all."""
    labels = read_labels(HEART, NAMES)
    x = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0][domain.cells("lv")]].mean(axis=1)
    index = np.rint(((x - labels.origin) @ labels.direction) / labels.spacing).astype(int)
    hit = labels.values[tuple(index.T)] == labels.names["lv_myocardium"]
    assert hit.mean() > 0.95


def test_refined_twice_it_is_the_same_body(domain: Domain, report: MeshReport) -> None:
    if report.size < 8.0:
        pytest.skip("one size is enough")
    fine = refine(domain, 2).fine
    for name in ("lv", "rv"):
        assert fine.volume(name) == pytest.approx(domain.volume(name), rel=1e-10)
    for name in SURFACES:
        assert fine.area(name) == pytest.approx(domain.area(name), rel=1e-10)
