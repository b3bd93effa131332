"""Pictures of device frames: their struts at several stages, coloured by strain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pyvista as pv
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from organtwin.export.diagrams import STYLE
from organtwin.export.plates import Picture, colour_bar, panels, save
from organtwin.export.series import Array

#: Length of the bar that tells the scale (mm).
BAR = 10.0


@dataclass(frozen=True)
class Stage:
    """A frame as it is drawn.

    Attributes:
        title: Over the picture.
        points: Positions of the nodes of each copy (mm), (copies, n, 3), z upwards.
        ends: Nodes of each element, (m, 2).
        values: What the elements are coloured by, (m,).
    """

    title: str
    points: Array
    ends: NDArray[np.int64]
    values: Array


def draw_frames(
    stages: Sequence[Stage],
    path: Path,
    *,
    width: float,
    label: str,
    largest: float,
    columns: int = 3,
) -> Path:
    """Frames at several stages, from the side and a little from above, all to the same scale.

    Args:
        stages: What to draw.
        path: Image file.
        width: Of the struts (mm); they are drawn round.
        label: What the colours are.
        largest: Value of the last colour; the first is that of 0.
        columns: Pictures in a row.
    """
    size = max(float(np.ptp(stage.points[..., 2])) for stage in stages)
    wide = max(float(np.abs(stage.points[..., :2]).max()) for stage in stages)
    norm, colours = Normalize(0.0, largest), mpl.colormaps["viridis"]
    images = [_render(stage, width, max(0.62 * size, 1.25 * wide), largest) for stage in stages]
    with mpl.rc_context(STYLE):
        figure, axes = panels(images, [stage.title for stage in stages], columns)
        colour_bar(figure, axes, colours, norm, label)
        return save(figure, path)


def _render(stage: Stage, width: float, scale: float, largest: float) -> Picture:
    plotter = pv.Plotter(off_screen=True, window_size=[700, 700])
    plotter.set_background("white")
    plotter.add_mesh(
        _tubes(stage, width), scalars="value", clim=(0.0, largest), cmap="viridis",
        show_scalar_bar=False, smooth_shading=True, ambient=0.35, diffuse=0.7, specular=0.2,
    )  # fmt: skip
    middle = 0.5 * (stage.points[..., 2].min() + stage.points[..., 2].max())
    eye = np.array([0.0, -np.cos(0.25), np.sin(0.25)])
    low = middle - 0.96 * scale
    plotter.add_mesh(pv.Line((-BAR / 2, 0, low), (BAR / 2, 0, low)), color="black", line_width=4)
    plotter.camera.focal_point = (0.0, 0.0, middle)
    plotter.camera.position = np.array([0.0, 0.0, middle]) + 10 * scale * eye
    plotter.camera.up = (0.0, 0.0, 1.0)
    plotter.camera.parallel_projection = True
    plotter.camera.parallel_scale = scale
    plotter.enable_anti_aliasing("ssaa")
    image = np.asarray(plotter.screenshot(return_img=True))
    plotter.close()
    return image


def _tubes(stage: Stage, width: float) -> pv.PolyData:
    """All struts as tubes; chains of elements are joined, so that they have no gaps at bends."""
    copies, count = stage.points.shape[:2]
    ends = (stage.ends[None] + count * np.arange(copies)[:, None, None]).reshape(-1, 2)
    lines = np.column_stack([np.full(len(ends), 2), ends]).ravel()
    mesh = pv.PolyData(stage.points.reshape(-1, 3), lines=lines)
    mesh.cell_data["value"] = np.tile(stage.values, copies)
    return mesh.cell_data_to_point_data().strip(join=True).tube(radius=width / 2, n_sides=10)


@dataclass(frozen=True)
class Line:
    """A curve of a diagram.

    Attributes:
        name: In the legend.
        x, y: Its points.
        style: As matplotlib knows it, for example ``"C0--"``.
    """

    name: str
    x: Array
    y: Array
    style: str = "-"


@dataclass(frozen=True)
class Diagram:
    """Axes with curves.

    Attributes:
        title: Over them.
        x, y: Labels.
        lines: Curves.
    """

    title: str
    x: str
    y: str
    lines: Sequence[Line]


def draw_diagrams(diagrams: Sequence[Diagram], path: Path) -> Path:
    """Diagrams of bench tests side by side."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(diagrams), figsize=(5.6 * len(diagrams), 4.2), squeeze=False,
            layout="constrained",
        )  # fmt: skip
        for where, diagram in zip(axes[0], diagrams, strict=True):
            for line in diagram.lines:
                where.plot(line.x, line.y, line.style, label=line.name)
            where.set(title=diagram.title, xlabel=diagram.x, ylabel=diagram.y)
            where.legend(fontsize=9)
        return save(figure, path)
