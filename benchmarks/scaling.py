"""Weak and strong scaling of three solves on this machine or cluster: table, picture, and a model.

    sbatch scripts/cluster/scaling.slurm                   # or: qsub scripts/cluster/scaling.pbs
    python benchmarks/scaling.py all --ranks 1 2 4 --out FOLDER     # on one machine

Both run, for each number of ranks,

    mpirun -n P python benchmarks/scaling.py run PROBLEM --kind KIND --unknowns N --out FOLDER

which appends a line to ``FOLDER/scaling.jsonl``, and in the end

    python benchmarks/scaling.py table FOLDER

Problems: ``bone`` (linear elasticity, modulus 1:2000, CG with multigrid: one solve), ``monodomain``
(ten Tusscher & Panfilov on the slab of Niederer et al.: a step), ``mechanics`` (a stretched block
of Guccione's muscle, P2–P1: one Newton correction). ``strong`` keeps the unknowns, ``weak`` keeps
those of a rank.

Seconds are wall time of the slowest rank; memory is the peak of the rank that needed most, and of
all. Messages and their bytes are those that PETSc counts in its solves on one rank, the mean over
ranks. The model

    t = a n / p + b (n / p)^(2/3) [p > 1] + c log2(p)

of work, halo and reductions is fitted to the seconds of each problem with a, b, c ≥ 0; what it says
of more ranks than were measured is an extrapolation, and is told as one.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from petsc4py import PETSc
from scipy.optimize import nnls

from benchmarks import bone
from organtwin.case.stages import memory_peak
from organtwin.materials.guccione import Guccione
from organtwin.materials.kinematics import as_constants
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.formulation import PENALTY_P1
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import Incompressibility, PassiveStress
from organtwin.solve.nonlinear import Outcome
from organtwin.verify.geometry import box
from organtwin.verify.niederer import BY_NAME, SIZE, slab

VARIANT = BY_NAME["P1 consistent, ICI, Godunov"]
#: Steps of the slab that are timed, after as many that are not; their length (ms).
STEPS, DT = 20, 0.05
#: Unknowns of strong scaling, or of each rank of weak scaling.
SIZES = {"bone": 150_000, "monodomain": 300_000, "mechanics": 60_000}
#: Ranks that the model is asked for.
BEYOND = (16, 64, 256)
FILE = "scaling.jsonl"
COLUMNS = (
    "problem", "kind", "ranks", "unknowns", "iterations", "s", "efficiency", "MiB of a rank", "MiB",
    "messages", "kB each",
)  # fmt: skip

Account = dict[str, Any]


def counted(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What a piece of work returns, and PETSc's messages in its solves, per rank; collective."""
    comm = MPI.COMM_WORLD
    event = PETSc.Log.Event("KSPSolve")
    before = event.getPerfInfo()
    comm.barrier()
    begun = time.perf_counter()
    found = work()
    seconds = comm.allreduce(time.perf_counter() - begun, op=MPI.MAX)
    after = event.getPerfInfo()
    told = {
        name: comm.allreduce(after[key] - before[key]) / comm.size
        for name, key in (
            ("messages", "numMessages"), ("bytes", "messageLength"),
        )
    }  # fmt: skip
    return found, {"seconds": seconds, **told}


def solve_bone(unknowns: int) -> Account:
    """One solve of a block whose modulus is random from cell to cell."""
    n = max(4, round((unknowns / 3) ** (1 / 3)) - 1)
    small, pair = bone.boxes(MPI.COMM_WORLD, [4, n])
    bone.solve(*small, PENALTY_P1)  # compiled before the clock starts
    cost, told = counted(lambda: bone.solve(*pair, PENALTY_P1))
    return {"unknowns": cost.unknowns, "iterations": cost.iterations, **told}


def step_monodomain(unknowns: int) -> Account:
    """The mean of some steps of the slab, cells and diffusion."""
    h = float((np.prod(SIZE) / unknowns) ** (1 / 3))
    h = min(SIZE) / max(2, round(min(SIZE) / h))
    problem = slab(MPI.COMM_WORLD, h, VARIANT, DT)
    problem.advance(0.0, STEPS * DT)
    step, told = counted(lambda: problem.advance(STEPS * DT, 2 * STEPS * DT))
    if not step.converged:
        raise RuntimeError(f"the slab fails: {step}")
    size = problem.v.function_space.dofmap.index_map.size_global
    told = {name: value / STEPS for name, value in told.items()}
    return {"unknowns": size, "iterations": step.krylov / STEPS, **told}


