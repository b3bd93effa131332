"""Finite-strain kinematics and the one place where a stress follows from an energy."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Protocol

import ufl
from dolfinx import fem, mesh
from ufl.core.expr import Expr

from organtwin.errors import InputError

#: A material parameter: a number, or something that may change without recompiling.
Scalar = float | fem.Constant | fem.Function


@dataclass(frozen=True)
class Directions:
    """Fibre, sheet and normal directions of the reference configuration (unit vectors, UFL)."""

    f0: Expr
    s0: Expr
    n0: Expr


class Material(Protocol):
    """Parameters and one formula: the strain energy as a function of ``C``.

    Taking ``C = FᵀF`` makes every member objective by construction.
    """

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Energy per reference volume (kPa)."""
        ...


def isochoric_first_invariant(C: Expr) -> Expr:
    """Ī₁ = J^(−2/3) tr C: the first invariant of the volume-preserving part of ``C``."""
    return ufl.det(C) ** (-1 / 3) * ufl.tr(C)


def isochoric_second_invariant(C: Expr) -> Expr:
    """Ī₂ = J^(−4/3) (tr² C − tr C²)/2: the second invariant of the volume-preserving part."""
    return ufl.det(C) ** (-2 / 3) * (ufl.tr(C) ** 2 - ufl.inner(C, C)) / 2


def frame(directions: Directions | None, law: object) -> Directions:
    """The directions that a law needs.

    Raises:
        InputError: there are none.
    """
    if directions is None:
        raise InputError(type(law).__name__, "no fibre directions.", "Pass `Directions`.")
    return directions


def green_lagrange(C: Expr) -> Expr:
    """Green–Lagrange strain E = (C − I) / 2."""
    return (C - ufl.Identity(3)) / 2


def first_piola(material: Material, F: Expr, directions: Directions | None) -> Expr:
    """First Piola–Kirchhoff stress P = ∂Ψ(FᵀF)/∂F (kPa) of the passive tissue.

    Args:
        material: The law.
        F: Deformation gradient, 3×3.
        directions: Material directions, for laws that need them.
    """
    F = ufl.variable(F)
    return ufl.diff(material.strain_energy(F.T * F, directions), F)


def as_constants[Law](law: Law, domain: mesh.Mesh, vary: tuple[str, ...] | None = None) -> Law:
    """The law with its numbers lifted to ``fem.Constant``.

    A number in a form is compiled into it, and another number compiles another form; a constant
    can be changed at run time. Tuples of numbers and laws within the law are lifted too.

    Args:
        law: Frozen dataclass of parameters.
        domain: Mesh of the forms.
        vary: Names to lift; all floats if not given.
    """
    parameters: list[Any] = [f for f in fields(law) if vary is None or f.name in vary]  # type: ignore[arg-type]
    lifted = {f.name: _lifted(getattr(law, f.name), domain) for f in parameters}
    return replace(law, **lifted)  # type: ignore[type-var]


def _lifted(value: Any, domain: mesh.Mesh) -> Any:
    if isinstance(value, float):
        return fem.Constant(domain, value)
    if isinstance(value, tuple):
        return tuple(_lifted(one, domain) for one in value)
    return as_constants(value, domain) if is_dataclass(value) else value
