"""Pictures of an operated bone: implant in place, contact, micromotion, shielding, stress, risk."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyvista as pv
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError
from organtwin.export.implant_scene import (
    BONE,
    FRAGMENTS,
    METAL,
    REMOVED,
    SHINY,
    OperatedView,
    at_interface,
    bands,
    coloured,
    panels,
    plain,
    smooth,
    with_points,
    words,
)
from organtwin.export.views import Part, View, bar, save, text
from organtwin.orthopaedics.assessment import prefix_of
from organtwin.orthopaedics.gruen_indices import ZONES
from organtwin.orthopaedics.hip_assessment import stem_micromotion
from organtwin.orthopaedics.hip_stem import CANAL_GAP
from organtwin.orthopaedics.operation import Healing, Load

type Array = NDArray[np.float64]

#: Bands of micromotion (µm): green up to 40, yellow to orange up to 150, red beyond.
BANDS = (0.0, 10.0, 20.0, 40.0, 75.0, 110.0, 150.0, 300.0)
BAND_COLOURS = ListedColormap(
    ["#1a7a4c", "#4fae6d", "#a8d99a", "#ffe08a", "#fdb863", "#ef8a47", "#b2182b"]
)
#: Bands of the risk of yield.
RISKS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)
RISK_COLOURS = ListedColormap(["#e8eef4", "#a9c6de", "#f7c97b", "#ee8a4a", "#a50f15"])
#: Bands of the gap between a stem and the cortex (mm): red in the cortex, blue off it.
GAPS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
GAP_COLOURS = ListedColormap(
    ["#b2182b", "#ef8a62", "#fddbc7", "#f7f7f7", "#d1e5f0", "#92c5de", "#4393c3", "#2166ac"]
)
#: Radius of the neck and of the head that are drawn (mm).
NECK, HEAD, RED = 6.0, 14.0, "#8b1a1a"
#: The four sides of a limb.
ROUND = ("anterior", "medial", "posterior", "lateral")


def draw_overview(view: OperatedView, path: Path) -> Path:
    """The implant in its bone, which is seen through, from the front and from the side."""
    there = tuple(n for n in view.bones() if n in view.outcome.region_names)
    bones = [(n, view.outer(n)) for n in there]
    gone = [n for n in view.plan["assembly"]["removed"] if n in view.outcome.region_names]
    seen = [mesh for _, mesh in bones] + [view.surface(n) for n in gone]
    ghost = _head(view)
    seen += [mesh for mesh, _ in ghost]
    points = np.concatenate([np.asarray(mesh.points) for mesh in seen])
    views = [view.looked_at("anterior", points), view.looked_at(view.names[0][1], points)]
    if view.operation.kind != "hip_stem":
        views.append(view.looked_at(view.names[2][0], points))
    parts: list[Part] = [
        plain(mesh, FRAGMENTS.get(n, BONE), 0.32 if n in view.operation.bones[:1] else 0.45)
        for n, mesh in bones
    ]
    parts += [plain(view.surface(name), METAL, **SHINY) for name in view.implants()]
    parts += [plain(view.surface(name), REMOVED, 0.16) for name in gone]
    parts += ghost
    titles = [_from(view, one) for one in views]
    figure, axes = panels(views, [parts] * len(views), titles, view)
    for ax, one in zip(axes, views, strict=True):
        _marks(ax, one, view)
    handles = [Patch(color=METAL, label="Implant")]
    handles += [Patch(color=FRAGMENTS.get(n, BONE), label=n.replace("_", " ").capitalize())
                for n in there]  # fmt: skip
    handles += [Patch(color=REMOVED, alpha=0.5, label="Cut away")] if gone else []
    handles += [
        Line2D([], [], color=RED, marker=kind, linestyle="", label=words)
        for kind, words in (("x", "Centre of the head"), ("+", "Of the new head")) if ghost
    ]  # fmt: skip
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(len(handles), 3), fontsize=9
    )
    return save(figure, path)


def draw_stiffness(view: OperatedView, path: Path) -> Path:
    """Young's modulus in a cut, before and after."""
    if "modulus" not in view.outcome.tissue:
        raise InputError("stiffness", "the intact bone was not solved.", "Run the case again.")
    view.grid.cell_data["E"] = view.outcome.tissue["modulus"] / 1e6
    origin, normal = _plane(view)
    whole = (*view.operation.bones, *view.plan["assembly"]["removed"],
             *view.plan["assembly"]["filled"], *view.operation.healing[0].moduli)  # fmt: skip
    known = tuple(dict.fromkeys(n for n in whole if n in view.outcome.region_names))
    limit = float(np.nanpercentile(view.grid.cell_data["E"], 99.0))
    first = [coloured(_cut(view, known, "E", origin, normal), "E", "bone_r", (0.0, limit))]
    staying = tuple(n for n in view.bones() if n in view.outcome.region_names)
    second = [coloured(_cut(view, staying, "E", origin, normal), "E", "bone_r", (0.0, limit))]
    second += [
        (view.cells(n).clip(normal=normal, origin=origin, invert=True), {"color": METAL, **SHINY})
        for n in view.implants()
    ]
    points = np.asarray(view.cells(*known).points)
    looks = [_towards(view, points, normal)] * 2
    figure, axes = panels(looks, [first, second], ["Before", "After"], view)
    bar(figure, axes, mpl.colormaps["bone_r"], (0.0, limit), "Young's modulus (GPa)")
    return save(figure, path)


