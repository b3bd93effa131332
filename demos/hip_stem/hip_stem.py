"""A cementless stem in a femur: press fit, walking, what the bone loses.

    python demos/hip_stem/hip_stem.py
    mpirun -n 2 python demos/hip_stem/hip_stem.py

The neck of the femur is cut, the largest stem that fits is put in, and bone and stem become one
mesh that is separated where they meet. The stem is pressed in, loaded by joint and muscles of a
step, and let go; the intact bone bears the same load beside it.

What you will learn: how the pieces of a plan fit together without a case file, and where each can
be exchanged: another stem or material, another friction, another load.

What is left out: a scan (cortex and density follow a law of the site), the neck and head of the
stem, creep, ingrowth. The mesh is coarse, so that it takes some minutes. Not for decisions about
patients.

What to try next: ``StemSeat(interference=0.0)``, ``ingrown=2e3``; ``"stairs_up"``; ``CoCrMo`` for
the stem, which shields the calcar more.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

from pathlib import Path

import numpy as np
from mpi4py import MPI

from organtwin.bone.calibration import default
from organtwin.bone.laws import stiffness
from organtwin.image.volume import Image
from organtwin.landmarks.catalogue import landmarks_of
from organtwin.mechanics.load_steps import follow
from organtwin.mesh.domain import read_domain
from organtwin.mesh.mesh_files import write_mesh
from organtwin.mesh.surface_files import read_surface
from organtwin.orthopaedics.anatomical_frames import femoral_frame
from organtwin.orthopaedics.assembly import Fineness
from organtwin.orthopaedics.hip_plan import StemSeat, hip_operation
from organtwin.orthopaedics.hip_stem import HipStemOptions, hip_stem
from organtwin.orthopaedics.joint_loads import weight_of
from organtwin.orthopaedics.micromotion_indices import micromotion, micromotion_indices
from organtwin.orthopaedics.model import OperatedBone, tissue_of
from organtwin.orthopaedics.operation import Operation
from organtwin.parallel import on_root

FEMUR = Path(__file__).parents[2] / "meshes" / "femur" / "m4_lfemur_mm.stl"
OUT = Path("results/hip_stem_script")
comm = MPI.COMM_WORLD


# 1. Rank 0 chooses and places the stem, and meshes femur and stem.
def planned() -> tuple[Operation, Image | None]:
    """What is computed, and the scan (here a painted one) around the mesh."""
    bone = read_surface(FEMUR)
    options = HipStemOptions(fineness=Fineness(7.0, 4.5, 4.0, 1.6))
    made = hip_stem(bone, options, side="left")
    marks = landmarks_of("femur", bone)
    frame = femoral_frame(marks, side="left")
    seat = StemSeat(friction=0.6, interference=0.03)
    operation, notes = hip_operation(made, bone, marks, frame, weight_of(75.0), ["walking"], seat)
    write_mesh(made.operated().mesh, OUT / "operated.msh")
    print(made.name, *made.notes, *notes, sep="\n")
    return operation, made.scan


operation, scan = on_root(comm, planned)

# 2. All ranks press it in, load it and let it go.
domain = read_domain(OUT / "operated.msh", comm)
line = default()
law = stiffness("keyak_1998", line.mineral)
tissue = tissue_of(domain, operation, scan if comm.rank == 0 else None, line, law)
bone = OperatedBone(domain, operation, tissue)
states = {}
for step in bone.steps():
    (record,) = follow(bone.problem, [step])
    states[step.name] = {name: one.points() for name, one in bone.interfaces.items()}
    if comm.rank == 0:
        print(f"{step.name}: {record.newton} corrections in {record.seconds:.0f} s", flush=True)

# 3. What a planner asks: how far the coated part moves in a step.
loaded, gone = (states[name]["stem, coated"] for name in ("walking", "unloaded after walking"))
moved = micromotion(
    loaded.position, loaded.area, (loaded.slip, loaded.opening), (gone.slip, gone.opening)
)
indices, _ = micromotion_indices(moved, comm=comm)
if comm.rank == 0:
    for index in indices:
        print(f"{index.name:36} {index.value:10.3g} {index.unit:4} {index.verdict}")

# 4. Check: bone and stem are in equilibrium, and bone can grow into most of the coating.
held = sum(np.array(one.report().force) for one in bone.interfaces.values())
assert np.linalg.norm(held) < 5e3, f"{held} mN are left when nothing acts"
share = {one.name: one.value for one in indices}["micromotion_share_ingrowth"]
assert share > 50.0, f"{share:.0f} % of the coating move less than 40 µm"
if comm.rank == 0:
    print(f"{share:.0f} % of the coating move less than 40 µm")
