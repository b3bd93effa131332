"""Agreement of masks with known overlaps and distances, and what a correction changed."""

import math

import numpy as np
import pytest
from typer.testing import CliRunner

from organtwin.cli import app
from organtwin.errors import InputError
from organtwin.image.slicer import read_slicer, write_slicer
from organtwin.image.volume import Grid, LabelMap
from organtwin.segment.agreement import agreement, compare, structures, surface, table
from organtwin.segment.correction import changes, doubts
from organtwin.segment.correction import table as changes_table


def grid_of(shape, spacing):
    return Grid(shape, np.array(spacing), np.array([3.0, -4.0, 5.0]), np.eye(3))


def ball(grid, centre, radius):
    places = np.moveaxis(np.indices(grid.shape), 0, -1) * grid.spacing
    return np.linalg.norm(places - centre, axis=-1) <= radius


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.5)])
def test_concentric_balls(spacing):
    grid = grid_of(tuple(int(60 / length) for length in spacing), spacing)
    found = compare("ball", ball(grid, (30, 30, 30), 20), ball(grid, (30, 30, 30), 24), grid)
    volume = 4.0 / 3.0 * np.pi * 20.0**3 / 1000.0
    ratio = (20.0 / 24.0) ** 3
    assert found.volume == pytest.approx(volume, rel=0.01)
    assert found.volume_difference == pytest.approx(ratio - 1.0, abs=0.01)
    assert found.dice == pytest.approx(2.0 * ratio / (1.0 + ratio), abs=0.01)
    assert found.mean_distance == pytest.approx(4.0, abs=0.2 * max(spacing))  # voxels have steps
    assert 4.0 <= found.distance_95 < 4.0 + max(spacing)
    assert 4.0 <= found.hausdorff < 4.0 + max(spacing)


def test_shifted_boxes_on_anisotropic_voxels_are_exact():
    grid = grid_of((20, 20, 20), (1.0, 2.0, 3.0))
    box, moved = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    box[5:10, 5:15, 5:15] = True
    moved[5:10, 5:15, 6:16] = True
    found = compare("box", box, moved, grid)
    assert found.dice == pytest.approx(0.9)
    assert found.hausdorff == pytest.approx(3.0)
    assert found.volume == found.reference_volume == pytest.approx(500 * 6.0 / 1000.0)


def test_area_of_the_faces_is_that_of_a_box():
    grid = grid_of((9, 9, 9), (1.0, 2.0, 3.0))
    box = np.zeros(grid.shape, bool)
    box[2:5, 3:7, 4:6] = True
    faces = surface(box, grid)
    assert faces.areas.sum() == pytest.approx(2 * (3 * 8 + 3 * 6 + 8 * 6))
    low, high = grid.points([[1.5, 2.5, 3.5], [4.5, 6.5, 5.5]])
    assert faces.centres.min(axis=0) == pytest.approx(low)
    assert faces.centres.max(axis=0) == pytest.approx(high)


def test_the_same_and_the_missing():
    grid = grid_of((20, 20, 20), (1.0, 1.0, 1.0))
    mask, nothing = ball(grid, (10, 10, 10), 6), np.zeros(grid.shape, bool)
    same = compare("same", mask, mask, grid)
    assert (same.dice, same.hausdorff, same.volume_difference) == (1.0, 0.0, 0.0)
    lost = compare("lost", nothing, mask, grid)
    assert lost.dice == 0.0 and math.isinf(lost.hausdorff)
    assert lost.record()["hausdorff"] is None and lost.record()["dice"] == 0.0
    assert compare("both", nothing, nothing, grid).dice == 1.0
    with pytest.raises(InputError, match="voxels"):
        compare("other", mask[1:], mask, grid)


def two_labels():
    grid = grid_of((24, 20, 20), (1.0, 1.0, 2.0))
    values = np.zeros(grid.shape, np.uint8)
    values[ball(grid, (8, 10, 20), 6)] = 1
    values[ball(grid, (18, 10, 20), 4)] = 2
    return LabelMap(values, {"root": 1, "arch": 2}, grid.spacing, grid.origin, grid.direction)


