"""From the sections of a case to the nouns of the physics."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from dolfinx import fem

from organtwin.anatomy.coordinates import Coordinates, coordinates
from organtwin.anatomy.fibres import FibreAngles, Fibres, fibres
from organtwin.case.electrical import Electrical, electrical
from organtwin.case.schema import Case
from organtwin.case.schema import Guccione as GuccioneSection
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import PacedCell
from organtwin.cells.tension import Land2017
from organtwin.circulation.network import ClosedLoop
from organtwin.coupling.electromechanics import Electromechanics
from organtwin.coupling.transfer import quadrature_space
from organtwin.coupling.ventricles import Myocardium, Support, contracting_ventricles
from organtwin.electrophysiology.conductivity import Conductivity
from organtwin.materials.guccione import Guccione
from organtwin.materials.holzapfel_ogden import HolzapfelOgden
from organtwin.materials.kinematics import Directions, Material
from organtwin.mesh.domain import Domain, cellwise_vectors, refine


@dataclass(frozen=True)
class Assembly:
    """A heart ready to beat, and what is needed to look at it.

    Attributes:
        heart: The process.
        electrical: Its electrophysiology.
        domain: Mesh of the mechanics.
        passive: Passive law, as constants of the mesh.
        coarse_fibres: Directions in the cells of ``domain``.
    """

    heart: Electromechanics
    electrical: Electrical
    domain: Domain
    passive: Material
    coarse_fibres: Fibres


def assemble(case: Case, domain: Domain, cell: PacedCell, sigma: Conductivity) -> Assembly:
    """Put the heart of a case together on its mesh; collective."""
    at = coordinates(domain, degree=2)
    in_points = _directions(case, domain, quadrature_space(domain.mesh, 4, (3,)), 2, at)
    coarse_fibres = _directions(case, domain, cellwise_vectors(domain), 2, at)
    electric = assemble_electrical(case, domain, cell, sigma, at=at, coarse_fibres=coarse_fibres)
    mechanics, muscle, passive = contracting_ventricles(
        domain, Directions(in_points.f0, in_points.s0, in_points.n0), myocardium(case)
    )
    loop = closed_loop(case)
    heart = Electromechanics(electric.ep, mechanics, muscle, loop, loop.rest())
    return Assembly(heart, electric, domain, passive, coarse_fibres)


def assemble_electrical(
    case: Case,
    domain: Domain,
    cell: PacedCell,
    sigma: Conductivity,
    *,
    at: Coordinates | None = None,
    coarse_fibres: Fibres | None = None,
) -> Electrical:
    """Put the electrical heart of a case together; collective.

    Args:
        case: The case.
        domain: Mesh of the mechanics.
        cell: Paced cell.
        sigma: Tuned conductivities.
        at: Coordinates on ``domain``, if they are known.
        coarse_fibres: Directions in the cells of ``domain``, if they are known.
    """
    fine = refine(domain, case.electrophysiology.refinements).fine
    known = coarse_fibres if fine is domain else None
    fibres = known or _directions(case, fine, cellwise_vectors(fine), 1)
    return electrical(case, domain, fine, fibres, cell, sigma, at=at)


def _directions(
    case: Case,
    domain: Domain,
    space: fem.FunctionSpace,
    degree: int,
    at: Coordinates | None = None,
) -> Fibres:
    return fibres(domain, fibre_angles(case), space, rule=case.fibres.rule, degree=degree, at=at)


def fibre_angles(case: Case) -> FibreAngles:
    """Angles of the case (degrees)."""
    section = case.fibres
    return FibreAngles(section.alpha_endo, section.alpha_epi, section.beta_endo, section.beta_epi)


def cell_model(case: Case) -> CellModel:
    """Ionic model of the case."""
    return CellModel.load(case.electrophysiology.ionic_model)


def myocardium(case: Case) -> Myocardium:
    """Tissue of the case."""
    section = case.mechanics
    law = section.passive
    passive: Material
    if isinstance(law, GuccioneSection):
        passive = Guccione(law.stiffness, law.b_f, law.b_t, law.b_fs)
    else:
        passive = HolzapfelOgden(
            law.a, law.b, law.a_f, law.b_f, law.a_s, law.b_s, law.a_fs, law.b_fs
        )
    return Myocardium(
        passive=passive,
        tension=Land2017(T_ref=section.active.reference_tension),
        cross_fibre_fraction=section.active.cross_fibre_fraction,
        bulk_modulus=section.bulk_modulus,
        viscosity=section.viscosity,
        pericardium=Support(section.pericardium.stiffness, section.pericardium.damping),
        base=Support(section.base.stiffness, section.base.damping),
    )


def closed_loop(case: Case) -> ClosedLoop:
    """Circulation of the case, at the size of the adult heart of its source."""
    section = case.circulation
    loop = ClosedLoop.regazzoni_2022(section.cycle_length)
    systemic = replace(
        loop.systemic, R_ar=section.systemic_resistance, C_ar=section.systemic_compliance
    )
    pulmonary = replace(
        loop.pulmonary, R_ar=section.pulmonary_resistance, C_ar=section.pulmonary_compliance
    )
    return replace(loop, systemic=systemic, pulmonary=pulmonary)


def mean_edge(domain: Domain) -> float:
    """Mean edge length (mm) of the mesh, over the cells; collective."""
    points = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0]]
    owned = points[: domain.mesh.topology.index_map(3).size_local]
    pairs = [(i, j) for i in range(4) for j in range(i)]
    lengths = np.array([np.linalg.norm(owned[:, i] - owned[:, j], axis=1).sum() for i, j in pairs])
    total: float = domain.comm.allreduce(float(lengths.sum()))
    count: int = domain.comm.allreduce(len(owned) * len(pairs))
    return total / count
