"""The limit cycle of a circulation by itself: the state that a beat leads back to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.circulation.stepping import Circulation, Vector
from organtwin.errors import SolverError

type Array = NDArray[np.float64]

#: Earlier beats that an extrapolation looks at.
_MEMORY = 6


@dataclass(frozen=True)
class LimitCycle:
    """Where a circulation comes back to after a beat.

    Attributes:
        state: At the start of a beat.
        change: What one beat still changes, relative, see `beat_change`.
        beats: Beats that were computed.
    """

    state: Vector
    change: float
    beats: int


def beat(circulation: Circulation, y: Vector, dt: float | Vector = 1.0) -> Vector:
    """States of one beat from its start to its end, (steps + 1, n).

    Args:
        circulation: Of elastances alone.
        y: State at the start.
        dt: Length of even steps (ms, about), or the ends of any steps since the beat began (ms),
            the period last.
    """
    ends = _even(circulation.period, dt) if isinstance(dt, float) else dt
    states = [y]
    for t, end in zip([0.0, *ends[:-1]], ends, strict=True):
        states.append(circulation.step(states[-1], t, end - t)[0])
    return np.array(states)


def _even(period: float, dt: float) -> Vector:
    steps = round(period / dt)
    return np.linspace(period / steps, period, steps, dtype=np.float64)


def magnitude(y: Array) -> Array:
    """Sizes of the parts of states (…, n): those below a millionth of the largest count as that."""
    size = np.abs(y)
    return np.asarray(np.maximum(size, 1e-6 * size.max(axis=-1, keepdims=True)))


def beat_change(before: Array, after: Array) -> Array:
    """Largest change of each of the states (…, n) over a beat, relative to `magnitude` before."""
    return np.asarray(np.max(np.abs(after - before) / magnitude(before), axis=-1))


class Extrapolation:
    """Anderson's method for the fixed points of a map G, of one state or of many side by side.

    The next argument is the combination Σ γₖ G(yₖ), Σ γₖ = 1, of recent images that minimises
    |Σ γₖ (G(yₖ) − yₖ)|. As its weights sum to one, it keeps whatever linear quantity all of them
    have in common. Each state has weights of its own.

    Source:
        Anderson (1965), J. ACM 12:547–560; in the form of Walker & Ni (2011), SIAM J. Numer. Anal.
        49:1715–1735, eq. 2.1.
    """

    def __init__(self) -> None:
        self._images: list[Array] = []
        self._changes: list[Array] = []

    def next(self, y: Array, image: Array) -> Array:
        """What to try next, after the image G(y) of ``y``, both (…, n)."""
        if not self._images:
            self._scale = magnitude(y)
        self._images = [*self._images[-_MEMORY:], image]
        self._changes = [*self._changes[-_MEMORY:], (image - y) / self._scale]
        if len(self._images) == 1:
            return image
        G, f = np.stack(self._images, axis=-1), np.stack(self._changes, axis=-1)
        gamma = np.linalg.pinv(np.diff(f), rcond=1e-10) @ f[..., -1:]
        return np.asarray(G[..., -1] - (np.diff(G) @ gamma)[..., 0])


def limit_cycle(
    circulation: Circulation,
    start: Vector,
    *,
    dt: float | Vector = 1.0,
    tolerance: float = 1e-6,
    most: int = 200,
) -> LimitCycle:
    """The limit cycle, by extrapolation from beat to beat.

    A beat maps the state at its start to that at its end. The fixed point is found by
    `Extrapolation`, which keeps the amount of blood. An extrapolation that makes a beat change more
    than twice what the best one did is dropped, and plain beats follow.

    Args:
        circulation: Of elastances alone.
        start: State whose blood the limit cycle has.
        dt: Length of the time steps (ms), or their ends, see `beat`.
        tolerance: Of `beat_change`.
        most: Beats before giving up.

    Raises:
        SolverError: no limit cycle after ``most`` beats.
    """
    y = start
    recent = Extrapolation()
    best = np.inf
    for number in range(1, most + 1):
        end = beat(circulation, y, dt)[-1]
        change = float(beat_change(y, end))
        if change <= tolerance:
            return LimitCycle(end, change, number)
        if change > 2.0 * best:
            recent = Extrapolation()
        best = min(best, change)
        y = recent.next(y, end)
    raise SolverError(
        "circulation",
        f"no limit cycle after {most} beats; the last changed the state by {change:.2g}.",
        "Look at resistances, compliances and blood volume: pressures may run away.",
    )
