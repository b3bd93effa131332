"""Tissue models of all fidelities on one heart: what each costs, and how far it is off."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.anatomy.fibres import Fibres
from organtwin.cells.kernel import Kernel
from organtwin.cells.pacing import PacedCell
from organtwin.cells.population import Cells
from organtwin.electrophysiology.conductivity import (
    Conductivity,
    bidomain_conductivity,
    conductivity_tensor,
    tune,
)
from organtwin.electrophysiology.diffusion import Membrane
from organtwin.electrophysiology.eikonal import Velocity, slowness
from organtwin.electrophysiology.reaction_diffusion import (
    COARSE,
    NOT_ACTIVATED,
    Discretisation,
    TimeSteps,
    local_nodes,
)
from organtwin.electrophysiology.stimulus import Stimulus
from organtwin.electrophysiology.tissue import Model, Tissue, activate, extracellular
from organtwin.errors import SolverError
from organtwin.mesh.domain import Domain, cellwise_vectors
from organtwin.parallel import on_root, total
from organtwin.verify.geometry import box

Array = NDArray[np.float64]

#: Time by which any heart is activated (ms).
LATEST = 400.0

#: Piece of wall (mm): along, around and through it.
WALL = (20.0, 7.0, 3.0)
#: Angle of its fibres to x at z = 0 and, with the other sign, at the other side (degrees).
HELIX = 60.0


@dataclass(frozen=True)
class Fidelity:
    """One model beside the reference.

    Attributes:
        model: Which.
        rms: Root mean square over nodes of the error of the activation time (ms).
        largest: Largest error (ms).
        offset: Mean error (ms).
        spread: Root mean square without the mean (ms): the error of the sequence.
        total: Time at which the last node is activated (ms).
        set_up: CPU time of assembly, hierarchies and travel times, over all ranks (s).
        seconds: CPU time from the stimulus until the last node is activated, over all ranks (s).
        ratio: Of ``seconds`` to the monodomain's, NaN without it.
    """

    model: Model
    rms: float
    largest: float
    offset: float
    spread: float
    total: float
    set_up: float
    seconds: float
    ratio: float


@dataclass(frozen=True)
class Run:
    """Activation times (ms) of this rank's own nodes, and CPU times over all ranks (s)."""

    times: Array
    set_up: float
    seconds: float


def wall(comm: MPI.Comm, h: float) -> tuple[Domain, Fibres]:
    """Piece of a ventricle's wall on cubes of ``h`` (mm) cut in six; its fibres turn through it.

    Fine meshes are affordable here, so that errors are those of the models.
    """
    nx, ny, nz = (round(length / h) for length in WALL)
    domain = box(comm, WALL, (nx, ny, nz))
    space = cellwise_vectors(domain)

    def field(name: str, direction: Callable[[Array, Array], list[Array]]) -> fem.Function:
        function = fem.Function(space, name=name)

        def at(x: Array) -> Array:
            angle = np.deg2rad(HELIX) * (1 - 2 * x[2] / WALL[2])
            return np.array(direction(angle, np.zeros_like(angle)))

        function.interpolate(at)
        return function

    return domain, Fibres(
        field("fibre", lambda a, o: [np.cos(a), np.sin(a), o]),
        field("sheet", lambda a, o: [o, o, o + 1]),
        field("normal", lambda a, o: [np.sin(a), -np.cos(a), o]),
    )


def tuned(
    kernel: Kernel,
    cell: PacedCell,
    velocity: Velocity,
    h: float,
    *,
    membrane: Membrane = Membrane(),
    scheme: Discretisation = COARSE,
    dt: float = 0.05,
    comm: MPI.Comm = MPI.COMM_WORLD,
) -> Conductivity:
    """Monodomain conductivities that give the velocities on meshes of ``h``; rank 0 computes.

    Args:
        kernel: Cell model.
        cell: The same, paced.
        velocity: Wanted velocities, those of the eikonal models.
        h: Mean edge length (mm).
        membrane: χ and C_m.
        scheme: Discretisation.
        dt: Time step (ms).
        comm: Communicator.

    Raises:
        InputError: no conductivities give these velocities on this mesh.
    """

    def sigma(wanted: tuple[float, float, float]) -> list[float]:
        found = tune(
            kernel, cell.states, cell.v, wanted, h, membrane=membrane, dt=dt, scheme=scheme
        )
        return [direction.sigma for direction in found]

    def work() -> Conductivity:
        layer = velocity.endocardial_layer
        fibre, sheet, normal = sigma((velocity.fibre, velocity.sheet, velocity.normal))
        return Conductivity(fibre, sheet, normal, sigma((layer, layer, layer))[0])

    return on_root(comm, work)


