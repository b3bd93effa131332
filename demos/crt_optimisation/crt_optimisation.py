"""Where to put the left lead: cardiac resynchronisation in a heart with left bundle branch block.

    python demos/crt_optimisation/crt_optimisation.py
    python demos/crt_optimisation/crt_optimisation.py --sites mid_inferolateral apical_anterior
    python demos/crt_optimisation/crt_optimisation.py --fine

With its left bundle cut, a heart is activated from the right: the QRS complex gets wide, and the
pressure rises slowly because the lateral wall pulls late. Two leads help, one in the apex of the
right ventricle, the other on the left ventricle. This sweep moves the left one over the epicardium,
segment by segment. For each place it computes

1. a beat of the electrical activity alone, by `run_case`: QRS duration;
2. the first part of the contraction, with mechanics and circulation: the largest dP/dt.

Every place has its own folder with the stages' files; what is there is used again, so a sweep that
was stopped goes on, and further sites only add to it. The heart is filled once.

What you will learn: presets, leads by anatomical name, own stages with a cache, and how to use the
parts of a case file's run one by one. The leads fire together with the atrioventricular node, there
is no scar and no dilation: what counts is the pattern, not the last millisecond.

Try next: a delay between the leads (`onsets`), the preset `infarct` and a lead on its scar.
"""

import organtwin  # noqa: F401 - brings its libraries in the right order

# isort: split
import argparse
import json
import shutil
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mpi4py import MPI

from organtwin.anatomy.leads import LEAD_SITES
from organtwin.case import build
from organtwin.case.filling import filled
from organtwin.case.load import load_case
from organtwin.case.pipeline import SOLVERS, run_case, stages
from organtwin.case.progress import Progress
from organtwin.case.schema import Case
from organtwin.case.stages import Stage, run_stage
from organtwin.cells.pacing import PacedCell
from organtwin.coupling.measures import HeartScalars
from organtwin.electrophysiology.conductivity import Conductivity
from organtwin.export.diagrams import STYLE
from organtwin.export.plates import colour_bar, save
from organtwin.export.tables import read_table
from organtwin.mesh.domain import read_domain
from organtwin.parallel import on_root
from organtwin.process import write_back
from organtwin.run.observers import Table
from organtwin.run.simulate import simulate

CASE = Path(__file__).parent / "case.toml"
OUT = Path("results/crt_optimisation")
FINE = ["mesh.size=5 mm", "electrophysiology.refinements=2", "mechanics.time_step=2 ms"]
# Epicardial sites that a vein or a surgeon reaches; the septum has none.
SITES = tuple(name for name in LEAD_SITES[1:] if "sept" not in name)
EARLY = 160.0  # ms: the pressure rises fastest before
comm = MPI.COMM_WORLD

parser = argparse.ArgumentParser()
parser.add_argument("--sites", nargs="+", choices=SITES, default=SITES)
parser.add_argument("--fine", action="store_true")
options = parser.parse_args()
folder = OUT / ("fine" if options.fine else "coarse")

# 1. The hearts: healthy, with the block, and paced at each site.
BLOCKED = "preset=left_bundle_branch_block"
HEARTS = {
    "healthy": ["preset=[]", "electrophysiology.purkinje.block=none"],
    "LBBB": [BLOCKED],
    **{
        site: [BLOCKED, f'electrophysiology.pacing=[{{site="rv_apex"}}, {{site="{site}"}}]']
        for site in options.sites
    },
}


def heart_of(name: str, *more: str) -> Case:
    """Case of a heart."""
    return load_case(CASE, [*HEARTS[name], *(FINE if options.fine else []), *more])


# 2. Electrical activity of each: a beat without mechanics.
def electrical(name: str) -> float:
    """QRS duration (ms); image, mesh and cell are those of the first heart."""
    case = heart_of(name, "run.physics=electrophysiology")
    if name != "healthy":
        on_root(comm, lambda: hand_on(case, folder / "healthy", folder / name))
    wanted = {"image", "mesh", "cell", "solve"}
    run_case(case, out=folder / name, only=wanted, comm=comm)

    def read() -> float:
        record = json.loads((folder / name / "run.json").read_text(encoding="utf-8"))
        return float(record["results"]["qrs_duration"]["value"])

    return on_root(comm, read)


def hand_on(case: Case, source: Path, target: Path) -> None:
    """Copy the files of the stages before the solve."""
    known = stages(case)
    for name in ("image", "mesh", "cell"):
        if not known[name].folder(target).exists():
            shutil.copytree(known[name].folder(source), known[name].folder(target))


# 3. The first part of the contraction. The filled heart is the same for all: its state is kept.
kept: list[tuple[dict[str, np.ndarray], float]] = []  # state and size of the circulation


