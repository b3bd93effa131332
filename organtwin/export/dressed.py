"""Surfaces of a result as they are looked at: moved, cut open, parts left out, with a field."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyvista as pv
from matplotlib.colors import Colormap, ListedColormap
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.export.diagrams import PALETTE
from organtwin.export.quantities import quantity, shown_value
from organtwin.export.result import REGION, Part, Result
from organtwin.export.scene import boundary, stance
from organtwin.export.series import Array

#: Colour of struts, sides of one, and their radius where it is not known (mm).
METAL, _AROUND, _THIN = "#9aa3ad", 6, 0.15
#: Name of the array that colours show.
VALUE = "value"
#: Times that tell the range of a field.
SAMPLED = 6
#: Sides of what is shown, in its own frame: the patient's left is to the right on pictures.
SIDES = {
    "front": (0.0, 0.0, 1.0), "back": (0.0, 0.0, -1.0), "left": (1.0, 0.0, 0.0),
    "right": (-1.0, 0.0, 0.0), "top": (0.0, 1.0, 0.0), "bottom": (0.0, -1.0, 0.0),
}  # fmt: skip
#: The patient's directions (LPS) that arrows show.
_ARROWS = {"L": (1.0, 0.0, 0.0), "P": (0.0, 1.0, 0.0), "H": (0.0, 0.0, 1.0)}
#: Arms of the arrows that stand for directions, in round numbers (mm).
_ARMS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


@dataclass(frozen=True)
class Look:
    """What is shown of tissue.

    Attributes:
        field: Name of the field; plain if None.
        off: Numbers of regions that are left out.
        cut: Direction to what is taken away, one of `SIDES`; whole if None.
        depth: How much of the extent in that direction is taken away, 0 to 1.
        moved: Whether points are where they are at the time.
    """

    field: str | None = None
    off: frozenset[int] = frozenset()
    cut: str | None = None
    depth: float = 0.5
    moved: bool = True


@dataclass(frozen=True, eq=False)
class Frame:
    """How something stands on pictures: x to the right, y up, z to the eye, its middle at 0.

    Attributes:
        axes: Rows: these directions in the patient's coordinates, (3, 3).
        centre: The middle (mm), (3,).
        size: Half of what is seen (mm).
    """

    axes: Array
    centre: Array
    size: float

    def own(self, points: Array) -> Array:
        """The patient's coordinates in this frame (mm), (n, 3)."""
        return np.asarray((points - self.centre) @ self.axes.T)


def dressed(part: Part, index: int, look: Look, frame: Frame | None = None) -> pv.PolyData:
    """Surface of a part at the time of an index, with the field as the array ``value``.

    Args:
        part: Tissue or lines.
        index: Number of the time.
        look: What is shown of it.
        frame: Coordinates wanted, and those of a cut; the patient's if None.

    Raises:
        InputError: no such field, or no such cut.
    """
    if look.cut is not None and look.cut not in SIDES:
        raise InputError(f"cut `{look.cut}`", "no such side.", f"One of {', '.join(SIDES)}.")
    points = part.points(index, moved=look.moved)
    points = points if frame is None else frame.own(points)
    opened = look.cut is not None and not part.is_lines
    mesh = (_solid if opened else _shell)(part, look.off).copy(deep=False)
    if not mesh.n_points:
        return pv.PolyData()
    mesh.points = points[mesh.point_data["point"]]
    if look.field is not None:
        _add_values(mesh, part, index, look.field)
    if not opened:
        return mesh
    normal = np.array(SIDES[str(look.cut)])
    height = points @ normal
    level = height.max() - look.depth * np.ptp(height)
    kept = mesh.clip(normal=normal, origin=level * normal, invert=True)
    return kept.extract_surface(nonlinear_subdivision=0, algorithm="dataset_surface")


def _add_values(mesh: pv.DataSet, part: Part, index: int, shown: str) -> None:
    if shown == REGION:
        numbers = sorted(part.region_names.values())
        mesh.cell_data[VALUE] = np.searchsorted(numbers, part.regions[mesh.cell_data["cell"]])
        return
    values = shown_value(part.values(index, shown))
    if part.is_by_cell(shown):
        mesh.cell_data[VALUE] = values[mesh.cell_data["cell"]]
    else:
        mesh.point_data[VALUE] = values[mesh.point_data["point"]]


