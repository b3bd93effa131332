"""Cost of the cell kernels: every model and scheme, parameters per node, sub-steps, and a peer.

Run: ``OMP_NUM_THREADS=1 python benchmarks/ionic.py [MODEL ...] [--peer-python PATH]``. PATH is the
python of an environment with gotranx, whose numpy kernel of our definition of ten Tusscher &
Panfilov (2006) is then timed in turns with ours. Times are processor time, the median of rounds in
which the kernels take turns.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
from niederer_speed import DEFINITION, Process

from organtwin.cells import codegen
from organtwin.cells.catalogue import library
from organtwin.cells.codegen import Scheme
from organtwin.cells.kernel import Kernel, compile_kernel
from organtwin.cells.model import CellModel

HERE = Path(__file__).parent
NODES = 20_000
STEPS = 5
ROUNDS = 5
DT = 0.05
PEER_MODEL = "ten_tusscher_2006_epi"
#: Goal for ten Tusscher & Panfilov with Rush–Larsen (ns per node and step).
GOAL = 60.0
#: Parameters with a value per node.
FIELDS = 10


def plain(model: CellModel, scheme: Scheme, folder: Path) -> Kernel:
    """The same source with -O2 alone: scalar, strict floating point, libm's exponential."""
    stem = f"{model.name}_{scheme}"
    source, library_file = folder / f"{stem}.c", folder / f"{stem}.so"
    # Ours would be slow there: it relies on the instruction for a multiplication with addition.
    begin = "/* condition ?"
    code = codegen.c_source(model, scheme).replace(begin, f"#define exponential exp\n{begin}")
    source.write_text(code, encoding="utf-8")
    compiler = shutil.which("cc") or "gcc"
    flags = ["-O2", "-fno-tree-vectorize", "-fPIC", "-shared", "-std=c11"]
    subprocess.run([compiler, *flags, str(source), "-o", str(library_file), "-lm"], check=True)
    return Kernel(model, library_file)


def stepper(kernel: Kernel) -> Callable[[], float]:
    """Function that takes `STEPS` steps from v spread over the beat: ns per node and step."""
    fields = [np.full(NODES, kernel.model.parameters[name]) for name in kernel.fields]

    def run() -> float:
        states, v = kernel.initial_states(NODES), np.linspace(-85.0, 20.0, NODES)
        start = time.process_time()
        for n in range(STEPS):
            kernel.step(states, v, n * DT, DT, 0.0, fields)
        return (time.process_time() - start) / (NODES * STEPS) * 1e9

    return run


def in_turns(runs: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Nanoseconds of each in every round but the first."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(ROUNDS + 1):
        for name, run in runs.items():
            taken = run()
            if number:
                found[name].append(taken)
    return found


def ratio(slow: list[float], fast: list[float]) -> float:
    """Median over the rounds."""
    return median(a / b for a, b in zip(slow, fast, strict=True))


def row(model: CellModel, folder: Path) -> str:
    """All schemes of a model and what fields and sub-steps cost with the default one."""
    runs = {str(scheme): stepper(compile_kernel(model, scheme=scheme)) for scheme in Scheme}
    default = Scheme.GENERALISED_1
    runs["plain"] = stepper(plain(model, default, folder))
    fields = list(model.currents.values())[:FIELDS] or list(model.parameters)[:FIELDS]
    runs["fields"] = stepper(compile_kernel(model, fields=fields))
    # The tolerance decides how many cells take the step again: none, and all.
    runs["watched"] = stepper(compile_kernel(model, substeps=10, tolerance=1e9))
    runs["all"] = stepper(compile_kernel(model, substeps=10, tolerance=0.0))
    found = in_turns(runs)
    own = found[str(default)]
    times = " | ".join(f"{median(found[str(scheme)]):.0f}" for scheme in Scheme)
    costs = " | ".join(f"{ratio(found[name], own):.2f}" for name in ("fields", "watched", "all"))
    return f"| {model.name} | {times} | {ratio(found['plain'], own):.1f} | {costs} |"


def beside_peer(python: str) -> None:
    """Print times of our kernel and of gotranx's on the same definition."""
    model = CellModel.load(PEER_MODEL)
    peer = Process([python, str(HERE / "peer_gotranx.py"), str(DEFINITION), str(NODES), str(DT)])
    runs = {str(s): stepper(compile_kernel(model, scheme=s)) for s in Scheme}
    found = in_turns({**runs, "gotranx": lambda: float(peer.do("run", STEPS)["nanoseconds"])})
    peer.close()
    print(f"\n{PEER_MODEL}, generalised Rush–Larsen: gotranx's numpy kernel takes")
    own = found[str(Scheme.GENERALISED_1)]
    print(
        f"{median(found['gotranx']):.0f} ns, ours {median(own):.0f} ns:"
        f" {ratio(found['gotranx'], own):.1f} times faster"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(library()))
    parser.add_argument("--peer-python", help="python with gotranx")
    arguments = parser.parse_args()
    print(f"{NODES} nodes; ns of processor time per node and step, then ratios to order 1\n")
    print(
        "| model | Rush–Larsen | order 1 | order 2 | plain -O2 | "
        f"{FIELDS} fields | sub-steps, none taken | 10 sub-steps everywhere |"
    )
    print("|---|" + "---:|" * 7)
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            print(row(CellModel.load(name), Path(folder)), flush=True)
    if arguments.peer_python:
        beside_peer(arguments.peer_python)
    kernel = compile_kernel(CellModel.load(PEER_MODEL), scheme=Scheme.RUSH_LARSEN)
    taken = median(in_turns({"ours": stepper(kernel)})["ours"])
    told = "met" if taken <= GOAL else "MISSED"
    print(f"\n{told}: {taken:.0f} ns for {PEER_MODEL} with Rush–Larsen; goal {GOAL:.0f}")


if __name__ == "__main__":
    main()
