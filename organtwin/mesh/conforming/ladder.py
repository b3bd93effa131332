"""Labels or interfaces to a conforming mesh, tried in other ways where the first one fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import MeshError
from organtwin.image.volume import LabelMap
from organtwin.mesh.conforming.delaunay import DELAUNAY, FRONTAL, HXT
from organtwin.mesh.conforming.faces_between import with_interfaces
from organtwin.mesh.conforming.interfaces import Interfaces
from organtwin.mesh.conforming.places import places_in
from organtwin.mesh.conforming.route import Filled, MeshOptions, Route, Way
from organtwin.mesh.conforming.wild import wild_installed
from organtwin.mesh.quality import dihedral_angles
from organtwin.mesh.volume_mesh import TetrahedralMesh

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: How often triangles are made smaller near the places that failures name.
LOCALLY = 1
#: What smoothing may move vertices by, in parts of what was asked for.
TIGHTER = (0.5, 0.15)
#: Letters of a failure that are kept.
LONGEST = 300


@dataclass(frozen=True)
class Attempt:
    """One way that was tried.

    Attributes:
        what: How it differed from what was asked for.
        outcome: "good", what was missed, or how it failed.
        seconds: Time taken (s).
        cells: Number of tetrahedra, 0 without a mesh.
        min_dihedral: Smallest dihedral angle (degrees), 0 without a mesh.
    """

    what: str
    outcome: str
    seconds: float
    cells: int
    min_dihedral: float


@dataclass(frozen=True)
class Conforming:
    """A conforming mesh and how it came about.

    Attributes:
        mesh: Tetrahedra with regions named as the labels and facets named by the pair of regions.
        interfaces: The borders between its regions, as they are in it.
        attempts: What was tried, the last or the best of which is the mesh.
        decisions: What was decided on the way, one sentence each.
    """

    mesh: TetrahedralMesh
    interfaces: Interfaces
    attempts: tuple[Attempt, ...]
    decisions: tuple[str, ...]


def conform(
    source: LabelMap | Interfaces, options: MeshOptions, place: str = "conform"
) -> Conforming:
    """A conforming mesh of labels or of borders between regions.

    Labels are wrapped, the borders remeshed, the space between them filled, flat cells improved.
    Where a step fails or the mesh stays below `MeshOptions.min_dihedral`, other ways are tried in
    the order of `_ways`; the first that is good ends it, else the mesh with the largest smallest
    angle is taken.

    Args:
        source: Label map, or interfaces that need no wrapping.
        options: Sizes, smoothing and thresholds.
        place: What messages call the source.

    Raises:
        InputError: unknown labels or nothing labelled.
        MeshError: no attempt gave a valid mesh; the text lists them all.
    """
    route = Route(source, options)
    attempts: list[Attempt] = []
    best: Filled | None = None
    worst_places = np.empty((0, 3))
    ways = _ways(source)
    way: Way | None = next(ways)
    while way is not None and len(attempts) < options.attempts:
        start = perf_counter()
        try:
            filled = route.run(way)
        except MeshError as error:
            worst_places = places_in(str(error))
            told = f"{error.place}: {error.problem}"[:LONGEST]
            attempts.append(Attempt(way.what, told, perf_counter() - start, 0, 0.0))
        else:
            angle = float(dihedral_angles(filled.points, filled.cells).min())
            good = angle >= options.min_dihedral
            said = "good" if good else f"an angle of {angle:.1f} degrees"
            taken = perf_counter() - start
            attempts.append(Attempt(way.what, said, taken, len(filled.cells), angle))
            if best is None or angle > best.min_dihedral:
                best = replace(filled, min_dihedral=angle)
            if good:
                break
            worst_places = _flattest(filled, options.min_dihedral)
        way = _next(ways, way, worst_places)
    if best is None:
        raise _failed(place, attempts)
    return _conforming(best, route.names, attempts, options)


def _ways(source: LabelMap | Interfaces) -> Iterator[Way]:
    """What is tried in turn; places named by a failure are refined in between."""
    yield Way("as asked for")
    if isinstance(source, LabelMap):
        for part in TIGHTER:
            yield Way(f"with smoothing within {part:.0%} of the bound", reach=part)
        yield Way("without remeshing", reach=TIGHTER[0], remeshed=False)
        yield Way("without remeshing and smoothing", reach=0.0, remeshed=False)
    else:
        yield Way("without remeshing", remeshed=False)
        yield Way("with gmsh's frontal algorithm", algorithm=FRONTAL)
    if wild_installed():
        yield Way("with fTetWild, without remeshing", library="tetwild", remeshed=False)


def _next(ways: Iterator[Way], last: Way, places: Points) -> Way | None:
    """The last way with smaller triangles near the places, with another mesher, or the next one."""
    newest = last.library == "gmsh" and last.algorithm == HXT
    if newest and len(places) and last.remeshed and len(last.finer) < LOCALLY:
        what = last.what.split(", smaller")[0]
        return replace(
            last,
            what=f"{what}, smaller triangles near {len(places)} places",
            finer=(*last.finer, places),
        )
    if newest and not len(places):
        return replace(last, what=f"{last.what}, gmsh's older Delaunay mesher", algorithm=DELAUNAY)
    return next(ways, None)


def _flattest(filled: Filled, threshold: float) -> Points:
    """Centres of the cells below the threshold (mm), shape (k, 3)."""
    smallest = dihedral_angles(filled.points, filled.cells).min(axis=1)
    return np.asarray(filled.points[filled.cells[smallest < threshold]].mean(axis=1))


def _failed(place: str, attempts: list[Attempt]) -> MeshError:
    told = " ".join(f"({k}) {a.what}: {a.outcome}" for k, a in enumerate(attempts, 1))
    return MeshError(
        place,
        f"no valid mesh in {len(attempts)} attempts. {told}",
        "Clean the labels at the places named, or mesh fewer of them.",
    )


def _conforming(
    filled: Filled, names: dict[str, int], attempts: list[Attempt], options: MeshOptions
) -> Conforming:
    mesh, sides = with_interfaces(filled.points, filled.cells, filled.regions, names, filled.cuts)
    interfaces = _compact(filled.points, mesh.facets, sides, names)
    decisions = [*filled.decisions]
    if len(attempts) > 1:
        taken = max(attempts, key=lambda a: a.min_dihedral)
        decisions.append(
            f"{len(attempts)} ways were tried; the mesh is the one {taken.what}. "
            f"{attempts[0].what.capitalize()} the outcome was: {attempts[0].outcome}"
        )
    if filled.min_dihedral < options.min_dihedral:
        decisions.append(
            f"No way gave dihedral angles of {options.min_dihedral:g} degrees; the mesh with "
            f"{filled.min_dihedral:.1f} degrees was kept."
        )
    return Conforming(mesh, interfaces, tuple(attempts), tuple(decisions))


def _compact(points: Points, triangles: Index, sides: Index, names: dict[str, int]) -> Interfaces:
    used, numbered = np.unique(triangles, return_inverse=True)
    return Interfaces(points[used], numbered.reshape(-1, 3), sides, names)
