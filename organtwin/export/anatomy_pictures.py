"""Pictures of fibres and coordinates on a mesh of any organ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyvista as pv
from matplotlib.colors import (
    BoundaryNorm,
    Colormap,
    LinearSegmentedColormap,
    ListedColormap,
    Normalize,
)
from numpy.typing import NDArray

from organtwin.export import plates
from organtwin.export.diagrams import STYLE
from organtwin.export.fibre_lines import FibreField, fibre_lines
from organtwin.export.pages import read_json
from organtwin.export.scene import Stance, render
from organtwin.mesh.mesh_files import read_mesh
from organtwin.mesh.volume_mesh import TetrahedralMesh

type Array = NDArray[np.float64]

#: Spacing and half length of fibre lines, in parts of the tissue's size.
SPACING, LENGTH = 0.036, 0.11
#: From so many fields on, each is shown from one side only.
MANY = 3
TITLES = {"aha_segment": "AHA segments", "along": "Along", "bundle": "Bundles"}
#: Colours that carry numbers get little shade.
_READABLE = {"ambient": 0.62, "diffuse": 0.46, "specular": 0.0}
_TISSUE = "#efe3dc"
_HELIX = LinearSegmentedColormap.from_list(
    "helix", ["#08306b", "#2878b5", "#7fcdbb", "#ffe27a", "#f58518", "#b2182b"]
)


@dataclass(frozen=True)
class Scale:
    """How a field is coloured.

    Attributes:
        colours: Colour map.
        norm: Values to its range.
        label: What the colour bar says, with the unit.
    """

    colours: Colormap
    norm: Normalize
    label: str


@dataclass(frozen=True)
class Tissue:
    """A tissue as its pictures see it.

    Attributes:
        grid: Its tetrahedra with all fields.
        fibres: Fibre direction in each, (n, 3).
        view: How it stands.
        account: What the stage found.
    """

    grid: pv.UnstructuredGrid
    fibres: Array
    view: Stance
    account: Mapping[str, Any]


def tissues_of(directory: Path) -> list[dict[str, Any]]:
    """What the stage of anatomy found, tissue by tissue; empty if the case has none."""
    if "anatomy" not in read_json(directory / "run.json").get("stages", {}):
        return []
    record = read_json(directory / "stages" / "anatomy" / "anatomy.json")
    found: list[dict[str, Any]] = record.get("tissues", [])
    return found


def tissue_pictures(
    fields: Path, account: Mapping[str, Any]
) -> dict[str, Callable[[Path], object]]:
    """File name of each picture of a tissue → what draws it.

    Args:
        fields: ``fields/anatomy.vtu``.
        account: What the stage of anatomy tells of the tissue.
    """

    @cache
    def tissue() -> Tissue:
        return _tissue(read_mesh(fields), account)

    name = account["name"]
    return {
        f"fibres_{name}.png": lambda path: draw_fibres(tissue(), path),
        f"coordinates_{name}.png": lambda path: draw_coordinates(tissue(), path),
    }


def captions_of(account: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Title and caption of each picture of a tissue."""
    name = str(account["name"]).replace("_", " ")
    return {
        f"fibres_{account['name']}.png": (
            f"Fibres: {name}",
            "Lines along the fibres just below the surface; at the right behind a cut.",
        ),
        f"coordinates_{account['name']}.png": (
            f"Coordinates: {name}",
            "Values in the tetrahedra.",
        ),
    }


def draw_fibres(tissue: Tissue, path: Path) -> Path:
    """Lines along the fibres from the front, from behind and cut open.

    Args:
        tissue: What to draw.
        path: PNG file to write.
    """
    view, name = tissue.view, str(tissue.account["shown"])
    scale = _scale(name, np.asarray(tissue.grid.cell_data[name]))
    field = FibreField.of(tissue.grid, tissue.fibres)
    behind = tissue.grid.clip(normal=view.front, origin=view.centre, invert=True)
    whole, opened = _with_lines(tissue, field, tissue.grid), _with_lines(tissue, field, behind)
    panels = [
        render(_parts(*whole, scale), view, towards=view.front),
        render(_parts(*whole, scale), view, towards=-view.front),
        render(_parts(*opened, scale), view, towards=view.front),
    ]
    with mpl.rc_context(STYLE):
        figure, axes = plates.panels(panels, ["From the front", "From behind", "Cut open"])
        plates.colour_bar(figure, axes, scale.colours, scale.norm, scale.label, _ticks(scale))
        return plates.save(figure, path)


def draw_coordinates(tissue: Tissue, path: Path) -> Path:
    """Each coordinate on the tissue behind a cut, with its colour bar.

    Args:
        tissue: What to draw.
        path: PNG file to write.
    """
    view, names = tissue.view, list(tissue.account["fields"])
    centres = tissue.grid.cell_centers().points
    behind = tissue.grid.extract_cells(np.flatnonzero((centres - view.centre) @ view.front < 0.0))
    sides = [("cut open", behind, view.front)]
    if len(names) < MANY:
        sides.append(("from behind", tissue.grid, -view.front))
    panels, titles, scales = [], [], []
    for name in names:
        scale = _scale(name, np.asarray(tissue.grid.cell_data[name]))
        for what, grid, towards in sides:
            shown = grid.copy()
            shown.cell_data["shown"] = np.asarray(grid.cell_data[name])
            look = {"scalars": "shown", "cmap": scale.colours, "clim": _limits(scale)}
            panels.append(render([(shown, look | _READABLE)], view, towards=towards))
            title = TITLES.get(name, name.capitalize())
            titles.append(title if len(sides) == 1 else f"{title}, {what}")
        scales.append(scale)
    with mpl.rc_context(STYLE):
        figure, axes = plates.panels(panels, titles)
        for k, scale in enumerate(scales):
            own = axes[k * len(sides) : (k + 1) * len(sides)]
            plates.colour_bar(figure, own, scale.colours, scale.norm, scale.label, _ticks(scale))
        return plates.save(figure, path)


