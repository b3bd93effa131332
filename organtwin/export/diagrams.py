"""Curves: pressure-volume loops, a Wiggers diagram, the ECG, the mesh's histogram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from organtwin.export.series import Array

#: Colours that people with any colour vision tell apart (Okabe & Ito 2008).
COLOURS = {
    "lv": "#d55e00",
    "rv": "#0072b2",
    "aorta": "#cc3377",
    "atrium": "#009e73",
    "volume": "#444444",
    "ecg": "#222222",
    "valve": "#999999",
}

#: Unlike colours for regions and labels, the largest first; that many have room in a legend.
PALETTE = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#8c510a",
    "#5ab4ac", "#762a83", "#b8e186", "#fb9a99", "#a6761d", "#bdbdbd",
)  # fmt: skip

STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Source Sans 3", "DejaVu Sans"],
    "font.size": 11,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.labelcolor": "#222222",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelcolor": "#222222",
    "ytick.labelcolor": "#222222",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "legend.facecolor": "white",
    "legend.edgecolor": "none",
    "legend.framealpha": 0.9,
    "legend.fancybox": False,
    "figure.dpi": 100,
    "savefig.dpi": 140,
    "savefig.facecolor": "white",
}

type Table = Mapping[str, Array]


def pv_loops(scalars: Table, path: Path) -> Path:
    """Pressure against volume of both ventricles, with the volumes that doctors read off."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 5.2), layout="constrained")
        axes = figure.add_subplot()
        for side, name in (("lv", "Left ventricle"), ("rv", "Right ventricle")):
            v, p = scalars[f"V_{side} [mL]"], scalars[f"p_{side} [mmHg]"]
            colour = COLOURS[side]
            stroke = v[0] - v.min()  # the beat starts at the end of diastole
            label = f"{name}: SV {stroke:.0f} mL, EF {100 * stroke / v[0]:.0f} %"
            axes.plot(v, p, color=colour, label=label)
            _arrows(axes, v, p, colour)
            axes.plot(v[0], p[0], "o", color=colour, markersize=6, markeredgecolor="white")
        axes.set(xlabel="Volume (mL)", ylabel="Pressure (mmHg)")
        axes.margins(x=0.06, y=0.06)
        axes.set_ylim(bottom=0)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2, borderpad=0.0)
        figure.suptitle("Pressure–volume loops", fontsize=14, fontweight="bold", x=0.01, ha="left")
        return _save(figure, path)


def wiggers(scalars: Table, path: Path) -> Path:
    """Pressures, volume and ECG of the left heart on one time axis, with the valves' events."""
    t = scalars["t [ms]"]
    with mpl.rc_context(STYLE):
        has_ecg = "ecg_II [mV]" in scalars
        figure = Figure(figsize=(11.0, 8.2 if has_ecg else 6.4), layout="constrained")
        heights = [3.0, 1.6, 1.2] if has_ecg else [3.0, 1.6]
        rows = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        events = valve_events(scalars)
        _phases(list(rows), events, float(t[-1]))
        for column, name, colour in (
            ("p_lv [mmHg]", "Left ventricle", COLOURS["lv"]),
            ("p_ar_sys [mmHg]", "Systemic arteries", COLOURS["aorta"]),
            ("p_la [mmHg]", "Left atrium", COLOURS["atrium"]),
        ):
            rows[0].plot(t, scalars[column], color=colour, label=name)
        rows[0].set(ylabel="Pressure (mmHg)", ylim=(0, None))
        rows[0].legend(loc="upper right", ncols=1)
        for side, name in (("lv", "Left ventricle"), ("rv", "Right ventricle")):
            rows[1].plot(t, scalars[f"V_{side} [mL]"], color=COLOURS[side], label=name)
        rows[1].set(ylabel="Volume (mL)")
        rows[1].legend(loc="lower right", ncols=2)
        if has_ecg:
            factor, unit = _ecg_unit([scalars["ecg_II [mV]"]])
            rows[2].plot(t, factor * scalars["ecg_II [mV]"], color=COLOURS["ecg"], linewidth=1.6)
            rows[2].set(ylabel=f"ECG II ({unit})")
        rows[-1].set(xlabel="Time (ms)", xlim=(float(t[0]), float(t[-1])))
        figure.suptitle(
            "The heartbeat over time", fontsize=14, fontweight="bold", x=0.01, ha="left"
        )
        figure.align_ylabels()
        return _save(figure, path)


def circulation(scalars: Table, path: Path) -> Path:
    """Flows through the four valves and the pressures of the right heart."""
    t = scalars["t [ms]"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 5.2), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        for column, name, colour, dash in (
            ("Q_av [mL/s]", "Aortic", COLOURS["lv"], "-"),
            ("Q_mv [mL/s]", "Mitral", COLOURS["lv"], "--"),
            ("Q_pv [mL/s]", "Pulmonary", COLOURS["rv"], "-"),
            ("Q_tv [mL/s]", "Tricuspid", COLOURS["rv"], "--"),
        ):
            upper.plot(t, scalars[column], dash, color=colour, label=f"{name} valve", linewidth=1.7)
        upper.set(ylabel="Flow (mL/s)", title="Right heart and valves")
        upper.margins(y=0.15)
        upper.legend(ncols=4, loc="upper right")
        for column, name, colour in (
            ("p_rv [mmHg]", "Right ventricle", COLOURS["rv"]),
            ("p_ar_pul [mmHg]", "Pulmonary arteries", COLOURS["aorta"]),
            ("p_ra [mmHg]", "Right atrium", COLOURS["atrium"]),
        ):
            lower.plot(t, scalars[column], color=colour, label=name)
        lower.set(ylabel="Pressure (mmHg)", xlabel="Time (ms)", xlim=(float(t[0]), float(t[-1])))
        lower.margins(y=0.25)
        lower.set_ylim(bottom=0)
        lower.legend(ncols=3, loc="upper right")
        return _save(figure, path)


