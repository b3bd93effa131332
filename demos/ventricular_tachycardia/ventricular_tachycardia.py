"""Scar tachycardia: can it be started, and does an ablation line end and prevent it?

    python demos/ventricular_tachycardia/ventricular_tachycardia.py
    mpirun -n 2 python demos/ventricular_tachycardia/ventricular_tachycardia.py

The heart of a CT gets a scar through the free wall of the left ventricle. An isthmus of diseased
tissue runs through the scar, from its apical to its basal edge: it conducts slowly, and at its
apical entrance the cells stay refractory for longer. A beat and a premature stimulus, S1 and S2,
are given at the apex, S2 earlier from one attempt to the next. The wave of an early S2 is blocked
at the entrance, goes round the scar, comes into the isthmus from the base and leaves it when the
muscle around has recovered: it turns for ever. Then a line of cells across the isthmus is ablated:
while the wave turns, which ends it, and in a heart at rest, where the same S2 no longer starts it.

What you will learn: how scars and lesions are drawn onto a mesh, how cells and conduction differ
by region, how a heart is paced by a protocol, how reentry is told from activity that dies out, and
how ECG and electrograms are recorded while a wave runs.

Scar, isthmus and their cells are made up, and so are the simple action potentials, which are the
same in all layers of the wall. What is to be learned from it is why such a tachycardia begins and
ends, not where it sits in a patient. Try next: another `COUPLINGS`, a line that leaves a gap, or
`COUPLING = {"isthmus": 1.0, "entrance": 1.0}`, where the way round is too short.
"""

import organtwin  # noqa: F401 - brings its libraries in the right order

# isort: split
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyvista as pv
from dolfinx import fem
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mpi4py import MPI

from organtwin.anatomy.chart import WallChart
from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.fibres import FibreAngles, fibres
from organtwin.cells.conditions import Condition
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import PacedCell, pace
from organtwin.electrophysiology.beats import Beats
from organtwin.electrophysiology.conductivity import Conductivity, conductivity_tensor
from organtwin.electrophysiology.ecg import PseudoECG, lead_voltages, standing_adult
from organtwin.electrophysiology.electrograms import Electrograms
from organtwin.electrophysiology.heterogeneity import RegionCells, by_region, cells_on
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import (
    COARSE,
    NOT_ACTIVATED,
    ReactionDiffusion,
    TimeSteps,
    local_nodes,
)
from organtwin.electrophysiology.reentry import Activity, Reentry
from organtwin.electrophysiology.signals import Signals
from organtwin.electrophysiology.stimulus import Balls, Stimulus, s1_s2
from organtwin.export.fields import FieldWriter
from organtwin.export.isochrones import isochrones
from organtwin.export.plates import colour_bar, panels, save
from organtwin.export.scene import Stance, boundary, render, smooth, stance
from organtwin.export.series import Series, read_series
from organtwin.image.labels import biventricular
from organtwin.image.readers import read_labels
from organtwin.mesh.domain import Domain, cellwise_vectors, read_domain, refine, region_field
from organtwin.mesh.relabel import relabel
from organtwin.mesh.tetrahedra import tetrahedralise
from organtwin.parallel import on_root

HERE = Path(__file__).parent
OUT = Path("results/ventricular_tachycardia")
S1 = 500.0  # ms, the rhythm that cells are used to
COUPLINGS = (340.0, 260.0)  # ms from S1 to S2, in turn until a tachycardia is induced
FOLLOWED = 2000.0  # ms after S2
SHOWN = 340.0  # ms after S2: the wave is on its way through the isthmus
comm = MPI.COMM_WORLD

# 1. Geometry: both ventricles; two refinements give edges of 1.2 mm and 119 000 nodes.
LABELS = {
    "lv_myocardium": 1, "left_atrium": 2, "lv_blood": 3, "right_atrium": 4,
    "rv_blood": 5, "aorta": 6, "pulmonary_artery": 7,
}  # fmt: skip


def mesh() -> None:
    """Image to mesh, on one rank."""
    OUT.mkdir(parents=True, exist_ok=True)
    labels = read_labels(HERE / "../../meshes/wholeheart/wh.nii.gz", LABELS)
    tetrahedralise(biventricular(labels, rv_wall_thickness=3.0), size=5.0, path=OUT / "heart.msh")


