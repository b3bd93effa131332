"""Adaptive refinement of a bone's mesh until the estimated error in the energy norm is small.

    OMP_NUM_THREADS=1 python benchmarks/bone_refinement.py femur.msh --target 0.05

The mesh is that of `organtwin mesh meshes/femur/case.toml`. All of the bone has one modulus, the
lower end is held and the upper 10 mm are pressed on. Elements are quadratic unless ``--linear``.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import ufl
from dolfinx import mesh
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.materials.bone import OrthotropicBone
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.adaptive import adapt
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.formulation import PENALTY, PENALTY_P1
from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.small_strain import SmallStrain
from organtwin.mechanics.terms import Traction
from organtwin.mesh.domain import Domain, read_domain


def with_ends(domain: Domain, depth: float = 10.0) -> Domain:
    """Name the outer facets of the lowest and the highest ``depth`` mm ``z0`` and ``z1``."""
    msh = domain.mesh
    msh.topology.create_connectivity(2, 3)
    facets = mesh.exterior_facet_indices(msh.topology)
    z = mesh.compute_midpoints(msh, 2, facets)[:, 2]
    low = msh.comm.allreduce(msh.geometry.x[:, 2].min(), op=MPI.MIN)
    high = msh.comm.allreduce(msh.geometry.x[:, 2].max(), op=MPI.MAX)
    values = np.where(z < low + depth, 1, np.where(z > high - depth, 2, 3)).astype(np.int32)
    tags = mesh.meshtags(msh, 2, facets, values)
    return Domain(msh, domain.cell_tags, tags, domain.regions, {"z0": 1, "z1": 2, "rest": 3})


def main() -> None:
    """Print one line per mesh."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mesh", type=Path)
    parser.add_argument("--target", type=float, default=0.05)
    parser.add_argument("--unknowns", type=int, default=1_000_000)
    parser.add_argument("--linear", action="store_true")
    arguments = parser.parse_args()
    comm = MPI.COMM_WORLD
    formulation = PENALTY_P1 if arguments.linear else PENALTY

    def make(where: Domain, parent: NDArray[np.int32]) -> LinearElasticity:
        bone = SmallStrain(OrthotropicBone.isotropic(17e6, 0.3), cartesian())
        load = Traction(("z1",), ufl.as_vector([0.0, 100.0, -1000.0]))
        return LinearElasticity(
            where, [bone, load], dirichlet=[Dirichlet("z0")], formulation=formulation
        )

    begun, processor = time.perf_counter(), time.process_time()
    first = with_ends(read_domain(arguments.mesh, comm))
    found = adapt(first, make, target=arguments.target, unknowns=arguments.unknowns)
    memory = comm.allreduce(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    if comm.rank == 0:
        for stage in found.stages:
            print(f"{stage.cells:8d} cells {stage.unknowns:8d} unknowns "
                  f"{100 * stage.estimate.relative:6.2f} % error, "
                  f"energy {stage.estimate.energy:.6g}")  # fmt: skip
        print(f"reached: {found.reached}; {time.perf_counter() - begun:.0f} s, processor time of "
              f"one rank {time.process_time() - processor:.0f} s, {memory:.2f} GiB")  # fmt: skip


if __name__ == "__main__":
    main()
