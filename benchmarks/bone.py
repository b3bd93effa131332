"""Linear elasticity of bone from 50 thousand to a million unknowns: iterations, time, memory.

    OMP_NUM_THREADS=1 python benchmarks/bone.py --boxes 25 41 69
    OMP_NUM_THREADS=1 mpiexec -n 2 python benchmarks/bone.py --mesh femur.msh --refinements 0 1

Young's modulus is constant in each cell and spans 1:2000. In boxes it is random from cell to cell,
the hardest case. In the mesh of a bone (`organtwin mesh meshes/femur/case.toml`) it is 17 GPa in a
shell below the surface and falls to 8.5 MPa inside, with noise of a factor of two; a force acts on
the upper end and the lower end is held. Seconds are of the slowest rank. ``cpu`` is processor time
of one rank from the assembly to the solution; memory is of all ranks together, mesh included.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import argparse
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.materials.bone import OrthotropicBone
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.formulation import PENALTY, PENALTY_P1, Formulation
from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.small_strain import SmallStrain
from organtwin.mechanics.terms import Term, Traction
from organtwin.mesh.domain import Domain, read_domain, refine
from organtwin.verify.geometry import box

Floats = NDArray[np.float64]

#: Largest modulus (kPa), and how much larger it is than the smallest one.
STIFFEST, CONTRAST = 17e6, 2000.0
#: Thickness of the shell (mm), and of the layer in which the modulus falls (mm).
SHELL, FALL = 2.5, 4.0


@dataclass(frozen=True)
class Cost:
    """What one solve took."""

    unknowns: int
    iterations: int
    seconds: float
    processor: float
    memory: float


def noise(x: Floats) -> Floats:
    """Numbers between 0 and 1 that depend on the place alone."""
    wave = np.sin(x @ np.array([12.9898, 78.233, 37.719])) * 43758.5453
    return np.asarray(wave - np.floor(wave))


def boxes(comm: MPI.Comm, divisions: Sequence[int]) -> Iterator[tuple[Domain, fem.Function]]:
    """Blocks of 50 × 50 × 100 mm with a random modulus."""
    for n in divisions:
        domain = box(comm, (50.0, 50.0, 100.0), (n, n, n))
        modulus = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)))
        x = modulus.function_space.tabulate_dof_coordinates()
        modulus.x.array[:] = STIFFEST * CONTRAST ** (noise(x) - 1)
        yield domain, modulus


def bones(
    comm: MPI.Comm, path: Path, refinements: Sequence[int]
) -> Iterator[tuple[Domain, fem.Function]]:
    """A bone's mesh, refined, between surfaces ``z0`` and ``z1`` at its ends."""
    coarse = read_domain(path, comm)
    surface = cKDTree(_surface(coarse))
    for times in refinements:
        domain = with_ends(refine(coarse, times).fine)
        modulus = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)))
        x = modulus.function_space.tabulate_dof_coordinates()
        depth = surface.query(x)[0]
        share = np.clip(1 - (depth - SHELL) / FALL, 0, 1) - 0.1 * noise(x)
        modulus.x.array[:] = STIFFEST * CONTRAST ** (np.clip(share, 0, 1) - 1)
        yield domain, modulus


def with_ends(domain: Domain) -> Domain:
    """Name the outer facets of the lowest and of the highest 10 mm ``z0`` and ``z1``."""
    msh = domain.mesh
    msh.topology.create_connectivity(2, 3)
    facets = mesh.exterior_facet_indices(msh.topology)
    z = mesh.compute_midpoints(msh, 2, facets)[:, 2]
    low = msh.comm.allreduce(msh.geometry.x[:, 2].min(), op=MPI.MIN)
    high = msh.comm.allreduce(msh.geometry.x[:, 2].max(), op=MPI.MAX)
    values = np.where(z < low + 10, 1, np.where(z > high - 10, 2, 3)).astype(np.int32)
    tags = mesh.meshtags(msh, 2, facets, values)
    return Domain(msh, domain.cell_tags, tags, domain.regions, {"z0": 1, "z1": 2, "rest": 3})


def solve(domain: Domain, modulus: fem.Function, formulation: Formulation) -> Cost:
    """Assemble, set up and solve; times are of the slowest rank."""
    comm = domain.comm
    terms: list[Term] = [
        SmallStrain(OrthotropicBone.isotropic(modulus, 0.3), cartesian()),
        Traction(("z1",), ufl.as_vector([0.0, 100.0, -1000.0])),
    ]
    problem = LinearElasticity(
        domain, terms, dirichlet=[Dirichlet("z0")], formulation=formulation, name="bone"
    )
    comm.barrier()
    begun, processor = time.perf_counter(), time.process_time()
    solution = problem.solve()
    seconds = comm.allreduce(time.perf_counter() - begun, op=MPI.MAX)
    processor = comm.allreduce(time.process_time() - processor, op=MPI.MAX)
    memory = comm.allreduce(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    unknowns = problem.V.dofmap.index_map.size_global * 3
    parts = ", ".join(f"{part} {value:.1f}" for part, value in problem.seconds.items())
    say(comm, f"  {parts}, iteration {solution.seconds:.1f} s; residual {solution.residual:.1e}")
    problem.release()
    return Cost(unknowns, solution.iterations, seconds, processor, memory)


def say(comm: MPI.Comm, text: str) -> None:
    if comm.rank == 0:
        print(text, flush=True)


def main() -> None:
    """Print one line per mesh, and the largest ratio of iterations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boxes", type=int, nargs="+", help="divisions of the edges")
    parser.add_argument("--mesh", type=Path, nargs="+", help="of a bone, gmsh")
    parser.add_argument("--refinements", type=int, nargs="+", default=[0])
    parser.add_argument("--quadratic", action="store_true")
    arguments = parser.parse_args()
    comm = MPI.COMM_WORLD
    formulation = PENALTY if arguments.quadratic else PENALTY_P1
    costs = []
    for path in arguments.mesh or [None]:
        meshes = (
            bones(comm, path, arguments.refinements)
            if path
            else boxes(comm, arguments.boxes or [25, 41, 69])
        )
        for domain, modulus in meshes:
            cost = solve(domain, modulus, formulation)
            costs.append(cost)
            say(comm, f"{cost.unknowns:9d} unknowns: {cost.iterations:3d} iterations, "
                      f"{cost.seconds:6.1f} s, cpu {cost.processor:6.1f} s, "
                      f"{cost.memory:.2f} GiB on {comm.size} ranks")  # fmt: skip
    counts = [cost.iterations for cost in costs]
    say(comm, f"iterations grow by {100 * (max(counts) / min(counts) - 1):.0f} %")


def _surface(domain: Domain) -> Floats:
    """Midpoints of the outer facets of all ranks, for distances from the surface."""
    domain.mesh.topology.create_connectivity(2, 3)
    facets = mesh.exterior_facet_indices(domain.mesh.topology)
    here = mesh.compute_midpoints(domain.mesh, 2, facets)
    return np.concatenate(domain.comm.allgather(here))


if __name__ == "__main__":
    main()
