"""From Hounsfield units to density and modulus: lines, laws, guards."""

import dataclasses

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset

from organtwin.bone.calibration import Calibration, default, fitted, from_rods
from organtwin.bone.densities import LINES, Density, lines, path
from organtwin.bone.laws import LAWS, MPA, carter_hayes, law, stiffness
from organtwin.bone.scan import ScanSettings, check_scan, metal_mask, read_settings
from organtwin.bone.synthetic import Scanner, synthetic_ct
from organtwin.bone.tissues import DENSITIES, find_tissues, from_tissues
from organtwin.errors import InputError
from organtwin.image.volume import Grid, Image

RODS = np.array([0.0, 0.05, 0.1, 0.2, 0.4, 0.8])
TRUE = Calibration(-0.012, 8.2e-4)


def grid(n=40, voxel=2.0):
    """Axes that mirror, as scanners write them."""
    direction = np.diag([-1.0, -1.0, 1.0])
    return Grid((n, n, n), np.full(3, voxel), np.array([50.0, 60.0, -30.0]), direction)


def values(mean, noise=12.0, n=40):
    rng = np.random.default_rng(5)
    return Image(
        np.round(np.broadcast_to(mean, (n,) * 3) + noise * rng.standard_normal((n,) * 3)).astype(
            np.int16
        ),
        grid(n),
        "HU",
    )


def body(scale=1.0, offset=0.0, n=40):
    """Air around fat around muscle around a bone, as values of a scanner that is off."""
    index = np.indices((n,) * 3).reshape(3, -1).T - (n - 1) / 2
    r = np.linalg.norm(index, axis=1).reshape((n,) * 3)
    told = np.full((n,) * 3, -1000.0)
    for radius, value in ((18, -100.0), (14, 45.0), (5, 700.0)):
        told[r < radius] = value
    return values(scale * told + offset, n=n)


# --- calibration --------------------------------------------------------------------------------


def test_rods_give_the_line_that_they_lie_on():
    found = fitted(TRUE.hounsfield(RODS), RODS)
    assert found.slope == pytest.approx(TRUE.slope, rel=1e-12)
    assert found.intercept == pytest.approx(TRUE.intercept, abs=1e-12)
    assert found.residual < 1e-12 and found.r2 == pytest.approx(1.0)
    np.testing.assert_allclose(found.density(found.hounsfield([0.3, 1.1])), [0.3, 1.1])


def test_nineteen_of_twenty_intervals_hold_the_truth():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        noisy = TRUE.hounsfield(RODS) + rng.normal(0.0, 4.0, len(RODS))
        low, high = fitted(noisy, RODS).interval(600.0)
        held += low <= TRUE.density(600.0) <= high
    assert 0.915 < held / 200 < 0.985


@pytest.mark.parametrize(
    ("hu", "density", "said"),
    [
        (TRUE.hounsfield(RODS), RODS * 1000.0, "no slope of a CT"),  # mg/mL for g/cm³
        (
            TRUE.hounsfield(RODS) + np.array([0, 0, 0, 150, 0, 0]),
            RODS,
            "0.2 mg/mm³",
        ),  # a rod misplaced
        (TRUE.hounsfield(RODS)[[0, 2, 1, 5, 3, 4]], RODS, "do not lie on a line"),
        ([30.0, 31.0, 32.0], [0.0, 0.1, 0.2], "all values lie within"),
        ([30.0], [0.1], "1 values"),
        ([30.0, np.nan], [0.0, 0.1], "finite"),
    ],
)
def test_wrong_rods_are_refused(hu, density, said):
    with pytest.raises(InputError, match=said):
        fitted(hu, density)


def test_rods_are_measured_in_the_image():
    where = grid(40, 2.0)
    start = where.points([[8, 10, 5]])[0]
    steps = np.array([0.0, -20.0, 0.0])

    def phantom(x):
        told = np.full(len(x), -0.02)
        for k, rod in enumerate((0.0, 0.2, 0.8)):
            away = x - (start + k * steps)
            told[np.linalg.norm(away[:, :2], axis=1) < 8.0] = rod
        return told

    image = synthetic_ct(phantom, where, Scanner(TRUE, blur=(0.8,) * 3, noise=15.0, samples=2))
    ends = {
        rod: (start + k * steps, start + k * steps + [0, 0, 60.0])
        for k, rod in enumerate((0.0, 0.2, 0.8))
    }
    found = from_rods(image, ends, radius=8.0)
    assert found.slope == pytest.approx(TRUE.slope, rel=0.01)
    assert found.intercept == pytest.approx(TRUE.intercept, abs=0.003)
    with pytest.raises(InputError, match="leaves the image"):
        from_rods(image, {0.0: (start + 500.0, start)}, radius=8.0)
    with pytest.raises(InputError, match="spread"):
        across = {0.8: (start + np.array([0, 9, 0]), start - np.array([0, 48, 0]))}
        from_rods(image, across, radius=12.0)


