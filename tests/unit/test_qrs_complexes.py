"""QRS durations of drawn and of real ECGs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from organtwin.calibrate.qrs_complexes import DEVIATION, qrs_durations
from organtwin.calibrate.wfdb_records import boundaries, read_wfdb
from organtwin.errors import InputError

RECORDS = Path(__file__).parents[3] / "shared/data/ecg-pressure"
needs_records = pytest.mark.skipif(not RECORDS.is_dir(), reason="no shared data here")
#: Peaks of Q, R and S (mV) in three leads.
PEAKS = np.array([[-0.1, 1.0, -0.2], [-0.05, 0.6, -0.5], [0.2, -0.7, 0.4]])


def drawn(duration, rate=500.0, *, noise=0.02, count=60, seed=1):
    """Three leads with a polygon as QRS complex, P and T waves, wander and noise; and its beats."""
    rng = np.random.default_rng(seed)
    times = 500.0 + np.cumsum(rng.normal(800.0, 25.0, count))
    t = np.arange(0.0, times[-1] + 800.0, 1000.0 / rate)
    leads = np.zeros((len(t), 3))
    for start in times:
        corners = start + duration * np.array([0.0, 0.15, 0.45, 0.75, 1.0])
        for lead, peaks in zip(leads.T, PEAKS, strict=True):
            lead += np.interp(t, corners, [0.0, *peaks, 0.0])
            lead += 0.15 * np.sign(peaks[1]) * np.exp(-(((t - start + 120.0) / 30.0) ** 2))
            lead += 0.3 * np.sign(peaks[1]) * np.exp(-(((t - start - 300.0) / 60.0) ** 2))
    leads += 0.3 * np.sin(2 * np.pi * t / 4000.0)[:, None]
    leads += rng.normal(0.0, max(noise, 1e-9), leads.shape)
    beats = np.searchsorted(t, times + 0.45 * duration) + rng.integers(-4, 5, count)
    return leads, np.asarray(beats, dtype=np.int64)


@pytest.mark.parametrize("rate", [250.0, 500.0, 1000.0])
@pytest.mark.parametrize("duration", [70.0, 100.0, 140.0])
def test_drawn_complexes_have_their_length(duration, rate):
    """The filter widens sharp corners by some milliseconds."""
    found = qrs_durations(*_with_rate(drawn(duration, rate), rate))
    assert len(found) == 6
    assert duration + 2.0 < found.mean() < duration + 10.0


def test_noise_and_beats_found_late_change_little():
    quiet, loud = (qrs_durations(*_with_rate(drawn(100.0, noise=n), 500.0)) for n in (0.0, 0.04))
    assert loud.mean() == pytest.approx(quiet.mean(), abs=5.0)
    leads, beats = drawn(100.0)
    late = qrs_durations(leads, 500.0, beats + 10)
    assert late.mean() == pytest.approx(qrs_durations(leads, 500.0, beats).mean(), abs=2.0)


def test_gaps_extra_beats_and_torn_off_leads_are_left_out():
    leads, beats = drawn(100.0)
    whole = qrs_durations(leads, 500.0, beats)
    rng = np.random.default_rng(2)
    leads[beats[7] - 5 : beats[7] + 5] = np.nan
    leads[beats[20] - 30 : beats[20] + 30] = 3.0  # an artefact
    torn = np.column_stack([leads, rng.normal(0.0, 1.0, len(leads))])
    found = qrs_durations(torn, 500.0, beats)
    assert found.mean() == pytest.approx(whole.mean(), abs=3.0)


def test_where_nothing_is_there_is_no_duration():
    leads, beats = drawn(100.0)
    rng = np.random.default_rng(3)
    assert not len(qrs_durations(rng.normal(0.0, 0.1, leads.shape), 500.0, beats))
    assert not len(qrs_durations(np.zeros_like(leads), 500.0, beats))
    assert not len(qrs_durations(leads, 500.0, beats[:7]))
    assert not len(qrs_durations(leads[:300], 500.0, beats))


def test_complexes_without_both_marks_have_no_length():
    symbols = ["N", ")", "(", "V", ")", "+", "(", "p", ")", "(", "N", ")", "t", ")", "(", "N"]
    durations, intervals = boundaries(np.arange(16.0) * 10, symbols)
    assert durations.tolist() == [20.0, 20.0]
    assert intervals.tolist() == [40.0]


@pytest.fixture
def record(tmp_path):
    """A drawn ECG as a WFDB record."""
    wfdb = pytest.importorskip("wfdb")
    leads, beats = drawn(100.0, 360.0)
    wfdb.wrsamp(
        "drawn", fs=360, units=["mV"] * 4, sig_name=["I", "II", "V1", "RESP"],
        p_signal=np.column_stack([leads, np.sin(np.arange(len(leads)) / 300.0)]),
        fmt=["16"] * 4, write_dir=str(tmp_path),
    )  # fmt: skip
    return tmp_path / "drawn.hea", beats


def test_a_record_gives_its_qrs_duration(record):
    found = {o.name: o for o in read_wfdb(record[0]).all}
    assert set(found) == {"heart_rate", "qrs_duration"}
    qrs = found["qrs_duration"]
    assert qrs.value == pytest.approx(100.0, abs=10.0)
    assert DEVIATION < qrs.standard_error < 1.1 * DEVIATION
    assert "3 leads" in qrs.source


def test_marks_of_waves_come_first(record):
    wfdb = pytest.importorskip("wfdb")
    file, beats = record
    samples = np.sort((beats[:, None] + [-18, 0, 18, 100, 120]).ravel())
    symbols = np.tile(["(", "N", ")", "t", ")"], len(beats))
    wfdb.wrann("drawn", "atr", beats, np.full(len(beats), "N"), write_dir=str(file.parent))
    wfdb.wrann("drawn", "pu", samples, symbols, write_dir=str(file.parent))
    found = {o.name: o for o in read_wfdb(file).all}
    assert found["qrs_duration"].value == pytest.approx(100.0)
    assert found["qt_interval"].value == pytest.approx(1000 * 138 / 360)
    assert found["qt_interval"].source == f"drawn.pu, {len(beats)} beats"


def test_annotations_that_are_none_are_named(record):
    file = record[0].with_suffix(".q1c")
    file.write_bytes(b"x")
    with pytest.raises(InputError, match=r"drawn.q1c.*can't be read as WFDB annotations"):
        read_wfdb(record[0])


@needs_records
@pytest.mark.slow
def test_a_real_bundle_branch_block_is_long_in_all_leads():
    """Late R' in V1, broad S in I and V6. Limb and chest leads are measured apart."""
    wfdb = pytest.importorskip("wfdb")
    signal = wfdb.rdrecord(str(RECORDS / "s0010_re")).p_signal
    found = {o.name: o for o in read_wfdb(RECORDS / "s0010_re").all}
    assert 120.0 < found["qrs_duration"].value < 150.0
    beats = wfdb.processing.xqrs_detect(signal[:, 7], fs=1000, verbose=False)
    limbs, chest = (qrs_durations(signal[:, part], 1000.0, beats) for part in
                    (slice(0, 6), slice(6, 12)))  # fmt: skip
    assert limbs.mean() == pytest.approx(chest.mean(), abs=DEVIATION)
    assert limbs.std() < 2.0


def _with_rate(found, rate):
    leads, beats = found
    return leads, rate, beats
