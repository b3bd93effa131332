"""Ionic currents of interpolated states, integrated where a front crosses an element."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.resources import files
from typing import Any

import basix
import numpy as np
import ufl
from dolfinx import fem, la
from dolfinx.mesh import Mesh
from numpy.typing import NDArray
from petsc4py import PETSc

from organtwin.cells.population import Cells
from organtwin.electrophysiology.diffusion import LUMPED_SHARE, Mass
from organtwin.errors import InputError
from organtwin.parallel import on_root
from organtwin.solve.native import compiled

Array = NDArray[np.float64]

#: Difference of v within an element above which its currents are integrated (mV).
FRONT = 5.0
#: Elements whose points are evaluated at a time: their states fit into the second-level cache.
CHUNK = 1024
_DOUBLES = np.ctypeslib.ndpointer(dtype=np.float64, flags="C_CONTIGUOUS")
_INTEGERS = np.ctypeslib.ndpointer(dtype=np.int32, flags="C_CONTIGUOUS")


class StateInterpolation:
    """What integrating the ionic currents adds to interpolating them (SVI to ICI).

        bᵢ = w Δt Σ_elements [ ∫ f(v_h, y_h) φᵢ dx − Σⱼ M_ij f(vⱼ, yⱼ) ],   f = −I_ion/C_m

    over the elements in which v varies by more than 5 mV; elsewhere both are the same to a
    fraction of that. In elements between cells of different models currents are interpolated.

    Args:
        V: Space of the potential.
        cells: Cells at its nodes.
        mass: Mass matrix of the time derivative.
        share: w, 1 for integrated currents alone.
        dx: Where the tissue is.

    Raises:
        InputError: the elements are no simplices.

    Source:
        Pathmanathan et al. (2011), Int. J. Numer. Meth. Biomed. Eng. 27:1863–1882.
    """

    def __init__(
        self, V: fem.FunctionSpace, cells: Cells, mass: Mass, share: float, dx: ufl.Measure = ufl.dx
    ) -> None:
        if not V.mesh.basix_cell().name.endswith(("interval", "triangle", "tetrahedron")):
            raise InputError(
                "integrated currents",
                f"cells are {V.mesh.basix_cell().name}s.",
                "Use simplices, or `Interpolation.CURRENT`.",
            )
        self._load = fem.Function(V)
        tissue = _is_tissue(V.mesh, dx)
        element = V.element.basix_element
        points, weights = basix.make_quadrature(V.mesh.basix_cell(), 2 * element.degree)
        phi = element.tabulate(0, points)[0, :, :, 0]
        test = weights[:, None] * phi
        M = phi.T @ test
        lumped = LUMPED_SHARE[mass]
        M = (1 - lumped) * M + lumped * np.diag(M.sum(axis=1))
        source = _source(M.shape[0], len(points))
        library = on_root(V.mesh.comm, lambda: str(compiled(source)))
        self._fronts = [
            _Front(V, cells, k, _Rule(phi, share * test, share * M, _functions(library)), tissue)
            for k in range(len(cells.populations))
        ]

    def load(self, v: Array, dt: float) -> PETSc.Vec:
        """Δt times the correction, as a load vector; collective."""
        b = self._load.x.array
        b[:] = 0.0
        for front in self._fronts:
            front.add(v, dt, b)
        self._load.x.scatter_reverse(la.InsertMode.add)
        return self._load.x.petsc_vec


class _Rule:
    """Quadrature on the reference element, and the loops compiled for its size."""

    def __init__(self, phi: Array, test: Array, M: Array, native: Any) -> None:
        self.phi = np.ascontiguousarray(phi.T)
        self.test = np.ascontiguousarray(test)
        self.M = np.ascontiguousarray(M)
        self.native = native


class _Front:
    """Elements of the tissue whose nodes all have cells of one population."""

    def __init__(
        self,
        V: fem.FunctionSpace,
        cells: Cells,
        population: int,
        rule: _Rule,
        tissue: NDArray[np.bool_],
    ) -> None:
        self._rule = rule
        self._states = cells.states(population)
        self._fields = cells.fields(population)
        self._kernel = cells.populations[population].kernel
        nodes = cells.populations[population].nodes
        msh = V.mesh
        owned = msh.topology.index_map(msh.topology.dim).size_local
        n = V.dofmap.index_map.size_local + V.dofmap.index_map.num_ghosts
        # Where a node of the mesh stands among those of the population.
        self._own = np.arange(n, dtype=np.int32)
        if nodes is not None:
            self._own[:] = -1
            self._own[nodes] = np.arange(len(nodes), dtype=np.int32)
        dofs = V.dofmap.list[:owned]
        mine = (self._own[dofs] >= 0).all(axis=1) & tissue
        self._dofs = np.ascontiguousarray(dofs[mine])
        self._own_dofs = np.ascontiguousarray(self._own[self._dofs])
        corners = msh.geometry.x[msh.geometry.dofmaps[0][:owned]][mine]
        self._detJ = _scale(corners[:, 1:] - corners[:, :1])
        self._found = np.empty(len(self._dofs), dtype=np.int32)
        self._place = np.full(n, -1, dtype=np.int32)
        self._nodes = np.empty(n, dtype=np.int32)

    def add(self, v: Array, dt: float, b: Array) -> None:
        """Add the correction of the elements that a front is in to b."""
        native = self._rule.native
        m = native.front(self._dofs, len(self._dofs), v, FRONT, self._found)
        if m == 0:
            return
        front = self._found[:m]
        n = native.nodes_of(self._dofs, front, m, self._place, self._nodes)
        nodes = self._nodes[:n]
        f_nodes = self._at_nodes(v, nodes)
        for start in range(0, m, CHUNK):
            cells = front[start : start + CHUNK]
            native.add_difference(
                self._dofs, cells, len(cells), self._at_points(v, cells), f_nodes, self._place,
                self._rule.test, self._rule.M, self._detJ, dt, b,
            )  # fmt: skip
        self._place[nodes] = -1

    def _at_nodes(self, v: Array, nodes: NDArray[np.int32]) -> Array:
        own = self._own[nodes]
        y = np.ascontiguousarray(self._states[:, own])
        return self._current(y, v[nodes], [field[own] for field in self._fields])

    def _at_points(self, v: Array, cells: NDArray[np.int32]) -> Array:
        y = self._interpolated(self._own_dofs, cells, self._states)
        v_h = self._interpolated(self._dofs, cells, v[None])[0]
        fields = [self._interpolated(self._own_dofs, cells, row[None])[0] for row in self._fields]
        return self._current(y, v_h, fields)

    def _current(self, y: Array, v: Array, fields: list[Array]) -> Array:
        f = np.empty_like(v)
        self._kernel.current(y, v, f, fields)
        return f

    def _interpolated(
        self, dofs: NDArray[np.int32], cells: NDArray[np.int32], rows: Array
    ) -> Array:
        phi = self._rule.phi
        out = np.empty((len(rows), len(cells) * phi.shape[1]))
        self._rule.native.at_points(dofs, cells, len(cells), rows, *rows.shape, phi, out)
        return out


def _is_tissue(msh: Mesh, dx: ufl.Measure) -> NDArray[np.bool_]:
    """Which of this rank's own cells a measure covers."""
    owned = msh.topology.index_map(msh.topology.dim).size_local
    number = dx.subdomain_id()
    if number == "everywhere":
        return np.ones(owned, dtype=bool)
    tags = dx.subdomain_data()
    wanted = number if isinstance(number, tuple) else (number,)
    found = tags.indices[np.isin(tags.values, wanted)]
    covered = np.zeros(owned, dtype=bool)
    covered[found[found < owned]] = True
    return covered


