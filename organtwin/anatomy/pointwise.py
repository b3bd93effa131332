"""Fields at the points of a space, and directions put back there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.solve import options

type Values = NDArray[np.float64]


def at_points(fields: Sequence[fem.Function], space: fem.FunctionSpace) -> Values:
    """Fields at the points of a vector space, cell by cell in the order of its dofmap.

    Args:
        fields: Scalars and vectors of three components on the same mesh.
        space: Vector space with one dof of three components per point: DG0, quadrature element
            or Lagrange.

    Returns:
        One row per point of each cell, ghosts too; the components of all fields side by side.

    Raises:
        InputError: the dofs of the space are not values at points.
    """
    points = np.asarray(space.element.interpolation_points)
    if points.shape[0] != space.dofmap.list.shape[1] or space.dofmap.bs != 3:
        raise InputError(
            "fibres",
            "the dofs of this function space are not three values at each point.",
            "Use a DG0, quadrature or Lagrange space with shape (3,).",
        )
    together = ufl.as_vector([f for field in fields for f in _components(field)])
    cells = space.mesh.topology.index_map(3)
    local = np.arange(cells.size_local + cells.num_ghosts, dtype=np.int32)
    expression = fem.Expression(together, points, jit_options=options.jit())
    values = np.asarray(expression.eval(space.mesh, local), dtype=np.float64)
    return values.reshape(-1, together.ufl_shape[0])


def functions(directions: Mapping[str, Values], space: fem.FunctionSpace) -> list[fem.Function]:
    """Functions of a space with given vectors at its points.

    Args:
        directions: Name → one row per point of each cell, as `at_points` orders them.
        space: As there.
    """
    dofs = space.dofmap.list.ravel()
    found = []
    for name, values in directions.items():
        function = fem.Function(space, name=name)
        function.x.array.reshape(-1, 3)[dofs] = values
        found.append(function)
    return found


def dot(a: Values, b: Values) -> Values:
    """Products of rows, (n,)."""
    return np.asarray(np.einsum("ij,ij->i", a, b))


def unit(a: Values) -> Values:
    """Rows of length one; the z axis for rows without a direction."""
    length = np.linalg.norm(a, axis=1, keepdims=True)
    safe = length > np.finfo(float).tiny
    return np.where(safe, a / np.where(safe, length, 1.0), [0.0, 0.0, 1.0])


def any_across(axis: Values) -> Values:
    """A unit vector perpendicular to each row, from the coordinate axis farthest from it."""
    farthest = np.eye(3)[np.argmin(np.abs(axis), axis=1)]
    return unit(farthest - dot(farthest, axis)[:, None] * axis)


def _components(field: fem.Function) -> list[ufl.core.expr.Expr]:
    return [field[i] for i in range(3)] if field.ufl_shape else [field]
