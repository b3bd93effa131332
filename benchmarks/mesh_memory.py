"""Memory that reading and partitioning a mesh needs beyond what it leaves: table and a line.

    OMP_NUM_THREADS=1 python benchmarks/mesh_memory.py [--cells 5e5 1e6] [--ranks 1 2]

Boxes of tetrahedra, whose vertices and cells stand in no order, are written as `organtwin mesh`
writes its meshes. A fresh process per rank reads a small one, so that libraries are there, notes
its resident memory and resets its peak, then reads the box by `read_domain`, as a run does.

peak
    largest resident memory meanwhile, less what the process had before;
left
    resident memory when Python has collected its garbage and the allocator has given back what
    it can, less the same: the distributed mesh with regions, surfaces, and connectivities.

The ratio of both is what reading costs: 2 says that a mesh is read where it fits twice. A line

    memory = a + b n

of the tetrahedra n, all on one rank, is fitted to both by least squares of relative errors; what it
says of larger meshes than were measured is an extrapolation, and is told as one. Meshes of fewer
cells than `organtwin.mesh.ordering.LARGE` are made in another way, and don't belong on that line.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from scipy.optimize import nnls

from organtwin.case.stages import memory_peak, restart_memory_peak
from organtwin.mesh.domain import read_domain
from organtwin.mesh.mesh_files import write_mesh
from organtwin.mesh.volume_mesh import TetrahedralMesh

#: Tetrahedra that are read before anything is measured.
SMALL = 3_000
#: Tetrahedra, on one rank, that the line is asked for.
BEYOND = 10_000_000
COLUMNS = ("tetrahedra", "ranks", "rank", "peak (MiB)", "left (MiB)", "peak / left")
#: The six tetrahedra of a box whose corners are numbered x first, z last (Kuhn's).
SIX = np.array([[0, 1, 3, 7], [0, 1, 7, 5], [0, 5, 7, 4], [0, 3, 2, 7], [0, 6, 4, 7], [0, 2, 6, 7]])

Account = dict[str, Any]


def shuffled_box(cells: int) -> TetrahedralMesh:
    """A cube with about as many tetrahedra, numbered at random; all of its sides are one surface.

    Args:
        cells: Wanted; six in each of n³ boxes.
    """
    n = max(1, round((cells / 6) ** (1 / 3)))
    lines = np.arange(n + 1)
    z, y, x = np.meshgrid(lines, lines, lines, indexing="ij")
    points = np.column_stack([x.ravel(), y.ravel(), z.ravel()]) * (100.0 / n)
    first = np.arange((n + 1) ** 3).reshape(n + 1, n + 1, n + 1)[:-1, :-1, :-1].ravel()
    steps = np.array([i + (n + 1) * (j + (n + 1) * k) for k in (0, 1) for j in (0, 1)
                      for i in (0, 1)])  # fmt: skip
    order = np.random.default_rng(0)
    number = order.permutation(len(points))
    found = order.permutation(number[first[:, None, None] + steps[SIX]].reshape(-1, 4))
    placed = np.empty_like(points)
    placed[number] = points
    half = (placed[found].mean(axis=1)[:, 0] > 50.0).astype(np.int64) + 1
    return TetrahedralMesh(placed, found, half, {"left": 1, "right": 2})


def measure(small: Path, file: Path) -> None:
    """Read a box on the ranks that there are, and print the account of each as a line of JSON."""
    comm = MPI.COMM_WORLD
    kept = read_domain(small, comm)
    before = _resident()
    restart_memory_peak()
    domain = read_domain(file, comm)
    peak = memory_peak() - before
    left = _resident() - before
    cells = int(domain.mesh.topology.index_map(3).size_global)
    del kept
    told = {"cells": cells, "ranks": comm.size, "rank": comm.rank, "peak": peak, "left": left}
    for rank in range(comm.size):
        if rank == comm.rank:
            print(json.dumps(told), flush=True)
        comm.barrier()


def _resident() -> float:
    """Resident memory (MiB) without what only waits to be used again."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell the resident memory of a process")


def line(n: Sequence[float], memory: Sequence[float]) -> tuple[float, float]:
    """Coefficients a, b ≥ 0 of memory = a + b n by least squares of relative errors.

    Args:
        n: Tetrahedra.
        memory: Memory of each (MiB), > 0.
    """
    wanted = np.asarray(memory, float)
    terms = np.column_stack([np.ones(len(wanted)), np.asarray(n, float)]) / wanted[:, None]
    scale = np.abs(terms).max(axis=0)
    a, b = nnls(terms / scale, np.ones(len(wanted)))[0] / scale
    return float(a), float(b)


def table(accounts: Sequence[Account]) -> str:
    """All accounts as a table, and below what the lines of one rank say of `BEYOND` tetrahedra."""
    told = [f"| {' | '.join(COLUMNS)} |", f"|{len(COLUMNS) * '---:|'}"]
    for one in sorted(accounts, key=lambda a: (a["ranks"], a["cells"], a["rank"])):
        told.append(
            f"| {one['cells']:,} | {one['ranks']} | {one['rank']} | {one['peak']:.0f} | "
            f"{one['left']:.0f} | {one['peak'] / one['left']:.2f} |"
        )
    alone = [a for a in accounts if a["ranks"] == 1]
    if len({a["cells"] for a in alone}) < 2:
        return "\n".join([*told, "", "One size on one rank tells nothing of others."])
    n = [a["cells"] for a in alone]
    lines = {what: line(n, [a[what] for a in alone]) for what in ("peak", "left")}
    beyond = {what: (a + b * BEYOND) / 1024 for what, (a, b) in lines.items()}
    told += [""] + [
        f"{what}: {a:.0f} MiB + {1024 * b:.3f} KiB of each tetrahedron"
        for what, (a, b) in lines.items()
    ]
    told.append(
        f"{BEYOND:,} tetrahedra on one rank (extrapolated from {max(n):,}): peak "
        f"{beyond['peak']:.1f} GiB, left {beyond['left']:.1f} GiB, "
        f"ratio {beyond['peak'] / beyond['left']:.2f}"
    )
    return "\n".join(told)


def all_here(cells: Sequence[int], ranks: Sequence[int]) -> list[Account]:
    """Write each box, read it on each number of ranks."""
    accounts: list[Account] = []
    with tempfile.TemporaryDirectory() as folder:
        small, file = Path(folder) / "small.msh", Path(folder) / "box.msh"
        _python("write", str(SMALL), str(small))
        for n in cells:
            _python("write", str(n), str(file))
            for p in ranks:
                told = _python("measure", str(small), str(file), ranks=p)
                found = [json.loads(one) for one in told.splitlines() if one.startswith("{")]
                accounts += found
                print(f"{n:,} on {p}: {found}", file=sys.stderr, flush=True)
    return accounts


def _python(*arguments: str, ranks: int = 1) -> str:
    """This script in processes of its own; what they print."""
    mpiexec = [str(Path(sys.executable).parent / "mpiexec"), "-n", str(ranks)] if ranks > 1 else []
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [*mpiexec, sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE,
        text=True, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    ).stdout  # fmt: skip


def main() -> None:
    """See the top of this file."""
    if sys.argv[1:2] == ["write"]:
        write_mesh(shuffled_box(round(float(sys.argv[2]))), sys.argv[3])
        return
    if sys.argv[1:2] == ["measure"]:
        measure(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=float, nargs="+", default=[5e5, 1e6, 2e6])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    asked = parser.parse_args()
    print(table(all_here([round(n) for n in asked.cells], asked.ranks)))


if __name__ == "__main__":
    main()
