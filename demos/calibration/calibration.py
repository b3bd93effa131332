"""From the volume curve of a cine MR to the parameters of a reduced-order heart.

The same as ``organtwin calibrate demos/calibration/case.toml``, as a script:

    python demos/calibration/calibration.py
    mpirun -n 3 python demos/calibration/calibration.py

What you will learn: what a volume curve tells of a heart, what a cuff adds, and what neither does.
25 volumes of the left ventricle of a real patient, eight of them held out, and a stand-in for a
cuff pressure; twelve parameters. Look at ``influence.png`` (resistance comes from the pressures,
the time of contraction from the curve), at ``correlations.png`` (contractility and unloaded volume
go together: the curve knows little more than their combination), then at the report.

What to try next: take the pressures out of ``patient.csv``, or give them with an error of 2 mmHg.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import json
from pathlib import Path

import numpy as np
from mpi4py import MPI

from organtwin.case.calibration import run_calibration
from organtwin.case.load import load_calibration_case

OUT = Path("results/calibration")
comm = MPI.COMM_WORLD

case = load_calibration_case(Path(__file__).with_name("case.toml"))
run_calibration(case, out=OUT, comm=comm)

# Check: the whole curve within 6 % of the stroke volume (its errors are 5 %), and held-out phases
# within their errors.
if comm.rank == 0:
    found = json.loads((OUT / "calibration.json").read_text(encoding="utf-8"))
    for row in found["parameters"]:
        print(f"{row['parameter']:34} {row['value']:9.3g} ({row['low']:.3g} to {row['high']:.3g})")
    misfit = found["curves"]["lv_volume"]
    held = np.array([row["misfit"] for row in found["predictions"] if row["held_out"]])
    print(f"volume curve: root mean square misfit {100 * misfit:.1f} % of the stroke volume")
    print(f"held-out phases: {np.sum(np.abs(held) <= 2)} of {len(held)} within 2 standard errors")
    assert misfit < 0.06
    assert np.sum(np.abs(held) <= 2) >= 0.8 * len(held)
