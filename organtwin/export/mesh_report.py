"""The report of a mesh: volumes, distances, angles, tries and pictures in one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from organtwin.export.anatomy_pictures import captions_of, tissues_of
from organtwin.export.page3d import scene_3d
from organtwin.export.pages import read_json, read_run, state_in_words, write_page

_CAPTIONS = {
    "mesh.png": (
        "Regions and tetrahedra",
        "The patient faces the reader; in the last picture what lies behind a frontal cut.",
    ),
    "outlines.png": (
        "Outlines on the labels",
        "Where the mesh's surfaces cut three planes through its middle.",
    ),
    "mesh_quality.png": (
        "Angles and shapes",
        "All dihedral angles, and the mean ratio of each tetrahedron; mind the logarithm.",
    ),
}
_ON_SCAN = (
    "Outlines on the scan",
    "Where the mesh's surfaces cut three planes of the scan through its middle.",
)
#: Recipe whose scans are no single image: its outlines are drawn on the labels.
CINE = "lv_cine_mr"
#: Regions smaller than this (mL) do not count for the largest error of a volume.
SMALL_ML = 5.0


def write_mesh_report(directory: str | Path) -> Path:
    """Write ``report.html`` from ``run.json``, the mesh stage's record and the pictures.

    Args:
        directory: Result directory of a meshing case.

    Raises:
        InputError: there is no readable ``run.json``.
    """
    folder = Path(directory)
    run = read_run(folder)
    record = read_json(folder / "stages" / "mesh" / "mesh.json")
    regions = record.get("proof", {}).get("regions", {})
    tissues = tissues_of(folder)
    captions = dict(_CAPTIONS)
    source = run.get("case", {}).get("source", {})
    if "image" in source and source.get("recipe") != CINE:
        captions["outlines.png"] = _ON_SCAN
    for tissue in tissues:
        captions |= captions_of(tissue)
    return write_page(
        folder,
        "mesh_report.html",
        captions,
        tissues=tissues,
        verdict=_verdict(record, run),
        scene=scene_3d(folder),
        worst_volume=_worst_volume(regions),
        worst_distance=max((r["hausdorff"] for r in regions.values()), default=0.0),
    )


def _verdict(record: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """Whether the mesh is good enough, before all else."""
    missed = record.get("missed", [])
    if missed:
        return f"Refused: this mesh is below its threshold. {'; '.join(missed)}."
    return f"{state_in_words(run)} The mesh reaches its threshold."


def _worst_volume(regions: Mapping[str, Any]) -> float:
    """Largest relative error of a volume that is not small."""
    return max(
        (
            abs(region["volume_ml"] / region["wanted_ml"] - 1.0)
            for region in regions.values()
            if region["wanted_ml"] > SMALL_ML
        ),
        default=0.0,
    )
