"""Whether activity goes on by itself, and what it turns around."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.electrophysiology.beats import Beats
from organtwin.electrophysiology.filaments import filaments, tips
from organtwin.electrophysiology.reaction_diffusion import NOT_ACTIVATED
from organtwin.electrophysiology.recorders import Schedule, between, samples_until
from organtwin.electrophysiology.simplices import Nodes, Simplices
from organtwin.errors import InputError
from organtwin.parallel import on_root

Array = NDArray[np.float64]

#: Rotors listed per sample, on average over the samples; further ones are only counted.
LISTED = 32
_SAMPLE = ("t [ms]", "rotors", "tips", "wavefronts", "excited")
_ROTOR = (
    "t [ms]", "x [mm]", "y [mm]", "z [mm]", "start x [mm]", "start y [mm]", "start z [mm]",
    "end x [mm]", "end y [mm]", "end z [mm]", "length [mm]", "charge",
)  # fmt: skip


class Verdict(StrEnum):
    """What became of the activity."""

    #: It went on by itself for long enough.
    SUSTAINED = "sustained"
    #: It ended before the run.
    TERMINATED = "terminated"
    #: It went on, but the run ended too soon after the last stimulus to tell.
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Rotor:
    """A filament, or a tip on a surface mesh, followed over the samples.

    Attributes:
        times: When it was seen (ms), (n,).
        positions: Centre of the filament at each time (mm), (n, 3).
        lengths: Length of the filament at each time (mm), (n,); 0 for a tip.
        charge: Of a tip: +1 counter-clockwise, −1 clockwise; 0 for a filament.
    """

    times: Array
    positions: Array
    lengths: Array
    charge: int

    @property
    def lifetime(self) -> float:
        """From the first to the last sighting (ms)."""
        return float(self.times[-1] - self.times[0])


@dataclass(frozen=True)
class Activity:
    """What was seen of the electrical activity.

    Attributes:
        verdict: Whether it went on.
        last_activation: Last activation of any node (ms), NaN without one.
        cycle_length: Median of the last cycle lengths of all nodes that were activated twice
            (ms), NaN without any.
        cycle_length_range: Their 5 and 95 % quantiles (ms).
        times: Of the samples (ms), (n,).
        rotors: Number of filaments, or of tips on a surface mesh, in each sample, (n,).
        tips: Number of tips on the surface in each sample, (n,).
        wavefronts: Number of connected wave fronts in each sample, (n,).
        excited: Share of the nodes above the middle potential in each sample, 0 to 1, (n,).
        tracks: The rotors, by first sighting.
    """

    verdict: Verdict
    last_activation: float
    cycle_length: float
    cycle_length_range: tuple[float, float]
    times: Array
    rotors: NDArray[np.int64]
    tips: NDArray[np.int64]
    wavefronts: NDArray[np.int64]
    excited: Array
    tracks: tuple[Rotor, ...]


class Reentry:
    """Count wave fronts and what waves turn around, at regular times.

    The phase of a node is the angle of (v(t) − v*, v(t − τ) − v*), or of (v − v*, g − g*) with a
    gate that rises after v. Rotors are where it has no value: lines through tetrahedra, points on
    triangles. A wave that turns around a hole has none in the tissue. Wave fronts are connected
    sets of cells that v* runs through and in which v has risen over τ.

    Args:
        V: Space of v: linear or quadratic, on tetrahedra or triangles.
        until: Last time to sample (ms); memory for it is set aside.
        every: Interval (ms), at least the delay.
        delay: τ (ms): longer than an upstroke, shorter than an action potential.
        middle: v* (mV).
        gate: Gives the local values of a gate to take for the delayed potential, and g*.

    Raises:
        InputError: the delay is not positive, or longer than the interval.

    Source:
        Iyer & Gray (2001), Ann. Biomed. Eng. 29:47–59; Bray & Wikswo (2002), IEEE Trans. Biomed.
        Eng. 49:1086–1093.
    """

    def __init__(
        self,
        V: fem.FunctionSpace,
        *,
        until: float,
        every: float = 10.0,
        delay: float = 5.0,
        middle: float = -40.0,
        gate: tuple[Callable[[], Array], float] | None = None,
    ) -> None:
        if not 0 < delay <= every:
            raise InputError(
                "reentry",
                f"a delay of {delay:g} ms, samples every {every:g} ms.",
                "The delay must be > 0 and not longer than the interval.",
            )
        self._comm = V.mesh.comm
        self._simplices = Simplices.of(V)
        self._is_wall = V.mesh.topology.dim == 3
        self._owned, self._size = V.dofmap.index_map.size_local, V.dofmap.index_map.size_global
        self._middle, self._delay, self._gate = middle, delay, gate
        self._sampling, self._holding = Schedule(every), Schedule(every, -delay)
        n = len(self._simplices.x)
        self._v, self._held = np.empty(n), np.zeros(n)
        self._held_at = np.full(1, np.nan)
        capacity = samples_until(until, every)
        self._samples = np.zeros((capacity, len(_SAMPLE)))
        self._rotors = np.zeros((LISTED * capacity, len(_ROTOR)))
        self._count = np.zeros(2)

    @property
    def state(self) -> Mapping[str, Array]:
        """The samples so far, and the delayed potential."""
        return {
            "samples": self._samples,
            "rotors": self._rotors,
            "count": self._count,
            "held": self._held,
            "held_at": self._held_at,
            "next_sample": self._sampling.next,
            "next_hold": self._holding.next,
        }

    def record(self, t: float, dt: float, before: Array, after: Array) -> None:
        """Look at a step; collective at sampling times."""
        samples = [(time, False) for time in self._sampling.due(t, dt)]
        holds = [(time, True) for time in self._holding.due(t, dt)]
        for time, hold in sorted(samples + holds):
            out = self._held if hold else self._v
            between(time, t, dt, before, after, out)
            if hold:
                self._held_at[0] = time
            elif abs(time - self._delay - self._held_at[0]) < 1e-6 * self._delay:
                self._sample(time)

    @property
    def samples(self) -> Array:
        """Time (ms), rotors, tips, wave fronts, excited share; a row per sample."""
        return self._samples[: int(self._count[0])]

    @property
    def sightings(self) -> Array:
        """Rotors of all samples: time (ms), centre, start, end (mm), length (mm), charge."""
        return self._rotors[: int(self._count[1])]

    def activity(
        self,
        beats: Beats,
        end: float,
        *,
        stimulated: float = 0.0,
        quiet: float = 100.0,
        lasting: float = 1000.0,
        reach: float = 10.0,
    ) -> Activity:
        """Sum up what was seen; collective.

        Args:
            beats: Recorder of the same run.
            end: Time at the end of the run (ms).
            stimulated: End of the last stimulus (ms).
            quiet: Time without an activation anywhere after which the activity has ended (ms).
            lasting: Time that the run must go on after the last stimulus for activity at its end to
                count as sustained (ms).
            reach: Farthest that a rotor moves between samples (mm).
        """
        activation = beats.activation[: self._owned]
        last = self._comm.allreduce(float(activation.max(initial=NOT_ACTIVATED)), op=MPI.MAX)
        cycles = beats.cycle_length[: self._owned]
        whole = np.concatenate(self._comm.allgather(cycles[cycles != NOT_ACTIVATED]))
        low, median, high = np.quantile(whole, (0.05, 0.5, 0.95)) if len(whole) else [np.nan] * 3
        t, rotors, n_tips, fronts, excited = self.samples.T
        return Activity(
            verdict(last, end, stimulated, quiet, lasting),
            last if last != NOT_ACTIVATED else np.nan,
            float(median),
            (float(low), float(high)),
            t.copy(),
            rotors.astype(np.int64),
            n_tips.astype(np.int64),
            fronts.astype(np.int64),
            excited.copy(),
            tracks(self.sightings, t, reach),
        )

    def write(self, folder: Path) -> None:
        """Write ``activity.csv`` (samples) and ``rotors.csv`` (sightings); collective."""

        def work() -> None:
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / "activity.csv", _SAMPLE, self.samples)
            _write(folder / "rotors.csv", _ROTOR, self.sightings)

        on_root(self._comm, work)

    def _sample(self, time: float) -> None:
        k, listed = (int(count) for count in self._count)
        if k >= len(self._samples):
            return
        a, b = self._v - self._middle, self._held - self._middle
        fronts = self._simplices.components(_at_front(self._simplices.cells, a, b))
        excited = self._comm.allreduce(int(np.count_nonzero(a[: self._owned] >= 0)))
        if self._gate is not None:
            values, middle = self._gate
            b = values() - middle
        rows, n_tips = self._found(time, a, b)
        room = rows[: len(self._rotors) - listed]
        self._rotors[listed : listed + len(room)] = room
        self._samples[k] = (time, len(rows), n_tips, fronts, excited / self._size)
        self._count[:] = (k + 1, listed + len(room))

    def _found(self, time: float, a: Array, b: Array) -> tuple[Array, int]:
        """Rows of the rotors, and the number of tips on the surface."""
        on_surface = tips(self._simplices, a, b)
        rows = np.empty((0, len(_ROTOR)))
        if self._is_wall:
            found = [
                (time, *line.centre, *line.points[0], *line.points[-1], line.length, 0)
                for line in filaments(self._simplices, a, b)
            ]
        else:
            found = [(time, *[*tip.position] * 3, 0.0, tip.charge) for tip in on_surface]
        return (np.array(found) if found else rows), len(on_surface)


def verdict(last: float, end: float, stimulated: float, quiet: float, lasting: float) -> Verdict:
    """What became of the activity, see `Reentry.activity`.

    >>> verdict(last=1990.0, end=2000.0, stimulated=800.0, quiet=100.0, lasting=1000.0).value
    'sustained'
    >>> verdict(last=1200.0, end=2000.0, stimulated=800.0, quiet=100.0, lasting=1000.0).value
    'terminated'
    """
    if last == NOT_ACTIVATED or end - last > quiet:
        return Verdict.TERMINATED
    return Verdict.SUSTAINED if end - stimulated >= lasting else Verdict.UNDECIDED


def tracks(sightings: Array, times: Array, reach: float) -> tuple[Rotor, ...]:
    """Follow rotors from sample to sample: the closest pairs of the same charge go together.

    The distance of two filaments is the least between their centres and ends.

    Args:
        sightings: Rows of `Reentry.sightings`.
        times: Of all samples (ms); a rotor that is absent from one has ended.
        reach: Farthest that a rotor moves between samples (mm).
    """
    chains: list[list[Array]] = []
    alive: list[list[Array]] = []
    for t in times:
        present = [row for row in sightings if row[0] == t]
        pairs = sorted(
            (_distance(chain[-1], row), i, j)
            for i, chain in enumerate(alive)
            for j, row in enumerate(present)
            if chain[-1][11] == row[11]
        )
        went_on: dict[int, int] = {}
        for distance, i, j in pairs:
            if distance <= reach and i not in went_on.values() and j not in went_on:
                went_on[j] = i
        following = []
        for j, row in enumerate(present):
            chain = alive[went_on[j]] if j in went_on else []
            if not chain:
                chains.append(chain)
            chain.append(row)
            following.append(chain)
        alive = following
    return tuple(_rotor(np.array(chain)) for chain in chains)


def _distance(here: Array, there: Array) -> float:
    p, q = here[1:10].reshape(3, 3), there[1:10].reshape(3, 3)
    return float(np.linalg.norm(p[:, None] - q[None], axis=2).min())


def _rotor(rows: Array) -> Rotor:
    return Rotor(rows[:, 0], rows[:, 1:4], rows[:, 10], int(rows[0, 11]))


def _at_front(cells: Nodes, a: Array, b: Array) -> NDArray[np.bool_]:
    above = (a >= 0)[cells].sum(axis=1)
    crossed = (above > 0) & (above < cells.shape[1])
    crossed[crossed] = (a - b)[cells[crossed]].sum(axis=1) > 0
    return np.asarray(crossed)


def _write(path: Path, header: tuple[str, ...], rows: Array) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows([f"{value:.10g}" for value in row] for row in rows)
