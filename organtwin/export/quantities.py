"""What fields are called, counted in and coloured by: one table for every picture and viewer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex
from numpy.typing import NDArray

#: From muscle at rest to full tension: lightness falls all the way.
TENSION = LinearSegmentedColormap.from_list(
    "tension", ["#f4dccf", "#f0b195", "#e2714f", "#b8222b", "#5f0a20"]
)
#: Even in lightness, and readable by the colour-blind.
POTENTIAL = mpl.colormaps["viridis"]


@dataclass(frozen=True)
class Quantity:
    """A field as people read it.

    Attributes:
        name: Name in the files.
        label: In words.
        unit: Unit; ``1`` for a number, empty where it is not known.
        colours: Name of a colour map of matplotlib, or ``tension``.
        centred: Whether the colours' middle means zero.
    """

    name: str
    label: str
    unit: str = ""
    colours: str = "viridis"
    centred: bool = False

    @property
    def title(self) -> str:
        """Label with unit, for colour bars."""
        return self.label if self.unit in ("", "1") else f"{self.label} ({self.unit})"

    @property
    def map(self) -> Colormap:
        """Its colour map."""
        return TENSION if self.colours == "tension" else mpl.colormaps[self.colours]

    def limits(self, values: NDArray[np.floating]) -> tuple[float, float]:
        """Range of the colours: what 98 % of the finite values span, about zero if centred.

        Args:
            values: All that is shown, whatever its shape.
        """
        finite = values[np.isfinite(values)]
        if not finite.size:
            return 0.0, 1.0
        low, high = (float(v) for v in np.percentile(finite, [1.0, 99.0]))
        if high - low < 1e-9 * max(abs(low), abs(high), 1e-300):  # nearly all are the same
            low, high = float(finite.min()), float(finite.max())
        if self.centred:
            high = max(abs(low), abs(high))
            low = -high
        if not high > low:
            low, high = low - 0.5, high + 0.5
        return low, high

    def stops(self, number: int = 21) -> list[tuple[float, str]]:
        """Its colours at even steps from 0 to 1, as pages want them."""
        steps = np.linspace(0.0, 1.0, number)
        return [(round(float(at), 4), to_hex(self.map(at))) for at in steps]


_KNOWN = (
    Quantity("displacement", "Displacement", "mm", "viridis"),
    Quantity("transmembrane_potential", "Transmembrane potential", "mV", "viridis"),
    Quantity("calcium", "Calcium", "µM", "cividis"),
    Quantity("active_tension", "Active tension", "kPa", "tension"),
    Quantity("pressure", "Pressure in the tissue", "kPa", "RdBu_r", centred=True),
    Quantity("fibre_stress", "Stress along the fibres", "kPa", "RdBu_r", centred=True),
    Quantity("von_mises_stress", "Von Mises stress", "kPa", "magma"),
    Quantity("principal_stress", "Largest principal stress", "kPa", "magma"),
    Quantity("fibre_strain", "Strain along the fibres", "1", "RdBu_r", centred=True),
    Quantity("activation_time", "Activation time", "ms", "plasma_r"),
    Quantity("repolarisation", "Repolarisation time", "ms", "viridis"),
    Quantity("apd", "Action potential duration", "ms", "viridis"),
    Quantity("cycle_length", "Cycle length", "ms", "viridis"),
    Quantity("conduction_velocity", "Conduction velocity", "mm/ms", "viridis"),
    Quantity("extracellular_potential", "Extracellular potential", "mV", "RdBu_r", centred=True),
    Quantity("contact_force", "Contact force", "mN", "magma"),
    Quantity("contact_pressure", "Contact pressure", "kPa", "magma"),
    Quantity("radius", "Radius of the struts", "mm", "cividis"),
    Quantity("porosity", "Porosity", "1", "cividis"),
    Quantity("density", "Density", "g/cm³", "cividis"),
    Quantity("modulus", "Young's modulus", "kPa", "cividis"),
)  # fmt: skip

#: Name of a field → what is known of it.
QUANTITIES: Mapping[str, Quantity] = {one.name: one for one in _KNOWN}

#: Units of the fields that organtwin writes, in letters that every program shows.
UNITS: Mapping[str, str] = {
    one.name: one.unit.replace("µ", "u").replace("³", "^3") for one in _KNOWN if one.unit
}


def quantity(name: str, unit: str = "") -> Quantity:
    """What is known of a field; a field that is not is shown by its name."""
    if name in QUANTITIES:
        return QUANTITIES[name]
    words = name.replace("_", " ").strip()
    return Quantity(name, words[:1].upper() + words[1:], unit)


def shown_value(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """The number of each point or cell that colours show: of vectors the length.

    Args:
        values: Shape (n,) or (n, k); of symmetric or full tensors the Frobenius norm.
    """
    found = np.asarray(values, dtype=np.float64)
    return found if found.ndim == 1 else np.linalg.norm(found.reshape(len(found), -1), axis=1)
