"""The Purkinje system: a His bundle, and a fractal tree on the endocardium of each ventricle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order
from scipy.spatial import cKDTree

from organtwin.anatomy.coordinates import Coordinates, LongAxis, facet_points
from organtwin.anatomy.geodesics import Indices, Points, Triangles, gather_surface
from organtwin.anatomy.landmarks import SITES, activation_sites
from organtwin.errors import InputError, MeshError, suggestion
from organtwin.mesh.domain import Domain
from organtwin.parallel import on_root

#: Regions of a tree; the number in `Tree.region` is the place in this tuple.
REGIONS = ("his", "left", "right")
#: Nearest nodes among which a tip looks for one that is not of its family.
_NEIGHBOURS = 48


@dataclass(frozen=True)
class Tree:
    """Conduction system as a graph of short straight segments.

    Attributes:
        points: Nodes (mm), (n, 3).
        segments: Pairs of nodes, (m, 2), from the root outwards where the tree was grown here.
        junctions: Nodes that end in the muscle (Purkinje–muscle junctions), (k,), sorted.
        region: Place in `REGIONS` of each node, (n,).
        root: Node where the excitation from the atria arrives.
    """

    points: Points
    segments: Indices
    junctions: Indices
    region: NDArray[np.int8]
    root: int

    @property
    def lengths(self) -> NDArray[np.float64]:
        """Length of each segment (mm), (m,)."""
        a, b = self.points[self.segments[:, 0]], self.points[self.segments[:, 1]]
        return np.asarray(np.linalg.norm(b - a, axis=1))

    @property
    def segment_region(self) -> NDArray[np.int8]:
        """Region of each segment: that of the end farther down the system, (m,)."""
        return np.asarray(self.region[self.segments].max(axis=1))

    def without(self, region: str) -> Tree:
        """The tree without a region: its nodes, segments and junctions are gone.

        Raises:
            InputError: no such region, or it holds the root.
        """
        keep = self.region != _region_number(region)
        if not keep[self.root]:
            raise InputError("Tree.without", f"`{region}` holds the root.", "Remove left or right.")
        number = np.cumsum(keep) - 1
        segments = self.segments[keep[self.segments].all(axis=1)]
        junctions = self.junctions[keep[self.junctions]]
        return Tree(
            self.points[keep], number[segments], number[junctions], self.region[keep],
            int(number[self.root]),
        )  # fmt: skip

    def cut(self, region: str) -> Tree:
        """The tree with the bundle branch of a region cut: what lies beyond has lost the root.

        The part beyond is still there: the muscle may excite it backwards.

        Raises:
            InputError: no such region, or no segment leads into it.
        """
        inside = self.region[self.segments] == _region_number(region)
        bridges = inside[:, 0] != inside[:, 1]
        if not bridges.any():
            raise InputError(
                "Tree.cut",
                f"no segment joins `{region}` to the rest.",
                "Cut a region that the tree has, once.",
            )
        return replace(self, segments=self.segments[~bridges])

    def connected(self) -> NDArray[np.bool_]:
        """Whether each node is connected to the root, (n,)."""
        n = len(self.points)
        graph = coo_array((np.ones(len(self.segments)), tuple(self.segments.T)), shape=(n, n))
        reached = np.zeros(n, dtype=bool)
        order = breadth_first_order(graph.tocsr(), self.root, False, return_predecessors=False)
        reached[order] = True
        return reached


@dataclass(frozen=True)
class Origin:
    """Where a tree starts on its endocardium.

    Attributes:
        point: Place (mm), (3,); the nearest point of the surface is taken.
        direction: Which way the first branch runs, (3,).
    """

    point: Points
    direction: Points


@dataclass(frozen=True)
class Growth:
    """How a tree grows on one endocardium.

    Attributes:
        trunk: Length of the first branch (mm).
        fascicles: Angle to the trunk (rad, positive to the left seen from the cavity) and length
            (mm) of each straight branch that leaves its end; none: it forks at once.
        length: Mean length of the branches (mm).
        length_deviation: Standard deviation of it (mm); no branch is shorter than half the mean.
        angle: Between a branch and each of the two that follow it (rad).
        repulsion: Weight w of the direction away from the nearest other branch, for each segment.
        segment: Length of the segments (mm).
        clearance: Nearest that a branch may come to branches other than its parent and its
            sibling (mm).
        base_margin: Distance from the border of the surface (mm) that branches keep, apart from
            the trunk.
        generations: Most branchings in a row.
        seed: Of the random lengths.
    """

    trunk: float = 20.0
    fascicles: tuple[tuple[float, float], ...] = ()
    length: float = 4.0
    length_deviation: float = 0.6
    angle: float = 0.3
    repulsion: float = 0.15
    segment: float = 1.0
    clearance: float = 1.2
    base_margin: float = 12.0
    generations: int = 30
    seed: int = 1

    def __post_init__(self) -> None:
        positive = ("trunk", "length", "angle", "segment", "clearance", "generations")
        for name in positive:
            if not getattr(self, name) > 0:
                raise InputError("Growth", f"{name} = {getattr(self, name)}.", "It must be > 0.")
        for name in ("length_deviation", "repulsion", "base_margin", "seed"):
            if getattr(self, name) < 0:
                raise InputError("Growth", f"{name} = {getattr(self, name)}.", "It must be ≥ 0.")
        # Of two crossing segments some ends are nearer than the length over √2.
        if self.clearance < self.segment / np.sqrt(2):
            raise InputError(
                "Growth",
                f"with a clearance of {self.clearance:g} mm segments of {self.segment:g} mm "
                "could cross.",
                f"Use a clearance of at least {self.segment / np.sqrt(2):.2g} mm.",
            )


#: The left bundle spreads into a fascicle in front and one behind, the right one runs down the
#: septum before it branches.
LEFT = Growth(trunk=14.0, fascicles=((0.7, 16.0), (-0.7, 16.0)))
RIGHT = Growth(trunk=40.0)


@dataclass(frozen=True)
class Statistics:
    """A tree in numbers.

    Attributes:
        junctions: Number of Purkinje–muscle junctions.
        length: Of all segments together (mm).
        segment: Mean length of a segment (mm).
        coverage: Largest distance from a point of the endocardium to the nearest junction (mm).
        median_distance: Median of that distance over the vertices (mm).
    """

    junctions: int
    length: float
    segment: float
    coverage: float
    median_distance: float


def purkinje_tree(
    domain: Domain,
    coordinates: Coordinates,
    *,
    left: Growth | None = LEFT,
    right: Growth | None = RIGHT,
    origins: Mapping[str, Origin | str] | None = None,
    his_length: float = 10.0,
) -> Tree:
    """Grow the Purkinje system of both ventricles; collective, the same on any rank count.

    The His bundle runs down the septum and forks between the two origins; from there the left and
    the right bundle branch lead to them, insulated from the muscle they pass.

    Args:
        domain: Ventricles with the surfaces ``lv_endo`` and ``rv_endo``.
        coordinates: Their coordinates.
        left: Growth in the left ventricle; None for no left tree.
        right: Growth in the right ventricle; None for no right tree.
        origins: ``left``, ``right`` → where the tree starts: a place and direction, or the name
            of a site of `organtwin.anatomy.landmarks.SITES` from which it runs to the apex.
            Default: `bundle_origin`.
        his_length: Length of the His bundle (mm), > 0.

    Returns:
        The tree, on every rank.

    Raises:
        InputError: an origin has no known name, there is nothing to grow, or no His bundle.
        MeshError: a surface is empty or no manifold.

    Source:
        Sahli Costabal, Hurtado & Kuhl (2016), J. Biomech. 49:2455–2465,
        doi 10.1016/j.jbiomech.2015.12.025. Here all branches of a generation grow at the same
        time, along straightest geodesics.
    """
    wanted = {name: g for name, g in (("left", left), ("right", right)) if g is not None}
    given = dict(origins or {})
    for name in given:
        if name not in wanted:
            raise InputError("purkinje tree", f"origin of `{name}`.", suggestion(name, wanted))
    if not wanted or his_length <= 0:
        raise InputError(
            "purkinje tree",
            f"nothing to grow, or a His bundle of {his_length:g} mm.",
            "Give a growth for a ventricle and a positive length.",
        )
    starts = {name: _origin(domain, coordinates, name, given.get(name)) for name in wanted}
    surfaces = {name: gather_surface(domain, SURFACES[name]) for name in wanted}
    up = coordinates.axis.direction

    def work() -> Tree:
        """Branches of each side, joined at the bundle of His, on one rank."""
        sides = {}
        for name, growth in wanted.items():
            triangles = surfaces[name]
            assert triangles is not None
            sides[name] = grow(triangles, starts[name], growth)
        return _joined(sides, up, his_length)

    return on_root(domain.comm, work)


#: Endocardium that each tree grows on.
SURFACES: Mapping[str, str] = {"left": "lv_endo", "right": "rv_endo"}


def bundle_origin(domain: Domain, axis: LongAxis, surface: str, *, height: float = 0.88) -> Origin:
    """Where a bundle branch reaches the endocardium: high on the middle of the septum.

    Args:
        domain: Both ventricles; collective.
        axis: Long axis of the left ventricle.
        surface: ``lv_endo`` or ``rv_endo``.
        height: Along the axis, 0 at the apex, 1 at the base.

    Returns:
        The vertex nearest to that height at angle 0, and the direction to the apex.

    Raises:
        MeshError: the surface does not touch the wall of the left ventricle.
    """
    points = facet_points(domain, surface, "lv")
    if not len(points):
        raise MeshError(
            "bundle_origin",
            f"no facet of `{surface}` bounds region `lv`.",
            "Mesh both ventricles, the septum as part of `lv`.",
        )
    # One radian about the axis is about as far as half of the axis.
    cost = np.hypot(axis.height(points) - height, 0.5 * axis.angle(points))
    return Origin(points[np.argmin(np.round(cost, 9))], -axis.direction)


def grow(surface: Triangles, origin: Origin, growth: Growth) -> Tree:
    """Grow a tree on one surface; no communication.

    A segment turns away from the nearest node of other branches,

        d ← (d + w g)/|d + w g|,   g = (x − x_nearest)/|x − x_nearest|,

    and a branch ends after its length, near other branches or near the border. One that reached
    its length forks into two at ±angle; one that did not ends in a junction.

    Args:
        surface: The endocardium.
        origin: Where the first branch starts and which way it goes.
        growth: Parameters.

    Returns:
        Tree of region ``left`` with the root at its origin.

    Raises:
        InputError: the direction stands upright on the surface.
    """
    growing = _Growing(surface, growth)
    growing.start(origin)
    return growing.tree()


@dataclass
class _Tips:
    """Ends of the branches of one generation while they grow.

    Attributes:
        branch: Number of each branch, (k,).
        node: Last node of each, (k,).
        triangle, x, d: Where it is on the surface and where it is heading.
        length: Length wanted (mm), (k,).
    """

    branch: Indices
    node: Indices
    triangle: Indices
    x: Points
    d: Points
    length: NDArray[np.float64]

    def some(self, which: NDArray[np.bool_] | Indices) -> _Tips:
        """Those tips only."""
        return _Tips(
            self.branch[which], self.node[which], self.triangle[which], self.x[which],
            self.d[which], self.length[which],
        )  # fmt: skip


class _Growing:
    """A tree on its way: nodes so far and the branch of each."""

    def __init__(self, surface: Triangles, growth: Growth) -> None:
        self._surface, self._growth = surface, growth
        self._random = np.random.default_rng(growth.seed)
        self._border = cKDTree(surface.border) if len(surface.border) else None
        self._points = np.empty((0, 3))
        self._branch_of = np.empty(0, dtype=np.int64)
        self._segments: list[Indices] = []
        #: Parent and sibling of each branch, −1 for none.
        self._parent = np.empty(0, dtype=np.int64)
        self._sibling = np.empty(0, dtype=np.int64)

    def start(self, origin: Origin) -> None:
        """Trunk, fascicles, then generation after generation."""
        growth = self._growth
        triangle, x = self._surface.nearest(origin.point)
        d = self._surface.tangent(triangle, np.atleast_2d(origin.direction))
        if abs(np.linalg.norm(d) - 1.0) > 1e-6:
            raise InputError(
                "purkinje tree",
                "the first direction stands upright on the endocardium.",
                "Give a direction along the surface.",
            )
        trunk = self._new_branches(np.array([-1]))
        node = self._add(x, trunk)
        tips = _Tips(trunk, node, triangle, x, d, np.array([growth.trunk]))
        tips = self._extend(tips, margin=0.0)
        if growth.fascicles:
            angles = np.array([angle for angle, _ in growth.fascicles])
            tips = self._forked(tips, angles)
            tips.length = np.array([length for _, length in growth.fascicles])
            tips = self._extend(tips, margin=growth.base_margin, steer=False)
        for _ in range(growth.generations):
            if not len(tips.branch):
                break
            tips = self._forked(tips, np.array([growth.angle, -growth.angle]))
            tips.length = self._lengths(len(tips.branch))
            tips = self._extend(tips, margin=growth.base_margin)

    def tree(self) -> Tree:
        """What has grown."""
        n = len(self._points)
        segments = np.concatenate(self._segments) if self._segments else np.empty((0, 2), int)
        ends = np.flatnonzero(np.bincount(segments[:, 0], minlength=n) == 0)
        return Tree(self._points, segments, ends, np.full(n, 1, dtype=np.int8), 0)

    def _lengths(self, n: int) -> NDArray[np.float64]:
        growth = self._growth
        drawn = self._random.normal(growth.length, growth.length_deviation, n)
        return np.maximum(drawn, 0.5 * growth.length)

    def _new_branches(self, parent: Indices, per_parent: int = 1) -> Indices:
        first = len(self._parent)
        number = first + np.arange(len(parent))
        place = np.arange(len(parent)) % per_parent
        self._parent = np.concatenate([self._parent, parent])
        # Of three and more siblings each knows the first one that is not itself.
        sibling = number - place + (place == 0)
        self._sibling = np.concatenate(
            [self._sibling, sibling if per_parent > 1 else -1 + 0 * number]
        )
        return number

    def _add(self, x: Points, branch: Indices) -> Indices:
        first = len(self._points)
        self._points = np.concatenate([self._points, x])
        self._branch_of = np.concatenate([self._branch_of, branch])
        return first + np.arange(len(x))

    def _forked(self, tips: _Tips, angles: NDArray[np.float64]) -> _Tips:
        """A branch at each angle from each tip."""
        k = len(angles)
        new = tips.some(np.repeat(np.arange(len(tips.branch)), k))
        turn = np.tile(angles, len(tips.branch))[:, None]
        n = self._surface.normals[new.triangle]
        new.d = np.cos(turn) * new.d + np.sin(turn) * np.cross(n, new.d)
        new.branch = self._new_branches(new.branch, k)
        return new

    def _extend(self, tips: _Tips, *, margin: float, steer: bool = True) -> _Tips:
        """Grow all tips to their lengths; returns those that got there."""
        steps = np.maximum(1, np.round(tips.length / self._growth.segment)).astype(int)
        size = tips.length / steps
        alive = np.ones(len(steps), dtype=bool)
        for step in range(int(steps.max(initial=0))):
            going = np.flatnonzero(alive & (step < steps))
            if not len(going):
                break
            moved, free = self._moved(tips.some(going), size[going], margin, steer)
            alive[going[~free]] = False
            kept, moved = going[free], moved.some(free)
            node = self._add(moved.x, moved.branch)
            self._segments.append(np.column_stack([moved.node, node]))
            tips.node[kept], tips.x[kept] = node, moved.x
            tips.triangle[kept], tips.d[kept] = moved.triangle, moved.d
        return tips.some(alive)

    def _moved(
        self, tips: _Tips, size: NDArray[np.float64], margin: float, steer: bool
    ) -> tuple[_Tips, NDArray[np.bool_]]:
        """Tips one segment farther, and which of these places are free."""
        if steer:
            away = self._away(tips)
            tips.d = self._surface.tangent(tips.triangle, tips.d + self._growth.repulsion * away)
        before = tips.x
        tips.triangle, tips.x, tips.d, stopped = self._surface.walk(
            tips.triangle, tips.x, tips.d, size
        )
        free = ~stopped & self._far_from_border(before, tips.x, margin)
        free &= self._others(tips, 1)[0] >= self._growth.clearance
        return tips, self._first_come(tips, free)

    def _away(self, tips: _Tips) -> Points:
        """Unit vectors from the nearest node of other branches; zero where none is near."""
        distance, place = self._others(tips, 0)
        found = np.isfinite(distance) & (distance > 1e-9)
        away = np.zeros_like(tips.x)
        away[found] = (tips.x[found] - self._points[place[found]]) / distance[found, None]
        return away

    def _others(self, tips: _Tips, ignore_siblings: int) -> tuple[NDArray[np.float64], Indices]:
        """Distance and number of the nearest node that is neither of the branch nor its parent."""
        k = min(_NEIGHBOURS, len(self._points))
        distance, place = cKDTree(self._points).query(tips.x, k=k)
        distance, place = distance.reshape(-1, k), place.reshape(-1, k)
        family = [tips.branch, self._parent[tips.branch]]
        if ignore_siblings:
            family.append(self._sibling[tips.branch])
        own = np.any([self._branch_of[place] == f[:, None] for f in family], axis=0)
        distance = np.where(own, np.inf, distance)
        best = np.argmin(distance, axis=1)[:, None]
        return (
            np.take_along_axis(distance, best, axis=1)[:, 0],
            np.take_along_axis(place, best, axis=1)[:, 0],
        )

    def _far_from_border(self, before: Points, after: Points, margin: float) -> NDArray[np.bool_]:
        """Whether tips are beyond the margin, or at least not on their way to the border."""
        if self._border is None:
            return np.ones(len(after), dtype=bool)
        then, now = self._border.query(before)[0], self._border.query(after)[0]
        return np.asarray((now >= margin) | (now >= then))

    def _first_come(self, tips: _Tips, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Of free tips that meet in the same step only the branch of lower number goes on."""
        free = free.copy()
        for i, j in cKDTree(tips.x).query_pairs(self._growth.clearance, output_type="ndarray"):
            if self._sibling[tips.branch[i]] != tips.branch[j] and free[i]:
                free[j] = False
        return free


