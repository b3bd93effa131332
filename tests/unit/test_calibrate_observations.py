"""Measurements from CSV, FHIR and WFDB: values with errors in organtwin's units, or a message."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from organtwin.calibrate.fhir import read_fhir
from organtwin.calibrate.observation_tables import read_csv
from organtwin.calibrate.observations import Observation, Observations, together
from organtwin.calibrate.quantities import BY_LOINC, QUANTITIES
from organtwin.calibrate.wfdb_records import mean_error, pulses, read_wfdb
from organtwin.errors import InputError
from organtwin.units import ML, MMHG

RECORDS = Path(__file__).parents[3] / "shared/data/ecg-pressure"
needs_records = pytest.mark.skipif(not RECORDS.is_dir(), reason="no shared data here")
HEADER = "quantity,value,unit,error,time,held_out,source\n"


def table(tmp_path, rows):
    file = tmp_path / "patient.csv"
    file.write_text(HEADER + rows)
    return read_csv(file)


def test_rows_become_values_in_organtwins_units(tmp_path):
    found = table(
        tmp_path,
        "# a comment\n"
        "lv_ejection_fraction,58,%,3,,,echo\n"
        "arterial_mean_pressure,12,kPa,0.4,,yes,\n"
        "\n"
        "lv_volume,0.12,L,0.005,0.1 s,,\n",
    )
    assert found.keys == ("lv_ejection_fraction", "arterial_mean_pressure", "lv_volume@100ms")
    np.testing.assert_allclose(found.values, [0.58, 12.0, 120 * ML])
    np.testing.assert_allclose(found.standard_errors, [0.03, 0.4, 5 * ML])
    assert found.is_used.tolist() == [True, False, True]
    assert found.all[0].source == "patient.csv, row 3; echo"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("lv_ejection_fractoin,58,%,3,,,\n", "row 2, quantity.*Did you mean `lv_ejec"),
        ("lv_ejection_fraction,58,mmHg,3,,,\n", "row 2, value.*is in mmHg, a plain number"),
        ("lv_stroke_volume,x,mL,3,,,\n", "row 2, value.*can't be read"),
        ("lv_stroke_volume,70,mL,0,,,\n", "row 2.*must be > 0"),
        ("lv_stroke_volume,70,mL,3,10 ms,,\n", "row 2.*has no time"),
        ("lv_volume,70,mL,3,,,\n", "row 2.*needs a time"),
        ("lv_stroke_volume,70,mL,3,,maybe,\n", 'row 2, held_out.*"maybe"'),
        ("lv_stroke_volume,70,mL\n", "row 2.*not as many fields"),
        ("lv_stroke_volume,70,mL,3,,,\nlv_stroke_volume,71,mL,3,,,\n", "given twice.*row 2.*row 3"),
        ("", "no observations"),
    ],
)  # fmt: skip
def test_wrong_rows_are_named(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        table(tmp_path, rows)


def test_unknown_and_missing_columns_are_named(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("quantity,value,units,error\n")
    with pytest.raises(InputError, match=r"unknown column `units`\. Did you mean `unit`"):
        read_csv(file)
    file.write_text("quantity,value,unit\n")
    with pytest.raises(InputError, match="no column `error`"):
        read_csv(file)
    with pytest.raises(InputError, match="can't be read"):
        read_csv(tmp_path / "absent.csv")


def fhir_value(code, value, unit, **more):
    return {
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "valueQuantity": {"value": value, "code": unit, "system": "http://unitsofmeasure.org"},
    } | more


def observation(code, value, unit, **more):
    return {"resource": {"resourceType": "Observation", "status": "final"}
            | fhir_value(code, value, unit, **more)}  # fmt: skip


def bundle(tmp_path, *entries):
    file = tmp_path / "bundle.json"
    file.write_text(json.dumps({"resourceType": "Bundle", "entry": list(entries)}))
    return file


def test_a_bundle_gives_the_latest_final_values(tmp_path):
    panel = {"resource": {
        "resourceType": "Observation", "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
        "component": [fhir_value("8480-6", 120, "mm[Hg]"), fhir_value("8462-4", 80, "mm[Hg]")],
    }}  # fmt: skip
    entries = [
        panel,
        observation("8867-4", 70, "/min", effectiveDateTime="2024-03-01"),
        observation("8867-4", 66, "/min", effectiveDateTime="2024-01-01"),
        observation("10230-1", 55, "%"),
        observation("75988-6", 140, "mL"),
        observation("8633-0", 98, "ms", status="entered-in-error"),
        observation("718-7", 14, "g/dL"),
        {"resource": {"resourceType": "Patient"}},
    ]
    found = {o.name: o for o in read_fhir(bundle(tmp_path, *entries), 0.1).all}
    assert set(found) == {
        "arterial_systolic_pressure", "arterial_diastolic_pressure", "heart_rate",
        "lv_ejection_fraction", "lv_end_diastolic_volume",
    }  # fmt: skip
    assert found["heart_rate"].value == pytest.approx(70 / 60000)
    assert found["arterial_systolic_pressure"].value == pytest.approx(120 * MMHG)
    assert found["lv_ejection_fraction"].value == pytest.approx(0.55)
    assert found["lv_end_diastolic_volume"].standard_error == pytest.approx(14 * ML)
    assert "entry 5" in found["lv_end_diastolic_volume"].source


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (observation("8867-4", "fast", "/min"), "entry 1, valueQuantity.value"),
        (observation("8867-4", 70, "mm[Hg]"), "entry 1.*is in mmHg, a frequency"),
        (observation("718-7", 14, "g/dL"), "no final observation with a known LOINC code"),
    ],
)
def test_wrong_resources_are_named(tmp_path, entry, message):
    with pytest.raises(InputError, match=message):
        read_fhir(bundle(tmp_path, entry), 0.1)


def test_what_is_no_fhir_is_refused(tmp_path):
    file = tmp_path / "a.json"
    for text, message in (("[1", "as JSON"), ("{}", "no `resourceType`"),
                          ('{"resourceType": "Patient"}', "a Patient")):  # fmt: skip
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            read_fhir(file, 0.1)


def test_codes_of_loinc_belong_to_one_quantity_each():
    codes = [code for quantity in QUANTITIES.values() for code in quantity.loinc]
    assert len(codes) == len(set(codes)) == len(BY_LOINC)


def test_pulses_of_a_drawn_pressure_are_found_exactly():
    """80/120 mmHg with a triangle of a third of the beat: mean 80 + 40/2·(1/3 + 2/3)."""
    beat = np.interp(np.arange(100), [0, 33, 100], [80.0, 120.0, 80.0])
    found = pulses(np.tile(beat, 20), 125.0, "here")
    np.testing.assert_allclose(found.systolic, 120 * MMHG)
    np.testing.assert_allclose(found.diastolic, 80 * MMHG)
    np.testing.assert_allclose(found.mean, beat.mean() * MMHG)
    np.testing.assert_allclose(found.length, 800.0)
    gap = np.tile(beat, 20)
    gap[520] = np.nan
    assert len(pulses(gap, 125.0, "here").length) == len(found.length) - 1
    with pytest.raises(InputError, match="beats of arterial pressure"):
        pulses(np.full(2000, 90.0), 125.0, "here")


def test_neighbours_that_are_alike_count_less():
    rng = np.random.default_rng(1)
    noise = rng.normal(size=20000)
    slow = np.empty_like(noise)
    slow[0] = noise[0]
    for k in range(1, len(noise)):
        slow[k] = 0.8 * slow[k - 1] + 0.6 * noise[k]
    assert mean_error(noise) == pytest.approx(1 / np.sqrt(20000), rel=0.05)
    assert mean_error(slow) == pytest.approx(3 / np.sqrt(20000), rel=0.1)


@needs_records
def test_a_real_record_gives_pressures_and_heart_rate():
    pytest.importorskip("wfdb")
    found = {o.name: o for o in read_wfdb(RECORDS / "03700181.hea").all}
    shown = {name: o.quantity.in_clinic(o.value) for name, o in found.items()}
    assert shown["arterial_diastolic_pressure"] < shown["arterial_mean_pressure"]
    assert shown["arterial_mean_pressure"] < shown["arterial_systolic_pressure"]
    assert "qrs_duration" not in found  # 125 samples a second
    # Every beat is found twice, in the ECG and in the pressure.
    by_pressure = int(found["arterial_mean_pressure"].source.split()[-2])
    by_ecg = int(found["heart_rate"].source.split()[-2])
    assert by_pressure == pytest.approx(by_ecg, rel=0.05)
    assert shown["heart_rate"] == pytest.approx(by_ecg / 10.0, rel=0.02)  # ten minutes


@needs_records
@pytest.mark.slow
def test_the_heart_rate_is_that_of_the_annotations():
    wfdb = pytest.importorskip("wfdb")
    found = read_wfdb(RECORDS / "100").all
    beats = wfdb.rdann(str(RECORDS / "100"), "atr")
    annotated = [s for s, kind in zip(beats.sample, beats.symbol, strict=True) if kind != "+"]
    rates = 360.0 / np.diff(annotated) * 60.0
    assert found[0].quantity.in_clinic(found[0].value) == pytest.approx(rates.mean(), rel=5e-3)
    # Cardiologists marked 30 beats of this record in the QT Database (sel100.q1c).
    assert found[1].name == "qrs_duration"
    assert found[1].value == pytest.approx(78.9, abs=12.0)


def test_unreadable_records_are_named(tmp_path):
    pytest.importorskip("wfdb")
    with pytest.raises(InputError, match=r"absent.hea.*can't be read as a WFDB record"):
        read_wfdb(tmp_path / "absent.hea")


def test_holding_out_knows_names_and_times():
    curve = [Observation("lv_volume", 1.0, 1.0, time=t) for t in (0.0, 50.0)]
    found = Observations((*curve, Observation("heart_rate", 1.0, 1.0)))
    assert found.holding_out(["lv_volume"]).used.keys == ("heart_rate",)
    assert found.holding_out(["lv_volume@50ms"]).used.keys == ("lv_volume@0ms", "heart_rate")
    with pytest.raises(InputError, match=r"no observation `lv_volum`.*Did you mean"):
        found.holding_out(["lv_volum"])
    with pytest.raises(InputError, match="given twice"):
        together([found, found])
