"""What indices of a deployed valve need to know of the root before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organtwin.aortic_root import septum
from organtwin.aortic_root.measurements import RootMeasures
from organtwin.aortic_root.parametric import CUSPS
from organtwin.errors import InputError

Array = NDArray[np.float64]

#: Diameter of an artery that was not seen (mm), as in the meshes of roots.
UNSEEN = 3.5


@dataclass(frozen=True)
class Coronary:
    """Where an artery leaves the root.

    Attributes:
        at: Middle of its ostium in the scan (mm), (3,).
        diameter: Of the artery (mm); 0 where it was not seen.
        height: Of the ostium's lower edge over the annulus (mm).
    """

    at: Array
    diameter: float
    height: float

    @property
    def wide(self) -> float:
        """Diameter that is used (mm): 3.5 mm where it was not seen."""
        return self.diameter if self.diameter > 0.0 else UNSEEN


@dataclass(frozen=True)
class RootRecord:
    """A root as it was measured. Lengths in mm, places in the scan's coordinates.

    Attributes:
        origin: Middle of the annulus, (3,).
        axes: Rows: towards the right cusp, 90° from it, up across the annulus, (3, 3).
        annulus_area: mm².
        annulus_perimeter: mm.
        junction_height: Of the middle of the sinotubular junction over the annulus.
        coronaries: ``right`` and ``left``, as far as they were found.
        septum_direction: Of the middle of the membranous septum, about the axis (radians).
        septum_below: How far it reaches below the annulus.
        calcium: Cusp → volume on its leaflet (mm³); empty where none was looked for.
    """

    origin: Array
    axes: Array
    annulus_area: float
    annulus_perimeter: float
    junction_height: float
    coronaries: Mapping[str, Coronary] = field(default_factory=dict)
    septum_direction: float = 0.0
    septum_below: float = septum.BELOW
    calcium: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = (self.annulus_area, self.annulus_perimeter, self.junction_height)
        square = np.abs(self.axes @ self.axes.T - np.eye(3)).max() < 1e-6
        if not (min(numbers) > 0.0 and square):
            raise InputError(
                "root", f"annulus of {numbers[0]:g} mm² and {numbers[1]:g} mm, junction at "
                f"{numbers[2]:g} mm, or axes that are not at right angles.",
                "Measure the root again.",
            )  # fmt: skip

    @property
    def up(self) -> Array:
        """Normal of the annulus, towards the aorta, (3,)."""
        return np.asarray(self.axes[2])

    def height(self, points: Array) -> Array:
        """Over the annulus (mm), (n,)."""
        return np.asarray((points - self.origin) @ self.up)

    def turn(self, points: Array) -> Array:
        """Direction about the axis from the right cusp (radians), (n,)."""
        x, y = ((points - self.origin) @ self.axes[:2].T).T
        return np.asarray(np.arctan2(y, x))

    @classmethod
    def of(cls, found: RootMeasures) -> RootRecord:
        """What `organtwin.aortic_root.measurements.measure_root` found."""
        value = {name: one.value for name, one in found.quantities.items()}
        coronaries = {
            side: Coronary(one.at, one.diameter, value[f"coronary_height_{side}"])
            for side, one in found.ostia.items()
            if f"coronary_height_{side}" in value
        }
        lime = {} if found.calcium is None else found.calcium.regions
        return cls(
            found.frame.origin, found.frame.axes, value["annulus_area"],
            value["annulus_perimeter"], value["junction_height"], coronaries,
            found.septum.direction, septum.BELOW,
            {cusp: lime[cusp, "valve"].corrected for cusp in CUSPS if (cusp, "valve") in lime},
        )  # fmt: skip

    def as_record(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {
            **vars(self), "origin": self.origin.tolist(), "axes": self.axes.tolist(),
            "calcium": dict(self.calcium),
            "coronaries": {
                side: {**vars(one), "at": one.at.tolist()} for side, one in self.coronaries.items()
            },
        }  # fmt: skip

    @classmethod
    def from_record(cls, found: Mapping[str, Any]) -> RootRecord:
        """What `as_record` gave.

        Raises:
            InputError: something is missing or wrong.
        """
        try:
            coronaries = {
                str(side): Coronary(np.array(one["at"], float), one["diameter"], one["height"])
                for side, one in found["coronaries"].items()
            }
            return cls(
                np.array(found["origin"], float), np.array(found["axes"], float),
                found["annulus_area"], found["annulus_perimeter"], found["junction_height"],
                coronaries, found["septum_direction"], found["septum_below"],
                dict(found["calcium"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError("root", f"its record lacks {error}.", "Measure it again.") from None
