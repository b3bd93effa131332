"""Cost of parameters per node against the uniform kernel of the same model.

Run: ``python benchmarks/heterogeneous_kernel.py [MODEL ...]``. All kernels of a model are timed in
turn in one run, so that whatever else the machine does hits all of them; the ratio is what to look
at. The goal is 1.5 or less.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from organtwin.cells.kernel import Kernel, compile_kernel
from organtwin.cells.model import CellModel

MODELS = ("ten_tusscher_2006_epi", "ohara_rudy_2011_endo")
COUNTS = (5, 10)
NODES = 20_000
STEPS = 20
ROUNDS = 7
DT = 0.05
GOAL = 1.5


def fields_of(model: CellModel, count: int) -> list[str]:
    """The first ``count`` parameters that scale a current."""
    return list(model.currents.values())[:count]


def seconds(kernel: Kernel) -> tuple[float, float]:
    """Time of `STEPS` steps of `NODES` cells spread over the beat, and a checksum of v."""
    states = kernel.initial_states(NODES)
    v = np.linspace(-85.0, 20.0, NODES)
    fields = [np.full(NODES, kernel.model.parameters[name]) for name in kernel.fields]
    start = time.perf_counter()
    for n in range(STEPS):
        kernel.step(states, v, n * DT, DT, 0.0, fields)
    return time.perf_counter() - start, float(np.abs(v).sum())


def compare(name: str) -> bool:
    """Print the ratios of a model; whether all keep the goal."""
    model = CellModel.load(name)
    kernels = {n: compile_kernel(model, fields=fields_of(model, n)) for n in (0, *COUNTS)}
    times: dict[int, list[float]] = {n: [] for n in kernels}
    sums: dict[int, float] = {}
    for _ in range(ROUNDS):
        for n, kernel in kernels.items():
            taken, sums[n] = seconds(kernel)
            times[n].append(taken)
    best = min(times[0]) / (NODES * STEPS) * 1e9
    print(f"{name}: {best:.1f} ns per node and step with uniform parameters")
    kept = True
    for n in COUNTS:
        ratios = np.array(times[n]) / np.array(times[0])
        ratio = min(times[n]) / min(times[0])
        kept &= ratio <= GOAL
        print(
            f"  {n:2} per node: ratio {ratio:.3f} of the fastest rounds (single rounds "
            f"{ratios.min():.2f} to {ratios.max():.2f}), "
            f"sum of |v| differs by {abs(sums[n] / sums[0] - 1):.0e}"
        )
    return kept


if __name__ == "__main__":
    sys.exit(0 if all([compare(name) for name in sys.argv[1:] or MODELS]) else 1)