def draw_canal(view: OperatedView, path: Path) -> Path:
    """How far the stem's surface is from the cortex that it was broached into."""
    if CANAL_GAP not in view.maps:
        raise InputError("fit in the canal", "it was not judged.", "Run the case again.")
    table = np.asarray(view.maps[CANAL_GAP])
    surface = view.surface(*view.implants())
    fine = surface.triangulate().subdivide(1, "linear")
    near = _nearest(table[:, :3], np.asarray(fine.points))
    fine.point_data["value"] = np.interp(table[near, 3], GAPS, np.arange(len(GAPS)))
    points = np.asarray(surface.points)
    looks = [view.looked_at(side, points) for side in _sides(view)]
    limits = (0.0, len(GAPS) - 1.0)
    parts = [[coloured(smooth(fine), "value", GAP_COLOURS, limits)]] * len(looks)
    figure, axes = panels(looks, parts, [_from(view, one) for one in looks], view)
    made = bands(figure, axes, GAP_COLOURS, GAPS, "Gap to the cortex (mm); below 0 in it")
    made.ax.axvline(0.0, color="black", linewidth=2)
    return save(figure, path)


def draw_press_fit(view: OperatedView, path: Path) -> Path:
    """Pressure on the implant before it is loaded."""
    if "press fit" not in view.outcome.steps:
        raise InputError("press fit", "there is none.", "Give an `interference`.")
    pressure = _of_seats(view, "press fit", "pressure") / 1e3
    limit = max(float(np.percentile(pressure, 98.0)), 0.1)
    figure, axes = _on_implant(view, pressure, mpl.colormaps["YlOrRd"], (0.0, limit))
    bar(figure, axes, mpl.colormaps["YlOrRd"], (0.0, limit), "Pressure of the press fit (MPa)",
        extend="max")  # fmt: skip
    return save(figure, path)


def draw_micromotion(view: OperatedView, load: Load, path: Path) -> Path:
    """Micromotion on the implant, in bands of what bone grows in at."""
    moved = stem_micromotion(view.outcome, load).magnitude * 1e3
    banded = np.interp(moved, BANDS, np.arange(len(BANDS)))
    figure, axes = _on_implant(view, banded, BAND_COLOURS, (0.0, len(BANDS) - 1.0))
    made = bands(figure, axes, BAND_COLOURS, BANDS, f"Micromotion, {words(load)} (µm)")
    made.ax.axvline(40.0, color="black", linewidth=2)
    made.ax.axvline(150.0, color="black", linewidth=2)
    made.ax.text(20.0, 1.25, "bone grows in", ha="center", fontsize=9,
                 transform=made.ax.get_xaxis_transform())  # fmt: skip
    made.ax.text(225.0, 1.25, "fibrous tissue", ha="center", fontsize=9,
                 transform=made.ax.get_xaxis_transform())  # fmt: skip
    return save(figure, path)


def draw_shielding(view: OperatedView, path: Path) -> Path:
    """Change of the stimulus of bone in the cut through the stem, with Gruen's zones."""
    name = "shielding %"
    if name not in view.maps:
        raise InputError("stress shielding", "it was not judged.", "Run the case again.")
    origin, normal = _plane(view)
    zones = _gruen(view)
    colours = mpl.colormaps["RdBu"]
    parts = []
    looks = []
    bone = view.cells(*view.operation.bones)
    points = np.asarray(bone.points)
    for way in (1.0, -1.0):
        cut = _cut(view, view.operation.bones, name, origin, way * normal)
        stem = [plain(view.surface(n), METAL, **SHINY) for n in view.implants()]
        parts.append([coloured(cut, name, colours, (-100.0, 100.0)), *stem])
        looks.append(_towards(view, points, way * normal))
    titles = ["Back half", "Front half"]
    figure, axes = panels(looks, parts, titles, view)
    for ax, look in zip(axes, looks, strict=True):
        _draw_zones(ax, look, zones, view)
    bar(figure, axes, colours, (-100.0, 100.0),
        "Change of strain energy against the intact bone (%)", extend="max")  # fmt: skip
    return save(figure, path)