def _joined(sides: Mapping[str, Tree], up: Points, his_length: float) -> Tree:
    """One tree: His bundle, its fork between the origins, and the trees of the ventricles."""
    starts = [tree.points[tree.root] for tree in sides.values()]
    fork = np.mean(starts, axis=0)
    points, segments = _line(fork + his_length * up, fork)
    points, n_his = np.concatenate([points, fork[None]]), len(points) + 1
    region = np.zeros(n_his, dtype=np.int8)
    junctions = np.empty(0, dtype=np.int64)
    for (name, tree), start in zip(sides.items(), starts, strict=True):
        bundle, _ = _line(fork, start)
        chain = len(points) + np.arange(len(bundle) - 1)
        shift = len(points) + len(chain)
        path = np.concatenate([[n_his - 1], chain, [shift + tree.root]])
        points = np.concatenate([points, bundle[1:], tree.points])
        segments = np.concatenate(
            [segments, np.column_stack([path[:-1], path[1:]]), tree.segments + shift]
        )
        junctions = np.concatenate([junctions, tree.junctions + shift])
        added = len(points) - len(region)
        region = np.concatenate([region, np.full(added, REGIONS.index(name), dtype=np.int8)])
    return Tree(points, segments, junctions, region, 0)


def _line(a: Points, b: Points) -> tuple[Points, Indices]:
    """Nodes from ``a`` to before ``b`` about 1 mm apart, and the segments up to ``b``."""
    n = max(1, round(float(np.linalg.norm(b - a))))
    points = a + np.linspace(0.0, 1.0, n, endpoint=False)[:, None] * (b - a)
    return points, np.column_stack([np.arange(n), np.arange(1, n + 1)])


