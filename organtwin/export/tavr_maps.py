"""Maps of a deployed valve: contact and leak unrolled, and the frame level by level."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch
from numpy.typing import NDArray

from organtwin.aortic_root.outline import Outline
from organtwin.devices.gap import Gap, Rays, first_hit
from organtwin.devices.leak import Leak
from organtwin.errors import InputError
from organtwin.export.diagrams import PALETTE, STYLE
from organtwin.export.tavr_pictures import PRESSURE
from organtwin.export.tavr_scene import COLOURS, NAMES, PATCHES
from organtwin.export.tavr_view import Valve, averaged, ceiling, edges, names_at
from organtwin.export.views import save
from organtwin.tavr.frame_indices import sections

Array = NDArray[np.float64]

#: Steps of maps: around (degrees) and along (mm).
AROUND, ALONG = 1.5, 0.3
#: Room below and above the frame (mm).
ROOM = 4.0
LEVELS = {
    "inflow": "Inflow", "annulus": "Annulus", "leaflets": "Leaflets (waist)",
    "outflow": "Outflow",
}  # fmt: skip
_FRAME, _NOMINAL, _WALL = "#1f5f99", "#b8322a", "#9c8f8a"


def draw_contact_map(valve: Valve, path: Path, *, title: str = "") -> Path:
    """Contact pressure by direction and height, with struts, cusps, septum, ostia and annulus.

    Colours are the pressure averaged over discs of 2 mm; dots stand where struts press.

    Args:
        valve: The valve.
        path: PNG file.
        title: Heading.
    """
    one = valve.deployed
    heights = _heights(valve)
    turns, at = valve.wall_at(heights, round(360.0 / AROUND))
    pressure = np.full(at.shape[:2], np.nan)
    there = np.isfinite(at[..., 0])
    pressure[there] = averaged(one.pressed.places, one.pressed.normal, at[there])
    top = ceiling(pressure[there & (np.nan_to_num(pressure) > 0.0)])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.4, 5.6), layout="constrained")
        FigureCanvasAgg(figure)
        ax = figure.add_subplot()
        image = ax.pcolormesh(turns, heights, pressure, cmap=PRESSURE, vmin=0.0, vmax=top,
                              shading="nearest", rasterized=True)  # fmt: skip
        ax.set_facecolor("#e3e3e3")
        _struts(ax, valve)
        flat = valve.unrolled(one.pressed.places)
        size = np.sqrt(np.maximum(valve.local_pressure, 0.0))
        most = float(size.max()) if len(size) else 1.0
        ax.scatter(*flat.T, s=3.0 + 30.0 * size / most, facecolors="none", edgecolors="black",
                   linewidths=0.9, zorder=5)  # fmt: skip
        _landmarks(ax, valve)
        bar = figure.colorbar(image, ax=ax, pad=0.01, aspect=30, extend="max")
        bar.set_label("Contact pressure, averaged over\ndiscs of 2 mm radius (kPa)")
        bar.ax.grid(visible=False)
        largest = float(valve.local_pressure.max()) if len(flat) else 0.0
        handles = [
            Line2D([], [], color="#56616e", linewidth=1.0, label="Struts"),
            Line2D([], [], marker="o", color="black", markerfacecolor="none", linestyle="",
                   label=f"Strut presses (larger: harder; most {largest:.0f} kPa under it)"),
            *_landmark_handles(valve),
        ]  # fmt: skip
        figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=10)
        _axes(ax, title)
        return save(figure, path)


def draw_leak_map(
    valve: Valve, gap: Gap, leak: Leak | None, path: Path, *, title: str = ""
) -> Path:
    """Width of the gap around the skirt by direction and height, and what runs into it.

    Args:
        valve: The valve.
        gap: Room between skirt and wall, about the frame's own axis.
        leak: What runs through it; none if that is not known.
        path: PNG file.
        title: Heading.
    """
    shift = gap.rays.axes[0] @ valve.axes.T
    turns = np.degrees(gap.rays.turns + np.arctan2(shift[1], shift[0]))
    turns = (turns + 180.0) % 360.0 - 180.0
    order = np.argsort(turns)
    turns, width = turns[order], gap.width[:, order]
    heights = gap.rays.heights
    top = ceiling(width[width > 0.0], 100.0)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.4, 5.2), layout="constrained")
        FigureCanvasAgg(figure)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.0, 1.7))
        if leak is not None:
            step = 360.0 / gap.rays.count
            above.fill_between(turns, leak.entering[order] / step, color=PALETTE[4], step="mid")
            above.set_ylim(0.0, None)
            told = f"{leak.flow:.1f} mL/s in diastole"
        else:
            told = "flow not known"
        above.set_ylabel("Flow into the gap\n(mL/s per °)")
        above.set_title(f"{title + ': ' if title else ''}{told}; {100 * gap.sealed:.0f} % of the "
                        "directions sealed")  # fmt: skip
        image = below.pcolormesh(turns, heights, width, cmap="viridis", vmin=0.0, vmax=top,
                                 shading="nearest", rasterized=True)  # fmt: skip
        if (width > 0.0).any() and (width == 0.0).any():
            below.contour(turns, heights, (width > 0.0).astype(float), [0.5], colors="white",
                          linewidths=1.4)  # fmt: skip
        low, high = float(heights[0]), float(heights[-1])
        for name, turn in names_at(valve.middles).items():
            _name(below, name, turn)
        ring = float((valve.origin - gap.rays.origin) @ gap.rays.axes[2])
        if low < ring < high:
            below.axhline(ring, color="white", linestyle="--", linewidth=1.6)
            below.annotate("annulus", (-179.0, ring), xytext=(2, 3), textcoords="offset points",
                           color="white", fontsize=9.5)  # fmt: skip
        below.grid(visible=False)
        below.set(ylabel="Height over the\ninflow (mm)", xlim=(-180.0, 180.0))
        _degrees(below)
        bar = figure.colorbar(image, ax=[above, below], pad=0.01, aspect=30)
        bar.set_label("Gap (mm); white line: contact")
        bar.ax.grid(visible=False)
        return save(figure, path)


def draw_levels(valve: Valve, path: Path, *, title: str = "") -> Path:
    """The frame's outline at inflow, annulus, leaflets and outflow, seen from the aorta.

    Args:
        valve: The valve; its root must be known.
        path: PNG file.
        title: Heading.

    Raises:
        InputError: the root is not known, or the frame has no section.
    """
    if valve.root is None:
        raise InputError("levels", "the measures of the root are not known.", "Measure it.")
    cuts, missed = sections(valve.deployed, valve.root)
    if not cuts:
        raise InputError("levels", " ".join(missed), "Look at the frame in ParaView.")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.15 * len(cuts), 4.3), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, len(cuts), squeeze=False)[0]
        reach = 0.0
        for ax, (name, cut) in zip(axes, cuts.items(), strict=True):
            # The annulus is cut in the root's directions, the others in the frame's own.
            origin = valve.origin if name == "annulus" else valve.deployed.origin
            reach = max(reach, _level(ax, valve, cut.outline, origin))
            least, most = cut.outline.calipers
            ax.set_title(
                f"{LEVELS[name]}\n{least:.1f} × {most:.1f} mm", fontsize=11.5, loc="center"
            )
            ax.text(0.5, -0.02, f"expansion {100 * cut.expansion:.0f} %\n"
                    f"eccentricity {cut.eccentricity:.2f}", transform=ax.transAxes, ha="center",
                    va="top", fontsize=10)  # fmt: skip
        for ax in axes:
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            ax.set_axis_off()
        low = -0.97 * reach
        axes[0].plot([low, low + 10.0], [low, low], color="black", linewidth=3)
        axes[0].text(low + 5.0, low + 0.02 * reach, "10 mm", fontsize=9, ha="center", va="bottom")
        handles = [
            Line2D([], [], color=_FRAME, label="Outer side of the struts"),
            Line2D([], [], color=_FRAME, linewidth=1.0, label="Least diameter"),
            Line2D([], [], color=_FRAME, linewidth=1.0, linestyle="--", label="Largest diameter"),
            Line2D([], [], color=_NOMINAL, linestyle=":",
                   label=f"Nominal, {valve.deployed.nominal:g} mm"),
            Line2D([], [], color=_WALL, label="Inner wall"),
        ]  # fmt: skip
        figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=10)
        if title:
            figure.suptitle(title, fontsize=13, fontweight="bold", x=0.01, ha="left")
        return save(figure, path)


def _level(ax: Axes, valve: Valve, outline: Outline, origin: Array) -> float:
    """One section in its plane, the right cusp to the right; returns how far it reaches (mm)."""
    up = outline.axes[2]
    first = valve.axes[0] - (valve.axes[0] @ up) * up
    first /= np.linalg.norm(first)
    across = np.stack([first, np.cross(up, first)])
    middle = outline.centre
    ring = (outline.points - middle) @ across.T
    ring = np.vstack([ring, ring[:1]])
    ax.fill(*ring.T, color=_FRAME, alpha=0.10, linewidth=0)
    ax.plot(*ring.T, color=_FRAME, linewidth=2.2)
    ax.add_patch(Circle((0.0, 0.0), 0.5 * valve.deployed.nominal, fill=False, color=_NOMINAL,
                        linestyle=":", linewidth=1.8))  # fmt: skip
    reach = max(float(np.hypot(*ring.T).max()), 0.5 * valve.deployed.nominal)
    rays = Rays(origin + middle, np.vstack([across, up]), np.zeros(1), 360)
    wall = first_hit(*valve.deployed.wall, rays)[0]
    if np.isfinite(wall).any():
        far = np.where(np.isfinite(wall), wall, np.nan)
        ends = far[:, None] * np.stack([np.cos(rays.turns), np.sin(rays.turns)], axis=1)
        ends = np.vstack([ends, ends[:1]])
        ax.plot(*ends.T, color=_WALL, linewidth=1.6, zorder=1)
        reach = max(reach, float(np.nanmax(far)))
    turn = np.arange(180) * np.pi / 180.0
    way = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    extent = ring @ way.T
    widths = extent.max(axis=0) - extent.min(axis=0)
    for best, style in ((int(np.argmin(widths)), "-"), (int(np.argmax(widths)), "--")):
        mean = 0.5 * (extent[:, best].max() + extent[:, best].min())
        ends = np.stack([mean - 0.5 * widths[best], mean + 0.5 * widths[best]])[:, None] * way[best]
        ax.plot(*ends.T, style, color=_FRAME, linewidth=1.0)
    letters = 1.13 * reach
    for name, degrees in names_at(valve.middles).items():
        x, y = letters * np.cos(np.radians(degrees)), letters * np.sin(np.radians(degrees))
        ax.text(x, y, name[0], ha="center", va="center", fontsize=11, fontweight="bold",
                color="#444444")  # fmt: skip
    return 1.25 * reach


def _heights(valve: Valve) -> Array:
    """Heights that a map of the frame shows (mm over the annulus)."""
    frame = valve.own(valve.deployed.nodes)[:, 2]
    wall = valve.own(valve.deployed.wall[0])[:, 2]
    low = max(float(frame.min()) - ROOM, float(wall.min()))
    high = min(float(frame.max()) + ROOM, float(wall.max()))
    if not high > low:
        raise InputError("map", "the frame lies outside of the wall.", "Look at its place.")
    return np.linspace(low, high, max(int((high - low) / ALONG), 2))


def _struts(ax: Axes, valve: Valve) -> None:
    lines = valve.unrolled(valve.deployed.nodes)[valve.deployed.ends]
    kept = np.abs(np.diff(lines[..., 0], axis=1)).ravel() < 180.0
    ax.add_collection(LineCollection(list(lines[kept]), colors="#56616e", linewidths=0.8,
                                     alpha=0.75))  # fmt: skip


def _landmarks(ax: Axes, valve: Valve) -> None:
    """Annulus, borders of the cusps, names, septum and ostia."""
    ax.axhline(0.0, color=COLOURS["annulus"], linewidth=1.6, linestyle="--", zorder=4)
    low, high = ax.get_ylim()
    names = names_at(valve.middles)
    for name, turn in names.items():
        _name(ax, name, turn)
    middles = sorted(names.values())
    for a, b in zip(middles, [*middles[1:], middles[0] + 360.0], strict=True):
        ax.axvline((0.5 * (a + b) + 180.0) % 360.0 - 180.0, color="#666666", linewidth=0.9,
                   linestyle=":", zorder=3)  # fmt: skip
    for name in PATCHES:
        if name not in valve.deployed.surfaces:
            continue
        points, triangles = valve.deployed.surfaces[name]
        flat = valve.unrolled(points)
        middle = float(np.degrees(np.angle(np.exp(1j * np.radians(flat[:, 0])).mean())))
        flat[:, 0] = (flat[:, 0] - middle + 180.0) % 360.0 - 180.0 + middle
        ax.add_collection(PolyCollection(list(flat[triangles]), facecolors=COLOURS[name],
                                         alpha=0.22, linewidths=0, zorder=3))  # fmt: skip
        ax.add_collection(LineCollection(list(flat[edges(triangles)]), colors=COLOURS[name],
                                         linewidths=2.2, zorder=4))  # fmt: skip
    ax.set_ylim(low, high)


def _name(ax: Axes, name: str, turn: float) -> None:
    """A cusp's name over its middle."""
    side = "left" if turn < -155.0 else "right" if turn > 155.0 else "center"
    ax.annotate(name, (turn, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 5),
                textcoords="offset points", ha=side, fontsize=11)  # fmt: skip


def _landmark_handles(valve: Valve) -> list[Line2D | Patch]:
    found = [
        Patch(facecolor=COLOURS[name], alpha=0.6, label=NAMES[name])
        for name in PATCHES if name in valve.deployed.surfaces
    ]  # fmt: skip
    lines = [
        Line2D([], [], color=COLOURS["annulus"], linestyle="--", label="Annulus"),
        Line2D([], [], color="#666666", linestyle=":", linewidth=1.0, label="Between cusps"),
        Patch(facecolor="#e3e3e3", label="No wall there: leaflets, ends"),
    ]
    return [*found, *lines]


def _axes(ax: Axes, title: str) -> None:
    ax.set(xlim=(-180.0, 180.0), ylabel="Height over the annulus (mm)")
    ax.grid(visible=False)
    _degrees(ax)
    if title:
        ax.set_title(title, pad=22)


def _degrees(ax: Axes) -> None:
    ax.set_xticks(range(-180, 181, 30))
    ax.set_xlabel(
        "Direction about the axis, from the right cusp, anticlockwise seen from the aorta (°)"
    )
