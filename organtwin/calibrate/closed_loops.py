"""Many closed loops side by side, to their limit cycles: the same steps, hundreds at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from organtwin.circulation.elements import BLOOD_DENSITY
from organtwin.circulation.network import CHAMBERS, ClosedLoop

type Array = NDArray[np.float64]

#: Largest error of a valve's flow, relative to 1 mm³/ms plus the flow.
_ACCURACY = 1e-9
_MOST_ITERATIONS = 30
#: Earlier beats that an extrapolation looks at.
_MEMORY = 6


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
    once from `ClosedLoop.rows`; a step is then Newton's method for the flows q through the four
    valves. Limit cycles are found as in `organtwin.circulation.limit_cycle`.

    Args:
        loops: Of elastances alone.
        start: States at the start of a beat, whose blood the limit cycles have, (loops, 12).
        steps: Of a beat.
        tolerance: Largest relative change of a state by a beat.
        most: Beats before giving up on those that have not settled.

    Source:
        Anderson (1965), J. ACM 12:547–560, in the form of Walker & Ni (2011), SIAM J. Numer. Anal.
        49:1715–1735.
    """
    stepper = _Stepper.of(loops, steps)
    y = np.array(start, dtype=np.float64)
    scale = np.maximum(np.abs(y), 1e-6 * np.abs(y).max(axis=1, keepdims=True))
    ends: list[Array] = []
    changes: list[Array] = []
    settled = lost = np.zeros(len(loops), dtype=np.bool_)
    for _ in range(most):
        end = stepper.beat(y)[:, -1]
        lost = lost | ~np.isfinite(end).all(axis=1)
        end = np.where(lost[:, None], start, end)
        y = np.where(lost[:, None], start, y)
        change = np.abs(end - y) / np.maximum(
            np.abs(y), 1e-6 * np.abs(y).max(axis=1, keepdims=True)
        )
        settled = change.max(axis=1) <= tolerance
        if settled.all():
            break
        ends, changes = [*ends[-_MEMORY:], end], [*changes[-_MEMORY:], (end - y) / scale]
        # Those that have settled stay as they are, so that each loop's answer is its own.
        y = np.where(settled[:, None], y, _extrapolated(ends, changes))
    states = stepper.beat(y)
    period = np.array([loop.period for loop in loops])
    t = period[:, None] * np.linspace(0.0, 1.0, steps + 1)
    return Beats(t, states, stepper.pressures(states), settled & ~lost)


@dataclass(frozen=True)
class _Stepper:
    """Coefficients of all steps of a beat; k counts steps, m loops."""

    G: Array  # (k, m, 12, 12)
    r: Array  # Δt r, (k, m, 12)
    flow: Array  # Δt G B, (k, m, 12, 4)
    D: Array  # (k, m, 4, 12)
    d: Array  # (k, m, 4)
    elastances: Array  # (m, k + 1, 4)
    V0: Array  # (m, 4)
    valves: _Valves

    @classmethod
    def of(cls, loops: Sequence[ClosedLoop], steps: int) -> _Stepper:
        E = _elastances(loops, steps)
        drops, rates, B = map(np.stack, zip(*map(_affine, loops), strict=True))
        # One coefficient without elastance and one for each chamber's.
        share = np.concatenate([np.ones_like(E[:, 1:, :1]), E[:, 1:]], axis=2)
        D = np.einsum("mke,mepq->kmpq", share, drops)
        R = np.einsum("mke,mepq->kmpq", share, rates)
        dt = np.array([loop.period / steps for loop in loops])[:, None, None]
        G = np.linalg.inv(np.eye(12) - dt * R[..., :12])
        V0 = np.array([[getattr(loop, name).V0 for name in CHAMBERS] for loop in loops])
        return cls(
            G, dt[..., 0] * R[..., 14], G @ (dt * B), D[..., :12], D[..., 14], E, V0,
            _Valves.of(loops),
        )  # fmt: skip

    def beat(self, y: Array) -> Array:
        """States from start to end of a beat, (loops, steps + 1, 12)."""
        states = np.empty((len(y), len(self.G) + 1, 12))
        states[:, 0] = y
        for k in range(len(self.G)):
            y = states[:, k + 1] = self._step(k, y)
        return states

    def pressures(self, states: Array) -> Array:
        """Pressures of the chambers (kPa), (loops, steps + 1, 4)."""
        return np.asarray(self.elastances * (states[:, :, :4] - self.V0[:, None]))

    def _step(self, k: int, y: Array) -> Array:
        free = _times(self.G[k], y + self.r[k])
        drop0 = _times(self.D[k], free) + self.d[k]
        K = self.D[k] @ self.flow[k]
        drop = _times(self.D[k], y) + self.d[k]
        q, slope = self.valves.flows(drop)
        for _ in range(_MOST_ITERATIONS):
            A = np.eye(4) - K * slope[:, None, :]
            new = np.linalg.solve(A, (drop0 + _times(K, q - slope * drop))[..., None])[..., 0]
            tangent = q + slope * (new - drop)
            drop = new
            q, slope = self.valves.flows(drop)
            # By the tangent's flows no blood is lost, however far the iteration is.
            bad = np.any(np.abs(tangent - q) > _ACCURACY * (1.0 + np.abs(q)), axis=1)
            if not bad.any():  # one that is not a number is lost, and does not hold up the others
                break
        return np.where(bad[:, None], np.nan, free + _times(self.flow[k], tangent))


