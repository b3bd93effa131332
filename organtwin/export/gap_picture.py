"""The gap around a valve's skirt, unrolled, and what runs through it."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from organtwin.devices.gap import Gap
from organtwin.devices.leak import Leak
from organtwin.export.diagrams import PALETTE, STYLE


def draw_gap(gap: Gap, leak: Leak, path: Path, *, title: str = "") -> Path:
    """Width of the gap by angle and height, with the flow into each direction above it.

    Args:
        gap: Room between skirt and wall.
        leak: What runs through it.
        path: Image file.
        title: Over the picture.
    """
    turns = np.degrees(gap.rays.turns)
    step = turns[1] - turns[0]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 4.6), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.0, 1.6))
        above.fill_between(turns, leak.entering / step, color=PALETTE[1], step="mid")
        above.set(ylabel="Flow (mL/s per °)", ylim=(0.0, None))
        if title:
            above.set_title(title)
        heights = gap.rays.heights
        rise = 0.5 * (heights[1] - heights[0])
        image = below.imshow(
            gap.width, origin="lower", aspect="auto", cmap="viridis", vmin=0.0,
            extent=(-0.5 * step, 360.0 - 0.5 * step, heights[0] - rise, heights[-1] + rise),
        )  # fmt: skip
        if (gap.width > 0.0).any() and (gap.width == 0.0).any():
            below.contour(turns, heights, gap.width > 0.0, levels=[0.5], colors="white")
        below.grid(visible=False)
        below.set(xlabel="Angle (°)", ylabel="Height (mm)", xticks=range(0, 361, 60))
        figure.colorbar(image, ax=below, label="Gap (mm); white line: contact")
        figure.savefig(path)
    return path
