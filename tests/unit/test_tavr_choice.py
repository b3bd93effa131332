"""Ranks of deployments and intervals of their indices, from tables."""

import math

import pytest

from organtwin.choice import (
    Choice,
    Criterion,
    IndexValue,
    Rule,
    found_in,
    shown,
)
from organtwin.errors import InputError
from organtwin.influence import Trial, intervals
from organtwin.tavr.coronary_indices import SIDES
from organtwin.tavr.criteria import CRITERIA, DEFAULT
from organtwin.tavr.wall_indices import regions
from tests.deployed_valves import deployed, root

LEAK = Criterion("leak", "leak", 2.0, 0.0, 10.0, "leaks {value}")
SEPTUM = Criterion("septum", "pressed_*", 1.0, 0.0, 0.2, "septum pressed on {value}")
HOLD = Rule("hold", "hold", words_low="it slips ({value})")
SMALL = Choice((HOLD,), (LEAK, SEPTUM))


def valve(leak, left=0.0, right=0.0, hold=2.0):
    return (
        IndexValue("leak", leak, "mL/s"), IndexValue("pressed_left", left),
        IndexValue("pressed_right", right), IndexValue("hold", hold, "1", 1.0),
    )  # fmt: skip


def test_a_weighted_sum_orders_what_breaks_no_rule():
    ranks = SMALL.ranked({"c": valve(5.0, 0.1, 0.2), "a": valve(10.0), "b": valve(5.0)})
    assert [one.name for one in ranks] == ["b", "c", "a"]
    # s = (2 p_leak + 1 p_septum) / 3, of two sides the worse one
    assert [one.score for one in ranks] == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert ranks[0].behind == ""
    assert ranks[1].behind == "Behind b by septum above all."
    assert ranks[2].behind == "As good as c by these criteria."
    assert ranks[0].why == "Leaks 5 mL/s; septum pressed on 0."
    assert ranks[1].shares == pytest.approx({"leak": 1 / 3, "septum": 1 / 3})


def test_a_broken_rule_outweighs_everything():
    ranks = SMALL.ranked({"good": valve(0.0, hold=0.9), "leaky": valve(40.0)})
    assert [one.name for one in ranks] == ["leaky", "good"]
    assert not ranks[1].advised
    assert ranks[1].why.startswith("Not advised: it slips (0.9).")
    assert ranks[1].behind == ""


@pytest.mark.parametrize(
    ("rule", "found", "broken"),
    [
        (
            Rule("r", "x", "{value} of {limit}"),
            IndexValue("x", 31.0, "%", None, 30.0),
            "31 % of 30 %",
        ),
        (Rule("r", "x", "much"), IndexValue("x", 30.0, "%", None, 30.0), ""),
        (Rule("r", "x", "much", "little"), IndexValue("x", 0.5, "1", 1.0, 3.0), "little"),
        (Rule("r", "x", "much", "little"), IndexValue("x", 4.0, "1", 1.0, 3.0), "much"),
        (Rule("r", "x", "much", high=40.0), IndexValue("x", 31.0, "%", None, 30.0), ""),
        (Rule("r", "x", "much", high=40.0), IndexValue("x", 50.0, "%"), ""),  # not meant for it
        (
            Rule("r", "x_*", "{part}"),
            IndexValue("x_non_coronary", 2.0, "1", None, 1.0),
            "non coronary",
        ),
    ],
)
def test_rules(rule, found, broken):
    (rank,) = Choice((rule,), (LEAK,)).ranked({"a": (found, IndexValue("leak", 0.0))})
    assert rank.broken == ((broken,) if broken else ())
    assert rank.advised == (not broken)


def test_what_only_some_know_counts_as_bad_for_the_others():
    ranks = SMALL.ranked({"a": valve(0.0), "b": (IndexValue("leak", math.nan, "mL/s"),)})
    assert ranks[1].score == pytest.approx(1.0)
    assert ranks[1].unknown == ("hold", "leak", "septum")
    assert "leak not known" in ranks[1].reasons