def contract(case: Case, target: Path, progress: Progress) -> None:
    """Let a heart contract for `EARLY` and write its table of numbers."""
    known = stages(case)
    cell = PacedCell.from_json((known["cell"].folder(target.parents[1]) / "cell.json").read_text())
    file = known["cell"].folder(target.parents[1]) / "conductivity.json"
    tuned = json.loads(file.read_text())["tuned"]
    sigma = Conductivity(**{name: found["sigma"] for name, found in tuned.items()})
    mesh = read_domain(known["mesh"].folder(target.parents[1]) / "mesh.msh", comm)
    assembly = build.assemble(case, mesh, cell, sigma)
    heart = assembly.heart
    if kept:
        write_back(heart.state, kept[0][0])
        heart.loop = heart.loop.scaled(kept[0][1])
    else:
        size = filled(case, assembly).size
        kept.append(({name: values.copy() for name, values in heart.state.items()}, size))
    numbers = HeartScalars(heart, assembly.electrical.leads)
    table = Table(comm, target / "pressure.csv", numbers)
    simulate(heart, t_start=0.0, t_end=EARLY, dt=case.mechanics.time_step, observers=[table],
             progress=lambda t: progress(t / EARLY, "contracting"))  # fmt: skip
    table.close()


def pressure_rise(name: str) -> float:
    """Largest dP/dt of the left ventricle (mmHg/s)."""
    case = heart_of(name)
    stage = Stage(
        "contraction",
        settings=(case.fibres, case.electrophysiology, case.mechanics, case.circulation, EARLY),
        upstream=(stages(case)["cell"],),
        code=SOLVERS,
        outputs=("pressure.csv",),
    )
    run_stage(stage, folder / name, lambda target, progress: contract(case, target, progress),
              comm=comm, ranks="all")  # fmt: skip

    def read() -> float:
        scalars = read_table(stage.folder(folder / name) / "pressure.csv")
        return float(1000 * np.max(np.diff(scalars["p_lv [mmHg]"]) / np.diff(scalars["t [ms]"])))

    return on_root(comm, read)


qrs = {name: electrical(name) for name in HEARTS}
rise = {name: pressure_rise(name) for name in HEARTS}


# 4. Table, and both numbers on the bullseye of the segments.
def ring(name: str) -> tuple[float, float, float, float]:
    """Inner and outer radius, first angle and width (rad) of a segment seen from the apex."""
    level, wall = name.split("_", 1)
    inner = {"apical": 1.0, "mid": 2.0, "basal": 3.0}[level]
    # Anterior above, septum left, as in the clinic; degrees from the right, anticlockwise.
    four = {"lateral": -45, "anterior": 45, "septal": 135, "inferior": 225}
    six = {"anterolateral": 0, "anterior": 60, "anteroseptal": 120, "inferoseptal": 180,
           "inferior": 240, "inferolateral": 300}  # fmt: skip
    start, width = (four[wall], 90) if level == "apical" else (six[wall], 60)
    return inner, inner + 1.0, np.radians(start), np.radians(width)


def bullseye(axes: Axes, values: dict[str, float], colours: str, norm: Normalize) -> None:
    """Colour the segments; those without a lead stay grey."""
    for name in LEAD_SITES[1:]:
        inner, outer, start, width = ring(name)
        value = values.get(name)
        colour = "0.93" if value is None else mpl.colormaps[colours](norm(value))
        axes.bar(start, outer - inner, width, inner, align="edge", color=colour, edgecolor="white",
                 linewidth=1.5)  # fmt: skip
        if value is not None:
            dark = np.dot(mpl.colors.to_rgb(colour), (0.30, 0.59, 0.11)) < 0.5
            axes.text(start + width / 2, (inner + outer) / 2, f"{value:.0f}", ha="center",
                      va="center", size=9, color="white" if dark else "black")  # fmt: skip
    for angle, wall, turn in ((0, "lateral", -90), (90, "anterior", 0), (180, "septum", 90),
                              (270, "inferior", 0)):  # fmt: skip
        axes.text(np.radians(angle), 4.25, wall, ha="center", va="center", size=10, rotation=turn)
    axes.set_axis_off()


def draw() -> None:
    """Table and picture, on one rank."""
    print(f"{'':24}{'QRS (ms)':>10}{'dP/dt max (mmHg/s)':>22}{'to LBBB':>10}")
    for name in HEARTS:
        change = 100 * (rise[name] / rise["LBBB"] - 1)
        print(f"{name:24}{qrs[name]:10.0f}{rise[name]:22.0f}{change:9.1f}%")
    paced = {"QRS duration (ms)": (qrs, "viridis_r"),
             "Largest dP/dt of the left ventricle (mmHg/s)": (rise, "viridis")}  # fmt: skip
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 6.2), layout="constrained")
        axes = list(figure.subplots(1, 2, subplot_kw={"projection": "polar"}))
        for ax, (label, (values, colours)) in zip(axes, paced.items(), strict=True):
            norm = Normalize(min(values[s] for s in options.sites),
                             max(values[s] for s in options.sites))  # fmt: skip
            bullseye(ax, {site: values[site] for site in options.sites}, colours, norm)
            ax.set_title(f"{label}\nhealthy {values['healthy']:.0f}, LBBB {values['LBBB']:.0f}")
            colour_bar(figure, [ax], mpl.colormaps[colours], norm, label)
        save(figure, OUT / "crt_bullseye.png")


on_root(comm, draw)

# 5. Check: the block widens the QRS complex and slows the pressure; pacing both sides at the best
# site undoes a part of each.
best = max(options.sites, key=lambda site: rise[site])
assert qrs["LBBB"] > 1.2 * qrs["healthy"]
assert rise["LBBB"] < rise["healthy"]
assert rise[best] > rise["LBBB"]
assert min(qrs[site] for site in options.sites) < qrs["LBBB"]
