"""Forty calibrations whose truth is known: errors of the parameters, coverage of the intervals.

    python benchmarks/twin_experiments.py [--repeats 40] [--members 200] [--workers 2]

The reduced-order heart (four elastances in the closed loop, at its limit cycle) is measured with
noise and calibrated to that. Truths are drawn from the priors, so that exact 95 % intervals would
hold them 95 times in a hundred. Writes results/twin_experiments.csv and prints the table of
docs/calibration.md.
"""

import argparse
import csv
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from organtwin.calibrate.closed_loop_model import ADJUSTABLE, ClosedLoopModel
from organtwin.calibrate.executors import Serial
from organtwin.calibrate.observations import Observation, Observations
from organtwin.calibrate.parameters import LogNormal, Parameter
from organtwin.calibrate.smoother import Smoother
from organtwin.calibrate.twin import Twin, twin_experiment
from organtwin.circulation.elements import COMPLIANCE, RESISTANCE
from organtwin.units import ML, MMHG

PRIORS = {
    "circulation.systemic_resistance": LogNormal(0.8 * RESISTANCE, 0.2),
    "circulation.systemic_compliance": LogNormal(1.4 * COMPLIANCE, 0.2),
    "circulation.blood_volume": LogNormal(1450.0 * ML, 0.1),
    "lv.active_elastance": LogNormal(3.5 * MMHG / ML, 0.25),
    "lv.passive_elastance": LogNormal(0.15 * MMHG / ML, 0.25),
    "lv.contraction_time": LogNormal(250.0, 0.1),
}
PARAMETERS = tuple(
    Parameter(name, prior, ADJUSTABLE[name].unit, ADJUSTABLE[name].shown)
    for name, prior in PRIORS.items()
)
#: A cine MR, an arterial line and a catheter in both atria's reach: value and standard error.
SINGLE = {
    "lv_end_diastolic_pressure": 0.5 * MMHG,
    "ra_mean_pressure": 0.5 * MMHG,
    "cardiac_output": 3.0,
}
TIMES = np.arange(0.0, 800.0, 32.0)
OBSERVATIONS = Observations(
    (
        *(Observation(name, 1.0, error) for name, error in SINGLE.items()),
        *(Observation("lv_volume", 1.0, 3.0 * ML, time=float(t)) for t in TIMES),
        *(Observation("arterial_pressure", 1.0, 2.0 * MMHG, time=float(t)) for t in TIMES),
    )
)


def model(observations: Observations) -> ClosedLoopModel:
    return ClosedLoopModel(tuple(PRIORS), observations)


def repeat(seed: int, members: int, assimilations: int) -> Twin:
    smoother = Smoother(members, (float(assimilations),) * assimilations)
    return twin_experiment(model, PARAMETERS, OBSERVATIONS, smoother, Serial(), seed=seed)


def run(repeats: int, members: int, assimilations: int, workers: int) -> list[Twin]:
    """Independent repeats, each with a seed of its own, so that any number can be made anew."""
    one = partial(repeat, members=members, assimilations=assimilations)
    if workers == 1:
        return [one(seed) for seed in range(repeats)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        return list(pool.map(one, range(repeats)))


def table(twins: list[Twin]) -> str:
    errors = 100 * np.array([twin.errors for twin in twins])
    covered = np.array([twin.covered for twin in twins])
    widths = 100 * np.array(
        [(twin.intervals[:, 2] - twin.intervals[:, 0]) / 2 / twin.truth for twin in twins]
    )
    lines = [
        "| parameter | RMS error | largest | within 5 % | half-width of interval | holds truth |",
        "|---|---|---|---|---|---|",
    ]
    rows = [(p.name, errors[:, k], covered[:, k], widths[:, k]) for k, p in enumerate(PARAMETERS)]
    rows.append(("all", errors.ravel(), covered.ravel(), widths.ravel()))
    lines += [
        f"| {name} | {np.sqrt(np.mean(e**2)):.1f} % | {np.abs(e).max():.1f} % "
        f"| {100 * np.mean(np.abs(e) <= 5):.0f} % | {np.mean(w):.1f} % "
        f"| {int(c.sum())} of {len(c)} ({100 * c.mean():.1f} %) |"
        for name, e, c, w in rows
    ]
    return "\n".join(lines)


def write(twins: list[Twin], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["repeat", "parameter", "truth", "low", "middle", "high", "covered"])
        for number, twin in enumerate(twins):
            for k, parameter in enumerate(PARAMETERS):
                row = (twin.truth[k], *twin.intervals[k])
                writer.writerow(
                    [number, parameter.name, *(f"{v:.6g}" for v in row), bool(twin.covered[k])]
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--members", type=int, default=200)
    parser.add_argument("--assimilations", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1)
    chosen = parser.parse_args()
    start = time.perf_counter()
    found = run(chosen.repeats, chosen.members, chosen.assimilations, chosen.workers)
    write(found, Path("results/twin_experiments.csv"))
    print(table(found))
    print(f"\n{chosen.repeats} repeats in {time.perf_counter() - start:.0f} s")
