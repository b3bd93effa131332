"""What becomes of a run to which something bad happens: the fault table.

A small heart runs once to its end. Then it runs again and again, each time something happens to it
(a kill, a full disk, a damaged file), it is run once more, and its curves must be those of the
undisturbed run: to 1e-10 of their size on as many ranks, to 1e-6 on others. Example:

    python benchmarks/faults.py /tmp/faults --kills 20
    python benchmarks/faults.py /tmp/faults --heart --kills 3 --only kill sigterm bit_flip_state

A disk is filled on a small file system in memory, which takes root; without, a limit of the length
of files stands in for it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from organtwin.export.tables import read_table

ROOT = Path(__file__).parents[1]
CASE = ROOT / "demos/heartbeat/case.toml"
SMALL = {
    "mesh.size": "10 mm",
    "geometry.resolution": "2 mm",
    "electrophysiology.model": "reaction_eikonal",  # no conductivities to tune
    "electrophysiology.refinements": "1",
    "electrophysiology.pacing_beats": "2",
    "circulation.heart_rate": "300 / min",
    "output.field_interval": "20 ms",
}
#: The electrical heart alone takes a tenth of the time of the beating one.
ELECTRICAL = {**SMALL, "run.physics": "electrophysiology"}
#: What a run says that does not begin anew.
GOES_ON = "going on from"
#: What differs by rounding or tells of the machine.
UNCOMPARED = ("newton", "krylov", "factorisations", "volume_gap [mL]")
SAME_RANKS, OTHER_RANKS = 1e-10, 1e-6

NAN = """
import sys
import numpy as np
from organtwin.run import simulate
advance, at = simulate._advance, float(sys.argv.pop(1))
def spoiled(process, t0, t1, *rest):
    if t0 >= at:
        max(process.state.values(), key=np.size).flat[0] = np.nan
    return advance(process, t0, t1, *rest)
simulate._advance = spoiled
from organtwin.cli import main
main()
"""
SHORT_FILES = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
from organtwin.cli import main
main()
"""


@dataclass
class Row:
    """A line of the table."""

    fault: str
    runs: int = 0
    survived: int = 0
    difference: float = 0.0
    notes: list[str] = field(default_factory=list)

    def add(self, difference: float, allowed: float, problem: str = "") -> None:
        """Count a run: its largest difference to the undisturbed one, and what else was wrong."""
        self.runs += 1
        self.difference = max(self.difference, difference)
        if problem:
            self.notes.append(problem)
        elif not difference <= allowed:
            self.notes.append(f"differs by {difference:.1e}")
        else:
            self.survived += 1


class Forked:
    """A run in a copy of this process, which has loaded all libraries; like a `Popen`."""

    def __init__(self, words: list[str], program: str, environment: dict[str, str], log: Path):
        self.returncode: int | None = None
        self._log = log
        self.pid = os.fork()
        if self.pid == 0:
            _be_the_run(words, program, environment, log)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float = 3600.0) -> int:
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("run", timeout)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float = 3600.0) -> tuple[str, str]:
        self.wait(timeout)
        return "", self._log.read_text(errors="replace")


