"""Bone and implants as one mesh: regions that share faces, named surfaces, frames, fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion
from organtwin.image.volume import Image
from organtwin.mesh.conforming.interfaces import OUTSIDE, Interfaces
from organtwin.mesh.conforming.ladder import Conforming, conform
from organtwin.mesh.conforming.route import MeshOptions
from organtwin.mesh.conforming.sizes import Near, Sizes
from organtwin.mesh.conforming.wrapping import Wrapping, wrap
from organtwin.mesh.intersections import intersecting_pairs
from organtwin.mesh.mesh_files import write_mesh
from organtwin.mesh.pieces import pieces_of_cells
from organtwin.mesh.quality import dihedral_angles, signed_volumes
from organtwin.mesh.separating import separate
from organtwin.mesh.volume_mesh import TetrahedralMesh
from organtwin.surgery.bodies import Bodies
from organtwin.surgery.interfaces import in_common
from organtwin.surgery.placement import Frame
from organtwin.surgery.tools import Drill

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]
type Field = NDArray[np.float32]
type Mask = NDArray[np.bool_]
#: Which of some facets belong to a surface, by their middles and outward normals, (k, 3) each.
type Where = Callable[[Points, Points], Mask]

#: Part of the voxels' edge by which triangles may leave the borders.
DEVIATION = 0.25
#: Dihedral angle (degrees) below which other ways of meshing are tried, and how many.
GOOD, ATTEMPTS = 8.0, 3
#: Distance (voxels) from a rod up to which it is computed.
AROUND = 6.0
#: How often vertices of crossing triangles go half of their way back.
BACK = 6


@dataclass(frozen=True)
class Fineness:
    """Edge lengths of an assembly's mesh.

    Attributes:
        bone: In bone (mm).
        implant: In implants (mm).
        interface: Where bone and implant meet (mm).
        voxel: Edge of the voxels on which bodies are cut and joined (mm); what is thinner than one
            is lost.
    """

    bone: float
    implant: float
    interface: float
    voxel: float

    def __post_init__(self) -> None:
        for name in ("bone", "implant", "interface", "voxel"):
            value = getattr(self, name)
            if not 0.1 <= value <= 20.0:
                raise InputError(f"fineness {name}", f"{value:g} mm.", "Give 0.1 to 20 mm.")
        if self.voxel > self.interface:
            raise InputError(
                "fineness voxel", f"{self.voxel:g} mm is coarser than the mesh.",
                f"Give {self.interface:g} mm or less.",
            )  # fmt: skip


@dataclass(frozen=True)
class Part:
    """Some regions of an assembly.

    Attributes:
        mesh: Their cells, with their own vertices.
        cells: Number of each cell in the assembly's mesh, shape (m,).
    """

    mesh: TetrahedralMesh
    cells: Index


@dataclass(frozen=True)
class Zone:
    """A part of a surface by its place in a frame.

    Attributes:
        name: Appended to the surface's name.
        frame: Name of the frame.
        low: Least z in it (mm).
        high: Largest z in it (mm).
    """

    name: str
    frame: str
    low: float = -np.inf
    high: float = np.inf


@dataclass(frozen=True)
class Assembly:
    """Bones and implants in one mesh whose regions share their faces.

    Intact and operated bone are parts of the same mesh (`intact`, `operated`), so that a cell of
    the one is a cell of the other.

    Attributes:
        name: What it is.
        mesh: All regions.
        bones: Regions of bone that stay.
        implants: Region of each implant → name of its material in the catalogue.
        removed: Regions of bone that surgery takes away.
        filled: Regions of implants that were bone before: they are bone in the intact one.
        pairs: Regions between which the operated mesh is separated.
        zones: Parts into which separated surfaces are divided, by the region of the implant.
        frames: Name → place with directions.
        points: Name → point (LPS, mm), shape (3,).
        fit: Indices of fit, name with unit → value.
        notes: What was decided, one sentence each.
        scan: Grey values (HU) over all of the mesh, to be mapped to stiffness; None without.
        tables: Further numbers by name, such as columns of cartilage, shape (n, k).
    """

    name: str
    mesh: TetrahedralMesh
    bones: tuple[str, ...]
    implants: Mapping[str, str]
    removed: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    zones: Mapping[str, tuple[Zone, ...]] = field(default_factory=dict)
    frames: Mapping[str, Frame] = field(default_factory=dict)
    points: Mapping[str, Points] = field(default_factory=dict)
    fit: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    scan: Image | None = None
    tables: Mapping[str, Points] = field(default_factory=dict)

    def intact(self) -> Part:
        """The bone before surgery: what stays, what is removed, what implants take the place of."""
        return only(self.mesh, (*self.bones, *self.removed, *self.filled))

    def operated(self, *, separated: bool = True) -> Part:
        """What stays of the bone, and the implants.

        Separated, vertices are doubled between the ``pairs``, and both sides are surfaces
        ``<a>_at_<b>`` with the names of zones at their end.

        Args:
            separated: Without it the regions share their faces: all is bonded.
        """
        part = only(self.mesh, (*self.bones, *self.implants))
        if not separated or not self.pairs:
            return part
        mesh = separate(part.mesh, self.pairs)
        for pair in self.pairs:
            zones = [z for region in pair for z in self.zones.get(region, ())]
            for one, other in (pair, pair[::-1]):
                mesh = self._zoned(mesh, f"{one}_at_{other}", zones)
        return Part(mesh, part.cells)

    def _zoned(self, mesh: TetrahedralMesh, name: str, zones: Sequence[Zone]) -> TetrahedralMesh:
        if name not in mesh.facet_names:
            return mesh
        for zone in zones:
            there = self.frames[zone.frame]

            def inside(middles: Points, _: Points, zone: Zone = zone, at: Frame = there) -> Mask:
                z = (middles - at.origin) @ at.axes[2]
                return np.asarray((z >= zone.low) & (z < zone.high))

            mesh = retagged(mesh, name, f"{name}_{zone.name}", inside)
        return mesh

    def record(self) -> dict[str, Any]:
        """What a file keeps beside the mesh, as plain numbers and words."""
        smallest = dihedral_angles(self.mesh.points, self.mesh.cells).min(axis=1)
        volumes = signed_volumes(self.mesh.points, self.mesh.cells)
        return {
            "name": self.name,
            "vertices": len(self.mesh.points),
            "cells": len(self.mesh.cells),
            "smallest dihedral angle degrees": float(smallest.min()),
            "volumes mm3": {
                n: float(volumes[self.mesh.regions == k].sum())
                for n, k in self.mesh.region_names.items()
            },
            "areas mm2": {n: surface_area(self.mesh, n) for n in self.mesh.facet_names},
            "bones": list(self.bones),
            "implants": dict(self.implants),
            "removed": list(self.removed),
            "filled": list(self.filled),
            "pairs": [list(pair) for pair in self.pairs],
            "frames": {
                n: {"origin": f.origin.tolist(), "axes": f.axes.tolist()}
                for n, f in self.frames.items()
            },
            "points": {n: np.asarray(p).tolist() for n, p in self.points.items()},
            "fit": {n: float(v) for n, v in self.fit.items()},
            "notes": list(self.notes),
        }

    def write(self, folder: str | Path) -> None:
        """Write ``assembly.msh`` with all regions and ``assembly.json`` with the record."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        write_mesh(self.mesh, place / "assembly.msh")
        text = json.dumps(self.record(), indent=1)
        (place / "assembly.json").write_text(text, encoding="utf-8")

    def point(self, name: str) -> Points:
        """A point (mm).

        Raises:
            InputError: no point of that name.
        """
        if name not in self.points:
            raise InputError(self.name, f"no point `{name}`.", suggestion(name, self.points))
        return self.points[name]


