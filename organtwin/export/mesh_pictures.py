"""Pictures of a mesh of any organ: its regions, its inside, the shape of its cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyvista as pv
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from organtwin.export import plates
from organtwin.export.anatomy_pictures import tissue_pictures, tissues_of
from organtwin.export.diagrams import COLOURS, PALETTE, STYLE
from organtwin.export.drawing import Draw, Progress, draw_pictures
from organtwin.export.pages import read_json
from organtwin.export.scene import Stance, render, smooth
from organtwin.export.three_planes import three_planes
from organtwin.image.cropping import cropped
from organtwin.image.slicer import read_slicer
from organtwin.image.volume import Image, LabelMap
from organtwin.mesh.mesh_files import read_mesh
from organtwin.mesh.quality import DIHEDRAL_BINS, MEAN_RATIO_BINS, MeshQuality
from organtwin.mesh.regions import faces
from organtwin.mesh.volume_mesh import TetrahedralMesh

type Array = NDArray[np.float64]

#: Directions in patient coordinates (LPS).
_SUPERIOR, _ANTERIOR, _LEFT = np.eye(3)[2], -np.eye(3)[1], np.eye(3)[0]
#: Cells drawn with their edges; more of them would be drawn as a grey blot.
_MOST_EDGES = 120_000
#: Room around the mesh in pictures of the scan (mm).
AROUND = 20.0
#: Longer names stand below each other in a legend.
LONG_NAME = 18


def draw_mesh(
    directory: Path, labels: Path | None, scan: Callable[[], Image] | None, progress: Progress
) -> None:
    """Draw all pictures of a mesh into ``directory/pictures``.

    What can't be drawn is told, with the reason, in ``pictures/missing.json``.

    Args:
        directory: Result directory with ``mesh.msh`` and the mesh stage's record.
        labels: The label map it was made from, if there is one.
        scan: Reads the scan that was segmented, if there is one.
        progress: Called with the fraction done and the name of the next picture.
    """
    mesh = read_mesh(directory / "mesh.msh")
    wanted: dict[str, Draw] = {
        "mesh.png": lambda path: mesh_views(mesh, path),
        "mesh_quality.png": lambda path: quality_histograms(_quality(directory), path),
    }
    for tissue in tissues_of(directory):
        wanted |= tissue_pictures(directory / "fields" / "anatomy.vtu", tissue)
    if scan is not None:
        wanted["outlines.png"] = lambda path: outlines_on_scan(mesh, scan(), path)
    elif labels is not None:
        wanted["outlines.png"] = lambda path: outlines(mesh, read_slicer(labels).labels, path)
    draw_pictures(directory, wanted, progress)


def _quality(directory: Path) -> MeshQuality:
    """What the mesh stage measured."""
    record = read_json(directory / "stages" / "mesh" / "mesh.json")
    return MeshQuality(**record["proof"]["quality"])


def mesh_views(mesh: TetrahedralMesh, path: Path) -> Path:
    """The regions from the front and from the left, and the tetrahedra behind a frontal cut.

    The patient stands upright and faces the reader in the first and the last panel.

    Args:
        mesh: The mesh (LPS).
        path: PNG file to write.
    """
    colours = region_colours(mesh)
    view = _standing(mesh.points)
    outside = [
        (smooth(pv.PolyData.from_regular_faces(*outer(mesh, number))), {"color": colours[name]})
        for name, number in mesh.region_names.items()
    ]
    behind = _behind(mesh, view)
    opened = [
        (_cells(mesh, behind & (mesh.regions == number)), _edged(colours[name], behind))
        for name, number in mesh.region_names.items()
        if (behind & (mesh.regions == number)).any()
    ]
    towards_left = _LEFT + 0.15 * _ANTERIOR
    panels = [
        render(outside, view, towards=_ANTERIOR),
        render(outside, view, towards=towards_left / np.linalg.norm(towards_left)),
        render(opened, view, towards=_ANTERIOR),
    ]
    with mpl.rc_context(STYLE):
        figure, axes = plates.panels(panels, ["From the front", "From the left", "Cut open"])
        shown = list(colours.items())[: len(PALETTE)]
        rest = len(colours) - len(shown)
        entries = [(colour, name.replace("_", " ")) for name, colour in shown]
        if rest:
            entries.append(("white", f"and {rest} more"))
        for ax, part in zip(axes, np.array_split(np.arange(len(entries)), 3), strict=True):
            if len(part):
                own = [entries[k] for k in part]
                wide = max(len(name) for _, name in own) > LONG_NAME
                plates.legend(ax, own, columns=1 if wide else 2)
        return plates.save(figure, path)


def outlines(mesh: TetrahedralMesh, labels: LabelMap, path: Path) -> Path:
    """The labels in three planes, and where the surfaces of the regions cut these.

    Args:
        mesh: The mesh (LPS).
        labels: What it was made from.
        path: PNG file to write.
    """
    surfaces = [outer(mesh, number) for number in mesh.region_names.values()]
    image = Image(labels.values.astype(np.int16), labels.grid, "labels")
    return three_planes(image, path, labels=labels.names, outlines=surfaces)


def outlines_on_scan(mesh: TetrahedralMesh, scan: Image, path: Path) -> Path:
    """The scan in three planes through the middle of the mesh, and where these cut its surfaces.

    Args:
        mesh: The mesh (LPS).
        scan: What was segmented.
        path: PNG file to write.
    """
    surfaces = [outer(mesh, number) for number in mesh.region_names.values()]
    near = cropped(scan, mesh.points, AROUND)
    middle = mesh.points[mesh.cells].mean(axis=(0, 1))
    return three_planes(near, path, at=middle, outlines=surfaces)


def quality_histograms(quality: MeshQuality, path: Path) -> Path:
    """How the dihedral angles and the shapes of the tetrahedra are spread.

    Args:
        quality: Statistics of the mesh.
        path: PNG file to write.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.0, 3.4), layout="constrained")
        FigureCanvasAgg(figure)
        angles, shapes = figure.subplots(1, 2)
        _bars(angles, np.array(quality.dihedral_histogram), np.array(DIHEDRAL_BINS, float))
        angles.set(xlabel="Dihedral angle (degrees)", ylabel="Angles, six per cell")
        angles.set_title(f"Angles: {quality.min_dihedral:.1f}° to {quality.max_dihedral:.1f}°")
        angles.set_xticks(range(0, 181, 30))
        _bars(shapes, np.array(quality.mean_ratio_histogram), np.array(MEAN_RATIO_BINS))
        shapes.set(xlabel="Mean ratio (1: regular tetrahedron)", ylabel="Cells")
        shapes.set_title("Shape of the cells")
        return plates.save(figure, path)


