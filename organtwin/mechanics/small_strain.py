"""Small strains: the same laws, linearised about the reference configuration."""

from __future__ import annotations

from dataclasses import dataclass

import ufl
from ufl.core.expr import Expr

from organtwin.materials.kinematics import Directions, Material
from organtwin.mechanics.terms import Fields
from organtwin.mesh.domain import Domain


def small_stress(material: Material, strain: Expr, directions: Directions | None = None) -> Expr:
    """Stress σ = ∂Ψ(I + 2ε)/∂ε (kPa) of a law in the small strain ε.

    Exact for laws that are quadratic in the Green–Lagrange strain (`OrthotropicBone`,
    `SaintVenantKirchhoff`), for which E = (C − I)/2 is replaced by ε.

    Args:
        material: The law.
        strain: ε, 3×3, symmetric.
        directions: Material directions, for laws that need them.
    """
    strain = ufl.variable(strain)
    energy = material.strain_energy(ufl.Identity(3) + 2 * strain, directions)
    return ufl.sym(ufl.diff(energy, strain))


@dataclass(frozen=True)
class SmallStrain:
    """Internal virtual work ∫ σ(ε − ε₀) : ε(δu) of small strains ε = sym ∇u.

    It goes in `LinearElasticity`, and in `Mechanics` where contact or friction makes the rest
    nonlinear. It does not follow rotations: those must stay below about a hundredth.

    Attributes:
        material: Law that is quadratic in the strain.
        directions: Its axes, if it needs some.
        regions: Names of the regions that it fills; the whole domain if none.
        eigenstrain: ε₀ (3×3, UFL), the strain that the material would have without stress: an
            interference −δ/R of a press fit, a preload, a temperature.
    """

    material: Material
    directions: Directions | None = None
    regions: tuple[str, ...] = ()
    eigenstrain: Expr | None = None

    def stress(self, u: Expr) -> Expr:
        """σ (kPa) of a displacement (mm)."""
        return small_stress(self.material, self.elastic_strain(u), self.directions)

    def elastic_strain(self, u: Expr) -> Expr:
        """ε(u) − ε₀, 3×3."""
        strain = ufl.sym(ufl.grad(u))
        return strain if self.eigenstrain is None else strain - self.eigenstrain

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """∫ σ : ε(δu) dx."""
        strain = ufl.sym(ufl.grad(s.u_test))
        dx = domain.dx(*self.regions, degree=s.degree)
        return ufl.inner(self.stress(s.u), strain) * dx
