"""Views of a deployed valve: what is shown of it, from where, and what is written over it.

Pictures of the scene have axes in mm, so that bars, names and distances are drawn over them by
matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyvista as pv
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from organtwin.export.tavr_view import Mesh, Valve, names_at, struts
from organtwin.export.views import Part, View, text

Array = NDArray[np.float64]

#: Colours of what lies around the frame.
COLOURS = {
    "wall": "#eccfc8", "leaflets": "#8fb3d9", "ostium_right": "#d62728", "ostium_left": "#ff9f1c",
    "membranous_septum": "#2a9d8f", "calcium": "#fff3b0", "annulus": "#333333",
    "metal": "#9aa3ad",
}  # fmt: skip
NAMES = {
    "wall": "Inner wall", "leaflets": "Native leaflets", "ostium_right": "Right coronary ostium",
    "ostium_left": "Left coronary ostium", "membranous_septum": "Membranous septum",
    "calcium": "Calcium", "annulus": "Annulus", "metal": "Frame",
}  # fmt: skip
PATCHES = ("ostium_right", "ostium_left", "membranous_septum")
#: The membranous septum's area; its border has its colour.
PALE = "#b5ddd8"
#: Least height of a picture's panel per width.
FLATTEST = 0.6
#: Colours that carry numbers get little shade.
READABLE = {"ambient": 0.68, "diffuse": 0.38, "specular": 0.0}
METALLIC = {"ambient": 0.35, "diffuse": 0.65, "specular": 0.35, "specular_power": 30}
#: Room around what a view shows (mm).
MARGIN = 2.5
#: Length of the bar that tells the scale (mm).
BAR = 10.0


def view_of(valve: Valve, degrees: float, lift: float = 0.2, points: Array | None = None) -> View:
    """From the side.

    Args:
        valve: The valve.
        degrees: Direction to the eye about the axis.
        lift: How far it is above, as a tangent.
        points: What must be seen; all of wall and frame if None.
    """
    up = valve.axes[2]
    eye = valve.across(degrees) + lift * up
    return _fitted(valve, eye / np.linalg.norm(eye), up, points)


def from_aorta(valve: Valve, points: Array | None = None) -> View:
    """From the aorta, the right cusp to the right."""
    return _fitted(valve, valve.axes[2], valve.axes[1], points)


def _fitted(valve: Valve, eye: Array, up: Array, points: Array | None) -> View:
    seen = shown(valve) if points is None else points
    first = View(eye, up, valve.origin, (1.0, 1.0))
    flat = first.flat(seen)
    low, high = flat.min(axis=0) - MARGIN, flat.max(axis=0) + MARGIN
    centre = valve.origin + 0.5 * (low + high) @ first.screen
    wide, tall = 0.5 * (high - low)
    return View(eye, up, centre, (float(wide), float(tall)))


def shown(valve: Valve) -> Array:
    """Points of the wall and of the frame."""
    return np.concatenate([valve.deployed.wall[0], valve.deployed.nodes])


def same_size(views: Sequence[View]) -> list[View]:
    """The same views with the same extent, so that panels are to one scale."""
    wide = max(view.size[0] for view in views)
    high = max(max(view.size[1] for view in views), FLATTEST * wide)
    return [View(view.eye, view.up, view.centre, (wide, high)) for view in views]


# --- parts --------------------------------------------------------------------------------------


def solid(mesh: Mesh, **data: Array) -> pv.PolyData:
    """Triangles with data at their points."""
    found = pv.PolyData.from_regular_faces(mesh[0], mesh[1])
    for name, values in data.items():
        found.point_data[name] = values
    return found


def behind(mesh: pv.PolyData, valve: Valve, eye: Array) -> pv.PolyData:
    """What lies on the far side of the root's axis."""
    level = eye - (eye @ valve.axes[2]) * valve.axes[2]
    return mesh.clip(normal=level, origin=valve.origin, invert=True)


