"""A healthy heart at rest, and how far it is from the hearts that were measured.

    python demos/healthy_heart/healthy_heart.py
    mpirun -n 2 python demos/healthy_heart/healthy_heart.py

Both ventricles of the mean of a shape model, at end-diastole in its image, coupled to a closed
circulation and brought to their limit cycle. What comes out, volumes, pressures, the rate of their
rise, shortening, thickening, torsion and activation, stands in a table beside ranges of healthy
adults. docs/healthy-heart.md has it with its sources.

What you will learn: which keys make a heart healthy (they are those of the case file, each with
its reason), how its reference state is found from an image at end-diastole, and what the model
does not get right.

Checks: quantities that are inside their ranges stay there; the last beat is one of the limit cycle;
no blood is lost.

Try next: ``--set mesh.size="6 mm"`` and a step of 2 ms; other presets; your own image.
"""

import organtwin  # noqa: F401 - brings its libraries in the right order

# isort: split
import json
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mpi4py import MPI

from organtwin.case.load import load_case
from organtwin.case.pipeline import run_case
from organtwin.export.diagrams import COLOURS, STYLE
from organtwin.export.plates import save
from organtwin.export.tables import read_table
from organtwin.run.result import Beat, Columns

CASE = Path(__file__).parent / "case.toml"
DENSITY = 1.05  # of the muscle, g/mL
comm = MPI.COMM_WORLD


@dataclass(frozen=True)
class Range:
    """A quantity and what it is in healthy adults; sources: docs/healthy-heart.md."""

    name: str
    words: str
    unit: str
    low: float
    high: float
    asserted: bool = True


# Where men and women differ: what lies within two standard deviations of both.
RANGES = (
    Range("lv_end_diastolic_volume", "LV end-diastolic volume", "mL", 102, 187),
    # At the edge of its range: docs/healthy-heart.md.
    Range("lv_end_systolic_volume", "LV end-systolic volume", "mL", 18, 66, False),
    Range("lv_ejection_fraction", "LV ejection fraction", "%", 51, 68),
    Range("lv_mass", "LV mass", "g", 92, 140),
    Range("rv_end_diastolic_volume", "RV end-diastolic volume", "mL", 124, 218),
    Range("rv_end_systolic_volume", "RV end-systolic volume", "mL", 38, 92),
    Range("lv_stroke_volume", "LV stroke volume", "mL", 72, 117),
    Range("lv_peak_pressure", "LV peak pressure", "mmHg", 90, 140),
    Range("lv_end_diastolic_pressure", "LV end-diastolic pressure", "mmHg", 4, 12),
    Range("rv_peak_pressure", "RV peak pressure", "mmHg", 13, 29),
    Range("rv_end_diastolic_pressure", "RV end-diastolic pressure", "mmHg", 0, 8),
    Range("lv_dpdt_max", "LV dP/dt max", "mmHg/s", 1060, 2110),
    Range("lv_time_to_dpdt_max", "Time to dP/dt max", "ms", 55, 99),
    Range("lv_wall_thickening", "LV wall thickening", "%", 35, 59),
    # Outside, and why: docs/healthy-heart.md.
    Range("lv_longitudinal_shortening", "LV longitudinal shortening", "%", 15.9, 22.1, False),
    Range("lv_peak_torsion", "LV peak torsion", "deg/cm", 2.2, 5.2),
    Range("total_activation_time", "Activation of both ventricles", "ms", 63, 96),
)


def measured(out: Path, beat: Columns) -> dict[str, float]:
    """The quantities of the table, from a run's results and its last beat."""
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    found = {name: float(result["value"]) for name, result in record["results"].items()}
    t, p = beat["t [ms]"], beat["p_lv [mmHg]"]
    steepest = int((np.diff(p) / np.diff(t)).argmax())
    muscle = json.loads((out / "stages" / "image" / "geometry.json").read_text(encoding="utf-8"))
    return found | {
        "lv_mass": DENSITY * muscle["volumes_ml"]["lv"],
        "lv_time_to_dpdt_max": float(t[steepest] - t[0]),
        "lv_peak_torsion": found["lv_peak_twist"] / (beat["lv_length [mm]"][0] / 10),
    }


