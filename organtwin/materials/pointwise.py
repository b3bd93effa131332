"""Evaluate a law's UFL at many points with numpy, without compiling anything.

Fits and tests ask for energies and stresses of one deformation after the other. The formula is
written once, in UFL; here it is unrolled into scalar steps, recorded once, and run on arrays with
one entry per point.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import basix.ufl
import numpy as np
import ufl
from numpy.typing import ArrayLike, NDArray
from ufl import classes
from ufl.algorithms.apply_algebra_lowering import apply_algebra_lowering
from ufl.algorithms.apply_derivatives import apply_derivatives
from ufl.core.expr import Expr

from organtwin.errors import InputError
from organtwin.materials.kinematics import Directions, Material

Array = NDArray[np.float64]

#: UFL's scalar operators by class name.
_OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "Sum": operator.add, "Product": operator.mul, "Division": operator.truediv,
    "Power": operator.pow, "Abs": np.abs, "MinValue": np.minimum, "MaxValue": np.maximum,
    "Sqrt": np.sqrt, "Exp": np.exp, "Ln": np.log, "Sin": np.sin, "Cos": np.cos, "Tan": np.tan,
    "Asin": np.arcsin, "Acos": np.arccos, "Atan": np.arctan, "Atan2": np.arctan2,
    "Sinh": np.sinh, "Cosh": np.cosh, "Tanh": np.tanh,
    "Conditional": np.where, "EQ": operator.eq, "NE": operator.ne, "LT": operator.lt,
    "GT": operator.gt, "LE": operator.le, "GE": operator.ge, "AndCondition": np.logical_and,
    "OrCondition": np.logical_or, "NotCondition": np.logical_not,
}  # fmt: skip


def symbol(shape: tuple[int, ...] = ()) -> ufl.Constant:
    """A UFL constant of no mesh in particular: a number or tensor that is given later."""
    cell = basix.ufl.element("Lagrange", "tetrahedron", 1, shape=(3,))
    return ufl.Constant(ufl.Mesh(cell), shape=shape)


class Program:
    """A UFL expression of symbols as a function of arrays.

    A ``fem.Constant`` in the expression counts with its value at the time of the call.

    Args:
        expression: Any shape; derivatives are expanded.
        symbols: What the values of a call stand for, in this order.

    Raises:
        InputError: something in the expression is no number at a point.
    """

    def __init__(self, expression: Expr, symbols: Sequence[ufl.Constant]) -> None:
        self.shape = tuple(expression.ufl_shape)
        self._symbols = tuple(symbols)
        self._recorder = _Recorder()
        lowered = apply_derivatives(apply_algebra_lowering(expression))
        self._outputs = [
            self._recorder.slot(lowered, component, {}) for component in np.ndindex(self.shape)
        ]

    def __call__(self, *values: ArrayLike) -> Array:
        """Values at n points.

        Args:
            values: One for each symbol, of shape (n, ...) with the symbol's own shape behind n,
                or of that shape alone: the same at all points.

        Returns:
            Shape (n, ...) with the expression's shape behind n.
        """
        given = {
            s: _points_last(np.asarray(v, dtype=np.float64), len(s.ufl_shape))
            for s, v in zip(self._symbols, values, strict=True)
        }
        n = max((v.shape[-1] for v in given.values()), default=1)
        slots: list[Any] = []
        with np.errstate(all="ignore"):  # the branch that a conditional does not take
            for source in self._recorder.sources:
                slots.append(source.value(slots, given))
        columns = [np.broadcast_to(slots[o], n).astype(np.float64) for o in self._outputs]
        return np.stack(columns, axis=-1).reshape(n, *self.shape)


class PointLaw:
    """Energy, stress and tangent of a law at given deformation gradients.

    Args:
        material: The law, with numbers or ``fem.Constant`` as parameters.
        directions: Its directions, constant; along x, y and z if not given.
    """

    def __init__(self, material: Material, directions: Directions | None = None) -> None:
        self._F = symbol((3, 3))
        self._variable = ufl.variable(self._F)
        self._material, self._frame = material, directions or cartesian()
        C = self._variable.T * self._variable
        self._psi = material.strain_energy(C, self._frame)

    def energy(self, F: ArrayLike) -> Array:
        """Ψ (kPa), shape (n,), for F of shape (n, 3, 3)."""
        return self._energy(F)

    def first_piola(self, F: ArrayLike) -> Array:
        """P = ∂Ψ/∂F (kPa), shape (n, 3, 3)."""
        return self._P(F)

    def cauchy(self, F: ArrayLike) -> Array:
        """σ = P Fᵀ / det F (kPa), shape (n, 3, 3)."""
        F = np.asarray(F, dtype=np.float64).reshape(-1, 3, 3)
        return self._P(F) @ F.transpose(0, 2, 1) / np.linalg.det(F)[:, None, None]

    def tangent(self, F: ArrayLike) -> Array:
        """∂P/∂F (kPa), shape (n, 3, 3, 3, 3)."""
        F = np.asarray(F, dtype=np.float64).reshape(-1, 3, 3)
        units = np.eye(9).reshape(9, 3, 3)
        columns = [self._along(F, unit, 0.0) for unit in units]
        return np.stack(columns, axis=-1).reshape(len(F), 3, 3, 3, 3)

    @cached_property
    def _energy(self) -> Program:
        return Program(self._psi, [self._F])

    @cached_property
    def _P(self) -> Program:
        return Program(ufl.diff(self._psi, self._variable), [self._F])

    @cached_property
    def _along(self) -> Program:
        """∂P/∂F : H, as the rate of P along F + tH, which has fewer derivatives than all of it."""
        t, H = ufl.variable(symbol()), symbol((3, 3))
        F = ufl.variable(self._F + t * H)
        P = ufl.diff(self._material.strain_energy(F.T * F, self._frame), F)
        return Program(ufl.diff(P, t), [self._F, H, t.ufl_operands[0]])


def cartesian() -> Directions:
    """Fibre, sheet and normal along x, y and z."""
    return Directions(*(ufl.as_vector(row) for row in np.eye(3).tolist()))


# --- recording ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Number:
    number: float

    def value(self, slots: Sequence[Any], given: Mapping[Any, Array]) -> Any:
        return self.number


@dataclass(frozen=True)
class _Input:
    constant: Any
    component: tuple[int, ...]

    def value(self, slots: Sequence[Any], given: Mapping[Any, Array]) -> Any:
        if self.constant in given:
            return given[self.constant][self.component]
        return self.constant.value[self.component]


@dataclass(frozen=True)
class _Step:
    name: str
    arguments: tuple[int, ...]

    def value(self, slots: Sequence[Any], given: Mapping[Any, Array]) -> Any:
        return _OPERATIONS[self.name](*[slots[a] for a in self.arguments])


class _Recorder:
    """Unrolls tensors into scalar steps; what is computed twice is recorded once."""

    def __init__(self) -> None:
        self.sources: list[_Number | _Input | _Step] = []
        self._known: dict[Any, int] = {}
        self._seen: dict[Any, int] = {}
        self._alive: list[Expr] = []

    def slot(self, e: Expr, component: tuple[int, ...], bound: dict[int, int]) -> int:
        """Slot that holds a component of ``e`` where its free indices have the bound values."""
        key = (id(e), component, tuple(bound[i] for i in e.ufl_free_indices))
        if key not in self._seen:
            self._alive.append(e)  # an id is only unique while its object lives
            self._seen[key] = self._record(e, component, bound)
        return self._seen[key]

    def _record(self, e: Expr, component: tuple[int, ...], bound: dict[int, int]) -> int:
        match e:
            case classes.Zero():
                return self._add(_Number(0.0))
            case classes.ScalarValue():
                return self._add(_Number(float(e)))
            case classes.Identity():
                return self._add(_Number(float(component[0] == component[1])))
            case classes.Constant():
                return self._add(_Input(e, component))
            case classes.Variable() | classes.Conj() | classes.Real():
                return self.slot(e.ufl_operands[0], component, bound)
            case classes.ListTensor():
                return self.slot(e.ufl_operands[component[0]], component[1:], bound)
            case classes.ComponentTensor():
                inner, indices = e.ufl_operands
                names = (index.count() for index in indices)
                return self.slot(inner, (), bound | dict(zip(names, component, strict=True)))
            case classes.Indexed():
                inner, indices = e.ufl_operands
                return self.slot(inner, tuple(_position(i, bound) for i in indices), bound)
            case classes.IndexSum():
                return self._sum(e, component, bound)
            case classes.Product():
                return self._product(e, bound)
        name = type(e).__name__
        if name not in _OPERATIONS:
            raise InputError(
                "PointLaw", f"`{name}` has no value at a point.", "Use numbers and constants."
            )
        return self._step(name, *(self.slot(o, component, bound) for o in e.ufl_operands))

    def _sum(self, e: Expr, component: tuple[int, ...], bound: dict[int, int]) -> int:
        summand, indices = e.ufl_operands
        total = self._add(_Number(0.0))
        for i in range(e.dimension()):
            part = self.slot(summand, component, bound | {indices[0].count(): i})
            total = self._step("Sum", total, part)
        return total

    def _product(self, e: Expr, bound: dict[int, int]) -> int:
        first, second = e.ufl_operands
        left = self.slot(first, (), bound)
        # Most factors of a derivative are entries of identities: nothing else of it is unrolled.
        return (
            left
            if self._number(left) == 0
            else self._step("Product", left, self.slot(second, (), bound))
        )

    def _step(self, name: str, *arguments: int) -> int:
        """Record an operation, unless its result is known beforehand."""
        numbers = [self._number(a) for a in arguments]
        if name == "Product" and 0.0 in numbers:
            return self._add(_Number(0.0))
        if name in ("Sum", "Product"):
            neutral = 0.0 if name == "Sum" else 1.0
            arguments = tuple(a for a, x in zip(arguments, numbers, strict=True) if x != neutral)
            if len(arguments) < 2:
                return arguments[0] if arguments else self._add(_Number(neutral))
            arguments = tuple(sorted(arguments))
        return self._add(_Step(name, arguments))

    def _number(self, slot: int) -> float | None:
        source = self.sources[slot]
        return source.number if isinstance(source, _Number) else None

    def _add(self, source: _Number | _Input | _Step) -> int:
        if source not in self._known:
            self._known[source] = len(self.sources)
            self.sources.append(source)
        return self._known[source]


def _position(index: Any, bound: dict[int, int]) -> int:
    return int(index) if isinstance(index, classes.FixedIndex) else bound[index.count()]


def _points_last(value: Array, rank: int) -> Array:
    """Shape (..., n) of a value of shape (n, ...) or (...), whose own shape has ``rank`` axes."""
    return value[..., None] if value.ndim == rank else np.moveaxis(value, 0, -1)