def rounded(mesh: pv.PolyData, angle: float = 60.0) -> pv.PolyData:
    """With normals for smooth shading."""
    if mesh.n_cells == 0:
        return mesh
    return mesh.compute_normals(
        cell_normals=False, split_vertices=True, feature_angle=angle, consistent_normals=False
    )


def frame_parts(
    valve: Valve, values: Array | None = None, limits: tuple[float, float] = (0.0, 1.0),
    colours: str = "viridis", colour: str = COLOURS["metal"],
) -> list[Part]:  # fmt: skip
    """The frame, of metal or coloured by values of its elements (m,)."""
    mesh, element = struts(valve.deployed)
    tubes = solid(mesh)
    if values is None:
        return [(rounded(tubes, 50.0), {"color": colour, **METALLIC})]
    tubes.cell_data["value"] = values[element]
    look = {"scalars": "value", "cmap": colours, "clim": limits, **METALLIC, "specular": 0.1}
    return [(rounded(tubes, 50.0), look)]


def tissue_parts(valve: Valve, eye: Array | None = None, below: float | None = None) -> list[Part]:
    """Wall with its patches, leaflets, calcium and the line of the annulus.

    Args:
        valve: The valve.
        eye: Who looks: only what lies behind the axis is shown; all if None.
        below: Height over the annulus up to which the wall is shown (mm); all if None.
    """

    def cut(mesh: pv.PolyData) -> pv.PolyData:
        if eye is not None:
            mesh = behind(mesh, valve, eye)
        if below is not None:
            top = valve.origin + below * valve.axes[2]
            mesh = mesh.clip(normal=valve.axes[2], origin=top, invert=True)
        return mesh

    names = valve.deployed.surfaces
    parts: list[Part] = [
        (rounded(cut(solid(valve.wall))), {"color": COLOURS["wall"]}),
    ]
    for name in PATCHES:
        if name in names and len(names[name][1]):
            patch = _lifted(valve, names[name])
            fill = PALE if name == "membranous_septum" else COLOURS[name]
            parts.append((cut(patch), {"color": fill, **READABLE}))
            if name == "membranous_septum":
                parts.append((tubed(cut(border(patch)), 0.16), {"color": COLOURS[name]}))
    leaves = valve.deployed.leaflets
    if len(leaves[1]):
        parts.append((rounded(cut(solid(leaves)), 40.0),
                      {"color": COLOURS["leaflets"]}))  # fmt: skip
    if valve.calcium is not None:
        parts.append((rounded(cut(solid(valve.calcium))), {"color": COLOURS["calcium"]}))
    parts.append((tubed(cut(annulus_line(valve))), {"color": COLOURS["annulus"]}))
    return [(mesh, look) for mesh, look in parts if mesh.n_points]


def annulus_line(valve: Valve) -> pv.PolyData:
    """Where the wall meets the plane of the annulus."""
    return solid(valve.wall).slice(normal=valve.axes[2], origin=valve.origin)


def border(mesh: pv.PolyData) -> pv.PolyData:
    """The border of a patch."""
    return mesh.extract_feature_edges(
        boundary_edges=True, feature_edges=False, manifold_edges=False, non_manifold_edges=False
    )


def tubed(lines: pv.PolyData, radius: float = 0.12) -> pv.PolyData:
    """Lines as thin tubes, which are as thick in every picture."""
    return lines.strip(join=True).tube(radius=radius, n_sides=8) if lines.n_cells else lines


