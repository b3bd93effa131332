"""Label maps of patients to conforming meshes: every label filled, good cells, volumes kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from organtwin.image.segmentations import read_segmentation
from organtwin.image.volume import LabelMap
from organtwin.mesh.conforming.ladder import Conforming, conform
from organtwin.mesh.conforming.route import MeshOptions
from organtwin.mesh.conforming.sizes import Sizes
from organtwin.mesh.conforming.wrapping import Wrapping
from organtwin.mesh.quality import dihedral_angles, signed_volumes

from tests.labelled_block import SHARED, real  # isort: skip

pytestmark = [pytest.mark.slow, real]
#: Volumes (mL) of structures that have to be kept.
LARGE = 5.0


def masks(folder: Path, *names: str) -> LabelMap:
    """Masks on one grid as a label map, later ones over earlier ones."""
    images = {name: sitk.ReadImage(str(folder / f"{name}.nii.gz")) for name in names}
    numbers = {name: k for k, name in enumerate(names, 1)}
    first = LabelMap.from_sitk(next(iter(images.values())), numbers)
    values = np.zeros_like(first.values)
    for name, image in images.items():
        values[LabelMap.from_sitk(image, {name: 1}).values > 0] = numbers[name]
    return LabelMap(values, numbers, first.spacing, first.origin, first.direction)


def check(labels: LabelMap, made: Conforming) -> None:
    mesh = made.mesh
    angle = dihedral_angles(mesh.points, mesh.cells).min()
    print(len(mesh.region_names), "labels,", len(mesh.cells), f"cells, {angle:.1f} degrees")
    print(*made.attempts, *made.decisions, sep="\n")
    assert signed_volumes(mesh.points, mesh.cells).min() > 0.0
    assert angle >= 9.8
    for name in mesh.region_names:
        if labels.volume_ml(name) > LARGE:
            found = mesh.volume(name) / 1000.0
            assert found == pytest.approx(labels.volume_ml(name), rel=0.01), name


@pytest.mark.parametrize("size", [2.5, 5.0])
def test_pulmonary_artery(size: float) -> None:
    labels = masks(SHARED / "heart-ct", "pulmonary_artery")
    check(labels, conform(labels, MeshOptions(Sizes(size))))


def test_liver_of_three_slices() -> None:
    labels = read_segmentation(SHARED / "dicom-seg/liver.dcm").labels
    check(labels, conform(labels, MeshOptions(Sizes(3.0), Wrapping(islands_below=50.0))))


def test_true_and_false_lumen_of_a_dissection() -> None:
    names = ("aorta_true_lumen", "aorta_false_lumen", "vertebrae_T12")
    labels = masks(SHARED / "aorta-ct", *names)
    check(labels, conform(labels, MeshOptions(Sizes(3.0), Wrapping(islands_below=50.0))))
