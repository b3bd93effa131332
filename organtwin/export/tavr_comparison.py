"""A page that sets deployed valves side by side, to be turned together: one file, no network."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, to_hex
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.export.atomic import write_text
from organtwin.export.index_words import by_group, read_indices
from organtwin.export.pages import read_json
from organtwin.export.tavr_pictures import PRESSURE, STRAIN, STRESS, cut_level
from organtwin.export.tavr_scene import COLOURS, NAMES, annulus_line, solid
from organtwin.export.tavr_view import (
    Mesh,
    Valve,
    averaged,
    ceiling,
    edges,
    finer,
    joined,
    names_at,
    read_valve,
    struts,
)
from organtwin.export.tavr_words import WORDING, in_words, shown_value, threshold_in_words
from organtwin.index import Index

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

#: A page is to stay below this (bytes).
LARGEST = 10_000_000
#: What a triangle of the wall, a triangle of the leaflets and a strut cost at most (bytes).
TRIANGLE, STRUT = 16.0, 72.0
#: Triangles of a wall: below the first it is refined, above the second simplified.
FEW, MANY = 2500, 10_000
#: Largest whole number of the coordinates.
WHOLE = 32767
#: Steps of the coordinates where these do not reach too far for it, and room for the thickness of
#: struts (mm).
FINEST, ROOM = 1.0 / 400.0, 2.0
#: Indices of the table of all deployments.
OVERVIEW = (
    "frame_annulus_diameter_min", "frame_annulus_diameter_max", "implantation_depth",
    "regurgitant_orifice", "contact_pressure_index", "conduction_contact_pressure_index",
    "migration_safety", "valve_to_coronary_left", "valve_to_coronary_right", "mean_gradient",
    "annulus_stretch",
)  # fmt: skip


def write_comparison(
    members: Mapping[str, str | Path], path: str | Path, *, title: str = "Deployed valves"
) -> Path:
    """Write a page on which any two of several deployments are turned side by side.

    Walls are coloured by contact pressure or stress, frames by strain, all to the same scales;
    under them stand the indices with their differences. Deployments whose record can't be read
    are left out and named on the page.

    Args:
        members: Name → result directory, the first two are shown first.
        path: HTML file.
        title: Heading.

    Raises:
        InputError: none can be read.
    """
    valves: dict[str, Valve] = {}
    indices: dict[str, list[Index]] = {}
    told: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name, directory in members.items():
        folder = Path(directory)
        try:
            valves[name], indices[name] = read_valve(folder), read_indices(folder, WORDING)
        except InputError as error:
            left_out[name] = str(error)
            continue
        told[name] = _told(folder, valves[name])
    if not valves:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise InputError("comparison", f"no deployment can be read. {reasons}", "Deploy first.")
    library = get_plotlyjs()
    budget = 0.72 * (LARGEST - len(library.encode()) - 300_000) / len(valves)
    most = int(max(min(MANY, _triangles_for(budget, valves.values())), 300))
    step = _step(valves.values())
    content = {
        "step": step,
        "members": [
            {"name": name, "told": told[name], **_scene(valve, most, step),
             "indices": {one.name: _value(one) for one in indices[name]}}
            for name, valve in valves.items()
        ],
        "scales": _scales(list(valves.values())),
        "groups": _groups(list(indices.values())),
        "overview": [
            {"key": key, "name": in_words(key)} for key in OVERVIEW
            if any(key == one.name for own in indices.values() for one in own)
        ],
        "colours": COLOURS, "level": min(cut_level(valve) for valve in valves.values()),
    }  # fmt: skip
    html = _template().render(
        title=title, library=library.replace("</script", "<\\/script"),
        content=json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace(
            "</", "<\\/"
        ),
        left_out=left_out, count=len(valves), names=NAMES, colours=COLOURS,
    )  # fmt: skip
    if len(html.encode()) > LARGEST:
        logger.warning("%s has %.1f MB; compare fewer deployments.", path, len(html) / 1e6)
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, html)
    return file


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("organtwin.export"), autoescape=True, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("tavr_comparison.html")


def _told(folder: Path, valve: Valve) -> str:
    """What was deployed, and whether that came to its end."""
    one = valve.deployed
    words = f"{one.device} {one.size}".strip()
    deploy = read_json(folder / "stages" / "deploy" / "deploy.json")
    return f"{words}, not completed" if deploy and not deploy.get("complete") else words


def _triangles_for(budget: float, valves: Sequence[Valve] | Any) -> float:
    """Triangles that a valve's tissue may have, after its frame."""
    frame = max(STRUT * len(valve.deployed.ends) for valve in valves)
    return 0.5 * (budget - frame) / TRIANGLE


# --- geometry -----------------------------------------------------------------------------------


def _scene(valve: Valve, most: int, step: float) -> dict[str, Any]:
    """Wall, leaflets, lines and frame in the root's own directions, the annulus at height 0."""
    one = valve.deployed
    points, triangles = _sized(joined(*one.wall), most)
    found: dict[str, Any] = {
        "wall": _mesh(valve, (points, triangles), step),
        "pressure": _real(averaged(one.pressed.places, one.pressed.normal, points)),
    }
    fine = cKDTree(valve.wall[0])
    near = fine.query(points)[1]
    if one.stress is not None:
        after = valve.at_wall(one.stress)[near]
        found["stress"] = _real(after)
        if one.stress_before is not None:
            found["rise"] = _real(after - valve.at_wall(one.stress_before)[near])
    if len(one.leaflets[1]):
        leaflets = _sized(joined(*one.leaflets), most, refine=False)
        found["leaflets"] = _mesh(valve, leaflets, step)
    found["patches"] = {
        name: _mesh(valve, one.surfaces[name], step)
        for name in ("ostium_right", "ostium_left") if name in one.surfaces
    }  # fmt: skip
    found["lines"] = _lines(valve, step)
    boxes, _ = struts(one, sides=4)
    found["frame"] = _places(valve.own(boxes[0]), step)
    found["strain"] = _real(100.0 * valve.largest_strain)
    if one.strain_amplitude is not None:
        found["amplitude"] = _real(100.0 * one.strain_amplitude)
    found["box"] = [valve.own(points).min(axis=0).tolist(), valve.own(points).max(axis=0).tolist()]
    found["cusps"] = names_at(valve.middles)
    found["septum"] = valve.septum_direction
    found["patient"] = valve.axes.T.tolist()  # the patient's directions in the root's
    return found