def test_default_numbers_warn_and_keep_to_their_voltage(caplog):
    found = default(120.0)
    assert found.warnings and "not calibrated" in caplog.text
    low, high = found.interval(1000.0)
    assert (high - low) / found.density(1000.0) > 0.35
    with pytest.raises(InputError, match="80 kVp"):
        default(80.0)


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (0.97, -15.0), (1.03, 12.0)])
def test_tissues_follow_a_scanner_that_is_off(scale, offset):
    image = body(scale, offset)
    peaks = {p.tissue: p.value for p in find_tissues(image)}
    expected = {"air": -1000.0, "fat": -100.0, "muscle": 45.0}
    for tissue, value in expected.items():
        assert peaks[tissue] == pytest.approx(scale * value + offset, abs=1.5)
    found = from_tissues(image)
    sound = fitted(list(expected.values()), [DENSITIES[t] for t in expected])
    bone = scale * 700.0 + offset
    assert found.density(bone) == pytest.approx(sound.density(700.0), abs=0.01)


def test_wrong_masks_of_tissues_do_not_count():
    image = body()
    data = np.asarray(image.values)
    bone, fat = data > 500, (data > -140) & (data < -60)
    peaks = {p.tissue: p for p in find_tissues(image, {"muscle": bone, "fat": fat, "air": fat})}
    assert peaks["muscle"].value == pytest.approx(45.0, abs=1.5)
    assert "mask of muscle" in peaks["muscle"].note and "mask of air" in peaks["air"].note
    assert not peaks["fat"].note


def test_tissues_that_are_missing_are_named():
    image = body()
    cut = dataclasses.replace(image, values=np.maximum(image.values, 0))
    with pytest.raises(InputError, match="no peak of air and fat"):
        from_tissues(cut)
    with pytest.raises(InputError, match="not HU"):
        from_tissues(dataclasses.replace(image, quantity="grey"))


# --- densities and laws -------------------------------------------------------------------------


def test_lines_between_densities_are_found():
    known = lines()
    assert [x.name for x in path(Density.HA, Density.APPARENT, known)] == [
        "schileo_2008_ash", "schileo_2008_apparent",
    ]  # fmt: skip
    assert path(Density.HA, Density.HA, known) == ()
    assert path(Density.K2HPO4, Density.ASH, known)[0].name == "keyak_1994_ash"
    with pytest.raises(InputError, match="no line leads"):
        path(Density.APPARENT, Density.HA, known)
    with pytest.raises(InputError, match="Did you mean `ha_is_ash`"):
        lines(["ha_is_as"])
    # 0.877 · 0.5 + 0.079 = 0.5175, / 0.6 = 0.8625
    assert LINES["schileo_2008_ash"](0.5) == pytest.approx(0.5175)
    assert stiffness("morgan_2003_femoral_neck").own(0.5) == pytest.approx(0.8625)
    assert LINES["schileo_2008_ash"](-0.5) == 0.0


def test_laws_give_what_a_calculator_gives():
    for name, density, expected in [
        ("keller_1994_femur", 0.5, 10500 * 0.5**2.29),
        ("morgan_2003_femoral_neck", 0.5, 2438.6),  # 6850 · exp(1.49 ln 0.5)
        ("keyak_1998", 0.2, 33900 * 0.2**2.2),
        ("keyak_1998", 0.4, 469 + 5307 * 0.4),
        ("keyak_1998", 1.0, 10200.0),
        ("schileo_2008", 0.6, 6850.0),
        ("carter_hayes_1977", 1.0, 2875.0),
        ("kopperdahl_2002", 1.0, 2980.0),
        ("crawford_2003", 0.2, 611.3),
        ("crawford_2003", 0.005, 0.0),
    ]:
        assert law(name).modulus(density) == pytest.approx(MPA * expected, rel=1e-3), name
    assert carter_hayes(1.0).modulus(1.0) == pytest.approx(3790e3)
    with pytest.raises(InputError, match="Did you mean `keyak_1998`"):
        law("keyak_98")


