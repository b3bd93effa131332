"""gmsh's tetrahedra in chambers whose borders are given triangles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

import gmsh
import numpy as np
from numpy.typing import NDArray

from organtwin.errors import MeshError
from organtwin.mesh.tetrahedra import gmsh_session

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Numbers of gmsh's 3D algorithms: HXT is more than twice as fast as the older Delaunay mesher and
#: leaves fewer flat cells, but gives up on some borders that the other one recovers.
HXT, DELAUNAY, FRONTAL = 10, 1, 4


@dataclass(frozen=True)
class Lattice:
    """Edge lengths on a lattice along the axes.

    Attributes:
        values: Edge lengths (mm), shape (a, b, c).
        corner: First point (mm), shape (3,).
        step: Distances of the points (mm), shape (3,).
    """

    values: Points
    corner: Points
    step: Points


def delaunay(
    points: Points,
    triangles: Index,
    sides: Index,
    lattice: Lattice | None = None,
    algorithm: int = HXT,
) -> tuple[Points, Index, Index]:
    """Tetrahedra in chambers: a discrete surface for each pair of them, a volume for each.

    Args:
        points: Vertices of the triangles (mm), shape (n, 3).
        triangles: Borders of the chambers, shape (m, 3).
        sides: Chamber behind and in front of each, shape (m, 2); numbers below 1 stay empty, and
            HXT gives up on two hollows of one number.
        lattice: Edge lengths wanted inside; none: those of the triangles spread inwards.
        algorithm: `HXT`, `DELAUNAY` or `FRONTAL`.

    Returns:
        Vertices (mm), the first n of which are those given, (k, 3); tetrahedra, (j, 4); chamber of
        each, (j,).

    Raises:
        MeshError: gmsh failed or left a chamber empty.
    """
    with TemporaryDirectory() as folder, _quiet(), gmsh_session():
        gmsh.option.setNumber("Mesh.Algorithm3D", algorithm)
        gmsh.option.setNumber("Mesh.Renumber", 0)
        gmsh.model.add("chambers")
        chambers = _describe(points, triangles, sides)
        _set_sizes(lattice, Path(folder) / "sizes.bin")
        gmsh.logger.start()
        try:
            gmsh.model.mesh.generate(3)
        except Exception as error:  # gmsh raises bare Exceptions
            raise MeshError("gmsh", f"{error}.") from None
        finally:
            gmsh.logger.stop()
        tags, coordinates, _ = gmsh.model.mesh.getNodes()
        found = [gmsh.model.mesh.getElementsByType(4, k)[1].reshape(-1, 4) for k in chambers]
    empty = [k for k, own in zip(chambers, found, strict=True) if not len(own)]
    if empty:
        around = points[triangles[(sides == empty[0]).any(axis=1)]].mean(axis=(0, 1))
        raise MeshError(
            "gmsh",
            f"{len(empty)} of {len(chambers)} volumes stayed empty, the first around "
            f"({around[0]:.2f}, {around[1]:.2f}, {around[2]:.2f}) mm.",
        )
    order = np.argsort(tags, kind="stable")
    index = np.full(int(tags.max()) + 1, -1)
    index[tags[order].astype(np.int64)] = np.arange(len(tags))
    numbers = np.repeat(chambers, [len(own) for own in found])
    return coordinates.reshape(-1, 3)[order], index[np.concatenate(found).astype(int)], numbers


def _describe(points: Points, triangles: Index, sides: Index) -> list[int]:
    """Tell gmsh surfaces and volumes; returns the chambers."""
    pairs, of_triangle = np.unique(sides, axis=0, return_inverse=True)
    chambers: list[int] = np.unique(pairs[pairs > 0]).tolist()
    for number in range(1, len(pairs) + 1):
        gmsh.model.addDiscreteEntity(2, number)
    gmsh.model.mesh.addNodes(2, 1, np.arange(1, len(points) + 1), points.ravel())
    for number in range(1, len(pairs) + 1):
        own = triangles[of_triangle.ravel() == number - 1] + 1
        gmsh.model.mesh.addElementsByType(number, 2, [], own.ravel())
    gmsh.model.mesh.reclassifyNodes()
    for chamber in chambers:
        around = np.nonzero((pairs == chamber).any(axis=1))[0] + 1
        gmsh.model.geo.addVolume([gmsh.model.geo.addSurfaceLoop(around.tolist())], chamber)
    gmsh.model.geo.synchronize()
    return chambers


def _set_sizes(lattice: Lattice | None, path: Path) -> None:
    """Give gmsh the sizes, in a file: a function of Python's would be called for each vertex."""
    gmsh.option.setNumber("Mesh.MeshSizeExtendFromBoundary", 1 if lattice is None else 0)
    gmsh.option.setNumber("Mesh.MeshSizeFromPoints", 0)
    if lattice is None:
        return
    with path.open("wb") as file:
        np.concatenate([lattice.corner, lattice.step]).astype(np.float64).tofile(file)
        np.array(lattice.values.shape, np.int32).tofile(file)
        np.ascontiguousarray(lattice.values, np.float64).tofile(file)
    field = gmsh.model.mesh.field.add("Structured")
    gmsh.model.mesh.field.setString(field, "FileName", str(path))
    gmsh.model.mesh.field.setNumber(field, "TextFormat", 0)
    gmsh.model.mesh.field.setAsBackgroundMesh(field)


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on the standard output: HXT writes there whatever gmsh is told."""
    with TemporaryFile() as sink:
        kept = os.dup(1)
        os.dup2(sink.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)
