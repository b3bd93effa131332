"""One way from labels or interfaces to tetrahedra, and what ways have in common."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from organtwin.errors import MeshError
from organtwin.image.volume import Grid, LabelMap
from organtwin.mesh.conforming.cuts import FLAT, Cuts
from organtwin.mesh.conforming.delaunay import HXT
from organtwin.mesh.conforming.holding import Anchors, rooms
from organtwin.mesh.conforming.improvement import improve
from organtwin.mesh.conforming.interfaces import Interfaces
from organtwin.mesh.conforming.remeshing import Remeshing, remesh
from organtwin.mesh.conforming.sizes import SizeField, Sizes, size_field
from organtwin.mesh.conforming.tetrahedra import fill
from organtwin.mesh.conforming.wild import fill_wild
from organtwin.mesh.conforming.wrapping import Wrapping, wrap_and_tell

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Distance from the smooth borders that triangles may have, in parts of the voxels' mean edge.
DEVIATION = 0.25
#: How far improving may move vertices of borders, in parts of that distance.
MOVE = 0.5
#: By what sizes are multiplied near places that failed, and how far this reaches, in sizes.
FINER, REACH = 0.5, 4.0
#: Points of the grid that sizes near places are kept on, at most.
GRID = 1_000_000
#: By how much more than the deviation allows remeshing may leave corners of voxels, in times of it.
ASIDE = 2.0
#: How many degrees more than the threshold improving aims at.
MARGIN = 3.0


@dataclass(frozen=True)
class MeshOptions:
    """How a conforming mesh is made.

    Attributes:
        sizes: Edge lengths.
        wrapping: Which labels, and how their borders are smoothed.
        deviation: Distance that triangles may have from the smooth borders (mm); without it a
            quarter of the edge of a cube as large as the voxels worked on; of interfaces, of the
            mean edge or of the mean size wanted on them, whichever is shorter.
        crease: Angle between triangles of interfaces (degrees) from which edges that close a ring
            are kept, as those of devices; none without it.
        min_dihedral: Smallest dihedral angle (degrees) that is good.
        attempts: Ways that are tried at most.
        polished: Whether MMG makes the cells rounder, which takes longer than all else.
    """

    sizes: Sizes | SizeField
    wrapping: Wrapping = field(default_factory=Wrapping)
    deviation: float | None = None
    crease: float | None = None
    min_dihedral: float = 10.0
    attempts: int = 12
    polished: bool = False


@dataclass(frozen=True)
class Way:
    """How one attempt differs from what was asked for.

    Attributes:
        what: In words.
        reach: Part of the bound that smoothing may use.
        remeshed: Whether the borders are remeshed.
        finer: Places (mm) near which sizes are halved, one array for each time.
        algorithm: gmsh's 3D algorithm.
        library: ``gmsh`` or ``tetwild``.
    """

    what: str
    reach: float = 1.0
    remeshed: bool = True
    finer: tuple[Points, ...] = ()
    algorithm: int = HXT
    library: str = "gmsh"


@dataclass(frozen=True)
class Filled:
    """Tetrahedra at the end of a way.

    Attributes:
        points: Vertices (mm), shape (n, 3).
        cells: Positive tetrahedra, shape (m, 4).
        regions: Region of each, shape (m,).
        decisions: What was done, one sentence each.
        cuts: Planes in which regions are cut off.
        min_dihedral: Smallest dihedral angle (degrees).
    """

    points: Points
    cells: Index
    regions: Index
    decisions: tuple[str, ...]
    cuts: Cuts
    min_dihedral: float = 0.0


@dataclass(frozen=True)
class _Borders:
    """Smooth borders, what was done for them, the voxels' corners and what may lie between them.

    Attributes:
        interfaces: The borders.
        told: What was done for them, one sentence each.
        corners: Voxel corner that each vertex came from (mm), shape (n, 3); None if from none.
        bound: Largest distance from the corners (mm).
        voxels: The voxels, in words.
        edge: Edge of a cube as large as they are (mm).
    """

    interfaces: Interfaces
    told: tuple[str, ...]
    corners: Points | None = None
    bound: float = 0.0
    voxels: str = ""
    edge: float = 0.0


@dataclass
class Route:
    """Runs ways from one source; what ways share is made once.

    Attributes:
        source: Label map or interfaces.
        options: What was asked for.
    """

    source: LabelMap | Interfaces
    options: MeshOptions
    _wrapped: dict[float, _Borders] = field(default_factory=dict)
    _last: tuple[tuple[object, ...], Interfaces] | None = None

    @property
    def names(self) -> dict[str, int]:
        """Region → its number, for the regions that got one."""
        known = next(iter(self._wrapped.values())).interfaces.names
        return dict(known)

    def run(self, way: Way) -> Filled:
        """Wrap, remesh, fill and improve.

        Raises:
            InputError: unknown labels or nothing labelled.
            MeshError: a step failed.
        """
        found = self._borders(way.reach)
        wrapped, asked = found.interfaces, self.options.sizes
        sizes = asked if isinstance(asked, SizeField) else size_field(wrapped, asked)
        deviation = self.options.deviation or DEVIATION * (found.edge or _detail(wrapped, sizes))
        anchors = None
        if found.corners is not None:
            anchors = Anchors.of(wrapped, found.corners, found.bound, ASIDE * deviation)
        for places in way.finer:
            sizes = _finer(sizes, places, wrapped)
        borders = wrapped
        if way.remeshed:
            borders = self._remeshed(wrapped, sizes, deviation, anchors, way)
        cuts = Cuts.of(wrapped)
        if way.library == "tetwild":
            anchors, cuts = None, replace(cuts, slack=(1.0 + MOVE) * deviation)
            points, cells, regions = fill_wild(borders, sizes, deviation)
        else:
            points, cells, regions = fill(
                borders, sizes, algorithm=way.algorithm, polished=self.options.polished
            )
        shift = np.full(len(points), MOVE * deviation)
        if way.library == "gmsh":
            shift[borders.triangles[borders.sides[:, 1] < 0]] = 0.5 * FLAT
        told = [*found.told]
        if anchors is not None:
            away = _keep_near(shift, borders, anchors)
            told.append(
                f"The borders are within {away:.3g} mm of the corners of {found.voxels} "
                f"({0.5 * away / found.bound:.2f} of their diagonals)."
            )
        better = improve(
            points, cells, regions, shift=shift, target=self.options.min_dihedral + MARGIN
        )
        told.append(f"Improving moved the borders by at most {better.shifted:.3f} mm.")
        return Filled(better.points, better.cells, better.regions, tuple(told), cuts)

    def _borders(self, reach: float) -> _Borders:
        """Smooth borders within a part of the bound."""
        if reach not in self._wrapped:
            self._wrapped[reach] = self._wrap(reach)
        return self._wrapped[reach]

    def _remeshed(
        self,
        wrapped: Interfaces,
        sizes: SizeField,
        deviation: float,
        anchors: Anchors | None,
        way: Way,
    ) -> Interfaces:
        """Remeshed borders; those of the last way if only the mesher differs."""
        key: tuple[object, ...] = (way.reach, *(places.tobytes() for places in way.finer))
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        crease = self.options.crease if isinstance(self.source, Interfaces) else None
        made = remesh(
            wrapped, sizes, deviation=deviation, anchors=anchors, options=Remeshing(crease=crease)
        )
        self._last = key, made
        return made

    def _wrap(self, reach: float) -> _Borders:
        if isinstance(self.source, Interfaces):
            if reach < 1.0:
                raise MeshError("smoothing", "interfaces are taken as they are.")
            return _Borders(self.source, ("The interfaces were taken as they are.",))
        smoothing = self.options.wrapping.smoothing
        tighter = replace(smoothing, reach=reach * smoothing.reach)
        labels, wrapping = labelled(self.source), self.options.wrapping
        made = wrap_and_tell(labels, replace(wrapping, smoothing=tighter))
        error = max(made.volume_error.items(), key=lambda item: abs(item[1]))
        told = (
            *made.refused,
            (
                f"The borders of {_cells(made.grid)} were smoothed by shifts of at most "
                f"{made.shift:.2f} mm (bound {made.bound:.2f} mm); volumes changed by "
                f"{error[1]:+.2%} at most, `{error[0]}`."
            ),
        )
        half = 0.5 * float(np.linalg.norm(made.grid.spacing))
        corners = corners_of(made.interfaces.points, made.grid)
        edge = float(np.cbrt(np.prod(made.grid.spacing)))
        return _Borders(made.interfaces, told, corners, half, _cells(made.grid), edge)


def _detail(borders: Interfaces, sizes: SizeField) -> float:
    """Length (mm) of the smallest detail of interfaces."""
    corners = borders.corners
    edge = float(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).mean())
    # Flat faces of devices have long edges, which tell nothing of their details.
    return min(edge, float(sizes.at(borders.points).mean()))


def _cells(grid: Grid) -> str:
    """``voxels of 0.5 mm`` or ``voxels of 0.5 x 0.5 x 2 mm``."""
    edges = [f"{edge:.3g}" for edge in grid.spacing]
    return f"voxels of {' x '.join(edges if len({*edges}) > 1 else edges[:1])} mm"


def corners_of(points: Points, grid: Grid) -> Points:
    """Corners of voxels (mm) within whose boxes, half a voxel to each side, points lie."""
    return grid.points(np.round(grid.index(points) - 0.5) + 0.5)


def _keep_near(shift: Points, borders: Interfaces, anchors: Anchors) -> float:
    """Lower shifts of vertices (mm) to the room that anchors leave; their largest distance (mm)."""
    own, away = rooms(borders, anchors)
    shift[: len(own)] = np.minimum(shift[: len(own)], own)
    return max(away, anchors.bound)


def labelled(labels: LabelMap) -> LabelMap:
    """The part of a label map that has labels, with a border of one voxel where there is one."""
    boxes = ndimage.find_objects((labels.values > 0).view(np.uint8))
    if not boxes:
        return labels
    low = np.array([max(part.start - 1, 0) for part in boxes[0]])
    box = tuple(slice(a, part.stop + 1) for a, part in zip(low, boxes[0], strict=True))
    origin = labels.points(low[None])[0]
    return replace(labels, values=np.ascontiguousarray(labels.values[box]), origin=origin)


def _finer(sizes: SizeField, places: Points, borders: Interfaces) -> SizeField:
    """Sizes that are halved near places and grow back to what they were.

    At the distance d from a place the size is at most s (1/2 + d / (2 · 4 s)).
    """
    grid = _grid_around(borders, sizes)
    index = np.indices(grid.shape).reshape(3, -1).T
    points = grid.origin + index * grid.spacing
    values = sizes.at(points)
    distance = cKDTree(places).query(points)[0]
    local = values * FINER + distance * (1.0 - FINER) / REACH
    return SizeField(np.minimum(values, local).reshape(grid.shape), grid)


def _grid_around(borders: Interfaces, sizes: SizeField) -> Grid:
    """A grid fine enough for changes of size near places."""
    low, high = borders.points.min(axis=0), borders.points.max(axis=0)
    step = max(
        float(sizes.at(borders.points).min()), float(np.prod(high - low) / GRID) ** (1.0 / 3.0)
    )
    i, j, k = (np.ceil((high - low) / step).astype(int) + 2).tolist()
    return Grid((i, j, k), np.full(3, step), low - 0.5 * step, np.eye(3))
