"""A frame in tissue: both and the tools around in one equilibrium."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray
from petsc4py import PETSc
from scipy.sparse import coo_array, csr_array, hstack, vstack

from organtwin.devices.equilibrium import BeamProblem, Beams
from organtwin.devices.foreseen import same, stops, when_done
from organtwin.devices.frame_first import go_first
from organtwin.devices.frame_state import copies, frame_arrays, restore_frame, within
from organtwin.devices.kept_factors import KeptFactors
from organtwin.devices.newton import Attempt, Correction, Guess, Place, find_equilibrium
from organtwin.devices.placement import Placed
from organtwin.devices.tissue_contact import Felt, TissueContact
from organtwin.errors import InputError
from organtwin.mechanics.problem import Mechanics
from organtwin.parallel import total
from organtwin.solve.assembly import integral
from organtwin.solve.linear import parts

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Forces left over in tissue (mN) that are no reason to move it.
SMALL = 1e-3
#: Most times that the contact of a correction is sought.
ROUNDS = 4
#: See `Deployment`.
TOLERANCE = 1e-6
#: Steps in a row that are given up because the frame alone finds no equilibrium.
REFUSALS = 3
#: Motion of the tissue over the size of facets up to which its tangent is kept.
KEPT = 1e-3


@dataclass(frozen=True)
class Bodies:
    """Frame and tissue at a place.

    Attributes:
        beams: What the beams do.
        tissue: This rank's residual of the tissue without contact, zero where supported.
    """

    beams: Beams
    tissue: Array


class Deployment:
    """A frame, its tools and the tissue around it in one equilibrium, a `newton.System`.

    Steps are the translations and spins of the frame's nodes, the same on all ranks, followed by
    this rank's unknowns of the tissue. One matrix holds both, the frame's rows on the last rank:

        [K_tissue + C_tt   C_tf          ]
        [C_ft              K_frame + C_ff]

    with the contact C between them (`TissueContact`) and that of the tools within K_frame.

    Args:
        tissue: The body; its loads and cavity pressures are as they were given.
        beams: The frame, with its tools as actions.
        contact: Between both.
        drag: Gives the stiffness that holds the tissue where it was at the start of the step
            (mN/mm per mm³), as blood does: thin leaflets fold and snap, which no equilibrium
            follows. It is shared alike among the nodes. None without it.
        tolerance: Size of what a correction leaves that ends an iteration, in lengths of elements
            and rad; far below the penetrations over an element.

    Attributes:
        factors: Of the matrix, with their account.

    Raises:
        InputError: the tissue is supported along directions that are no axes.
    """

    def __init__(
        self, tissue: Mechanics, beams: BeamProblem, contact: TissueContact, *,
        drag: Callable[[], float] | None = None, tolerance: float = TOLERANCE,
    ) -> None:  # fmt: skip
        if tissue.supports.skew is not None:
            raise InputError(
                "Deployment", "the tissue is held along a direction that is no axis.",
                "Prescribe components along x, y and z, or hold it by springs.",
            )  # fmt: skip
        self.tissue, self.beams, self.contact = tissue, beams, contact
        self.comm = tissue.domain.comm
        index_map, block = tissue.W.dofmap.index_map, tissue.W.dofmap.index_map_bs
        self._own, self._all = index_map.size_local * block, index_map.size_global * block
        self._first = index_map.local_range[0] * block
        self._last = self.comm.rank == self.comm.size - 1
        self._frame = beams.elements.size
        self.factors = KeptFactors()
        self._tangent_at: Array | None = None
        self._tangent = csr_array((0, 0))
        self._tissue_matrix: PETSc.Mat | None = None
        self._change = fem.Function(tissue.W)
        self._refused, self._tolerance = 0, tolerance
        self._drag, self._drag_then = drag or (lambda: 0.0), 0.0
        self._lumps = _lumps(tissue)[: self._own]
        self._start = tissue.w.x.array[: self._own].copy()

    # --- state ----------------------------------------------------------------------------------

    @property
    def state(self) -> Mapping[str, Array]:
        """Everything needed to go on from here; copies, `restore` writes them back."""
        return {
            **copies("tissue.", self.tissue.state), **copies("contact.", self.contact.state),
            **copies("frame.", frame_arrays(self.beams)),
        }  # fmt: skip

    def restore(self, saved: Mapping[str, Array]) -> None:
        """Go back to a saved `state`; collective."""
        self.tissue.restore(within("tissue.", saved))
        self.tissue.w.x.scatter_forward()
        for name, values in self.contact.state.items():
            values[...] = saved[f"contact.{name}"]
        restore_frame(self.beams, within("frame.", saved))
        self._start[:] = self.tissue.w.x.array[: self._own]
        self.contact.refresh(self.beams.x, self.beams.q)

    def keep(self) -> Callable[[], None]:
        """What brings everything back to the accepted state."""
        return partial(self.restore, self.state)

    def commit(self) -> None:
        """Accept the present state: the next step starts from it. Collective."""
        self.contact.refresh(self.beams.x, self.beams.q)
        self.contact.commit()
        self.tissue.commit()
        self.beams.commit()
        self._start[:] = self.tissue.w.x.array[: self._own]

    def solve(self, prescribed: Array | None = None) -> Attempt:
        """Find equilibrium from the present state, which is kept if there is none; collective.

        Args:
            prescribed: Motion of the frame's held components, as `BeamProblem.solve` takes it.
        """
        self.tissue.move_supports()
        self.tissue.follow_supports()
        kept, frame = copies("", self.contact.state), self.beams.place()
        led = False
        if self._is_apart():
            attempt = self.beams.solve(prescribed)
            self.contact.refresh(self.beams.x, self.beams.q)
            if not attempt.converged or not self.contact.touches:
                return attempt
            self.beams.put(frame)
            self._put_back(kept)
        elif prescribed is None and self._is_driven():
            led = self._leads()
            if not led:
                return Attempt(False, 0, "The frame alone finds no equilibrium.")
        for _ in range(1 + led):  # once more without, where the frame went astray
            attempt = find_equilibrium(self, prescribed, self.correction, self._tolerance)
            if attempt.converged:
                break
            self.beams.put(frame)
            self._put_back(kept)
        return attempt

    def _is_apart(self) -> bool:
        """Whether nothing touches, and the tissue is at rest: the frame moves alone. Collective."""
        residual = self.tissue.residual()
        if not self._finite(residual):
            return False
        rest = float(np.abs(residual).max(initial=0.0))
        if self.comm.allreduce(rest, op=MPI.MAX) >= SMALL:
            return False
        self.contact.refresh(self.beams.x, self.beams.q)
        return not self.contact.touches

    def _is_driven(self) -> bool:
        """Whether tools press on the frame, and none around it gives way.

        A frame that is let go has more than the step's work to give: alone it runs far ahead.
        """
        touching = self.beams.foresee(np.zeros(self._frame))
        pressing = [a for a, on in zip(self.beams.actions, touching, strict=True) if on.any()]
        tools = [action.tool if isinstance(action, Placed) else action for action in pressing]
        return bool(tools) and not any(getattr(tool, "around", False) for tool in tools)

    def _leads(self) -> bool:
        """Move the frame alone to where both may meet.

        Returns:
            False when it finds no equilibrium, unless that was so `REFUSALS` times: a shorter step
            costs less than to learn the same of both.
        """
        self.contact.refresh(self.beams.x, self.beams.q)
        if go_first(self.beams, self.contact):
            self._refused = 0
            return True
        self._refused = (self._refused + 1) % (REFUSALS + 1)
        return self._refused == 0

    def _put_back(self, kept: Mapping[str, Array]) -> None:
        for name, values in self.contact.state.items():
            values[...] = kept[name]

    # --- newton.System --------------------------------------------------------------------------

    def respond(
        self, before: Bodies | None = None, step: Array | None = None, share: float = 1.0
    ) -> Bodies:
        """What frame and tissue do at the present place; collective."""
        tissue = self.tissue.residual()
        if not self._finite(tissue):
            return Bodies(self.beams.respond(), np.full_like(tissue, np.nan))
        tissue = tissue + self._drag() * self._lumps * (
            self.tissue.w.x.array[: self._own] - self._start
        )
        self.contact.refresh(self.beams.x, self.beams.q)
        if before is None or step is None:
            return Bodies(self.beams.respond(), tissue)
        return Bodies(self.beams.respond(before.beams, step[: self._frame], share), tissue)

    def residual(self, here: Bodies, touching: Sequence[Guess], *, expected: bool = False) -> Array:
        """Forces left over on the frame's free components and on this rank's tissue."""
        *tools, motion = touching
        felt = self.contact.felt(motion)
        forces = here.beams.mixed if expected else here.beams.forces
        left = self.beams.unbalanced(forces, tools)
        left[:, :3] -= self.contact.on_nodes(felt, len(self.beams.x))
        tissue = here.tissue.copy()
        rows, values = self.contact.on_rows(felt)
        here_ = (rows >= self._first) & (rows < self._first + self._own)
        np.add.at(tissue, rows[here_] - self._first, -values[here_])
        return np.concatenate([self.beams.free_part(left), tissue])

    def linearise(self, here: Bodies, touching: Sequence[Guess]) -> _Together | None:
        """The coupled matrix, with factors of it or of one before; collective."""
        self._keep_tangent()
        matrix, motion = self._matrix(here, touching)
        if not self.factors.take(matrix):
            return None
        return _Together(self, matrix, motion)

    def touched(self) -> list[Guess]:
        """Contact of the tools and of the tissue."""
        return [*self.beams.touched(), np.zeros((len(self.contact.points.length), 3))]

    def foresee(self, step: Array) -> list[Guess]:
        """What a straight step brings or leaves in contact; collective."""
        return [*self.beams.foresee(step[: self._frame]), self._motion(step)]

    def correction(
        self, here: Bodies, prescribed: Array | None, guess: list[Guess]
    ) -> Correction | None:
        """Correction whose contact is what it brings about; collective.

        What touches and slides is found before anything moves, for straight motions: Newton's
        method again, for the law of contact alone. It goes along each of its corrections as far as
        the forces left over do work on it.
        """
        start = np.zeros(self._frame + self._own)
        if prescribed is not None:
            start = self.held(prescribed)
        step, now, found = start, guess, None
        for _ in range(ROUNDS):
            linear = self.linearise(here, now)
            if linear is None:
                return None
            residual = self.residual(here, now)
            end = start + linear.step(residual + linear.lifted(start))
            if not self._finite(end):
                return Correction(end, linear, now)
            then = self.foresee(end)
            if same(self.contact, now, then):
                return Correction(end, linear, when_done(then))
            way = end - step
            share = self._share(here, step, way)
            step = step + share * way
            now = then if share == 1.0 else self.foresee(step)
            found = Correction(step, linear, when_done(now))
        return found

    def held(self, motion: Array) -> Array:
        """Step that moves the frame's held components alone."""
        return np.concatenate([self.beams.held(motion), np.zeros(self._own)])

    def place(self) -> Place:
        """Positions and rotations of the frame, displacement of the tissue."""
        return *self.beams.place(), self.tissue.w.x.array.copy()

    def put(self, place: Place) -> None:
        """Go back."""
        *frame, w = place
        self.beams.put(tuple(frame))
        self.tissue.w.x.array[:] = w

    def move(self, step: Array) -> None:
        """Go on; collective."""
        self.beams.move(step[: self._frame])
        self.tissue.w.x.array[: self._own] += step[self._frame :]
        self.tissue.w.x.scatter_forward()

    def size(self, step: Array) -> float:
        """Root-mean-square over the frame, and over the tissue in sizes of facets; collective."""
        tissue = step[self._frame :]
        if not self._finite(step):
            return float("nan")
        mean = total(self.comm, float(tissue @ tissue)) / self._all
        return float(
            np.hypot(self.beams.size(step[: self._frame]), np.sqrt(mean) / self.contact.size)
        )

    def largest(self, step: Array) -> float:
        """Largest of the frame's, and of the tissue's in sizes of facets; collective."""
        tissue = float(np.abs(step[self._frame :]).max(initial=0.0)) / self.contact.size
        most = float(self.comm.allreduce(tissue, op=MPI.MAX))
        return max(self.beams.largest(step[: self._frame]), most)

    # --- contact that a correction brings about ---------------------------------------------------

    def _motion(self, step: Array) -> Array:
        """Motion of the points relative to the tissue, (points, 3); collective."""
        dx = self.beams.fixed(step[: self._frame])[:, :3]
        return self.contact.foresee(dx, self.contact.surface_motion(self._tissue_change(step)))

    def _share(self, here: Bodies, start: Array, way: Array) -> float:
        """How far to go on from a step, 0 to 1 times the way; collective.

        Up to where the forces left over, linear but for contact, do no more work.
        """
        frame, own = self._frame, slice(self._frame, None)
        b = here.beams.tangent
        dx, dway = (self.beams.fixed(v[:frame]) for v in (start, way))
        constant = total(self.comm, float(way[own] @ (here.tissue + self._times(start[own]))))
        slope = total(self.comm, float(way[own] @ self._times(way[own])))
        constant += float(dway.ravel() @ (here.beams.forces.ravel() + b @ dx.ravel()))
        slope += float(dway.ravel() @ (b @ dway.ravel()))
        one, motion = self._motion(start), self._motion(way)

        def work(share: float) -> float:
            moved = (dx + share * dway)[:, :3]
            found = constant + share * slope - self.contact.work(one + share * motion, motion)
            for action in self.beams.actions:
                force, block = action.push(self.beams.x, action.foresee(self.beams.x, moved))
                force = force + np.einsum("nij,nj->ni", block, moved)
                found -= float(np.sum(force * dway[:, :3]))
            return found

        return stops(work)

    # --- matrices -------------------------------------------------------------------------------

    def _finite(self, part: Array) -> bool:
        return bool(self.comm.allreduce(bool(np.isfinite(part).all()), op=MPI.LAND))

    def _tissue_change(self, step: Array) -> Array:
        change = self._change.x
        change.array[: self._own] = step[self._frame :]
        change.scatter_forward()
        return np.asarray(change.array)

    def _times(self, change: Array) -> Array:
        """The tissue's tangent times a change of this rank's unknowns; collective."""
        assert self._tissue_matrix is not None
        x = self._tissue_matrix.createVecRight()
        x.array[:] = change
        y = self._tissue_matrix.createVecLeft()
        self._tissue_matrix.mult(x, y)
        found = y.array.copy()
        x.destroy()
        y.destroy()
        return found

    def _keep_tangent(self) -> None:
        """Assemble the tissue's tangent, unless it has hardly moved since; collective."""
        now, drag = self.tissue.w.x.array[: self._own], self._drag()
        if self._tangent_at is not None and drag == self._drag_then:
            moved = float(np.abs(now - self._tangent_at).max(initial=0.0)) / self.contact.size
            if self.comm.allreduce(moved, op=MPI.MAX) < KEPT:
                return
        self._drag_then = drag
        self._tangent_at, self._tangent = now.copy(), self._tissue_tangent()

    def _tissue_tangent(self) -> csr_array:
        """This rank's rows of the tissue's tangent."""
        matrix = self._tissue_matrix = self.tissue.tangent()
        diagonal = matrix.createVecLeft()
        diagonal.array[:] = self._drag_then * self._lumps
        matrix.setDiagonal(diagonal, addv=PETSc.InsertMode.ADD_VALUES)
        diagonal.destroy()
        indptr, indices, values = matrix.getValuesCSR()
        return csr_array((values, indices, indptr), shape=(self._own, self._all))

    def _matrix(
        self, here: Bodies, touching: Sequence[Guess]
    ) -> tuple[PETSc.Mat, tuple[csr_array, csr_array]]:
        """The coupled matrix, and what motions of all of the frame's components do.

        Returns:
            Matrix; forces by the frame's steps on its free components, and on this rank's tissue.
        """
        *tools, motion = touching
        felt = self.contact.felt(motion)
        beams, turn, free = self.beams, self.beams.turn, self.beams.free
        tt, tf, ft, ff = self._contact_blocks(felt)
        frame = csr_array(beams.matrix(here.beams, tools)) + csr_array(turn @ ff @ turn.T)[free]
        by_frame = csr_array(tf @ turn.T)
        rows = hstack([self._tangent + tt, by_frame[:, free]], format="csr")
        if self._last:
            last = hstack([csr_array(turn @ ft)[free], frame[:, free]], format="csr")
            rows = vstack([rows, last], format="csr")
        own, everything = rows.shape[0], self._all + len(free)
        matrix = PETSc.Mat().createAIJ(
            ((own, everything), (own, everything)),
            csr=(rows.indptr.astype(PETSc.IntType), rows.indices.astype(PETSc.IntType), rows.data),
            comm=self.comm,
        )
        return matrix, (frame, by_frame)

    def _contact_blocks(self, felt: Felt) -> tuple[csr_array, csr_array, csr_array, csr_array]:
        """Of contact with the tissue: this rank's rows of tt and tf, all of ft and ff."""
        nodes, rows, K, free = self.contact.blocks(felt)
        frame = (6 * nodes[:, :, None] + np.arange(3)).reshape(-1, 6)
        place = np.concatenate([frame, rows.reshape(len(rows), 3 * rows.shape[1])], axis=1)
        K = K * (free[:, :, None] & free[:, None])
        m, size, mine = place.shape[1], self._frame, self._own

        def block(i: slice, j: slice, shape: tuple[int, int], first: int = 0) -> csr_array:
            values = K[:, i, j]
            r = np.broadcast_to(place[:, i, None], values.shape).ravel() - first
            c = np.broadcast_to(place[:, None, j], values.shape).ravel()
            kept = (r >= 0) & (r < shape[0])
            found = coo_array((values.ravel()[kept], (r[kept], c[kept])), shape=shape)
            return csr_array(found)

        f, t = slice(0, 6), slice(6, m)
        return (
            block(t, t, (mine, self._all), self._first), block(t, f, (mine, size), self._first),
            block(f, t, (size, self._all)), block(f, f, (size, size)),
        )  # fmt: skip


