"""A scan or a label map in three planes through one point, as doctors look at it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Several
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, ListedColormap, Normalize, hsv_to_rgb, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from organtwin.export import plates
from organtwin.export.diagrams import PALETTE, STYLE
from organtwin.image.volume import ANATOMICAL, Grid, Image, Sequence

#: Window of grey values of a CT (HU): fat is dark; the upper end is chosen between these two, so
#: that blood with contrast, if there is much of it, does not burn out.
CT_WINDOW = (-200.0, (300.0, 800.0))
#: Smaller values of a CT mark what lies outside the field of view.
AIR = -1100.0
#: Share of the values (percent) that the window of other images holds.
WINDOW_SHARE = (0.5, 99.5)
#: Direction cosines below this add no letter to the name of an oblique direction.
NEGLIGIBLE = 0.25
#: Number of panels for the phases of a single slice.
MOST_PHASES = 8
#: Below this share of its width a plane has no room for letters and ticks at its side.
THIN = 0.12
_CROSS, _LINE = "#ffb000", "white"

#: Points (mm, LPS), shape (n, 3), and triangles, shape (m, 3), of surfaces.
type Outlines = Several[tuple[NDArray[np.float64], NDArray[np.int64]]]


@dataclass(frozen=True)
class Upright:
    """Values whose axes point, as nearly as the grid allows, left, posterior and superior.

    Attributes:
        values: Indexed ``[i, j, k]``.
        grid: Where they lie.
    """

    values: NDArray[Any]
    grid: Grid


def three_planes(
    image: Image | Sequence,
    path: Path,
    *,
    at: NDArray[np.float64] | None = None,
    labels: Mapping[str, int] | None = None,
    outlines: Outlines = (),
) -> Path:
    """Axial, coronal and sagittal plane at true aspect ratio, with letters, mm and grey values.

    Right is on the left of the picture, as if the patient faced the reader. An oblique grid is
    shown in its own planes. Of a sequence the first phase is shown; of a single slice its phases.

    Args:
        image: Scan, or label map if ``labels`` is given.
        path: PNG file to write.
        at: Point (mm, LPS) that the planes go through; else the middle.
        labels: Name → integer, for a label map.
        outlines: Surfaces whose sections are drawn over it: points (mm, LPS) and triangles.
    """
    with mpl.rc_context(STYLE | {"axes.grid": False, "font.size": 10}):
        if min(image.grid.shape) == 1:
            figure = _single_slice(image, labels)
        else:
            first = image.images[0] if isinstance(image, Sequence) else image
            figure = _planes(first, at, labels, outlines)
        return plates.save(figure, path)


def _planes(
    image: Image,
    at: NDArray[np.float64] | None,
    labels: Mapping[str, int] | None,
    outlines: Outlines = (),
) -> Figure:
    view = upright(image)
    colours, norm = shades_of(image.values, image.quantity, labels)
    cut = _cut(view, at, labels is not None)
    width, depth, height = view.grid.extent
    scale = 10.0 / (width + depth)
    rows = np.maximum([height, depth], 0.06 * (width + depth))
    figure = Figure(
        figsize=(scale * (width + depth) + 1.6, scale * rows.sum() + 1.4), layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2, width_ratios=[width, depth], height_ratios=rows)
    names = plane_names(view.grid)
    for ax, (across, up), name in zip(
        (axes[0, 0], axes[0, 1], axes[1, 0]), ((0, 2), (1, 2), (0, 1)), names, strict=True
    ):
        _plane(ax, view, (across, up), cut, colours, norm)
        for points, triangles in outlines:
            ends = _section(view.grid, points, triangles, (across, up), cut)
            ax.add_collection(LineCollection(ends, colors=_LINE, linewidths=0.9), autolim=False)
        ax.set_title(name, fontsize=12)
    if labels is None:
        _histogram(axes[1, 1], image.values, image.quantity, norm)
        bar = figure.colorbar(
            ScalarMappable(norm, colours), ax=axes[1, 1], location="bottom", extend="both"
        )
        bar.set_label(_unit(image.quantity))
    else:
        axes[1, 1].set_axis_off()
        _legend(axes[1, 1], image.values, labels)
    return figure


def _single_slice(image: Image | Sequence, labels: Mapping[str, int] | None) -> Figure:
    """One slice as it was taken; of a cine a choice of its phases."""
    phases = image.images if isinstance(image, Sequence) else (image,)
    chosen = np.unique(np.linspace(0, len(phases) - 1, MOST_PHASES).round().astype(int))
    thin = int(np.argmin(image.grid.shape))
    across, down = (axis for axis in range(3) if axis != thin)
    colours, norm = shades_of(np.stack([p.values for p in phases]), image.quantity, labels)
    columns = min(4, len(chosen))
    lines = -(-len(chosen) // columns)
    width, height = image.grid.extent[across], image.grid.extent[down]
    each = 12.0 / columns if columns > 1 else 7.0
    figure = Figure(
        figsize=(each * columns, each * lines * height / width + 1.2), layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax in axes[len(chosen) :]:
        ax.set_axis_off()
    for ax, k in zip(axes, chosen, strict=False):
        page = np.moveaxis(phases[k].values, (across, down, thin), (1, 0, 2))[:, :, 0]
        show(ax, page, image.grid, (across, down), colours, norm, flipped=True)
        times = image.times if isinstance(image, Sequence) else None
        ax.set_title("" if times is None else f"{times[k]:.0f} ms", fontsize=12)
        ax.label_outer()
    if labels is None:
        bar = figure.colorbar(
            ScalarMappable(norm, colours), ax=list(axes), location="bottom", extend="both",
            shrink=0.5, aspect=40,
        )  # fmt: skip
        bar.set_label(_unit(image.quantity))
    return figure


def upright(image: Image) -> Upright:
    """Axes reordered and turned round so that they come nearest to L, P and S."""
    grid = image.grid
    rows = [next(r for r in range(3) if c in ANATOMICAL[r]) for c in grid.axis_codes]
    order = np.argsort(rows)
    values = image.values.transpose(*order)
    spacing, direction = grid.spacing[order], grid.direction[:, order].copy()
    index = np.zeros(3)
    for axis in range(3):
        if direction[axis, axis] < 0:
            values = np.flip(values, axis)
            index[order[axis]] = grid.shape[order[axis]] - 1
            direction[:, axis] *= -1.0
    shape = (values.shape[0], values.shape[1], values.shape[2])
    return Upright(values, Grid(shape, spacing, grid.points(index), direction))


def _cut(view: Upright, at: NDArray[np.float64] | None, labelled: bool) -> NDArray[np.int64]:
    """Index of the planes: those of a point, or the middle of the image or of the labels."""
    last = np.array(view.grid.shape) - 1
    if at is not None:
        found = view.grid.index(np.asarray(at)[None])[0]
    elif labelled and view.values.any():
        filled = view.values > 0
        found = np.array(
            [np.average(np.arange(n), weights=filled.sum(axis=others)) for n, others in zip(
                view.grid.shape, ((1, 2), (0, 2), (0, 1)), strict=True)]
        )  # fmt: skip
    else:
        found = last / 2.0
    return np.clip(np.round(found).astype(np.int64), 0, last)


def _plane(
    ax: Axes,
    view: Upright,
    axes: tuple[int, int],
    cut: NDArray[np.int64],
    colours: Colormap,
    norm: Normalize,
) -> None:
    """One plane, the two given axes of the upright view across and upwards or downwards."""
    across, other = axes
    through = 3 - across - other
    page = np.take(view.values, cut[through], axis=through).T
    down = other == 1  # posterior is below, superior above
    show(ax, page, view.grid, axes, colours, norm, flipped=down)
    place = along(view.grid, across)[cut[across]], along(view.grid, other)[cut[other]]
    ax.axvline(place[0], color=_CROSS, linewidth=0.6, alpha=0.8)
    ax.axhline(place[1], color=_CROSS, linewidth=0.6, alpha=0.8)


def _section(
    grid: Grid,
    points: NDArray[np.float64],
    triangles: NDArray[np.int64],
    axes: tuple[int, int],
    cut: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Where triangles meet a plane: both ends of each segment on the page, shape (k, 2, 2)."""
    through = 3 - axes[0] - axes[1]
    corners = grid.index(points)[triangles]
    # A vertex in the plane counts as above it, so that no segment is a point.
    height = corners[:, :, through] - cut[through]
    above = height >= 0.0
    met = above.any(axis=1) & ~above.all(axis=1)
    corners, height, above = corners[met], height[met], above[met]
    alone = np.where(above.sum(axis=1) == 1, above.argmax(axis=1), (~above).argmax(axis=1))
    rows = np.arange(len(corners))
    ends = []
    for step in (1, 2):
        other = (alone + step) % 3
        part = height[rows, alone] / (height[rows, alone] - height[rows, other])
        start, stop = corners[rows, alone], corners[rows, other]
        ends.append(start + part[:, None] * (stop - start))
    place = np.stack(ends, axis=1)
    pages = [_on_page(grid, axis, place[:, :, axis]) for axis in axes]
    return np.stack(pages, axis=2)


