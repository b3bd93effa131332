"""Errors of a beat by model, scheme and time step, as the table docs/ionic-accuracy.md.

Run: ``python benchmarks/ionic_accuracy.py [MODEL ...] [--out FILE]``. The reference is LSODA with
tight tolerance on the same right-hand side (`organtwin.cells.accuracy.reference_beat`), without
diffusion.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from organtwin.cells.accuracy import (
    Beat,
    StepError,
    largest_steps,
    reference_beat,
    step_errors,
)
from organtwin.cells.catalogue import library
from organtwin.cells.codegen import Scheme
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.errors import SolverError

STEPS = (0.02, 0.05, 0.1, 0.2)
#: Sub-steps of a cell whose potential moves by more than 1 mV in a step; 1 for none.
SUBSTEPS = (1, 10)
SHORT = {
    Scheme.RUSH_LARSEN: "Rush–Larsen",
    Scheme.GENERALISED_1: "generalised, order 1",
    Scheme.GENERALISED_2: "generalised, order 2",
}
INTRODUCTION = """\
# Accuracy of the cell models by time step

Errors of one beat from the initial state, 52 mV/ms for 1 ms, without diffusion, against LSODA with
a relative tolerance of 1e-8 on the same right-hand side. Written by
`python benchmarks/ionic_accuracy.py`.

- APD90: time from half of the upstroke until 90 % of it are gone, less that of the reference (ms).
- peak: of the potential, less that of the reference (mV).
- sub-steps: 10 means that a cell whose potential moves by more than 1 mV in a step takes it again
  in 10 parts.
- Δt: fixed over the whole beat.
- "unstable": the potential leaves the range of the reference by more than 100 mV.
- accurate to: the largest of these Δt up to which APD90 is right within 1 %.

In tissue diffusion carries part of the upstroke's current, so that it is slower and these peaks
are upper bounds.
"""


def cell_of(error: StepError) -> str:
    """APD90 and peak error of a time step."""
    if not error.stable:
        return "unstable"
    return f"{error.apd90:+.2f} / {error.peak:+.2f}"


def rows_of(model: CellModel, reference: Beat, length: float) -> list[str]:
    """Rows of all schemes."""
    rows = []
    for scheme in Scheme:
        for substeps in SUBSTEPS:
            kernel = compile_kernel(model, scheme=scheme, substeps=substeps)
            errors = step_errors(kernel, STEPS, length=length, reference=reference)
            accurate, _ = largest_steps(errors)
            last = "–" if accurate is None else f"{accurate:g}"
            cells = " | ".join(cell_of(error) for error in errors)
            rows.append(f"| {SHORT[scheme]} | {substeps} | {cells} | {last} |")
    return rows


def section(name: str, length: float) -> str:
    """Heading and table of a model."""
    model = CellModel.load(name)
    try:
        reference = reference_beat(compile_kernel(model), length=length)
    except SolverError as error:
        return f"\n## {name}\n\nNo reference: {error}\n"
    steps = " | ".join(f"{dt:g} ms" for dt in STEPS)
    table = [
        f"| scheme | sub-steps | {steps} | accurate to (ms) |",
        "|---|---:|" + "---:|" * (len(STEPS) + 1),
        *rows_of(model, reference, length),
    ]
    told = f"Reference: APD90 {reference.apd90:.2f} ms, peak {reference.peak:.2f} mV."
    return "\n".join(["", f"## {name}", "", f"{told} APD90 / peak error:", "", *table, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(library()))
    parser.add_argument("--length", type=float, default=800.0, help="longest time (ms)")
    parser.add_argument("--out", type=Path, default=Path("docs/ionic-accuracy.md"))
    arguments = parser.parse_args()
    text = INTRODUCTION
    for name in arguments.models:
        start = time.process_time()
        text += section(name, arguments.length)
        print(f"{name}: {time.process_time() - start:.1f} s of CPU", flush=True)
    arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
