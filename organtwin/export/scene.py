"""The heart as a picture shows it: its surfaces, how it stands, camera and light."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyvista as pv
from numpy.typing import NDArray

from organtwin.export.series import Array

#: Unit vector of patient coordinates (LPS) that points to the front of the body.
_ANTERIOR = np.array([0.0, -1.0, 0.0])

_BACKGROUND = "white"

if "DISPLAY" not in os.environ:
    # Straight to off-screen rendering, without a complaint about the screen that is not there.
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")


@dataclass(frozen=True)
class Stance:
    """How the heart stands in a picture: apex down, seen from the front, right ventricle left.

    Attributes:
        up: Unit vector normal to the base, from the apex, (3,).
        right_ventricle: Unit vector across, from the left to the right ventricle, (3,).
        front: Unit vector across both, on the anterior side, (3,).
        centre: Middle of the heart's box (mm), (3,).
        size: Largest distance from the centre (mm).
        apex: Point of the left ventricle farthest from the base (mm), (3,).
        middle: Point between the ventricles, where a long-axis cut goes through (mm), (3,).
    """

    up: Array
    right_ventricle: Array
    front: Array
    centre: Array
    size: float
    apex: Array
    middle: Array


@dataclass(frozen=True)
class Surfaces:
    """Boundary of the heart by name, each with the arrays ``point`` and ``cell`` of origin."""

    lv_endo: pv.PolyData
    rv_endo: pv.PolyData
    epi: pv.PolyData
    base: pv.PolyData


def boundary(mesh: pv.UnstructuredGrid) -> pv.PolyData:
    """Boundary triangles; ``point`` and ``cell`` tell where each point and triangle comes from."""
    surface = mesh.extract_surface(
        pass_pointid=True, pass_cellid=True, nonlinear_subdivision=0, algorithm="dataset_surface"
    )
    surface.point_data["point"] = surface.point_data.pop("vtkOriginalPointIds")
    surface.cell_data["cell"] = surface.cell_data.pop("vtkOriginalCellIds")
    return surface


def surfaces(mesh: pv.UnstructuredGrid, region: Array) -> Surfaces:
    """Tell the surfaces apart by shape: the base is flat, the others are what it separates.

    Args:
        mesh: The heart.
        region: Number of each cell's region, (n,).

    Returns:
        The four surfaces. The epicardium is the largest; of the others the left ventricular
        endocardium is the one that bounds the left ventricle only.
    """
    whole = boundary(mesh)
    flat = _flat_part(whole)
    rest = whole.extract_cells(np.flatnonzero(~flat)).extract_surface(algorithm="dataset_surface")
    parts = rest.connectivity("all").split_bodies().as_polydata_blocks()
    ordered = sorted(parts, key=lambda part: part.area, reverse=True)
    epi, *endo = ordered[:3]
    left = _larger_region(mesh, region)
    endo.sort(key=lambda part: np.mean(region[part.cell_data["cell"]] == left), reverse=True)
    base = whole.extract_cells(np.flatnonzero(flat)).extract_surface(algorithm="dataset_surface")
    return Surfaces(endo[0], endo[-1], epi, base)


def stance(mesh: pv.UnstructuredGrid, region: Array) -> Stance:
    """How to look at the heart, from its flat base and its two regions."""
    whole = boundary(mesh)
    flat = _flat_part(whole)
    normals, areas = _facet_normals(whole)
    up = normals[flat].T @ areas[flat]
    up /= np.linalg.norm(up)
    centres = mesh.cell_centers().points
    is_left = region == _larger_region(mesh, region)
    left, right = centres[is_left].mean(axis=0), centres[~is_left].mean(axis=0)
    across = right - left
    across -= (across @ up) * up
    across /= np.linalg.norm(across)
    front = np.cross(up, across)
    if front @ _ANTERIOR < 0.0:
        front = -front
    points = np.asarray(mesh.points)
    in_axes = points @ np.column_stack([up, across, front])
    centre = np.column_stack([up, across, front]) @ ((in_axes.max(0) + in_axes.min(0)) / 2)
    low = points[np.argmin(points @ up)]
    size = float(np.linalg.norm(points - centre, axis=1).max())
    return Stance(up, across, front, centre, size, low, left + 0.25 * (right - left))


def open_towards(mesh: pv.UnstructuredGrid, view: Stance, towards: Array) -> pv.UnstructuredGrid:
    """The part of the heart behind the long-axis cut whose normal is ``towards`` (3,)."""
    return mesh.clip(normal=towards, origin=view.middle, invert=True)


def render(
    parts: Sequence[tuple[pv.DataSet, Mapping[str, object]]],
    view: Stance,
    *,
    towards: Array | None = None,
    pixels: tuple[int, int] = (900, 900),
    zoom: float = 1.0,
) -> NDArray[np.uint8]:
    """Draw meshes seen from the side ``towards`` (default: the front).

    Args:
        parts: Meshes with keywords for `pyvista.Plotter.add_mesh`.
        view: How the heart stands.
        towards: Unit vector from the heart to the eye, (3,).
        pixels: Width and height.
        zoom: Above 1 closer.

    Returns:
        RGB image (height, width, 3), white behind the heart.
    """
    eye = view.front if towards is None else towards
    plotter = pv.Plotter(off_screen=True, window_size=list(pixels), lighting="none")
    plotter.set_background(_BACKGROUND)
    for mesh, options in parts:
        defaults: dict[str, object] = {
            "show_scalar_bar": False, "smooth_shading": "Normals" in mesh.point_data,
            "ambient": 0.42, "diffuse": 0.68, "specular": 0.08,
            "specular_power": 15,
        }  # fmt: skip
        plotter.add_mesh(mesh, **{**defaults, **options})
    side = np.cross(eye, view.up)
    for direction, strength in ((eye + 0.5 * view.up - 0.5 * side, 0.65), (eye + 0.5 * side, 0.45)):
        plotter.add_light(
            pv.Light(
                position=view.centre + 10 * view.size * direction,
                focal_point=view.centre,
                intensity=strength,
                light_type="scene light",
            )
        )
    plotter.camera.focal_point = view.centre
    plotter.camera.position = view.centre + 10 * view.size * eye
    plotter.camera.up = view.up
    plotter.camera.parallel_projection = True
    plotter.camera.parallel_scale = view.size / zoom
    plotter.camera.clipping_range = (1.0, 30 * view.size)
    plotter.enable_anti_aliasing("ssaa")
    image = np.asarray(plotter.screenshot(return_img=True))
    plotter.close()
    return image


def smooth(mesh: pv.DataSet, angle: float = 40.0) -> pv.PolyData:
    """Surface whose edges stay sharp where they are and whose sides are round."""
    polygons = (
        mesh
        if isinstance(mesh, pv.PolyData)
        else mesh.extract_surface(nonlinear_subdivision=0, algorithm="dataset_surface")
    )
    return polygons.compute_normals(
        cell_normals=False, split_vertices=True, feature_angle=angle, consistent_normals=False
    )


def _facet_normals(surface: pv.PolyData) -> tuple[Array, Array]:
    corners = surface.points[surface.regular_faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(normals, axis=1)
    return normals / np.maximum(areas, 1e-300)[:, None], areas / 2


def _flat_part(surface: pv.PolyData) -> NDArray[np.bool_]:
    """The triangles of the largest flat piece (to 1°, 0.2 mm): the base of the ventricles."""
    normals, areas = _facet_normals(surface)
    grid = np.round(normals * 50).astype(int)
    kinds, which = np.unique(grid, axis=0, return_inverse=True)
    largest = np.argmax(np.bincount(which.ravel(), weights=areas, minlength=len(kinds)))
    inside = which.ravel() == largest
    normal = normals[inside].T @ areas[inside]
    normal /= np.linalg.norm(normal)
    height = surface.cell_centers().points @ normal
    level = np.average(height[inside], weights=areas[inside])
    return np.asarray((normals @ normal > np.cos(np.deg2rad(1.0))) & (np.abs(height - level) < 0.2))


def _larger_region(mesh: pv.UnstructuredGrid, region: Array) -> float:
    numbers, which = np.unique(region, return_inverse=True)
    volume = np.abs(mesh.compute_cell_sizes(length=False, area=False)["Volume"])
    return float(numbers[np.argmax(np.bincount(which, weights=volume))])
