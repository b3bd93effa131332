"""The monodomain equation."""

from __future__ import annotations

from collections.abc import Sequence

import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from organtwin.electrophysiology.diffusion import Diffusion, Membrane
from organtwin.electrophysiology.reaction_diffusion import (
    Discretisation,
    Reaction,
    ReactionDiffusion,
    TimeSteps,
)
from organtwin.electrophysiology.recorders import Recorder
from organtwin.electrophysiology.stimulus import Drive, Stimulus
from organtwin.mesh.domain import Domain


def monodomain(
    V: fem.FunctionSpace,
    cells: Reaction,
    conductivity: Expr,
    stimuli: Sequence[Stimulus] = (),
    *,
    membrane: Membrane = Membrane(),
    scheme: Discretisation = Discretisation(),
    steps: TimeSteps = TimeSteps(),
    dx: ufl.Measure = ufl.dx,
    drives: Sequence[Drive] = (),
    recorders: Sequence[Recorder] = (),
    domain: Domain | None = None,
) -> ReactionDiffusion:
    """χ (C_m ∂v/∂t + I_ion(v, y)) = ∇·(σ∇v) + I_stim, with no flux through the boundary.

    Args:
        V: Space of the potential, of linear or quadratic elements.
        cells: Cell models at its nodes.
        conductivity: Tensor σ (mS/mm) in UFL.
        stimuli: Currents from outside.
        membrane: χ and C_m.
        scheme: Discretisation.
        steps: Time steps.
        dx: Where the tissue is.
        drives: Further things that depolarise cells.
        recorders: Called after each electrical step.
        domain: Mesh with names, to tell in which region something goes wrong.

    Source:
        Clayton et al. (2011), Prog. Biophys. Mol. Biol. 104:22–48.
    """
    diffusion = Diffusion(
        V, conductivity, membrane,
        mass=scheme.mass, theta=scheme.theta, dx=dx, tolerance=scheme.tolerance,
    )  # fmt: skip
    return ReactionDiffusion(
        V, cells, diffusion, membrane, stimuli,
        scheme=scheme, steps=steps, drives=drives, recorders=recorders, domain=domain,
        dx=dx,
    )  # fmt: skip
