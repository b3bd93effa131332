"""Blood cavities: their volume, and the load that is its derivative."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ufl
from dolfinx import fem, la
from mpi4py import MPI
from numpy.typing import NDArray
from ufl.core.expr import Expr

from organtwin.errors import InputError
from organtwin.mesh.domain import Domain


@dataclass(frozen=True)
class Cavity:
    """A cavity bounded by an endocardium and open at its rim.

        V(u) = −1/3 ∫ (x − c) · cof F N ds,     x = X + u,   c = mean of x over the rim

    This is the volume inside the endocardium and a lid drawn from the rim to its centre ``c``:
    the lid itself adds nothing because (x − c) lies in it. The load of a pressure ``p`` is p ∂V/∂u
    with the lid's share, so the pressures on wall and lid balance and do as much work on the
    tissue as the blood loses, ∫ p dV.

    Attributes:
        name: For example ``lv``.
        endocardium: Surface name of the wall.
        opening: Surface name that holds the rim, for example ``base``.
    """

    name: str
    endocardium: str
    opening: str

    def volume_form(self, domain: Domain, u: Expr, centre: fem.Constant) -> ufl.Form:
        """V (mm³) as a form, with ``c`` held."""
        x = ufl.SpatialCoordinate(domain.mesh) + u - centre
        F = ufl.Identity(3) + ufl.grad(u)
        N = ufl.FacetNormal(domain.mesh)
        return -ufl.dot(x, ufl.cofac(F) * N) / 3 * domain.ds(self.endocardium, degree=4)

    def area_form(self, domain: Domain, u: Expr, component: int) -> ufl.Form:
        """Component of ∂V/∂c = 1/3 ∫ cof F N ds (mm²)."""
        F = ufl.Identity(3) + ufl.grad(u)
        n = ufl.cofac(F) * ufl.FacetNormal(domain.mesh)
        return n[component] / 3 * domain.ds(self.endocardium, degree=4)

    def rim(self, domain: Domain, V: fem.FunctionSpace) -> NDArray[np.int32]:
        """Owned nodes of ``V`` (unrolled blocks) on both the endocardium and the opening.

        A rank may own a node of the rim without owning a facet that touches it, so membership is
        summed over the ranks. Collective.

        Raises:
            InputError: the surfaces do not meet, so that the cavity has no rim.
        """
        on_both = _membership(domain, V, self.endocardium) & _membership(domain, V, self.opening)
        owned = np.flatnonzero(on_both[: V.dofmap.index_map.size_local]).astype(np.int32)
        if domain.comm.allreduce(len(owned), op=MPI.SUM) == 0:
            raise InputError(
                f"cavity `{self.name}`",
                f"surfaces `{self.endocardium}` and `{self.opening}` do not meet.",
                "A cavity is closed by a lid over the rim where they do.",
            )
        return owned


def _membership(domain: Domain, V: fem.FunctionSpace, surface: str) -> NDArray[np.bool_]:
    """Whether each local node lies on the closed surface, on any rank."""
    domain.mesh.topology.create_connectivity(2, 3)
    marker = la.vector(V.dofmap.index_map, 1)
    marker.array[fem.locate_dofs_topological(V, 2, domain.facets(surface), remote=False)] = 1.0
    marker.scatter_reverse(la.InsertMode.add)
    marker.scatter_forward()
    return np.asarray(marker.array > 0)