def _on_page(grid: Grid, axis: int, index: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates (mm) of fractional voxel indices along an axis, as `along` has them."""
    steps = along(grid, axis)
    step = steps[1] - steps[0] if len(steps) > 1 else 0.0
    return np.asarray(steps[0] + step * index)


def show(
    ax: Axes,
    page: NDArray[Any],
    grid: Grid,
    axes: tuple[int, int],
    colours: Colormap,
    norm: Normalize,
    *,
    flipped: bool,
) -> None:
    """A page ``[other, across]`` in mm, with the letters of the directions at its sides."""
    across, other = axes
    x, y = along(grid, across), along(grid, other)
    half = grid.spacing[across] / 2.0, grid.spacing[other] / 2.0
    rising = np.sign(x[-1] - x[0]) or 1.0, np.sign(y[-1] - y[0]) or 1.0
    left, right = x[0] - rising[0] * half[0], x[-1] + rising[0] * half[0]
    low, high = y[0] - rising[1] * half[1], y[-1] + rising[1] * half[1]
    if flipped:
        extent, origin = (left, right, high, low), "upper"
    else:
        extent, origin = (left, right, low, high), "lower"
    ax.imshow(
        np.ma.masked_less_equal(page, 0) if isinstance(colours, ListedColormap) else page,
        cmap=colours, norm=norm, extent=extent, origin=origin, interpolation="nearest",
        aspect="equal",
    )  # fmt: skip
    ax.set_facecolor("black")
    straight = grid.obliqueness < 1.0
    names = [f"{'xyz'[_nearest(grid, k)]} (mm)" if straight else "mm" for k in axes]
    ax.set_xlabel(names[0], fontsize=9)
    ax.set_ylabel(names[1], fontsize=9)
    ax.tick_params(labelsize=8)
    thin = abs(high - low) < THIN * abs(right - left)
    if thin:
        ax.set_yticks([])
        ax.set_ylabel("")
    first, second = grid.direction[:, across], grid.direction[:, other]
    up, below = (-second, second) if flipped else (second, -second)
    for text, xy, align in (
        (letters(-first), (0.012, 0.5), ("left", "center")),
        (letters(first), (0.988, 0.5), ("right", "center")),
        (letters(up), (0.5, 0.985), ("center", "top")),
        (letters(below), (0.5, 0.015), ("center", "bottom")),
    )[: 2 if thin else 4]:
        ax.text(
            *xy, text, transform=ax.transAxes, ha=align[0], va=align[1], color="white",
            fontsize=11, fontweight="bold",
            bbox={"facecolor": "black", "alpha": 0.45, "pad": 1.2, "linewidth": 0},
        )  # fmt: skip


def letters(direction: NDArray[np.float64]) -> str:
    """Anatomical name of a direction in LPS: ``L``, or ``LA`` between left and anterior."""
    order = np.argsort(-np.abs(direction), kind="stable")
    return "".join(
        ANATOMICAL[axis][int(direction[axis] > 0)]
        for axis in order
        if abs(direction[axis]) >= NEGLIGIBLE
    )


def _nearest(grid: Grid, axis: int) -> int:
    return int(np.argmax(np.abs(grid.direction[:, axis])))


def along(grid: Grid, axis: int) -> NDArray[np.float64]:
    """Coordinates of the voxels along an axis: the patient's, or mm from the middle if oblique."""
    steps = np.arange(grid.shape[axis]) * grid.spacing[axis]
    if grid.obliqueness >= 1.0:
        return np.asarray(steps - steps[-1] / 2.0)
    nearest = _nearest(grid, axis)
    return np.asarray(grid.origin[nearest] + np.sign(grid.direction[nearest, axis]) * steps)


def plane_names(grid: Grid) -> tuple[str, str, str]:
    """What the planes of an upright grid are called, with how far it is from upright."""
    if grid.obliqueness < 1.0:
        return ("Coronal", "Sagittal", "Axial")
    near = f"{grid.obliqueness:.0f}° oblique"
    return (f"Near coronal ({near})", "Near sagittal", "Near axial")


def shades_of(
    values: NDArray[Any], quantity: str, labels: Mapping[str, int] | None
) -> tuple[Colormap, Normalize]:
    """Colours and their range: of labels if there are names, else greys in the usual window."""
    if labels is not None:
        top = max(labels.values(), default=1)
        table = label_colours(values, labels)
        shades = ListedColormap([table.get(k, "#999999") for k in range(1, top + 1)])
        return shades, Normalize(0.5, top + 0.5)
    if quantity == "HU":
        low, (least, most) = CT_WINDOW
        top = 50.0 * np.ceil(np.percentile(values, 99.0) / 50.0)
        return mpl.colormaps["gray"], Normalize(low, float(np.clip(top, least, most)))
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, WINDOW_SHARE) if finite.size else (0.0, 1.0)
    return mpl.colormaps["gray"], Normalize(float(low), float(max(high, low + 1e-6)))


