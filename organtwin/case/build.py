"""From the sections of a case to the nouns of the physics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from dolfinx import fem

from organtwin.anatomy.coordinates import Coordinates, coordinates
from organtwin.anatomy.fibres import FibreAngles, Fibres, fibres
from organtwin.case import schema_tension
from organtwin.case.blood import circulation
from organtwin.case.electrical import Electrical, electrical
from organtwin.case.infarcts import ill
from organtwin.case.schema import Case
from organtwin.case.schema_passive import PassiveLaw
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import PacedCell
from organtwin.cells.prescribed_tension import CurveTension
from organtwin.cells.rdq20 import RDQ20MF
from organtwin.cells.tension import Land2017, TensionModel
from organtwin.coupling.electromechanics import Electromechanics
from organtwin.coupling.feedback import Feedback, StretchActivatedCurrent
from organtwin.coupling.muscle import TensionFeedback
from organtwin.coupling.reference import IMAGE, Held, Reference, Unloaded
from organtwin.coupling.steps import Steps
from organtwin.coupling.transfer import quadrature_space
from organtwin.coupling.ventricles import Myocardium, Support, contracting_ventricles
from organtwin.coupling.wall_motion import WallMotion
from organtwin.electrophysiology.conductivity import Conductivity
from organtwin.materials.guccione import Fung, Guccione, Usyk
from organtwin.materials.holzapfel_ogden import HolzapfelOgden
from organtwin.materials.isotropic import MooneyRivlin, NeoHookean
from organtwin.materials.kinematics import Directions, Material
from organtwin.mechanics.formulation import FORMULATIONS
from organtwin.mesh.domain import Domain, Refinement, cellwise_vectors, refine

#: Laws of a case file by name.
LAWS: Mapping[str, type[Material]] = {
    "holzapfel_ogden": HolzapfelOgden,
    "guccione": Guccione,
    "usyk": Usyk,
    "fung": Fung,
    "neo_hooke": NeoHookean,
    "mooney_rivlin": MooneyRivlin,
}


@dataclass(frozen=True)
class Assembly:
    """A heart ready to beat, and what is needed to look at it.

    Attributes:
        heart: The process.
        electrical: Its electrophysiology.
        domain: Mesh of the mechanics.
        passive: Passive law, as constants of the mesh.
        coarse_fibres: Directions in the cells of ``domain``.
        motion: Measures the left ventricle's wall.
    """

    heart: Electromechanics
    electrical: Electrical
    domain: Domain
    passive: Material
    coarse_fibres: Fibres
    motion: WallMotion


def assemble(
    case: Case, domain: Domain, cell: PacedCell, sigma: Conductivity, *, begun: float = 0.0
) -> Assembly:
    """Put the heart of a case together on its mesh; collective.

    Args:
        case: The case.
        domain: Mesh of the mechanics.
        cell: Paced cell.
        sigma: Tuned conductivities.
        begun: When the heart's clock began (ms).
    """
    at = coordinates(domain, degree=2)
    formulation = FORMULATIONS[case.mechanics.formulation]
    points = quadrature_space(domain.mesh, formulation.quadrature, (3,))
    in_points = _directions(case, domain, points, 2, at)
    coarse_fibres = _directions(case, domain, cellwise_vectors(domain), 2, at)
    refinement = refine(domain, case.electrophysiology.refinements)
    electric = assemble_electrical(
        case, domain, cell, sigma, at=at, coarse_fibres=coarse_fibres, begun=begun,
        refinement=refinement,
    )  # fmt: skip
    mechanics, muscle, passive = contracting_ventricles(
        domain,
        Directions(in_points.f0, in_points.s0, in_points.n0),
        ill(myocardium(case), case.mechanics, domain, at=at),
        formulation=formulation,
        reference=reference_state(case, domain),
        degree=formulation.quadrature,
    )
    loop = circulation(case.circulation)
    heart = Electromechanics(
        electric.ep, mechanics, muscle, loop, loop.rest(),
        refinement=refinement, feedback=electrical_feedback(case), steps=steps(case),
    )  # fmt: skip
    motion = WallMotion(mechanics.displacement, domain, at)
    return Assembly(heart, electric, domain, passive, coarse_fibres, motion)


def assemble_electrical(
    case: Case,
    domain: Domain,
    cell: PacedCell,
    sigma: Conductivity,
    *,
    at: Coordinates | None = None,
    coarse_fibres: Fibres | None = None,
    begun: float = 0.0,
    refinement: Refinement | None = None,
) -> Electrical:
    """Put the electrical heart of a case together; collective.

    Args:
        case: The case.
        domain: Mesh of the mechanics.
        cell: Paced cell.
        sigma: Tuned conductivities.
        at: Coordinates on ``domain``, if they are known.
        coarse_fibres: Directions in the cells of ``domain``, if they are known.
        begun: When its clock began (ms).
        refinement: Of ``domain`` into the mesh of the electrophysiology, if it is made.
    """
    refinement = refinement or refine(domain, case.electrophysiology.refinements)
    fine = refinement.fine
    known = coarse_fibres if fine is domain else None
    fibres = known or _directions(case, fine, cellwise_vectors(fine), 1)
    return electrical(case, domain, fine, fibres, cell, sigma, at=at, begun=begun)


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
    return Myocardium(
        passive=passive_law(section.passive),
        tension=tension_model(section.active),
        cross_fibre_fraction=section.active.cross_fibre_fraction,
        bulk_modulus=section.bulk_modulus,
        viscosity=section.viscosity,
        pericardium=Support(section.pericardium.stiffness, section.pericardium.damping),
        base=Support(section.base.stiffness, section.base.damping),
        shear_modulus=section.shear_modulus,
        feedback=TensionFeedback(section.feedback.stretch, section.feedback.stretch_rate),
    )


def tension_model(section: schema_tension.TensionLaw) -> TensionModel:
    """Active tension of the case."""
    match section:
        case schema_tension.Land2017():
            return Land2017(
                T_ref=section.reference_tension,
                ca50=section.half_activation / 1000,
                n_trpn=section.troponin_cooperativity,
                beta_1=Land2017.beta_1 * section.half_activation / (1000 * Land2017.ca50),
            )
        case schema_tension.RDQ20MF():
            return RDQ20MF(
                a_XB=section.cross_bridge_tension,
                Kd0=section.dissociation / 1000,
                SL0=section.sarcomere_length,
            )
        case schema_tension.PrescribedTension() | schema_tension.Twitch():
            return CurveTension(
                section.curve(),
                threshold=section.threshold,
                repolarised=section.repolarised,
                beta_0=section.length_dependence,
                v_0=section.shortening_velocity or math.inf,
            )


def electrical_feedback(case: Case) -> Feedback:
    """What the electrophysiology of the case feels of the motion."""
    section = case.mechanics.feedback
    current = section.stretch_activated_current
    return Feedback(
        None if current is None else StretchActivatedCurrent(**current.model_dump()),
        conduction=section.conduction,
        tolerance=section.conduction_tolerance,
    )


def steps(case: Case) -> Steps | None:
    """Control of the mechanical steps of the case, None if they are fixed."""
    section = case.mechanics
    if section.steps == "fixed":
        return None
    errors = section.step_error
    return Steps(
        section.time_step / 4, 4 * section.time_step,
        displacement=errors.displacement, pressure=errors.pressure,
    )  # fmt: skip


def passive_law(section: PassiveLaw) -> Material:
    """The law that a section tells the numbers of, by the same names."""
    return LAWS[section.law](**section.model_dump(exclude={"law"}))


def reference_state(case: Case, domain: Domain) -> Reference:
    """Where strain is measured from, not yet found; collective."""
    formulation = FORMULATIONS[case.mechanics.formulation]
    of_image = case.mechanics.fibres_of == "image"
    match case.mechanics.reference_state:
        case "unloaded":
            return Unloaded.sought(domain, formulation, loaded_fibres=of_image)
        case "prestressed":
            return Held.sought(domain, formulation, loaded_fibres=of_image)
    return IMAGE


def mean_edge(domain: Domain) -> float:
    """Mean edge length (mm) of the mesh, over the cells; collective."""
    points = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0]]
    owned = points[: domain.mesh.topology.index_map(3).size_local]
    pairs = [(i, j) for i in range(4) for j in range(i)]
    lengths = np.array([np.linalg.norm(owned[:, i] - owned[:, j], axis=1).sum() for i, j in pairs])
    total: float = domain.comm.allreduce(float(lengths.sum()))
    count: int = domain.comm.allreduce(len(owned) * len(pairs))
    return total / count