def draw_stress(view: OperatedView, load: Load, stage: Healing, path: Path) -> Path:
    """Stress on the implants (von Mises)."""
    prefix = prefix_of(view.operation, load, stage)
    name = f"{prefix}stress MPa"
    if name not in view.maps:
        raise InputError("stress", f"`{load.name}` was not judged.", "Run the case again.")
    cells = with_points(view.cells(*view.implants()), name)
    limit = max(float(np.nanpercentile(cells.point_data[name], 99.5)), 0.1)
    points = np.asarray(cells.points)
    looks = [view.looked_at(side, points) for side in _sides(view)]
    parts = [[coloured(smooth(cells, 40.0), name, "magma_r", (0.0, limit))]] * len(looks)
    figure, axes = panels(looks, parts, [_from(view, one) for one in looks], view)
    largest, spare = np.nanmax(view.maps[name]), np.nanmin(view.maps[f"{prefix}safety"])
    bar(
        figure, axes, mpl.colormaps["magma_r"], (0.0, limit),
        f"von Mises stress, {words(load)} (MPa): {largest:.0f} at most, "
        f"least yield stress over it {spare:.1f}", extend="max",
    )  # fmt: skip
    return save(figure, path)


def draw_risk(view: OperatedView, load: Load, stage: Healing, path: Path) -> Path:
    """Risk of yield of bone, on its surface and in the cut."""
    name = f"{prefix_of(view.operation, load, stage)}risk"
    if name not in view.maps:
        raise InputError("risk", f"`{load.name}` was not judged.", "Run the case again.")
    origin, normal = _plane(view)
    view.grid.cell_data["banded"] = np.interp(view.maps[name], RISKS, np.arange(len(RISKS)))
    limits = (0.0, len(RISKS) - 1.0)
    bone = with_points(view.cells(*view.operation.bones), "banded")
    points = np.asarray(bone.points)
    sides = ("anterior", view.names[0][1])
    looks = [view.looked_at(side, points) for side in sides]
    parts = [[coloured(smooth(bone), "banded", RISK_COLOURS, limits),
              *(plain(view.surface(n), METAL, **SHINY) for n in view.implants())]
             for _ in looks]  # fmt: skip
    cut = _cut(view, view.operation.bones, "banded", origin, normal)
    looks.append(_towards(view, points, normal))
    parts.append([coloured(cut, "banded", RISK_COLOURS, limits),
                  *(plain(view.surface(n), METAL, **SHINY) for n in view.implants())])  # fmt: skip
    titles = [*(_from(view, one) for one in looks[:2]), "Cut"]
    figure, axes = panels(looks, parts, titles, view)
    bands(figure, axes, RISK_COLOURS, RISKS, f"Strain over that at yield, {words(load)}")
    return save(figure, path)


# --- pieces -------------------------------------------------------------------------------------


