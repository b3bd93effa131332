"""Paravalvular leak against closed forms: friction of a thin ring, losses of an opening."""

from __future__ import annotations

import numpy as np

from organtwin.devices.gap import Gap, Rays
from organtwin.devices.leak import Blood, leak
from organtwin.verify.record import Record

#: Radius of the skirt, length of the gap (mm), pressure (kPa).
RADIUS, LENGTH, PRESSURE = 12.0, 10.0, 8.0


def ring_gap(width: float, eccentricity: float = 0.0, cells: int = 20, count: int = 180) -> Gap:
    """Gap between a skirt and a cylinder that is moved aside by a share of its width (mm)."""
    heights = (np.arange(cells) + 0.5) * LENGTH / cells
    rays = Rays(np.zeros(3), np.eye(3), heights, count)
    aside, outer = eccentricity * width, RADIUS + width
    wall = aside * np.cos(rays.turns) + np.sqrt(outer**2 - (aside * np.sin(rays.turns)) ** 2)
    whole = np.ones((cells, count))
    return Gap(rays, RADIUS * whole, wall * whole)


def thin_ring(eccentricity: float, width: float = 0.1) -> tuple[float, float]:
    r"""Flow of a viscous fluid through a thin eccentric ring, and the closed form (mm³/ms).

    .. math:: Q = \frac{\pi D h^3 \Delta p}{12 \mu L} \left(1 + \tfrac32 e^2\right)

    with its mean diameter D.
    """
    thick = Blood(viscosity=350.0)  # no pressure is lost at the ends
    found = leak(ring_gap(width, eccentricity), PRESSURE, thick).flow
    plane = np.pi * (2.0 * RADIUS + width) * width**3 * PRESSURE / (12.0 * 350.0 * LENGTH)
    return found, float(plane * (1.0 + 1.5 * eccentricity**2))


def opening(width: float = 1.0) -> tuple[float, float]:
    r"""Velocity without friction, and :math:`\sqrt{2 \Delta p / (1 + \zeta) \rho}` (m/s)."""
    thin = Blood(viscosity=3.5e-9)
    found = leak(ring_gap(width), PRESSURE, thin).fastest
    return found, float(np.sqrt(2.0 * PRESSURE / ((1.0 + thin.entrance) * thin.density)))


def records() -> list[Record]:
    """All of them."""
    name = "paravalvular_leak"
    found = []
    for eccentricity in (0.0, 0.5, 0.9):
        flow, exact = thin_ring(eccentricity)
        what = f"viscous flow through a thin ring, moved by {eccentricity:g} h"
        found.append(Record(name, what, flow, "mL/s", exact, 0.01 * exact, "closed form"))
    speed, exact = opening()
    what = "velocity through an opening without friction"
    found.append(Record(name, what, speed, "m/s", exact, 1e-4 * exact, "closed form"))
    return found
