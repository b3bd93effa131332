"""Kept factors against Newton's method: the same inflation of a ventricle, in one run.

    OMP_NUM_THREADS=1 python benchmarks/kept_factors.py [EDGE_LENGTH_MM]

Both go through the same pressures on the same mesh to the same tolerance. Newton's method renews
its factors in every iteration; ours when a step is no longer good.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

from organtwin.materials.guccione import Guccione
from organtwin.materials.kinematics import as_constants
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.cavity import Cavity
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import Incompressibility, PassiveStress
from organtwin.mesh.domain import Domain
from organtwin.solve.nonlinear import Tolerances
from organtwin.solve.outcome import Outcome
from organtwin.verify.geometry import truncated_ellipsoid

PRESSURES = np.linspace(0.0, 1.0, 21)[1:]  # kPa


def inflate(domain: Domain, patience: int) -> tuple[float, int, int, float]:
    """Seconds, iterations, factorisations and final volume (mm³)."""
    law = as_constants(Guccione(stiffness=2.0, b_f=8.0, b_t=2.0, b_fs=4.0), domain.mesh)
    ventricle = Mechanics(
        domain,
        [PassiveStress(law, cartesian()), Incompressibility()],
        cavities=[Cavity("lv", "lv_endo", "base")],
        dirichlet=[Dirichlet("base")],
        tolerances=Tolerances(increment=1e-7, patience=patience),
    )
    ventricle.solve(pressures=[0.0])  # compiled and allocated before the clock starts
    start = time.perf_counter()
    solutions = [ventricle.solve(pressures=[p], fresh=patience == 1) for p in PRESSURES]
    seconds = time.perf_counter() - start
    assert all(s.outcome is Outcome.CONVERGED for s in solutions)
    iterations = sum(s.iterations for s in solutions)
    factorisations = sum(s.factorisations for s in solutions)
    return seconds, iterations, factorisations, float(ventricle.volumes()[0])


def main() -> None:
    """Print both and their ratio."""
    size = float(sys.argv[1]) if len(sys.argv) > 1 else 1.5
    with tempfile.TemporaryDirectory() as folder:
        domain = truncated_ellipsoid(MPI.COMM_WORLD, Path(folder) / "lv.msh", size=size)
    newton, kept = inflate(domain, patience=1), inflate(domain, patience=10)
    if MPI.COMM_WORLD.rank == 0:
        for name, (_, iterations, factorisations, volume) in (("Newton", newton), ("kept", kept)):
            print(f"{name:<7} {iterations:4d} iterations, {factorisations:4d} factorisations, "
                  f"{volume:.4f} mm³")  # fmt: skip
        print(f"kept factors are {newton[0] / kept[0]:.1f} times faster")


if __name__ == "__main__":
    main()
