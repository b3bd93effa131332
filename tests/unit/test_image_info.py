from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image as Picture
from typer.testing import CliRunner

from organtwin.cli import app
from organtwin.errors import InputError
from organtwin.export.three_planes import _planes, letters, three_planes, upright
from organtwin.image.info import about_grid, about_image, hu_shares, is_label_map
from organtwin.image.readers import read_image
from organtwin.image.volume import Grid, Image, LabelMap, Sequence, check_extent

ROOT = Path(__file__).parents[2]
HEART = ROOT / "meshes/wholeheart/wh.nii.gz"
SHARED = ROOT.parent / "shared/data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data here")
TURN, _ = np.linalg.qr(np.array([[1.0, 0.2, 0.1], [-0.3, 1.0, 0.0], [0.1, 0.2, 1.0]]))


def grid(direction: NDArray[np.float64] | None = None) -> Grid:
    axes = np.eye(3) if direction is None else direction
    return Grid((8, 10, 12), np.array([1.0, 2.0, 3.0]), np.array([5.0, -40.0, 7.0]), axes)


def ramp(place: Grid) -> Image:
    """Values that grow to the left, posterior and superior by 1, 20 and 300 per mm."""
    points = place.points(np.indices(place.shape).reshape(3, -1).T)
    values = np.round((points - points.min(axis=0)) @ [1.0, 20.0, 300.0])
    return Image(values.reshape(place.shape).astype(np.int16), place, "MR")


# --- nouns ----------------------------------------------------------------------------------------


def test_index_is_the_inverse_of_points() -> None:
    index = np.array([[0.0, 0.0, 0.0], [3.5, 2.0, 11.0]])
    there = grid(TURN).points(index)
    np.testing.assert_allclose(grid(TURN).index(there), index, atol=1e-12)


@pytest.mark.parametrize(
    ("signs", "order", "codes"),
    [
        ((1, 1, 1), (0, 1, 2), "LPS"),
        ((-1, -1, 1), (0, 1, 2), "RAS"),
        ((1, 1, -1), (1, 2, 0), "PSR"),
    ],
)
def test_axes_are_named(signs: tuple[int, ...], order: tuple[int, ...], codes: str) -> None:
    direction = np.zeros((3, 3))
    for column, (row, sign) in enumerate(zip(order, signs, strict=True)):
        direction[row, column] = sign
    assert grid(direction).axis_codes == codes
    assert grid(direction).obliqueness == pytest.approx(0.0, abs=1e-6)


def test_oblique_axes_have_three_different_letters() -> None:
    # two axes lie nearest to the left-right direction
    diagonal = np.array([[0.7, 0.71, 0.0], [0.714, -0.704, 0.0], [0.0, 0.0, 1.0]])
    assert grid(diagonal).axis_codes in ("PLS", "LAS")
    assert grid(diagonal).obliqueness == pytest.approx(44.8, abs=1.0)


def test_grids_match_if_their_corners_do() -> None:
    other = Grid((8, 10, 12), np.array([1.0, 2.0, 3.0005]), grid().origin, np.eye(3))
    assert grid().matches(other)
    assert not grid().matches(grid(TURN))


def test_label_map_knows_its_grid() -> None:
    labels = LabelMap(np.zeros((8, 10, 12), np.uint8), {}, np.ones(3), np.zeros(3), TURN)
    assert labels.grid.shape == (8, 10, 12)
    np.testing.assert_allclose(
        labels.grid.points([[1, 2, 3]]), labels.points(np.array([[1, 2, 3]]))
    )


def test_sizes_that_no_body_has_are_questioned() -> None:
    check_extent("femur.stl", [60.0, 70.0, 450.0])
    with pytest.raises(InputError, match=r"0.06 x 0.07 x 0.45 mm; is the file in metres"):
        check_extent("femur.stl", [0.06, 0.07, 0.45])
    with pytest.raises(InputError, match=r"the surface measures .* in micrometres instead of mm"):
        check_extent("femur.stl", [6e4, 7e4, 4.5e5], what="the surface")


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_formats_keep_values_and_place(tmp_path: Path, suffix: str) -> None:
    image = ramp(grid(TURN))
    sitk.WriteImage(image.to_sitk(), str(tmp_path / f"x{suffix}"))
    again = read_image(tmp_path / f"x{suffix}")
    assert isinstance(again, Image)
    np.testing.assert_array_equal(again.values, image.values)
    assert again.values.dtype == np.int16
    assert again.grid.matches(image.grid)
    assert again.quantity == "grey"


def test_values_of_air_make_a_ct(tmp_path: Path) -> None:
    image = ramp(grid())
    sitk.WriteImage(image.to_sitk() - 1000, str(tmp_path / "x.nrrd"))
    assert read_image(tmp_path / "x.nrrd").quantity == "HU"


