"""Sheet of an aortic root: the planes that were measured drawn on the scan, and the measures."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.aortic_root.calcium import PARTS
from organtwin.aortic_root.measurements import RootMeasures
from organtwin.aortic_root.outline import Outline
from organtwin.aortic_root.parametric import CUSPS
from organtwin.aortic_root.sizing import DeviceSize
from organtwin.export.diagrams import STYLE
from organtwin.image.volume import Image
from organtwin.landmarks.fits import unit

type Vector = NDArray[np.float64]

#: Colours of the planes, the cusps and calcium.
PLANES = {"annulus": "#d55e00", "outflow": "#e69f00", "sinuses": "#56b4e9", "junction": "#009e73"}
CUSP_COLOURS = {"right": "#56b4e9", "left": "#e69f00", "non_coronary": "#cc79a7"}
LIME, SEPTUM = "#ff3b30", "#f0e442"
#: Half the width of a cross-section and of a long section (mm), and the step of the pictures (mm).
ACROSS, LONG, STEP = 24.0, 42.0, 0.25
#: What planes and names are called on the sheet.
TITLES = {
    "annulus": "Annulus", "outflow": "Outflow tract, 4 mm below", "sinuses": "Sinuses, widest",
    "junction": "Sinotubular junction",
}  # fmt: skip
SHORT = {"right": "R", "left": "L", "non_coronary": "N"}
#: Rows of the table: heading, then measure → what it is called.
ROWS: Sequence[tuple[str, str]] = (
    ("Annulus", ""),
    ("annulus_area", "area"), ("annulus_perimeter", "perimeter"),
    ("annulus_area_diameter", "diameter by area"),
    ("annulus_perimeter_diameter", "diameter by perimeter"),
    ("annulus_diameter_min", "least diameter"), ("annulus_diameter_max", "largest diameter"),
    ("annulus_ellipticity", "least / largest"), ("aortic_angulation", "angulation"),
    ("Outflow tract, 4 mm below", ""),
    ("outflow_area", "area"), ("outflow_diameter_min", "least diameter"),
    ("outflow_diameter_max", "largest diameter"),
    ("Sinuses", ""),
    ("sinus_diameter_right", "diameter, right"), ("sinus_diameter_left", "diameter, left"),
    ("sinus_diameter_non_coronary", "diameter, non-coronary"),
    ("sinus_height_right", "height, right"), ("sinus_height_left", "height, left"),
    ("sinus_height_non_coronary", "height, non-coronary"),
    ("Sinotubular junction", ""),
    ("junction_area_diameter", "diameter by area"), ("junction_height", "height"),
    ("Coronary ostia, lower edge", ""),
    ("coronary_height_right", "height, right"), ("coronary_height_left", "height, left"),
)  # fmt: skip


def draw_root_sheet(
    image: Image,
    found: RootMeasures,
    path: str | Path,
    *,
    title: str,
    devices: Sequence[DeviceSize] = (),
) -> Path:
    """Draw the sections that were measured, three long sections and a table.

    Cross-sections are seen from the aorta, the right cusp to the right; long sections have the
    aorta above. The interval of each measure stands behind it.

    Args:
        image: The scan.
        found: Its measures.
        path: PNG or SVG file.
        title: Heading.
        devices: Sizes whose oversizing is listed.
    """
    path = Path(path)
    with mpl.rc_context(STYLE | {"axes.grid": False, "font.size": 10}):
        figure = Figure(figsize=(21.0, 10.4), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(2, 5, width_ratios=[1, 1, 1, 1, 1.55])
        window = _window(image, found)
        for column, name in enumerate(("junction", "sinuses", "annulus", "outflow")):
            _section(figure.add_subplot(grid[0, column]), image, found, name, window)
        up = found.frame.axes[2]
        for column, (name, across) in enumerate(_cuts(found)):
            _long(figure.add_subplot(grid[1, column]), image, found, (name, across, up), window)
        _front(figure.add_subplot(grid[1, 3]), image, found, window)
        _table(figure.add_subplot(grid[:, 4]), found, devices)
        figure.suptitle(title, fontsize=16, fontweight="bold")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=85)
    return path


def _window(image: Image, found: RootMeasures) -> tuple[float, float]:
    """Grey values from fat to calcium, so that calcium is brighter than blood."""
    blood = found.calcium.blood.mean if found.calcium else float(np.percentile(image.values, 99.0))
    return -120.0, 1.7 * max(blood, 200.0)


def _picture(
    ax: Axes, values: Vector, image: Image, place: tuple[Vector, Vector, Vector], reach: float,
    window: tuple[float, float], order: int = 1,
) -> None:  # fmt: skip
    """Grey values on a square around a place, or a mask's outline over them."""
    centre, across, up = place
    step = np.arange(-reach, reach + STEP, STEP)
    points = centre + step[None, :, None] * across + step[:, None, None] * up
    index = image.grid.index(points.reshape(-1, 3)).T
    found = ndimage.map_coordinates(values, index, order=order, cval=float(values.min()))
    picture = found.reshape(len(step), len(step))
    if values.dtype == np.float32 and float(values.max()) <= 1.0:  # a mask
        if picture.max() > 0.5:
            ax.contour(step, step, picture, [0.5], colors=LIME, linewidths=1.2)
        return
    ax.imshow(picture, cmap="gray", origin="lower", vmin=window[0], vmax=window[1],
              extent=(-reach, reach, -reach, reach), interpolation="bilinear")  # fmt: skip


