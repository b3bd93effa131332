"""Tissue models of all fidelities on one mesh, behind one argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from dolfinx import fem
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
    Reaction,
    ReactionDiffusion,
    TimeSteps,
)
from organtwin.electrophysiology.recorders import Recorder
from organtwin.electrophysiology.stimulus import Arrival, Drive, Stimulus
from organtwin.errors import InputError

Array = NDArray[np.float64]


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
    membrane: Membrane = field(default_factory=Membrane)


class NoSpread:
    """Nodes that know nothing of each other."""

    @property
    def state(self) -> Mapping[str, Array]:
        """Nothing."""
        return {}

    def step(self, v: fem.Function, dt: float, load: PETSc.Vec | None = None) -> int:
        """Nothing spreads."""
        return 0


def activate(
    model: Model,
    tissue: Tissue,
    *,
    scheme: Discretisation = Discretisation(),
    steps: TimeSteps = TimeSteps(),
    drives: Sequence[Drive] = (),
    recorders: Sequence[Recorder] = (),
) -> ReactionDiffusion | PrescribedActivation:
    """The electrical activity of a tissue by one of the models, ready to advance; collective.

    Args:
        model: Fidelity.
        tissue: What it is made of.
        scheme: Discretisation.
        steps: Time steps.
        drives: Further things that depolarise cells, such as a Purkinje network.
        recorders: Called after each electrical step.

    Raises:
        InputError: the tissue lacks something that the model needs.

    Source:
        Neic et al. (2017), J. Comput. Phys. 346:191–211 (reaction–eikonal); Bishop & Plank (2011),
        IEEE Trans. Biomed. Eng. 58:1066–1075 (pseudo-bidomain).
    """
    if model is Model.EIKONAL:
        paced = _need(tissue.paced, "paced", model)
        return PrescribedActivation(
            _arrival(model, tissue), paced, period=_period(tissue), recorders=recorders
        )
    cells = _need(tissue.cells, "cells", model)
    if model is Model.REACTION_EIKONAL:
        return ReactionDiffusion(
            tissue.V, cells, NoSpread(), tissue.membrane,
            scheme=scheme, steps=steps, drives=(*drives, _foot(model, tissue)), recorders=recorders,
        )  # fmt: skip
    if model is Model.REACTION_EIKONAL_DIFFUSION:
        return monodomain(
            tissue.V, cells, _need(tissue.conductivity, "conductivity", model),
            membrane=tissue.membrane, scheme=scheme, steps=steps,
            drives=(*drives, _foot(model, tissue)), recorders=recorders,
        )  # fmt: skip
    if model is Model.BIDOMAIN:
        return bidomain(
            tissue.V, cells, _need(tissue.sigma_i, "sigma_i", model),
            _need(tissue.sigma_e, "sigma_e", model), tissue.stimuli,
            membrane=tissue.membrane, scheme=scheme, steps=steps, drives=drives,
            recorders=recorders,
        )  # fmt: skip
    return monodomain(
        tissue.V, cells, _need(tissue.conductivity, "conductivity", model), tissue.stimuli,
        membrane=tissue.membrane, scheme=scheme, steps=steps, drives=drives, recorders=recorders,
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
        raise InputError(f"{model} model", f"the tissue has no `{name}`.", "Give it.")
    return value


def _arrival(model: Model, tissue: Tissue) -> fem.Function:
    solver = Eikonal(tissue.V, _need(tissue.slowness, "slowness", model))
    nodes, times = stimulated(tissue.V, tissue.stimuli)
    if tissue.sources is not None:
        more, later = tissue.sources
        nodes, times = np.concatenate([nodes, more]), np.concatenate([times, later])
    return solver.solve(nodes, times)


def _foot(model: Model, tissue: Tissue) -> Arrival:
    times = _arrival(model, tissue).x.array
    return Arrival(times, tissue.membrane.capacitance, period=_period(tissue))


def _period(tissue: Tissue) -> float:
    return min((stimulus.period for stimulus in tissue.stimuli), default=np.inf)
