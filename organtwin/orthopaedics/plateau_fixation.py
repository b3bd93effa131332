"""What holds a fractured tibial plateau: a lateral plate with a raft of screws, or lag screws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.image.markups import Markup
from organtwin.implants.bending import bend_plate
from organtwin.implants.implant import Implant, LocalFrame
from organtwin.implants.implant_files import load_implant
from organtwin.implants.plates import Plate, TibialPlate
from organtwin.landmarks.fits import unit
from organtwin.landmarks.record import Landmark, Line
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.orthopaedics.assembly import rod_field
from organtwin.orthopaedics.plateau_fracture import PIECE, Knee
from organtwin.orthopaedics.plateau_options import TibialPlateauOptions
from organtwin.surgery.bodies import Bodies, bodies_of_surfaces
from organtwin.surgery.fit import gap_map, plate_fit
from organtwin.surgery.placement import planned, screw_at
from organtwin.surgery.screws import Screw
from organtwin.surgery.signed import signed_field
from organtwin.surgery.tools import Drill

type Points = NDArray[np.float64]
type Field = NDArray[np.float32]

#: Distance of lag screws from each other (mm), and length and width of their heads in the thread's
#: mean diameter.
APART, HEAD = 6.8, (2.5, 1.8)
#: Depth (mm) below the highest places of the shaft's section that is the face under a plate.
FACE = 3.0
#: Height (mm) of the shaft's section that is looked at, and its distance from the plate's end.
SECTION, FROM_END = 2.0, 5.0
#: Largest edge of the bent plate's triangles in its thicknesses.
FLAT = 0.8
#: Largest turn of a plate in its plane against the plateau's normal, and lean of a raft screw
#: against the plate (degrees): a raft is drilled parallel through a head that is bent. Our choice.
TURN, LEAN = 20.0, 35.0
#: How often the plate is shifted until its raft is at its height, how near (mm), and how far off a
#: screw may go through the middle of its hole (mm).
SHIFTS, NEAR, ASIDE = 5, 0.4, 1.1
#: Room (voxels) that a screw leaves to a void's ceiling and floor, or by which it enters them.
ROOM, INTO = 1.25, 0.4
#: Way of a screw in a fragment and in the tibia (mm) that counts as hold, and how far a thread may
#: leave the bone (mm). Our choice.
HOLD, BREACH = 3.0, 0.5
#: How far below the piece a screw still supports it (mm), and on what length (mm). Our choice.
UNDER, LENGTH = 12.0, 4.0


def fixation(
    knee: Knee,
    asked: TibialPlateauOptions,
    overrides: str | Path | Sequence[Markup] | None,
    fit: dict[str, float],
    notes: list[str],
) -> tuple[tuple[Implant, Plate] | None, dict[str, Screw], tuple[str, ...]]:
    """Plate, screws, and the names of those of the raft.

    Args:
        knee: The bone.
        asked: Options.
        overrides: Lines of screws from head to tip, by their names.
        fit: Indices of fit, to which those of the plate are added.
        notes: What was decided is appended.

    Raises:
        InputError: the plate does not fit the bone; a screw lies outside of it.
    """
    if asked.fixation == "none":
        return None, {}, ()
    wide, core = asked.screw
    made: tuple[Implant, Plate] | None = None
    if asked.fixation == "plate":
        implant, drawn, lines, raft = _plate(knee, asked, fit, notes)
        made = implant, drawn
    else:
        lines = _lag_screws(knee, asked)
        raft = tuple(lines)
    plan = planned([Landmark(n, line) for n, line in lines.items()], overrides)
    return made, {mark.name: screw_at(mark, wide, core) for mark in plan}, raft


def raft_depth(asked: TibialPlateauOptions) -> float:
    """Depth (mm) of the raft below the joint: as near below the piece as screws have room.

    Between the screws and the layers of callus above and below an empty void at least `ROOM`
    voxels are free, or the screw enters them: what is thinner is lost in voxels.
    """
    if asked.raft_below is not None:
        return asked.raft_below
    voxel, half = asked.fineness.voxel, 0.5 * asked.gap
    radius = 0.25 * sum(asked.screw)
    piece = asked.thick + asked.step - half
    ceiling, floor = piece + asked.gap, asked.thick + asked.depth - half
    under = floor + asked.gap if asked.open else ceiling
    tries = np.arange(piece + radius + 0.5 * voxel, under + radius + 3.0 * voxel, 0.05)
    top, bottom = tries - radius, tries + radius
    if not asked.open:
        return float(under + radius + ROOM * voxel)

    def clear(edge: Points, wall: float, sign: float) -> NDArray[np.bool_]:
        off = sign * (edge - wall)
        return np.asarray((off >= ROOM * voxel) | (off <= -INTO * voxel))

    sound = clear(top, ceiling, 1.0) & clear(bottom, floor, -1.0)
    sound &= (top <= floor - ROOM * voxel) | (top >= under + ROOM * voxel)
    sound &= (bottom <= floor) | (bottom >= under + INTO * voxel)
    # Those that lie in the callus under the piece leave slices of it: only where nothing else is.
    cost = tries + np.where(top < ceiling, 3.0, 0.0) + np.where(sound, 0.0, 100.0)
    return float(tries[int(np.argmin(cost))])


def _lag_screws(knee: Knee, asked: TibialPlateauOptions) -> dict[str, Line]:
    """Lag screws side by side below the piece, from lateral."""
    solid = bodies_of_surfaces({"bone": knee.bone}, 1.5, margin=3.0)
    lines = {}
    for k in range(asked.raft):
        off = APART * (k - 0.5 * (asked.raft - 1))
        name = f"screw{k + 1}"
        lines[name] = _through(solid, knee.at(0.0, off, -raft_depth(asked)), -knee.out, name)
    return lines


def _through(solid: Bodies, middle: Points, way: Points, name: str, short: float = 3.0) -> Line:
    """From 1 mm outside the bone through it to some way before the far surface."""
    reach = np.arange(-70.0, 100.0, 0.25)
    inside = np.flatnonzero(solid.at("bone", middle + reach[:, None] * way) < 0.0)
    if not len(inside):
        raise InputError(name, "it lies outside the bone.", "Move it.")
    start, end = reach[inside[0]], reach[inside[-1]]
    return Line(middle + (start - 1.0) * way, middle + max(end - short, start + 8.0) * way)


def _plate(
    knee: Knee, asked: TibialPlateauOptions, fit: dict[str, float], notes: list[str]
) -> tuple[Implant, Plate, dict[str, Line], tuple[str, ...]]:
    """The plate bent onto the lateral side, and a screw through each of its holes."""
    drawn = load_implant(asked.plate, asked.plate_size, side=knee.side)
    if not isinstance(drawn, TibialPlate):
        raise InputError("tibial plateau plate", "it is no tibial plate.", "Name another file.")
    if drawn.head_holes < 1:
        raise InputError("tibial plateau plate", "it has no raft of screws.", "Take another one.")
    plate: Plate = drawn.plate()
    z = unit(np.cos(asked.plate_turn) * knee.out + np.sin(asked.plate_turn) * knee.front)
    depth = raft_depth(asked)
    made = _laid(knee, asked, drawn, plate, z, depth)
    under = plate_fit(gap_map(made.surface, knee.bone), -z, tilt=60.0)
    x = made.frame.axes[0]
    fit |= {
        "plate's mean distance from the bone mm": under.mean,
        "plate's largest distance from the bone mm": under.largest,
        "plate's depth in the bone mm": under.interference,
        "plate's turn against the plateau's normal degrees": _degrees(float(x @ knee.up)),
        "raft below the joint mm": depth,
    }
    notes.extend(made.notes)
    solid = bodies_of_surfaces({"bone": knee.bone}, 1.5, margin=3.0)
    lines, leans = {}, []
    for k in range(1, len(plate.holes) + 1):
        axis, hole = made.direction(f"hole{k}"), made.point(f"hole{k}")
        way = -axis
        if k <= drawn.head_holes:
            # Those of the head are drilled side by side and along the joint.
            way = -z
            hole = hole - ((hole - knee.lateral) @ knee.up + depth) * knee.up
            leans.append(_degrees(float(axis @ z)))
        inner = _through(solid, hole, way, f"screw{k}")
        lines[f"screw{k}"] = Line(hole - plate.thickness / float(axis @ -way) * way, inner.end)
    fit["largest lean of a raft screw in the plate degrees"] = max(leans)
    if max(leans) > LEAN:
        raise InputError(
            "tibial plateau plate",
            f"a screw of its raft would lean by {max(leans):.0f} degrees against it.",
            f"{LEAN:g} are possible: change `plate_turn`, or take a narrower plate.",
        )
    return made, plate, lines, tuple(list(lines)[: drawn.head_holes])


def _laid(
    knee: Knee,
    asked: TibialPlateauOptions,
    drawn: TibialPlate,
    plate: Plate,
    z: Points,
    depth: float,
) -> Implant:
    """The plate with its raft under the piece and its lower end on the shaft's face.

    Lengths along the bent plate are longer than along the bone: it is shifted until the middle of
    its raft is where it shall be.
    """
    holes = np.array([(h.x, h.y) for h in plate.holes[: drawn.head_holes]])
    row, foot = holes.mean(axis=0), np.array([-0.5 * drawn.length + FROM_END, 0.0])
    aim = knee.at(PIECE[0], 0.0, -depth)
    plane = np.stack([knee.up, np.cross(z, knee.up)])
    low = _face(knee, aim, z, float(row[0] - foot[0]))
    drawn_way, way = row - foot, plane @ (aim - low)
    turn = float(np.arctan2(way[1], way[0]) - np.arctan2(drawn_way[1], drawn_way[0]))
    if abs(np.degrees(turn)) > TURN:
        raise InputError(
            "tibial plateau plate",
            f"it would lie across the shaft, turned by {abs(np.degrees(turn)):.0f} degrees.",
            f"Change `plate_turn`, or take a longer one: {TURN:g} degrees are possible.",
        )
    x = np.cos(turn) * plane[0] + np.sin(turn) * plane[1]
    axes = np.array([x, np.cross(z, x), z])
    middle = aim - row @ axes[:2]
    size = min(asked.fineness.implant, FLAT * plate.thickness)
    best: tuple[float, Implant] | None = None
    for _ in range(SHIFTS):
        made = bend_plate(plate, knee.bone, LocalFrame(middle, axes), size, gap=asked.plate_gap)
        there = np.mean([made.point(f"hole{k}") for k in range(1, len(holes) + 1)], axis=0)
        off = axes[:2] @ (aim - there)
        away = float(np.linalg.norm(off))
        if best is None or away < best[0]:
            best = away, made
        if away < NEAR:
            break
        # Another place may be one where another bend is the best: the last steps are small.
        middle = middle + (1.0 if away > 2.0 else 0.5) * off @ axes[:2]
    assert best is not None
    if best[0] > ASIDE:
        raise InputError(
            "tibial plateau plate",
            f"its raft misses its place under the piece by {best[0]:.1f} mm.",
            "Change `plate_turn`, or take another size.",
        )
    return best[1]


def _face(knee: Knee, aim: Points, z: Points, below: float) -> Points:
    """Middle of the shaft's face that looks along z, some way below a point (mm).

    Raises:
        InputError: the shaft ends above.
    """
    local = knee.bone.points - aim
    there = np.abs(local @ knee.up + below) < SECTION
    if (knee.end - aim) @ knee.down < below or not there.any():
        raise InputError(
            "tibial plateau plate", "the shaft ends above its lower end.",
            "Take a shorter one, or a longer shaft.",
        )  # fmt: skip
    section, across = knee.bone.points[there], np.cross(z, knee.up)
    level = section @ z
    own = section[level > level.max() - FACE] @ across
    middle = 0.5 * (own.min() + own.max())
    return np.asarray(aim - below * knee.up + (middle - aim @ across) * across)


def _degrees(cosine: float) -> float:
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def require_hold(
    bodies: Bodies,
    screws: Mapping[str, Screw],
    raft: Sequence[str],
    up: Points,
    fit: dict[str, float],
    notes: list[str],
) -> None:
    """Refuse screws that touch or leave the bone, and fragments that too few of them hold.

    The split fragment needs a screw that goes through it into the tibia; below the depressed one,
    if there is any, all screws of the raft but one must pass.

    Args:
        bodies: Bone before the implants are put in.
        screws: All of them; their breach of the wall must be in ``fit``.
        raft: Which of them shall support the depressed piece.
        up: Normal of the plateau.
        fit: Indices of fit, to which hold and support are added.
        notes: What was decided is appended.

    Raises:
        InputError: by the names of the screws or the fragment.
    """
    ways = {n: s.entry + np.linspace(0.0, 1.0, 200)[:, None] * (s.tip - s.entry)
            for n, s in screws.items()}  # fmt: skip
    for one, two in combinations(screws, 2):
        radii = 0.5 * (screws[one].diameter + screws[two].diameter)
        apart = float(cKDTree(ways[one]).query(ways[two])[0].min()) - radii
        if apart < bodies.voxel:
            raise InputError(
                f"{one} and {two}", f"only {apart:.1f} mm lie between them.",
                f"Move one: {bodies.voxel:g} mm are needed.",
            )  # fmt: skip
    holding, under = [], []
    for name, screw in screws.items():
        wall = fit[f"{name}: breach of the wall mm"]
        if wall > BREACH:
            raise InputError(name, f"its thread leaves the bone by {wall:.1f} mm.", "Move it.")
        inside = {n: float((bodies.at(n, ways[name]) < 0.0).mean()) * screw.length
                  for n in ("tibia", "lateral_fragment")}  # fmt: skip
        fit[f"{name}: in the lateral fragment mm"] = inside["lateral_fragment"]
        if min(inside.values()) >= HOLD:
            holding.append(name)
        if name in raft and "depressed_fragment" in bodies.names:
            length = _supported(bodies, ways[name], up) * screw.length
            fit[f"{name}: below the depressed fragment mm"] = length
            if length >= LENGTH:
                under.append(name)
    fit["screws that hold the lateral fragment"] = float(len(holding))
    if not holding:
        raise InputError(
            "lateral_fragment", "no screw goes through it into the tibia.",
            f"Lead one through it by {HOLD:g} mm or more, or change `plate_turn`.",
        )  # fmt: skip
    if len(holding) == 1:
        notes.append("One screw alone holds the lateral fragment: it may turn about it.")
    if "depressed_fragment" not in bodies.names:
        return
    fit["screws below the depressed fragment"] = float(len(under))
    needed = max(len(raft) - 1, min(len(raft), 2))
    if len(under) < needed:
        missing = ", ".join(n for n in raft if n not in under)
        raise InputError(
            "depressed_fragment",
            f"{len(under)} of {len(raft)} screws of the raft pass below it; {missing} miss it.",
            f"Lead {needed} of them below it, at most {UNDER:g} mm deep; change `plate_turn`.",
        )


def _supported(bodies: Bodies, way: Points, up: Points) -> float:
    """Part of a screw's way that has the depressed fragment above it."""
    heights = np.arange(0.5, UNDER, 0.5)
    found = np.zeros(len(way), bool)
    for height in heights:
        found |= bodies.at("depressed_fragment", way + height * up) < 0.0
    return float(found.mean())