@lru_cache(maxsize=16)
def _solid(part: Part, off: frozenset[int]) -> pv.UnstructuredGrid:
    """Cells of the regions that are on, with ``point`` and ``cell`` of origin."""
    grid = part.mesh.copy(deep=False)
    grid.point_data["point"] = np.arange(grid.n_points)
    grid.cell_data["cell"] = np.arange(grid.n_cells)
    return grid.extract_cells(np.flatnonzero(~np.isin(part.regions, list(off)))) if off else grid


@lru_cache(maxsize=16)
def _shell(part: Part, off: frozenset[int]) -> pv.PolyData:
    """Boundary of the regions that are on, with ``point`` and ``cell`` of origin."""
    if not off or part.is_lines:
        return part.surface
    solid = _solid(part, off)
    if not solid.n_cells:
        return pv.PolyData()
    shell = boundary(solid)
    for data, name in ((shell.point_data, "point"), (shell.cell_data, "cell")):
        own = solid.point_data if name == "point" else solid.cell_data
        data[name] = np.asarray(own[name])[data[name]]
    return shell


@lru_cache(maxsize=64)
def limits(part: Part, field: str) -> tuple[float, float]:
    """Range of a field's colours, from some of its times."""
    if field == REGION:
        return -0.5, max(len(part.region_names), 1) - 0.5
    chosen = np.unique(np.linspace(0, len(part.times) - 1, SAMPLED).round().astype(int))
    found = np.concatenate([shown_value(part.values(int(i), field)) for i in chosen])
    return quantity(field).limits(found)


def common_limits(parts: Iterable[Part], field: str) -> tuple[float, float]:
    """One range for several parts, so that their colours compare."""
    pairs = [limits(part, field) for part in parts if field in (*part.fields, REGION)]
    if not pairs:
        return 0.0, 1.0
    return min(low for low, _ in pairs), max(high for _, high in pairs)


def colours_of(parts: Iterable[Part], shown: str) -> Colormap:
    """Colour map of a field; one colour for each region."""
    if shown != REGION:
        return quantity(shown).map
    number = max((len(part.region_names) for part in parts), default=1)
    return ListedColormap([PALETTE[k % len(PALETTE)] for k in range(max(number, 1))])


def frame_of(result: Result) -> Frame:
    """How a result stands: hearts with the apex down, others as a patient seen from the front."""
    part = result.parts[0]
    if {"lv", "rv"} <= set(part.region_names):
        view = stance(part.mesh, part.regions.astype(float))
        right = np.cross(view.up, view.front)
        return Frame(np.stack([right, view.up, view.front]), view.centre, view.size)
    points = np.concatenate([part.points(0), *(line.points(0) for line in result.lines)])
    low, high = points.min(axis=0), points.max(axis=0)
    axes = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    return Frame(axes, 0.5 * (low + high), 0.5 * float(np.linalg.norm(high - low)))


def directions(frame: Frame) -> tuple[Array, Array, float]:
    """Arrows to the patient's left, back and head, below what is seen and left of it.

    Returns:
        Where they start, (3,), where they point, rows L, P, H, (3, 3), and how long they are, a
        round number; in the frame (mm).
    """
    arm = max((a for a in _ARMS if a <= 0.3 * frame.size), default=_ARMS[0])
    start = frame.size * np.array([-0.8, -0.8, 0.0])
    return start, np.array(list(_ARROWS.values())) @ frame.axes.T, arm


def corresponding(part: Part, index: int, other: Part) -> int:
    """The time of another part: of the same number if states have names, else the nearest."""
    if part.moments and other.moments:
        return min(index, len(other.times) - 1)
    return other.series.nearest(float(part.times[index]))


def tubes(line: Part, index: int, frame: Frame) -> pv.PolyData:
    """Struts as tubes at the time of an index; the triangles are the same at all times."""
    bars = dressed(line, index, Look(), frame)
    known = line.values(index, "radius") if "radius" in line.fields else np.array([_THIN])
    return bars.tube(radius=float(np.median(known)), n_sides=_AROUND, capping=False).triangulate()


def triangles(surface: pv.PolyData) -> NDArray[np.int64]:
    """Corners of the triangles of a surface, (m, 3)."""
    own = surface if surface.is_all_triangles else surface.triangulate()
    return np.asarray(own.regular_faces, np.int64)
