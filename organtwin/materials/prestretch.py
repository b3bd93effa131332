"""Tissue that is strained before it is loaded, as an artery that opens when it is cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ufl
from ufl.core.expr import Expr

from organtwin.errors import InputError
from organtwin.materials.kinematics import Directions, Material


@dataclass(frozen=True)
class Prestretched:
    """A law whose tissue is not free of stress in the reference configuration.

        Ψ(C) = Ψ₀(F₀ᵀ C F₀) / det F₀

    with Ψ₀ per volume of the state that is free of stress, from which F₀ leads to the reference
    configuration. F₀ need not be the gradient of a motion. The directions are those of the law in
    the state free of stress, turned with the rotation that F₀ leaves out.

    Attributes:
        law: Ψ₀.
        F0: F₀, 3×3.

    Source:
        Hoger (1997), J. Elasticity 48:125–144.
    """

    law: Material
    F0: Expr

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C`` from the reference configuration."""
        C_free = self.F0.T * C * self.F0
        return self.law.strain_energy(C_free, directions) / ufl.det(self.F0)


@dataclass(frozen=True)
class OpenedRing:
    """An artery's ring that springs open to a sector, free of stress, when it is cut.

    The sector between the radii R of the free state bends to a ring about the z axis,

        R² = Rᵢ² + k λ_z (r² − rᵢ²),     k = 2π / (2π − α),
        F₀ = diag(R/(k λ_z r), k r/R, λ_z)   along (e_r, e_θ, e_z),

    which keeps its volume. The ring of inner radius rᵢ need not be in equilibrium.

    Attributes:
        free_inner_radius: Rᵢ of the sector (mm).
        inner_radius: rᵢ of the ring (mm).
        opening_angle: α (degrees), below 360; what the sector lacks of a full turn.
        axial_stretch: λ_z from the free state to the ring.

    Source:
        Chuong & Fung (1986), J. Biomech. Eng. 108:189–192; Holzapfel, Gasser & Ogden (2000),
        J. Elasticity 61:1–48, section 4.1.
    """

    free_inner_radius: float
    inner_radius: float
    opening_angle: float
    axial_stretch: float = 1.0

    def __post_init__(self) -> None:
        for name in ("free_inner_radius", "inner_radius", "axial_stretch"):
            if not getattr(self, name) > 0:
                raise InputError(
                    "OpenedRing", f"{name} = {getattr(self, name)}.", "It must be > 0."
                )
        if not -360.0 < self.opening_angle < 360.0:
            raise InputError(
                "OpenedRing", f"opening_angle = {self.opening_angle}°.", "It is less than a turn."
            )

    @property
    def k(self) -> float:
        """2π / (2π − α)."""
        return 360.0 / (360.0 - self.opening_angle)

    def free_radius(self, r: float) -> float:
        """Radius R (mm) of the sector that becomes r (mm) in the ring."""
        growth = self.k * self.axial_stretch * (r**2 - self.inner_radius**2)
        return _root("r", r, self.free_inner_radius**2 + growth)

    def radius(self, R: float) -> float:
        """Radius r (mm) in the ring of R (mm) in the sector."""
        growth = (R**2 - self.free_inner_radius**2) / (self.k * self.axial_stretch)
        return _root("R", R, self.inner_radius**2 + growth)

    def gradient(self, x: Expr) -> Expr:
        """F₀ at the points x of the ring (mm)."""
        r = ufl.sqrt(x[0] ** 2 + x[1] ** 2)
        growth = self.k * self.axial_stretch * (r**2 - self.inner_radius**2)
        R = ufl.sqrt(self.free_inner_radius**2 + growth)
        out, around, along = polar_axes(x)
        return (
            R / (self.k * self.axial_stretch * r) * ufl.outer(out, out)
            + self.k * r / R * ufl.outer(around, around)
            + self.axial_stretch * ufl.outer(along, along)
        )


def _root(name: str, radius: float, square: float) -> float:
    if square < 0:
        raise InputError("OpenedRing", f"{name} = {radius:g} mm is in the bore.", "Enlarge it.")
    return float(np.sqrt(square))


def polar_axes(x: Expr) -> tuple[Expr, Expr, Expr]:
    """Unit vectors e_r, e_θ, e_z about the z axis at the points x."""
    r = ufl.sqrt(x[0] ** 2 + x[1] ** 2)
    out = ufl.as_vector([x[0] / r, x[1] / r, 0])
    around = ufl.as_vector([-x[1] / r, x[0] / r, 0])
    return out, around, ufl.as_vector([0, 0, 1])
