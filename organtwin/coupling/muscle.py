"""The contractile state of the muscle at the quadrature points of the mechanics."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.cells.tension import TensionModel
from organtwin.coupling.reference import IMAGE, Reference
from organtwin.coupling.transfer import quadrature_space
from organtwin.materials.active import ActiveStress, AffineTension, fibre_stretch
from organtwin.materials.kinematics import Directions
from organtwin.mesh.domain import Domain, refuse_ghost_cells
from organtwin.solve import options

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TensionFeedback:
    """What of the motion the tension feels.

    Attributes:
        stretch: Filament overlap and calcium sensitivity; without it those at λ = 1.
        stretch_rate: Distortion of the cross-bridges; without it those of an isometric fibre.
    """

    stretch: bool = True
    stretch_rate: bool = True


FULL_FEEDBACK = TensionFeedback()


class Muscle:
    """Contractile state at the quadrature points of the mechanics mesh.

    Args:
        domain: Mechanics mesh.
        directions: Fibre frame of the mechanics.
        model: Tension model.
        cross_fibre_fraction: Share of the tension across the fibre.
        degree: Quadrature degree of the mechanics.
        reference: Where the stretch is 1.
        feedback: What of the motion the tension feels.
        strength: Factor of the tension in each of this rank's own cells, (cells,); 1 if omitted.

    Raises:
        InputError: the mesh has ghost cells, which would stay without tension.
    """

    def __init__(
        self,
        domain: Domain,
        directions: Directions,
        model: TensionModel,
        *,
        cross_fibre_fraction: float = 0.0,
        degree: int = 4,
        reference: Reference = IMAGE,
        feedback: TensionFeedback = FULL_FEEDBACK,
        strength: Array | None = None,
    ) -> None:
        refuse_ghost_cells(domain, "Muscle")
        self.model = model
        self.feedback = feedback
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
        self._unstretched = np.ones(size)
        self._strength: Array | float = 1.0
        if strength is not None:
            self._strength = np.repeat(strength, len(self.points))
        slope = model.overlap.slope if feedback.stretch else 0.0
        overlap = replace(model.overlap, slope=fem.Constant(domain.mesh, slope))
        share = fem.Constant(domain.mesh, cross_fibre_fraction)
        muscle = AffineTension(self._Ta0, self._K, self.stretch, overlap)
        self.stress = ActiveStress(muscle, share)

    def prepare(
        self, drive: Array, dt: float, *, stretch: Array | None = None, stabilised: bool = True
    ) -> None:
        """Move the kinetics to the end of the step; the tension then depends on its stretch.

        Args:
            drive: What drives the model (`TensionModel.driven_by`) at the end of the step, at the
                points, shape (cells · points,).
            dt: Step (ms).
            stretch: That of the kinetics, if it is not that of the start of the step.
            stabilised: Whether the tension knows how stiff its cross-bridges are (`Scheme`).
        """
        felt = self._felt if stretch is None or not self.feedback.stretch else stretch
        self.states[:] = self.model.kinetics(self.states, drive, felt, dt)
        Ta0, K = self.model.affine(self.states, dt)
        if not self.feedback.stretch:
            held = self.model.overlap(self._unstretched)
            Ta0, K = held * Ta0, held * K
        Ta0, K = self._strength * Ta0, self._strength * K
        self._Ta0.x.array[: Ta0.size] = Ta0
        self._K.x.array[: K.size] = K if stabilised and self.feedback.stretch_rate else 0.0

    def hold(self) -> None:
        """Keep the present tension, but for the overlap, while the tissue is moved slowly."""
        h = self.model.overlap(self._stretch) if self.feedback.stretch else self._unstretched
        per_overlap = np.divide(self.tension(), h, out=np.zeros_like(h), where=h > 0)
        self._Ta0.x.array[: h.size] = per_overlap
        self._K.x.array[:] = 0.0

    def finish(self, stretch: Array, dt: float) -> None:
        """Take over the stretch that the mechanics found."""
        change = stretch - self._stretch
        if not self.feedback.stretch_rate:
            change[:] = 0.0
        self.states[:] = self.model.distort(self.states, change, dt)
        self._stretch[:] = stretch

    def tension(self) -> Array:
        """Active tension (kPa) at the points, shape (cells · points,)."""
        return np.asarray(self._strength * self.model.tension(self.states, self._felt))

    def stretch_expression(self, u: ufl.core.expr.Expr) -> fem.Expression:
        """Fibre stretch at the points for a displacement."""
        F, f0 = self.reference.F(u), self.reference.directions(self.directions).f0
        return fem.Expression(fibre_stretch(F, f0), self.points, jit_options=options.jit())

    @property
    def present(self) -> Array:
        """Stretch at the points at the end of the last step, shape (cells · points,)."""
        return self._stretch.copy()

    @property
    def _stretch(self) -> Array:
        return self.stretch.x.array[: self.states.shape[1]]

    @property
    def _felt(self) -> Array:
        return self._stretch if self.feedback.stretch else self._unstretched
