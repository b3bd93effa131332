"""Taking bone away and dividing it: sawing, drilling, reaming, broaching, resecting a neck."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.markups import Plane as MarkupPlane
from organtwin.landmarks.cuts import cut
from organtwin.landmarks.fits import angle, unit
from organtwin.landmarks.record import Landmark, Line, Plane, Point, Sphere, find
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.surgery.bodies import Bodies, pieces
from organtwin.surgery.tools import Common, HalfSpace, Tool

type Points = NDArray[np.float64]
type Field = NDArray[np.float32]

#: Less than this is nothing (voxels).
NOTHING = 0.5
#: How exactly a neck's cut is placed along its axis (mm).
PLACED = 0.01
#: Smallest cosine of directions that point the same way.
ALONG = 0.05


@dataclass(frozen=True)
class Removed:
    """Bodies after a tool has been through.

    Attributes:
        bodies: What is left.
        volumes: Body → volume that was taken from it (mm³).
        notes: What a surgeon should know, one sentence each.
    """

    bodies: Bodies
    volumes: Mapping[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Division:
    """A body cut in two.

    Attributes:
        bodies: All bodies; the divided one is replaced by its parts.
        parts: Names of the part in front of the plane and of the one behind.
        volumes: Volume of each part (mm³).
        area: Area of the cut (mm²).
        lost: Volume that went with the kerf or the gap (mm³).
        notes: What a surgeon should know, one sentence each.
    """

    bodies: Bodies
    parts: tuple[str, str]
    volumes: Mapping[str, float]
    area: float
    lost: float
    notes: tuple[str, ...] = ()


def tool_field(bodies: Bodies, tool: Tool, names: Sequence[str]) -> Field:
    """Signed distance (mm) of a tool on the grid; far off the named bodies it may be any positive.

    Args:
        bodies: Bodies whose grid it is.
        tool: The tool.
        names: Bodies near which it is needed.
    """
    depth = np.min([bodies.field(name) for name in names], axis=0)
    near = np.argwhere(depth <= 2.0 * bodies.voxel)
    result = np.full(bodies.grid.shape, bodies.grid.extent.max(), np.float32)
    if len(near):
        result[tuple(near.T)] = tool.distance(bodies.grid.points(near))
    return result


def remove(
    bodies: Bodies, tool: Tool, names: Sequence[str] | None = None, *, place: str = "tool"
) -> Removed:
    r"""Take what a tool covers from bodies: :math:`d \leftarrow \max(d, -d_{tool})`.

    Args:
        bodies: All bodies.
        tool: Drill, reamer, broach, saw.
        names: Bodies that it takes from, all without it.
        place: What messages call it.

    Raises:
        InputError: it takes nothing, with the distance by which it misses; or it leaves nothing.
    """
    touched = tuple(names or bodies.names)
    removal = tool_field(bodies, tool, touched)
    volumes: dict[str, float] = {}
    left: dict[str, Field] = {}
    notes: list[str] = []
    for name in touched:
        before = bodies.field(name)
        after = np.maximum(before, -removal)
        made = bodies.changed({name: after})
        volumes[name] = bodies.volume(name) - made.volume(name)
        left[name] = after
        if not (after < 0.0).any():
            raise InputError(place, f"nothing is left of `{name}`.", "Take a smaller one.")
        were, are = len(pieces(bodies, name)), len(pieces(made, name))
        if are > were:
            notes.append(f"`{name}` is in {are} pieces after {place}, {were} before.")
    if sum(volumes.values()) < NOTHING * bodies.voxel**3:
        _refuse_miss(bodies, removal, touched, place)
    return Removed(bodies.changed(left), volumes, tuple(notes))


def osteotomy(
    bodies: Bodies,
    name: str,
    plane: Plane | MarkupPlane,
    parts: tuple[str, str],
    *,
    kerf: float = 0.0,
    place: str = "osteotomy",
) -> Division:
    """Saw a body in two at a plane.

    Args:
        bodies: All bodies.
        name: The body.
        plane: Middle of the cut; its normal points into the first part.
        parts: Names of the part in front of the plane and of the one behind.
        kerf: Width that the blade takes (mm).
        place: What messages call it.

    Raises:
        InputError: the plane misses the body, or a part's name is taken.
    """
    return divide(bodies, name, HalfSpace(plane.centre, plane.normal), parts, gap=kerf, place=place)


def divide(
    bodies: Bodies,
    name: str,
    border: Tool,
    parts: tuple[str, str],
    *,
    gap: float = 0.0,
    place: str = "cut",
) -> Division:
    r"""Divide a body at the border of a tool: the part inside it, and the rest.

    .. math:: d_1 = \max(d, d_{tool} + g / 2), \quad d_2 = \max(d, -d_{tool} + g / 2)

    Args:
        bodies: All bodies.
        name: The body.
        border: Half-space, sheet, plug or any other tool.
        parts: Names of the part inside the tool and of the rest.
        gap: Distance that the two are apart (mm); without one they share the cut.
        place: What messages call it.

    Raises:
        InputError: all of the body is on one side, a name is taken, or the gap is negative.
    """
    _check_names(bodies, name, parts, gap, place)
    whole = bodies.field(name)
    side = tool_field(bodies, border, (name,))
    first = np.maximum(whole, side + np.float32(0.5 * gap))
    second = np.maximum(whole, np.float32(0.5 * gap) - side)
    for part, field, sign in zip(parts, (first, second), (1.0, -1.0), strict=True):
        if not (field < 0.0).any():
            # A voxel's centre lies as deep in the bone as its distance says.
            nearest = float((sign * side + whole)[whole < 0.0].min())
            raise InputError(
                place,
                f"it misses `{name}`: nothing would be `{part}`; the nearest place of the bone is "
                f"{max(nearest, 0.0):.1f} mm away.",
                "Check the points and that they are LPS in mm; files of other programs may be RAS.",
            )
    made = bodies.changed({name: None}).changed({parts[0]: first, parts[1]: second})
    volumes = {part: made.volume(part) for part in parts}
    notes = [
        f"`{part}` is in {len(found)} pieces."
        for part in parts
        if len(found := pieces(made, part)) > 1
    ]
    area = _cut_area(bodies, whole, side)
    lost = bodies.volume(name) - sum(volumes.values())
    return Division(made, parts, volumes, area, lost, tuple(notes))


def resection_plane(
    bone: TriangleSurface,
    landmarks: Iterable[Landmark],
    *,
    height: float,
    tilt: float | None = None,
) -> Plane:
    """Plane of a femoral neck resection from landmarks; its normal points to the head.

    It holds the direction normal to shaft and neck, so that it is seen on edge from the front of
    the neck. It lies where its medial end, the lowest place of the section's outline, is as high
    above the lesser trochanter as wanted: the calcar that is left, as surgeons measure it.

    Args:
        bone: Closed surface of the femur.
        landmarks: ``femoral_head_centre`` or ``femoral_head``, ``femoral_neck_axis``,
            ``femoral_shaft_axis`` and ``lesser_trochanter``, of `organtwin.landmarks`.
        height: Of the medial end above the lesser trochanter, along the shaft (mm).
        tilt: Angle between the cut and the shaft's axis (degrees); square to the neck without it.

    Raises:
        InputError: a landmark is missing or of another kind, the neck does not rise, or no cut
            between head and shaft has that height.
    """
    known = {landmark.name: landmark for landmark in landmarks}
    head = _head_centre(known)
    low, up = _trochanter(known), _upwards(known)
    neck = _line(known, "femoral_neck_axis")
    along = unit(neck.end - neck.start)
    along = along if (head - low) @ along > 0.0 else -along
    rise = float(along @ up)
    if rise < ALONG:
        raise InputError("neck resection", "the neck does not rise.", "Check its landmarks.")
    normal = along
    if tilt is not None:
        # A cut at the angle t with the shaft has its normal at 90° - t from it.
        inward = unit(along - rise * up)
        normal = unit(np.sin(np.radians(90.0 - tilt)) * inward + np.sin(np.radians(tilt)) * up)

    def medial(down: float) -> float:
        return _lowest(bone, Plane(head - down * along, normal), known)

    start = float((head - low) @ up) / rise  # where the neck's axis is as low as the trochanter
    upper, lower = medial(0.0), medial(start)
    if not lower <= height <= upper:
        raise InputError(
            "neck resection", f"no cut {height:g} mm above the lesser trochanter is on the neck.",
            f"Between head and shaft it can be {lower:.0f} to {upper:.0f} mm.",
        )  # fmt: skip
    near, far = 0.0, start
    while far - near > PLACED:
        middle = 0.5 * (near + far)
        near, far = (middle, far) if medial(middle) > height else (near, middle)
    return Plane(head - 0.5 * (near + far) * along, normal)


def neck_resection(
    bodies: Bodies,
    name: str,
    landmarks: Sequence[Landmark],
    *,
    height: float,
    tilt: float | None = None,
    stop: float | None = None,
    kerf: float = 0.0,
    parts: tuple[str, str] | None = None,
) -> Division:
    """Saw off a femoral head; see `resection_plane`.

    Args:
        bodies: All bodies.
        name: The femur.
        landmarks: Of this femur.
        height: Above the lesser trochanter (mm).
        tilt: Angle between the cut and the shaft's axis (degrees); square to the neck without it.
        stop: Where a second cut along the shaft ends the first one (mm from the shaft's axis,
            positive towards the head), so that the greater trochanter stays; none without it.
        kerf: Width that the blade takes (mm).
        parts: Names of the head and of the rest; ``<name>_head`` and ``<name>`` without it.

    Raises:
        InputError: see `resection_plane` and `osteotomy`; the landmarks are not those of this bone;
            the trochanter would come off with the head.
    """
    place = f"neck resection of `{name}`"
    known = {landmark.name: landmark for landmark in landmarks}
    head = _head_centre(known)
    off = float(bodies.at(name, head[None])[0])
    if off > 0.0:
        raise InputError(
            place, f"the head's centre lies {off:.1f} mm outside the bone.",
            "Are these the landmarks of the other side, or RAS instead of LPS?",
        )  # fmt: skip
    plane = resection_plane(bodies.surface(name), landmarks, height=height, tilt=tilt)
    if plane.height(_trochanter(known)[None])[0] > 0.0:
        raise InputError(
            place, "the lesser trochanter would come off with the head.", "Cut higher."
        )
    called = parts or (f"{name}_head", name)
    border: Tool = HalfSpace(plane.centre, plane.normal)
    up = _upwards(known)
    if stop is not None:
        shaft = _line(known, "femoral_shaft_axis").start
        beside = head - shaft - float((head - shaft) @ up) * up
        border = Common((border, HalfSpace(shaft + stop * unit(beside), beside)))
    made = divide(bodies, name, border, called, gap=kerf, place=place)
    with_shaft = 90.0 - angle(up, plane.normal)
    note = (
        f"The cut makes {abs(with_shaft):.0f} degrees with the shaft; it leaves {height:.1f} mm of "
        "the medial neck above the lesser trochanter."
    )
    return Division(
        made.bodies, made.parts, made.volumes, made.area, made.lost, (*made.notes, note)
    )


def calcar_height(bone: TriangleSurface, plane: Plane, landmarks: Iterable[Landmark]) -> float:
    """Height (mm) of the lowest place of a neck cut above the lesser trochanter, along the shaft.

    Args:
        bone: Closed surface of the femur before the cut.
        plane: The cut; of several outlines the one nearest to its centre counts.
        landmarks: Of this femur.

    Raises:
        InputError: the cut misses the bone.
    """
    known = {landmark.name: landmark for landmark in landmarks}
    lowest = _lowest(bone, plane, known)
    if not np.isfinite(lowest):
        raise InputError("calcar", "the cut misses the femur.", "Check the plane.")
    return lowest


def _lowest(bone: TriangleSurface, plane: Plane, known: Mapping[str, Landmark]) -> float:
    """See `calcar_height`; minus infinity where the cut misses the bone."""
    section = cut(bone, plane.centre, plane.normal)
    if not len(section.segments):
        return -np.inf
    away = np.linalg.norm(section.segments.mean(axis=1) - plane.centre, axis=1)
    near = section.outline == section.outline[np.argmin(away)]
    places = section.segments[near].reshape(-1, 3)
    return float(((places - _trochanter(known)) @ _upwards(known)).min())


def _cut_area(bodies: Bodies, whole: Field, side: Field) -> float:
    r"""Area of a border inside a body (mm²), with shares c of voxels and a hat of width w = 2 h.

    .. math:: A = h^3 \sum_i c_i \, \frac{1}{w} \max(0, 1 - |d_{tool,i}| / w)
    """
    width = 2.0 * bodies.voxel
    share = np.clip(0.5 - whole / bodies.voxel, 0.0, 1.0)
    hat = np.maximum(0.0, 1.0 - np.abs(side) / width) / width
    return float(np.vdot(share, hat)) * bodies.voxel**3


def _check_names(bodies: Bodies, name: str, parts: tuple[str, str], gap: float, place: str) -> None:
    bodies.field(name)
    taken = [part for part in parts if part in bodies.distances and part != name]
    if taken or parts[0] == parts[1]:
        what = taken[0] if taken else parts[0]
        raise InputError(place, f"the name `{what}` is taken.", "Call the parts differently.")
    if not gap >= 0.0:
        raise InputError(place, f"a gap of {gap:g} mm.", "Give 0 mm or more.")


def _refuse_miss(bodies: Bodies, removal: Field, names: Sequence[str], place: str) -> None:
    depth = np.min([bodies.field(name) for name in names], axis=0)
    near = removal < bodies.grid.extent.max()
    inside = near & (depth < 0.0)
    miss = float((removal + depth)[inside].min()) if inside.any() else np.inf
    raise InputError(
        place,
        f"it takes nothing from {', '.join(f'`{n}`' for n in names)}; it passes {miss:.1f} mm off.",
        "Check its points: LPS in mm; files of other programs may be RAS.",
    )


def _head_centre(known: Mapping[str, Landmark]) -> Points:
    for name in ("femoral_head_centre", "femoral_head"):
        if name in known:
            geometry = known[name].geometry
            if isinstance(geometry, Point):
                return geometry.at
            if isinstance(geometry, Sphere):
                return geometry.centre
    raise InputError("landmarks", "no landmark `femoral_head_centre`.", "Find or place it.")


def _trochanter(known: Mapping[str, Landmark]) -> Points:
    geometry = find(known.values(), "lesser_trochanter").geometry
    if not isinstance(geometry, Point):
        raise InputError("landmarks", "`lesser_trochanter` is no point.", "Place it as a point.")
    return geometry.at


def _upwards(known: Mapping[str, Landmark]) -> Points:
    """Direction of the shaft towards the head."""
    shaft = _line(known, "femoral_shaft_axis")
    up = unit(shaft.end - shaft.start)
    return up if (_head_centre(known) - _trochanter(known)) @ up > 0.0 else -up


def _line(known: Mapping[str, Landmark], name: str) -> Line:
    geometry = find(known.values(), name).geometry
    if not isinstance(geometry, Line):
        raise InputError("landmarks", f"`{name}` is no line.", "Place it as a line.")
    return geometry
