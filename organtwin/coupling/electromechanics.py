"""The beating heart: electrophysiology, tension, mechanics and circulation as one process."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.circulation.stepping import Circulation
from organtwin.coupling.feedback import NO_FEEDBACK, Feedback, electrical_feedback
from organtwin.coupling.loading import ramp
from organtwin.coupling.muscle import Muscle
from organtwin.coupling.nesting import Nesting
from organtwin.coupling.prediction import Prediction
from organtwin.coupling.scheme import FixedPoint, Scheme
from organtwin.coupling.steps import Steps
from organtwin.errors import SolverError
from organtwin.mechanics.problem import STATIC, Mechanics
from organtwin.mesh.domain import Refinement
from organtwin.process import Process, write_back
from organtwin.solve.nonlinear import Solution
from organtwin.solve.outcome import Outcome, Step

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]


class CalciumSource(Process, Protocol):
    """What drives the muscle: an electrophysiology with nodal potential and calcium.

    Attributes:
        v: Transmembrane potential (mV) in a P1 space on a refinement of the mechanics mesh.
    """

    v: fem.Function

    @property
    def calcium(self) -> Array:
        """Free calcium (µM) at the local nodes of ``v``."""
        ...

    def activated_fraction(self) -> float:
        """Share of the nodes activated so far in this beat."""
        ...


class Electromechanics:
    """Coupled heart, a `Process`.

    One step from t to t + Δt:

    1. electrophysiology with its own smaller steps, up to t + Δt;
    2. calcium or potential to the mechanics' quadrature points, tension kinetics at the old
       stretch;
    3. equilibrium with the tension's dependence on the new stretch, both cavity pressures and the
       circulation at t + Δt, all in one nonlinear solve;
    4. distortion of the cross-bridges by the stretch that was found.

    The electrophysiology feels stretch and deformation of the start of the step. With
    `Scheme.MONOLITHIC` it and the kinetics feel those of the end: steps 1 to 3 are repeated.

    Args:
        ep: Electrophysiology on a uniform refinement of the mechanics mesh.
        mechanics: Equilibrium with the cavities LV and RV, in this order, and ``muscle``'s stress.
        muscle: Contractile state.
        loop: Circulation whose ventricles the 3D heart takes the place of.
        loop_state: State of the circulation at the start.
        refinement: Of the mechanics mesh into that of ``ep``.
        feedback: What the electrophysiology feels of the motion.
        scheme: What is solved together.
        fixed_point: When the repetitions of a monolithic step end.
        steps: Control of the length of steps; None takes any step that converges.

    Attributes:
        change: Largest change of the stretch in the last repetition of a monolithic step: what
            is left of its equations.

    Raises:
        InputError: feedback that ``ep`` cannot feel.
        MeshError: the electrical mesh is no refinement.
    """

    def __init__(
        self,
        ep: CalciumSource,
        mechanics: Mechanics,
        muscle: Muscle,
        loop: Circulation,
        loop_state: Array,
        *,
        refinement: Refinement,
        feedback: Feedback = NO_FEEDBACK,
        scheme: Scheme = Scheme.STABILISED,
        fixed_point: FixedPoint = FixedPoint(),
        steps: Steps | None = None,
    ) -> None:
        self.ep = ep
        self.mechanics = mechanics
        self.muscle = muscle
        self.loop = loop
        self.loop_state = loop_state.copy()
        self.scheme, self.fixed_point, self.steps = scheme, fixed_point, steps
        self.change = 0.0
        self._wanted = np.full(1, steps.shortest if steps else 0.0)
        self._prediction = Prediction(mechanics)
        self._stretch = muscle.stretch_expression(mechanics.displacement)
        own = mechanics.domain.mesh.topology.index_map(3).size_local
        self._cells = np.arange(own, dtype=np.int32)
        points = muscle.stretch.function_space
        self._nesting = Nesting(refinement, ep.v.function_space, points)
        self._feedback = electrical_feedback(feedback, ep, self._nesting)

    @property
    def state(self) -> Mapping[str, Array]:
        """Everything needed to go on from here."""
        return {
            **{f"ep.{name}": values for name, values in self.ep.state.items()},
            **{f"mechanics.{name}": values for name, values in self.mechanics.state.items()},
            **self._prediction.state,
            "step_wanted": self._wanted,
            "muscle": self.muscle.states,
            "stretch": self.muscle.stretch.x.array,
            "circulation": self.loop_state,
            **self.muscle.reference.state,
        }

    def factors(self) -> Mapping[str, Array]:
        """What the next step's solve begins with besides `state`, of this rank."""
        return self.mechanics.factors()

    def take_factors(self, known: Mapping[str, Array]) -> None:
        """Begin the next step with what `factors` told on as many ranks; collective."""
        self.mechanics.take_factors(known)

    def take_image(self, pressures: Array, p: fem.Function | None) -> None:
        """Start from the image's shape, whose reference state has been found; collective.

        Args:
            pressures: Of the cavities (kPa), which hold the image where it is.
            p: Hydrostatic pressure (kPa) in the wall, as a first guess.

        Raises:
            SolverError: they do not.
        """
        mechanics = self.mechanics
        mechanics.w.x.array[:] = 0.0
        if p is not None:
            mechanics.w.sub(1).interpolate(p)
            mechanics.w.x.scatter_forward()
        mechanics.w_old.x.array[:] = mechanics.w.x.array
        mechanics.dt.value = STATIC
        solution = mechanics.solve(pressures=pressures)
        if solution.outcome is not Outcome.CONVERGED:
            raise SolverError(
                "reference state",
                f"the pressures do not hold the image where it is ({solution.outcome.name}).",
                "It may be unstable: lower [mechanics] image_pressure, or take a stiffer tissue.",
            )
        mechanics.commit()
        self._rest()

    def fill(self, pressures: Array, *, duration: float = 200.0) -> None:
        """Load the relaxed heart from its present cavity pressures to the given ones (`ramp`).

        Args:
            pressures: End-diastolic pressures of LV and RV (kPa).
            duration: Time of the ramp (ms).

        Raises:
            SolverError: no equilibrium is found.
        """
        mechanics = self.mechanics
        start = mechanics.pressures.copy()

        def load(share: float) -> Solution:
            return mechanics.solve(pressures=start + share * (pressures - start))

        ramp(mechanics, "end-diastolic loading", load, duration)
        self._rest()

    def refill(self, loop_state: Array, *, duration: float = 200.0) -> None:
        """Go on from another state of the circulation, between two beats.

        The cavities are brought to its volumes as slowly as by `fill`; the cross-bridges keep the
        tension that they have and do not notice the motion.

        Args:
            loop_state: State of the circulation.
            duration: Time of the ramp (ms).

        Raises:
            SolverError: no equilibrium is found.
        """
        mechanics = self.mechanics
        self.muscle.hold()
        start, end = mechanics.volumes(), loop_state[self.loop.ventricles]

        def inflate(share: float) -> Solution:
            volumes = start + share * (end - start)
            return mechanics.solve(supply=lambda pressures: (volumes, np.zeros((2, 2))))

        ramp(mechanics, "refilling between beats", inflate, duration)
        self._rest()
        self.loop_state[:] = loop_state

    def fit_loop(self, settled: Array, size: float | None = None) -> float:
        """Scale the circulation to the filled left ventricle and start it from a settled state.

        The loop is that of an adult of its own size; all of its volumes and flows are scaled by
        the ratio of the left ventricles' volumes, which leaves every pressure as it was.

        Args:
            settled: State of the unscaled loop at the start of a beat.
            size: Scale, if it is not to follow from the left ventricle.

        Returns:
            The scale.
        """
        volumes = self.mechanics.volumes()
        if size is None:
            size = float(volumes[0] / settled[self.loop.ventricles[0]])
        self.loop_state[:] = self.loop.scaled_state(settled, size)
        self.loop_state[self.loop.ventricles] = volumes
        self.loop = self.loop.scaled(size)
        return size

    @property
    def wanted_step(self) -> float:
        """Length of the next step (ms) that the control of their length asks for."""
        return float(self._wanted[0]) if self.steps else np.inf

    def advance(self, t0: float, t1: float) -> Step:
        """One coupled step; on failure everything is as it was at ``t0``."""
        saved = {name: values.copy() for name, values in self.state.items()}
        step = self._solved(t0, t1, saved)
        if not step.converged:
            self.restore(saved)
            return step
        dt = t1 - t0
        self.mechanics.commit()
        self.muscle.finish(self._present_stretch(), dt)
        self.loop_state[:], _ = self.loop.step(self.loop_state, t0, dt, self.mechanics.pressures)
        return step

    def _solved(self, t0: float, t1: float, saved: Mapping[str, Array]) -> Step:
        """Steps 1 to 3, once or until the stretch stays as it is."""
        dt = t1 - t0
        self._feel(self.muscle.present)
        electrical = self.ep.advance(t0, t1)
        if not electrical.converged:
            return electrical
        before = self._prediction.guess(dt)
        step = self._equilibrium(electrical, dt)
        if self.scheme is Scheme.MONOLITHIC and step.converged:
            step = self._repeated(step, saved)
        if self.steps is not None and step.converged:
            error = self.steps.error(*self._prediction.difference(), dt, before)
            if self.steps.refuses(error, dt):
                return replace(step, outcome=Outcome.INACCURATE)
            self._wanted[0] = self.steps.next(dt, error, step.newton)
        return step

    def _equilibrium(self, electrical: Step, dt: float, stretch: Array | None = None) -> Step:
        """Steps 2 and 3, with kinetics at the old stretch or at a given one."""
        mechanics, t0, t1 = self.mechanics, electrical.t0, electrical.t1
        self.muscle.prepare(
            self._drive(), dt, stretch=stretch, stabilised=self.scheme is not Scheme.NAIVE
        )
        mechanics.dt.value = dt
        try:
            solution = mechanics.solve(supply=self._blood(t0, dt))
        except SolverError as error:  # the circulation found no state: a smaller step may
            logger.info("%s", error)
            return Step(t0, t1, Outcome.NEWTON_STALLED)
        told = solution.iterations, electrical.krylov, solution.factorisations, solution.residual
        return Step(t0, t1, solution.outcome, *told)

    def _repeated(self, step: Step, saved: Mapping[str, Array]) -> Step:
        """Repeat a step with kinetics and electrophysiology at the stretch that it found."""
        stretch, electrical, newton = self._present_stretch(), step, step.newton
        for _ in range(self.fixed_point.repetitions):
            self.muscle.states[:] = saved["muscle"]
            if self._feedback is not None:
                write_back(self.ep.state, _part(saved, "ep."))
                self._feel(stretch)
                electrical = self.ep.advance(step.t0, step.t1)
            if electrical.converged:
                step = self._equilibrium(electrical, step.t1 - step.t0, stretch)
            newton += step.newton
            if not (electrical.converged and step.converged):
                return step if electrical.converged else electrical
            found = self._present_stretch()
            change = float(np.abs(found - stretch).max(initial=0.0))
            self.change, stretch = self.mechanics.domain.comm.allreduce(change, MPI.MAX), found
            if self.change <= self.fixed_point.tolerance:
                return replace(step, newton=newton)
        return replace(step, outcome=Outcome.NEWTON_STALLED)

    def restore(self, saved: Mapping[str, Array]) -> None:
        """Write a saved state back."""
        write_back(self.state, saved)

    def calcium(self) -> Array:
        """Calcium (µM) at the nodes of the mechanics' P2 space `node_space`."""
        return self._nesting.at_nodes(self.ep.calcium)

    def transmembrane_potential(self) -> Array:
        """V (mV) at the nodes of `node_space`."""
        return self._nesting.at_nodes(self.ep.v.x.array)

    @property
    def node_space(self) -> fem.FunctionSpace:
        """Scalar P2 space of the mechanics mesh."""
        return self._nesting.node_space

    def _rest(self) -> None:
        """Take the present state as one that has lasted."""
        self.muscle.stretch.x.array[: self.muscle.states.shape[1]] = self._present_stretch()
        self._prediction.rest()
        if self.steps is not None:
            self._wanted[0] = self.steps.shortest

    def _drive(self) -> Array:
        """What drives the tension, at the muscle's points."""
        follows_calcium = self.muscle.model.driven_by == "calcium"
        values = self.ep.calcium if follows_calcium else self.ep.v.x.array
        return self._nesting.to_points(values)

    def _feel(self, stretch: Array) -> None:
        """Let the electrophysiology feel a stretch and the present displacement; collective."""
        if self._feedback is not None:
            self._feedback.take(stretch, self.mechanics.u)

    def _blood(self, t: float, dt: float):  # type: ignore[no-untyped-def]
        def volumes(pressures: Array) -> tuple[Array, Array]:
            state, slope = self.loop.step(self.loop_state, t, dt, pressures)
            return state[self.loop.ventricles], slope

        return volumes

    def _present_stretch(self) -> Array:
        return np.asarray(self._stretch.eval(self.mechanics.domain.mesh, self._cells)).ravel()


def _part(state: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """Entries of a state whose names begin with a prefix, by the rest of their names."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