def draw(path: Path, beat: Columns, found: dict[str, float]) -> None:
    """Loops, pressures and the motion of the wall in the last beat."""
    mpl.rcParams.update(STYLE)
    figure = Figure(figsize=(13.0, 8.2), layout="constrained")
    (loops, pressures), (motion, places) = figure.subplots(2, 2)
    t = beat["t [ms]"] - beat["t [ms]"][0]
    for side, name in (("lv", "Left ventricle"), ("rv", "Right ventricle")):
        volume, pressure = beat[f"V_{side} [mL]"], beat[f"p_{side} [mmHg]"]
        loops.plot(volume, pressure, color=COLOURS[side], label=name)
        pressures.plot(t, pressure, color=COLOURS[side], label=name)
    for name, colour, words in (
        ("p_ar_sys [mmHg]", COLOURS["aorta"], "Systemic arteries"),
        ("p_la [mmHg]", COLOURS["atrium"], "Left atrium"),
        ("p_ar_pul [mmHg]", COLOURS["valve"], "Pulmonary arteries"),
    ):
        pressures.plot(t, beat[name], color=colour, linewidth=1.4, label=words)
    loops.set(xlabel="Volume (mL)", ylabel="Pressure (mmHg)", ylim=(0, None), title="Loops")
    pressures.set(xlabel="Time (ms)", ylabel="Pressure (mmHg)", ylim=(0, None), title="Pressures")
    length, twist, ratio = (
        beat[name] for name in ("lv_length [mm]", "lv_twist [deg]", "lv_thickness_ratio [1]")
    )
    motion.plot(t, 100 * (1 - length / length[0]), color="#0072b2", label="Shortening (%)")
    motion.plot(t, 100 * (ratio / ratio[0] - 1), color="#d55e00", label="Thickening (%)")
    motion.plot(t, twist - twist[0], color="#009e73", label="Twist (degrees)")
    motion.set(xlabel="Time (ms)", ylabel="Since end-diastole", title="Left ventricular wall")
    for axes in (loops, pressures, motion):
        axes.set_ylim(top=1.35 * axes.get_ylim()[1])  # room for the legend
        axes.legend(loc="upper left", ncols=2, fontsize=10)
    _places(places, found)
    save(figure, path)


def _places(axes: Axes, found: dict[str, float]) -> None:
    """Where each quantity lies between the ends of its range."""
    axes.axvspan(0.0, 1.0, color="#009e73", alpha=0.15, linewidth=0)
    for row, each in enumerate(reversed(RANGES)):
        place = (found[each.name] - each.low) / (each.high - each.low)
        inside = 0.0 <= place <= 1.0
        shown = min(max(place, -0.7), 1.7)
        marker = "o" if shown == place else "<" if place < 0 else ">"
        axes.plot(shown, row, marker, color="#009e73" if inside else "#d55e00", markersize=8)
    axes.set(xlim=(-0.8, 1.8), xticks=(0, 1), title="Against healthy ranges")
    axes.set_xticklabels(("lower end", "upper end"))
    axes.set_yticks(range(len(RANGES)), [each.words for each in reversed(RANGES)], fontsize=9)


def main() -> None:
    """Run, print the table, draw, check."""
    case = load_case(CASE)
    out = run_case(case, comm=comm)
    if comm.rank != 0:
        return
    table = read_table(out / "scalars.csv")
    period = case.circulation.cycle_length
    beats = round(float(table["t [ms]"][-1]) / period)
    rows = Beat((beats - 1) * period, period).rows(table["t [ms]"])
    beat = {name: values[rows] for name, values in table.items()}
    found = measured(out, beat)
    print(f"{'the last of ' + str(beats) + ' beats':34s} {'value':>8s}   healthy")
    for each in RANGES:
        value = found[each.name]
        word = "" if each.low <= value <= each.high else "  outside"
        print(f"{each.words:34s} {value:8.1f}   {each.low:g} to {each.high:g} {each.unit}{word}")
    draw(out / "healthy_heart.png", beat, found)
    outside = [
        each.name
        for each in RANGES
        if each.asserted and not each.low <= found[each.name] <= each.high
    ]
    assert not outside, outside
    assert found["moved_blood"] <= 100 * (case.run.limit_cycle or 0.0)
    assert abs(found["mass_balance"]) < 1e-8


if __name__ == "__main__":
    main()
