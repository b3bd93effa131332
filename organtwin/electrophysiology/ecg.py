"""Pseudo-ECG: the potential that the heart's currents make in an unbounded torso."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from numpy.typing import NDArray
from petsc4py import PETSc
from ufl.core.expr import Expr

from organtwin.mesh.domain import Domain
from organtwin.parallel import total
from organtwin.solve import options

#: Electrodes of the limbs relative to the heart's centre, patient axes LPS (mm).
LIMBS: Mapping[str, tuple[float, float, float]] = {
    "RA": (-200.0, -30.0, 220.0),
    "LA": (160.0, -30.0, 220.0),
    "LL": (60.0, -30.0, -420.0),
}


class PseudoECG:
    """Potentials at electrodes from the transmembrane potential.

        φ(x_e) = −1/(4πσ_b) ∫ σ∇v · ∇(1/r) dx,    r = |x − x_e|

    This is linear in v, so one vector per electrode is assembled once and each evaluation is
    a dot product.

    Args:
        V: Space of the transmembrane potential.
        conductivity: Tensor σ (mS/mm).
        electrodes: Points by name (mm).
        sigma_b: Conductivity of the torso (mS/mm).

    Source:
        Gima & Rudy (2002), Circ. Res. 90:889–896.
    """

    def __init__(
        self,
        V: fem.FunctionSpace,
        conductivity: Expr,
        electrodes: Mapping[str, NDArray[np.float64]],
        *,
        sigma_b: float = 0.2,
    ) -> None:
        self._vectors: dict[str, PETSc.Vec] = {}
        x, w = ufl.SpatialCoordinate(V.mesh), ufl.TestFunction(V)
        for name, point in electrodes.items():
            d = x - fem.Constant(V.mesh, np.asarray(point, dtype=np.float64))
            lead = d / ufl.sqrt(ufl.dot(d, d)) ** 3  # −∇(1/r)
            scale = fem.Constant(V.mesh, 1 / (4 * np.pi * sigma_b))
            integrand = scale * ufl.inner(conductivity * ufl.grad(w), lead)
            form = fem.form(
                integrand * ufl.dx(metadata={"quadrature_degree": 2}), jit_options=options.jit()
            )
            b = fem_petsc.assemble_vector(form)
            b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
            self._vectors[name] = b

    def __call__(self, v: fem.Function) -> dict[str, float]:
        """Potential (mV) at each electrode; collective."""
        return {name: float(b.dot(v.x.petsc_vec)) for name, b in self._vectors.items()}


def limb_electrodes(domain: Domain) -> dict[str, NDArray[np.float64]]:
    """Electrodes RA, LA, LL of a standing patient around the centre of the tissue; collective."""
    x = ufl.SpatialCoordinate(domain.mesh)
    volume = domain.volume()
    centre = np.array(
        [total(domain.comm, fem.assemble_scalar(fem.form(x[i] * domain.dx()))) for i in range(3)]
    )
    return {name: centre / volume + np.array(offset) for name, offset in LIMBS.items()}


def einthoven(potentials: Mapping[str, float]) -> dict[str, float]:
    """Limb leads I = LA − RA, II = LL − RA, III = LL − LA (mV)."""
    RA, LA, LL = (potentials[name] for name in ("RA", "LA", "LL"))
    return {"I": LA - RA, "II": LL - RA, "III": LL - LA}
