"""A valve brought into a patient's aortic root: from the CT to what leaks, presses and holds.

    python demos/tavr/tavr.py
    mpirun -n 2 python demos/tavr/tavr.py evolut_like

The scan is segmented and measured, the size follows from the annulus, and the root becomes a mesh
whose wall is held by the pressure of the blood in the shape of the scan. A frame of beams, crimped
onto its balloon or into its sheath, is put there and let go: cobalt–chromium that yields, or
Nitinol, in contact with the wall. What came out is judged by the indices that planners use.

What you will learn: how the pieces of a rehearsal fit together without a case file, and where each
can be exchanged: another device file, another law of the wall, a tilt. The mesh is coarse, and a
strut has two elements, so that it takes some minutes; ``case.toml`` beside this file is finer.

What is left out: the valve's own leaflets and skirt, the beating heart, and much of the tissue
around the root, which is a bed of springs. Device files are generic. Not for decisions about
patients.

What to try next: ``Settings(depth=6.0)``, ``tilt=10.0``, ``friction=0.1``; ``leaflets="open"`` in
`RootModel`; and a sweep of all that (docs/tavr-sweep.md).
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import sys
from pathlib import Path

from mpi4py import MPI

from organtwin.aortic_root.anatomy import RootModel, root_anatomy
from organtwin.aortic_root.measurements import measure_root
from organtwin.case.schema_tavr import Device as DeviceSection
from organtwin.case.tavr_root import choose, height_needed
from organtwin.image.readers import read_image
from organtwin.mesh.domain import read_domain
from organtwin.mesh.mesh_files import write_mesh
from organtwin.parallel import on_root
from organtwin.segment.catalogue import segment
from organtwin.segment.recipe import Options
from organtwin.tavr.indices import assess
from organtwin.tavr.rehearsal import Settings, rehearse
from organtwin.tavr.root_axis import RootAxis, axis_of
from organtwin.tavr.root_record import RootRecord
from organtwin.devices.device_files import Device

SCAN = Path(__file__).parents[2] / "meshes" / "aortic_root" / "ct_cropped.nii.gz"
OUT = Path("results/tavr_script")
comm = MPI.COMM_WORLD
name = sys.argv[1] if len(sys.argv) > 1 else "sapien3_like"
settings = Settings(depth=4.0, elements=2, spacing=1.5)


# 1. Rank 0 segments and measures the scan, chooses the size, and meshes the root.
def prepared() -> tuple[Device, RootRecord, RootAxis]:
    """The device, what was measured, and the axis of the root."""
    image = read_image(SCAN)
    labels = segment(image, "heart_and_aorta_ct", Options(engine="own")).labels
    found = measure_root(image, labels)
    choice = choose(DeviceSection(name=name), found)
    print(f"annulus {found.quantities['annulus_area']}")
    print(*choice.told)
    junction = found.quantities["junction_height"].value
    above = max(height_needed(choice.device, settings.depth) - junction, 10.0)
    made = root_anatomy(found, image, labels, RootModel(size=2.5, leaflets="none", above=above))
    OUT.mkdir(parents=True, exist_ok=True)
    write_mesh(made.mesh, OUT / "root.msh")
    return choice.device, RootRecord.of(found), axis_of(made)


device, root, axis = on_root(comm, prepared)


# 2. All ranks deploy it.
def say(stage: str, reached: float) -> None:
    """One line a step, from one rank."""
    if comm.rank == 0:
        print(f"{stage} {100 * reached:.0f} %", flush=True)


domain = read_domain(OUT / "root.msh", comm)
found = rehearse(domain, root, axis, device, settings, on_accept=say)

# 3. What a planner asks.
judged = assess(found.deployed, root)
if comm.rank == 0:
    found.before.save(OUT / "before.npz")
    found.deployed.save(OUT / "deployed.npz")
    for index in judged.indices:
        print(f"{index.name:36} {index.value:10.3g} {index.unit:8} {index.verdict}")
    print(*judged.notes, sep="\n")

# 4. Check: it was let go, it is wider than the annulus let it be before, and it holds by itself.
assert found.went.complete, found.went.reason
assert judged["frame_annulus_expansion"].value > 0.5
assert judged["anchoring_force"].value > 0.0
if comm.rank == 0:
    print("deployed valve:", device.name)