def _ground(
    ax: Axes, image: Image, found: RootMeasures, place: tuple[Vector, Vector, Vector], reach: float,
    window: tuple[float, float],
) -> None:  # fmt: skip
    """The scan in a plane with calcium outlined."""
    _picture(ax, image.values.astype(np.float64), image, place, reach, window)
    if found.calcium is not None and found.calcium.mask.any():
        _picture(ax, found.calcium.mask.astype(np.float32), image, place, reach, window)
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach, reach)
    ax.set_aspect("equal")
    ax.set_axis_off()
    bar, low = 10.0, -0.94 * reach
    ax.plot([low, low + bar], [low, low], color="white", linewidth=3)
    ax.text(low, low + 0.03 * reach, "10 mm", color="white", fontsize=9, va="bottom")


def _section(
    ax: Axes, image: Image, found: RootMeasures, name: str, window: tuple[float, float]
) -> None:
    """A cross-section with its outline and what is measured in it."""
    one = found.outlines[name]
    _ground(ax, image, found, (one.centre, one.axes[0], one.axes[1]), ACROSS, window)
    ring = np.vstack([one.flat, one.flat[:1]])
    ax.plot(*ring.T, color=PLANES[name], linewidth=1.8)
    if name == "sinuses":
        _sinus_lines(ax, found, one)
    else:
        _calipers(ax, one)
    for cusp, turn in zip(CUSPS, _cusp_turns(found), strict=True):
        far = 1.15 * float(one.radius(np.array([turn]))[0]) + 2.0
        ax.text(far * np.cos(turn), far * np.sin(turn), SHORT[cusp], color="white", fontsize=12,
                ha="center", va="center", fontweight="bold")  # fmt: skip
    if name in ("annulus", "outflow"):
        local = (found.septum.points - one.centre) @ one.axes.T
        near = local[np.abs(local[:, 2]) < 2.2]
        if len(near):
            ax.plot(*near[:, :2].T, ".", color=SEPTUM, markersize=3)
    area, most = found.quantities.get(f"{name}_area"), one.calipers
    text = f"{area.value:.0f} mm²" if area else f"{one.area:.0f} mm²"
    ax.set_title(f"{TITLES[name]}\n{text}, {most[0]:.1f} × {most[1]:.1f} mm", fontsize=11)


def _cusp_turns(found: RootMeasures) -> Vector:
    """Direction of the middle of each cusp (radians), shape (3,)."""
    turn = np.linspace(0.0, 2.0 * np.pi, 720, endpoint=False)
    own = found.frame.cusp(turn)
    return np.array([np.angle(np.mean(np.exp(1j * turn[own == cusp]))) for cusp in range(3)])


