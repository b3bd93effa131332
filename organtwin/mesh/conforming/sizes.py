"""Edge lengths over space: by region, curvature, thickness and distance, growing slowly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.image.volume import Grid
from organtwin.mesh.balls import touching_balls
from organtwin.mesh.conforming.interfaces import Interfaces
from organtwin.mesh.conforming.topology import Net, net_of, normals_of
from organtwin.mesh.vectors import dots, lengths_of, unit

type Points = NDArray[np.float64]

#: Points of the grid on which sizes are kept, at most.
_GRID = 1_000_000
#: Rounds in which normals, and then curvatures, are averaged over neighbours.
_ROUNDS = 6
#: Offsets of the nine neighbours in the layer below a point of the grid.
_BELOW = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1))


@dataclass(frozen=True)
class Near:
    """Smaller triangles and tetrahedra around something.

    Attributes:
        what: A region, two regions whose border is meant, or points (mm), shape (n, 3).
        size: Edge length there (mm).
        distance: Up to which it holds (mm).
    """

    what: str | tuple[str, str] | Points
    size: float
    distance: float = 0.0


@dataclass(frozen=True)
class Sizes:
    """What edge lengths are wanted; where several hold, the smallest does.

    Attributes:
        default: Edge length (mm).
        by_label: Name of a region → edge length in it and on its borders (mm), which may be
            larger than ``default``.
        curvature: Edges around a full circle of the surface's radius; not looked at without it.
        thickness: Edges across a region, from border to border; not looked at without it.
        near: Places with smaller edges.
        smallest: Least edge length that curvature and thickness give (mm), a quarter of
            ``default`` without it.
        gradation: Largest growth of edge lengths per distance.
    """

    default: float
    by_label: Mapping[str, float] = field(default_factory=dict)
    curvature: float | None = None
    thickness: float | None = None
    near: Sequence[Near] = ()
    smallest: float | None = None
    gradation: float = 0.3


@dataclass(frozen=True)
class SizeField:
    """Edge length (mm) at the points of a grid, linear between them.

    Attributes:
        values: Edge length (mm), indexed ``[i, j, k]``.
        grid: Where the values stand; beyond it, those at its border hold.
    """

    values: NDArray[np.float64]
    grid: Grid

    def at(self, points: Points) -> NDArray[np.float64]:
        """Edge length (mm) at points (mm), shape (n, 3) to (n,)."""
        place = self.grid.index(points).T
        return np.asarray(ndimage.map_coordinates(self.values, place, order=1, mode="nearest"))

    @classmethod
    def constant(cls, size: float) -> SizeField:
        """The same edge length (mm) everywhere."""
        grid = Grid((2, 2, 2), np.ones(3), np.zeros(3), np.eye(3))
        return cls(np.full((2, 2, 2), float(size)), grid)


def size_field(interfaces: Interfaces, sizes: Sizes) -> SizeField:
    """Edge lengths around and inside interfaces.

    Args:
        interfaces: Borders of regions.
        sizes: What is wanted.

    Raises:
        InputError: an unknown region, or a number that is not above zero.
    """
    _check(interfaces, sizes)
    if not (sizes.by_label or sizes.near or sizes.curvature or sizes.thickness):
        return SizeField.constant(sizes.default)
    grid = _grid(interfaces, sizes)
    values = _by_region(interfaces, sizes, grid)
    places, wanted = _on_borders(interfaces, sizes)
    # All corners of a cell, so that a place in it finds its own size when it is read there.
    below = np.floor(grid.index(places)).astype(np.int64)
    for corner in np.indices((2, 2, 2)).reshape(3, -1).T:
        index = (below + corner).clip(0, np.array(grid.shape) - 1)
        np.minimum.at(values, tuple(index.T), wanted)
    for near in sizes.near:
        values = np.minimum(values, _around(interfaces, near, grid, sizes))
    return SizeField(graded(values, grid.spacing, sizes.gradation), grid)


def graded(values: Points, spacing: Points, gradation: float) -> Points:
    """Values reduced until they grow by ``gradation`` per distance at most.

    h(x) = min over y of f(y) + g |x - y|, by sweeps along each axis, both ways, until nothing
    changes; distances are measured along the 26 directions to neighbours, which lengthens them
    by 13 % at most where the spacing is the same along all axes.

    Args:
        values: Sizes f (mm), shape (a, b, c).
        spacing: Distance of points along each axis (mm), shape (3,).
        gradation: g.

    Source:
        Persson (2006), Eng Comput 22:95-109 (the gradient limit).
    """
    result = np.array(values)
    while True:
        before = result.copy()
        for axis in range(3):
            lateral = np.delete(spacing, axis)
            for step in (1, -1):
                _swept(np.moveaxis(result, axis, 0)[::step], spacing[axis], lateral, gradation)
        if np.array_equal(before, result):
            return result


def _swept(values: Points, along: float, lateral: Points, gradation: float) -> None:
    """One sweep from layer to layer, in place."""
    for layer in range(1, len(values)):
        below = np.pad(values[layer - 1], 1, constant_values=np.inf)
        rows, columns = values[layer].shape
        for i, j in _BELOW:
            far = gradation * np.hypot(along, np.hypot(i * lateral[0], j * lateral[1]))
            shifted = below[1 + i : 1 + i + rows, 1 + j : 1 + j + columns]
            np.minimum(values[layer], shifted + far, out=values[layer])


def thicknesses(interfaces: Interfaces, largest: float) -> Points:
    """Thickness (mm) of the regions beside each vertex, the thinner one's; shape (n,).

    Twice the radius of the ball inside a region that touches its border at the vertex and
    elsewhere; the outside does not count. ``largest`` where it is thicker.
    """
    result = np.full(len(interfaces.points), float(largest))
    for name in interfaces.names:
        triangles = interfaces.boundary(name)
        used = np.unique(triangles)
        number = np.zeros(len(interfaces.points), np.int64)
        number[used] = np.arange(len(used))
        points, own = interfaces.points[used], number[triangles]
        body = Net(points, own, np.zeros(len(own), np.int64), np.zeros(len(points), np.int8))
        tree = cKDTree(points, balanced_tree=False)
        radii = touching_balls(tree, points, -body.vertex_normals, largest / 2.0)
        result[used] = np.minimum(result[used], 2.0 * radii)
    return result


def curvature_radii(interfaces: Interfaces) -> Points:
    """Radius of curvature (mm) of the sheets at each vertex, the smallest; shape (n,).

    From the change of the vertices' normals along edges inside sheets; normals and curvatures
    are averaged over neighbours a few times. Infinite at curves.
    """
    net = net_of(interfaces.points, interfaces.triangles, interfaces.sides)
    ends = net.edges.ends[(net.kind[net.edges.ends] == 0).all(axis=1)]
    normals = net.vertex_normals
    for _ in range(_ROUNDS):
        normals = unit(_averaged(normals, ends))
    bend = np.linalg.norm(normals[ends[:, 0]] - normals[ends[:, 1]], axis=1)
    length = np.linalg.norm(net.points[ends[:, 0]] - net.points[ends[:, 1]], axis=1)
    curvature = np.zeros(len(net.points))
    for k in range(2):
        np.maximum.at(curvature, ends[:, k], bend / np.maximum(length, 1e-300))
    for _ in range(_ROUNDS):
        curvature = _averaged(curvature[:, None], ends)[:, 0]
    return 1.0 / np.maximum(curvature, 1e-12)


def _averaged(values: Points, ends: NDArray[np.int64]) -> Points:
    """Mean of each vertex and its neighbours, shape (n, k)."""
    both = np.concatenate([ends, ends[:, ::-1]])
    count = 1.0 + np.bincount(both[:, 0], minlength=len(values))
    sums = [
        np.bincount(both[:, 0], column[both[:, 1]], len(values)) + column for column in values.T
    ]
    return np.asarray(np.stack(sums, axis=1) / count[:, None])


def _on_borders(interfaces: Interfaces, sizes: Sizes) -> tuple[Points, Points]:
    """Vertices, and the edge lengths that labels, curvature and thickness ask for there."""
    wanted = np.full(len(interfaces.points), np.inf)
    for name, size in sizes.by_label.items():
        used = interfaces.boundary(name).ravel()
        wanted[used] = np.minimum(wanted[used], size)
    shape = np.full(len(wanted), np.inf)
    largest = max(sizes.default, *sizes.by_label.values(), 0.0)
    if sizes.curvature is not None:
        shape = 2.0 * np.pi * curvature_radii(interfaces) / sizes.curvature
    if sizes.thickness is not None:
        thick = thicknesses(interfaces, sizes.thickness * largest)
        shape = np.minimum(shape, thick / sizes.thickness)
    least = 0.25 * sizes.default if sizes.smallest is None else sizes.smallest
    wanted = np.minimum(wanted, np.maximum(shape, least))
    known = wanted < np.inf
    return interfaces.points[known], wanted[known]


def _by_region(interfaces: Interfaces, sizes: Sizes, grid: Grid) -> Points:
    """Edge length of the region in which each point of the grid lies, shape of the grid."""
    table = np.full(max(interfaces.names.values()) + 1, float(sizes.default))
    for name, size in sizes.by_label.items():
        table[interfaces.number(name)] = size
    if not sizes.by_label:
        return np.full(grid.shape, float(sizes.default))
    return np.asarray(table[np.maximum(_regions(interfaces, grid), 0)])


def _regions(interfaces: Interfaces, grid: Grid) -> NDArray[np.int64]:
    """Number of the region in which each point of a grid lies, shape of the grid.

    Points near borders lie on one side of the nearest triangle. All others lie where those do that
    they hang together with, of which one is looked at.
    """
    middles = interfaces.corners.mean(axis=1)
    tree = cKDTree(middles, balanced_tree=False)
    across = lengths_of(interfaces.corners - middles[:, None]).max()
    # A border between neighbouring points is within half their distance of one of them.
    reach = 0.5 * float(grid.spacing.max()) + float(across)
    x = grid.points(np.indices(grid.shape).reshape(3, -1).T)
    nearest = tree.query(x, distance_upper_bound=reach)[1]
    far = nearest == len(middles)
    parts = ndimage.label(far.reshape(grid.shape))[0].ravel()
    number, first = np.unique(parts, return_index=True)
    one = first[number > 0]
    nearest[one] = tree.query(x[one])[1]
    near = np.flatnonzero(nearest < len(middles))
    result = np.zeros(len(x), np.int64)
    result[near] = _side(interfaces, x[near], nearest[near])
    result[far] = np.concatenate([[0], result[one]])[parts[far]]
    return result.reshape(grid.shape)


def _side(
    interfaces: Interfaces, places: Points, triangles: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Regions on the sides of triangles on which places lie, shape (k,)."""
    corners = interfaces.points[interfaces.triangles[triangles]]
    front = dots(places - corners[:, 0], normals_of(corners)) > 0
    sides = interfaces.sides[triangles]
    return np.asarray(np.where(front, sides[:, 1], sides[:, 0]))


