"""Verification of constitutive laws at points: no mesh, no solver."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.materials import catalogue
from organtwin.materials.arterial import HolzapfelGasserOgden
from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.kinematics import Material
from organtwin.materials.pointwise import PointLaw

Array = NDArray[np.float64]

#: A general deformation that stretches the fibre, so that no fibre family is at its switch.
SHEARED = np.array([[1.12, 0.03, -0.02], [0.02, 1.05, 0.04], [0.01, -0.03, 0.93]])


@dataclass(frozen=True)
class Layer:
    """A layer of a tube, with f₀ around, s₀ along and n₀ through the wall.

    Attributes:
        law: An incompressible material.
        outer_radius: Of the unloaded layer (mm).
    """

    law: Material
    outer_radius: float


#: A rabbit's carotid artery without residual stress: inner radius (mm), media and adventitia.
#: The parameters are those that this problem is commonly posed with after Holzapfel, Gasser &
#: Ogden (2000).
CAROTID_RADIUS = 0.71
CAROTID = (
    Layer(HolzapfelGasserOgden(c=3.0, k_1=2.3632, k_2=0.8393, angle=29.0), 0.97),
    Layer(HolzapfelGasserOgden(c=0.3, k_1=0.5620, k_2=0.7112, angle=62.0), 1.10),
)
RUBBER_TUBE = (Layer(NeoHookean(mu=3.0), 1.10),)

#: Pressures (kPa) at the inner radii of the rows (mm) and the axial stretches of the columns,
#: from the closed form of the stress difference and adaptive quadrature to 1e-12.
AXIAL_STRETCHES = (1.0, 1.5, 1.7)
CAROTID_PRESSURES = {
    0.8: (0.648424, 1.144055, 1.512029),
    1.0: (2.339312, 2.757800, 3.498447),
    1.2: (7.897533, 10.671239, 14.757691),
    1.4: (64.487826, 123.217624, 203.208927),
}
RUBBER_PRESSURES = {
    0.8: (0.365432, 0.525643, 0.517704),
    1.0: (0.820067, 0.702393, 0.648270),
    1.2: (1.035722, 0.781653, 0.705848),
    1.4: (1.147036, 0.820824, 0.733958),
}


def tube_pressure(
    layers: Sequence[Layer], unloaded_radius: float, radius: float, axial_stretch: float
) -> float:
    """Pressure (kPa) that holds an incompressible, layered tube at an inner radius.

        p = ∫ (σ_θθ − σ_rr) / r dr,     r² = rᵢ² + (R² − Rᵢ²)/λ_z

    with the stresses of the laws themselves, by Gauss' quadrature in each layer.

    Args:
        layers: From the inside out.
        unloaded_radius: Rᵢ (mm).
        radius: rᵢ (mm).
        axial_stretch: λ_z.
    """
    points, weights = np.polynomial.legendre.leggauss(24)
    pressure, inner = 0.0, radius
    for layer in layers:
        outer = np.sqrt(radius**2 + (layer.outer_radius**2 - unloaded_radius**2) / axial_stretch)
        r = (inner + outer) / 2 + points * (outer - inner) / 2
        R = np.sqrt(unloaded_radius**2 + (r**2 - radius**2) * axial_stretch)
        difference = _hoop_minus_radial(layer.law, r / R, axial_stretch)
        pressure += (outer - inner) / 2 * float(weights @ (difference / r))
        inner = outer
    return pressure


def _hoop_minus_radial(law: Material, around: Array, along: float) -> Array:
    F = np.zeros((len(around), 3, 3))
    F[:, 0, 0], F[:, 1, 1], F[:, 2, 2] = around, along, 1 / (around * along)
    sigma = PointLaw(law).cauchy(F)
    return np.asarray(sigma[:, 0, 0] - sigma[:, 2, 2])


def tube_errors(
    layers: Sequence[Layer], pressures: Mapping[float, tuple[float, ...]]
) -> list[tuple[float, float, float, float]]:
    """Inner radius, axial stretch, pressure and its reference for every tabulated state."""
    return [
        (radius, stretch, tube_pressure(layers, CAROTID_RADIUS, radius, stretch), reference)
        for radius, row in pressures.items()
        for stretch, reference in zip(AXIAL_STRETCHES, row, strict=True)
    ]


@dataclass(frozen=True)
class Consistency:
    """How far a law is from what every law must obey, each relative to the largest entry.

    Attributes:
        stress: P against central differences of the energy.
        tangent: ∂P/∂F against central differences of P.
        objectivity: P(QF) against Q P(F) for a rotation Q.
    """

    stress: float
    tangent: float
    objectivity: float

    @property
    def largest(self) -> float:
        """The worst of the three."""
        return max(self.stress, self.tangent, self.objectivity)


def consistency(point: PointLaw, F: Array = SHEARED, step: float = 1e-6) -> Consistency:
    """Check a law at a deformation gradient."""
    units = step * np.eye(9).reshape(9, 3, 3)
    energy = (point.energy(F + units) - point.energy(F - units)) / (2 * step)
    P, A = point.first_piola(F)[0], point.tangent(F)[0]
    slopes = (point.first_piola(F + units) - point.first_piola(F - units)) / (2 * step)
    Q = _rotation()
    turned = point.first_piola(Q @ F)[0]
    return Consistency(
        stress=_off(energy.reshape(3, 3), P),
        tangent=_off(np.moveaxis(slopes.reshape(3, 3, 3, 3), (0, 1), (2, 3)), A),
        objectivity=_off(turned, Q @ P),
    )


def consistencies() -> dict[str, Consistency]:
    """That of every law of the catalogue, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Saint-Venant and Kirchhoff's is no user's choice here
        return {name: consistency(PointLaw(catalogue.example(name))) for name in catalogue.names()}


def _rotation() -> Array:
    """By 0.7 about an axis that is none of the fibre frame."""
    axis = np.array([1.0, 2.0, -2.0]) / 3
    K = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.asarray(np.eye(3) + np.sin(0.7) * K + (1 - np.cos(0.7)) * K @ K)


def _off(found: Array, expected: Array) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())
