"""Electrograms: potentials at small electrodes on and in the tissue, from v alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import basix
import numpy as np
from dolfinx import fem
from numpy.typing import NDArray
from petsc4py import PETSc
from ufl.core.expr import Expr

from organtwin.electrophysiology.simplices import FACES, Simplices
from organtwin.errors import InputError, suggestion
from organtwin.solve import options

Array = NDArray[np.float64]

#: Radius ε of an electrode (mm), chosen: that of a fine mapping catheter.
RADIUS = 0.5
#: Distance, in radii of a cell about its middle, from which on quadrature is exact enough.
FAR = 8.0
#: Cells that are treated at once.
_CHUNK = 50_000


class Electrograms:
    """Unipolar electrograms at points anywhere, in a medium of one conductivity without end.

        φ(x_e) = −1/(4πσ_b) ∫ σ∇v · ∇(1/ρ) dx,    ρ = √(|x − x_e|² + ε²)

    1/ρ in place of 1/r is the mean over an electrode whose density falls off as
    3ε²/(4πρ⁵): half of it lies within 1.3 ε. It keeps the near field finite and smooth. For
    linear elements and σ constant in each cell the integral is exact, however close the point:
    by Gauss's theorem it is one over the faces, where 1/ρ has a closed form. Cells of quadratic
    elements are split into eight linear ones.

    As in `PseudoECG`, σ = σᵢ goes with σ_b = σᵢ + σₑ, and the monodomain σ with σ_b = σₑ.

    Args:
        V: Space of v: linear or quadratic, on tetrahedra.
        conductivity: Tensor σ (mS/mm), constant in each cell; its mean at the cell's middle else.
        points: Electrodes by name (mm).
        sigma_b: Conductivity of the medium (mS/mm).
        radius: ε (mm).

    Raises:
        InputError: the radius is not positive, or the space is another one.

    Source:
        Plonsey & Barr (2007), Bioelectricity, Springer, for the integral; Wilton et al. (1984),
        IEEE Trans. Antennas Propag. 32:276–281, for potentials of uniform triangles.
    """

    def __init__(
        self,
        V: fem.FunctionSpace,
        conductivity: Expr,
        points: Mapping[str, Array],
        *,
        sigma_b: float = 0.2,
        radius: float = RADIUS,
    ) -> None:
        if not radius > 0 or not sigma_b > 0:
            raise InputError(
                "electrograms",
                f"electrodes of radius {radius:g} mm in a medium of {sigma_b:g} mS/mm.",
                "Both must be > 0.",
            )
        cells = Simplices.of(V)
        sigma = _cellwise(V, conductivity)
        flows = _flows(cells, np.repeat(sigma, len(cells.cells) // max(len(sigma), 1), axis=0))
        self._vectors = {
            name: _weights(V, cells, flows, np.asarray(point), radius, sigma_b)
            for name, point in points.items()
        }

    def __call__(self, v: fem.Function) -> dict[str, float]:
        """Potential (mV) at each electrode; collective."""
        return {name: float(b.dot(v.x.petsc_vec)) for name, b in self._vectors.items()}


def bipolar(
    potentials: Mapping[str, float], pairs: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Bipolar electrograms (mV): the potential of the first electrode less that of the second.

    Args:
        potentials: Electrode → potential (mV).
        pairs: Name of the electrogram → its two electrodes.

    Raises:
        InputError: a pair has not two electrodes, or one that is not known.

    >>> bipolar({"tip": 3.0, "ring": 1.0}, {"distal": ("tip", "ring")})
    {'distal': 2.0}
    """
    for name, pair in pairs.items():
        for electrode in pair:
            if electrode not in potentials:
                raise InputError(
                    f"electrogram `{name}`",
                    f"no electrode `{electrode}`.",
                    suggestion(electrode, potentials),
                )
        if len(pair) != 2:
            raise InputError(f"electrogram `{name}`", f"{len(pair)} electrodes.", "Give two.")
    return {name: potentials[pair[0]] - potentials[pair[1]] for name, pair in pairs.items()}


def cell_integrals(corners: Array, point: Array, radius: float) -> Array:
    """∫ ∇(1/ρ) dx over tetrahedra, ρ = √(|x − point|² + radius²).

    Args:
        corners: Corners of the tetrahedra, positively oriented (mm), (m, 4, 3).
        point: The electrode (mm), (3,).
        radius: ε (mm), > 0.

    Returns:
        Integrals (mm), (m, 3).
    """
    centred = corners - point
    middle = centred.mean(axis=1)
    size = np.linalg.norm(centred - middle[:, None], axis=2).max(axis=1)
    near = np.linalg.norm(middle, axis=1) < FAR * size
    result = np.empty((len(corners), 3))
    result[near] = _exact(centred[near], radius)
    result[~near] = _quadrature(centred[~near], radius)
    return result