@dataclass(frozen=True)
class _Valves:
    """The valves of all loops, each (loops, 4): `organtwin.circulation.elements.Valve`."""

    R_open: Array
    R_closed: Array
    area: Array
    leak_area: Array

    @classmethod
    def of(cls, loops: Sequence[ClosedLoop]) -> _Valves:
        def each(name: str) -> Array:
            four = ("mitral", "aortic", "tricuspid", "pulmonary")
            return np.array([[getattr(getattr(x.valves, v), name) for v in four] for x in loops])

        return cls(*map(each, ("R_open", "R_closed", "area", "leak_area")))

    def flows(self, drop: Array) -> tuple[Array, Array]:
        """Flows (mm³/ms) for pressure drops (kPa), and their derivatives."""
        area = np.where(drop > 0, self.area, self.leak_area)
        with np.errstate(divide="ignore"):
            loss = np.where(area > 0, 2 * BLOOD_DENSITY / area**2, 0.0)
        root = np.sqrt(self.R_open**2 + loss * np.abs(drop))
        opened = (area > 0).astype(float)
        q, slope = opened * 2 * drop / (self.R_open + root), opened / root
        closed = drop <= 0
        return q + closed * drop / self.R_closed, slope + closed / self.R_closed


def _affine(loop: ClosedLoop) -> tuple[Array, Array, Array]:
    """Drops (5, 4, 15), rates without flow (5, 12, 15), rates by flow (12, 4).

    The first of five is that without elastances, then what one of each chamber adds.
    """

    def at(*elastances: float) -> tuple[Array, Array, Array]:
        chambers = {
            name: replace(getattr(loop, name), E_A=0.0, E_B=E)
            for name, E in zip(CHAMBERS, elastances, strict=True)
        }
        rows = replace(loop, **chambers).rows(0.0, given=False)
        none = rows.rates(np.zeros((4, 15)))
        unit = np.eye(15)[14]
        by_flow = [(rows.rates(np.outer(e, unit)) - none)[:, 14] for e in np.eye(4)]
        return rows.drops, none, np.array(by_flow).T

    drops, rates, B = at(1.0, 1.0, 1.0, 1.0)
    others = [at(*(1.0 + np.eye(4)[i])) for i in range(4)]
    more_drops = np.array([other[0] - drops for other in others])
    more_rates = np.array([other[1] - rates for other in others])
    return (
        np.concatenate([(drops - more_drops.sum(axis=0))[None], more_drops]),
        np.concatenate([(rates - more_rates.sum(axis=0))[None], more_rates]),
        B,
    )


def _elastances(loops: Sequence[ClosedLoop], steps: int) -> Array:
    """Of LA, LV, RA, RV at the ends of the steps (kPa/mm³): `Chamber.elastance` of all at once.

    Shape (loops, steps + 1, 4).
    """

    def each(name: str) -> Array:
        return np.array([[getattr(getattr(x, c), name) for c in CHAMBERS] for x in loops])

    period = np.array([loop.period for loop in loops])[:, None]
    t = np.linspace(0.0, 1.0, steps + 1)[None, :, None] * period[:, None]
    E_A, E_B, onset, T_C, T_R = (
        each(name)[:, None] for name in ("E_A", "E_B", "onset", "T_C", "T_R")
    )
    tau = (t - onset) % period[:, None]
    rising = (1 - np.cos(np.pi * tau / T_C)) / 2
    falling = (1 + np.cos(np.pi * (tau - T_C) / T_R)) / 2
    f = np.where(tau < T_C, rising, np.where(tau < T_C + T_R, falling, 0.0))
    return np.asarray(E_B + E_A * f)


def _times(A: Array, x: Array) -> Array:
    """A x of each loop."""
    return np.asarray((A @ x[..., None])[..., 0])


def _extrapolated(ends: list[Array], changes: list[Array]) -> Array:
    """Σ γₖ G(yₖ) of each loop, with Σ γₖ = 1 and the least |Σ γₖ (G(yₖ) − yₖ)|."""
    if len(ends) == 1:
        return ends[0]
    G, f = np.stack(ends, axis=2), np.stack(changes, axis=2)
    inverse = np.linalg.pinv(np.diff(f, axis=2), rcond=1e-10)
    gamma = _times(inverse, f[..., -1])
    return np.asarray(G[..., -1] - _times(np.diff(G, axis=2), gamma))
