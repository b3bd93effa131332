"""Where the mechanics integrates: values at the quadrature points of each cell."""

from __future__ import annotations

import basix.ufl
from dolfinx import fem, mesh


def quadrature_space(msh: mesh.Mesh, degree: int, shape: tuple[int, ...] = ()) -> fem.FunctionSpace:
    """Values at the quadrature points of a degree, of the given shape, in each cell."""
    element = basix.ufl.quadrature_element(msh.basix_cell(), value_shape=shape, degree=degree)
    return fem.functionspace(msh, element)
