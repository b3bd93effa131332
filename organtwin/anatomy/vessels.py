"""Directions in the wall of a vessel: around it, along it, through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from dolfinx import fem

from organtwin.anatomy.coordinates import laplace, smooth_gradient, surface_dofs
from organtwin.anatomy.fibres import Fibres
from organtwin.anatomy.pointwise import at_points, dot, functions, unit
from organtwin.errors import MeshError
from organtwin.mesh.domain import Domain


@dataclass(frozen=True)
class VesselCoordinates:
    """Solutions of Laplace's equation in a vessel's wall.

    Attributes:
        through: φ, 0 inside and 1 outside.
        along: ψ, 0 at the inlet and 1 at the outlets.
    """

    through: fem.Function
    along: fem.Function


def vessel_coordinates(
    domain: Domain,
    *,
    inner: str,
    outer: str,
    inlet: str,
    outlets: Sequence[str],
    degree: int = 1,
) -> VesselCoordinates:
    """Solve for the coordinates of a vessel's wall; collective.

    Args and errors as those of `vessel_directions`.
    """
    for name in (inner, outer, inlet, *outlets):
        if domain.comm.allreduce(len(domain.facets(name))) == 0:
            raise MeshError("vessel directions", f"surface `{name}` has no facets.", "Mesh again.")
    V = fem.functionspace(domain.mesh, ("Lagrange", degree))
    dofs = {name: surface_dofs(V, domain.facets(name)) for name in (inner, outer, inlet, *outlets)}
    through = laplace(V, {inner: (dofs[inner], 0.0), outer: (dofs[outer], 1.0)}, "through")
    ends = {inlet: (dofs[inlet], 0.0)} | {name: (dofs[name], 1.0) for name in outlets}
    return VesselCoordinates(through, laplace(V, ends, "along"))


def vessel_directions(
    domain: Domain,
    space: fem.FunctionSpace,
    *,
    inner: str,
    outer: str,
    inlet: str,
    outlets: Sequence[str],
    angle: float = 0.0,
    degree: int = 1,
    at: VesselCoordinates | None = None,
) -> Fibres:
    """Circumferential or helical, axial and radial directions of a vessel's wall; collective.

    With φ and ψ solutions of Laplace's equation, φ = 0 inside and 1 outside, ψ = 0 at the inlet
    and 1 at the outlets,

        e_r = ∇φ / |∇φ|,   e_z ∥ ∇ψ − (∇ψ · e_r) e_r,   e_θ = e_z × e_r,
        f = cos α e_θ + sin α e_z,   s = cos α e_z − sin α e_θ,   n = e_r.

    Laws with two families of fibres, such as `HolzapfelGasserOgden`, want α = 0: f is then around
    and s along the vessel. Branches are followed, since ψ has the same value at all outlets.

    Args:
        domain: Wall of a vessel, with open ends.
        space: Vector space with one dof of three components per point.
        inner: Surface towards the blood.
        outer: Outer surface.
        inlet: Wall's ring at the inlet.
        outlets: Wall's rings at the outlets.
        angle: α, of the fibres to the circumferential direction (degrees).
        degree: Degree of the Laplace fields; 2 where the wall is only one or two cells thick.
        at: Its coordinates where they are at hand, else they are solved for.

    Returns:
        Functions of ``space``, orthonormal to rounding at each of its points.

    Raises:
        InputError: an unknown surface, or a space whose dofs are not values at points.
        MeshError: a surface is empty.
        SolverError: a solve did not converge.
    """
    found = at or vessel_coordinates(
        domain, inner=inner, outer=outer, inlet=inlet, outlets=outlets, degree=degree
    )
    values = at_points([smooth_gradient(found.through), smooth_gradient(found.along)], space)
    e_r, g = unit(values[:, :3]), values[:, 3:]
    e_z = unit(g - dot(g, e_r)[:, None] * e_r)
    e_theta = np.cross(e_z, e_r)
    alpha = np.deg2rad(angle)
    f = np.cos(alpha) * e_theta + np.sin(alpha) * e_z
    s = np.cos(alpha) * e_z - np.sin(alpha) * e_theta
    return Fibres(*functions({"fibre": f, "sheet": s, "normal": e_r}, space))
