"""More screws through a broken plateau: does the step of its joint under load become smaller?

    organtwin run demos/tibial_plateau/case.toml
    OMP_NUM_THREADS=1 python benchmarks/plateau_trend.py results/tibial_plateau

From the plan of a fractured plateau: screws of its raft are left out, granulation tissue in their
holes, so that all cases share one mesh and differ in nothing else. They are added from the middle
of the raft outwards. The fracture is that of the first stage, filled by callus or with faces that
touch, and the lateral condyle alone is pressed (load `lateral_condyle`).
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.bone.laws import stiffness
from organtwin.case.implant_files import (
    OPERATED,
    calibration_line,
    empty_outcome,
    operation_of,
    read_plan,
    read_scan_part,
)
from organtwin.mechanics.load_steps import follow
from organtwin.mesh.domain import read_domain
from organtwin.mesh.mesh_files import read_mesh
from organtwin.orthopaedics.assessment import Judged
from organtwin.orthopaedics.joint_indices import step_indices
from organtwin.orthopaedics.model import OperatedBone, tissue_of
from organtwin.orthopaedics.operation import Operation
from organtwin.orthopaedics.plateau_assessment import add_surface, faces_of, gap_of, seam_of
from organtwin.orthopaedics.plateau_plan import CONDYLE_BENCH

#: End of the names of screws in the indices of fit: below a piece, or in a split alone.
BELOW, WITHIN = ": below the depressed fragment mm", ": in the lateral fragment mm"
#: Young's modulus (kPa) of the tissue in the hole of a screw that is left out, and the least way of
#: a screw in the lateral fragment (mm).
GRANULATION, WAY = 1e3, 3.0


@dataclass(frozen=True)
class Trend:
    """The joint's surface with some screws.

    Attributes:
        screws: How many.
        step: Largest change of the step under load (mm).
        step_mean: Mean of the step under load (mm).
        sinks: What the lateral surface sinks by, mean (mm).
        stiffness: Force on the lateral condyle over the movement of its fragments (N/mm).
        seconds: What the case took.
    """

    screws: int
    step: float
    step_mean: float
    sinks: float
    stiffness: float
    seconds: float


def plateau_trend(planned: Path, numbers: Sequence[int] | None = None) -> list[Trend]:
    """The joint's surface with more and more screws below it.

    Args:
        planned: Folder ``stages/plan`` of a case with the load ``lateral_condyle``.
        numbers: How many screws of the raft; from one to all without it.
    """
    record = read_plan(planned)
    raft = raft_of(record["assembly"])
    operation = operation_of(record)
    bench = operation.load(CONDYLE_BENCH)
    operation = replace(operation, loads=(bench,), healing=operation.healing[:1])
    chosen = range(1, len(raft) + 1) if numbers is None else numbers
    return [_case(planned, record, operation, raft[n:], n) for n in chosen]


def raft_of(assembly: Mapping[str, Any]) -> list[str]:
    """Screws below the depressed piece, or through a split, from the middle of their row on."""
    fit = assembly["fit"]
    names = [key.removesuffix(BELOW) for key in fit if key.endswith(BELOW)]
    if not names:
        names = [
            n.removesuffix(WITHIN) for n, way in fit.items() if n.endswith(WITHIN) and way > WAY
        ]
    entries = np.array([assembly["points"][f"{name}_entry"] for name in names])
    away = np.linalg.norm(entries - entries.mean(axis=0), axis=1)
    return [names[k] for k in np.argsort(away, kind="stable")]


def _case(
    planned: Path, record: Mapping[str, Any], operation: Operation, absent: Sequence[str],
    screws: int,
) -> Trend:  # fmt: skip
    start = time.perf_counter()
    up: NDArray[np.float64] = np.array(record["anatomy"]["axes"][2])
    kept = {n: made for n, made in operation.implants.items() if n not in absent}
    (stage,), load = operation.healing, operation.loads[0]
    stage = replace(stage, moduli={**stage.moduli, **dict.fromkeys(absent, GRANULATION)})
    operation = replace(operation, implants=kept, healing=(stage,))
    domain = read_domain(planned / OPERATED, MPI.COMM_SELF)
    line = calibration_line(record)
    law = stiffness("keyak_1994", line.mineral)
    bone = OperatedBone(domain, operation, tissue_of(domain, operation, read_scan_part(planned),
                                                     line, law))  # fmt: skip
    bone.heal(stage)
    follow(bone.problem, bone.steps()[:1])
    outcome, _ = empty_outcome(planned)
    mesh = read_mesh(planned / OPERATED)
    facets = {n: mesh.facets[mesh.facet_tags == k] for n, k in mesh.facet_names.items()}
    u, geometry = bone.problem.u, domain.mesh.geometry
    nodes = np.asarray(geometry.input_global_indices)[geometry.dofmaps[0].ravel()]
    moved = np.zeros((len(mesh.points), 3))
    moved[nodes] = u.x.array.reshape(-1, 3)[u.function_space.dofmap.list.ravel()]
    bone.problem.release()
    judged = Judged()
    touching = bool(operation.seats)
    gap = faces_of(outcome, operation, facets) if touching else gap_of(outcome, operation.bones)
    seam = seam_of(outcome, gap, facets, moved, up)
    judged.add(step_indices(seam, comm=MPI.COMM_SELF), "")
    add_surface(judged, outcome, load, facets, moved, up, "")
    found = {one.name: one.value for one in judged.indices}
    return Trend(
        screws, found["step_off_change"], found["step_off_mean"],
        found["plateau_lateral_subsidence"], found["construct_stiffness"],
        time.perf_counter() - start,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="result directory of a tibial plateau")
    folder = parser.parse_args().folder
    found = plateau_trend(folder / "stages" / "plan")
    (folder / "trend.json").write_text(json.dumps([asdict(one) for one in found], indent=1))
    print("screws  step under load µm  mean µm  sinks µm  N/mm  s")
    for one in found:
        print(f"{one.screws:6d}  {1e3 * one.step:18.1f}  {1e3 * one.step_mean:7.1f}  "
              f"{1e3 * one.sinks:8.1f}  {one.stiffness:5.0f}  {one.seconds:.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
