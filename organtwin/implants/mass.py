"""Volume, centre and inertia of what a closed surface encloses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.surface_files import TriangleSurface

type Points = NDArray[np.float64]


@dataclass(frozen=True)
class MassProperties:
    """Of a body of density one.

    Attributes:
        volume: Volume (mm³).
        centre: Centre of volume (mm), shape (3,).
        inertia: Tensor of inertia about the centre (mm⁵), shape (3, 3); times the density
            (mg/mm³) it is that of the mass (mg mm²).
    """

    volume: float
    centre: Points
    inertia: Points

    @property
    def principal(self) -> Points:
        """Principal moments of inertia (mm⁵), the smallest first, shape (3,)."""
        return np.asarray(np.linalg.eigvalsh(self.inertia))


def mass_properties(surface: TriangleSurface) -> MassProperties:
    r"""Volume, centre and inertia of the polyhedron, exact but for rounding.

    Each triangle makes a tetrahedron with a place near the surface, of signed volume V, and

    .. math:: \int x x^T dV = V/20 \, (s s^T + a a^T + b b^T + c c^T), \quad s = a + b + c.

    Raises:
        InputError: the surface encloses no positive volume.
    """
    base = surface.points[surface.triangles].mean(axis=(0, 1))
    a, b, c = (surface.points[surface.triangles[:, k]] - base for k in range(3))
    volumes = np.einsum("ij,ij->i", np.cross(a, b), c) / 6.0
    volume = float(volumes.sum())
    if not volume > 0.0:
        raise InputError(
            "surface", f"encloses {volume:g} mm³.", "Close it and turn it outwards: repair it."
        )
    total = a + b + c
    first = volumes @ total / 4.0
    second = sum(np.einsum("i,ij,ik->jk", volumes, x, x) for x in (total, a, b, c)) / 20.0
    centre = first / volume
    second = second - volume * np.outer(centre, centre)
    inertia = np.trace(second) * np.eye(3) - second
    return MassProperties(volume, base + centre, inertia)
