"""Quantities at the door: strings with units become floats in organtwin's units.

Inside organtwin every number is in mm, ms, mg, hence kPa (stress), mN (force), µJ (energy);
mV for potentials, µM for concentrations, mS/mm for conductivities. One mL is 1000 mm³.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pint

from organtwin.errors import InputError

#: Pressure of one mmHg in kPa.
MMHG = 0.133322387415
#: Volume of one millilitre in mm³.
ML = 1000.0

_SIZE_NAMES = {
    "mm": "length", "ms": "time", "kPa": "pressure", "mV": "potential", "mm^3": "volume",
    "mm^2": "area",
    "mm/ms": "speed", "mS/mm": "conductivity", "degree": "angle", "1/ms": "frequency",
    "mm^3/ms": "flow", "kPa/mm": "stiffness per area", "kPa*ms/mm": "damping per area",
    "kPa*ms/mm^3": "flow resistance", "mm^3/kPa": "compliance", "kPa*ms^2/mm^3": "flow inertance",
    "kPa/mm^3": "elastance", "uM": "concentration", "1": "plain number",
    "kPa*ms": "viscosity", "kPa/ms": "rate of pressure",
    "uA/mm^3": "volumetric current", "1/mm": "inverse length", "uF/mm^2": "membrane capacitance",
}  # fmt: skip

#: One number and its unit: pint would leave out commas and multiply what blanks part.
_QUANTITY = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*"
    r"((1\s*)?[^\d\s,.;*+-]([^,;\s]|(?<=[/*^])\s+|\s+(?=[^\d\s.,;]))*)?",
    re.IGNORECASE,
)


@cache
def registry() -> pint.UnitRegistry[Any]:
    """The unit registry (built on first use: it takes a noticeable moment)."""
    units: pint.UnitRegistry[Any] = pint.UnitRegistry()
    units.define("uM = micromolar")
    return units


def quantity(text: str, unit: str, place: str) -> float:
    """Value of a quantity such as ``"3 mm"`` in ``unit``.

    Args:
        text: Number and unit, as in a case file.
        unit: Unit of organtwin that the value is wanted in, for example ``"kPa"``.
        place: File and field, for the message.

    Returns:
        The value in ``unit``.

    Raises:
        InputError: no number, no or an unknown unit, or one of another dimension.

    >>> round(quantity("80 mmHg", "kPa", "case.toml, circulation"), 3)
    10.666
    """
    wanted = _SIZE_NAMES.get(unit, f"quantity in {unit}")
    remedy = f'Write for example "{_example(unit)}".'
    if not _QUANTITY.fullmatch(text.strip()):
        why = "decimals have a point" if "," in text else "not one number and its unit"
        raise InputError(place, f'"{text}" can\'t be read as a {wanted} ({why}).', remedy)
    try:
        value = registry().Quantity(text)
    except (pint.errors.UndefinedUnitError, pint.errors.DefinitionSyntaxError) as error:
        raise InputError(
            place, f'"{text}" can\'t be read as a {wanted} ({error}).', remedy
        ) from None
    except Exception as error:  # pint lets tokenizer, arithmetic and value errors through
        raise InputError(
            place, f'"{text}" can\'t be read as a {wanted} ({error}).', remedy
        ) from None
    if not hasattr(value, "to"):
        value = registry().Quantity(value)
    try:
        return float(value.to(unit).magnitude)
    except pint.errors.DimensionalityError:
        found = f"{value.units:~P}" or "a plain number"
        raise InputError(place, f'"{text}" is in {found}, a {wanted} is needed.', remedy) from None


def _example(unit: str) -> str:
    return {
        "kPa": "12 mmHg", "ms": "0.8 s", "mm": "3 mm", "degree": "60 deg", "mm^3": "60 mL",
        "1/ms": "75 / min", "mm/ms": "0.6 m/s", "kPa*ms/mm^3": "0.9 mmHg*s/mL",
        "mm^3/kPa": "1.4 mL/mmHg", "kPa*ms^2/mm^3": "5e-3 mmHg*s**2/mL",
        "kPa/mm^3": "2 mmHg/mL",
    }.get(unit, f"1 {unit}")  # fmt: skip
