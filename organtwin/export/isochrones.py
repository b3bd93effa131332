"""Maps of times on the heart: activation, repolarisation, duration; and what waves turn around."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyvista as pv
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap, Normalize

from organtwin.errors import InputError
from organtwin.export import diagrams, plates
from organtwin.export.scene import Stance, boundary, open_towards, render, smooth
from organtwin.export.series import Array, Series, oriented

#: Colours that carry numbers get little shade.
_READABLE = {"ambient": 0.62, "diffuse": 0.46, "specular": 0.0}
_INK = {"color": "#1a1a1a", "line_width": 1.6, "lighting": False}
_NOTHING = "#bbbbbb"
_MUSCLE = "#e9d8cf"


@dataclass(frozen=True)
class Scale:
    """Bands of equal time.

    Attributes:
        levels: Borders of the bands (ms), ascending, (n,).
        colours: From the first to the last band.
    """

    levels: Array
    colours: Colormap

    @classmethod
    def of(cls, values: Array, colours: Colormap, bands: int = 14) -> Scale:
        """Round levels that span the finite values with at most ``bands`` bands."""
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        steps = [m * 10.0**k for k in range(-2, 5) for m in (1, 2, 5)]
        for apart in steps:
            start, end = np.floor(low / apart + 1e-9), np.ceil(high / apart - 1e-9)
            if end - start <= bands:
                break
        return cls(np.arange(start, max(end, start + 1) + 1) * apart, colours)

    @property
    def apart(self) -> float:
        """Width of a band (ms)."""
        return float(self.levels[1] - self.levels[0])

    @property
    def norm(self) -> BoundaryNorm:
        """Values → colours, for the colour bar."""
        return BoundaryNorm(self.levels, self.colours.N)

    def look(self, name: str) -> dict[str, Any]:
        """How a surface is drawn that is coloured by an array."""
        middles = self.levels[:-1] + self.apart / 2
        return {
            "scalars": name, "cmap": ListedColormap(self.colours(self.norm(middles))),
            "clim": (self.levels[0], self.levels[-1]), "nan_color": _NOTHING,
            "interpolate_before_map": True, **_READABLE,
        }  # fmt: skip


def isochrones(series: Series, view: Stance, path: Path, *, field: str = "activation_time") -> Path:
    """When each place is activated, after the first one, with a line between bands of time.

    Args:
        series: Times (ms) on the mesh, negative or not finite where there is none.
        view: How the heart stands.
        path: The picture.
        field: Name of the times.

    Raises:
        InputError: no place has a time.
    """
    values = _known(series, field)
    values -= np.nanmin(values)
    scale = Scale.of(values, mpl.colormaps["plasma"].reversed())
    label = f"Activation after the first one (ms), an isochrone every {scale.apart:g} ms"
    return _map(series.mesh, values, view, scale, label, path)


def time_map(series: Series, view: Stance, path: Path, *, field: str, label: str) -> Path:
    """A duration or time of each place (ms) in bands, as the action potential duration.

    Args:
        series: Times (ms) on the mesh, negative or not finite where there is none.
        view: How the heart stands.
        path: The picture.
        field: Name of the times.
        label: What they are, without unit.

    Raises:
        InputError: no place has a time.
    """
    values = _known(series, field)
    scale = Scale.of(values, mpl.colormaps["viridis"])
    return _map(series.mesh, values, view, scale, f"{label} (ms)", path)


def rotors(
    mesh: pv.UnstructuredGrid,
    v: Array,
    table: Mapping[str, Array],
    view: Stance,
    path: Path,
    *,
    colours: Colormap,
    title: str = "",
) -> Path:
    """The potential at one time, and the lines that waves turned around, by their time.

    Args:
        mesh: The tissue.
        v: Potential at its points (mV).
        table: Columns of ``rotors.csv``: time, centre, start and end of each filament.
        view: How the tissue stands.
        path: The picture.
        colours: Of the potential.
        title: Over the tissue with the potential.
    """
    grid = oriented(mesh)
    grid.point_data["v"] = v
    skin = boundary(grid)
    t = table["t [ms]"]
    times = Normalize(float(t.min(initial=0.0)), float(t.max(initial=1.0)))
    lines = _lines(table, radius=0.012 * view.size)
    mean = v[np.isfinite(v)]
    limits = (float(mean.min()), float(mean.max()))
    potential = {"scalars": "v", "cmap": colours, "clim": limits, **_READABLE}
    glass = {"color": _MUSCLE, "opacity": 0.25, "specular": 0.0}
    trace = {"scalars": "t", "cmap": "cool", "clim": (times.vmin, times.vmax)}
    panels = [render([(smooth(skin, 35.0), potential)], view)]
    edges = skin.extract_feature_edges(feature_angle=35.0)
    parts: list[tuple[pv.DataSet, dict[str, Any]]] = [(smooth(skin, 35.0), glass)]
    parts += [(edges, _INK)] if edges.n_points else []
    parts += [(lines, trace)] if lines is not None else []
    panels.append(render(parts, view))
    with mpl.rc_context(diagrams.STYLE):
        titles = [title or "Transmembrane potential", "Centres of rotation"]
        figure, axes = plates.panels(panels, titles)
        plates.colour_bar(
            figure, axes[:1], colours, Normalize(*limits), "Transmembrane potential (mV)"
        )
        plates.colour_bar(figure, axes[1:], mpl.colormaps["cool"], times, "Time (ms)")
        return plates.save(figure, path)


def slab_stance(mesh: pv.UnstructuredGrid) -> Stance:
    """View of a slab along its thinnest direction among the axes."""
    points = np.asarray(mesh.points)
    low, high = points.min(axis=0), points.max(axis=0)
    thin, _, long = np.argsort(high - low, kind="stable")
    front, across = np.eye(3)[thin], np.eye(3)[long]
    up = np.cross(front, across)
    centre = (low + high) / 2
    size = float(np.linalg.norm(high - low) / 2)
    return Stance(up, across, front, centre, size, centre - up * size, centre)


def _known(series: Series, field: str) -> Array:
    """Times at the points, NaN where there is none."""
    values = series.at_points(0, field).ravel()
    known = np.isfinite(values) & (values >= 0)
    if not known.any():
        raise InputError(str(series.files[0]), f"`{field}` has no value anywhere.")
    return np.where(known, values, np.nan)


def _map(
    mesh: pv.UnstructuredGrid, values: Array, view: Stance, scale: Scale, label: str, path: Path
) -> Path:
    grid = oriented(mesh)
    grid.point_data["time"] = values
    above = view.front + 0.15 * view.up
    opened = open_towards(grid, view, view.front)
    panels = []
    for shown, eye in (
        (boundary(grid), view.front),
        (boundary(grid), -view.front),
        (opened, above / np.linalg.norm(above)),
    ):
        surface = smooth(shown, 35.0)
        parts: list[tuple[pv.DataSet, Mapping[str, object]]] = [(surface, scale.look("time"))]
        if len(scale.levels) > 2:
            lines = surface.contour(scale.levels[1:-1], scalars="time")
            parts += [(lines, _INK)] if lines.n_points else []
        panels.append(render(parts, view, towards=eye))
    with mpl.rc_context(diagrams.STYLE):
        titles = ["Epicardium, from the front", "From behind", "Endocardia, cut open"]
        figure, axes = plates.panels(panels, titles)
        plates.colour_bar(figure, axes, scale.colours, scale.norm, label, scale.levels)
        return plates.save(figure, path)


def _lines(table: Mapping[str, Array], radius: float) -> pv.PolyData | None:
    """A tube per filament through its start, centre and end; a ball where it is a point."""
    ends = [
        np.stack([table[f"{end}{axis} [mm]"] for axis in "xyz"], axis=1)
        for end in ("start ", "", "end ")
    ]
    tubes = []
    for t, *points in zip(table["t [ms]"], *ends, strict=True):
        if np.linalg.norm(points[2] - points[0]) > 1e-6:
            tube = pv.Spline(np.array(points), 12).tube(radius=radius)
        else:
            tube = pv.Sphere(radius=1.5 * radius, center=points[1])
        tube.clear_data()
        tube.point_data["t"] = np.full(tube.n_points, t)
        tubes.append(tube)
    return pv.merge(tubes) if tubes else None
