"""Activation, repolarisation and cycle length of every node, while the wave runs."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.electrophysiology.reaction_diffusion import NOT_ACTIVATED, THRESHOLD
from organtwin.errors import InputError
from organtwin.parallel import on_root
from organtwin.solve.native import STRICT, compiled

Array = NDArray[np.float64]

_DOUBLES = np.ctypeslib.ndpointer(dtype=np.float64, flags="C_CONTIGUOUS")
#: Fused multiply–adds round otherwise, and not in the same nodes on each number of ranks.
_FLAGS = (*STRICT, "-ffp-contract=off")
#: Rows of `Beats.state`, as in recorders.c.
_ROWS = (
    "level", "extreme", "rate", "rest", "activation", "first_activation", "repolarisation",
    "apd", "cycle_length", "upstroke", "count",
)  # fmt: skip
_TIMES = ("activation", "first_activation", "repolarisation", "apd", "cycle_length")


class Beats:
    """Times of the last beat of each node, and how many there were.

    A node is activated when v rises through the threshold, and can be again after it has
    repolarised: v has fallen below a potential, or by a share of the beat's own amplitude, from
    the highest v since activation towards the lowest v between the last repolarisation and the
    upstroke. Both times are linear in v within a step. Where there was none they are
    `NOT_ACTIVATED`. Stimuli that lift v above the action potential count as amplitude.

    Each node is looked at by itself: results do not depend on the number of ranks.

    Args:
        n: Number of local nodes.
        comm: Communicator; collective.
        threshold: Potential of activation (mV).
        repolarised: Potential of repolarisation (mV), below the threshold; the share if omitted.
        share: Part of the amplitude by which v has come back at repolarisation, 0.9 for APD90.
        begun: Added to all times (ms): when the clock of the process began.

    Raises:
        InputError: the potentials are in the wrong order, or the share is not within 0 to 1.
    """

    def __init__(
        self,
        n: int,
        comm: MPI.Comm = MPI.COMM_WORLD,
        *,
        threshold: float = THRESHOLD,
        repolarised: float | None = None,
        share: float = 0.9,
        begun: float = 0.0,
    ) -> None:
        _check(threshold, repolarised, share)
        self._threshold = threshold
        self._fixed = np.nan if repolarised is None else repolarised
        self._share = share
        self._begun = begun
        self._native = on_root(comm, lambda: str(compiled(_source(), flags=_FLAGS)))
        self._rows = np.zeros((len(_ROWS), n))
        self._row("level")[:] = -np.inf
        self._row("extreme")[:] = np.inf
        for name in _TIMES:
            self._row(name)[:] = NOT_ACTIVATED

    @property
    def state(self) -> Mapping[str, Array]:
        """All that is known of the nodes, in one array."""
        return {"beats": self._rows}

    def record(self, t: float, dt: float, before: Array, after: Array) -> None:
        """Look at a step from ``t`` to ``t + dt`` (ms)."""
        _functions(self._native).record_beats(
            self._rows.shape[1], self._begun + t, dt, before, after, self._threshold, self._fixed,
            self._share, NOT_ACTIVATED, self._rows,
        )  # fmt: skip

    @property
    def activation(self) -> Array:
        """Last activation (ms), (n,)."""
        return self._row("activation")

    @property
    def first_activation(self) -> Array:
        """First activation (ms), (n,)."""
        return self._row("first_activation")

    @property
    def repolarisation(self) -> Array:
        """Last repolarisation (ms), (n,); before the last activation while a beat lasts."""
        return self._row("repolarisation")

    @property
    def apd(self) -> Array:
        """Duration of the last complete action potential (ms), (n,)."""
        return self._row("apd")

    @property
    def cycle_length(self) -> Array:
        """Time between the last two activations (ms), (n,)."""
        return self._row("cycle_length")

    @property
    def upstroke(self) -> Array:
        """Largest dv/dt of the last beat, mean over a step (mV/ms), (n,); 0 without one."""
        return self._row("upstroke")

    @property
    def count(self) -> Array:
        """Number of activations, (n,)."""
        return self._row("count")

    def fields(self, V: fem.FunctionSpace) -> dict[str, fem.Function]:
        """Copies of the results as functions on the space that v lies in."""
        wanted = (*_TIMES, "upstroke", "count")
        found = {name: fem.Function(V, name=name) for name in wanted}
        for name, function in found.items():
            function.x.array[:] = self._row(name)
        return found

    def _row(self, name: str) -> Array:
        return np.asarray(self._rows[_ROWS.index(name)])


def _check(threshold: float, repolarised: float | None, share: float) -> None:
    if repolarised is not None and not repolarised < threshold:
        raise InputError(
            "beats",
            f"repolarised at {repolarised:g} mV, activated at {threshold:g} mV.",
            "Repolarisation must be below the threshold.",
        )
    if not 0 < share < 1:
        raise InputError("beats", f"a share of {share:g} of the amplitude.", "Take 0 to 1.")


def _source() -> str:
    return (files("organtwin.electrophysiology") / "recorders.c").read_text("utf-8")


@cache
def _functions(library: str) -> ctypes.CDLL:
    code = ctypes.CDLL(library)
    number = ctypes.c_double
    code.record_beats.argtypes = [
        ctypes.c_size_t, number, number, _DOUBLES, _DOUBLES, number, number, number, number,
        _DOUBLES,
    ]  # fmt: skip
    code.record_beats.restype = None
    return code
