"""The report of one deployed valve: verdict, indices and pictures in one HTML file."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from organtwin.errors import InputError
from organtwin.export import tavr_maps, tavr_pictures
from organtwin.export.drawing import Draw, Progress, draw_pictures
from organtwin.export.index_words import read_indices, table_of, verdict_in_words
from organtwin.export.page3d import Opening, scene_3d
from organtwin.export.pages import read_json, read_run, state_in_words, write_page
from organtwin.export.paraview_macro import script_for_paraview
from organtwin.export.tavr_states import read_calcium, read_states
from organtwin.export.tavr_view import Valve, read_valve
from organtwin.export.tavr_words import WORDING
from organtwin.index import Index
from organtwin.tavr.haemodynamics import Haemodynamics
from organtwin.tavr.leak_indices import leak_of, skirt_gap

logger = logging.getLogger(__name__)

_CAPTIONS = {
    "valve.png": (
        "The frame in the root",
        (
            "The wall is cut open along its axis. Struts have their thickness and width. "
            "Letters: L, R, A, P, H, F are left, right, front, back, head and feet of the patient; "
            "beside the view from the aorta R, L and N are the cusps."
        ),
    ),
    "contact_map.png": (
        "Where it presses, unrolled",
        (
            "The inner wall about the root's axis. Pressure is averaged over discs of 2 mm radius; "
            "under the struts themselves, which are some tenths of a millimetre wide, it is higher."
        ),
    ),
    "contact_wall.png": (
        "Where it presses, on the wall",
        "The same pressure; struts are drawn at half their thickness.",
    ),
    "levels.png": (
        "The frame level by level",
        (
            "Outlines of the struts' outer sides, seen from the aorta, with the cusps R, L and N. "
            "Expansion is the area over that of the free frame at the same height of its metal."
        ),
    ),
    "leak_map.png": (
        "Gap and leak",
        "Room between skirt and tissue about the frame's own axis, and where blood enters it.",
    ),
    "coronaries.png": (
        "Coronary arteries",
        (
            "Each ostium in the plane through the root's axis: the height of its lower edge over "
            "the annulus and the distances of its middle from the valve and from the nearest "
            "leaflet."
        ),
    ),
    "wall_stress.png": (
        "Stress of the wall",
        (
            "Largest principal Cauchy stress of the inner layer of cells. Red has risen, blue "
            "fallen: under struts the wall is pressed."
        ),
    ),
    "sequence.png": (
        "The deployment",
        "States that were kept on the way, to one scale; wall and frame as they were then.",
    ),
    "root_sheet.png": (
        "Measures",
        "Planes and outlines that were measured, on the scan, with oversizing of all sizes.",
    ),
    "root_mesh.png": (
        "The root as a mesh",
        "Inner surface with ostia and region of the membranous septum; cut open; from the aorta.",
    ),
}  # fmt: skip
#: Cards on top: indices, the first that is there, and what stands under the number.
_CARDS = (
    (("frame_annulus_diameter_min", "frame_inflow_diameter_min"), "Frame at the annulus"),
    (("paravalvular_grade",), "Paravalvular leak"),
    (("contact_pressure_index", "conduction_contact_pressure_index"), "Contact pressure index"),
    (("migration_safety", "anchoring_force"), "Safety against migration"),
    (("valve_to_coronary_left",), "Valve to left coronary"),
    (("valve_to_coronary_right",), "Valve to right coronary"),
    (("mean_gradient",), "Mean gradient"),
    (("injury_margin_annulus", "annulus_stretch"), "Strength / stress, annulus"),
)
COPIED = {"root_sheet.png": "measure/sheet.png", "root_mesh.png": "root/mesh.png"}


def draw_tavr(
    directory: str | Path, progress: Progress | None = None, *,
    haemodynamics: Haemodynamics | None = None,
) -> list[Path]:  # fmt: skip
    """Draw every picture whose data a result directory holds.

    Args:
        directory: Result directory of a deployment.
        progress: Called with the fraction done and the name of the next picture.
        haemodynamics: Pressures for the leak; of an adult at rest if None.

    Returns:
        The pictures in ``pictures/``. What could not be drawn is told, with the reason, in
        ``pictures/missing.json``.
    """
    folder = Path(directory)
    source = _Source(folder, haemodynamics or Haemodynamics())
    jobs: dict[str, Draw] = {
        "valve.png": lambda path: tavr_pictures.draw_valve(source.valve, path),
        "contact_map.png": lambda path: tavr_maps.draw_contact_map(source.valve, path),
        "contact_wall.png": lambda path: tavr_pictures.draw_contact_wall(source.valve, path),
        "levels.png": lambda path: tavr_maps.draw_levels(source.valve, path),
        "leak_map.png": source.leak_map,
        "coronaries.png": lambda path: tavr_pictures.draw_coronaries(source.valve, path),
        "wall_stress.png": lambda path: tavr_pictures.draw_wall_stress(source.valve, path),
        "sequence.png": lambda path: tavr_pictures.draw_sequence(
            source.valve, read_states(folder, source.valve), path
        ),
        **{name: _copy(folder / "stages" / file) for name, file in COPIED.items()},
    }
    return draw_pictures(folder, jobs, progress)


class _Source:
    """What pictures are drawn from, read once."""

    def __init__(self, folder: Path, flow: Haemodynamics) -> None:
        self.folder, self.flow = folder, flow

    @cached_property
    def valve(self) -> Valve:
        valve = read_valve(self.folder)
        try:
            return replace(valve, calcium=read_calcium(self.folder))
        except InputError as error:
            logger.warning("calcium is not drawn: %s", error)
            return valve

    def leak_map(self, path: Path) -> Path:
        around = skirt_gap(self.valve.deployed)
        if isinstance(around, str):
            raise InputError("leak", around, "Look at the frame's place.")
        return tavr_maps.draw_leak_map(self.valve, around.gap, leak_of(around, self.flow), path)


def _copy(file: Path) -> Draw:
    return lambda path: shutil.copyfile(file, path)


def write_tavr_report(directory: str | Path) -> Path:
    """Write ``report.html`` from the files of a result directory.

    Args:
        directory: Result directory of a deployment, finished or not.

    Returns:
        The report.

    Raises:
        InputError: there is no readable ``run.json``, or ``indices.json`` is damaged.
    """
    folder = Path(directory)
    run = read_run(folder)
    deploy = read_json(folder / "stages" / "deploy" / "deploy.json")
    judge = read_json(folder / "stages" / "judge" / "judge.json")
    indices = read_indices(folder, WORDING)
    return write_page(
        folder,
        "tavr_report.html",
        _CAPTIONS,
        verdict=verdict(run, deploy, indices),
        cards=list(_cards(indices)),
        **table_of(indices, WORDING),
        notes=judge.get("decisions", []),
        solved=deploy,
        measures=read_json(folder / "stages" / "measure" / "measures.json"),
        scene=scene_3d(folder, Opening(cut="2,1")),
        script=script_for_paraview(folder) is not None,
    )


def verdict(run: Mapping[str, Any], deploy: Mapping[str, Any], indices: Sequence[Index]) -> str:
    """What became of it and what it means, in a sentence or two."""
    device = str(deploy.get("device") or "Valve")
    if deploy and not deploy.get("complete"):
        stages = ", ".join(str(one["name"]) for one in deploy.get("stages", [])) or "none"
        return (
            f"{device}: the deployment was not completed. Stages done: {stages}. What follows is "
            "the last good state, and no prediction."
        )
    if run.get("status") in ("complete", None) or indices:
        return verdict_in_words(indices, device, WORDING)
    return state_in_words(run)


def _cards(indices: Sequence[Index]) -> list[dict[str, str]]:
    found = {one.name: one for one in indices}
    cards = []
    for keys, title in _CARDS:
        one = next((found[key] for key in keys if key in found), None)
        if one is None:
            continue
        value, low = WORDING.shown(one), WORDING.limits(one)
        if one.name.endswith("_diameter_min"):
            other = found.get(one.name.replace("_min", "_max"))
            if other is not None:
                value = f"{one.value:.1f} × {other.value:.1f}\u202fmm"
        name = title if one.name == keys[0] else WORDING.named(one.name)
        cards.append({"name": name, "value": value, "below": low, "verdict": one.verdict})
    return cards
