"""Verification problems of the ionic models."""

from __future__ import annotations

from dataclasses import dataclass

from organtwin.cells.codegen import Scheme
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import PacedCell, pace

_MYOKIT = "public Myokit file of the model, CVODES to 1e-8"


@dataclass(frozen=True)
class Reference:
    """Measures of an action potential at 1 Hz, and the protocol that they belong to.

    Attributes:
        rest: Potential before the stimulus (mV).
        peak: Largest potential (mV).
        upstroke: Steepest rise (mV/ms), where it does not depend on an unknown stimulus.
        apd90: Duration to 90 % repolarisation (ms).
        beats: Number of the beat, from the library's initial state.
        strength: Stimulus (mV/ms), for half a millisecond.
        source: Where the numbers come from.
    """

    rest: float
    peak: float
    upstroke: float | None
    apd90: float
    beats: int
    strength: float
    source: str = _MYOKIT


#: The library's states of O'Hara–Rudy and ToR-ORd are settled, those of ten Tusscher–Panfilov the
#: published ones.
REFERENCES = {
    "ten_tusscher_2006_endo": Reference(-85.489, 38.02, None, 302.98, 100, 60.0),
    "ten_tusscher_2006_epi": Reference(-85.460, 36.39, None, 303.08, 100, 60.0),
    "ten_tusscher_2006_m": Reference(-85.327, 36.5, None, 402.66, 100, 60.0),
    "ohara_rudy_2011_endo": Reference(-87.999, 42.91, 331.0, 265.72, 10, 116.0),
    "ohara_rudy_2011_epi": Reference(-87.929, 38.70, None, 228.15, 10, 116.0),
    "ohara_rudy_2011_m": Reference(-87.695, 40.46, None, 330.02, 10, 116.0),
    "tor_ord_2019_endo": Reference(-89.751, 32.86, None, 272.43, 10, 106.0),
    "tor_ord_2019_epi": Reference(-90.746, 32.36, None, 236.60, 10, 106.0),
    "tor_ord_2019_m": Reference(-91.344, 30.80, None, 349.96, 10, 106.0),
    "courtemanche_1998": Reference(-81.985, 22.60, 195.5, 242.86, 10, 90.0),
}


def paced(name: str, beats: int | None = None) -> PacedCell:
    """A cell of the library after the reference's beats of 1000 ms, or others."""
    reference = REFERENCES[name]
    kernel = compile_kernel(CellModel.load(name), scheme=Scheme.GENERALISED_2)
    return pace(
        kernel, cycle_length=1000.0, beats=beats or reference.beats, dt=0.02,
        strength=reference.strength, duration=0.5,
    )  # fmt: skip
