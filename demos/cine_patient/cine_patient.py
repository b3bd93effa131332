"""A real patient's ventricles in 3D, calibrated to the volume curve of a cine MR.

    python demos/cine_patient/cine_patient.py
    mpirun -n 3 python demos/cine_patient/cine_patient.py

From the end-diastolic surfaces of the left and right ventricle to labels, a mesh, an unloaded
shape, and seventeen parameters with intervals: stiffness, strength and course of the twitch, onset
of the beat, arteries, blood, left atrium. 25 volumes of the left ventricle were measured, eight of
them are held out. Nobody measured a pressure: a healthy cuff reading and a usual filling pressure,
both with wide errors, stand in for them.

What you will learn: how few runs of a 3D heart a calibration needs. Twenty beats, drawn from the
priors, teach an emulator what pressure the ventricles answer a volume with, at any time and for any
parameters; the ensemble is calibrated with it inside the circulation, and the 3D heart then says in
the middle of the posterior whether that was right. Look at ``curves.png``, whose dashed line is the
3D heart itself, and at ``influence.png``.

What to try next: finer meshes and P2–P1 elements in ``heart.toml``; a pressure that was measured.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import json
from pathlib import Path

import numpy as np
from mpi4py import MPI

from organtwin.case.calibration import run_calibration
from organtwin.case.load import load_calibration_case

comm = MPI.COMM_WORLD

case = load_calibration_case(Path(__file__).with_name("case.toml"))
out = run_calibration(case, out=case.output.directory, workers=2, comm=comm)

# Check: the 3D heart follows the whole curve within 5 % of the stroke volume, and most of the
# held-out phases within two standard errors.
if comm.rank == 0:
    found = json.loads((out / "calibration.json").read_text(encoding="utf-8"))
    for row in found["parameters"]:
        print(f"{row['parameter']:44} {row['value']:9.3g} ({row['low']:.3g} to {row['high']:.3g})")
    misfit = found["curves"]["lv_volume"]
    held = np.array(
        [r["misfit"] for r in found["predictions"] if r["held_out"] and r["time_ms"] is not None]
    )
    print(f"volume curve: root mean square misfit {100 * misfit:.1f} % of the stroke volume")
    print(f"held-out phases: {np.sum(np.abs(held) <= 2)} of {len(held)} within 2 standard errors")
    assert misfit < 0.05
    assert np.sum(np.abs(held) <= 2) >= 0.8 * len(held)
