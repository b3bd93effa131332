"""Ventricular coordinates: transmural and apicobasal Laplace fields, long axis, angle about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import ufl
from dolfinx import fem, la, mesh
from dolfinx.fem.petsc import LinearProblem
from numpy.typing import NDArray

from organtwin.errors import MeshError, SolverError
from organtwin.mesh.domain import Domain
from organtwin.solve import options
from organtwin.solve.assembly import compiled, integral

#: Unit vector of patient coordinates (LPS) that points to the front of the body.
ANTERIOR = np.array([0.0, -1.0, 0.0])

_KRYLOV = {
    "ksp_type": "cg",
    "ksp_norm_type": "unpreconditioned",
    "ksp_rtol": 1e-12,
    "ksp_atol": 1e-50,
    "ksp_max_it": 2000,
    "pc_type": "gamg",
}


@dataclass(frozen=True)
class LongAxis:
    """Axis of the left ventricle and the directions about it (patient coordinates, mm).

    Attributes:
        apex: Epicardial vertex of the left ventricle farthest from the base plane, (3,).
        base: Centre of the left ventricular opening in the base, (3,).
        direction: Unit vector from apex to base, (3,).
        septum: Unit vector across the axis, towards the middle of the septum, (3,).
        front: Unit vector across both, on the anterior side, (3,).
    """

    apex: NDArray[np.float64]
    base: NDArray[np.float64]
    direction: NDArray[np.float64]
    septum: NDArray[np.float64]
    front: NDArray[np.float64]

    @property
    def length(self) -> float:
        """Distance from apex to base (mm)."""
        return float(np.linalg.norm(self.base - self.apex))

    def height(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Height along the axis, 0 at the apex and 1 at the base; ``x`` (n, 3) in mm."""
        return np.asarray((x - self.apex) @ self.direction / self.length)

    def angle(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Angle about the axis (rad), 0 in the middle of the septum, positive in front.

        Args:
            x: Points (n, 3) in mm.

        Returns:
            Angles (n,) in (−π, π].
        """
        r = x - self.apex
        return np.asarray(np.arctan2(r @ self.front, r @ self.septum))


@dataclass(frozen=True)
class Coordinates:
    """Solutions of Laplace's equation on a biventricular domain, and its long axis.

    ``lv`` + ``rv`` + ``epi`` = 1 everywhere. Each is 1 on its own surface (``lv_endo``,
    ``rv_endo``, ``epi``), 0 on the two others and without flux through the base.

    Attributes:
        lv: Closeness to the left ventricular endocardium.
        rv: Closeness to the right ventricular endocardium.
        epi: Closeness to the epicardium.
        apicobasal: 0 at the apex, 1 on the base; only its direction is independent of the mesh.
        axis: The long axis.
    """

    lv: fem.Function
    rv: fem.Function
    epi: fem.Function
    apicobasal: fem.Function
    axis: LongAxis


def coordinates(domain: Domain, *, degree: int = 1) -> Coordinates:
    """Solve for the coordinates; collective.

    Args:
        domain: Ventricles with region ``lv`` and surfaces ``lv_endo``, ``rv_endo``, ``epi``,
            ``base``; without ``rv_endo`` the left ventricle alone.
        degree: Degree of the Lagrange elements; 2 where the wall is only one or two cells thick.

    Returns:
        The fields (the same on any number of ranks up to the solver's 1e-12) and the axis.

    Raises:
        MeshError: a surface is empty.
        SolverError: a solve did not converge.

    Source:
        Bayer et al. (2012), Ann. Biomed. Eng. 40:2243–2254, doi 10.1007/s10439-012-0593-5.
    """
    endocardia = [name for name in ("lv_endo", "rv_endo") if name in domain.surfaces]
    _check_surfaces(domain, (*endocardia, "epi", "base"))
    axis = long_axis(domain)
    V = fem.functionspace(domain.mesh, ("Lagrange", degree))
    dofs = {name: surface_dofs(V, domain.facets(name)) for name in (*endocardia, "epi", "base")}
    # A vertex of two surfaces (the rim of a base that is not flat) belongs to the endocardium.
    lv = laplace(V, {"lv": (dofs["epi"], 0.0)} | _ends(dofs, endocardia, "lv_endo"), "lv")
    rv = fem.Function(V, name="rv")
    if "rv_endo" in endocardia:
        rv = laplace(V, {"rv": (dofs["epi"], 0.0)} | _ends(dofs, endocardia, "rv_endo"), "rv")
    epi = fem.Function(V, name="epi")
    epi.x.array[:] = 1.0 - lv.x.array - rv.x.array
    apex = fem.locate_dofs_geometrical(
        V, lambda x: np.linalg.norm(x.T - axis.apex, axis=1) < 1e-6 * axis.length
    )
    apicobasal = laplace(V, {"base": (dofs["base"], 1.0), "apex": (apex, 0.0)}, "apicobasal")
    return Coordinates(lv, rv, epi, apicobasal, axis)


def long_axis(domain: Domain) -> LongAxis:
    """Long axis of the left ventricle, from the surfaces alone; collective and deterministic.

    The apex is the epicardial vertex of region ``lv`` farthest from the base plane, the axis runs
    from it to the centre of the rim of ``lv_endo``. Without a right ventricle the "septum" is the
    patient's right side.
    """
    n = ufl.FacetNormal(domain.mesh)
    x = ufl.SpatialCoordinate(domain.mesh)
    area = domain.area("base")
    normal = _integrals(domain, n, "base")
    normal /= np.linalg.norm(normal)
    centre = _integrals(domain, x, "base") / area

    wall = facet_points(domain, "epi", "lv")
    depth = np.round((centre - wall) @ normal, 6)
    apex = wall[np.argmax(depth)]  # of equal ones the first by coordinates
    rim = set(map(tuple, facet_points(domain, "lv_endo").tolist()))
    rim &= set(map(tuple, facet_points(domain, "base").tolist()))
    base = np.mean(sorted(rim), axis=0)
    direction = (base - apex) / np.linalg.norm(base - apex)

    septum = np.array([-1.0, 0.0, 0.0])
    if "rv_endo" in domain.surfaces:
        points = facet_points(domain, "rv_endo", "lv")
        if len(points):
            septum = points.mean(axis=0) - apex
    septum = septum - (septum @ direction) * direction
    septum /= np.linalg.norm(septum)
    front = np.cross(direction, septum)
    if front @ ANTERIOR < 0.0:
        front = -front
    return LongAxis(apex, base, direction, septum, front)


def smooth_gradient(u: fem.Function) -> fem.Function:
    """Continuous gradient: averages of the cells' gradients around each vertex; collective.

        g_i = ∫ λ_i ∇u dx / ∫ λ_i dx,   λ_i the hat function of vertex i

    It has no jumps between cells, and none of the vanishing gradients of single cells whose
    vertices all lie on one surface.

    Args:
        u: Scalar Lagrange function.

    Returns:
        Vector P1 function on the same mesh, in units of ``u`` per mm.
    """
    msh = u.function_space.mesh
    W = fem.functionspace(msh, ("Lagrange", 1, (3,)))
    w = ufl.TestFunction(W)
    ones = ufl.as_vector((1.0, 1.0, 1.0))
    load, weight = (
        fem.assemble_vector(compiled(ufl.inner(value, w) * ufl.dx)) for value in (ufl.grad(u), ones)
    )
    result = fem.Function(W)
    for vector in (load, weight):
        vector.scatter_reverse(la.InsertMode.add)
        vector.scatter_forward()
    result.x.array[:] = load.array / weight.array
    return result


def facet_points(domain: Domain, surface: str, region: str | None = None) -> NDArray[np.float64]:
    """Vertices (n, 3) of a surface, all of them on every rank, in an order free of the ranks.

    Args:
        domain: The domain; collective.
        surface: Name of the surface.
        region: Only facets that bound this region.
    """
    facets = domain.facets(surface)
    if region is not None:
        facets = _facets_of_region(domain, facets, region)
    topology = domain.mesh.topology
    topology.create_connectivity(2, 0)
    topology.create_connectivity(0, 3)
    vertices = mesh.compute_incident_entities(topology, facets, 2, 0)
    nodes = mesh.entities_to_geometry(domain.mesh, 0, np.asarray(vertices, dtype=np.int32))
    points = domain.mesh.geometry.x[nodes.ravel()].reshape(-1, 3)
    return np.asarray(np.unique(np.concatenate(domain.comm.allgather(points)), axis=0))


def _ends(
    dofs: Mapping[str, NDArray[np.int32]], endocardia: Sequence[str], on: str
) -> dict[str, tuple[NDArray[np.int32], float]]:
    """Conditions on the endocardia: 1 on the one asked for, 0 on the other."""
    order = sorted(endocardia, key=lambda name: name == on)
    return {name: (dofs[name], float(name == on)) for name in order}


def laplace(
    V: fem.FunctionSpace, values: Mapping[str, tuple[NDArray[np.int32], float]], name: str
) -> fem.Function:
    """Solution of Δu = 0 with values on sets of dofs, no flux elsewhere; collective.

    Args:
        V: Lagrange space.
        values: Name → dofs and the value there; where sets overlap the later one wins.
        name: Of the solution, also for messages.

    Raises:
        SolverError: the solve did not converge.
    """
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    given = fem.Function(V)
    for dofs, value in values.values():
        given.x.array[dofs] = value
    given.x.scatter_forward()
    everything = np.unique(np.concatenate([dofs for dofs, _ in values.values()]))
    result = fem.Function(V, name=name)
    problem = LinearProblem(
        ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx,
        ufl.inner(fem.Constant(V.mesh, 0.0), v) * ufl.dx,
        u=result,
        bcs=[fem.dirichletbc(given, everything.astype(np.int32))],
        petsc_options_prefix=f"organtwin_laplace_{name}_",
        petsc_options=_KRYLOV,
        jit_options=options.jit(),
    )
    problem.solve()
    if problem.solver.getConvergedReason() <= 0:
        raise SolverError(
            "coordinates",
            f"Laplace's equation for `{name}` did not converge.",
            "Check the mesh for parts that no surface touches.",
        )
    result.x.scatter_forward()
    return result


def _check_surfaces(domain: Domain, names: Sequence[str]) -> None:
    for name in names:
        if domain.comm.allreduce(len(domain.facets(name))) == 0:
            raise MeshError("coordinates", f"surface `{name}` has no facets.", "Mesh it again.")


def surface_dofs(V: fem.FunctionSpace, facets: NDArray[np.int32]) -> NDArray[np.int32]:
    """Dofs of a Lagrange space on facets, ghosts too."""
    return np.asarray(fem.locate_dofs_topological(V, 2, facets), dtype=np.int32)


def _integrals(domain: Domain, integrand: ufl.core.expr.Expr, surface: str) -> NDArray[np.float64]:
    ds = domain.ds(surface)
    return np.array([integral(integrand[i] * ds) for i in range(3)])


def _facets_of_region(domain: Domain, facets: NDArray[np.int32], region: str) -> NDArray[np.int32]:
    """Those of the boundary facets whose cell lies in the region."""
    topology = domain.mesh.topology
    topology.create_connectivity(2, 3)
    cells = topology.index_map(3)
    inside = np.zeros(cells.size_local + cells.num_ghosts, dtype=bool)
    inside[domain.cells(region)] = True
    to_cells = topology.connectivity(2, 3)
    return np.array([f for f in facets if inside[to_cells.links(f)].all()], dtype=np.int32)
