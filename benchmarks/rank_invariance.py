"""Every verification problem on 1, 2, 3, … ranks: does it tell the same?

    python benchmarks/rank_invariance.py all FOLDER --ranks 1 2 3
    python benchmarks/rank_invariance.py table FOLDER
    python benchmarks/rank_invariance.py page FOLDER

``all`` starts each problem in a run of its own with ``mpiexec`` and goes on where one fails or
takes longer than ``--limit``. What was found stands in ``FOLDER/N.json`` after each problem, and
what is there is left out, so that it can be stopped; a failure is tried again. Problems take their
coarser meshes (``organtwin verify --quick``), the longest come last. ``table`` tells, for each
problem, the quantity that differs most from one rank, as a part of what is allowed
(`organtwin.verify.invariance`); ``page`` writes it into docs/rank-invariance.md.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dolfinx.mesh import Mesh
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.export.atomic import write_text
from organtwin.parallel import on_root
from organtwin.verify.invariance import Difference, compare, worst
from organtwin.verify.problems import PROBLEMS, select
from organtwin.verify.record import Record, Sense

comm = MPI.COMM_WORLD
ROOT = Path(__file__).resolve().parents[1]
PAGE, HEAD = ROOT / "docs/rank-invariance.md", ROOT / "docs/site/rank_invariance.md"
#: Problems that come last.
LONG = (
    "scar_reentry", "niederer_2011", "arostica_lv_passive", "arostica_lv_active", "arostica_lv",
    "arostica_biv",
)  # fmt: skip
REASONS: Mapping[str, str] = {
    "spiral_wave": "what differs in the last digit grows tenfold every 13 ms in the wave that "
    "turns, until v is off by millivolts; noise of 1e-12 mV does the same on one rank",
    "scar_reentry": "the meshes are the same; the wave turns for hundreds of milliseconds, as in "
    "`spiral_wave` (not followed digit by digit here)",
    "electrocardiogram": "these are the errors of 1e-10 at which conjugate gradients are stopped, "
    "with levels of multigrid that depend on the division; stopped at 1e-13 they are a thousandth",
}
#: MPICH's ranks that wait hand on their core only with this; without it three on two cores crawl.
PATIENT = {"MPIR_CVAR_ENABLE_HEAVY_YIELD": "1", "OMP_NUM_THREADS": "1"}


@contextmanager
def divided_meshes() -> Iterator[list[bool]]:
    """Whether each mesh that is made meanwhile has cells on other ranks too."""
    seen: list[bool] = []
    plain = Mesh.__init__

    def noted(self: Mesh, *args: Any, **named: Any) -> None:
        plain(self, *args, **named)
        cells = self.topology.index_map(self.topology.dim)
        seen.append(cells.size_local < cells.size_global)

    Mesh.__init__ = noted
    try:
        yield seen
    finally:
        Mesh.__init__ = plain


def run(folder: Path, names: Sequence[str], without: Sequence[str]) -> None:
    """Compute what is not there yet on all ranks; collective."""
    file = folder / f"{comm.size}.json"
    folder.mkdir(parents=True, exist_ok=True)
    done = on_root(comm, lambda: read(file))
    for problem in select(names):
        if is_done(done, problem.name) or problem.name in without:
            continue
        start = time.perf_counter()
        with divided_meshes() as seen:
            records = problem.compute(comm, True)
        seconds = time.perf_counter() - start
        entry = {
            "seconds": seconds,
            "divided": comm.allreduce(any(seen), op=MPI.LOR),
            "records": [one.as_dict() for one in records],
        }
        if not all(same(compare(records, other)) for other in comm.allgather(records)):
            entry["failed"] = "ranks tell different values"
        done[problem.name] = entry
        on_root(comm, lambda: write_text(file, json.dumps(done, indent=1)))
        if comm.rank == 0:
            print(f"{comm.size} ranks, {problem.name}: {seconds:.1f} s", flush=True)


def run_all(
    folder: Path, names: Sequence[str], without: Sequence[str], ranks: Sequence[int], limit: float
) -> None:
    """Each problem on each number of ranks, in a run of its own, the longest last."""
    mpiexec = str(Path(sys.executable).parent / "mpiexec")
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, **PATIENT, "PYTHONPATH": path}
    folder.mkdir(parents=True, exist_ok=True)
    problems = [one for one in select(names) if one.name not in without]
    for problem in sorted(problems, key=lambda one: one.name in LONG and LONG.index(one.name) + 1):
        for n in ranks:
            file = folder / f"{n}.json"
            if is_done(read(file), problem.name):
                continue
            command = [mpiexec, "-n", str(n), sys.executable, __file__, "run", str(folder)]
            failed = launched([*command, "--names", problem.name], env, limit)
            if failed:
                write_text(file, json.dumps({**read(file), problem.name: {"failed": failed}}))
                print(f"{n} ranks, {problem.name}: {failed}", flush=True)


def launched(command: Sequence[str], env: Mapping[str, str], limit: float) -> str:
    """Run a command; how it failed, or nothing. One that takes too long is asked to end."""
    with subprocess.Popen(command, env=env) as child:
        try:
            code = child.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            child.terminate()
            try:
                child.wait(timeout=30.0)
            except subprocess.TimeoutExpired:
                child.kill()
            return f"not done in {limit:g} s"
    return f"exit code {code}" if code else ""


def read(file: Path) -> dict[str, Any]:
    """What was found so far; nothing if there is no file."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def is_done(found: Mapping[str, Any], name: str) -> bool:
    """Whether a problem was computed without a failure."""
    return name in found and "failed" not in found[name]


