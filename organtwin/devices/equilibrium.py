"""Equilibrium of frames: forces, contact, and what Newton's method needs of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import SuperLU, splu

from organtwin.devices import rotations as rot
from organtwin.devices.beam import BeamMesh, Elements, Kinematics
from organtwin.devices.newton import Attempt, Place, Touching, find_equilibrium
from organtwin.devices.section import History, Section
from organtwin.devices.supports import Supports
from organtwin.errors import InputError

Array = NDArray[np.float64]


class Action(Protocol):
    """What presses on nodes: contact with something rigid."""

    def foresee(self, x: Array, dx: Array) -> Touching:
        """Which nodes a straight motion from ``x`` would bring or leave in contact, (n,)."""
        ...

    def push(self, x: Array, touching: Touching | None = None) -> tuple[Array, Array]:
        """Forces on the nodes (mN), (n, 3), and their derivatives by x (mN/mm), (n, 3, 3)."""
        ...

    def commit(self, x: Array) -> None:
        """Accept the present state."""
        ...


@dataclass(frozen=True)
class State:
    """All that is needed to come back: positions, rotations, histories of the sections."""

    x: Array
    q: Array
    histories: tuple[History, ...]


@dataclass(frozen=True)
class Beams:
    """Beams at a state.

    Attributes:
        forces: On the nodes, less the dead loads, (n, 6).
        mixed: The same from the expected resultants.
        tangent: Derivatives of the forces by translations and spins, (6n, 6n).
        resultants: At the state, (m, 6).
        slope: Their derivatives by translations and spins of the elements' nodes, (m, 6, 12).
    """

    forces: Array
    mixed: Array
    tangent: csc_array
    resultants: Array
    slope: Array


@dataclass(frozen=True)
class _Factors:
    """Tangent of the free components by all of them, and the factors of that by the free ones."""

    matrix: csc_array
    factors: SuperLU
    free: NDArray[np.int64]

    def step(self, residual: Array) -> Array:
        """−A⁻¹ r, zero where held."""
        step = np.zeros(self.matrix.shape[1])
        step[self.free] = self.factors.solve(-residual)
        return step

    def lifted(self, motion: Array) -> Array:
        """A times the motion."""
        return np.asarray(self.matrix @ motion)


class BeamProblem:
    """Beams with sections, supports, dead loads and contact.

    Args:
        mesh: Elements.
        sections: Laws.
        kind: Which of them each element has, (m,); the first one if None.
        supports: None leaves all nodes free.
        actions: Contact.

    Attributes:
        load: Dead forces (mN) and moments about fixed axes (mN mm) on the nodes, (n, 6).
        x: Positions (mm), (n, 3).
        q: Rotations of the nodes since rest, quaternions (n, 4).
        free: Components that are not held, counted from 0 to 6n.
        parts: Sections, and which elements have them.
        turn: Block-diagonal matrix from fixed axes to those of the supports, (6n, 6n).
    """

    def __init__(
        self,
        mesh: BeamMesh,
        sections: Sequence[Section],
        *,
        kind: NDArray[np.int64] | None = None,
        supports: Supports | None = None,
        actions: Sequence[Action] = (),
    ) -> None:
        self.mesh, self.elements = mesh, Elements(mesh)
        nodes, count = len(mesh.points), len(mesh.ends)
        kinds = np.zeros(count, np.int64) if kind is None else kind
        if len(kinds) != count or kinds.min() < 0 or kinds.max() >= len(sections):
            raise InputError("BeamProblem", "kinds do not fit the elements and sections.")
        self.parts = [(s, np.flatnonzero(kinds == i)) for i, s in enumerate(sections)]
        self.supports = supports or Supports.none(nodes)
        self.actions = list(actions)
        self.load = np.zeros((nodes, 6))
        self.x, self.q = mesh.points.copy(), np.tile([1.0, 0.0, 0.0, 0.0], (nodes, 1))
        self._histories: tuple[History, ...] = tuple(s.start(len(e)) for s, e in self.parts)
        self._trial = self._histories
        self._contact: list[Touching] = []
        self.free = np.flatnonzero(~self.supports.held.ravel())
        self.turn = self._rotation()

    # --- forces ---------------------------------------------------------------------------------

    def resultants(self) -> Array:
        """Forces (mN) and moments (mN mm) of the sections in their axes, (m, 6)."""
        return self._respond(self.elements.kinematics(self.x, self.q))[0]

    def internal(self) -> Array:
        """Forces of the beams on their nodes, (n, 6)."""
        k = self.elements.kinematics(self.x, self.q)
        return self._summed(self.elements.gradient(k)[0], self._respond(k)[0])

    def tangent(self) -> csc_array:
        """Derivative of `internal` by translations and spins, (6n, 6n)."""
        k = self.elements.kinematics(self.x, self.q)
        resultants, C = self._respond(k)
        gradient = self.elements.gradient(k)
        return self._assembled(self.elements.stiffness(k, *gradient, resultants, C))

    def _respond(self, k: Kinematics) -> tuple[Array, Array]:
        """Resultants and their derivatives, from the accepted histories; keeps the new ones."""
        resultants, C = np.empty((len(k.phi), 6)), np.empty((len(k.phi), 6, 6))
        trial = []
        for (section, part), history in zip(self.parts, self._histories, strict=True):
            step = section.step(k.strain[part], history)
            resultants[part], C[part] = step.resultants, step.tangent
            trial.append(step.history)
        self._trial = tuple(trial)
        return resultants, C

    def _summed(self, B: Array, resultants: Array) -> Array:
        el = self.elements
        forces = np.bincount(el.dofs.ravel(), el.forces(B, resultants).ravel(), el.size)
        return forces.reshape(-1, 6)

    def _assembled(self, K: Array) -> csc_array:
        el = self.elements
        rows, columns = np.repeat(el.dofs, 12, axis=1).ravel(), np.tile(el.dofs, (1, 12)).ravel()
        return csc_array(coo_array((K.ravel(), (rows, columns)), shape=(el.size, el.size)))

    def _beams(self, foreseen: Array | None = None) -> Beams:
        """What the beams do at the present state.

        Args:
            foreseen: Resultants that the last correction led to expect; None if there was none.
        """
        k = self.elements.kinematics(self.x, self.q)
        resultants, C = self._respond(k)
        B, D_phi, D_m = self.elements.gradient(k)
        expected = resultants if foreseen is None else foreseen
        tangent = self._assembled(self.elements.stiffness(k, B, D_phi, D_m, expected, C))
        forces = self._summed(B, resultants) - self.load
        mixed = self._summed(B, expected) - self.load
        return Beams(forces, mixed, tangent, resultants, C @ B)

    def _pressed(self, touching: Sequence[Touching]) -> tuple[Array, Array]:
        """Forces of all contact (n, 3) and their derivatives (n, 3, 3)."""
        push, blocks = np.zeros((len(self.x), 3)), np.zeros((len(self.x), 3, 3))
        for action, on in zip(self.actions, touching, strict=True):
            force, stiffness = action.push(self.x, on)
            push, blocks = push + force, blocks + stiffness
        return push, blocks

    def _rotation(self) -> csc_array:
        """Block-diagonal matrix from fixed axes to those of the supports."""
        n = len(self.x)
        block = 3 * np.arange(2 * n)[:, None, None]
        i, j = np.broadcast_arrays(block + np.arange(3)[:, None], block + np.arange(3))
        values = np.repeat(self.supports.axes, 2, axis=0)
        return csc_array(coo_array((values.ravel(), (i.ravel(), j.ravel())), shape=(6 * n, 6 * n)))

    def reactions(self) -> Array:
        """Forces and moments of the supports, and of contact, on the nodes, (n, 6)."""
        return self.internal() - self.load

    # --- state ----------------------------------------------------------------------------------

    def strains(self) -> Array:
        """Strains of the sections, (m, 6)."""
        return self.elements.kinematics(self.x, self.q).strain

    def fibre_strains(self) -> list[Array]:
        """Strains along the fibres of the elements of each section, [(m, f), …]."""
        strains = self.strains()
        return [section.fibre_strains(strains[part]) for section, part in self.parts]

    def histories(self) -> tuple[History, ...]:
        """Accepted histories, one for each section."""
        return self._histories

    def energies(self) -> tuple[float, float]:
        """Elastic energy, and work on the beams that is not elastic (µJ), as accepted."""
        strains, volume = self.strains(), self.elements.lengths * self.mesh.share
        elastic = other = 0.0
        for (section, part), history in zip(self.parts, self._histories, strict=True):
            e, o = section.energies(strains[part], history)
            elastic, other = elastic + float(e @ volume[part]), other + float(o @ volume[part])
        return elastic, other

    def state(self) -> State:
        """Accepted state."""
        return State(self.x.copy(), self.q.copy(), self._histories)

    @property
    def beams(self) -> BeamProblem:
        """Itself: see `load_path.Loaded`."""
        return self

    def keep(self) -> Callable[[], None]:
        """What brings the beams back to the accepted state."""
        return partial(self.restore, self.state())

    def restore(self, state: State) -> None:
        """Go back to a state."""
        self.x, self.q, self._histories = state.x.copy(), state.q.copy(), state.histories

    def commit(self) -> None:
        """Accept the present state: the next step starts from it."""
        self.internal()
        self._histories = self._trial
        for action in self.actions:
            action.commit(self.x)
        self._contact = [action.foresee(self.x, 0 * self.x) for action in self.actions]

    # --- newton.System ----------------------------------------------------------------------------

    def solve(self, prescribed: Array | None = None) -> Attempt:
        """Find equilibrium from the present state (`find_equilibrium`), kept if there is none.

        Args:
            prescribed: Motion of the held components in this step, along the axes of the supports:
                mm and rad, (n, 6); zero if None.
        """
        return find_equilibrium(self, prescribed)

    def respond(
        self, before: Beams | None = None, step: Array | None = None, share: float = 1.0
    ) -> Beams:
        """What the beams do at the present state, with the resultants that a step led to expect."""
        if before is None or step is None:
            return self._beams()
        fixed = self.fixed(step).reshape(-1)[self.elements.dofs]
        change = np.einsum("eij,ej->ei", before.slope, fixed)
        return self._beams(before.resultants + share * change)

    def residual(
        self, here: Beams, touching: Sequence[Touching], *, expected: bool = False
    ) -> Array:
        """Forces that are left over on the free components, along the axes of the supports."""
        forces = here.mixed if expected else here.forces
        return self.free_part(self.unbalanced(forces, touching))

    def linearise(self, here: Beams, touching: Sequence[Touching]) -> _Factors | None:
        """Factors of the tangent of the free components."""
        matrix = self.matrix(here, touching)
        try:
            factors = splu(csc_array(matrix[:, self.free]))
        except RuntimeError:  # exactly singular
            return None
        return _Factors(matrix, factors, self.free)

    def touched(self) -> list[Touching]:
        """Nodes in contact now, or at the last accepted state."""
        none = np.zeros(len(self.x), bool)
        later = len(self.actions) - len(self._contact)
        before = [*self._contact[: len(self.actions)], *[none] * max(later, 0)]
        now = self.foresee(np.zeros(self.elements.size))
        return [a | b for a, b in zip(now, before, strict=True)]

    def foresee(self, step: Array) -> list[Touching]:
        """Nodes that a straight step brings or leaves in contact."""
        dx = self.fixed(step)[:, :3]
        return [action.foresee(self.x, dx) for action in self.actions]

    def held(self, motion: Array) -> Array:
        """Step that moves the held components alone."""
        step = np.zeros(self.elements.size)
        step[self.supports.held.ravel()] = motion[self.supports.held]
        return step

    def place(self) -> Place:
        """Positions and rotations."""
        return self.x, self.q

    def put(self, place: Place) -> None:
        """Go back to positions and rotations."""
        self.x, self.q = place

    def move(self, step: Array) -> None:
        """Translations and spins along the axes of the supports, (6n,)."""
        turned = self.fixed(step)
        self.x = self.x + turned[:, :3]
        self.q = rot.turned(self.q, turned[:, 3:])

    def size(self, step: Array) -> float:
        """Root-mean-square of a correction, in element lengths and rad."""
        chords, turns = self._scaled(step)
        return float(np.sqrt(np.mean(chords**2) + np.mean(turns**2)))

    def largest(self, step: Array) -> float:
        """Largest change of a chord in element lengths, or turn of a node in rad."""
        return float(max(np.abs(part).max(initial=0.0) for part in self._scaled(step)))

    # --- for what is coupled with the beams -------------------------------------------------------

    def fixed(self, step: Array) -> Array:
        """A step along fixed axes, (n, 6)."""
        return np.asarray((self.turn.T @ step).reshape(-1, 6))

    def free_part(self, forces: Array) -> Array:
        """Free components, along the axes of the supports, of forces (n, 6) along fixed axes."""
        return np.asarray((self.turn @ forces.ravel())[self.free])

    def unbalanced(self, forces: Array, touching: Sequence[Touching]) -> Array:
        """Forces of the beams on their nodes less those of the tools, (n, 6)."""
        left = forces.copy()
        left[:, :3] -= self._pressed(touching)[0]
        return left

    def matrix(self, here: Beams, touching: Sequence[Touching]) -> csc_array:
        """Derivatives of the free components by all, along the axes of the supports."""
        tangent = here.tangent
        if self.actions:
            blocks = self._pressed(touching)[1]
            node = 6 * np.arange(len(self.x))[:, None, None]
            i, j = np.broadcast_arrays(node + np.arange(3)[:, None], node + np.arange(3))
            contact = coo_array((blocks.ravel(), (i.ravel(), j.ravel())), shape=tangent.shape)
            tangent = tangent - csc_array(contact)
        return csc_array(self.turn @ tangent @ self.turn.T)[self.free]

    def _scaled(self, step: Array) -> tuple[Array, Array]:
        """Change of the chords in element lengths (m, 3), turns of the nodes in rad (n, 3).

        The turns of the supports' axes don't matter: the lengths of vectors are the same.
        """
        turned = self.fixed(step)
        chords = np.diff(turned[self.mesh.ends, :3], axis=1)[:, 0]
        return chords / self.elements.lengths[:, None], turned[:, 3:]