def tissue(scalars: Table, path: Path) -> Path:
    """Activation, calcium and tension of the muscle, averaged, and what is lost of its volume."""
    t = scalars["t [ms]"]
    volume = scalars["tissue_volume [mL]"]
    panels = (
        ("Activated (%)", scalars["activated [%]"], COLOURS["rv"]),
        ("Mean calcium (µM)", scalars["calcium_mean [uM]"], COLOURS["atrium"]),
        ("Mean active tension (kPa)", scalars["active_tension_mean [kPa]"], COLOURS["lv"]),
        ("Change of tissue volume (%)", 100 * (volume / volume[0] - 1.0), COLOURS["volume"]),
    )
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 4.8), layout="constrained")
        grid = figure.subplots(2, 2, sharex=True)
        for axes, (label, values, colour) in zip(grid.ravel(), panels, strict=True):
            axes.plot(t, values, color=colour)
            axes.set_title(label, fontsize=11, fontweight="normal")
            axes.set_xlim(float(t[0]), float(t[-1]))
        for axes in grid[1]:
            axes.set_xlabel("Time (ms)")
        return _save(figure, path)


def mesh_histogram(counts: Array, bins: Array, path: Path) -> Path:
    """How many cells have which shape; 1 is a regular tetrahedron, 0 a flat one."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.0, 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.bar(bins[:-1], counts, np.diff(bins) * 0.94, align="edge", color=COLOURS["rv"])
        axes.grid(axis="x", visible=False)
        axes.set(
            xlabel="Mean ratio (1: regular tetrahedron)", ylabel="Cells", title="Shape of the cells"
        )
        axes.set_xlim(float(bins[0]), float(bins[-1]))
        return _save(figure, path)


def valve_events(scalars: Table) -> dict[str, float]:
    """Times (ms) at which the left heart's valves open and close, from the flows.

    Returns:
        ``mitral closes``, ``aortic opens``, ``aortic closes``, ``mitral opens``: those found.
    """
    t = scalars["t [ms]"]
    events: dict[str, float] = {}
    for valve, column in (("aortic", "Q_av [mL/s]"), ("mitral", "Q_mv [mL/s]")):
        flow = scalars[column]
        is_open = flow > 0.02 * max(float(flow.max()), 1e-9)
        change = np.flatnonzero(np.diff(is_open.astype(int)))
        for i in change:
            event = f"{valve} opens" if is_open[i + 1] else f"{valve} closes"
            events.setdefault(event, float(t[i + 1]))
    return events


def _ecg_unit(leads: Sequence[Array]) -> tuple[float, str]:
    """Factor from mV and name of the unit in which the leads are readable."""
    return (1.0, "mV") if max(float(np.max(np.abs(lead))) for lead in leads) > 0.1 else (1e3, "µV")


def _phases(rows: list[Axes], events: Mapping[str, float], end: float) -> None:
    """Mark the valves' events, and name them above the uppermost panel."""
    short = {
        "mitral closes": "mitral\ncloses", "aortic opens": "aortic\nopens",
        "aortic closes": "aortic\ncloses", "mitral opens": "mitral\nopens",
    }  # fmt: skip
    for axes in rows:
        for t in events.values():
            axes.axvline(t, color=COLOURS["valve"], linewidth=1.0, linestyle=(0, (4, 3)))
    previous = -np.inf
    for name, t in sorted(events.items(), key=lambda item: item[1]):
        close = t - previous < 0.09 * end
        rows[0].annotate(
            short[name], (t, 1.0), xycoords=("data", "axes fraction"),
            xytext=(3 if close else -3, 3), textcoords="offset points",
            ha="left" if close else "right", va="bottom", fontsize=9, color="#666666",
        )  # fmt: skip
        previous = t


def _arrows(axes: Axes, v: Array, p: Array, colour: str) -> None:
    """Arrow heads along a loop, at equal parts of its drawn length."""
    scale = np.hypot(np.gradient(v) / max(np.ptp(v), 1e-9), np.gradient(p) / max(np.ptp(p), 1e-9))
    length = np.cumsum(scale)
    for part in (0.12, 0.37, 0.62, 0.87):
        i = int(np.searchsorted(length, part * length[-1]))
        j = min(i + max(len(v) // 100, 1), len(v) - 1)
        if j > i and (v[i], p[i]) != (v[j], p[j]):
            axes.annotate(
                "", (v[j], p[j]), (v[i], p[i]),
                arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 0, "mutation_scale": 16},
            )  # fmt: skip


def _save(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
