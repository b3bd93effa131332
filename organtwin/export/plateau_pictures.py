"""Pictures of a tibial plateau: its fracture, how it sinks, pressure of its cartilage."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyvista as pv
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from organtwin.errors import InputError
from organtwin.export.implant_scene import (
    OperatedView,
    at_interface,
    bands,
    coloured,
    panels,
    smooth,
    with_points,
    words,
)
from organtwin.export.views import bar, save
from organtwin.orthopaedics.assessment import prefix_of
from organtwin.orthopaedics.operation import Load
from organtwin.orthopaedics.plateau_assessment import PLACES, PRESSURE, face_motion

#: Size of a column's mark (points²) and of a panel (inches).
MARK, PANEL = 14.0, 4.4
#: Bands of strain in a callus: Perren's window lies between 2 and 10 %.
STRAIN_COLOURS = ListedColormap(["#e7f1e4", "#b7d9b1", "#ffe9a8", "#fbb35f", "#e0633b", "#8e1b1b"])
#: Bands of the movement of faces that touch (µm).
MOVES = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 150.0)
MOVE_COLOURS = ListedColormap(
    ["#e8eef4", "#c4d7e6", "#9abed8", "#ffe9a8", "#fbb35f", "#e0633b", "#8e1b1b"]
)
#: From where the faces of fragments are seen.
FACES = (("lateral_fragment", "medial"), ("depressed_fragment", "lateral"),
         ("depressed_fragment", "distal"))  # fmt: skip


def draw_faces(view: OperatedView, load: Load, path: Path) -> Path:
    """How far the faces of fragments that touch move on those opposite, in bands.

    Raises:
        InputError: the load is not done.
    """
    contacts = list(view.outcome.contacts.values())
    if not contacts or load.name not in contacts[0].steps:
        raise InputError("fracture", f"`{load.name}` is not done.", "Run the case again.")
    found = face_motion(view.outcome, load.name)
    places = np.concatenate([one.position for one in contacts])
    banded = np.interp(1e3 * found.moved, MOVES, np.arange(len(MOVES)))
    limits = (0.0, len(MOVES) - 1.0)
    looks, parts, titles = [], [], []
    for name, side in FACES:
        if name not in view.operation.bones:
            continue
        whole = smooth(view.surface(name))
        whole.point_data["moved"] = at_interface(whole, places, banded, found.area)
        looks.append(view.looked_at(side, np.asarray(whole.points)))
        parts.append([coloured(whole, "moved", MOVE_COLOURS, limits)])
        titles.append(f"{name.replace('_', ' ').capitalize()}, from {side}")
    figure, axes = panels(looks, parts, titles, view)
    bands(
        figure, axes, MOVE_COLOURS, MOVES, f"Movement of the fracture's faces, {words(load)} (µm)"
    )
    return save(figure, path)


def draw_callus(view: OperatedView, load: Load, path: Path) -> Path:
    """Strain of the callus at each stage of healing, seen from medial: around the piece first."""
    stages = view.operation.healing
    names = [f"{prefix_of(view.operation, load, stage)}callus strain %" for stage in stages]
    if any(name not in view.maps for name in names):
        raise InputError("callus", f"`{load.name}` was not judged.", "Run the case again.")
    edges, colours = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0), STRAIN_COLOURS
    points = np.asarray(view.cells("callus").points)
    look = view.looked_at(view.names[0][0], points)
    parts = []
    for name in names:
        view.grid.cell_data["banded"] = np.interp(view.maps[name], edges, np.arange(len(edges)))
        callus = with_points(view.cells("callus"), "banded")
        parts.append([coloured(smooth(callus), "banded", colours, (0.0, len(edges) - 1.0))])
    figure, axes = panels([look] * len(names), parts, [stage.name for stage in stages], view)
    bands(
        figure, axes, colours, edges, f"Largest principal strain of the callus, {words(load)} (%)"
    )
    return save(figure, path)


def draw_sinking(view: OperatedView, load: Load, path: Path) -> Path:
    """How far the joint's surface sinks at each stage, seen from above."""
    stages, outcome = view.operation.healing, view.outcome
    several = len(stages) > 1
    up = view.axes[2]
    names = [f"{load.name}, {stage.name}" if several else load.name for stage in stages]
    names = [name for name in names if name in outcome.moved]
    if not names:
        raise InputError("plateau", f"`{load.name}` is not done.", "Run the case again.")
    sunk = [-1e3 * outcome.moved[name] @ up for name in names]
    centre = 0.5 * (view.point("plateau_lateral") + view.point("plateau_medial"))
    shown = np.isin(
        outcome.regions[outcome.moved_ids],
        [outcome.region_names[n] for n in view.bones() if n in outcome.region_names],
    )
    limit = max(float(np.nanpercentile(np.abs(np.concatenate(sunk)), 99.0)), 1.0)
    parts = []
    for values in sunk:
        grid = pv.UnstructuredGrid(
            {pv.CellType.TETRA: outcome.moved_cells[shown]}, outcome.moved_points
        )
        grid.point_data["sunk"] = values
        top = grid.clip(normal=-up, origin=centre - 12.0 * up, invert=True)
        parts.append([coloured(top, "sunk", "magma_r", (0.0, limit))])
    look = view.looked_at(view.names[2][0], np.asarray(parts[0][0][0].points))
    titles = [stage.name for stage in stages][: len(names)] if several else ["From above"]
    figure, axes = panels([look] * len(names), parts, titles, view, tall=4.6)
    bar(figure, axes, mpl.colormaps["magma_r"], (0.0, limit), f"Sinks by (µm), {words(load)}",
        extend="max")  # fmt: skip
    return save(figure, path)


def draw_pressure(view: OperatedView, load: Load, path: Path) -> Path:
    """Pressure between the cartilages at each stage of healing, seen from above.

    Raises:
        InputError: the pressure was not judged.
    """
    stages = view.operation.healing
    names = [f"{prefix_of(view.operation, load, stage)}{PRESSURE}" for stage in stages]
    if PLACES not in view.maps or any(name not in view.maps for name in names):
        raise InputError("cartilage", "no pressure was judged.", "Set cartilage = true.")
    _, anterior, proximal = view.axes
    right = np.cross(anterior, proximal)
    places = np.asarray(view.maps[PLACES])
    x, y = places @ right, places @ anterior
    x, y = x - x.mean(), y - y.mean()
    values = [np.asarray(view.maps[name]) for name in names]
    most = max(float(np.nanmax(np.concatenate(values))), 1e-3)
    figure = Figure(figsize=(PANEL * len(stages), 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    grid = list(figure.subplots(1, len(stages), squeeze=False)[0])
    colours = mpl.colormaps["magma_r"]
    for ax, stage, pressure in zip(grid, stages, values, strict=True):
        pressed = pressure > 0.0
        ax.scatter(x, y, s=MARK, c="#dddddd", marker="s", linewidths=0)
        shown = ax.scatter(x[pressed], y[pressed], s=MARK, c=pressure[pressed], cmap=colours,
                           vmin=0.0, vmax=most, marker="s", linewidths=0)  # fmt: skip
        ax.set_title(stage.name, fontsize=10.5)
        ax.set_aspect("equal")
        ax.set_xlabel("medial →" if right @ view.axes[0] > 0.0 else "← medial")
    grid[0].set_ylabel("anterior → (mm)")
    figure.colorbar(shown, ax=grid, label="Pressure of the cartilage (MPa)", shrink=0.9)
    return save(figure, path)
