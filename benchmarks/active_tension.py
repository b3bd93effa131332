"""The three models of active tension side by side: twitches, force–calcium, force–velocity, cost.

Run: ``OMP_NUM_THREADS=1 python benchmarks/active_tension.py [--picture docs/images/tension.png]``.
Calcium and potential are those of ToR-ORd paced once a second. Costs are processor time of one run
on one machine.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

mpl.use("Agg")
import matplotlib.pyplot as plt

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import PacedCell, pace
from organtwin.cells.prescribed_tension import CurveTension
from organtwin.cells.rdq20 import RDQ20MF
from organtwin.cells.tension import Land2017, TensionModel
from organtwin.materials.active import TensionCurve

Array = NDArray[np.float64]

CURVE = TensionCurve((0.0, 30.0, 90.0, 150.0, 250.0, 350.0), (0.0, 8.0, 48.0, 60.0, 30.0, 0.0))
MODELS: dict[str, TensionModel] = {
    "Land 2017": Land2017(),
    "RDQ20-MF": RDQ20MF(),
    "prescribed": CurveTension(CURVE, beta_0=2.3),
}
COLOURS = {"Land 2017": "tab:red", "RDQ20-MF": "tab:blue", "prescribed": "0.4"}
STRETCHES = np.array([0.95, 1.0, 1.05])
#: Points of the measurement of costs, and its step (ms).
POINTS, STEP = 100_000, 2.0


def twitch(model: TensionModel, cell: PacedCell, dt: float = 1.0) -> tuple[Array, Array]:
    """Instants (ms) and isometric tensions (kPa) of the second of two beats."""
    t = dt * np.arange(1, round(1000 / dt) + 1)
    trace = cell.calcium if model.driven_by == "calcium" else cell.potential
    states, tension = model.rest(len(STRETCHES)), np.empty((len(t), len(STRETCHES)))
    for _ in range(2):
        for n, value in enumerate(np.interp(t, cell.time, trace)):
            states = model.kinetics(states, np.full(len(STRETCHES), value), STRETCHES, dt)
            states = model.distort(states, np.zeros(len(STRETCHES)), dt)
            tension[n] = model.tension(states, STRETCHES)
    return t, tension


def held(model: TensionModel, calcium: Array, stretch: float, end: float = 4000.0) -> Array:
    """States after a long time at held calcium (µM)."""
    states, stretches = model.rest(len(calcium)), np.full(len(calcium), stretch)
    for _ in range(round(end / 2)):
        states = model.kinetics(states, calcium, stretches, 2.0)
    return states


def force_calcium(model: TensionModel, calcium: Array, stretch: float) -> Array:
    """Steady tensions (kPa)."""
    return model.tension(held(model, calcium, stretch), np.full(len(calcium), stretch))


def force_velocity(model: TensionModel, velocities: Array, dt: float = 0.05) -> Array:
    """Tension at λ = 1 while shortening at steady rates (1/s), relative to none; full activation.

    Calcium sensitivity and overlap stay those of λ = 1.
    """
    calcium, stretch = np.full(len(velocities), 50.0), np.ones(len(velocities))
    states = held(model, calcium, 1.0, end=1000.0)
    isometric = model.tension(states, stretch)
    for _ in range(round(400 / dt)):
        states = model.kinetics(states, calcium, stretch, dt)
        states = model.distort(states, -velocities / 1000 * dt, dt)
    return model.tension(states, stretch) / isometric


def half_activation(calcium: Array, tension: Array) -> tuple[float, float]:
    """Calcium (µM) of half of the largest tension, and the Hill coefficient there."""
    share = tension / tension.max()
    half = float(np.exp(np.interp(0.5, share, np.log(calcium))))
    inner = (share > 0.2) & (share < 0.8)
    odds = np.log(share[inner] / (1 - share[inner]))
    return half, float(np.polyfit(np.log(calcium[inner]), odds, 1)[0])


def cost(model: TensionModel) -> float:
    """Processor time (s) of a step of `STEP` ms at `POINTS` points."""
    stretch, states = np.linspace(0.9, 1.2, POINTS), model.rest(POINTS)
    low, high = (0.1, 1.0) if model.driven_by == "calcium" else (-85.0, 20.0)
    drive, times = np.linspace(low, high, POINTS), []
    for _ in range(5):
        start = time.process_time()
        states = model.kinetics(states, drive, stretch, STEP)
        model.affine(states, STEP)
        states = model.distort(states, np.full(POINTS, -1e-3), STEP)
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    """Print the figures, draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, default=Path("active_tension.png"))
    arguments = parser.parse_args()
    cell = pace(compile_kernel(CellModel.load("tor_ord_2019_endo")), cycle_length=1000.0, beats=20)
    calcium, velocities = np.logspace(-1.3, 1.3, 79), np.linspace(0.0, 10.0, 41)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for name, model in MODELS.items():
        t, tension = twitch(model, cell)
        for line, width in zip(tension.T, (0.8, 1.4, 2.0), strict=True):
            left.plot(t, line, COLOURS[name], lw=width, label=name if width == 2.0 else None)
        at = tension[:, 1]
        half_way = t[np.flatnonzero(at > at.max() / 2)[[0, -1]]]
        print(
            f"{name}: twitch {at.min():.1f} to {at.max():.1f} kPa, peak at {t[at.argmax()]:.0f} ms,"
            f" {half_way[1] - half_way[0]:.0f} ms above half;"
            f" {cost(model):.3f} s per {STEP:g} ms at {POINTS} points"
        )
        if model.driven_by != "calcium":
            continue
        for stretch, width in zip(STRETCHES, (0.8, 1.4, 2.0), strict=True):
            tension = force_calcium(model, calcium, stretch)
            middle.semilogx(calcium, tension, COLOURS[name], lw=width)
            half, hill = half_activation(calcium, tension)
            print(
                f"    λ = {stretch:.2f}: at most {tension.max():.1f} kPa, half of it at"
                f" {half:.3f} µM (pCa {6 - np.log10(half):.2f}), Hill coefficient {hill:.1f}"
            )
        force = force_velocity(model, velocities)
        right.plot(velocities, force, COLOURS[name])
        unloaded = np.interp(0.0, -force, velocities) if force.min() < 0 else np.inf
        print(f"    unloaded shortening at {unloaded:.2f} lengths per second")
    left.set(xlabel="time after stimulus (ms)", ylabel="isometric tension (kPa)", xlim=(0, 800))
    left.set_title("twitch at λ = 0.95, 1, 1.05", fontsize=10)
    left.legend(frameon=False)
    middle.set(xlabel="free calcium (µM)", ylabel="steady tension (kPa)")
    middle.set_title("force–calcium at λ = 0.95, 1, 1.05", fontsize=10)
    right.set(xlabel="shortening (lengths per second)", ylabel="share of isometric tension")
    right.set(xlim=(0, velocities[-1]), ylim=(0, 1))
    right.set_title("force–velocity at full activation", fontsize=10)
    for axes in (left, middle):
        axes.set_ylim(bottom=0)
    figure.savefig(arguments.picture, dpi=110)


if __name__ == "__main__":
    main()