on_root(comm, mesh)
coarse = read_domain(OUT / "heart.msh", comm)
axis = coordinates(coarse).axis
heart = refine(coarse, 2).fine
angles = FibreAngles(alpha_endo=60.0, alpha_epi=-60.0, beta_endo=-65.0, beta_epi=25.0)
directions = fibres(heart, angles, cellwise_vectors(heart))
V = fem.functionspace(heart.mesh, ("P", 1))

# 2. Substrate: an oval scar with an isthmus of 12 mm from apex to base, and the line across it.
LENGTH, WIDTH, ISTHMUS, ENTRANCE = 40.0, 36.0, 12.0, 8.0  # mm
wall = WallChart(axis, height=0.5, angle=np.pi)


def in_scar(x: np.ndarray) -> np.ndarray:
    """Whether points lie in the scar or its isthmus."""
    return wall.in_ellipse(x, along=LENGTH / 2, about=WIDTH / 2)


def in_isthmus(x: np.ndarray) -> np.ndarray:
    """Whether points lie in the isthmus."""
    return in_scar(x) & wall.in_strip(x, along=LENGTH / 2, about=ISTHMUS / 2)


def in_entrance(x: np.ndarray) -> np.ndarray:
    """Whether points lie in the apical part of the isthmus."""
    return in_isthmus(x) & (wall.along(x) < ENTRANCE - LENGTH / 2)


scarred = relabel(heart, {"scar": in_scar, "isthmus": in_isthmus, "entrance": in_entrance})
line = {"lesion": lambda x: wall.in_strip(x, along=3.0, about=ISTHMUS / 2 + 3.0)}
ablated = relabel(scarred, line)

# 3. Cells: a simple myocyte, its action potential 225 ms long. In the isthmus the inward current is
# slower; at the entrance the action potential takes 315 ms. Cells are less coupled there.
model = CellModel.load("mitchell_schaeffer_2003").with_parameters({"tau_close": 120.0})
weak = Condition("isthmus", parameters={"tau_in": 0.5, "tau_close": 175.0}, source="made up")
long = Condition("entrance", parameters={"tau_in": 0.5, "tau_close": 280.0}, source="made up")
COUPLING = {"isthmus": 0.4, "entrance": 0.4}
SIGMA = Conductivity(fibre=0.3, sheet=0.1, normal=0.1, endocardial_layer=0.0)  # mS/mm


def paced(variant: CellModel) -> PacedCell:
    """A cell that has got used to the rhythm; for one rank."""
    return pace(compile_kernel(variant), cycle_length=S1, beats=10)


# 4. Programmed stimulation, and what came of it.
@dataclass
class Attempt:
    """What a heart did: folder of the fields, activity, signals over time, and state at the end."""

    folder: Path
    activity: Activity
    times: np.ndarray
    voltages: dict[str, np.ndarray]
    tissue: ReactionDiffusion


