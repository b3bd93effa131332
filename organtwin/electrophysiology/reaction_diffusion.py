"""Excitable tissue: cells that react, a potential that spreads between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray
from petsc4py import PETSc

from organtwin.cells.population import Cells
from organtwin.electrophysiology.diffusion import Mass, Membrane
from organtwin.electrophysiology.interpolation import StateInterpolation
from organtwin.electrophysiology.recorders import Recorder
from organtwin.electrophysiology.stimulus import Drive, Injection, Stimulus
from organtwin.errors import InputError, SolverError
from organtwin.mesh.domain import Domain
from organtwin.solve.outcome import Outcome, Step

Array = NDArray[np.float64]

#: Potential whose upward crossing is the activation (mV).
THRESHOLD = 0.0
#: Value of `ReactionDiffusion.activation_time` where there was no activation.
NOT_ACTIVATED = -1.0


def local_nodes(V: fem.FunctionSpace) -> int:
    """Number of this rank's nodes (owned and ghosts)."""
    index_map = V.dofmap.index_map
    return int(index_map.size_local + index_map.num_ghosts)


class Reaction(Protocol):
    """Cells at the nodes: what a tissue model needs of `organtwin.cells.population.Cells`."""

    @property
    def state(self) -> Mapping[str, Array]:
        """Views of the cells' states."""
        ...

    def rest(self, n: int) -> Array:
        """Potential at the start (mV), shape (n,)."""
        ...

    def step(self, v: Array, t: float, dt: float) -> None:
        """Advance the cells and v (n,) in place, without diffusion."""
        ...

    def calcium(self, n: int) -> Array:
        """Free calcium (µM), shape (n,)."""
        ...

    def fault(self, v: Array) -> tuple[int, str] | None:
        """First node that is not finite, and what is wrong there."""
        ...


class Splitting(StrEnum):
    """Order in which cells and diffusion take their turns."""

    #: Cells, then diffusion: order 1.
    GODUNOV = "godunov"
    #: Half a step of the cells, diffusion, half a step of the cells: order 2 with θ = 1/2.
    STRANG = "strang"


class Interpolation(StrEnum):
    """How the ionic current gets from the nodes into the elements."""

    #: The nodal currents are interpolated (ICI); slow waves on coarse meshes.
    CURRENT = "current"
    #: The currents of interpolated states are integrated where there is a front (SVI); fast waves
    #: on coarse meshes.
    STATE = "state"
    #: Three quarters of the latter and one of the former. The share was chosen on the slab of
    #: Niederer et al. (2011), where it makes up for most of both errors.
    MIXED = "mixed"


#: Share of the integrated currents.
INTEGRATED_SHARE = {
    Interpolation.CURRENT: 0.0, Interpolation.STATE: 1.0, Interpolation.MIXED: 0.75,
}  # fmt: skip


@dataclass(frozen=True)
class TimeSteps:
    """Time steps between ``shortest`` and ``longest`` (ms), in powers of two.

    The next step is as long as the change of ∂v/∂t over it will move no node by more than
    ``tolerance``, if that lasts. One that has moved a node by four times that is taken again, in
    halves, unless it is the shortest: the upstroke is as accurate as the shortest step makes it.

    Attributes:
        shortest: Step of the upstroke and of stimuli (ms).
        longest: Step at rest (ms).
        tolerance: Local error of v that longer steps aim at (mV).
    """

    shortest: float = 0.05
    longest: float = 0.4
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.shortest <= self.longest or not self.tolerance > 0:
            raise InputError(
                "time steps",
                f"{self.shortest:g} to {self.longest:g} ms, tolerance {self.tolerance:g} mV.",
                "The shortest must be > 0 and not longer than the longest, the tolerance > 0.",
            )

    @classmethod
    def fixed(cls, dt: float) -> TimeSteps:
        """Steps of ``dt`` (ms) throughout."""
        return cls(dt, dt)


