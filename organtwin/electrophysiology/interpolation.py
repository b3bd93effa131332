"""Ionic currents of interpolated states, integrated where a front crosses an element."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.resources import files

import basix
import numpy as np
from dolfinx import fem, la
from numpy.typing import NDArray
from petsc4py import PETSc

from organtwin.cells.population import Cells
from organtwin.electrophysiology.diffusion import Mass
from organtwin.errors import InputError
from organtwin.parallel import on_root
from organtwin.solve.native import compiled

Array = NDArray[np.float64]

#: Difference of v within an element above which its currents are integrated (mV).
FRONT = 2.0
#: Elements whose points are evaluated at a time: their states fit into the second-level cache.
CHUNK = 1024
_DOUBLES = np.ctypeslib.ndpointer(dtype=np.float64, flags="C_CONTIGUOUS")
_INTEGERS = np.ctypeslib.ndpointer(dtype=np.int32, flags="C_CONTIGUOUS")


class StateInterpolation:
    """What integrating the ionic currents adds to interpolating them (SVI to ICI).

        bᵢ = Δt Σ_cells [ ∫ f(v_h, y_h) φᵢ dx − Σⱼ M_ij f(vⱼ, yⱼ) ],   f = −I_ion/C_m

    over the cells in which v varies by more than 2 mV; elsewhere both are the same to a fraction
    of that.

    Args:
        V: Space of the potential.
        cells: Cells of one model at all nodes.
        mass: Mass matrix of the time derivative.

    Raises:
        InputError: there are several models, or nodes without cells.

    Source:
        Pathmanathan et al. (2011), Int. J. Numer. Meth. Biomed. Eng. 27:1863–1882.
    """

    def __init__(self, V: fem.FunctionSpace, cells: Cells, mass: Mass) -> None:
        if len(cells.populations) != 1 or cells.populations[0].nodes is not None:
            raise InputError(
                "state interpolation",
                "there are several cell models, or tissue without cells.",
                "Interpolate the current instead.",
            )
        self._cells = cells
        self._load = fem.Function(V)
        msh = V.mesh
        owned = msh.topology.index_map(msh.topology.dim).size_local
        self._dofs = np.ascontiguousarray(V.dofmap.list[:owned])
        self._found = np.empty(owned, dtype=np.int32)
        degree = V.element.basix_element.degree
        points, weights = basix.make_quadrature(msh.basix_cell(), 2 * degree)
        self._phi = np.ascontiguousarray(V.element.basix_element.tabulate(0, points)[0, :, :, 0])
        self._test = np.ascontiguousarray(weights[:, None] * self._phi)
        M = self._phi.T @ self._test
        lumped = {Mass.CONSISTENT: 0.0, Mass.BLENDED: 0.5, Mass.LUMPED: 1.0}[mass]
        self._M = -((1 - lumped) * M + lumped * np.diag(M.sum(axis=1)))
        corners = msh.geometry.x[msh.geometry.dofmaps[0][:owned]]
        self._detJ = _scale(corners[:, 1:] - corners[:, :1])
        self._native = on_root(V.mesh.comm, lambda: str(compiled(_source())))

    def load(self, v: Array, dt: float) -> PETSc.Vec:
        """Δt times the correction, as a load vector; collective."""
        b = self._load.x.array
        b[:] = 0.0
        cells, width = self._dofs.shape
        native = _functions(self._native)
        m = native.front(self._dofs, cells, width, v, FRONT, self._found)
        for start in range(0, m, CHUNK):
            front = self._found[start : min(start + CHUNK, m)]
            self._add(front, v, self._phi, self._test, dt, b)
            self._add(front, v, np.eye(width), self._M, dt, b)
        self._load.x.scatter_reverse(la.InsertMode.add)
        return self._load.x.petsc_vec

    def _add(
        self, front: NDArray[np.int32], v: Array, phi: Array, test: Array, dt: float, b: Array
    ) -> None:
        """Add f at the points of ``phi``, tested with ``test``, to b."""
        states = self._cells.state["states"]
        f = np.empty(len(front) * len(phi))
        v_h = self._at_points(front, v[None], phi)[0]
        y_h = self._at_points(front, states, phi)
        fields = [self._at_points(front, row[None], phi)[0] for row in self._cells.fields(0)]
        self._cells.populations[0].kernel.current(y_h, v_h, f, fields)
        _functions(self._native).add_tested(
            self._dofs, self._dofs.shape[1], front, len(front), f, test, len(phi), self._detJ, dt, b
        )

    def _at_points(self, front: NDArray[np.int32], rows: Array, phi: Array) -> Array:
        out = np.empty((len(rows), len(front) * len(phi)))
        _functions(self._native).at_points(
            self._dofs,
            self._dofs.shape[1],
            front,
            len(front),
            rows,
            *rows.shape,
            phi,
            len(phi),
            out,
        )
        return out


def _scale(edges: Array) -> Array:
    """|J| of affine cells from the edges at their first vertex, shape (cells, dim, 3)."""
    gram = np.einsum("cik,cjk->cij", edges, edges)
    return np.sqrt(np.linalg.det(gram))


def _source() -> str:
    return (files("organtwin.electrophysiology") / "interpolation.c").read_text("utf-8")


@cache
def _functions(library: str) -> ctypes.CDLL:
    code = ctypes.CDLL(library)
    size, number = ctypes.c_size_t, ctypes.c_double
    code.front.argtypes = [_INTEGERS, size, size, _DOUBLES, number, _INTEGERS]
    code.front.restype = size
    code.at_points.argtypes = [
        _INTEGERS, size, _INTEGERS, size, _DOUBLES, size, size, _DOUBLES, size, _DOUBLES,
    ]  # fmt: skip
    code.at_points.restype = None
    code.add_tested.argtypes = [
        _INTEGERS, size, _INTEGERS, size, _DOUBLES, _DOUBLES, size, _DOUBLES, number, _DOUBLES,
    ]  # fmt: skip
    code.add_tested.restype = None
    return code
