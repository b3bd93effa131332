"""Currents from outside the tissue: where, when, how strong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.domain import Domain
from organtwin.solve.assembly import matrix, vector

Array = NDArray[np.float64]

#: What sums of time steps may be off by (ms).
_ROUNDING = 1e-9


class Place(Protocol):
    """Part of the tissue that a current enters."""

    def share(self, V: fem.FunctionSpace) -> Array:
        """Share of each local node (owned and ghosts) that lies in the place, 0 to 1."""
        ...


@dataclass(frozen=True)
class Balls:
    """Nodes within balls.

    Attributes:
        centres: Points by name (mm), shape (3,) each.
        radius: Radius of the balls (mm).
    """

    centres: Mapping[str, Array]
    radius: float

    def share(self, V: fem.FunctionSpace) -> Array:
        """1 within a ball, 0 elsewhere; collective.

        Raises:
            InputError: a ball holds no node of the mesh.
        """
        x = V.tabulate_dof_coordinates()
        chosen = np.zeros(len(x), dtype=bool)
        for name, point in self.centres.items():
            near = np.linalg.norm(x - point, axis=1) <= self.radius
            if not V.mesh.comm.allreduce(bool(near.any()), op=MPI.LOR):
                raise InputError(
                    f"stimulus site `{name}`",
                    f"no node of the mesh lies within {self.radius:g} mm of it.",
                    "Enlarge the radius, or move the site onto the tissue.",
                )
            chosen |= near
        return chosen.astype(np.float64)


@dataclass(frozen=True)
class Box:
    """A box along the axes; nodes on its border count by the part of their cells inside.

    Attributes:
        lower: Corner with the smallest coordinates (mm).
        upper: Corner with the largest.
    """

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]

    def share(self, V: fem.FunctionSpace) -> Array:
        """Part of each node's volume inside the box; collective.

        Raises:
            InputError: the box does not touch the mesh.
        """
        x = ufl.SpatialCoordinate(V.mesh)
        lower, upper = (
            fem.Constant(V.mesh, np.array(corner, dtype=np.float64))
            for corner in (self.lower, self.upper)
        )
        inside = fem.Constant(V.mesh, 1.0)
        for k in range(V.mesh.geometry.dim):
            between = ufl.And(ufl.ge(x[k], lower[k]), ufl.le(x[k], upper[k]))
            inside *= ufl.conditional(between, 1.0, 0.0)
        return _touched(V, inside, ufl.dx(metadata={"quadrature_degree": 2}), f"box {self}")


@dataclass(frozen=True)
class Region:
    """Named regions of the tissue.

    Attributes:
        domain: Mesh with the names.
        names: Regions.
    """

    domain: Domain
    names: tuple[str, ...]

    def share(self, V: fem.FunctionSpace) -> Array:
        """Part of each node's volume inside the regions; collective."""
        return _touched(V, 1.0, self.domain.dx(*self.names), f"region {', '.join(self.names)}")


@dataclass(frozen=True)
class Surface:
    """Nodes on named surfaces.

    Attributes:
        domain: Mesh with the names.
        names: Surfaces.
    """

    domain: Domain
    names: tuple[str, ...]

    def share(self, V: fem.FunctionSpace) -> Array:
        """1 on the surfaces, 0 elsewhere; collective."""
        dim = V.mesh.topology.dim
        V.mesh.topology.create_connectivity(dim - 1, dim)
        on_surface = fem.Function(V)
        facets = self.domain.facets(*self.names)
        on_surface.x.array[fem.locate_dofs_topological(V, dim - 1, facets, remote=True)] = 1.0
        on_surface.x.scatter_forward()
        return np.array(on_surface.x.array)


def _touched(V: fem.FunctionSpace, inside: object, dx: ufl.Measure, place: str) -> Array:
    """∫ 1_place φᵢ / ∫ φᵢ of linear elements, ∫ 1_place φᵢ² / ∫ φᵢ² of others."""
    one, w = fem.Constant(V.mesh, 1.0), ufl.TestFunction(V)
    share = fem.Function(V)
    owned = share.x.array[: V.dofmap.index_map.size_local]
    if V.element.basix_element.degree == 1:
        part, whole = (vector(one * inside * w * dx), vector(one * w * ufl.dx))
    else:
        v = ufl.TrialFunction(V)
        part, whole = (
            matrix(one * f * v * w * measure).getDiagonal()
            for f, measure in ((inside, dx), (one, ufl.dx))
        )
    owned[:] = part.array / whole.array
    share.x.scatter_forward()
    if V.mesh.comm.allreduce(float(share.x.array.max(initial=0.0)), op=MPI.MAX) <= 0:
        raise InputError(
            f"stimulus in {place}", "it does not touch the mesh.", "Move or enlarge it."
        )
    return np.array(share.x.array)


