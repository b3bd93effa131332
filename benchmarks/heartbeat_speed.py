"""Wall seconds per simulated millisecond of a heartbeat, by stage.

    OMP_NUM_THREADS=1 python benchmarks/heartbeat_speed.py [--until MS] [--steps adaptive|fixed]
    OMP_NUM_THREADS=1 mpirun -n 2 python benchmarks/heartbeat_speed.py

Two ventricles from formulas at the resolution that fenicsx-beat and fenicsx-pulse were measured at
(22.7 thousand electrical tetrahedra, 15.6 thousand mechanical unknowns), coupled both ways: cells
of Tomek et al. (2019), tension of Land et al. (2017) with stretch and its rate, nearly
incompressible Holzapfel–Ogden tissue (P2–P1), closed loop. Compiling, pacing and filling are not
counted, output is.
"""

from __future__ import annotations  # noqa: I001

import organtwin  # noqa: F401 - brings its libraries in the right order

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI

from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.fibres import FibreAngles, fibres
from organtwin.anatomy.landmarks import SITES, activation_sites
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import pace
from organtwin.cells.population import Cells
from organtwin.cells.tension import Land2017
from organtwin.circulation.limit_cycle import limit_cycle
from organtwin.circulation.network import ClosedLoop
from organtwin.coupling.electromechanics import Electromechanics
from organtwin.coupling.feedback import Feedback, StretchActivatedCurrent
from organtwin.coupling.measures import HeartScalars
from organtwin.coupling.steps import Steps
from organtwin.coupling.transfer import quadrature_space
from organtwin.coupling.ventricles import Myocardium, contracting_ventricles
from organtwin.electrophysiology.conductivity import Conductivity, conductivity_tensor
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import COARSE, local_nodes
from organtwin.electrophysiology.stimulus import Balls, Stimulus
from organtwin.materials.kinematics import Directions
from organtwin.mesh.domain import cellwise_vectors, refine
from organtwin.parallel import on_root
from organtwin.run.observers import Table
from organtwin.run.simulate import simulate
from organtwin.solve.nonlinear import Solution
from organtwin.verify.biventricle import biventricle

PERIOD = 800.0  # ms
SIZE = 8.9  # mm, of the mechanical mesh
SIGMA = Conductivity(fibre=0.44, sheet=0.23, normal=0.23, endocardial_layer=2.0)  # mS/mm
#: The calcium of these cells peaks at half of that of others; it takes so much less to eject.
TENSION = Land2017(T_ref=220.0, ca50=0.45)
#: Stretch-activated channels, weakly open, and conduction through the deformed wall.
BOTH_WAYS = Feedback(StretchActivatedCurrent(conductance=0.002), conduction=True)
#: fenicsx-beat and fenicsx-pulse coupled one way by hand (s/ms).
PEER = 2.7


