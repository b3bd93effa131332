"""Closed surfaces to a label map: voxels whose centres lie inside, also where surfaces cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyvista as pv
import vtk
from numpy.typing import NDArray

from organtwin.errors import InputError, MeshError
from organtwin.image.segmentation import MOST_LABELS
from organtwin.image.volume import Grid, LabelMap
from organtwin.mesh.defects import inspect
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.units import ML

type Mask = NDArray[np.bool_]

#: Voxels around the surfaces, so that no label ends where the map does.
MARGIN = 3
#: Most voxels of a map: half a gibibyte.
MOST_VOXELS = 2**29


def voxelised(surfaces: Mapping[str, TriangleSurface], voxel: float) -> LabelMap:
    """Label map of closed surfaces, which may cut each other or share walls.

    A voxel belongs to the last surface in whose inside its centre lies, and a hollow of a surface
    is outside it. The grid has the patient's axes; the surfaces begin where a voxel does, so that
    boxes of whole voxels keep their volumes.

    Args:
        surfaces: Name of each label → its surface; labels are numbered in this order from 1, and
            the later one has what two of them share.
        voxel: Length of a voxel's edge (mm).

    Raises:
        InputError: no or too many surfaces, an impossible voxel, or a label without a voxel.
        MeshError: a surface has a defect, such as a hole.
    """
    if not 0 < len(surfaces) <= MOST_LABELS:
        raise InputError(
            "surfaces", f"got {len(surfaces)}.", f"A label map holds 1 to {MOST_LABELS}."
        )
    for name, surface in surfaces.items():
        _check(name, surface)
    grid = _grid(list(surfaces.values()), voxel)
    values = np.zeros(grid.shape, np.uint8)
    for number, surface in enumerate(surfaces.values(), 1):
        region = _region(surface, grid)
        values[region][inside(surface, _part(grid, region))] = number
    names = {name: number for number, name in enumerate(surfaces, 1)}
    labels = LabelMap(values, names, grid.spacing, grid.origin, grid.direction)
    _refuse_empty(surfaces, labels)
    return labels


def shared(
    surfaces: Mapping[str, TriangleSurface], labels: LabelMap
) -> dict[tuple[str, str], float]:
    """What later surfaces took from earlier ones (mL): (earlier, later) → volume, if not zero.

    Args:
        surfaces: As given to `voxelised`.
        labels: What it returned.
    """
    called = {number: name for name, number in labels.names.items()}
    taken = {}
    for name, surface in surfaces.items():
        region = _region(surface, labels.grid)
        found = labels.values[region][inside(surface, _part(labels.grid, region))]
        counts = np.bincount(found, minlength=MOST_LABELS + 1)
        for other in np.flatnonzero(counts).tolist():
            if other != labels.names[name]:
                taken[name, called[other]] = float(counts[other]) * labels.voxel_volume / ML
    return taken


def inside(surface: TriangleSurface, grid: Grid) -> Mask:
    """Voxels of a grid along the patient's axes whose centres lie inside a closed surface.

    VTK cuts the surface with each layer of voxel centres and fills between crossings along rows.
    """
    stencil = vtk.vtkPolyDataToImageStencil()
    stencil.SetInputData(pv.PolyData.from_regular_faces(surface.points, surface.triangles))
    stencil.SetOutputOrigin(*grid.origin.tolist())
    stencil.SetOutputSpacing(*grid.spacing.tolist())
    i, j, k = grid.shape
    stencil.SetOutputWholeExtent(0, i - 1, 0, j - 1, 0, k - 1)
    image = vtk.vtkImageStencilToImage()
    image.SetInputConnection(stencil.GetOutputPort())
    image.SetInsideValue(1)
    image.SetOutsideValue(0)
    image.SetOutputScalarTypeToUnsignedChar()
    image.Update()
    flat = pv.wrap(image.GetOutput()).active_scalars
    return np.asarray(flat).reshape(grid.shape, order="F").astype(bool)


def _check(name: str, surface: TriangleSurface) -> None:
    defects = inspect(surface).defects()
    if defects or not len(surface.triangles):
        raise MeshError(
            f"surface `{name}`",
            defects[0] if defects else "no triangles.",
            "Repair it first: `organtwin surface FILE --repair OUT`.",
        )


def _grid(surfaces: Sequence[TriangleSurface], voxel: float) -> Grid:
    """Cubes around all surfaces; the lowest coordinates lie on faces of voxels."""
    low, high = np.array([_box(surface) for surface in surfaces]).transpose(1, 0, 2)
    corner, size = low.min(axis=0), high.max(axis=0) - low.min(axis=0)
    if not 0.0 < voxel < size.max():
        raise InputError(
            "voxel", f"{voxel:g} mm does not fit surfaces of {size.max():.3g} mm.",
            "Give the length of a voxel's edge in mm, such as 0.5.",
        )  # fmt: skip
    i, j, k = (int(n) for n in np.ceil(size / voxel - 1e-6) + 2 * MARGIN)
    if i * j * k > MOST_VOXELS:
        # A little more: two digits may be rounded down, and the margin keeps its voxels.
        coarser = 1.1 * voxel * (i * j * k / MOST_VOXELS) ** (1 / 3)
        raise InputError(
            "voxel",
            f"{voxel:g} mm makes {i} x {j} x {k} voxels; {MOST_VOXELS / 1e6:.0f} million are "
            "possible.",
            f"Take {coarser:.2g} mm or more.",
        )
    origin = corner + (0.5 - MARGIN) * voxel
    return Grid((i, j, k), np.full(3, float(voxel)), origin, np.eye(3))


def _box(surface: TriangleSurface) -> NDArray[np.float64]:
    used = surface.points[np.unique(surface.triangles)]
    return np.array([used.min(axis=0), used.max(axis=0)])


def _region(surface: TriangleSurface, grid: Grid) -> tuple[slice, slice, slice]:
    """Voxels around a surface, one to spare on each side."""
    low, high = grid.index(_box(surface))
    first, last = np.floor(low).astype(int) - 1, np.ceil(high).astype(int) + 2
    one, two, three = (slice(a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True))
    return one, two, three


def _part(grid: Grid, region: tuple[slice, slice, slice]) -> Grid:
    i, j, k = (part.stop - part.start for part in region)
    first = np.array([part.start for part in region])
    return Grid((i, j, k), grid.spacing, grid.points(first), grid.direction)


def _refuse_empty(surfaces: Mapping[str, TriangleSurface], labels: LabelMap) -> None:
    counts = np.bincount(labels.values.ravel(), minlength=len(surfaces) + 1)
    empty = [name for name, number in labels.names.items() if not counts[number]]
    if empty:
        raise InputError(
            f"surface `{empty[0]}`",
            "no voxel is left to it: it is too small, or others cover it.",
            "Give it after the surfaces that it lies in, or take smaller voxels.",
        )
