"""Pictures of a calibration: what was known, what was found, and from what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import norm

from organtwin.calibrate.observations import Observation
from organtwin.calibrate.parameters import Parameter
from organtwin.calibrate.posterior import Z95, Posterior
from organtwin.calibrate.quantities import QUANTITIES
from organtwin.calibrate.sensitivity import Sensitivity
from organtwin.export import plates
from organtwin.export.diagrams import COLOURS, STYLE
from organtwin.units import registry

type Array = NDArray[np.float64]

_BEFORE, _AFTER, _MEASURED = "#b5b5b5", COLOURS["rv"], COLOURS["ecg"]
_HELD = COLOURS["lv"]
#: Standard errors beyond which a prediction is drawn at the edge.
_EDGE = 8.0


def draw_calibration(
    folder: Path, posterior: Posterior, sensitivity: Sensitivity | None = None
) -> list[Path]:
    """Draw all pictures of a calibration into a folder.

    Args:
        folder: Where the PNG files are written.
        posterior: What was found.
        sensitivity: What was looked at before, if anything.
    """
    drawn = [_drawn(folder / "parameters.png", _parameters, posterior)]
    if any(o.time is None for o in posterior.observations.all):
        drawn.append(_drawn(folder / "predictions.png", _predictions, posterior))
    if any(o.time is not None for o in posterior.observations.all):
        drawn.append(_drawn(folder / "curves.png", _curves, posterior))
    drawn.append(_drawn(folder / "influence.png", _influence, posterior))
    if len(posterior.parameters) > 1:
        drawn.append(_drawn(folder / "correlations.png", _correlations, posterior))
    if sensitivity is not None:
        drawn.append(_drawn(folder / "sensitivity.png", _sensitivity, sensitivity))
    return drawn


def words(parameter: str) -> str:
    """A dotted path as people read it: ``lv.active_elastance`` → "LV active elastance"."""
    text = parameter
    for section in ("circulation.", "mechanics.", "electrophysiology."):
        text = text.removeprefix(section)
    text = text.replace(".", " ").replace("_", " ")
    for chamber in ("lv", "rv", "la", "ra"):
        if text.startswith(f"{chamber} "):
            text = chamber.upper() + text[2:]
    return text[0].upper() + text[1:]


def _drawn[T](path: Path, draw: Callable[[T], Figure], what: T) -> Path:
    with mpl.rc_context(STYLE):
        return plates.save(draw(what), path)


def _parameters(posterior: Posterior) -> Figure:
    """Densities before and after, one parameter each."""
    number = len(posterior.parameters)
    columns = min(3, number)
    rows = -(-number // columns)
    figure = Figure(figsize=(4.0 * columns, 2.5 * rows + 0.7), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for k, (axes, parameter) in enumerate(zip(panels, posterior.parameters, strict=False)):
        before, after = posterior.prior[:, k], posterior.posterior[:, k]
        _density(axes, parameter, before, _BEFORE, "before")
        _density(axes, parameter, after, _AFTER, "after")
        axes.set_title(words(parameter.name), fontsize=11)
        axes.set_xlabel(_unit(parameter.shown))
        axes.set_yticks([])
        axes.set_ylim(bottom=0)
        axes.spines["left"].set_visible(False)
    for axes in panels[number:]:
        axes.set_visible(False)
    panels[0].legend(loc="upper right", fontsize=9)
    _title(figure, "Parameters before and after, with 95 % intervals")
    return figure


def _density(axes: Axes, parameter: Parameter, z: Array, colour: str, label: str) -> None:
    """Density of the values whose standard coordinates have the mean and deviation of z."""
    mean, deviation = float(z.mean()), float(z.std(ddof=1))
    grid = mean + deviation * np.linspace(-3.2, 3.2, 401)
    value = _shown(parameter, parameter.prior.value(grid))
    density = norm.pdf(grid, mean, deviation) * np.gradient(grid) / np.gradient(value)
    axes.plot(value, density, color=colour, label=label)
    inside = np.abs(grid - mean) <= Z95 * deviation
    axes.fill_between(value, 0, density, where=inside.tolist(), color=colour, alpha=0.3, lw=0)


def _predictions(posterior: Posterior) -> Figure:
    """Predictions of single values in standard errors from what was measured."""
    chosen = [k for k, o in enumerate(posterior.observations.all) if o.time is None]
    before, after = posterior.prediction_intervals(before=True), posterior.prediction_intervals()
    figure = Figure(figsize=(9.4, 0.42 * len(chosen) + 1.7), layout="constrained")
    axes = figure.add_subplot()
    axes.axvspan(-Z95, Z95, color="#eeeeee", lw=0, label="measured, 95 %")
    axes.axvline(0.0, color=_BEFORE, lw=1)
    for row, k in enumerate(chosen):
        one = posterior.observations.all[k]
        colour = _HELD if one.held_out else _AFTER
        _bar(axes, row + 0.15, _scaled(before[k], one), _BEFORE, 2.0)
        _bar(axes, row - 0.15, _scaled(after[k], one), colour, 4.0)
    axes.plot([], [], color=_BEFORE, lw=2.0, label="predicted before, 95 %")
    axes.plot([], [], color=_AFTER, lw=4.0, label="predicted after, 95 %")
    if any(posterior.observations.all[k].held_out for k in chosen):
        axes.plot([], [], color=_HELD, lw=4.0, label="the same, held out")
    axes.set_yticks(range(len(chosen)), [_measured(posterior.observations.all[k]) for k in chosen])
    axes.set_ylim(len(chosen) - 0.5, -0.5)
    axes.set_xlim(-_EDGE, _EDGE)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("Difference from the measured value (standard errors)")
    figure.legend(loc="outside lower center", ncols=4, fontsize=9)
    _title(figure, "Predicted against measured")
    return figure


def _bar(axes: Axes, row: float, interval: Array, colour: str, width: float) -> None:
    low, middle, high = np.clip(interval, -_EDGE, _EDGE)
    axes.plot([low, high], [row, row], color=colour, lw=width)
    if abs(interval[1]) <= _EDGE:
        axes.plot(middle, row, "o", color=colour, markersize=width + 2.5, markeredgecolor="white")


def _scaled(interval: Array, one: Observation) -> Array:
    return np.asarray((interval - one.value) / one.standard_error)


def _measured(one: Observation) -> str:
    value, error = (one.quantity.in_clinic(x) for x in (one.value, one.standard_error))
    digits = max(0, min(3, int(np.ceil(-np.log10(error))) + 1))
    unit = "" if one.quantity.shown == "1" else f" {one.quantity.shown}"
    return f"{one.quantity.words}: {value:.{digits}f} ± {error:.{digits}f}{unit}"


def _curves(posterior: Posterior) -> Figure:
    """Measured curves with the band of the predictions."""
    observations = posterior.observations.all
    names = list(dict.fromkeys(o.name for o in observations if o.time is not None))
    figure = Figure(figsize=(8.4, 3.6 * len(names) + 0.5), layout="constrained")
    before, after = posterior.prediction_intervals(before=True), posterior.prediction_intervals()
    for axes, name in zip(figure.subplots(len(names), squeeze=False).ravel(), names, strict=True):
        rows = [k for k, o in enumerate(observations) if o.name == name]
        rows.sort(key=lambda k: observations[k].time or 0.0)
        quantity = QUANTITIES[name]
        factor = quantity.in_clinic(1.0)
        t = np.array([observations[k].time for k in rows], dtype=np.float64)
        for band, colour, label in ((before, _BEFORE, "before"), (after, _AFTER, "after")):
            low, mean, high = factor * band[rows].T
            axes.fill_between(t, low, high, color=colour, alpha=0.35, lw=0)
            axes.plot(t, mean, color=colour, label=f"predicted {label}, with 95 %")
        if posterior.checked is not None:
            full = factor * posterior.checked[rows]
            axes.plot(t, full, color="black", ls="--", lw=1.2, label="3D heart in the middle")
        _points(axes, [observations[k] for k in rows])
        axes.set(xlabel="Time from the R wave (ms)", ylabel=f"{quantity.words} ({quantity.shown})")
        axes.legend(fontsize=9, loc="upper center", ncols=4, bbox_to_anchor=(0.5, 1.14))
    _title(figure, "Curves over the beat")
    return figure


def _points(axes: Axes, observations: Sequence[Observation]) -> None:
    for held, colour, label in ((False, _MEASURED, "measured"), (True, _HELD, "held out")):
        own = [o for o in observations if o.held_out == held]
        if not own:
            continue
        factor = own[0].quantity.in_clinic(1.0)
        axes.errorbar(
            [o.time or 0.0 for o in own], [factor * o.value for o in own],
            [factor * Z95 * o.standard_error for o in own], fmt="o", color=colour, markersize=4,
            lw=1, label=label, markerfacecolor="white" if held else colour,
        )  # fmt: skip


def _influence(posterior: Posterior) -> Figure:
    labels = [QUANTITIES[name].words for name in posterior.informing]
    return _matrix(
        "Which measurement informs which parameter", 100 * posterior.influence, labels,
        [words(p.name) for p in posterior.parameters], "Blues", (0.0, 100.0),
        "Variance removed (%)",
    )  # fmt: skip


def _correlations(posterior: Posterior) -> Figure:
    names = [words(p.name) for p in posterior.parameters]
    return _matrix(
        "Correlations of what was found", posterior.correlations, names, names, "RdBu_r",
        (-1.0, 1.0), "Correlation", digits=2,
    )  # fmt: skip


def _sensitivity(found: Sensitivity) -> Figure:
    """Total indices; of a curve the largest over its times."""
    names = [key.partition("@")[0] for key in found.keys]
    unique = list(dict.fromkeys(names))
    rows = [[k for k, name in enumerate(names) if name == one] for one in unique]
    total = np.array([found.total[row].max(axis=0) for row in rows])
    return _matrix(
        "Which parameter moves which prediction, before calibration", 100 * np.clip(total, 0, None),
        [QUANTITIES[name].words for name in unique], [words(name) for name in found.names],
        "Oranges", (0.0, 100.0), "Total Sobol' index (%)",
    )  # fmt: skip


def _matrix(
    title: str, values: Array, rows: Sequence[str], columns: Sequence[str], colours: str,
    limits: tuple[float, float], label: str, digits: int = 0,
) -> Figure:  # fmt: skip
    size = (0.85 * len(columns) + 4.6, 0.42 * len(rows) + 2.6)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns, rotation=35, ha="right", rotation_mode="anchor")
    axes.grid(visible=False)
    middle, half = sum(limits) / 2, (limits[1] - limits[0]) / 2
    for (i, j), value in np.ndenumerate(values):
        dark = value > middle + 0.2 * half if limits[0] == 0 else abs(value) > 0.6 * half
        axes.text(
            j, i, f"{value:.{digits}f}".replace("-", "−"), ha="center", va="center", fontsize=9,
            color="white" if dark else "#222222",
        )  # fmt: skip
    figure.colorbar(image, ax=axes, label=label, shrink=0.9)
    _title(figure, title)
    return figure


def _shown(parameter: Parameter, value: Array) -> Array:
    return np.asarray(registry().Quantity(value, parameter.unit).to(parameter.shown).magnitude)


def _unit(text: str) -> str:
    return "" if text == "1" else text.replace("*", "·")


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, fontsize=14, fontweight="bold", x=0.01, ha="left")