def follow(
    stem: str, substrate: Domain, onsets: tuple[float, ...] = (), before: Attempt | None = None
) -> Attempt:
    """Pace from the apex, wait until nothing moves any more, or to the end; collective.

    With an attempt from ``before`` go on from its state, else begin at rest.
    """
    dead = [name for name in ("scar", "lesion") if name in substrate.regions]
    living = [name for name in substrate.regions if name not in dead]
    healthy = tuple(name for name in living if name not in COUPLING)
    cells = cells_on(
        V, substrate,
        [RegionCells(("entrance",), model, (long,)), RegionCells(("isthmus",), model, (weak,)),
         RegionCells(healthy, model)],
        passive=dead, start=paced,
    )  # fmt: skip
    sigma = by_region(substrate, {**COUPLING, **dict.fromkeys(dead, 0.0)}) * conductivity_tensor(
        substrate, SIGMA, directions.f0, directions.s0, directions.n0
    )
    start = max(onsets, default=0.0)
    end = start + FOLLOWED
    body = PseudoECG(V, sigma, standing_adult(heart))
    catheter = Electrograms(V, sigma, {"isthmus": wall_point})
    signals = Signals(
        V, lambda v: lead_voltages(body(v), ["II", "V3"]) | catheter(v), until=end, every=2.0
    )
    beats = Beats(local_nodes(V), comm, threshold=-40.0)
    reentry = Reentry(V, until=end)
    apex = Balls({"apex": axis.apex}, radius=6.0)
    tissue = monodomain(
        V, cells, sigma, [Stimulus(apex, onsets=onsets)] if onsets else [],
        scheme=COARSE, steps=TimeSteps(shortest=0.2), dx=substrate.dx(*living),
        recorders=[beats, reentry, signals], domain=substrate,
    )  # fmt: skip
    if before is not None:
        hand_over(before.tissue, tissue)
    fields = {"v": tissue.v, "region": region_field(substrate)}
    writer = FieldWriter(OUT / stem, "v", heart.mesh)
    for t in np.arange(0.0, end, 20.0):
        step = tissue.advance(t, t + 20.0)
        assert step.converged, step.detail
        if t + 20.0 in (start + SHOWN, *np.arange(end - 600.0, end + 1.0, 20.0)):
            writer.write(t + 20.0, fields)
        seen = reentry.activity(beats, t + 20.0, stimulated=start, lasting=0.9 * FOLLOWED)
        if t > start + 200.0 and seen.verdict == "terminated":
            break
    last = beats.fields(V)
    times = last["activation"].x.array  # of the last turn
    times[times < t + 20.0 - 1.1 * seen.cycle_length] = NOT_ACTIVATED
    FieldWriter(OUT / stem, "beats", heart.mesh).write(t + 20.0, last)
    reentry.write(OUT / stem)
    signals.write(OUT / stem / "signals.csv")
    return Attempt(OUT / stem, seen, signals.times, signals.voltages, tissue)


def hand_over(old: ReactionDiffusion, new: ReactionDiffusion) -> None:
    """Give cells that are alive in both hearts the states that they have in the old one."""
    (had,), (has,) = old.cells.populations, new.cells.populations
    states = np.zeros((len(old.cells.states(0)), local_nodes(V)))
    states[:, had.nodes] = old.cells.states(0)
    new.cells.states(0)[:] = states[:, has.nodes]
    new.v.x.array[has.nodes] = old.v.x.array[has.nodes]


def nearest_node(along: float) -> np.ndarray:
    """Node of the outer wall on the midline of the isthmus; the same on all ranks."""
    outer = np.unique(V.dofmap.list)
    x = V.tabulate_dof_coordinates()[outer]
    away = np.hypot(wall.along(x) - along, wall.about(x)) - 0.1 * (x - axis.apex) @ -axis.septum
    k = int(np.argmin(away))
    return np.array(min(comm.allgather((float(away[k]), tuple(x[k]))))[1])


wall_point = nearest_node(0.0)
attempts = {}
for coupling in COUPLINGS:
    attempt = follow(f"s2_at_{coupling:g}", scarred, s1_s2(S1, 1, (coupling,)))
    attempts[f"scar, S2 {coupling:g} ms"] = attempt
    if attempt.activity.verdict == "sustained":
        break
induced = f"scar, S2 {coupling:g} ms"
ended, prevented = "then ablated", f"ablated, S2 {coupling:g} ms"
attempts[ended] = follow("ended", ablated, before=attempts[induced])
attempts[prevented] = follow("prevented", ablated, s1_s2(S1, 1, (coupling,)))

# 5. Verdict.
rows = {
    "tachycardia": [a.activity.verdict.value for a in attempts.values()],
    "cycle length (ms)": [f"{a.activity.cycle_length:.0f}" for a in attempts.values()],
    "last activation (ms)": [f"{a.activity.last_activation:.0f}" for a in attempts.values()],
}
if comm.rank == 0:
    print(f"{'':22}" + "".join(f"{name:>22}" for name in attempts))
    for what, values in rows.items():
        print(f"{what:22}" + "".join(f"{value:>22}" for value in values))

# 6. Pictures: a turn of the wave, the last activation of each place, and the signals.
COLOURS, RANGE = mpl.colormaps["Spectral_r"], Normalize(-80.0, 20.0)


