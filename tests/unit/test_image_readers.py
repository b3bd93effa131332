from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from organtwin.errors import InputError
from organtwin.image.readers import read_labels, write_labels
from organtwin.image.volume import LabelMap

HEART = Path(__file__).parents[2] / "meshes/wholeheart/wh.nii.gz"
FLIP = np.diag([1.0, -1.0, 1.0])


def block(dtype: type = np.uint8) -> np.ndarray:
    values = np.zeros((12, 14, 16), dtype)
    values[2:10, 3:9, 4:12] = 1
    values[2:10, 9:11, 4:12] = 2
    return values


def save(values: np.ndarray, path: Path, spacing: float = 2.0) -> Path:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing([spacing] * image.GetDimension())
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_formats_keep_the_place_in_space(tmp_path: Path, suffix: str) -> None:
    turn, _ = np.linalg.qr(np.array([[1.0, 0.2, 0.1], [-0.3, 1.0, 0.0], [0.1, 0.2, 1.0]]))
    labels = LabelMap(
        block(), {"a": 1, "b": 2}, np.array([1.0, 1.5, 2.0]), np.array([5.0, -40.0, 7.0]), turn
    )
    write_labels(labels, tmp_path / f"x{suffix}")
    again = read_labels(tmp_path / f"x{suffix}", {"a": 1, "b": 2})
    np.testing.assert_array_equal(again.values, labels.values)
    np.testing.assert_allclose(again.direction, turn, atol=1e-6)
    index = np.argwhere(labels.mask("b"))
    np.testing.assert_allclose(again.points(index), labels.points(index), atol=1e-4)


def test_mirrored_axis_puts_anatomy_at_the_same_place(tmp_path: Path) -> None:
    plain = LabelMap(block(), {"a": 1, "b": 2}, np.full(3, 2.0), np.zeros(3), np.eye(3))
    last = np.array([0.0, 2.0 * (plain.values.shape[1] - 1), 0.0])
    mirrored = LabelMap(plain.values[:, ::-1].copy(), plain.names, plain.spacing, last, FLIP)
    write_labels(mirrored, tmp_path / "m.nii.gz")
    again = read_labels(tmp_path / "m.nii.gz", {"b": 2})
    assert np.linalg.det(again.direction) < 0
    centre = plain.points(np.argwhere(plain.mask("b"))).mean(axis=0)
    np.testing.assert_allclose(again.points(np.argwhere(again.mask("b"))).mean(axis=0), centre)
    assert again.volume_ml("b") == pytest.approx(plain.volume_ml("b"))


def test_real_heart_has_the_volumes_of_its_manifest() -> None:
    labels = read_labels(HEART, {"lv_myocardium": 1, "lv_blood": 3, "pulmonary_artery": 7})
    assert labels.volume_ml("lv_myocardium") == pytest.approx(88, abs=0.5)
    assert labels.volume_ml("lv_blood") == pytest.approx(49, abs=0.5)
    assert labels.volume_ml("pulmonary_artery") == pytest.approx(67, abs=0.5)
    assert np.linalg.det(labels.direction) == pytest.approx(-1.0)


def test_negative_and_sixteen_bit_labels(tmp_path: Path) -> None:
    values = block(np.int16) * 300
    values[0, 0, 0] = -1
    labels = read_labels(save(values, tmp_path / "x.nrrd"), {"b": 600})
    assert np.count_nonzero(labels.mask("b")) == np.count_nonzero(values == 600)


def test_large_labels_beside_negative_ones_of_eight_bits_stay(tmp_path: Path) -> None:
    values = block(np.int8)
    values[values == 1] = 120
    values[values == 2] = -128
    labels = read_labels(save(values, tmp_path / "x.nrrd"), {"a": 120, "b": -128})
    found = labels.values.transpose(2, 1, 0)
    np.testing.assert_array_equal(found == labels.names["a"], values == 120)
    np.testing.assert_array_equal(found == labels.names["b"], values == -128)


@pytest.mark.parametrize("name", ["x.vtk", "x.gipl", "x.hdr.gz", "x.tif", "x"])
def test_formats_whose_headers_are_not_checked_are_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(
        "# vtk DataFile Version 3.0\nx\nBINARY\nDATASET STRUCTURED_POINTS\n"
        "DIMENSIONS 400 400 400\nSPACING 1 1 1\nORIGIN 0 0 0\nPOINT_DATA 64000000\n"
        "SCALARS s unsigned_char 1\nLOOKUP_TABLE default\n"
    )
    with pytest.raises(InputError, match=r"no image|no format of scans"):
        read_labels(file, {"a": 1})


def test_label_that_does_not_exist_is_named_with_a_suggestion() -> None:
    labels = LabelMap(block(), {"lv_blood": 1}, np.ones(3), np.zeros(3), np.eye(3))
    with pytest.raises(InputError, match=r"no label `lv_blod`\. Did you mean `lv_blood`\?"):
        labels.mask("lv_blod")


NOISE = np.random.default_rng(0).integers(-1000, 30000, (8, 8, 8)).astype(np.int16)


@pytest.mark.parametrize(
    ("values", "spacing", "names", "message"),
    [
        (block() * 0, 2.0, {"a": 1}, "label map is empty"),
        (
            block(),
            2.0,
            {"lv_blood": 7},
            r"no voxel has label 7 \(`lv_blood`\)\. .*1 \(384 voxels\)",
        ),
        (block(), 2.0, {"a": 0}, "label `a` is 0, which is background"),
        (block(), 2.0, {"a": 1, "b": 1}, "label 1 is given to `a` and to another name"),
        (block(np.float32) * 0.3, 2.0, {"a": 1}, "hold no whole number .*probability map"),
        (NOISE, 2.0, {"a": 1}, "grey-value image instead of a label map"),
        (block()[0], 2.0, {"a": 1}, "a 2-dimensional image"),
        (block(), 2000.0, {"a": 1}, "is the spacing in micrometres instead of mm"),
        (block(), 0.002, {"a": 1}, "is the spacing in metres instead of mm"),
    ],
)
def test_ugly_images_are_refused(
    tmp_path: Path, values: np.ndarray, spacing: float, names: dict[str, int], message: str
) -> None:
    path = save(values, tmp_path / "ugly.nrrd", spacing)
    with pytest.raises(InputError, match=f"ugly.nrrd: .*{message}"):
        read_labels(path, names)


def test_files_that_are_no_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent.nii: no such image file"):
        read_labels(tmp_path / "absent.nii", {"a": 1})
    text = tmp_path / "letter.nii.gz"
    text.write_text("Dear colleague")
    with pytest.raises(InputError, match=r"letter.nii.gz: can't be read as an image"):
        read_labels(text, {"a": 1})
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(HEART.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"cut.nii.gz: can't be read as an image"):
        read_labels(cut, {"a": 1})
