"""Pictures of landmarks on a surface or on sections of a scan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.export.diagrams import PALETTE
from organtwin.image.volume import Image
from organtwin.landmarks.fits import frame, unit
from organtwin.landmarks.record import (
    Curve,
    Geometry,
    Landmark,
    Line,
    Plane,
    Point,
    Sphere,
    find,
)
from organtwin.mesh.surface_files import TriangleSurface

type Vector = NDArray[np.float64]

BONE = np.array([0.90, 0.88, 0.83])
#: Colour of names and numbers; light colours of the palette can't be read as text.
TEXT = "#222222"


def draw_landmarks(
    surface: TriangleSurface,
    landmarks: Sequence[Landmark],
    path: str | Path,
    *,
    title: str,
    views: Sequence[tuple[str, Vector, Vector]] | None = None,
) -> None:
    """Surface and landmarks seen from two sides, with a scale, and a list of confidences.

    Args:
        surface: What the landmarks lie on; drawn see-through.
        landmarks: What to draw.
        path: PNG or SVG file.
        title: Heading.
        views: Name, direction of sight and direction upwards of each picture; the patient's front
            and left side by default.
    """
    sights = views or (
        ("from the front", np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])),
        ("from the left", np.array([-1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])),
    )
    figure, axes = plt.subplots(
        1, len(sights) + 1, figsize=(6.0 * len(sights) + 5.0, 8.0), layout="constrained"
    )
    for ax, (_, sight, up) in zip(axes, sights, strict=False):
        across = _screen(sight, up)
        _shade(ax, surface, across)
        for number, landmark in enumerate(landmarks):
            _draw(ax, landmark.geometry, across, PALETTE[number % len(PALETTE)], str(number + 1))
        ax.margins(0.06)
    _same_scale(axes[:-1])
    for ax, (name, _, _) in zip(axes, sights, strict=False):
        _finish(ax, name)
    _list(axes[-1], landmarks)
    figure.suptitle(title, fontsize=15)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _same_scale(axes: Sequence[Axes]) -> None:
    """Let all views show equally many millimetres."""
    limits = np.array([(ax.get_xlim(), ax.get_ylim()) for ax in axes])
    half = 0.5 * np.ptp(limits, axis=2).max(axis=0)
    for ax, (across, up) in zip(axes, limits.mean(axis=2), strict=True):
        ax.set_xlim(across - half[0], across + half[0])
        ax.set_ylim(up - half[1], up + half[1])


def _screen(sight: Vector, up: Vector) -> Vector:
    """Rows are the directions to the right, up and into the picture."""
    depth = unit(sight)
    upwards = unit(up - (up @ depth) * depth)
    return np.array([np.cross(depth, upwards), upwards, depth])


def _shade(ax: Axes, surface: TriangleSurface, across: Vector) -> None:
    """Triangles that face the viewer, farthest first, darker where they turn away."""
    step = max(len(surface.triangles) // 250000, 1)
    corners = surface.points[surface.triangles[::step]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    facing = -(normals @ across[2])
    order = np.argsort(-(corners.mean(axis=1) @ across[2]))
    order = order[facing[order] > 0.0]
    flat = corners[order] @ across[:2].T
    shade = (0.55 + 0.45 * facing[order])[:, None] * BONE
    ax.add_collection(PolyCollection(flat, facecolors=shade, edgecolors=shade, linewidths=0.3))
    ax.autoscale_view()


def _draw(ax: Axes, geometry: Geometry, across: Vector, colour: str, label: str) -> None:
    """One landmark in the plane of the picture, with its number."""
    points = _trace(geometry) @ across[:2].T
    if isinstance(geometry, Point):
        ax.plot(*points.T, "o", color=colour, markersize=7, markeredgecolor="white", zorder=6)
    else:
        ax.plot(*points.T, color=colour, linewidth=2.2, zorder=5)
    if isinstance(geometry, Plane):
        tip = np.array([geometry.centre, geometry.centre + 12.0 * geometry.normal]) @ across[:2].T
        ax.annotate("", tip[1], tip[0], arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.6})
    place = points[len(points) // 2] if isinstance(geometry, Curve) else points[-1]
    if isinstance(geometry, Plane | Sphere):  # beside the numbers of rings at the same place
        place = points[11 * int(label) % 73]
    ax.annotate(
        label, place, xytext=(6, 6), textcoords="offset points", fontsize=11, fontweight="bold",
        color=TEXT, zorder=7, bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": colour,
                                    "lw": 1.6, "alpha": 0.9},
    )  # fmt: skip


def _trace(geometry: Geometry) -> Vector:
    """Points that draw a landmark, shape (n, 3)."""
    turn = np.linspace(0.0, 2.0 * np.pi, 73)
    ring = np.column_stack([np.cos(turn), np.sin(turn)])
    match geometry:
        case Point(at):
            return at[None, :]
        case Line(start, end):
            return np.array([start, end])
        case Curve(points):
            return points
        case Plane(centre, normal, diameter):
            return np.asarray(centre + 0.5 * (diameter or 30.0) * ring @ frame(normal)[:2])
        case Sphere(centre, radius):
            gap = np.full((1, 2), np.nan)  # lifts the pen between two rings
            pen = radius * np.concatenate([ring, gap])
            return np.concatenate([centre + pen @ np.delete(np.eye(3), k, axis=0)
                                   for k in range(3)])[:-1]  # fmt: skip


def _finish(ax: Axes, name: str, colour: str = "black") -> None:
    """Equal axes without ticks, and a bar of a round length."""
    ax.set_aspect("equal")
    ax.set_axis_off()
    ax.set_title(name, fontsize=12)
    low, high = ax.get_xlim()
    bar = 10.0 if high - low < 150.0 else 50.0
    bottom = ax.get_ylim()[0] + 0.03 * (high - low)
    low += 0.03 * (high - low)
    ax.plot([low, low + bar], [bottom, bottom], color=colour, linewidth=3)
    ax.annotate(
        f"{bar:.0f} mm", (low, bottom), xytext=(0, 6), textcoords="offset points", color=colour
    )


def _list(ax: Axes, landmarks: Sequence[Landmark]) -> None:
    """Names, confidences and measures."""
    ax.set_axis_off()
    ax.set_xlim(0.0, 1.0)
    ax.set_ylim(0.0, 1.0)
    rows = [(number, found) for number, found in enumerate(landmarks, 1)]
    step = min(0.9 / max(sum(1 + len(found.measures) for _, found in rows), 1), 0.042)
    height = 0.96
    for number, found in rows:
        colour = PALETTE[(number - 1) % len(PALETTE)]
        trust = f"{found.confidence.value:.2f}" if found.source == "automatic" else "placed"
        ax.text(
            0.0,
            height,
            str(number),
            color=TEXT,
            fontsize=11,
            weight="bold",
            ha="center",
            bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": colour, "lw": 2.0},
        )
        ax.text(0.06, height, found.name, color=TEXT, fontsize=11, weight="bold")
        ax.text(1.0, height, trust, ha="right", fontsize=11)
        height -= step
        for name, value in found.measures.items():
            ax.text(0.08, height, name, fontsize=9, color="#444444")
            ax.text(1.0, height, f"{value:.1f}", ha="right", fontsize=9, color="#444444")
            height -= step
    ax.set_title("confidence, 0 to 1", fontsize=12, loc="right")


def draw_root(
    grey: Image, landmarks: Sequence[Landmark], path: str | Path, *, title: str, reach: float = 45.0
) -> None:
    """Sections of a scan through an aortic root: in the annulus, the sinuses, and along the axis.

    Args:
        grey: Scan, or labels as grey values.
        landmarks: Landmarks with ``aortic_annulus`` and ``sinotubular_junction``.
        path: PNG or SVG file.
        title: Heading.
        reach: Half the width of each section (mm).

    Raises:
        InputError: the annulus or the junction is missing.
    """
    annulus = find(landmarks, "aortic_annulus").geometry
    junction = find(landmarks, "sinotubular_junction").geometry
    hinge = find(landmarks, "hinge_right").geometry
    assert isinstance(annulus, Plane)
    assert isinstance(junction, Plane)
    assert isinstance(hinge, Point)
    up = unit(junction.centre - annulus.centre)
    right = unit(hinge.at - annulus.centre - ((hinge.at - annulus.centre) @ up) * up)
    middle = 0.5 * (annulus.centre + junction.centre)
    flat = frame(annulus.normal, right)
    sections = (
        ("annulus", annulus.centre, flat[0], flat[1]),
        ("half-way to the junction", middle, *frame(up, right)[:2]),
        ("along the axis, right cusp on the right", middle, right, up),
        ("the same from the side", middle, np.cross(up, right), up),
    )
    figure, axes = plt.subplots(1, 5, figsize=(27.0, 6.6), layout="constrained")
    low, high = np.percentile(grey.values, (20.0, 99.5))
    for ax, (name, centre, across, upwards) in zip(axes, sections, strict=False):
        ax.imshow(_slice(grey, centre, across, upwards, reach), cmap="gray", origin="lower",
                  extent=(-reach, reach, -reach, reach), vmin=low, vmax=high)  # fmt: skip
        for number, landmark in enumerate(landmarks):
            _mark(ax, landmark.geometry, (centre, across, upwards), reach,
                  PALETTE[number % len(PALETTE)], str(number + 1))  # fmt: skip
        ax.set_xlim(-reach, reach)
        ax.set_ylim(-reach, reach)
        _finish(ax, name, "white")
    _list(axes[-1], landmarks)
    figure.suptitle(title, fontsize=15)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _slice(grey: Image, centre: Vector, across: Vector, up: Vector, reach: float) -> Vector:
    """Grey values on an oblique square."""
    steps = np.linspace(-reach, reach, 240)
    points = centre + steps[None, :, None] * across + steps[:, None, None] * up
    index = grey.grid.index(points.reshape(-1, 3)).T
    low = float(grey.values.min())
    found = ndimage.map_coordinates(grey.values.astype(np.float32), index, order=1, cval=low)
    return np.asarray(found.reshape(len(steps), len(steps)), float)


def _mark(
    ax: Axes,
    geometry: Geometry,
    section: tuple[Vector, Vector, Vector],
    reach: float,
    colour: str,
    label: str,
) -> None:
    """What lies near a section: points within 5 mm, and planes where they cut it."""
    centre, across, up = section
    screen = np.array([across, up, np.cross(across, up)])
    if isinstance(geometry, Point):
        x, y, off = screen @ (geometry.at - centre)
        if abs(off) < 5.0:
            ax.plot(x, y, "o", color=colour, markersize=8, markeredgecolor="white")
            ax.annotate(label, (x, y), xytext=(6, 6), textcoords="offset points", color=colour,
                        fontsize=12, fontweight="bold")  # fmt: skip
    elif isinstance(geometry, Plane):
        ring = (_trace(geometry) - centre) @ screen.T
        crossing = np.flatnonzero(ring[:-1, 2] * ring[1:, 2] < 0.0)
        if len(crossing) == 2:
            ax.plot(*ring[crossing, :2].T, color=colour, linewidth=2.5)
            ax.annotate(label, ring[crossing[0], :2], xytext=(4, 4), textcoords="offset points",
                        color=colour, fontsize=12, fontweight="bold")  # fmt: skip
        elif np.abs(ring[:, 2]).max() < 2.0:
            ax.plot(*ring[:, :2].T, color=colour, linewidth=1.5)
    elif isinstance(geometry, Curve):
        near = (geometry.points - centre) @ screen.T
        near[np.abs(near[:, 2]) > 4.0] = np.nan
        ax.plot(*near[:, :2].T, ":", color=colour, linewidth=1.5)