def _origin(
    domain: Domain, coordinates: Coordinates, name: str, given: Origin | str | None
) -> Origin:
    """The origin given, or that of a site, or the usual one."""
    if isinstance(given, Origin):
        return given
    if given is None:
        return bundle_origin(domain, coordinates.axis, SURFACES[name])
    site = activation_sites(domain, coordinates, [given])[given]
    if SITES[given].surface != SURFACES[name]:
        raise InputError(
            "purkinje tree",
            f"`{given}` is not on the endocardium of the {name} ventricle.",
            f"Choose one on `{SURFACES[name]}`.",
        )
    return Origin(site, -coordinates.axis.direction)


def statistics(domain: Domain, tree: Tree, *surfaces: str) -> Statistics:
    """The tree in numbers; collective.

    Args:
        domain: The domain it grew on.
        tree: The tree.
        surfaces: Endocardia that it should cover; default those of the regions that it has.
    """
    present = [REGIONS[int(number)] for number in np.unique(tree.region)]
    names = surfaces or tuple(SURFACES[name] for name in present if name in SURFACES)
    points = np.concatenate([facet_points(domain, name) for name in names])
    distance = cKDTree(tree.points[tree.junctions]).query(points)[0]
    return Statistics(
        len(tree.junctions),
        float(tree.lengths.sum()),
        float(tree.lengths.mean()),
        float(distance.max()),
        float(np.median(distance)),
    )


def _region_number(region: str) -> int:
    if region not in REGIONS:
        raise InputError("Tree", f"no region `{region}`.", suggestion(region, REGIONS))
    return REGIONS.index(region)
