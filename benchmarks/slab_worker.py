"""Process of `niederer_speed.py` that advances the slab with organtwin, told what to do by lines.

``start STEPS FILE`` runs from rest and writes the state, ``load FILE`` reads it, ``run STEPS``
answers with the times of the steps, ``save FILE`` writes the potential. Answers are lines of JSON
on standard output. States are kept in the order of the grid, which no partition changes.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.electrophysiology.reaction_diffusion import ReactionDiffusion
from organtwin.verify.niederer import BY_NAME, SIZE, slab

VARIANT = BY_NAME["P1 consistent, ICI, Godunov"]


class Clock:
    """Processor time spent in one method.

    Args:
        owner: Object whose method is wrapped.
        method: Its name.
    """

    def __init__(self, owner: Any, method: str) -> None:
        self.seconds = 0.0
        inner = getattr(owner, method)

        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.process_time()
            result = inner(*arguments, **named)
            self.seconds += time.process_time() - start
            return result

        setattr(owner, method, timed)


class Worker:
    """The slab and its clock.

    Args:
        comm: Communicator.
        h: Edge of the cubes (mm).
        dt: Time step (ms).
    """

    def __init__(self, comm: MPI.Comm, h: float, dt: float) -> None:
        self.comm, self.dt, self.n = comm, dt, 0
        self.problem: ReactionDiffusion = slab(comm, h, VARIANT, dt)
        numbers = [round(length / h) + 1 for length in SIZE]
        V = self.problem.v.function_space
        self.owned = V.dofmap.index_map.size_local
        grid = np.rint(V.tabulate_dof_coordinates() / h).astype(int)
        self.place = np.ravel_multi_index(tuple(grid.T), numbers)
        self.nodes = int(np.prod(numbers))
        self.cells = Clock(self.problem.cells, "step")
        self.spread = Clock(self.problem.spread, "step")

    def start(self, steps: str, path: str) -> dict[str, Any]:
        """From rest to the state that the others begin with."""
        self._advance(int(steps))
        v, states = self.problem.v.x.array, self.problem.cells.state["states"]
        everything = np.empty((len(states) + 1, self.nodes))
        everything[:, self.place] = np.vstack([states, v])
        np.savez(path, values=everything, step=self.n)
        return {}

    def load(self, path: str) -> dict[str, Any]:
        """Go on from the state of a file."""
        with np.load(path) as kept:
            values, self.n = kept["values"][:, self.place], int(kept["step"])
        self.problem.cells.state["states"][...] = values[:-1]
        self.problem.v.x.array[:] = values[-1]
        return {}

    def run(self, steps: str) -> dict[str, Any]:
        """Milliseconds per step: processor time of all, of cells and of diffusion, and wall."""
        self.cells.seconds = self.spread.seconds = 0.0
        self.comm.Barrier()
        wall, start = time.perf_counter(), time.process_time()
        iterations = self._advance(int(steps))
        total, wall = time.process_time() - start, time.perf_counter() - wall
        each = 1e3 / int(steps)
        return {
            "total": total * each, "cells": self.cells.seconds * each,
            "spread": self.spread.seconds * each, "wall": wall * each,
            "iterations": iterations / int(steps),
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }  # fmt: skip

    def save(self, path: str) -> dict[str, Any]:
        """The potential in the order of the grid; collective."""
        v: NDArray[np.float64] = self.problem.v.x.array[: self.owned]
        parts = self.comm.gather((self.place[: self.owned], v))
        if parts is not None:
            whole = np.empty(self.nodes)
            for place, values in parts:
                whole[place] = values
            np.save(path, whole)
        return {}

    def _advance(self, steps: int) -> int:
        step = self.problem.advance(self.n * self.dt, (self.n + steps) * self.dt)
        if not step.converged:
            raise RuntimeError(f"the slab fails: {step}")
        self.n += steps
        return step.krylov


def _told(comm: MPI.Comm) -> str:
    """Next line of the driver on all ranks, which sleep until it comes."""
    line = sys.stdin.readline() if comm.rank == 0 else ""
    arrived = comm.Ibarrier()
    while not arrived.Test():
        time.sleep(0.005)
    return str(comm.bcast(line))


def main() -> None:
    comm = MPI.COMM_WORLD
    worker = Worker(comm, float(sys.argv[1]), float(sys.argv[2]))
    actions: dict[str, Callable[..., dict[str, Any]]] = {
        "start": worker.start, "load": worker.load, "run": worker.run, "save": worker.save,
    }  # fmt: skip
    while line := _told(comm):
        name, *arguments = line.split()
        answer = actions[name](*arguments)
        if comm.rank == 0:
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
