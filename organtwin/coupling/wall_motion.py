"""How the left ventricle shortens, twists and thickens: three numbers of its deformation."""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.mesh import Mesh
from numpy.typing import NDArray
from ufl.core.expr import Expr

from organtwin.anatomy.coordinates import Coordinates
from organtwin.mesh.domain import Domain
from organtwin.solve.assembly import compiled, integral

Array = NDArray[np.float64]

#: Heights of the slices along the long axis, 0 at the apex and 1 at the base, and their width.
APICAL, MIDDLE, BASAL = 0.25, 0.5, 0.8
WIDTH = 0.1


class WallMotion:
    """Length, twist and thickness of the left ventricle, against the shape in the image.

    Slices are weights w = exp(−((h − h₀)/0.1)²) of the height h of the tissue in the image along
    the long axis, over the region ``lv``: no marker has to be followed, and the numbers don't
    depend on the partition of the mesh.

    - length: distance (mm) of the mean positions of the apical and the basal slice;
    - twist: rotation of the apical less that of the basal slice about the long axis (degree),
      positive when the apex turns counterclockwise as seen from below. The rotation of a slice is
      the one that fits its motion best, tan φ = ∫w d·(r × x) / ∫w r·x, with r from its mean
      position, across the axis;
    - thickness: mean over the middle slice of 1/|F⁻ᵀn|, how much farther apart layers of equal
      depth are, n being normal to them.

    Args:
        u: Displacement from the image (mm).
        domain: Mesh with the region ``lv``.
        at: Its coordinates.
    """

    def __init__(self, u: Expr, domain: Domain, at: Coordinates) -> None:
        # Constants throughout: no form is compiled anew for another heart.
        X, axis, dx = ufl.SpatialCoordinate(domain.mesh), at.axis, domain.dx("lv", degree=4)
        apex, d, length = (
            fem.Constant(domain.mesh, value) for value in (axis.apex, axis.direction, axis.length)
        )

        def weight(height: float) -> Expr:
            h = ufl.dot(X - apex, d) / length
            return ufl.exp(-(((h - fem.Constant(domain.mesh, height)) / WIDTH) ** 2))

        self._apical, self._basal = (
            _Slice(domain.mesh, weight(height), u, dx, axis.direction) for height in (APICAL, BASAL)
        )
        n = -ufl.grad(at.lv)
        layer = ufl.inv(ufl.Identity(3) + ufl.grad(u)).T * n
        ratio = ufl.sqrt(ufl.inner(n, n) / ufl.inner(layer, layer))
        self._thickness = compiled(weight(MIDDLE) * ratio * dx)
        self._middle = integral(weight(MIDDLE) * dx)

    def __call__(self) -> dict[str, float]:
        """Columns of a table at the present displacement; collective."""
        axis = self._basal.position() - self._apical.position()
        twist = self._apical.rotation() - self._basal.rotation()
        return {
            "lv_length [mm]": float(np.linalg.norm(axis)),
            "lv_twist [deg]": -float(np.rad2deg(twist)),
            "lv_thickness_ratio [1]": integral(self._thickness) / self._middle,
        }


class _Slice:
    """Mean position of weighted tissue, and its rotation about a direction."""

    def __init__(self, mesh: Mesh, weight: Expr, u: Expr, dx: ufl.Measure, d: Array) -> None:
        X = ufl.SpatialCoordinate(mesh)
        self._moved = fem.Constant(mesh, 0.0)
        self._along = fem.Constant(mesh, np.zeros(3))
        self._turn = fem.Constant(mesh, np.zeros((3, 3)))
        x = X + self._moved * u
        self._total = integral(weight * dx)
        self._moment = compiled(weight * ufl.dot(x, self._along) * dx)
        r = X - fem.Constant(mesh, self.position())
        self._moved.value = 1.0
        self._product = compiled(weight * ufl.dot(x, self._turn * r) * dx)
        self._across = np.eye(3) - np.outer(d, d)
        self._around = np.cross(d, np.eye(3)).T

    def position(self) -> Array:
        """Mean position (mm), (3,); collective."""
        found = np.zeros(3)
        for i, unit in enumerate(np.eye(3)):
            self._along.value = unit
            found[i] = integral(self._moment) / self._total
        return found

    def rotation(self) -> float:
        """Angle (rad) by the right hand; collective."""
        sine, cosine = map(self._times, (self._around, self._across))
        return float(np.arctan2(sine, cosine))

    def _times(self, turn: Array) -> float:
        """∫ w x · (turn r)."""
        self._turn.value = turn
        return integral(self._product)
