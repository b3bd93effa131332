"""Quantities at the door: one number and its unit, or a clear word."""

import pytest

from organtwin.errors import InputError
from organtwin.units import quantity


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("3 mm", "mm", 3.0), ("-1.5e1 mm", "mm", -15.0), (".5 cm", "mm", 5.0), ("3mm", "mm", 3.0),
        ("75 / min", "1/ms", 75 / 60e3), ("70 1/min", "1/ms", 70 / 60e3),
        ("2.5 / s", "1/ms", 2.5e-3),
        ("0.05 mmHg*s/mL", "kPa*ms/mm^3", 0.05 * 0.133322387415),
        ("5e-3 mmHg * s ** 2 / mL", "kPa*ms^2/mm^3", 5 * 0.133322387415),
        ("60 deg", "degree", 60.0), ("0.27", "1", 0.27), ("55 %", "1", 0.55),
        ("50 uA/mm^3", "uA/mm^3", 50.0), ("2 µM", "uM", 2.0), ("1 µmol/L", "uM", 1.0),
    ],
)  # fmt: skip
def test_quantities(text, unit, value):
    assert quantity(text, unit, "case.toml") == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(
    "text",
    ["0,6 m/s", "1,5 m/s", "1 5 m/s", "5*1 m/s", "1.000,5 m/s", "2 m/s 3", "", "m/s", "--1 m/s"],
)  # fmt: skip
def test_what_is_not_one_number_is_refused(text):
    why = "decimals have a point" if "," in text else "not one number and its unit"
    with pytest.raises(InputError, match=f"can't be read as a speed .{why}"):
        quantity(text, "mm/ms", "case.toml, velocity")
