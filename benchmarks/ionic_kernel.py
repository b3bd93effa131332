"""Speed of the vectorised cell kernel against a plain scalar build of the same generated C.

Run: ``python benchmarks/ionic_kernel.py``. Both builds are timed in turn in one run, so that
whatever else the machine does hits both; the ratio is what to look at.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from organtwin.cells import codegen
from organtwin.cells.kernel import Kernel, compile_kernel
from organtwin.cells.model import CellModel

NODES = 20_000
STEPS = 50
ROUNDS = 5
DT = 0.05


def plain(model: CellModel, folder: Path) -> Kernel:
    """The same source with -O2 alone: scalar, strict floating point, libm's exponential."""
    source, library = folder / "cell.c", folder / "cell.so"
    source.write_text(codegen.c_source(model), encoding="utf-8")
    compiler = shutil.which("cc") or "gcc"
    flags = ["-O2", "-fno-tree-vectorize", "-fPIC", "-shared", "-std=c11"]
    subprocess.run([compiler, *flags, str(source), "-o", str(library), "-lm"], check=True)
    return Kernel(model, library)


def seconds(kernel: Kernel) -> tuple[float, float]:
    """Time of `STEPS` steps of `NODES` cells spread over the beat, and a checksum of v."""
    states = kernel.initial_states(NODES)
    v = np.linspace(-85.0, 20.0, NODES)
    start = time.perf_counter()
    for n in range(STEPS):
        kernel.step(states, v, n * DT, DT)
    return time.perf_counter() - start, float(np.abs(v).sum())


def main() -> None:
    model = CellModel.load("ten_tusscher_2006_epi")
    with tempfile.TemporaryDirectory() as folder:
        kernels = {"vectorised": compile_kernel(model), "plain -O2": plain(model, Path(folder))}
        times: dict[str, list[float]] = {name: [] for name in kernels}
        sums: dict[str, float] = {}
        for _ in range(ROUNDS):
            for name, kernel in kernels.items():
                taken, sums[name] = seconds(kernel)
                times[name].append(taken)
    best = {name: min(found) / (NODES * STEPS) * 1e9 for name, found in times.items()}
    for name, nanoseconds in best.items():
        print(f"{name:<12} {nanoseconds:8.1f} ns per node and step")
    ratios = np.array(times["plain -O2"]) / np.array(times["vectorised"])
    print(
        f"ratio        {np.median(ratios):8.2f} (rounds {ratios.min():.2f} to {ratios.max():.2f})"
    )
    print(f"difference   {abs(sums['vectorised'] / sums['plain -O2'] - 1):8.1e} of the sum of |v|")


if __name__ == "__main__":
    main()