@dataclass(frozen=True)
class Discretisation:
    """Scheme of a monodomain or bidomain problem; the elements are those of its space.

    With the defaults and linear elements the slab of Niederer et al. (2011) is activated within
    1 % of the limit on cubes of 0.2 mm and within 5 % on those of 0.5 mm. On unstructured meshes
    conductivities have to be tuned (`conductivity.tune`); docs/choose-a-tissue-model.md compares
    the schemes.

    Attributes:
        mass: Mass matrix.
        splitting: Of cells and diffusion.
        interpolation: Of the ionic current.
        theta: Of the diffusion: 1 implicit Euler, 1/2 Crank–Nicolson.
        tolerance: Root mean square of the algebraic error of a step of the diffusion (mV).
    """

    mass: Mass = Mass.BLENDED
    splitting: Splitting = Splitting.STRANG
    interpolation: Interpolation = Interpolation.MIXED
    theta: float = 0.5
    tolerance: float = 1e-4


#: For meshes of a millimetre and more, on which conductivities are tuned: currents integrated over
#: elements much longer than a front carry a wave of their own, which no conductivity slows down.
COARSE = Discretisation(mass=Mass.CONSISTENT, interpolation=Interpolation.CURRENT)


class Spread(Protocol):
    """How the potential spreads between cells: `Diffusion` or `BidomainDiffusion`."""

    @property
    def state(self) -> Mapping[str, Array]:
        """Views of what a step needs from the one before, apart from v."""
        ...

    def step(self, v: fem.Function, dt: float, load: PETSc.Vec | None = None) -> int:
        """Move v by ``dt`` (ms) in place; the linear iterations, −1 on failure."""
        ...


