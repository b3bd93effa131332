"""Cell models at the nodes of a mesh: who lives where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from organtwin.cells.kernel import Kernel
from organtwin.errors import InputError, suggestion

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """Cells of one model.

    Attributes:
        kernel: Their model.
        states: Their states at the start, shape (n_states,) or (n_states, n).
        v: Their potential at the start (mV), a number or shape (n,).
        nodes: Local nodes (owned and ghosts) that they live at, n of them; None for all.
        fields: Values of ``kernel.fields``, by name, shape (n,) each.
    """

    kernel: Kernel
    states: Array
    v: float | Array
    nodes: NDArray[np.int32] | None = None
    fields: Mapping[str, Array] = field(default_factory=dict)


class Cells:
    """The cells at the nodes of a mesh; nodes without cells are passive.

    Args:
        populations: Cells by model; a node belongs to one of them or to none.
        n: Number of local nodes (owned and ghosts).

    Raises:
        InputError: two populations share a node, or a field is missing.
    """

    def __init__(self, populations: Sequence[Population], n: int) -> None:
        taken = np.zeros(n, dtype=np.int64)
        for population in populations:
            taken[_nodes(population)] += 1
        if (taken > 1).any():
            raise InputError(
                "cells",
                f"node {int(np.argmax(taken > 1))} belongs to two populations.",
                "Give each node one cell model.",
            )
        #: Whether a node has a cell.
        self.excitable = taken == 1
        self.populations = tuple(populations)
        self._states = [_spread(p, int(self._count(p, n))) for p in populations]
        self._fields = [
            _fields(p, s.shape[1]) for p, s in zip(populations, self._states, strict=True)
        ]
        self._v = [np.empty(s.shape[1]) for s in self._states]

    @classmethod
    def uniform(cls, kernel: Kernel, states: Array, v: float | Array, n: int) -> Cells:
        """Cells of one model at all ``n`` local nodes."""
        return cls([Population(kernel, states, v)], n)

    @property
    def state(self) -> Mapping[str, Array]:
        """States by population: ``states``, ``states_1`` and so on."""
        return {_key(k): states for k, states in enumerate(self._states)}

    def states(self, population: int) -> Array:
        """States of a population, shape (n_states, n)."""
        return self._states[population]

    def fields(self, population: int) -> list[Array]:
        """Values of the fields of a population's kernel, in its order."""
        return self._fields[population]

    def rest(self, n: int) -> Array:
        """Potential at the start (mV) at ``n`` local nodes.

        Without a cell it is the initial potential of the first population's model, so that
        passive tissue neither excites its surroundings nor counts as excited.
        """
        v = np.full(n, self.populations[0].kernel.initial_potential if self.populations else 0.0)
        for population in self.populations:
            v[_nodes(population)] = population.v
        return v

    def step(self, v: Array, t: float, dt: float) -> None:
        """Advance all cells by ``dt`` (ms) without diffusion, in place; v (mV) at local nodes."""
        for population, states, mine, fields in zip(
            self.populations, self._states, self._v, self._fields, strict=True
        ):
            if population.nodes is None:
                population.kernel.step(states, v, t, dt, 0.0, fields)
                continue
            np.take(v, population.nodes, out=mine)
            population.kernel.step(states, mine, t, dt, 0.0, fields)
            v[population.nodes] = mine

    def calcium(self, n: int) -> Array:
        """Free calcium (µM) at ``n`` local nodes, 0 where there is no cell.

        Raises:
            InputError: a model has no calcium.
        """
        calcium = np.zeros(n)
        for population, states in zip(self.populations, self._states, strict=True):
            calcium[_nodes(population)] = population.kernel.calcium(states)
        return calcium

    def fault(self, v: Array) -> tuple[int, str] | None:
        """First node whose cell is not finite, and what is wrong with it; None if all are well."""
        for population, states in zip(self.populations, self._states, strict=True):
            kernel = population.kernel
            here = v if population.nodes is None else v[population.nodes]
            bad = ~np.isfinite(here) | ~np.isfinite(states).all(axis=0)
            if not bad.any():
                continue
            k = int(np.argmax(bad))
            rows = np.flatnonzero(~np.isfinite(states[:, k]))
            name = kernel.states[rows[0]] if len(rows) else kernel.model.potential
            value = states[rows[0], k] if len(rows) else here[k]
            node = k if population.nodes is None else int(population.nodes[k])
            return node, f"`{name}` of `{kernel.model.name}` is {value:g}"
        return None

    @staticmethod
    def _count(population: Population, n: int) -> int:
        return n if population.nodes is None else len(population.nodes)


def _nodes(population: Population) -> NDArray[np.int32] | slice:
    return slice(None) if population.nodes is None else population.nodes


def _key(k: int) -> str:
    return "states" if k == 0 else f"states_{k}"


def _spread(population: Population, n: int) -> Array:
    states = np.asarray(population.states, dtype=np.float64)
    columns = states.reshape(len(states), -1)
    return np.array(np.broadcast_to(columns, (len(states), n)), order="C")


def _fields(population: Population, n: int) -> list[Array]:
    """Fields in the order of the kernel."""
    kernel = population.kernel
    for name in kernel.fields:
        if name not in population.fields:
            raise InputError(
                f"cells of `{kernel.model.name}`",
                f"no values of `{name}`.",
                f"The kernel takes {list(kernel.fields)} cell by cell.",
            )
    for name in population.fields:
        if name not in kernel.fields:
            raise InputError(
                f"cells of `{kernel.model.name}`",
                f"`{name}` is no field of the kernel.",
                suggestion(name, kernel.fields),
            )
    return [
        np.array(np.broadcast_to(population.fields[name], (n,)), dtype=np.float64, order="C")
        for name in kernel.fields
    ]
