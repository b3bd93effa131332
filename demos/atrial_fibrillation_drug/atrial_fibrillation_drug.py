"""Does a drug stop atrial fibrillation? A virtual test on the left atrium of a CT.

    python demos/atrial_fibrillation_drug/atrial_fibrillation_drug.py
    mpirun -n 2 python demos/atrial_fibrillation_drug/atrial_fibrillation_drug.py

The wall of the left atrium is a surface of triangles. Its cells are remodelled by persistent
fibrillation, which starts from a map of phases and goes on by itself. From the same instant it is
then followed twice: without the drug, and with a block of five currents as amiodarone's.

What you will learn: how a label becomes a surface mesh, how fibrillation is started and counted,
and how a drug is given to cells in the midst of it. And how much hides behind one number: at this
dose, the highest that the block was measured at, fibrillation becomes slow and sparse but does not
stop. Action potentials get shorter, for calcium is blocked as much as the one potassium current
that is weak in such cells. What slows the waves is the block of sodium: leave it out with
`amiodarone.without("INa")`, and as many waves as before turn faster than before.

Left out: fibres, scars and differences between cells, so that rotors hardly wander; the right
atrium; what months of treatment do to the expression of channels, and block that depends on
potential or rate.
"""

import organtwin  # noqa: F401 - brings its libraries in the right order

# isort: split
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyvista as pv
import ufl
from dolfinx import fem
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mpi4py import MPI

from organtwin.cells.conditions import Condition, applied
from organtwin.cells.drugs import Block, Drug, blocked
from organtwin.cells.kernel import Kernel, compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import pace
from organtwin.cells.population import Cells
from organtwin.electrophysiology.beats import Beats
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.phase_map import random_phases, states_at_phases
from organtwin.electrophysiology.reaction_diffusion import TimeSteps, local_nodes
from organtwin.electrophysiology.reentry import Activity, Reentry
from organtwin.export.plates import colour_bar, panels, save
from organtwin.export.scene import Stance, render
from organtwin.image.readers import read_labels
from organtwin.mesh.domain import read_domain
from organtwin.mesh.shell import shell_from_labels
from organtwin.parallel import on_root, quantiles

HERE = Path(__file__).parent
OUT = Path("results/atrial_fibrillation_drug")
SIZE = 1.0  # edges of the triangles (mm)
SIGMA = 0.1  # mS/mm: 0.35 m/s on these triangles, as in a diseased atrium
SETTLING, FOLLOWED, COUNTED = 500.0, 1500.0, 500.0  # ms; averages are over the last part
DOSE = 8000.0  # nM, the highest concentration that the currents were measured at
comm = MPI.COMM_WORLD


# 1. Geometry: the wall around the blood of the left atrium, open towards the left ventricle.
def mesh() -> None:
    """Image to mesh, on one rank."""
    OUT.mkdir(parents=True, exist_ok=True)
    labels = read_labels(HERE / "../../meshes/wholeheart/wh.nii.gz", {"atrium": 2, "ventricle": 3})
    shell_from_labels(
        labels, "atrium", {"mitral_valve": "ventricle"}, size=SIZE, path=OUT / "atrium.msh"
    )


on_root(comm, mesh)
atrium = read_domain(OUT / "atrium.msh", comm)
V = fem.functionspace(atrium.mesh, ("P", 1))

# 2. Cells: a remodelled human atrial myocyte, and the same with the drug. IC50 and Hill
# coefficient are least-squares fits to the inhibition that Crumb et al. (2016) measured, as
# published with Johnstone et al. (2016), Wellcome Open Res. 1:6; IK1 was not blocked.
amiodarone = Drug(
    "amiodarone",
    {
        "IKr": Block(941.0, 0.582), "ICaL": Block(1281.0, 0.582), "Ito": Block(3758.0, 0.369),
        "INa": Block(4577.0, 0.738), "IKs": Block(20240.0, 0.553),
    },
    "Crumb et al. (2016), J. Pharmacol. Toxicol. Methods 81:251-262",
)  # fmt: skip
model = applied(
    CellModel.load("courtemanche_1998"), Condition.load("persistent_atrial_fibrillation")
)
without = compile_kernel(model, comm, substeps=8)
treated = compile_kernel(blocked(model, amiodarone, DOSE), comm, substeps=8)


# 3. Start: each place gets the state of a cell somewhere in its beat, and waves turn around the
# points where all phases meet.
x = V.tabulate_dof_coordinates()
start = states_at_phases(without, random_phases(x, wavelength=40.0, seed=1))


# 4. Tissue: followed from a state, with recorders for beats, wave fronts and rotors.
@dataclass
class Course:
    """What became of fibrillation: states and potential at the end, activity, snapshots of v."""

    state: tuple[np.ndarray, np.ndarray]
    activity: Activity
    apd: float
    sightings: np.ndarray
    snapshots: dict[float, list[np.ndarray]]


