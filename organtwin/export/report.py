"""The report of a run: one HTML file with everything in it, from the result directory's files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from organtwin.errors import OrgantwinError
from organtwin.export.findings import Finding, findings
from organtwin.export.page3d import scene_3d
from organtwin.export.pages import read_run, state_in_words, write_page
from organtwin.export.paraview_macro import script_for_paraview

logger = logging.getLogger(__name__)

_CAPTIONS = {
    "heartbeat.gif": (
        "The beating heart",
        "Both ventricles from the front, cut along the long axis; colour is the active tension.",
    ),
    "pressure_volume_loops.png": (
        "Pressure–volume loops",
        "Both ventricles over the beat, counter-clockwise from the dot.",
    ),
    "wiggers.png": (
        "Pressures, volumes and ECG",
        "Left heart over time; dashed lines are the valves' openings and closings.",
    ),
    "activation.png": (
        "Activation",
        "When the potential of each place rose through the threshold, with isochrones.",
    ),
    "potential.png": (
        "Transmembrane potential",
        "Spread, all activated, plateau and recovery, on the electrical mesh.",
    ),
    "apd.png": (
        "Action potential duration",
        "From the upstroke to 90 % of repolarisation, of the last complete beat of each place.",
    ),
    "ecg.png": (
        "Twelve-lead ECG",
        "In an unbounded, uniform conductor: trust the shapes and times more than the heights.",
    ),
    "right_heart.png": ("Right heart and valves", "Flows through all valves and right pressures."),
    "tissue.png": ("Muscle", "Averages over the tissue, and how far its volume is from conserved."),
    "fibres.png": (
        "Fibres",
        "Lines along the fibres, coloured by their angle to the circumferential direction.",
    ),
    "mesh.png": ("Mesh", "Named surfaces, and the tetrahedra of the mechanics mesh by region."),
    "mesh_quality.png": ("Shape of the cells", "Mean ratio of each tetrahedron."),
}


def write_report(directory: str | Path) -> Path:
    """Write ``report.html`` from ``run.json``, the stages' files and the pictures.

    Args:
        directory: Result directory of a run, finished or not.

    Returns:
        The report.

    Raises:
        InputError: there is no readable ``run.json``.
    """
    folder = Path(directory)
    run = read_run(folder)
    found = _findings(folder, run)
    script_for_paraview(folder)
    return write_page(
        folder,
        "report.html",
        _CAPTIONS,
        moving=run.get("case", {}).get("run", {}).get("physics") != "electrophysiology",
        findings=found,
        headline=[finding for finding in found if finding.headline],
        verdict=_verdict(run, found),
        scene=scene_3d(folder),
    )


def _verdict(run: Mapping[str, Any], found: list[Finding]) -> str:
    """What became of the run, in a sentence or two."""
    state = state_in_words(run)
    judged = [finding for finding in found if finding.verdict]
    outside = [finding for finding in judged if finding.verdict != "within"]
    if not judged:
        return state
    if not outside:
        return f"{state} All {len(judged)} values with a range to compare lie within it."
    names = ", ".join(f"{finding.name} ({finding.verdict})" for finding in outside)
    inside = len(judged) - len(outside)
    return f"{state} {inside} of {len(judged)} values lie within their range; outside: {names}."


def _findings(folder: Path, run: Mapping[str, Any]) -> list[Finding]:
    try:
        return findings(run.get("results", {}))
    except OrgantwinError as error:
        logger.warning("%s: %s", folder, error)
        return []
