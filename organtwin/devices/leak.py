"""Paravalvular leak: blood that runs back between skirt and wall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import splu

from organtwin.devices.gap import Gap
from organtwin.errors import InputError, SolverError

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Width that closed places keep (mm): they let through a billionth of a gap of a millimetre.
CLOSED = 1e-3
#: Grades of a paravalvular leak, and from where on they are moderate and severe: regurgitant volume
#: of a beat (mL), effective regurgitant orifice area (mm²).
GRADES = ("mild", "moderate", "severe")
VOLUME_GRADES, AREA_GRADES = (30.0, 60.0), (10.0, 30.0)
#: Newton corrections, and the change of the heads, over the pressure, that ends them.
ITERATIONS, TOLERANCE = 60, 1e-10


@dataclass(frozen=True)
class Blood:
    """What runs through the gap.

    Attributes:
        viscosity: Dynamic viscosity (kPa ms).
        density: Density (mg/mm³).
        entrance: Pressure lost at the entrance, in ρ v²/2; 0.5 for a sharp edge.
    """

    viscosity: float = 3.5e-3
    density: float = 1.06
    entrance: float = 0.5


@dataclass(frozen=True)
class Leak:
    """Flow through a gap.

    Attributes:
        flow: From the aorta to the ventricle (mm³/ms, which is mL/s).
        head: Total head p + ρ v²/2 over the ventricle's pressure (kPa), shape (m, n).
        entering: Flow into each direction from the aorta (mm³/ms), shape (n,).
        fastest: Largest mean velocity across the gap where it leaves (m/s).
        pressure: That drives it (kPa).
        blood: See `Blood`.
    """

    flow: float
    head: Array
    entering: Array
    fastest: float
    pressure: float
    blood: Blood

    @property
    def effective_area(self) -> float:
        r"""Of an opening that lets the same through (mm²), :math:`Q / \sqrt{2 \Delta p / \rho}`."""
        return float(self.flow / np.sqrt(2.0 * self.pressure / self.blood.density))

    def volume(self, duration: float) -> float:
        """Blood that runs back in so many ms of diastole (mL)."""
        return 1e-3 * self.flow * duration

    def grade(self, duration: float) -> str:
        """Mild, moderate or severe: the worse of what volume and effective area say.

        Args:
            duration: Of diastole (ms).

        Source:
            VARC-2, Kappetein et al. (2012), as told in tables of reviews: moderate from 30 mL a
            beat or 0.10 cm² on, severe from 60 mL or 0.30 cm² on.
        """
        by_volume = np.searchsorted(VOLUME_GRADES, self.volume(duration), side="right")
        by_area = np.searchsorted(AREA_GRADES, self.effective_area, side="right")
        return GRADES[max(int(by_volume), int(by_area))]


def leak(gap: Gap, pressure: float, blood: Blood | None = None) -> Leak:
    r"""Steady flow from the upper to the lower end of a gap.

    The gap is thin, so that Stokes' equations across it leave Reynolds' equation along it, here for
    the total head :math:`H`, which friction alone lowers:

    .. math::
        \nabla \cdot \left( \frac{h^3}{12 \mu} \nabla H \right) = 0, \qquad
        q = h v = -\frac{h^3}{12 \mu} \nabla H

    by finite volumes on the grid of directions and heights. At the upper end
    :math:`H = \Delta p - \zeta \rho v^2/2`; below, the jet's energy is lost:
    :math:`H = \rho v^2/2`. Where a gap widens on its way the pressure is taken to recover, so the
    flow is rather over- than underestimated. Valid while the gap is much thinner than long.

    Args:
        gap: Room between skirt and wall.
        pressure: Aorta's over the ventricle's in diastole (kPa).
        blood: See `Blood`.

    Raises:
        InputError: the pressure is not positive, or there are fewer than two heights.
        SolverError: Newton's method does not end.

    Source:
        Reynolds (1886), Phil. Trans. R. Soc. 177:157–234, for the equation; the use of the total
        head and the losses at the ends are our choice.
    """
    blood = blood or Blood()
    if not pressure > 0.0 or len(gap.rays.heights) < 2:
        raise InputError(
            "leak", f"{pressure:g} kPa over {len(gap.rays.heights)} heights.",
            "Give a positive pressure and two heights or more.",
        )  # fmt: skip
    channel = _Channel.of(gap, blood)
    head = pressure * np.linspace(0.0, 1.0, channel.shape[0])[:, None] * np.ones(channel.shape)
    for _ in range(ITERATIONS):
        residual, slopes = channel.balance(head, pressure)
        step = -splu(csc_array(slopes)).solve(residual).reshape(channel.shape)
        head += step
        if np.abs(step).max() < TOLERANCE * pressure:
            entering, _ = channel.entering(head, pressure)
            leaving, _ = channel.leaving(head)
            fastest = float(np.abs(leaving / channel.outlet).max())
            return Leak(float(entering.sum()), head, entering, fastest, pressure, blood)
    raise SolverError(
        "leak", f"no steady flow after {ITERATIONS} corrections.", "Look at the gap's heights."
    )


@dataclass(frozen=True)
class _Channel:
    """Conductances (mm³/ms per kPa) of a gap's cells.

    Attributes:
        shape: Heights and directions.
        pairs: Neighbours, shape (k, 2).
        between: Of each pair, shape (k,).
        halves: From the lowest and the highest cells to their ends, shape (2, n).
        inlet: Cross-sections at the upper end (mm²), shape (n,).
        outlet: The same at the lower end.
        gain: (1 + ζ) ρ/2 would be all losses; this is ρ/2 (mg/mm³).
        entrance: ζ.
    """

    shape: tuple[int, int]
    pairs: Integers
    between: Array
    halves: Array
    inlet: Array
    outlet: Array
    gain: float
    entrance: float

    @classmethod
    def of(cls, gap: Gap, blood: Blood) -> _Channel:
        heights, count = gap.rays.heights, gap.rays.count
        h = np.maximum(gap.width, CLOSED)
        middle = 0.5 * (gap.skirt + np.maximum(gap.wall, gap.skirt))
        dz = float(heights[-1] - heights[0]) / (len(heights) - 1)
        arc = middle * 2.0 * np.pi / count
        ease = h**3 / (12.0 * blood.viscosity)  # flow per length and slope of the head
        up, aside = 2.0 * ease * arc / dz, 2.0 * ease * dz / arc  # from a cell's middle to its side
        number = np.arange(h.size).reshape(h.shape)
        beside = np.roll(number, -1, axis=1)
        pairs = np.concatenate([
            np.stack([number[:-1].ravel(), number[1:].ravel()], axis=1),
            np.stack([number.ravel(), beside.ravel()], axis=1),
        ])  # fmt: skip
        between = np.concatenate([
            _in_series(up[:-1], up[1:]).ravel(),
            _in_series(aside, np.roll(aside, -1, axis=1)).ravel(),
        ])  # fmt: skip
        across = h * arc
        return cls(
            h.shape, pairs, between, up[[0, -1]], across[-1], across[0], 0.5 * blood.density,
            blood.entrance,
        )  # fmt: skip

    def entering(self, head: Array, pressure: float) -> tuple[Array, Array]:
        """Flow in at the upper end, and its derivative by the heads of the highest cells."""
        loss = self.entrance * self.gain / self.inlet**2
        flow, slope = _through(pressure - head[-1], 1.0 / self.halves[1], loss)
        return flow, -slope

    def leaving(self, head: Array) -> tuple[Array, Array]:
        """Flow out at the lower end, and its derivative by the heads of the lowest cells."""
        return _through(head[0], 1.0 / self.halves[0], self.gain / self.outlet**2)

    def balance(self, head: Array, pressure: float) -> tuple[Array, coo_array]:
        """What leaves each cell and does not enter it, and its derivatives."""
        (into, by_high), (out, by_low) = self.entering(head, pressure), self.leaving(head)
        one, other = self.pairs.T
        flow = self.between * (head.ravel()[one] - head.ravel()[other])
        residual = np.bincount(one, flow, head.size) - np.bincount(other, flow, head.size)
        count = self.shape[1]
        residual[-count:] -= into
        residual[:count] += out
        low, high = np.arange(count), head.size - count + np.arange(count)
        rows = np.concatenate([one, one, other, other, high, low])
        columns = np.concatenate([one, other, one, other, high, low])
        k = self.between
        values = np.concatenate([k, -k, -k, k, -by_high, by_low])
        return residual, coo_array((values, (rows, columns)), shape=(head.size, head.size))


def _in_series(a: Array, b: Array) -> Array:
    return np.asarray(a * b / (a + b))


def _through(drop: Array, resistance: Array, loss: Array) -> tuple[Array, Array]:
    """Flow q with ``resistance q + loss q |q| = drop``, and its derivative by the drop."""
    root = np.sqrt(resistance**2 + 4.0 * loss * np.abs(drop))
    return 2.0 * drop / (resistance + root), 1.0 / root