def test_what_none_knows_is_left_out_and_told():
    (rank,) = SMALL.ranked({"a": (IndexValue("leak", 5.0), IndexValue("hold", 2.0, "1", 1.0))})
    assert rank.score == pytest.approx(0.5)
    assert rank.unknown == ("septum",)
    assert rank.why == "Leaks 5. Not judged: septum."


def test_a_part_of_a_rule_that_is_not_known_is_told():
    rule = Rule("coronary", "close_*", "{part}", parts=("right", "left"))
    small = Choice((rule,), (LEAK,))
    leak = IndexValue("leak", 0.0)
    right, left = (IndexValue(f"close_{side}", 0.0, "1", None, 0.0) for side in ("right", "left"))
    lost = IndexValue("close_left", math.nan, "1", None, 0.0)
    found = {"both": (leak, right, left), "one": (leak, right, lost), "none": (leak,)}
    told = {one.name: one.unknown for one in small.ranked(found)}
    assert told == {"both": (), "one": ("coronary (left)",), "none": ("coronary",)}


def test_parts_of_rules_are_names_of_indices():
    of = {rule.name: rule for rule in DEFAULT.rules}
    assert of["coronary"].parts == SIDES
    names = tuple(name.replace("_", " ") for name in regions(deployed(), root()))
    assert of["injury"].parts == names


def test_more_is_better_where_good_is_larger_than_bad():
    hold = Criterion("hold", "hold", 1.0, 3.0, 1.0, "{value}")
    found = [hold.penalty(IndexValue("hold", x)) for x in (4.0, 3.0, 2.0, 1.0, 0.0)]
    assert found == [0.0, 0.0, 0.5, 1.0, 1.5]


def test_bad_may_be_the_threshold_of_the_index():
    wide = Criterion("wide", "wide", 1.0, 1.0, None, "{percent} wide")
    assert wide.penalty(IndexValue("wide", 0.9, "1", 0.8)) == pytest.approx(0.5)
    assert wide.penalty(IndexValue("wide", 0.9, "1", 0.9)) == pytest.approx(1.0)
    assert wide.penalty(IndexValue("wide", 0.9)) == 1.0
    assert wide.told(IndexValue("wide", 0.9)) == "90 % wide"


def test_of_several_good_ones_the_least_good_is_told():
    metal = Criterion("metal", "*_safety", 1.0, 3.0, 1.0, "safety {value}")
    worst = metal.worst([IndexValue("stem_safety", 4.7), IndexValue("neck_safety", 3.2)])
    assert (worst.name, metal.penalty(worst)) == ("neck_safety", 0.0)


def test_grades_in_words():
    leak = next(one for one in CRITERIA if one.name == "leak")
    told = [leak.told(IndexValue("x", value, "mm²")) for value in (0.5, 7.0, 20.0, 30.0)]
    assert [text.split(" leak")[0] for text in told] == ["hardly any", "mild", "moderate", "severe"]


def test_other_weights_change_the_order():
    found = {"leaky": valve(8.0), "pressing": valve(2.0, 0.4)}
    assert SMALL.ranked(found)[0].name == "leaky"
    other = SMALL.adjusted({"leak": 9.0}, {})
    assert other.ranked(found)[0].name == "pressing"
    assert [one.name for one in SMALL.adjusted({"leak": 0.0}, {}).criteria] == ["septum"]
    assert (
        SMALL.adjusted({}, {"leak": (0.0, 20.0)}).criteria[0].penalty(IndexValue("leak", 10.0))
        == 0.5
    )
    assert SMALL.adjusted({}, {}, ["hold"]).rules == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (({"leek": 1.0}, {}), "`leak`"),
        (({"leak": -1.0}, {}), "0 or more"),
        (({}, {"leak": (1.0, 1.0)}), "differ"),
        (({}, {}, ["hald"]), "`hold`"),
        (({"leak": 0.0, "septum": 0.0}, {}), "zero"),
    ],
)
def test_wrong_weights_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        SMALL.adjusted(*settings)