def test_four_dimensions_are_phases(tmp_path: Path) -> None:
    image = ramp(grid()).to_sitk()
    sitk.WriteImage(sitk.JoinSeries([image, image + 5], 0.0, 0.04), str(tmp_path / "x.nii.gz"))
    found = read_image(tmp_path / "x.nii.gz")
    assert isinstance(found, Sequence)
    assert found.grid.matches(grid())
    np.testing.assert_array_equal(found.images[1].values, ramp(grid()).values + 5)
    assert found.times[1] in (pytest.approx(40.0), 1.0)  # by the unit that the file tells


def test_pictures_and_absent_files_are_refused(tmp_path: Path) -> None:
    Picture.new("RGB", (30, 20)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"`\.png` is no format of scans"):
        read_image(tmp_path / "x.png")
    with pytest.raises(InputError, match="no such image file"):
        read_image(tmp_path / "absent.nii")
    sitk.WriteImage(ramp(grid()).to_sitk(), str(tmp_path / "m.nrrd"))
    small = sitk.ReadImage(str(tmp_path / "m.nrrd"))
    small.SetSpacing([0.001, 0.002, 0.003])
    sitk.WriteImage(small, str(tmp_path / "m.nrrd"))
    with pytest.raises(InputError, match="is the spacing in metres instead of mm"):
        read_image(tmp_path / "m.nrrd")


# --- words ----------------------------------------------------------------------------------------


def test_shares_of_hounsfield_units() -> None:
    values = np.array([-3024, -1000, -1000, -100, 40, 40, 40, 300, 300, 1200])
    assert list(hu_shares(values).values()) == pytest.approx([0.1, 0.2, 0.1, 0.3, 0.2, 0.1])


def test_grid_in_words() -> None:
    text = "\n".join(about_grid(grid(np.diag([-1.0, 1.0, 1.0]))))
    assert "8 x 10 x 12" in text
    assert "RPS: towards right, posterior, superior" in text
    assert "left (mirrored)" in text
    assert "x -2.0 to 5.0; y -40.0 to -22.0; z 7.0 to 40.0 mm" in text


def test_phases_in_words() -> None:
    images = (ramp(grid()), ramp(grid()))
    text = "\n".join(about_image(Sequence(images, np.array([0.0, 388.0]), 776.0)))
    assert "2, 0.0 to 388.0 ms; beat of 776 ms" in text


def test_values_that_are_no_numbers_are_counted() -> None:
    values = np.ones((8, 10, 12), np.float32)
    values[0, 0, :3] = np.nan
    text = "\n".join(about_image(Image(values, grid(), "grey")))
    assert "3 voxels hold no number" in text


def test_label_maps_are_told_from_scans() -> None:
    noise = np.random.default_rng(0).normal(500, 30, (20, 20, 20)).astype(np.int16)
    assert not is_label_map(Image(noise, grid()))
    blocks = np.repeat(np.arange(5), 4)[:, None, None] * np.ones((20, 20, 20), np.int16)
    assert is_label_map(Image(blocks.astype(np.int16), grid()))
    found = read_image(HEART)
    assert isinstance(found, Image)
    assert is_label_map(found)


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_planes_are_the_same_however_the_axes_are_stored(order: tuple[int, int, int]) -> None:
    plain = ramp(grid())
    turned = np.flip(plain.values.transpose(order), 1)
    spacing = plain.grid.spacing[list(order)]
    direction = np.eye(3)[:, list(order)]
    start = np.zeros(3)
    start[order[1]] = plain.grid.shape[order[1]] - 1
    direction[:, 1] *= -1.0
    shape = (turned.shape[0], turned.shape[1], turned.shape[2])
    other = Image(turned, Grid(shape, spacing, plain.grid.points(start), direction), "MR")
    np.testing.assert_allclose(other.values.max(), ramp(other.grid).values.max())
    view = upright(other)
    np.testing.assert_array_equal(view.values, plain.values)
    assert view.grid.matches(plain.grid)


def test_letters_of_directions() -> None:
    assert letters(np.array([0.0, 0.0, 1.0])) == "S"
    assert letters(np.array([-0.79, 0.0, -0.61])) == "RI"
    assert letters(np.array([0.1, -0.99, 0.0])) == "A"


