"""Conductivity of the tissue, and its tuning to a conduction velocity."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import gmsh
import numpy as np
import ufl
from dolfinx import fem, mesh
from dolfinx.io import gmsh as gmshio
from mpi4py import MPI
from numpy.typing import NDArray
from ufl.core.expr import Expr

from organtwin.cells.kernel import Kernel
from organtwin.cells.population import Cells
from organtwin.electrophysiology.diffusion import Membrane
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import (
    Discretisation,
    TimeSteps,
    local_nodes,
)
from organtwin.electrophysiology.stimulus import Box, Stimulus
from organtwin.errors import InputError
from organtwin.mesh.domain import Domain

Array = NDArray[np.float64]

#: Extra- over intracellular conductivity along and across the fibres.
ALONG, ACROSS = 0.62 / 0.17, 0.24 / 0.019
#: Length of the bar that velocities are measured in, at least (mm).
SHORTEST_BAR = 12.0
#: Velocity below which a wave counts as dead (mm/ms).
SLOWEST = 0.05
#: A wave that gets nowhere for as long as the slowest takes for this part of the bar is dead.
STILL = 0.05
#: Part of the bar's length that a search begins on, with twice the time step: a seventh of the
#: work, and mostly right within a few per cent. The error and the rounds that end it there.
PART, ROUGHLY, ROUNDS = 0.4, 0.01, 6


def monodomain_conductivity(sigma_i: float, sigma_e: float) -> float:
    """Conductivity that makes the monodomain wave run like the bidomain one.

        σ = σᵢ σₑ / (σᵢ + σₑ),   one value per fibre direction

    Args:
        sigma_i: Intracellular conductivity (mS/mm), > 0.
        sigma_e: Extracellular conductivity (mS/mm), > 0.

    Returns:
        Effective conductivity (mS/mm).

    Raises:
        InputError: a conductivity is zero or negative.

    Source:
        Niederer et al. (2011), Phil. Trans. R. Soc. A 369:4331–4351.

    >>> round(monodomain_conductivity(0.17, 0.62), 4)
    0.1334
    """
    if sigma_i <= 0 or sigma_e <= 0:
        raise InputError(
            "monodomain_conductivity",
            f"conductivities {sigma_i} and {sigma_e} mS/mm.",
            "Both must be > 0.",
        )
    return sigma_i * sigma_e / (sigma_i + sigma_e)


@dataclass(frozen=True)
class Conductivity:
    """Conductivity along fibre, sheet and normal, and in the endocardial layer (mS/mm).

    Attributes:
        fibre, sheet, normal: Of the working myocardium.
        endocardial_layer: Of the layer of cells on the endocardium, in all directions; it stands
            for the Purkinje network.
    """

    fibre: float
    sheet: float
    normal: float
    endocardial_layer: float


def bidomain_conductivity(sigma: Conductivity) -> tuple[Conductivity, Conductivity]:
    """σᵢ and σₑ whose parallel sum in each direction is σ; the layer has the fibres' ratio.

        σᵢ = σ (1 + r)/r,   σₑ = σ (1 + r),   r = σₑ/σᵢ of Niederer et al. (2011)

    Args:
        sigma: Monodomain conductivities (mS/mm).

    Source:
        Niederer et al. (2011), Phil. Trans. R. Soc. A 369:4331–4351.

    >>> inner, outer = bidomain_conductivity(Conductivity(0.1334, 0.0176, 0.0176, 1.0))
    >>> round(inner.fibre, 3), round(outer.fibre, 3)
    (0.17, 0.62)
    """
    ratios = np.array([ALONG, ACROSS, ACROSS, ALONG])
    values = np.array([sigma.fibre, sigma.sheet, sigma.normal, sigma.endocardial_layer])
    inner, outer = values * (1 + ratios) / ratios, values * (1 + ratios)
    return Conductivity(*map(float, inner)), Conductivity(*map(float, outer))


def conductivity_tensor(
    domain: Domain,
    sigma: Conductivity,
    f0: fem.Function,
    s0: fem.Function,
    n0: fem.Function,
    *,
    endocardium: tuple[str, ...] = (),
) -> Expr:
    """σ = σ_f f⊗f + σ_s s⊗s + σ_n n⊗n; isotropic in cells that touch the endocardium.

    Args:
        domain: Mesh of the electrophysiology.
        sigma: Conductivities.
        f0: Fibre direction in the cells (piecewise constant).
        s0: Sheet direction.
        n0: Normal direction.
        endocardium: Surfaces that carry the fast layer; none if empty.
    """
    along = (
        sigma.fibre * ufl.outer(f0, f0)
        + sigma.sheet * ufl.outer(s0, s0)
        + sigma.normal * ufl.outer(n0, n0)
    )
    if not endocardium:
        return along
    layer = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)))
    layer.x.array[cells_touching(domain, endocardium)] = 1.0
    return (1 - layer) * along + layer * sigma.endocardial_layer * ufl.Identity(3)


def cells_touching(domain: Domain, surfaces: tuple[str, ...]) -> NDArray[np.int32]:
    """Local cells with a vertex on the surfaces, also where another rank has the facet."""
    V = fem.functionspace(domain.mesh, ("P", 1))
    domain.mesh.topology.create_connectivity(2, 3)
    on_surface = fem.Function(V)
    facets = domain.facets(*surfaces)
    on_surface.x.array[fem.locate_dofs_topological(V, 2, facets, remote=True)] = 1.0
    on_surface.x.scatter_forward()
    touching = on_surface.x.array[V.dofmap.list].max(axis=1) > 0
    return np.flatnonzero(touching).astype(np.int32)


def structured_bar(h: float) -> mesh.Mesh:
    """Bar along x of cubes cut in six; on this rank alone.

    Args:
        h: Mean edge length over the cells (mm).
    """
    # The cubes' sides, the diagonals of their faces and their own: weights as the cells have them.
    side = 6 * h / (3 + 2 * np.sqrt(2) + np.sqrt(3))
    n = max(30, int(np.ceil(SHORTEST_BAR / side)))
    corner = [n * side, 2 * side, 2 * side]
    return mesh.create_box(MPI.COMM_SELF, [[0.0, 0.0, 0.0], corner], [n, 2, 2])


def unstructured_bar(h: float, part: float = 1.0) -> mesh.Mesh:
    """Bar along x whose mesh is made like a heart's: Delaunay, then refined; on this rank alone.

    On coarse meshes of the same mean edge a wave runs up to half as fast again through irregular
    cells as through a structured bar.

    Args:
        h: Mean edge length over the cells (mm).
        part: Of the length.
    """
    bar = _delaunay_bar(round(part * max(30.0, SHORTEST_BAR / h)))
    bar.topology.create_entities(1)
    fine = mesh.refine(bar)[0]
    x = fine.geometry.x[fine.geometry.dofmaps[0]]
    pairs = [(i, j) for i in range(4) for j in range(i)]
    found = np.mean([np.linalg.norm(x[:, i] - x[:, j], axis=1) for i, j in pairs])
    fine.geometry.x[:] *= h / found
    return fine


def _delaunay_bar(length: int) -> mesh.Mesh:
    """Bar of ``length`` × 4 × 4 with edges of about 2, on this rank alone."""
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Verbosity", 0)
        gmsh.option.setNumber("General.NumThreads", 1)
        solid = gmsh.model.occ.addBox(0, 0, 0, length, 4, 4)
        gmsh.model.occ.synchronize()
        gmsh.model.addPhysicalGroup(3, [solid], 1)
        gmsh.option.setNumber("Mesh.MeshSizeMin", 1.8)
        gmsh.option.setNumber("Mesh.MeshSizeMax", 1.8)
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.optimize("Netgen")
        return gmshio.model_to_mesh(gmsh.model, MPI.COMM_SELF, 0, gdim=3).mesh
    finally:
        gmsh.finalize()


def conduction_velocity(
    kernel: Kernel,
    states: Array,
    v: float,
    sigma: tuple[float, float, float],
    bar: mesh.Mesh,
    membrane: Membrane,
    dt: float,
    *,
    scheme: Discretisation,
) -> float:
    """Velocity (mm/ms) of a plane wave along a bar.

    The bar is solved with `monodomain` itself, so that mesh, time step and splitting have the
    same effect as in the heart.

    Args:
        kernel: Cell model.
        states: Its states at rest, shape (n_states,).
        v: Potential at rest (mV).
        sigma: Conductivity along the bar and in the two directions across it (mS/mm).
        bar: Mesh that starts at x = 0 and is longer than wide.
        membrane: Surface-to-volume ratio and capacitance.
        dt: Time step (ms).
        scheme: Discretisation; that of the heart.

    Returns:
        Velocity between 40 % and 80 % of the bar; 0 if the wave does not get there.
    """
    V = fem.functionspace(bar, ("P", 1))
    points = bar.geometry.x
    lower, upper = points.min(axis=0), points.max(axis=0)
    length = upper[0] - lower[0]
    end = (lower[0] + max(0.1 * length, 1.0), upper[1], upper[2])
    stimulus = Stimulus(Box((lower[0], lower[1], lower[2]), end), strength=100.0)
    problem = monodomain(
        V,
        Cells.uniform(kernel, states, v, local_nodes(V)),
        ufl.diag(ufl.as_vector([fem.Constant(bar, s) for s in sigma])),
        [stimulus],
        membrane=membrane,
        scheme=scheme,
        steps=TimeSteps.fixed(dt),
    )
    x = V.tabulate_dof_coordinates()[:, 0] - lower[0]
    between = (x > 0.399 * length) & (x < 0.801 * length)
    reached, since = 0, 0.0
    for i in range(int(np.ceil(length / SLOWEST / 2.0))):
        now = 2.0 * (i + 1)
        problem.advance(2.0 * i, now)
        times = problem.activation_time.x.array
        if (times[between] >= 0).all():
            return float(1 / np.polyfit(x[between], times[between], 1)[0])
        if (count := int((times >= 0).sum())) > reached:
            reached, since = count, now
        elif now - since > STILL * length / SLOWEST:
            break
    return 0.0


@dataclass(frozen=True)
class Tuned:
    """A conductivity and the velocity that was measured with it.

    Attributes:
        sigma: Conductivity (mS/mm).
        velocity: Conduction velocity of a plane wave (mm/ms).
    """

    sigma: float
    velocity: float


def tune(
    kernel: Kernel,
    states: Array,
    v: float,
    velocity: tuple[float, float, float],
    h: float,
    *,
    membrane: Membrane,
    dt: float,
    scheme: Discretisation,
    tolerance: float = 0.01,
    iterations: int = 12,
) -> tuple[Tuned, Tuned, Tuned]:
    """Conductivities of orthotropic tissue that give conduction velocities on a mesh size.

    Along each direction a plane wave runs through an unstructured bar of the whole tissue: on
    coarse meshes the conductivity across a wave's path matters to its velocity. The search begins
    with c ∝ √σ, as in the continuum, and learns from its waves how c depends on σ on this mesh. It
    comes close on a short bar with long time steps, and ends on a long one with those asked for.

    Args:
        kernel: Cell model.
        states: Its states at rest, shape (n_states,).
        v: Potential at rest (mV).
        velocity: c* along fibre, sheet and normal (mm/ms); three equal ones for isotropic tissue.
        h: Mean edge length over the cells (mm).
        membrane: Surface-to-volume ratio and capacitance.
        dt: Time step (ms).
        scheme: Discretisation; that of the heart, or its waves run at another velocity.
        tolerance: Relative error of the velocities at which the search ends.
        iterations: Most rounds on the long bar.

    Raises:
        InputError: no conductivities give these velocities on this mesh.

    Source:
        Costa et al. (2013), Comput. Cardiol. 40:531–534.
    """
    # Directions with equal targets are one, with the same conductivity to the last bit.
    target, first, which = np.unique(velocity, return_index=True, return_inverse=True)

    def on(bar: mesh.Mesh, step: float) -> Callable[[Array], Array]:
        def measure(sigma: Array) -> Array:
            return _velocities(
                kernel, states, v, sigma[which], target[which], bar, membrane, step, scheme
            )[first]

        return measure

    start = _Guess(0.1334 * (target / 0.6) ** 2, 0.5 * np.eye(len(target)))
    rough = _searched(on(unstructured_bar(h, PART), 2 * dt), target, start, ROUGHLY, ROUNDS)
    found = _searched(on(unstructured_bar(h), dt), target, rough.guess, tolerance, iterations)
    if found.reached:
        pairs = zip(found.guess.sigma[which], found.velocity[which], strict=True)
        return tuple(Tuned(float(s), float(c)) for s, c in pairs)  # type: ignore[return-value]
    raise InputError(
        "conduction velocity",
        f"no conductivities give {', '.join(f'{c:g}' for c in velocity)} mm/ms with cells of "
        f"{h:.2g} mm.",
        "Refine the mesh of the electrophysiology, or ask for a faster wave.",
    )


def _velocities(
    kernel: Kernel,
    states: Array,
    v: float,
    sigma: Array,
    target: Array,
    bar: mesh.Mesh,
    membrane: Membrane,
    dt: float,
    scheme: Discretisation,
) -> Array:
    """Velocities along each direction; directions with equal targets have the same."""
    found: dict[tuple[float, ...], float] = {}
    result = np.empty(3)
    for k in range(3):
        turned = np.roll(sigma, -k)
        across = sorted(float(s) for s in turned[1:])
        key = (float(target[k]), float(turned[0]), *across)
        if key not in found:
            found[key] = conduction_velocity(
                kernel, states, v, (turned[0], turned[1], turned[2]), bar, membrane, dt,
                scheme=scheme,
            )  # fmt: skip
        result[k] = found[key]
    return result


@dataclass(frozen=True)
class _Guess:
    """Conductivities σ, and the slopes ∂ log cᵢ / ∂ log σⱼ there, in n directions."""

    sigma: Array
    slopes: Array


@dataclass(frozen=True)
class _Found:
    """Where a search came closest, the velocities there, and whether they are wanted."""

    guess: _Guess
    velocity: Array
    reached: bool


def _searched(
    measure: Callable[[Array], Array],
    target: Array,
    start: _Guess,
    tolerance: float,
    iterations: int,
) -> _Found:
    """Search in log–log for the conductivities whose velocities ``measure`` tells.

    Broyden's method: each wave corrects the slopes, also those across. Where a wave dies, the next
    one is tried half-way to a conductivity that had one.
    """
    sigma, slopes = start.sigma, start.slopes
    # The last conductivities that waves ran with, and that they died with.
    ran, dead = np.zeros_like(sigma), np.zeros_like(sigma)
    before: tuple[Array, Array] | None = None
    closest, least = _Found(start, np.zeros_like(sigma), reached=False), np.inf
    for _ in range(iterations):
        found = measure(sigma)
        runs = (found > 0) & np.isfinite(found)
        excess = np.log(np.where(runs, found, target) / target)
        if before is not None and runs.all():
            slopes = _corrected(slopes, np.log(sigma) - before[0], excess - before[1])
        before = (np.log(sigma), excess) if runs.all() else None
        error = float(np.abs(found / target - 1).max())
        if runs.all() and error < least:
            closest, least = _Found(_Guess(sigma, slopes), found, error < tolerance), error
        if closest.reached:
            break
        dead, ran = np.where(runs, dead, sigma), np.where(runs, sigma, ran)
        revived = np.where(ran > sigma, np.sqrt(ran / sigma), 2.0)
        lowest = np.where(dead < sigma, np.sqrt(dead / sigma), 0.0)
        factor = np.maximum(np.exp(_step(slopes, excess)), lowest)
        sigma = sigma * np.where(runs, factor, revived)
    return closest


def _corrected(slopes: Array, moved: Array, changed: Array) -> Array:
    """The nearest slopes that explain the last change; the same after too short a step."""
    if (np.abs(moved) < 0.02).all():
        return slopes
    return slopes + np.outer(changed - slopes @ moved, moved) / (moved @ moved)


def _step(slopes: Array, excess: Array) -> Array:
    """Change of log σ that takes the excess of log c away, at most fourfold."""
    longest = np.log(4.0)
    with suppress(np.linalg.LinAlgError):
        step = -np.linalg.solve(slopes, excess)
        if (np.abs(step) <= longest).all():
            return np.asarray(step)
    alone = np.clip(np.diag(slopes), 0.3, 4.0)
    return np.asarray(np.clip(-excess / alone, -longest, longest))
