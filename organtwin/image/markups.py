"""Markups of 3D Slicer (``.mrk.json``): landmarks, lines, curves, planes, boxes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion
from organtwin.image.volume import PLAUSIBLE_EXTENT

#: What a written file says it follows.
SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/"
    "Schema/markups-schema-v1.0.3.json#"
)
#: RAS and LPS differ by the signs of the first two coordinates.
TURN = np.diag([-1.0, -1.0, 1.0])
#: Millimetres in the units that a file may be in.
UNITS = {"mm": 1.0, "um": 1e-3}
#: Sine of the angle by which axes that should be orthonormal may be off.
SKEW = 1e-3

type Points = NDArray[np.float64]


@dataclass(frozen=True)
class Landmarks:
    """Labelled points ("Fiducial" or "Point list" in Slicer).

    Attributes:
        name: Name of the list.
        points: Where the points lie (LPS, mm), shape (n, 3).
        labels: Label of each point.
        missing: Labels of points that were planned but not placed.
    """

    name: str
    points: Points
    labels: tuple[str, ...]
    missing: tuple[str, ...] = ()

    def point(self, label: str) -> Points:
        """The point of a label (LPS, mm), shape (3,).

        Raises:
            InputError: no point, or several, of that label.
        """
        places = [k for k, known in enumerate(self.labels) if known == label]
        if len(places) == 1:
            return self.points[places[0]]
        place = f"markups `{self.name}`"
        if places:
            raise InputError(place, f"{len(places)} points are called `{label}`.", "Rename them.")
        if label in self.missing:
            raise InputError(place, f"point `{label}` was not placed.", "Place it in 3D Slicer.")
        raise InputError(place, f"no point `{label}`.", suggestion(label, self.labels))


@dataclass(frozen=True)
class Line:
    """Straight line from one point to another.

    Attributes:
        name: Name of the line.
        start: First point (LPS, mm), shape (3,).
        end: Second point (LPS, mm), shape (3,).
        labels: Labels of both points.
    """

    name: str
    start: Points
    end: Points
    labels: tuple[str, str] = ("start", "end")

    @property
    def length(self) -> float:
        """Distance of both points (mm)."""
        return float(np.linalg.norm(self.end - self.start))


@dataclass(frozen=True)
class Curve:
    """Curve through points; how it runs between them is left to whoever uses it.

    Attributes:
        name: Name of the curve.
        points: Control points in their order (LPS, mm), shape (n, 3).
        labels: Label of each point.
        closed: Whether it returns from the last point to the first.
    """

    name: str
    points: Points
    labels: tuple[str, ...]
    closed: bool = False


@dataclass(frozen=True)
class Plane:
    """Plane with a direction.

    Attributes:
        name: Name of the plane.
        centre: A point of the plane, the centre of what Slicer draws (LPS, mm), shape (3,).
        axes: Columns are two unit vectors in the plane and its unit normal (LPS), shape (3, 3).
        size: Lengths along the first two axes that Slicer draws (mm), 0 if unknown, shape (2,).
    """

    name: str
    centre: Points
    axes: Points
    size: Points

    @property
    def normal(self) -> Points:
        """Unit normal (LPS), shape (3,)."""
        return self.axes[:, 2]

    def height(self, points: Points) -> Points:
        """Signed distance of points from the plane, positive where the normal points (mm)."""
        return np.asarray((np.asarray(points) - self.centre) @ self.normal)

    @classmethod
    def at(cls, name: str, centre: Points, normal: Points, size: float = 50.0) -> Plane:
        """Square plane through a point; the axes in it are chosen.

        Raises:
            InputError: the normal is zero.
        """
        return cls(
            name, np.asarray(centre, float), _frame(name, normal, None), np.array([size, size])
        )


@dataclass(frozen=True)
class Box:
    """Region of interest ("ROI" in Slicer).

    Attributes:
        name: Name of the box.
        centre: Centre (LPS, mm), shape (3,).
        axes: Columns are the unit vectors of the edges (LPS), shape (3, 3).
        size: Lengths of the edges (mm), shape (3,).
        inside_out: Whether what lies outside is meant.
    """

    name: str
    centre: Points
    axes: Points
    size: Points
    inside_out: bool = False

    def contains(self, points: Points) -> NDArray[np.bool_]:
        """Whether points (LPS, mm), shape (n, 3), belong to the region."""
        local = np.abs((np.asarray(points) - self.centre) @ self.axes)
        return np.asarray((local <= 0.5 * self.size).all(axis=-1) != self.inside_out)


type Markup = Landmarks | Line | Curve | Plane | Box


def read_markups(path: str | Path) -> tuple[Markup, ...]:
    """Read all markups of a file, in its order.

    Coordinates in RAS or in µm are converted. Points that were not placed are left out; landmarks
    remember their labels.

    Args:
        path: ``.mrk.json`` file of 3D Slicer.

    Raises:
        InputError: the file is missing or no markups, a coordinate system, a unit or a type is
            unknown, numbers are missing, or points lie metres apart.

    Source:
        3D Slicer, markups-schema-v1.0.3.json; for planes vtkMRMLMarkupsPlaneNode.h.
    """
    file = Path(path)
    entries = _entries(file)
    found = tuple(
        _markup(f"{file}, markup {number}", entry) for number, entry in enumerate(entries, 1)
    )
    for number, markup in enumerate(found, 1):
        _check_spread(f"{file}, markup {number} `{markup.name}`", markup)
    return found


def read_markup[T: (Landmarks, Line, Curve, Plane, Box)](
    path: str | Path, kind: type[T], name: str | None = None
) -> T:
    """The only markup of a kind in a file, or the one with a name.

    Raises:
        InputError: see `read_markups`; there is none, or there are several.
    """
    known = [markup for markup in read_markups(path) if isinstance(markup, kind)]
    matching = [markup for markup in known if name in (None, markup.name)]
    if len(matching) == 1:
        return matching[0]
    called = f" called `{name}`" if name else ""
    remedy = suggestion(name, [m.name for m in known]) if name and known else "Check the file."
    raise InputError(
        str(path), f"{len(matching) or 'no'} {kind.__name__.lower()} markups{called}.", remedy
    )


def write_markups(
    markups: Sequence[Markup], path: str | Path, *, coordinate_system: str = "LPS"
) -> None:
    """Write markups that 3D Slicer opens.

    Args:
        markups: What to write.
        path: File name that ends in ``.mrk.json``, by which Slicer knows it.
        coordinate_system: ``LPS`` (Slicer's choice too) or ``RAS``.

    Raises:
        InputError: another file name or coordinate system.
    """
    file = Path(path)
    if not file.name.endswith(".mrk.json"):
        raise InputError(
            str(file), "3D Slicer knows markups by `.mrk.json`.", "Change the file name."
        )
    turn = _turn(str(file), coordinate_system)
    entries = [
        {
            "type": _kind(markup),
            "name": markup.name,
            "coordinateSystem": coordinate_system,
            "coordinateUnits": "mm",
            **_content(markup, turn),
        }
        for markup in markups
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        json.dumps({"@schema": SCHEMA, "markups": entries}, indent=1, ensure_ascii=False) + "\n",
        encoding="utf-8",
    )


# --------------------------------------------------------------------------------------- reading


def _entries(file: Path) -> list[Mapping[str, Any]]:
    if not file.is_file():
        raise InputError(str(file), "no such file.", "Check the path.")
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise InputError(
            str(file), f"no JSON file ({error}).", "Save the markups of 3D Slicer as .mrk.json."
        ) from None
    entries = content.get("markups") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(
            str(file), "no list `markups` in it.", "Save the markups of 3D Slicer as .mrk.json."
        )
    if not entries:
        raise InputError(str(file), "holds no markups.", "Place them in 3D Slicer and save again.")
    return entries


def _markup(place: str, entry: Mapping[str, Any]) -> Markup:
    kind = str(entry.get("type"))
    name = str(entry.get("name", ""))
    place = f"{place} `{name}`" if name else place
    readers: dict[str, Callable[[str, str, Mapping[str, Any], Points, float], Markup]] = {
        "Fiducial": _landmarks,
        "Line": _line,
        "Curve": _curve,
        "ClosedCurve": _curve,
        "Plane": _plane,
        "ROI": _box,
    }
    if kind not in readers:
        raise InputError(place, f"type `{kind}` is not read.", suggestion(kind, readers))
    turn = _turn(place, str(entry.get("coordinateSystem", "LPS")))
    return readers[kind](place, name or kind, entry, turn, _unit(place, entry))


def _turn(place: str, system: str) -> Points:
    """Matrix that turns coordinates of a system into LPS, and back."""
    # Slicer wrote numbers for a while: 0 and 1 of vtkMRMLStorageNode.
    systems = {"LPS": np.eye(3), "RAS": TURN, "0": TURN, "1": np.eye(3)}
    if system not in systems:
        raise InputError(place, f"coordinateSystem `{system}` is unknown.", "Write `LPS` or `RAS`.")
    return systems[system]


def _unit(place: str, entry: Mapping[str, Any]) -> float:
    unit = entry.get("coordinateUnits", "mm")
    unit = unit[0] if isinstance(unit, list) and unit else unit
    if unit not in UNITS:
        raise InputError(
            place, f"coordinateUnits `{unit}` is unknown.", "Give the coordinates in mm."
        )
    return UNITS[unit]


def _vector(place: str, entry: Mapping[str, Any], key: str, length: int) -> Points:
    """Numbers of a key, as many as they should be."""
    try:
        vector = np.array(entry[key], float)
    except (KeyError, TypeError, ValueError):
        vector = np.full(length, np.nan)
    if vector.shape != (length,) or not np.isfinite(vector).all():
        raise InputError(
            place,
            f"`{key}` is {entry.get(key)!r} instead of {length} numbers.",
            "Save the markups in 3D Slicer again.",
        )
    return vector


def _control_points(
    place: str, entry: Mapping[str, Any], turn: Points, unit: float
) -> tuple[Points, tuple[str, ...], tuple[str, ...]]:
    """Placed points (LPS, mm), their labels, and the labels of those not placed."""
    points, labels, missing = [], [], []
    listed = entry.get("controlPoints", [])
    if not isinstance(listed, list) or not all(isinstance(point, dict) for point in listed):
        raise InputError(place, "`controlPoints` is no list.", "Save it in 3D Slicer again.")
    for number, point in enumerate(listed, 1):
        label = str(point.get("label") or number)
        if point.get("positionStatus", "defined") == "defined":
            where = f"{place}, point {number} `{label}`"
            points.append(unit * turn @ _vector(where, point, "position", 3))
            labels.append(label)
        else:
            missing.append(label)
    return np.array(points).reshape(-1, 3), tuple(labels), tuple(missing)


def _landmarks(
    place: str, name: str, entry: Mapping[str, Any], turn: Points, unit: float
) -> Landmarks:
    points, labels, missing = _control_points(place, entry, turn, unit)
    return Landmarks(name, points, labels, missing)


def _line(place: str, name: str, entry: Mapping[str, Any], turn: Points, unit: float) -> Line:
    points, labels, _ = _control_points(place, entry, turn, unit)
    if len(points) != 2:
        raise InputError(
            place, f"a line with {len(points)} placed point(s).", "Place both of its ends."
        )
    return Line(name, points[0], points[1], (labels[0], labels[1]))


def _curve(place: str, name: str, entry: Mapping[str, Any], turn: Points, unit: float) -> Curve:
    points, labels, _ = _control_points(place, entry, turn, unit)
    closed = entry["type"] == "ClosedCurve"
    if len(points) < (3 if closed else 2):
        raise InputError(
            place, f"a curve with {len(points)} placed point(s).", "Place more points."
        )
    return Curve(name, points, labels, closed)


def _plane(place: str, name: str, entry: Mapping[str, Any], turn: Points, unit: float) -> Plane:
    points, _, _ = _control_points(place, entry, turn, unit)
    centre = _centre(place, entry, points, turn, unit)
    if "normal" in entry or "orientation" in entry or "baseToNode" in entry:
        axes = _plane_axes(place, entry, turn)
    elif len(points) >= 3:
        # Planes of three points: x along the first two, the normal by the right-hand rule.
        axes = _frame(
            place, np.cross(points[1] - points[0], points[2] - points[0]), points[1] - points[0]
        )
    else:
        raise InputError(
            place, "neither a normal nor three points.", "Save the plane in 3D Slicer again."
        )
    size = _vector(place, entry, "size", 3)[:2] if "size" in entry else np.zeros(2)
    return Plane(name, centre, axes, unit * size)


def _centre(
    place: str, entry: Mapping[str, Any], points: Points, turn: Points, unit: float
) -> Points:
    if "center" in entry:
        return np.asarray(unit * turn @ _vector(place, entry, "center", 3))
    if not len(points):
        raise InputError(place, "neither a center nor a placed point.", "Place it in 3D Slicer.")
    return points[0]


def _plane_axes(place: str, entry: Mapping[str, Any], turn: Points) -> Points:
    """Axes from the orientation, the matrix or the normal, whichever the file has."""
    axes = None
    if "orientation" in entry:
        axes = turn @ _vector(place, entry, "orientation", 9).reshape(3, 3)
    elif "baseToNode" in entry:
        axes = turn @ _vector(place, entry, "baseToNode", 16).reshape(4, 4)[:3, :3]
    if "normal" not in entry:
        return _orthonormal(place, axes)
    normal = turn @ _vector(place, entry, "normal", 3)
    if axes is None:
        return _frame(place, normal, None)
    lengths = np.linalg.norm(axes[:, 2]) * np.linalg.norm(normal)
    if not axes[:, 2] @ normal >= (1.0 - SKEW) * lengths:
        raise InputError(
            place,
            "the normal and the orientation of this plane point to different directions.",
            "Delete the one that is wrong.",
        )
    return _frame(place, normal, axes[:, 0])


def _frame(place: str, normal: Points, first: Points | None) -> Points:
    """Orthonormal axes with a given normal, the first near a given direction."""
    normal = np.asarray(normal, float)
    length = np.linalg.norm(normal)
    if not length > 0.0:
        raise InputError(place, "a plane without direction.", "Place points that span a plane.")
    normal = normal / length
    if first is None:
        first = np.eye(3)[int(np.argmin(np.abs(normal)))]
    along = first - (first @ normal) * normal
    along /= np.linalg.norm(along)
    return np.column_stack([along, np.cross(normal, along), normal])


def _orthonormal(place: str, axes: Any) -> Points:
    lengths = np.linalg.norm(axes, axis=0)
    if not (lengths > 0.0).all():
        raise InputError(place, "an axis has no length.", "Save the markups in 3D Slicer again.")
    unit = axes / lengths
    if np.abs(unit.T @ unit - np.eye(3)).max() > SKEW:
        raise InputError(
            place, "the axes are not at right angles.", "Harden its transform in 3D Slicer."
        )
    return np.asarray(unit)


def _box(place: str, name: str, entry: Mapping[str, Any], turn: Points, unit: float) -> Box:
    shape = entry.get("roiType", "Box")
    if shape not in ("Box", "BoundingBox"):
        raise InputError(place, f"roiType `{shape}` is not read.", "Draw a box.")
    points, _, _ = _control_points(place, entry, turn, unit)
    axes = np.eye(3)
    if "orientation" in entry:
        axes = turn @ _vector(place, entry, "orientation", 9).reshape(3, 3)
    size = unit * _vector(place, entry, "size", 3)
    if not (size > 0.0).all():
        raise InputError(place, f"a box of size {size.tolist()} mm.", "Draw it in 3D Slicer.")
    return Box(
        name,
        _centre(place, entry, points, turn, unit),
        _orthonormal(place, axes),
        size,
        bool(entry.get("insideOut", False)),
    )


def _check_spread(place: str, markup: Markup) -> None:
    points = _positions(markup)
    spread = float(np.ptp(points, axis=0).max()) if len(points) else 0.0
    spread = max(spread, float(markup.size.max())) if isinstance(markup, Plane | Box) else spread
    if spread > PLAUSIBLE_EXTENT[1]:
        raise InputError(
            place,
            f"extends over {spread:.3g} mm; are the coordinates in micrometres instead of mm?",
            "Write coordinateUnits and coordinates in mm.",
        )


# --------------------------------------------------------------------------------------- writing


def _positions(markup: Markup) -> Points:
    match markup:
        case Landmarks() | Curve():
            return markup.points
        case Line():
            return np.array([markup.start, markup.end])
        case _:
            return markup.centre[None]


def _kind(markup: Markup) -> str:
    match markup:
        case Landmarks():
            return "Fiducial"
        case Curve(closed=closed):
            return "ClosedCurve" if closed else "Curve"
        case Box():
            return "ROI"
        case _:
            return type(markup).__name__


def _content(markup: Markup, turn: Points) -> dict[str, Any]:
    labels: tuple[str, ...] = (markup.name,)
    if isinstance(markup, Landmarks | Line | Curve):
        labels = markup.labels
    points = [
        {"id": str(number), "label": label, "position": position, "positionStatus": "defined"}
        for number, (label, position) in enumerate(
            zip(labels, (_positions(markup) @ turn).tolist(), strict=True), 1
        )
    ]
    match markup:
        case Landmarks():
            return {"controlPoints": points + _unplaced(markup.missing, len(points))}
        case Plane():
            return _plane_content(markup, turn) | {"controlPoints": points}
        case Box():
            return {
                "roiType": "Box",
                "center": (turn @ markup.centre).tolist(),
                "orientation": (turn @ markup.axes).ravel().tolist(),
                "size": markup.size.tolist(),
                "insideOut": markup.inside_out,
                "controlPoints": points,
            }
        case _:
            return {"controlPoints": points}


def _unplaced(labels: Sequence[str], placed: int) -> list[dict[str, Any]]:
    return [
        {"id": str(number), "label": label, "positionStatus": "undefined"}
        for number, label in enumerate(labels, placed + 1)
    ]


def _plane_content(plane: Plane, turn: Points) -> dict[str, Any]:
    axes, centre = turn @ plane.axes, turn @ plane.centre
    # Slicer turns the upper rows of both matrices of a file in LPS, also those of objectToBase.
    lps = np.allclose(turn, np.eye(3))
    object_to_base = np.diag([*np.diag(TURN if lps else np.eye(3)), 1.0])
    base_to_node = np.eye(4)
    base_to_node[:3, :3], base_to_node[:3, 3] = axes, centre
    x, y = 0.5 * plane.size
    return {
        "planeType": "PointNormal",
        "sizeMode": "absolute",
        "center": centre.tolist(),
        "normal": axes[:, 2].tolist(),
        "objectToBase": object_to_base.ravel().tolist(),
        "baseToNode": base_to_node.ravel().tolist(),
        "orientation": axes.ravel().tolist(),
        "size": [*plane.size.tolist(), 0.0],
        "planeBounds": [-x, x, -y, y],
    }