def meshed(
    bodies: Bodies,
    fineness: Fineness,
    *,
    implants: Sequence[str],
    fine: Mapping[str, float] | None = None,
    place: str,
) -> Conforming:
    """One mesh of bodies that share their faces.

    Args:
        bodies: Bodies that touch or are apart by more than a voxel.
        fineness: Edge lengths.
        implants: Which of them are implants.
        fine: Edge lengths of further bodies (mm).
        place: What messages call it.

    Raises:
        InputError: see `organtwin.surgery.interfaces.in_common`.
        MeshError: no valid mesh came out.
    """
    borders = uncrossed(bodies, in_common(bodies))
    there = [name for name in implants if name in borders.names]
    touching = {tuple(sorted(pair)) for pair in borders.pairs if OUTSIDE not in pair}
    near = [
        Near((a, b), fineness.interface)
        for a, b in sorted(touching)
        if (a in there) != (b in there)
    ]
    by_label = dict.fromkeys(there, fineness.implant)
    by_label |= {name: size for name, size in (fine or {}).items() if name in borders.names}
    sizes = Sizes(fineness.bone, by_label, near=near, gradation=0.4)
    options = MeshOptions(
        sizes, deviation=DEVIATION * fineness.voxel, min_dihedral=GOOD, attempts=ATTEMPTS
    )
    return conform(borders, options, place)