def from_the_scar(view: Stance) -> Stance:
    """The heart seen from the side of the scar."""
    front = -axis.septum + (axis.septum @ view.up) * view.up
    front /= np.linalg.norm(front)
    return replace(view, front=front, right_ventricle=np.cross(front, view.up))


def potential(series: Series, t: float, view: Stance) -> np.ndarray:
    """The potential at a time, with the scar in grey and the lesion in black."""
    grid, region = series.mesh, series.at_cells(0, "region")
    grid.point_data["v"] = series.at_points(series.nearest(t), "v")
    dead = {scarred.regions["scar"]: "#8a8a8a", ablated.regions["lesion"]: "black"}
    living = smooth(boundary(grid.extract_cells(~np.isin(region, list(dead)))), 35.0)
    look = {"scalars": "v", "cmap": COLOURS, "clim": (RANGE.vmin, RANGE.vmax)}
    parts: list[tuple[pv.DataSet, dict]] = [(living, look)]
    for number, colour in dead.items():
        if (region == number).any():
            part = smooth(boundary(grid.extract_cells(region == number)), 35.0)
            parts.append((part, {"color": colour}))
    return render(parts, view)


def turn(before: Attempt, after: Attempt) -> None:
    """The potential at four times of the last cycle, and after ablation; isochrones."""
    series, treated = (read_series(attempt.folder / "v.pvd") for attempt in (before, after))
    region = series.at_cells(0, "region")
    standing = stance(series.mesh, np.where(region == heart.regions["rv"], 2, 1))
    view = from_the_scar(standing)
    times = series.times[-1] - before.activity.cycle_length * np.array([0.75, 0.5, 0.25, 0.0])
    images = [potential(series, t, view) for t in times]
    titles = [f"{series.times[series.nearest(t)]:g} ms" for t in times]
    images.append(potential(treated, treated.times[0], view))
    titles.append(f"ablated, {treated.times[0]:g} ms")
    figure, axes = panels(images, titles)
    label = "Transmembrane potential (mV); grey: scar, black: lesion"
    colour_bar(figure, axes, COLOURS, RANGE, label)
    save(figure, OUT / "vt_turn.png")
    last = read_series(before.folder / "beats.pvd")
    isochrones(last, standing, OUT / "vt_isochrones.png", field="activation")


def signals() -> None:
    """Leads and electrogram: induced and ended; and S2 in the heart that was ablated before."""
    first, then, other = (attempts[name] for name in (induced, ended, prevented))
    ablation = first.times[-1]
    names = {"II": "Lead II (mV)", "V3": "Lead V3 (mV)", "isthmus": "Isthmus, unipolar (mV)"}
    figure = Figure(figsize=(11.0, 5.6), layout="constrained")
    axes = figure.subplots(3, 2, sharex="col", sharey="row", width_ratios=(3, 1))
    marks = {"S1": 0.0, "S2": coupling}
    for (left, right), (name, label) in zip(axes, names.items(), strict=True):
        left.plot(first.times, first.voltages[name], linewidth=1.0)
        left.plot(ablation + then.times, then.voltages[name], linewidth=1.0)
        right.plot(other.times, other.voltages[name], linewidth=1.0, color="C1")
        left.set_ylabel(label)
        for ax, lines in ((left, {**marks, "ablation": ablation}), (right, marks)):
            for text, t in lines.items():
                ax.axvline(t, color="0.6", linewidth=0.8)
                ax.text(t, 1.0, text, transform=ax.get_xaxis_transform(), va="top", size=8)
    axes[0, 0].set_title("scar, ablated while the wave turns")
    axes[0, 1].set_title("ablated before")
    for ax in axes[-1]:
        ax.set_xlabel("Time (ms)")
    save(figure, OUT / "vt_signals.png")


def pictures() -> None:
    """All of them, on one rank."""
    turn(attempts[induced], attempts[prevented])
    signals()


on_root(comm, pictures)

# 7. Check: a late S2 does nothing, an early one starts what goes on for 2 s; the line ends it, and
# prevents it.
verdicts = rows["tachycardia"]
assert verdicts == ["terminated", "sustained", "terminated", "terminated"], verdicts
assert 350.0 < attempts[induced].activity.cycle_length < 550.0
assert attempts[ended].activity.last_activation < 600.0