def _calipers(ax: Axes, one: Outline) -> None:
    """Diameters along the directions of least and largest width, through the middle."""
    turn = np.asarray(np.arange(180) * np.pi / 180.0, np.float64)
    widths = one.radius(turn) + one.radius(turn + np.pi)
    for best, style in ((int(np.argmin(widths)), "-"), (int(np.argmax(widths)), "--")):
        ways = np.array([turn[best], turn[best] + np.pi])
        far = one.radius(ways)
        ax.plot(far * np.cos(ways), far * np.sin(ways), style, color="white", linewidth=1.0)


def _sinus_lines(ax: Axes, found: RootMeasures, one: Outline) -> None:
    """Diameters of the sinuses and the commissures."""
    own = found.frame.cusp(one.angles)
    for cusp, name in enumerate(CUSPS):
        here = np.flatnonzero(own == cusp)
        turn = float(one.angles[here[np.argmax(one.radii[here])]])
        ways = np.array([turn, turn + np.pi])
        far = one.radius(ways)
        ax.plot(far * np.cos(ways), far * np.sin(ways), color=CUSP_COLOURS[name], linewidth=1.3)
    for turn in found.frame.commissures:
        post = float(one.radius(np.array([turn]))[0])
        ax.plot(post * np.cos(turn), post * np.sin(turn), "o", color="white", markersize=4)


def _cuts(found: RootMeasures) -> list[tuple[str, Vector]]:
    """Long sections: through both ostia, where they were found, and the membranous septum."""
    origin, axes = found.frame.origin, found.frame.axes
    cuts = []
    turns = _cusp_turns(found)
    for side in ("right", "left"):
        if side in found.ostia:
            away = found.ostia[side].at - origin
            way = unit(away - (away @ axes[2]) * axes[2])
            cuts.append((f"through the {side} ostium", way))
        else:
            turn = turns[CUSPS.index(side)]
            cuts.append((f"through the {side} cusp", np.cos(turn) * axes[0]
                         + np.sin(turn) * axes[1]))  # fmt: skip
    away = found.septum.centre - origin
    return [*cuts, ("through the membranous septum", unit(away - (away @ axes[2]) * axes[2]))]


def _long(
    ax: Axes, image: Image, found: RootMeasures, cut: tuple[str, Vector, Vector],
    window: tuple[float, float],
) -> None:  # fmt: skip
    """A section along the axis with the planes, the ostium and its height."""
    name, across, up = cut
    middle = 0.5 * (found.outlines["annulus"].centre + found.outlines["junction"].centre)
    _ground(ax, image, found, (middle, across, up), LONG, window)
    screen = np.array([across, up, np.cross(across, up)])
    for plane, one in found.outlines.items():
        _crossing(ax, screen @ (one.points - middle).T, PLANES[plane])
    for side, ostium in found.ostia.items():
        x, y, off = screen @ (ostium.at - middle)
        if abs(off) < 1.5 and side in name:
            edge = screen @ (ostium.lower_edge(up) - middle)
            base = screen @ (found.frame.origin - middle)
            ax.plot([edge[0], edge[0]], [base[1], edge[1]], color="white", linewidth=1.4)
            ax.plot(x, y, "o", color="white", markersize=5, markerfacecolor="none")
            height = found.quantities.get(f"coronary_height_{side}")
            text = f"{height.value:.1f} mm" if height else ""
            ax.text(edge[0] + 1.5, 0.5 * (base[1] + edge[1]), text, color="white", fontsize=10)
    if "septum" in name:
        local = screen @ (found.septum.points - middle).T
        near = np.abs(local[2]) < 1.0
        ax.plot(local[0, near], local[1, near], color=SEPTUM, linewidth=3)
    ax.set_title(name, fontsize=11)


def _crossing(ax: Axes, ring: Vector, colour: str) -> None:
    """Where an outline, seen in the axes of a picture, passes through it."""
    after = np.roll(ring, -1, axis=1)
    crosses = np.flatnonzero(ring[2] * after[2] < 0.0)
    share = ring[2, crosses] / (ring[2, crosses] - after[2, crosses])
    ends = ring[:2, crosses] + share * (after[:2, crosses] - ring[:2, crosses])
    if ends.shape[1] >= 2:
        order = np.argsort(ends[0])
        ax.plot(ends[0, order[[0, -1]]], ends[1, order[[0, -1]]], "-o", color=colour,
                linewidth=1.6, markersize=3)  # fmt: skip


