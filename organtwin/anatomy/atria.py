"""Fibre directions and muscle bundles of the atria by rule (Piersanti et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.anatomy.atria_borders import check_surfaces
from organtwin.anatomy.atria_bundles import Conditions, Mask
from organtwin.anatomy.coordinates import laplace, smooth_gradient, surface_dofs
from organtwin.anatomy.fibres import Fibres
from organtwin.anatomy.pointwise import Values, any_across, at_points, dot, functions, unit
from organtwin.mesh.domain import Domain

#: Shorter projections of ∇ψ into the wall, in parts of ∇ψ, have no direction.
_NO_DIRECTION = 1e-6
#: ∇ψ below this part of its largest is rounding, as in a cell whose corners all lie on a ring.
_NO_GRADIENT = 1e-7


class Atrium(Protocol):
    """What the rule needs to know of an atrium: `LeftAtrium` or `RightAtrium`."""

    @property
    def bundles(self) -> Mapping[str, str]:
        """Bundle → field whose levels its fibres follow, in the order of the numbers."""

    @property
    def endo(self) -> str:
        """Surface towards the blood."""

    @property
    def epi(self) -> str:
        """Outer surface."""

    @property
    def surfaces(self) -> tuple[str, ...]:
        """All surfaces it needs."""

    def conditions(self, domain: Domain, V: fem.FunctionSpace) -> Mapping[str, Conditions]:
        """Field → name → dofs and the value there; collective."""

    def select(self, at: Mapping[str, Values]) -> Mapping[str, Mask]:
        """Bundle → where a point belongs to it; of several the first holds."""


def atrial_fibres(
    domain: Domain, space: fem.FunctionSpace, atrium: Atrium, *, degree: int = 1
) -> Fibres:
    """Fibre, sheet and transmural directions of an atrium; collective.

    With φ = 0 inside and 1 outside, and ψ the field of the bundle that a point belongs to, all
    solutions of Laplace's equation,

        n = ∇φ / |∇φ|,   s ∥ ∇ψ − (∇ψ · n) n,   f = s × n.

    The fibre is tangential to the wall and follows the levels of ψ. It has no sense of direction,
    and jumps from bundle to bundle.

    Args:
        domain: Wall of one atrium, open at its valve and veins.
        space: Vector space with one dof of three components per point.
        atrium: Its surfaces and thresholds.
        degree: Degree of the Laplace fields; 2 where the wall is only one or two cells thick.

    Returns:
        Functions of ``space``, orthonormal to rounding at each of its points, n0 pointing outwards.

    Raises:
        InputError: an unknown surface, a tip off the wall, or a space whose dofs are not values at
            points.
        MeshError: a surface is empty.
        SolverError: a solve did not converge.

    Source:
        Piersanti et al. (2021), Comput. Methods Appl. Mech. Eng. 373:113468.
    """
    fields = _fields(domain, atrium, degree)
    through = smooth_gradient(_through(domain, atrium, degree))
    gradients = [smooth_gradient(field) for field in fields.values()]
    values = at_points([*fields.values(), through, *gradients], space)
    n_fields = len(fields)
    psi = dict(zip(fields, values[:, :n_fields].T, strict=True))
    n = unit(values[:, n_fields : n_fields + 3])
    grads = values[:, n_fields + 3 :].reshape(len(values), n_fields, 3)
    crossed = [list(fields).index(name) for name in atrium.bundles.values()]
    g = grads[np.arange(len(values)), np.array(crossed)[_numbers(atrium, psi)]]
    largest = float(np.linalg.norm(g, axis=1).max(initial=0.0))
    s = _across(g, n, _NO_GRADIENT * domain.comm.allreduce(largest, op=MPI.MAX))
    return Fibres(*functions({"fibre": np.cross(s, n), "sheet": s, "normal": n}, space))


def bundles(domain: Domain, atrium: Atrium, *, degree: int = 1) -> fem.Function:
    """Number of the bundle of each cell, for conductivities of their own; collective.

    Args:
        domain: As in `atrial_fibres`.
        atrium: As there.
        degree: As there.

    Returns:
        DG0 function; k stands for the k-th of `LEFT_NAMES` or `RIGHT_NAMES`, counted from 1. The
        bundle is that at the middle of the cell, where a DG0 space has its fibre.

    Raises:
        InputError: an unknown surface, or a tip off the wall.
        MeshError: a surface is empty.
        SolverError: a solve did not converge.
    """
    fields = _fields(domain, atrium, degree)
    middles = fem.functionspace(domain.mesh, ("DG", 0, (3,)))
    values = at_points(list(fields.values()), middles)
    V = fem.functionspace(domain.mesh, ("DG", 0))
    result = fem.Function(V, name="bundle")
    numbers = _numbers(atrium, dict(zip(fields, values.T, strict=True)))
    result.x.array[V.dofmap.list.ravel()] = numbers + 1
    return result


def _fields(domain: Domain, atrium: Atrium, degree: int) -> dict[str, fem.Function]:
    """The Laplace fields that tell bundles apart."""
    check_surfaces(domain, atrium.surfaces)
    V = fem.functionspace(domain.mesh, ("Lagrange", degree))
    return {name: laplace(V, at, name) for name, at in atrium.conditions(domain, V).items()}


def _through(domain: Domain, atrium: Atrium, degree: int) -> fem.Function:
    V = fem.functionspace(domain.mesh, ("Lagrange", degree))
    inner, outer = (surface_dofs(V, domain.facets(name)) for name in (atrium.endo, atrium.epi))
    return laplace(V, {"epi": (outer, 1.0), "endo": (inner, 0.0)}, "through")


def _numbers(atrium: Atrium, psi: Mapping[str, Values]) -> NDArray[np.int64]:
    """Number of the first bundle that holds at each point, (n,)."""
    selected = atrium.select(psi)
    return np.asarray(np.argmax([selected[name] for name in atrium.bundles], axis=0))


def _across(g: Values, n: Values, least: float) -> Values:
    """Unit part of ``g`` across the unit rows ``n``; any one where it is at most ``least``."""
    tangential = g - dot(g, n)[:, None] * n
    length = np.linalg.norm(tangential, axis=1)
    has_one = (length > _NO_DIRECTION * np.linalg.norm(g, axis=1)) & (length > least)
    return np.where(has_one[:, None], unit(tangential), any_across(n))