def rod_field(bodies: Bodies, rod: Drill) -> Field:
    """Signed distance (mm) of a rod on the grid; beyond `AROUND` voxels off it that distance."""
    reach = 0.5 * rod.diameter + AROUND * bodies.voxel
    ends = bodies.grid.index(np.stack([rod.start, rod.end]))
    steps = reach / bodies.voxel
    low = np.maximum(np.floor(ends.min(axis=0) - steps), 0).astype(int)
    high = np.minimum(np.ceil(ends.max(axis=0) + steps) + 1, bodies.grid.shape).astype(int)
    result = np.full(bodies.grid.shape, AROUND * bodies.voxel, np.float32)
    if (high <= low).any():
        return result
    box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    index = np.indices((high - low).tolist()).reshape(3, -1).T + low
    found = rod.distance(bodies.grid.points(index)).reshape((high - low).tolist())
    result[box] = np.minimum(found, AROUND * bodies.voxel)
    return result


def uncrossed(bodies: Bodies, borders: Interfaces) -> Interfaces:
    """Borders whose triangles cross nowhere: where they do, vertices go back towards the voxels'.

    Bodies that meet at a slant leave wedges thinner than a voxel, in which vertices that were moved
    onto the borders pass each other.

    Args:
        bodies: What the borders were made of.
        borders: Of `organtwin.surgery.interfaces.in_common`.

    """
    start = wrap(bodies.labels(), Wrapping()).points
    share = np.ones(len(start))
    for _ in range(BACK):
        points = start + share[:, None] * (borders.points - start)
        pairs = intersecting_pairs(points, borders.triangles)
        if not len(pairs):
            return replace(borders, points=points)
        near = np.zeros(len(start), bool)
        near[borders.triangles[pairs.ravel()]] = True
        near[borders.triangles[near[borders.triangles].any(axis=1)]] = True
        share[near] *= 0.5
    points = start + np.where(share < 1.0, 0.0, 1.0)[:, None] * (borders.points - start)
    return replace(borders, points=points)


def volume_errors(mesh: TetrahedralMesh, bodies: Bodies) -> dict[str, float]:
    """Volume of each region against that of its body, less one."""
    return {
        name: mesh.volume(name) / bodies.volume(name) - 1.0
        for name in bodies.names
        if name in mesh.region_names
    }


