"""How the ventricles shorten, twist and thicken: numbers of their deformation."""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.mesh import Mesh
from numpy.typing import NDArray
from ufl.core.expr import Expr

from organtwin.anatomy.coordinates import Coordinates, LongAxis
from organtwin.mesh.domain import Domain
from organtwin.solve.assembly import compiled, integral

Array = NDArray[np.float64]

#: Heights of the slices along the long axis, 0 at the apex and 1 at the base, and their width.
APICAL, MIDDLE, BASAL = 0.25, 0.5, 0.8
WIDTH = 0.1
SLICES = (APICAL, MIDDLE, BASAL)
#: Width of a slice that is the whole wall.
WHOLE = 1e9
#: Square of a gradient of depth (1/mm²) that counts as none: single cells may have one.
TINY = 1e-20


class WallMotion:
    """Length, twist, thickness and stretches of the ventricles, against the shape in the image.

    Slices are weights w = exp(−((h − h₀)/0.1)²) of the height h of the tissue in the image along
    the long axis, over the region ``lv``: no marker has to be followed, and the numbers don't
    depend on the partition of the mesh.

    - length: distance (mm) of the mean positions of the apical and the basal slice;
    - twist: rotation of the apical less that of the basal slice about the long axis (degree),
      positive when the apex turns counterclockwise as seen from below. The rotation of a slice is
      the one that fits its motion best, tan φ = ∫w d·(r × x) / ∫w r·x, with r from its mean
      position, across the axis;
    - thickness: mean over the middle slice of 1/|F⁻ᵀn|, how much farther apart layers of equal
      depth are, n being normal to them;
    - stretches: how much longer lines of the wall are (`_Lines`): along the long axis in the whole
      wall, around it in the mean of the apical, middle and basal slice; both also on the surface
      ``lv_endo`` alone, and along the axis in the free wall of the right ventricle.

    A stretch over that of end-diastole, less one, is a strain as imaging reports it: the relative
    change of the length of contours. How exactly is our choice. Longitudinal strain of
    echocardiography sees the lines of two or three planes through the axis, here there are lines
    everywhere. Circumferential strain of cine MR sees what passes through planes fixed in space,
    slices here are of tissue. Software that follows the endocardial contour is to be compared with
    the stretch of the endocardium: an inner circle shortens more than the mean of the wall.

    Args:
        u: Displacement from the image (mm).
        domain: Mesh with the region ``lv`` and the surface ``lv_endo``; ``rv`` too, if there is a
            right ventricle.
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
        wall = _Lines(domain.mesh, u, n, axis, dx)
        inside = _Lines(domain.mesh, u, n, axis, domain.ds("lv_endo", degree=4))
        self._stretches = {
            "lv_longitudinal": (wall, True),
            "lv_circumferential": (wall, False),
            "lv_endocardial_longitudinal": (inside, True),
            "lv_endocardial_circumferential": (inside, False),
        }
        if "rv" in domain.regions and "rv_endo" in domain.surfaces:
            measure = domain.dx("rv", degree=4)
            free = _Lines(domain.mesh, u, ufl.grad(at.rv), axis, measure)
            self._stretches["rv_longitudinal"] = (free, True)

    def __call__(self) -> dict[str, float]:
        """Columns of a table at the present displacement; collective."""
        axis = self._basal.position() - self._apical.position()
        twist = self._apical.rotation() - self._basal.rotation()
        return {
            "lv_length [mm]": float(np.linalg.norm(axis)),
            "lv_twist [deg]": -float(np.rad2deg(twist)),
            "lv_thickness_ratio [1]": integral(self._thickness) / self._middle,
            **{
                f"{name}_stretch [1]": lines.along() if is_along else lines.around()
                for name, (lines, is_along) in self._stretches.items()
            },
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


class _Lines:
    """How much longer lines within the wall are than in the image.

        λ = ∫ w |F e| / ∫ w |e|,   e = d − (d·n) n along,   e = d × n around

    with the unit vectors d of the long axis and n across the wall, and the weight w of a slice. The
    lines lie in layers of equal depth; ∫ w |F e| is their length, summed. |e| is the sine of the
    angle of d and n: in the apical cap, which no line crosses along the axis, there are few. The
    ratio to its value at another time is that of the lengths, whatever the shape in the image.

    Args:
        mesh: Mesh.
        u: Displacement (mm).
        n: Across the wall, of any length.
        axis: Long axis.
        measure: Part of the wall, or a surface of it.
    """

    def __init__(self, mesh: Mesh, u: Expr, n: Expr, axis: LongAxis, measure: ufl.Measure) -> None:
        X = ufl.SpatialCoordinate(mesh)
        apex, d, length = (
            fem.Constant(mesh, value) for value in (axis.apex, axis.direction, axis.length)
        )
        self._moved, self._along, self._around, self._height, self._width = (
            fem.Constant(mesh, value) for value in (0.0, 1.0, 0.0, MIDDLE, WHOLE)
        )
        n = n / ufl.sqrt(ufl.inner(n, n) + TINY)
        e = self._along * (d - ufl.dot(d, n) * n) + self._around * ufl.cross(d, n)
        stretched = e + self._moved * ufl.grad(u) * e
        h = ufl.dot(X - apex, d) / length
        w = ufl.exp(-(((h - self._height) / self._width) ** 2))
        self._length = compiled(w * ufl.sqrt(ufl.inner(stretched, stretched)) * measure)
        self._at_rest = {
            key: self._of(*key)
            for key in [(True, MIDDLE, WHOLE), *((False, height, WIDTH) for height in SLICES)]
        }
        self._moved.value = 1.0

    def along(self) -> float:
        """Stretch along the long axis; collective."""
        return self._ratio((True, MIDDLE, WHOLE))

    def around(self) -> float:
        """Mean stretch around it of the slices; collective."""
        return float(np.mean([self._ratio((False, height, WIDTH)) for height in SLICES]))

    def _ratio(self, key: tuple[bool, float, float]) -> float:
        return self._of(*key) / self._at_rest[key]

    def _of(self, along: bool, height: float, width: float) -> float:
        """∫ w |F e|."""
        self._along.value, self._around.value = float(along), float(not along)
        self._height.value, self._width.value = height, width
        return integral(self._length)
