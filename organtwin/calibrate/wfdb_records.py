"""Observations from WFDB records (PhysioNet): arterial pressure and ECG, beat by beat."""

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
from organtwin.calibrate.qrs_complexes import DEVIATION, SLOWEST, qrs_durations
from organtwin.errors import InputError, SetupError
from organtwin.units import MMHG

type Vector = NDArray[np.float64]
type Column = tuple[str, str, Vector]

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
#: mV per unit of potentials, and beginnings of names of those that are no ECG.
_POTENTIALS = {"mv": 1.0, "uv": 1e-3, "v": 1e3}
_NO_ECG = ("RESP", "PLETH", "PPG", "EEG", "EMG", "EOG", "GSR")
#: Annotators that mark where waves begin and end: cardiologists, then programs.
ANNOTATORS = ("q1c", "q2c", "qt1", "qt2", "man", "atr", "pu", "pu0", "pu1")
#: Symbols of beats (WFDB Applications Guide, annotation codes).
_BEATS = frozenset("NLRBAaJSVrFejnE/fQ?")


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
    """Pressures, heart rate and ECG intervals of a WFDB record, as means over its beats.

    Of the first arterial pressure in mmHg the systolic, diastolic and mean pressure; of the first
    ECG lead whose QRS complexes are found throughout, or else of the pressure, the heart rate.
    The standard error is that of the mean over beats that follow each other,
    σ √((1 + ρ) / (1 − ρ) / n) with the correlation ρ of neighbours. It says how well the mean is
    known, not how well the transducer was calibrated.

    QRS duration and QT interval are those of annotations beside the record, if there are any with
    boundaries of waves (`ANNOTATORS`). Else the QRS duration is measured in all leads together
    (`qrs_durations`) if there are 240 samples per second; its error is that of the mean and, added
    in squares, the deviation of that method from cardiologists. The end of the T wave is not
    looked for: the tangent at its steepest descent was more than 50 ms from the cardiologists'
    mark in 12 of 99 records of the QT Database.

    Args:
        path: Header (``.hea``), or the record without its ending.

    Raises:
        SetupError: the package wfdb is missing.
        InputError: the record or its annotations can't be read, or nothing is found in it.
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
    leads = [c for c in columns if _is_lead(c[0], c[1])]
    found: list[Observation] = []
    place = f"{stem.name}.hea"
    if pressure is not None:
        beats = pulses(pressure[2], rate, f"{place}, {pressure[0]}")
        for name in ("systolic", "diastolic", "mean"):
            values = getattr(beats, name)
            found.append(_mean(f"arterial_{name}_pressure", values, f"{place}, {pressure[0]}"))
    complexes, source = _complexes(wfdb, leads, rate)
    lengths = _lengths(complexes, rate)
    if len(lengths) < _FEWEST and pressure is not None:
        lengths, source = beats.length, pressure[0]
    if len(lengths) >= _FEWEST:
        found.append(_mean("heart_rate", 1.0 / lengths, f"{place}, {source}"))
    found += _marked(wfdb, stem, rate) or _measured(leads, rate, complexes, place)
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


def _is_lead(name: str, unit: str) -> bool:
    return unit.lower() in _POTENTIALS and not name.upper().startswith(_NO_ECG)


def _complexes(wfdb: Any, leads: Sequence[Column], rate: float) -> tuple[NDArray[np.int64], str]:
    """Samples of QRS complexes, of the first lead whose beats fill most of the record."""
    detect: Callable[..., NDArray[np.int64]] = wfdb.processing.xqrs_detect
    for name, _, lead in leads:
        if not np.isfinite(lead).any():
            continue
        signal = np.where(np.isfinite(lead), lead, np.nanmedian(lead))
        with redirect_stdout(io.StringIO()):
            found = np.asarray(detect(sig=signal, fs=rate, verbose=False), dtype=np.int64)
        lengths = _lengths(found, rate)
        if len(lengths) >= _FEWEST and lengths.sum() >= _FILLED * 1000.0 * len(signal) / rate:
            return found, name
    return np.empty(0, dtype=np.int64), ""


def _lengths(complexes: NDArray[np.int64], rate: float) -> Vector:
    """Likely times (ms) between QRS complexes."""
    lengths = 1000.0 * np.diff(complexes) / rate
    return np.asarray(lengths[(lengths >= _BEAT[0]) & (lengths <= _BEAT[1])])


def _measured(
    leads: Sequence[Column], rate: float, complexes: NDArray[np.int64], place: str
) -> list[Observation]:
    """QRS duration from the leads, if they show it."""
    if rate < SLOWEST or not len(complexes):
        return []
    # A lead that is missing for long would take its beats from the others.
    used = [lead for lead in leads if np.isfinite(lead[2]).mean() >= _FILLED]
    together = np.stack([x * _POTENTIALS[unit.lower()] for _, unit, x in used], axis=1)
    found = qrs_durations(together, rate, complexes)
    if not len(found):
        return []
    error = float(np.hypot(mean_error(found), DEVIATION))
    source = f"{place}, {len(used)} leads, {len(found)} means of beats"
    return [Observation("qrs_duration", float(found.mean()), error, source=source)]


def _marked(wfdb: Any, stem: Path, rate: float) -> list[Observation]:
    """QRS duration and QT interval of the first annotations that bound waves."""
    for annotator in ANNOTATORS:
        file = Path(f"{stem}.{annotator}")
        if not file.is_file():
            continue
        try:
            marks = wfdb.rdann(str(stem), annotator)
        except Exception as error:  # the library lets errors of all kinds through
            raise InputError(
                file.name, f"can't be read as WFDB annotations ({error}).", "Take it away."
            ) from None
        samples = np.asarray(marks.sample, dtype=np.float64)
        found = boundaries(1000.0 * samples / rate, marks.symbol)
        named = zip(("qrs_duration", "qt_interval"), found, strict=True)
        observed = [_mean(name, x, file.name) for name, x in named if len(x) >= _FEWEST]
        if observed:
            return observed
    return []


def boundaries(times: Vector, symbols: Sequence[str]) -> tuple[Vector, Vector]:
    """QRS durations and QT intervals (ms) of annotated waves.

    A complex is a beat with ``(`` right before and ``)`` right after it; its T wave ends at the
    ``)`` after the ``t`` that follows before the next beat.

    Args:
        times: Of the annotations (ms), increasing.
        symbols: Theirs.

    >>> found = boundaries(np.arange(7.0) * 50, ["(", "N", ")", "(", "t", ")", "p"])
    >>> [values.tolist() for values in found]
    [[100.0], [250.0]]
    """
    durations, intervals = [], []
    marks = "".join(symbol if len(symbol) == 1 else "+" for symbol in symbols)
    for k in range(1, len(marks) - 1):
        if marks[k] not in _BEATS or marks[k - 1] != "(" or marks[k + 1] != ")":
            continue
        durations.append(times[k + 1] - times[k - 1])
        rest = next((n for n in range(k + 2, len(marks)) if marks[n] in _BEATS), len(marks))
        end = marks.find("t)", k + 2, rest)
        if end >= 0:
            intervals.append(times[end + 1] - times[k - 1])
    return np.array(durations), np.array(intervals)


def _library() -> Any:
    try:
        import wfdb
        import wfdb.processing
    except ImportError:
        raise SetupError(
            "WFDB record", "the package wfdb is not installed.", '`pip install "organtwin[wfdb]"`.'
        ) from None
    return wfdb
