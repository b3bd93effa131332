"""Speed of the slab of Niederer et al. (2011) beside fenicsx-beat, on two ranks and to the limits.

Run: ``OMP_NUM_THREADS=1 python benchmarks/niederer_speed.py [--peer-python PATH] [--ranks 2]``.
PATH is the python of an environment with fenicsx-beat and gotranx. All processes begin with one
state, in which a wave is running, take the same steps (Godunov, implicit Euler, consistent mass,
nodal currents, generalised Rush–Larsen) and solve to the same tolerance. They take turns, so that
what else the machine does hits all of them: compare ratios, which are of processor time.
"""

from __future__ import annotations

import argparse
import ctypes
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organtwin.cells import codegen
from organtwin.cells.model import CellModel
from organtwin.solve.native import FAST, compiled

HERE = Path(__file__).parent
DEFINITION = Path(inspect.getfile(codegen)).parent / "library" / "ten_tusscher_2006.ode"
DT = 0.05
#: Steps from rest to the state that all begin with: 4 ms after the stimulus.
WARM_UP = 120
#: Measured before, on another processor: ms per step and MiB of fenicsx-beat.
RECORDED = {"total": 156.0, "memory": 470.0}
LIMITS = """
#include <stddef.h>
void triad(double *restrict a, const double *restrict b, const double *restrict c, size_t n)
{ for (size_t i = 0; i < n; ++i) a[i] = b[i] + 1.5 * c[i]; }
void multiply(const int *restrict start, const int *restrict column, const double *restrict value,
              const double *restrict x, double *restrict y, size_t n)
{ for (size_t i = 0; i < n; ++i) {
    double sum = 0.0;
    for (int k = start[i]; k < start[i + 1]; ++k) sum += value[k] * x[column[k]];
    y[i] = sum; } }
typedef double vector __attribute__((vector_size(64)));
void multiply_add(double *x, size_t n, int times)
{ for (size_t i = 0; i < n; i += 128) {
    vector *v = (vector *)(x + i);
    vector a = v[0], b = v[1], c = v[2], d = v[3], e = v[4], f = v[5], g = v[6], h = v[7],
           p = v[8], q = v[9], r = v[10], s = v[11], k = v[12], l = v[13], m = v[14], o = v[15];
    for (int t = 0; t < times; ++t) {
      a = a * 0.999 + 1e-3; b = b * 0.999 + 1e-3; c = c * 0.999 + 1e-3; d = d * 0.999 + 1e-3;
      e = e * 0.999 + 1e-3; f = f * 0.999 + 1e-3; g = g * 0.999 + 1e-3; h = h * 0.999 + 1e-3;
      p = p * 0.999 + 1e-3; q = q * 0.999 + 1e-3; r = r * 0.999 + 1e-3; s = s * 0.999 + 1e-3;
      k = k * 0.999 + 1e-3; l = l * 0.999 + 1e-3; m = m * 0.999 + 1e-3; o = o * 0.999 + 1e-3; }
    v[0] = a; v[1] = b; v[2] = c; v[3] = d; v[4] = e; v[5] = f; v[6] = g; v[7] = h;
    v[8] = p; v[9] = q; v[10] = r; v[11] = s; v[12] = k; v[13] = l; v[14] = m; v[15] = o; } }
void divide(double *restrict x, size_t n, int times)
{ for (int t = 0; t < times; ++t) for (size_t i = 0; i < n; ++i) x[i] = 1.5 / (x[i] + 0.1); }
"""


class Process:
    """A program that takes turns with others.

    Args:
        command: What to run.
    """

    def __init__(self, command: Sequence[str]) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def do(self, *words: object) -> dict[str, Any]:
        """Send a line, wait for the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*words, file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        raise SystemExit(f"{self._process.args!r} ended with code {self._process.wait()}.")

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def ours(h: float, ranks: int = 1) -> Process:
    """Our process."""
    start = [str(Path(sys.executable).with_name("mpiexec")), "-n", str(ranks)] if ranks > 1 else []
    return Process([*start, sys.executable, str(HERE / "slab_worker.py"), str(h), str(DT)])


def peer(python: str, h: float, solver: str) -> Process:
    """The peer's process."""
    model = CellModel.load("ten_tusscher_2006_epi")
    names = [name for name in model.states if name != model.potential] + [model.potential]
    arguments = [str(h), str(DT), str(DEFINITION), ",".join(names), solver]
    return Process([python, str(HERE / "peer_beat.py"), *arguments])


