"""Split-depression fracture of the lateral tibial plateau, reduced and held by plate or screws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion
from organtwin.image.markups import Markup
from organtwin.image.volume import LabelMap
from organtwin.implants.bending import bend_plate
from organtwin.implants.implant import Implant, LocalFrame
from organtwin.implants.implant_files import load_implant
from organtwin.implants.plates import Plate, TibialPlate
from organtwin.landmarks.catalogue import landmarks_of
from organtwin.landmarks.fits import unit
from organtwin.landmarks.record import Landmark, Line, find
from organtwin.landmarks.record import Plane as PlaneMark
from organtwin.landmarks.record import Point as PointMark
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.volume_mesh import TetrahedralMesh
from organtwin.orthopaedics.assembly import (
    Assembly,
    Fineness,
    Mask,
    meshed,
    on_plane,
    retagged,
    rod_field,
    volume_errors,
)
from organtwin.orthopaedics.bone_model import CortexLaw, extended, painted
from organtwin.surgery.bodies import Bodies, bodies_of_labels, bodies_of_surfaces, pieces
from organtwin.surgery.fit import gap_map, plate_fit
from organtwin.surgery.fractures import require_held
from organtwin.surgery.placement import Frame, planned, screw_at
from organtwin.surgery.rigid import Rigid, moved
from organtwin.surgery.screws import Screw, purchase, rod, shell
from organtwin.surgery.signed import signed_field
from organtwin.surgery.tools import Drill, Plug, Sheet

type Points = NDArray[np.float64]
type Field = NDArray[np.float32]

#: Cortex and density of a tibia by the height over the plateau; MRI tells neither. Our choice.
TIBIA = CortexLaw(
    (-90.0, -45.0, -20.0, -5.0), (3.5, 2.0, 1.2, 1.0), (0.0, 80.0, 150.0, 300.0), level=1200.0
)
FIXATIONS = ("plate", "screws", "none")
#: Points of the split's border: to the front, up and out from the middle of the lateral plateau
#: and 4 mm outwards (mm).
SPLIT = ((-18, 0, 3), (0, 0, 0), (18, 0, 2), (-14, -18, 7), (0, -18, 6), (14, -18, 8),
         (-8, -34, 16), (8, -34, 17))  # fmt: skip
#: Middle of the depressed piece, inwards of that of the lateral plateau, and its half axes across
#: and to the front (mm).
PIECE = (-5.5, 6.0, 9.0)
#: Height over the piece that belongs to it (mm).
OVER = 15.0
#: Height of the fixed end's section over the end of the image (mm).
END = 9.0
#: Depth (mm) below the highest places of the shaft's section that is the ridge under a plate.
RIDGE = 3.0
#: Least confidence of the shaft's axis.
SEEN = 0.3


@dataclass(frozen=True)
class TibialPlateauOptions:
    """The fracture, its reduction, and what holds it.

    Attributes:
        fixation: ``plate`` (lateral plate with screws), ``screws`` (lag screws as a raft) or
            ``none``.
        gap: Width of the fracture lines, filled by the region ``callus`` (mm).
        thick: Thickness of the depressed piece (mm).
        depth: How deep it was pressed before it was lifted (mm): the void under it.
        step: By how much it stays too low (mm).
        graft: Whether a region ``graft`` fills the void.
        plate: Implant file of the plate.
        plate_size: Its size.
        plate_turn: Turn of the plate to the front from lateral (rad).
        plate_top: How far the plate's upper edge lies below the joint (mm).
        plate_gap: Least distance of the plate from the bone (mm).
        raft: Number of lag screws without a plate.
        screw: Diameter and core of the screws (mm).
        raft_below: Depth of the lag screws below the joint (mm).
        slope: How far the plateau falls back against the shaft (rad), where the image shows too
            little of it.
        shaft: Length by which the shaft goes on straight below the image (mm).
        law: Cortex and density.
        fineness: Edge lengths.
    """

    fixation: Literal["plate", "screws", "none"] = "plate"
    gap: float = 1.2
    thick: float = 9.0
    depth: float = 6.0
    step: float = 0.0
    graft: bool = True
    plate: str | Path = "tibial_plateau_plate"
    plate_size: str = "3"
    plate_turn: float = 0.45
    plate_top: float = 6.0
    plate_gap: float = 1.2
    raft: int = 3
    screw: tuple[float, float] = (3.5, 2.4)
    raft_below: float = 13.0
    slope: float = 0.14
    shaft: float = 62.0
    law: CortexLaw = TIBIA
    fineness: Fineness = field(default_factory=lambda: Fineness(4.0, 2.0, 2.0, 0.8))

    def __post_init__(self) -> None:
        if self.fixation not in FIXATIONS:
            raise InputError(
                "fixation", f"no fixation `{self.fixation}`.", suggestion(self.fixation, FIXATIONS)
            )
        for name, low, high in (("gap", 0.5, 3.0), ("thick", 4.0, 15.0), ("depth", 0.0, 15.0),
                                ("step", 0.0, 8.0)):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise InputError(
                    f"tibial plateau {name}", f"{getattr(self, name):g} mm.",
                    f"Give {low:g} to {high:g} mm.",
                )  # fmt: skip
        if self.gap < 1.2 * self.fineness.voxel:
            raise InputError(
                "tibial plateau gap",
                f"{self.gap:g} mm in voxels of {self.fineness.voxel:g} mm would be lost.",
                f"Give {1.2 * self.fineness.voxel:.2g} mm, or smaller voxels.",
            )


@dataclass(frozen=True)
class _Knee:
    """The tibia and its directions: up out of the joint, out to the lateral side, to the front."""

    bone: TriangleSurface
    lateral: Points
    medial: Points
    up: Points
    out: Points
    front: Points
    down: Points
    end: Points
    side: Literal["left", "right"]


def tibial_plateau(
    labels: LabelMap,
    options: TibialPlateauOptions | None = None,
    *,
    overrides: str | Path | Sequence[Markup] | None = None,
) -> Assembly:
    """A broken and reduced plateau with its fixation, one mesh with shared faces.

    Args:
        labels: ``tibia``, and ``fibula``, which tells the lateral side.
        options: See there.
        overrides: Lines of screws from head to tip, moved in 3D Slicer, by their names.

    Raises:
        InputError: a label is missing; the fracture misses the bone or leaves pieces; the plate
            does not fit; a screw lies outside the bone; a fragment is held by nothing.
        MeshError: no valid mesh came out.
    """
    asked = options or TibialPlateauOptions()
    notes: list[str] = []
    knee = _knee(labels, asked, notes)
    bodies, volumes = _broken(knee, asked)
    fit = dict(volumes)
    plate, screws = _fixation(knee, asked, overrides, fit, notes)
    tissue = shell(knee.bone, float(asked.law.thick(np.array([-10.0]))[0]))
    for screw in screws.values():
        held = purchase(screw, tissue)
        fit |= {
            f"{screw.name}: cortical thread mm": held.cortical,
            f"{screw.name}: trabecular thread mm": held.trabecular,
            f"{screw.name}: tip beyond the far cortex mm": held.tip_beyond,
            f"{screw.name}: breach of the wall mm": held.wall,
        }
    names = [n for n in ("lateral_fragment", "depressed_fragment") if n in bodies.names]
    fixed = {n: rod(s.entry, s.tip, s.diameter) for n, s in screws.items()}
    if asked.fixation != "none":
        require_held(bodies.only("tibia", "lateral_fragment"), ("tibia",), fixed)
    bodies = _with_implants(bodies, plate, screws)
    implants = tuple(n for n in bodies.names if n == "plate" or n in screws)
    fine = {"callus": 0.8 * asked.fineness.interface}
    done = meshed(bodies, asked.fineness, implants=implants, fine=fine, place="tibial plateau")
    mesh = _named(done.mesh, knee)
    fit |= {f"volume error of {n}": e for n, e in volume_errors(mesh, bodies).items()}
    law = asked.law
    notes.append(
        "MRI tells no density: cortex of "
        + ", ".join(
            f"{t:g} mm at {h:+g} mm" for h, t in zip(law.heights, law.thickness, strict=True)
        )
        + f" from the plateau ({law.source})."
    )
    bones = ("tibia", *names, *(n for n in ("callus", "graft") if n in mesh.region_names))
    material = plate[0].material.name if plate is not None else "316L"
    ends = {f"{n}_{what}": at for n, s in screws.items() for what, at in
            (("entry", s.entry), ("tip", s.tip))}  # fmt: skip
    return Assembly(
        f"tibial plateau, {asked.fixation}", mesh, bones,
        {n: material for n in implants if n in mesh.region_names},
        filled=tuple(n for n in screws if n in mesh.region_names),
        frames={"knee": Frame.of(knee.lateral, knee.up, knee.out)},
        points={"plateau_lateral": knee.lateral, "plateau_medial": knee.medial, **ends},
        fit=fit, notes=(*notes, *done.decisions),
        scan=painted(knee.bone, law, knee.up, knee.lateral, 1.2),
    )  # fmt: skip


def _knee(labels: LabelMap, asked: TibialPlateauOptions, notes: list[str]) -> _Knee:
    """Directions by landmarks, and the tibia with a longer shaft."""
    edge = asked.fineness.voxel
    marks: tuple[Landmark, ...] = landmarks_of("tibia", labels)
    plane, axis = find(marks, "tibial_plateau").geometry, find(marks, "tibial_axis").geometry
    one, two = (find(marks, f"plateau_{s}").geometry for s in ("lateral", "medial"))
    assert isinstance(plane, PlaneMark)
    assert isinstance(axis, Line)
    assert isinstance(one, PointMark)
    assert isinstance(two, PointMark)
    up = plane.normal
    out = unit((one.at - two.at) - ((one.at - two.at) @ up) * up)
    front = np.cross(up, out)
    front = front if front[1] < 0.0 else -front
    whole = bodies_of_labels(labels, ("tibia",), voxel=edge, margin=2.0)
    whole = Bodies(whole.grid, {"tibia": pieces(whole, "tibia")[0]})
    bone = whole.surface("tibia")
    mark = find(marks, "tibial_axis")
    down = axis.direction if axis.direction @ up < 0.0 else -axis.direction
    if mark.confidence.value < SEEN:
        down = -unit(np.cos(asked.slope) * up + np.sin(asked.slope) * front)
        notes.append(
            f"The shaft is too short for an axis of its own: the plateau is taken to fall back by "
            f"{np.degrees(asked.slope):.0f} degrees against it."
        )
    middle = bone.points.mean(axis=0)
    low = middle + (float(((bone.points - middle) @ down).max()) - END) * down
    end = low
    if asked.shaft > 0.0:
        bone = extended(bone, down, low, asked.shaft, voxel=edge)
        end = low + asked.shaft * down
        notes.append(
            f"The image ends {float((one.at - low) @ up):.0f} mm below the plateau: the shaft goes "
            f"on straight for {asked.shaft:g} mm with the section that it has there. Nothing is "
            "known of that bone."
        )
    # In LPS x grows to the left.
    side: Literal["left", "right"] = "left" if out[0] > 0.0 else "right"
    return _Knee(bone, one.at, two.at, up, out, front, down, end, side)


def _broken(knee: _Knee, asked: TibialPlateauOptions) -> tuple[Bodies, dict[str, float]]:
    """Tibia, fragments, callus between them and graft under the lifted piece."""
    edge, half = asked.fineness.voxel, np.float32(0.5 * asked.gap)
    whole = bodies_of_surfaces({"tibia": knee.bone}, edge, margin=14.0)
    bone = whole.field("tibia")
    line = np.array([
        knee.lateral + (4.0 + c) * knee.out + a * knee.front + b * knee.up for a, b, c in SPLIT
    ])  # fmt: skip
    split = _tool(whole, bone, Sheet(line, knee.lateral + 60.0 * knee.out))
    lateral = np.maximum(bone, split + half)
    rest = np.maximum(bone, half - split)
    turn = np.linspace(0.0, 2.0 * np.pi, 32, endpoint=False)
    aside, across, along = PIECE
    ring = np.array([
        knee.lateral + (aside + across * np.cos(t)) * knee.out + along * np.sin(t) * knee.front
        for t in turn
    ])  # fmt: skip
    plug = _tool(whole, bone, Plug(ring, -knee.up, asked.thick, OVER))
    deep = _tool(whole, bone, Plug(ring, -knee.up, asked.thick + asked.depth, OVER))
    piece = np.maximum(rest, plug + half)
    if not (piece < -edge).any():
        raise InputError("depression", "the piece misses the bone.", "Check the landmarks.")
    tibia = np.maximum(rest, half - deep)
    void_top: Field | None = None
    if asked.step > 0.0:
        down = Rigid.by(-asked.step * knee.up)
        lifted = whole.changed({"piece": piece, "plug": plug})
        piece = moved(lifted, "piece", down).field("piece")
        plug = moved(lifted, "plug", down).field("plug")
        void_top = moved(whole, "tibia", down).field("tibia")
    void = np.maximum(np.maximum(rest, deep + half), half - plug)
    # Callus is all of the bone that nothing else has, but not what the piece left above it.
    callus = np.maximum(bone, -np.min([tibia, lateral, piece, void], axis=0))
    # Elsewhere that is a layer of no thickness under the surface, which shares would count.
    lines = np.minimum(np.abs(split), np.minimum(np.abs(deep), np.abs(plug)))
    callus = np.where(lines < half + 2.0 * edge, callus, edge)
    if void_top is not None:
        callus = np.where(deep < half, np.maximum(callus, void_top), callus)
    fields: dict[str, Field | None] = {
        "tibia": tibia, "lateral_fragment": lateral, "depressed_fragment": piece, "callus": callus,
    }  # fmt: skip
    if asked.graft and asked.depth - asked.step > 2.0 * asked.gap:
        fields["graft"] = void
    fields = {n: np.asarray(f, np.float32) for n, f in fields.items() if f is not None}
    bodies = whole.changed({"tibia": None}).changed(fields)
    for name in ("tibia", "lateral_fragment", "depressed_fragment"):
        found = pieces(bodies, name)
        if len(found) > 1:
            bodies = bodies.changed({name: found[0]})
    volumes = {f"{n} mL": bodies.volume_ml(n) for n in bodies.names}
    volumes["step of the piece mm"] = -asked.step
    return bodies, volumes


def _tool(bodies: Bodies, bone: Field, tool: Sheet | Plug) -> Field:
    """Signed distance of a tool near the bone, far elsewhere."""
    near = np.argwhere(bone <= 4.0 * bodies.voxel)
    result = np.full(bodies.grid.shape, 100.0, np.float32)
    result[tuple(near.T)] = tool.distance(bodies.grid.points(near))
    return result


def _fixation(
    knee: _Knee,
    asked: TibialPlateauOptions,
    overrides: str | Path | Sequence[Markup] | None,
    fit: dict[str, float],
    notes: list[str],
) -> tuple[tuple[Implant, Plate] | None, dict[str, Screw]]:
    """Plate and screws."""
    if asked.fixation == "none":
        return None, {}
    wide, core = asked.screw
    made: tuple[Implant, Plate] | None = None
    if asked.fixation == "plate":
        implant, drawn, lines = _plate(knee, asked, fit, notes)
        made = implant, drawn
    else:
        lines = _raft(knee, asked)
    plan = planned([Landmark(n, line) for n, line in lines.items()], overrides)
    return made, {mark.name: screw_at(mark, wide, core) for mark in plan}


def _raft(knee: _Knee, asked: TibialPlateauOptions) -> dict[str, Line]:
    """Lag screws side by side below the joint, from lateral."""
    solid = bodies_of_surfaces({"bone": knee.bone}, 1.5, margin=3.0)
    lines = {}
    for k, off in enumerate(np.linspace(-9.0, 9.0, asked.raft) if asked.raft > 1 else [0.0], 1):
        middle = knee.lateral + off * knee.front - asked.raft_below * knee.up
        lines[f"screw{k}"] = _through(solid, middle, -knee.out, f"screw{k}")
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
    knee: _Knee, asked: TibialPlateauOptions, fit: dict[str, float], notes: list[str]
) -> tuple[Implant, Plate, dict[str, Line]]:
    """The plate bent onto the lateral side, and a screw through each of its holes."""
    drawn = load_implant(asked.plate, asked.plate_size, side=knee.side)
    if not isinstance(drawn, TibialPlate):
        raise InputError("tibial plateau plate", "it is no tibial plate.", "Name another file.")
    plate: Plate = drawn.plate()
    z = unit(np.cos(asked.plate_turn) * knee.out + np.sin(asked.plate_turn) * knee.front)
    z = unit(z - (z @ knee.down) * knee.down)
    x = -knee.down
    y = np.cross(z, x)
    middle = knee.lateral - (asked.plate_top + 0.5 * drawn.length) * x
    # Its lower end lies on the ridge of the shaft that it looks at.
    local = (knee.bone.points - middle) @ np.array([x, y, z]).T
    low = local[np.abs(local[:, 0] + 0.5 * drawn.length - 5.0) < 2.0]
    if not len(low):
        raise InputError(
            "tibial plateau plate", "the shaft ends above its lower end.",
            "Take a shorter one, or a longer shaft.",
        )  # fmt: skip
    ridge = low[low[:, 2] > low[:, 2].max() - RIDGE]
    # The head stays over the lateral plateau, as near as the shaft on its ridge allows.
    wide = 0.5 * drawn.shaft_width
    least, most = ridge[:, 1].min() + wide, ridge[:, 1].max() - wide
    middle = middle + (np.clip(0.0, least, most) if least < most else 0.5 * (least + most)) * y
    made = bend_plate(
        plate, knee.bone, LocalFrame(middle, np.array([x, y, z])),
        asked.fineness.implant, gap=asked.plate_gap,
    )  # fmt: skip
    under = plate_fit(gap_map(made.surface, knee.bone), -z, tilt=60.0)
    fit |= {
        "plate's mean distance from the bone mm": under.mean,
        "plate's largest distance from the bone mm": under.largest,
        "plate's depth in the bone mm": under.interference,
    }
    notes.extend(made.notes)
    solid = bodies_of_surfaces({"bone": knee.bone}, 1.5, margin=3.0)
    lines = {}
    for k in range(1, len(plate.holes) + 1):
        axis = made.direction(f"hole{k}")
        hole = made.point(f"hole{k}")
        inner = _through(solid, hole, -axis, f"screw{k}")
        lines[f"screw{k}"] = Line(hole + plate.thickness * axis, inner.end)
    return made, plate, lines


def _with_implants(
    bodies: Bodies, plate: tuple[Implant, Plate] | None, screws: dict[str, Screw]
) -> Bodies:
    """Bodies that give way to the implants; screws go through the plate and fill its holes."""
    solid: dict[str, Field] = {}
    for name, screw in screws.items():
        wide = 0.5 * (screw.diameter + screw.core)
        solid[name] = rod_field(bodies, Drill(screw.entry, screw.tip, wide))
        if plate is None:
            head = rod_field(bodies, Drill(screw.entry - 2.5 * screw.axis, screw.entry, 2.0 * wide))
            solid[name] = np.minimum(solid[name], head)
    if plate is not None:
        made, drawn = plate
        own = signed_field(made.surface, bodies.grid)
        for screw, hole in zip(screws.values(), drawn.holes, strict=True):
            # A locked screw fills its hole: the plate is closed around it.
            inner = screw.entry + drawn.thickness * screw.axis
            own = np.minimum(own, rod_field(bodies, Drill(screw.entry, inner, hole.diameter + 0.4)))
        solid["plate"] = np.maximum(own, -np.min(np.stack(list(solid.values())), axis=0))
    if not solid:
        return bodies
    every = np.min(np.stack(list(solid.values())), axis=0)
    fields = {n: np.maximum(bodies.field(n), -every).astype(np.float32) for n in bodies.names}
    return bodies.changed({**fields, **solid})


def _named(mesh: TetrahedralMesh, knee: _Knee) -> TetrahedralMesh:
    """Names of the fixed end and of both joint surfaces."""
    end = on_plane(knee.end, knee.down, 0.6)
    if "tibia-outside" in mesh.facet_names:
        mesh = retagged(mesh, "tibia-outside", "distal", end)
    half = 0.5 * (knee.lateral + knee.medial)
    for name in ("tibia", "lateral_fragment", "depressed_fragment"):
        for surface, sign in (("plateau_lateral", 1.0), ("plateau_medial", -1.0)):
            old = f"{name}-outside"
            if old not in mesh.facet_names:
                continue

            def joint(middles: Points, normals: Points, sign: float = sign) -> Mask:
                level = (middles - knee.lateral) @ knee.up
                side = sign * ((middles - half) @ knee.out) > 7.0
                facing = np.abs(normals @ knee.up) > np.cos(np.radians(40.0))
                return np.asarray(facing & side & (level > -7.0))

            mesh = retagged(mesh, old, surface, joint)
    return mesh