def correct_mechanics(unknowns: int) -> Account:
    """The mean of the corrections of one load step of a block, nearly incompressible."""
    n = max(2, round((unknowns / 25) ** (1 / 3)))
    domain = box(MPI.COMM_WORLD, (10.0, 10.0, 10.0), (n, n, n))
    law = as_constants(Guccione(stiffness=2.0, b_f=8.0, b_t=2.0, b_fs=4.0), domain.mesh)
    pull = fem.Constant(domain.mesh, 0.0)
    problem = Mechanics(
        domain, [PassiveStress(law, cartesian()), Incompressibility()],
        dirichlet=[Dirichlet("z0"), Dirichlet("z1", ufl.as_vector([0.0, 0.0, pull]))],
    )  # fmt: skip
    problem.solve()  # compiled and allocated before the clock starts
    pull.value = 0.5
    solution, told = counted(lambda: problem.solve(fresh=True))
    if solution.outcome is not Outcome.CONVERGED:
        raise RuntimeError(f"the block fails: {solution}")
    times = max(solution.iterations, 1)
    told = {name: value / times for name, value in told.items()}
    return {"unknowns": problem.W.dofmap.index_map.size_global, "iterations": times, **told}


PROBLEMS = {"bone": solve_bone, "monodomain": step_monodomain, "mechanics": correct_mechanics}


def run(problem: str, kind: str, unknowns: int | None, folder: Path) -> None:
    """Do one problem on the ranks that there are, and append its account."""
    comm = MPI.COMM_WORLD
    PETSc.Log.begin()
    wanted = unknowns or SIZES[problem] * (comm.size if kind == "weak" else 1)
    found = PROBLEMS[problem](wanted)
    peak = memory_peak()
    most, whole = comm.allreduce(peak, op=MPI.MAX), comm.allreduce(peak)
    if comm.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        found |= {"problem": problem, "kind": kind, "ranks": comm.size,
                  "memory_rank_mib": most, "memory_mib": whole}  # fmt: skip
        with (folder / FILE).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(found) + "\n")


def fitted(n: Sequence[float], p: Sequence[float], t: Sequence[float]) -> np.ndarray:
    """Coefficients a, b, c of the model, each 0 or more, by least squares of relative errors.

    Args:
        n: Unknowns.
        p: Ranks.
        t: Seconds.
    """
    seconds = np.asarray(t, float)
    terms = _terms(np.asarray(n, float), np.asarray(p, float)) / seconds[:, None]
    scale = np.maximum(np.abs(terms).max(axis=0), 1e-300)
    return np.asarray(nnls(terms / scale, np.ones(len(seconds)))[0] / scale)


def foreseen(model: np.ndarray, n: float, p: float) -> float:
    """Seconds by the model."""
    return float(_terms(np.array([n]), np.array([p]))[0] @ model)


def _terms(n: np.ndarray, p: np.ndarray) -> np.ndarray:
    part = n / p
    return np.column_stack([part, np.where(p > 1, part ** (2 / 3), 0.0), np.log2(p)])


def table(folder: Path) -> str:
    """All accounts of a folder as a table, and what the model says beyond; draws the picture."""
    lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    accounts: list[Account] = [json.loads(line) for line in lines]
    told = [
        f"| {' | '.join(COLUMNS)} |",
        f"|---|---|{(len(COLUMNS) - 2) * '---:|'}",
    ]
    for one in sorted(accounts, key=lambda a: (a["problem"], a["kind"], a["ranks"])):
        each = one["bytes"] / max(one["messages"], 1.0) / 1e3
        told.append(
            f"| {one['problem']} | {one['kind']} | {one['ranks']} | {one['unknowns']:,} | "
            f"{one['iterations']:.0f} | {one['seconds']:.3g} | {_efficiency(one, accounts)} | "
            f"{one['memory_rank_mib']:.0f} | {one['memory_mib']:.0f} | {one['messages']:.0f} | "
            f"{each:.1f} |"
        )
    told += ["", *_beyond(accounts)]
    _draw(accounts, folder / "scaling.png")
    return "\n".join(told)


