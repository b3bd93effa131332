"""Prescribed displacements: whole, by component, or along the normal of a surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import basix
import numpy as np
import ufl
from dolfinx import fem, la, mesh
from mpi4py import MPI
from numpy.typing import NDArray
from petsc4py import PETSc
from ufl.algorithms.analysis import extract_coefficients, extract_constants
from ufl.core.expr import Expr

from organtwin.errors import InputError
from organtwin.mesh.domain import Domain
from organtwin.solve import options

Vector = NDArray[np.float64]
Nodes = NDArray[np.int32]

#: Angle between a facet and the mean normal at its nodes from which a surface has an edge there.
EDGE = np.cos(np.radians(40.0))


@dataclass(frozen=True)
class Dirichlet:
    """Prescribed displacement on a surface.

    Along the normal, each node is held in the direction of the area-weighted mean of the normals
    of the facets that meet there, in the reference configuration. On a plane surface that is the
    normal itself; on a curved one it lets nodes glide in the mean tangent plane.

    Attributes:
        surface: Name.
        value: Displacement (mm) as a UFL expression: three components, or a scalar of the one
            that is prescribed; zero if None. Constants and functions in it may change in time;
            each solve takes their present values.
        component: 0, 1 or 2 if just this component is prescribed.
        normal: Whether just the displacement along the outward normal is prescribed.

    Raises:
        InputError: the attributes contradict each other.
    """

    surface: str
    value: Expr | None = None
    component: int | None = None
    normal: bool = False

    def __post_init__(self) -> None:
        place = f"Dirichlet on `{self.surface}`"
        if self.component not in (None, 0, 1, 2):
            raise InputError(place, f"component = {self.component}.", "It must be 0, 1 or 2.")
        if self.component is not None and self.normal:
            raise InputError(place, "both component and normal.", "Choose one.")
        if self.value is not None and self.value.ufl_shape not in self._shapes():
            raise InputError(
                place,
                f"the value has shape {self.value.ufl_shape}.",
                "Give three components, or a scalar with `component` or `normal`.",
            )

    @property
    def moves(self) -> bool:
        """Whether the value may change in time."""
        value = self.value
        return value is not None and bool(extract_coefficients(value) or extract_constants(value))

    def _shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((3,),) if self.component is None and not self.normal else ((3,), ())


class Supports:
    """All prescribed displacements of a problem, merged node by node.

    Coordinate directions become ordinary conditions on degrees of freedom, where of two on the
    same one the later counts. Other directions (`Skew`) are made orthonormal to what the node is
    held in already.

    Args:
        domain: Mesh with names.
        W: Space of the unknown.
        V: Space of the displacement.
        u_dofs: Index in ``W`` of each (unrolled) degree of freedom of ``V``.
        conditions: In order.
    """

    def __init__(
        self,
        domain: Domain,
        W: fem.FunctionSpace,
        V: fem.FunctionSpace,
        u_dofs: Nodes,
        conditions: Sequence[Dirichlet],
    ) -> None:
        self.moves = any(condition.moves for condition in conditions)
        self._u_dofs = u_dofs
        self._held = [_Held(domain, V, condition) for condition in conditions]
        #: Prescribed displacement where there is one along an axis.
        self.value = fem.Function(V)
        self._dofs, self._from, self._sign = self._along_axes()
        order = np.argsort(u_dofs[self._dofs])
        pair = [u_dofs[self._dofs][order].astype(np.int32), self._dofs[order]]
        some = W.mesh.comm.allreduce(len(self._dofs), op=MPI.SUM)
        self.bcs = [fem.dirichletbc(self.value, pair, W)] if some else []
        skew = self._off_axes()
        some = W.mesh.comm.allreduce(len(skew), op=MPI.SUM)
        self.skew = Skew(W, u_dofs, self._dofs, skew) if some else None
        self.move()

    def move(self) -> None:
        """Take the present values of the prescribed displacements."""
        values = np.concatenate([held.values().ravel() for held in self._held] or [np.zeros(0)])
        self.value.x.array[self._dofs] = self._sign * values[self._from]
        if self.skew is not None:
            self.skew.move(self.value.x.array, values)

    def change(self, w: Vector) -> Vector:
        """What has to be added to the local unknown so that it obeys."""
        change = np.zeros_like(w)
        dofs = self._u_dofs[self._dofs]
        change[dofs] = self.value.x.array[self._dofs] - w[dofs]
        if self.skew is not None:
            self.skew.add_change(change, w)
        return change

    def project(self, vector: PETSc.Vec) -> None:
        """Remove the owned part along the held directions."""
        array = vector.array
        for bc in self.bcs:
            dofs, owned = bc.dof_indices()
            array[dofs[:owned]] = 0.0
        if self.skew is not None:
            self.skew.project(array)

    def _along_axes(self) -> tuple[Nodes, NDArray[np.int64], Vector]:
        """Held dofs of V, where their value stands among all values, and its sign."""
        dofs, places, signs, offset = [], [], [], 0
        for held in self._held:
            node_rows, axis, sign = held.axes()
            dofs.append(3 * held.nodes[node_rows] + axis)
            places.append(offset + node_rows * held.width + (axis if held.width == 3 else 0))
            signs.append(sign)
            offset += len(held.nodes) * held.width
        if not dofs:
            return np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0)
        # Of several conditions on a dof the last counts: the first when read backwards.
        unique, last = np.unique(np.concatenate(dofs)[::-1], return_index=True)
        return (
            unique.astype(np.int32),
            np.concatenate(places)[::-1][last],
            np.concatenate(signs)[::-1][last],
        )

    def _off_axes(self) -> list[tuple[int, Vector, int]]:
        """Node, direction and place of the value of each condition along no axis."""
        found, offset = [], 0
        for held in self._held:
            aligned = np.zeros(len(held.nodes), dtype=bool)
            aligned[held.axes()[0]] = True
            found += [
                (int(held.nodes[row]), held.normals[row], offset + int(row))
                for row in np.flatnonzero(~aligned)
            ]
            offset += len(held.nodes) * held.width
        return found


class Skew:
    """Directions along no axis in which nodes are held: n_k · u = g_k, orthonormal at each node.

    The tangent K then acts in the free directions only, P K P + s Σ n_k n_kᵀ with
    P = I − Σ n_k n_kᵀ and some s > 0; each P and n n^T couples just the three displacements of a
    node, so that no entry is added to K.

    Args:
        W: Space of the unknown.
        u_dofs: Index in ``W`` of each degree of freedom of V.
        axial: Degrees of freedom of V that are held along axes.
        conditions: Node, unit direction, place of the value among all values.
    """

    def __init__(
        self,
        W: fem.FunctionSpace,
        u_dofs: Nodes,
        axial: Nodes,
        conditions: Sequence[tuple[int, Vector, int]],
    ) -> None:
        self.W = W
        is_held = np.zeros(len(u_dofs), dtype=bool)
        is_held[axial] = True
        self._at: dict[int, list[int]] = {}
        directions: list[Vector] = []
        #: Value of direction k = Σ over axes and earlier directions, and the condition's own.
        self._recipes: list[tuple[int, Vector, list[tuple[int, float]], int, float]] = []
        for node, n, place in conditions:
            along = np.where(is_held[3 * node : 3 * node + 3], n, 0.0)
            earlier = [(k, float(n @ directions[k])) for k in self._at.get(node, [])]
            rest = n - along - sum((c * directions[k] for k, c in earlier), np.zeros(3))
            length = float(np.linalg.norm(rest))
            if length < 1e-6:  # held in this direction already
                continue
            self._at.setdefault(node, []).append(len(directions))
            directions.append(rest / length)
            self._recipes.append((node, along, earlier, place, length))
        self.nodes = np.array([recipe[0] for recipe in self._recipes], dtype=np.int32)
        self.directions = np.array(directions).reshape(-1, 3)
        self.dofs = u_dofs[3 * self.nodes[:, None] + np.arange(3)].reshape(-1, 3)
        self.values = np.zeros(len(self.nodes))
        owned = W.dofmap.index_map.size_local * W.dofmap.index_map_bs
        self._owned = self.dofs[:, 0] < owned if len(self.nodes) else np.zeros(0, dtype=bool)

    def move(self, axial: Vector, values: Vector) -> None:
        """Take present values: along axes (of V's dofs), and of all conditions."""
        for k, (node, along, earlier, place, length) in enumerate(self._recipes):
            rest = values[place] - along @ axial[3 * node : 3 * node + 3]
            rest -= sum(c * self.values[j] for j, c in earlier)
            self.values[k] = rest / length

    def add_change(self, change: Vector, w: Vector) -> None:
        """Add what ``w`` lacks in the held directions."""
        gap = self.values - np.einsum("ki,ki->k", self.directions, w[self.dofs])
        np.add.at(change, self.dofs, gap[:, None] * self.directions)

    def project(self, array: Vector) -> None:
        """Remove the held directions from the owned part of a vector."""
        dofs, n = self.dofs[self._owned], self.directions[self._owned]
        along = np.einsum("ki,ki->k", n, array[dofs])
        np.add.at(array, dofs, -along[:, None] * n)

    def constrain(self, K: PETSc.Mat) -> PETSc.Mat:
        """P K P + s Σ n nᵀ, with s the largest entry of K's diagonal; collective."""
        blocks = self._blocks()
        P = self._identity_minus(K, blocks)
        A = K.ptap(P)
        scale = float(np.abs(K.getDiagonal().array).max(initial=0.0))
        scale = self.W.mesh.comm.allreduce(scale, op=MPI.MAX)
        A.setOption(PETSc.Mat.Option.NEW_NONZERO_ALLOCATION_ERR, False)
        for dofs, block in blocks:
            A.setValues(dofs, dofs, scale * block, addv=PETSc.InsertMode.ADD)
        A.assemble()
        P.destroy()
        return A

    def _blocks(self) -> list[tuple[NDArray[np.int32], Vector]]:
        """Global dofs and Σ n nᵀ of each owned node that is held."""
        blocks = []
        for ks in self._at.values():
            if self._owned[ks[0]]:
                n = self.directions[ks]
                blocks.append((_global(self.W, self.dofs[ks[0]]), n.T @ n))
        return blocks

    def _identity_minus(
        self, K: PETSc.Mat, blocks: Sequence[tuple[NDArray[np.int32], Vector]]
    ) -> PETSc.Mat:
        P = PETSc.Mat().createAIJ(K.getSizes(), nnz=3, comm=K.comm)
        start, end = P.getOwnershipRange()
        for i in range(start, end):
            P.setValue(i, i, 1.0)
        P.assemble()
        P.setOption(PETSc.Mat.Option.NEW_NONZERO_LOCATION_ERR, False)
        for dofs, block in blocks:
            P.setValues(dofs, dofs, -block, addv=PETSc.InsertMode.ADD)
        P.assemble()
        return P


class _Held:
    """Nodes of one condition, their normals if it needs them, and its present values."""

    def __init__(self, domain: Domain, V: fem.FunctionSpace, condition: Dirichlet) -> None:
        self.condition = condition
        facets = domain.facets(condition.surface)
        domain.mesh.topology.create_connectivity(2, 3)
        self.nodes: Nodes = np.sort(fem.locate_dofs_topological(V, 2, facets)).astype(np.int32)
        #: Values per node: the displacement, or its part along the normal.
        self.width = 1 if condition.normal else 3
        self.normals = (
            nodal_normals(domain, V, condition.surface)[self.nodes]
            if condition.normal
            else np.zeros((len(self.nodes), 3))
        )
        self._field = fem.Function(V)
        self._expression = self._compiled(V)
        touched = np.isin(V.dofmap.list, self.nodes).any(axis=1)
        self._cells = np.flatnonzero(touched).astype(np.int32)

    def axes(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Vector]:
        """Row, axis and sign of each coordinate direction that a node is held in."""
        rows = np.arange(len(self.nodes))
        if self.condition.normal:
            axis = np.abs(self.normals).argmax(axis=1)
            along = self.normals[rows, axis]
            aligned = np.abs(along) > 1 - 1e-12
            return rows[aligned], axis[aligned], np.sign(along[aligned])
        chosen = self.condition.component
        components = np.arange(3) if chosen is None else np.array([chosen])
        rows, axis = (a.ravel() for a in np.meshgrid(rows, components, indexing="ij"))
        return rows, axis, np.ones(len(rows))

    def values(self) -> Vector:
        """Shape (nodes, width)."""
        if self._expression is not None:
            self._field.interpolate(self._expression, self._cells)
        u = self._field.x.array.reshape(-1, 3)[self.nodes]
        if not self.condition.normal:
            return u
        if self.condition.value is not None and self.condition.value.ufl_shape == ():
            return u[:, :1]
        return np.einsum("ni,ni->n", u, self.normals)[:, None]

    def _compiled(self, V: fem.FunctionSpace) -> fem.Expression | None:
        value = self.condition.value
        if value is None:
            return None
        u = value if value.ufl_shape == (3,) else ufl.as_vector([value, value, value])
        return interpolated(u, V)


def interpolated(u: Expr, V: fem.FunctionSpace) -> fem.Expression:
    """Expression that `fem.Function.interpolate` takes, of plain numbers too."""
    if not ufl.domain.extract_domains(u):
        u = u + fem.Constant(V.mesh, np.zeros(3))
    return fem.Expression(u, V.element.interpolation_points, jit_options=options.jit())


def nodal_normals(domain: Domain, V: fem.FunctionSpace, surface: str) -> Vector:
    """Unit outward normal at the local nodes of ``V`` on a surface, zero elsewhere; collective.

    The mean of the normals of the facets that meet at the node, weighted by their area.

    Raises:
        InputError: facets of the surface meet at an edge, where there is no normal.
    """
    facets, cells, local = _own_facets(domain, surface)
    areas = _area_vectors(domain, facets, cells)
    total = la.vector(V.dofmap.index_map, 3)
    sums = total.array.reshape(-1, 3)
    closures = [V.dofmap.dof_layout.entity_closure_dofs(2, i) for i in range(_facets_of_cell(V))]
    nodes = [V.dofmap.list[c][closures[i]] for c, i in zip(cells, local, strict=True)]
    for area, where in zip(areas, nodes, strict=True):
        sums[where] += area
    total.scatter_reverse(la.InsertMode.add)
    total.scatter_forward()
    length = np.linalg.norm(sums, axis=1)
    normals = np.divide(sums, length[:, None], out=np.zeros_like(sums), where=length[:, None] > 0)
    units = areas / np.linalg.norm(areas, axis=1)[:, None]
    worst = min(
        (float((normals[w] @ n).min()) for w, n in zip(nodes, units, strict=True)), default=1.0
    )
    if domain.comm.allreduce(worst, op=MPI.MIN) < EDGE:
        raise InputError(
            f"Dirichlet on `{surface}`",
            "the surface has an edge, at which it has no normal.",
            "Give its faces names of their own and hold each, or prescribe components.",
        )
    return normals


def _facets_of_cell(V: fem.FunctionSpace) -> int:
    return len(basix.topology(V.mesh.basix_cell())[2])


def _own_facets(domain: Domain, surface: str) -> tuple[Nodes, Nodes, Nodes]:
    """Owned facets of a surface, their cell, and their number in it."""
    topology = domain.mesh.topology
    topology.create_connectivity(2, 3)
    topology.create_connectivity(3, 2)
    facets = domain.facets(surface)
    facets = facets[facets < topology.index_map(2).size_local]
    to_cell, to_facet = topology.connectivity(2, 3), topology.connectivity(3, 2)
    cells = np.array([to_cell.links(f)[0] for f in facets], dtype=np.int32)
    local = [
        int(np.flatnonzero(to_facet.links(c) == f)[0]) for f, c in zip(facets, cells, strict=True)
    ]
    return facets, cells, np.array(local, dtype=np.int32)


def _area_vectors(domain: Domain, facets: Nodes, cells: Nodes) -> Vector:
    """Outward normal times area of facets (mm²), shape (facets, 3)."""
    msh = domain.mesh
    if len(facets) == 0:
        return np.zeros((0, 3))
    x = msh.geometry.x[mesh.entities_to_geometry(msh, 2, facets)]
    if x.shape[1] == 3:
        area = np.cross(x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]) / 2
    else:  # corners in the order of a tensor product
        area = np.cross(x[:, 3] - x[:, 0], x[:, 2] - x[:, 1]) / 2
    outward = x.mean(axis=1) - mesh.compute_midpoints(msh, 3, cells)
    return np.asarray(area * np.sign(np.einsum("fi,fi->f", area, outward))[:, None])


def _global(W: fem.FunctionSpace, dofs: NDArray[np.int32]) -> NDArray[np.int32]:
    bs = W.dofmap.index_map_bs
    blocks = W.dofmap.index_map.local_to_global((dofs // bs).astype(np.int32))
    return (blocks * bs + dofs % bs).astype(np.int32)
