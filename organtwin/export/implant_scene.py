"""Views of an operated bone: what is shown of it, from where, and what is written over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.export.pages import read_json
from organtwin.export.views import Part, View, text
from organtwin.orthopaedics.operation import Load, Operation
from organtwin.orthopaedics.outcome import Outcome

type Array = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: Colours of bone, of what is cut away, of implants.
BONE, REMOVED, METAL, NOTHING = "#e9dcc3", "#c98f7a", "#8e9aa6", "#d9d9d9"
FRAGMENTS = {
    "tibia": BONE, "lateral_fragment": "#d8a48f", "depressed_fragment": "#8fb8a8",
    "callus": "#c65f5f", "graft": "#b9a7d6",
}  # fmt: skip
SHINY = {"ambient": 0.35, "diffuse": 0.65, "specular": 0.35, "specular_power": 30}
READABLE = {"ambient": 0.62, "diffuse": 0.42, "specular": 0.0}
#: Room around what a view shows (mm), and the largest side of a panel in pixels.
MARGIN, PIXELS = 4.0, 900
#: Lengths that a bar of scale may have (mm).
BARS = (5.0, 10.0, 20.0, 50.0)
#: Names of the anatomical directions: of a limb, and of a vertebra.
LIMB = (("medial", "lateral"), ("anterior", "posterior"), ("proximal", "distal"))
SPINE = (("left", "right"), ("anterior", "posterior"), ("up", "down"))


@dataclass(frozen=True)
class OperatedView:
    """What pictures of an operated bone are drawn from.

    Attributes:
        outcome: Results.
        operation: What was computed.
        plan: Record of the plan.
        maps: Maps of the judge by name, one value per cell of the assembly.
    """

    outcome: Outcome
    operation: Operation
    plan: Mapping[str, Any]
    maps: Mapping[str, Array]

    @property
    def axes(self) -> Array:
        """Rows medial (or left), anterior, proximal."""
        return np.array(self.plan["anatomy"]["axes"])

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """Names of these directions."""
        return SPINE if self.operation.kind == "pedicle_screw" else LIMB

    @cached_property
    def grid(self) -> pv.UnstructuredGrid:
        """All cells of the assembly."""
        made = pv.UnstructuredGrid({pv.CellType.TETRA: self.outcome.cells}, self.outcome.points)
        for name, values in self.maps.items():
            if len(values) == made.n_cells:  # there are maps of other places too
                made.cell_data[name] = values
        for name, values in self.outcome.tissue.items():
            made.cell_data[name] = values
        return made

    def cells(self, *regions: str) -> pv.UnstructuredGrid:
        """Cells of regions."""
        found = np.flatnonzero(self.outcome.within(*regions))
        made = self.grid.extract_cells(found)
        made.cell_data["vtkOriginalCellIds"] = found
        return made

    def surface(self, *regions: str) -> pv.PolyData:
        """Surface of regions."""
        found = self.cells(*regions)
        return found.extract_surface(algorithm="dataset_surface")

    def outer(self, region: str) -> pv.PolyData:
        """Faces of a region that no other one of the operated bone hides."""
        numbers = self.outcome.region_names
        whole = self.cells(*(n for n in (*self.bones(), *self.implants()) if n in numbers))
        whole.cell_data["region"] = self.outcome.regions[whole.cell_data["vtkOriginalCellIds"]]
        faces = whole.extract_surface(algorithm="dataset_surface")
        own = np.flatnonzero(faces.cell_data["region"] == numbers[region])
        return faces.extract_cells(own).extract_surface(algorithm="dataset_surface")

    def bones(self) -> tuple[str, ...]:
        """Regions of the operated bone, what heals among them."""
        return (*self.operation.bones, *self.operation.healing[0].moduli)

    def implants(self) -> tuple[str, ...]:
        """Regions of implants."""
        return tuple(self.operation.implants)

    def point(self, name: str) -> Array:
        """A point of the assembly (mm)."""
        return np.array(self.plan["assembly"]["points"][name])

    def looked_at(self, side: str, points: Array) -> View:
        """View from a side: ``anterior``, ``lateral``, ``up`` and so on."""
        _, anterior, proximal = self.axes
        known: dict[str, Array] = {}
        for axis, names in zip(self.axes, self.names, strict=True):
            known |= {names[0]: axis, names[1]: -axis}
        eye = known[side]
        up = anterior if abs(eye @ proximal) > 0.9 else proximal
        return fitted(points, eye, up)


def read_operated(folder: Path) -> OperatedView:
    """What a result directory holds.

    Raises:
        InputError: the case was not solved.
    """
    plan = read_json(folder / "stages" / "plan" / "plan.json")
    if not plan:
        raise InputError(str(folder), "no plan.", "Run the case first.")
    outcome = Outcome.load(folder / "result.npz")
    maps: dict[str, Array] = {}
    file = folder / "stages" / "judge" / "maps.npz"
    if file.is_file():
        with np.load(file) as saved:
            maps = {name: np.asarray(saved[name], np.float64) for name in saved.files}
    return OperatedView(outcome, Operation.from_record(plan["operation"]), plan, maps)


def fitted(points: Array, eye: Array, up: Array) -> View:
    """View that shows points."""
    first = View(eye, up, np.zeros(3), (1.0, 1.0))
    flat = first.flat(points)
    low, high = flat.min(axis=0) - MARGIN, flat.max(axis=0) + MARGIN
    depth = float(points.mean(axis=0) @ eye)
    centre = 0.5 * (low + high) @ first.screen + depth * eye
    wide, tall = 0.5 * (high - low)
    return View(eye, up, centre, (float(wide), float(tall)))


def to_one_scale(views: Sequence[View]) -> list[View]:
    """The same views with the same height, so that panels are to one scale."""
    high = max(view.size[1] for view in views)
    return [View(v.eye, v.up, v.centre, (v.size[0], high)) for v in views]


def smooth(mesh: pv.DataSet, angle: float = 60.0) -> pv.PolyData:
    """Surface with normals for smooth shading."""
    flat = mesh if isinstance(mesh, pv.PolyData) else mesh.extract_surface(
        algorithm="dataset_surface"
    )  # fmt: skip
    if flat.n_cells == 0:
        return flat
    return flat.compute_normals(
        cell_normals=False, split_vertices=True, feature_angle=angle, consistent_normals=False
    )


def plain(mesh: pv.DataSet, colour: str, opacity: float = 1.0, **look: object) -> Part:
    """Something of one colour."""
    return smooth(mesh), {"color": colour, "opacity": opacity, **look}


def coloured(mesh: pv.DataSet, name: str, colours: object, limits: tuple[float, float]) -> Part:
    """Something that carries numbers at its points."""
    return mesh, {
        "scalars": name, "cmap": colours, "clim": limits, "nan_color": NOTHING, **READABLE,
    }  # fmt: skip


def with_points(mesh: pv.UnstructuredGrid, name: str) -> pv.UnstructuredGrid:
    """The same with values of cells brought to its points, means of those that have one."""
    values = np.asarray(mesh.cell_data[name], np.float64)
    cells = mesh.cells_dict[pv.CellType.TETRA]
    sums, count = np.zeros(mesh.n_points), np.zeros(mesh.n_points)
    known = np.isfinite(values)
    for corner in range(4):
        np.add.at(sums, cells[known, corner], values[known])
        np.add.at(count, cells[known, corner], 1.0)
    made = mesh.copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        made.point_data[name] = np.where(count > 0, sums / count, np.nan)
    del made.cell_data[name]
    return made


def at_interface(surface: pv.PolyData, places: Array, values: Array, area: Array) -> Array:
    """Values at the vertices of a surface from those of points on it; NaN far from all."""
    edges = np.sqrt(4.0 / np.sqrt(3.0) * surface.compute_cell_sizes()["Area"].mean())
    near = cKDTree(places).query_ball_point(np.asarray(surface.points), 0.6 * edges)
    found = np.full(surface.n_points, np.nan)
    for k, which in enumerate(near):
        if which:
            found[k] = np.average(values[which], weights=area[which])
    return found


def panels(
    views: Sequence[View], parts: Sequence[Sequence[Part]], titles: Sequence[str],
    axes_of: OperatedView, *, tall: float = 6.2,
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """Pictures side by side to one scale, axes in mm, with a bar of scale and directions."""
    views = to_one_scale(views)
    widths = [view.size[0] for view in views]
    high = views[0].size[1]
    tall = min(tall, 13.5 * high / sum(widths))
    figure = Figure(figsize=(tall * sum(widths) / high + 0.3, tall + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, len(views), squeeze=False, width_ratios=widths)[0])
    for ax, view, shown, title in zip(axes, views, parts, titles, strict=True):
        (x, y) = view.size
        pixels = max(round(PIXELS * x / max(x, y)), 60)
        ax.imshow(view.image([p for p in shown if p[0].n_points], pixels),
                  extent=(-x, x, -y, y), interpolation="lanczos")  # fmt: skip
        ax.set_title(title, fontsize=10.5)
        ax.set_axis_off()
        ax.set_xlim(-x, x)
        ax.set_ylim(-y, y)
        directions(ax, view, axes_of)
    x, y = views[0].size
    length = max((bar for bar in BARS if bar < 0.9 * x), default=BARS[0])
    axes[0].plot([-0.95 * x, -0.95 * x + length], [-0.975 * y] * 2, color="black", linewidth=3,
                 solid_capstyle="butt")  # fmt: skip
    text(axes[0], (-0.95 * x + 0.5 * length, -0.965 * y), f"{length:.0f} mm", va="bottom",
         fontsize=9)  # fmt: skip
    return figure, axes


def directions(ax: Axes, view: View, of: OperatedView) -> None:
    """Arrows along the bone's directions in the picture's upper left corner."""
    x, y = view.size
    size = 0.075 * y
    at = np.array([-x + 1.7 * size, y - 2.2 * size])
    for axis, names in zip(of.axes, of.names, strict=True):
        way = view.screen @ axis
        if np.linalg.norm(way) < 0.5:
            continue
        tip = at + size * way
        ax.annotate("", tip, at, zorder=9, arrowprops={
            "arrowstyle": "-|>", "color": "#444444", "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0,
        })  # fmt: skip
        text(ax, at + 1.5 * size * way, names[0], fontsize=7, color="#222222")


def bands(
    figure: Figure, axes: list[Axes], colours: ListedColormap, edges: tuple[float, ...], label: str
) -> Colorbar:
    """A bar of bands of one width each."""
    made = figure.colorbar(
        ScalarMappable(BoundaryNorm(edges, colours.N), colours), ax=axes, location="bottom",
        shrink=0.7, aspect=42, pad=0.02, spacing="uniform", ticks=list(edges), extend="max",
        extendfrac=0.02,
    )  # fmt: skip
    made.set_label(label, fontsize=11)
    return made


def words(load: Load) -> str:
    """Name of a load as it is read."""
    return load.name.replace("_", " ")