def only(mesh: TetrahedralMesh, regions: Sequence[str]) -> Part:
    """Some regions of a mesh, with the surfaces that they have a side of.

    Raises:
        InputError: a region is not there.
    """
    unknown = [name for name in regions if name not in mesh.region_names]
    if unknown:
        raise InputError(
            "mesh", f"no region `{unknown[0]}`.", suggestion(unknown[0], mesh.region_names)
        )
    numbers = [mesh.region_names[name] for name in regions]
    cells = np.flatnonzero(np.isin(mesh.regions, numbers))
    used, own = np.unique(mesh.cells[cells], return_inverse=True)
    index = np.full(len(mesh.points), -1)
    index[used] = np.arange(len(used))
    facets = index[mesh.facets]
    kept = (facets >= 0).all(axis=1)
    kept[kept] = _are_faces(facets[kept], own.reshape(-1, 4))
    names = {n: k for n, k in mesh.facet_names.items() if (mesh.facet_tags[kept] == k).any()}
    made = TetrahedralMesh(
        mesh.points[used], own.reshape(-1, 4), mesh.regions[cells],
        {n: k for n, k in mesh.region_names.items() if n in regions},
        facets[kept], mesh.facet_tags[kept], names,
    )  # fmt: skip
    return Part(made, cells)


def retagged(
    mesh: TetrahedralMesh, old: str, new: str, where: Where | None = None
) -> TetrahedralMesh:
    """The same with a part of a surface as another one; a surface without facets goes.

    Args:
        mesh: A mesh.
        old: The surface.
        new: Name of the part; it may be there already.
        where: Which facets belong to it, all without it.

    Raises:
        InputError: no such surface.
    """
    if old not in mesh.facet_names:
        raise InputError("mesh", f"no surface `{old}`.", suggestion(old, mesh.facet_names))
    own = np.flatnonzero(mesh.facet_tags == mesh.facet_names[old])
    if where is not None:
        corners = mesh.points[mesh.facets[own]]
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-300)
        own = own[where(corners.mean(axis=1), normals)]
    names = dict(mesh.facet_names)
    tags = mesh.facet_tags.copy()
    if len(own):
        tags[own] = names.setdefault(new, max(names.values()) + 1)
    names = {n: k for n, k in names.items() if (tags == k).any()}
    return replace(mesh, facet_tags=tags, facet_names=names)


def on_plane(point: Points, normal: Points, within: float) -> Where:
    """Facets whose middle is near a plane and whose normal is along it, either way (mm)."""

    def inside(middles: Points, normals: Points) -> Mask:
        near = np.abs((middles - point) @ normal) <= within
        return np.asarray(near & (np.abs(normals @ normal) > 0.8))

    return inside


def surface_area(mesh: TetrahedralMesh, name: str) -> float:
    """Area of a surface (mm²)."""
    corners = mesh.points[mesh.facets[mesh.facet_tags == mesh.facet_names[name]]]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return float(0.5 * np.linalg.norm(across, axis=1).sum())


def require_pieces(mesh: TetrahedralMesh, place: str) -> None:
    """Refuse regions that hang together by nothing: the smaller part is named.

    Raises:
        InputError: the mesh falls in pieces that share no vertex.
    """
    number = pieces_of_cells(mesh.cells)
    sizes = np.bincount(number)
    if len(sizes) < 2:
        return
    lost = int(np.argmin(sizes))
    own = number == lost
    regions = [n for n, k in mesh.region_names.items() if (mesh.regions[own] == k).any()]
    x, y, z = mesh.points[mesh.cells[own]].mean(axis=(0, 1))
    raise InputError(
        place,
        f"{' and '.join(regions)}: {own.sum()} cells at ({x:.0f}, {y:.0f}, {z:.0f}) mm hang on "
        "nothing.",
        "Give it a screw, let it touch, or leave it out.",
    )


def _are_faces(facets: Index, cells: Index) -> Mask:
    """Whether triangles are faces of cells, shape (k,)."""
    faces = np.sort(cells[:, [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]].reshape(-1, 3), axis=1)
    base = int(max(faces.max(initial=0), facets.max(initial=0))) + 1
    weights = np.array([base * base, base, 1], np.int64)
    return np.asarray(np.isin(np.sort(facets, axis=1) @ weights, np.unique(faces @ weights)))
