"""Pictures and report from the files of a made-up result, whole or with gaps."""

import json
import shutil

import numpy as np
import pytest
import pyvista as pv
from PIL import Image

from organtwin.errors import InputError
from organtwin.export import diagrams
from organtwin.export.findings import findings
from organtwin.export.pictures import Result, draw_all
from organtwin.export.report import write_report
from organtwin.export.series import read_series
from organtwin.verify.biventricle import LV_OUTER, ROTATION, write_biventricle
from tests.fake_result import write_fake_result


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("result")
    mesh = write_biventricle(folder / "heart.msh")
    return write_fake_result(folder, mesh, refinements=1, interval=200.0)


@pytest.fixture
def hard_edges(monkeypatch):
    """Draw each pixel once: smoothing is half of the time here (test_isochrones.py smooths)."""
    monkeypatch.setattr(pv.Plotter, "enable_anti_aliasing", lambda *_: None)


def test_quadratic_cells_become_eight_linear_ones_of_the_same_volume(result):
    series = read_series(result / "fields" / "mechanics.pvd")
    files = pv.read(series.files[0])
    assert series.mesh.n_cells == 8 * files.n_cells
    corners = files.cell_connectivity.reshape(-1, 10)[:, :4]
    coarse = pv.UnstructuredGrid({pv.CellType.TETRA: corners}, files.points)
    volumes = [np.abs(grid.compute_cell_sizes()["Volume"]).sum() for grid in (coarse, series.mesh)]
    assert volumes[1] == pytest.approx(volumes[0], rel=1e-5)
    displaced = series.at_points(series.nearest(200.0), "displacement")
    assert displaced.shape == series.mesh.points.shape
    assert len(series.at_cells(0, "region")) == series.mesh.n_cells


def test_pieces_of_several_ranks_are_joined(tmp_path):
    box = pv.ImageData(dimensions=(4, 3, 3)).to_tetrahedra()
    half = box.cell_centers().points[:, 0] < 1.5
    names = []
    for name, keep in (("a", half), ("b", ~half)):
        piece = box.extract_cells(np.flatnonzero(keep))
        piece = pv.UnstructuredGrid({10: piece.cells_dict[10]}, piece.points)
        piece["x"] = piece.points[:, 0]
        piece.save(tmp_path / f"{name}.vtu")
        names.append(f'<Piece Source="{name}.vtu"/>')
    (tmp_path / "s.pvtu").write_text(
        '<VTKFile type="PUnstructuredGrid"><PUnstructuredGrid GhostLevel="0"><PPointData>'
        '<PDataArray type="Float32" Name="x" NumberOfComponents="1"/></PPointData><PPoints>'
        '<PDataArray type="Float32" NumberOfComponents="3"/></PPoints>'
        + "".join(names)
        + "</PUnstructuredGrid></VTKFile>",
        encoding="utf-8",
    )
    (tmp_path / "s.pvd").write_text(
        '<VTKFile type="Collection"><Collection><DataSet timestep="0" file="s.pvtu"/>'
        "</Collection></VTKFile>",
        encoding="utf-8",
    )
    series = read_series(tmp_path / "s.pvd")
    assert series.mesh.n_points == box.n_points
    np.testing.assert_allclose(series.at_points(0, "x"), series.mesh.points[:, 0], atol=1e-6)


def test_a_series_that_other_ranks_went_on_with_is_one(tmp_path):
    """The files after a restart list the same points and cells in another order."""
    box = pv.ImageData(dimensions=(4, 4, 4)).to_tetrahedra()
    rng = np.random.default_rng(1)
    points, cells = rng.permutation(box.n_points), rng.permutation(box.n_cells)
    number = np.argsort(points)
    nodes = number[box.cell_connectivity.reshape(-1, 4)[cells]]
    other = pv.UnstructuredGrid({pv.CellType.TETRA: nodes}, box.points[points])
    entries = ""
    for k, grid in enumerate((box, other, other)):
        grid.point_data["x"] = grid.points[:, 0] + k
        grid.cell_data["y"] = grid.cell_centers().points[:, 1]
        pv.UnstructuredGrid(grid).save(tmp_path / f"{k}.vtu")
        entries += f'<DataSet timestep="{k}" file="{k}.vtu"/>'
    (tmp_path / "s.pvd").write_text(
        f'<VTKFile type="Collection"><Collection>{entries}</Collection></VTKFile>'
    )
    series = read_series(tmp_path / "s.pvd")
    middles = series.mesh.cell_centers().points[:, 1]
    for k in range(3):
        np.testing.assert_allclose(
            series.at_points(k, "x"), series.mesh.points[:, 0] + k, atol=1e-6
        )
        np.testing.assert_allclose(series.at_cells(k, "y"), middles, atol=1e-6)
    pv.UnstructuredGrid(box.translate((0.5, 0, 0))).save(tmp_path / "1.vtu")
    with pytest.raises(InputError, match="another mesh"):
        read_series(tmp_path / "s.pvd").at_points(1, "x")


