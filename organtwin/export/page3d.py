"""A scene in three dimensions inside a report: one page, no library, nothing loaded.

The surface is made of few triangles; places are whole numbers of a step, values of fields one byte
each, so that a heart over a beat takes half a megabyte. The page's own script draws it with WebGL.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.export.atomic import write_text
from organtwin.export.dressed import (
    METAL,
    Look,
    colours_of,
    common_limits,
    corresponding,
    directions,
    dressed,
    frame_of,
    limits,
    triangles,
    tubes,
)
from organtwin.export.pages import templates
from organtwin.export.quantities import quantity, shown_value
from organtwin.export.result import REGION, Part, Result, open_result
from organtwin.export.series import Array

logger = logging.getLogger(__name__)

#: Largest whole number of a coordinate.
_WHOLE = 32767
#: Angle between triangles (degrees) from which on their edge is a feature that stays.
FEATURE = 45.0
#: Fields that say little on a surface.
_LEFT_OUT = {"fibre", "sheet", "normal", "conduction_velocity"}


@dataclass(frozen=True)
class Budget:
    """How much a page holds at most: triangles of all surfaces, times, and fields over time."""

    triangles: int = 9000
    states: int = 13
    fields: int = 5


#: A page in a report, which is sent around, and one that is looked at where it was made.
REPORT, WHOLE = Budget(), Budget(40_000, 33, 8)


@dataclass(frozen=True)
class Opening:
    """How a scene is shown first.

    Attributes:
        moment: Name of the time; the scene's own choice if empty or unknown.
        cut: Side from which it is cut open, as the page's list has it: ``2,1`` from the front,
            ``1,1`` from the top; whole if empty.
        depth: How deep, 0 to 1.
        side: From where it is looked at: ``front``, ``top``, ….
        field: Title of what colours show, such as ``Region``; the scene's first if unknown.
    """

    moment: str = ""
    cut: str = ""
    depth: float = 0.5
    side: str = "front"
    field: str = ""


def scene_3d(directory: Path, opening: Opening | None = None) -> str:
    """HTML of the scene of a result, to stand in its report; empty if nothing can be shown.

    Args:
        directory: Result directory of a run or a mesh.
        opening: How it is shown first.
    """
    try:
        content = scene_content(open_result(directory), REPORT)
        if opening is not None:
            content["opening"] = vars(opening)
    except (InputError, OSError) as error:
        logger.info("no scene in three dimensions: %s", error)
        return ""
    return templates().get_template("scene3d.html").render(scenes=[_as_json(content)])


def write_view(results: Sequence[Result], path: Path) -> Path:
    """Write a page of one result, or of two side by side, which turn together.

    Fields that both have are coloured to one scale.

    Args:
        results: One or two.
        path: HTML file.
    """
    parts = [result.parts[0] for result in results]
    shared = {name for name in parts[0].fields if all(name in part.fields for part in parts)}
    ends = {name: common_limits(parts, name) for name in shared - _LEFT_OUT}
    scenes = [_as_json(scene_content(result, WHOLE, ends)) for result in results]
    titles = [result.title for result in results]
    if len(set(titles)) < len(titles):  # two runs of one case: by where they lie
        titles = [f"{result.title} ({result.directory.name})" for result in results]
    title = " | ".join(titles)
    html = templates().get_template("view.html").render(scenes=scenes, title=title)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, html)
    return path


def _as_json(content: Mapping[str, Any]) -> str:
    coded = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return coded.replace("</", "<\\/")


def scene_content(
    result: Result, budget: Budget = REPORT, ends: Mapping[str, tuple[float, float]] | None = None
) -> dict[str, Any]:
    """What the page's script draws: surfaces by region, places and fields over time.

    Args:
        result: The result; its first tissue is shown, and frames with it.
        budget: How much of it.
        ends: Field → ends of its colours, instead of its own.

    Returns:
        ``step`` (mm), ``states`` with name, time (ms, None of steps) and coded places, ``fields``
        with title, ends, colours and one coded byte per point and state, ``regions`` with name and
        triangles, ``arrows``.
    """
    part = result.parts[0]
    frame = frame_of(result)
    states = [int(i) for i in np.unique(np.linspace(0, len(part.times) - 1, budget.states).round())]
    origin, surfaces = _surfaces(part, budget)
    places = [frame.own(part.points(index))[origin] for index in states]
    regions = _regions(surfaces)
    corners = [np.concatenate([faces for _, faces in surfaces])]
    for line in result.lines:
        bars = [tubes(line, corresponding(part, index, line), frame) for index in states]
        regions.append({"name": line.name, "first": 3 * sum(map(len, corners)),
                        "count": 3 * bars[0].n_cells, "plain": METAL})  # fmt: skip
        corners.append(np.asarray(bars[0].regular_faces) + len(places[0]))
        places = [np.concatenate([p, bar.points]) for p, bar in zip(places, bars, strict=True)]
    number = len(places[0])
    step = max(float(max(np.abs(each).max() for each in places)), 1e-6) / _WHOLE
    start, ways, arm = directions(frame)
    return {
        "title": result.title,
        "step": step,
        "size": frame.size,
        "states": [{"name": part.moment(index), "time": part.time(index),
                    "places": _coded(np.rint(place / step), "<i2")}
                   for index, place in zip(states, places, strict=True)],
        "fields": _fields(result, states, origin, number, budget, ends or {}),
        "regions": regions,
        "triangles": _coded(np.concatenate(corners), "<u4" if number > 65535 else "<u2"),
        "wide": number > 65535,
        "arrows": {"start": start.tolist(), "ways": ways.tolist(), "length": arm},
    }  # fmt: skip


def _surfaces(
    part: Part, budget: Budget
) -> tuple[NDArray[np.int64], list[tuple[str, NDArray[np.int64]]]]:
    """Points of the mesh on its surface, and each region's triangles between these.

    Where regions meet both have points of their own, so that the outside is shaded as one.
    """
    names = part.region_names or {"": 0}
    faces = []
    for name in names:
        off = frozenset(number for other, number in names.items() if other != name)
        shell = dressed(part, 0, Look(off=off, moved=False))
        faces.append(np.asarray(shell.point_data["point"])[triangles(shell)])
    every = np.sort(np.concatenate(faces), axis=1)
    _, which, times = np.unique(every, axis=0, return_inverse=True, return_counts=True)
    within = np.split(times[which.ravel()] > 1, np.cumsum([len(f) for f in faces])[:-1])
    points = np.asarray(part.points(0, moved=False))
    kept = budget.triangles / max(len(every), 1)
    fewer = [
        np.concatenate([
            _simple(points, own[~inner], kept),
            _simple(points, own[inner], kept) + number * len(points),
        ])
        for number, (own, inner) in enumerate(zip(faces, within, strict=True), start=1)
    ]  # fmt: skip
    used, corners = np.unique(np.concatenate(fewer), return_inverse=True)
    parts = np.split(corners.reshape(-1, 3), np.cumsum([len(f) for f in fewer])[:-1])
    return used % len(points), list(zip(names, parts, strict=True))


def _simple(points: Array, faces: NDArray[np.int64], kept: float) -> NDArray[np.int64]:
    """Fewer triangles among the same points; those of the patch's border stay."""
    if kept >= 1.0 or not len(faces):
        return faces
    used, corners = np.unique(faces, return_inverse=True)
    patch = pv.PolyData.from_regular_faces(points[used], corners.reshape(-1, 3))
    bare = patch.decimate_pro(
        1.0 - kept, feature_angle=FEATURE, preserve_topology=True, boundary_vertex_deletion=False
    )
    nearest = used[cKDTree(points[used]).query(np.asarray(bare.points))[1]]
    return np.asarray(nearest[np.asarray(bare.regular_faces)])


