"""The contract of everything that moves in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from organtwin.solve.outcome import Step


class Process(Protocol):
    """One physics or a coupled heart: something with a state that can be advanced.

    Coupling is composition: a process may hold others and advance them.
    """

    @property
    def state(self) -> Mapping[str, NDArray[np.float64]]:
        """Views of all arrays needed to go on from here (this rank's part); writing restores."""
        ...

    def advance(self, t0: float, t1: float) -> Step:
        """Move from ``t0`` to ``t1`` (ms); on failure the state is as it was at ``t0``."""
        ...


def write_back(
    state: Mapping[str, NDArray[np.float64]], saved: Mapping[str, NDArray[np.float64]]
) -> None:
    """Write saved values into the arrays that a state shows.

    Args:
        state: Views, by name.
        saved: Values of all of them, of the same shapes.
    """
    for name, values in state.items():
        values[...] = saved[name]