@pytest.mark.parametrize("name", list(LAWS))
def test_laws_grow_without_jumps(name):
    chosen = law(name)
    E = chosen.modulus(np.linspace(-0.2, 1.4, 3201))
    assert (np.diff(E) >= 0).all() and E[0] == 0
    assert np.diff(E).max() < 0.01 * E[-1]
    assert chosen.formula.startswith("E = ") and chosen.site and chosen.source
    assert chosen.outside([chosen.valid[0] - 0.01, chosen.valid[1] + 0.01]).all()


def test_stiffness_keeps_to_its_floor_and_ceiling():
    way = stiffness("keller_1994_femur", lines=lines(["ha_is_ash"]), floor=5e3, ceiling=18e6)
    np.testing.assert_allclose(way([-0.1, 0.0, 0.5, 2.0]),
                               [5e3, 5e3, 10500e3 * 0.5**2.29, 18e6])  # fmt: skip
    with pytest.raises(InputError, match="no range"):
        stiffness("keyak_1998", floor=10.0, ceiling=1.0)


# --- scans --------------------------------------------------------------------------------------


def test_a_sound_scan_raises_no_doubt_but_the_calibration():
    image = body()
    fine = Image(image.values, dataclasses.replace(image.grid, spacing=np.ones(3)), "HU")
    assert check_scan(fine, ScanSettings(120.0, "STANDARD", 1.0, contrast=False), TRUE) == ()
    (doubt,) = check_scan(fine)
    assert "No calibration" in doubt


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: np.minimum(v, 1024), "cut off there, as exports"),
        (lambda v: np.minimum(v, 650), "largest value, 650 HU"),
        (lambda v: v - 1024, "intercept was used twice"),
        (lambda v: v + 1024, "intercept was left out"),
    ],
)
def test_values_that_are_no_hounsfield_units_are_refused(change, said):
    image = body()
    dense = np.where(np.asarray(image.values) > 500, image.values * 1.8, image.values)
    with pytest.raises(InputError, match=said):
        check_scan(dataclasses.replace(image, values=change(dense).astype(np.int16)))


def test_padding_beyond_the_field_of_view_is_no_fault():
    image = body()
    padded = np.array(image.values)
    padded[:4] = -2000
    check_scan(dataclasses.replace(image, values=padded))


def test_scans_of_other_quantity_or_thick_slices_are_refused():
    image = body()
    with pytest.raises(InputError, match="not HU"):
        check_scan(dataclasses.replace(image, quantity="MR"))
    thick = dataclasses.replace(image.grid, spacing=np.array([1.0, 1.0, 6.0]))
    with pytest.raises(InputError, match=r"6\.0 mm blur bone"):
        check_scan(dataclasses.replace(image, grid=thick))


def test_settings_that_change_values_are_told():
    settings = ScanSettings(80.0, "B70s", 3.0, contrast=True, tilt=5.0)
    by_tissues = dataclasses.replace(TRUE, kind="references")
    told = " ".join(check_scan(body(), settings, by_tissues))
    for word in ("80 kVp", "B70s", "contrast agent", "3.0 mm", "tilted"):
        assert word in told
    image = body()
    bright = np.asarray(image.values) > 20
    blood = " ".join(
        check_scan(dataclasses.replace(image, values=image.values + 150 * bright), None, TRUE,
                   blood=bright & (np.asarray(image.values) < 100))
    )  # fmt: skip
    assert "Blood at" in blood


def test_metal_is_found_and_refused_in_the_bone():
    image = body()
    data = np.array(image.values)
    data[18:22, 18:22, 18:22] = 3071
    image = dataclasses.replace(image, values=data)
    assert metal_mask(image).sum() == 64
    told = " ".join(check_scan(image, None, TRUE))
    assert "Metal of 0.5 mL" in told and "cut off at 3071" in told
    with pytest.raises(InputError, match=r"metal .* lies in the bone"):
        check_scan(image, None, TRUE, bone=data > 500)


def test_settings_are_read_from_a_header(tmp_path):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header = FileDataset(str(tmp_path / "a.dcm"), {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.Modality = pydicom.uid.CTImageStorage, "CT"
    header.KVP, header.ConvolutionKernel, header.SliceThickness = "140", "BONEPLUS", "0.625"
    header.ContrastBolusAgent = "IOPAMIDOL"
    (tmp_path / "notes.txt").write_text("no DICOM")
    header.save_as(tmp_path / "a.dcm")
    found = read_settings(tmp_path)
    assert found == ScanSettings(140.0, "BONEPLUS", 0.625, contrast=True, tilt=None)
    (tmp_path / "a.dcm").unlink()
    with pytest.raises(InputError, match="no DICOM file of a CT"):
        read_settings(tmp_path)
