"""Smooth stresses from those of the elements, and the error that the difference tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import basix
import numpy as np
import ufl
from dolfinx import fem, la
from numpy.typing import NDArray
from scipy.sparse import csr_array

from organtwin.materials.kinematics import Directions, Material
from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.small_strain import small_stress
from organtwin.parallel import total
from organtwin.solve import options

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Entries of a symmetric tensor as six numbers whose scalar product is that of the tensors.
ROWS, COLUMNS = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)
WEIGHTS = np.array([1.0, 1.0, 1.0, *[np.sqrt(2.0)] * 3])
#: Penalty on what is not constant in the polynomial of a patch, over its weight, for linear and
#: quadratic elements: patches of few cells, at a border, are then nearly averages. Our choice.
STIFFENING = {1: 1e-2, 2: 1e-4}
#: Cells worked on at once, which bounds the memory.
CHUNK = 40_000
#: Edges of a tetrahedron.
EDGES = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])


@dataclass(frozen=True)
class ErrorEstimate:
    """Error of a solution in the energy norm ‖e‖² = ∫ σ(e) : ε(e) dx, as estimated.

    Attributes:
        relative: ‖e‖ / √(‖u‖² + ‖e‖²).
        energy: ‖u‖² (µJ), twice the strain energy.
        square: ‖e‖² (µJ).
        of_cell: Part of each own cell in ``square``.
    """

    relative: float
    energy: float
    square: float
    of_cell: Floats


class Recovery:
    """Stress recovered from patches of elements (superconvergent patch recovery).

    Around each vertex a polynomial, linear for linear elements and quadratic for quadratic ones,
    is fitted by least squares to the stresses of the cells there, at their centre or at four
    points. It never sees cells on the other side of a border between regions, where the stress
    jumps; ``jump`` draws such borders within a region too.

    Args:
        problem: Solved; a mesh of straight tetrahedra.
        jump: Cells of one region whose stiffness falls into different steps of this factor are
            kept apart; None keeps regions whole.

    Attributes:
        nodes: σ* (kPa) at the nodes of each own cell, (cells, 4 or 10, 6): entries 11, 22, 33,
            and 23, 13, 12 times √2.

    Source:
        The method is Zienkiewicz & Zhu's (1992), Int. J. Numer. Meth. Engng 33:1331–1364; the
        weights, the treatment of borders and of small patches are our choice.
    """

    def __init__(self, problem: LinearElasticity, *, jump: float | None = None) -> None:
        msh = problem.domain.mesh
        self.problem = problem
        self.degree = problem.V.element.basix_element.degree
        self._vertices = fem.functionspace(msh, ("P", 1))
        count = msh.topology.index_map(3).size_local
        self._cells = self._vertices.dofmap.list[:count].astype(np.int64)
        self._x = self._vertices.tabulate_dof_coordinates()
        self.corners = self._x[self._cells]
        edges = self.corners[:, 1:] - self.corners[:, :1]
        self.volumes = np.abs(np.linalg.det(edges)) / 6
        self.stiffness = cell_stiffness(problem)
        self._points = _points(1 if self.degree == 1 else 2)[0]
        self._samples = cell_stresses(problem, self._points)
        self.nodes = np.zeros((count, 4 if self.degree == 1 else 10, 6))
        for cells in self._groups(jump):
            self._recover(cells)

    def error(self) -> ErrorEstimate:
        """Error estimate of Zienkiewicz and Zhu: σ* − σ in the place of the error; collective.

            ‖e‖² ≈ ∫ (σ* − σ) : C⁻¹ (σ* − σ) dx

        Source:
            Zienkiewicz & Zhu (1987), Int. J. Numer. Meth. Engng 24:337–357.
        """
        points, weights = _points(2 * self.degree)
        shapes = _shapes(self.degree, points)
        found = cell_stresses(self.problem, points)
        squares, energies = np.zeros(len(self._cells)), np.zeros(len(self._cells))
        for some in _chunks(np.arange(len(self._cells))):
            compliance = np.linalg.inv(self.stiffness[some])
            smooth = np.einsum("qn,cni->cqi", shapes, self.nodes[some])
            for stress, into in ((smooth - found[some], squares), (found[some], energies)):
                density = np.einsum("cqi,cij,cqj->cq", stress, compliance, stress, optimize=True)
                into[some] = 6 * self.volumes[some] * (density @ weights)
        comm = self.problem.domain.comm
        square, energy = total(comm, float(squares.sum())), total(comm, float(energies.sum()))
        relative = float(np.sqrt(square / (square + energy))) if square + energy > 0 else 0.0
        return ErrorEstimate(relative, energy, square, squares)

    def _groups(self, jump: float | None) -> Iterator[Integers]:
        """Own cells that share patches; the same number on all ranks."""
        domain = self.problem.domain
        region = np.zeros(len(self._cells), dtype=np.int64)
        own = domain.cell_tags.indices < len(self._cells)
        region[domain.cell_tags.indices[own]] = domain.cell_tags.values[own]
        step = np.zeros(len(region), dtype=np.int64)
        if jump is not None:
            mean = np.trace(self.stiffness, axis1=1, axis2=2)
            step = np.floor(np.log(mean) / np.log(jump)).astype(np.int64)
        pairs = set(zip(region.tolist(), step.tolist(), strict=True))
        for r, s in sorted(set().union(*domain.comm.allgather(pairs))):
            yield np.flatnonzero((region == r) & (step == s))

    def _recover(self, cells: Integers) -> None:
        terms = 4 if self.degree == 1 else 10
        matrix, right = self._normal_equations(cells, terms)
        own = self._vertices.dofmap.index_map.size_local
        penalty = np.zeros((terms, terms))
        penalty[range(1, terms), range(1, terms)] = STIFFENING[self.degree]
        A = matrix[:own] + penalty * matrix[:own, :1, :1]
        A[matrix[:own, 0, 0] == 0.0] = np.eye(terms)
        fit = la.vector(self._vertices.dofmap.index_map, 6 * terms, dtype=np.float64)
        fit.array[: own * 6 * terms] = np.linalg.solve(A, right[:own]).ravel()
        fit.scatter_forward()
        polynomial = fit.array.reshape(-1, terms, 6)
        corners = self._cells[cells]
        self.nodes[cells[:, None], np.arange(4)] = polynomial[corners, 0]
        if self.degree == 1:
            return
        # Basix numbers edges from the last to the first.
        for k, (a, b) in enumerate(EDGES[::-1]):
            ends = corners[:, (a, b)]
            middle = self._x[ends].mean(axis=1, keepdims=True)
            values = _monomials((middle - self._x[ends]) / self._scale[ends, None], terms)
            both = np.einsum("cet,ceti->ci", values, polynomial[ends])
            self.nodes[cells, 4 + k] = both / 2

    def _normal_equations(self, cells: Integers, terms: int) -> tuple[Floats, Floats]:
        """Σ m mᵀ and Σ m σᵀ over the samples around each vertex; ghosts are added up."""
        nodes = self._vertices.dofmap.index_map
        count, width = nodes.size_local + nodes.num_ghosts, terms * (terms + 6)
        sums = la.vector(nodes, width, dtype=np.float64)
        sums.array[:] = 0.0
        table = sums.array.reshape(count, width)
        shapes = _shapes(1, self._points)
        for some in _chunks(cells):
            at = self._cells[some]
            x = np.einsum("qv,cvd->cqd", shapes, self.corners[some])
            off = (x[:, None] - self._x[at][:, :, None]) / self._scale[at, None, None]
            m = _monomials(off, terms)
            rows = np.concatenate(
                [np.einsum("cvqs,cvqt->cvst", m, m).reshape(*at.shape, -1),
                 np.einsum("cvqt,cqi->cvti", m, self._samples[some]).reshape(*at.shape, -1)],
                axis=2,
            )  # fmt: skip
            table += _gather(at, count) @ rows.reshape(-1, width)
        sums.scatter_reverse(la.InsertMode.add)
        table = sums.array.reshape(count, width)
        split = terms * terms
        return table[:, :split].reshape(-1, terms, terms), table[:, split:].reshape(-1, terms, 6)

    @property
    def _scale(self) -> Floats:
        """Length (mm) that patches are measured in: the cube root of the mean cell there."""
        if not hasattr(self, "_lengths"):
            sums = la.vector(self._vertices.dofmap.index_map, 2, dtype=np.float64)
            sums.array[:] = 0.0
            pair = np.column_stack([self.volumes, np.ones(len(self.volumes))])
            table = sums.array.reshape(-1, 2)
            table += _gather(self._cells, len(table)) @ np.repeat(pair, 4, axis=0)
            sums.scatter_reverse(la.InsertMode.add)
            sums.scatter_forward()
            mean = sums.array.reshape(-1, 2)
            self._lengths: Floats = 2 * np.cbrt(mean[:, 0] / np.maximum(mean[:, 1], 1.0))
        return self._lengths


def cell_stresses(problem: LinearElasticity, points: Floats) -> Floats:
    """Stress (kPa) of the elements at points of the reference cell, (own cells, points, 6)."""
    return _at_points(problem, six(problem.stress()), points).reshape(-1, len(points), 6)


def cell_strains(problem: LinearElasticity, points: Floats) -> Floats:
    """Strain of the elements at points of the reference cell, (own cells, points, 6)."""
    strain = ufl.sym(ufl.grad(problem.u))
    return _at_points(problem, six(strain), points).reshape(-1, len(points), 6)


def cell_stiffness(problem: LinearElasticity) -> Floats:
    """Stiffness C (kPa) at the centre of each own cell, (cells, 6, 6), σ = C ε in six numbers."""
    strain = fem.Constant(problem.domain.mesh, np.zeros((3, 3)))

    def stress(material: Material, directions: Directions | None) -> ufl.core.expr.Expr:
        return small_stress(material, strain, directions)

    centre = np.full((1, 3), 0.25)
    expression = _expression(six(problem.of_materials(stress)), centre)
    columns = []
    for unit in tensors(np.eye(6)):
        strain.value[:] = unit
        columns.append(_values(problem, expression))
    return np.stack(columns, axis=-1)


def six(tensor: ufl.core.expr.Expr) -> ufl.core.expr.Expr:
    """Six numbers of a symmetric tensor whose scalar product is that of the tensors."""
    return ufl.as_vector(
        [float(w) * tensor[i, j] for w, i, j in zip(WEIGHTS, ROWS, COLUMNS, strict=True)]
    )


def tensors(numbers: Floats) -> Floats:
    """Symmetric tensors (…, 3, 3) of six numbers each (…, 6)."""
    found = np.zeros((*numbers.shape[:-1], 3, 3))
    entries = numbers / WEIGHTS
    for k, (i, j) in enumerate(zip(ROWS, COLUMNS, strict=True)):
        found[..., i, j] = found[..., j, i] = entries[..., k]
    return found


def _at_points(problem: LinearElasticity, value: ufl.core.expr.Expr, points: Floats) -> Floats:
    return _values(problem, _expression(value, points))


def _expression(value: ufl.core.expr.Expr, points: Floats) -> fem.Expression:
    return fem.Expression(value, points, jit_options=options.jit())


def _values(problem: LinearElasticity, expression: fem.Expression) -> Floats:
    """Values in the own cells, (cells, points × components)."""
    msh = problem.domain.mesh
    cells = np.arange(msh.topology.index_map(3).size_local, dtype=np.int32)
    return np.asarray(expression.eval(msh, cells)).reshape(len(cells), -1)


def _points(degree: int) -> tuple[Floats, Floats]:
    points, weights = basix.make_quadrature(basix.CellType.tetrahedron, degree)
    return np.asarray(points), np.asarray(weights)


def _shapes(degree: int, points: Floats) -> Floats:
    element = basix.create_element(basix.ElementFamily.P, basix.CellType.tetrahedron, degree)
    return np.asarray(element.tabulate(0, points)[0, :, :, 0])


def _monomials(x: Floats, terms: int) -> Floats:
    """1, x, y, z and, of ten, the products of two of them; along a new last axis."""
    one = np.ones((*x.shape[:-1], 1))
    if terms == 4:
        return np.concatenate([one, x], axis=-1)
    products = [x[..., i] * x[..., j] for i in range(3) for j in range(i, 3)]
    return np.concatenate([one, x, np.stack(products, axis=-1)], axis=-1)


def _gather(nodes: Integers, count: int) -> csr_array:
    """Matrix that adds one row per corner of a cell to the corner's node."""
    flat = nodes.ravel()
    return csr_array((np.ones(len(flat)), (flat, np.arange(len(flat)))), shape=(count, len(flat)))


def _chunks(cells: Integers) -> Iterator[Integers]:
    return (cells[i : i + CHUNK] for i in range(0, len(cells), CHUNK))
