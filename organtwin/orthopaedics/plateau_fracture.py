"""The broken tibial plateau: directions of the knee, fragments, callus and void."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap
from organtwin.landmarks.catalogue import landmarks_of
from organtwin.landmarks.fits import unit
from organtwin.landmarks.record import Landmark, Line, find
from organtwin.landmarks.record import Plane as PlaneMark
from organtwin.landmarks.record import Point as PointMark
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.orthopaedics.bone_model import extended
from organtwin.orthopaedics.plateau_options import CARRIERS, TibialPlateauOptions
from organtwin.surgery.bodies import Bodies, bodies_of_labels, bodies_of_surfaces, pieces
from organtwin.surgery.rigid import Rigid, moved
from organtwin.surgery.tools import Plug, Sheet

type Points = NDArray[np.float64]
type Field = NDArray[np.float32]

#: Points of the split's border (mm): to the front, up, and out from where it enters the joint.
SPLIT = ((-18, 0, 3), (0, 0, 0), (18, 0, 2), (-14, -18, 7), (0, -18, 6), (14, -18, 8),
         (-8, -34, 16), (8, -34, 17))  # fmt: skip
#: Middle of the depressed piece, outwards of that of the lateral plateau, and its half axes across
#: and to the front (mm).
PIECE = (-4.0, 6.5, 12.5)
#: Height over the piece that belongs to it (mm).
OVER = 15.0
#: Height of the fixed end's section over the end of the image (mm).
END = 9.0
#: Least confidence of the shaft's axis.
SEEN = 0.3


@dataclass(frozen=True)
class Knee:
    """The tibia and its directions: up out of the joint, out to the lateral side, to the front.

    Attributes:
        bone: Closed surface, with the longer shaft.
        lateral: Middle of the lateral plateau (mm), shape (3,).
        medial: That of the medial one.
        up: Normal of the plateau.
        out: To the lateral side, in the plateau's plane.
        front: Forwards, in that plane.
        down: Along the shaft.
        end: A point of the plane in which the shaft ends (mm).
        side: Of the body.
    """

    bone: TriangleSurface
    lateral: Points
    medial: Points
    up: Points
    out: Points
    front: Points
    down: Points
    end: Points
    side: Literal["left", "right"]

    def at(self, out: float, front: float, up: float) -> Points:
        """Point (mm) by its place from the middle of the lateral plateau, shape (3,)."""
        return np.asarray(self.lateral + out * self.out + front * self.front + up * self.up)


def knee_of(labels: LabelMap, asked: TibialPlateauOptions, notes: list[str]) -> Knee:
    """Directions by landmarks, and the tibia with a longer shaft.

    Args:
        labels: ``tibia``, and ``fibula``, which tells the lateral side.
        asked: Options.
        notes: What was decided is appended.

    Raises:
        InputError: a label is missing, or the shaft's end misses the bone.
    """
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
    return Knee(bone, one.at, two.at, up, out, front, down, end, side)


@dataclass(frozen=True)
class _Depression:
    """A piece of the joint that was pressed in and lifted again: signed distances (mm).

    Attributes:
        deep: Of the hole, from over the joint to the floor under the piece.
        plug: Of what belongs to the piece, where it lies now.
        piece: Of the piece.
        top: Of the bone as low as the piece stays; None if it is where it was.
    """

    deep: Field
    plug: Field
    piece: Field
    top: Field | None


def broken(knee: Knee, asked: TibialPlateauOptions) -> tuple[Bodies, dict[str, float]]:
    """Tibia, fragments, callus between them and graft under the lifted piece; indices of fit.

    Fragments that touch share their borders, and there is no callus.

    Raises:
        InputError: the depression misses the bone.
    """
    edge, half = asked.fineness.voxel, np.float32(0.5 * asked.gap)
    whole = bodies_of_surfaces({"tibia": knee.bone}, edge, margin=14.0)
    bone = whole.field("tibia")
    line = np.array([knee.at(asked.aside + c, a, b) for a, b, c in SPLIT])
    split = _tool(whole, bone, Sheet(line, knee.lateral + 60.0 * knee.out))
    lines = np.abs(split)
    rest = np.maximum(bone, half - split)
    fields: dict[str, Field] = {"tibia": rest, "lateral_fragment": np.maximum(bone, split + half)}
    void: Field | None = None
    made = _depression(knee, asked, whole, rest) if asked.fracture == "split_depression" else None
    if made is not None:
        fields["tibia"] = np.maximum(rest, half - made.deep)
        fields["depressed_fragment"] = made.piece
        if asked.open:
            void = np.maximum(np.maximum(rest, made.deep + half), half - made.plug)
        lines = np.minimum(lines, np.minimum(np.abs(made.deep), np.abs(made.plug)))
    if not asked.closed:
        every = [*fields.values()] + ([] if void is None else [void])
        # Callus is all of the bone that nothing else has, but not what the piece left above it.
        callus = np.maximum(bone, -np.min(every, axis=0))
        # Elsewhere that is a layer of no thickness under the surface, which shares would count.
        callus = np.where(lines < half + 2.0 * edge, callus, edge)
        if made is not None and made.top is not None:
            callus = np.where(made.deep < half, np.maximum(callus, made.top), callus)
        fields["callus"] = callus
    if asked.graft and void is not None:
        fields["graft"] = void
    bodies = whole.changed({"tibia": None}).changed(
        {n: np.asarray(f, np.float32) for n, f in fields.items()}
    )
    for name in (n for n in CARRIERS if n in bodies.names):
        found = pieces(bodies, name)
        if len(found) > 1:
            bodies = bodies.changed({name: found[0]})
    volumes = {f"{n} mL": bodies.volume_ml(n) for n in bodies.names}
    volumes["step of the piece mm"] = -asked.step
    return bodies, volumes


def _depression(knee: Knee, asked: TibialPlateauOptions, whole: Bodies, rest: Field) -> _Depression:
    """The piece under the joint, in the bone that the split leaves.

    Raises:
        InputError: it misses the bone.
    """
    bone, half = whole.field("tibia"), np.float32(0.5 * asked.gap)
    turn = np.linspace(0.0, 2.0 * np.pi, 32, endpoint=False)
    aside, across, along = PIECE
    ring = np.array([knee.at(aside + across * np.cos(t), along * np.sin(t), 0.0) for t in turn])
    plug = _tool(whole, bone, Plug(ring, -knee.up, asked.thick, OVER))
    deep = _tool(whole, bone, Plug(ring, -knee.up, asked.thick + asked.depth, OVER))
    piece = np.maximum(rest, plug + half)
    if not (piece < -whole.voxel).any():
        raise InputError("depression", "the piece misses the bone.", "Check the landmarks.")
    if not asked.step:
        return _Depression(deep, plug, piece, None)
    down = Rigid.by(-asked.step * knee.up)
    top = moved(whole, "tibia", down).field("tibia")
    if asked.closed:
        # Its sides stay on those of its hole, which lean: only its ends are lower.
        plug = _tool(whole, bone, Plug(ring - asked.step * knee.up, -knee.up, asked.thick, OVER))
        return _Depression(deep, plug, np.maximum(np.maximum(rest, plug), top), top)
    lifted = whole.changed({"piece": piece, "plug": plug})
    piece, plug = (moved(lifted, name, down).field(name) for name in ("piece", "plug"))
    return _Depression(deep, plug, piece, top)


def _tool(bodies: Bodies, bone: Field, tool: Sheet | Plug) -> Field:
    """Signed distance of a tool near the bone, far elsewhere."""
    near = np.argwhere(bone <= 4.0 * bodies.voxel)
    result = np.full(bodies.grid.shape, 100.0, np.float32)
    result[tuple(near.T)] = tool.distance(bodies.grid.points(near))
    return result