@dataclass
class Clock:
    """Wall and processor seconds by stage."""

    wall: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)  # of the mechanics, wall

    @contextmanager
    def running(self, stage: str):  # type: ignore[no-untyped-def]
        """Count what passes within."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.wall[stage] = self.wall.get(stage, 0.0) + time.perf_counter() - wall
        spent = time.process_time() - processor
        self.processor[stage] = self.processor.get(stage, 0.0) + spent

    def solved(self, solution: Solution) -> None:
        """Count what a nonlinear solve tells of its parts."""
        for part, seconds in solution.seconds.items():
            self.parts[part] = self.parts.get(part, 0.0) + seconds

    def around(self, owner: Any, name: str, stage: str) -> None:
        """Count all calls of a method of one object."""
        method: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            with self.running(stage):
                found = method(*arguments, **options)
            if isinstance(found, Solution):
                self.solved(found)
            return found

        object.__setattr__(owner, name, timed)


def ventricles(comm: MPI.Comm, folder: Path, size: float, steps: Steps | None) -> Electromechanics:
    """The filled heart at the start of a beat; collective."""
    domain = biventricle(comm, folder / "heart.msh", size)
    refinement = refine(domain)
    fine = refinement.fine
    at = coordinates(domain, degree=2)
    angles = FibreAngles(alpha_endo=60.0, alpha_epi=-60.0, beta_endo=-65.0, beta_epi=25.0)
    in_points = fibres(domain, angles, quadrature_space(domain.mesh, 4, (3,)), degree=2, at=at)
    in_cells = fibres(fine, angles, cellwise_vectors(fine))
    kernel = compile_kernel(CellModel.load("tor_ord_2019_endo"), comm)
    cell = on_root(comm, lambda: pace(kernel, cycle_length=PERIOD, beats=5))
    tensor = conductivity_tensor(
        fine, SIGMA, in_cells.f0, in_cells.s0, in_cells.n0, endocardium=("lv_endo", "rv_endo")
    )
    V = fem.functionspace(fine.mesh, ("P", 1))
    stimulus = Stimulus(Balls(activation_sites(domain, at, list(SITES)), radius=8.0), period=PERIOD)
    cells = Cells.uniform(kernel, cell.states, cell.v, local_nodes(V))
    ep = monodomain(V, cells, tensor, [stimulus], scheme=COARSE)
    directions = Directions(in_points.f0, in_points.s0, in_points.n0)
    tissue = replace(Myocardium.human(), tension=TENSION)
    mechanics, muscle, _ = contracting_ventricles(domain, directions, tissue)
    loop = ClosedLoop.regazzoni_2022(PERIOD)
    settled = limit_cycle(loop, loop.filled(loop.rest(), -200_000.0)).state
    heart = Electromechanics(
        ep, mechanics, muscle, loop, settled,
        refinement=refinement, feedback=BOTH_WAYS, steps=steps,
    )  # fmt: skip
    pressures = loop.pressures(settled, 0.0)
    heart.fill(np.array([pressures["lv"], pressures["rv"]]))
    heart.fit_loop(settled)
    if comm.rank == 0:
        print(
            f"{fine.mesh.topology.index_map(3).size_global} electrical tetrahedra, "
            f"{V.dofmap.index_map.size_global} nodes, "
            f"{mechanics.W.dofmap.index_map.size_global} mechanical unknowns, "
            f"{comm.size} ranks"
        )
    return heart


def watched(heart: Electromechanics) -> Clock:
    """Clock of the stages of a heart."""
    clock = Clock()
    clock.around(heart.ep, "advance", "electrophysiology")
    clock.around(heart._nesting, "to_points", "transfer")
    clock.around(heart, "_feel", "feedback")
    clock.around(heart.muscle, "prepare", "tension")
    clock.around(heart.muscle, "finish", "tension")
    clock.around(heart.mechanics, "solve", "mechanics")
    clock.around(heart.loop, "step", "circulation")
    return clock


def main() -> None:
    """Print the table; rank 0 writes it as JSON too if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--until", type=float, default=PERIOD, help="simulated time (ms)")
    parser.add_argument("--size", type=float, default=SIZE, help="edge length (mm)")
    parser.add_argument("--step", type=float, default=2.0, help="mechanical step (ms)")
    parser.add_argument("--fixed", action="store_true", help="steps of the same length")
    parser.add_argument("--keep", type=Path, help="file for the curves")
    parser.add_argument("--json", type=Path, help="file for the figures")
    told = parser.parse_args()
    comm = MPI.COMM_WORLD
    with tempfile.TemporaryDirectory() as name:
        folder = Path(comm.bcast(name))
        steps = None if told.fixed else Steps(told.step / 4, told.step * 4)
        heart = ventricles(comm, folder, told.size, steps)
        clock = watched(heart)
        table = Table(comm, told.keep or folder / "scalars.csv", HeartScalars(heart))
        clock.around(table, "observe", "output")
        with clock.running("all"):
            account = simulate(
                heart, t_end=told.until, dt=told.step if steps is None else steps.shortest,
                observers=[table], wanted=None if steps is None else lambda: heart.wanted_step,
            )  # fmt: skip
        table.close()
    if comm.rank != 0:
        return
    # The circulation is solved within the equations of the mechanics.
    for spent in (clock.wall, clock.processor):
        spent["mechanics"] -= spent["circulation"]
        spent["all else"] = 2 * spent["all"] - sum(spent.values())
    print(
        f"{account.steps} steps, {account.refused} refused, {account.newton} corrections, "
        f"{account.factorisations} factors"
    )
    print("stage               wall s/ms    processor s/ms")
    for stage in sorted(clock.wall, key=lambda s: -clock.wall[s]):
        wall, processor = (each[stage] / told.until for each in (clock.wall, clock.processor))
        print(f"{stage:18s} {wall:10.4f} {processor:14.4f}")
    shares = {part: seconds / sum(clock.parts.values()) for part, seconds in clock.parts.items()}
    print("mechanics:", ", ".join(f"{part} {100 * share:.0f} %" for part, share in shares.items()))
    print(f"peers: {PEER} s/ms, {PEER * told.until / clock.wall['all']:.1f} times as long")
    if told.json is not None:
        told.json.write_text(json.dumps({"wall": clock.wall, "processor": clock.processor}))


if __name__ == "__main__":
    main()
