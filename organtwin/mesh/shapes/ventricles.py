"""Idealised ventricles between ellipsoids, built by gmsh's CAD kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import gmsh
import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, MeshError
from organtwin.mesh.shapes.limits import within

type Points = NDArray[np.float64]
type Entities = list[tuple[int, int]]
type Triple = tuple[float, float, float]

#: Smallest and largest radius (mm).
SMALLEST, LARGEST = 1.0, 200.0
#: Deviation from an ellipsoid, in parts of its radii, of points that lie on it.
ON = 1e-4
#: Cells of the quadrature of the right wall along y and z.
QUADRATURE = 1000


@dataclass(frozen=True)
class EllipsoidalVentricle:
    """Left ventricle between two ellipsoids about the origin, cut flat.

    Long axis z with the apex at negative z. Region ``lv``; surfaces ``lv_endo``, ``epi``, ``base``.

    Attributes:
        radii: Radii (mm) of the endocardium along x, y, z.
        thickness: Thickness (mm) of the wall at the ends of the x, y and z axis.
        base: Height (mm) of the base over the centre.
    """

    radii: Triple = (25.0, 25.0, 60.0)
    thickness: Triple = (10.0, 10.0, 7.0)
    base: float = 15.0

    def __post_init__(self) -> None:
        for axis, radius, wall in zip("xyz", self.radii, self.thickness, strict=True):
            within("EllipsoidalVentricle", f"radius along {axis}", radius, SMALLEST, LARGEST)
            within("EllipsoidalVentricle", f"thickness along {axis}", wall, 0.2, 50.0)
        high = 0.95 * self.radii[2]
        within("EllipsoidalVentricle", "base", self.base, -0.5 * self.radii[2], high)

    @property
    def epicardium(self) -> Triple:
        """Radii (mm) of the epicardium."""
        x, y, z = (r + t for r, t in zip(self.radii, self.thickness, strict=True))
        return x, y, z

    def solids(self) -> Mapping[str, Entities]:
        """Solids of each region in the open gmsh model."""
        wall, _ = gmsh.model.occ.cut(ellipsoid(self.epicardium), ellipsoid(self.radii))
        return {"lv": cut_at(self.base, wall)}

    def surface(self, points: Points) -> str:
        """Name of the outer face with these points."""
        if np.abs(points[:, 2] - self.base).max() < 1e-6 * LARGEST:
            return "base"
        inner, outer = (off(points, radii) for radii in (self.radii, self.epicardium))
        return "lv_endo" if inner < outer else "epi"

    def volumes(self) -> Mapping[str, float]:
        """Volume of each region (mm³)."""
        outer, inner = (below(radii, self.base) for radii in (self.epicardium, self.radii))
        return {"lv": outer - inner}

    def cavities(self) -> Mapping[str, float]:
        """Volume of each cavity below the base (mm³)."""
        return {"lv_blood": below(self.radii, self.base)}


@dataclass(frozen=True)
class Biventricle:
    """Both ventricles: the right one between ellipsoids on the side of negative x of the left.

    x points to the patient's left and z up, as in LPS. Regions ``lv``, with the septum, and ``rv``;
    surfaces ``lv_endo``, ``rv_endo`` (septal side included), ``epi``, ``base``, and ``rv-lv``
    between both regions.

    Attributes:
        left: Left ventricle.
        right: Radii (mm) of the right endocardium along x, y, z.
        shift: How far (mm) the right centre lies off the left one, along negative x.
        wall: Thickness (mm) of the right wall.
    """

    left: EllipsoidalVentricle = EllipsoidalVentricle()
    right: Triple = (45.0, 30.0, 55.0)
    shift: float = 18.0
    wall: float = 4.0

    def __post_init__(self) -> None:
        x, y, z = self.left.epicardium
        for axis, radius, limit in zip("xyz", self.right, (LARGEST, y, z), strict=True):
            name = f"right radius along {axis}"
            within("Biventricle", name, radius, SMALLEST, limit - self.wall * (axis != "x"))
        within("Biventricle", "wall", self.wall, 0.2, 20.0)
        within("Biventricle", "shift", self.shift, 0.0, x)
        cavity = self.shift + self.right[0] - x
        if cavity < 1.0:
            raise InputError(
                "Biventricle",
                f"the right cavity would reach {cavity:g} mm beyond the left epicardium.",
                "Give it more shift or a larger radius along x.",
            )
        if self.right[0] + self.wall - self.shift > 0.98 * x:
            raise InputError(
                "Biventricle",
                "the right wall would come out through the left free wall.",
                "Give it more shift or a smaller radius along x.",
            )

    @property
    def right_epicardium(self) -> Triple:
        """Radii (mm) of the outer ellipsoid of the right wall."""
        x, y, z = (radius + self.wall for radius in self.right)
        return x, y, z

    def solids(self) -> Mapping[str, Entities]:
        """Solids of each region in the open gmsh model.

        Raises:
            MeshError: the right wall is not one piece.
        """
        occ = gmsh.model.occ
        left = self.left.solids()["lv"]
        hollow = [*ellipsoid(self.right, -self.shift), *ellipsoid(self.left.epicardium)]
        wall, _ = occ.cut(ellipsoid(self.right_epicardium, -self.shift), hollow)
        right = cut_at(self.left.base, wall)
        if len(right) != 1:
            raise MeshError(
                "Biventricle",
                f"the right wall falls into {len(right)} pieces.",
                "Give the right ventricle smaller radii along y and z.",
            )
        _, parts = occ.fragment(left, right)
        return {"lv": parts[0], "rv": parts[1]}

    def surface(self, points: Points) -> str:
        """Name of the outer face with these points."""
        if np.abs(points[:, 2] - self.left.base).max() < 1e-6 * LARGEST:
            return "base"
        local = points + np.array([self.shift, 0.0, 0.0])
        if off(points, self.left.radii) < ON:
            return "lv_endo"
        if off(local, self.right) < ON:
            return "rv_endo"
        in_right = bool((np.sum((local / self.right) ** 2, axis=1) < 1.0 + ON).all())
        return "rv_endo" if off(points, self.left.epicardium) < ON and in_right else "epi"

    def volumes(self) -> Mapping[str, float]:
        """Volume of each region (mm³), of ``rv`` by the midpoint rule (about 1e-5)."""
        outer, inner = (self._beyond(radii) for radii in (self.right_epicardium, self.right))
        return {**self.left.volumes(), "rv": outer - inner}

    def cavities(self) -> Mapping[str, float]:
        """Volume of each cavity below the base (mm³)."""
        return {**self.left.cavities(), "rv_blood": self._beyond(self.right)}

    def _beyond(self, radii: Triple) -> float:
        """Volume (mm³) in an ellipsoid about the right centre, outside the left epicardium."""
        low, high = -radii[2], min(self.left.base, radii[2])
        steps = (np.arange(QUADRATURE) + 0.5) / QUADRATURE
        y = radii[1] * (2.0 * steps - 1.0)[:, None]
        z = (low + (high - low) * steps)[None, :]

        def reach(r: Triple) -> NDArray[np.float64]:
            inside = 1.0 - (y / r[1]) ** 2 - (z / r[2]) ** 2
            return np.where(inside > 0, r[0] * np.sqrt(np.maximum(inside, 0.0)), -1.0)

        right, left = reach(radii), reach(self.left.epicardium)
        start, end = -self.shift - right, -self.shift + right
        covered = np.minimum(end, left) - np.maximum(start, -left)
        chord = np.where(right > 0, 2.0 * right, 0.0)
        chord -= np.where((right > 0) & (left > 0), np.maximum(covered, 0.0), 0.0)
        return float(chord.mean()) * 2.0 * radii[1] * (high - low)


def ellipsoid(radii: Triple, x: float = 0.0) -> Entities:
    """Solid ellipsoid (mm) about (x, 0, 0) in the open gmsh model, seam at negative x."""
    ball = [(3, gmsh.model.occ.addSphere(0, 0, 0, 1.0))]
    gmsh.model.occ.dilate(ball, 0, 0, 0, *radii)
    gmsh.model.occ.translate(ball, x, 0, 0)
    return ball


def cut_at(height: float, solids: Entities) -> Entities:
    """What of solids lies below a height (mm)."""
    half = 4.0 * LARGEST
    lid = gmsh.model.occ.addBox(-half, -half, height, 2 * half, 2 * half, half)
    return list(gmsh.model.occ.cut(solids, [(3, lid)])[0])


def off(points: Points, radii: Triple) -> float:
    """Largest deviation of points from an ellipsoid, in parts of its radii."""
    return float(np.abs(np.sqrt(np.sum((points / radii) ** 2, axis=1)) - 1.0).max())


def below(radii: Triple, height: float) -> float:
    """Volume (mm³) of an ellipsoid below a height over its centre."""
    x, y, z = radii
    t = np.clip(height / z, -1.0, 1.0)
    return float(np.pi * x * y * z * (t - t**3 / 3 + 2 / 3))