def _lifted(valve: Valve, mesh: Mesh, off: float = 0.06) -> pv.PolyData:
    """A patch of the wall, a little before it, so that it is seen."""
    points, triangles = mesh
    a, b, c = (points[triangles[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    mean = normals.sum(axis=0)
    inwards = valve.origin - points.mean(axis=0)
    inwards -= (inwards @ valve.axes[2]) * valve.axes[2]
    way = mean if mean @ inwards > 0.0 else -mean
    length = float(np.linalg.norm(way))
    return solid((points + off * way / length if length else points, triangles))


# --- what is drawn over them --------------------------------------------------------------------


def sheet(
    views: Sequence[View], images: Sequence[NDArray[np.uint8]], titles: Sequence[str], *,
    wide: float = 12.6, heading: str = "",
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """Pictures side by side, to one scale, with axes in mm and a bar that tells it."""
    each = wide / len(views)
    high = each * views[0].size[1] / views[0].size[0]
    figure = Figure(figsize=(wide, high + 1.25), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, len(views), squeeze=False)[0])
    for ax, view, image, title in zip(axes, views, images, titles, strict=True):
        (x, y) = view.size
        ax.imshow(image, extent=(-x, x, -y, y), interpolation="lanczos")
        ax.set_title(title, fontsize=12)
        ax.set_axis_off()
        ax.set_xlim(-x, x)
        ax.set_ylim(-y, y)
    x, y = views[0].size
    low = -0.985 * y
    axes[0].plot([-0.97 * x, -0.97 * x + BAR], [low, low], color="black", linewidth=3,
                 solid_capstyle="butt")  # fmt: skip
    text(axes[0], (-0.97 * x + 0.5 * BAR, low + 0.02 * y), f"{BAR:.0f} mm", va="bottom")
    if heading:
        axes[0].annotate(
            heading, (0.0, 1.0), xytext=(0.0, 42.0), xycoords="axes fraction", fontsize=14,
            textcoords="offset points", fontweight="bold", va="bottom",
        ).set_in_layout(False)  # fmt: skip
    return figure, axes


def patient_directions(ax: Axes, view: View) -> None:
    """Arrows to the left, back and head of the patient in the picture's upper left corner."""
    wide, high = view.size
    size = 0.09 * max(wide, high)
    at = np.array([-wide + 1.6 * size, high - 1.6 * size])
    for axis, ends in zip(np.eye(3), (("L", "R"), ("P", "A"), ("H", "F")), strict=True):
        way = view.screen @ axis
        towards = float(axis @ view.eye)
        name, sign = (ends[0], 1.0) if towards > -0.05 or axis[2] else (ends[1], -1.0)
        way = sign * way
        if np.linalg.norm(way) < 0.35:
            continue
        tip = at + size * way
        ax.annotate("", tip, at, zorder=9, arrowprops={
            "arrowstyle": "-|>", "color": "#444444", "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0,
        })  # fmt: skip
        text(ax, at + 1.38 * size * way, name, fontsize=9, color="#222222", fontweight="bold")


def ends_of_vessel(ax: Axes, view: View) -> None:
    """Which way aorta and ventricle are."""
    wide, high = view.size
    for y, words in ((0.97, "Aorta"), (-0.97, "Ventricle")):
        text(ax, (0.97 * wide, y * high), words, fontsize=9.5, color="#555555", ha="right",
             va="top" if y > 0 else "bottom", style="italic")  # fmt: skip


def cusp_names(ax: Axes, valve: Valve, view: View, far: float) -> None:
    """Names of the cusps around a view from the aorta, at a distance (mm)."""
    middle = view.flat(valve.origin)
    for name, turn in names_at(valve.middles).items():
        way = view.screen @ valve.across(turn)
        text(ax, middle + far * way, name[:1], fontsize=13, fontweight="bold")


def key(figure: Figure, valve: Valve, *, frame: bool = False) -> None:
    """Legend of what is shown."""
    names = ["wall"]
    if len(valve.deployed.leaflets[1]):
        names.append("leaflets")
    names += [n for n in PATCHES if n in valve.deployed.surfaces]
    if valve.calcium is not None:
        names.append("calcium")
    handles: list[Patch | Line2D] = [Patch(color=COLOURS[n], label=NAMES[n]) for n in names]
    handles.append(Line2D([], [], color=COLOURS["annulus"], label=NAMES["annulus"], linewidth=2))
    if frame:
        handles.append(Patch(color=COLOURS["metal"], label=NAMES["metal"]))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(len(handles), 7), fontsize=10,
        handlelength=1.2, columnspacing=1.3,
    )  # fmt: skip