def _efficiency(one: Account, accounts: Sequence[Account]) -> str:
    """Time of the fewest ranks over that of these, by unknowns of a rank."""
    alike = [a for a in accounts if (a["problem"], a["kind"]) == (one["problem"], one["kind"])]
    first = min(alike, key=lambda a: a["ranks"])

    def each(a: Account) -> float:
        return float(a["seconds"] * a["ranks"] / a["unknowns"])

    return f"{100 * each(first) / each(one):.0f} %"


def _beyond(accounts: Sequence[Account]) -> list[str]:
    told = []
    for problem in dict.fromkeys(a["problem"] for a in accounts):
        own = [a for a in accounts if a["problem"] == problem]
        if len({a["ranks"] for a in own}) < 2:
            told.append(f"{problem}: one number of ranks tells nothing of more.")
            continue
        model = fitted(*([a[key] for a in own] for key in ("unknowns", "ranks", "seconds")))
        n = max(a["unknowns"] for a in own)
        one = foreseen(model, n, 1)
        more = ", ".join(f"{p}: {one / foreseen(model, n, p):.0f}" for p in BEYOND)
        a, b, c = model
        told.append(
            f"{problem}: t = {a:.2g} n/p + {b:.2g} (n/p)^(2/3) + {c:.2g} log2 p; {n:,} unknowns "
            f"are faster than on one rank by (extrapolated) {more}."
        )
    return told


def _draw(accounts: Sequence[Account], path: Path) -> None:
    """Seconds by ranks, strong beside weak, with the ideal."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for ax, kind in zip(axes, ("strong", "weak"), strict=True):
        for problem in PROBLEMS:
            own = sorted((a["ranks"], a["seconds"]) for a in accounts
                         if (a["problem"], a["kind"]) == (problem, kind))  # fmt: skip
            if not own:
                continue
            ranks, seconds = np.array(own).T
            (line,) = ax.loglog(ranks, seconds, "o-", label=problem)
            ideal = seconds[0] * (ranks[0] / ranks if kind == "strong" else 1.0 + 0.0 * ranks)
            ax.loglog(ranks, ideal, "--", color=line.get_color(), linewidth=1)
        ax.set(title=f"{kind.capitalize()} scaling", xlabel="MPI ranks", ylabel="Wall time (s)")
        ax.grid(alpha=0.3, which="both")
    axes[0].legend(title="dashed: ideal", frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def all_here(ranks: Sequence[int], folder: Path) -> None:
    """Every problem, strong and weak, on each number of ranks of this machine."""
    mpiexec = str(Path(sys.executable).parent / "mpiexec")
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    for problem in PROBLEMS:
        for kind in ("strong", "weak"):
            for p in ranks:
                subprocess.run(
                    [mpiexec, "-n", str(p), sys.executable, __file__, "run", problem,
                     "--kind", kind, "--out", str(folder)],
                    check=True, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
                )  # fmt: skip


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    todo = parser.add_subparsers(dest="todo", required=True)
    one = todo.add_parser("run", help="one problem on these ranks")
    one.add_argument("problem", choices=PROBLEMS)
    one.add_argument("--kind", choices=("strong", "weak"), default="strong")
    one.add_argument("--unknowns", type=int, help="of all ranks together")
    one.add_argument("--out", type=Path, default=Path("results/scaling"))
    every = todo.add_parser("all", help="everything on this machine")
    every.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    every.add_argument("--out", type=Path, default=Path("results/scaling"))
    shown = todo.add_parser("table", help="table and picture of what was run")
    shown.add_argument("folder", type=Path)
    asked = parser.parse_args()
    if asked.todo == "run":
        run(asked.problem, asked.kind, asked.unknowns, asked.out)
        return
    if asked.todo == "all":
        all_here(asked.ranks, asked.out)
    print(table(asked.folder if asked.todo == "table" else asked.out))


if __name__ == "__main__":
    main()
