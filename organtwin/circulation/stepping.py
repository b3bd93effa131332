"""Implicit steps of circulations, and what coupled hearts ask of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from organtwin.circulation.elements import Valves, Ventricle
from organtwin.errors import SolverError

type Vector = NDArray[np.float64]
type Matrix = NDArray[np.float64]

#: Largest `flow_error` at the end of a step.
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


def flow_error(linear: Vector, true: Vector) -> Vector:
    """Error of valves' flows by their tangents, relative to 1 mm³/ms plus the true flows."""
    return np.asarray(np.abs(linear - true) / (1.0 + np.abs(true)))


@dataclass(frozen=True)
class Parts:
    """A circulation but for its chambers and valves, over z = (y, p, 1) for n states, c chambers.

        Δp = D z,    ẏ = R z + B q

    Attributes:
        drops: D of mitral, aortic, tricuspid and pulmonary valve, (4, n + c + 1).
        rates: R, (n, n + c + 1).
        by_flow: B of the flows through the four valves, (n, 4).
        volumes: Where the volumes of the chambers stand in the state.
        ventricles: Which of the chambers are LV and RV.
    """

    drops: Matrix
    rates: Matrix
    by_flow: Matrix
    volumes: tuple[int, ...]
    ventricles: tuple[int, int]

    def rows(self, lines: Sequence[tuple[float, float]], given: bool) -> Rows:
        """The circulation at one time.

        Args:
            lines: Slope (kPa/mm³) and intercept (kPa) of p over V of each chamber.
            given: Whether the ventricles' pressures are, in place of their lines.
        """
        n = len(self.rates)
        z = self._state_and_one.copy()
        for i, (slope, intercept) in enumerate(lines):
            if given and i in self.ventricles:
                z[n + i, n + self.ventricles.index(i)] = 1.0
            else:
                z[n + i, self.volumes[i]], z[n + i, -1] = slope, intercept
        return Rows(self.drops @ z, self.rates @ z, self.by_flow)

    @cached_property
    def _state_and_one(self) -> Matrix:
        """Rows of z over x, without those of the pressures."""
        n, columns = self.rates.shape
        rows = np.eye(columns, n + 3)
        rows[n:, n:] = 0.0
        rows[-1, -1] = 1.0
        return rows


@dataclass(frozen=True)
class Rows:
    """A circulation at one time over x = (y, p_lv, p_rv, 1): Δp = D x, ẏ = R x + B q.

    Attributes:
        drops: D, (4, n + 3).
        rates: R, (n, n + 3).
        by_flow: B, (n, 4).
    """

    drops: Matrix
    rates: Matrix
    by_flow: Matrix


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
    drops = rows.drops @ x
    flow, conductance = valves.flows(drops)
    for _ in range(_MOST_ITERATIONS):
        flow_rows = conductance[:, None] * rows.drops
        flow_rows[:, -1] += flow - conductance * drops
        rate = rows.rates + rows.by_flow @ flow_rows
        right = dt * rate[:, n:]  # columns of p_lv and p_rv; the last becomes all that is known
        right[:, -1] = y + right @ x[n:]
        solved = np.linalg.solve(np.eye(n) - dt * rate[:, :n], right)
        x = extended(solved[:, -1], pressures)
        drops = rows.drops @ x
        flow, conductance = valves.flows(drops)
        if np.all(flow_error(flow_rows @ x, flow) <= _ACCURACY):
            return x[:n], solved[:, :2]
    raise SolverError(
        "circulation", f"the valves do not settle at t = {t:.2f} ms.", "Halve the step."
    )
