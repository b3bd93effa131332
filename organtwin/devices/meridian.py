"""Contact with surfaces of revolution about the z-axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def revolved(
    x: Array, R: Array, first: Array, second: Array, *, around: bool
) -> tuple[Array, Array, Array]:
    """Penetration of the axes of struts, direction of the force and its derivative.

        g = ±(R(z) − ρ) cos β,   tan β = dR/dz

    With ρ the distance from the axis; the sign is + for a surface within the struts. g is the
    distance to the surface to first order, which is enough where penetrations are small.

    Args:
        x: Positions (mm), (n, 3).
        R: Radius (mm), at their heights, of the surface that their axes can't pass, (n,).
        first: dR/dz, (n,).
        second: d²R/dz² (1/mm), (n,).
        around: Whether the surface is around the struts.

    Returns:
        g (n,), unit vectors (n, 3), their derivatives by x (n, 3, 3).
    """
    rho = np.maximum(np.hypot(x[:, 0], x[:, 1]), 1e-9)
    zero = np.zeros_like(rho)
    radial = np.column_stack([x[:, 0] / rho, x[:, 1] / rho, zero])
    hoop = np.column_stack([-radial[:, 1], radial[:, 0], zero])
    upright = np.array([0.0, 0.0, 1.0])
    cosine = 1 / np.sqrt(1 + first**2)
    sine = first * cosine
    sign = -1.0 if around else 1.0
    out = cosine[:, None] * radial - sine[:, None] * upright
    along = sine[:, None] * radial + cosine[:, None] * upright
    turn = (cosine / rho)[:, None, None] * hoop[:, :, None] * hoop[:, None]
    turn -= (second * cosine**3)[:, None, None] * along[:, :, None] * along[:, None]
    g = np.maximum(sign * (R - rho) * cosine, -1e6)
    return g, sign * out, sign * turn
