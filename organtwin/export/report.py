"""The report of a run: one HTML file with everything in it, from the result directory's files."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2

from organtwin.errors import InputError, OrgantwinError
from organtwin.export.atomic import write_text
from organtwin.export.findings import Finding, findings

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


@dataclass(frozen=True)
class Picture:
    """A picture in the report."""

    name: str
    title: str
    caption: str
    data: str


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
    run = _read_json(folder / "run.json")
    if not run:
        raise InputError(str(folder / "run.json"), "no record of a run.", "Run the case first.")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("organtwin.export"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.ChainableUndefined,
    )
    environment.filters |= {"number": _number, "duration": _duration, "moment": _moment}
    found = _findings(folder, run)
    html = environment.get_template("report.html").render(
        run=run,
        moving=run.get("case", {}).get("run", {}).get("physics") != "electrophysiology",
        findings=found,
        headline=[finding for finding in found if finding.headline],
        verdict=_verdict(run, found),
        pictures={picture.name: picture for picture in _pictures(folder / "pictures")},
        missing=_read_json(folder / "pictures" / "missing.json"),
        mesh=_read_json(folder / "stages" / "mesh" / "mesh.json"),
        case=list(_flat(run.get("case", {}))),
        directory=folder,
    )
    path = folder / "report.html"
    write_text(path, html)
    return path


def _verdict(run: Mapping[str, Any], found: list[Finding]) -> str:
    """What became of the run, in a sentence or two."""
    state = {
        "complete": "The run is complete.",
        "running": "The run had not ended when this was written.",
        "interrupted": "The run was interrupted: what follows is what it got to.",
        "failed": "The run failed: what follows is what it got to.",
    }.get(str(run.get("status")), "")
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


def _pictures(folder: Path) -> Iterator[Picture]:
    for name, (title, caption) in _CAPTIONS.items():
        path = folder / name
        if path.is_file():
            kind = "gif" if path.suffix == ".gif" else "png"
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            yield Picture(name, title, caption, f"data:image/{kind};base64,{data}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content


def _flat(section: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    """Settings one per line: ``mesh.size`` → ``5 mm``."""
    for key, value in section.items():
        name = f"{place}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, list):
            yield name, ", ".join(_number(item) for item in value)
        else:
            yield name, _number(value)


def _number(value: object) -> str:
    """A number with the digits that mean something; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, float | int):
        return "–" if value is None else str(value)
    if (float(value).is_integer() or abs(value) >= 1e3) and abs(value) < 1e7:
        return f"{value:,.0f}".replace(",", "\u202f")
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:.3g}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def _moment(text: str) -> str:
    """A time such as ``2026-11-21T05:00:00+0000`` as people write it."""
    try:
        return f"{datetime.fromisoformat(text):%-d %B %Y, %H:%M (UTC%:z)}"
    except (TypeError, ValueError):
        return str(text)