def rounds(
    processes: dict[str, Process], steps: dict[str, int], count: int
) -> dict[str, list[dict[str, Any]]]:
    """Answers of all processes, in turns; a first round, which compiles and caches, is dropped."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in processes}
    for number in range(count + 1):
        for name, process in processes.items():
            answer = process.do("run", steps[name])
            if number:
                found[name].append(answer)
    return found


def middle(answers: Sequence[dict[str, Any]], key: str) -> float:
    """Median over the rounds."""
    return median(float(answer[key]) for answer in answers)


def table(found: dict[str, list[dict[str, Any]]]) -> None:
    """Print the times of a step."""
    print(f"{'':<22}{'ms/step':>9}{'cells':>8}{'PDE':>8}{'rest':>8}{'its':>6}{'MiB':>7}")
    for name, answers in found.items():
        total, cells, spread, its, memory = (
            middle(answers, key) for key in ("total", "cells", "spread", "iterations", "memory")
        )
        rest = total - cells - spread
        print(f"{name:<22}{total:9.2f}{cells:8.2f}{spread:8.2f}{rest:8.2f}{its:6.1f}{memory:7.0f}")


def goal(met: bool, text: str) -> None:
    """Print a goal and whether it is met."""
    print(f"{'met' if met else 'MISSED':<7} {text}")


def seconds(function: Callable[[], Any], repeats: int = 15) -> float:
    """Processor time of a call, the fastest of several."""
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return best


def native() -> ctypes.CDLL:
    """Loops that measure what the processor can do."""
    return ctypes.CDLL(str(compiled(LIMITS, kind="benchmarks")))


def _address(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def bandwidth(code: ctypes.CDLL, size: float) -> float:
    """Bytes per second of a triad over arrays of ``size`` bytes together."""
    n = int(size / 24)
    a, b, c = np.zeros(n), np.ones(n), np.ones(n)
    times = max(1, int(5e7 / size))

    def run() -> None:
        for _ in range(times):
            code.triad(_address(a), _address(b), _address(c), ctypes.c_size_t(n))

    return 24 * n * times / seconds(run)


def arithmetic(code: ctypes.CDLL) -> dict[str, float]:
    """Nanoseconds per operation and value, of vectorised loops in the cache."""
    n, times = 1024, 2000
    raw = np.full(n + 8, 0.5)
    x = raw[-(raw.ctypes.data // 8) % 8 :][:n]  # vectors want addresses that are multiples of 64
    found = {}
    for name, function in (("multiply-add", code.multiply_add), ("division", code.divide)):

        def run(function: Any = function) -> None:
            function(_address(x), ctypes.c_size_t(n), ctypes.c_int(times))

        found[name] = seconds(run) / (n * times) * 1e9
    return found


def operations() -> dict[str, int]:
    """Vector instructions per vector of cells that the compiler makes, and exponentials.

    Divisions stand apart; what is no arithmetic of floating point is left out. An iteration of the
    loop may be several vectors long: it shows in how far the addresses advance, in bytes.
    """
    source = codegen.c_source(CellModel.load("ten_tusscher_2006_epi"))
    command = [shutil.which("cc") or "gcc", *FAST, "-fno-inline", "-S", "-xc", "-", "-o", "-"]
    told = subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout
    begin = re.search(r"^advance[.\w]*:$", told, re.MULTILINE)
    if begin is None:
        raise SystemExit("The compiler leaves no function `advance` to count in.")
    lines = told[begin.start() : told.index(".cfi_endproc", begin.start())].splitlines()
    width = next(w for w in ("zmm", "ymm", "xmm") if any("vdivpd" in x and w in x for x in lines))
    names = [line.split()[0] for line in lines if f"%{width}" in line]
    strides = re.findall(r"\t(?:add|sub)q\t\$-?(64|128|256|512),", "\n".join(lines))
    vectors = int(strides[0]) // {"zmm": 64, "ymm": 32, "xmm": 16}[width] if strides else 1
    arithmetic_ones = re.compile(r"v(fn?m(add|sub)\d+|mul|add|sub|min|max|sqrt|rndscale|round)pd")
    return {
        "division": names.count("vdivpd") // vectors,
        "multiply-add": sum(arithmetic_ones.fullmatch(n) is not None for n in names) // vectors,
        "exponential": sum(name in ("vrndscalepd", "vroundpd") for name in names) // vectors,
    }


def limits(h: float, answers: Sequence[dict[str, Any]]) -> float:
    """Print how far the parts are from what the machine can do; the PDE's time over its floor."""
    from mpi4py import MPI
    from slab_worker import VARIANT

    from organtwin.verify.niederer import slab

    problem = slab(MPI.COMM_SELF, h, VARIANT, DT)
    K = problem.spread.K  # type: ignore[attr-defined]
    start, column, value = K.getValuesCSR()
    n, nonzeros = len(start) - 1, len(value)
    code = native()
    matrix = 12.0 * nonzeros + 4.0 * n
    iterations = middle(answers, "iterations")
    # Per iteration: product (x, y), two inner products (4), three updates (9), diagonal (3).
    moved = (iterations + 2) * (matrix + 16.0 * n) + iterations * 16 * 8.0 * n + 12 * 8.0 * n
    both = 2 * matrix + 8 * 8.0 * n
    near, far = bandwidth(code, both), bandwidth(code, 600e6)
    x, y = np.ones(n), np.empty(n)
    spread = middle(answers, "spread") * 1e-3

    def product() -> None:
        code.multiply(
            *map(_address, (start, column, value, x, y)), ctypes.c_size_t(n)
        )  # fmt: skip

    vectors = K.createVecs()
    vectors[0].set(1.0)
    petsc = seconds(lambda: K.mult(*vectors))
    print(f"\nPDE: {nonzeros} entries, {n} rows, {moved / 1e6:.0f} MB moved per step")
    for size, rate in ((both, near), (600e6, far)):
        print(
            f"  triad over {size / 1e6:3.0f} MB: {rate / 1e9:5.1f} GB/s, floor"
            f" {1e3 * moved / rate:.2f} ms, the step takes {spread * rate / moved:.2f} times that"
        )
    print(
        f"  a product takes {petsc * 1e6:.0f} µs ({matrix / petsc / 1e9:.0f} GB/s), the same in"
        f" native C {seconds(product) * 1e6:.0f} µs"
    )
    _cell_limits(code, 1e6 * middle(answers, "cells") / n, far)
    return spread * near / moved


