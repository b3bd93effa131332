"""Activation of the slab of Niederer et al. (2011) with every scheme, mesh and time step.

Run: ``mpiexec -n 2 python benchmarks/niederer.py [--h 0.5 0.2] [--dt 0.05] [--csv FILE]``. A row is
printed as soon as it is known, with the CPU time of a step relative to that of the cheapest scheme
on the same mesh and time step; rows that are in the file already are not computed again.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

from mpi4py import MPI

from organtwin.verify.niederer import BY_NAME, VARIANTS, activation

HEADINGS = ["scheme", "h [mm]", "dt [ms]", *(f"P{k} [ms]" for k in range(1, 10)), "seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--h", type=float, nargs="+", default=[0.5, 0.2])
    parser.add_argument("--dt", type=float, nargs="+", default=[0.05])
    parser.add_argument("--scheme", nargs="+", choices=list(BY_NAME), default=list(BY_NAME))
    parser.add_argument("--csv", type=Path, default=Path("niederer.csv"))
    arguments = parser.parse_args()
    comm = MPI.COMM_WORLD
    known = _known(arguments.csv)
    for h in arguments.h:
        for dt in arguments.dt:
            for variant in VARIANTS:
                key = (variant.name, f"{h:g}", f"{dt:g}")
                if variant.name not in arguments.scheme or comm.bcast(key in known):
                    continue
                start = time.perf_counter()
                times = activation(comm, h, variant, dt)
                seconds = time.perf_counter() - start
                row = [*key, *(f"{t:.3f}" for t in times), f"{seconds:.1f}"]
                if comm.rank == 0:
                    print(*row, sep="\t", flush=True)
                    _append(arguments.csv, row)


def _known(path: Path) -> set[tuple[str, ...]]:
    if not path.is_file():
        return set()
    with path.open(newline="") as stream:
        return {tuple(row[:3]) for row in csv.reader(stream)}


def _append(path: Path, row: list[str]) -> None:
    new = not path.is_file()
    with path.open("a", newline="") as stream:
        csv.writer(stream).writerows([HEADINGS, row] if new else [row])


if __name__ == "__main__":
    main()
