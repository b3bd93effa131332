"""Names, units and formulas of what is measured in an aortic root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from organtwin.aortic_root.parametric import CUSPS


@dataclass(frozen=True)
class Definition:
    """What a measure is.

    Attributes:
        unit: Its unit.
        about: How it is defined.
    """

    unit: str
    about: str


@dataclass(frozen=True)
class Quantity:
    """A measure with its interval.

    Attributes:
        value: Value.
        low: Least value over the shifts of the segmentation.
        high: Largest value over them.
        unit: Unit.
        about: Definition.
    """

    value: float
    low: float
    high: float
    unit: str
    about: str

    def __str__(self) -> str:
        digits = 2 if self.unit == "" else 0 if self.unit == "mm²" else 1
        numbers = (f"{one:.{digits}f}" for one in (self.value, self.low, self.high))
        value, low, high = numbers
        return f"{value} {self.unit}".rstrip() + f" ({low} to {high})"


def _ring(name: str, where: str) -> dict[str, Definition]:
    return {
        f"{name}_area": Definition("mm²", f"area A of the section {where}"),
        f"{name}_perimeter": Definition("mm", f"length P of the outline {where}"),
        f"{name}_area_diameter": Definition("mm", "√(4 A/π)"),
        f"{name}_perimeter_diameter": Definition("mm", "P/π"),
        f"{name}_diameter_min": Definition("mm", "least distance of two parallels around it"),
        f"{name}_diameter_max": Definition("mm", "largest distance of two parallels around it"),
    }


#: Name → unit and definition of every measure.
DEFINITIONS: Mapping[str, Definition] = MappingProxyType({
    **_ring("annulus", "in the plane through the three hinge points"),
    "annulus_ellipticity": Definition("", "least over largest diameter of the annulus"),
    **_ring("outflow", "parallel to the annulus, 4 mm below it"),
    **{f"sinus_diameter_{cusp}": Definition(
        "mm", "in the widest section below the junction parallel to the annulus, from its farthest "
        "point in this sinus through its centroid to the opposite wall") for cusp in CUSPS},
    "sinus_diameter_mean": Definition("mm", "mean of the three"),
    "sinus_level": Definition("mm", "height of the widest section over the annulus"),
    **{f"sinus_height_{cusp}": Definition(
        "mm", "distance of the hinge point from the plane of the junction") for cusp in CUSPS},
    **_ring("junction", "in the plane of the sinotubular junction"),
    "junction_height": Definition("mm", "of its middle over the annulus, along the normal"),
    "coronary_height_right": Definition("mm", "of the lower edge of the ostium over the annulus"),
    "coronary_height_left": Definition("mm", "of the lower edge of the ostium over the annulus"),
    "aortic_angulation": Definition(
        "°", "between annulus and horizontal plane, seen from the front: atan(-n_x/n_z)"),
})  # fmt: skip
