"""A frame in tissue: both and the tools around in one equilibrium."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray
from petsc4py import PETSc
from scipy.sparse import coo_array, csr_array, hstack, vstack

from organtwin.devices.equilibrium import BeamProblem, Beams
from organtwin.devices.kept_factors import KeptFactors
from organtwin.devices.newton import Attempt, Place, Touching, find_equilibrium
from organtwin.devices.tissue_contact import Felt, TissueContact
from organtwin.errors import InputError
from organtwin.mechanics.problem import Mechanics
from organtwin.parallel import total

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Forces left over in tissue (mN) that are no reason to move it.
SMALL = 1e-3


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

    Attributes:
        factors: Of the matrix, with their account.

    Raises:
        InputError: the tissue is supported along directions that are no axes.
    """

    def __init__(self, tissue: Mechanics, beams: BeamProblem, contact: TissueContact) -> None:
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
        self._tangent_of: Bodies | None = None
        self._tangent = csr_array((0, 0))
        self._change = fem.Function(tissue.W)

    # --- state ----------------------------------------------------------------------------------

    @property
    def state(self) -> Mapping[str, Array]:
        """Everything needed to go on from here; copies, `restore` writes them back."""
        return {
            **_copies("tissue.", self.tissue.state), **_copies("contact.", self.contact.state),
            **_copies("frame.", frame_arrays(self.beams)),
        }  # fmt: skip

    def restore(self, saved: Mapping[str, Array]) -> None:
        """Go back to a saved `state`; collective."""
        self.tissue.restore(_within("tissue.", saved))
        self.tissue.w.x.scatter_forward()
        for name, values in self.contact.state.items():
            values[...] = saved[f"contact.{name}"]
        restore_frame(self.beams, _within("frame.", saved))
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

    def solve(self, prescribed: Array | None = None) -> Attempt:
        """Find equilibrium from the present state, which is kept if there is none; collective.

        Args:
            prescribed: Motion of the frame's held components, as `BeamProblem.solve` takes it.
        """
        self._tangent_of = None
        self.tissue.move_supports()
        self.tissue.follow_supports()
        kept, frame = _copies("", self.contact.state), self.beams.place()
        if self._is_apart():
            attempt = self.beams.solve(prescribed)
            self.contact.refresh(self.beams.x, self.beams.q)
            if not attempt.converged or not self.contact.touched().touching.any():
                return attempt
            self.beams.put(frame)
            self._put_back(kept)
        attempt = find_equilibrium(self, prescribed)
        if not attempt.converged:
            self._put_back(kept)
        return attempt

    def _is_apart(self) -> bool:
        """Whether nothing touches, and the tissue is at rest: the frame moves alone. Collective."""
        rest = float(np.abs(self.tissue.residual()).max(initial=0.0))
        if not self.comm.allreduce(rest, op=MPI.MAX) < SMALL:  # nor where it is not finite
            return False
        self.contact.refresh(self.beams.x, self.beams.q)
        return not self.contact.touched().touching.any()

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
        self.contact.refresh(self.beams.x, self.beams.q)
        if before is None or step is None:
            return Bodies(self.beams.respond(), tissue)
        return Bodies(self.beams.respond(before.beams, step[: self._frame], share), tissue)

    def residual(
        self, here: Bodies, touching: Sequence[Touching], *, expected: bool = False
    ) -> Array:
        """Forces left over on the frame's free components and on this rank's tissue."""
        *tools, on, sliding = touching
        felt = Felt(on, sliding)
        forces = here.beams.mixed if expected else here.beams.forces
        left = self.beams.unbalanced(forces, tools)
        left[:, :3] -= self.contact.on_nodes(felt, len(self.beams.x))
        tissue = here.tissue.copy()
        rows, values = self.contact.on_rows(felt)
        here_ = (rows >= self._first) & (rows < self._first + self._own)
        np.add.at(tissue, rows[here_] - self._first, -values[here_])
        return np.concatenate([self.beams.free_part(left), tissue])

    def linearise(self, here: Bodies, touching: Sequence[Touching]) -> _Together | None:
        """The coupled matrix, with factors of it or of one before; collective."""
        if self._tangent_of is not here:
            self._tangent_of, self._tangent = here, self._tissue_tangent()
        matrix, motion = self._matrix(here, touching)
        if not self.factors.take(matrix):
            return None
        return _Together(self, matrix, motion)

    def touched(self) -> list[Touching]:
        """Contact of the tools and of the tissue."""
        felt = self.contact.touched()
        return [*self.beams.touched(), felt.touching, felt.sliding]

    def foresee(self, step: Array) -> list[Touching]:
        """What a straight step brings or leaves in contact; collective."""
        change = self._tissue_change(step)
        dx = self.beams.fixed(step[: self._frame])[:, :3]
        felt = self.contact.foresee(dx, self.contact.surface_motion(change))
        return [*self.beams.foresee(step[: self._frame]), felt.touching, felt.sliding]

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

    # --- matrices -------------------------------------------------------------------------------

    def _finite(self, part: Array) -> bool:
        return bool(self.comm.allreduce(bool(np.isfinite(part).all()), op=MPI.LAND))

    def _tissue_change(self, step: Array) -> Array:
        change = self._change.x
        change.array[: self._own] = step[self._frame :]
        change.scatter_forward()
        return np.asarray(change.array)

    def _tissue_tangent(self) -> csr_array:
        """This rank's rows of the tissue's tangent."""
        indptr, indices, values = self.tissue.tangent().getValuesCSR()
        return csr_array((values, indices, indptr), shape=(self._own, self._all))

    def _matrix(
        self, here: Bodies, touching: Sequence[Touching]
    ) -> tuple[PETSc.Mat, tuple[csr_array, csr_array]]:
        """The coupled matrix, and what motions of all of the frame's components do.

        Returns:
            Matrix; forces by the frame's steps on its free components, and on this rank's tissue.
        """
        *tools, on, sliding = touching
        felt = Felt(on, sliding)
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


def frame_arrays(beams: BeamProblem) -> dict[str, Array]:
    """Accepted state of a frame as named arrays."""
    state = beams.state()
    arrays = {"x": state.x, "q": state.q}
    for i, history in enumerate(state.histories):
        arrays |= {f"history{i}.{name}": values for name, values in history.items()}
    return arrays


def restore_frame(beams: BeamProblem, arrays: Mapping[str, Array]) -> None:
    """Bring a frame back to the state that `frame_arrays` told."""
    now = beams.state()
    histories = tuple(
        {name: arrays[f"history{i}.{name}"].copy() for name in history}
        for i, history in enumerate(now.histories)
    )
    beams.restore(replace(now, x=arrays["x"], q=arrays["q"], histories=histories))


def _copies(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {prefix + name: np.array(values) for name, values in arrays.items()}


def _within(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    n = len(prefix)
    return {name[n:]: values for name, values in arrays.items() if name.startswith(prefix)}
