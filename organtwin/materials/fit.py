"""Fit the parameters of a law to biaxial and simple-shear tests of incompressible tissue.

The stresses come from the law's own strain energy and so do their derivatives by the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import ufl
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from organtwin.errors import InputError, SolverError, suggestion
from organtwin.materials.kinematics import Material, first_piola
from organtwin.materials.parameters import ranges
from organtwin.materials.pointwise import PointLaw, Program, cartesian, symbol

Array = NDArray[np.float64]

#: Least ratio of the singular values of the scaled Jacobian at which parameters count as found.
_DISTINCT = 1e-7


class StressMeasure(StrEnum):
    """What a biaxial test reports."""

    CAUCHY = "force per present area"
    FIRST_PIOLA = "force per original area"


class Measurement(Protocol):
    """A homogeneous deformation and the stresses measured in it."""

    @property
    def noise(self) -> float | None:
        """Standard deviation of the stresses (kPa), if known."""
        ...

    def deformation(self) -> Array:
        """F, shape (n, 3, 3), in the axes fibre, sheet, normal."""
        ...

    def observed(self) -> Array:
        """Measured stresses (kPa), shape (m,)."""
        ...

    def stresses(self, P: Array) -> Array:
        """What the test measures of P, shape (n, 3, 3, ...): shape (m, ...); linear."""
        ...


@dataclass(frozen=True)
class BiaxialTest:
    """Stretches along two axes of a thin, incompressible sheet that is free on its faces.

        F = diag(λ₁, λ₂, 1/(λ₁λ₂)),     σ₃₃ = 0

    Attributes:
        stretch_1, stretch_2: λ₁ and λ₂, shape (n,).
        stress_1, stress_2: Stresses along them (kPa), shape (n,).
        axes: The two axes and, implied, the third: "fs", "fn" or "sn", or the other way round.
        measure: Which stress is given.
        noise: Standard deviation of the stresses (kPa), if known.

    Raises:
        InputError: the data are no such test.
    """

    stretch_1: ArrayLike
    stretch_2: ArrayLike
    stress_1: ArrayLike
    stress_2: ArrayLike
    axes: str = "fs"
    measure: StressMeasure = StressMeasure.CAUCHY
    noise: float | None = None

    def __post_init__(self) -> None:
        _check_axes(self.axes, "BiaxialTest")
        columns = ("stretch_1", "stretch_2", "stress_1", "stress_2")
        _check_columns(self, columns, "BiaxialTest")
        for name in columns[:2]:
            if (_column(getattr(self, name)) <= 0).any():
                raise InputError(
                    "BiaxialTest",
                    f"{name} falls to {_column(getattr(self, name)).min():g}.",
                    "Stretches are lengths over original lengths: 1 at rest, never ≤ 0.",
                )

    def deformation(self) -> Array:
        """F, shape (n, 3, 3)."""
        first, second = _column(self.stretch_1), _column(self.stretch_2)
        F = np.zeros((len(first), 3, 3))
        for axis, stretch in zip(self._order(), (first, second, 1 / (first * second)), strict=True):
            F[:, axis, axis] = stretch
        return F

    def observed(self) -> Array:
        """Stresses along the first axis, then along the second."""
        return np.concatenate([_column(self.stress_1), _column(self.stress_2)])

    def stresses(self, P: Array) -> Array:
        """σᵢ = Pᵢᵢ λᵢ − P₃₃ λ₃, the pressure being what makes σ₃₃ vanish."""
        F, (one, two, free) = self.deformation(), self._order()
        behind = (slice(None), *[None] * (P.ndim - 3))
        found = []
        for i in (one, two):
            sigma = P[:, i, i] * F[:, i, i][behind] - P[:, free, free] * F[:, free, free][behind]
            per_area = 1.0 if self.measure is StressMeasure.CAUCHY else F[:, i, i][behind]
            found.append(sigma / per_area)
        return np.concatenate(found)

    def _order(self) -> tuple[int, int, int]:
        one, two = ("fsn".index(axis) for axis in self.axes)
        return one, two, 3 - one - two


@dataclass(frozen=True)
class ShearTest:
    """Simple shear of a cube of incompressible tissue.

        F = I + γ e_j ⊗ e_i,     measured: σ_ij

    Attributes:
        mode: "ij": i is the normal of the face that is moved, along j; "fs" and "fn" are
            those that stretch the fibre.
        amount: γ, shape (n,).
        stress: Cauchy shear stress σ_ij (kPa), shape (n,).
        noise: Standard deviation of the stresses (kPa), if known.

    Raises:
        InputError: the data are no such test.

    Source:
        Convention of Dokos et al. (2002), Am. J. Physiol. Heart Circ. Physiol. 283:H2650–H2659.
    """

    mode: str
    amount: ArrayLike
    stress: ArrayLike
    noise: float | None = None

    def __post_init__(self) -> None:
        _check_axes(self.mode, "ShearTest")
        _check_columns(self, ("amount", "stress"), "ShearTest")

    def deformation(self) -> Array:
        """F, shape (n, 3, 3)."""
        amount = _column(self.amount)
        F = np.tile(np.eye(3), (len(amount), 1, 1))
        i, j = self._plane()
        F[:, j, i] += amount
        return F

    def observed(self) -> Array:
        """σ_ij."""
        return _column(self.stress)

    def stresses(self, P: Array) -> Array:
        """σ_ij = (P Fᵀ)_ij; the pressure has no part in it."""
        i, j = self._plane()
        return np.einsum("nk...,nk->n...", P[:, i], self.deformation()[:, j])

    def _plane(self) -> tuple[int, int]:
        i, j = ("fsn".index(axis) for axis in self.mode)
        return i, j


@dataclass(frozen=True)
class Fit[Law]:
    """Parameters that a law needs to repeat tests, and how certain they are.

    Attributes:
        law: The law with its fitted parameters.
        names: Fitted parameters; ``mu[0]`` is the first of a tuple.
        values: Their values.
        covariance: Of the values, shape (p, p); NaN for parameters at a bound.
        intervals: 95 % confidence intervals, shape (p, 2), from the linearised law; NaN likewise.
        residual: Root mean square of model less measurement (kPa).
        explained: R², share of the variance of the stresses that the law repeats.
        at_bound: Parameters that ended at a bound of their range.
    """

    law: Law
    names: tuple[str, ...]
    values: Array
    covariance: Array
    intervals: Array
    residual: float
    explained: float
    at_bound: tuple[str, ...]

    def lines(self) -> list[str]:
        """The result as a table."""
        width = max(len(name) for name in self.names)
        rows = [
            f"{name:{width}}  {value:.4g}"
            + ("  at its bound" if name in self.at_bound else f"  [{low:.4g}, {high:.4g}]")
            for name, value, (low, high) in zip(
                self.names, self.values, self.intervals, strict=True
            )
        ]
        return [*rows, f"residual {self.residual:.3g} kPa, R² {self.explained:.4f}"]


def predict(law: Material, test: Measurement) -> Array:
    """Stresses (kPa) that a law shows in a test, in the order of its `observed`."""
    return test.stresses(PointLaw(law).first_piola(test.deformation()))


def fit[Law: Material](
    law: Law, tests: Sequence[Measurement], vary: Sequence[str] | None = None, *, starts: int = 1
) -> Fit[Law]:
    """Fit parameters of a law to tests by nonlinear least squares.

    Stresses are weighted by the tests' noise, if they state it; the covariance is then (JᵀJ)⁻¹,
    else s²(JᵀJ)⁻¹ with the variance s² of the residuals. Intervals hold for the law
    linearised about the result, and tell nothing about whether the law suits the tissue.

    Args:
        law: The law; its numbers are the first guess.
        tests: Measurements; the more modes, the more parameters can be told apart.
        vary: Names of the parameters to fit; all that are numbers if not given.
        starts: How many first guesses to try: the given one, then ones off by random factors of
            about two. The best result counts.

    Raises:
        InputError: unknown parameters, too few data, or data that can't tell the parameters apart.
        SolverError: no minimum was found.

    Source:
        Covariance and intervals: Seber & Wild (1989), Nonlinear Regression, Wiley, chapter 5.
    """
    model = _Model(law, tests, vary)
    found = min((model.minimise(x0) for x0 in model.guesses(starts)), key=lambda r: r.cost)
    if not found.success:
        raise SolverError(
            "fit", f"no minimum found ({found.message})", "Start closer, or fit fewer parameters."
        )
    covariance, at_bound = model.covariance(found)
    degrees = model.observed.size - len(model.names) + int(at_bound.sum())
    quantile = stats.norm.ppf(0.975) if model.weighted else stats.t.ppf(0.975, degrees)
    margin = quantile * np.sqrt(np.diag(covariance))
    off = model.predicted(found.x) - model.observed
    spread = model.observed - model.observed.mean()
    return Fit(
        law=model.law(found.x),
        names=model.names,
        values=found.x,
        covariance=covariance,
        intervals=np.stack([found.x - margin, found.x + margin], axis=1),
        residual=float(np.sqrt(np.mean(off**2))),
        explained=float(1 - (off @ off) / (spread @ spread)) if spread.any() else np.nan,
        at_bound=tuple(n for n, held in zip(model.names, at_bound, strict=True) if held),
    )


class _Model[Law: Material]:
    """The tests' stresses as a function of the parameters."""

    def __init__(self, law: Law, tests: Sequence[Measurement], vary: Sequence[str] | None) -> None:
        if not tests:
            raise InputError("fit", "no tests.", "Give at least one.")
        self._law, self._tests = law, tuple(tests)
        self._slots = _slots(law, vary)
        self.names = tuple(name if i is None else f"{name}[{i}]" for name, i in self._slots)
        self.observed = np.concatenate([test.observed() for test in tests])
        if self.observed.size <= len(self.names):
            raise InputError(
                "fit",
                f"{self.observed.size} stresses for {len(self.names)} parameters.",
                "Measure more, or name fewer parameters in `vary`.",
            )
        known = [test.noise is not None for test in tests]
        self.weighted = all(known)
        if any(known) and not self.weighted:
            raise InputError(
                "fit",
                f"{sum(known)} of {len(known)} tests state their noise.",
                "Give it for all, which weights them, or for none.",
            )
        self._noise = np.concatenate(
            [np.full(t.observed().size, t.noise if self.weighted else 1.0) for t in tests]
        )
        self._F = np.concatenate([test.deformation() for test in tests])
        self._P, self._dP = self._programs()
        limits = np.array([ranges(law)[name].limits for name, _ in self._slots])
        self._low, self._high = limits[:, 0], limits[:, 1]

    def law(self, x: Array) -> Law:
        """The law with these values."""
        return self._replaced([float(value) for value in x])

    def predicted(self, x: Array) -> Array:
        """Stresses of all tests (kPa), shape (m,)."""
        return self._gather(self._P(self._F, *x))

    def guesses(self, count: int) -> list[Array]:
        """First guesses, strictly within the ranges."""
        rng = np.random.default_rng(1)
        first = np.array([_value(self._law, slot) for slot in self._slots])
        factors = [np.ones(len(first))]
        factors += [np.exp(rng.normal(0.0, 0.7, len(first))) for _ in range(count - 1)]
        inside = 1e-6 * np.maximum(np.abs(first), 1.0)
        return [np.clip(first * f, self._low + inside, self._high - inside) for f in factors]

    def minimise(self, x0: Array) -> Any:
        """Trust-region least squares from a guess."""
        if not np.isfinite(self.predicted(x0)).all():
            raise InputError(
                "fit", "the stresses of the first guess are not finite.", "Start with less."
            )
        return optimize.least_squares(
            lambda x: (self.predicted(x) - self.observed) / self._noise,
            x0,
            jac=self._jacobian,
            bounds=(self._low, self._high),
            x_scale="jac",
            xtol=1e-10,
            ftol=1e-9,
            gtol=1e-12,
            max_nfev=1000,
        )

    def covariance(self, found: Any) -> tuple[Array, NDArray[np.bool_]]:
        """Covariance of the parameters, and which of them are held by a bound.

        Raises:
            InputError: the data can't tell some parameters apart.
        """
        size = np.maximum(np.abs(found.x), 1e-12)
        held = np.array([self._is_held(found.x, i) for i in range(len(size))])
        free = np.flatnonzero(~held)
        J = self._jacobian(found.x)[:, free] * size[free]  # relative changes: comparable columns
        self._require_distinct(J, free, held)
        inverse = np.linalg.inv(J.T @ J) * np.outer(size[free], size[free])
        scale = 1.0 if self.weighted else 2 * found.cost / (self.observed.size - len(free))
        covariance = np.full((len(size), len(size)), np.nan)
        covariance[np.ix_(free, free)] = scale * inverse
        return covariance, held

    def _is_held(self, x: Array, i: int) -> bool:
        """Whether the stresses would be the same with a parameter at its bound."""
        here = self.predicted(x)
        noticeable = 1e-3 * np.linalg.norm(here - self.observed) + 1e-9 * np.linalg.norm(here)
        near = 1e-2 * abs(_value(self._law, self._slots[i]))
        for bound in (self._low[i], self._high[i]):
            if abs(x[i] - bound) < near:
                moved = x.copy()
                moved[i] = bound
                if np.linalg.norm(self.predicted(moved) - here) < noticeable:
                    return True
        return False

    def _require_distinct(self, J: Array, free: NDArray[np.intp], held: NDArray[np.bool_]) -> None:
        lengths = np.linalg.norm(J, axis=0)
        blind = lengths < _DISTINCT * lengths.max(initial=0.0)
        if blind.any():
            bounds = f" with {self._listed(held)} at a bound" if held.any() else ""
            problem = f"the tests don't depend on {self._listed(free[blind])}{bounds}."
            raise InputError("fit", problem, "Leave these out of `vary`.")
        _, singular, directions = np.linalg.svd(J / lengths, full_matrices=False)
        if singular.size and singular[-1] < _DISTINCT * singular[0]:
            mixed = np.abs(directions[-1]) > 0.1
            raise InputError(
                "fit",
                f"the tests can't tell {self._listed(free[mixed])} apart.",
                "Add a test that can, or hold all but one of them by `vary`.",
            )

    def _listed(self, which: NDArray[Any]) -> str:
        return ", ".join(f"`{name}`" for name in np.array(self.names)[which])

    def _jacobian(self, x: Array) -> Array:
        return self._gather(self._dP(self._F, *x)) / self._noise[:, None]

    def _gather(self, P: Array) -> Array:
        parts, start = [], 0
        for test in self._tests:
            stop = start + len(test.deformation())
            parts.append(test.stresses(P[start:stop]))
            start = stop
        return np.concatenate(parts)

    def _programs(self) -> tuple[Program, Program]:
        """P and its derivatives by the parameters, the latter as the last axis."""
        F, free = symbol((3, 3)), [symbol() for _ in self._slots]
        variables = [ufl.variable(s) for s in free]
        P = first_piola(self._replaced(variables), F, cartesian())
        slopes = [ufl.diff(P, v) for v in variables]
        stacked = [[[slope[r, c] for slope in slopes] for c in range(3)] for r in range(3)]
        return Program(P, [F, *free]), Program(ufl.as_tensor(stacked), [F, *free])

    def _replaced(self, values: Sequence[Any]) -> Law:
        new: dict[str, Any] = {}
        for (name, i), value in zip(self._slots, values, strict=True):
            if i is None:
                new[name] = value
            else:
                entries = list(new.get(name, getattr(self._law, name)))
                entries[i] = value
                new[name] = tuple(entries)
        return replace(self._law, **new)  # type: ignore[type-var]