def _lines(valve: Valve, step: float) -> dict[str, str]:
    """Annulus and border of the septum as pairs of points."""
    pairs = {}
    ring = annulus_line(valve)
    if ring.n_cells:
        table = np.asarray(ring.lines).reshape(-1, 3)[:, 1:]
        pairs["annulus"] = np.asarray(ring.points)[table]
    if "membranous_septum" in valve.deployed.surfaces:
        points, triangles = valve.deployed.surfaces["membranous_septum"]
        pairs["membranous_septum"] = points[edges(triangles)]
    return {name: _places(valve.own(part.reshape(-1, 3)), step) for name, part in pairs.items()}


def _sized(mesh: Mesh, most: int, *, refine: bool = True) -> Mesh:
    """A surface with enough triangles for smooth colours, and not more than what is allowed."""
    points, triangles = mesh
    if refine and len(triangles) <= min(FEW, most // 4):
        return finer(points, triangles)
    if len(triangles) <= most:
        return mesh
    small = solid(mesh).decimate(1.0 - most / len(triangles))
    return np.asarray(small.points, float), np.asarray(small.regular_faces, np.int64)


def _mesh(valve: Valve, mesh: Mesh, step: float) -> dict[str, str]:
    points, triangles = mesh
    if len(points) > 2 * WHOLE:
        raise InputError("comparison", f"a surface has {len(points)} points.", "Mesh it coarser.")
    return {"points": _places(valve.own(points), step), "triangles": _coded(triangles, "<u2")}


def _step(valves: Iterable[Valve]) -> float:
    """Step of the coordinates (mm), with which whole numbers reach as far as all valves do."""
    reach = max(
        float(np.abs(valve.own(points)).max())
        for valve in valves
        for points in (
            *(points for points, _ in valve.deployed.surfaces.values()), valve.deployed.nodes,
        )
        if len(points)
    )  # fmt: skip
    return max(FINEST, (reach + ROOM) / WHOLE)


def _places(own: Array, step: float) -> str:
    """Places (mm) as whole numbers of steps; coded."""
    return _coded(np.rint(own / step), "<i2")


def _real(values: Array) -> str:
    return _coded(values, "<f4")


def _coded(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode("ascii")


# --- numbers ------------------------------------------------------------------------------------


def _scales(valves: Sequence[Valve]) -> dict[str, Any]:
    """Colours of each quantity, from what all valves have."""
    pressure = np.concatenate([valve.pressure for valve in valves])
    strain = np.concatenate([100.0 * valve.largest_strain for valve in valves])
    scales: dict[str, Any] = {
        "pressure": _scale("Contact pressure, mean over 2 mm", "kPa", PRESSURE,
                           0.0, ceiling(pressure[pressure > 0.0])),
        "strain": _scale("Largest fibre strain", "%", mpl.colormaps[STRAIN],
                         0.0, ceiling(strain, 100.0)),
    }  # fmt: skip
    stress = [one.deployed.stress for one in valves if one.deployed.stress is not None]
    if stress:
        scales["stress"] = _scale("Largest principal stress", "kPa", mpl.colormaps[STRESS],
                                  0.0, ceiling(np.concatenate(stress)))  # fmt: skip
    rises = [
        one.deployed.stress - one.deployed.stress_before for one in valves
        if one.deployed.stress is not None and one.deployed.stress_before is not None
    ]  # fmt: skip
    if rises:
        top = ceiling(np.abs(np.concatenate(rises)))
        scales["rise"] = _scale("Change of that stress", "kPa", mpl.colormaps["RdBu_r"], -top, top)
    swings = [one.deployed.strain_amplitude for one in valves
              if one.deployed.strain_amplitude is not None]  # fmt: skip
    if swings:
        top = ceiling(100.0 * np.concatenate(swings), 100.0)
        scales["amplitude"] = _scale(
            "Strain amplitude of a beat", "%", mpl.colormaps["plasma"], 0.0, top
        )
    return scales


def _scale(name: str, unit: str, colours: Colormap, low: float, high: float) -> dict[str, Any]:
    steps = np.linspace(0.0, 1.0, 21)
    return {"name": name, "unit": unit, "low": low, "high": high,
            "colours": [[round(float(at), 3), to_hex(colours(at))] for at in steps]}  # fmt: skip


def _groups(all_indices: Sequence[Sequence[Index]]) -> list[dict[str, Any]]:
    """Rows of the table: every index that some valve has, in the order of a report."""
    unlike: dict[str, Index] = {}
    for own in all_indices:
        for one in own:
            unlike.setdefault(one.name, one)
    return [
        {"heading": heading, "rows": [
            {"key": one.name, "name": in_words(one.name), "unit": one.unit,
             "formula": one.formula}
            for one in rows
        ]}
        for heading, rows in by_group(list(unlike.values()), WORDING).items()
    ]  # fmt: skip


def _value(one: Index) -> list[Any]:
    """Value, as it is written, verdict, and threshold in words."""
    return [one.value, shown_value(one), one.verdict, threshold_in_words(one)]
