"""Verification problems of the ionic models."""

from __future__ import annotations

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import PacedCell, pace

#: Resting potential (mV) and durations to 50 and 90 % repolarisation (ms) of ten Tusscher and
#: Panfilov (2006), 100 beats at 1000 ms, equations solved by CVODES to 1e-8 with Myokit 1.39.
TEN_TUSSCHER_2006 = {
    "ten_tusscher_2006_endo": (-85.489, 275.3, 302.98),
    "ten_tusscher_2006_epi": (-85.460, 275.9, 303.08),
    "ten_tusscher_2006_m": (-85.327, 372.1, 402.66),
}


def paced(name: str, beats: int = 100) -> PacedCell:
    """A cell of the library after ``beats`` beats of 1000 ms."""
    return pace(compile_kernel(CellModel.load(name)), cycle_length=1000.0, beats=beats)
