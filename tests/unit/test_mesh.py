from __future__ import annotations

from pathlib import Path

import gmsh
import numpy as np
import pytest

from organtwin.errors import InputError, MeshError
from organtwin.image.geometry import REGIONS, Geometry
from organtwin.image.labels import biventricular
from organtwin.image.volume import LabelMap
from organtwin.image.wellcomposed import well_composed
from organtwin.mesh.quality import (
    MeshReport,
    dihedral_angles,
    mean_ratio,
    mesh_quality,
    signed_volumes,
)
from organtwin.mesh.surface import Surface, keep_volumes, remesh, smooth, surface_nets
from organtwin.mesh.tetrahedra import tetrahedralise
from organtwin.units import ML
from tests.synthetic import two_ellipsoids

REGULAR = np.array([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]])
CORNER = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
ONE = np.array([[0, 1, 2, 3]])


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return biventricular(two_ellipsoids(), resolution=1.5, smoothing=1.5)


@pytest.fixture(scope="module")
def report(geometry: Geometry, tmp_path_factory: pytest.TempPathFactory) -> MeshReport:
    return tetrahedralise(geometry, size=8.0, path=tmp_path_factory.mktemp("mesh") / "heart.msh")


def edge_counts(surface: Surface) -> np.ndarray:
    t = surface.triangles
    pairs = np.sort(np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]]), axis=1)
    return np.unique(pairs, axis=0, return_counts=True)[1]


def test_angles_and_shape_of_known_tetrahedra() -> None:
    np.testing.assert_allclose(dihedral_angles(REGULAR, ONE), np.degrees(np.arccos(1 / 3)))
    assert mean_ratio(REGULAR, ONE)[0] == pytest.approx(1.0)
    angles = np.sort(dihedral_angles(CORNER, ONE)[0])
    np.testing.assert_allclose(angles, [54.7356103] * 3 + [90.0] * 3)
    # V = 1/6, sum of squared edges 3 + 6: 12 (1/2)^(2/3) / 9
    assert mean_ratio(CORNER, ONE)[0] == pytest.approx(12 * 0.5 ** (2 / 3) / 9)
    assert signed_volumes(CORNER, ONE)[0] == pytest.approx(1 / 6)
    assert signed_volumes(CORNER, ONE[:, [1, 0, 2, 3]])[0] == pytest.approx(-1 / 6)


def test_quality_of_one_cell() -> None:
    quality = mesh_quality(CORNER, ONE, {"lv": 1.02}, {"lv": 1.0})
    assert quality.cells == 1
    assert sum(quality.mean_ratio_histogram) == 1
    assert quality.edge_length == pytest.approx((1.0, (3 + 3 * 2**0.5) / 6, 2**0.5))
    assert quality.volume_error["lv"] == pytest.approx(0.02)


def test_net_encloses_exactly_the_voxels(geometry: Geometry) -> None:
    net = surface_nets(geometry)
    tissue = (geometry.volumes_ml["lv"] + geometry.volumes_ml["rv"]) * ML
    assert net.enclosed("lv_endo", "rv_endo", "epi", "base") == pytest.approx(tissue)
    assert -net.enclosed("lv_endo") == pytest.approx(geometry.volumes_ml["lv_blood"] * ML)
    assert -net.enclosed("rv_endo") == pytest.approx(geometry.volumes_ml["rv_blood"] * ML)
    assert (edge_counts(net) == 2).all()


def test_smoothing_takes_the_stairs_and_little_volume(geometry: Geometry) -> None:
    net = surface_nets(geometry)
    flat = smooth(net)
    assert flat.enclosed("epi") == pytest.approx(net.enclosed("epi"), rel=0.005)
    assert flat.area("epi") < 0.8 * net.area("epi")
    assert np.abs(flat.points[np.unique(flat.select("base")), 2]).max() == 0.0


def test_shifting_restores_the_volumes(geometry: Geometry) -> None:
    coarse = remesh(smooth(surface_nets(geometry)), 8.0, 1.5)
    assert (edge_counts(coarse) == 2).all()
    kept = keep_volumes(coarse, 100e3, 45e3, 60e3)
    assert -kept.enclosed("lv_endo") == pytest.approx(45e3, rel=1e-9)
    assert -kept.enclosed("rv_endo") == pytest.approx(60e3, rel=1e-9)
    assert kept.enclosed("lv_endo", "rv_endo", "epi", "base") == pytest.approx(100e3, rel=1e-9)
    assert np.abs(kept.points[np.unique(kept.select("base")), 2]).max() == 0.0


def test_voxels_that_touch_by_an_edge_are_joined() -> None:
    values = np.zeros((6, 6, 6), np.uint8)
    values[2, 2, 2] = values[3, 3, 2] = 1
    values[2, 2, 4] = values[3, 3, 5] = 1
    fixed = well_composed(values, (1,), 1, top=6)
    assert (well_composed(fixed, (1,), 1, top=6) == fixed).all()
    assert fixed.sum() > 4
    assert (fixed[values == 1] == 1).all()


def test_pinched_tissue_is_refused() -> None:
    values = np.zeros((6, 6, 6), np.uint8)
    values[2, 2, 2:4] = values[3, 3, 2:4] = REGIONS["lv"]
    grid = LabelMap(values, dict(REGIONS), np.ones(3), np.zeros(3), np.eye(3))
    pinched = Geometry(grid, np.array([0.0, 0, 3.5]), np.array([0.0, 0, 1]), (), {}, {})
    with pytest.raises(MeshError, match="edges don't belong to two triangles"):
        smooth(surface_nets(pinched))


def test_volumes_angles_and_names(report: MeshReport, geometry: Geometry) -> None:
    quality = report.quality
    assert 1000 < quality.cells < 4500
    assert quality.min_dihedral > 3.0
    assert abs(quality.volume_error["lv"]) < 0.02
    assert abs(quality.volume_error["rv"]) < 0.05
    assert max(abs(error) for error in report.cavity_error.values()) < 1e-6
    assert set(report.regions) == {"lv", "rv"}
    assert set(report.surfaces) == {"lv_endo", "rv_endo", "epi", "base"}
    assert sum(report.quality.mean_ratio_histogram) == quality.cells


def test_file_is_msh_4_1_with_named_groups(report: MeshReport) -> None:
    assert Path(report.path).read_text().startswith("$MeshFormat\n4.1 0 8")
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.open(report.path)
        named = {gmsh.model.getPhysicalName(*g): g[0] for g in gmsh.model.getPhysicalGroups()}
    finally:
        gmsh.finalize()
    assert named == {"lv": 3, "rv": 3, "lv_endo": 2, "rv_endo": 2, "epi": 2, "base": 2}


def test_same_geometry_gives_the_same_file(
    report: MeshReport, geometry: Geometry, tmp_path: Path
) -> None:
    again = tetrahedralise(geometry, size=8.0, path=tmp_path / "again.msh")
    assert (tmp_path / "again.msh").read_bytes() == Path(report.path).read_bytes()
    assert again.quality == report.quality


def test_report_round_trip(report: MeshReport, tmp_path: Path) -> None:
    report.to_json(tmp_path / "mesh.json")
    assert MeshReport.from_json(tmp_path / "mesh.json") == report
    (tmp_path / "mesh.json").write_text("[]")
    with pytest.raises(InputError, match="no mesh report"):
        MeshReport.from_json(tmp_path / "mesh.json")


def test_impossible_size_is_refused(geometry: Geometry, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"size: 40 mm is outside"):
        tetrahedralise(geometry, size=40.0, path=tmp_path / "x.msh")
    assert not (tmp_path / "x.msh").exists()
