"""What counts as the same on several ranks, and the table of all problems."""

import json

import pytest

from benchmarks.rank_invariance import table
from organtwin.errors import InputError
from organtwin.verify.invariance import compare, worst
from organtwin.verify.record import Record, Sense


def record(value, quantity="stretch", *, reference=1.0, tolerance=0.1, unit="1", sense=Sense.EQUAL):
    return Record("patch_test", quantity, value, unit, reference, tolerance, "made up", sense)


def test_a_thousandth_of_the_tolerance_is_allowed():
    (near,) = compare([record(1.0)], [record(1.00005)])
    assert near.same and near.used == pytest.approx(0.5) and near.relative == pytest.approx(5e-5)
    (far,) = compare([record(1.0)], [record(1.0003)])
    assert not far.same and far.used == pytest.approx(3.0)
    (close,) = compare([record(1e6, tolerance=0.0)], [record(1e6 + 0.5, tolerance=0.0)])
    assert close.same


def test_an_error_may_vary_within_a_part_of_its_tolerance():
    error = {"reference": 0.0, "tolerance": 1e-8, "sense": Sense.AT_MOST}
    (found,) = compare([record(1.4e-10, **error)], [record(3.9e-10, **error)])
    assert found.same and found.used == pytest.approx(0.5)
    (crossed,) = compare([record(0.99e-8, **error)], [record(1.01e-8, **error)])
    assert crossed.used < 1.0 and not crossed.same  # one passes, the other does not


def test_a_value_that_was_zero_or_is_no_number_is_told():
    zero = compare([record(0.0, tolerance=0.0)], [record(1e-30, tolerance=0.0)])[0]
    assert not zero.same and zero.relative == float("inf")
    assert compare([record(0.0, tolerance=0.0)], [record(0.0, tolerance=0.0)])[0].same
    assert not compare([record(1.0)], [record(float("nan"))])[0].same


def test_clocks_are_left_out_and_other_quantities_refused():
    assert compare([record(1.0, unit="s")], [record(9.0, unit="s")]) == []
    with pytest.raises(InputError, match="other quantities"):
        compare([record(1.0)], [record(1.0, "force")])
    pair = compare([record(1.0), record(1.0, "b")], [record(1.00002), record(1.00004, "b")])
    assert worst(pair).quantity == "b"


def test_the_table_marks_what_differs(tmp_path):
    for ranks, value in ((1, 1.0), (2, 1.00002), (3, 1.1)):
        found = {"patch_test": {"seconds": 1.0, "records": [record(value).as_dict()]}}
        (tmp_path / f"{ranks}.json").write_text(json.dumps(found))
    heads, _, line = table(tmp_path)
    assert heads.startswith("| problem | quantities | 2 ranks") and "3 ranks" in heads
    assert "2.0e-05 | 0.2 |" in line
    assert "**stretch: 1, 1.1**" in line
