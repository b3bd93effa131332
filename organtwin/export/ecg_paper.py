"""An ECG as on paper: the twelve leads on millimetre squares, at true scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from organtwin.errors import InputError, suggestion
from organtwin.export.diagrams import STYLE
from organtwin.export.series import Array

#: Leads of the rows of the paper, from left to right.
ROWS = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
#: The lead below them, over the whole width.
RHYTHM = "II"
#: Speed of the paper (mm/s).
SPEED = 25.0
#: Gains that ECG machines have (mm/mV), the usual one first.
GAINS = (10.0, 5.0, 20.0)
#: Longest part of a lead in a column (mm): 2.5 s.
COLUMN = 62.5

_PINK, _ROSE, _INK = "#f9d5d3", "#eba6a2", "#1c1c1c"
_MARGIN = 10.0  # mm
_PULSE = 10.0  # mm from the left edge of the leads that the calibration pulse takes
_HEADER, _FOOTER = 15.0, 10.0  # mm
_LEAST = 25.0  # mm between rows
_LEAD_IN = 8.0  # mm for the lead's name before a short record
_INCH = 25.4  # mm
#: Pixels per mm of PNG files.
_DENSITY = 8.0


@dataclass(frozen=True)
class _Sheet:
    """Sizes of a sheet (mm) and what is drawn on it."""

    gain: float
    column: float
    row: float
    simultaneous: bool

    @property
    def width(self) -> float:
        return _up(2 * _MARGIN + _PULSE + 4 * self.column, 5.0)

    @property
    def height(self) -> float:
        return _up(_HEADER + (len(ROWS) + 1) * self.row + _FOOTER, 5.0)

    def level(self, row: int) -> float:
        """Height (mm) of the level of rest of a row, on a thick line."""
        return float(5 * np.round((self.height - _HEADER - (row + 0.5) * self.row) / 5))

    def start(self, column: int) -> float:
        """Left end (mm) of a column."""
        return _MARGIN + _PULSE + column * self.column

    @property
    def lead_in(self) -> float:
        """Room (mm) for the name before the trace."""
        return _LEAD_IN if self.simultaneous else 0.0


def ecg_paper(
    t: Array,
    leads: Mapping[str, Array],
    paths: Path | Sequence[Path],
    *,
    title: str = "",
    gain: float | None = None,
) -> list[Path]:
    """Draw the twelve leads as ECG machines do: 25 mm/s, 10 mm/mV, squares of 1 and 5 mm.

    Three rows of four leads and lead II below. A record longer than 2.5 s goes on from column to
    column, as on paper, up to 10 s; of a shorter one each column shows all. The level of rest is
    the value at the first time. The gain is the usual 10 mm/mV unless leads are larger than
    30 mm at that, or smaller than 3 mm: then 5 or 20; it is printed on the sheet. Printed at full
    size the squares are millimetres.

    Args:
        t: Times (ms), increasing.
        leads: Lead → voltage (mV), all twelve.
        paths: Files to write, ``.svg``, ``.png`` or ``.pdf``.
        title: First line on the sheet.
        gain: Gain (mm/mV); chosen if omitted.

    Returns:
        The files.

    Raises:
        InputError: a lead is missing or has not one finite value per time.

    Source:
        Kligfield et al. (2007), Circulation 115:1306–1324, for speed, gain and leads.
    """
    traces = _checked(t, leads)
    sheet = _sheet(t, traces, gain)
    files = [paths] if isinstance(paths, Path) else list(paths)
    with mpl.rc_context({**STYLE, "svg.fonttype": "path", "axes.grid": False}):
        figure = Figure(figsize=(sheet.width / _INCH, sheet.height / _INCH))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, sheet.width), ylim=(0, sheet.height))
        axes.set_axis_off()
        _squares(axes, sheet)
        _draw(axes, sheet, t, traces)
        _texts(axes, sheet, t, traces, title)
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=_DENSITY * _INCH)
    return files


def chosen_gain(leads: Mapping[str, Array]) -> float:
    """Gain (mm/mV) at which the leads are readable: 10, or 5 or 20 where that is better.

    >>> chosen_gain({"II": np.array([0.0, 1.2, -0.3])})
    10.0
    >>> chosen_gain({"V2": np.array([0.0, 1.5, -2.5])})
    5.0
    """
    extent = max(float(np.ptp(lead)) for lead in leads.values())
    usual, low, high = GAINS
    if usual * extent > 30.0:
        return low
    return high if usual * extent < 3.0 else usual


def _checked(t: Array, leads: Mapping[str, Array]) -> dict[str, Array]:
    """The twelve leads, from their level of rest."""
    names = [name for row in ROWS for name in row]
    for name in names:
        if name not in leads:
            raise InputError("ECG paper", f"lead {name} is missing.", suggestion(name, leads))
        if len(leads[name]) != len(t) or not np.isfinite(leads[name]).all():
            raise InputError(f"lead {name}", "not a finite value for every time.")
    if len(t) < 2 or not (np.diff(t) > 0).all():
        raise InputError("ECG paper", "fewer than two times, or not in order.")
    return {name: np.asarray(leads[name], dtype=np.float64) - leads[name][0] for name in names}


def _sheet(t: Array, traces: Mapping[str, Array], gain: float | None) -> _Sheet:
    gain = chosen_gain(traces) if gain is None else gain
    length = SPEED * float(t[-1] - t[0]) / 1000
    # Columns of a short record are as wide as it is, with its name before it.
    simultaneous = length <= COLUMN
    column = _up(max(length, 25.0) + _LEAD_IN + 2.0, 5.0) if simultaneous else COLUMN
    up = max(float(lead.max()) for lead in traces.values())
    down = max(float(-lead.min()) for lead in traces.values())
    row = max(_up(gain * max(up, down) * 1.6, 5.0), _LEAST)
    return _Sheet(gain, column, row, simultaneous)


def _squares(axes: Axes, sheet: _Sheet) -> None:
    for step, colour, width in ((1.0, _PINK, 0.35), (5.0, _ROSE, 0.7)):
        x, y = np.arange(0, sheet.width + 0.5, step), np.arange(0, sheet.height + 0.5, step)
        lines = [[(a, 0.0), (a, sheet.height)] for a in x]
        lines += [[(0.0, b), (sheet.width, b)] for b in y]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=width, zorder=0))


def _draw(axes: Axes, sheet: _Sheet, t: Array, traces: Mapping[str, Array]) -> None:
    for r, row in enumerate(ROWS):
        for c, name in enumerate(row):
            _trace(axes, sheet, t, traces[name], r, c, 1)
            _label(axes, sheet, name, r, c)
    _trace(axes, sheet, t, traces[RHYTHM], len(ROWS), 0, 4)
    _label(axes, sheet, RHYTHM, len(ROWS), 0)
    for r in range(len(ROWS) + 1):
        _pulse(axes, sheet, r)


def _trace(
    axes: Axes, sheet: _Sheet, t: Array, lead: Array, row: int, column: int, columns: int
) -> None:
    """One lead; what the paper has no room for is left out."""
    along = SPEED * (t - t[0]) / 1000
    x = along if sheet.simultaneous else along - column * sheet.column
    shown = (x >= 0) & (x <= columns * sheet.column)
    y = sheet.level(row) + sheet.gain * lead
    axes.plot(sheet.start(column) + sheet.lead_in + x[shown], y[shown], color=_INK, linewidth=0.9)
    if not sheet.simultaneous and column:
        tick = sheet.start(column) + np.zeros(2)
        axes.plot(tick, sheet.level(row) + np.array([-2.0, 2.0]), color=_INK, linewidth=0.9)


def _pulse(axes: Axes, sheet: _Sheet, row: int) -> None:
    """Calibration: 1 mV for 200 ms."""
    x = _MARGIN + np.array([0.0, 1.5, 1.5, 6.5, 6.5, 8.0])
    y = sheet.level(row) + sheet.gain * np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    axes.plot(x, y, color=_INK, linewidth=0.9, solid_joinstyle="miter")


def _label(axes: Axes, sheet: _Sheet, name: str, row: int, column: int) -> None:
    above = 4.0 if sheet.simultaneous else 0.5 * sheet.row - 5.0
    axes.text(
        sheet.start(column) + 1.0, sheet.level(row) + above, name,
        fontsize=9, fontweight="bold", color=_INK, va="bottom", zorder=1,
        bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.6},
    )  # fmt: skip


def _texts(axes: Axes, sheet: _Sheet, t: Array, traces: Mapping[str, Array], title: str) -> None:
    paper = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.0}
    if title:
        axes.text(
            _MARGIN, sheet.height - 5.0, title,
            fontsize=11, fontweight="bold", color=_INK, va="center", bbox=paper,
        )  # fmt: skip
    largest = max(float(np.abs(lead).max()) for lead in traces.values())
    unusual = "" if sheet.gain == GAINS[0] else " (not the usual 10 mm/mV)"
    said = f"{SPEED:g} mm/s    {sheet.gain:g} mm/mV{unusual}    largest deflection {largest:.2g} mV"
    shown = SPEED * (t[-1] - t[0]) / 1000
    if shown > 4 * sheet.column:
        said += f"    first {4 * sheet.column / SPEED:g} s of {(t[-1] - t[0]) / 1000:.3g} s"
    axes.text(_MARGIN, 5.0, said, fontsize=8, color=_INK, va="center", bbox=paper)


def _up(value: float, step: float) -> float:
    """``value`` rounded up to a multiple of ``step``."""
    return float(step * np.ceil(value / step - 1e-9))