def _be_the_run(words: list[str], program: str, environment: dict[str, str], log: Path) -> None:
    """Never returns."""
    code = 70
    try:
        os.setsid()
        os.environ.update(environment)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.argv = words
        if program:
            exec(program, {"__name__": "__main__"})  # one of those above
        else:
            from organtwin.cli import main

            main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class Bench:
    """Where runs are made and what they are compared with."""

    def __init__(
        self, folder: Path, *, heart: bool, ranks: int, seed: int, fork: bool = False
    ) -> None:
        self.folder = folder
        self.fork = fork
        self.settings = SMALL if heart else ELECTRICAL
        self.ranks = ranks
        self.random = random.Random(seed)
        self.whole = folder / "whole"
        self.environment = {
            **os.environ,
            "ORGANTWIN_CACHE": str(folder / "cache"),
            "ORGANTWIN_CHECKPOINT_SECONDS": "0.5",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "300",
        }
        self.seconds = 0.0  # that the whole run takes within its loop

    def command(
        self, out: Path, ranks: int | None = None, program: str = "", argument: str = ""
    ) -> list[str]:
        settings = [w for key, value in self.settings.items() for w in ("--set", f"{key}={value}")]
        start = ["-c", program, argument] if program else ["-m", "organtwin"]
        words = [sys.executable, *start, "solve", str(CASE), "--out", str(out), *settings]
        ranks = ranks or self.ranks
        mpiexec = str(Path(sys.executable).parent / "mpiexec")
        return [mpiexec, "-n", str(ranks), *words] if ranks > 1 else words

    def run(self, out: Path, **how: object) -> tuple[int, str]:
        """Run to the end; exit code and what was said."""
        if self.fork and (how.get("ranks") or self.ranks) == 1:
            _, told = (process := self._forked(out, **how)).communicate()  # type: ignore[arg-type]
            return process.wait(), told
        done = subprocess.run(
            self.command(out, **how), env=self.environment, cwd=ROOT, text=True,  # type: ignore[arg-type]
            capture_output=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stderr + done.stdout

    def _forked(
        self, out: Path, ranks: int | None = None, program: str = "", argument: str = ""
    ) -> Forked:
        words = self.command(out, 1, program, argument)
        log = self.folder / f"log_{time.monotonic_ns()}.txt"
        return Forked(["organtwin", *words[3:]], program, self.environment, log)

    @contextmanager
    def started(self, out: Path, **how: object) -> Iterator[subprocess.Popen[str] | Forked]:
        """A run that goes on beside the block."""
        if self.fork and (how.get("ranks") or self.ranks) == 1:
            forked = self._forked(out, **how)  # type: ignore[arg-type]
            try:
                yield forked
            finally:
                if forked.poll() is None:
                    os.killpg(forked.pid, signal.SIGKILL)
                forked.wait()
            return
        with subprocess.Popen(
            self.command(out, **how), env=self.environment, cwd=ROOT, text=True,  # type: ignore[arg-type]
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def prepare(self) -> None:
        """The undisturbed run, once."""
        if not (self.whole / "stages/solve/solve.json").is_file():
            code, told = self.run(self.whole)
            assert code == 0, told
        record = json.loads((self.whole / "stages/solve/stage.json").read_text())
        self.seconds = record["account"]["wall_time_s"]

    def fresh(self, name: str) -> Path:
        """A result directory in which the stages before the simulation are done."""
        out = self.folder / name
        shutil.rmtree(out, ignore_errors=True)
        for stage in ("image", "mesh", "cell"):
            shutil.copytree(self.whole / "stages" / stage, out / "stages" / stage)
        return out

    def difference(self, out: Path) -> float:
        """Largest difference of a curve to that of the undisturbed run, over the curve's size."""
        one, other = read_table(out / "scalars.csv"), read_table(self.whole / "scalars.csv")
        if list(one) != list(other) or len(one["t [ms]"]) != len(other["t [ms]"]):
            return float("inf")
        return max(
            float(np.abs(one[name] - values).max() / (np.abs(values).max() or 1.0))
            for name, values in other.items()
            if name not in UNCOMPARED
        )

    def reached(self, out: Path) -> float:
        """Time (ms) of the newest checkpoint, −1 if there is none."""
        try:
            text = (out / "stages/solve/checkpoint/checkpoint.json").read_text()
            return float(json.loads(text)["t"])
        except (OSError, ValueError):
            return -1.0

    def wait(self, out: Path, process: subprocess.Popen[str] | Forked, beyond: float) -> None:
        """Wait for a checkpoint after a time (ms), or for the end."""
        while process.poll() is None and self.reached(out) < beyond:
            time.sleep(0.02)

    def end(
        self,
        row: Row,
        out: Path,
        *,
        ranks: int | None = None,
        told: str = GOES_ON,
        mixed: bool = False,
    ) -> None:
        """Run once more to the end and compare; ``told`` must be said, ``mixed`` are the ranks."""
        code, words = self.run(out, ranks=ranks)
        problem = f"exit code {code}: {words[-300:]}" if code else ""
        if not problem and told and told not in " ".join(words.split()):
            problem = f"it did not say `{told}`"
        allowed = OTHER_RANKS if mixed or (ranks or self.ranks) != self.ranks else SAME_RANKS
        row.add(float("inf") if code else self.difference(out), allowed, problem)


# --- faults ---------------------------------------------------------------------------------------


def kill(bench: Bench, row: Row) -> None:
    """Kill −9 at a random time, at times twice, then run again."""
    out = bench.fresh("kill")
    for _ in range(bench.random.choice((1, 1, 2))):
        with bench.started(out) as process:
            bench.wait(out, process, bench.random.uniform(0.0, 150.0))
            time.sleep(bench.random.uniform(0.0, 0.5))
            os.killpg(process.pid, signal.SIGKILL)
    bench.end(row, out)


def kill_at_any_time(bench: Bench, row: Row) -> None:
    """Kill −9 also while libraries are loaded and the heart is assembled."""
    out = bench.fresh("kill_at_any_time")
    with bench.started(out) as process:
        time.sleep(bench.random.uniform(0.0, 1.5) * bench.seconds)
        os.killpg(process.pid, signal.SIGKILL)
    bench.end(row, out, told="")


def other_ranks(bench: Bench, row: Row) -> None:
    """Kill −9, then run again on another number of ranks."""
    out = bench.fresh("other_ranks")
    with bench.started(out) as process:
        bench.wait(out, process, 50.0)
        os.killpg(process.pid, signal.SIGKILL)
    bench.end(row, out, ranks=3 - min(bench.ranks, 2))


def dead_rank(bench: Bench, row: Row) -> None:
    """One of two ranks dies: the run ends, and goes on on one."""
    out = bench.fresh("dead_rank")
    with bench.started(out, ranks=2) as process:
        bench.wait(out, process, 30.0)
        _signal_ranks(process.pid, signal.SIGKILL, only=1)
        try:
            code = process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            row.add(float("inf"), 0.0, "the other rank went on")
            return
    if code == 0:
        row.add(float("inf"), 0.0, "exit code 0")
        return
    bench.end(row, out, ranks=bench.ranks if bench.ranks == 2 else 1, mixed=bench.ranks != 2)


def _stopped(number: signal.Signals, code: int) -> Callable[[Bench, Row], None]:
    def fault(bench: Bench, row: Row) -> None:
        out = bench.fresh(number.name.lower())
        with bench.started(out) as process:
            bench.wait(out, process, 20.0)
            time.sleep(bench.random.uniform(0.0, 0.3) * bench.seconds)
            _signal_ranks(process.pid, number)
            _, told = process.communicate(timeout=120)
        if process.returncode != code or "stopped at t" not in told:
            row.add(float("inf"), 0.0, f"exit code {process.returncode}: {told[-300:]}")
            return
        rows = read_table(out / "scalars.csv")["t [ms]"]
        if abs(rows[-1] - bench.reached(out)) > 1e-9:
            row.add(float("inf"), 0.0, "the checkpoint is not of the last step")
            return
        bench.end(row, out)

    return fault


def _signal_ranks(pid: int, number: signal.Signals, only: int | None = None) -> None:
    """Send a signal to the ranks of a run, not to what launched them."""
    import psutil

    parent = psutil.Process(pid)
    found = [p for p in parent.children(recursive=True) if "organtwin" in " ".join(p.cmdline())]
    ranks = sorted((p for p in found if "mpiexec" not in p.cmdline()[0]), key=lambda p: p.pid)
    ranks = [p for p in ranks if "hydra" not in p.name()] or [parent]
    for rank in ranks if only is None else [ranks[only]]:
        rank.send_signal(number)


def _damaged(how: Callable[[Path], None], what: str, told: str) -> Callable[[Bench, Row], None]:
    def fault(bench: Bench, row: Row) -> None:
        out = bench.fresh(f"{how.__name__}_{what.split('.')[0]}")
        with bench.started(out) as process:
            bench.wait(out, process, 60.0)
            os.killpg(process.pid, signal.SIGKILL)
        folder = out / "stages/solve/checkpoint"
        record = json.loads((folder / "checkpoint.json").read_text())
        how(folder / what.format(turn=record["turn"]))
        bench.end(row, out, told=told)

    return fault


def truncated(file: Path) -> None:
    """Cut a file in its middle."""
    os.truncate(file, file.stat().st_size // 2)


def flipped(file: Path) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def full_disk(bench: Bench, row: Row) -> None:
    """The disk is full in mid-run; then there is room again."""
    if os.geteuid() == 0:
        _full_file_system(bench, row)
        return
    out = bench.fresh("full_disk")
    size = (bench.whole / "scalars.csv").stat().st_size // 2
    code, told = bench.run(out, program=SHORT_FILES, argument=str(size))
    if code != 74:
        row.add(float("inf"), 0.0, f"exit code {code}: {told[-300:]}")
        return
    bench.end(row, out)


def _full_file_system(bench: Bench, row: Row) -> None:
    source, mount = bench.fresh("full_disk"), bench.folder / "small"
    mount.mkdir(exist_ok=True)
    stages = sum(f.stat().st_size for f in source.rglob("*") if f.is_file())
    files = [f for f in bench.whole.rglob("*") if f.is_file()]
    # One checkpoint has room: without it a run goes on without them.
    kept = sum(f.stat().st_size for f in files if f.parent.name == "checkpoint") // 2
    written = sum(f.stat().st_size for f in files) - 2 * kept
    share = bench.random.uniform(0.2, 0.7)
    size = int(stages + kept + share * (written - stages)) + 65536
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(mount)], check=False
    ).returncode:
        row.add(float("inf"), 0.0, "no file system could be mounted")
        return
    try:
        shutil.copytree(source, mount / "out")
        code, told = bench.run(mount / "out")
        if code != 74:
            row.add(float("inf"), 0.0, f"exit code {code}: {told[-300:]}")
            return
        subprocess.run(["mount", "-o", "remount,size=2g", str(mount)], check=True)
        bench.end(row, mount / "out")
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def not_a_number(bench: Bench, row: Row) -> None:
    """An entry of the state becomes NaN: the run says so and goes on from before."""
    out = bench.fresh("not_a_number")
    code, told = bench.run(out, program=NAN, argument="101")
    if code != 1 or "not kept" not in told:
        row.add(float("inf"), 0.0, f"exit code {code}: {told[-300:]}")
        return
    bench.end(row, out)


def _mesh_file(how: Callable[[Path], None]) -> Callable[[Bench, Row], None]:
    def fault(bench: Bench, row: Row) -> None:
        out = bench.fresh(f"mesh_{how.__name__}")
        how(out / "stages/mesh/mesh.msh")
        bench.end(row, out, told="made anew")

    return fault


def kernels(bench: Bench, row: Row) -> None:
    """Compiled forms and kernels are cut short, empty, unfinished or lost."""
    out = bench.fresh("kernels")
    forms = sorted(p for p in bench.folder.glob("cache/forms-*/*.so"))
    for number, library in enumerate(forms):
        ready = library.with_name(library.name.split(".")[0] + ".c.cached")
        match number % 4:
            case 0:
                truncated(library)
            case 1:
                library.write_bytes(b"")
            case 2:
                ready.unlink()
    for number, library in enumerate(sorted(bench.folder.glob("cache/cells/*.so"))):
        os.truncate(library, 0 if number % 2 else library.stat().st_size // 2)
    bench.end(row, out, told="")


def killed_while_compiling(bench: Bench, row: Row) -> None:
    """Kill −9 while forms are compiled into an empty cache."""
    out = bench.fresh("killed_while_compiling")
    kept = bench.environment["ORGANTWIN_CACHE"]
    cache = bench.folder / "empty_cache"
    shutil.rmtree(cache, ignore_errors=True)
    bench.environment["ORGANTWIN_CACHE"] = str(cache)
    try:
        with bench.started(out) as process:
            while process.poll() is None and not any(cache.glob("forms-*/*.c")):
                time.sleep(0.005)
            time.sleep(bench.random.uniform(0.0, 0.5))
            os.killpg(process.pid, signal.SIGKILL)
        bench.end(row, out, told="")
    finally:
        bench.environment["ORGANTWIN_CACHE"] = kept


def two_runs(bench: Bench, row: Row) -> None:
    """A second run in the same directory is refused, the first one goes on."""
    out = bench.fresh("two_runs")
    with bench.started(out) as process:
        bench.wait(out, process, 0.0)
        code, told = bench.run(out)
        process.communicate()
    if code != 2 or "another run writes there" not in " ".join(told.split()):
        row.add(float("inf"), 0.0, f"the second: exit code {code}: {told[-300:]}")
        return
    row.add(bench.difference(out), SAME_RANKS)


def read_only(bench: Bench, row: Row) -> None:
    """A directory that nothing can be written in is refused before anything is computed."""
    out = bench.folder / "read_only"
    out.mkdir(exist_ok=True)
    mounted = os.geteuid() == 0
    if mounted:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(out)], check=True)
    else:
        out.chmod(0o500)
    try:
        code, told = bench.run(out)
        clean = "nothing can be written" in " ".join(told.split()) and not any(out.iterdir())
        row.add(0.0, 0.0, "" if code == 2 and clean else f"exit code {code}: {told[-300:]}")
    finally:
        if mounted:
            subprocess.run(["umount", str(out)], check=True)
        else:
            out.chmod(0o700)


