"""Contours of labels on a scan in three planes, with those of a reference dashed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from organtwin.export import plates
from organtwin.export.diagrams import STYLE
from organtwin.export.three_planes import (
    Upright,
    along,
    by_size,
    label_colours,
    plane_names,
    shades_of,
    show,
    upright,
)
from organtwin.image.segmentation import nearest_labels
from organtwin.image.volume import Image, LabelMap

#: Colour of the reference's contours.
REFERENCE = "#ffffff"
#: Number of panels for single slices.
MOST_SLICES = 8
#: Axes (across, up) of the coronal, sagittal and axial plane.
PLANES = ((0, 2), (1, 2), (0, 1))


def overlay(
    image: Image,
    labels: LabelMap,
    path: Path,
    *,
    reference: Mapping[str, NDArray[np.bool_]] | None = None,
    at: NDArray[np.float64] | None = None,
    notes: Mapping[str, str] | None = None,
) -> Path:
    """Draw contours of labels on three planes of their scan.

    Each plane lies where it cuts the most different labels, and of those planes the one that cuts
    most of them. Right is on the left of the picture.

    Args:
        image: The scan.
        labels: Labels on any grid.
        path: PNG file to write.
        reference: Masks on the scan's grid, which may overlap; their contours are dashed.
        at: Point (mm, LPS) that the planes go through instead.
        notes: Name of a label → text behind it in the legend.
    """
    view = upright(image)
    ours = upright(Image(_on(labels, image), image.grid)).values
    theirs = [upright(Image(mask, image.grid)).values for mask in (reference or {}).values()]
    cut = _cut(ours, view, at)
    with mpl.rc_context(STYLE | {"axes.grid": False, "font.size": 10}):
        figure, axes = _figure(view)
        shades, norm = shades_of(image.values, image.quantity, None)
        table = label_colours(ours, labels.names)
        for ax, plane, name in zip(axes, PLANES, plane_names(view.grid), strict=False):
            through = 3 - sum(plane)
            page = np.take(view.values, cut[through], axis=through).T
            show(ax, page, view.grid, plane, shades, norm, flipped=plane[1] == 1)
            ax.set_title(name, fontsize=12)
            _contours(ax, view, ours, plane, cut, table)
            for mask in theirs:
                _contours(ax, view, mask.astype(np.uint8), plane, cut, {1: REFERENCE}, dashed=True)
            _scale_bar(ax)
        _legend(axes[3], ours, labels, table, bool(theirs), notes or {})
        return plates.save(figure, path)


def overlay_slices(images: Sequence[Image], labels: LabelMap, path: Path) -> Path:
    """Draw contours of labels on single slices in any direction, as those of a cine.

    Args:
        images: Slices, each of one voxel in thickness; the eight with most labels are shown.
        labels: Labels on any grid.
        path: PNG file to write.
    """
    pages = [(image, _on(labels, image)) for image in images]
    pages = sorted(pages, key=lambda pair: -np.count_nonzero(pair[1]))[:MOST_SLICES]
    columns = min(4, len(pages))
    lines = -(-len(pages) // columns)
    table = label_colours(labels.values, labels.names)
    with mpl.rc_context(STYLE | {"axes.grid": False, "font.size": 10}):
        figure = Figure(figsize=(4.0 * columns, 4.4 * lines + 0.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for ax in axes[len(pages) :]:
            ax.set_axis_off()
        for ax, (image, values) in zip(axes, pages, strict=False):
            _slice(ax, image, values, table)
        handles = [
            Line2D([], [], color=table[number], linewidth=3.0, label=name)
            for name, number in labels.names.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        return plates.save(figure, path)


def _slice(ax: Axes, image: Image, values: NDArray[np.uint8], table: Mapping[int, str]) -> None:
    """One slice as it was taken, with contours."""
    thin = int(np.argmin(image.grid.shape))
    across, down = (axis for axis in range(3) if axis != thin)
    order = (across, down, thin)
    page = np.moveaxis(image.values, order, (1, 0, 2))[:, :, 0]
    shades, norm = shades_of(image.values, image.quantity, None)
    show(ax, page, image.grid, (across, down), shades, norm, flipped=True)
    marked = np.moveaxis(values, order, (1, 0, 2))[:, :, 0]
    x, y = (along(image.grid, axis) for axis in (across, down))
    for label in np.unique(marked[marked > 0]).tolist():
        inside = (marked == label).astype(float)
        ax.contour(x, y, inside, levels=[0.5], colors=[table[label]], linewidths=1.8)
    _scale_bar(ax)


def _on(labels: LabelMap, image: Image) -> NDArray[np.uint8]:
    if labels.grid.matches(image.grid):
        return labels.values
    return nearest_labels(labels.to_sitk(), image.grid)


def _cut(
    values: NDArray[np.uint8], view: Upright, at: NDArray[np.float64] | None
) -> NDArray[np.int64]:
    """Index of the three planes."""
    last = np.array(view.grid.shape) - 1
    if at is not None:
        found = np.round(view.grid.index(np.asarray(at)[None])[0]).astype(np.int64)
        return np.asarray(np.clip(found, 0, last))
    planes = []
    for axis in range(3):
        pages = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        kinds = np.zeros(len(pages))
        for label in np.unique(values[values > 0]):
            kinds += (pages == label).sum(axis=1) > 20
        planes.append(int(np.argmax(kinds * pages.size + (pages > 0).sum(axis=1))))
    return np.array(planes)


def _figure(view: Upright) -> tuple[Figure, list[Axes]]:
    width, depth, height = view.grid.extent
    scale = 11.0 / (width + depth)
    rows = np.maximum([height, depth], 0.06 * (width + depth))
    size = (scale * (width + depth) + 1.6, scale * float(rows.sum()) + 1.4)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2, width_ratios=[width, depth], height_ratios=rows)
    return figure, list(axes.ravel()[[0, 1, 2, 3]])


def _contours(
    ax: Axes, view: Upright, values: NDArray[np.uint8], plane: tuple[int, int],
    cut: NDArray[np.int64], colours: Mapping[int, str], *, dashed: bool = False,
) -> None:  # fmt: skip
    through = 3 - sum(plane)
    page = np.take(values, cut[through], axis=through).T
    x, y = (along(view.grid, axis) for axis in plane)
    for label in np.unique(page[page > 0]).tolist():
        ax.contour(
            x, y, (page == label).astype(float), levels=[0.5], colors=[colours[label]],
            linewidths=1.1 if dashed else 1.8, linestyles="dashed" if dashed else "solid",
        )  # fmt: skip


def _scale_bar(ax: Axes) -> None:
    """A bar of a round length near a fifth of the width."""
    left, right = sorted(ax.get_xlim())
    bottom, top = ax.get_ylim()
    lengths = np.array([5.0, 10.0, 20.0, 50.0, 100.0])
    length = float(lengths[np.argmin(np.abs(lengths - (right - left) / 5.0))])
    start, height = left + 0.05 * (right - left), bottom + 0.06 * (top - bottom)
    ax.plot([start, start + length], [height, height], color="white", linewidth=3.0)
    ax.text(
        start + length / 2.0, height + 0.015 * (top - bottom), f"{length:.0f} mm", color="white",
        ha="center", va="bottom", fontsize=9,
    )  # fmt: skip


def _legend(
    ax: Axes, values: NDArray[np.uint8], labels: LabelMap, table: Mapping[int, str],
    dashed: bool, notes: Mapping[str, str],
) -> None:  # fmt: skip
    ax.set_axis_off()
    names = [name for name in by_size(values, labels.names) if (values == labels.names[name]).any()]
    lines = [
        Line2D([], [], color=table[labels.names[name]], linewidth=3.0,
               label=f"{name}  {labels.volume_ml(name):.1f} mL {notes.get(name, '')}".rstrip())
        for name in names[:14]
    ]  # fmt: skip
    lines += [
        Line2D([], [], linestyle="none", label=f"{name} {note}")
        for name, note in notes.items()
        if name not in names
    ]
    if dashed:
        lines.append(
            Line2D([], [], color="#888888", linewidth=1.5, linestyle="dashed", label="reference")
        )
    ax.legend(handles=lines, loc="center left", fontsize=10, handlelength=1.6, title="Labels")
