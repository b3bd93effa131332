"""Plane slices of label maps as conforming triangles, by gmsh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import gmsh
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csgraph

from organtwin.errors import InputError, MeshError, suggestion
from organtwin.image.volume import LabelMap
from organtwin.mesh.slice_borders import Curves, Pixels, borders, graph, resampled
from organtwin.mesh.tetrahedra import gmsh_session

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

OUTSIDE = "outside"
#: Pixels along the shortest edge of a voxel.
PARTS = 2
#: Lengths of segments tried, in parts of the size; 0 keeps those of the pixels.
FINENESS = (1.0, 0.5, 0.25, 0.0)
#: Smallest angle (degrees) that ends the tries.
GOOD_ANGLE = 10.0
#: Growth of triangles with the distance from borders that needed finer segments.
GRADATION = 0.3
#: Largest area that a region may lose or win (parts of it, and pixels at least).
AREA, PIXELS = 0.02, 16.0


@dataclass(frozen=True)
class Plane:
    """A plane in patient coordinates.

    Attributes:
        point: A point of it (mm).
        normal: Its normal; need not have unit length.
    """

    point: tuple[float, float, float]
    normal: tuple[float, float, float]

    def axes(self) -> Points:
        """Rows: unit vectors along the slice's x and y, and the normal; right-handed, (3, 3).

        x is the patient axis that is most nearly in the plane, the first of equal ones.
        """
        normal = np.asarray(self.normal, np.float64)
        if not np.linalg.norm(normal) > 0:
            raise InputError("Plane", "the normal has no length.", "Give another one.")
        normal = normal / np.linalg.norm(normal)
        x = np.eye(3)[int(np.argmin(np.round(np.abs(normal), 6)))]
        x = x - (x @ normal) * normal
        x /= np.linalg.norm(x)
        return np.stack([x, np.cross(normal, x), normal])


@dataclass(frozen=True)
class SliceMesh:
    """Triangles in a plane with named regions and curves.

    Attributes:
        points: Vertices along the slice's x and y (mm), shape (n, 2).
        triangles: Vertex indices, shape (m, 3).
        regions: Integer of the region of each triangle, shape (m,).
        region_names: Name of a region → its integer.
        edges: Vertex indices of tagged edges, shape (k, 2).
        edge_tags: Integer of the curve of each, shape (k,).
        curve_names: Name of a curve, ``bone-outside``, ``cartilage-bone`` → its integer.
        plane: Where it lies; the plane's point has the coordinates (0, 0).
        area_error: Region → relative error of its area against the pixels.
    """

    points: Points
    triangles: Index
    regions: Index
    region_names: Mapping[str, int]
    edges: Index
    edge_tags: Index
    curve_names: Mapping[str, int]
    plane: Plane
    area_error: Mapping[str, float]

    @property
    def places(self) -> Points:
        """Vertices in patient coordinates (mm), shape (n, 3)."""
        return np.asarray(self.plane.point + self.points @ self.plane.axes()[:2])

    def area(self, name: str) -> float:
        """Area (mm²) of a region.

        Raises:
            InputError: no region of that name.
        """
        if name not in self.region_names:
            raise InputError("slice", f"no region `{name}`.", suggestion(name, self.region_names))
        chosen = self.triangles[self.regions == self.region_names[name]]
        return float(_areas(self.points, chosen).sum())


def mesh_slice(
    labels: LabelMap, plane: Plane, size: float, *, names: Sequence[str] = ()
) -> SliceMesh:
    """Triangles of the labels in a plane.

    Each label's indicator is interpolated linearly on pixels of half the shortest voxel edge; where
    the labels have more than half, the largest share wins. Borders of pixels are smoothed (Taubin's
    filter, at most half a pixel), cut into segments of the size and embedded in a plane mesh, whose
    pieces get the label that prevails in them. Where segments cross, lose too much area or leave
    sharp angles, finer ones are tried.

    Args:
        labels: Label map.
        plane: Where to cut.
        size: Edge length (mm).
        names: Labels to keep, the others become outside; all without.

    Raises:
        InputError: no usable size, no label of that name, or the plane meets none.
        MeshError: no fineness gives the areas of the pixels.
    """
    if not size > 0:
        raise InputError("mesh_slice", f"size is {size:g} mm.", "Give an edge length over 0.")
    wanted = list(names) or list(labels.names)
    for name in wanted:
        if name not in labels.names:
            problem = f"no label `{name}`."
            raise InputError("mesh_slice", problem, suggestion(name, labels.names))
    pixels = _sampled(labels, plane, wanted)
    if not pixels.values.any():
        raise InputError(
            "mesh_slice", f"the plane through {plane.point} meets none of {wanted}.", "Move it."
        )
    curves = borders(pixels)
    failures = []
    best: tuple[float, SliceMesh] | None = None
    for part in FINENESS:
        if best and not part:
            break
        points, edges, owner = resampled(curves, part * size)
        try:
            filled = _filled(points, edges, size)
            mesh = _labelled(*filled, owner, curves, pixels, labels, wanted, plane)
        except MeshError as error:
            failures.append(error.problem)
            continue
        angle = smallest_angle(mesh)
        if best is None or angle > best[0]:
            best = angle, mesh
        if angle >= GOOD_ANGLE:
            break
    if best is not None:
        return best[1]
    raise MeshError("mesh_slice", "; ".join(failures) + ".", "Try a smaller size.")


def smallest_angle(mesh: SliceMesh) -> float:
    """Smallest angle of the triangles (degrees)."""
    corners = mesh.points[mesh.triangles]
    to = np.stack([np.roll(corners, -k, axis=1) - corners for k in (1, 2)])
    one, other = to / np.linalg.norm(to, axis=-1, keepdims=True)
    return float(np.degrees(np.arccos(np.clip((one * other).sum(axis=-1), -1, 1))).min())


def write_slice(mesh: SliceMesh, path: str | Path, *, flat: bool = False) -> None:
    """Write a slice as MSH 4.1 with its regions and curves as physical groups.

    Args:
        mesh: Slice.
        path: ``.msh`` file; `organtwin.mesh.domain.read_domain` reads it as a thin wall.
        flat: Whether vertices get the slice's own x and y, for DOLFINx with ``gdim=2``, instead of
            patient coordinates.
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    zero = np.zeros((len(mesh.points), 1))
    places = np.hstack([mesh.points, zero]) if flat else mesh.places
    kinds = (
        (2, 2, mesh.region_names, mesh.triangles, mesh.regions),
        (1, 1, mesh.curve_names, mesh.edges, mesh.edge_tags),
    )
    with gmsh_session():
        gmsh.model.add("organtwin")
        for dim, _, names, _, _ in kinds:
            for name, tag in names.items():
                gmsh.model.addDiscreteEntity(dim, tag)
                gmsh.model.addPhysicalGroup(dim, [tag], tag, name)
        nodes = np.arange(1, len(places) + 1)
        gmsh.model.mesh.addNodes(2, next(iter(mesh.region_names.values())), nodes, places.ravel())
        for _, kind, names, cells, tags in kinds:
            for tag in names.values():
                own = (cells[tags == tag] + 1).ravel()
                gmsh.model.mesh.addElementsByType(tag, kind, [], own)
        gmsh.write(str(file))


