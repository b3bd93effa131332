"""Cost of parameters per node against the uniform kernel of the same model.

Run: ``python benchmarks/heterogeneous_kernel.py [MODEL ...]``. Each kernel is timed in processes of
its own, in turn with the others: where the loader happens to put a kernel's code changes its speed
by up to a factor of two, which the fastest of several processes leaves out. The goal is a ratio of
1.5 or less.
"""

from __future__ import annotations

import multiprocessing
import sys
import time

import numpy as np

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel

MODELS = ("ten_tusscher_2006_epi", "ohara_rudy_2011_endo")
COUNTS = (0, 5, 10)
NODES = 20_000
STEPS = 20
REPEATS = 3
PROCESSES = 4
DT = 0.05
GOAL = 1.5


def fastest(name: str, count: int) -> tuple[float, float]:
    """Nanoseconds per node and step with ``count`` parameters per node, and a checksum of v.

    The parameters are the first that scale a current, at the model's values; v starts spread over
    the beat.
    """
    model = CellModel.load(name)
    kernel = compile_kernel(model, fields=list(model.currents.values())[:count])
    fields = [np.full(NODES, model.parameters[field]) for field in kernel.fields]
    best, total = np.inf, 0.0
    for _ in range(REPEATS):
        states, v = kernel.initial_states(NODES), np.linspace(-85.0, 20.0, NODES)
        start = time.process_time()
        for n in range(STEPS):
            kernel.step(states, v, n * DT, DT, 0.0, fields)
        best = min(best, time.process_time() - start)
        total = float(np.abs(v).sum())
    return best / (NODES * STEPS) * 1e9, total


def compare(name: str) -> bool:
    """Print the ratios of a model; whether all keep the goal."""
    spawn = multiprocessing.get_context("spawn")
    times: dict[int, list[float]] = {count: [] for count in COUNTS}
    sums: dict[int, float] = {}
    for _ in range(PROCESSES):
        for count in COUNTS:
            with spawn.Pool(1) as pool:
                taken, sums[count] = pool.apply(fastest, (name, count))
            times[count].append(taken)
    uniform = min(times[0])
    print(f"{name}: {uniform:.1f} ns per node and step (slowest {max(times[0]):.1f})")
    kept = True
    for count in COUNTS[1:]:
        ratio = min(times[count]) / uniform
        kept &= ratio <= GOAL
        print(
            f"  {count:2} parameters per node: {min(times[count]):.1f} ns (slowest "
            f"{max(times[count]):.1f}), ratio {ratio:.2f}; sum of |v| differs by "
            f"{abs(sums[count] / sums[0] - 1):.0e}"
        )
    return kept


if __name__ == "__main__":
    kept = [compare(name) for name in sys.argv[1:] or MODELS]
    sys.exit(0 if all(kept) else 1)