def _cell_limits(code: ctypes.CDLL, taken: float, rate: float) -> None:
    costs, counts = arithmetic(code), operations()
    told = ", ".join(f"{counts[k]} {k}s of {costs[k]:.3f} ns" for k in costs)
    print(f"\ncells, instructions per node: {told}; {counts['exponential']} exponentials")
    floors = {f"{k}s": costs[k] * counts[k] for k in costs}
    floors["memory (19 states)"] = 19 * 16.0 / rate * 1e9
    told = ", ".join(f"{name} {value:.1f} ns" for name, value in floors.items())
    print(f"  floors: {told}; taken {taken:.1f} ns, {taken / max(floors.values()):.2f} times the")
    print("  highest, and 1.0 would need all of them to overlap")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", help="python with fenicsx-beat and gotranx")
    parser.add_argument("--peer-solver", choices=("same", "iterative", "direct"), default="same")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--h", type=float, default=0.2, help="edge of the cubes (mm)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="of ours in a round")
    parser.add_argument("--peer-steps", type=int, default=4, help="of the peer in a round")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(arguments, Path(folder))


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    """Run everything and print it."""
    state, h = folder / "state.npz", arguments.h
    processes = {"organtwin": ours(h)}
    processes["organtwin"].do("start", WARM_UP, state)
    steps = {"organtwin": arguments.steps}
    if arguments.peer_python:
        processes["fenicsx-beat"] = peer(arguments.peer_python, h, arguments.peer_solver)
        processes["fenicsx-beat"].do("load", state)
        steps["fenicsx-beat"] = arguments.peer_steps
    found = rounds(processes, steps, arguments.rounds)
    table(found)
    own = found["organtwin"]
    if arguments.peer_python:
        other = found["fenicsx-beat"]
        ratios = [b["total"] / a["total"] for a, b in zip(own, other, strict=True)]
        print(f"rounds {min(ratios):.1f} to {max(ratios):.1f} times faster")
        ratio, memory = median(ratios), middle(other, "memory")
        _agreement(processes, state, folder, arguments.peer_steps)
    else:
        print(f"fenicsx-beat, recorded on another machine: {RECORDED['total']:g} ms per step")
        ratio, memory = RECORDED["total"] / middle(own, "total"), RECORDED["memory"]
    if "fenicsx-beat" in processes:
        processes["fenicsx-beat"].close()
    gain = _gain(processes["organtwin"], arguments, state) if arguments.ranks > 1 else None
    processes["organtwin"].close()
    share = limits(h, own)
    print()
    against = "" if arguments.peer_python else " (the recorded one)"
    goal(ratio >= 30, f"{ratio:.1f} times faster than fenicsx-beat{against}; goal 30")
    used = middle(own, "memory")
    goal(used <= memory, f"{used:.0f} MiB; goal the peer's{against} {memory:.0f} MiB or less")
    goal(share <= 2, f"PDE at {share:.2f} times the floor by bandwidth; goal 2 or less")
    if gain is not None:
        goal(gain >= 1.5, f"{gain:.2f} times faster on {arguments.ranks} ranks; goal 1.5")