def follow(kernel: Kernel, state: tuple[np.ndarray, np.ndarray], until: float) -> Course:
    """Run from states and potential for a time (ms); collective."""
    cells = Cells.uniform(kernel, *state, local_nodes(V))
    beats = Beats(local_nodes(V), comm, threshold=-40.0)
    reentry = Reentry(V, until=until)
    sigma = fem.Constant(atrium.mesh, SIGMA) * ufl.Identity(3)
    tissue = monodomain(V, cells, sigma, steps=TimeSteps.fixed(0.1), recorders=[beats, reentry])
    corners = V.dofmap.list[: atrium.mesh.topology.index_map(2).size_local]
    snapshots = {}
    for t in np.arange(0.0, until, 50.0):
        step = tissue.advance(t, t + 50.0)
        assert step.converged, step
        snapshots[t + 50.0] = comm.gather(tissue.v.x.array[corners])
    apd = beats.apd[: V.dofmap.index_map.size_local]
    return Course(
        (cells.states(0), tissue.v.x.array.copy()),  # the function goes with the tissue
        reentry.activity(beats, until),
        float(quantiles(comm, apd[apd > 0], [0.5])[0]),
        reentry.sightings.copy(),
        snapshots,
    )


fibrillation = follow(without, start, SETTLING)
courses = {
    "without drug": follow(without, fibrillation.state, FOLLOWED),
    f"amiodarone {DOSE / 1000:g} µM": follow(treated, fibrillation.state, FOLLOWED),
}

# 5. What the drug does, in a single cell and to fibrillation.
paced = [pace(kernel, cycle_length=500.0, beats=30).apd90 for kernel in (without, treated)]


def late(course: Course, name: str) -> float:
    """Mean of a count over the last part of a run."""
    counted = course.activity.times > FOLLOWED - COUNTED
    return float(getattr(course.activity, name)[counted].mean())


rows = {
    "wave fronts": [late(c, "wavefronts") for c in courses.values()],
    "rotors": [late(c, "rotors") for c in courses.values()],
    "excited share of the atrium (%)": [100 * late(c, "excited") for c in courses.values()],
    "cycle length (ms)": [c.activity.cycle_length for c in courses.values()],
    "APD90 in fibrillation (ms)": [c.apd for c in courses.values()],
    "APD90 of a cell paced at 2 Hz (ms)": paced,
    "last activation (ms)": [c.activity.last_activation for c in courses.values()],
    "fibrillation": [c.activity.verdict.value for c in courses.values()],
}
if comm.rank == 0:
    print(f"{'':36}" + "".join(f"{name:>18}" for name in courses))
    for what, values in rows.items():
        shown = [v if isinstance(v, str) else f"{v:.1f}" for v in values]
        print(f"{what:36}" + "".join(f"{v:>18}" for v in shown))

# 6. Pictures: the potential with the points that waves turn around, and the counts over time.
corners = comm.gather(x[V.dofmap.list[: atrium.mesh.topology.index_map(2).size_local]])
COLOURS, RANGE = mpl.colormaps["Spectral_r"], Normalize(-85.0, 15.0)


def picture(course: Course, t: float) -> np.ndarray:
    """The atrium from behind at a time (ms) of a run."""
    points = np.concatenate(corners).reshape(-1, 3)
    wall = pv.PolyData.from_regular_faces(points, np.arange(len(points)).reshape(-1, 3))
    wall["v"] = np.concatenate(course.snapshots[t]).ravel()
    seen = course.sightings[np.abs(course.sightings[:, 0] - t) < 1e-6, 1:4]
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    size = float(np.linalg.norm(points - middle, axis=1).max())
    up, right, front = np.array([[0.0, 0, 1], [-1.0, 0, 0], [0.0, -1, 0]])  # LPS
    view = Stance(up, right, front, middle, size, middle, middle)
    look = {"scalars": "v", "cmap": COLOURS, "clim": (RANGE.vmin, RANGE.vmax)}
    tips = [(pv.Sphere(radius=1.6, center=tip), {"color": "black"}) for tip in seen]
    return render([(wall.clean(), look), *tips], view, towards=-front)


if comm.rank == 0:
    control, drug = courses.values()
    shown = [(fibrillation, SETTLING, "Start"), (control, FOLLOWED, f"{FOLLOWED:g} ms, no drug"),
             (drug, 500.0, "500 ms, drug"), (drug, FOLLOWED, f"{FOLLOWED:g} ms, drug")]  # fmt: skip
    figure, axes = panels([picture(c, t) for c, t, _ in shown], [title for *_, title in shown])
    colour_bar(figure, axes, COLOURS, RANGE, "Transmembrane potential (mV); dots: rotors")
    save(figure, OUT / "af_waves.png")
    figure = Figure(figsize=(9.0, 3.2), layout="constrained")
    counts = {"wavefronts": "Wave fronts", "excited": "Excited share of the atrium"}
    for ax, (what, title) in zip(figure.subplots(1, 2), counts.items(), strict=True):
        for name, course in courses.items():
            ax.plot(course.activity.times, getattr(course.activity, what), label=name)
        ax.set(xlabel="Time since the drug (ms)", ylabel=title, ylim=(0, None))
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    save(figure, OUT / "af_counts.png")

# 7. Check: fibrillation goes on without the drug, and with it becomes slower and has fewer waves.
(waves, fewer), (cycle, longer) = rows["wave fronts"], rows["cycle length (ms)"]
assert rows["fibrillation"][0] == "sustained"
assert waves > 3.0
assert fewer < 0.75 * waves
assert longer > 1.5 * cycle
assert 0.7 < paced[1] / paced[0] < 0.9