class ReactionDiffusion:
    """Cells at the nodes and the spread of the potential take turns (`Splitting`).

    A step consists of the cell kernels, a product with the stiffness matrix and a few iterations
    of conjugate gradients; see `monodomain` and `bidomain` for the equations.

    Args:
        V: Space of the potential.
        cells: Cell models at its nodes.
        spread: Diffusion.
        membrane: χ and C_m.
        stimuli: Currents from outside.
        scheme: Discretisation.
        steps: Time steps.
        drives: Further things that depolarise cells.
        recorders: Called after each electrical step.
        domain: Mesh with names, to tell in which region something goes wrong.
        dx: Where the tissue is.

    Raises:
        InputError: currents are to be integrated (`Interpolation`), and the cells do not tell
            them, or the elements are no simplices.

    Source:
        Splitting after Sundnes et al. (2005), Math. Biosci. 194:233–248.
    """

    def __init__(
        self,
        V: fem.FunctionSpace,
        cells: Reaction,
        spread: Spread,
        membrane: Membrane,
        stimuli: Sequence[Stimulus] = (),
        *,
        scheme: Discretisation = Discretisation(),
        steps: TimeSteps = TimeSteps(),
        drives: Sequence[Drive] = (),
        recorders: Sequence[Recorder] = (),
        domain: Domain | None = None,
        dx: ufl.Measure = ufl.dx,
    ) -> None:
        self.comm = V.mesh.comm
        self.cells = cells
        self.v = fem.Function(V, name="transmembrane_potential")
        n = len(self.v.x.array)
        self.v.x.array[:] = cells.rest(n)
        self.activation_time = fem.Function(V, name="activation_time")
        self.activation_time.x.array[:] = NOT_ACTIVATED
        self._owned = V.dofmap.index_map.size_local
        self._size = V.dofmap.index_map.size_global
        self._scheme, self._steps = scheme, steps
        self._recorders = tuple(recorders)
        injections = (Injection(stimulus, V, membrane.capacitance) for stimulus in stimuli)
        self._drives: tuple[Drive, ...] = (*injections, *drives)
        self.spread = spread
        self._front: StateInterpolation | None = None
        if scheme.interpolation is not Interpolation.CURRENT:
            share = INTEGRATED_SHARE[scheme.interpolation]
            self._front = StateInterpolation(V, _telling(cells), scheme.mass, share, dx)
        self._beat = np.zeros(1)
        self._dt = np.full(1, steps.shortest)  # wanted of the next step (ms)
        self._rate = np.zeros(n)  # ∂v/∂t over the last step (mV/ms)
        self._old = np.empty(n)
        self._work = np.empty(n)
        self._domain = domain

    @property
    def calcium(self) -> Array:
        """Free calcium (µM) at the local nodes."""
        return self.cells.calcium(len(self.v.x.array))

    def add_drive(self, drive: Drive) -> None:
        """Let something more act on the cells, before the first step."""
        self._drives = (*self._drives, drive)

    @property
    def state(self) -> Mapping[str, Array]:
        """Everything needed to go on from here."""
        driven = {
            f"drive_{k}_{name}": values
            for k, drive in enumerate(self._drives)
            for name, values in drive.state.items()
        }
        recorded = {
            f"recorder_{k}_{name}": values
            for k, recorder in enumerate(self._recorders)
            for name, values in recorder.state.items()
        }
        return {
            "v": self.v.x.array,
            **self.cells.state,
            "activation_time": self.activation_time.x.array,
            "beat": self._beat,
            "dt": self._dt,
            "rate": self._rate,
            **self.spread.state,
            **driven,
            **recorded,
        }

    def activated_fraction(self) -> float:
        """Share of the nodes activated in this beat, 0 to 1; collective."""
        active = np.count_nonzero(self.activation_time.x.array[: self._owned] != NOT_ACTIVATED)
        return float(self.comm.allreduce(active, op=MPI.SUM) / self._size)

    def advance(self, t0: float, t1: float) -> Step:
        """Advance in sub-steps that fit into the interval; on failure the state is as at ``t0``."""
        saved = {name: values.copy() for name, values in self.state.items()}
        try:
            krylov, fault = self._advance(t0, t1)
        except SolverError as error:  # of a drive
            krylov, fault = -1, str(error)
        if krylov >= 0:
            # A state that is lost shows in v only a step later.
            fault = self._told(t1)
        if krylov < 0 or fault:
            self._restore(saved)
            outcome = Outcome.NOT_FINITE if fault else Outcome.LINEAR_FAILED
            return Step(t0, t1, outcome, detail=fault)
        return Step(t0, t1, krylov=krylov)

    def _advance(self, t0: float, t1: float) -> tuple[int, str]:
        """The linear iterations; −1 on failure, and what is not finite, if something is."""
        parts = max(1, int(np.ceil((t1 - t0) / self._steps.shortest - 1e-9)))
        shortest = (t1 - t0) / parts
        done, krylov = 0, 0
        while done < parts:
            t = t0 + done * shortest
            self._start_beat(t)
            size, iterations = self._step_of(self._largest(t, shortest, done, parts), t, shortest)
            if iterations < 0:
                return -1, self._told(t)
            krylov += iterations
            done += size
        return krylov, ""

    def _largest(self, t: float, shortest: float, done: int, parts: int) -> int:
        """Shortest steps in the next one: a power of two that fits and meets no stimulus."""
        wanted = self._dt[0] / shortest * (1 + 1e-9)
        size = 1
        while 2 * size <= wanted and done % (2 * size) == 0 and done + 2 * size <= parts:
            size *= 2
        while size > 1 and any(d.overlaps(t, t + size * shortest) for d in self._drives):
            size //= 2
        return size

    def _step_of(self, size: int, t: float, shortest: float) -> tuple[int, int]:
        """Take ``size`` shortest steps in one, fewer if that is inaccurate; size and iterations."""
        v = self.v.x.array
        saved = self._copy() if size > 1 else {}
        while True:
            dt = size * shortest
            np.copyto(self._old, v)
            iterations = self._split(v, t, dt)
            if iterations < 0 or not self._is_finite():
                return size, -1
            if self._steps.longest <= self._steps.shortest:
                break
            error = self._control(v, dt)
            if size == 1 or error <= 4 * self._steps.tolerance:
                break
            self._restore(saved)
            size //= 2
        mark_crossings(self.activation_time.x.array, self._old, v, t, dt)
        for recorder in self._recorders:
            recorder.record(t, dt, self._old, v)
        return size, iterations

    def _is_finite(self) -> bool:
        """Whether v is, on all ranks: cells may lose it after the diffusion has seen it."""
        finite = bool(np.isfinite(self.v.x.array).all())
        return bool(self.comm.allreduce(finite, op=MPI.LAND))

    def _copy(self) -> dict[str, Array]:
        """What a refused step has to restore; recorders see only steps that are kept."""
        kept = {k: v for k, v in self.state.items() if not k.startswith("recorder_")}
        return {name: values.copy() for name, values in kept.items()}

    def _restore(self, saved: Mapping[str, Array]) -> None:
        state = self.state
        for name, values in saved.items():
            state[name][...] = values

    def _start_beat(self, t: float) -> None:
        beat = max((drive.beat(t) for drive in self._drives), default=0)
        if beat != self._beat[0]:
            self._beat[0] = beat
            self.activation_time.x.array[:] = NOT_ACTIVATED

    def _split(self, v: Array, t: float, dt: float) -> int:
        """Cells, drives and diffusion in their turns; the linear iterations, −1 on failure."""
        half = dt / 2 if self._scheme.splitting is Splitting.STRANG else dt
        self._react(v, t, half)
        load = self._front.load(v, dt) if self._front is not None else None
        iterations = self.spread.step(self.v, dt, load)
        if self._scheme.splitting is Splitting.STRANG and iterations >= 0:
            self._react(v, t + half, half)
        return iterations

    def _react(self, v: Array, t: float, dt: float) -> None:
        self.cells.step(v, t, dt)
        for drive in self._drives:
            drive.apply(v, t, dt)

    def _control(self, v: Array, dt: float) -> float:
        """Local error ½ Δt² |∂²v/∂t²| (mV) of the step just taken; chooses the next; collective."""
        new, change = self._work, self._rate
        np.subtract(v, self._old, out=new)
        new /= dt
        np.subtract(new, change, out=change)
        local = float(max(change.max(initial=0.0), -change.min(initial=0.0)))
        np.copyto(self._rate, new)
        error = 0.5 * dt * self.comm.allreduce(local, op=MPI.MAX)
        factor = np.sqrt(self._steps.tolerance / max(error, 1e-12))
        self._dt[0] = np.clip(0.9 * dt * factor, self._steps.shortest, self._steps.longest)
        return error

    def _told(self, t: float) -> str:
        """Where cells are not finite; empty if all are; collective."""
        found = self.cells.fault(self.v.x.array[:])
        text = ""
        if found is not None:
            node, what = found
            x, y, z = self.v.function_space.tabulate_dof_coordinates()[node]
            place = f"node at ({x:.4g}, {y:.4g}, {z:.4g}) mm{self._region_of(node)}"
            text = f"in the step at t = {t:g} ms, {place}: {what}"
        return next((told for told in self.comm.allgather(text) if told), "")

    def _region_of(self, node: int) -> str:
        """Region of a cell around a local node, in words."""
        if self._domain is None:
            return ""
        cells = np.flatnonzero((self.v.function_space.dofmap.list == node).any(axis=1))
        tags = self._domain.cell_tags
        numbers = set(tags.values[np.isin(tags.indices, cells)])
        names = [name for name, number in self._domain.regions.items() if number in numbers]
        return f" in region {', '.join(names)}" if names else ""


def mark_crossings(times: Array, before: Array, after: Array, t: float, dt: float) -> None:
    """Note when v first crosses the threshold upwards, linear between ``t`` and ``t + dt`` (ms).

    Args:
        times: (n,), `NOT_ACTIVATED` where it has not yet; written.
        before: v at ``t`` (mV), (n,).
        after: v at ``t + dt``.
        t: Start of the step.
        dt: The step.
    """
    rising = np.flatnonzero((before < THRESHOLD) & (after >= THRESHOLD) & (times == NOT_ACTIVATED))
    share = (THRESHOLD - before[rising]) / (after[rising] - before[rising])
    times[rising] = t + dt * share


def _telling(cells: Reaction) -> Cells:
    """Cells that tell the current of any states."""
    if not isinstance(cells, Cells):
        raise InputError(
            f"{type(cells).__name__}",
            "these cells tell no currents that could be integrated over elements.",
            "Choose `Interpolation.CURRENT`.",
        )
    return cells
