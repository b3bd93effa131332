"""Arrival times in anisotropic tissue: our solver beside fim-python's, on one mesh in one run.

Run: ``OMP_NUM_THREADS=1 python benchmarks/eikonal.py [--edge 46] [--peer-python PYTHON]``. The
other Python is one that has fim-python; without it only ours is timed. A wave starts at the node in
the middle of a cube of 20 mm whose velocities are 0.6, 0.3 and 0.2 mm/ms at an angle to the mesh,
so that the exact times are known. The peer gets the same nodes, cells and tensors; it computes with
its active list on numpy, in double precision. The set-up of neither is counted.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

from organtwin.verify.eikonal import Cube

ROUNDS = 5
PEER = """
import sys, time
import numpy as np
from fimpy.solver import create_fim_solver
given = np.load(sys.argv[1])
solver = create_fim_solver(given["x"], given["cells"], given["D"], precision=np.float64)
start = time.perf_counter()
T = solver.comp_fim(given["start"], np.zeros(1))
np.savez(sys.argv[2], T=T, seconds=time.perf_counter() - start)
"""


def peer(python: Path, cube: Cube, start: int) -> tuple[np.ndarray, float]:
    """Times (ms) and seconds of fim-python."""
    cells, x = cube.V.dofmap.list, cube.V.tabulate_dof_coordinates()
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
        tensors = np.broadcast_to(cube.D, (len(cells), 3, 3))
        np.savez(given, x=x, cells=cells, D=tensors, start=np.array([start]))
        subprocess.run([python, "-c", PEER, given, found], check=True, stdout=subprocess.DEVNULL)
        result = np.load(found)
        return result["T"], float(result["seconds"])


def fastest(cube: Cube, start: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, float]:
    """Times (ms) and the fewest seconds of several rounds."""
    seconds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        T = cube.eikonal.solve(*start).x.array
        seconds.append(time.perf_counter() - begun)
    return T, min(seconds)


def report(name: str, T: np.ndarray, seconds: float, exact: np.ndarray) -> None:
    error = np.abs(T - exact)
    print(f"{name:<12} {seconds / len(T) * 1e9:10.0f} ns per node, error {error.mean():.4f} ms "
          f"on average, {error.max():.4f} at most")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=int, default=46, help="divisions of the cube's edge, even")
    parser.add_argument("--peer-python", type=Path, help="Python that has fim-python")
    arguments = parser.parse_args()
    begun = time.perf_counter()
    cube = Cube.of(MPI.COMM_SELF, arguments.edge)
    start, exact = int(cube.exact.argmin()), cube.exact
    print(f"{len(exact)} nodes, {len(cube.V.dofmap.list)} tetrahedra, "
          f"mesh and set-up in {time.perf_counter() - begun:.3f} s")  # fmt: skip
    node = np.array([start], dtype=np.int32), np.zeros(1)
    T, seconds = fastest(cube, node)
    report("organtwin", T, seconds, exact)
    report("  with ball", *fastest(cube, cube.start(4.0)), exact)
    if arguments.peer_python is None:
        return
    other, taken = peer(arguments.peer_python, cube, start)
    report("fim-python", other, taken, exact)
    print(f"ratio        {taken / seconds:10.0f}, largest difference "
          f"{np.abs(other - T).max():.2e} ms")  # fmt: skip


if __name__ == "__main__":
    main()