def _regions(surfaces: Sequence[tuple[str, NDArray[np.int64]]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    first = 0
    for name, faces in surfaces:
        found.append({"name": name, "first": 3 * first, "count": 3 * len(faces)})
        first += len(faces)
    return found


def _fields(
    result: Result, states: list[int], origin: NDArray[np.int64], number: int, budget: Budget,
    ends: Mapping[str, tuple[float, float]],
) -> list[dict[str, Any]]:  # fmt: skip
    """Fields of the part over its times, then those of other tissue that have but one."""
    part = result.parts[0]
    names = [name for name in part.fields if name not in _LEFT_OUT][: budget.fields]
    found = []
    for name in names:
        values = [_at_points(part, index, name)[origin] for index in states]
        found.append(_field(name, values, ends.get(name) or limits(part, name), number))
    for other in result.parts[1:]:
        if len(other.times) > 1:
            continue
        here = np.asarray(part.points(0, moved=False))[origin]
        near = cKDTree(np.asarray(other.mesh.points)).query(here)[1]
        for name in other.fields:
            if name not in (*_LEFT_OUT, *names):
                values = [_at_points(other, 0, name)[near]]
                found.append(_field(name, values, limits(other, name), number))
    if part.region_names:
        table = colours_of([part], REGION)
        colours = [to_hex(table(k)) for k in range(len(part.region_names))]
        found.append({"title": "Region", "regions": colours})
    return found


def _at_points(part: Part, index: int, name: str) -> Array:
    """A field at the points of the mesh; of cells the mean around a point."""
    values = shown_value(part.values(index, name))
    if not part.is_by_cell(name):
        return values
    cells = part.mesh.cell_connectivity
    sizes = np.diff(part.mesh.cell_offsets)
    number = np.bincount(cells, minlength=part.mesh.n_points)
    total = np.bincount(cells, np.repeat(values, sizes), minlength=part.mesh.n_points)
    return np.asarray(total / np.maximum(number, 1))


def _field(
    name: str, values: list[Array], ends: tuple[float, float], number: int
) -> dict[str, Any]:
    """A field of one byte per point; points behind its own belong to what has no field."""
    low, high = ends
    known = quantity(name)
    coded = []
    for own in values:
        level = np.zeros(number)
        level[: len(own)] = np.clip(255.0 * (own - low) / (high - low), 0.0, 255.0)
        coded.append(_coded(np.rint(np.nan_to_num(level)), "u1"))
    return {"title": known.title, "low": low, "high": high, "colours": known.stops(33),
            "values": coded}  # fmt: skip


def _coded(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode("ascii")
