"""Conductivity of the tissue, and its tuning to a conduction velocity."""

from __future__ import annotations

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
from organtwin.electrophysiology.monodomain import Membrane, Monodomain
from organtwin.electrophysiology.stimulus import Stimulus
from organtwin.errors import InputError
from organtwin.mesh.domain import Domain

#: Length of the bar that velocities are measured in, at least (mm).
SHORTEST_BAR = 12.0
#: Velocity below which a wave counts as dead (mm/ms).
SLOWEST = 0.05


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
    layer.x.array[_cells_touching(domain, endocardium)] = 1.0
    return (1 - layer) * along + layer * sigma.endocardial_layer * ufl.Identity(3)


def _cells_touching(domain: Domain, surfaces: tuple[str, ...]) -> NDArray[np.int32]:
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


def unstructured_bar(h: float) -> mesh.Mesh:
    """Bar along x whose mesh is made like a heart's: Delaunay, then refined; on this rank alone.

    On coarse meshes of the same mean edge a wave runs up to half as fast again through irregular
    cells as through a structured bar.

    Args:
        h: Mean edge length over the cells (mm).
    """
    bar = _delaunay_bar(round(max(30.0, SHORTEST_BAR / h)))
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
    states: NDArray[np.float64],
    v: float,
    sigma: float,
    bar: mesh.Mesh,
    membrane: Membrane,
    dt: float,
    *,
    lumped: bool = False,
) -> float:
    """Velocity (mm/ms) of a plane wave along a bar.

    The bar is solved with `Monodomain` itself, so that mesh, time step and splitting have the
    same effect as in the heart.

    Args:
        kernel: Cell model.
        states: Its states at rest, shape (n_states,).
        v: Potential at rest (mV).
        sigma: Conductivity (mS/mm).
        bar: Mesh that starts at x = 0 and is longer than wide.
        membrane: Surface-to-volume ratio and capacitance.
        dt: Time step (ms).
        lumped: Mass matrix of `Monodomain`.

    Returns:
        Velocity between 40 % and 80 % of the bar; 0 if the wave does not get there.
    """
    points = bar.geometry.x
    length = np.ptp(points[:, 0])
    end = points[np.isclose(points[:, 0], points[:, 0].min())]
    radius = max(0.1 * length, 1.0)
    problem = Monodomain(
        bar,
        kernel,
        states,
        v,
        sigma * ufl.Identity(3),
        Stimulus({f"end {i}": point for i, point in enumerate(end)}, radius, strength=100.0),
        membrane=membrane,
        dt=dt,
        lumped=lumped,
    )
    x = problem.v.function_space.tabulate_dof_coordinates()[:, 0] - points[:, 0].min()
    between = (x > 0.399 * length) & (x < 0.801 * length)
    for i in range(int(np.ceil(length / SLOWEST / 2.0))):
        problem.advance(2.0 * i, 2.0 * (i + 1))
        times = problem.activation_time.x.array
        if (times[between] >= 0).all():
            return float(1 / np.polyfit(x[between], times[between], 1)[0])
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
    states: NDArray[np.float64],
    v: float,
    velocity: float,
    h: float,
    *,
    membrane: Membrane,
    dt: float,
    tolerance: float = 0.01,
    iterations: int = 12,
) -> Tuned:
    """Conductivity that gives a conduction velocity on an unstructured mesh of a given size.

    Fixed point σ ← σ (c*/c)², since c ∝ √σ in the continuum; on coarse meshes c grows faster with
    σ, and the secant in log–log takes that into account.

    Args:
        kernel: Cell model.
        states: Its states at rest, shape (n_states,).
        v: Potential at rest (mV).
        velocity: c* (mm/ms).
        h: Mean edge length over the cells (mm).
        membrane: Surface-to-volume ratio and capacitance.
        dt: Time step (ms).
        tolerance: Relative error of the velocity at which the search ends.
        iterations: Most evaluations.

    Raises:
        InputError: no conductivity gives this velocity on this mesh.

    Source:
        Costa et al. (2013), Comput. Cardiol. 40:531–534.
    """
    bar = unstructured_bar(h)
    exponent = 0.5
    sigma, previous = 0.1334 * (velocity / 0.6) ** 2, None
    for _ in range(iterations):
        found = conduction_velocity(kernel, states, v, sigma, bar, membrane, dt)
        if found > 0 and abs(found / velocity - 1) < tolerance:
            return Tuned(sigma, found)
        if found > 0 and previous is not None:
            old_sigma, old_found = previous
            slope = np.log(found / old_found) / np.log(sigma / old_sigma)
            exponent = float(np.clip(slope, 0.3, 2.0))
        previous = (sigma, found) if found > 0 else None
        factor = (velocity / found) ** (1 / exponent) if found > 0 else 2.0
        sigma *= float(np.clip(factor, 0.25, 4.0))
    raise InputError(
        "conduction velocity",
        f"no conductivity gives {velocity:g} mm/ms with cells of {h:.2g} mm.",
        "Refine the mesh of the electrophysiology, or ask for a faster wave.",
    )
