"""How the cost of a load path grows with the mesh: time per Newton step, memory, ranks, compiling.

    OMP_NUM_THREADS=1 python benchmarks/land_scaling.py [--sizes 1.85 1.1 0.53] [--ranks 1]
    OMP_NUM_THREADS=1 python benchmarks/land_scaling.py --jit

The ventricle of problem 2 of Land et al. (2015) is inflated (to 2 kPa) by `follow`, with default
settings, on meshes of decreasing size; each in a process of its own, whose peak memory is told. A
Newton step is one correction with all that belongs to it: its share of the residuals, tangents,
factorisations and linear solves of the whole path. Seconds are processor time of the busiest rank,
which other work on the machine disturbs less than wall time does.

Seen on a machine with other work on all of its cores, to 1 kPa: 0.044, 0.196, 0.448 and 1.49 s per
iteration with 16, 67, 161 and 507 thousand unknowns (24 to 29 iterations, 1 or 2 tangents), which
grows like n^1.0; 0.31, 1.00, 0.88 and 2.5 GiB. Factors serve up to 100 thousand unknowns, above it
is the Krylov solver. Two ranks take 0.117, 0.287 and 1.03 s with 67, 161 and 507 thousand: 1.7, 1.6
and 1.4 times less, with 1.3, 1.2 and 3.1 GiB together. The forms take 8 s of processor time cold,
of which the compiler takes 7 for the tangent, and 0.07 s warm.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

from organtwin.materials.guccione import Guccione
from organtwin.materials.kinematics import as_constants
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.cavity import Cavity
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import Incompressibility, PassiveStress
from organtwin.solve.nonlinear import Tolerances
from organtwin.solve.steward import follow
from organtwin.verify.geometry import truncated_ellipsoid


def ventricle(size: float, folder: str) -> Mechanics:
    """Problem 2 of Land et al. on a mesh of a given edge length (mm)."""
    path = Path(MPI.COMM_WORLD.bcast(folder)) / "lv.msh"
    domain = truncated_ellipsoid(MPI.COMM_WORLD, path, size=size)
    law = as_constants(Guccione(stiffness=10.0, b_f=1.0, b_t=1.0, b_fs=1.0), domain.mesh)
    return Mechanics(
        domain,
        [PassiveStress(law, cartesian()), Incompressibility()],
        cavities=[Cavity("lv", "lv_endo", "base")],
        dirichlet=[Dirichlet("base")],
        tolerances=Tolerances(increment=1e-6),
    )


def inflate(size: float, pressure: float) -> dict[str, float]:
    """Account of one path, the same on all ranks."""
    comm = MPI.COMM_WORLD
    with tempfile.TemporaryDirectory() as folder:
        problem = ventricle(size, folder)
    problem.solve(pressures=[0.0])  # compiled and allocated before the clock starts
    start = time.process_time()

    def apply(factor: float) -> None:
        problem.pressures[:] = pressure * factor

    unloaded = problem.solve(pressures=[0.0], fresh=True)  # the first tangent counts
    path = follow(problem, apply)
    path.require()
    iterations = unloaded.iterations + path.iterations
    seconds = comm.allreduce(time.process_time() - start, op=MPI.MAX)
    memory = comm.allreduce(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 2**20
    unknowns = problem.W.dofmap.index_map.size_global
    return {
        "unknowns": unknowns, "steps": path.steps, "retries": path.retries,
        "iterations": iterations,
        "factorisations": unloaded.factorisations + path.factorisations,
        "seconds": seconds, "per_iteration": seconds / iterations, "GiB": memory,
        "volume": float(problem.volumes()[0]),
        **{f"wall_{part}": value for part, value in path.seconds.items()},
    }  # fmt: skip


def in_a_process(arguments: list[str], ranks: int, cache: str | None = None) -> dict[str, float]:
    """Last line that this script prints when run with other arguments, as JSON."""
    mpiexec = str(Path(sys.executable).parent / "mpiexec")
    launcher = [mpiexec, "-n", str(ranks)] if ranks > 1 else []
    environment = {**os.environ, **({"ORGANTWIN_CACHE": cache} if cache else {})}
    command = [*launcher, sys.executable, __file__, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, float] = json.loads(result.stdout.strip().splitlines()[-1])
    return found


def scaling(sizes: list[float], ranks: int, pressure: float) -> None:
    """Print a line per mesh and the exponent over all of them."""
    found = []
    for size in sizes:
        one = in_a_process(["--one", str(size), "--pressure", str(pressure)], ranks)
        found.append(one)
        print(
            f"{size:5.2f} mm  {one['unknowns']:8d} unknowns  {one['steps']:2d} steps  "
            f"{one['iterations']:3d} iterations  {one['factorisations']:2d} tangents  "
            f"{one['per_iteration']:7.3f} s per iteration  {one['GiB']:5.2f} GiB",
            flush=True,
        )
    if len(found) > 1:
        n, t = (np.log([one[key] for one in found]) for key in ("unknowns", "per_iteration"))
        print(f"time per iteration grows like n^{np.polyfit(n, t, 1)[0]:.2f}")


def compiling() -> None:
    """Print what the forms of a case cost, cold and from the cache."""
    with tempfile.TemporaryDirectory() as cache:
        for name in ("cold", "warm"):
            print(f"{name}: {in_a_process(['--forms'], 1, cache)['seconds']:.2f} s", flush=True)


def forms() -> dict[str, float]:
    """Seconds from a mesh to the first solve on very few elements, less those of a second one."""
    seconds = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            ventricle(6.0, folder).solve(pressures=[0.01])
            seconds.append(time.perf_counter() - start)
    return {"seconds": seconds[0] - seconds[1]}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=float, nargs="+", default=[1.85, 1.1, 0.53])
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--pressure", type=float, default=2.0, help="kPa")
    parser.add_argument("--jit", action="store_true")
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--forms", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one or asked.forms:
        result = inflate(asked.one, asked.pressure) if asked.one else forms()
        if MPI.COMM_WORLD.rank == 0:
            print(json.dumps(result))
    elif asked.jit:
        compiling()
    else:
        scaling(asked.sizes, asked.ranks, asked.pressure)


if __name__ == "__main__":
    main()
