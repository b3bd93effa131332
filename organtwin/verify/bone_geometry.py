"""Tubes, rings and bars in each other, for the verification problems of bone and implants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gmsh
import numpy as np
from mpi4py import MPI

from organtwin.mesh.domain import Domain, read_domain
from organtwin.mesh.tetrahedra import gmsh_session
from organtwin.parallel import on_root


@dataclass(frozen=True)
class Layer:
    """A tube along z, or a bar if it has no bore.

    Attributes:
        name: Of its region.
        inner: Radius of the bore (mm), 0 of a bar.
        outer: Radius (mm).
        size: Edges of its mesh (mm).
        start: z at its lower end (mm).
        end: z at its upper end (mm).
    """

    name: str
    inner: float
    outer: float
    size: float
    start: float
    end: float


def layers(
    comm: MPI.Comm,
    path: Path,
    parts: Sequence[Layer],
    *,
    angle: float,
    joined: bool,
    order: int = 1,
) -> Domain:
    """Sectors of layers from the plane y = 0 on.

    Args:
        comm: Communicator.
        path: Where the gmsh file is written.
        parts: Layers, that do not overlap.
        angle: Of the sector: π/2 for x, y > 0 or π for y > 0.
        joined: Whether layers that touch share their nodes.
        order: Of the elements' shape; 2 follows the curves.

    Returns:
        Domain with the layers as regions and surfaces NAME_inner, NAME_outer, NAME_z0, NAME_z1 and
        NAME_y0 and, of a quarter, NAME_x0. Where joined layers touch it is the first one's.
    """
    on_root(comm, lambda: _write(path, parts, angle, joined, order))
    return read_domain(path, comm)


def _write(path: Path, parts: Sequence[Layer], angle: float, joined: bool, order: int) -> None:
    with gmsh_session():
        volumes = [_solid(part, angle) for part in parts]
        if joined:
            _, found = gmsh.model.occ.fragment([(3, v) for v in volumes], [])
            volumes = [pieces[0][1] for pieces in found[: len(parts)]]
        gmsh.model.occ.synchronize()
        names: dict[str, list[int]] = {}
        seen: set[int] = set()
        sizes = []
        for number, (part, volume) in enumerate(zip(parts, volumes, strict=True), start=1):
            gmsh.model.addPhysicalGroup(3, [volume], number, part.name)
            for _, face in gmsh.model.getBoundary([(3, volume)], oriented=False):
                if face not in seen:
                    names.setdefault(f"{part.name}_{_kind(face, part)}", []).append(face)
                seen.add(face)
            field = gmsh.model.mesh.field
            constant = field.add("Constant")
            field.setNumbers(constant, "VolumesList", [volume])
            field.setNumber(constant, "VIn", part.size)
            sizes.append(constant)
        for number, (name, faces) in enumerate(names.items(), start=1):
            gmsh.model.addPhysicalGroup(2, faces, number, name)
        smallest = gmsh.model.mesh.field.add("Min")
        gmsh.model.mesh.field.setNumbers(smallest, "FieldsList", sizes)
        gmsh.model.mesh.field.setAsBackgroundMesh(smallest)
        for source in ("ExtendFromBoundary", "FromPoints", "FromCurvature"):
            gmsh.option.setNumber(f"Mesh.MeshSize{source}", 0)
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.setOrder(order)
        gmsh.write(str(path))


def _solid(part: Layer, angle: float) -> int:
    occ, height = gmsh.model.occ, part.end - part.start
    outer = occ.addCylinder(0, 0, part.start, 0, 0, height, part.outer, angle=angle)
    if part.inner == 0:
        return int(outer)
    bore = occ.addCylinder(0, 0, part.start, 0, 0, height, part.inner, angle=angle)
    return int(occ.cut([(3, outer)], [(3, bore)])[0][0][1])


def _kind(face: int, part: Layer) -> str:
    """Which face of a layer it is, by a point in its middle."""
    low, high = gmsh.model.getParametrizationBounds(2, face)
    x, y, z = gmsh.model.getValue(2, face, (np.array(low) + np.array(high)) / 2)
    near = 1e-6 * part.outer
    if gmsh.model.getType(2, face) != "Plane":
        return "outer" if abs(np.hypot(x, y) - part.outer) < near else "inner"
    if abs(z - part.start) < near:
        return "z0"
    if abs(z - part.end) < near:
        return "z1"
    return "y0" if abs(y) < near else "x0"