def test_records_of_indices():
    records = [
        {"name": "a", "value": 3.0, "unit": "mm", "threshold": [None, 4.0]},
        {"name": "b", "value": None, "unit": "1", "threshold": None},
        {"name": "c", "value": "mild", "unit": "1"},
    ]
    a, b, c = found_in(records)
    assert (a.value, a.low, a.high) == (3.0, None, 4.0)
    assert math.isnan(b.value)
    assert math.isnan(c.value)
    with pytest.raises(InputError, match="can't be read"):
        found_in([{"name": "a"}])


def test_names_of_rules_and_criteria_are_their_own():
    for named in (DEFAULT.rules, DEFAULT.criteria):
        names = [one.name for one in named]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456, "0.123"), (12.0, "12"), (1234.6, "1235"), (-0.5, "−0.5")]
)
def test_numbers_as_people_write_them(value, text):
    assert shown(value, "1") == text
    assert shown(value, "mm") == f"{text} mm"


# -------------------------------------------------------------------------------------- intervals


def trials(factor, *values):
    return [
        Trial(factor, f"{k}", None if value is None else (IndexValue("x", value),))
        for k, value in enumerate(values)
    ]


def test_a_linear_index_has_the_root_sum_of_squares_of_the_half_ranges():
    base = (IndexValue("x", 10.0, "mm", None, 15.5),)
    (one,) = intervals(base, trials("depth", 7.0, 13.0) + trials("wall", 14.0, 6.0))
    assert (one.low, one.high) == pytest.approx((5.0, 15.0))  # √(3² + 4²) = 5
    assert one.largest == "wall"
    assert [by.share for by in one.by] == pytest.approx([16 / 25, 9 / 25])
    assert one.sure
    assert one.turns == ()


def test_an_index_that_only_rises_gets_no_lower_end():
    (one,) = intervals((IndexValue("x", 1.0),), trials("tilt", 4.0, 3.0))
    assert (one.low, one.high) == (1.0, 4.0)


def test_what_no_run_takes_past_zero_has_no_interval_past_it():
    (one,) = intervals((IndexValue("x", 1.0),), trials("mesh", 0.1, 1.5) + trials("bed", 0.2, 1.0))
    assert one.low == 0.0  # 1 − √(0.9² + 0.8²) = −0.2
    (one,) = intervals((IndexValue("x", -1.0),), trials("mesh", 1.0, -3.0))
    assert (one.low, one.high) == (-3.0, 1.0)


@pytest.mark.parametrize(("unit", "scale"), [("1", 1.0), ("%", 100.0)])
def test_a_part_of_a_whole_has_no_interval_past_the_whole(unit, scale):
    def moved(factor, value):
        return Trial(factor, "0", (IndexValue("sealed_share", value * scale, unit),))

    base = (IndexValue("sealed_share", 0.9 * scale, unit),)
    (one,) = intervals(base, [moved("mesh", 0.98), moved("bed", 0.98)])
    assert one.high == scale  # 0.9 + √2 · 0.08 = 1.013
    assert one.low == pytest.approx((0.9 - math.sqrt(2) * 0.08) * scale)


def test_a_single_run_counts_to_both_sides():
    (one,) = intervals((IndexValue("x", 1.0),), trials("mesh", 1.5))
    assert (one.low, one.high) == (0.5, 1.5)


def test_a_failed_run_is_told_and_a_crossed_threshold_too():
    base = (IndexValue("x", 0.9, "1", 1.0, None),)
    (one,) = intervals(base, trials("friction", None, 1.1) + trials("bed", 0.9, 0.9))
    assert one.missing == ("friction",)
    assert one.turns == ("friction 1",)
    assert not one.sure
    assert one.high == pytest.approx(1.1)
    assert one.by[1].share == 0.0


def test_an_index_that_nothing_moves():
    (one,) = intervals((IndexValue("x", 2.0), IndexValue("y", math.nan)), trials("bed", 2.0, 2.0))
    assert (one.low, one.high, one.largest) == (2.0, 2.0, "")
