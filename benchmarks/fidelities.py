"""Eikonal, reaction–eikonal, monodomain and bidomain models on one heart: errors and costs.

Run: ``OMP_NUM_THREADS=1 python benchmarks/fidelities.py [--size 5] [--refinements 2]`` for a heart,
``benchmarks/fidelities.py --wall 0.33`` for a piece of wall on a fine mesh. The heart is that of
demos/heartbeat. Conductivities are tuned to the velocities of the eikonal models on the mesh that
is used, and the bidomain's have the monodomain's as their parallel sum. CPU times are of one run on
one machine; their ratios can be compared, they themselves can't.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.fibres import FibreAngles, Fibres, fibres
from organtwin.anatomy.landmarks import activation_sites
from organtwin.case.build import mean_edge
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import pace
from organtwin.electrophysiology.eikonal import Velocity
from organtwin.electrophysiology.reaction_diffusion import COARSE, Discretisation, TimeSteps
from organtwin.electrophysiology.stimulus import Balls, Stimulus
from organtwin.electrophysiology.tissue import Model
from organtwin.image.labels import biventricular
from organtwin.image.readers import read_labels
from organtwin.mesh.domain import Domain, cellwise_vectors, read_domain, refine
from organtwin.mesh.tetrahedra import tetrahedralise
from organtwin.parallel import on_root
from organtwin.verify.fidelities import compare, heart, table, tuned, wall

LABELS = {
    "lv_myocardium": 1, "left_atrium": 2, "lv_blood": 3, "right_atrium": 4,
    "rv_blood": 5, "aorta": 6, "pulmonary_artery": 7,
}  # fmt: skip
IMAGE = Path(__file__).parent / "../meshes/wholeheart/wh.nii.gz"
SITES = ["lv_septal", "lv_anterior", "lv_posterior", "rv_septal", "rv_lateral"]
ENDOCARDIA = ("lv_endo", "rv_endo")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=float, default=5.0, help="edge of the heart's mesh (mm)")
    parser.add_argument("--refinements", type=int, default=2, help="times it is halved")
    parser.add_argument("--mesh", type=Path, help="of the heart; made if it is not there")
    parser.add_argument("--layer", type=float, help="velocity of a fast endocardium (mm/ms)")
    parser.add_argument("--wall", type=float, help="a piece of wall instead: cubes of it (mm)")
    parser.add_argument("--dt", type=float, default=0.05, help="shortest time step (ms)")
    parser.add_argument("--models", nargs="+", type=Model, default=list(Model))
    parser.add_argument("--reference", type=Model, default=Model.BIDOMAIN)
    arguments = parser.parse_args()
    comm = MPI.COMM_WORLD
    if arguments.wall:
        domain, directions = wall(comm, arguments.wall)
        early = Balls({"corner": np.zeros(3)}, radius=1.5)
        scheme = Discretisation() if arguments.wall < 0.4 else COARSE
    else:
        domain, directions, early = real_heart(comm, arguments)
        scheme = COARSE
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_endo"), comm)
    cell = on_root(comm, lambda: pace(kernel, cycle_length=800.0, beats=20))
    velocity = Velocity(0.6, 0.3, 0.3, arguments.layer or 1.0)
    h, begun = mean_edge(domain), time.perf_counter()
    sigma = tuned(kernel, cell, velocity, h, scheme=scheme, dt=arguments.dt)
    say(comm, f"mean edge {h:.2f} mm, tuned in {time.perf_counter() - begun:.0f} s: {sigma}")
    tissue = heart(
        domain, directions, kernel, cell, [Stimulus(early)], velocity, sigma,
        endocardium=ENDOCARDIA if arguments.layer else (),
    )  # fmt: skip
    say(comm, f"{tissue.V.dofmap.index_map.size_global} nodes")
    steps = TimeSteps(shortest=arguments.dt)
    found = compare(
        tissue, arguments.models, reference=arguments.reference, scheme=scheme, steps=steps
    )
    say(comm, table(found))


def real_heart(comm: MPI.Comm, arguments: argparse.Namespace) -> tuple[Domain, Fibres, Balls]:
    mesh = arguments.mesh or Path(f"heart_{arguments.size:g}.msh")
    on_root(comm, lambda: mesh if mesh.exists() else write_heart(mesh, arguments.size))
    coarse = read_domain(mesh, comm)
    domain = refine(coarse, arguments.refinements).fine
    sites = activation_sites(coarse, coordinates(coarse, degree=2), SITES)
    directions = fibres(domain, FibreAngles(), cellwise_vectors(domain))
    return domain, directions, Balls(sites, radius=4.0)


def write_heart(path: Path, size: float) -> None:
    labels = read_labels(IMAGE, LABELS)
    tetrahedralise(biventricular(labels, rv_wall_thickness=3.0), size=size, path=path)


def say(comm: MPI.Comm, text: str) -> None:
    if comm.rank == 0:
        print(text, flush=True)


if __name__ == "__main__":
    main()
