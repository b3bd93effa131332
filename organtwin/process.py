"""The contract of everything that moves in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from organtwin.solve.outcome import Step


class HasState(Protocol):
    """What can be kept and gone on from."""

    @property
    def state(self) -> Mapping[str, NDArray[np.float64]]:
        """Views of all arrays needed to go on from here (this rank's part); writing restores."""
        ...


@runtime_checkable
class HasFactors(Protocol):
    """What begins a step with more than a state: kept factors, and what they are known to miss.

    A state alone goes on to the tolerance of the solver, with them it goes on as if not stopped.
    """

    def factors(self) -> Mapping[str, NDArray[np.float64]]:
        """Arrays of this rank, of any shape."""
        ...

    def take_factors(self, known: Mapping[str, NDArray[np.float64]]) -> None:
        """Begin with what `factors` told on as many ranks; may be empty. Collective."""
        ...


class Process(HasState, Protocol):
    """One physics or a coupled heart: something with a state that can be advanced.

    Coupling is composition: a process may hold others and advance them.
    """

    def advance(self, t0: float, t1: float) -> Step:
        """Move from ``t0`` to ``t1`` (ms); on failure the state is as it was at ``t0``."""
        ...


@dataclass(frozen=True)
class Places:
    """Where the entries of a state are, so that it can go on with the mesh shared out otherwise.

    Attributes:
        keys: Coordinates (mm) and component of the entries of each set of places, shape (n, 4), of
            this rank; the same entry has the same key wherever it is. A number in the mesh's file
            may stand for the first coordinate.
        of: Set of the last axis of each array, by its name in the state; arrays that are not in it
            are the same on all ranks.
    """

    keys: Mapping[str, NDArray[np.float64]]
    of: Mapping[str, str]

    def within(self, prefix: str) -> Places:
        """The same of a state whose names, and those of the sets, begin with a prefix."""
        keys = {prefix + name: values for name, values in self.keys.items()}
        return Places(keys, {prefix + name: prefix + kind for name, kind in self.of.items()})

    def __or__(self, other: Places) -> Places:
        """Both, of a state with both parts."""
        return Places({**self.keys, **other.keys}, {**self.of, **other.of})


def keyed(points: NDArray[np.float64], components: int = 1) -> NDArray[np.float64]:
    """Keys of entries at points (n, 3), component after component at each, shape (n · c, 4)."""
    which = np.tile(np.arange(components, dtype=np.float64), len(points))
    return np.column_stack([np.repeat(points, components, axis=0), which])


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
