"""Scar tachycardia: can it be started, and does an ablation line prevent it?

    mpirun -n 2 python demos/ventricular_tachycardia/ventricular_tachycardia.py
    mpirun -n 2 python demos/ventricular_tachycardia/ventricular_tachycardia.py --long

The heart of a CT gets a scar through the free wall of the left ventricle. A bundle of diseased
tissue runs through the scar, from its apical to its basal edge: slow, and refractory for longer.
Two beats and a premature one are paced from the apex. The premature wave is blocked at the bundle,
goes round the scar, comes into the bundle from behind, and turns. Then a line of cells across the
bundle is ablated, and the same is tried again. ``--long`` follows the tachycardia for 2 s.

What you will learn: how a scar is drawn onto a mesh, how cells and conduction differ by region,
how a heart is paced by a protocol, and how reentry is told from activity that dies out.

The anatomy of scar and bundle and the numbers of the diseased cells are made up. They are tuned so
that the tachycardia is one: a wave needs longer for the way round than the bundle stays refractory.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from dolfinx import fem
from mpi4py import MPI

from organtwin.anatomy.chart import WallChart
from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.fibres import FibreAngles, fibres
from organtwin.cells.conditions import Condition
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import PacedCell, pace
from organtwin.electrophysiology.beats import Beats
from organtwin.electrophysiology.conductivity import Conductivity, conductivity_tensor, tune
from organtwin.electrophysiology.diffusion import Membrane
from organtwin.electrophysiology.heterogeneity import RegionCells, by_region, cells_on
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import COARSE, TimeSteps, local_nodes
from organtwin.electrophysiology.reentry import Activity, Reentry
from organtwin.electrophysiology.stimulus import Balls, Stimulus, s1_s2
from organtwin.export.fields import FieldWriter
from organtwin.export.isochrones import isochrones, rotors
from organtwin.export.scene import stance
from organtwin.export.series import read_series
from organtwin.export.tables import read_table
from organtwin.image.labels import biventricular
from organtwin.image.readers import read_labels
from organtwin.mesh.domain import Domain, cellwise_vectors, read_domain, refine, region_field
from organtwin.mesh.relabel import relabel
from organtwin.mesh.tetrahedra import tetrahedralise
from organtwin.parallel import on_root

HERE = Path(__file__).parent
OUT = Path("results/ventricular_tachycardia")
S1, COUPLINGS = 450.0, (290.0,)  # ms
FOLLOWED = 2000.0 if "--long" in sys.argv else 800.0  # ms after the last stimulus
STEPS = TimeSteps(shortest=0.2)  # ms
comm = MPI.COMM_WORLD

# 1. Geometry: both ventricles; two refinements give the edges of 1.4 mm that waves need.
LABELS = {
    "lv_myocardium": 1, "left_atrium": 2, "lv_blood": 3, "right_atrium": 4,
    "rv_blood": 5, "aorta": 6, "pulmonary_artery": 7,
}  # fmt: skip


def mesh() -> None:
    """Image to mesh, on one rank."""
    OUT.mkdir(parents=True, exist_ok=True)
    labels = read_labels(HERE / "../../meshes/wholeheart/wh.nii.gz", LABELS)
    tetrahedralise(biventricular(labels, rv_wall_thickness=3.0), size=5.6, path=OUT / "heart.msh")


on_root(comm, mesh)
coarse = read_domain(OUT / "heart.msh", comm)
axis = coordinates(coarse).axis
heart = refine(coarse, 2).fine
angles = FibreAngles(alpha_endo=60.0, alpha_epi=-60.0, beta_endo=-65.0, beta_epi=25.0)
directions = fibres(heart, angles, cellwise_vectors(heart))
V = fem.functionspace(heart.mesh, ("P", 1))

# 2. Scar: an ellipse through the free wall, 40 mm wide, with a bundle of 10 mm towards the base.
wall = WallChart(axis, height=0.5, angle=np.pi)
SCAR = {
    "scar": lambda x: wall.in_ellipse(x, along=20.0, about=20.0),
    "bundle": lambda x: (
        wall.in_ellipse(x, along=20.0, about=20.0) & wall.in_strip(x, along=20.0, about=5.0)
    ),
}
LINE = {"lesion": lambda x: wall.in_strip(x, along=3.0, about=8.0)}

# 3. Cells: a simple ventricular myocyte. In the bundle less sodium current, a longer action
# potential, and conduction in which cells are coupled less.
model = CellModel.load("mitchell_schaeffer_2003")
diseased = Condition(
    "bundle", parameters={"tau_in": 0.5, "tau_close": 330.0, "tau_open": 60.0}, source="made up"
)
COUPLING = {"bundle": 0.4}
kernel = compile_kernel(model, comm)


def paced(variant: CellModel) -> PacedCell:
    """A cell that has got used to the rhythm; for one rank."""
    return pace(compile_kernel(variant), cycle_length=S1, beats=10)


rest, v = kernel.initial_states()[:, 0], kernel.initial_potential
along, across, _ = tune(
    kernel, rest, v, (0.6, 0.3, 0.3), 1.4, membrane=Membrane(), dt=STEPS.shortest
)


# 4. Programmed stimulation of a heart with some regions, and what came of it.
@dataclass
class Course:
    """What came of it: times of the last beat, waves, and the potential at the end."""

    beats: Beats
    reentry: Reentry
    activity: Activity
    v: fem.Function


def stimulate(substrate: Domain, passive: Sequence[str]) -> Course:
    """Pace from the apex, then wait; collective."""
    living = [name for name in substrate.regions if name not in passive]
    healthy = tuple(name for name in living if name != "bundle")
    cells = cells_on(
        V, substrate,
        [RegionCells(("bundle",), model, (diseased,)), RegionCells(healthy, model)],
        passive=passive, start=paced,
    )  # fmt: skip
    sigma = Conductivity(along.sigma, across.sigma, across.sigma, endocardial_layer=0.0)
    tensor = conductivity_tensor(substrate, sigma, directions.f0, directions.s0, directions.n0)
    onsets = s1_s2(S1, 2, COUPLINGS)
    stimulus = Stimulus(Balls({"apex": axis.apex}, radius=6.0), onsets=onsets)
    end = onsets[-1] + FOLLOWED
    beats = Beats(local_nodes(V), comm, threshold=-40.0)
    reentry = Reentry(V, until=end)
    tissue = monodomain(
        V, cells, by_region(substrate, COUPLING) * tensor, [stimulus], scheme=COARSE, steps=STEPS,
        dx=substrate.dx(*living), recorders=[beats, reentry], domain=substrate,
    )  # fmt: skip
    tissue.v.x.array[tissue.v.x.array == 0.0] = v  # scar has no cells, and no potential
    for t in np.arange(0.0, end, 10.0):
        step = tissue.advance(t, t + 10.0)
        assert step.converged, step.detail
        if reentry.activity(beats, t + 10.0, stimulated=onsets[-1]).verdict == "terminated":
            break  # nothing moves any more
    activity = reentry.activity(beats, t + 10.0, stimulated=onsets[-1], lasting=0.9 * FOLLOWED)
    return Course(beats, reentry, activity, tissue.v)


scarred = relabel(heart, SCAR)
ablated = relabel(scarred, LINE)
courses = {
    "before ablation": stimulate(scarred, ["scar"]),
    "after ablation": stimulate(ablated, ["scar", "lesion"]),
}

# 5. Verdict.
rows = {
    "tachycardia": [c.activity.verdict.value for c in courses.values()],
    "cycle length (ms)": [f"{c.activity.cycle_length:.0f}" for c in courses.values()],
    "last activation (ms)": [f"{c.activity.last_activation:.0f}" for c in courses.values()],
    "wave fronts, mean": [f"{c.activity.wavefronts[-50:].mean():.1f}" for c in courses.values()],
}
if comm.rank == 0:
    print(f"{'':24}" + "".join(f"{name:>18}" for name in courses))
    for what, values in rows.items():
        print(f"{what:24}" + "".join(f"{value:>18}" for value in values))

# 6. Pictures: the last activation of each place, the potential, and what the waves turned around.
for name, course in courses.items():
    stem = "vt_" + name.split()[0]
    fields = {"v": course.v, "region": region_field(heart), **course.beats.fields(V)}
    FieldWriter(OUT, stem, heart.mesh).write(0.0, fields)
    course.reentry.write(OUT / stem)


def pictures(stem: str) -> None:
    """Isochrones, potential and filaments; on one rank."""
    series = read_series(OUT / f"{stem}.pvd")
    view = stance(series.mesh, series.at_cells(0, "region"))
    isochrones(series, view, OUT / f"{stem}_isochrones.png", field="activation")
    v = series.at_points(0, "v")
    table = read_table(OUT / stem / "rotors.csv")
    late = table["t [ms]"] > table["t [ms]"].max(initial=0.0) - 400.0
    lines = {column: values[late] for column, values in table.items()}
    colours = mpl.colormaps["Spectral_r"]
    rotors(series.mesh, v, lines, view, OUT / f"{stem}_rotors.png", colours=colours)


on_root(comm, lambda: pictures("vt_before"))

# 7. Check: it goes on by itself, and not with the line.
before, after = (course.activity for course in courses.values())
assert before.verdict == "sustained", before.verdict
assert 250.0 < before.cycle_length < 600.0, before.cycle_length
assert after.verdict == "terminated", after.verdict
