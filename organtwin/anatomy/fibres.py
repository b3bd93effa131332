"""Fibre, sheet and normal directions by rule (Bayer et al. 2012), without kinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.anatomy.coordinates import Coordinates, coordinates, smooth_gradient
from organtwin.errors import InputError, suggestion
from organtwin.mesh.domain import Domain
from organtwin.solve import options

#: Shorter projections than this have no direction; any one across the axis is taken.
_NO_DIRECTION = 1e-9

type Vectors = NDArray[np.float64]


@dataclass(frozen=True)
class FibreAngles:
    """Angles at the endo- and epicardium (degrees).

    Attributes:
        alpha_endo: Helix angle of the fibre to the circumferential direction, endocardium.
        alpha_epi: The same at the epicardium.
        beta_endo: Angle of the sheet direction to the outward transmural one, endocardium.
        beta_epi: The same at the epicardium.
    """

    alpha_endo: float = 60.0
    alpha_epi: float = -60.0
    beta_endo: float = -65.0
    beta_epi: float = 25.0


@dataclass(frozen=True)
class Fibres:
    """Orthonormal directions: f0 along the fibre, s0 in the sheet across it, n0 = f0 × s0."""

    f0: fem.Function
    s0: fem.Function
    n0: fem.Function


@dataclass(frozen=True)
class WallPoints:
    """What the rule needs at n points.

    Attributes:
        lv: Closeness to the left ventricular endocardium, (n,).
        rv: Closeness to the right ventricular endocardium, (n,).
        grad_lv: Its gradient, (n, 3).
        grad_rv: Its gradient, (n, 3).
        grad_apicobasal: Gradient of the apicobasal coordinate, (n, 3).
    """

    lv: NDArray[np.float64]
    rv: NDArray[np.float64]
    grad_lv: Vectors
    grad_rv: Vectors
    grad_apicobasal: Vectors


def fibres(
    domain: Domain,
    angles: FibreAngles,
    space: fem.FunctionSpace,
    *,
    rule: str = "bayer",
    degree: int = 1,
    at: Coordinates | None = None,
) -> Fibres:
    """Fibres at every point of a space; collective.

    Args:
        domain: Ventricles with surfaces ``lv_endo``, ``rv_endo``, ``epi``, ``base``.
        angles: Angles at the surfaces (degrees).
        space: Vector space with one dof of three components per point: DG0, quadrature element
            or Lagrange.
        rule: Name of the rule; ``"bayer"``.
        degree: Degree of the Laplace fields, see `coordinates`.
        at: Coordinates of ``domain`` where they are at hand, else they are solved for.

    Returns:
        Functions of ``space``, orthonormal to rounding at each of its points.

    Raises:
        InputError: no rule of that name, or a space whose dofs are not values at points.

    Source:
        Bayer et al. (2012), Ann. Biomed. Eng. 40:2243–2254, doi 10.1007/s10439-012-0593-5.
    """
    if rule not in RULES:
        raise InputError("fibres", f"no rule `{rule}`.", suggestion(rule, RULES))
    points = _evaluate(at or coordinates(domain, degree=degree), space)
    directions = RULES[rule](points, angles)
    dofs = space.dofmap.list.ravel()
    functions = []
    for name, values in zip(("fibre", "sheet", "normal"), directions, strict=True):
        function = fem.Function(space, name=name)
        function.x.array.reshape(-1, 3)[dofs] = values
        functions.append(function)
    return Fibres(*functions)


def bayer(at: WallPoints, angles: FibreAngles) -> tuple[Vectors, Vectors, Vectors]:
    """The rule of Bayer et al. (2012), its interpolation made continuous.

    With φ the closeness to each surface and t its outward normal direction, all of them share the
    axis e_l = ∇ψ / |∇ψ| of the apicobasal field ψ. The spherical interpolation of Bayer's frames
    is then one of angles θ about e_l. Normals of opposite sign mean the same wall, so these angles
    count modulo π, and the weighted mean that goes the shorter way is that of the doubled angles:

        e_t:  2θ = arg Σ_k φ_k exp(2 i θ_k),   k = lv, rv, epi
        α = α_endo [φ_lv (e_t·t_lv) + φ_rv (e_t·t_rv)] + α_epi φ_epi (e_t·t_epi),   β likewise
        f = cos α e_c + sin α e_l,   e_c = e_l × e_t
        s = cos β e_t + sin β (cos α e_l − sin α e_c),   n = f × s

    Turning e_t round turns α and β round, so f and s keep their lines. In the septum t_rv = −t_lv,
    α runs from α_endo to −α_endo; in the free walls from α_endo to α_epi, both linear in φ. Bayer
    interpolates frames that are already turned by α; this jumps by 60° where the turn between them
    passes 90°, at three quarters of the wall for ±60°. Here nothing jumps, except about lines that
    topology demands: where the three walls meet, and through both apices.

    Args:
        at: Laplace fields and gradients at n points.
        angles: Angles at the surfaces (degrees).

    Returns:
        f, s and n, each (n, 3), orthonormal to rounding for any input.
    """
    e_l = _unit(at.grad_apicobasal)
    across = _any_across(e_l)
    other = np.cross(e_l, across)
    phi = np.stack([at.lv, at.rv, np.clip(1.0 - at.lv - at.rv, 0.0, 1.0)])
    outward = (-at.grad_lv, -at.grad_rv, -(at.grad_lv + at.grad_rv))
    # Outward normals as unit complex numbers in the plane (across, other).
    t = np.stack([_unit_complex(_dot(g, across) + 1j * _dot(g, other)) for g in outward])
    mean = np.exp(0.5j * np.angle(np.sum(phi * t**2, axis=0)))
    side = phi * np.real(t * np.conj(mean))
    e_t = mean.real[:, None] * across + mean.imag[:, None] * other

    alpha, beta = (
        np.deg2rad((side[0] + side[1]) * endo + side[2] * epi)[:, None]
        for endo, epi in (
            (angles.alpha_endo, angles.alpha_epi),
            (angles.beta_endo, angles.beta_epi),
        )
    )
    e_c = np.cross(e_l, e_t)
    f = np.cos(alpha) * e_c + np.sin(alpha) * e_l
    in_wall = np.cos(alpha) * e_l - np.sin(alpha) * e_c
    s = np.cos(beta) * e_t + np.sin(beta) * in_wall
    return f, s, np.cross(f, s)


#: Rules by the name they have in a case file.
RULES: Mapping[str, Callable[[WallPoints, FibreAngles], tuple[Vectors, Vectors, Vectors]]] = {
    "bayer": bayer
}


def _evaluate(at: Coordinates, space: fem.FunctionSpace) -> WallPoints:
    """Fields at the points of the space, cell by cell in the order of its dofmap."""
    points = np.asarray(space.element.interpolation_points)
    if points.shape[0] != space.dofmap.list.shape[1] or space.dofmap.bs != 3:
        raise InputError(
            "fibres",
            "the dofs of this function space are not three values at each point.",
            "Use a DG0, quadrature or Lagrange space with shape (3,).",
        )
    fields = (at.lv, at.rv, *(smooth_gradient(u) for u in (at.lv, at.rv, at.apicobasal)))
    together = ufl.as_vector([f for field in fields for f in _components(field)])
    cells = space.mesh.topology.index_map(3)
    local = np.arange(cells.size_local + cells.num_ghosts, dtype=np.int32)
    expression = fem.Expression(together, points, jit_options=options.jit())
    values = np.asarray(expression.eval(space.mesh, local), dtype=np.float64).reshape(-1, 11)
    return WallPoints(
        np.clip(values[:, 0], 0.0, 1.0),
        np.clip(values[:, 1], 0.0, 1.0),
        values[:, 2:5],
        values[:, 5:8],
        values[:, 8:11],
    )


def _components(field: fem.Function) -> list[ufl.core.expr.Expr]:
    return [field[i] for i in range(3)] if field.ufl_shape else [field]


def _dot(a: Vectors, b: Vectors) -> NDArray[np.float64]:
    return np.asarray(np.einsum("ij,ij->i", a, b))


def _unit(a: Vectors) -> Vectors:
    """Rows of length one; the z axis for rows without a direction."""
    length = np.linalg.norm(a, axis=1, keepdims=True)
    safe = length > np.finfo(float).tiny
    return np.where(safe, a / np.where(safe, length, 1.0), [0.0, 0.0, 1.0])


def _any_across(axis: Vectors) -> Vectors:
    """A unit vector perpendicular to each row, from the coordinate axis farthest from it."""
    farthest = np.eye(3)[np.argmin(np.abs(axis), axis=1)]
    return _unit(farthest - _dot(farthest, axis)[:, None] * axis)


def _unit_complex(z: NDArray[np.complex128]) -> NDArray[np.complex128]:
    length = np.abs(z)
    safe = length > _NO_DIRECTION * np.max(length, initial=1e-300)
    return np.where(safe, z / np.where(safe, length, 1.0), 0.0)
