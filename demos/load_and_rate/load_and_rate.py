"""Frank–Starling, afterload and force–frequency: three laws of the heart, from one model.

    python demos/load_and_rate/load_and_rate.py
    mpirun -n 2 python demos/load_and_rate/load_and_rate.py

A heart that is filled more ejects more, without anybody telling it to: its sarcomeres are longer,
their filaments overlap better and need less calcium (Frank–Starling). A heart that meets a larger
resistance builds more pressure and ejects less. And at a higher rate human cells take up more
calcium between the beats and pull harder (force–frequency). The first two are done with both
ventricles in 3D under a protocol of changing blood volume and resistance, each to its limit cycle;
the third with the cell alone, ToR-ORd calcium and RDQ20-MF tension.

What you will learn: `[[protocol]]`, `[run] limit_cycle`, the table `beats.csv`, and how a cell
model and a tension model go together without a mesh.

Checks: stroke volume rises with filling and falls with resistance, pressure rises with both, and
the developed force of a cell rises from 60 to 150 beats per minute, as in muscle strips of hearts
that do not fail (Mulieri et al. 1992, Circulation 85:1743–1750; Pieske et al. 1995, Circulation
92:1169–1178).

Try next: the preset `hfref`, whose curves are flatter; Land 2017 instead of RDQ20-MF.
"""

import organtwin  # noqa: F401 - brings its libraries in the right order

# isort: split
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.case.load import load_case
from organtwin.case.pipeline import run_case
from organtwin.case.protocol import phases
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import PacedCell, pace
from organtwin.cells.rdq20 import RDQ20MF
from organtwin.export.diagrams import STYLE
from organtwin.export.plates import save
from organtwin.export.tables import read_table

Array = NDArray[np.float64]

CASE = Path(__file__).parent / "case.toml"
RATES = (40, 60, 80, 100, 120, 150)  # per minute
comm = MPI.COMM_WORLD

# 1. Both ventricles under the protocol; stages that are done are not done again.
case = load_case(CASE)
out = run_case(case, comm=comm)
if comm.rank:
    raise SystemExit

# 2. The last beat of each phase: the one nearest to the limit cycle.
beats = read_table(out / "beats.csv")
last = [np.flatnonzero(beats["phase [1]"] == number)[-1] for number in range(len(phases(case)))]


def of(name: str, chosen: list[int]) -> Array:
    """A column at the last beats of some phases."""
    return beats[name][[last[number] for number in chosen]]


AFTERLOAD, PRELOAD = [1, 0, 2, 3], [4, 0, 5, 6]
EDV, SV = "lv_end_diastolic_volume [mL]", "lv_stroke_volume [mL]"
PEAK = "lv_peak_pressure [mmHg]"
starling = of(EDV, PRELOAD), of(SV, PRELOAD)
pressed = of(PEAK, AFTERLOAD), of(SV, AFTERLOAD)

# 3. A cell at several rates: calcium after 60 beats, then the twitch at a held length.


def twitch(cell: PacedCell, period: float) -> tuple[Array, Array]:
    """Times (ms) and tension (kPa) of the third beat with the cell's calcium."""
    model, t = RDQ20MF(), np.arange(0.0, period)
    calcium, states, held = np.interp(t, cell.time, cell.calcium), model.rest(1), np.ones(1)
    tension = np.zeros((3, len(t)))
    for k in range(3):
        for n, ca in enumerate(calcium):
            states = model.kinetics(states, np.array([ca]), held, 1.0)
            states = model.distort(states, np.zeros(1), 1.0)
            tension[k, n] = model.tension(states, held)[0]
    return t, tension[-1]


kernel = compile_kernel(CellModel.load("tor_ord_2019_endo"))
twitches = {
    rate: twitch(pace(kernel, cycle_length=60_000 / rate, beats=60), 60_000 / rate)
    for rate in RATES
}
force = np.array([np.ptp(tension) for _, tension in twitches.values()])

# 4. Picture.
mpl.rcParams.update(STYLE)
figure = Figure(figsize=(13.0, 4.2), layout="constrained")
left, middle, right = figure.subplots(1, 3)
left.plot(*starling, "o-", color="#0072b2")
left.set(xlabel="LV end-diastolic volume (mL)", ylabel="LV stroke volume (mL)",
         title="Frank–Starling")  # fmt: skip
middle.plot(*pressed, "o-", color="#d55e00")
middle.set(xlabel="LV peak pressure (mmHg)", ylabel="LV stroke volume (mL)", title="Afterload")
right.plot(RATES, force, "o-", color="#009e73")
right.set(xlabel="Stimuli (1/min)", ylabel="Developed tension (kPa)", title="Force–frequency")
save(figure, out / "load_and_rate.png")

# 5. Checks.
print(f"EDV {np.round(starling[0], 1)} mL, stroke volume {np.round(starling[1], 1)} mL")
print(f"peak pressure {np.round(pressed[0], 1)} mmHg, stroke volume {np.round(pressed[1], 1)} mL")
print(f"developed tension {np.round(force, 1)} kPa at {RATES} per minute")
assert (np.diff(starling[0]) > 0).all()
assert (np.diff(starling[1]) > 0).all()
assert (np.diff(pressed[0]) > 0).all()
assert (np.diff(pressed[1]) < 0).all()
assert 1.2 < force[RATES.index(150)] / force[RATES.index(60)] < 3.0