def _agreement(processes: dict[str, Process], state: Path, folder: Path, steps: int) -> None:
    """Both take the same steps from the same state."""
    results = []
    for name, process in processes.items():
        path = folder / f"{name}.npy"
        process.do("load", state)
        for _ in range(5):
            process.do("run", steps)
        process.do("save", path)
        results.append(np.load(path))
    difference = np.abs(results[0] - results[1]).max()
    with np.load(state) as start:
        moved = np.abs(results[0] - start["values"][-1].ravel()).max()
    print(
        f"v after {5 * steps} steps differs by {difference:.1e} mV at most; it moved {moved:.0f} mV"
    )


def _gain(single: Process, arguments: argparse.Namespace, state: Path) -> float:
    """Wall time of one rank over that of several, median of rounds in turns."""
    several = ours(arguments.h, arguments.ranks)
    several.do("load", state)
    single.do("load", state)
    steps = {"1": arguments.steps, "n": arguments.steps}
    found = rounds({"1": single, "n": several}, steps, arguments.rounds)
    several.close()
    gains = [a["wall"] / b["wall"] for a, b in zip(found["1"], found["n"], strict=True)]
    busy = [a["wall"] / a["total"] for a in found["1"]]
    best = min(a["wall"] for a in found["1"]) / min(b["wall"] for b in found["n"])
    print(
        f"\n{arguments.ranks} ranks: wall {middle(found['1'], 'wall'):.2f} and"
        f" {middle(found['n'], 'wall'):.2f} ms/step, rounds {min(gains):.2f} to {max(gains):.2f}"
        f" times faster, best of each {best:.2f}; processor time of a rank"
        f" {middle(found['1'], 'total'):.2f} and {middle(found['n'], 'total'):.2f} ms/step"
        f"\n  (one rank had {100 / median(busy):.0f} % of a core: below 95 % the machine is shared"
        " and wall times are not to be trusted)"
    )
    return median(gains)


if __name__ == "__main__":
    main()
