"""Verification problems of interfaces and of bones in bending, as records."""

from __future__ import annotations

from mpi4py import MPI

from organtwin.verify.problem import Problem
from organtwin.verify.record import Record, Sense


def _press_fit_contact(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.interfaces import press_fit_contact

    found = press_fit_contact(comm, 32 if quick else 64)
    name, lame = "press_fit_contact", "Lame's solution of two rings, plane strain"
    coulomb = "Coulomb's law: mu p A, times the radius"
    return [
        Record(name, "pressure over Lame's", found.pressure, "1", 1.0, 0.01, lame),
        Record(name, "force of full slip along the axis", found.pull, "1", 1.0, 0.01, coulomb),
        Record(name, "torque of full slip", found.torque, "1", 1.0, 0.01, coulomb),
    ]


def _pull_out_friction(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.interfaces import pull_out

    found = pull_out(comm, 80 if quick else 160)
    name, lag = "pull_out_friction", "shear lag with Coulomb's friction, closed form"
    return [
        Record(name, "displacement at half the load of full slip", found.partial, "1", 1.0, 0.02,
               lag),
        Record(name, "displacement left after that load", found.rest, "1", 1.0, 0.03, lag),
        Record(name, "force of full slip over mu p A", found.full, "1", 1.0, 1e-3,
               "Coulomb's law"),
    ]  # fmt: skip


def _opening_joint(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.interfaces import opening_joint

    found = opening_joint(comm)
    name, source = "opening_joint", "springs in series and in parallel, exact"
    return [
        Record(name, "clamping force over the closed form", found.clamping, "1", 1.0, 1e-3, source),
        Record(name, "external force at which the joint opens", found.opening, "1", 1.0, 1e-3,
               source),
        Record(name, "force in the bolt beyond, over the external one", found.beyond, "1", 1.0,
               1e-6, source),
        Record(name, "share that is open then", found.open_share, "1", 1.0, 1e-9, source),
    ]  # fmt: skip


def _four_point_bending(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.bending import four_point_bending

    found = four_point_bending(comm, 16 if quick else 24)
    name, source = "four_point_bending", "composite beam, shear coefficient of Cowper (1966)"
    return [
        Record(name, f"{what} over beam theory", value, "1", 1.0, 0.01, source)
        for what, value in (
            ("deflection", found.deflection), ("curvature", found.curvature),
            ("strain of the outer fibre", found.strain),
        )
    ] + [
        Record(name, "deflection without the shear's part, over the whole", found.without_shear,
               "1", 0.99, 0.0, source, Sense.AT_MOST),
    ]  # fmt: skip


INTERFACES = (
    Problem("press_fit_contact", "press fit by contact, and when it slips", _press_fit_contact),
    Problem("pull_out_friction", "a bar slips bit by bit out of a socket", _pull_out_friction),
    Problem("opening_joint", "a bolted joint that opens", _opening_joint),
    Problem("four_point_bending", "a tube of two kinds of bone as a beam", _four_point_bending),
)
