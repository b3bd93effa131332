"""Whether a deployed valve may obstruct a coronary artery."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.aortic_root.outline import Outline
from organtwin.errors import InputError
from organtwin.mesh.closest import on_segments

Array = NDArray[np.float64]

#: Distance from valve to coronary ostium (mm) up to which, and calcium of the leaflet (mm³) beyond
#: which a leaflet that is taller than the ostium may close it.
NEAR, HEAVY = 4.0, 600.0
#: Distance from cusp to ostium over the artery's diameter below which it is obstructed.
OBSTRUCTED = 0.7
#: How far an ostium may lie off the plane of a section (mm).
OFF = 0.5


@dataclass(frozen=True)
class CoronaryRisk:
    """What decides about one artery before the leaflets' new place is computed.

    Attributes:
        distance: From the valve to the ostium (mm): `valve_to_coronary`.
        cusp_height: Of the tip of the native leaflet, opened, over the annulus (mm).
        coronary_height: Of the ostium's lower edge over the annulus (mm).
        calcium: Volume on that leaflet (mm³).
    """

    distance: float
    cusp_height: float
    coronary_height: float
    calcium: float = 0.0

    @property
    def high(self) -> bool:
        """Whether obstruction is to be expected.

        The cusp is taller than the coronary is high, and the valve is near (4 mm or less) or the
        leaflet heavy with calcium (more than 600 mm³).

        Source:
            Khan et al. (2023), JACC Cardiovasc. Interv., PMC9991077: sensitivity 0.93 and
            specificity 0.84 (left), 0.92 and 0.96 (right).
        """
        tall = self.cusp_height > self.coronary_height
        return tall and (self.distance <= NEAR or self.calcium > HEAVY)


def valve_to_coronary(valve: Outline, ostium: Array) -> float:
    """Distance from a valve to the middle of an ostium at its height (mm); negative inside it.

    Args:
        valve: Section of the frame at the height of the ostium.
        ostium: Its middle (mm), shape (3,).

    Raises:
        InputError: the section lies at another height.
    """
    away = valve.axes @ (ostium - valve.centre)
    if abs(away[2]) > OFF:
        raise InputError(
            "valve-to-coronary distance", f"the section lies {away[2]:+.1f} mm off the ostium.",
            "Take the frame's section at the height of the ostium.",
        )  # fmt: skip
    sides = np.stack([valve.flat, np.roll(valve.flat, -1, axis=0)], axis=1)
    nearest = float(np.linalg.norm(on_segments(away[:2], sides) - away[:2], axis=1).min())
    turn = np.arctan2(away[1], away[0]) % (2.0 * np.pi)
    inside = np.hypot(away[0], away[1]) < valve.radius(turn)
    return -nearest if inside else nearest


def obstruction(cusp_to_ostium: float, diameter: float) -> tuple[float, bool]:
    """Distance of the pushed cusp from an ostium over the artery's diameter; if it is too small.

    Args:
        cusp_to_ostium: Distance of the deployed native cusp from the ostium (mm).
        diameter: Of the artery (mm).

    Raises:
        InputError: the diameter is not positive.

    Source:
        Heitkemper et al. (2020), J. Thorac. Cardiovasc. Surg. 159:829–838, PMC6859205: below 0.7
        sensitivity 1, specificity 0.957, in 28 patients at high risk.
    """
    if not diameter > 0.0:
        raise InputError("coronary artery", f"diameter {diameter:g} mm.", "It must be positive.")
    ratio = cusp_to_ostium / diameter
    return ratio, ratio < OBSTRUCTED
