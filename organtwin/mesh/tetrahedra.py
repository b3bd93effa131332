"""Conforming tetrahedra of a biventricular geometry, written as a gmsh file with names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gmsh
import mmgpy
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError, MeshError
from organtwin.image.geometry import Geometry
from organtwin.mesh.mmg import signals_kept
from organtwin.mesh.quality import (
    MeshQuality,
    MeshReport,
    dihedral_angles,
    mesh_quality,
    signed_volumes,
)
from organtwin.mesh.regions import REGION_TAGS, Cells, assign_regions, faces
from organtwin.mesh.surface import (
    SURFACES,
    Points,
    Surface,
    keep_volumes,
    remesh,
    smooth,
    surface_nets,
)
from organtwin.units import ML

#: Radii of curvature (mm) that triangles of the size wanted still follow; tried in turn.
RADII = (4.2, 4.6, 3.8, 5.5, 3.5, 7.0)
#: Smallest dihedral angle and its first percentile (degrees) that end the tries.
GOOD_ANGLES = (5.0, 18.0)
#: Size (mm) up to which cells in the RV wall can be that good; larger ones are flat there.
FITTING_SIZE = 5.0
#: Smallest dihedral angle (degrees) of a mesh that is handed out at all.
BAD_ANGLE = 1.0


@dataclass(frozen=True)
class _Mesh:
    points: Points
    cells: Cells
    regions: NDArray[np.int64]
    surface: Surface


def tetrahedralise(geometry: Geometry, *, size: float = 5.0, path: Path) -> MeshReport:
    """Mesh the tissue and write it as MSH 4.1.

    Physical volumes are ``lv`` and ``rv``, physical surfaces ``lv_endo``, ``rv_endo``, ``epi`` and
    ``base``. The net around the voxels is smoothed, remeshed to the size with its rims kept,
    shifted along its normals by fractions of a voxel until every volume is that of the voxels, and
    filled by gmsh's Delaunay mesher; MMG then improves the interior. The file depends on the
    geometry and the size only.

    Args:
        geometry: Tissue and cavities on voxels.
        size: Edge length (mm), 1.5 to 12.
        path: File to write, ``.msh``.

    Raises:
        InputError: no usable size.
        MeshError: no valid mesh came out of any try.
    """
    if not 1.5 <= size <= 12.0:
        raise InputError("[mesh] size", f"{size:g} mm is outside 1.5 to 12 mm.", "Try 5 mm.")
    net = smooth(surface_nets(geometry))
    good = GOOD_ANGLES[0], GOOD_ANGLES[1] * min(1.0, (FITTING_SIZE / size) ** 2)
    best: tuple[float, _Mesh] | None = None
    failures = []
    for radius in RADII:
        try:
            # A chord of length s leaves a circle of radius R by s²/(8 R).
            mesh = _mesh(net, geometry, size, size**2 / (8.0 * radius))
        except MeshError as error:
            failures.append(error.problem)
            continue
        smallest = dihedral_angles(mesh.points, mesh.cells).min(axis=1)
        reached = min(smallest.min() / good[0], np.percentile(smallest, 1) / good[1])
        if best is None or reached > best[0]:
            best = float(reached), mesh
        if reached > 1.0:
            break
    if best is None or best[0] < BAD_ANGLE / good[0]:
        raise MeshError(
            "tetrahedralise",
            f"no valid mesh of size {size:g} mm in {len(RADII)} tries "
            f"({'; '.join(failures) or 'flat tetrahedra'}).",
            "Try a smaller [mesh] size or more [geometry] smoothing.",
        )
    return _write(best[1], geometry, size, path)


def _mesh(net: Surface, geometry: Geometry, size: float, deviation: float) -> _Mesh:
    volumes = {name: volume * ML for name, volume in geometry.volumes_ml.items()}
    coarse = keep_volumes(
        remesh(net, size, deviation),
        volumes["lv"] + volumes["rv"],
        volumes["lv_blood"],
        volumes["rv_blood"],
    )
    surface, cells = fill(coarse)
    points = surface.points
    regions = assign_regions(points, cells, geometry)
    if (signed_volumes(points, cells) <= 0).any():
        raise MeshError("tetrahedralise", "inverted tetrahedra")
    return _Mesh(points, cells, regions, surface)


def fill(surface: Surface) -> tuple[Surface, Cells]:
    """Tetrahedra inside a surface, by gmsh's Delaunay mesher; MMG then removes slivers.

    Args:
        surface: Closed (mm); its triangles stay as they are.

    Returns:
        The surface with the vertices (mm) of the tetrahedra, (n, 3), and triangles in their
        numbers; the tetrahedra, (m, 4).

    Raises:
        MeshError: no mesh has this surface for its boundary.
    """
    points, cells = _improved(*_delaunay(surface))
    return _on_boundary(surface, points, cells), cells


def _on_boundary(surface: Surface, points: Points, cells: Cells) -> Surface:
    """The surface in the vertex numbers of the cells, after checking that it is their boundary."""
    distance, number = cKDTree(points).query(surface.points)
    triangles = number[surface.triangles]
    face, count = np.unique(faces(cells), axis=0, return_counts=True)
    boundary = face[count == 1]
    expected = np.unique(np.sort(triangles, axis=1), axis=0)
    if distance.max() > 1e-6 or not np.array_equal(boundary, expected):
        raise MeshError("tetrahedralise", "the boundary was changed by the volume mesher")
    return Surface(points, triangles, surface.patches)


@contextmanager
def gmsh_session() -> Iterator[None]:
    """A fresh gmsh: what a failed mesh leaves behind would spoil the next."""
    if gmsh.isInitialized():
        gmsh.finalize()
    gmsh.initialize(interruptible=False)
    try:
        for option, value in (
            ("General.Terminal", 0), ("General.Verbosity", 0), ("General.NumThreads", 1),
            ("Mesh.Algorithm3D", 1), ("Mesh.Optimize", 1), ("Mesh.MshFileVersion", 4.1),
            ("Mesh.Binary", 0),
        ):  # fmt: skip
            gmsh.option.setNumber(option, value)
        yield
    finally:
        gmsh.finalize()


def _delaunay(surface: Surface) -> tuple[Points, Cells]:
    """Delaunay tetrahedra inside the surface, by gmsh."""
    with gmsh_session():
        gmsh.model.add("tissue")
        gmsh.model.addDiscreteEntity(2, 1)
        numbers = np.arange(1, len(surface.points) + 1)
        gmsh.model.mesh.addNodes(2, 1, numbers, surface.points.ravel())
        gmsh.model.mesh.addElementsByType(1, 2, [], (surface.triangles + 1).ravel())
        gmsh.model.geo.addVolume([gmsh.model.geo.addSurfaceLoop([1])], 1)
        gmsh.model.geo.synchronize()
        try:
            gmsh.model.mesh.generate(3)
        except Exception as error:  # gmsh raises bare Exceptions
            raise MeshError("gmsh", str(error)) from None
        tags, coordinates, _ = gmsh.model.mesh.getNodes()
        _, nodes = gmsh.model.mesh.getElementsByType(4, 1)
    if not len(nodes):
        raise MeshError("gmsh", "the volume stayed empty")
    order = np.argsort(tags)
    index = np.full(int(tags.max()) + 1, -1)
    index[tags[order].astype(int)] = np.arange(len(tags))
    return coordinates.reshape(-1, 3)[order], index[nodes.astype(int)].reshape(-1, 4)


def _improved(points: Points, cells: Cells) -> tuple[Points, Cells]:
    """Remove slivers: MMG moves, splits and swaps inside, the surface stays."""
    mesh = mmgpy.MmgMesh3D()
    mesh.set_mesh_size(len(points), len(cells))
    mesh.set_vertices(np.ascontiguousarray(points))
    mesh.set_tetrahedra(np.ascontiguousarray(cells, dtype=np.int32))
    try:
        with signals_kept():
            mesh.remesh(optim=1, nosurf=1, verbose=-1)
    except RuntimeError as error:
        raise MeshError("MMG", str(error)) from None
    return (
        np.array(mesh.get_vertices(), dtype=np.float64),
        np.asarray(mesh.get_tetrahedra(), np.int64),
    )


def _write(mesh: _Mesh, geometry: Geometry, size: float, path: Path) -> MeshReport:
    """Write the file in patient coordinates and measure what is in it."""
    direction = geometry.labels.direction
    origin = geometry.labels.origin
    height = (geometry.base_point - origin) @ geometry.base_normal
    # Grid coordinates have z = 0 on the base; x and y start at the grid's origin.
    points = origin + (mesh.points + np.array([0.0, 0.0, height])) @ direction.T
    facets = {name: mesh.surface.select(name) for name in SURFACES}
    path.parent.mkdir(parents=True, exist_ok=True)
    with gmsh_session():
        gmsh.model.add("organtwin")
        for region, tag in REGION_TAGS.items():
            gmsh.model.addDiscreteEntity(3, tag)
            gmsh.model.addPhysicalGroup(3, [tag], tag, region)
        for name, tag in SURFACES.items():
            gmsh.model.addDiscreteEntity(2, tag)
            gmsh.model.addPhysicalGroup(2, [tag], tag, name)
        gmsh.model.mesh.addNodes(3, 1, np.arange(1, len(points) + 1), points.ravel())
        for tag in REGION_TAGS.values():
            own = mesh.cells[mesh.regions == tag] + 1
            gmsh.model.mesh.addElementsByType(tag, 4, [], own.ravel())
        for name, tag in SURFACES.items():
            gmsh.model.mesh.addElementsByType(tag, 2, [], (facets[name] + 1).ravel())
        gmsh.write(str(path))
    volume = signed_volumes(points, mesh.cells)
    volumes = {
        name: float(volume[mesh.regions == tag].sum()) / ML for name, tag in REGION_TAGS.items()
    }
    wanted = geometry.volumes_ml
    quality = mesh_quality(points, mesh.cells, volumes, wanted)
    cavities = {
        "lv_blood": -mesh.surface.enclosed("lv_endo") / ML,
        "rv_blood": -mesh.surface.enclosed("rv_endo") / ML,
    }
    return MeshReport(
        path=str(path),
        size=size,
        quality=quality,
        regions={n: int(np.count_nonzero(mesh.regions == t)) for n, t in REGION_TAGS.items()},
        surfaces={name: mesh.surface.area(name) for name in SURFACES},
        cavities_ml=cavities,
        cavity_error={name: cavities[name] / wanted[name] - 1.0 for name in cavities},
        decisions=_decisions(size, quality),
    )


def _decisions(size: float, quality: MeshQuality) -> tuple[str, ...]:
    surface = (
        f"The surface of the voxels was smoothed with Taubin's filter and remeshed to {size:g} mm; "
        "the sharp rims of the base were kept."
    )
    volumes = (
        "Endocardia and epicardium were shifted along their normals until cavities and tissue had "
        "the volumes of the voxels."
    )
    border = (
        "The border between LV and RV tissue follows faces of tetrahedra next to the border of the "
        "voxels."
    )
    if quality.min_dihedral >= GOOD_ANGLES[0]:
        return surface, volumes, border
    flat = (
        f"No try reached dihedral angles of {GOOD_ANGLES[0]:g} degrees; the best one, with "
        f"{quality.min_dihedral:.1f} degrees, was kept. A smaller size fits thin walls better."
    )
    return surface, volumes, border, flat