def _slots(law: Any, vary: Sequence[str] | None) -> list[tuple[str, int | None]]:
    """Parameters to fit: field and, in a tuple, position."""
    known = [f.name for f in fields(law) if f.name in ranges(law)]
    for name in vary or ():
        if name not in known:
            place = f"fit, {type(law).__name__}"
            raise InputError(place, f"no parameter `{name}`.", suggestion(name, known))
    slots: list[tuple[str, int | None]] = []
    for name in known if vary is None else vary:
        value = getattr(law, name)
        entries = list(enumerate(value)) if isinstance(value, tuple) else [(None, value)]
        if all(isinstance(entry, float | int) for _, entry in entries):
            slots += [(name, i) for i, _ in entries]
        elif vary is not None:
            raise InputError("fit", f"`{name}` is no number.", "A fit starts from a number.")
    return slots


def _value(law: Any, slot: tuple[str, int | None]) -> float:
    value = getattr(law, slot[0])
    return float(value if slot[1] is None else value[slot[1]])


# --- data ---------------------------------------------------------------------------------------


def _column(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64)


def _check_axes(axes: str, place: str) -> None:
    if len(axes) != 2 or axes[0] == axes[1] or not set(axes) <= set("fsn"):
        raise InputError(place, f'"{axes}" is no pair of axes.', 'Write for example "fs".')


def _check_columns(test: Any, names: Sequence[str], place: str) -> None:
    """Columns of equal length, finite, with a load; noise > 0."""
    columns = {name: _column(getattr(test, name)) for name in names}
    lengths = {name: column.shape for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or columns[names[0]].ndim != 1:
        found = ", ".join(f"{name} {shape}" for name, shape in lengths.items())
        raise InputError(place, f"columns of the shapes {found}.", "Give equal lengths.")
    if columns[names[0]].size == 0:
        raise InputError(place, "no data.", "Give at least one point.")
    for name, column in columns.items():
        if not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column))[0])
            raise InputError(place, f"{name}[{row}] = {column[row]}.", "Leave such points out.")
    if test.noise is not None and not test.noise > 0:
        raise InputError(place, f"a noise of {test.noise} kPa.", "It is a standard deviation, > 0.")