def test_right_is_on_the_left_of_the_picture(tmp_path: Path) -> None:
    values = np.zeros((40, 40, 40), np.int16)
    values[:12, :12, 28:] = 1000  # right, anterior, superior
    place = Grid((40, 40, 40), np.ones(3), np.zeros(3), np.eye(3))
    at = np.array([6.0, 6.0, 34.0])
    page = Picture.open(three_planes(Image(values, place, "MR"), tmp_path / "x.png", at=at))
    bright = np.asarray(page.convert("L"), float)
    # axial: lower left quarter of the page, between letters and ticks
    height, width = bright.shape
    axial = bright[int(0.55 * height) : int(0.85 * height), int(0.08 * width) : int(0.42 * width)]
    half = [n // 2 for n in axial.shape]
    parts = [axial[: half[0], : half[1]], axial[: half[0], half[1] :], axial[half[0] :]]
    assert parts[0].mean() > 20 + max(parts[1].mean(), parts[2].mean())


def test_true_aspect_ratio() -> None:
    place = Grid((50, 40, 10), np.array([1.0, 2.0, 6.0]), np.zeros(3), np.eye(3))
    values = np.random.default_rng(1).normal(0, 1, place.shape).astype(np.float32)
    figure = _planes(Image(values, place), None, None)
    figure.canvas.draw()
    coronal, sagittal, axial = (ax.get_window_extent() for ax in figure.axes[:3])
    assert coronal.height / coronal.width == pytest.approx(60 / 50, rel=0.01)
    assert sagittal.height / sagittal.width == pytest.approx(60 / 80, rel=0.01)
    assert axial.height / axial.width == pytest.approx(80 / 50, rel=0.01)
    assert "x (mm)" in figure.axes[2].get_xlabel()


def test_a_cine_slice_shows_its_phases(tmp_path: Path) -> None:
    place = Grid((30, 20, 1), np.array([5.0, 5.0, 8.0]), np.zeros(3), TURN)
    images = tuple(Image(np.full(place.shape, k, np.int16), place, "MR") for k in range(5))
    path = three_planes(Sequence(images, np.arange(5) * 40.0), tmp_path / "x.png")
    assert Picture.open(path).size[0] > 1000


# --- command --------------------------------------------------------------------------------------


def organtwin(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_info_of_a_scan_with_picture(tmp_path: Path) -> None:
    sitk.WriteImage(ramp(grid()).to_sitk() - 1000, str(tmp_path / "x.nrrd"))
    code, text = organtwin(
        "image", "info", tmp_path / "x.nrrd", "--picture", tmp_path / "deep/x.png"
    )
    assert code == 0, text
    assert "Hounsfield units (HU), int16" in text
    assert "soft tissue, blood" in text
    assert Picture.open(tmp_path / "deep/x.png").size[0] > 800


def test_info_of_what_is_not_there() -> None:
    code, text = organtwin("image", "info", "absent")
    assert code == 2
    assert "absent: no such image file" in text


def test_info_of_a_label_map(tmp_path: Path) -> None:
    values = np.zeros((20, 20, 20), np.int16)
    values[4:14, 4:14, 4:14] = 300
    place = Grid((20, 20, 20), np.full(3, 2.0), np.zeros(3), np.eye(3))
    sitk.WriteImage(place.to_sitk(values), str(tmp_path / "x.mha"))
    code, text = organtwin("image", "info", tmp_path / "x.mha", "--picture", tmp_path / "x.png")
    assert code == 0, text
    assert "300         8.0 mL" in text
    assert (tmp_path / "x.png").is_file()


@needs_shared
def test_info_of_a_dicom_segmentation_names_its_labels() -> None:
    code, text = organtwin("image", "info", SHARED / "dicom-seg", "--series", "liver")
    assert code == 0, text
    assert "70.4 mL  Liver" in text


@needs_shared
def test_info_of_a_study_lists_its_series() -> None:
    code, text = organtwin("image", "info", SHARED / "cardiac-cine-mr")
    assert code == 0, text
    assert text.count("cine_trufi_retro") == 11
    assert "Choose one with --series" in text
    code, text = organtwin("image", "info", SHARED / "cardiac-cine-mr", "--series", "RVOT")
    assert code == 0, text
    assert "beat of" in text


@needs_shared
def test_info_tells_nothing_of_the_person() -> None:
    import pydicom

    folder = SHARED / "dicom-with-identity/dicom"
    code, text = organtwin("image", "info", folder)
    assert code == 0, text
    assert "640 x 640 x 8" in text
    header = pydicom.dcmread(next(folder.glob("*.dcm")), stop_before_pixels=True)
    for element in header.iterall():
        if element.VR in ("PN", "UI", "DA", "TM", "DT", "LO", "SH", "ST") and element.value:
            told = str(element.value)
            allowed = ("SeriesDescription", "Modality")
            assert len(told) < 5 or element.keyword in allowed or told not in text, element.keyword


@pytest.mark.parametrize("name", ["bone.stl", "bone.VTP", "bone.vtk"])
def test_a_surface_is_sent_to_the_command_for_surfaces(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(bytes(84))
    result = CliRunner().invoke(app, ["image", "info", str(file)])
    assert result.exit_code == 2
    assert f"no image. Look at a surface by `organtwin surface {file}`" in result.output
