"""Landmarks as 3D Slicer's markups, and markups that a person placed as landmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion
from organtwin.image import markups
from organtwin.landmarks.fits import fit_plane, fit_sphere
from organtwin.landmarks.record import (
    KINDS,
    Curve,
    Geometry,
    Landmark,
    Line,
    Plane,
    Point,
    Sphere,
)

type Vector = NDArray[np.float64]

#: Differences that saving and reading again make (mm; of normals without unit).
ROUNDED = 0.002
#: Points on a sphere that carry it through a markups file.
SPHERE = np.concatenate([np.eye(3), -np.eye(3)])


def markups_of(landmarks: Sequence[Landmark]) -> tuple[markups.Markup, ...]:
    """Markups to look at, move and save in 3D Slicer; the names stay.

    Points go into one list, ``points``. A sphere becomes a list of six points on it.
    """
    points = [found for found in landmarks if isinstance(found.geometry, Point)]
    others = [_markup(found) for found in landmarks if not isinstance(found.geometry, Point)]
    if not points:
        return tuple(others)
    at = np.array([found.geometry.at for found in points if isinstance(found.geometry, Point)])
    listed = markups.Landmarks("points", at, tuple(found.name for found in points))
    return (listed, *others)


def _markup(landmark: Landmark) -> markups.Markup:
    name = landmark.name
    match landmark.geometry:
        case Plane(centre, normal, diameter):
            return markups.Plane.at(name, centre, normal, diameter or 30.0)
        case Line(start, end):
            return markups.Line(name, start, end)
        case Curve(points):
            return markups.Curve(name, points, tuple(str(k + 1) for k in range(len(points))))
        case Sphere(centre, radius):
            labels = tuple(f"{name}-{k + 1}" for k in range(len(SPHERE)))
            return markups.Landmarks(name, centre + radius * SPHERE, labels)
        case Point(at):
            return markups.Landmarks(name, at[None, :], (name,))


def placed(
    found: Sequence[markups.Markup], kinds: Mapping[str, type], source: str
) -> dict[str, Landmark]:
    """Landmarks by name from markups.

    The name of a plane, line or curve, and of a list of points for a plane (three or more) or a
    sphere (four or more), is the landmark's; in other lists the points' labels are. Capitals,
    blanks and hyphens don't matter.

    Args:
        found: Markups.
        kinds: Name → kind of all landmarks there are.
        source: What the landmarks are marked with.

    Raises:
        InputError: a name is no landmark's, occurs twice, or belongs to another kind.
    """
    landmarks: dict[str, Landmark] = {}
    for markup in found:
        for name, geometry in _geometries(markup, kinds, source):
            if name not in kinds:
                raise InputError(source, f"no landmark `{name}`.", suggestion(name, kinds))
            if not isinstance(geometry, kinds[name]):
                raise InputError(
                    source,
                    f"`{name}` is a {KINDS[type(geometry)]}, it should be a {KINDS[kinds[name]]}.",
                    "Place it with the other tool of 3D Slicer.",
                )
            if name in landmarks:
                raise InputError(source, f"`{name}` was placed twice.", "Delete one of them.")
            landmarks[name] = Landmark(name, geometry, source=source)
    return landmarks


def plain(name: str) -> str:
    """A name in small letters with underscores."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _geometries(
    markup: markups.Markup, kinds: Mapping[str, type], source: str
) -> list[tuple[str, Geometry]]:
    name = plain(markup.name)
    match markup:
        case markups.Plane(_, centre, axes, size):
            return [(name, Plane(centre, axes[:, 2], float(np.min(size))))]
        case markups.Line(_, start, end):
            return [(name, Line(start, end))]
        case markups.Curve(_, points, _):
            return [(name, Curve(points))]
        case markups.Landmarks(_, points, labels):
            return _from_points(name, points, labels, kinds.get(name), source)
    raise InputError(source, f"`{markup.name}` is a box, no landmark.", "Leave it out.")


def _from_points(
    name: str, points: Vector, labels: Sequence[str], kind: type | None, source: str
) -> list[tuple[str, Geometry]]:
    """What a list of points means: the plane or sphere of its name, or points with names."""
    needed = {Plane: 3, Sphere: 4}.get(kind or Point)
    if needed is None:
        return [(plain(label), Point(at)) for label, at in zip(labels, points, strict=True)]
    if len(points) < needed:
        raise InputError(
            source, f"`{name}` has {len(points)} points; it takes {needed}.", "Place more."
        )
    if kind is Plane:
        fit = fit_plane(points)
        turning = np.cross(points[1] - points[0], points[2] - points[0])
        normal = fit.normal if fit.normal @ turning >= 0.0 else -fit.normal
        across = float(np.linalg.norm(points - fit.centre, axis=1).mean())
        return [(name, Plane(fit.centre, normal, 2.0 * across))]
    ball = fit_sphere(points)
    return [(name, Sphere(ball.centre, ball.radius))]


def same(one: Geometry, other: Geometry) -> bool:
    """Whether two geometries agree as far as a file of markups rounds them."""
    if type(one) is not type(other):
        return False
    values = [(np.asarray(v), np.asarray(getattr(other, k))) for k, v in _shape(one).items()]
    return all(a.shape == b.shape and bool(np.all(np.abs(a - b) < ROUNDED)) for a, b in values)


def _shape(geometry: Geometry) -> Mapping[str, Vector | float]:
    """What markups keep of a geometry: no radii of curves, no unknown diameter."""
    kept = dict(vars(geometry))
    kept.pop("radii", None)
    if not kept.get("diameter", 1.0):
        del kept["diameter"]
    return kept
