"""Many closed loops side by side, to their limit cycles: the same steps, hundreds at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organtwin.circulation.elements import Chamber, elastance, valve_flows
from organtwin.circulation.limit_cycle import Extrapolation, beat_change
from organtwin.circulation.network import CHAMBERS, ClosedLoop
from organtwin.circulation.stepping import flow_error

type Array = NDArray[np.float64]

#: Largest `flow_error` at the end of a step.
_ACCURACY = 1e-9
_MOST_ITERATIONS = 30


@dataclass(frozen=True)
class Beats:
    """One beat of each loop at its limit cycle, in ``steps`` equal steps.

    Attributes:
        t: Times (ms), (loops, steps + 1).
        states: In the order of `organtwin.circulation.network.STATES`, (loops, steps + 1, 12).
        pressures: Of LA, LV, RA, RV (kPa), (loops, steps + 1, 4).
        settled: Whether the loop came to its limit cycle, (loops,).
    """

    t: Array
    states: Array
    pressures: Array
    settled: NDArray[np.bool_]


def limit_cycles(
    loops: Sequence[ClosedLoop],
    start: Array,
    *,
    steps: int = 400,
    tolerance: float = 1e-5,
    most: int = 60,
) -> Beats:
    """One beat of each loop at its limit cycle.

    Between the kinks of its valves a loop is linear with coefficients that only depend on the time
    in the beat: y' = G (y + Δt (r + B q)) with G = (I − Δt R)⁻¹, and Δp = D y' + d. They are made
    once from `ClosedLoop.parts`; a step is then Newton's method for the flows q through the four
    valves. Limit cycles are found by `Extrapolation`.

    Args:
        loops: Of elastances, or with the ventricles of a beat that was traced.
        start: States at the start of a beat, whose blood the limit cycles have, (loops, 12).
        steps: Of a beat.
        tolerance: Largest relative change of a state by a beat.
        most: Beats before giving up on those that have not settled.
    """
    stepper = _Stepper.of(loops, steps)
    y = np.array(start, dtype=np.float64)
    # `limit_cycle` begins a search anew that went astray; loops side by side share their beginning.
    recent = Extrapolation()
    settled = lost = np.zeros(len(loops), dtype=np.bool_)
    for _ in range(most):
        end = stepper.beat(y)[:, -1]
        lost = lost | ~np.isfinite(end).all(axis=1)
        end = np.where(lost[:, None], start, end)
        y = np.where(lost[:, None], start, y)
        settled = beat_change(y, end) <= tolerance
        if settled.all():
            break
        # Those that have settled stay as they are, so that each loop's answer is its own.
        y = np.where(settled[:, None], y, recent.next(y, end))
    states = stepper.beat(y)
    period = np.array([loop.period for loop in loops])
    t = period[:, None] * np.linspace(0.0, 1.0, steps + 1)
    return Beats(t, states, stepper.pressures(states), settled & ~lost)


@dataclass(frozen=True)
class _Stepper:
    """Coefficients of all steps of a beat; k counts steps, m loops.

    `organtwin.circulation.stepping.implicit_step` takes any circulation, with pressures given or
    not, and its Newton's method is for the whole state. Here everything but the flows is eliminated
    before the first beat, which serves one kind of loop only and makes the steps of hundreds fast.
    """

    G: Array  # (k, m, 12, 12)
    r: Array  # Δt r, (k, m, 12)
    flow: Array  # Δt G B, (k, m, 12, 4)
    D: Array  # (k, m, 4, 12)
    d: Array  # (k, m, 4)
    slopes: Array  # E, (m, k + 1, 4)
    intercepts: Array  # c, (m, k + 1, 4)
    valves: Array  # of `valve_flows`, (4 numbers, m, 4)

    @classmethod
    def of(cls, loops: Sequence[ClosedLoop], steps: int) -> _Stepper:
        E, c = _lines(loops, steps)
        D, d = _over_states(np.stack([loop.parts.drops for loop in loops]), E[:, 1:], c[:, 1:])
        R, r = _over_states(np.stack([loop.parts.rates for loop in loops]), E[:, 1:], c[:, 1:])
        B = np.stack([loop.parts.by_flow for loop in loops])
        dt = np.array([loop.period / steps for loop in loops])[:, None, None]
        G = np.linalg.inv(np.eye(12) - dt * R)
        valves = np.stack([loop.resistances.numbers for loop in loops], axis=1)
        return cls(G, dt[..., 0] * r, G @ (dt * B), D, d, E, c, valves)

    def beat(self, y: Array) -> Array:
        """States from start to end of a beat, (loops, steps + 1, 12)."""
        states = np.empty((len(y), len(self.G) + 1, 12))
        states[:, 0] = y
        for k in range(len(self.G)):
            y = states[:, k + 1] = self._step(k, y)
        return states

    def pressures(self, states: Array) -> Array:
        """Pressures of the chambers (kPa), (loops, steps + 1, 4)."""
        return np.asarray(self.slopes * states[:, :, :4] + self.intercepts)

    def _step(self, k: int, y: Array) -> Array:
        free = _times(self.G[k], y + self.r[k])
        drop0 = _times(self.D[k], free) + self.d[k]
        K = self.D[k] @ self.flow[k]
        drop = _times(self.D[k], y) + self.d[k]
        q, slope = valve_flows(drop, *self.valves)
        for _ in range(_MOST_ITERATIONS):
            A = np.eye(4) - K * slope[:, None, :]
            new = np.linalg.solve(A, (drop0 + _times(K, q - slope * drop))[..., None])[..., 0]
            tangent = q + slope * (new - drop)
            drop = new
            q, slope = valve_flows(drop, *self.valves)
            # By the tangent's flows no blood is lost, however far the iteration is.
            bad = np.any(flow_error(tangent, q) > _ACCURACY, axis=1)
            if not bad.any():  # one that is not a number is lost, and does not hold up the others
                break
        return np.where(bad[:, None], np.nan, free + _times(self.flow[k], tangent))


def _over_states(rows: Array, E: Array, c: Array) -> tuple[Array, Array]:
    """Rows over (y, p, 1), see `Parts`, with p = E V + c: coefficients of y, and what is left.

    Args:
        rows: (m, rows, 17).
        E: Of the chambers (kPa/mm³), (m, k, 4).
        c: Of the chambers (kPa), (m, k, 4).

    Returns:
        Shapes (k, m, rows, 12) and (k, m, rows).
    """
    E, c = E.transpose(1, 0, 2), c.transpose(1, 0, 2)
    by_pressure = rows[..., 12:16]
    by_state = np.repeat(rows[None, ..., :12], len(E), axis=0)
    by_state[..., :4] += by_pressure * E[:, :, None]
    return by_state, rows[..., 16] + _times(by_pressure, c)


def _lines(loops: Sequence[ClosedLoop], steps: int) -> tuple[Array, Array]:
    """E (kPa/mm³) and c (kPa) of LA, LV, RA, RV at the ends of the steps, (loops, steps + 1, 4)."""
    period = np.array([loop.period for loop in loops])
    t = np.linspace(0.0, 1.0, steps + 1) * period[:, None]
    slopes, intercepts = np.empty((2, *t.shape, 4))
    for k, name in enumerate(CHAMBERS):
        chambers = [getattr(loop, name) for loop in loops]
        if all(isinstance(chamber, Chamber) for chamber in chambers):
            shape = ("E_A", "E_B", "onset", "T_C", "T_R")
            numbers = (_of(chambers, field)[:, None] for field in shape)
            slopes[..., k] = elastance(t, period[:, None], *numbers)
            intercepts[..., k] = -slopes[..., k] * _of(chambers, "V0")[:, None]
        else:
            lines = [c.lines(own, T) for c, own, T in zip(chambers, t, period, strict=True)]
            slopes[..., k], intercepts[..., k] = np.moveaxis(np.array(lines), 1, 0)
    return slopes, intercepts


def _of(chambers: Sequence[Any], field: str) -> Array:
    return np.array([getattr(chamber, field) for chamber in chambers])


def _times(A: Array, x: Array) -> Array:
    """A x of each loop."""
    return np.asarray((A @ x[..., None])[..., 0])