def by_size(values: NDArray[Any], labels: Mapping[str, int]) -> list[str]:
    """Names of the labels, the largest first."""
    present = dict(zip(*(a.tolist() for a in np.unique(values, return_counts=True)), strict=True))
    return sorted(labels, key=lambda name: -present.get(labels[name], 0))


def label_colours(values: NDArray[Any], labels: Mapping[str, int]) -> dict[int, str]:
    """Colour of each integer: unlike ones for the largest, any for what is small."""
    golden = 0.618034  # hues a golden section apart never come close soon
    return {
        labels[name]: PALETTE[k]
        if k < len(PALETTE)
        else to_hex(hsv_to_rgb((golden * k % 1.0, 0.45, 0.75)))
        for k, name in enumerate(by_size(values, labels))
    }


def _legend(ax: Axes, values: NDArray[Any], labels: Mapping[str, int]) -> None:
    """The largest labels with their colours."""
    shown = by_size(values, labels)[: len(PALETTE)]
    table = label_colours(values, labels)
    more = len(labels) - len(shown)
    ax.legend(
        handles=[Patch(color=table[labels[name]], label=name) for name in shown],
        loc="center left", ncols=1 + (len(shown) > 7), fontsize=10, handlelength=1.2,
        title=f"Labels ({more} smaller ones not listed)" if more else "Labels",
    )  # fmt: skip


def _histogram(ax: Axes, values: NDArray[Any], quantity: str, norm: Normalize) -> None:
    """How often each value occurs; the window is shaded as the pictures are."""
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, (0.05, 99.95)) if finite.size else (0.0, 1.0)
    low = max(low, AIR) if quantity == "HU" else low
    counts, edges = np.histogram(finite, bins=120, range=(float(low), float(max(high, low + 1))))
    ax.stairs(100.0 * counts / max(finite.size, 1), edges, fill=True, color="#7a8794")
    ax.axvspan(float(norm.vmin or 0.0), float(norm.vmax or 1.0), color=_CROSS, alpha=0.12, zorder=0)
    ax.set_yscale("log")
    ax.set_title("Values; the window is shaded", fontsize=12)
    ax.set_ylabel("Voxels (%)", fontsize=9)
    ax.tick_params(labelsize=8)


def _unit(quantity: str) -> str:
    return {
        "HU": "Hounsfield units (HU)",
        "MR": "MR signal (no unit)",
        "grey": "Grey value",
    }.get(quantity, f"{quantity} value")
