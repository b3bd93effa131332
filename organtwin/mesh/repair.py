"""Surfaces mended until a volume mesher can fill them, with every change told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyvista as pv
import vtk
from numpy.typing import NDArray

from organtwin.errors import InputError, MeshError
from organtwin.mesh.closing import close
from organtwin.mesh.defects import SurfaceReport, inspect, places_of
from organtwin.mesh.mending import (
    drop_sheets,
    drop_small,
    face_one_way,
    face_outwards,
    merge,
    remove_degenerate,
    remove_duplicates,
    take_apart,
)
from organtwin.mesh.patchwork import PATCH, WALL, Change, Patchwork, RepairOptions
from organtwin.mesh.surface_files import Points, Triangles, TriangleSurface
from organtwin.mesh.uncrossing import UNITED, without_intersections


@dataclass(frozen=True)
class Repaired:
    """A closed surface and what was done for it.

    Attributes:
        surface: Closed, facing outwards; the part ``wall`` and one for each cap have names.
        changes: In the order they were made; empty for a sound surface.
        hausdorff: Largest distance (mm) between it and the input, measured both ways at vertices,
            middles of edges and of triangles; without caps and patches over
            holes, where the input has nothing, and without what was dropped: degenerate and
            duplicated triangles, small parts, and what united bodies had inside each other.
        before: What was found.
        after: What is left.
    """

    surface: TriangleSurface
    changes: tuple[Change, ...]
    hausdorff: float
    before: SurfaceReport
    after: SurfaceReport


def repair(
    surface: TriangleSurface,
    *,
    caps: Mapping[str, Sequence[float]] | Sequence[str] = (),
    options: RepairOptions = RepairOptions(),
    place: str = "surface",
) -> Repaired:
    """Close a surface and make it a manifold that faces outwards and does not cut itself.

    Vertices are merged, degenerate and duplicated triangles removed, triangles turned to face one
    way, parts that touch in an edge or vertex taken apart, small parts dropped, holes filled, open
    ends capped flat, intersecting parts united and self-intersections cut out and filled again.
    What is sound stays as it is, to the bit. A part inside another bounds a hollow and faces
    inwards.

    Args:
        surface: What to repair.
        caps: Name of each open end → a place near it (mm); or names in the order of the rims'
            lengths, the longest first. Ends without a name are called ``cap0``, ``cap1``, ...
        options: How far to go.
        place: File or surface, for messages.

    Raises:
        InputError: a cap has no open end, or a vertex is not finite.
        MeshError: a defect can't be repaired; the message names it and its place.
    """
    _refuse_no_numbers(surface, place)
    before = inspect(surface)
    work = Patchwork(
        surface.points,
        surface.triangles,
        np.arange(len(surface.points)),
        np.arange(len(surface.triangles)),
        np.full(len(surface.triangles), WALL),
    )
    changes: list[Change] = []
    dropped = np.zeros(len(work.triangles), bool)
    for step in (
        merge, remove_degenerate, remove_duplicates, drop_sheets, face_one_way, take_apart,
        drop_small,
    ):  # fmt: skip
        done, made = step(work, options, place)
        if step in (remove_degenerate, remove_duplicates, drop_sheets, drop_small):
            dropped[np.setdiff1d(work.triangle_from, done.triangle_from)] = True
        work = done
        changes += made
        if not len(work.triangles):
            raise MeshError(place, f"nothing is left: {made[-1]}", "Export it again.")
    done, made, names = close(work, caps, options, place)
    dropped[np.setdiff1d(work.triangle_from, done.triangle_from)] = True
    work = done
    changes += made
    # Caps have flat triangles where rims run straight. A cap between an inner and an outer wall
    # joins parts that faced one way each for itself.
    for finish in (remove_degenerate, face_one_way, face_outwards, without_intersections):
        work, made = finish(work, options, place)
        changes += made
    result = _finished(surface, work, names)
    after = inspect(result)
    _refuse_rest(after, place)
    united = any(change.what == UNITED for change in changes)
    distance = _hausdorff(surface, work, dropped, united)
    return Repaired(result, tuple(changes), distance, before, after)


def _refuse_no_numbers(surface: TriangleSurface, place: str) -> None:
    bad = ~np.isfinite(surface.points).all(axis=1)
    if not bad.any():
        return
    around = surface.triangles[bad[surface.triangles].any(axis=1)]
    beside = np.unique(around[~bad[around]])
    near = f", beside {places_of(surface.points[beside])}" if len(beside) else ""
    raise InputError(
        place,
        f"{int(bad.sum())} vertices are not finite, the first is number {np.argmax(bad)}{near}.",
        "Export it again.",
    )


def _finished(
    surface: TriangleSurface, work: Patchwork, names: Mapping[str, int]
) -> TriangleSurface:
    """The surface with the values of the input; new triangles have zeros there."""
    values = {}
    for name, value in surface.triangle_values.items():
        taken = value[work.triangle_from]
        taken[work.triangle_from < 0] = 0
        values["part_before" if name == "part" else name] = taken
    values["part"] = work.part
    return TriangleSurface(
        work.points,
        work.triangles,
        {name: value[work.vertex_from] for name, value in surface.vertex_values.items()},
        values,
        names,
        surface.notes,
    )


def _refuse_rest(report: SurfaceReport, place: str) -> None:
    left = report.defects()
    if left:
        raise MeshError(
            place,
            f"after the repair it still has {left[0]}",
            "Correct the surface there, or make it from the label map again.",
        )


def _hausdorff(
    surface: TriangleSurface, work: Patchwork, dropped: NDArray[np.bool_], united: bool
) -> float:
    """Largest distance between what was lost and what is new (mm), both ways."""
    same = _unmoved(surface, work)
    kept = np.isin(np.arange(len(surface.triangles)), work.triangle_from[same])
    new = ~same & (work.triangle_from != PATCH) & (work.part == WALL)
    there = _samples(work.points, work.triangles[new])
    back = _samples(surface.points, surface.triangles[~kept & ~dropped])
    if united:  # what one body had inside another is gone on purpose
        back = _outside(back, work)
    return max(
        _distance(there, surface.points, surface.triangles),
        _distance(back, work.points, work.triangles),
    )


def _unmoved(surface: TriangleSurface, work: Patchwork) -> NDArray[np.bool_]:
    """Triangles whose corners lie where the input has them, shape (m,)."""
    here = work.points[work.triangles]
    there = surface.points[surface.triangles[work.triangle_from]]
    equal = (here == there).all(axis=(1, 2)) | (here == there[:, ::-1]).all(axis=(1, 2))
    return np.asarray(equal & (work.triangle_from >= 0))


def _outside(places: Points, work: Patchwork) -> Points:
    """Places that are not inside a closed surface."""
    check = vtk.vtkSelectEnclosedPoints()
    check.SetInputData(pv.PolyData(places))
    check.SetSurfaceData(work.polydata)
    check.Update()
    inside = pv.wrap(check.GetOutput()).point_data["SelectedPoints"]
    return np.asarray(places[np.asarray(inside) == 0])


def _samples(points: Points, triangles: Triangles) -> Points:
    """Corners, middles of edges and middles of triangles."""
    x = points[triangles]
    places = np.concatenate(
        [x.reshape(-1, 3), (0.5 * (x + np.roll(x, 1, axis=1))).reshape(-1, 3), x.mean(axis=1)]
    )
    return np.unique(places, axis=0)


def _distance(places: Points, points: Points, triangles: Triangles) -> float:
    """Largest distance (mm) of places from a surface."""
    if not len(places):
        return 0.0
    body = pv.PolyData.from_regular_faces(points, triangles)
    _, nearest = body.find_closest_cell(places, return_closest_point=True)
    return float(np.linalg.norm(places - nearest, axis=1).max())
