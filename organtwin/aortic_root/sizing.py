"""How much larger than the annulus each size of a device is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from organtwin.errors import InputError

#: Oversizing beyond which no device is planned (%).
MOST = 30.0


@dataclass(frozen=True)
class DeviceSize:
    """A device in one size.

    Attributes:
        name: Device and size.
        nominal_diameter: Diameter by which it is called (mm).
        nominal_area: Area of its inflow, fully expanded (mm²); without it that of a circle.
        sized_by: ``area``, as balloon-expandable devices are, or ``perimeter``, as self-expanding
            ones are.
    """

    name: str
    nominal_diameter: float
    nominal_area: float | None = None
    sized_by: str = "area"

    def __post_init__(self) -> None:
        if self.sized_by not in {"area", "perimeter"} or self.nominal_diameter <= 0.0:
            raise InputError(
                f"device `{self.name}`",
                f"{self.nominal_diameter:g} mm, sized by `{self.sized_by}`.",
                "Give a positive diameter, and `area` or `perimeter`.",
            )

    @property
    def area(self) -> float:
        """Nominal area (mm²)."""
        return self.nominal_area or 0.25 * np.pi * self.nominal_diameter**2


@dataclass(frozen=True)
class Oversizing:
    r"""How much larger than the annulus a device is.

    .. math::
        o_A = 100 \left(\frac{A_\text{nominal}}{A} - 1\right), \qquad
        o_P = 100 \left(\frac{\pi d_\text{nominal}}{P} - 1\right)

    Attributes:
        device: The device.
        by_area: :math:`o_A` (%).
        by_perimeter: :math:`o_P` (%).
        by_area_range: Its interval (%), from that of the annulus' area.
        by_perimeter_range: Its interval (%), from that of the annulus' perimeter.
    """

    device: DeviceSize
    by_area: float
    by_perimeter: float
    by_area_range: tuple[float, float]
    by_perimeter_range: tuple[float, float]

    @property
    def percent(self) -> float:
        """The oversizing by which the device is sized (%)."""
        return self.by_area if self.device.sized_by == "area" else self.by_perimeter

    @property
    def fits(self) -> bool:
        """Whether the device is neither smaller than the annulus nor more than 30 % larger."""
        return 0.0 < self.percent <= MOST

    @property
    def too_large(self) -> bool:
        """Whether it is more than 30 % larger by what it is sized by."""
        return self.percent > MOST


def oversizing(
    device: DeviceSize,
    area: tuple[float, float, float],
    perimeter: tuple[float, float, float],
) -> Oversizing:
    """Oversizing of a device in an annulus.

    Args:
        device: The device.
        area: Area of the annulus (mm²): the value and both ends of its interval.
        perimeter: Perimeter of the annulus (mm), likewise.
    """
    by_area = [100.0 * (device.area / one - 1.0) for one in area]
    by_length = [100.0 * (np.pi * device.nominal_diameter / one - 1.0) for one in perimeter]
    return Oversizing(
        device, by_area[0], by_length[0], (min(by_area), max(by_area)),
        (min(by_length), max(by_length)),
    )  # fmt: skip


def refuse_too_large(found: Sequence[Oversizing], name: str) -> Oversizing:
    """The oversizing of the device that is to be implanted.

    Raises:
        InputError: there is no such device, or it is more than 30 % larger than the annulus.
    """
    known = {one.device.name: one for one in found}
    if name not in known:
        raise InputError("device", f"no size `{name}`.", f"Known: {', '.join(known)}.")
    chosen = known[name]
    if chosen.too_large:
        fitting = [one.device.name for one in found if one.fits]
        remedy = f"Choose {' or '.join(fitting)}." if fitting else "Check the annulus."
        raise InputError(
            f"device `{name}`",
            f"is {chosen.by_area:.0f} % larger than the annulus by area and "
            f"{chosen.by_perimeter:.0f} % by perimeter; more than {MOST:g} % risks a rupture.",
            remedy,
        )
    return chosen
