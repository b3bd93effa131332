"""The beating heart: electrophysiology, tension, mechanics and circulation as one process."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.circulation.stepping import Circulation
from organtwin.coupling.muscle import Muscle
from organtwin.coupling.transfer import NodalInjection
from organtwin.errors import SolverError
from organtwin.mechanics.problem import STATIC, Mechanics
from organtwin.process import Process, write_back
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
    2. calcium to the mechanics' quadrature points, tension kinetics at the old stretch;
    3. equilibrium with the tension's dependence on the new stretch, both cavity pressures and the
       circulation at t + Δt, all in one nonlinear solve;
    4. distortion of the cross-bridges by the stretch that was found.

    Args:
        ep: Electrophysiology on a uniform refinement of the mechanics mesh.
        mechanics: Equilibrium with the cavities LV and RV, in this order, and ``muscle``'s stress.
        muscle: Contractile state.
        loop: Circulation whose ventricles the 3D heart takes the place of.
        loop_state: State of the circulation at the start.
    """

    def __init__(
        self,
        ep: CalciumSource,
        mechanics: Mechanics,
        muscle: Muscle,
        loop: Circulation,
        loop_state: Array,
    ) -> None:
        self.ep = ep
        self.mechanics = mechanics
        self.muscle = muscle
        self.loop = loop
        self.loop_state = loop_state.copy()
        self._w_before = mechanics.w.x.array.copy()
        self._dt_before = np.zeros(1)
        self._injection = NodalInjection(ep.v.function_space, mechanics.domain.mesh)
        self._stretch = muscle.stretch_expression(mechanics.displacement)
        self._cells = np.arange(
            mechanics.domain.mesh.topology.index_map(3).size_local, dtype=np.int32
        )

    @property
    def state(self) -> Mapping[str, Array]:
        """Everything needed to go on from here."""
        return {
            **{f"ep.{name}": values for name, values in self.ep.state.items()},
            **{f"mechanics.{name}": values for name, values in self.mechanics.state.items()},
            "displacement_pressure_before": self._w_before,
            "step_before": self._dt_before,
            "muscle": self.muscle.states,
            "stretch": self.muscle.stretch.x.array,
            "circulation": self.loop_state,
            **self.muscle.reference.state,
        }

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
        """Load the relaxed heart from its present cavity pressures to the given ones.

        The pressures change over ``duration``; then they are held, in steps that become longer
        until nothing moves. Viscosity carries the tissue through the soft toe of its law, and
        a step that stalls is halved.

        Args:
            pressures: End-diastolic pressures of LV and RV (kPa).
            duration: Time of the ramp (ms).

        Raises:
            SolverError: no equilibrium is found.
        """
        mechanics = self.mechanics
        start = mechanics.pressures.copy()
        t, dt = 0.0, duration / 20
        while dt < STATIC:
            if t < duration:
                dt = min(dt, duration - t)
            mechanics.dt.value = dt
            share = min((t + dt) / duration, 1.0)
            solution = mechanics.solve(pressures=start + share * (pressures - start))
            if solution.outcome is Outcome.CONVERGED:
                mechanics.commit()
                t += dt
                dt *= 1.5 if t < duration else 4.0
                logger.info("filled to %.0f %%", 100 * share)
                continue
            dt /= 2
            if dt < duration / 2000:
                raise SolverError(
                    "end-diastolic loading",
                    f"stalled at {100 * share:.1f} % of the pressure ({solution.outcome.name}).",
                    "Lower the filling pressure, or use a stiffer tissue or a finer mesh.",
                )
        self._rest()

    def fit_loop(self, settled: Array) -> float:
        """Scale the circulation to the filled left ventricle and start it from a settled state.

        The loop is that of an adult of its own size; all of its volumes and flows are scaled by
        the ratio of the left ventricles' volumes, which leaves every pressure as it was.

        Args:
            settled: State of the unscaled loop at the start of a beat.

        Returns:
            The scale.
        """
        volumes = self.mechanics.volumes()
        size = float(volumes[0] / settled[self.loop.ventricles[0]])
        self.loop_state[:] = self.loop.scaled_state(settled, size)
        self.loop_state[self.loop.ventricles] = volumes
        self.loop = self.loop.scaled(size)
        return size

    def advance(self, t0: float, t1: float) -> Step:
        """One coupled step; on failure everything is as it was at ``t0``."""
        saved = {name: values.copy() for name, values in self.state.items()}
        electrical = self.ep.advance(t0, t1)
        if not electrical.converged:
            self.restore(saved)
            return electrical
        dt = t1 - t0
        mechanics, muscle = self.mechanics, self.muscle
        muscle.prepare(self._injection.at_points(self.ep.calcium, muscle.points), dt)
        self._extrapolate(dt)
        mechanics.dt.value = dt
        try:
            solution = mechanics.solve(supply=self._blood(t0, dt))
        except SolverError as error:  # the circulation found no state: a smaller step may
            logger.info("%s", error)
            self.restore(saved)
            return Step(t0, t1, Outcome.NEWTON_STALLED)
        step = Step(
            t0, t1, solution.outcome, solution.iterations, electrical.krylov,
            solution.factorisations, solution.residual,
        )  # fmt: skip
        if not step.converged:
            self.restore(saved)
            return step
        mechanics.commit()
        muscle.finish(self._present_stretch(), dt)
        self.loop_state[:], _ = self.loop.step(self.loop_state, t0, dt, mechanics.pressures)
        return step

    def restore(self, saved: Mapping[str, Array]) -> None:
        """Write a saved state back."""
        write_back(self.state, saved)

    def calcium(self) -> Array:
        """Calcium (µM) at the nodes of the mechanics' P2 space `node_space`."""
        return self._injection.nodal(self.ep.calcium)

    def transmembrane_potential(self) -> Array:
        """V (mV) at the nodes of `node_space`."""
        return self._injection.nodal(self.ep.v.x.array)

    @property
    def node_space(self) -> fem.FunctionSpace:
        """Scalar P2 space of the mechanics mesh."""
        return self._injection.space

    def _rest(self) -> None:
        """Take the present state as one that has lasted."""
        self.muscle.stretch.x.array[: self.muscle.states.shape[1]] = self._present_stretch()
        self._w_before[:] = self.mechanics.w.x.array
        self._dt_before[0] = 0.0

    def _extrapolate(self, dt: float) -> None:
        """First guess of the new displacement: constant velocity."""
        w = self.mechanics.w
        now = w.x.array.copy()
        if self._dt_before[0] > 0:
            w.x.array[:] += (dt / self._dt_before[0]) * (now - self._w_before)
        self._w_before[:] = now
        self._dt_before[0] = dt

    def _blood(self, t: float, dt: float):  # type: ignore[no-untyped-def]
        def volumes(pressures: Array) -> tuple[Array, Array]:
            state, slope = self.loop.step(self.loop_state, t, dt, pressures)
            return state[self.loop.ventricles], slope

        return volumes

    def _present_stretch(self) -> Array:
        mesh = self.mechanics.domain.mesh
        return np.asarray(self._stretch.eval(mesh, self._cells)).ravel()
