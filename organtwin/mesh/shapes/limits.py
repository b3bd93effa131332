"""Bounds of the parameters of shapes."""

from __future__ import annotations

from organtwin.errors import InputError


def within(place: str, name: str, value: float, low: float, high: float, unit: str = "mm") -> None:
    """Refuse a parameter outside its bounds.

    Raises:
        InputError: it is outside, or no number.
    """
    if not low <= value <= high:
        raise InputError(
            place,
            f"{name} is {value:g} {unit}, outside {low:g} to {high:g} {unit}.",
            f"Give {name} between {low:g} and {high:g} {unit}.",
        )
