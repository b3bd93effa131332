"""How well a segmented cine agrees with reference surfaces: volumes, sections in the planes."""

from __future__ import annotations

import re
from collections.abc import Sequence as Several
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyvista as pv
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.repair import repair
from organtwin.mesh.surface_files import TriangleSurface, read_surface
from organtwin.segment.cine import Cine
from organtwin.segment.cine_planes import Plane
from organtwin.units import ML

type Array = NDArray[np.float64]


@dataclass(frozen=True)
class VolumeErrors:
    """Volumes of a beat against those of reference surfaces.

    Attributes:
        times: Of the reference's frames (ms), taken as evenly spread over the beat, shape (n,).
        volumes: Of the reference (mL), shape (n,).
        edv, esv: Error of the end-diastolic and of the end-systolic volume, as a part of it.
        ejection_fraction: Error of the ejection fraction, in itself (0.02: 62 % for 60 %).
    """

    times: Array
    volumes: Array
    edv: float
    esv: float
    ejection_fraction: float

    def record(self) -> dict[str, float | list[float]]:
        """What a JSON report holds."""
        full, empty = float(self.volumes.max()), float(self.volumes.min())
        return {
            "times_ms": self.times.tolist(),
            "volumes_ml": self.volumes.tolist(),
            "edv_ml": full,
            "esv_ml": empty,
            "ejection_fraction": 1.0 - empty / full,
            "edv_error": self.edv,
            "esv_error": self.esv,
            "ejection_fraction_error": self.ejection_fraction,
        }


def volume_errors(cine: Cine, reference: Array) -> VolumeErrors:
    """Compare the largest and the smallest volume of a beat with those of a reference.

    Args:
        cine: Segmented beat.
        reference: Volumes of its frames (mL), shape (n,).
    """
    full, empty = float(reference.max()), float(reference.min())
    cycle = cine.cycle or float(cine.times[-1] - cine.times[0])
    return VolumeErrors(
        times=float(cine.times[0]) + np.arange(len(reference)) * cycle / len(reference),
        volumes=reference,
        edv=cine.edv / full - 1.0,
        esv=cine.esv / empty - 1.0,
        ejection_fraction=cine.ejection_fraction - (1.0 - empty / full),
    )


def reference_volumes(folder: Path) -> Array:
    """Volumes (mL) of the surfaces in a folder, one file per frame in the order of their names.

    Of files of several structures those with ``lv`` and ``endo`` in their names are taken. Open
    ends (valves) are closed by flat caps.

    Raises:
        InputError: there are none, or of several structures.
        MeshError: one can't be closed.
    """
    files = surface_files(folder)
    inner = [f for f in files if "lv" in f.stem.lower() and "endo" in f.stem.lower()]
    frames = inner or files
    structures = {re.sub(r"[\d_.-]*\d$", "", f.stem) for f in frames}
    if len(structures) != 1:
        raise InputError(
            str(folder),
            f"surfaces of {len(structures)} structures: {', '.join(sorted(structures))}.",
            "Give a folder with those of the left ventricle's pool, numbered by phase.",
        )
    return np.array([repair(read_surface(f), place=f.name).surface.volume for f in frames]) / ML


def surface_files(folder: Path) -> list[Path]:
    """Files of surfaces in a folder; none if it is no folder."""
    suffixes = (".vtk", ".vtp", ".stl", ".ply", ".obj")
    return (
        []
        if not folder.is_dir()
        else sorted(f for f in folder.iterdir() if f.suffix.lower() in suffixes)
    )


def section(surface: TriangleSurface, plane: Plane) -> NDArray[np.bool_]:
    """Pixels of a plane whose centres lie inside a closed surface, shape (columns, rows)."""
    shape = plane.grid.shape[:2]
    index = np.indices(shape).reshape(2, -1).T
    points = plane.grid.points(np.c_[index, np.zeros(len(index))])
    low, high = surface.points.min(axis=0), surface.points.max(axis=0)
    near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
    result = np.zeros(len(points), bool)
    if len(near):
        body = pv.PolyData.from_regular_faces(surface.points, surface.triangles)
        found = pv.PolyData(points[near]).select_interior_points(body, check_surface=False)
        result[near] = np.asarray(found["selected_points"], bool)
    return result.reshape(shape)


def section_dice(
    surface: TriangleSurface, reference: TriangleSurface, planes: Several[Plane]
) -> Array:
    """Overlap of two closed surfaces' sections: 2 |A and B| / (|A| + |B|), NaN where both miss.

    Args:
        surface: Closed surface.
        reference: Closed surface.
        planes: In which to compare.

    Returns:
        Shape (planes,).

    Source:
        Dice (1945), Ecology 26:297-302.
    """
    dice = np.full(len(planes), np.nan)
    for k, plane in enumerate(planes):
        a, b = section(surface, plane), section(reference, plane)
        if a.any() or b.any():
            dice[k] = 2.0 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))
    return dice