def _scale(edges: Array) -> Array:
    """|J| of affine cells from the edges at their first vertex, shape (cells, dim, 3)."""
    gram = np.einsum("cik,cjk->cij", edges, edges)
    return np.asarray(np.sqrt(np.linalg.det(gram)))


def _source(width: int, points: int) -> str:
    code = (files("organtwin.electrophysiology") / "interpolation.c").read_text("utf-8")
    return f"#define WIDTH {width}\n#define POINTS {points}\n{code}"


@cache
def _functions(library: str) -> Any:
    code = ctypes.CDLL(library)
    size, number = ctypes.c_size_t, ctypes.c_double
    code.front.argtypes = [_INTEGERS, size, _DOUBLES, number, _INTEGERS]
    code.front.restype = size
    code.nodes_of.argtypes = [_INTEGERS, _INTEGERS, size, _INTEGERS, _INTEGERS]
    code.nodes_of.restype = size
    code.at_points.argtypes = [
        _INTEGERS, _INTEGERS, size, _DOUBLES, size, size, _DOUBLES, _DOUBLES,
    ]  # fmt: skip
    code.at_points.restype = None
    code.add_difference.argtypes = [
        _INTEGERS, _INTEGERS, size, _DOUBLES, _DOUBLES, _INTEGERS, _DOUBLES, _DOUBLES, _DOUBLES,
        number, _DOUBLES,
    ]  # fmt: skip
    code.add_difference.restype = None
    return code
