"""Matrices and vectors of forms."""

from __future__ import annotations

import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from petsc4py import PETSc

from organtwin.solve import options


def matrix(form: ufl.Form) -> PETSc.Mat:
    """Matrix of a bilinear form, without boundary conditions; collective."""
    compiled = fem.form(form, jit_options=options.jit())
    A = fem_petsc.create_matrix(compiled)
    fem_petsc.assemble_matrix(A, compiled)
    A.assemble()
    return A


def vector(form: ufl.Form) -> PETSc.Vec:
    """Vector of a linear form, contributions of all ranks added; collective."""
    b = fem_petsc.assemble_vector(fem.form(form, jit_options=options.jit()))
    b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
    return b