@dataclass(frozen=True)
class Stimulus:
    """A current per volume in a part of the tissue, at given times.

    Attributes:
        place: Where it flows.
        strength: Current per volume (µA/mm³); positive depolarises.
        duration: Length of each pulse (ms).
        onsets: Beginnings of the pulses (ms), ascending.
        period: Time after which all pulses come again (ms); infinite for never.
    """

    place: Place
    strength: float = 50.0
    duration: float = 2.0
    onsets: tuple[float, ...] = (0.0,)
    period: float = np.inf

    def __post_init__(self) -> None:
        # Written so that NaN fails.
        if not 0 < self.duration < np.inf or not self.onsets:
            raise InputError(
                "stimulus",
                f"duration {self.duration:g} ms, {len(self.onsets)} onsets.",
                "It needs a finite duration > 0 and an onset at least.",
            )
        if not np.isfinite(self.strength):
            raise InputError(
                "stimulus", f"a strength of {self.strength:g} µA/mm³.", "It must be finite."
            )
        if not all(0 <= onset < np.inf for onset in self.onsets):
            raise InputError(
                "stimulus", f"onsets {self.onsets} ms.", "They must be ≥ 0 and finite."
            )
        self._check_order()

    def _check_order(self) -> None:
        """Pulses of one stimulus come one after the other, also across its period."""
        gaps = np.diff(self.onsets)
        if not (gaps >= 0).all():
            raise InputError("stimulus", f"onsets {self.onsets} ms.", "Give them in order.")
        if not (gaps >= self.duration - _ROUNDING).all():
            raise InputError(
                "stimulus",
                f"its pulses of {self.duration:g} ms begin {gaps.min():g} ms apart.",
                "Shorten them, or give stimuli that add up one by one.",
            )
        if not self.onsets[-1] - self.onsets[0] + self.duration <= self.period + _ROUNDING:
            raise InputError(
                "stimulus",
                f"its pulses take longer than its period of {self.period:g} ms.",
                "Lengthen the period, or drop pulses.",
            )

    def flows(self, t0: float, t1: float) -> float:
        """How long the current flows between ``t0`` and ``t1`` (ms), however they are cut."""
        return sum(
            max(0.0, min(t1, begin + self.duration) - max(t0, begin))
            for onset in self.onsets
            for begin in _repeats(onset, self.period, t0 - self.duration, t1)
        )

    def overlaps(self, t0: float, t1: float) -> bool:
        """Whether the current flows at any time between ``t0`` and ``t1`` (ms)."""
        # Rounding of the times must not count as a pulse.
        return self.flows(t0, t1) > _ROUNDING

    def beat(self, t: float) -> int:
        """Number of periods begun before ``t`` (ms), 0 for the first."""
        if t < self.onsets[0] or not np.isfinite(self.period):
            return 0
        return int((t - self.onsets[0] + _ROUNDING) // self.period)


def _repeats(first: float, period: float, t0: float, t1: float) -> list[float]:
    """Times ``first + k period``, k = 0, 1, …, up to ``t1``, from the last one before ``t0`` on."""
    if not np.isfinite(period):
        return [first]
    numbers = range(max(0, int((t0 - first) // period)), int((t1 - first) // period) + 1)
    return [first + k * period for k in numbers]


def pacing_train(period: float, pulses: int, start: float = 0.0) -> tuple[float, ...]:
    """Onsets (ms) of equal intervals.

    >>> pacing_train(400.0, 3)
    (0.0, 400.0, 800.0)
    """
    return tuple(start + period * k for k in range(pulses))


def s1_s2(
    s1: float, pulses: int, coupling: Sequence[float], start: float = 0.0
) -> tuple[float, ...]:
    """Onsets (ms) of a train and premature stimuli S2, S3, … after its last one.

    Args:
        s1: Interval of the train (ms).
        pulses: Number of its pulses.
        coupling: Interval of each premature stimulus to the one before (ms).
        start: First onset (ms).

    >>> s1_s2(500.0, 2, [300.0, 250.0])
    (0.0, 500.0, 800.0, 1050.0)
    """
    train = pacing_train(s1, pulses, start)
    extra = train[-1] + np.cumsum(coupling)
    return (*train, *(float(t) for t in extra))


class Drive(Protocol):
    """Something that depolarises cells from outside during a step."""

    @property
    def state(self) -> Mapping[str, Array]:
        """Views of what has to be kept to go on from here."""
        ...

    def apply(self, v: Array, t: float, dt: float) -> None:
        """Add the change of v (mV) over ``dt`` (ms) from ``t`` at the local nodes, in place."""
        ...

    def overlaps(self, t0: float, t1: float) -> bool:
        """Whether it acts at any time between ``t0`` and ``t1`` (ms)."""
        ...

    def beat(self, t: float) -> int:
        """Number of the beat that ``t`` (ms) belongs to, 0 for the first."""
        ...


class Injection:
    """A stimulus on the nodes of a mesh.

    Args:
        stimulus: Where, when, how strong.
        V: Space of the potential.
        capacitance: χ C_m (µF/mm³).
    """

    def __init__(self, stimulus: Stimulus, V: fem.FunctionSpace, capacitance: float) -> None:
        share = stimulus.place.share(V)
        self._nodes = np.flatnonzero(share).astype(np.int32)
        self._rate = stimulus.strength / capacitance * share[self._nodes]
        self._stimulus = stimulus

    @property
    def state(self) -> Mapping[str, Array]:
        """Nothing: the time tells all."""
        return {}

    def apply(self, v: Array, t: float, dt: float) -> None:
        """Add the change of v (mV)."""
        flows = self._stimulus.flows(t, t + dt)
        if flows > 0:
            v[self._nodes] += flows * self._rate

    def overlaps(self, t0: float, t1: float) -> bool:
        """Whether the current flows between ``t0`` and ``t1`` (ms)."""
        return self._stimulus.overlaps(t0, t1)

    def beat(self, t: float) -> int:
        """Number of periods begun before ``t`` (ms)."""
        return self._stimulus.beat(t)


class Arrival:
    """A foot current at each node when a given wave arrives there: reaction–eikonal models.

    Args:
        times: Arrival (ms) at the local nodes, negative for never; of each beat.
        capacitance: χ C_m (µF/mm³).
        strength: Current per volume (µA/mm³).
        duration: How long it flows (ms).
        period: Time between beats (ms); infinite for a single one.
        comm: Ranks that share the nodes: all have to know when the wave is under way.

    Source:
        Neic et al. (2017), J. Comput. Phys. 346:191–211 (with a pulse for the foot's shape).
    """

    def __init__(
        self,
        times: Array,
        capacitance: float,
        *,
        strength: float = 10.0,
        duration: float = 2.0,
        period: float = np.inf,
        comm: MPI.Comm = MPI.COMM_SELF,
    ) -> None:
        self._times = times
        self._rate = strength / capacitance
        self._duration = duration
        self._period = period
        reached = times[times >= 0]
        self._first = comm.allreduce(float(reached.min(initial=np.inf)), op=MPI.MIN)
        self._last = comm.allreduce(float(reached.max(initial=-np.inf)), op=MPI.MAX)

    @property
    def state(self) -> Mapping[str, Array]:
        """Nothing: the time tells all."""
        return {}

    def apply(self, v: Array, t: float, dt: float) -> None:
        """Add the change of v (mV) where the wave has come less than ``duration`` ago."""
        for start in self._waves(t, t + dt):
            begin = np.maximum(self._times, t - start)
            end = np.minimum(self._times + self._duration, t + dt - start)
            on = np.flatnonzero((self._times >= 0) & (end > begin))
            v[on] += self._rate * (end[on] - begin[on])

    def overlaps(self, t0: float, t1: float) -> bool:
        """Whether the wave is under way between ``t0`` and ``t1`` (ms)."""
        return len(self._waves(t0, t1)) > 0

    def _waves(self, t0: float, t1: float) -> list[float]:
        """When the beats began whose waves are under way between ``t0`` and ``t1`` (ms)."""
        if self._first > self._last:
            return []
        end = self._last + self._duration
        starts = _repeats(0.0, self._period, t0 - end, t1)
        return [s for s in starts if t0 - s < end and t1 - s > self._first]

    def beat(self, t: float) -> int:
        """Number of the beat that ``t`` (ms) belongs to."""
        return int((t + _ROUNDING) // self._period) if np.isfinite(self._period) else 0