def test_wholes_are_compared_with_structures_that_the_labels_divide():
    labels = two_labels()
    masks = structures(labels, {"aorta": ("root", "arch", "absent"), "none": ("absent",)})
    assert set(masks) == {"root", "arch", "aorta"}
    rows = agreement(masks, {"aorta": labels.values > 0, "spleen": labels.values > 0}, labels.grid)
    assert [(row.name, row.dice) for row in rows] == [("aorta", 1.0)]
    assert "aorta" in table(rows).splitlines()[2]
    with pytest.raises(InputError, match=r"It has spleen"):
        agreement(masks, {"spleen": labels.values > 0}, labels.grid)


def test_a_correction_in_slicer_comes_back_with_what_changed(tmp_path):
    labels = two_labels()
    write_slicer(labels, tmp_path / "own.seg.nrrd")
    first = read_slicer(tmp_path / "own.seg.nrrd")
    assert not any(change.changed for change in changes(labels, first.labels))
    values = labels.values.copy()
    values[8, 10, 10] = 0
    values[8, 3:5, 10] = 1
    values[:, 17:19, 10] = 3
    box = (slice(1, 24), slice(2, 20), slice(5, 16))  # Slicer cuts the file to what is segmented
    corrected = LabelMap(
        values[box], labels.names | {"leaflet": 3}, labels.spacing,
        labels.points(np.array([[1, 2, 5]]))[0], labels.direction,
    )  # fmt: skip
    write_slicer(corrected, tmp_path / "mine.seg.nrrd")
    again = read_slicer(tmp_path / "mine.seg.nrrd").labels
    root, arch, leaflet = changes(labels, again)
    voxel = 2.0 / 1000.0
    assert (root.name, arch.name, leaflet.name) == ("root", "arch", "leaflet")
    added = int(np.count_nonzero((values == 1) & (labels.values != 1)))
    assert root.added == pytest.approx(added * voxel) and root.removed == pytest.approx(voxel)
    assert not arch.changed
    assert leaflet.added == pytest.approx(23 * 2 * voxel) and leaflet.kept == 0.0
    assert "leaflet" in changes_table((leaflet,))
    far = LabelMap(again.values, again.names, again.spacing, again.origin + 500.0, again.direction)
    with pytest.raises(InputError, match="nothing of the corrected"):
        changes(labels, far)


def test_a_correction_of_another_scan_is_refused_with_both_extents():
    labels = two_labels()
    assert doubts(labels, labels) == ()
    far = LabelMap(
        labels.values, labels.names, labels.spacing, labels.origin + np.array([40.0, 0.0, 0.0]),
        labels.direction,
    )  # fmt: skip
    with pytest.raises(InputError, match=r"lies outside the scan: it has x .* the scan x .*LPS"):
        doubts(labels, far)


def test_a_correction_with_other_voxels_is_doubted():
    labels = two_labels()
    i = labels.spacing[0]
    beside = labels.origin + np.array([0.5 * i, 0.0, 0.0])
    moved = LabelMap(labels.values, labels.names, labels.spacing, beside, labels.direction)
    assert "between the scan's" in " ".join(doubts(labels, moved))
    finer = LabelMap(
        labels.values, labels.names, 0.5 * labels.spacing, labels.origin, labels.direction
    )
    assert "for" in doubts(labels, finer)[0] and "mm, or turned" in doubts(labels, finer)[0]
    out = labels.origin + np.array([i * 8, 0.0, 0.0])
    partly = LabelMap(labels.values, labels.names, labels.spacing, out, labels.direction)
    assert "outside the scan and was left out" in doubts(labels, partly)[0]


def test_the_command_warns_of_a_correction_with_other_voxels(tmp_path):
    labels = two_labels()
    finer = LabelMap(
        labels.values, labels.names, 0.5 * labels.spacing, labels.origin, labels.direction
    )
    write_slicer(labels, tmp_path / "own.seg.nrrd")
    write_slicer(finer, tmp_path / "mine.seg.nrrd")
    own, mine = tmp_path / "own.seg.nrrd", tmp_path / "mine.seg.nrrd"
    command = ["segment", "scan.nii.gz", "-o", str(own), "--corrected", str(mine)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "Warning: mine.seg.nrrd: its voxels are others" in result.output
