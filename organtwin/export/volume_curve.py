"""Volume of a ventricle through the beat, as a picture with its end-diastole and end-systole."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.export import plates
from organtwin.export.diagrams import COLOURS, STYLE

type Array = NDArray[np.float64]


def volume_curve(
    times: Array,
    volumes: Array,
    path: Path,
    *,
    cycle: float | None = None,
    reference: tuple[Array, Array] | None = None,
    name: str = "Left ventricle",
) -> Path:
    """Volume against time, with the numbers that doctors read off it.

    Args:
        times: Of the phases from the trigger (ms), shape (n,).
        volumes: Of the pool (mL), shape (n,).
        path: PNG file to write.
        cycle: Length of the beat (ms); with it the curve is closed.
        reference: Times (ms) and volumes (mL) from elsewhere, to compare with.
        name: Of the chamber, for the title.

    Raises:
        InputError: fewer than two phases, or as many times as volumes are not given.
    """
    if len(times) != len(volumes) or len(times) < 2:
        raise InputError(
            "volume curve",
            f"{len(times)} times and {len(volumes)} volumes.",
            "Give a time and a volume for each of at least two phases.",
        )
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.8), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        if reference is not None:
            _line(
                axes,
                *reference,
                cycle,
                COLOURS["valve"],
                "s",
                f"reference: {_numbers(reference[1])}",
            )
        _line(axes, times, volumes, cycle, COLOURS["lv"], "o", f"segmented: {_numbers(volumes)}")
        _mark(axes, times, volumes, int(np.argmax(volumes)), "ED", 10)
        _mark(axes, times, volumes, int(np.argmin(volumes)), "ES", -18)
        axes.set(xlabel="Time from the trigger (ms)", ylabel="Volume (mL)")
        top = max(float(volumes.max()), 0.0 if reference is None else float(reference[1].max()))
        axes.set_ylim(0.0, 1.18 * top)
        axes.set_xlim(left=0.0)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), borderpad=0.0)
        figure.suptitle(
            f"{name}: volume through the beat", fontsize=14, fontweight="bold", x=0.01, ha="left"
        )
        return plates.save(figure, path)


def _numbers(volumes: Array) -> str:
    full, empty = float(volumes.max()), float(volumes.min())
    return f"EDV {full:.0f} mL, ESV {empty:.0f} mL, EF {100.0 * (1.0 - empty / full):.0f} %"


def _line(
    axes: Axes, times: Array, volumes: Array, cycle: float | None, colour: str, marker: str,
    label: str,
) -> None:  # fmt: skip
    if cycle is not None and cycle > times[-1]:
        axes.plot([times[-1], cycle], [volumes[-1], volumes[0]], color=colour, linestyle=":")
    axes.plot(times, volumes, color=colour, marker=marker, markersize=5, label=label)


def _mark(axes: Axes, times: Array, volumes: Array, phase: int, text: str, shift: float) -> None:
    axes.annotate(
        text, (times[phase], volumes[phase]), (0, shift), textcoords="offset points",
        ha="center", fontweight="bold",
    )  # fmt: skip
