"""What a doctor reads off an ECG: QRS duration, QT interval, axis of the heart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from organtwin.errors import InputError
from organtwin.export.series import Array

#: Share of the fastest change of the leads above which the QRS complex goes on.
QRS_SHARE = 0.1
#: Pause within the QRS complex (ms): a notch, not its end.
NOTCH = 15.0
#: Time after the QRS complex from which a T wave is looked for (ms).
ST = 60.0
#: Least height of a T wave over that of the QRS complex.
T_SHARE = 0.02


@dataclass(frozen=True)
class Intervals:
    """Times and the axis of one beat; NaN where the signal does not show it.

    Attributes:
        qrs_onset: Start of the QRS complex (ms).
        qrs_offset: Its end (ms).
        t_peak: Peak of the T wave (ms).
        t_end: Its end (ms).
        axis: Axis of the QRS complex in the frontal plane (degrees): 0 to the left, 90 down.
    """

    qrs_onset: float
    qrs_offset: float
    t_peak: float
    t_end: float
    axis: float

    @property
    def qrs(self) -> float:
        """QRS duration (ms)."""
        return self.qrs_offset - self.qrs_onset

    @property
    def qt(self) -> float:
        """QT interval (ms)."""
        return self.t_end - self.qrs_onset


def intervals(t: Array, leads: Mapping[str, Array]) -> Intervals:
    """QRS, T wave and axis of the first beat in noise-free leads.

    With x the leads, m = |x − x(rest)| and w = |dx/dt|, both over all leads: the QRS complex is
    where w exceeds a tenth of its highest value, about the first time that it is highest; pauses
    of up to 15 ms belong to it. The T wave peaks where m is highest later than 60 ms after that.
    It ends where the tangent to m at the steepest descent after the peak meets the level of rest.
    Filtered or noisy signals need another method.

    Args:
        t: Times (ms), increasing, of one beat; the leads are at rest before its QRS complex.
        leads: Lead → voltage (mV).

    Returns:
        The intervals; the axis needs leads I and aVF, or I and II.

    Raises:
        InputError: too few times, or leads of another length.

    Source:
        Lepeschkin & Surawicz (1952), Circulation 6:378–388, for the tangent.
    """
    x = _stacked(t, leads)
    speed = np.linalg.norm(np.gradient(x, t, axis=1), axis=0)
    if not speed.max() > 0:
        return Intervals(*(float("nan"),) * 5)
    first, last = _qrs(t, speed)
    rest = x[:, : max(first, 1)].mean(axis=1) if first else x[:, 0]
    size = np.linalg.norm(x - rest[:, None], axis=0)
    t_peak, t_end = _t_wave(t, size, first, last)
    part = slice(first, last + 1)
    return Intervals(
        float(t[first]), float(t[last]), t_peak, t_end,
        qrs_axis(t[part], {name: lead[part] - r for (name, lead), r in
                           zip(leads.items(), rest, strict=True)}),
    )  # fmt: skip


def qrs_axis(t: Array, leads: Mapping[str, Array]) -> float:
    """Axis of the frontal plane (degrees) from the areas under the leads.

    In Einthoven's triangle the mean vector has the components (I, 2 aVF/√3), x to the left and y
    down, and aVF = II − I/2.

    Args:
        t: Times of the QRS complex (ms).
        leads: Leads (mV) from the level of rest, with I and one of aVF and II.

    Returns:
        Angle in (−180, 180]; NaN without the leads or without a vector.

    >>> t = np.linspace(0.0, 80.0, 81)
    >>> wave = np.sin(np.pi * t / 80)
    >>> round(qrs_axis(t, {"I": wave / 2, "II": wave}), 6)
    60.0
    """
    if "I" not in leads or not {"aVF", "II"} & set(leads) or len(t) < 2:
        return float("nan")
    left = float(np.trapezoid(leads["I"], t))
    if "aVF" in leads:
        foot = float(np.trapezoid(leads["aVF"], t))
    else:
        foot = float(np.trapezoid(leads["II"], t)) - left / 2
    down = 2 * foot / np.sqrt(3.0)
    return float(np.degrees(np.arctan2(down, left))) if np.hypot(down, left) > 0 else float("nan")


def corrected_qt(qt: float, cycle_length: float) -> float:
    """QT (ms) at 60 beats per minute by Fridericia, QT/∛RR, RR in s.

    Args:
        qt: QT interval (ms).
        cycle_length: Time from beat to beat (ms), > 0.

    Source:
        Fridericia (1920), Acta Med. Scand. 53:469–486.

    >>> corrected_qt(400.0, 1000.0)
    400.0
    """
    return float(qt / np.cbrt(cycle_length / 1000))


def _stacked(t: Array, leads: Mapping[str, Array]) -> Array:
    if len(t) < 5 or not (np.diff(t) > 0).all():
        raise InputError("ECG", "fewer than five times, or not in order.", "Write more often.")
    for name, lead in leads.items():
        if len(lead) != len(t) or not np.isfinite(lead).all():
            raise InputError(f"lead {name}", "not a finite value for every time.")
    if not leads:
        raise InputError("ECG", "no leads.", "Give at least one.")
    return np.array([np.asarray(lead, dtype=np.float64) for lead in leads.values()])


def _qrs(t: Array, speed: Array) -> tuple[int, int]:
    """First and last sample of the run of fast changes about the fastest."""
    fast = np.flatnonzero(speed > QRS_SHARE * speed.max())
    runs = np.split(fast, np.flatnonzero(np.diff(t[fast]) > NOTCH) + 1)
    # Of several beats the first, not the one whose fastest change is sampled best.
    high = [run for run in runs if speed[run].max() > 0.7 * speed.max()]
    run = high[0]
    return max(int(run[0]) - 1, 0), min(int(run[-1]) + 1, len(t) - 1)


def _t_wave(t: Array, size: Array, first: int, last: int) -> tuple[float, float]:
    """Peak and end of the T wave; NaN if there is none, or it is cut off."""
    nan = float("nan")
    later = np.flatnonzero(t > t[last] + ST)
    if later.size < 3:
        return nan, nan
    peak = int(later[0] + np.argmax(size[later]))
    if peak in (later[0], len(t) - 1) or size[peak] < T_SHARE * size[first : last + 1].max():
        return nan, nan
    slope = np.gradient(size, t)
    steepest = peak + int(np.argmin(slope[peak:]))
    if not slope[steepest] < 0:
        return float(t[peak]), nan
    end = float(t[steepest] - size[steepest] / slope[steepest])
    return float(t[peak]), end if end <= t[-1] else nan
