"""Maps of times and of rotors, drawn from stored fields."""

import numpy as np
import pytest
import pyvista as pv
from matplotlib import colormaps
from PIL import Image

from organtwin.errors import InputError
from organtwin.export.isochrones import Scale, isochrones, oriented, rotors, slab_stance, time_map
from organtwin.export.scene import boundary, stance
from organtwin.export.series import Series, read_series
from organtwin.verify.biventricle import ROTATION, write_biventricle
from tests.fake_result import write_fake_result


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("result")
    mesh = write_biventricle(folder / "heart.msh")
    write_fake_result(folder, mesh, refinements=1, interval=200.0)
    return read_series(folder / "fields" / "activation.pvd")


@pytest.fixture(scope="module")
def view(series):
    mesh = oriented(series.mesh)
    return stance(mesh, (mesh.cell_centers().points @ ROTATION[:, 0] > 30.0).astype(float))


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_a_refined_heart_turned_alike_stands_apex_down(view):
    assert view.up @ ROTATION[:, 2] > 0.999


def test_tetrahedra_turned_alike_bound_their_volume(series):
    surface = boundary(oriented(series.mesh))
    corners = surface.points[surface.regular_faces]
    volume = np.linalg.det(corners.astype(float)).sum() / 6
    cells = series.mesh.compute_cell_sizes(length=False, area=False)["Volume"]
    assert volume == pytest.approx(np.abs(cells).sum(), rel=1e-4)


def test_isochrones_are_drawn_with_their_bar(series, view, tmp_path):
    isochrones(series, view, tmp_path / "isochrones.png")
    time_map(series, view, tmp_path / "map.png", field="activation_time", label="Activation")
    for name in ("isochrones.png", "map.png"):
        image = pixels(tmp_path / name)
        assert image.shape[1] > 1000
        assert image.std() > 20.0


def test_times_that_are_nowhere_are_refused(series, view, tmp_path, monkeypatch):
    nothing = np.full(series.mesh.n_points, -1.0)
    monkeypatch.setattr(Series, "at_points", lambda *_: nothing)
    with pytest.raises(InputError, match="no value anywhere"):
        isochrones(series, view, tmp_path / "x.png")


@pytest.mark.parametrize(
    ("low", "high", "levels"),
    [(0.0, 41.0, 10), (0.0, 140.0, 15), (203.0, 297.0, 11), (7.0, 7.0, 2)],
)
def test_bands_have_round_borders_and_cover_all(low, high, levels):
    scale = Scale.of(np.array([low, np.nan, high]), colormaps["viridis"])
    assert scale.levels[0] <= low
    assert scale.levels[-1] >= high
    assert len(scale.levels) == levels
    np.testing.assert_allclose(scale.levels / scale.apart, np.round(scale.levels / scale.apart))


def test_rotors_are_drawn_where_they_were(tmp_path):
    slab = pv.ImageData(dimensions=(9, 9, 3), spacing=(5.0, 5.0, 2.0)).to_tetrahedra()
    view = slab_stance(slab)
    np.testing.assert_array_equal(np.abs(view.front), [0.0, 0.0, 1.0])
    ends = {
        f"{end}{axis} [mm]": np.array([20.0]) for end in ("start ", "", "end ") for axis in "xy"
    }
    heights = {
        "start z [mm]": np.zeros(1),
        "z [mm]": np.full(1, 2.0),
        "end z [mm]": np.full(1, 4.0),
    }
    table = {"t [ms]": np.array([100.0]), **ends, **heights}
    v = np.asarray(slab.points[:, 0]) - 60.0
    images = []
    for name, columns in (("with", table), ("without", {k: c[:0] for k, c in table.items()})):
        rotors(slab, v, columns, view, tmp_path / f"{name}.png", colours=colormaps["viridis"])
        images.append(pixels(tmp_path / f"{name}.png").astype(int))
    assert images[0].std() > 20.0
    magenta = (np.abs(images[0] - [255, 0, 255]).sum(axis=2) < 200).sum()
    assert magenta > (np.abs(images[1] - [255, 0, 255]).sum(axis=2) < 200).sum()
