"""Two pedicle screws in a vertebra: their way by landmarks, bone and screws in one mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.markups import Markup
from organtwin.image.volume import Image, LabelMap
from organtwin.implants.implant_files import load_implant
from organtwin.implants.screws import BoneScrew
from organtwin.landmarks.fits import fit_line, unit
from organtwin.landmarks.record import Landmark, Line, find
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.volume_mesh import TetrahedralMesh
from organtwin.orthopaedics.assembly import (
    Assembly,
    Fineness,
    Mask,
    meshed,
    retagged,
    rod_field,
    volume_errors,
)
from organtwin.orthopaedics.bone_model import CortexLaw, grown, painted
from organtwin.orthopaedics.holding import POTTED
from organtwin.surgery.bodies import Bodies, bodies_of_labels, pieces
from organtwin.surgery.cuts import remove
from organtwin.surgery.placement import Frame, planned, screw_at
from organtwin.surgery.screws import (
    Screw,
    breach_grade,
    clearance,
    purchase,
    shell,
    tissue_of_scan,
    trajectory,
)
from organtwin.surgery.sides import require_label_sides, require_named_sides, require_near
from organtwin.surgery.tools import Drill

type Points = NDArray[np.float64]

SIDES = {"screw_left": 1.0, "screw_right": -1.0}
#: Ways that are tried: convergence towards the middle and slope downwards (degrees), and how far
#: beside and over the canal's middle the pedicle is crossed (mm).
TURNS, SLOPES = np.arange(0.0, 31.0, 5.0), np.arange(-15.0, 16.0, 5.0)
ASIDE, OVER = np.arange(7.0, 27.0, 1.0), np.arange(-12.0, 17.0, 1.0)
#: The part of the way, before and after the crossing (mm), that must lie deep in the bone.
PEDICLE = (-7.0, 9.0)
#: What lies so far in front of the middle of the canal (mm) is the body of the vertebra.
AHEAD = 6.0
#: Largest angle (degrees) of an endplate's facets with the axis of the spine.
TILT = 40.0
#: Cortex and density without a scan, the same at all heights.
VERTEBRA = CortexLaw((0.0,), (1.0,), (180.0,), level=700.0)


@dataclass(frozen=True)
class PedicleScrewOptions:
    """How screws are chosen, placed and meshed.

    Attributes:
        vertebra: Name of its label.
        canal: Name of the label of the spinal canal or cord.
        family: Implant file of the screws.
        size: Its size.
        length: Length of the screws (mm); without it the longest whose tip stays in the bone.
        turn: Angle (rad) towards the middle, about the pedicle, from the way that keeps the most
            bone; not of lines that are placed by hand.
        short: Least distance of the tip from the far surface (mm), for lengths that are chosen.
        apart: Least distance of the thread from the canal (mm).
        head: Diameter and height of the head's cylinder in the mesh (mm).
        rise: How far the head's base stays off the bone along the axis (mm).
        cortical: Grey value from which bone is cortical (HU), for purchase.
        law: Cortex and density without a scan.
        outwards: By how much the vertebra's surface is moved along its normal (mm); ways of the
            screws are those of the unmoved one.
        fineness: Edge lengths.
    """

    vertebra: str = "L3"
    canal: str = "spinal_cord"
    family: str | Path = "pedicle_screws"
    size: str = "6.0"
    length: float | None = None
    turn: float = 0.0
    short: float = 6.0
    apart: float = 0.5
    head: tuple[float, float] = (9.0, 8.0)
    rise: float = 2.0
    cortical: float = 250.0
    law: CortexLaw = VERTEBRA
    outwards: float = 0.0
    fineness: Fineness = field(default_factory=lambda: Fineness(2.0, 1.4, 1.2, 0.8))


@dataclass(frozen=True)
class _Spine:
    """A vertebra and its directions."""

    bodies: Bodies
    bone: TriangleSurface
    canal: TriangleSurface
    middle: Points
    frame: Frame

    @property
    def front(self) -> Points:
        return np.asarray(-self.frame.axes[1])


def pedicle_screw(
    labels: LabelMap,
    options: PedicleScrewOptions | None = None,
    *,
    scan: Image | None = None,
    overrides: str | Path | Sequence[Markup] | None = None,
) -> Assembly:
    """A vertebra with a screw through each pedicle: ``vertebra``, ``screw_left``, ``screw_right``.

    A way crosses the pedicle beside the canal where the least depth of its axis in the bone and its
    distance from the canal are largest. The thread is a cylinder of its mean diameter; its
    interface is calibrated by `BoneScrew.interface_strength`.

    Args:
        labels: Vertebra and canal.
        options: See there.
        scan: CT (HU) in the same coordinates; cortex and density follow the law without it.
        overrides: Lines ``screw_left`` and ``screw_right`` from head to tip, moved in 3D Slicer.

    Raises:
        InputError: a label is missing or the sides are swapped; a line lies off the bone or on the
            other side; a screw lies outside the bone, or enters the canal.
        MeshError: no valid mesh came out.
    """
    asked = options or PedicleScrewOptions()
    require_label_sides(labels)
    spine = _spine(labels, asked)
    screws = [_bone_screw(asked, length) for length in _lengths(asked)]
    plan = [Landmark(name, _way(spine, name, screws, asked)) for name in SIDES]
    lines = planned(plan, overrides)
    require_named_sides(lines, spine.middle, place="pedicle screws")
    require_near(lines, spine.bone, place="pedicle screws")
    drawn = {
        name: screw_at(find(lines, name), screws[0].diameter, screws[0].core) for name in SIDES
    }
    spine = _moved(spine, asked.outwards)
    notes: list[str] = []
    fit: dict[str, float] = {}
    for screw in drawn.values():
        _judge(screw, spine, asked, scan, fit, notes)
    bodies = _bodies(spine, drawn, screws[0], asked, notes)
    done = meshed(bodies, asked.fineness, implants=tuple(SIDES), place="pedicle screws")
    mesh = _named(done.mesh, spine, drawn)
    fit |= {f"volume error of {n}": e for n, e in volume_errors(mesh, bodies).items()}
    if scan is None:
        notes.append(f"No scan: a cortex of {asked.law.thickness[0]:g} mm ({asked.law.source}).")
        scan = painted(spine.bone, asked.law, spine.frame.axes[2], spine.middle, 1.0)
    ends = {f"{n}_{what}": at for n, s in drawn.items() for what, at in
            (("entry", s.entry), ("tip", s.tip))}  # fmt: skip
    made = load_implant(asked.family, asked.size, length=screws[0].length)
    return Assembly(
        f"pedicle screws in {asked.vertebra}", mesh, ("vertebra",),
        dict.fromkeys(SIDES, str(made.material)), filled=(),
        pairs=tuple(("vertebra", name) for name in SIDES),
        frames={"vertebra": spine.frame} | {
            n: Frame.of(s.entry, s.axis, spine.frame.axes[2]) for n, s in drawn.items()
        },
        points={"canal": spine.middle, **ends}, fit=fit, notes=(*notes, *done.decisions), scan=scan,
    )  # fmt: skip


def _lengths(asked: PedicleScrewOptions) -> list[float]:
    """Lengths that may be taken (mm), the longest first."""
    return [asked.length] if asked.length else [50.0, 45.0, 40.0, 35.0, 30.0]


def _bone_screw(asked: PedicleScrewOptions, length: float) -> BoneScrew:
    made = load_implant(asked.family, asked.size, length=length)
    if not isinstance(made, BoneScrew):
        raise InputError("pedicle screw family", "it holds no screws.", "Try pedicle_screws.")
    return made


def _spine(labels: LabelMap, asked: PedicleScrewOptions) -> _Spine:
    """Bodies around the vertebra, and its frame by the canal beside it."""
    edge = asked.fineness.voxel
    bone = bodies_of_labels(labels, (asked.vertebra,), voxel=edge, margin=12.0)
    field_ = pieces(bone, asked.vertebra)[0]
    bone = Bodies(bone.grid, {"vertebra": field_})
    surface = bone.surface("vertebra")
    cord = bodies_of_labels(labels, (asked.canal,), voxel=edge).surface(asked.canal)
    low, high = surface.points[:, 2].min(), surface.points[:, 2].max()
    near = cord.points[(cord.points[:, 2] > low - 5.0) & (cord.points[:, 2] < high + 5.0)]
    if len(near) < 20:
        raise InputError(
            "pedicle screws", f"`{asked.canal}` does not pass `{asked.vertebra}`.",
            "Check both labels.",
        )  # fmt: skip
    steps = np.linspace(near[:, 2].min(), near[:, 2].max(), 12)
    rings = [near[np.abs(near[:, 2] - z) < 3.0] for z in steps]
    _, up, _ = fit_line(np.array([ring.mean(axis=0) for ring in rings if len(ring) > 5]))
    up = up if up[2] > 0.0 else -up
    # The body is what lies in front of the canal: most of the bone, its middle far forwards.
    places = bone.grid.points(np.argwhere(bone.field("vertebra") < 0.0))
    centre = places.mean(axis=0)
    start = near.mean(axis=0)
    middle = start + float((centre - start) @ up) * up
    for _ in range(3):
        front = unit((centre - middle) - ((centre - middle) @ up) * up)
        centre = places[(places - middle) @ front > AHEAD].mean(axis=0)
        middle = start + float((centre - start) @ up) * up
    return _Spine(bone, surface, cord, middle, Frame.of(centre, up, np.cross(up, front)))


def _moved(spine: _Spine, by: float) -> _Spine:
    """The same with the surface of the bone moved outwards (mm)."""
    if not by:
        return spine
    bodies = grown(spine.bodies, "vertebra", by)
    return replace(spine, bodies=bodies, bone=bodies.surface("vertebra"))


def _way(spine: _Spine, name: str, screws: list[BoneScrew], asked: PedicleScrewOptions) -> Line:
    """The way through a pedicle that keeps the most bone around it."""
    aside = SIDES[name] * spine.frame.axes[0]
    up, front = spine.frame.axes[2], spine.front
    a, b, t, s = (x.ravel() for x in np.meshgrid(ASIDE, OVER, np.radians(TURNS),
                                                 np.radians(SLOPES), indexing="ij"))  # fmt: skip
    start = spine.middle + a[:, None] * aside + b[:, None] * up
    way = np.cos(t)[:, None] * front - np.sin(t)[:, None] * aside - np.tan(s)[:, None] * up
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    along = np.arange(PEDICLE[0], PEDICLE[1] + 0.1, 2.0)
    places = start[:, None] + along[:, None] * way[:, None]
    depth = -spine.bodies.at("vertebra", places.reshape(-1, 3)).reshape(len(a), -1).min(axis=1)
    # Further on in the body it shall stay clear of the walls too, but less counts there.
    ahead = start[:, None] + np.array([18.0, 26.0])[:, None] * way[:, None]
    body = -spine.bodies.at("vertebra", ahead.reshape(-1, 3)).reshape(len(a), -1).min(axis=1)
    score = np.minimum(depth, 0.5 * body)
    best = int(np.argmax(score))
    if score[best] <= 0.0:
        raise InputError(
            name, "no way through the pedicle stays in the bone.",
            "Place its line in 3D Slicer, or check the labels.",
        )  # fmt: skip
    axis = _turned(way[best], up, -SIDES[name] * asked.turn)
    reach = np.arange(-45.0, 70.0, 0.25)
    inside = spine.bodies.at("vertebra", start[best] + reach[:, None] * axis) < 0.0
    zero = int(np.argmin(np.abs(reach)))
    first = zero - int(np.argmin(inside[: zero + 1][::-1]))
    last = zero + int(np.argmin(inside[zero:]))
    through = float(reach[last] - reach[first])
    length = next((x.length for x in screws if x.length - asked.rise <= through - asked.short),
                  screws[-1].length)  # fmt: skip
    entry = start[best] + (float(reach[first]) - asked.rise) * axis
    return Line(entry, entry + length * axis)


def _turned(way: Points, axis: Points, angle: float) -> Points:
    """A direction turned about a unit vector by an angle (rad), right-handed."""
    along = (way @ axis) * axis
    across = way - along
    return np.asarray(along + np.cos(angle) * across + np.sin(angle) * np.cross(axis, across))


def _judge(
    screw: Screw,
    spine: _Spine,
    asked: PedicleScrewOptions,
    scan: Image | None,
    fit: dict[str, float],
    notes: list[str],
) -> None:
    """Purchase, breach and density of a screw."""
    if scan is None:
        tissue = shell(spine.bone, asked.law.thickness[0])
    else:
        tissue = tissue_of_scan(scan, spine.bone, asked.cortical)
    held = purchase(screw, tissue)
    free = clearance(screw, spine.canal)
    if free < 0.0:
        raise InputError(
            screw.name, f"it enters the spinal canal by {-free:.1f} mm.", "Place it laterally."
        )
    if free < asked.apart:
        notes.append(f"`{screw.name}` passes the canal at {free:.1f} mm.")
    fit |= {
        f"{screw.name}: cortical thread mm": held.cortical,
        f"{screw.name}: trabecular thread mm": held.trabecular,
        f"{screw.name}: thread outside mm": held.outside,
        f"{screw.name}: tip beyond the far cortex mm": held.tip_beyond,
        f"{screw.name}: breach of the wall mm": held.wall,
        f"{screw.name}: distance from the canal mm": free,
        f"{screw.name}: length mm": screw.length,
    }
    notes.append(f"`{screw.name}`: breach of grade {breach_grade(held.wall)}.")
    if scan is not None:
        along = trajectory(screw, scan)
        fit |= {
            f"{screw.name}: density along it HU": along.mean,
            f"{screw.name}: density of its loosest quarter HU": along.lowest,
        }
        notes.extend(f"`{screw.name}`: {note}" for note in along.notes)


def _bodies(
    spine: _Spine, drawn: dict[str, Screw], made: BoneScrew, asked: PedicleScrewOptions,
    notes: list[str],
) -> Bodies:  # fmt: skip
    """Vertebra and screws without gaps, the heads clear of the bone."""
    bodies, edge = spine.bodies, asked.fineness.voxel
    wide, high = asked.head
    for name, screw in drawn.items():
        back = screw.entry - high * screw.axis
        around = Drill(back - 20.0 * screw.axis, screw.entry + 1.5 * edge * screw.axis,
                       wide + 3.0 * edge)  # fmt: skip
        if float(around.distance(spine.bone.points).min()) < 0.0:
            cleared = remove(bodies, around, ("vertebra",), place=name)
            bodies = cleared.bodies
            notes.append(
                f"{cleared.volumes['vertebra']:.0f} mm3 of bone made room for the head of `{name}`."
            )
        shank = Drill(screw.entry - 0.5 * high * screw.axis, screw.tip, made.cylinder, 120.0)
        head = Drill(back, screw.entry, wide)
        own = np.minimum(rod_field(bodies, shank), rod_field(bodies, head))
        bodies = bodies.changed({
            "vertebra": np.maximum(bodies.field("vertebra"), -own), name: own
        })  # fmt: skip
    whole = pieces(bodies, "vertebra")
    return bodies.changed({"vertebra": whole[0]})


def _named(mesh: TetrahedralMesh, spine: _Spine, drawn: dict[str, Screw]) -> TetrahedralMesh:
    """Names of the endplates, of the body's lower part beside one, and of the heads."""
    mesh = retagged(mesh, "vertebra-outside", "vertebra_surface")
    at, front = spine.frame, spine.front
    for name, sign in (("endplate_upper", 1.0), ("endplate_lower", -1.0)):

        def inside(middles: Points, normals: Points, sign: float = sign) -> Mask:
            ahead = (middles - spine.middle) @ front > AHEAD
            level = sign * ((middles - at.origin) @ at.axes[2])
            tilted = sign * (normals @ at.axes[2]) >= np.cos(np.radians(TILT))
            return np.asarray(ahead & tilted & (level > 5.0))

        mesh = retagged(mesh, "vertebra_surface", name, inside)

    def low(middles: Points, _: Points) -> Mask:
        ahead = (middles - spine.middle) @ front > AHEAD
        return np.asarray(ahead & ((middles - at.origin) @ at.axes[2] < 0.0))

    mesh = retagged(mesh, "vertebra_surface", POTTED, low)
    for name, screw in drawn.items():

        def off(middles: Points, _: Points, screw: Screw = screw) -> Mask:
            return np.asarray((middles - screw.entry) @ screw.axis < 0.1)

        mesh = retagged(mesh, f"{name}-outside", f"{name}_head", off)
    return mesh
