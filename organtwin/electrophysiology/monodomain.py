"""The monodomain equation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import ufl
from dolfinx import fem, mesh
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI
from numpy.typing import NDArray
from petsc4py import PETSc
from ufl.core.expr import Expr

from organtwin.electrophysiology.stimulus import Stimulus
from organtwin.errors import InputError
from organtwin.solve import options
from organtwin.solve.outcome import Outcome, Step

Array = NDArray[np.float64]

#: Potential whose upward crossing is the activation (mV).
THRESHOLD = 0.0
#: Value of `Monodomain.activation_time` where there was no activation.
NOT_ACTIVATED = -1.0


class Reaction(Protocol):
    """Cell model at many points: what `Monodomain` needs of `organtwin.cells.kernel.Kernel`."""

    def step(self, states: Array, v: Array, t: float, dt: float) -> None:
        """Advance states (n_states, n) and potential (n,) in place, without diffusion."""
        ...

    def calcium(self, states: Array) -> Array:
        """Free calcium (µM), shape (n,)."""
        ...


@dataclass(frozen=True)
class Membrane:
    """Surface-to-volume ratio and capacitance.

    Attributes:
        chi: Membrane area per volume χ (1/mm), > 0.
        C_m: Capacitance per area (µF/mm²), > 0.
    """

    chi: float = 140.0
    C_m: float = 0.01

    def __post_init__(self) -> None:
        if self.chi <= 0 or self.C_m <= 0:
            raise InputError("Membrane", f"χ = {self.chi}, C_m = {self.C_m}.", "Both must be > 0.")


class Monodomain:
    """χ (C_m ∂v/∂t + I_ion(v, y)) = ∇·(σ∇v) + I_stim, with no flux through the boundary.

    Godunov splitting: cells at the nodes, then an implicit Euler step of the diffusion,

        (M + Δt K/(χ C_m)) v_new = M v*,   M lumped or consistent.

    Steps are short while any part is in its upstroke or stimulated, and longer otherwise; the
    choice is made from the fastest change of v anywhere, so all ranks make it alike.

    Args:
        msh: Mesh (mm).
        reaction: Cell model.
        states: Its states at the start, shape (n_states,) or (n_states, local nodes).
        v: Potential at the start (mV).
        conductivity: Tensor σ (mS/mm) in UFL.
        stimulus: Current from outside; None for none.
        membrane: χ and C_m.
        dt: Time step in the upstroke (ms).
        dt_rest: Time step elsewhere (ms).
        lumped: Whether the mass matrix is lumped.

    Source:
        Clayton et al. (2011), Prog. Biophys. Mol. Biol. 104:22–48; splitting after Sundnes et al.
        (2005), Math. Biosci. 194:233–248.
    """

    def __init__(
        self,
        msh: mesh.Mesh,
        reaction: Reaction,
        states: Array,
        v: float,
        conductivity: Expr,
        stimulus: Stimulus | None = None,
        *,
        membrane: Membrane = Membrane(),
        dt: float = 0.05,
        dt_rest: float = 0.25,
        lumped: bool = False,
    ) -> None:
        self.comm = msh.comm
        V = fem.functionspace(msh, ("P", 1))
        self.v = fem.Function(V, name="transmembrane_potential")
        self.v.x.array[:] = v
        self.activation_time = fem.Function(V, name="activation_time")
        self.activation_time.x.array[:] = NOT_ACTIVATED
        n = len(self.v.x.array)
        self.states = np.ascontiguousarray(
            np.broadcast_to(states.reshape(len(states), -1), (len(states), n))
        ).copy()
        self.dt, self.dt_rest = dt, dt_rest
        self._reaction = reaction
        self._stimulus = stimulus
        self._membrane = membrane
        self._stimulated = stimulus.nodes(V) if stimulus else np.zeros(0, dtype=np.int32)
        self._owned = V.dofmap.index_map.size_local
        self._size = V.dofmap.index_map.size_global
        self._beat = np.zeros(1)
        self._fastest = np.full(1, np.inf)  # largest |∂v/∂t| of the last interval (mV/ms)
        self._diffusion = _Diffusion(V, conductivity, membrane, lumped=lumped)

    @property
    def calcium(self) -> Array:
        """Free calcium (µM) at the local nodes."""
        return self._reaction.calcium(self.states)

    @property
    def state(self) -> Mapping[str, Array]:
        """Everything needed to go on from here."""
        return {
            "v": self.v.x.array,
            "states": self.states,
            "activation_time": self.activation_time.x.array,
            "beat": self._beat,
            "fastest": self._fastest,
        }

    def activated_fraction(self) -> float:
        """Share of the nodes activated in this beat, 0 to 1; collective."""
        active = np.count_nonzero(self.activation_time.x.array[: self._owned] != NOT_ACTIVATED)
        return float(self.comm.allreduce(active, op=MPI.SUM) / self._size)

    def advance(self, t0: float, t1: float) -> Step:
        """Advance in sub-steps that fit into the interval; on failure the state is as at ``t0``."""
        saved = {name: values.copy() for name, values in self.state.items()}
        dt = self.dt if self._is_fast(t0, t1) else self.dt_rest
        n = max(1, int(np.ceil((t1 - t0) / dt - 1e-9)))
        h = (t1 - t0) / n
        start = self.v.x.array.copy()
        krylov, fastest = 0, 0.0
        self._start_beat(t0)
        for i in range(n):
            iterations = self._substep(t0 + i * h, h)
            if iterations < 0:
                for name, values in self.state.items():
                    values[...] = saved[name]
                return Step(t0, t1, Outcome.LINEAR_FAILED)
            krylov += iterations
        fastest = float(np.abs(self.v.x.array - start).max(initial=0.0)) / (t1 - t0)
        self._fastest[0] = self.comm.allreduce(fastest, op=MPI.MAX)
        if not np.isfinite(self._fastest[0]):
            for name, values in self.state.items():
                values[...] = saved[name]
            return Step(t0, t1, Outcome.NOT_FINITE)
        return Step(t0, t1, krylov=krylov)

    def _is_fast(self, t0: float, t1: float) -> bool:
        """Whether something may rise steeply between ``t0`` and ``t1``."""
        stimulus = self._stimulus
        stimulated = stimulus is not None and stimulus.overlaps(t0, t1)
        # Repolarisation stays below 2 mV/ms, an upstroke anywhere exceeds 10.
        return stimulated or self._fastest[0] > 5.0

    def _start_beat(self, t: float) -> None:
        beat = self._stimulus.beat(t) if self._stimulus else 0
        if beat != self._beat[0]:
            self._beat[0] = beat
            self.activation_time.x.array[:] = NOT_ACTIVATED

    def _substep(self, t: float, dt: float) -> int:
        """Cells, stimulus, diffusion; returns the linear iterations, −1 on failure."""
        v = self.v.x.array
        old = v.copy()
        self._reaction.step(self.states, v, t, dt)
        if self._stimulus is not None and self._stimulus.is_on(t):
            rate = self._stimulus.strength / (self._membrane.chi * self._membrane.C_m)
            v[self._stimulated] += dt * rate
        iterations = self._diffusion.solve(self.v, dt)
        times = self.activation_time.x.array
        rising = np.flatnonzero((old < THRESHOLD) & (v >= THRESHOLD) & (times == NOT_ACTIVATED))
        share = (THRESHOLD - old[rising]) / (v[rising] - old[rising])
        times[rising] = t + dt * share
        return iterations


class _Diffusion:
    """Implicit Euler steps of ∂v/∂t = ∇·(σ∇v)/(χ C_m), one matrix for each step size in use."""

    def __init__(
        self, V: fem.FunctionSpace, sigma: Expr, membrane: Membrane, *, lumped: bool
    ) -> None:
        v, w = ufl.TrialFunction(V), ufl.TestFunction(V)
        stiffness = ufl.inner(sigma * ufl.grad(v), ufl.grad(w)) / (membrane.chi * membrane.C_m)
        self._K = _assembled(stiffness * ufl.dx)
        self._M = _assembled(ufl.inner(v, w) * ufl.dx)
        if lumped:
            rows = self._M.createVecLeft()
            ones = self._M.createVecRight()
            ones.set(1.0)
            self._M.mult(ones, rows)
            self._M.zeroEntries()
            self._M.setDiagonal(rows)
            self._M.assemble()
        self._b = self._M.createVecLeft()
        self._solvers: dict[float, PETSc.KSP] = {}

    def solve(self, v: fem.Function, dt: float) -> int:
        """One step in place; returns the iterations, −1 on failure."""
        key = round(dt, 9)
        if key not in self._solvers:
            self._solvers[key] = self._solver(dt)
        ksp = self._solvers[key]
        x = v.x.petsc_vec
        self._M.mult(x, self._b)
        ksp.solve(self._b, x)
        v.x.scatter_forward()
        return int(ksp.getIterationNumber()) if ksp.getConvergedReason() > 0 else -1

    def _solver(self, dt: float) -> PETSc.KSP:
        A = self._M.copy()
        A.axpy(dt, self._K, PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
        ksp = PETSc.KSP().create(A.comm)
        ksp.setOptionsPrefix(f"monodomain_{id(self)}_")
        ksp.setOperators(A)
        ksp.setType("cg")
        ksp.getPC().setType("jacobi")
        ksp.setInitialGuessNonzero(True)
        ksp.setTolerances(rtol=1e-8, atol=1e-14, max_it=500)
        ksp.setFromOptions()
        return ksp


def _assembled(form: ufl.Form) -> PETSc.Mat:
    compiled = fem.form(form, jit_options=options.jit())
    A = fem_petsc.create_matrix(compiled)
    fem_petsc.assemble_matrix(A, compiled)
    A.assemble()
    return A
