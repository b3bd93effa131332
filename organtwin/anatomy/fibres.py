"""Fibre, sheet and normal directions by rule (Bayer et al. 2012), without kinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.anatomy.coordinates import Coordinates, coordinates, smooth_gradient
from organtwin.anatomy.pointwise import any_across, at_points, dot, functions, unit
from organtwin.errors import InputError, suggestion
from organtwin.mesh.domain import Domain

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
    named = dict(zip(("fibre", "sheet", "normal"), directions, strict=True))
    return Fibres(*functions(named, space))


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
    e_l = unit(at.grad_apicobasal)
    across = any_across(e_l)
    other = np.cross(e_l, across)
    phi = np.stack([at.lv, at.rv, np.clip(1.0 - at.lv - at.rv, 0.0, 1.0)])
    outward = (-at.grad_lv, -at.grad_rv, -(at.grad_lv + at.grad_rv))
    # Outward normals as unit complex numbers in the plane (across, other).
    t = np.stack([_unit_complex(dot(g, across) + 1j * dot(g, other)) for g in outward])
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
    fields = (at.lv, at.rv, *(smooth_gradient(u) for u in (at.lv, at.rv, at.apicobasal)))
    values = at_points(fields, space)
    return WallPoints(
        np.clip(values[:, 0], 0.0, 1.0),
        np.clip(values[:, 1], 0.0, 1.0),
        values[:, 2:5],
        values[:, 5:8],
        values[:, 8:11],
    )


def _unit_complex(z: NDArray[np.complex128]) -> NDArray[np.complex128]:
    length = np.abs(z)
    safe = length > _NO_DIRECTION * np.max(length, initial=1e-300)
    return np.where(safe, z / np.where(safe, length, 1.0), 0.0)
