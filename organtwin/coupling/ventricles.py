"""Two ventricles put together: tissue, supports, cavities, muscle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.cells.tension import Land2017, TensionModel
from organtwin.coupling.muscle import FULL_FEEDBACK, Muscle, TensionFeedback
from organtwin.coupling.reference import IMAGE, Reference
from organtwin.materials.holzapfel_ogden import HolzapfelOgden
from organtwin.materials.kinematics import Directions, Material, as_constants
from organtwin.mechanics.cavity import Cavity
from organtwin.mechanics.formulation import TAYLOR_HOOD, Formulation
from organtwin.mechanics.problem import Mechanics
from organtwin.mechanics.terms import (
    ActiveTension,
    Incompressibility,
    PassiveStress,
    Spring,
    Term,
    Viscosity,
)
from organtwin.mesh.domain import Domain
from organtwin.solve.nonlinear import Tolerances

#: Cavities in the order of the pressures.
CAVITIES = (Cavity("lv", "lv_endo", "base"), Cavity("rv", "rv_endo", "base"))


@dataclass(frozen=True)
class Support:
    """Spring and dashpot on a surface.

    Attributes:
        stiffness: k (kPa/mm).
        damping: c (kPa·ms/mm).
    """

    stiffness: float
    damping: float


@dataclass(frozen=True)
class Myocardium:
    """What the walls are made of and what holds them.

    Attributes:
        passive: Strain energy.
        tension: Active tension.
        cross_fibre_fraction: Share of the tension along the sheet normal.
        bulk_modulus: Resistance to a change of volume (kPa).
        viscosity: Kelvin–Voigt viscosity (kPa·ms).
        pericardium: Support of the epicardium, along its normal.
        base: Support of the cut base, in all directions.
        shear_modulus: Stiffness under load (kPa), for stabilised formulations.
        feedback: What of the motion the tension feels.
        strength: Factor of the tension in each of this rank's own cells, (cells,); 1 if omitted.
    """

    passive: Material
    tension: TensionModel
    cross_fibre_fraction: float
    bulk_modulus: float
    viscosity: float
    pericardium: Support
    base: Support
    shear_modulus: float | None = None
    feedback: TensionFeedback = FULL_FEEDBACK
    strength: NDArray[np.float64] | None = None

    @classmethod
    def human(cls) -> Myocardium:
        """Values of the heartbeat demo."""
        return cls(
            passive=HolzapfelOgden.holzapfel_ogden_2009(),
            tension=Land2017(T_ref=220.0),
            cross_fibre_fraction=0.4,
            bulk_modulus=5000.0,
            viscosity=100.0,
            pericardium=Support(stiffness=0.1, damping=5.0),
            base=Support(stiffness=0.1, damping=5.0),
        )


def contracting_ventricles(
    domain: Domain,
    directions: Directions,
    tissue: Myocardium,
    *,
    cavities: Sequence[Cavity] = CAVITIES,
    formulation: Formulation = TAYLOR_HOOD,
    reference: Reference = IMAGE,
    degree: int = 4,
    tolerances: Tolerances = Tolerances(),
) -> tuple[Mechanics, Muscle, Material]:
    """Equilibrium of beating ventricles.

    Args:
        domain: Mesh with surfaces ``epi`` and ``base`` and those of the cavities.
        directions: Fibre frame at the quadrature points of ``degree``.
        tissue: What they are made of.
        cavities: Blood cavities.
        formulation: Finite elements.
        reference: State that strain is measured from. Springs are at rest there.
        degree: Quadrature degree.
        tolerances: Of the nonlinear solver.

    Returns:
        The equilibrium, the contractile state that acts in it, and the passive law with its
        numbers as constants of the mesh.
    """

    def constant(value: float) -> fem.Constant:
        return fem.Constant(domain.mesh, float(value))

    muscle = Muscle(
        domain,
        directions,
        tissue.tension,
        cross_fibre_fraction=tissue.cross_fibre_fraction,
        degree=degree,
        reference=reference,
        feedback=tissue.feedback,
        strength=tissue.strength,
    )
    passive = as_constants(tissue.passive, domain.mesh)
    outside, cut = tissue.pericardium, tissue.base
    shear = None if tissue.shear_modulus is None else constant(tissue.shear_modulus)
    terms: list[Term] = [
        PassiveStress(passive, directions),
        ActiveTension(muscle.stress, directions),
        Viscosity(constant(tissue.viscosity)),
        Incompressibility(constant(tissue.bulk_modulus), shear),
        Spring(("epi",), constant(outside.stiffness), constant(outside.damping), normal_only=True),
        Spring(("base",), constant(cut.stiffness), constant(cut.damping)),
    ]
    mechanics = Mechanics(
        domain,
        [reference.term(term) for term in terms],
        formulation=formulation,
        cavities=cavities,
        degree=degree,
        tolerances=tolerances,
    )
    return mechanics, muscle, passive