def _lumps(tissue: Mechanics) -> Array:
    """Volume (mm³) of the body that each unknown stands for, zero where prescribed; collective."""
    V, _, dofs, _ = parts(tissue.W)
    volume = integral(fem.Constant(tissue.domain.mesh, 1.0) * tissue.domain.dx(degree=0))
    found = np.zeros(len(tissue.w.x.array))
    found[dofs] = volume / V.dofmap.index_map.size_global
    for bc in tissue.supports.bcs:
        found[bc.dof_indices()[0]] = 0.0
    return found


@dataclass(frozen=True)
class _Together:
    """Frame and tissue linearised at a place."""

    system: Deployment
    matrix: PETSc.Mat
    motion: tuple[csr_array, csr_array]

    def step(self, residual: Array) -> Array:
        """−A⁻¹ r; NaN where that fails. Collective."""
        system, n = self.system, len(self.system.beams.free)
        step = np.zeros(system._frame + system._own)
        if not system._finite(residual):
            return np.full_like(step, np.nan)
        b = self.matrix.createVecLeft()
        x = b.duplicate()
        b.array[: system._own] = -residual[n:]
        if system._last:
            b.array[system._own :] = -residual[:n]
        solved = system.factors.solve(b, x)
        frame = x.array[system._own :].copy() if system._last else None
        step[system.beams.free] = system.comm.bcast(frame, root=system.comm.size - 1)
        step[system._frame :] = x.array[: system._own]
        b.destroy()  # on several ranks what is merely dropped is never given back
        x.destroy()
        return step if solved else np.full_like(step, np.nan)

    def lifted(self, motion: Array) -> Array:
        """What a motion of the frame's held components adds to the residual."""
        frame, by_frame = self.motion
        part = motion[: self.system._frame]
        return np.concatenate([frame @ part, by_frame @ part])