def heart(
    domain: Domain,
    directions: Fibres,
    kernel: Kernel,
    cell: PacedCell,
    stimuli: Sequence[Stimulus],
    velocity: Velocity,
    sigma: Conductivity,
    *,
    endocardium: tuple[str, ...] = (),
    membrane: Membrane = Membrane(),
) -> Tissue:
    """Tissue with what every model needs; collective.

        σᵢ = σ (1 + r)/r,   σₑ = σ (1 + r),   so that σ = σᵢ σₑ/(σᵢ + σₑ) along each direction

    with the ratios r = σₑ/σᵢ of Niederer et al. (2011).

    Args:
        domain: Mesh.
        directions: Fibre, sheet and normal in its cells.
        kernel: Cell model.
        cell: The same, paced.
        stimuli: Where and when waves begin.
        velocity: Velocities of the eikonal models.
        sigma: Conductivities σ of the monodomain that give them on this mesh.
        endocardium: Surfaces that carry a fast layer; none if empty.
        membrane: χ and C_m.
    """
    f0, s0, n0 = directions.f0, directions.s0, directions.n0
    V = fem.functionspace(domain.mesh, ("P", 1))
    conductivity, sigma_i, sigma_e = (
        conductivity_tensor(domain, part, f0, s0, n0, endocardium=endocardium)
        for part in (sigma, *bidomain_conductivity(sigma))
    )
    return Tissue(
        V,
        cells=Cells.uniform(kernel, cell.states, cell.v, local_nodes(V)),
        paced=cell,
        slowness=slowness(domain, velocity, f0, s0, n0, endocardium=endocardium),
        conductivity=conductivity,
        sigma_i=sigma_i,
        sigma_e=sigma_e,
        stimuli=tuple(stimuli),
        membrane=membrane,
    )


def compare(
    tissue: Tissue,
    models: Sequence[Model] = tuple(Model),
    *,
    reference: Model = Model.BIDOMAIN,
    scheme: Discretisation = COARSE,
    steps: TimeSteps = TimeSteps(),
) -> list[Fidelity]:
    """Activate a tissue by each model and compare with the reference; collective.

    Every model starts from the cells that the tissue started with. The pseudo-bidomain's φₑ is
    solved for every 2 ms.

    Args:
        tissue: With what all the models need.
        models: Which to run, apart from the reference.
        reference: What errors are measured against.
        scheme: Discretisation.
        steps: Time steps.

    Raises:
        InputError: the tissue lacks something.
        SolverError: a node is not activated after 400 ms.

    Returns:
        One for each of the models, in their order, the reference where it stands in it or last.
    """
    wanted = list(dict.fromkeys([*models, reference]))
    runs = {model: _run(model, tissue, scheme, steps) for model in wanted}
    comm = tissue.V.mesh.comm
    monodomain = runs[Model.MONODOMAIN].seconds if Model.MONODOMAIN in runs else np.nan
    return [_measured(comm, model, runs, reference, monodomain) for model in wanted]


def table(found: Sequence[Fidelity]) -> str:
    """Markdown table of a comparison."""
    headings = (
        "model", "RMS error [ms]", "largest [ms]", "mean [ms]", "RMS without mean [ms]",
        "all activated [ms]", "set-up [s]", "run [s]", "of the monodomain's",
    )  # fmt: skip
    rows = [f"| {' | '.join(headings)} |", "|---|" + (len(headings) - 1) * "---:|"]
    rows += [
        f"| {f.model.replace('_', ' ')} | {f.rms:.2f} | {f.largest:.2f} | {f.offset:+.2f} | "
        f"{f.spread:.2f} | {f.total:.1f} | {f.set_up:.1f} | {f.seconds:.2f} | {f.ratio:.3g} |"
        for f in found
    ]
    return "\n".join(rows)


def _run(model: Model, tissue: Tissue, scheme: Discretisation, steps: TimeSteps) -> Run:
    comm = tissue.V.mesh.comm
    own = tissue.V.dofmap.index_map.size_local
    tissue = replace(tissue, cells=_fresh(tissue))
    begun = time.process_time()
    problem = activate(model, tissue, scheme=scheme, steps=steps)
    outside = extracellular(tissue) if model is Model.PSEUDO_BIDOMAIN else None
    ready = time.process_time()
    t = 0.0
    while problem.activated_fraction() < 1.0 and t < LATEST:
        if not problem.advance(t, t + 2.0).converged:
            break
        if outside is not None:
            outside.solve(problem.v)
        t += 2.0
    seconds = total(comm, time.process_time() - ready)
    if problem.activated_fraction() < 1.0:
        raise SolverError(
            f"{model} model",
            f"{100 * problem.activated_fraction():.1f} % of the nodes are activated at {t:g} ms.",
            "Look whether conductivities and stimuli fit the mesh.",
        )
    return Run(problem.activation_time.x.array[:own].copy(), total(comm, ready - begun), seconds)


def _fresh(tissue: Tissue) -> Cells | None:
    """Cells of their own, as those of the tissue were at the start."""
    if not isinstance(tissue.cells, Cells):
        return None
    return Cells(tissue.cells.populations, local_nodes(tissue.V))


def _measured(
    comm: MPI.Comm,
    model: Model,
    runs: Mapping[Model, Run],
    reference: Model,
    monodomain: float,
) -> Fidelity:
    run = runs[model]
    error = run.times - runs[reference].times
    n = comm.allreduce(len(error))
    offset = total(comm, float(error.sum())) / n
    square = total(comm, float((error**2).sum())) / n
    return Fidelity(
        model,
        rms=float(np.sqrt(square)),
        largest=comm.allreduce(float(np.abs(error).max(initial=0.0)), op=MPI.MAX),
        offset=offset,
        spread=float(np.sqrt(max(0.0, square - offset**2))),
        total=comm.allreduce(float(run.times.max(initial=NOT_ACTIVATED)), op=MPI.MAX),
        set_up=run.set_up,
        seconds=run.seconds,
        ratio=run.seconds / monodomain,
    )
