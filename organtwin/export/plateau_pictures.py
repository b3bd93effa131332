"""Pictures of a tibial plateau: pressure of its cartilage, seen from above."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from organtwin.errors import InputError
from organtwin.export.implant_scene import OperatedView
from organtwin.export.views import save
from organtwin.orthopaedics.assessment import prefix_of
from organtwin.orthopaedics.operation import Load
from organtwin.orthopaedics.plateau_assessment import PLACES, PRESSURE

#: Size of a column's mark (points²) and of a panel (inches).
MARK, PANEL = 14.0, 4.4


def draw_pressure(view: OperatedView, load: Load, path: Path) -> Path:
    """Pressure between the cartilages at each stage of healing, seen from above.

    Raises:
        InputError: the pressure was not judged.
    """
    stages = view.operation.healing
    names = [f"{prefix_of(view.operation, load, stage)}{PRESSURE}" for stage in stages]
    if PLACES not in view.maps or any(name not in view.maps for name in names):
        raise InputError("cartilage", "no pressure was judged.", "Set cartilage = true.")
    _, anterior, proximal = view.axes
    right = np.cross(anterior, proximal)
    places = np.asarray(view.maps[PLACES])
    x, y = places @ right, places @ anterior
    x, y = x - x.mean(), y - y.mean()
    values = [np.asarray(view.maps[name]) for name in names]
    most = max(float(np.nanmax(np.concatenate(values))), 1e-3)
    figure = Figure(figsize=(PANEL * len(stages), 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    grid = list(figure.subplots(1, len(stages), squeeze=False)[0])
    colours = mpl.colormaps["magma_r"]
    for ax, stage, pressure in zip(grid, stages, values, strict=True):
        pressed = pressure > 0.0
        ax.scatter(x, y, s=MARK, c="#dddddd", marker="s", linewidths=0)
        shown = ax.scatter(x[pressed], y[pressed], s=MARK, c=pressure[pressed], cmap=colours,
                           vmin=0.0, vmax=most, marker="s", linewidths=0)  # fmt: skip
        ax.set_title(stage.name, fontsize=10.5)
        ax.set_aspect("equal")
        ax.set_xlabel("medial →" if right @ view.axes[0] > 0.0 else "← medial")
    grid[0].set_ylabel("anterior → (mm)")
    figure.colorbar(shown, ax=grid, label="Pressure of the cartilage (MPa)", shrink=0.9)
    return save(figure, path)
