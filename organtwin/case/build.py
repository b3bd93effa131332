"""From the sections of a case to the nouns of the physics."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.fibres import FibreAngles, Fibres, fibres
from organtwin.anatomy.landmarks import activation_sites
from organtwin.case.schema import Case
from organtwin.case.schema import Guccione as GuccioneSection
from organtwin.cells.kernel import Kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import PacedCell
from organtwin.cells.population import Cells
from organtwin.cells.tension import Land2017
from organtwin.circulation.network import ClosedLoop
from organtwin.coupling.electromechanics import Electromechanics
from organtwin.coupling.transfer import quadrature_space
from organtwin.coupling.ventricles import Myocardium, Support, contracting_ventricles
from organtwin.electrophysiology.conductivity import Conductivity, conductivity_tensor
from organtwin.electrophysiology.diffusion import Membrane
from organtwin.electrophysiology.ecg import PseudoECG, limb_electrodes
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import (
    COARSE,
    ReactionDiffusion,
    TimeSteps,
    local_nodes,
)
from organtwin.electrophysiology.stimulus import Balls, Stimulus
from organtwin.materials.guccione import Guccione
from organtwin.materials.holzapfel_ogden import HolzapfelOgden
from organtwin.materials.kinematics import Directions, Material
from organtwin.mesh.domain import Domain, cellwise_vectors, refine

#: Surfaces that carry the fast endocardial layer.
ENDOCARDIA = ("lv_endo", "rv_endo")


@dataclass(frozen=True)
class Assembly:
    """A heart ready to beat, and what is needed to look at it.

    Attributes:
        heart: The process.
        ep: Its electrophysiology.
        domain: Mesh of the mechanics.
        fine: Mesh of the electrophysiology.
        passive: Passive law, as constants of the mesh.
        coarse_fibres: Directions in the cells of ``domain``.
        fine_fibres: Directions in the cells of ``fine``.
        ecg: Potentials at the limb electrodes.
    """

    heart: Electromechanics
    ep: ReactionDiffusion
    domain: Domain
    fine: Domain
    passive: Material
    coarse_fibres: Fibres
    fine_fibres: Fibres
    ecg: PseudoECG


def assemble(
    case: Case, domain: Domain, cell: PacedCell, sigma: Conductivity, kernel: Kernel
) -> Assembly:
    """Put the heart of a case together on its mesh; collective."""
    fine = refine(domain, case.electrophysiology.refinements).fine
    at = coordinates(domain, degree=2)
    angles = fibre_angles(case)

    def rule(where: Domain, space: fem.FunctionSpace, degree: int) -> Fibres:
        known = at if where is domain else None
        return fibres(where, angles, space, rule=case.fibres.rule, degree=degree, at=known)

    in_points = rule(domain, quadrature_space(domain.mesh, 4, (3,)), 2)
    coarse_fibres = rule(domain, cellwise_vectors(domain), 2)
    fine_fibres = rule(fine, cellwise_vectors(fine), 1) if fine is not domain else coarse_fibres
    tensor = conductivity_tensor(
        fine, sigma, fine_fibres.f0, fine_fibres.s0, fine_fibres.n0, endocardium=ENDOCARDIA
    )
    activation = case.electrophysiology.activation
    stimulus = Stimulus(
        Balls(activation_sites(domain, at, activation.sites), activation.radius),
        strength=activation.strength,
        duration=activation.duration,
        period=case.circulation.cycle_length,
    )
    V = fem.functionspace(fine.mesh, ("P", 1))
    cells = Cells.uniform(kernel, cell.states, cell.v, local_nodes(V))
    steps = TimeSteps(shortest=case.electrophysiology.time_step)
    ep = monodomain(
        V, cells, tensor, [stimulus], membrane=membrane(case), scheme=COARSE, steps=steps
    )
    mechanics, muscle, passive = contracting_ventricles(
        domain, Directions(in_points.f0, in_points.s0, in_points.n0), myocardium(case)
    )
    loop = closed_loop(case)
    heart = Electromechanics(ep, mechanics, muscle, loop, loop.rest())
    ecg = PseudoECG(ep.v.function_space, tensor, limb_electrodes(domain))
    return Assembly(heart, ep, domain, fine, passive, coarse_fibres, fine_fibres, ecg)


def fibre_angles(case: Case) -> FibreAngles:
    """Angles of the case (degrees)."""
    section = case.fibres
    return FibreAngles(section.alpha_endo, section.alpha_epi, section.beta_endo, section.beta_epi)


def membrane(case: Case) -> Membrane:
    """Surface-to-volume ratio and capacitance of the case."""
    section = case.electrophysiology
    return Membrane(chi=section.surface_to_volume, C_m=section.membrane_capacitance)


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


def region_field(domain: Domain) -> fem.Function:
    """Integer of the region of each cell, as a field."""
    region = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)), name="region")
    values: NDArray[np.float64] = region.x.array
    values[domain.cell_tags.indices] = domain.cell_tags.values
    return region
