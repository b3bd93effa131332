"""The contractile state of the muscle at the quadrature points of the mechanics."""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.cells.tension import Land2017
from organtwin.coupling.reference import IMAGE, Reference
from organtwin.coupling.transfer import quadrature_space
from organtwin.materials.active import ActiveStress, AffineTension, fibre_stretch
from organtwin.materials.kinematics import Directions
from organtwin.mesh.domain import Domain
from organtwin.solve import options

Array = NDArray[np.float64]


class Muscle:
    """Contractile state at the quadrature points of the mechanics mesh.

    Args:
        domain: Mechanics mesh.
        directions: Fibre frame of the mechanics.
        model: Tension model.
        cross_fibre_fraction: Share of the tension across the fibre.
        degree: Quadrature degree of the mechanics.
        reference: Where the stretch is 1.
    """

    def __init__(
        self,
        domain: Domain,
        directions: Directions,
        model: Land2017,
        *,
        cross_fibre_fraction: float = 0.0,
        degree: int = 4,
        reference: Reference = IMAGE,
    ) -> None:
        self.model = model
        self.directions = directions
        self.reference = reference
        space = quadrature_space(domain.mesh, degree)
        self.points = space.element.interpolation_points
        self._cells = np.arange(domain.mesh.topology.index_map(3).size_local, dtype=np.int32)
        self.stretch = fem.Function(space, name="stretch")
        self.stretch.x.array[:] = 1.0
        self._Ta0 = fem.Function(space)
        self._K = fem.Function(space)
        size = len(self._cells) * len(self.points)
        self.states = model.rest(size)
        beta_0 = fem.Constant(domain.mesh, model.beta_0)
        share = fem.Constant(domain.mesh, cross_fibre_fraction)
        muscle = AffineTension(self._Ta0, self._K, self.stretch, beta_0)
        self.stress = ActiveStress(muscle, share)

    def prepare(self, calcium: Array, dt: float) -> None:
        """Move the kinetics to the end of the step; the tension then depends on its stretch."""
        self.states[:] = self.model.kinetics(self.states, calcium, self._stretch, dt)
        Ta0, K = self.model.affine(self.states, dt)
        self._Ta0.x.array[: Ta0.size] = Ta0
        self._K.x.array[: K.size] = K

    def finish(self, stretch: Array, dt: float) -> None:
        """Take over the stretch that the mechanics found."""
        self.states[:] = self.model.distort(self.states, stretch - self._stretch, dt)
        self._stretch[:] = stretch

    def tension(self) -> Array:
        """Active tension (kPa) at the points, shape (cells · points,)."""
        return self.model.tension(self.states, self._stretch)

    def stretch_expression(self, u: ufl.core.expr.Expr) -> fem.Expression:
        """Fibre stretch at the points for a displacement."""
        F, f0 = self.reference.F(u), self.reference.directions(self.directions).f0
        return fem.Expression(fibre_stretch(F, f0), self.points, jit_options=options.jit())

    @property
    def _stretch(self) -> Array:
        return self.stretch.x.array[: self.states.shape[1]]
