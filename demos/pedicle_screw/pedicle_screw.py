"""Two pedicle screws in a lumbar vertebra of a CT: their way, their bone, and what pulls at them.

    python demos/pedicle_screw/pedicle_screw.py
    mpirun -n 2 python demos/pedicle_screw/pedicle_screw.py

Ways through both pedicles keep the most bone around them; the CT tells the density along them and
with it the force that pulls them out. Bone and screws become one mesh, threads are cylinders whose
interface gives way at the force of the thread, and 200 N pull at each head.

What you will learn: how labels and a CT become a plan, and how a seat's strength follows from the
bone around it.

What is left out: rods, neighbouring vertebrae, the shape of the thread; voxels of 3 mm mix cortex
and what is beside it. Not for decisions about patients.

What to try next: another vertebra, ``size="5.0"``, ``length=40.0``, a weaker seat by
``ThreadSeat(cohesion=500.0)``.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

from pathlib import Path

import numpy as np
from mpi4py import MPI

from organtwin.bone.calibration import Calibration
from organtwin.bone.laws import stiffness
from organtwin.bone.tissues import from_tissues
from organtwin.image.readers import read_image
from organtwin.image.segmentations import read_segmentation
from organtwin.image.volume import Image
from organtwin.implants.implant_files import load_implant
from organtwin.implants.screws import BoneScrew
from organtwin.mechanics.load_steps import follow
from organtwin.mesh.domain import read_domain
from organtwin.mesh.mesh_files import write_mesh
from organtwin.orthopaedics.joint_loads import weight_of
from organtwin.orthopaedics.model import OperatedBone, tissue_of
from organtwin.orthopaedics.operation import Operation
from organtwin.orthopaedics.pedicle_screw import PedicleScrewOptions, pedicle_screw
from organtwin.orthopaedics.screw_plan import purchase_of, screw_operation
from organtwin.parallel import on_root

TORSO = Path(__file__).parents[2] / "meshes" / "torso"
OUT = Path("results/pedicle_screw_script")
PULL = 200e3
comm = MPI.COMM_WORLD


# 1. Rank 0 finds the ways of the screws and meshes vertebra and screws.
def planned() -> tuple[Operation, Calibration, Image | None]:
    """What is computed, the calibration, and the CT."""
    scan = read_image(TORSO / "example_ct.nii.gz")
    assert isinstance(scan, Image)
    labels = read_segmentation(
        TORSO / "example_seg_fast_force_split.nii.gz", ["vertebrae_L3", "spinal_cord"]
    ).labels
    made = pedicle_screw(labels, PedicleScrewOptions(vertebra="vertebrae_L3"), scan=scan)
    line = from_tissues(scan)
    length = made.fit["screw_left: length mm"]
    screw = load_implant("pedicle_screws", "6.0", length=round(length, 3))
    assert isinstance(screw, BoneScrew)
    held = {name: purchase_of(made, name, screw, line) for name in made.implants}
    for name, one in held.items():
        print(f"{name}: {one.grey:.0f} HU along it, pulled out by {one.force / 1e3:.0f} N")
    operation, _, notes = screw_operation(made, screw, held, weight_of(75.0), ["pull_out"], PULL)
    write_mesh(made.operated().mesh, OUT / "operated.msh")
    print(made.name, *made.notes, *notes, sep="\n")
    return operation, line, made.scan


operation, line, scan = on_root(comm, planned)

# 2. All ranks pull at both heads.
domain = read_domain(OUT / "operated.msh", comm)
law = stiffness("kopperdahl_2002", line.mineral)
tissue = tissue_of(domain, operation, scan if comm.rank == 0 else None, line, law)
bone = OperatedBone(domain, operation, tissue)
(record,) = follow(bone.problem, bone.steps()[:1])

# 3. Check: the bone holds each screw with the force that pulls, and no thread gives way.
for name, report in zip(bone.interfaces, record.reports, strict=True):
    force = float(np.linalg.norm(report.force))
    if comm.rank == 0:
        print(f"{name}: held with {force / 1e3:.1f} N, {100 * report.sliding:.0f} % slide, "
              f"largest slip {1e3 * report.slip:.1f} µm")  # fmt: skip
    assert abs(force / PULL - 1.0) < 0.01
    assert report.sliding < 0.5
