"""Gel in the border zone of an infarct: does the heart pump better, and is its muscle spared?

    python demos/infarct_injection/infarct_injection.py
    mpirun -n 2 python demos/infarct_injection/infarct_injection.py --fine

The heart of a CT beats three times: healthy, with an infarct of its anterior wall and apex, and
with gel injected around that infarct. The scar is ten times as stiff as muscle; it neither pulls
nor conducts. In the border zone, 10 mm wide, the muscle pulls with two thirds of its strength and
conducts slowly. The gel, 15 injections of 0.3 mL, stiffens the border zone where it lies:

    Ψ = s Ψ_muscle + φ μ/2 (Ī₁ − 3),     T = c T_muscle

with the factors s and c of scar and border zone, and the share φ of gel in each cell.

What you will learn: how a case file describes an infarct and a therapy, how hearts are compared,
and how to read stresses off results by zone. The volume that the gel adds to the wall, which takes
load off it too, is left out, and nothing heals or remodels: one beat is computed.

Try next: another place of the infarct (`[[mechanics.infarct]]` with `centre` and `radius`), softer
gel, or more of it.
"""

import organtwin  # noqa: F401 - brings its libraries in the right order

# isort: split
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyvista as pv
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mpi4py import MPI
from scipy.spatial import cKDTree

from organtwin.anatomy.infarct import midpoints
from organtwin.case.infarcts import border_zone, extents, injected
from organtwin.case.load import load_case
from organtwin.case.pipeline import run_case, stages
from organtwin.case.schema import Case
from organtwin.export.diagrams import STYLE
from organtwin.export.plates import colour_bar, legend, panels, save
from organtwin.export.scene import boundary, render, smooth, stance
from organtwin.export.series import read_series
from organtwin.export.tables import read_table
from organtwin.mesh.domain import read_domain
from organtwin.parallel import on_root

CASE = Path(__file__).parent / "case.toml"
OUT = Path("results/infarct_injection")
FINE = ["mesh.size=5 mm", "electrophysiology.refinements=2", "mechanics.time_step=2 ms"]
HEARTS = {
    "healthy": "preset=[]",
    "infarct": "preset=infarct",
    "injected": 'preset=["infarct", "hydrogel_injection"]',
}
ZONES = {"remote": "#d98473", "border zone": "#f2c14e", "scar": "#5c5c66", "gel": "#2fa4c9"}
comm = MPI.COMM_WORLD
chosen = FINE if "--fine" in sys.argv[1:] else []


# 1. Three beats. Image, mesh and cell are the same: the first heart's are handed on.
def beat(name: str, first: Path | None) -> tuple[Case, Path]:
    """One beat of a heart; what is there from an earlier run is used again."""
    case = load_case(CASE, [HEARTS[name], *chosen])
    directory = OUT / ("fine" if chosen else "coarse") / name
    if first is not None:
        on_root(comm, lambda: hand_on(case, first, directory))
    run_case(case, out=directory, only={"image", "mesh", "cell", "solve"}, comm=comm)
    return case, directory


def hand_on(case: Case, source: Path, target: Path) -> None:
    """Copy the files of the stages before the solve."""
    known = stages(case)
    for name in ("image", "mesh", "cell"):
        if not known[name].folder(target).exists():
            shutil.copytree(known[name].folder(source), known[name].folder(target))


hearts: dict[str, tuple[Case, Path]] = {}
for name in HEARTS:
    hearts[name] = beat(name, hearts["healthy"][1] if hearts else None)


