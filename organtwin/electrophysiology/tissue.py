"""Tissue models of all fidelities on one mesh, behind one argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray
from petsc4py import PETSc
from ufl.core.expr import Expr

from organtwin.cells.pacing import PacedCell
from organtwin.electrophysiology.bidomain import ExtracellularPotential, bidomain
from organtwin.electrophysiology.diffusion import Membrane
from organtwin.electrophysiology.eikonal import Eikonal, Slowness, stimulated
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.prescribed import PrescribedActivation
from organtwin.electrophysiology.reaction_diffusion import (
    Discretisation,
    Interpolation,
    Reaction,
    ReactionDiffusion,
    TimeSteps,
)
from organtwin.electrophysiology.recorders import Recorder
from organtwin.electrophysiology.stimulus import Arrival, Drive, Stimulus
from organtwin.errors import InputError
from organtwin.mesh.domain import Domain

Array = NDArray[np.float64]

#: Foot current of the reaction–eikonal models (mV/ms) and its length (ms): the pulse that single
#: cells are paced with. Cells pass 0 mV some 1 ms later, as those under a stimulus do.
FOOT, FOOT_DURATION = 52.0, 1.0


class Model(StrEnum):
    """Fidelity, from the cheapest on."""

    #: Arrival times from conduction velocities; each node follows the trace of a paced cell.
    EIKONAL = "eikonal"
    #: A cell at each node, fired by a current when the eikonal wave arrives; no diffusion.
    REACTION_EIKONAL = "reaction_eikonal"
    #: The same with diffusion, which smooths repolarisation.
    REACTION_EIKONAL_DIFFUSION = "reaction_eikonal_diffusion"
    #: One potential.
    MONODOMAIN = "monodomain"
    #: The monodomain's v, and from it the extracellular potential when it is asked for.
    PSEUDO_BIDOMAIN = "pseudo_bidomain"
    #: Both potentials.
    BIDOMAIN = "bidomain"


@dataclass(frozen=True)
class Tissue:
    """What the models need to know; each takes its part.

    Attributes:
        V: Space of the potential.
        cells: Cells at its nodes (all but the eikonal model).
        paced: Paced cell (eikonal model).
        slowness: Travel times in the cells of the mesh (the eikonal models).
        conductivity: Tensor of the monodomain equation (mS/mm).
        sigma_i: Intracellular conductivity tensor (bidomain models).
        sigma_e: Extracellular conductivity tensor (bidomain models).
        stimuli: Where and when waves begin.
        sources: Local nodes where further waves begin and when (ms), in the eikonal models: what
            a Purkinje tree excites.
        period: Time after which the sources come again (ms); if omitted, with the stimuli, or
            never without any.
        membrane: χ and C_m.
    """

    V: fem.FunctionSpace
    cells: Reaction | None = None
    paced: PacedCell | None = None
    slowness: Slowness | None = None
    conductivity: Expr | None = None
    sigma_i: Expr | None = None
    sigma_e: Expr | None = None
    stimuli: tuple[Stimulus, ...] = ()
    sources: tuple[NDArray[np.int32], Array] | None = None
    period: float | None = None
    membrane: Membrane = field(default_factory=Membrane)


class NoSpread:
    """Nodes that know nothing of each other."""

    @property
    def state(self) -> Mapping[str, Array]:
        """Nothing."""
        return {}

    def step(self, v: fem.Function, dt: float, load: PETSc.Vec | None = None) -> int:
        """Nothing spreads; −1 if a potential is not finite on any rank."""
        finite = bool(np.isfinite(v.x.array).all())
        return 0 if v.function_space.mesh.comm.allreduce(finite, op=MPI.LAND) else -1


def activate(
    model: Model,
    tissue: Tissue,
    *,
    scheme: Discretisation = Discretisation(),
    steps: TimeSteps = TimeSteps(),
    drives: Sequence[Drive] = (),
    recorders: Sequence[Recorder] = (),
    domain: Domain | None = None,
) -> ReactionDiffusion | PrescribedActivation:
    """The electrical activity of a tissue by one of the models, ready to advance; collective.

    Args:
        model: Fidelity.
        tissue: What it is made of.
        scheme: Discretisation.
        steps: Time steps.
        drives: Further things that depolarise cells, such as a Purkinje network.
        recorders: Called after each electrical step.
        domain: Mesh with names, to tell in which region something goes wrong.

    Raises:
        InputError: the tissue lacks something that the model needs, or the stimuli of an eikonal
            model are not one pulse each, with one period.

    Source:
        Neic et al. (2017), J. Comput. Phys. 346:191–211 (reaction–eikonal); Bishop & Plank (2011),
        IEEE Trans. Biomed. Eng. 58:1066–1075 (pseudo-bidomain).
    """
    if model is Model.EIKONAL:
        paced = _need(tissue.paced, "paced", model)
        return PrescribedActivation(
            _arrival(model, tissue), paced, period=_period(model, tissue), recorders=recorders
        )
    cells = _need(tissue.cells, "cells", model)
    if model is Model.REACTION_EIKONAL:
        # Without diffusion there is nothing that currents could be integrated for.
        nodal = replace(scheme, interpolation=Interpolation.CURRENT)
        return ReactionDiffusion(
            tissue.V, cells, NoSpread(), tissue.membrane,
            scheme=nodal, steps=steps, drives=(*drives, _foot(model, tissue)),
            recorders=recorders, domain=domain,
        )  # fmt: skip
    if model is Model.REACTION_EIKONAL_DIFFUSION:
        return monodomain(
            tissue.V, cells, _need(tissue.conductivity, "conductivity", model),
            membrane=tissue.membrane, scheme=scheme, steps=steps,
            drives=(*drives, _foot(model, tissue)),
            recorders=recorders, domain=domain,
        )  # fmt: skip
    if model is Model.PSEUDO_BIDOMAIN:
        _need(tissue.sigma_i, "sigma_i", model)
        _need(tissue.sigma_e, "sigma_e", model)
    if model is Model.BIDOMAIN:
        return bidomain(
            tissue.V, cells, _need(tissue.sigma_i, "sigma_i", model),
            _need(tissue.sigma_e, "sigma_e", model), tissue.stimuli,
            membrane=tissue.membrane, scheme=scheme, steps=steps, drives=drives,

            recorders=recorders, domain=domain,
        )  # fmt: skip
    return monodomain(
        tissue.V, cells, _need(tissue.conductivity, "conductivity", model), tissue.stimuli,
        membrane=tissue.membrane, scheme=scheme, steps=steps, drives=drives,
            recorders=recorders, domain=domain,
    )  # fmt: skip


def extracellular(tissue: Tissue) -> ExtracellularPotential:
    """φₑ of the pseudo-bidomain model, solved from v when it is asked for.

    Raises:
        InputError: the tissue has no conductivities of the bidomain.
    """
    model = Model.PSEUDO_BIDOMAIN
    return ExtracellularPotential(
        tissue.V, _need(tissue.sigma_i, "sigma_i", model), _need(tissue.sigma_e, "sigma_e", model)
    )


def _need[T](value: T | None, name: str, model: Model) -> T:
    if value is None:
        raise InputError(
            f"{model} model", f"the tissue has no `{name}`.", f"Give `{name}` to `Tissue`."
        )
    return value


def _arrival(model: Model, tissue: Tissue) -> fem.Function:
    period = _period(model, tissue)
    solver = Eikonal(tissue.V, _need(tissue.slowness, "slowness", model))
    nodes, times = stimulated(tissue.V, tissue.stimuli)
    if tissue.sources is not None:
        more, later = tissue.sources
        nodes, times = np.concatenate([nodes, more]), np.concatenate([times, later])
    arrival = solver.solve(nodes, times)
    last = tissue.V.mesh.comm.allreduce(float(arrival.x.array.max(initial=0.0)), op=MPI.MAX)
    if last + FOOT_DURATION > period:
        raise InputError(
            f"{model} model",
            f"its wave takes {last:.0f} ms, and comes again after {period:g} ms.",
            "Lengthen the period, or use a model with diffusion.",
        )
    return arrival


def _foot(model: Model, tissue: Tissue) -> Arrival:
    capacitance = tissue.membrane.capacitance
    return Arrival(
        _arrival(model, tissue).x.array, capacitance, strength=FOOT * capacitance,
        duration=FOOT_DURATION, period=_period(model, tissue), comm=tissue.V.mesh.comm,
    )  # fmt: skip


def _period(model: Model, tissue: Tissue) -> float:
    """Time between beats (ms): arrival times tell of one wave, which may come again."""
    periods = {stimulus.period for stimulus in tissue.stimuli}
    periods |= {tissue.period} if tissue.period is not None else set()
    if len(periods) > 1 or any(len(stimulus.onsets) > 1 for stimulus in tissue.stimuli):
        raise InputError(
            f"{model} model",
            "its stimuli have several pulses, or different periods.",
            "Give each one pulse and all one period, or use a model with diffusion.",
        )
    return periods.pop() if periods else np.inf
