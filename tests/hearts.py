"""A small beating heart whose calcium is given: two ventricles of a rabbit's size, coarse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from dolfinx import fem
from mpi4py import MPI

from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.fibres import FibreAngles, fibres
from organtwin.cells.tension import Land2017, TensionModel
from organtwin.circulation.network import ClosedLoop
from organtwin.coupling.electromechanics import Electromechanics
from organtwin.coupling.reference import IMAGE, Reference
from organtwin.coupling.transfer import quadrature_space
from organtwin.coupling.ventricles import Myocardium, Support, contracting_ventricles
from organtwin.materials.guccione import Guccione
from organtwin.materials.kinematics import Directions, Material
from organtwin.mechanics.formulation import TAYLOR_HOOD, Formulation
from organtwin.mesh.domain import Domain, refine
from organtwin.solve.outcome import Step
from organtwin.verify.biventricle import biventricle

TISSUE = Guccione(stiffness=2.0, b_f=8.0, b_t=2.0, b_fs=4.0)
#: Of the left and the right ventricle (kPa).
PRESSURES = np.array([0.8, 0.25])


class RisingCalcium:
    """Calcium (µM) that rises everywhere alike, in place of an electrophysiology."""

    def __init__(self, domain: Domain) -> None:
        self.refinement = refine(domain)
        self.v = fem.Function(fem.functionspace(self.refinement.fine.mesh, ("P", 1)))
        self.calcium = np.full_like(self.v.x.array, 0.1)
        self.state = {"calcium": self.calcium}

    def advance(self, t0: float, t1: float) -> Step:
        self.calcium[:] = 0.1 + 0.02 * t1
        return Step(t0, t1)

    def activated_fraction(self) -> float:
        return 1.0


def small_ventricles(comm: MPI.Comm, path: Path) -> Domain:
    """Their mesh, of some hundred tetrahedra."""
    return biventricle(comm, path / "ventricles.msh", size=22.0, scale=0.5)


def rule(domain: Domain, degree: int = 4) -> Directions:
    """Fibres at the quadrature points of a degree."""
    space = quadrature_space(domain.mesh, degree, (3,))
    found = fibres(domain, FibreAngles(60.0, -60.0, -65.0, 25.0), space, degree=2,
                   at=coordinates(domain, degree=2))  # fmt: skip
    return Directions(found.f0, found.s0, found.n0)


def heart(
    domain: Domain,
    directions: Directions,
    *,
    law: Material = TISSUE,
    formulation: Formulation = TAYLOR_HOOD,
    reference: Reference = IMAGE,
    tension: TensionModel = Land2017(T_ref=220.0),
    degree: int = 4,
) -> tuple[Electromechanics, Material]:
    """The heart without load, and its passive law."""
    tissue = Myocardium(
        passive=law,
        tension=tension,
        cross_fibre_fraction=0.4,
        bulk_modulus=1000.0,
        viscosity=100.0,
        pericardium=Support(0.1, 5.0),
        base=Support(0.5, 5.0),
        shear_modulus=10.0,
    )
    mechanics, muscle, passive = contracting_ventricles(
        domain, directions, tissue, formulation=formulation, reference=reference, degree=degree
    )
    loop, ep = ClosedLoop.regazzoni_2022(800.0), RisingCalcium(domain)
    beating = Electromechanics(ep, mechanics, muscle, loop, loop.rest(), refinement=ep.refinement)
    return beating, passive