def region_colours(mesh: TetrahedralMesh) -> dict[str, str]:
    """Colour of each region, the largest first, as in pictures of the labels."""
    volume = {name: mesh.volume(name) for name in mesh.region_names}
    ordered = sorted(volume, key=lambda name: (-volume[name], name))
    return {name: PALETTE[k % len(PALETTE)] for k, name in enumerate(ordered)}


def _bars(axes: Axes, counts: NDArray[np.int64], bins: Array) -> None:
    axes.bar(bins[:-1], counts, np.diff(bins) * 0.94, align="edge", color=COLOURS["rv"])
    axes.set_yscale("log")
    axes.grid(axis="x", visible=False)
    axes.set_xlim(bins[0], bins[-1])


def _standing(points: Array) -> Stance:
    """Upright, the front to the reader."""
    centre = 0.5 * (points.min(axis=0) + points.max(axis=0))
    size = float(np.linalg.norm(points - centre, axis=1).max())
    return Stance(_SUPERIOR, -_LEFT, _ANTERIOR, centre, size, centre, centre)


def outer(mesh: TetrahedralMesh, number: int) -> tuple[Array, NDArray[np.int64]]:
    """Surface of a region: its points and triangles, normals outwards."""
    cells = mesh.cells[mesh.regions == number]
    every, first, count = np.unique(faces(cells), axis=0, return_index=True, return_counts=True)
    alone = count == 1
    triangles = every[alone]
    # `faces` lists the faces opposite vertex 0 of all cells first, then those opposite vertex 1.
    opposite, owner = np.divmod(first[alone], len(cells))
    apex = mesh.points[cells[owner, opposite]]
    a, b, c = (mesh.points[triangles[:, k]] for k in range(3))
    inwards = np.einsum("ij,ij->i", np.cross(b - a, c - a), apex - a) > 0.0
    triangles[inwards] = triangles[inwards][:, ::-1]
    used, numbered = np.unique(triangles, return_inverse=True)
    return mesh.points[used], numbered.reshape(-1, 3)


def _behind(mesh: TetrahedralMesh, view: Stance) -> NDArray[np.bool_]:
    """Cells whose middle lies behind the frontal plane through the centre."""
    middle = mesh.points[mesh.cells].mean(axis=1)
    return np.asarray((middle - view.centre) @ _ANTERIOR < 0.0)


def _cells(mesh: TetrahedralMesh, chosen: NDArray[np.bool_]) -> pv.UnstructuredGrid:
    cells = mesh.cells[chosen]
    table = np.column_stack([np.full(len(cells), 4), cells])
    kinds = np.full(len(cells), pv.CellType.TETRA, np.uint8)
    return pv.UnstructuredGrid(table.ravel(), kinds, mesh.points)


def _edged(colour: str, drawn: NDArray[np.bool_]) -> Mapping[str, object]:
    edges = bool(np.count_nonzero(drawn) < _MOST_EDGES)
    return {"color": colour, "show_edges": edges, "edge_color": "#4a4a4a", "line_width": 1}
