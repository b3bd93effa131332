"""Process of `niederer_speed.py` that advances the slab with fenicsx-beat, in its environment.

Uses the public interface of fenicsx-beat and of gotranx, from which comes the numpy kernel of our
own definition of the cell. Takes the same lines as `slab_worker.py`, but ``start``. This file runs
in the other environment: it imports nothing of organtwin.
"""

import contextlib
import json
import resource
import sys
import time

with contextlib.suppress(ImportError):
    import dolfinx_solver  # noqa: F401  (finds PETSc where wheels bring it)

import beat
import dolfinx
import numpy as np
import ufl
from beat.monodomain_solver import MonodomainSplittingSolver
from beat.odesolver import DolfinODESolver
from beat.telemetry import PerformanceMonitor
from mpi4py import MPI
from peer_gotranx import cell

SIZE = (20.0, 7.0, 3.0)
CHI, C_M = 140.0, 0.01
#: Conductivity along and across the fibres, σi σe / (σi + σe) (mS/mm).
SIGMA = (0.17 * 0.62 / (0.17 + 0.62), 0.019 * 0.24 / (0.019 + 0.24))


class Worker:
    """The slab with fenicsx-beat.

    Args:
        h: Edge of the cubes (mm).
        dt: Time step (ms).
        definition: File of the cell model.
        names: States in the order of our files, the potential last.
        solver: ``same`` for our linear solver and tolerance; ``iterative``, ``direct``: theirs.
    """

    def __init__(self, h: float, dt: float, definition: str, names: list[str], solver: str) -> None:
        self.dt, self.n = dt, 0
        numbers = [round(length / h) for length in SIZE]
        mesh = dolfinx.mesh.create_box(MPI.COMM_WORLD, [[0.0, 0.0, 0.0], list(SIZE)], numbers)
        self.monitor = PerformanceMonitor(log_frequency=10**9)
        along, across = (sigma / CHI for sigma in SIGMA)
        nodes = int(np.prod([n + 1 for n in numbers]))
        model = beat.MonodomainModel
        options = model.default_parameters("iterative" if solver == "iterative" else "direct")
        if solver == "same":
            options["petsc_options"] = {
                "ksp_type": "cg", "pc_type": "jacobi", "ksp_norm_type": "preconditioned",
                "ksp_initial_guess_nonzero": True, "ksp_rtol": 1e-12,
                "ksp_atol": 1e-4 * nodes**0.5,
            }  # fmt: skip
        options |= {"theta": 1.0, "default_timestep": dt}
        self.pde = model(
            time=dolfinx.fem.Constant(mesh, 0.0), mesh=mesh,
            M=ufl.diag(ufl.as_vector([along, across, across])), I_s=None, params=options,
            C_m=C_M, monitor=self.monitor,
        )  # fmt: skip
        V = self.pde.v.function_space
        grid = np.rint(V.tabulate_dof_coordinates() / h).astype(int)
        self.place = np.ravel_multi_index(tuple(grid.T), [n + 1 for n in numbers])
        module = cell(definition, potential=names[-1])
        self.rows = [module.state_index(name) for name in names]
        self.ode = DolfinODESolver(
            v_ode=dolfinx.fem.Function(V), v_pde=self.pde.v, fun=module.step,
            init_states=module.init_state_values(), parameters=module.init_parameter_values(),
            num_states=len(names), v_index=self.rows[-1], monitor=self.monitor,
        )  # fmt: skip
        self.both = MonodomainSplittingSolver(
            pde=self.pde, ode=self.ode, theta=1.0, monitor=self.monitor
        )

    def load(self, path: str) -> dict:
        """Go on from the state of a file."""
        with np.load(path) as kept:
            values, self.n = kept["values"][:, self.place], int(kept["step"])
        functions = self.ode.states_to_dolfin()
        for row, series in zip(self.rows, values, strict=True):
            functions[row].x.array[:] = series
        self.ode.load_all_states(functions)
        self.pde.v.x.array[:] = values[-1]
        self.pde.assign_previous()
        return {}

    def run(self, steps: str) -> dict:
        """As in `slab_worker.py`; the parts are theirs, of wall time, scaled to processor time."""
        before = dict(self.monitor.timings)
        iterations = self.monitor.ksp_total_iterations
        wall, start = time.perf_counter(), time.process_time()
        for _ in range(int(steps)):
            self.both.step((self.n * self.dt, (self.n + 1) * self.dt))
            self.n += 1
        total, wall = time.process_time() - start, time.perf_counter() - wall
        each = 1e3 / int(steps)

        def part(name: str) -> float:
            spent = self.monitor.timings[name] - before.get(name, 0.0)
            return spent * each * total / wall

        return {
            "total": total * each, "cells": part("ode_step"), "spread": part("pde_step"),
            "wall": wall * each,
            "iterations": (self.monitor.ksp_total_iterations - iterations) / int(steps),
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }  # fmt: skip

    def save(self, path: str) -> dict:
        """The potential in the order of the grid."""
        whole = np.empty(self.place.size)
        whole[self.place] = self.pde.v.x.array
        np.save(path, whole)
        return {}


def main() -> None:
    h, dt, definition, names, solver = sys.argv[1:]
    worker = Worker(float(h), float(dt), definition, names.split(","), solver)
    actions = {"load": worker.load, "run": worker.run, "save": worker.save}
    for line in sys.stdin:
        name, *arguments = line.split()
        print(json.dumps(actions[name](*arguments)), flush=True)


if __name__ == "__main__":
    main()