DAMAGED = "The newest checkpoint is damaged"
FAULTS: dict[str, Callable[[Bench, Row], None]] = {
    "kill": kill,
    "kill_at_any_time": kill_at_any_time,
    "other_ranks": other_ranks,
    "dead_rank": dead_rank,
    "sigterm": _stopped(signal.SIGTERM, 75),
    "sigusr1": _stopped(signal.SIGUSR1, 75),
    "ctrl_c": _stopped(signal.SIGINT, 130),
    "truncated_state": _damaged(truncated, "state_{turn}_0.npz", DAMAGED),
    "bit_flip_state": _damaged(flipped, "state_{turn}_0.npz", DAMAGED),
    "truncated_record": _damaged(truncated, "checkpoint.json", DAMAGED),
    "bit_flip_record": _damaged(flipped, "checkpoint.json", DAMAGED),
    "full_disk": full_disk,
    "not_a_number": not_a_number,
    "truncated_mesh": _mesh_file(truncated),
    "bit_flip_mesh": _mesh_file(flipped),
    "damaged_kernels": kernels,
    "killed_while_compiling": killed_while_compiling,
    "two_runs": two_runs,
    "read_only": read_only,
}
REPEATED = {"kill", "kill_at_any_time"}


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=20, help="random kills")
    parser.add_argument("--heart", action="store_true", help="the beating heart")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fork", action="store_true", help="load libraries once, on one rank")
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=[*FAULTS])
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(
        given.folder.absolute(), heart=given.heart, ranks=given.ranks, seed=given.seed,
        fork=given.fork,
    )  # fmt: skip
    if given.fork:
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        import organtwin.case.pipeline  # noqa: F401 - so that no run has to load it
    bench.prepare()
    rows = []
    print("| fault | runs | survived | lost | largest difference |\n|---|---|---|---|---|")
    for name in given.only:
        row = Row(name)
        for _ in range(given.kills if name in REPEATED else 1):
            FAULTS[name](bench, row)
        lost = row.runs - row.survived
        line = (name, row.runs, row.survived, lost, f"{row.difference:.1e}")
        print(f"| {' | '.join(str(word) for word in line)} |", flush=True)
        for note in row.notes:
            print(f"    {name}: {note}", file=sys.stderr, flush=True)
        rows.append({**vars(row), "lost": lost})
        (given.folder / "faults.json").write_text(json.dumps(rows, indent=2))
    sys.exit(any(row["lost"] for row in rows))


if __name__ == "__main__":
    main()
