"""From the sections of a case to the electrical activity of the heart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from dolfinx import fem
from numpy.typing import NDArray
from ufl.core.expr import Expr

from organtwin.anatomy.coordinates import Coordinates, coordinates
from organtwin.anatomy.fibres import Fibres
from organtwin.anatomy.landmarks import activation_sites
from organtwin.anatomy.leads import lead_site
from organtwin.anatomy.purkinje import LEFT, RIGHT, Tree, purkinje_tree
from organtwin.case.infarcts import conduction, squared
from organtwin.case.last_beat import LastBeat
from organtwin.case.schema import Case
from organtwin.case.schema_electrical import Electrophysiology, Pacing
from organtwin.cells.drugs import Dose, Drug, blocked
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import PacedCell, pace
from organtwin.cells.population import Cells
from organtwin.electrophysiology.beats import Beats
from organtwin.electrophysiology.conductivity import (
    Conductivity,
    Tuned,
    bidomain_conductivity,
    conductivity_tensor,
)
from organtwin.electrophysiology.diffusion import Membrane
from organtwin.electrophysiology.ecg import (
    PseudoECG,
    given_electrodes,
    lead_voltages,
    standing_adult,
)
from organtwin.electrophysiology.eikonal import Eikonal, Slowness, Velocity, slowness, stimulated
from organtwin.electrophysiology.heterogeneity import Bands, RegionCells, cells_on
from organtwin.electrophysiology.junctions import JunctionMap
from organtwin.electrophysiology.prescribed import PrescribedActivation
from organtwin.electrophysiology.purkinje import (
    Cable,
    PurkinjeDrive,
    PurkinjeNetwork,
    tune_cable,
)
from organtwin.electrophysiology.purkinje import Pacing as RootPacing
from organtwin.electrophysiology.purkinje_times import Conduction, tissue_at_junctions
from organtwin.electrophysiology.purkinje_times import activate as excite
from organtwin.electrophysiology.reaction_diffusion import (
    COARSE,
    ReactionDiffusion,
    TimeSteps,
    local_nodes,
)
from organtwin.electrophysiology.stimulus import Balls, Drive, Stimulus
from organtwin.electrophysiology.tissue import Model, Tissue, activate
from organtwin.mesh.domain import Domain
from organtwin.parallel import on_root

Array = NDArray[np.float64]

#: Surfaces that carry the fast endocardial layer.
ENDOCARDIA = ("lv_endo", "rv_endo")
#: Radius of the muscle that a Purkinje junction touches (mm).
JUNCTION = 1.0
#: Of the heart, and of the bars that its conductivities are tuned on.
SCHEME = COARSE
#: Longest step of a Purkinje tree in upstrokes (ms).
NETWORK_STEP = 0.05
_EIKONAL = (Model.EIKONAL, Model.REACTION_EIKONAL, Model.REACTION_EIKONAL_DIFFUSION)


@dataclass(frozen=True)
class Electrical:
    """The electrical heart, ready to be advanced.

    Attributes:
        ep: The process.
        domain: Its mesh.
        fibres: Directions in the cells of the mesh.
        beats: Times of the last beat of each node.
        last_beat: Activations of the last beat of the heart.
        leads: Voltages (mV) of the twelve leads at present; collective.
        tree: Purkinje tree, if there is one.
    """

    ep: ReactionDiffusion | PrescribedActivation
    domain: Domain
    fibres: Fibres
    beats: Beats
    last_beat: LastBeat
    leads: Callable[[], Mapping[str, float]]
    tree: Tree | None


def electrical(
    case: Case,
    coarse: Domain,
    fine: Domain,
    fibres: Fibres,
    cell: PacedCell,
    sigma: Conductivity,
    *,
    at: Coordinates | None = None,
    begun: float = 0.0,
) -> Electrical:
    """Electrical activity of a case; collective.

    Args:
        case: The case.
        coarse: Mesh of the mechanics, which has the landmarks.
        fine: Mesh of the electrophysiology.
        fibres: Directions in the cells of ``fine``.
        cell: Paced cell of the case's ionic model.
        sigma: Tuned conductivities.
        at: Coordinates on ``coarse``, if they are known.
        begun: When its clock began (ms), for the recorded times.
    """
    section = case.electrophysiology
    at = at if at is not None else coordinates(coarse, degree=2)
    V = fem.functionspace(fine.mesh, ("P", 1))
    model = Model(section.model)
    ways = _ways(case, coarse, fine, fibres, sigma, at)
    stimuli, tree = _stimuli(case, coarse, at), _tree(section, coarse, at)
    tissue = Tissue(
        V,
        cells=None if model is Model.EIKONAL else _cells(case, V, fine, cell),
        paced=_traced(case, fine, cell) if model is Model.EIKONAL else None,
        slowness=ways.slowness,
        conductivity=ways.conductivity,
        sigma_i=ways.sigma_i,
        sigma_e=ways.sigma_e,
        stimuli=stimuli,
        sources=_sources(section, V, ways.slowness, tree, stimuli),
        membrane=membrane(section),
        period=case.circulation.cycle_length,
    )
    beats = Beats(local_nodes(V), fine.comm, begun=begun)
    last_beat = LastBeat(local_nodes(V), case.circulation.cycle_length, begun)
    ep = activate(
        model, tissue, scheme=SCHEME, steps=TimeSteps(shortest=section.time_step),
        drives=_drives(case, V, tree, cell) if ways.slowness is None else (),
        recorders=(beats, last_beat), domain=fine,
    )  # fmt: skip
    ecg = PseudoECG(V, ways.conductivity, _electrodes(section, coarse))
    return Electrical(ep, fine, fibres, beats, last_beat, partial(_leads, ecg, ep), tree)


@dataclass(frozen=True)
class _Ways:
    """How the tissue conducts, infarcts included.

    Attributes:
        conductivity, sigma_i, sigma_e: Monodomain, intra- and extracellular tensors (mS/mm).
        slowness: For the eikonal models, None for the others.
    """

    conductivity: Expr
    sigma_i: Expr
    sigma_e: Expr
    slowness: Slowness | None


def _ways(
    case: Case, coarse: Domain, fine: Domain, fibres: Fibres, sigma: Conductivity, at: Coordinates
) -> _Ways:
    section = case.electrophysiology
    layer = ENDOCARDIA if section.purkinje is None else ()
    directions = (fibres.f0, fibres.s0, fibres.n0)
    whole, sigma_i, sigma_e = (
        conductivity_tensor(fine, part, *directions, endocardium=layer)
        for part in (sigma, *bidomain_conductivity(sigma))
    )
    travel = None
    if Model(section.model) in _EIKONAL:
        wanted = section.conduction_velocity
        velocity = Velocity(wanted.fibre, wanted.sheet, wanted.normal, wanted.endocardial_layer)
        travel = slowness(fine, velocity, *directions, endocardium=layer)
    factor = conduction(case.mechanics, fine, coarse, at)
    if factor is None:
        return _Ways(whole, sigma_i, sigma_e, travel)
    share = squared(fine, factor)
    slowed = travel.slowed(factor) if travel is not None else None
    return _Ways(share * whole, share * sigma_i, share * sigma_e, slowed)


def _electrodes(section: Electrophysiology, domain: Domain) -> Mapping[str, Array]:
    if section.electrodes:
        return given_electrodes(domain, section.electrodes)
    return standing_adult(domain)


def _leads(ecg: PseudoECG, ep: ReactionDiffusion | PrescribedActivation) -> Mapping[str, float]:
    return lead_voltages(ecg(ep.v))


def further_models(case: Case) -> list[tuple[CellModel, float]]:
    """Models in use besides the case's own in health, and their longest step in an upstroke (ms).

    Args:
        case: The case.
    """
    section = case.electrophysiology
    wanted = [(name, section.time_step) for name in section.muscle]
    if section.purkinje is not None and Model(section.model) not in _EIKONAL:
        name = section.purkinje.ionic_model or section.ionic_model
        wanted.append((name, min(section.time_step, NETWORK_STEP)))
    if section.drug is None:
        wanted = [(name, dt) for name, dt in wanted if name != section.ionic_model]
    return [(drugged(section, CellModel.load(name)), dt) for name, dt in dict.fromkeys(wanted)]


def drugged(section: Electrophysiology, model: CellModel) -> CellModel:
    """A model under the case's drug; currents that it lacks are left out."""
    if section.drug is None:
        return model
    drug = Drug.load(section.drug.name)
    missing = [current for current in drug.blocks if current not in model.currents]
    return blocked(model, drug.without(*missing), section.drug.concentration)


