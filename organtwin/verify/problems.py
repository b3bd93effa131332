"""The verification problems, by name; each imports what it needs when it is run."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpi4py import MPI

from organtwin.errors import InputError, suggestion
from organtwin.parallel import on_root
from organtwin.verify.record import Record, at_least

LAND = "Land et al. (2015), Proc. R. Soc. A 471:20150641"


@dataclass(frozen=True)
class Problem:
    """A problem with a known answer.

    Attributes:
        name: Name on the command line.
        about: What it verifies, in a line.
        compute: ``(comm, quick) -> records``; ``quick`` takes a coarser mesh. Collective.
    """

    name: str
    about: str
    compute: Callable[[MPI.Comm, bool], list[Record]]


def select(names: Sequence[str]) -> list[Problem]:
    """Problems of these names, all when there is none.

    Raises:
        InputError: no problem of that name.
    """
    known = {problem.name: problem for problem in PROBLEMS}
    for name in names:
        if name not in known:
            raise InputError("verify", f"no problem `{name}`.", suggestion(name, known))
    return [known[name] for name in names] if names else list(PROBLEMS)


def run(names: Sequence[str], comm: MPI.Comm, *, quick: bool = False) -> Iterator[list[Record]]:
    """Run problems one after the other; collective."""
    for problem in select(names):
        yield problem.compute(comm, quick)


# --- mechanics ----------------------------------------------------------------------------------


def _solid_orders(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.mechanics import manufactured_solid

    n = 4 if quick else 6
    coarse, fine = manufactured_solid(comm, n), manufactured_solid(comm, 2 * n)
    orders = [math.log2(a / b) for a, b in zip(coarse, fine, strict=True)]
    names = ("displacement, L2", "displacement gradient, L2", "pressure, L2")
    source = "approximation order of Taylor-Hood elements, less 0.2"
    return [
        at_least("manufactured_solid", f"order of the {name}", order, "1", least, source)
        for name, order, least in zip(names, orders, (2.8, 1.8, 1.8), strict=True)
    ]


def _land_1(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.mechanics import land_problem_1

    height = land_problem_1(comm, (12, 2, 2) if quick else (24, 4, 4))
    tolerance = 0.08 if quick else 0.03
    return [
        Record("land_problem_1", "deflected end of the beam", height, "mm", 4.17, tolerance, LAND)
    ]


def _land_2(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.mechanics import land_problem_2

    folder = on_root(comm, lambda: tempfile.mkdtemp())
    file = Path(folder) / "ellipsoid.msh"
    try:
        found = land_problem_2(comm, file, size=2.5 if quick else 1.25)
    finally:
        if comm.rank == 0:
            file.unlink(missing_ok=True)
            file.parent.rmdir()
    tolerance = 0.5 if quick else 0.15
    source = f"{LAND}; axisymmetric Q2-P1 solution"
    return [
        Record("land_problem_2", f"apex, {side}", found[side], "mm", reference, tolerance, source)
        for side, reference in (("endocardium", -26.606), ("epicardium", -28.273))
    ]


PROBLEMS = (
    Problem("manufactured_solid", "orders of the finite-strain solver", _solid_orders),
    Problem("land_problem_1", "bending beam under follower pressure", _land_1),
    Problem("land_problem_2", "inflation of an idealised ventricle to 10 kPa", _land_2),
)
