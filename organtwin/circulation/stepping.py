"""Implicit steps of circulations, and what coupled hearts ask of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from organtwin.circulation.elements import Valves, Ventricle
from organtwin.errors import SolverError

type Vector = NDArray[np.float64]
type Matrix = NDArray[np.float64]

#: Largest error of a valve's flow, relative to 1 mm³/ms plus the flow.
_ACCURACY = 1e-10
_MOST_ITERATIONS = 50


class Flows(NamedTuple):
    """Flow through the four valves (mm³/ms = mL/s)."""

    mitral: float
    aortic: float
    tricuspid: float
    pulmonary: float


class Circulation(Protocol):
    """Blood around a heart whose ventricles are elastances or given by their pressures."""

    @property
    def period(self) -> float:
        """Length of a beat (ms)."""
        ...

    @property
    def valves(self) -> Valves:
        """The four valves."""
        ...

    @property
    def ventricles(self) -> list[int]:
        """Where the volumes of LV and RV (mm³) stand in the state."""
        ...

    def rest(self) -> Vector:
        """A state to start from."""
        ...

    def step(
        self, y: Vector, t: float, dt: float, pressures: Vector | None = None
    ) -> tuple[Vector, Matrix]:
        """State after a step of the implicit Euler method, and ∂(V_lv, V_rv)/∂(p_lv, p_rv).

        Args:
            y: State at ``t``.
            t: Start (ms).
            dt: Step (ms).
            pressures: Of LV and RV at the end of the step (kPa), shape (2,), when the ventricles
                are modelled elsewhere; elastances otherwise, and the derivative is zero.

        Raises:
            SolverError: the valves do not settle.
        """
        ...

    def pressures(self, y: Vector, t: float, given: Vector | None = None) -> Mapping[str, float]:
        """Pressures (kPa) by name; those of ``lv`` and ``rv`` are elastances' if not given."""
        ...

    def volumes(self, y: Vector) -> Mapping[str, float]:
        """Volumes of chambers (mm³) by name, ``lv`` and ``rv`` among them."""
        ...

    def flows(self, y: Vector, t: float, given: Vector | None = None) -> Flows:
        """Flow through the valves, with given pressures of LV and RV (kPa) if any."""
        ...

    def blood(self, y: Vector) -> Vector:
        """Blood by compartment (mm³); no step changes the sum."""
        ...

    def with_ventricles(self, lv: Ventricle, rv: Ventricle) -> Self:
        """The same circulation around other ventricles."""
        ...

    def scaled(self, size: float) -> Self:
        """That of a heart with ``size`` times the volumes, at the same pressures."""
        ...

    def scaled_state(self, y: Vector, size: float) -> Vector:
        """The state of `scaled` that belongs to ``y``."""
        ...


@dataclass(frozen=True)
class Rows:
    """A circulation at one time as rows over (y, p_lv, p_rv, 1), for n states.

    Attributes:
        drops: Pressure drops along mitral, aortic, tricuspid and pulmonary valve, (4, n + 3).
        rates: From the rows of the four flows (4, n + 3) to those of ẏ (n, n + 3).
    """

    drops: Matrix
    rates: Callable[[Matrix], Matrix]


def extended(y: Vector, pressures: Vector | None) -> Vector:
    """(y, p_lv, p_rv, 1); without pressures, which rows then don't ask for, zeros."""
    return np.concatenate([y, np.zeros(2) if pressures is None else pressures, [1.0]])


def implicit_step(
    y: Vector, dt: float, rows: Rows, valves: Valves, pressures: Vector | None, t: float
) -> tuple[Vector, Matrix]:
    """State at the end of a step, and its derivative by (p_lv, p_rv), shape (n, 2).

    Between the kinks of its valves a circulation is linear or concave, so Newton's method finds
    the end of a step. Its linear equations account for all blood, however far it is.

    Args:
        y: State before, shape (n,).
        dt: Step (ms).
        rows: The circulation at the end of the step.
        valves: Its valves.
        pressures: Of LV and RV at the end (kPa), if they are given.
        t: End of the step (ms), for the error.

    Raises:
        SolverError: the valves do not settle.
    """
    n = len(y)
    x = extended(y, pressures)
    for _ in range(_MOST_ITERATIONS):
        drops = rows.drops @ x
        flow, conductance = valves.flows(drops).T
        flow_rows = conductance[:, None] * rows.drops
        flow_rows[:, -1] += flow - conductance * drops
        rate = rows.rates(flow_rows)
        A = np.eye(n) - dt * rate[:, :n]
        x = extended(np.linalg.solve(A, y + dt * rate[:, n:] @ x[n:]), pressures)
        true = valves.flows(rows.drops @ x)[:, 0]
        if np.all(np.abs(flow_rows @ x - true) <= _ACCURACY * (1.0 + np.abs(true))):
            return x[:n], np.linalg.solve(A, dt * rate[:, n : n + 2])
    raise SolverError(
        "circulation", f"the valves do not settle at t = {t:.2f} ms.", "Halve the step."
    )
