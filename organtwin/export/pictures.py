"""Pictures of a heartbeat, from the files of its result directory alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyvista as pv
from matplotlib.colors import LinearSegmentedColormap, Normalize

from organtwin.errors import InputError
from organtwin.export import diagrams, plates
from organtwin.export.drawing import Progress, draw_pictures
from organtwin.export.ecg_paper import ROWS, ecg_paper
from organtwin.export.fibre_lines import FibreField, fibre_lines
from organtwin.export.isochrones import isochrones, time_map
from organtwin.export.marks import marked
from organtwin.export.quantities import POTENTIAL, TENSION
from organtwin.export.scene import Stance, Surfaces, boundary, render, smooth, stance, surfaces
from organtwin.export.series import Array, Series, read_series
from organtwin.export.tables import read_table

#: Frames of the beating heart, evenly over the beat.
FRAMES = 24

_MUSCLE = "#e9d8cf"
_SURFACES = {
    "epi": ("#e3a78f", "Epicardium"),
    "lv_endo": ("#c0392b", "Left ventricular endocardium"),
    "rv_endo": ("#2b6cb0", "Right ventricular endocardium"),
    "base": ("#d9d4cc", "Base"),
}
_REGIONS = ("#d98473", "#7fa6cf")

#: Blue through white to red would lose the middle on white; this keeps every angle readable.
_HELIX = LinearSegmentedColormap.from_list(
    "helix", ["#08306b", "#2878b5", "#7fcdbb", "#ffe27a", "#f58518", "#b2182b"]
)

#: Pictures of a heart that moves.
_MOVING = (
    "heartbeat.gif", "pressure_volume_loops.png", "wiggers.png", "right_heart.png", "tissue.png",
)  # fmt: skip

#: Colours that carry numbers get little shade.
_READABLE = {"ambient": 0.62, "diffuse": 0.46, "specular": 0.0}


@dataclass(frozen=True)
class Result:
    """A result directory as the pictures see it; what is asked for is read once."""

    directory: Path

    @cached_property
    def mechanics(self) -> Series:
        """Fields on the mechanics mesh."""
        return read_series(self.directory / "fields" / "mechanics.pvd")

    @cached_property
    def electrophysiology(self) -> Series:
        """Potential on the fine mesh."""
        return read_series(self.directory / "fields" / "electrophysiology.pvd")

    @cached_property
    def activation(self) -> Series:
        """Activation time and fibres on the fine mesh."""
        return read_series(self.directory / "fields" / "activation.pvd")

    @cached_property
    def scalars(self) -> dict[str, Array]:
        """Columns of ``scalars.csv``."""
        path = self.directory / "scalars.csv"
        table = read_table(path)
        if len(next(iter(table.values()))) < 2:
            raise InputError(str(path), "fewer than two rows.", "Wait for the first steps.")
        return table

    @cached_property
    def physics(self) -> str:
        """What was simulated, as the case says."""
        try:
            record = json.loads((self.directory / "run.json").read_text(encoding="utf-8"))
            return str(record["case"]["run"]["physics"])
        except (OSError, ValueError, KeyError):
            return "electromechanics"

    @cached_property
    def anatomy(self) -> Series:
        """The mesh that the heart is shown on: that of the mechanics, if it moved."""
        moved = (self.directory / "fields" / "mechanics.pvd").is_file()
        return self.mechanics if moved else self.activation

    @cached_property
    def region(self) -> Array:
        """Region of each cell of that mesh."""
        return self.anatomy.at_cells(0, "region")

    @cached_property
    def view(self) -> Stance:
        """How the heart stands in every picture."""
        return stance(self.anatomy.mesh, self.region)

    @cached_property
    def surfaces(self) -> Surfaces:
        """Named surfaces of that mesh."""
        return surfaces(self.anatomy.mesh, self.region)


def mesh(result: Result, path: Path) -> Path:
    """The mesh: surfaces by name from the front, and cut open, regions by colour."""
    view = result.view
    named = [
        (smooth(getattr(result.surfaces, name)), {"color": colour})
        for name, (colour, _) in _SURFACES.items()
    ]
    coarse = _unrefined(result.anatomy)
    coarse.cell_data["region"] = result.region[:: result.anatomy.mesh.n_cells // coarse.n_cells]
    centres = coarse.cell_centers().points
    behind = coarse.extract_cells(np.flatnonzero((centres - view.middle) @ view.front < 0.0))
    numbers = np.unique(result.region)
    opened = [
        (
            behind.extract_cells(np.flatnonzero(behind.cell_data["region"] == number)),
            {"color": colour, "show_edges": True, "edge_color": "#4a4a4a", "line_width": 1},
        )
        for number, colour in zip(numbers, _REGIONS, strict=False)
    ]
    eye = _from_above(view)
    panels = [
        marked(render(named, view, towards=eye), view, towards=eye),
        render(opened, view, towards=eye),
    ]
    with mpl.rc_context(diagrams.STYLE):
        figure, axes = plates.panels(panels, ["Surfaces", "Tetrahedra and regions, cut open"])
        plates.legend(axes[0], list(_SURFACES.values()))
        names = ("Left ventricle", "Right ventricle")
        plates.legend(axes[1], list(zip(_REGIONS, names, strict=True)))
        return plates.save(figure, path)


def fibres(result: Result, path: Path) -> Path:
    """Fibres at the epicardium from both sides and at the endocardia, by helix angle."""
    series, view = result.activation, result.view
    if not series.has("fibre"):
        raise InputError(str(series.files[0]), "no field `fibre`.")
    field = FibreField.of(series.mesh, series.at_cells(0, "fibre"))
    panels = []
    scale = {"scalars": "helix_angle", "cmap": _HELIX, "clim": (-75, 75)}

    def lines(surface: pv.PolyData, inwards: float) -> pv.PolyData:
        return fibre_lines(field, surface, view, inwards=inwards).tube(radius=0.42, n_sides=6)

    outside = lines(result.surfaces.epi, 1.0)
    body = smooth(boundary(result.anatomy.mesh))
    skin: dict[str, Any] = {"color": _MUSCLE}
    for eye in (view.front, -view.front):
        seen = render([(body, skin), (outside, scale)], view, towards=eye)
        panels.append(marked(seen, view, towards=eye))
    cut = result.anatomy.mesh.clip(normal=view.front, origin=view.middle, invert=True)
    parts: list[tuple[pv.DataSet, dict[str, Any]]] = [(smooth(cut, 30.0), skin)]
    for name in ("lv_endo", "rv_endo"):
        inside = lines(getattr(result.surfaces, name), -1.0)
        parts.append((inside.clip(normal=view.front, origin=view.middle, invert=True), dict(scale)))
    panels.append(render(parts, view, towards=_from_above(view, 0.15)))
    with mpl.rc_context(diagrams.STYLE):
        figure, axes = plates.panels(
            panels, ["Epicardium, from the front", "From behind", "Endocardia, cut open"]
        )
        plates.colour_bar(
            figure, axes, _HELIX, Normalize(-75, 75), "Helix angle of the fibres (degrees)"
        )
        return plates.save(figure, path)


def activation(result: Result, path: Path) -> Path:
    """When each place is activated, with isochrones."""
    return isochrones(result.activation, result.view, path)


def durations(result: Result, path: Path) -> Path:
    """How long the action potential of each place lasts."""
    label = "Action potential duration, 90 %"
    return time_map(result.activation, result.view, path, field="apd", label=label)


def twelve_leads(result: Result, path: Path) -> Path:
    """The ECG on grid paper; beside the picture a file that prints at true scale."""
    t = result.scalars["t [ms]"]
    leads = {name: result.scalars[f"ecg_{name} [mV]"] for row in ROWS for name in row}
    ecg_paper(t, leads, [path, path.with_suffix(".svg")])
    return path


def potential(result: Result, path: Path) -> Path:
    """Transmembrane potential at four times: spread, plateau, recovery."""
    series, view = result.electrophysiology, result.view
    indices = _four_times(result, series)
    for index in indices:
        values = series.at_points(index, "transmembrane_potential")
        series.mesh.point_data[f"v{index}"] = values
    shell = _shell(series.mesh, view, cut=True)
    panels = []
    for index in indices:
        look = {"scalars": f"v{index}", "cmap": POTENTIAL, "clim": (-90.0, 40.0), **_READABLE}
        panels.append(render([(shell, look)], view, towards=_from_above(view, 0.15)))
    panels[0] = marked(panels[0], view, towards=_from_above(view, 0.15))
    titles = [f"{series.times[index]:.0f} ms" for index in indices]
    with mpl.rc_context(diagrams.STYLE):
        figure, axes = plates.panels(panels, titles, columns=4)
        plates.colour_bar(
            figure, axes, POTENTIAL, Normalize(-90, 40), "Transmembrane potential (mV)"
        )
        return plates.save(figure, path)


def heartbeat(result: Result, path: Path) -> Path:
    """The beating heart cut open, coloured by active tension, as GIF and, with ffmpeg, as MP4."""
    series, view = result.mechanics, result.view
    indices = _frames(series)
    grid = series.mesh.copy()
    for k in indices:
        grid.point_data[f"u{k}"] = series.at_points(k, "displacement")
        grid.point_data[f"T{k}"] = series.at_points(k, "active_tension")
    shell = _cut(grid, view).extract_surface(nonlinear_subdivision=0, algorithm="dataset_surface")
    top = max(float(np.percentile(shell.point_data[f"T{k}"], 99)) for k in indices)
    limit = max(10.0 * np.ceil(top / 10.0), 1.0)
    rest = shell.points.copy()
    frames = []
    for k in indices:
        shell.points = rest + shell.point_data[f"u{k}"]
        shell.point_data["tension"] = shell.point_data[f"T{k}"]
        look = {"scalars": "tension", "cmap": TENSION, "clim": (0.0, limit), **_READABLE}
        eye = _from_above(view, 0.25)
        frames.append(render([(smooth(shell, 35.0), look)], view, towards=eye, pixels=(640, 600)))
    titles = [_title(result, float(series.times[k])) for k in indices]
    return plates.save_film(
        plates.film_frames(frames, titles, TENSION, Normalize(0.0, limit), "Active tension (kPa)"),
        path,
    )


def draw_all(directory: Path, progress: Progress | None = None) -> list[Path]:
    """Draw every picture whose data the result directory holds.

    Args:
        directory: Result directory with ``fields/``, ``scalars.csv``, ``stages/mesh/mesh.json``.
        progress: Called with the fraction done and the name of the next picture.

    Returns:
        The pictures in ``directory/pictures``, in the order of a report. What could not be drawn
        is told, with the reason, in ``pictures/missing.json``.
    """
    result = Result(directory)
    still = result.physics != "electromechanics"
    jobs = {
        name: partial(draw, result)
        for name, draw in _PICTURES.items()
        if not (still and name in _MOVING)
    }
    return draw_pictures(directory, jobs, progress)


def _mesh_histogram(result: Result, path: Path) -> Path:
    file = result.directory / "stages" / "mesh" / "mesh.json"
    if not file.is_file():
        raise InputError(str(file), "no mesh report.")
    quality = json.loads(file.read_text(encoding="utf-8"))["quality"]
    counts, bins = quality["mean_ratio_histogram"], quality["mean_ratio_bins"]
    return diagrams.mesh_histogram(np.asarray(counts), np.asarray(bins), path)


_PICTURES: dict[str, Callable[[Result, Path], Path]] = {
    "heartbeat.gif": heartbeat,
    "pressure_volume_loops.png": lambda r, path: diagrams.pv_loops(r.scalars, path),
    "wiggers.png": lambda r, path: diagrams.wiggers(r.scalars, path),
    "activation.png": activation,
    "potential.png": potential,
    "apd.png": durations,
    "ecg.png": twelve_leads,
    "right_heart.png": lambda r, path: diagrams.circulation(r.scalars, path),
    "tissue.png": lambda r, path: diagrams.tissue(r.scalars, path),
    "fibres.png": fibres,
    "mesh.png": mesh,
    "mesh_quality.png": _mesh_histogram,
}


def _from_above(view: Stance, lift: float = 0.45) -> Array:
    """Direction to an eye in front of the heart and somewhat above it."""
    eye = view.front + lift * view.up
    return np.asarray(eye / np.linalg.norm(eye))


def _cut(grid: pv.UnstructuredGrid, view: Stance) -> pv.UnstructuredGrid:
    """What lies behind a long-axis plane through both ventricles."""
    return grid.clip(normal=view.front, origin=view.middle, invert=True)


def _shell(grid: pv.UnstructuredGrid, view: Stance, *, cut: bool) -> pv.PolyData:
    """Outside of the heart, or of its rear half, ready for smooth shading."""
    return smooth(_cut(grid, view) if cut else boundary(grid), 35.0)


def _unrefined(series: Series) -> pv.UnstructuredGrid:
    """The mesh as it was solved on: one tetrahedron per cell, also where fields are quadratic."""
    grid = pv.read(series.files[0])
    nodes = grid.cell_connectivity.reshape(grid.n_cells, -1)
    return pv.UnstructuredGrid({pv.CellType.TETRA: nodes[:, :4]}, grid.points)


def _frames(series: Series) -> list[int]:
    """Indices of the frames of the film, evenly over the last beat."""
    wanted = np.linspace(series.times[0], series.times[-1], min(FRAMES, len(series.times)))
    return sorted({series.nearest(t) for t in wanted})


def _four_times(result: Result, series: Series) -> list[int]:
    """Spread, all activated, plateau, recovery; from the activation if it is known."""
    t = series.times
    start, end = float(t[0]), float(t[-1])
    spread, full = start + 0.03 * (end - start), start + 0.1 * (end - start)
    try:
        activated = result.scalars["activated [%]"]
        clock = result.scalars["t [ms]"]
        spread = float(clock[np.argmax(activated >= min(40.0, activated.max()))])
        full = float(clock[np.argmax(activated >= 0.98 * activated.max())])
    except (InputError, KeyError):
        pass
    chosen: list[int] = []
    for wanted in (spread, full + 20.0, full + 0.25 * (end - full), full + 0.37 * (end - full)):
        index = series.nearest(wanted)
        while index in chosen and index + 1 < len(t):
            index += 1
        chosen.append(index)
    return chosen


def _title(result: Result, t: float) -> str:
    """Time and, where the scalars tell them, volume and pressure of the left ventricle."""
    try:
        row = result.scalars
        clock, volume, pressure = row["t [ms]"], row["V_lv [mL]"], row["p_lv [mmHg]"]
    except (InputError, KeyError):
        return f"{t:4.0f} ms"
    v, p = (float(np.interp(t, clock, column)) for column in (volume, pressure))
    return f"{t:4.0f} ms   left ventricle {v:3.0f} mL, {p:3.0f} mmHg"