def _around(interfaces: Interfaces, near: Near, grid: Grid, sizes: Sizes) -> Points:
    """Edge length at each point of the grid, as one thing nearby asks for it."""
    places = _places(interfaces, near)
    x = grid.points(np.indices(grid.shape).reshape(3, -1).T)
    distance = cKDTree(places, balanced_tree=False).query(x)[0].reshape(grid.shape)
    # Half a diagonal of a cell more, for what lies between the points of the grid.
    reach = near.distance + 0.5 * float(np.linalg.norm(grid.spacing))
    return near.size + sizes.gradation * np.maximum(distance - reach, 0.0)


def _places(interfaces: Interfaces, near: Near) -> Points:
    if isinstance(near.what, str):
        return np.asarray(interfaces.points[np.unique(interfaces.boundary(near.what))])
    if isinstance(near.what, tuple):
        return np.asarray(interfaces.points[np.unique(interfaces.patch(*near.what))])
    return np.reshape(near.what, (-1, 3))


def _grid(interfaces: Interfaces, sizes: Sizes) -> Grid:
    """Grid around the interfaces, half as wide as the smallest edges if that is not too fine."""
    least = 0.25 * sizes.default if sizes.smallest is None else sizes.smallest
    shape = least if sizes.curvature or sizes.thickness else np.inf
    smallest = min(sizes.default, *sizes.by_label.values(), *(n.size for n in sizes.near), shape)
    low, high = interfaces.points.min(axis=0), interfaces.points.max(axis=0)
    room = np.maximum(high - low, smallest) + 2.0 * sizes.default
    step = max(smallest, float((np.prod(room) / _GRID) ** (1.0 / 3.0)))
    count = np.ceil(room / step).astype(int) + 1
    spacing = np.full(3, step)
    return Grid(
        (int(count[0]), int(count[1]), int(count[2])), spacing, low - sizes.default, np.eye(3)
    )


def _check(interfaces: Interfaces, sizes: Sizes) -> None:
    for name in sizes.by_label:
        interfaces.number(name)
    numbers = {
        "default": sizes.default,
        "smallest": sizes.smallest,
        "curvature": sizes.curvature,
        "thickness": sizes.thickness,
        "gradation": sizes.gradation,
        **{f"by_label {name}": size for name, size in sizes.by_label.items()},
        **{f"near {k}": near.size for k, near in enumerate(sizes.near)},
    }
    for name, number in numbers.items():
        if number is not None and not 0 < number < np.inf:
            raise InputError(f"sizes {name}", f"{number:g} is no edge length.", "Try 2 mm.")
    for k, near in enumerate(sizes.near):
        if not isinstance(near.what, tuple) or interfaces.between(*near.what).any():
            continue
        raise InputError(
            f"sizes near {k}", f"{near.what[0]} and {near.what[1]} don't touch.", "Name others."
        )