def test_the_heart_stands_apex_down_with_its_right_side_left(result):
    view = Result(result).view
    assert view.up @ ROTATION[:, 2] > 0.999
    assert view.right_ventricle @ ROTATION[:, 0] > 0.99
    assert view.front[1] < 0.0
    np.testing.assert_allclose(view.apex, ROTATION @ [0, 0, -LV_OUTER.semi_axes[2]], atol=1.0)
    names = Result(result).surfaces
    areas = {name: getattr(names, name).area for name in ("lv_endo", "rv_endo", "epi", "base")}
    assert areas["epi"] > areas["rv_endo"] > areas["lv_endo"] > areas["base"]
    assert areas["base"] == pytest.approx(2359.0, rel=0.02)


def test_all_pictures_and_a_report_with_everything_inside(result, hard_edges):
    heard = []
    drawn = draw_all(result, lambda fraction, name: heard.append((fraction, name)))
    assert [path.name for path in drawn][:2] == ["heartbeat.gif", "pressure_volume_loops.png"]
    assert len(drawn) == 12
    assert heard[0][0] == 0.0
    assert heard[-1][0] == 1.0
    for path in drawn:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
            assert image.width > 500
            assert pixels.std() > 10.0, f"{path.name} is empty"
    with Image.open(drawn[0]) as film:
        assert film.n_frames == 5
        assert film.convert("RGB").getpixel((1, 1)) == (255, 255, 255)

    html = write_report(result).read_text(encoding="utf-8")
    assert html.count("<img") == 12
    assert 'src="http' not in html
    assert "href=" not in html
    for text in ("A made-up heartbeat", "56", "Hudsmith", "ab12ab12", "holzapfel_ogden", "MiB"):
        assert text in html


def test_what_is_missing_is_told_not_raised(result, tmp_path):
    shutil.copytree(result, tmp_path / "r", ignore=shutil.ignore_patterns("pictures"))
    folder = tmp_path / "r"
    shutil.rmtree(folder / "fields")
    (folder / "stages" / "mesh" / "mesh.json").unlink()
    table = (folder / "scalars.csv").read_text(encoding="utf-8")
    (folder / "scalars.csv").write_text(table.replace("ecg_I", "lead_I"), encoding="utf-8")
    drawn = {path.name for path in draw_all(folder)}
    assert drawn == {
        "pressure_volume_loops.png", "wiggers.png", "right_heart.png", "tissue.png",
    }  # fmt: skip
    html = write_report(folder).read_text(encoding="utf-8")
    assert "Not drawn" in html
    assert "activation.pvd" in html


def test_a_report_of_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"run\.json"):
        write_report(tmp_path)


def test_findings_are_judged_against_their_ranges():
    results = {
        "lv_ejection_fraction": {"value": 30.0, "unit": "%"},
        "lv_peak_pressure": {"value": 120.0, "unit": "mmHg"},
        "cardiac_output": {"value": None, "unit": "L/min"},
        "something_new": {"value": 1.0, "unit": "mm"},
    }
    found = {finding.key: finding for finding in findings(results)}
    assert found["lv_ejection_fraction"].verdict == "below"
    assert found["lv_peak_pressure"].verdict == "within"
    assert found["cardiac_output"].verdict == ""
    assert found["something_new"].name == "Something new"


def test_valve_events_from_flows():
    t = np.arange(0.0, 100.0)
    flow = {"t [ms]": t, "Q_av [mL/s]": 0.0 * t, "Q_mv [mL/s]": 0.0 * t}
    flow["Q_av [mL/s]"][20:40] = 300.0
    flow["Q_mv [mL/s]"][60:] = 200.0
    events = diagrams.valve_events(flow)
    assert events == {"aortic opens": 20.0, "aortic closes": 40.0, "mitral opens": 60.0}


def test_an_unfinished_run_can_be_reported(result, tmp_path):
    run = json.loads((result / "run.json").read_text(encoding="utf-8"))
    run |= {"status": "interrupted", "results": {}, "stages": {}}
    (tmp_path / "run.json").write_text(json.dumps(run), encoding="utf-8")
    assert "The run was interrupted" in write_report(tmp_path).read_text(encoding="utf-8")
