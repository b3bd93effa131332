"""How long QRS complexes of a recorded ECG last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.signal import butter, sosfiltfilt

type Vector = NDArray[np.float64]
type Indices = NDArray[np.int64]

#: Share of the fastest change of the leads above which the QRS complex goes on, as in simulated
#: leads (organtwin.export.ecg_intervals).
SHARE = 0.1
#: Pause within the QRS complex (ms): a notch, not its end.
NOTCH = 20.0
#: Frequencies (Hz) that are kept: without the wandering of the base line and without muscle noise.
BAND = (0.5, 30.0)
#: Samples per second from which complexes are measured.
SLOWEST = 240.0
#: Root mean square (ms) of the differences to cardiologists; see `qrs_durations`.
DEVIATION = 16.0
#: Time before and after the detected beat that is looked at, and by which beats are shifted (ms).
_BEFORE, _AFTER, _SHIFT = 300.0, 350.0, 40.0
#: Reach of a QRS complex from the detected beat (ms).
_REACH = 120.0
#: Time without activity that tells the noise (ms), and where it ends before the beat.
_QUIET, _END_OF_QUIET = 40, 60.0
#: Least correlation of a beat with the typical one.
_ALIKE = 0.9
#: Largest variance about the mean beat over that of the mean; of noise it is the beats' number.
_COMMON = 4.0
#: Beats of a mean, number of means from which there is an error, and most of them.
_TOGETHER, _FEWEST, _MOST = 10, 4, 100


def qrs_durations(leads: Vector, rate: float, beats: Indices) -> Vector:
    """QRS durations (ms) of groups of beats, each measured in their mean; empty if that fails.

    Beats like the typical one are aligned by the change of the leads and averaged, some ten at a
    time. With w = |dx/dt| over all leads x of the mean, the QRS complex is where w exceeds a tenth
    of its highest value, and its mean plus three standard deviations in the quietest 40 ms before;
    pauses of up to 20 ms belong to it. But for filter, pause and noise this is the definition by
    which simulated leads are measured.

    The frequencies are our choice, made with the marks of cardiologists in 104 two-lead records of
    the QT Database. Theirs are longer by 9.5 ± 13.4 ms in the mean of a record, by more than 25 ms
    in 13 of them, because complexes begin and end gently. This is not corrected, as simulated leads
    are measured alike. It is much the same in all beats of a record, so that `DEVIATION` remains
    however many there are.

    Args:
        leads: Leads (mV), (n, leads); NaN where there is nothing.
        rate: Samples per second, `SLOWEST` or more.
        beats: Samples of the detected beats, increasing.

    Source:
        The database: Laguna, Mark, Goldberger & Moody (1997), Comput. Cardiol. 24:673–676.
    """
    before, after, shift = (round(t * rate / 1000) for t in (_BEFORE, _AFTER, _SHIFT))
    margin = before + shift, after + shift
    beats = beats[(beats >= margin[0]) & (beats + margin[1] < len(leads))]
    gaps = np.concatenate([[0], np.cumsum(~np.isfinite(leads).all(axis=1))])
    beats = beats[gaps[beats + margin[1]] == gaps[beats - margin[0]]]
    beats = _spread(beats)
    if len(beats) < 2 * _FEWEST or len(leads) < 4 * (before + after):
        return np.empty(0)
    x = _filtered(leads, rate)
    x = x[:, _steady(x, beats, before, after)]
    beats = _aligned(np.gradient(x, axis=0), beats, before, after, shift)
    if len(beats) < 2 * _FEWEST:
        return np.empty(0)
    groups = np.array_split(beats, max(len(beats) // _TOGETHER, _FEWEST))
    means = (np.mean([x[b - before : b + after] for b in group], axis=0) for group in groups)
    found = np.array([_duration(mean, rate, before) for mean in means])
    return found[np.isfinite(found)] if np.isfinite(found).sum() >= _FEWEST else np.empty(0)


def _spread(beats: Indices) -> Indices:
    """Runs of beats over the whole record, if there are more than are needed."""
    if len(beats) <= _MOST * _TOGETHER:
        return beats
    begins = np.linspace(0, len(beats) - _TOGETHER, _MOST).astype(np.int64)
    return np.asarray(beats[(begins[:, None] + np.arange(_TOGETHER)).ravel()])


def _filtered(leads: Vector, rate: float) -> Vector:
    """Leads in the band, gaps bridged by lines."""
    t = np.arange(len(leads))
    whole = [
        np.interp(t, t[ok], lead[ok]) if (ok := np.isfinite(lead)).any() else np.zeros(len(t))
        for lead in leads.T
    ]
    band = butter(2, BAND, "band", fs=rate, output="sos")
    return np.asarray(sosfiltfilt(band, np.stack(whole, axis=1), axis=0))


def _aligned(slope: Vector, beats: Indices, before: int, after: int, shift: int) -> Indices:
    """Beats like the typical one, shifted to where they are most like it."""
    if not slope.shape[1]:
        return beats[:0]
    for least in (-1.0, -1.0, _ALIKE):  # what is typical becomes clear by shifting
        typical = np.median([slope[b - before : b + after] for b in beats], axis=0)
        size = np.linalg.norm(typical)
        moved, alike = [], []
        for beat in beats:
            parts = [slope[b - before : b + after] for b in range(beat - shift, beat + shift + 1)]
            products = [float((part * typical).sum()) for part in parts]
            best = int(np.argmax(products))
            moved.append(beat - shift + best)
            alike.append(products[best] / max(float(size * np.linalg.norm(parts[best])), 1e-300))
        inside = np.array(moved)
        kept = (inside >= before + shift) & (inside + after + shift < len(slope))
        beats = inside[kept & (np.array(alike) >= least)]
        if not len(beats):
            break
    return beats


def _steady(x: Vector, beats: Indices, before: int, after: int) -> NDArray[np.bool_]:
    """Leads whose beats have something in common, more than the mean of noise would have."""
    parts = np.array([x[b - before : b + after] for b in beats])
    mean = parts.mean(axis=0)
    return np.asarray(((parts - mean) ** 2).mean(axis=(0, 1)) < _COMMON * mean.var(axis=0))


def _duration(mean: Vector, rate: float, beat: int) -> float:
    """QRS duration (ms) of a mean beat, NaN if it does not end."""
    t = 1000.0 / rate * (np.arange(len(mean)) - beat)
    each = np.arange(np.ceil(t[0]), t[-1])  # a millisecond apart, whatever the rate
    w = np.linalg.norm(CubicSpline(t, mean)(each, 1), axis=1)
    near = np.abs(each) <= _REACH
    fastest = int(np.argmax(np.where(near, w, -1.0)))
    windows = np.lib.stride_tricks.sliding_window_view(w[each < -_END_OF_QUIET], _QUIET)
    calm = windows[int(np.argmin(windows.mean(axis=1)))]
    fast = np.flatnonzero(w > max(SHARE * w[fastest], calm.mean() + 3.0 * calm.std()))
    runs = np.split(fast, np.flatnonzero(np.diff(fast) > NOTCH) + 1)
    run = next((run for run in runs if len(run) and run[0] <= fastest <= run[-1]), None)
    if run is None or run[0] == 0 or run[-1] == len(w) - 1:
        return float("nan")
    return float(run[-1] - run[0])
