"""The verification problems, by name; each imports what it needs when it is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mpi4py import MPI

from organtwin.errors import InputError, suggestion
from organtwin.parallel import on_root
from organtwin.verify.electrical_problems import ELECTROPHYSIOLOGY
from organtwin.verify.interface_problems import INTERFACES
from organtwin.verify.mechanical_problems import MECHANICS
from organtwin.verify.problem import Problem, shared_file
from organtwin.verify.record import Record, Sense


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


# --- anatomy ------------------------------------------------------------------------------------


def _fibre_frame(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.fibres import orthonormality

    with shared_file(comm, "ellipsoid.msh") as file:
        off = orthonormality(comm, file, size=4.0 if quick else 2.0)
    quantity = "largest entry of |QᵀQ − I|"
    return [Record("fibre_frame", quantity, off, "1", 0.0, 1e-10, "definition", Sense.AT_MOST)]


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


# --- devices ------------------------------------------------------------------------------------


def _beams(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.beams import elastic_records

    return on_root(comm, lambda: elastic_records(quick=quick))


def _beam_metals(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.beams import metal_records

    return on_root(comm, lambda: metal_records(quick=quick))


def _delivery(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.delivery import delivery_records

    return on_root(comm, lambda: delivery_records(quick=quick))


def _ring_in_tube(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.rings import ring_records

    return ring_records(comm, quick=quick)


def _ring_in_tissue(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.tissue_rings import tissue_records

    return tissue_records(comm, quick=quick)


def _paravalvular_leak(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.leaks import records

    return on_root(comm, records)


# --- bone ---------------------------------------------------------------------------------------


def _density_mapping(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.bone_density import mapping_records

    return mapping_records(comm, quick=quick)


def _bone_surgery(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.bone_surgery import records

    return on_root(comm, lambda: records(quick=quick))


PROBLEMS = (
    Problem("fibre_frame", "fibres, sheets and normals are orthonormal", _fibre_frame),
    *ELECTROPHYSIOLOGY,
    *MECHANICS,
    *INTERFACES,
    Problem("beams", "large rotations of elastic beams, rings and bends", _beams),
    Problem("beam_metals", "superelastic bar, strip and ring; energy of crimping", _beam_metals),
    Problem("delivery", "frames in moving sheaths and on balloons", _delivery),
    Problem("ring_in_tube", "rings that balance elastic tubes, and their pull-out", _ring_in_tube),
    Problem("ring_in_tissue", "rings of beams in tubes of finite elements", _ring_in_tissue),
    Problem("paravalvular_leak", "friction and losses in thin gaps", _paravalvular_leak),
    Problem("density_mapping", "density and modulus of bone from a synthetic CT", _density_mapping),
    Problem("bone_surgery", "cuts, holes, gaps and screws in shapes", _bone_surgery),
    Problem("closed_loop", "mass balance and limit cycle of the circulation", _closed_loop),
)
