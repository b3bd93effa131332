"""Pictures of a deployed valve in its root: frame, contact, stress, coronaries, stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

from organtwin.devices.cross_sections import cross_section
from organtwin.errors import InputError
from organtwin.export.diagrams import STYLE
from organtwin.export.tavr_scene import (
    COLOURS,
    PATCHES,
    READABLE,
    annulus_line,
    behind,
    border,
    cusp_names,
    ends_of_vessel,
    frame_parts,
    from_aorta,
    key,
    patient_directions,
    rounded,
    same_size,
    sheet,
    shown,
    solid,
    tissue_parts,
    tubed,
    view_of,
)
from organtwin.export.tavr_view import Valve, ceiling
from organtwin.export.views import Part, View, bar, save, text
from organtwin.mesh.closest import on_segments
from organtwin.tavr.coronary_indices import SIDES, Ostium, ostium_now, valve_distance
from organtwin.tavr.deployed import Deployed

Array = NDArray[np.float64]

#: Nothing is nearly white, much is dark: matplotlib's magma, reversed, without its ends.
PRESSURE = LinearSegmentedColormap.from_list("pressure", [
    (0.0, "#fbf6ee"),
    *zip(np.linspace(0.06, 1.0, 32), mpl.colormaps["magma_r"](np.linspace(0.06, 0.95, 32)),
         strict=True),
])  # fmt: skip
STRAIN, STRESS = "viridis", "cividis"
#: Share of the junction's height up to which the wall is shown from the aorta.
FROM_AORTA = 0.75


def draw_valve(valve: Valve, path: Path, *, title: str = "") -> Path:
    """The frame in its root, cut away, from two sides and from the aorta.

    Struts have their thickness and width, and are coloured by the largest fibre strain.

    Args:
        valve: The valve.
        path: PNG file.
        title: Heading.
    """
    strain = 100.0 * valve.largest_strain
    limits = (0.0, ceiling(strain, 100.0))
    frame = frame_parts(valve, strain, limits, STRAIN)
    turn = valve.septum_direction
    views = same_size(
        [view_of(valve, turn + 180.0), view_of(valve, turn), from_aorta(valve, _low(valve))]
    )
    level = cut_level(valve)
    parts = [
        [*tissue_parts(valve, views[0].eye), *frame],
        [*tissue_parts(valve, views[1].eye), *frame],
        [*tissue_parts(valve, below=level), *frame],
    ]
    images = [view.image(own) for view, own in zip(views, parts, strict=True)]
    with mpl.rc_context(STYLE):
        titles = ("Towards the membranous septum", "From the septum's side", "From the aorta")
        figure, axes = sheet(views, images, titles, heading=title)
        for ax, view in zip(axes, views, strict=True):
            patient_directions(ax, view)
        for ax, view in zip(axes[:2], views[:2], strict=True):
            ends_of_vessel(ax, view)
        cusp_names(axes[2], valve, views[2], _reach(valve) + 1.0)
        bar(figure, axes, STRAIN, limits, "Largest fibre strain of the struts (%)")
        key(figure, valve)
        return save(figure, path)


def draw_contact_wall(valve: Valve, path: Path, *, title: str = "") -> Path:
    """Contact pressure on the inner wall, cut open, from two sides.

    Args:
        valve: The valve.
        path: PNG file.
        title: Heading.
    """
    limits = (0.0, ceiling(valve.pressure[valve.pressure > 0.0]))
    turn = valve.septum_direction
    views = same_size([view_of(valve, turn + 180.0 - 90.0 * k, 0.1) for k in (0, 1, 2, 3)])
    images = [
        view.image(_coloured(valve, valve.pressure, view, PRESSURE, limits, outlined=True))
        for view in views
    ]
    with mpl.rc_context(STYLE):
        titles = ("Septum ahead", "90° on", "Opposite", "270° on")
        figure, axes = sheet(views, images, titles, heading=title)
        for ax, view in zip(axes, views, strict=True):
            patient_directions(ax, view)
        bar(figure, axes, PRESSURE, limits,
            "Contact pressure, averaged over discs of 2 mm radius (kPa)", extend="max")  # fmt: skip
        key(figure, valve, frame=True)
        return save(figure, path)


def draw_wall_stress(valve: Valve, path: Path, *, title: str = "") -> Path:
    """Largest principal stress of the inner wall before and after, and by how much it rose.

    Args:
        valve: The valve.
        path: PNG file.
        title: Heading.

    Raises:
        InputError: the stress was not computed.
    """
    now, first = valve.deployed.stress, valve.deployed.stress_before
    if now is None:
        raise InputError("wall stress", "it was not computed.", "Deploy with a tissue model.")
    after = valve.at_wall(now)
    turn = valve.septum_direction
    view = view_of(valve, turn + 180.0, 0.1)
    limits = (0.0, ceiling(np.concatenate([now, now if first is None else first])))
    fields = [("Deployed", after, STRESS, limits)]
    rise = (-1.0, 1.0)
    if first is not None:
        before = valve.at_wall(first)
        top = ceiling(np.abs(after - before))
        rise = (-top, top)
        fields = [
            ("Before", before, STRESS, limits),
            *fields,
            ("Change", after - before, "RdBu_r", rise),
        ]
    else:
        fields.append(("Deployed, opposite side", after, STRESS, limits))
    views = same_size([view] * len(fields))
    if first is None:
        views = same_size([view, view_of(valve, turn, 0.1)])
    images = [
        one.image(_coloured(valve, values, one, colours, clim))
        for one, (_, values, colours, clim) in zip(views, fields, strict=True)
    ]
    with mpl.rc_context(STYLE):
        figure, axes = sheet(views, images, [name for name, *_ in fields], heading=title)
        for ax, one in zip(axes, views, strict=True):
            patient_directions(ax, one)
        label = "Largest principal Cauchy stress (kPa)"
        bar(figure, axes[:2], STRESS, limits, label, shrink=0.55, extend="max")
        if first is not None:
            bar(figure, axes[2], "RdBu_r", rise, "Deployed less before (kPa)", shrink=0.85,
                extend="both")  # fmt: skip
        return save(figure, path)


def _coloured(
    valve: Valve, values: Array, view: View, colours: LinearSegmentedColormap | str,
    limits: tuple[float, float], *, outlined: bool = False,
) -> list[Part]:  # fmt: skip
    """The far half of the wall in colours, the frame in plain metal, patches as outlines."""
    wall = behind(solid(valve.wall, value=values), valve, view.eye)
    look = {"scalars": "value", "cmap": colours, "clim": limits, **READABLE}
    parts: list[Part] = [(rounded(wall), look)]
    lines = {"annulus": annulus_line(valve)} | {
        name: border(solid(valve.deployed.surfaces[name]))
        for name in PATCHES if name in valve.deployed.surfaces
    }  # fmt: skip
    for name, line in lines.items():
        kept = behind(line, valve, view.eye) if line.n_points else line
        if kept.n_points:
            radius = 0.12 if name == "annulus" else 0.18
            parts.append((tubed(kept, radius), {"color": COLOURS[name], **READABLE}))
    thin = replace(valve.deployed, thickness=0.5 * valve.deployed.thickness,
                   width=0.5 * valve.deployed.width)  # fmt: skip
    for mesh, metal in frame_parts(replace(valve, deployed=thin)) if outlined else []:
        kept = behind(mesh, valve, view.eye)
        parts.append((kept, dict(metal)))
    return parts


# --- coronaries ---------------------------------------------------------------------------------


def draw_coronaries(valve: Valve, path: Path, *, title: str = "") -> Path:
    """Each ostium from the side with its height and its distances from valve and leaflet.

    Args:
        valve: The valve; its root must be known.
        path: PNG file.
        title: Heading.

    Raises:
        InputError: no ostium is known.
    """
    if valve.root is None:
        raise InputError("coronaries", "the measures of the root are not known.", "Measure it.")
    found = [(side, ostium_now(valve.deployed, valve.root, side)) for side in SIDES]
    known = [(side, ostium) for side, ostium in found if ostium is not None]
    if not known:
        raise InputError("coronaries", "no ostium was found.", "Place its landmark.")
    views, images = [], []
    for _, ostium in known:
        turn = float(valve.unrolled(ostium.at)[0])
        views.append(view_of(valve, turn - 90.0, 0.0))
    views = same_size(views)
    for view in views:
        images.append(view.image([*tissue_parts(valve, view.eye), *_half_frame(valve, view)]))
    with mpl.rc_context(STYLE):
        titles = [f"{side.capitalize()} coronary ostium" for side, _ in known]
        figure, axes = sheet(views, images, titles, wide=11.0, heading=title)
        for ax, view, (_, ostium) in zip(axes, views, known, strict=True):
            _distances(ax, valve, view, ostium)
            patient_directions(ax, view)
        key(figure, valve, frame=True)
        return save(figure, path)


def _half_frame(valve: Valve, view: View) -> list[Part]:
    return [(behind(mesh, valve, view.eye), look) for mesh, look in frame_parts(valve)]


def _distances(ax: Axes, valve: Valve, view: View, ostium: Ostium) -> None:
    """Lines from the ostium to the annulus, to the valve, to the nearest leaflet."""
    at = view.flat(ostium.at)
    base = view.flat(valve.origin)
    lower = np.array([at[0], base[1] + ostium.lower])
    ax.plot(*at, "o", color="black", markersize=7, markerfacecolor="none", markeredgewidth=1.8)
    side = 1.0 if at[0] > base[0] else -1.0
    x = at[0] + side * 1.2
    ax.plot([base[0], x + side], [base[1]] * 2, ":", color="black", linewidth=1.2)
    _ruler(ax, (x, base[1]), (x, lower[1]), "#000000")
    text(ax, (x + side * 0.7, 0.5 * (base[1] + lower[1])), f"height\n{ostium.lower:.1f} mm",
         ha="left" if side > 0 else "right", fontsize=10)  # fmt: skip
    try:
        away, short = valve_distance(valve.deployed, ostium.at)
        near = view.flat(_nearest_of_valve(valve, ostium.at))
        _ruler(ax, near, at, "#0072b2")
        words = f"valve {away:.1f} mm" + ("\n(frame ends below)" if short else "")
        text(ax, (0.5 * (near[0] + at[0]), at[1] + 0.9), words, color="#005a8f", va="bottom")
    except InputError:
        pass
    points, triangles = valve.deployed.leaflets
    if len(triangles):
        used = points[np.unique(triangles)]
        near_leaf = used[np.argmin(np.linalg.norm(used - ostium.at, axis=1))]
        length = float(np.linalg.norm(near_leaf - ostium.at))
        flat = view.flat(near_leaf)
        _ruler(ax, flat, at, "#a0307a")
        text(ax, 0.5 * (flat + at) + [0.0, -1.0], f"leaflet {length:.1f} mm", color="#8a2468",
             va="top")  # fmt: skip


def _nearest_of_valve(valve: Valve, at: Array) -> Array:
    """Point of the frame's section at a place's height that is nearest to it, lifted there."""
    one, axes = valve.deployed, valve.deployed.axes
    own = (one.nodes - one.origin) @ axes[2]
    top = float(own[one.crowns[-1]].min()) - 1.0
    height = float((at - one.origin) @ axes[2])
    cut = cross_section(
        one.nodes - one.origin, one.ends, axes, min(height, top), 0.5 * float(one.thickness.mean())
    )
    local = axes @ (at - one.origin - cut.centre)
    ring = np.stack([cut.flat, np.roll(cut.flat, -1, axis=0)], axis=1)
    near = on_segments(local[:2], ring)
    best = near[np.argmin(np.linalg.norm(near - local[:2], axis=1))]
    lifted = np.array([*best, max(height - top, 0.0)])
    return np.asarray(one.origin + cut.centre + lifted @ axes)


def _ruler(ax: Axes, a: Sequence[float] | Array, b: Sequence[float] | Array, colour: str) -> None:
    ax.annotate("", tuple(b), tuple(a), zorder=8, arrowprops={
        "arrowstyle": "<->", "color": colour, "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0,
    })  # fmt: skip


# --- stages -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """A state on the way.

    Attributes:
        title: What it is.
        told: Its numbers in words.
        nodes: Of the frame (mm), (n, 3).
        strain: Largest absolute fibre strain of each element, (m,).
        surfaces: Points of `Deployed.surfaces` then (mm), (k, 3) each.
    """

    title: str
    told: str
    nodes: Array
    strain: Array
    surfaces: Mapping[str, Array]


def draw_sequence(valve: Valve, states: Sequence[Shown], path: Path, *, title: str = "") -> Path:
    """The frame in the root, cut away, state by state, to one scale and one colour scale.

    Args:
        valve: The valve as it ended.
        states: In their order.
        path: PNG file.
        title: Heading.

    Raises:
        InputError: there are no states.
    """
    if not states:
        raise InputError("stages", "no states were kept.", "Deploy with fields written.")
    top = ceiling(100.0 * np.concatenate([one.strain for one in states]), 99.5)
    points = np.concatenate([shown(valve), *(one.nodes for one in states)])
    view = view_of(valve, valve.septum_direction + 180.0, 0.1, points)
    images = []
    for one in states:
        then = replace(valve, deployed=_then(valve, one), calcium=None)
        frame = frame_parts(then, 100.0 * one.strain, (0.0, top), STRAIN)
        images.append(view.image([*tissue_parts(then, view.eye), *frame], pixels=640))
    with mpl.rc_context(STYLE):
        titles = [one.title for one in states]
        figure, axes = sheet([view] * len(states), images, titles, heading=title,
                             wide=min(12.6, 4.0 * len(states)))  # fmt: skip
        for ax, one in zip(axes, states, strict=True):
            ax.text(0.5, -0.01, one.told, transform=ax.transAxes, ha="center", va="top",
                    fontsize=10)  # fmt: skip
        patient_directions(axes[0], view)
        bar(figure, axes, STRAIN, (0.0, top), "Largest fibre strain of the struts (%)",
            extend="max")  # fmt: skip
        return save(figure, path)


def _then(valve: Valve, one: Shown) -> Deployed:
    """The valve in another state: its nodes and the tissue's surfaces, without contact."""
    deployed = valve.deployed
    surfaces = {name: (points, deployed.surfaces[name][1]) for name, points in one.surfaces.items()}
    return replace(deployed, nodes=one.nodes, surfaces=surfaces, surfaces_before={},
                   strain=np.stack([-one.strain, one.strain], axis=1))  # fmt: skip


def _low(valve: Valve) -> Array:
    """Points that the view from the aorta shows."""
    points = shown(valve)
    return points[valve.own(points)[:, 2] < cut_level(valve)]


def cut_level(valve: Valve) -> float:
    """Height over the annulus up to which the wall is shown from the aorta (mm)."""
    if valve.root is not None:
        return FROM_AORTA * valve.root.junction_height
    return 0.5 * float(valve.own(valve.deployed.wall[0])[:, 2].max())


def _reach(valve: Valve) -> float:
    """Farthest from the axis that the wall goes in that view (mm)."""
    own = valve.own(_low(valve))
    return float(np.hypot(own[:, 0], own[:, 1]).max())
