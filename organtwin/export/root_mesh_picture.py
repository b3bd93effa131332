"""A picture of a meshed aortic root: what its inner surface is tagged with, leaflets, calcium."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyvista as pv
from numpy.typing import NDArray

from organtwin.aortic_root.anatomy import RootAnatomy
from organtwin.export import plates
from organtwin.export.diagrams import STYLE
from organtwin.export.scene import Stance, render
from organtwin.export.series import Array
from organtwin.mesh.volume_mesh import TetrahedralMesh

#: Colours of regions and of surfaces.
REGIONS = {
    "wall": "#dcaea7", "leaflet_right": "#4c78a8", "leaflet_left": "#6aa84f",
    "leaflet_non": "#a678a0", "calcium": "#f2c14e",
}  # fmt: skip
SURFACES = {
    "inner": "#ead0cb", "outlet": "#b8b8b8", "inlet": "#b8b8b8", "ostium_right": "#d62728",
    "ostium_left": "#ff9f1c", "membranous_septum": "#2a9d8f", "leaflet_right-wall": "#4c78a8",
    "leaflet_left-wall": "#6aa84f", "leaflet_non-wall": "#a678a0",
}  # fmt: skip
TITLES = ("Inner surface", "Cut open", "From the aorta")
#: Share of the height between annulus and outlet at which the view from the aorta is cut.
CUT = 0.3


def root_mesh_picture(made: RootAnatomy, path: str | Path) -> Path:
    """The inner surface with its patches, the root cut open, and the valve seen from the aorta.

    Args:
        made: The meshed root.
        path: PNG file to write.
    """
    mesh = made.mesh
    level = np.array([CUT * made.wall.high])
    middle, axes = made.wall.axis.at(level)[0], made.wall.axis.axes(level)[0]
    size = 0.6 * float(np.ptp((mesh.points - middle) @ axes[2]))
    centre = 0.5 * (mesh.points.min(axis=0) + mesh.points.max(axis=0))
    right, up = axes[0], axes[2]
    stance = Stance(up, np.cross(up, right), right, centre, size, centre, centre)
    eye = right + 0.25 * up
    centres = mesh.points[mesh.cells].mean(axis=1) - middle
    wall = mesh.regions == mesh.region_names["wall"]
    open_ = ~wall | (centres @ right > 0.0)
    below = ~wall | (centres @ up < 0.0)
    above = Stance(right, axes[1], up, middle, 0.62 * size, middle, middle)
    images = [
        render(_surfaces(mesh), stance, towards=eye / np.linalg.norm(eye)),
        render(_regions(mesh, open_), stance, towards=-right),
        render(_regions(mesh, below), above, towards=up),
    ]
    with mpl.rc_context(STYLE):
        figure, panels = plates.panels(images, list(TITLES))
        tagged = [n for n in ("ostium_right", "ostium_left", "membranous_septum")
                  if n in mesh.facet_names]  # fmt: skip
        names = list(mesh.region_names)
        plates.legend(panels[0], [(SURFACES[n], n.replace("_", " ")) for n in tagged])
        half = (len(names) + 1) // 2
        for panel, own in ((panels[1], names[:half]), (panels[2], names[half:])):
            if own:
                plates.legend(panel, [(REGIONS[n], n.replace("_", " ")) for n in own])
        return plates.save(figure, Path(path))


def _edges(colour: str) -> Mapping[str, object]:
    return {"color": colour, "show_edges": True, "edge_color": "#6a6a6a", "line_width": 1}


def _surfaces(mesh: TetrahedralMesh) -> list[tuple[pv.DataSet, Mapping[str, object]]]:
    parts: list[tuple[pv.DataSet, Mapping[str, object]]] = []
    for name, colour in SURFACES.items():
        if name not in mesh.facet_names:
            continue
        own = mesh.facets[mesh.facet_tags == mesh.facet_names[name]]
        parts.append((pv.PolyData.from_regular_faces(mesh.points, own), _edges(colour)))
    return parts


def _regions(
    mesh: TetrahedralMesh, shown: NDArray[np.bool_]
) -> list[tuple[pv.DataSet, Mapping[str, object]]]:
    parts: list[tuple[pv.DataSet, Mapping[str, object]]] = []
    for name, number in mesh.region_names.items():
        own = shown & (mesh.regions == number)
        if own.any():
            parts.append((_grid(mesh.points, mesh.cells[own]), _edges(REGIONS[name])))
    return parts


def _grid(points: Array, cells: NDArray[np.int64]) -> pv.UnstructuredGrid:
    table = np.column_stack([np.full(len(cells), 4), cells])
    kinds = np.full(len(cells), pv.CellType.TETRA, np.uint8)
    return pv.UnstructuredGrid(table.ravel(), kinds, points)
