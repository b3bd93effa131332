"""Every verification problem on 1, 2, 3, … ranks: does it tell the same?

    for n in 1 2 3; do mpiexec -n $n python benchmarks/rank_invariance.py run FOLDER; done
    python benchmarks/rank_invariance.py table FOLDER

Each run writes ``FOLDER/N.json`` after each problem and leaves out what is there already, so that
it can be stopped. Problems take their coarser meshes (``organtwin verify --quick``); with
``--without`` those are left out that take too long. The table tells, for each problem, the quantity
that differs most from one rank, as a part of what is allowed (`organtwin.verify.invariance`).
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mpi4py import MPI

from organtwin.export.atomic import write_text
from organtwin.parallel import on_root
from organtwin.verify.invariance import compare, worst
from organtwin.verify.problems import PROBLEMS, select
from organtwin.verify.record import Record, Sense

comm = MPI.COMM_WORLD


def run(folder: Path, names: Sequence[str], without: Sequence[str]) -> None:
    """Compute what is not there yet on all ranks; collective."""
    file = folder / f"{comm.size}.json"
    folder.mkdir(parents=True, exist_ok=True)
    done: dict[str, Any] = on_root(
        comm, lambda: json.loads(file.read_text()) if file.is_file() else {}
    )
    for problem in select(names):
        if problem.name in done or problem.name in without:
            continue
        start = time.perf_counter()
        records = problem.compute(comm, True)
        seconds = time.perf_counter() - start
        done[problem.name] = {"seconds": seconds, "records": [one.as_dict() for one in records]}
        on_root(comm, lambda: write_text(file, json.dumps(done, indent=1)))
        if comm.rank == 0:
            print(f"{comm.size} ranks, {problem.name}: {seconds:.1f} s", flush=True)


def record_of(found: Mapping[str, Any]) -> Record:
    """The record that `Record.as_dict` wrote."""
    kept = {k: v for k, v in found.items() if k != "verdict"}
    value = float("nan") if kept["value"] is None else kept["value"]
    return Record(**{**kept, "value": value, "sense": Sense(kept["sense"])})


def table(folder: Path) -> list[str]:
    """Lines of the table: problem, quantities, and what differs most on several ranks."""
    runs = {int(file.stem): json.loads(file.read_text()) for file in folder.glob("[0-9]*.json")}
    alone = runs.pop(1, {})
    several = sorted(runs)
    heads = "".join(f" {n} ranks: relative | of what is allowed |" for n in several)
    lines = [f"| problem | quantities |{heads}", "|---|---:|" + "---:|---:|" * len(several)]
    for name in (problem.name for problem in PROBLEMS):
        if name not in alone:
            continue
        known = [record_of(one) for one in alone[name]["records"]]
        cells = []
        for n in several:
            if name not in runs[n]:
                cells.append("not run | |")
                continue
            found = compare(known, [record_of(one) for one in runs[n][name]["records"]])
            most = worst(found)
            mark = "" if most.same else f" **{most.quantity}: {most.alone:g}, {most.together:g}**"
            largest = max(one.relative for one in found if one.used == most.used)
            cells.append(f"{largest:.1e} | {most.used:.2g}{mark} |")
        lines.append(f"| `{name}` | {len(known)} | " + " ".join(cells))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--names", nargs="*", default=[], help="problems; all without it")
    parser.add_argument("--without", nargs="*", default=[], help="problems that are left out")
    asked = parser.parse_args()
    if asked.what == "run":
        run(asked.folder, asked.names, asked.without)
    else:
        sys.stdout.write("\n".join(table(asked.folder)) + "\n")


if __name__ == "__main__":
    main()
