"""A broken tibial plateau, reduced and held: how its gap strains while the callus hardens.

    python demos/tibial_plateau/tibial_plateau.py
    mpirun -n 2 python demos/tibial_plateau/tibial_plateau.py screws

A split and a depression are cut into the tibia of an MRI atlas, put back, and held by a lateral
plate or by lag screws. One fifth of the load of walking is borne at three times after surgery.

What you will learn: how stages of healing share one mesh and one problem.

What is left out: density (MRI tells none), menisci and ligaments, friction of fragments that touch
(the case file has it: ``gap``). The joint presses where its cartilages meet. Screws are bonded to
bone and plate. Not for decisions about patients.

What to try next: ``fixation="screws"``, ``step=2.0``, another share of the load, other moduli.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import sys
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from mpi4py import MPI

from organtwin.bone.calibration import default
from organtwin.bone.laws import stiffness
from organtwin.image.readers import read_labels
from organtwin.image.volume import Image
from organtwin.mechanics.load_steps import follow
from organtwin.mechanics.recovery import cell_strains, tensors
from organtwin.mesh.domain import read_domain
from organtwin.mesh.mesh_files import write_mesh
from organtwin.orthopaedics.assembly import Fineness
from organtwin.orthopaedics.gap_indices import callus_modulus
from organtwin.orthopaedics.joint_loads import weight_of
from organtwin.orthopaedics.model import OperatedBone, tissue_of
from organtwin.orthopaedics.operation import Operation
from organtwin.orthopaedics.plateau_plan import plateau_operation
from organtwin.orthopaedics.plateau_options import TibialPlateauOptions
from organtwin.orthopaedics.tibial_plateau import tibial_plateau
from organtwin.orthopaedics.weighted_indices import quantiles
from organtwin.parallel import on_root

KNEE = Path(__file__).parents[2] / "meshes" / "knee" / "seg.nrrd"
OUT = Path("results/tibial_plateau_script")
NAMES = {"tibia": 96, "fibula": 97, "femur": 95, "femoral_cartilage": 83} | {
    "lateral_tibial_cartilage": 84,
    "medial_tibial_cartilage": 85,
}
WEEKS = (1.0, 6.0, 12.0)
comm = MPI.COMM_WORLD
fixation: Literal["plate", "screws"] = "screws" if "screws" in sys.argv else "plate"


# 1. Rank 0 breaks, reduces and fixes the plateau, and meshes it.
def planned() -> tuple[Operation, Image | None]:
    """What is computed, and a painted scan around the mesh."""
    labels = read_labels(KNEE, NAMES)
    options = TibialPlateauOptions(
        fixation=fixation,
        cartilage=True,
        gap=1.5,
        plate_gap=1.4,
        fineness=Fineness(5.0, 2.5, 2.5, 1.0),
    )
    made = tibial_plateau(labels, options)
    callus = [callus_modulus(week) for week in WEEKS]
    operation, _, notes = plateau_operation(
        made, weight_of(75.0), ["walking"], 0.2, WEEKS, callus, 200e3
    )
    write_mesh(made.operated().mesh, OUT / "operated.msh")
    print(made.name, *made.notes, *notes, sep="\n")
    return operation, made.scan


operation, scan = on_root(comm, planned)

# 2. All ranks load it at each stage.
domain = read_domain(OUT / "operated.msh", comm)
line = default()
law = stiffness("keyak_1994", line.mineral)
tissue = tissue_of(domain, operation, scan if comm.rank == 0 else None, line, law)
bone = OperatedBone(domain, operation, tissue)
owned = domain.mesh.topology.index_map(3).size_local
cells = domain.cells("callus")
cells = cells[cells < owned]
corners = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0][cells]]
volumes = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])) / 6.0
strains = []
for stage in operation.healing:
    bone.heal(stage)
    follow(bone.problem, bone.steps()[:1])
    found = tensors(cell_strains(bone.problem, np.full((1, 3), 0.25))[cells, 0])
    largest = np.abs(np.linalg.eigvalsh(found)).max(axis=1)
    strains.append(100.0 * quantiles(comm, largest, volumes, (0.5,))[0])
    if comm.rank == 0:
        print(f"{stage.name}: median strain of the callus {strains[-1]:.2f} %", flush=True)

# 3. Check: the callus strains less from stage to stage.
assert all(b < a for a, b in pairwise(strains)), strains
