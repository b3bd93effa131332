"""Indices of a fractured plateau: its gap, its joint surface, callus, bone, plate and screws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.mechanics.recovery import tensors
from organtwin.orthopaedics.assessment import (
    ALONE,
    Judged,
    add_bone,
    add_strength,
    done,
    on_cells,
    prefix_of,
    steps_of,
)
from organtwin.orthopaedics.cartilage_contact import Columns, press, sunk_columns
from organtwin.orthopaedics.gap_indices import (
    FaceMotion,
    callus_indices,
    face_indices,
    gap_indices,
    gap_motion,
)
from organtwin.orthopaedics.joint_indices import (
    MPA,
    Seam,
    contact_indices,
    step_indices,
    stiffness_index,
    subsidence_indices,
)
from organtwin.orthopaedics.operation import Load, Operation
from organtwin.orthopaedics.outcome import Outcome
from organtwin.orthopaedics.plateau_options import CARRIERS
from organtwin.orthopaedics.plateau_plan import CALLUS, CONDYLE_BENCH, HALVES

type Array = NDArray[np.float64]
type Integers = NDArray[np.int64]

#: Regions that a surgeon holds, and the one that was pressed in.
FRAGMENTS = CARRIERS[1:]
PIECE = CARRIERS[-1]
#: Maps of the columns of cartilage: their feet (mm), and their pressure (MPa) after a prefix.
PLACES, PRESSURE = "cartilage places", "cartilage pressure MPa"
#: Shortening of cartilage above which its linear law is told to be wrong; our choice.
STRAINED = 0.3
#: Pairs across the fracture that are this many widths apart, and more, are none.
FAR = 3.0
#: The same on the joint's surface, where farther partners would tell its slope as a step.
BESIDE = 1.5


@dataclass(frozen=True)
class Gap:
    """Vertices on both sides of the fracture, paired across it.

    Attributes:
        one, other: Numbers of vertices of the operated mesh, shape (n,).
        area: Area that each pair stands for (mm²), shape (n,).
        width: Distance of both (mm), shape (n,); 0 where fragments touch.
        normal: Unit vector from one to the other, shape (n, 3); 0 there.
    """

    one: Integers
    other: Integers
    area: Array
    width: Array
    normal: Array


def judge_plateau(
    outcome: Outcome,
    operation: Operation,
    facets: Mapping[str, Integers],
    up: Array,
    *,
    step: float = 0.0,
    columns: Columns | None = None,
) -> Judged:
    """Indices of all stages and loads that are done.

    Their stiffness is told of the bench's load alone: force on the lateral condyle over the
    movement of its fragments along it.

    Args:
        outcome: Results.
        operation: What was computed.
        facets: Surface → vertices of the operated mesh at its triangles, shape (k, 3).
        up: Unit normal of the plateau, shape (3,).
        step: By how much the depressed piece was left too low (mm).
        columns: Cartilage on the joint's surface, whose pressure is told; none without.
    """
    judged = Judged()
    touching = bool(operation.seats)
    gap = faces_of(outcome, operation, facets) if touching else gap_of(outcome, operation.bones)
    for stage in operation.healing:
        suffix = f", {stage.name}" if len(operation.healing) > 1 else ""
        for load in done(outcome, operation, suffix):
            names, prefix = steps_of(load, suffix), prefix_of(operation, load, stage)
            moved = outcome.moved[names[0]]
            if touching:
                judged.add(face_indices(face_motion(outcome, names[0]), comm=ALONE), prefix)
            else:
                jump = moved[gap.one] - moved[gap.other]
                found = gap_motion(gap.area, gap.normal, gap.width, jump)
                judged.add(gap_indices(found, comm=ALONE), prefix)
                _callus(judged, outcome, names[0], prefix)
            seam = seam_of(outcome, gap, facets, moved, up, step=step)
            judged.add(step_indices(seam, comm=ALONE), prefix)
            add_surface(judged, outcome, load, facets, moved, up, prefix)
            if columns is not None:
                add_cartilage(judged, outcome, load, facets, moved, up, columns, prefix)
            add_bone(judged, outcome, operation, load, names[0], prefix)
            add_strength(judged, outcome, operation, load, names, prefix)
    return judged


def gap_of(outcome: Outcome, bones: tuple[str, ...]) -> Gap:
    """Vertices of each fragment at the callus, with the nearest of another one across it."""
    regions = outcome.regions[outcome.moved_ids]
    soft = outcome.moved_cells[regions == outcome.region_names[CALLUS]]
    sides = {
        name: np.intersect1d(
            outcome.moved_cells[regions == outcome.region_names[name]], soft
        ) for name in bones if name in outcome.region_names
    }  # fmt: skip
    points = outcome.moved_points
    ones, others, areas = [], [], []
    # Each pair of bones is taken once, the smaller one as the first.
    order = sorted(sides, key=lambda name: len(sides[name]))
    for k, name in enumerate(order):
        rest = np.concatenate([sides[n] for n in order[k + 1 :]] or [np.zeros(0, np.int64)])
        here = np.setdiff1d(sides[name], rest)
        if not len(rest) or not len(here):
            continue
        _, near = cKDTree(points[rest]).query(points[here])
        ones.append(here)
        others.append(rest[near])
        areas.append(_vertex_areas(points, _faces_within(soft, sides[name]), len(points))[here])
    empty = np.zeros(0, np.int64)
    one, other = (np.concatenate(x or [empty]) for x in (ones, others))
    area = np.concatenate(areas or [np.zeros(0)])
    apart = points[other] - points[one]
    width = np.linalg.norm(apart, axis=1)
    kept = (area > 0.0) & (width > 0.0)
    kept &= width < FAR * (np.median(width[kept]) if kept.any() else 1.0)
    return Gap(one[kept], other[kept], area[kept], width[kept],
               apart[kept] / width[kept, None])  # fmt: skip


def faces_of(outcome: Outcome, operation: Operation, facets: Mapping[str, Integers]) -> Gap:
    """Vertices of fragments that touch, each with the one in the same place on the other side."""
    points = outcome.moved_points
    ones, others, areas = [], [], []
    for seat in operation.seats:
        own, there = facets[seat.surface], np.unique(facets[seat.other])
        here = np.unique(own)
        ones.append(here)
        others.append(there[cKDTree(points[there]).query(points[here])[1]])
        areas.append(_vertex_areas(points, own, len(points))[here])
    one = np.concatenate(ones)
    return Gap(one, np.concatenate(others), np.concatenate(areas), np.zeros(len(one)),
               np.zeros((len(one), 3)))  # fmt: skip


def face_motion(outcome: Outcome, step: str) -> FaceMotion:
    """Movement of all faces of a closed fracture at the end of a step."""
    seats = list(outcome.contacts.values())

    def every(key: str) -> Array:
        return np.concatenate([seat.steps[step][key] for seat in seats])

    return FaceMotion(
        np.concatenate([seat.area for seat in seats]), every("opening"),
        np.linalg.norm(every("slip"), axis=1), every("pressure"),
    )  # fmt: skip


def seam_of(
    outcome: Outcome,
    gap: Gap,
    facets: Mapping[str, Integers],
    moved: Array,
    up: Array,
    *,
    step: float = 0.0,
) -> Seam:
    """Pairs of the gap whose both ends lie on the joint's surface.

    Before they are loaded all fragments are where they were before the fracture, and the depressed
    one ``step`` below that: the slope of the joint across the gap is no step.
    """
    points = outcome.moved_points
    joint = np.unique(np.concatenate([facets[n].ravel() for n in HALVES if n in facets]))
    body = np.full(len(points), -1)
    for number, name in enumerate(CARRIERS):
        body[_vertices(outcome, name)] = number
    width = float(np.median(gap.width)) if len(gap.width) else 0.0
    ones, others = [], []
    for number in range(len(CARRIERS)):
        here = np.intersect1d(gap.one[body[gap.one] == number], joint)
        # The partner is the nearest vertex of the joint's surface on another body.
        across = joint[(body[joint] >= 0) & (body[joint] != number)]
        if len(here) and len(across):
            away, near = cKDTree(points[across]).query(points[here])
            kept = away <= BESIDE * max(width, step)
            ones.append(here[kept])
            others.append(across[near[kept]])
    empty = np.zeros(0, np.int64)
    one, other = (np.concatenate(x or [empty]) for x in (ones, others))
    length = np.full(len(one), float(np.sqrt(np.median(gap.area))) if len(gap.area) else 0.0)
    low = np.zeros(len(points))
    low[_vertices(outcome, PIECE)] = step
    before = low[other] - low[one]
    return Seam(points[one], points[other], moved[one], moved[other], length, up, before)


def _vertices(outcome: Outcome, *names: str) -> Integers:
    """Vertices of the operated cells of regions."""
    numbers = [outcome.region_names[name] for name in names if name in outcome.region_names]
    own = np.isin(outcome.regions[outcome.moved_ids], numbers)
    return np.unique(outcome.moved_cells[own])


def _callus(judged: Judged, outcome: Outcome, step: str, prefix: str) -> None:
    cells = outcome.within(CALLUS)
    state = outcome.operated[step]
    strain = np.linalg.eigvalsh(tensors(state["strain"][cells]))
    pressure = -state["stress"][cells][:, :3].sum(axis=1) / 3.0
    judged.add(callus_indices(strain, pressure, outcome.volumes[cells], comm=ALONE), prefix)
    largest = 100.0 * np.abs(strain).max(axis=1)
    judged.maps[f"{prefix}callus strain %"] = on_cells(outcome, cells, largest)


def add_surface(
    judged: Judged, outcome: Outcome, load: Load, facets: Mapping[str, Integers], moved: Array,
    up: Array, prefix: str,
) -> None:  # fmt: skip
    """How far both halves sink, and how stiff the construct is."""
    points = outcome.moved_points
    for name in HALVES:
        if name in facets:
            area = _vertex_areas(points, facets[name], len(points))
            own = np.flatnonzero(area)
            judged.add(subsidence_indices(moved[own], up, area[own], comm=ALONE, key=name), prefix)
    if load.name != CONDYLE_BENCH:
        return
    area = _vertex_areas(points, facets[HALVES[0]], len(points))
    own = np.intersect1d(_vertices(outcome, *FRAGMENTS), np.flatnonzero(area))
    if len(own):
        mean = area[own] @ moved[own] / area[own].sum()
        judged.add(([stiffness_index(np.array(load.forces[HALVES[0]]), mean)], []), prefix)


def add_cartilage(
    judged: Judged, outcome: Outcome, load: Load, facets: Mapping[str, Integers], moved: Array,
    up: Array, columns: Columns, prefix: str,
) -> None:  # fmt: skip
    """Pressure of both halves, with the joint's surface as it sank under the load."""
    points = outcome.moved_points
    pressure = np.full(len(columns.gap), np.nan)
    for number, name in enumerate(HALVES):
        force = -float(np.array(load.forces.get(name, np.zeros(3))) @ up)
        own = columns.of_half(number)
        if name not in facets or not force > 0.0 or not len(own.gap):
            continue
        joint = np.unique(facets[name])
        carried = [np.intersect1d(_vertices(outcome, part), joint) for part in CARRIERS]
        sunk = sunk_columns(own, carried, points, np.nan_to_num(moved), up)
        found = press(own, sunk, force)
        pressure[columns.half == number] = found.pressure / MPA
        normal = np.tile(up, (len(own.gap), 1))
        key = name.replace("plateau", "cartilage")
        told = contact_indices(own.place, own.area, found.pressure, normal, comm=ALONE, key=key)
        judged.add(told, prefix)
        if found.strain > STRAINED:
            judged.notes.append(
                f"{prefix}{key}: cartilage is shortened by {100.0 * found.strain:.0f} %, more than "
                "a linear foundation is for."
            )
    judged.maps[PLACES] = columns.place
    judged.maps[f"{prefix}{PRESSURE}"] = pressure


def _faces_within(cells: Integers, vertices: Integers) -> Integers:
    """Faces of cells whose three vertices are all among some, shape (k, 3)."""
    faces = cells[:, [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]].reshape(-1, 3)
    return np.asarray(faces[np.isin(faces, vertices).all(axis=1)])


def _vertex_areas(points: Array, triangles: Integers, count: int) -> Array:
    """A third of the area of the triangles at each vertex (mm²), shape (count,)."""
    corners = points[triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    found = np.zeros(count)
    np.add.at(found, triangles.ravel(), np.repeat(np.linalg.norm(cross, axis=1) / 6.0, 3))
    return found