def _exact(corners: Array, radius: float) -> Array:
    """The integrals about the origin by those of 1/ρ over the faces, outward normals."""
    result = np.zeros((len(corners), 3))
    for face in FACES:
        triangle = corners[:, face]
        normal = np.cross(triangle[:, 1] - triangle[:, 0], triangle[:, 2] - triangle[:, 0])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        result += normal * _face_integrals(triangle, normal, radius)[:, None]
    return result


def _face_integrals(corners: Array, normal: Array, radius: float) -> Array:
    """∫ 1/ρ over triangles about the origin, counter-clockwise about their normals.

    In polar coordinates about the foot of the perpendicular it is the sum over the edges of

        t asinh(s/q) − h atan(t s / (q² + h ρ)),   h² = height² + ε²,  q² = t² + h²,

    between their ends, with t the distance of the edge from the foot and s the place along it.
    """
    h = np.sqrt(np.einsum("mk,mk->m", corners[:, 0], normal) ** 2 + radius**2)
    result = np.zeros(len(corners))
    for i in range(3):
        a, b = corners[:, i], corners[:, (i + 1) % 3]
        along = (b - a) / np.linalg.norm(b - a, axis=1, keepdims=True)
        t = np.einsum("mk,mk->m", a, np.cross(along, normal))
        q = np.sqrt(t**2 + h**2)
        for end, sign in ((b, 1.0), (a, -1.0)):
            s = np.einsum("mk,mk->m", end, along)
            rho = np.sqrt(s**2 + q**2)
            result += sign * (t * np.arcsinh(s / q) - h * np.arctan(t * s / (q**2 + h * rho)))
    return result


def _quadrature(corners: Array, radius: float) -> Array:
    points, weights = basix.make_quadrature(basix.CellType.tetrahedron, 5)
    edges = corners[:, 1:] - corners[:, :1]
    sixfold = np.einsum("ck,ck->c", edges[:, 0], np.cross(edges[:, 1], edges[:, 2]))
    result = np.zeros((len(corners), 3))
    for point, weight in zip(points, weights, strict=True):
        x = corners[:, 0] + np.einsum("j,mjk->mk", point, edges)
        rho = np.sqrt(np.einsum("mk,mk->m", x, x) + radius**2)
        result -= x * (weight * sixfold / rho**3)[:, None]
    return result


def _cellwise(V: fem.FunctionSpace, conductivity: Expr) -> Array:
    """σ in the middle of each owned cell, (n, 3, 3)."""
    middle = np.full((1, 3), 0.25)
    owned = np.arange(V.mesh.topology.index_map(3).size_local, dtype=np.int32)
    # The factor ties constant tensors to the mesh, too.
    tensor = fem.Constant(V.mesh, 1.0) * conductivity
    values = fem.Expression(tensor, middle, jit_options=options.jit()).eval(V.mesh, owned)
    return np.asarray(values).reshape(len(owned), 3, 3)


def _flows(cells: Simplices, sigma: Array) -> Array:
    """σ∇N of the four hat functions of each cell, (m, 4, 3)."""
    corners = cells.x[cells.cells]
    edges = corners[:, 1:] - corners[:, :1]
    gradients = np.empty_like(corners)
    gradients[:, 1:] = np.linalg.inv(edges).transpose(0, 2, 1)
    gradients[:, 0] = -gradients[:, 1:].sum(axis=1)
    return np.einsum("mkl,mjl->mjk", sigma, gradients)


def _weights(
    V: fem.FunctionSpace,
    cells: Simplices,
    flows: Array,
    point: Array,
    radius: float,
    sigma_b: float,
) -> PETSc.Vec:
    """Vector whose product with v is the potential at a point."""
    weights = fem.Function(V)
    for start in range(0, len(cells.cells), _CHUNK):
        part = slice(start, start + _CHUNK)
        integrals = cell_integrals(cells.x[cells.cells[part]], point, radius)
        values = np.einsum("mjk,mk->mj", flows[part], integrals) / (-4 * np.pi * sigma_b)
        np.add.at(weights.x.array, cells.cells[part], values)
    b = weights.x.petsc_vec
    b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
    return b.copy()