def _front(ax: Axes, image: Image, found: RootMeasures, window: tuple[float, float]) -> None:
    """The coronal plane through the annulus with its angle to the horizontal."""
    centre, up = found.outlines["annulus"].centre, found.frame.axes[2]
    left, head = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
    _ground(ax, image, found, (centre, left, head), LONG, window)
    along = unit(np.array([up[2], 0.0, -up[0]]))  # the annulus, seen from the front
    for way, colour, style in ((along, PLANES["annulus"], "-"), (left, "white", "--")):
        ends = np.outer([-24.0, 24.0], [way[0], way[2]])
        ax.plot(*ends.T, style, color=colour, linewidth=1.6)
    angle = found.quantities["aortic_angulation"].value
    ax.set_title(f"from the front: angulation {angle:.0f}°", fontsize=11)
    for x, text in ((-0.93, "R"), (0.9, "L")):
        ax.text(x * LONG, 0.0, text, color="white", fontsize=12, fontweight="bold")


def _table(ax: Axes, found: RootMeasures, devices: Sequence[DeviceSize]) -> None:
    """Measures with their intervals, calcium, oversizing and notes."""
    rows: list[tuple[str, str, str]] = []
    for name, text in ROWS:
        if not text:
            rows.append((name, "", ""))
        elif name in found.quantities:
            one = found.quantities[name]
            digits = 2 if not one.unit else 0 if one.unit == "mm²" else 1
            rows.append((f"  {text}", f"{one.value:.{digits}f} {one.unit}".rstrip(),
                         f"{one.low:.{digits}f} – {one.high:.{digits}f}"))  # fmt: skip
        else:
            rows.append((f"  {text}", "not found", ""))
    rows += _calcium_rows(found) + _device_rows(found, devices)
    ax.set_axis_off()
    ax.set_xlim(0.0, 1.0)
    step = min(1.0 / (len(rows) + 1), 0.026)
    for line, (name, value, interval) in enumerate(rows):
        y = 1.0 - (line + 0.5) * step
        heading = not value and not interval
        ax.text(0.0, y, name, fontsize=10, fontweight="bold" if heading else "normal")
        ax.text(0.72, y, value, fontsize=10, ha="right")
        ax.text(1.0, y, interval, fontsize=9, ha="right", color="#555555")
    ax.set_ylim(0.0, 1.0)
    ax.set_title(
        "Value, and its range with the wall\nhalf a voxel in and out", fontsize=11, loc="right"
    )
    if found.notes:
        ax.text(0.0, max(1.0 - (len(rows) + 1.2) * step, 0.0), _wrapped(found.notes), fontsize=9,
                va="top", color="#a03000")  # fmt: skip


def _calcium_rows(found: RootMeasures) -> list[tuple[str, str, str]]:
    lime = found.calcium
    if lime is None:
        return []
    blood = f"blood {lime.blood.mean:.0f} ± {lime.blood.spread:.0f} HU"
    rows = [(f"Calcium above {lime.threshold:.0f} HU ({blood})", "", "")]
    for part in PARTS:
        for cusp in CUSPS:
            score = lime.regions[cusp, part]
            if part == "valve" or score.volume:
                rows.append((f"  {part}, {cusp.replace('_', '-')}",
                             f"{score.volume:.0f} mm³, score {score.agatston:.0f}",
                             f"{score.low:.0f} – {score.high:.0f}"))  # fmt: skip
    return rows


def _device_rows(found: RootMeasures, devices: Sequence[DeviceSize]) -> list[tuple[str, str, str]]:
    if not devices:
        return []
    rows = [("Oversizing by area, by perimeter", "", "")]
    for one in found.sizes(devices):
        mark = "" if one.fits else ", too large" if one.too_large else ", too small"
        rows.append((f"  {one.device.name}{mark}",
                     f"{one.by_area:+.0f} %, {one.by_perimeter:+.0f} %",
                     f"{one.by_area_range[0]:+.0f} – {one.by_area_range[1]:+.0f}"))  # fmt: skip
    return rows


def _wrapped(notes: Sequence[str]) -> str:
    return "\n".join(line for note in notes for line in textwrap.wrap(note, 78))
