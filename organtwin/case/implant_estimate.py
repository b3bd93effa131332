"""How big an implant's case is, before it is run: simple formulas, good to a factor of two."""

from __future__ import annotations

from dataclasses import dataclass

from organtwin.case.implant_plan import activities, fineness_of
from organtwin.case.schema_implant import ImplantCase

#: Volume of bone and of implants (mm³) and area of their interfaces (mm²), those of the demos.
BODIES = {
    "hip_stem": (225e3, 21e3, 6000.0), "pedicle_screw": (60e3, 2.5e3, 1700.0),
    "tibial_plateau": (180e3, 12e3, 6000.0),
}  # fmt: skip
#: Tetrahedra per cube of the edge length, and per square of it at an interface.
PER_CUBE, PER_SQUARE = 6.0, 14.0
#: Unknowns per tetrahedron of a mesh without inner points to speak of.
UNKNOWNS = 0.75
#: Time of a plan (s) at an edge of the voxels (mm), and of pictures and page (s), without and for
#: each week: processor time of the demos on one rank, between idle and busy cores.
PLAN = {"hip_stem": (33.0, 1.6), "pedicle_screw": (19.0, 0.9), "tibial_plateau": (40.0, 1.0)}
REPORT = {"hip_stem": (12.0, 0.0), "pedicle_screw": (11.0, 0.0), "tibial_plateau": (6.0, 5.0)}
#: Time of a solve: of reading and assembling (s), of a load step (µs per unknown, on one rank).
START, STEP = 5.0, 85.0
#: What the planning rank and each rank take (MiB), and what an unknown needs (KiB).
FIRST, BASE, EACH = 430.0, 640.0, 12.0


@dataclass(frozen=True)
class ImplantEstimate:
    """Expected size of a case.

    Attributes:
        cells: Tetrahedra of bone and implants.
        unknowns: Of the operated bone.
        steps: Load steps.
        memory: Resident memory of all ranks (MiB).
        time: Wall time (s).
    """

    cells: int
    unknowns: int
    steps: int
    memory: float
    time: float

    def in_words(self) -> dict[str, str]:
        """What there is to compute, for people."""
        return {
            "tetrahedra": f"{self.cells:,d}",
            "unknowns": f"{self.unknowns:,d}",
            "load steps": f"{self.steps:,d}",
        }


def estimate(case: ImplantCase, ranks: int = 1) -> ImplantEstimate:
    """Expected size from edge lengths and a bone of usual size; no file is read.

    Args:
        case: The case.
        ranks: Number of MPI ranks.
    """
    fine = fineness_of(case)
    bone, implant, seat = BODIES[case.kind]
    cells = PER_CUBE * (bone / fine.bone**3 + implant / fine.implant**3)
    cells += PER_SQUARE * seat / fine.interface**2
    unknowns = UNKNOWNS * cells
    plateau = case.tibial_plateau
    stages = len(plateau.weeks) if plateau is not None and plateau.gap else 1
    steps = stages * (2 * len(activities(case)) + (1 if case.hip_stem is not None else 0))
    memory = FIRST + ranks * BASE + EACH * unknowns / 1024
    seconds, voxel = PLAN[case.kind]
    page, week = REPORT[case.kind]
    time = seconds * voxel / fine.voxel + page + stages * week + START
    time += steps * STEP * 1e-6 * unknowns / ranks
    return ImplantEstimate(round(cells), round(unknowns), steps, memory, time)
