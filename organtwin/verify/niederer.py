"""The N-version benchmark of Niederer et al. (2011): activation of a slab of tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.population import Cells
from organtwin.electrophysiology.conductivity import monodomain_conductivity
from organtwin.electrophysiology.diffusion import Mass, Membrane
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.probes import located
from organtwin.electrophysiology.reaction_diffusion import (
    NOT_ACTIVATED,
    Discretisation,
    Interpolation,
    ReactionDiffusion,
    Splitting,
    TimeSteps,
    local_nodes,
)
from organtwin.electrophysiology.stimulus import Box, Stimulus
from organtwin.errors import SolverError

#: Slab (mm), fibres along x.
SIZE = (20.0, 7.0, 3.0)
#: Points P1 to P9 (mm): the corners and the centre.
POINTS = np.array(
    [
        [0, 0, 0], [0, 7, 0], [20, 0, 0], [20, 7, 0],
        [0, 0, 3], [0, 7, 3], [20, 0, 3], [20, 7, 3], [10, 3.5, 1.5],
    ],
    dtype=np.float64,
)  # fmt: skip
NAMES = tuple(f"P{k}" for k in range(1, 10))
#: Time by which the slowest scheme on the coarsest mesh has activated the slab (ms).
LATEST = 200.0


@dataclass(frozen=True)
class Variant:
    """Elements and scheme.

    Attributes:
        name: In the table.
        degree: Of the elements.
        scheme: Discretisation.
    """

    name: str
    degree: int
    scheme: Discretisation


DEFAULT = Variant("P1 blended, mixed (default)", 1, Discretisation())


def _variant(
    degree: int,
    mass: Mass,
    interpolation: Interpolation,
    splitting: Splitting = Splitting.STRANG,
    theta: float = 0.5,
) -> Variant:
    short = {"current": "ICI", "state": "SVI", "mixed": "mixed"}[interpolation]
    name = f"P{degree} {mass}, {short}"
    if splitting is Splitting.GODUNOV:
        name += ", Godunov"
    return Variant(name, degree, Discretisation(mass, splitting, interpolation, theta))


#: All schemes that are offered.
VARIANTS = (
    DEFAULT,
    _variant(1, Mass.CONSISTENT, Interpolation.CURRENT),
    _variant(1, Mass.CONSISTENT, Interpolation.CURRENT, Splitting.GODUNOV, 1.0),
    _variant(1, Mass.BLENDED, Interpolation.CURRENT),
    _variant(1, Mass.LUMPED, Interpolation.CURRENT),
    _variant(1, Mass.CONSISTENT, Interpolation.STATE),
    _variant(1, Mass.LUMPED, Interpolation.STATE),
    _variant(1, Mass.LUMPED, Interpolation.MIXED),
    _variant(2, Mass.CONSISTENT, Interpolation.CURRENT),
    _variant(2, Mass.CONSISTENT, Interpolation.STATE),
)
BY_NAME = {variant.name: variant for variant in VARIANTS}


def slab(
    comm: MPI.Comm, h: float, variant: Variant, dt: float, *, substeps: int = 1
) -> ReactionDiffusion:
    """The problem at rest, on cubes of ``h`` (mm) cut in six.

    Args:
        comm: Communicator.
        h: Edge of the cubes (mm).
        variant: Elements and scheme.
        dt: Time step (ms).
        substeps: Of the cells in the upstroke.
    """
    numbers = [round(length / h) for length in SIZE]
    msh = mesh.create_box(comm, [[0.0, 0.0, 0.0], list(SIZE)], numbers)
    V = fem.functionspace(msh, ("P", variant.degree))
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"), comm, substeps=substeps)
    cells = Cells.uniform(
        kernel, kernel.initial_states()[:, 0], kernel.initial_potential, local_nodes(V)
    )
    along, across = monodomain_conductivity(0.17, 0.62), monodomain_conductivity(0.019, 0.24)
    return monodomain(
        V,
        cells,
        ufl.diag(ufl.as_vector([along, across, across])),
        [Stimulus(Box((0.0, 0.0, 0.0), (1.5, 1.5, 1.5)), strength=50.0, duration=2.0)],
        membrane=Membrane(chi=140.0, C_m=0.01),
        scheme=variant.scheme,
        steps=TimeSteps.fixed(dt),
    )


def activation(
    comm: MPI.Comm, h: float, variant: Variant, dt: float, *, substeps: int = 1
) -> NDArray[np.float64]:
    """Activation times (ms) of P1 to P9, the first crossing of 0 mV.

    Args:
        comm: Communicator.
        h: Edge of the cubes (mm).
        variant: Elements and scheme.
        dt: Time step (ms).
        substeps: Of the cells in the upstroke.

    Raises:
        SolverError: the slab is not activated after 200 ms.

    Source:
        Niederer et al. (2011), Phil. Trans. R. Soc. A 369:4331–4351.
    """
    problem = slab(comm, h, variant, dt, substeps=substeps)
    t = 0.0
    while t < LATEST:
        step = problem.advance(t, t + 1.0)
        if not step.converged:
            break
        t += 1.0
        times = _at_points(problem)
        if (times != NOT_ACTIVATED).all():
            return times
    raise SolverError(
        "slab of Niederer et al.",
        f"not activated at t = {t:g} ms with {variant.name}, h = {h:g} mm, dt = {dt:g} ms.",
        "Refine the mesh, or shorten the time step.",
    )


def _at_points(problem: ReactionDiffusion) -> NDArray[np.float64]:
    """Activation at the points, linear between nodes; `NOT_ACTIVATED` if one of these is not."""
    V = problem.v.function_space
    mine, dofs, weights = located(V, dict(zip(NAMES, POINTS, strict=True)), 1e-6)
    nodal = problem.activation_time.x.array[dofs]
    # A corner of the slab is one node of its element, to which others add nothing.
    counted = weights > 1e-9
    active = (nodal != NOT_ACTIVATED) | ~counted
    own = np.zeros(len(POINTS))
    own[mine] = np.where(active.all(axis=1), (weights * nodal).sum(axis=1), NOT_ACTIVATED)
    found = np.empty_like(own)
    V.mesh.comm.Allreduce(own, found, op=MPI.SUM)
    return found


def extrapolated(fine: float, coarse: float, ratio: float = 2.0) -> float:
    """Limit for h → 0 of a quantity with errors ∝ h², from meshes ``ratio`` apart."""
    return fine + (fine - coarse) / (ratio**2 - 1)
