"""Verification problems of tissue mechanics; each imports what it needs when it is run."""

from __future__ import annotations

import math

from mpi4py import MPI

from organtwin.verify.problem import Problem, shared_file
from organtwin.verify.record import Record, Sense

LAND = "Land et al. (2015), Proc. R. Soc. A 471:20150641"


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

    with shared_file(comm, "ellipsoid.msh") as file:
        found = land_problem_2(comm, file, size=2.5 if quick else 1.25)
    tolerance = 0.5 if quick else 0.15
    source = f"{LAND}; axisymmetric Q2-P1 solution"
    return [
        Record("land_problem_2", f"apex, {side}", found[side], "mm", reference, tolerance, source)
        for side, reference in (("endocardium", -26.606), ("epicardium", -28.273))
    ]


MECHANICS = (
    Problem("manufactured_solid", "orders of the finite-strain solver", _solid_orders),
    Problem("land_problem_1", "bending beam under follower pressure", _land_1),
    Problem("land_problem_2", "inflation of an idealised ventricle to 10 kPa", _land_2),
)