def _sampled(labels: LabelMap, plane: Plane, wanted: Sequence[str]) -> Pixels:
    axes = plane.axes()
    step = float(labels.spacing.min()) / PARTS
    # To the outer faces of voxels, as labels may touch the end of the image.
    box = np.indices((2, 2, 2)).reshape(3, -1).T * np.array(labels.values.shape) - 0.5
    local = (labels.points(box) - plane.point) @ axes[:2].T
    # A fraction that keeps pixels off the middles between voxels, where labels tie.
    low = (np.floor(local.min(axis=0) / step) - 1.63) * step
    count = np.ceil((local.max(axis=0) - low) / step).astype(int) + 3
    grid = low + step * np.indices(tuple(count)).reshape(2, -1).T
    around, weight = _corners(labels, plane.point + grid @ axes[:2])
    best = np.zeros(len(grid))
    rest = np.ones(len(grid))
    values = np.zeros(len(grid), np.uint8)
    for name in wanted:
        share = np.where(around == labels.names[name], weight, 0.0).sum(axis=0)
        rest -= share
        wins = share > best
        best[wins], values[wins] = share[wins], labels.names[name]
    values[rest >= 0.5] = 0
    return Pixels(values.reshape(tuple(count)), low, step)


def _corners(labels: LabelMap, places: Points) -> tuple[NDArray[np.uint8], Points]:
    """Labels of the eight voxels around places (mm), 0 off the image, and their weights, (8, n)."""
    index = labels.grid.index(places)
    low = np.floor(index)
    part = index - low
    shape = np.array(labels.values.shape)
    found, weights = [], []
    for corner in np.indices((2, 2, 2)).reshape(3, -1).T:
        at = low.astype(np.int64) + corner
        inside = ((at >= 0) & (at < shape)).all(axis=1)
        value = labels.values[tuple(np.clip(at, 0, shape - 1).T)]
        found.append(np.where(inside, value, 0))
        weights.append(np.where(corner, part, 1.0 - part).prod(axis=1))
    return np.stack(found).astype(np.uint8), np.stack(weights)


