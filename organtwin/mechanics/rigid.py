"""Rigid obstacles: how far a point is from them, and which way is out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pyvista as pv
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap
from organtwin.parallel import on_root

Floats = NDArray[np.float64]

logger = logging.getLogger(__name__)

#: Three numbers, or a constant that may change from step to step.
type Triple = fem.Constant | Floats | Sequence[float]


class Shape(Protocol):
    """A solid at rest, given by its signed distance, positive outside."""

    def distance(self, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Distance g (mm), unit normal ∇g and curvature ∇∇g (1/mm) at points.

        Args:
            y: Points in the solid's own coordinates (mm), shape (n, 3).

        Returns:
            Arrays of shape (n,), (n, 3), (n, 3, 3).
        """
        ...


@dataclass(frozen=True)
class Plane:
    """Half-space behind a plane.

    Attributes:
        point: A point of the plane (mm).
        normal: Out of the solid, of any length.
    """

    point: Sequence[float]
    normal: Sequence[float]

    def __post_init__(self) -> None:
        _has_direction("Plane", "normal", self.normal)

    def distance(self, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Distance n · (y − point)."""
        n = np.asarray(self.normal) / np.linalg.norm(self.normal)
        return (y - self.point) @ n, np.tile(n, (len(y), 1)), np.zeros((len(y), 3, 3))


@dataclass(frozen=True)
class Sphere:
    """Ball, or everything around a hollow ball.

    Attributes:
        centre: Centre (mm).
        radius: Radius (mm).
        hollow: Whether the solid is outside the sphere.
    """

    centre: Sequence[float]
    radius: float
    hollow: bool = False

    def __post_init__(self) -> None:
        _positive_radius("Sphere", self.radius)

    def distance(self, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Distance |y − centre| − radius."""
        return _round(y - np.asarray(self.centre), np.eye(3), self.radius, self.hollow)


@dataclass(frozen=True)
class Cylinder:
    """Infinite cylinder, or everything around a bore.

    Attributes:
        point: A point of the axis (mm).
        axis: Direction of the axis, of any length.
        radius: Radius (mm).
        hollow: Whether the solid is outside the cylinder.
    """

    point: Sequence[float]
    axis: Sequence[float]
    radius: float
    hollow: bool = False

    def __post_init__(self) -> None:
        _positive_radius("Cylinder", self.radius)
        _has_direction("Cylinder", "axis", self.axis)

    def distance(self, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Distance from the axis, less the radius."""
        a = np.asarray(self.axis) / np.linalg.norm(self.axis)
        across = np.eye(3) - np.outer(a, a)
        return _round((y - np.asarray(self.point)) @ across, across, self.radius, self.hollow)


@dataclass(frozen=True)
class SignedDistance:
    """Solid of any shape, by its signed distance at the nodes of a regular grid.

    Between the nodes distance and normal are interpolated trilinearly, the normal from central
    differences so that it is continuous. Outside the grid there is no contact.

    Attributes:
        values: Distance (mm), negative inside the solid, indexed ``[i, j, k]``.
        spacing: Distance of neighbouring nodes (mm), shape (3,).
        origin: Position of node (0, 0, 0) (mm).
        direction: Columns are the unit vectors of the grid axes, shape (3, 3).
    """

    values: Floats
    spacing: Floats
    origin: Floats
    direction: Floats = field(default_factory=lambda: np.eye(3))

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or min(self.values.shape) < 3:
            raise InputError(
                "SignedDistance",
                f"a grid of shape {self.values.shape} has no inside.",
                "Give at least three nodes along each of three axes.",
            )
        if not np.all(np.asarray(self.spacing) > 0):
            raise InputError("SignedDistance", f"spacing {self.spacing} mm.", "It must be > 0.")
        gradient = np.stack([*np.gradient(self.values, *self.spacing, edge_order=2)])
        object.__setattr__(self, "_fields", np.concatenate([self.values[None], gradient]))

    def distance(self, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Interpolated g and its normalised gradient; its curvature is neglected."""
        fields: Floats = getattr(self, "_fields")  # noqa: B009 - set in __post_init__
        index = (y - self.origin) @ self.direction / self.spacing
        top = np.array(self.values.shape) - 1
        off = np.linalg.norm((index - index.clip(0, top)) * self.spacing, axis=1)
        at = [
            ndimage.map_coordinates(f, index.clip(0, top).T, order=1, mode="nearest")
            for f in fields
        ]
        n = np.stack(at[1:], axis=1) @ self.direction.T
        n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12)
        # No contact beyond the grid: the solid is as far as the grid's border, at least.
        g = np.where(off > 0, np.maximum(at[0], 0.0) + off, at[0])
        return g, n, np.zeros((len(y), 3, 3))

    @classmethod
    def of_labels(cls, labels: LabelMap, *names: str, smoothing: float = 1.0) -> SignedDistance:
        """Solid made of labelled voxels.

        Args:
            labels: Image.
            names: Labels that are solid.
            smoothing: Standard deviation of a Gaussian filter of the distance, in voxels; it
                takes away the steps of the voxels and rounds edges by as much.
        """
        mask = labels.mask(*names)
        if not mask.any() or mask.all():
            raise InputError("SignedDistance", "the labels fill nothing or all of the image.",
                             "Choose labels that have a surface in the image.")  # fmt: skip
        # A voxel beside the surface is half a voxel away from it.
        half = 0.5 * float(labels.spacing.min())
        outside = ndimage.distance_transform_edt(~mask, sampling=labels.spacing) - half
        inside = ndimage.distance_transform_edt(mask, sampling=labels.spacing) - half
        values = ndimage.gaussian_filter(np.where(mask, -inside, outside), smoothing)
        return cls(values, labels.spacing, labels.origin, labels.direction)


def read_solid(
    path: str | Path, comm: MPI.Comm, *, spacing: float, margin: float
) -> SignedDistance:
    """Signed distance of a closed triangulated surface; collective.

    Args:
        path: STL, VTP, PLY or OBJ file (mm), normals outwards.
        comm: Communicator; rank 0 computes.
        spacing: Of the grid (mm); features smaller than two spacings are lost.
        margin: How far the grid reaches beyond the surface (mm).

    Raises:
        InputError: the file can't be read or its surface has a hole; spacing or margin is none.
    """
    if not 0 < spacing < np.inf or not 0 <= margin < np.inf:
        raise InputError(
            "read_solid",
            f"spacing = {spacing:g} mm, margin = {margin:g} mm.",
            "The spacing must be > 0 and the margin ≥ 0.",
        )
    values, origin = on_root(comm, lambda: _distance_grid(Path(path), spacing, margin))
    return SignedDistance(values, np.full(3, spacing), origin)


@dataclass(frozen=True)
class Obstacle:
    """A rigid solid in motion: its material point y is at x = R(rotation) y + translation.

    Attributes:
        shape: The solid in its own coordinates.
        translation: Displacement (mm).
        rotation: Rotation vector about the origin of the solid's coordinates (rad).
    """

    shape: Shape
    translation: Triple = (0.0, 0.0, 0.0)
    rotation: Triple = (0.0, 0.0, 0.0)

    def gap(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        """Distance, outward normal and curvature at present positions (mm), shape (n, 3)."""
        R = self._rotation()
        g, n, H = self.shape.distance((x - _value(self.translation)) @ R)
        return g, n @ R.T, R @ H @ R.T

    def material(self, x: Floats) -> Floats:
        """The solid's own coordinates y of present positions (mm)."""
        return np.asarray((x - _value(self.translation)) @ self._rotation())

    def present(self, y: Floats) -> Floats:
        """Present positions (mm) of the solid's points."""
        return np.asarray(y @ self._rotation().T + _value(self.translation))

    def _rotation(self) -> Floats:
        return np.asarray(Rotation.from_rotvec(_value(self.rotation)).as_matrix())


def _value(triple: Triple) -> Floats:
    return np.asarray(triple.value if isinstance(triple, fem.Constant) else triple, dtype=float)


def _round(r: Floats, across: Floats, radius: float, hollow: bool) -> tuple[Floats, Floats, Floats]:
    """Distance from a sphere or cylinder from the radius vector; ``across`` projects on it."""
    length = np.maximum(np.linalg.norm(r, axis=1), 1e-12)
    n = r / length[:, None]
    H = (across - n[:, :, None] * n[:, None, :]) / length[:, None, None]
    sign = -1.0 if hollow else 1.0
    return sign * (length - radius), sign * n, sign * H


def _positive_radius(place: str, radius: float) -> None:
    if not radius > 0:
        raise InputError(place, f"radius {radius} mm.", "Give a positive one.")


def _has_direction(place: str, name: str, vector: Sequence[float]) -> None:
    length = float(np.linalg.norm(vector))
    if not 0 < length < np.inf or np.shape(vector) != (3,):
        raise InputError(place, f"{name} {vector} has no direction.", "Give three numbers, not 0.")


def _read_surface(path: Path) -> pv.PolyData:
    """Triangles of a file; VTK's readers report most damages by returning none."""
    if not path.is_file():
        raise InputError(str(path), "no such surface file.", "Check the path.")
    surface = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # VTK's account of its own objects
            surface = pv.read(path).extract_surface(algorithm=None).triangulate().clean()
    except Exception as error:
        logger.info("%s: %s", path, error)
    if surface is None or surface.n_cells == 0:
        raise InputError(
            str(path), "no surface can be read from it.",
            "It must be a whole STL, VTP, PLY or OBJ file with triangles.",
        )  # fmt: skip
    return surface


def _distance_grid(path: Path, spacing: float, margin: float) -> tuple[Floats, Floats]:
    surface = _read_surface(path)
    if surface.n_open_edges > 0:
        raise InputError(
            str(path), f"the surface has holes ({surface.n_open_edges} open edges).",
            "Close it: an open surface has no inside.",
        )  # fmt: skip
    surface = surface.compute_normals(auto_orient_normals=True, consistent_normals=True)
    low, high = np.array(surface.bounds).reshape(3, 2).T
    origin = low - margin
    shape = np.ceil((high - low + 2 * margin) / spacing).astype(int) + 1
    grid = pv.ImageData(dimensions=shape, spacing=[spacing] * 3, origin=origin)
    found = grid.compute_implicit_distance(surface)["implicit_distance"]
    return np.ascontiguousarray(np.reshape(found, shape, order="F")), origin
