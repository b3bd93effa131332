"""The verification problems, by name; each imports what it needs when it is run."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mpi4py import MPI

from organtwin.errors import InputError, suggestion
from organtwin.parallel import on_root
from organtwin.verify.record import Record, Sense

PATHMANATHAN = "Pathmanathan & Gray (2014), Int. J. Numer. Meth. Biomed. Eng. 30:525-544"
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


@contextmanager
def _shared_file(comm: MPI.Comm, name: str) -> Iterator[Path]:
    """Path of a file in a folder that all ranks have in common while the block runs."""
    folder = on_root(comm, lambda: Path(tempfile.mkdtemp()))
    try:
        yield folder / name
    finally:
        comm.barrier()
        if comm.rank == 0:
            shutil.rmtree(folder)


# --- anatomy ------------------------------------------------------------------------------------


def _fibre_frame(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.fibres import orthonormality

    with _shared_file(comm, "ellipsoid.msh") as file:
        off = orthonormality(comm, file, size=4.0 if quick else 2.0)
    quantity = "largest entry of |QᵀQ − I|"
    return [Record("fibre_frame", quantity, off, "1", 0.0, 1e-10, "definition", Sense.AT_MOST)]


# --- electrophysiology --------------------------------------------------------------------------


def _action_potential(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.cells import TEN_TUSSCHER_2006, paced

    source = "ten Tusscher & Panfilov (2006), solved by CVODES to 1e-8"
    records = []
    for model, (rest, apd50, apd90) in TEN_TUSSCHER_2006.items():
        if quick and not model.endswith("endo"):
            continue
        # On one rank: the kernel is compiled there, and a cell can't be shared.
        cell = on_root(comm, lambda model=model: paced(model, 20 if quick else 100))  # type: ignore[misc]
        name = model.removeprefix("ten_tusscher_2006_")
        records += [
            Record("action_potential", f"resting potential, {name}", cell.rest, "mV",
                   rest, 0.3, source),
            Record("action_potential", f"APD50, {name}", cell.apd50, "ms", apd50, 3.0, source),
            Record("action_potential", f"APD90, {name}", cell.apd90, "ms", apd90, 2.0, source),
        ]  # fmt: skip
    return records


def _monodomain_order(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.electrophysiology.diffusion import Mass
    from organtwin.electrophysiology.reaction_diffusion import Discretisation, Splitting
    from organtwin.verify.electrophysiology import manufactured

    n = 8 if quick else 16
    name, records = "manufactured_monodomain", []
    for mass in Mass:
        scheme = Discretisation(mass=mass)
        coarse, fine = (manufactured(comm, m, scheme=scheme)[0] for m in (n, 2 * n))
        quantity = f"order in space of v, L2, {mass} mass"
        records.append(
            Record(name, quantity, math.log2(coarse / fine), "1", 2.0, 0.1, PATHMANATHAN,
                   Sense.AT_LEAST)
        )  # fmt: skip
    quadratic = Discretisation(mass=Mass.CONSISTENT)
    coarse, fine = (manufactured(comm, m, degree=2, scheme=quadratic, steps=400)[0] for m in (4, 8))
    quantity = "order in space of v, L2, quadratic elements"
    records.append(
        Record(name, quantity, math.log2(coarse / fine), "1", 3.0, 0.2, PATHMANATHAN,
               Sense.AT_LEAST)
    )  # fmt: skip
    for splitting, theta, order in ((Splitting.GODUNOV, 1.0, 1.0), (Splitting.STRANG, 0.5, 2.0)):
        scheme = replace(quadratic, splitting=splitting, theta=theta)
        slow, fast = (
            manufactured(comm, 32, dim=1, degree=2, scheme=scheme, steps=steps, t_end=1.0)[0]
            for steps in (4, 8)
        )
        quantity = f"order in time of v, {splitting} splitting, theta {theta:g}"
        records.append(
            Record(name, quantity, math.log2(slow / fast), "1", order, 0.15, PATHMANATHAN)
        )
    return records


def _bidomain_order(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.electrophysiology import Equations, manufactured

    n = 8 if quick else 16
    records = []
    for equations, dim in ((Equations.BIDOMAIN, 2), (Equations.BATH, 1)):
        coarse, fine = (manufactured(comm, m, dim=dim, equations=equations) for m in (n, 2 * n))
        records += [
            Record("manufactured_bidomain", f"order in space of {potential}, L2, {equations}",
                   math.log2(a / b), "1", 2.0, 0.1, PATHMANATHAN, Sense.AT_LEAST)
            for potential, a, b in zip(("v", "phi_e"), coarse, fine, strict=True)
        ]  # fmt: skip
    return records


def _plane_wave(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.electrophysiology.diffusion import Mass
    from organtwin.verify.electrophysiology import plane_wave

    h = 0.16 if quick else 0.08
    tolerance = 0.03 if quick else 0.01
    source = "one-dimensional central differences, h = 0.025 mm"
    return [
        Record("conduction_velocity", f"velocity of a plane wave, {mass} mass",
               plane_wave(comm, h, mass=mass), "mm/ms", 0.612, tolerance, source)
        for mass in (Mass.CONSISTENT, Mass.LUMPED)
    ]  # fmt: skip


# --- mechanics ----------------------------------------------------------------------------------


def _solid_orders(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.mechanics import manufactured_solid

    n = 4 if quick else 6
    coarse, fine = manufactured_solid(comm, n), manufactured_solid(comm, 2 * n)
    orders = [math.log2(a / b) for a, b in zip(coarse, fine, strict=True)]
    names = ("displacement, L2", "displacement gradient, L2", "pressure, L2")
    source = "approximation order of Taylor-Hood elements"
    return [
        Record("manufactured_solid", f"order of the {name}", order, "1", ideal, 0.2, source,
               Sense.AT_LEAST)
        for name, order, ideal in zip(names, orders, (3.0, 2.0, 2.0), strict=True)
    ]  # fmt: skip


def _land_1(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.mechanics import land_problem_1

    height = land_problem_1(comm, (12, 2, 2) if quick else (24, 4, 4))
    tolerance = 0.08 if quick else 0.03
    return [
        Record("land_problem_1", "deflected end of the beam", height, "mm", 4.17, tolerance, LAND)
    ]


def _land_2(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.mechanics import land_problem_2

    with _shared_file(comm, "ellipsoid.msh") as file:
        found = land_problem_2(comm, file, size=2.5 if quick else 1.25)
    tolerance = 0.5 if quick else 0.15
    source = f"{LAND}; axisymmetric Q2-P1 solution"
    return [
        Record("land_problem_2", f"apex, {side}", found[side], "mm", reference, tolerance, source)
        for side, reference in (("endocardium", -26.606), ("epicardium", -28.273))
    ]


# --- circulation --------------------------------------------------------------------------------


def _closed_loop(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.circulation import settled_beat

    name, source = "closed_loop", "conservation of mass"
    beat = settled_beat(beats=25)
    return [
        Record(name, "blood gained or lost, per stroke volume", beat.blood_drift, "1",
               0.0, 1e-8, source, Sense.AT_MOST),
        Record(name, "left and right stroke volume differ by", beat.imbalance, "1",
               0.0, 0.01, source, Sense.AT_MOST),
        Record(name, "states at both ends of the beat differ by", beat.periodicity, "1",
               0.0, 2e-3, "periodicity", Sense.AT_MOST),
    ]  # fmt: skip


PROBLEMS = (
    Problem("fibre_frame", "fibres, sheets and normals are orthonormal", _fibre_frame),
    Problem("action_potential", "ten Tusscher-Panfilov 2006 at 1 Hz", _action_potential),
    Problem(
        "manufactured_monodomain",
        "orders of the monodomain solver in space and time",
        _monodomain_order,
    ),
    Problem(
        "manufactured_bidomain", "order of the bidomain solver, and with a bath", _bidomain_order
    ),
    Problem("conduction_velocity", "plane wave in human myocardium", _plane_wave),
    Problem("manufactured_solid", "orders of the finite-strain solver", _solid_orders),
    Problem("land_problem_1", "bending beam under follower pressure", _land_1),
    Problem("land_problem_2", "inflation of an idealised ventricle to 10 kPa", _land_2),
    Problem("closed_loop", "mass balance and limit cycle of the circulation", _closed_loop),
)