def _filled(points: Points, edges: Index, size: float) -> tuple[Points, Index, Index]:
    """Vertices, triangles of a rectangle around, and the edges in their numbers."""
    margin = 3.0 * size
    (x0, y0), (x1, y1) = points.min(axis=0) - margin, points.max(axis=0) + margin
    with gmsh_session():
        gmsh.model.add("slice")
        geo = gmsh.model.geo
        corners = [geo.addPoint(x, y, 0.0, 3.0 * size) for x, y in
                   ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]  # fmt: skip
        sides = [geo.addLine(a, b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]
        face = geo.addPlaneSurface([geo.addCurveLoop(sides)])
        inside = [geo.addPoint(float(x), float(y), 0.0, size) for x, y in points]
        lines = [geo.addLine(inside[a], inside[b]) for a, b in edges.tolist()]
        for line in lines:
            geo.mesh.setTransfiniteCurve(line, 2)
        geo.synchronize()
        gmsh.model.mesh.embed(1, lines, 2, face)
        _graded(points, edges, inside, size)
        gmsh.option.setNumber("Mesh.Algorithm", 5)
        try:
            gmsh.model.mesh.generate(2)
        except Exception as error:  # gmsh raises bare Exceptions
            raise MeshError("mesh_slice", f"gmsh: {error}") from None
        tags, coordinates, _ = gmsh.model.mesh.getNodes()
        nodes = gmsh.model.mesh.getElementsByType(2)[1].astype(np.int64)
        segments = gmsh.model.mesh.getElementsByType(1)[1].astype(np.int64).reshape(-1, 2)
    if len(segments) < len(edges):
        raise MeshError("mesh_slice", "gmsh lost border segments")
    number = np.zeros(int(tags.max()) + 1, np.int64)
    number[tags.astype(np.int64)] = np.arange(len(tags))
    plane = coordinates.reshape(-1, 3)[:, :2]
    # Points of the model are nodes, those of the rectangle first.
    own = number[np.arange(5, 5 + len(points))]
    if not np.allclose(plane[own], points):
        raise MeshError("mesh_slice", "gmsh lost vertices of borders")
    return plane, number[nodes].reshape(-1, 3), own[edges]


def _graded(points: Points, edges: Index, nodes: Sequence[int], size: float) -> None:
    """Sizes in the open model: that of the segments at borders, the given one beyond."""
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    shortest = min(size, float(np.median(length)))
    field = gmsh.model.mesh.field
    distance, threshold = field.add("Distance"), field.add("Threshold")
    field.setNumbers(distance, "PointsList", list(nodes))
    for option, value in (
        ("InField", distance), ("SizeMin", shortest), ("SizeMax", size), ("DistMin", shortest),
        ("DistMax", shortest + (size - shortest) / GRADATION + 1e-9),
    ):  # fmt: skip
        field.setNumber(threshold, option, value)
    field.setAsBackgroundMesh(threshold)
    for source in ("ExtendFromBoundary", "FromPoints"):
        gmsh.option.setNumber(f"Mesh.MeshSize{source}", 0)


def _labelled(
    points: Points, triangles: Index, edges: Index, owner: Index, curves: Curves,
    pixels: Pixels, labels: LabelMap, wanted: Sequence[str], plane: Plane,
) -> SliceMesh:  # fmt: skip
    value = _piecewise(points, triangles, edges, pixels)
    errors = {}
    area = _areas(points, triangles)
    for name in wanted:
        pixel = int(np.count_nonzero(pixels.values == labels.names[name])) * pixels.step**2
        own = float(area[value == labels.names[name]].sum())
        if abs(own - pixel) > max(AREA * pixel, PIXELS * pixels.step**2):
            raise MeshError(
                "mesh_slice", f"`{name}` has {own:.3g} mm² instead of {pixel:.3g} of the pixels"
            )
        if pixel:
            errors[name] = own / pixel - 1.0
    kept = value > 0
    used, flat = np.unique(triangles[kept], return_inverse=True)
    number = np.full(len(points), -1)
    number[used] = np.arange(len(used))
    name_of = {0: OUTSIDE} | {labels.names[name]: name for name in wanted}
    codes = {name: k for k, name in enumerate(errors, 1)}
    code_of = np.zeros(256, np.int64)
    code_of[[labels.names[name] for name in codes]] = list(codes.values())
    pair, tag = np.unique(curves.pairs, axis=0, return_inverse=True)
    curve_names = {f"{name_of[a]}-{name_of[b]}": k for k, (a, b) in
                   enumerate(pair.tolist(), len(codes) + 1)}  # fmt: skip
    return SliceMesh(
        points[used], flat.reshape(-1, 3), code_of[value[kept]], codes, number[edges],
        tag.ravel()[owner] + len(codes) + 1, curve_names, plane, errors,
    )  # fmt: skip


def _piecewise(points: Points, triangles: Index, edges: Index, pixels: Pixels) -> NDArray[np.int64]:
    """Label of each triangle: the one that prevails in its piece between borders."""
    sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    key = np.sort(sides, axis=1) @ np.array([len(points), 1])
    border = np.sort(edges, axis=1) @ np.array([len(points), 1])
    triangle = np.tile(np.arange(len(triangles)), 3)
    order = np.argsort(key, kind="stable")
    same = (np.diff(key[order]) == 0) & ~np.isin(key[order][:-1], border)
    pairs = np.stack([triangle[order][:-1][same], triangle[order][1:][same]], axis=1)
    piece = csgraph.connected_components(graph(pairs, len(triangles)), directed=False)[1]
    votes = np.zeros((piece.max() + 1, 256))
    middle = points[triangles].mean(axis=1)
    np.add.at(votes, (piece, pixels.at(middle)), _areas(points, triangles))
    return np.asarray(votes.argmax(axis=1)[piece])


def _areas(points: Points, triangles: Index) -> NDArray[np.float64]:
    (ax, ay), (bx, by) = ((points[triangles[:, k]] - points[triangles[:, 0]]).T for k in (1, 2))
    return np.asarray(0.5 * np.abs(ax * by - ay * bx))
