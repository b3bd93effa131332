"""`Geometry`: ventricles on voxels, cut at the base, ready to be meshed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.readers import write_labels
from organtwin.image.volume import LabelMap

#: Integers of the regions in `Geometry.labels`.
REGIONS = {"lv": 1, "rv": 2, "lv_blood": 3, "rv_blood": 4}


@dataclass(frozen=True)
class Geometry:
    """Ventricles ready to be meshed.

    Attributes:
        labels: Regions ``lv``, ``rv`` (tissue), ``lv_blood``, ``rv_blood`` on an isotropic grid
            whose third axis is ``base_normal``; above the base plane all is background, and the
            plane is a layer of voxel faces.
        base_point: A point of the base plane (mm), shape (3,).
        base_normal: Unit normal of the base plane towards the atria, shape (3,).
        decisions: What was decided on the way, one sentence each, with numbers.
        volumes_ml: Volume of each region (mL), voxels counted.
        labelled_ml: Volume of ``lv_blood`` and ``rv_blood`` in the label map (mL), also above the
            base plane.
    """

    labels: LabelMap
    base_point: NDArray[np.float64]
    base_normal: NDArray[np.float64]
    decisions: tuple[str, ...]
    volumes_ml: Mapping[str, float]
    labelled_ml: Mapping[str, float]

    @property
    def layers(self) -> int:
        """Number of voxel layers below the base plane."""
        return int(np.flatnonzero(self.labels.values.any(axis=(0, 1)))[-1]) + 1


def write_geometry(geometry: Geometry, directory: Path) -> None:
    """Write ``labels.nrrd`` and ``geometry.json`` into a directory."""
    write_labels(geometry.labels, directory / "labels.nrrd")
    facts = {
        "names": dict(geometry.labels.names),
        "base_point": geometry.base_point.tolist(),
        "base_normal": geometry.base_normal.tolist(),
        "decisions": list(geometry.decisions),
        "volumes_ml": dict(geometry.volumes_ml),
        "labelled_ml": dict(geometry.labelled_ml),
    }
    (directory / "geometry.json").write_text(json.dumps(facts, indent=2) + "\n")


def read_geometry(directory: Path) -> Geometry:
    """Read what `write_geometry` wrote.

    Raises:
        InputError: a file is missing or damaged.
    """
    try:
        facts = json.loads((directory / "geometry.json").read_text())
        image = sitk.ReadImage(str(directory / "labels.nrrd"))
        return Geometry(
            labels=LabelMap.from_sitk(image, facts["names"]),
            base_point=np.array(facts["base_point"]),
            base_normal=np.array(facts["base_normal"]),
            decisions=tuple(facts["decisions"]),
            volumes_ml=facts["volumes_ml"],
            labelled_ml=facts["labelled_ml"],
        )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            str(directory), f"no geometry ({error}).", "Run the image stage again."
        ) from None