def _tissue(mesh: TetrahedralMesh, account: Mapping[str, Any]) -> Tissue:
    """The cells that have the tissue's own field."""
    shown = mesh.cell_values[account["shown"]]
    chosen = np.isfinite(shown) & np.isin(mesh.regions, account["regions"])
    used, corners = np.unique(mesh.cells[chosen], return_inverse=True)
    grid = pv.UnstructuredGrid(
        {pv.CellType.TETRA: corners.reshape(-1, 4)}, mesh.points[used].astype(np.float64)
    )
    for name in {account["shown"], *account["fields"]}:
        grid.cell_data[name] = np.asarray(mesh.cell_values[name][chosen], np.float64)
    up, front = np.array(account["up"]), np.array(account["front"])
    points = np.asarray(grid.points, np.float64)
    axes = np.column_stack([up, np.cross(front, up), front])
    inside = points @ axes
    centre = axes @ (0.5 * (inside.min(axis=0) + inside.max(axis=0)))
    size = float(np.linalg.norm(points - centre, axis=1).max())
    view = Stance(up, axes[:, 1], front, centre, size, centre, centre)
    return Tissue(grid, mesh.fibres["f0"][chosen], view, account)


def _with_lines(
    tissue: Tissue, field: FibreField, grid: pv.UnstructuredGrid
) -> tuple[pv.PolyData, pv.PolyData]:
    """Surface of (a part of) the tissue, and lines upon it coloured by the nearest cell."""
    surface = grid.extract_surface(nonlinear_subdivision=0, algorithm="dataset_surface")
    surface = surface.triangulate().compute_normals(cell_normals=False, split_vertices=False)
    size = tissue.view.size
    lines = fibre_lines(
        field, surface, tissue.view, inwards=1.0, spacing=SPACING * size, length=LENGTH * size,
        step=0.01 * size, depth=0.004 * size,
    )  # fmt: skip
    shown = np.asarray(tissue.grid.cell_data[tissue.account["shown"]])
    lines.point_data["shown"] = shown[field.tree.query(lines.points)[1]]
    return surface, lines


def _parts(
    surface: pv.PolyData, lines: pv.PolyData, scale: Scale
) -> list[tuple[pv.DataSet, Mapping[str, object]]]:
    look = {
        "scalars": "shown", "cmap": scale.colours, "clim": _limits(scale), "line_width": 2.5,
        "lighting": False,
    }  # fmt: skip
    return [(surface, {"color": _TISSUE}), (lines, look)]


def _scale(name: str, values: Array) -> Scale:
    """Colours of a field, by its name."""
    finite = values[np.isfinite(values)]
    if name == "fibre_angle" and finite.min(initial=0.0) < 0.0:
        return Scale(_HELIX, Normalize(-90.0, 90.0), "Helix angle of the fibres (degrees)")
    if name == "fibre_angle":
        label = "Fibres to the vessel's axis (degrees)"
        return Scale(mpl.colormaps["viridis"], Normalize(0.0, 90.0), label)
    if name == "rotational":
        return Scale(mpl.colormaps["twilight"], Normalize(-np.pi, np.pi), "φ (rad)")
    if name in ("aha_segment", "bundle", "transventricular"):
        kinds = np.arange(finite.min(), finite.max() + 1.0)
        base = mpl.colormaps["tab20"]
        colours = ListedColormap([base(k % 20) for k in range(len(kinds))])
        edges = np.append(kinds - 0.5, kinds[-1] + 0.5)
        labels = {
            "aha_segment": "AHA segment (0: right ventricle)", "bundle": "Number of the bundle",
            "transventricular": "ν (−1 left, 1 right)",
        }  # fmt: skip
        return Scale(colours, BoundaryNorm(edges, len(kinds)), labels[name])
    symbols = {
        "apicobasal": "z (apex 0, base 1)", "transmural": "ρ (inside 0, outside 1)",
        "along": "From inlet 0 to outlets 1", "anisotropy": "Anisotropy (0 to 1)",
    }  # fmt: skip
    return Scale(mpl.colormaps["viridis"], Normalize(0.0, 1.0), symbols.get(name, name))


def _limits(scale: Scale) -> tuple[float, float]:
    return float(scale.norm.vmin or 0.0), float(scale.norm.vmax or 0.0)


def _ticks(scale: Scale) -> Array | None:
    low, high = _limits(scale)
    if isinstance(scale.norm, BoundaryNorm):
        kinds = np.arange(low + 0.5, high)
        return kinds[:: 1 + len(kinds) // 5]
    return np.linspace(low, high, 7) if high > 10.0 else None
