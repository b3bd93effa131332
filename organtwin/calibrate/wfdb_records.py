"""Observations from WFDB records (PhysioNet): arterial pressure and heart rate, beat by beat."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from organtwin.calibrate.observations import Observation, Observations
from organtwin.errors import InputError, SetupError
from organtwin.units import MMHG

type Vector = NDArray[np.float64]

#: Names that arterial pressure has in records.
PRESSURES = ("ABP", "ART", "AO", "AOBP", "P", "BP")
#: Shortest and longest beat (ms) that is believed.
_BEAT = (300.0, 2500.0)
#: Pressures (mmHg) that are believed.
_PRESSURE = (5.0, 300.0)
#: Beats from which there is a mean with an error.
_FEWEST = 8
#: Share of the record that the beats found in a lead must fill.
_FILLED = 0.8
_POTENTIALS = ("mv", "uv", "v")


@dataclass(frozen=True)
class Pulses:
    """Beats of an arterial pressure.

    Attributes:
        systolic, diastolic, mean: Of each beat (kPa).
        length: Of each beat (ms).
    """

    systolic: Vector
    diastolic: Vector
    mean: Vector
    length: Vector


def read_wfdb(path: str | Path) -> Observations:
    """Pressures and heart rate of a WFDB record, as means over its beats.

    Of the first arterial pressure in mmHg the systolic, diastolic and mean pressure; of the first
    ECG lead whose QRS complexes are found throughout, or else of the pressure, the heart rate.
    The standard error is that of the mean over beats that follow each other,
    σ √((1 + ρ) / (1 − ρ) / n) with the correlation ρ of neighbours. It says how well the mean is
    known, not how well the transducer was calibrated.

    Args:
        path: Header (``.hea``), or the record without its ending.

    Raises:
        SetupError: the package wfdb is missing.
        InputError: the record can't be read, or shows neither.
    """
    wfdb = _library()
    stem = (
        Path(path).with_suffix("") if str(path).endswith((".hea", ".dat", ".mat")) else Path(path)
    )
    try:
        record = wfdb.rdrecord(str(stem))
    except Exception as error:  # the library lets errors of all kinds through
        raise InputError(
            f"{stem}.hea", f"can't be read as a WFDB record ({error}).", "Give its header (.hea)."
        ) from None
    rate, signals = float(record.fs), np.asarray(record.p_signal, dtype=np.float64)
    columns = list(zip(record.sig_name, record.units, signals.T, strict=True))
    pressure = next((c for c in columns if _is_pressure(c[0], c[1])), None)
    leads = [c for c in columns if c[1].lower() in _POTENTIALS and "resp" not in c[0].lower()]
    found: list[Observation] = []
    place = f"{stem.name}.hea"
    if pressure is not None:
        beats = pulses(pressure[2], rate, f"{place}, {pressure[0]}")
        for name in ("systolic", "diastolic", "mean"):
            values = getattr(beats, name)
            found.append(_mean(f"arterial_{name}_pressure", values, f"{place}, {pressure[0]}"))
    lengths, source = _lengths(wfdb, leads, rate)
    if len(lengths) < _FEWEST and pressure is not None:
        lengths, source = beats.length, pressure[0]
    if len(lengths) >= _FEWEST:
        found.append(_mean("heart_rate", 1.0 / lengths, f"{place}, {source}"))
    if not found:
        raise InputError(
            place,
            f"neither an arterial pressure in mmHg nor an ECG with {_FEWEST} beats.",
            f"It has {', '.join(f'{name} ({unit})' for name, unit, _ in columns)}; pressures are "
            f"known by the names {', '.join(PRESSURES)}.",
        )
    return Observations(tuple(found))


def pulses(signal: Vector, rate: float, place: str) -> Pulses:
    """Beats of an arterial pressure: from one foot to the next, with the peak between.

    Peaks stand out from the valleys beside them by at least two fifths of the distance between the
    5th and the 95th percentile, and are 0.3 s or more apart. Beats of an unlikely length or
    pressure, and those with gaps in the signal, are left out.

    Args:
        signal: Pressure (mmHg), (n,); NaN where there is none.
        rate: Samples per second.
        place: Record and signal, for the message.

    Raises:
        InputError: fewer than eight beats.
    """
    bad = ~np.isfinite(signal)
    filled = np.where(bad, np.nanmedian(signal) if not bad.all() else 0.0, signal)
    low, high = np.percentile(filled, [5, 95])
    peaks, _ = find_peaks(
        filled, distance=max(int(0.3 * rate), 1), prominence=max(0.4 * (high - low), 1e-9)
    )
    feet = np.array([a + int(np.argmin(filled[a:b])) for a, b in pairwise(peaks)])
    rows = []
    for a, b in pairwise(feet):
        part, length = filled[a:b], 1000.0 * (b - a) / rate
        top, bottom = float(part.max()), float(part[0])
        likely = _BEAT[0] <= length <= _BEAT[1] and _PRESSURE[0] <= bottom < top <= _PRESSURE[1]
        if likely and not bad[a:b].any():
            rows.append((top * MMHG, bottom * MMHG, float(part.mean()) * MMHG, length))
    if len(rows) < _FEWEST:
        raise InputError(
            place, f"{len(rows)} beats of arterial pressure.", f"At least {_FEWEST} are needed."
        )
    return Pulses(*np.array(rows).T)


def mean_error(values: Vector) -> float:
    """Standard error of the mean of values that follow each other.

    >>> round(mean_error(np.tile([1.0, 3.0], 50)), 3)
    0.101
    """
    centred = values - values.mean()
    variance = float(centred @ centred)
    rho = float(centred[1:] @ centred[:-1]) / variance if variance else 0.0
    rho = min(max(rho, 0.0), 0.99)
    return float(values.std(ddof=1) * np.sqrt((1 + rho) / (1 - rho) / len(values)))


def _mean(name: str, values: Vector, source: str) -> Observation:
    mean = float(values.mean())
    # Beats that are all alike are a drawing: even then the mean is known to 1e-3 at best.
    error = max(mean_error(values), 1e-3 * abs(mean))
    return Observation(name, mean, error, source=f"{source}, {len(values)} beats")


def _is_pressure(name: str, unit: str) -> bool:
    return unit.lower() == "mmhg" and name.upper().split()[0] in PRESSURES


def _lengths(
    wfdb: Any, leads: Sequence[tuple[str, str, Vector]], rate: float
) -> tuple[Vector, str]:
    """Times between QRS complexes (ms), of the first lead whose beats fill most of the record."""
    detect: Callable[..., NDArray[np.int64]] = wfdb.processing.xqrs_detect
    for name, _, lead in leads:
        signal = np.where(np.isfinite(lead), lead, np.nanmedian(lead))
        with redirect_stdout(io.StringIO()):
            found = detect(sig=signal, fs=rate, verbose=False)
        lengths = 1000.0 * np.diff(found) / rate
        lengths = lengths[(lengths >= _BEAT[0]) & (lengths <= _BEAT[1])]
        if len(lengths) >= _FEWEST and lengths.sum() >= _FILLED * 1000.0 * len(signal) / rate:
            return np.asarray(lengths), name
    return np.empty(0), ""


def _library() -> Any:
    try:
        import wfdb
        import wfdb.processing
    except ImportError:
        raise SetupError(
            "WFDB record", "the package wfdb is not installed.", '`pip install "organtwin[wfdb]"`.'
        ) from None
    return wfdb