def _settled(case: Case, model: CellModel) -> PacedCell:
    """The cell after the case's beats; on one rank."""
    section = case.electrophysiology
    kernel = compile_kernel(model, substeps=section.substeps)
    return pace(kernel, cycle_length=case.circulation.cycle_length, beats=section.pacing_beats)


def _traced(case: Case, domain: Domain, cell: PacedCell) -> PacedCell:
    """The cell whose trace all nodes follow: the case's own, or what a drug makes of it."""
    section = case.electrophysiology
    if section.drug is None:
        return cell
    model = drugged(section, CellModel.load(section.ionic_model))
    return on_root(domain.comm, lambda: _settled(case, model))


def membrane(section: Electrophysiology) -> Membrane:
    """Surface-to-volume ratio and capacitance."""
    return Membrane(chi=section.surface_to_volume, C_m=section.membrane_capacitance)


def _stimuli(case: Case, domain: Domain, at: Coordinates) -> tuple[Stimulus, ...]:
    section, period = case.electrophysiology, case.circulation.cycle_length
    early = section.activation
    stimuli = [
        Stimulus(
            Balls({f"pacing lead {k + 1}": _place(lead, domain, at)}, lead.radius),
            lead.strength, lead.duration, lead.onsets, period,
        )
        for k, lead in enumerate(section.pacing)
    ]  # fmt: skip
    if early.sites and section.purkinje is None:
        sites = Balls(activation_sites(domain, at, early.sites), early.radius)
        stimuli.append(Stimulus(sites, early.strength, early.duration, period=period))
    return tuple(stimuli)


