"""Forms, and their matrices, vectors and values."""

from __future__ import annotations

import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from petsc4py import PETSc

from organtwin.parallel import total
from organtwin.solve import options


def compiled(form: ufl.Form) -> fem.Form:
    """Form compiled with the package's options."""
    return fem.form(form, jit_options=options.jit())


def matrix(form: ufl.Form) -> PETSc.Mat:
    """Matrix of a bilinear form, without boundary conditions; collective."""
    built = compiled(form)
    A = fem_petsc.create_matrix(built)
    fem_petsc.assemble_matrix(A, built)
    A.assemble()
    return A


def vector(form: ufl.Form) -> PETSc.Vec:
    """Vector of a linear form, contributions of all ranks added; collective."""
    b = fem_petsc.assemble_vector(compiled(form))
    b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
    return b


def integral(form: ufl.Form | fem.Form) -> float:
    """Value of a form without arguments, contributions of all ranks added; collective."""
    built = compiled(form) if isinstance(form, ufl.Form) else form
    return total(built.mesh.comm, fem.assemble_scalar(built))