def _on_implant(
    view: OperatedView, values: Array, colours: ListedColormap | object,
    limits: tuple[float, float],
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """Values of the seats' points on the implants, from all sides."""
    seats = list(view.outcome.contacts.values())
    places = np.concatenate([seat.position for seat in seats])
    area = np.concatenate([seat.area for seat in seats])
    surface = view.surface(*view.implants())
    fine = surface.triangulate().subdivide(1, "linear")
    fine.point_data["value"] = at_interface(surface, places, values, area)[
        _nearest(surface.points, np.asarray(fine.points))
    ]
    known = at_interface(fine, places, values, area)
    fine.point_data["value"] = np.where(np.isfinite(known), known, fine.point_data["value"])
    points = np.asarray(surface.points)
    looks = [view.looked_at(side, points) for side in _sides(view)]
    parts = [[coloured(smooth(fine), "value", colours, limits)]] * len(looks)
    return panels(looks, parts, [_from(view, one) for one in looks], view)


def _nearest(known: Array, points: Array) -> NDArray[np.int64]:
    return np.asarray(cKDTree(known).query(points)[1])


def _of_seats(view: OperatedView, step: str, key: str) -> Array:
    return np.concatenate([c.steps[step][key] for c in view.outcome.contacts.values()])


def _sides(view: OperatedView) -> tuple[str, ...]:
    if view.operation.kind == "pedicle_screw":
        return ("up", "right")
    return ROUND


def _plane(view: OperatedView) -> tuple[Array, Array]:
    """Point and normal (towards the eye) of the cut that shows most."""
    _, anterior, proximal = view.axes
    if view.operation.kind == "hip_stem":
        frame = view.plan["assembly"]["frames"]["stem"]
        normal = np.array(frame["axes"][1])
        return np.array(frame["origin"]), normal * np.sign(normal @ anterior)
    points = np.asarray(view.cells(*view.implants()).points)
    if view.operation.kind == "pedicle_screw":
        ways = [view.point(f"{n}_tip") - view.point(f"{n}_entry") for n in view.implants()]
        # Both screws lie in one plane as nearly as can be.
        across = np.cross(ways[0], ways[1])
        normal = np.linalg.svd(np.array(ways))[2][2] if len(ways) > 2 else across
        normal = normal / np.linalg.norm(normal)
        return points.mean(axis=0), normal * np.sign(normal @ proximal)
    return points.mean(axis=0), anterior


def _cut(
    view: OperatedView, regions: tuple[str, ...], name: str, origin: Array, normal: Array
) -> object:
    """What lies behind the plane, with its values at points."""
    return with_points(view.cells(*regions), name).clip(normal=normal, origin=origin, invert=True)


def _towards(view: OperatedView, points: Array, normal: Array) -> View:
    from organtwin.export.implant_scene import fitted

    proximal, anterior = view.axes[2], view.axes[1]
    up = anterior if abs(normal @ proximal) > 0.7 else proximal
    return fitted(points, normal, up - (up @ normal) * normal)


def _from(view: OperatedView, look: View) -> str:
    """Which side a view is from."""
    for axis, names in zip(view.axes, view.names, strict=True):
        along = float(look.eye @ axis)
        if abs(along) > 0.9:
            side = names[0] if along > 0 else names[1]
            known = {"anterior": "Front (AP)", "posterior": "Back", "up": "Above",
                     "proximal": "Above"}  # fmt: skip
            return known.get(side, side.capitalize())
    return ""


def _marks(ax: Axes, look: View, view: OperatedView) -> None:
    """Centres of heads, tips and entries that the plan knows."""
    for name in ("head_centre", "native_head_centre"):
        if name in view.plan["assembly"]["points"]:
            x, y = look.flat(view.point(name))
            ax.plot([x], [y], "x" if name == "native_head_centre" else "+", color=RED,
                    markersize=10, markeredgewidth=2)  # fmt: skip


def _head(view: OperatedView) -> list[Part]:
    """Neck and head of a stem: drawn, not computed, since they lie outside of the bone."""
    if "head_centre" not in view.plan["assembly"]["points"]:
        return []
    centre = view.point("head_centre")
    stem = np.asarray(view.surface(*view.implants()).points)
    top = stem[np.argsort(np.linalg.norm(stem - centre, axis=1))[:12]].mean(axis=0)
    neck = pv.Line(top, centre).tube(radius=NECK, n_sides=24)
    ball = pv.Sphere(radius=HEAD, center=centre)
    return [plain(neck, METAL, 0.35), plain(ball, METAL, 0.35)]


def _gruen(view: OperatedView) -> tuple[Array, Array, float, float]:
    """Origin and axes of the stem, heights of the cut and of the tip."""
    frames = view.plan["assembly"]["frames"]
    origin, axes = (np.array(frames["stem"][key]) for key in ("origin", "axes"))
    top = float((np.array(frames["resection"]["origin"]) - origin) @ axes[2])
    tip = float((view.point("stem_tip") - origin) @ axes[2])
    return origin, axes, top, tip


def _draw_zones(
    ax: Axes, look: View, zones: tuple[Array, Array, float, float], view: OperatedView
) -> None:
    """Borders and numbers of Gruen's zones."""
    origin, axes, top, tip = zones
    wide, high = look.size
    for k in range(4):
        level = top + (tip - top) * k / 3.0
        ends = look.flat(origin + level * axes[2] + np.outer([-45.0, 45.0], axes[0]))
        ax.plot(ends[:, 0], ends[:, 1], color="#333333", linewidth=0.9, linestyle="--")
    third = (tip - top) / 3.0
    for zone in ZONES:
        if zone == 4:
            along, beside = tip - 12.0, 0.0
        else:
            row = zone - 1 if zone < 4 else 7 - zone
            along, beside = top + (row + 0.5) * third, -38.0 if zone < 4 else 38.0
        at = look.flat(origin + along * axes[2] + beside * axes[0])
        at = np.clip(at, [-0.94 * wide, -0.97 * high], [0.94 * wide, 0.97 * high])
        text(ax, at, str(zone), fontsize=13, fontweight="bold")