def _place(lead: Pacing, domain: Domain, at: Coordinates) -> Array:
    """Where a lead is (mm)."""
    return lead_site(domain, at.axis, lead.site) if lead.site else np.array(lead.at)


def _cells(case: Case, V: fem.FunctionSpace, domain: Domain, cell: PacedCell) -> Cells:
    """The paced cell everywhere, or the layers and what a drug makes of them."""
    section = case.electrophysiology
    own = CellModel.load(section.ionic_model)
    layers, drug = section.layers, section.drug
    if layers is None and drug is None:
        kernel = compile_kernel(own, domain.comm, substeps=section.substeps)
        return Cells.uniform(kernel, cell.states, cell.v, local_nodes(V))
    model: CellModel | Bands = own
    if layers is not None:
        names = (layers.endocardium, layers.middle, layers.epicardium)
        epi = coordinates(domain).epi
        borders = (layers.inner_border, layers.outer_border)
        model = Bands(epi, tuple(CellModel.load(name) for name in names), borders)
    doses = (Dose(Drug.load(drug.name), drug.concentration),) if drug is not None else ()
    part = RegionCells(tuple(domain.regions), model)
    return cells_on(
        V, domain, [part], doses=doses, start=partial(_settled, case), substeps=section.substeps
    )


def _tree(section: Electrophysiology, domain: Domain, at: Coordinates) -> Tree | None:
    if section.purkinje is None:
        return None
    seed = section.purkinje.seed
    tree = purkinje_tree(domain, at, left=replace(LEFT, seed=seed), right=replace(RIGHT, seed=seed))
    return tree if section.purkinje.block == "none" else tree.cut(section.purkinje.block)


def _sources(
    section: Electrophysiology,
    V: fem.FunctionSpace,
    travel: Slowness | None,
    tree: Tree | None,
    stimuli: tuple[Stimulus, ...],
) -> tuple[NDArray[np.int32], Array] | None:
    """Where and when a tree excites the muscle of the eikonal models, which leads excite too."""
    if tree is None or travel is None or section.purkinje is None:
        return None
    c = section.purkinje.velocity
    conduction = Conduction(
        {"his": c, "left": c, "right": c}, antegrade_delay=section.purkinje.junction_delay
    )
    junctions = JunctionMap(V, tree, JUNCTION)
    solver, (paced, onsets) = Eikonal(V, travel), stimulated(V, stimuli)

    def arrival(nodes: NDArray[np.int32], times: Array) -> Array:
        return solver.arrival(np.concatenate([nodes, paced]), np.concatenate([times, onsets]))

    muscle = tissue_at_junctions(junctions, arrival)
    nodes, times = junctions.onto_nodes(excite(tree, conduction, muscle).stimuli)
    return nodes, times


def _drives(
    case: Case, V: fem.FunctionSpace, tree: Tree | None, cell: PacedCell
) -> tuple[Drive, ...]:
    """A tree that conducts by itself, joined to the muscle at its junctions.

    Like the muscle's, its conductivity is tuned in health: a drug may slow the wave.
    """
    section, comm = case.electrophysiology, V.mesh.comm
    if tree is None or section.purkinje is None:
        return ()
    velocity = section.purkinje.velocity
    name = section.purkinje.ionic_model or section.ionic_model
    healthy = CellModel.load(name)
    model = drugged(section, healthy)

    def prepare() -> tuple[Tuned, PacedCell]:
        """Conductivity of the tree and the state its cells start from, on one rank."""
        rested = cell if name == section.ionic_model else _settled(case, healthy)
        kernel = compile_kernel(healthy, substeps=section.substeps)
        tuned = tune_cable(kernel, rested.states, rested.v, velocity, dt=NETWORK_STEP)
        return tuned, rested if section.drug is None else _settled(case, model)

    tuned, start = on_root(comm, prepare)
    kernel = compile_kernel(model, comm, substeps=section.substeps)
    network = PurkinjeNetwork(
        comm, tree, kernel, start.states, start.v,
        Cable(dict.fromkeys(("his", "left", "right"), tuned.sigma)),
        RootPacing(period=case.circulation.cycle_length), dt=NETWORK_STEP,
    )  # fmt: skip
    drive = PurkinjeDrive(network, JunctionMap(V, tree, JUNCTION), membrane(section).capacitance)
    return (drive,)
