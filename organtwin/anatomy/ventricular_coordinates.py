"""Universal ventricular coordinates: where a place is in any pair of ventricles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import LinearProblem
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.anatomy.coordinates import Coordinates, LongAxis, coordinates, facet_points
from organtwin.errors import SolverError
from organtwin.mesh.domain import Domain
from organtwin.solve import options

type Array = NDArray[np.float64]

#: Rotational coordinate of the insertions of the right ventricle (rad), front and back.
INSERTION = np.pi / 3.0
#: Levels at which the septum's edges are looked for, and the share of its points beyond them (%).
LEVELS, BEYOND = 16, 1.0
#: Weight of the plain gradient beside the derivative along the trajectories.
_REGULARISATION = 1e-3

_KRYLOV = {"ksp_type": "cg", "ksp_rtol": 1e-12, "ksp_max_it": 2000, "pc_type": "gamg"}


@dataclass(frozen=True)
class VentricularCoordinates:
    """Four coordinates of every place in the ventricles.

    Attributes:
        apicobasal: z, 0 at the apex and 1 at the base, even along the way between them; P1.
        transmural: ρ, 0 at the endocardium of the own ventricle, 1 at the epicardium and, in the
            septum, at the right ventricle; DG1.
        rotational: φ (rad), 0 in the middle of the septum, ±π/3 at the anterior and posterior
            insertion of the right ventricle, ±π on the left free wall; DG1. Within a cell across
            the jump it goes on beyond ±π.
        transventricular: ν, −1 in the left ventricle, to which the septum belongs, 1 in the right
            one; DG0.
    """

    apicobasal: fem.Function
    transmural: fem.Function
    rotational: fem.Function
    transventricular: fem.Function


def ventricular_coordinates(
    domain: Domain, *, at: Coordinates | None = None
) -> VentricularCoordinates:
    """Universal ventricular coordinates of a biventricular mesh; collective.

    ρ is a solution of Laplace's equation in each ventricle. For z, the lengths d_a and d_b of the
    trajectories of ∇ψ to apex and base, with ψ the apicobasal Laplace field, are the solutions of

        t · ∇d = ±1,   t = ∇ψ / |∇ψ|,   d = 0 at apex or base,

    in the sense of least squares, and z = d_a / (d_a + d_b). φ is the angle about the long axis,
    stretched so that the insertions of the right ventricle, found level by level, lie at ±π/3.

    Args:
        domain: Ventricles with regions ``lv`` and ``rv`` and surfaces ``lv_endo``, ``rv_endo``,
            ``epi``, ``base``.
        at: Its Laplace coordinates of degree 1 where they are at hand.

    Returns:
        The coordinates, the same on any number of ranks up to the solvers' 1e-12.

    Raises:
        MeshError: a surface is empty.
        SolverError: a solve did not converge.

    Source:
        Bayer et al. (2018), Med. Image Anal. 45:83-93, doi 10.1016/j.media.2018.01.005, for the
        coordinates; Schuler et al. (2021), Med. Image Anal. 74:102247, for trajectory lengths.
    """
    at = at or coordinates(domain)
    left = _in_left(domain)
    rotational = _per_cell(domain, "rotational")
    transmural = _per_cell(domain, "transmural")
    nodes = domain.mesh.geometry.dofmaps[0]
    x = domain.mesh.geometry.x
    edges = SeptalEdges.of(domain, at.axis)
    angle = edges.normalised(at.axis, x[nodes].mean(axis=1))
    each = np.stack([edges.normalised(at.axis, x[nodes[:, k]]) for k in range(4)], axis=1)
    each = angle[:, None] + np.angle(np.exp(1j * (each - angle[:, None])))
    lv, rv = (field.x.array[field.function_space.dofmap.list] for field in (at.lv, at.rv))
    cells = transmural.function_space.dofmap.list
    # Vertices of a cell and its dofs are in the same order for degree 1.
    transmural.x.array[cells] = 1.0 - np.where(left[:, None], lv, rv)
    rotational.x.array[cells] = each
    side = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)), name="transventricular")
    side.x.array[:] = np.where(left, -1.0, 1.0)
    return VentricularCoordinates(_apicobasal(domain, at), transmural, rotational, side)


@dataclass(frozen=True)
class SeptalEdges:
    """Where the right ventricle inserts, level by level.

    Attributes:
        heights: Levels along the long axis, see `LongAxis.height`, (k,).
        front: Angle about the axis of the anterior insertion at each (rad), positive, (k,).
        back: Of the posterior one (rad), negative, (k,).
    """

    heights: Array
    front: Array
    back: Array

    @classmethod
    def of(cls, domain: Domain, axis: LongAxis) -> SeptalEdges:
        """Edges of the septum, from the vertices of the right ventricular side of it."""
        septum = facet_points(domain, "rv_endo", "lv")
        height, angle = axis.height(septum), axis.angle(septum)
        bounds = np.linspace(height.min(), height.max(), LEVELS + 1)
        level = np.clip(np.searchsorted(bounds, height, side="right") - 1, 0, LEVELS - 1)
        found = [k for k in range(LEVELS) if np.count_nonzero(level == k) > 2]
        low, high = np.array(
            [np.percentile(angle[level == k], [BEYOND, 100.0 - BEYOND]) for k in found]
        ).T
        middles = 0.5 * (bounds[1:] + bounds[:-1])[found]
        front, back = (ndimage.gaussian_filter1d(side, 1.0, mode="nearest") for side in (high, low))
        return cls(middles, np.maximum(front, 0.1), np.minimum(back, -0.1))

    def normalised(self, axis: LongAxis, x: Array) -> Array:
        """Angle about the axis, stretched so that the insertions lie at ±π/3 (rad), (n,)."""
        angle, height = axis.angle(x), axis.height(x)
        ahead = angle >= 0.0
        edge = np.where(
            ahead,
            np.interp(height, self.heights, self.front),
            -np.interp(height, self.heights, self.back),
        )
        size = np.abs(angle)
        beyond = INSERTION + (size - edge) * (np.pi - INSERTION) / (np.pi - edge)
        return np.asarray(np.where(ahead, 1.0, -1.0) * np.where(
            size < edge, size / edge * INSERTION, beyond
        ))  # fmt: skip


def _in_left(domain: Domain) -> NDArray[np.bool_]:
    """Cells of the left ventricle, ghosts too."""
    cells = domain.mesh.topology.index_map(3)
    left = np.zeros(cells.size_local + cells.num_ghosts, bool)
    left[domain.cells("lv")] = True
    return left


def _per_cell(domain: Domain, name: str) -> fem.Function:
    return fem.Function(fem.functionspace(domain.mesh, ("DG", 1)), name=name)


def _apicobasal(domain: Domain, at: Coordinates) -> fem.Function:
    """Share of the way from the apex to the base."""
    V = at.apicobasal.function_space
    base = np.asarray(fem.locate_dofs_topological(V, 2, domain.facets("base")), np.int32)
    apex = fem.locate_dofs_geometrical(
        V, lambda x: np.linalg.norm(x.T - at.axis.apex, axis=1) < 1e-6 * at.axis.length
    )
    from_apex, from_base = (
        _length(at.apicobasal, dofs, sign) for dofs, sign in ((apex, 1.0), (base, -1.0))
    )
    result = fem.Function(V, name="apicobasal")
    below, above = (np.maximum(d.x.array, 0.0) for d in (from_apex, from_base))
    result.x.array[:] = below / np.maximum(below + above, 1e-12)
    return result


def _length(psi: fem.Function, start: NDArray[np.int32], sign: float) -> fem.Function:
    """Length of the trajectories of ∇ψ from where they start (mm)."""
    V = psi.function_space
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    gradient = ufl.grad(psi)
    t = gradient / ufl.sqrt(ufl.inner(gradient, gradient) + 1e-20)
    direction = fem.Constant(V.mesh, sign)
    weight = fem.Constant(V.mesh, _REGULARISATION)
    form = (
        ufl.inner(t, ufl.grad(u)) * ufl.inner(t, ufl.grad(v))
        + weight * ufl.inner(ufl.grad(u), ufl.grad(v))
    ) * ufl.dx
    problem = LinearProblem(
        form,
        direction * ufl.inner(t, ufl.grad(v)) * ufl.dx,
        bcs=[fem.dirichletbc(0.0, start, V)],
        petsc_options_prefix="organtwin_trajectories_",
        petsc_options=_KRYLOV,
        jit_options=options.jit(),
    )
    result = problem.solve()
    if problem.solver.getConvergedReason() <= 0:
        raise SolverError(
            "ventricular coordinates",
            "the lengths of the trajectories did not converge.",
            "Check the mesh for parts that no surface touches.",
        )
    result.x.scatter_forward()
    return result
