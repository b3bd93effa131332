"""Equilibrium of frames: forces, contact and Newton's method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import SuperLU, splu

from organtwin.devices import rotations as rot
from organtwin.devices.beam import BeamMesh, Elements, Kinematics
from organtwin.devices.section import History, Section
from organtwin.devices.supports import Supports
from organtwin.errors import InputError

Array = NDArray[np.float64]
Touching = NDArray[np.bool_]

#: A Newton correction may turn a node by this much (rad), or a chord relative to its length.
REACH = 1.0
#: What a correction may leave, as the next one by the same factors, over its own size. Below 1 it
#: would be monotone; corners of metals and contact need some room (tried: 1, 4, 30; 4 was best).
GROWTH = 4.0
#: Most iterations, halvings of a correction, and size of a correction that ends the iteration.
ITERATIONS, HALVINGS, TOLERANCE = 18, 5, 1e-9
#: Most times that the contact of a correction is guessed; at first for all nodes at once, then for
#: one after the other.
ROUNDS, ALL_AT_ONCE = 14, 5
#: Size of a correction below which the next one may be judged by the same factors.
NEAR = 1e-2


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
class Attempt:
    """How a solve ended.

    Attributes:
        converged: Whether it is an equilibrium.
        iterations: Newton corrections.
        reason: Why it is not; empty if it is.
    """

    converged: bool
    iterations: int
    reason: str = ""


@dataclass(frozen=True)
class State:
    """All that is needed to come back: positions, rotations, histories of the sections."""

    x: Array
    q: Array
    histories: tuple[History, ...]


@dataclass(frozen=True)
class _Beams:
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
        self._parts = [(s, np.flatnonzero(kinds == i)) for i, s in enumerate(sections)]
        self.supports = supports or Supports.none(nodes)
        self.actions = list(actions)
        self.load = np.zeros((nodes, 6))
        self.x, self.q = mesh.points.copy(), np.tile([1.0, 0.0, 0.0, 0.0], (nodes, 1))
        self._histories: tuple[History, ...] = tuple(s.start(len(e)) for s, e in self._parts)
        self._trial = self._histories
        self._contact: list[Touching] = []
        self._length = float(np.median(self.elements.lengths))
        self._free = np.flatnonzero(~self.supports.held.ravel())
        self._turn = self._rotation()

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
        for (section, part), history in zip(self._parts, self._histories, strict=True):
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

    def _beams(self, foreseen: Array | None = None) -> _Beams:
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
        return _Beams(forces, mixed, tangent, resultants, C @ B)

    def _pressed(self, touching: Sequence[Touching] | None) -> tuple[Array, Array]:
        """Forces of all contact (n, 3) and their derivatives (n, 3, 3)."""
        push, blocks = np.zeros((len(self.x), 3)), np.zeros((len(self.x), 3, 3))
        sets: Sequence[Touching | None] = touching or [None] * len(self.actions)
        for action, on in zip(self.actions, sets, strict=True):
            force, stiffness = action.push(self.x, on)
            push, blocks = push + force, blocks + stiffness
        return push, blocks

    def _residual(self, forces: Array, push: Array) -> Array:
        """Of the free components, along the axes of the supports."""
        left = forces.copy()
        left[:, :3] -= push
        return np.asarray((self._turn @ left.ravel())[self._free])

    def _matrix(self, tangent: csc_array, blocks: Array) -> csc_array:
        """Derivatives of the free components by all, along the axes of the supports."""
        if self.actions:
            node = 6 * np.arange(len(self.x))[:, None, None]
            i, j = np.broadcast_arrays(node + np.arange(3)[:, None], node + np.arange(3))
            contact = coo_array((blocks.ravel(), (i.ravel(), j.ravel())), shape=tangent.shape)
            tangent = tangent - csc_array(contact)
        return csc_array(self._turn @ tangent @ self._turn.T)[self._free]

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
        return [section.fibre_strains(strains[part]) for section, part in self._parts]

    def histories(self) -> tuple[History, ...]:
        """Accepted histories, one for each section."""
        return self._histories

    def energies(self) -> tuple[float, float]:
        """Elastic energy, and work on the beams that is not elastic (µJ), as accepted."""
        strains, volume = self.strains(), self.elements.lengths * self.mesh.share
        elastic = other = 0.0
        for (section, part), history in zip(self._parts, self._histories, strict=True):
            e, o = section.energies(strains[part], history)
            elastic, other = elastic + float(e @ volume[part]), other + float(o @ volume[part])
        return elastic, other

    def state(self) -> State:
        """Accepted state."""
        return State(self.x.copy(), self.q.copy(), self._histories)

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

    def _touched(self) -> list[Touching]:
        """Nodes in contact at the last accepted state; none for actions that came later."""
        none = np.zeros(len(self.x), bool)
        later = len(self.actions) - len(self._contact)
        return [*self._contact[: len(self.actions)], *[none] * max(later, 0)]

    # --- Newton's method ------------------------------------------------------------------------

    def solve(self, prescribed: Array | None = None) -> Attempt:
        """Find equilibrium from the present state, which is kept if there is none.

        Newton's method in which the geometric part of the tangent takes the resultants that the
        last correction led to expect, not those at the state that it led to: finite rotations by a
        straight correction stretch slender beams, and the forces of that spurious stretch spoil the
        tangent. The equations are the same, but steps may be many times longer. A correction is
        halved until the residual with the expected resultants, divided by the same factors, is not
        much longer than the correction (a lenient natural monotonicity test).

        Args:
            prescribed: Motion of the held components in this step, along the axes of the supports:
                mm and rad, (n, 6); zero if None.

        Source:
            Magisano, Leonetti & Garcea (2017), Comput. Methods Appl. Mech. Eng. 313:986–1005 (as
            remembered), for the tangent; Deuflhard (2011), Newton Methods for Nonlinear Problems,
            section 3.3, for the test.
        """
        before = self.x.copy(), self.q.copy()
        attempt = self._iterate(prescribed)
        if not attempt.converged:
            self.x, self.q = before
        return attempt

    def _iterate(self, prescribed: Array | None) -> Attempt:
        here = self._beams()
        touching: list[Touching] = [
            action.foresee(self.x, 0 * self.x) | before
            for action, before in zip(self.actions, self._touched(), strict=True)
        ]
        for iteration in range(1, ITERATIONS + 1):
            moves = prescribed is not None and iteration == 1
            found = self._correction(here, prescribed if moves else None, touching)
            if found is None:
                return Attempt(False, iteration, "The tangent is singular: something is loose.")
            step, factors, touching = found
            size = self._size(step)
            if not np.isfinite(size):
                return Attempt(False, iteration, "The correction is not finite.")
            moved = self._search(here, step, factors, touching, whole=moves)
            if moved is None:
                return Attempt(False, iteration, "No part of the correction leads on.")
            here, rest = moved
            if rest < TOLERANCE and size < NEAR:
                return Attempt(True, iteration)
        return Attempt(False, ITERATIONS, f"No equilibrium after {ITERATIONS} corrections.")

    def _correction(
        self, here: _Beams, prescribed: Array | None, guess: list[Touching]
    ) -> tuple[Array, SuperLU, list[Touching]] | None:
        """Correction whose contact is what it brings about, its factors and its contact.

        The linearised contact is solved before anything moves: nodes that penetrate are not all
        pressed back at once, which may ask for forces many times the true ones. When guesses go
        round in a circle, the first wrong node alone is changed, which comes to an end where the
        tangent is symmetric and positive.

        Source:
            Murty (1974), Opsearch 11:123–130, for the rule of the first wrong one.
        """
        start = np.zeros(self.elements.size)
        if prescribed is not None:
            start[self.supports.held.ravel()] = prescribed[self.supports.held]
        for round_ in range(ROUNDS):
            push, blocks = self._pressed(guess)
            matrix = self._matrix(here.tangent, blocks)
            try:
                factors = splu(csc_array(matrix[:, self._free]))
            except RuntimeError:  # exactly singular
                return None
            step = start.copy()
            step[self._free] = factors.solve(-self._residual(here.forces, push) - matrix @ start)
            dx = (self._turn.T @ step).reshape(-1, 6)[:, :3]
            found = [action.foresee(self.x, dx) for action in self.actions]
            if all(np.array_equal(a, b) for a, b in zip(guess, found, strict=True)):
                break
            if round_ < ROUNDS - 1:
                guess = found if round_ < ALL_AT_ONCE else _one_changed(guess, found)
        return step, factors, guess

    def _search(
        self, here: _Beams, step: Array, factors: SuperLU, touching: list[Touching], *, whole: bool
    ) -> tuple[_Beams, float] | None:
        """Move by the step or a part of it; the beams there, and size of what would follow."""
        x, q, size = self.x, self.q, self._size(step)
        fixed = (self._turn.T @ step)[self.elements.dofs]
        change = np.einsum("eij,ej->ei", here.slope, fixed)
        share = 1.0 if whole else min(1.0, REACH / max(self._largest(step), 1e-300))
        for _ in range(HALVINGS + 1):
            self.x, self.q = x, q
            self._move(share * step)
            there, push = self._beams(here.resultants + share * change), self._pressed(touching)[0]
            mixed = self._following(factors, self._residual(there.mixed, push))
            if whole or mixed <= max(GROWTH * size, TOLERANCE):
                return there, self._following(factors, self._residual(there.forces, push))
            share *= 0.5
        return None

    def _following(self, factors: SuperLU, residual: Array) -> float:
        """Size of the correction for a residual by given factors."""
        step = np.zeros(self.elements.size)
        step[self._free] = factors.solve(-residual)
        return self._size(step)

    def _move(self, step: Array) -> None:
        turned = (self._turn.T @ step).reshape(-1, 6)
        self.x = self.x + turned[:, :3]
        self.q = rot.turned(self.q, turned[:, 3:])

    def _scaled(self, step: Array) -> tuple[Array, Array]:
        """Change of the chords in element lengths (m, 3), turns of the nodes in rad (n, 3).

        The turns of the supports' axes don't matter: the lengths of vectors are the same.
        """
        turned = (self._turn.T @ step).reshape(-1, 6)
        chords = np.diff(turned[self.mesh.ends, :3], axis=1)[:, 0]
        return chords / self.elements.lengths[:, None], turned[:, 3:]

    def _size(self, step: Array) -> float:
        """Root-mean-square of a correction, in element lengths and rad."""
        chords, turns = self._scaled(step)
        return float(np.sqrt(np.mean(chords**2) + np.mean(turns**2)))

    def _largest(self, step: Array) -> float:
        return float(max(np.abs(part).max(initial=0.0) for part in self._scaled(step)))


def _one_changed(guess: list[Touching], found: list[Touching]) -> list[Touching]:
    """The guess with its first wrong entry changed."""
    flat, wrong = (
        np.concatenate(guess),
        np.flatnonzero(np.concatenate(guess) != np.concatenate(found)),
    )
    flat[wrong[0]] = ~flat[wrong[0]]
    return list(np.split(flat, np.cumsum([len(part) for part in guess])[:-1]))