def same(found: Sequence[Difference]) -> bool:
    """Whether no quantity differs by more than is allowed."""
    return all(one.same for one in found)


def record_of(found: Mapping[str, Any]) -> Record:
    """The record that `Record.as_dict` wrote."""
    kept = {k: v for k, v in found.items() if k != "verdict"}
    value = float("nan") if kept["value"] is None else kept["value"]
    return Record(**{**kept, "value": value, "sense": Sense(kept["sense"])})


def table(folder: Path) -> list[str]:
    """Lines of the table: problem, quantities, and what differs most on several ranks."""
    runs = {int(file.stem): read(file) for file in folder.glob("[0-9]*.json")}
    alone = runs.pop(1, {})
    several = sorted(runs)
    heads = "".join(f" {n} ranks: relative | of what is allowed |" for n in several)
    lines = [
        f"| problem | quantities | divided |{heads} verdicts |",
        "|---|---:|---|" + "---:|---:|" * len(several) + "---|",
    ]
    for name in (problem.name for problem in PROBLEMS):
        if name not in alone:
            continue
        if "failed" in alone[name]:
            lines.append(f"| `{name}` | | | {alone[name]['failed']} |" + " |" * 2 * len(several))
            continue
        known = [record_of(one) for one in alone[name]["records"]]
        entries = [runs[n].get(name, {"failed": "not run"}) for n in several]
        cells, verdicts = zip(*(_cells(known, entry) for entry in entries), strict=True)
        divided = "yes" if any(entry.get("divided") for entry in entries) else "no"
        verdict = next((v for v in verdicts if v != "same"), "same")
        lines.append(f"| `{name}` | {len(known)} | {divided} | {' '.join(cells)} {verdict} |")
    return lines


def _cells(known: Sequence[Record], entry: Mapping[str, Any]) -> tuple[str, str]:
    """Two cells of a number of ranks, and whether its verdicts are those of one rank."""
    if "failed" in entry:
        return f"**{entry['failed']}** | |", "not known"
    try:
        found = compare(known, [record_of(one) for one in entry["records"]])
    except InputError:
        return "**other quantities** | |", "not known"
    most = worst(found)
    mark = "" if most.same else f" **{most.quantity}: {most.alone:g}, {most.together:g}**"
    equal = all(one.same_verdict for one in found)
    return f"{most.relative:.1e} | {most.used:.2g}{mark} |", "same" if equal else "**differ**"


def page(folder: Path) -> str:
    """The page of the documentation: what is compared, the table and the reasons."""
    reasons = [f"* `{name}`: {reason}." for name, reason in REASONS.items()]
    head = HEAD.read_text(encoding="utf-8").rstrip()
    return "\n".join([head, "", *table(folder), "", "## Why figures differ", "", *reasons, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run", "all", "table", "page"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--names", nargs="*", default=[], help="problems; all without it")
    parser.add_argument("--without", nargs="*", default=[], help="problems that are left out")
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--limit", type=float, default=600.0, help="of one run (s)")
    asked = parser.parse_args()
    if asked.what == "run":
        run(asked.folder, asked.names, asked.without)
    elif asked.what == "all":
        run_all(asked.folder, asked.names, asked.without, asked.ranks, asked.limit)
    elif asked.what == "page":
        PAGE.write_text(page(asked.folder), encoding="utf-8")
    else:
        sys.stdout.write("\n".join(table(asked.folder)) + "\n")


if __name__ == "__main__":
    main()
