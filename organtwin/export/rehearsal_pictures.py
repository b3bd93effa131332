"""Pictures of a rehearsal: what the ranks are made of, and what moves the indices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from organtwin.choice import shown
from organtwin.export import plates
from organtwin.export.diagrams import PALETTE, STYLE

#: Most indices and factors of a tornado.
PANELS, BARS = 12, 10
_DOWN, _UP, _LIMIT = "#0072b2", "#d55e00", "#b8322a"


def draw_ranking(ranks: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Scores as bars of what they are made of, best first.

    Args:
        ranks: As in ``ranking.json``.
        path: PNG file.
    """
    criteria = list(dict.fromkeys(name for rank in ranks for name in rank["shares"]))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 0.42 * len(ranks) + 1.9), layout="constrained")
        axes = figure.add_subplot()
        left = [0.0] * len(ranks)
        for k, name in enumerate(criteria):
            widths = [float(rank["shares"].get(name, 0.0)) for rank in ranks]
            axes.barh(range(len(ranks)), widths, left=left, height=0.66, label=name,
                      color=PALETTE[k % len(PALETTE)])  # fmt: skip
            left = [a + b for a, b in zip(left, widths, strict=True)]
        for row, rank in enumerate(ranks):
            if not rank["advised"]:
                axes.text(left[row], row, "  not advised", va="center", fontsize=9, color=_LIMIT)
        axes.set_yticks(range(len(ranks)), [f"{rank['place']}  {rank['name']}" for rank in ranks])
        axes.set_ylim(len(ranks) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("Score: 0 is the best, 1 is bad in everything")
        axes.margins(x=0.12)
        figure.legend(loc="outside lower center", ncols=min(len(criteria), 6), fontsize=9)
        _title(figure, "Plans by rank, and what their scores are made of")
        return plates.save(figure, path)


def draw_tornado(indices: Sequence[Mapping[str, Any]], path: Path, title: str = "") -> Path:
    """How far each factor moves each index, the largest first, with the interval of all.

    Args:
        indices: As in ``sensitivity.json``; those that nothing moves are left out.
        path: PNG file.
        title: Heading.
    """
    chosen = [one for one in indices if one["largest"]][:PANELS]
    columns = min(2, max(len(chosen), 1))
    rows = max(-(-len(chosen) // columns), 1)
    most = max((len(_moving(one)) for one in chosen), default=1)
    with mpl.rc_context(STYLE):
        size = (5.9 * columns, (0.27 * min(most, BARS) + 1.15) * rows + 0.9)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, one in zip(panels, chosen, strict=False):
            _bars(axes, one, min(most, BARS))
        for axes in panels[len(chosen) :]:
            axes.set_visible(False)
        figure.legend(
            handles=[
                Line2D([], [], color=_DOWN, lw=7, label="lower"),
                Line2D([], [], color=_UP, lw=7, label="higher"),
                Line2D([], [], color="#cccccc", lw=7, label="interval of all"),
                Line2D([], [], color=_LIMIT, ls="--", label="threshold"),
            ],
            loc="outside lower center", ncols=4, fontsize=9,
        )  # fmt: skip
        _title(figure, title or "What moves the indices")
        return plates.save(figure, path)


def draw_boundary(bounds: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """What boundary conditions do to indices, beside what all other factors do.

    Args:
        bounds: Of `organtwin.export.rehearsal_page.boundary_changes`.
        path: PNG file.
    """
    chosen = bounds[:PANELS]
    names = list(dict.fromkeys(name for one in chosen for name in one["changes"]))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 0.36 * len(chosen) + 1.9), layout="constrained")
        axes = figure.add_subplot()
        for row, one in enumerate(chosen):
            below, above = one["others"]
            axes.barh(row, below + above, left=-below, height=0.62, color="#d9d9d9",
                      label="all other factors" if row == 0 else None)  # fmt: skip
        for k, name in enumerate(names):
            points = [(one["changes"][name], row) for row, one in enumerate(chosen)
                      if name in one["changes"]]  # fmt: skip
            axes.plot([x for x, _ in points], [row for _, row in points], "o", markersize=7,
                      color=PALETTE[k % len(PALETTE)], label=name)  # fmt: skip
        axes.axvline(0.0, color="#444444", lw=1)
        axes.set_yticks(range(len(chosen)), [one["words"] for one in chosen], fontsize=9)
        axes.set_ylim(len(chosen) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("Change of the index (%)")
        axes.margins(x=0.08)
        figure.legend(loc="outside lower center", ncols=3, fontsize=9)
        _title(figure, "What the boundary conditions change")
        return plates.save(figure, path)


def _moving(one: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [by for by in one["by"] if by["share"] > 0.0][:BARS]


def _bars(axes: Axes, one: Mapping[str, Any], most: int) -> None:
    """One index: a bar for each factor from its value on."""
    value, by = float(one["value"]), _moving(one)
    axes.axvspan(one["low"], one["high"], color="#e4e4e4", lw=0)
    axes.axvline(value, color="#444444", lw=1)
    for row, factor in enumerate(by):
        axes.barh(row, -factor["below"], left=value, height=0.62, color=_DOWN)
        axes.barh(row, factor["above"], left=value, height=0.62, color=_UP)
    reach = axes.get_xlim()
    for limit in one["threshold"]:
        if limit is not None and reach[0] <= limit <= reach[1]:
            axes.axvline(limit, color=_LIMIT, lw=1.2, ls="--")
    axes.set_yticks(range(len(by)), [factor["factor"] for factor in by], fontsize=9)
    axes.set_ylim(most - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=9)
    axes.grid(axis="y", visible=False)
    unit = "" if one["unit"] in ("1", "") else f" ({one['unit']})"
    words = f"{one['name'].replace('_', ' ')}{unit}"
    axes.set_title(f"{words}: {interval(one)}", fontsize=10)


def interval(one: Mapping[str, Any]) -> str:
    """Value and interval of an index, with two digits of its width."""
    low, high = float(one["low"]), float(one["high"])
    if not high > low:
        return shown(float(one["value"]), "1")
    digits = min(max(0, 1 - math.floor(math.log10(high - low))), 6)
    value, least, most = (f"{float(x):.{digits}f}" for x in (one["value"], low, high))
    return f"{value} ({least} to {most})".replace("-", "−")


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, fontsize=14, fontweight="bold", x=0.01, ha="left")
