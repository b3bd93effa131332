"""Rigid motions, and those that bring landmarks together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from organtwin.errors import InputError
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.surgery.bodies import Bodies

type Points = NDArray[np.float64]

#: How far a matrix may be from a rotation.
SKEW = 1e-6
#: Least second extent of landmarks, in parts of the first: less is a line.
SLENDER = 1e-3
#: Landmarks that fit their mirror image by this factor better are swapped left to right.
MIRRORED = 0.3
#: Misfit below which nothing is said about mirrors (mm).
FITS = 3.0


@dataclass(frozen=True)
class Rigid:
    r"""Rotation and translation: :math:`y = R x + t`.

    Attributes:
        rotation: Rotation matrix, shape (3, 3).
        translation: Translation (mm), shape (3,).
    """

    rotation: Points
    translation: Points

    def __post_init__(self) -> None:
        off = np.abs(self.rotation @ np.transpose(self.rotation) - np.eye(3)).max()
        if not (off < SKEW and np.linalg.det(self.rotation) > 0.0):
            raise InputError(
                "transform", "its matrix is no rotation: it scales, shears or mirrors.",
                "Give a rigid transform; 3D Slicer's tables are in RAS, see `of_matrix`.",
            )  # fmt: skip

    @classmethod
    def none(cls) -> Rigid:
        """No motion."""
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def by(cls, translation: Points) -> Rigid:
        """A translation (mm)."""
        return cls(np.eye(3), np.asarray(translation, float))

    @classmethod
    def turn(cls, axis: Points, degrees: float, about: Points) -> Rigid:
        """A rotation about an axis through a point, by the right hand."""
        vector = np.radians(degrees) * np.asarray(axis, float) / np.linalg.norm(axis)
        rotation = Rotation.from_rotvec(vector).as_matrix()
        return cls(rotation, about - rotation @ about)

    @classmethod
    def of_matrix(cls, matrix: Points, space: str = "LPS") -> Rigid:
        """A 4x4 matrix of points in LPS, or as 3D Slicer shows them, in RAS.

        Raises:
            InputError: no rigid 4x4 matrix, or another space.
        """
        m = np.asarray(matrix, float)
        if m.shape != (4, 4) or not np.allclose(m[3], (0.0, 0.0, 0.0, 1.0)):
            raise InputError("transform", "no 4x4 matrix of a motion.", "Its last row is 0 0 0 1.")
        if space not in ("LPS", "RAS"):
            raise InputError("transform", f"space `{space}`.", "Write `LPS` or `RAS`.")
        turn = np.diag([-1.0, -1.0, 1.0]) if space == "RAS" else np.eye(3)
        return cls(turn @ m[:3, :3] @ turn, turn @ m[:3, 3])

    @property
    def inverse(self) -> Rigid:
        """The motion back."""
        return Rigid(self.rotation.T, -self.rotation.T @ self.translation)

    @property
    def degrees(self) -> float:
        """Angle of the rotation."""
        return float(np.degrees(Rotation.from_matrix(self.rotation).magnitude()))

    def after(self, first: Rigid) -> Rigid:
        """This motion after another one."""
        return Rigid(
            self.rotation @ first.rotation, self.rotation @ first.translation + self.translation
        )

    def points(self, points: Points) -> Points:
        """Where points (mm) come to, shape (n, 3) or (3,)."""
        return np.asarray(points @ self.rotation.T + self.translation)

    def surface(self, surface: TriangleSurface) -> TriangleSurface:
        """A surface in its new place."""
        return TriangleSurface(
            self.points(surface.points), surface.triangles, surface.vertex_values,
            surface.triangle_values, surface.names, surface.notes,
        )  # fmt: skip


@dataclass(frozen=True)
class PairFit:
    """Rigid motion that brings landmarks to their partners.

    Attributes:
        motion: The motion.
        residuals: Name of each landmark → distance that is left (mm).
        rms: Root mean square of them (mm).
    """

    motion: Rigid
    residuals: Mapping[str, float]
    rms: float


def fit_pairs(moving: Mapping[str, Points], fixed: Mapping[str, Points]) -> PairFit:
    r"""Motion of least squared distances between landmarks of the same names.

    .. math:: \min_{R, t} \sum_i |R x_i + t - y_i|^2

    Args:
        moving: Name → where a landmark is (mm), shape (3,).
        fixed: Name → where it shall be; names that only one has are passed over.

    Raises:
        InputError: fewer than three landmarks in common, all on a line, or mirrored: left and right
            or LPS and RAS were swapped.

    Source:
        W. Kabsch, Acta Cryst. A32 (1976) 922-923.
    """
    names = [name for name in moving if name in fixed]
    if len(names) < 3:
        raise InputError(
            "landmark pairs", f"{len(names)} landmarks have a partner; three are needed.",
            f"Here: {', '.join(moving)}; there: {', '.join(fixed)}.",
        )  # fmt: skip
    x, y = (np.array([np.asarray(m[n], float) for n in names]) for m in (moving, fixed))
    for points in (x, y):
        spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        if spread[1] <= SLENDER * max(spread[0], 1e-9):
            raise InputError("landmark pairs", "the landmarks lie on a line.", "Add one beside it.")
    motion, rms = _kabsch(x, y)
    mirrored = _kabsch(x * np.array([-1.0, 1.0, 1.0]), y)[1]
    if rms > FITS and mirrored < MIRRORED * rms:
        raise InputError(
            "landmark pairs",
            f"they fit their mirror image ({mirrored:.1f} mm) better than themselves "
            f"({rms:.1f} mm).",
            "Left and right are swapped: take the device or the landmarks of the other side.",
        )
    left = np.linalg.norm(motion.points(x) - y, axis=1)
    return PairFit(motion, dict(zip(names, left.tolist(), strict=True)), rms)


def _kabsch(x: Points, y: Points) -> tuple[Rigid, float]:
    """Best motion, and the root mean square of what is left (mm)."""
    cx, cy = x.mean(axis=0), y.mean(axis=0)
    u, _, vt = np.linalg.svd((x - cx).T @ (y - cy))
    way = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T)) or 1.0])
    rotation = vt.T @ way @ u.T
    motion = Rigid(rotation, cy - rotation @ cx)
    left = motion.points(x) - y
    return motion, float(np.sqrt(np.mean(np.sum(left**2, axis=1))))


def moved(bodies: Bodies, name: str, motion: Rigid) -> Bodies:
    """The same with one body moved rigidly.

    Its distance is read from where each voxel comes from, between voxels by parts; an edge is
    rounded by less than a voxel each time.

    Raises:
        InputError: no body of that name, or it would leave the grid.
    """
    field = bodies.field(name)
    inside = np.argwhere(field < 0.0)
    index = bodies.grid.index(motion.points(bodies.grid.points(inside)))
    if (index < 1.0).any() or (index > np.array(bodies.grid.shape) - 2.0).any():
        raise InputError(
            f"motion of `{name}`", "it would leave the grid.", "Give the bodies a larger margin."
        )
    every = bodies.grid.points(np.indices(bodies.grid.shape).reshape(3, -1).T)
    values = bodies.at(name, motion.inverse.points(every)).astype(np.float32)
    return bodies.changed({name: values.reshape(bodies.grid.shape)})
