"""What leaks between the skirt of a deployed valve and the wall."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.cross_sections import skirt
from organtwin.devices.gap import Gap, Rays, first_hit
from organtwin.devices.leak import AREA_GRADES, GRADES, VOLUME_GRADES, Leak, leak
from organtwin.errors import OrgantwinError
from organtwin.index import Found, Index
from organtwin.tavr.deployed import Deployed
from organtwin.tavr.haemodynamics import Haemodynamics
from organtwin.tavr.root_record import RootRecord

Array = NDArray[np.float64]

#: Heights of the skirt and directions that are looked at.
ROWS, COUNT = 16, 180
#: Gaps that are thinner count as closed (mm): facets of 2.5 mm cut 0.07 mm off a tube of 24 mm, and
#: struts dent it between them. Our choice.
TIGHT = 0.15
#: How far within the skirt tissue may lie that is still taken to be outside of it (mm).
WITHIN = 1.0
#: Room over the highest corner of the inflow (mm), below which some struts are missing.
ROOM = 0.2
GRADE = (
    "VARC-2, table read in a copy at onlinejacc.org: {}. A flow in three dimensions was not "
    "compared: take it as a screening."
)


@dataclass(frozen=True)
class SkirtGap:
    """The gap around a skirt, with what is to be known about it.

    Attributes:
        gap: It.
        notes: What was left out, one sentence each.
    """

    gap: Gap
    notes: tuple[str, ...]


def skirt_gap(deployed: Deployed) -> SkirtGap | str:
    """The gap between the skirt and the wall or the native leaflets; why not, if there is none.

    Leaflets between frame and wall fill the gap: behind one is its sinus, which has no way out.
    So the nearest of wall and leaflets counts, of leaflets what is not more than 1 mm within the
    skirt. The cloth is cut to the round frame and spans arcs between the struts: chords would leave
    0.1 to 0.4 mm all around a valve that fits. Our choice.
    """
    if deployed.skirt <= 0.0:
        return "The leak is not told: the height of the skirt is not known."
    first = (deployed.nodes[deployed.crowns[0]] - deployed.origin) @ deployed.axis
    low, top = float(first.max()) + ROOM, deployed.height_of(deployed.skirt)
    if not top > low:
        return "The leak is not told: the skirt ends below the highest corner of the inflow."
    heights = low + (np.arange(ROWS) + 0.5) * (top - low) / ROWS
    rays = Rays(deployed.origin, deployed.axes, heights, COUNT)
    try:
        half = 0.5 * float(deployed.thickness.mean())
        inner = skirt(deployed.nodes, deployed.ends, rays, half, bulging=True)
    except OrgantwinError as error:
        return f"The leak is not told: {error.problem}"
    wall = first_hit(*deployed.lumen, rays)
    kept = np.isfinite(wall).all(axis=1)
    rows = _longest(kept)
    if len(rows) < 2:
        return "The leak is not told: the mesh has no wall around the skirt."
    notes = []
    if len(rows) < ROWS:
        notes.append(
            f"The leak is told of {len(rows)} of {ROWS} heights of the skirt: the mesh has no wall "
            "around the others."
        )
    wall, inner = wall[rows], inner[rows]
    rays = replace(rays, heights=heights[rows])
    points, triangles = deployed.leaflets
    if len(triangles):
        wall = np.minimum(wall, first_hit(points, triangles, rays, inner - WITHIN))
    else:
        notes.append("The leak is that of a root without native leaflets, which fill gaps.")
    return SkirtGap(Gap(rays, inner, wall, TIGHT), tuple(notes))


def _longest(kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Longest run of rows that are kept."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], kept.astype(int), [0]])))
    if len(edges) == 0:
        return np.zeros(0, np.int64)
    runs = edges.reshape(-1, 2)
    start, end = runs[np.argmax(runs[:, 1] - runs[:, 0])]
    return np.arange(start, end)


def leak_of(around: SkirtGap, flow: Haemodynamics) -> Leak:
    """Flow through the gap in diastole.

    Raises:
        SolverError: it can't be computed.
    """
    return leak(around.gap, flow.closing, flow.blood)


def leak_indices(around: SkirtGap | str, root: RootRecord, flow: Haemodynamics) -> Found:
    """Gap areas by level, flow, volume, orifice and grade, of what `skirt_gap` gave."""
    if isinstance(around, str):
        return [], [around]
    gap, notes = around.gap, list(around.notes)
    area = "∫ ½ (r_wall² - r_skirt²) dθ"
    levels = {"inflow": gap.areas[0], "skirt_top": gap.areas[-1], "smallest": gap.areas.min()}
    where = {
        "inflow": "at the lowest height of the skirt", "skirt_top": "at its highest",
        "smallest": "at the height where it is smallest",
        "annulus": "at the height of the annulus",
    }  # fmt: skip
    ring = float((root.origin - gap.rays.origin) @ gap.rays.axes[2])
    if gap.rays.heights[0] <= ring <= gap.rays.heights[-1]:
        levels["annulus"] = np.interp(ring, gap.rays.heights, gap.areas)
    found = [
        Index.of("leak", f"gap_area_{key}", float(value), "mm²", f"{area} {where[key]}",
                 "our choice; gaps up to 0.15 mm count as closed")
        for key, value in levels.items()
    ]  # fmt: skip
    found.append(Index.of(
        "leak", "sealed_share", gap.sealed, "1",
        "share of the directions in which skirt and tissue touch at some height", "our choice",
    ))  # fmt: skip
    try:
        through = leak_of(around, flow)
    except OrgantwinError as error:
        return found, [*notes, f"The flow of the leak is not told: {error}"]
    return [*found, *_flow_indices(through, flow)], notes


def _flow_indices(through: Leak, flow: Haemodynamics) -> list[Index]:
    volume, orifice = through.volume(flow.diastole), through.effective_area
    forward = flow.cardiac_output * 60.0 / flow.heart_rate
    grade = GRADES.index(through.grade(flow.diastole)) + 1
    return [
        Index.of("leak", "paravalvular_flow", through.flow, "mL/s",
                 "Reynolds' equation of the gap in diastole, see docs/deployed-valve.md",
                 "our choice"),
        Index.of("leak", "regurgitant_volume", volume, "mL", "flow times diastole",
                 GRADE.format("moderate from 30, severe from 60 mL"), None, VOLUME_GRADES[0]),
        Index.of("leak", "regurgitant_fraction", volume / (forward + volume), "1",
                 "regurgitant volume over itself and the forward volume of a beat",
                 GRADE.format("moderate from 30, severe from 50 %"), None, 0.30),
        Index.of("leak", "regurgitant_orifice", orifice, "mm²", "Q / √(2 Δp / ρ)",
                 GRADE.format("moderate from 10, severe from 30 mm²"), None, AREA_GRADES[0]),
        Index.of("leak", "paravalvular_grade", float(grade), "grade",
                 "1 mild, 2 moderate, 3 severe: the worse of what volume and orifice say",
                 GRADE.format("see both"), None, 1.0),
    ]  # fmt: skip