def with_implants(
    bodies: Bodies, plate: tuple[Implant, Plate] | None, screws: Mapping[str, Screw]
) -> Bodies:
    """Bodies that give way to the implants; screws go through the plate and fill its holes."""
    solid: dict[str, Field] = {}
    for name, screw in screws.items():
        wide = 0.5 * (screw.diameter + screw.core)
        solid[name] = rod_field(bodies, Drill(screw.entry, screw.tip, wide))
        if plate is None:
            top = screw.entry - HEAD[0] * screw.axis
            head = rod_field(bodies, Drill(top, screw.entry, HEAD[1] * wide))
            solid[name] = np.minimum(solid[name], head)
    if plate is not None:
        made, drawn = plate
        own = signed_field(made.surface, bodies.grid)
        for k, hole in enumerate(drawn.holes, 1):
            # A locked screw fills its hole: the plate is closed around it.
            inner = made.point(f"hole{k}")
            outer = inner + drawn.thickness * made.direction(f"hole{k}")
            own = np.minimum(own, rod_field(bodies, Drill(inner, outer, hole.diameter + 0.4)))
        solid["plate"] = np.maximum(own, -np.min(np.stack(list(solid.values())), axis=0))
    if not solid:
        return bodies
    every = np.min(np.stack(list(solid.values())), axis=0)
    fields = {n: np.maximum(bodies.field(n), -every).astype(np.float32) for n in bodies.names}
    return bodies.changed({**fields, **solid})


def drilled(screws: Mapping[str, Screw]) -> dict[str, TriangleSurface]:
    """Closed cylinders of all screws."""
    return {name: screw.surface() for name, screw in screws.items()}