# 2. The zones, as the case file draws them, in the cells of a mesh.
def zones(case: Case, directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """Midpoints of the cells (n, 3) in mm, and the number of their zone in `ZONES`, (n,)."""
    mesh = read_domain(stages(case)["mesh"].folder(directory) / "mesh.msh", MPI.COMM_SELF)
    found = extents(case.mechanics.infarct, mesh)
    zone = np.full(len(midpoints(mesh)), len(ZONES))
    zone[mesh.cells("lv")] = 0
    zone[border_zone(found)] = 1
    zone[np.any([one.zones.scar for one in found], axis=0)] = 2
    zone[injected(case.mechanics, mesh).x.array > 0.5] = 3
    return midpoints(mesh), zone


@dataclass(frozen=True)
class End:
    """A heart at the end of its systole.

    Attributes:
        grid: As it is deformed, with ``stress`` (kPa) and ``zone`` in its cells.
        numbers: Of the beat, by their names.
        loop: Volume (mL) and pressure (mmHg) of the left ventricle over the beat.
    """

    grid: pv.UnstructuredGrid
    numbers: dict[str, float]
    loop: tuple[np.ndarray, np.ndarray]


def end_of_systole(directory: Path, places: np.ndarray, drawn: np.ndarray) -> End:
    """Read a heart's files."""
    record = json.loads((directory / "run.json").read_text(encoding="utf-8"))["results"]
    scalars = read_table(directory / "scalars.csv")
    volume, pressure = scalars["V_lv [mL]"], scalars["p_lv [mmHg]"]
    series = read_series(directory / "fields" / "mechanics.pvd")
    at = series.nearest(scalars["t [ms]"][np.argmin(volume)])
    grid = series.mesh
    # A quadratic cell is read as eight; together they have its midpoint.
    middles = grid.cell_centers().points.reshape(len(places), -1, 3).mean(axis=1)
    zone = np.repeat(drawn[cKDTree(places).query(middles)[1]], grid.n_cells // len(places))
    stress, size = series.at_cells(at, "fibre_stress"), grid.compute_cell_sizes()["Volume"]
    numbers = {
        "EDV (mL)": record["lv_end_diastolic_volume"]["value"],
        "ESV (mL)": record["lv_end_systolic_volume"]["value"],
        "EF (%)": record["lv_ejection_fraction"]["value"],
        "peak pressure (mmHg)": record["lv_peak_pressure"]["value"],
    }
    for number, name in enumerate(ZONES):
        here = zone == number
        numbers[f"stress, {name} (kPa)"] = float(np.average(stress[here], weights=size[here]))
    grid.point_data["rest"] = grid.points.copy()
    grid.points = grid.points + series.at_points(at, "displacement")
    grid.cell_data["stress"], grid.cell_data["zone"] = stress, zone
    return End(grid, numbers, (volume, pressure))


# 3. Pictures: zones, fibre stress from the side of the infarct, pressure over volume.
STRESS = Normalize(-10.0, 60.0)


def draw(ends: dict[str, End]) -> None:
    """Both pictures, on one rank."""
    grid = ends["injected"].grid
    zone = grid.cell_data["zone"]
    rest = grid.copy()
    rest.points = grid.point_data["rest"]
    view = stance(rest, np.where(zone == len(ZONES), 2, 1))
    eye = view.front - 0.8 * view.up - 0.5 * view.right_ventricle
    eye /= np.linalg.norm(eye)
    parts = [
        (smooth(boundary(grid.extract_cells(zone == number)), 35.0), {"color": colour})
        for number, colour in enumerate([*ZONES.values(), "#c9d3e0"])
    ]
    images = [render(parts, view, towards=eye)]
    look = {"scalars": "stress", "cmap": "Spectral_r", "clim": (STRESS.vmin, STRESS.vmax)}
    images += [render([(boundary(end.grid), look)], view, towards=eye) for end in ends.values()]
    with mpl.rc_context(STYLE):
        figure, axes = panels(images, ["zones", *ends])
        legend(axes[0], [(colour, name) for name, colour in ZONES.items()])
        colour_bar(figure, axes[1:], mpl.colormaps["Spectral_r"], STRESS,
                   "Fibre stress at the end of systole (kPa)")  # fmt: skip
        save(figure, OUT / "infarct_stress.png")
        figure = Figure(figsize=(10.0, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        width = 0.8 / len(ends)
        for k, (name, end) in enumerate(ends.items()):
            left.plot(*end.loop, label=name)
            values = [end.numbers[f"stress, {zone} (kPa)"] for zone in ZONES]
            right.bar(np.arange(len(ZONES)) + k * width, values, width, label=name)
        left.set(xlabel="Left ventricular volume (mL)", ylabel="Left ventricular pressure (mmHg)")
        right.set(ylabel="Fibre stress at the end of systole (kPa)")
        right.set_xticks(np.arange(len(ZONES)) + 0.4 - width / 2, list(ZONES))
        left.legend()
        save(figure, OUT / "infarct_loops.png")


def compare() -> dict[str, dict[str, float]]:
    """Table and pictures, on one rank."""
    places, drawn = zones(*hearts["injected"])
    ends = {
        name: end_of_systole(directory, places, drawn) for name, (_, directory) in hearts.items()
    }
    print(f"{'':28}" + "".join(f"{name:>10}" for name in ends))
    for what in ends["healthy"].numbers:
        print(f"{what:28}" + "".join(f"{end.numbers[what]:10.1f}" for end in ends.values()))
    draw(ends)
    return {name: end.numbers for name, end in ends.items()}


found = on_root(comm, compare)

# 4. Check: the infarct costs ejection; gel relieves the border zone where it lies.
healthy, infarct, injected_heart = (found[name] for name in HEARTS)
assert infarct["EF (%)"] < healthy["EF (%)"] - 5.0
assert infarct["ESV (mL)"] > healthy["ESV (mL)"]
assert injected_heart["stress, gel (kPa)"] < infarct["stress, gel (kPa)"]
assert abs(injected_heart["EF (%)"] - infarct["EF (%)"]) < 5.0
