"""Frames of transcatheter valves: rings of zig-zag struts on a surface of revolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from organtwin.devices.beam import BeamMesh, straight_elements
from organtwin.devices.cylinder import Strut
from organtwin.devices.equilibrium import Action, BeamProblem
from organtwin.devices.fibre_laws import FibreLaw
from organtwin.devices.section import FibreSection, Rectangle
from organtwin.devices.supports import Supports
from organtwin.errors import InputError

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Pattern:
    """Rings of zig-zag struts, stacked from the inflow (z = 0) to the outflow.

    The peaks of a ring meet the valleys of the next, directly (diamonds) or by straight links along
    the axis (hexagons).

    Attributes:
        columns: Cells around.
        rings: Height of each ring (mm).
        links: Length of the links above each ring but the last (mm); 0 joins the rings directly.
        profile: Pairs of height (mm) and diameter (mm) of the middle of the wall, by height.
    """

    columns: int
    rings: tuple[float, ...]
    links: tuple[float, ...]
    profile: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise InputError("Pattern", problem, "See docs/devices.md.")

    def _problem(self) -> str:
        heights = [z for z, _ in self.profile]
        if self.columns < 3:
            return f"{self.columns} columns; at least 3 make a frame."
        if not self.rings or min(self.rings) <= 0 or min(self.links, default=0) < 0:
            return "a ring without height, or a link of negative length."
        if len(self.links) != len(self.rings) - 1:
            return (
                f"{len(self.rings)} rings need {len(self.rings) - 1} links, not {len(self.links)}."
            )
        if len(heights) < 2 or any(a >= b for a, b in pairwise(heights)):
            return "the profile needs two heights or more, in rising order."
        if min(d for _, d in self.profile) <= 0:
            return "a diameter of the profile is not positive."
        return ""

    @property
    def height(self) -> float:
        """From the first valley to the last peak (mm)."""
        return float(sum(self.rings) + sum(self.links))

    def radius(self) -> Callable[[Array], Array]:
        """Radius (mm) by height (mm): a curve through the profile without overshoot."""
        z, diameter = np.array(self.profile).T
        curve = PchipInterpolator(z, diameter / 2)
        return lambda at: np.asarray(curve(np.clip(at, z[0], z[-1])))


class Part(Enum):
    """What of a frame is modelled; loads must have the symmetry of the rest."""

    HALF_CELL = "between two neighbouring planes of symmetry"
    HALF = "on one side of the plane y = 0"
    WHOLE = "all of it"


@dataclass(frozen=True)
class Frame:
    """Beam model of a frame, or of a part of it.

    Attributes:
        mesh: Elements; positions about the z-axis, the inflow at z = 0.
        kind: 0 for struts of rings, 1 for links, 2 for the corners of rings, (m,).
        row: Ring of each element, or the one below a link, (m,).
        copies: Times that the model stands in the frame.
        planes: Nodes in planes of symmetry, (k,).
        normals: Normals of these, (k, 3).
        middle: A node half way up, at y = 0.
        slopes: tan α of the struts of each ring, with their angle α to the circumference.
    """

    mesh: BeamMesh
    kind: Integers
    row: Integers
    copies: int
    planes: Integers
    normals: Array
    middle: int
    slopes: Array


def build(
    pattern: Pattern, elements: int = 8, part: Part = Part.HALF_CELL,
    corners: Sequence[float] | None = None,
) -> Frame:  # fmt: skip
    """Beams of a pattern.

    Args:
        pattern: What to build.
        elements: Elements along a strut; links get half as many.
        part: What of it.
        corners: Width of the struts of each ring (mm): the two elements at both ends of a strut
            then reach to the inner side of the corner, w/2 tan α, and get a section of their own.
            None leaves out the metal of the corners.

    Raises:
        InputError: too few elements, or corners that meet half way.
    """
    if elements < 2:
        raise InputError("build", f"{elements} elements along a strut.", "Take 2 or more.")
    n = pattern.columns
    span = {Part.HALF_CELL: 1, Part.HALF: n, Part.WHOLE: 2 * n}[part]
    radius, builder, step = pattern.radius(), _Builder(), np.pi / n
    base, slopes = 0.0, []
    for row, height in enumerate(pattern.rings):
        low = row % 2  # valleys of even rings lie at even multiples of the step
        top = base + height
        slopes.append(height / (step * float(radius(np.array(0.5 * (base + top))))))
        shares = _shares(elements, height, slopes[row], None if corners is None else corners[row])
        for turn in range(span):
            a, b = (base, top) if turn % 2 == low else (top, base)
            way = _way(radius, (turn * step, a), ((turn + 1) * step, b), shares)
            builder.strut(way, 0, row, corners=corners is not None)
        base = top
        if row < len(pattern.links) and pattern.links[row] > 0:
            base += pattern.links[row]
            ends = (0, span) if part is not Part.WHOLE else ()
            for turn in range(span if part is Part.WHOLE else span + 1):
                if turn % 2 != low:
                    ways = (turn * step, top), (turn * step, base)
                    way = _way(radius, *ways, np.linspace(0, 1, max(elements // 2, 1) + 1))
                    builder.strut(way, 1, row, 0.5 if turn in ends else 1.0)
    return builder.frame(pattern, span, part, np.array(slopes))


def _shares(elements: int, height: float, slope: float, width: float | None) -> Array:
    """Places of the nodes along a strut, 0 to 1."""
    if width is None:
        return np.linspace(0.0, 1.0, elements + 1)
    corner = 0.5 * width * slope / (height * np.hypot(1, 1 / slope))
    if elements < 6 or corner > 0.25:
        raise InputError(
            "build", f"{elements} elements along a strut, {200 * corner:.0f} % of it corners.",
            "Take 6 elements or more, and struts that are narrower or longer.",
        )  # fmt: skip
    inner = np.linspace(corner, 1 - corner, elements - 3)
    return np.concatenate([[0, 0.5 * corner], inner, [1 - 0.5 * corner, 1]])


def _way(
    radius: Callable[[Array], Array],
    start: tuple[float, float],
    end: tuple[float, float],
    shares: Array,
) -> Array:
    """Points of a strut that is straight on the unrolled surface, (n, 3)."""
    theta, z = (np.array(start) + shares[:, None] * np.subtract(end, start)).T
    rho = radius(z)
    return np.column_stack([rho * np.cos(theta), rho * np.sin(theta), z])


class _Builder:
    """Collects struts and merges their ends."""

    def __init__(self) -> None:
        self._points: list[Array] = []
        self._known: dict[tuple[float, ...], int] = {}
        self._ends: list[tuple[int, int]] = []
        self._labels: list[tuple[int, int, float]] = []

    def strut(
        self, way: Array, kind: int, row: int, share: float = 1.0, *, corners: bool = False
    ) -> None:
        """Add the elements between the points of a strut; two at each end may be corners."""
        nodes = [self._node(point) for point in way]
        self._ends += list(pairwise(nodes))
        labels = [(kind, row, share)] * (len(nodes) - 1)
        if corners:
            labels[:2] = labels[-2:] = [(2, row, share)] * 2
        self._labels += labels

    def _node(self, point: Array) -> int:
        key = tuple(np.round(point, 6) + 0.0)
        if key not in self._known:
            self._known[key] = len(self._points)
            self._points.append(point)
        return self._known[key]

    def frame(self, pattern: Pattern, span: int, part: Part, slopes: Array) -> Frame:
        """What was collected, with the planes of symmetry of a sector of so many half cells."""
        points, ends = np.array(self._points), np.array(self._ends, np.int64)
        kind, row, share = np.array(self._labels).T
        radial = points[ends].mean(axis=1) * np.array([1.0, 1.0, 0.0])
        mesh = straight_elements(points, ends, radial, share)
        angle = np.abs(np.arctan2(points[:, 1], points[:, 0]))
        off = np.abs(points[:, 2] - pattern.height / 2) + 1e3 * (angle > 1e-9)
        last = span * np.pi / pattern.columns
        planes = np.flatnonzero((angle < 1e-9) | (np.abs(angle - last) < 1e-9))
        if part is Part.WHOLE:
            planes = planes[:0]
        at = np.where(angle[planes] > 1e-9, last, 0.0)
        normals = np.column_stack([-np.sin(at), np.cos(at), np.zeros_like(at)])
        return Frame(
            mesh, kind.astype(np.int64), row.astype(np.int64), 2 * pattern.columns // span,
            planes, normals, int(np.argmin(off)), slopes,
        )  # fmt: skip


def unfolded(frame: Frame, values: Array) -> Array:
    """Copies of half a cell's points, or other vectors of its nodes, for all of the frame.

    Args:
        frame: Half a cell.
        values: Vectors (n, 3), turned and mirrored with the copies.

    Returns:
        All of them, (copies, n, 3).
    """
    if frame.copies < 3:
        raise InputError("unfolded", "this is no half cell.", "Build one.")
    mirrored = values * np.array([1.0, -1.0, 1.0])
    turns = 4 * np.pi / frame.copies * np.arange(frame.copies // 2)
    c, s, zero = np.cos(turns), np.sin(turns), np.zeros_like(turns)
    rows = [[c, -s, zero], [s, c, zero], [zero, zero, zero + 1]]
    R = np.array(rows).transpose(2, 0, 1)
    return np.concatenate([np.einsum("cij,nj->cni", R, part) for part in (values, mirrored)])


@dataclass(frozen=True)
class Struts:
    """Metal and sections of a frame.

    Attributes:
        law: Metal.
        thickness: Of the tube's wall (mm).
        ring_widths: Width of the struts of each ring (mm).
        link_width: Width of links (mm).
    """

    law: FibreLaw
    thickness: float
    ring_widths: tuple[float, ...]
    link_width: float

    def sections(self, slopes: Array | None = None) -> list[FibreSection]:
        """One for each ring, that of the links, and one for the corners of each ring.

        Corners are as wide as planes through the axis cut the struts, w √(1 + tan²α): our choice,
        compared with solids in docs/devices.md. They are left out without their ``slopes`` tan α.
        """
        widths = [*self.ring_widths, self.link_width]
        if slopes is not None:
            widths += (np.array(self.ring_widths) * np.hypot(1, slopes)).tolist()
        return [FibreSection(Rectangle(self.thickness, w), self.law) for w in widths]

    def felt(self, mesh: BeamMesh) -> Strut:
        """What tools feel of them."""
        n = len(mesh.points)
        return Strut(np.full(n, 0.5 * self.thickness), mesh.tributary)


def problem(
    frame: Frame, struts: Struts, actions: Sequence[Action] = (), pins: Sequence[int] = (2,),
    node: int | None = None,
) -> BeamProblem:  # fmt: skip
    """Frame at rest, held by its planes of symmetry and against rigid motion.

    Args:
        frame: Beams.
        struts: Metal and sections.
        actions: Contact.
        pins: Components held at the node, as `Supports.pinned` counts them; on a
            plane of symmetry they are across it, to the axis, and along z. By default the frame
            can't slide along its axis; cylinders about the axis leave nothing else to hold in half
            a cell.
        node: Which node; the one in the middle if None.
    """
    supports = Supports.none(len(frame.mesh.points))
    if len(frame.planes):
        supports = supports.mirrored(frame.planes, frame.normals)
    supports = supports.pinned(frame.middle if node is None else node, *pins)
    rings = len(struts.ring_widths)
    kind = np.choose(frame.kind, [frame.row, np.full_like(frame.row, rings), rings + 1 + frame.row])
    sections = struts.sections(frame.slopes if (frame.kind == 2).any() else None)
    return BeamProblem(frame.mesh, sections, kind=kind, supports=supports, actions=actions)
