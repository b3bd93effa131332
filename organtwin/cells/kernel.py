"""Compiled cell models: built once per content and processor, then called on whole arrays.

What time steps do to an action potential stands in docs/ionic-accuracy.md. All schemes are stable
with steps of the upstroke's length; the explicit step of the potential overshoots there by some
millivolts at 0.05 ms, which sub-steps (`Kernel.substeps`) or the scheme of order 2 avoid.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.cells import codegen
from organtwin.cells import model as model_module
from organtwin.cells.codegen import Scheme
from organtwin.cells.model import CellModel
from organtwin.errors import InputError
from organtwin.parallel import on_root
from organtwin.solve.native import compiled

Array = NDArray[np.float64]

_POINTER = np.ctypeslib.ndpointer(dtype=np.float64, flags="C_CONTIGUOUS")


class Kernel:
    """A cell model at many points at once.

    States are rows, ``(n_states, n)``, without the potential, which stands apart as ``(n,)``:
    neighbours in memory are neighbours in the loop, so the compiler vectorises it.

    Args:
        model: Equations and numbers.
        library: Shared library of its C code.
        fields: Parameters that have a value of their own in each cell, in the library's order.
        substeps: Parts that a cell's step is cut into where its potential moves by more than
            ``tolerance`` in one go; 1 for never.
        tolerance: That change of the potential (mV).
    """

    def __init__(
        self,
        model: CellModel,
        library: Path,
        fields: Sequence[str] = (),
        *,
        substeps: int = 1,
        tolerance: float = 1.0,
    ) -> None:
        self.model = model
        self.fields = tuple(fields)
        self.substeps, self.tolerance = substeps, tolerance
        self.states = tuple(name for name in model.states if name != model.potential)
        self.initial_potential = model.states[model.potential]
        self._parameters = np.array(list(model.parameters.values()))
        code = ctypes.CDLL(str(library))
        size, number, rows = ctypes.c_size_t, ctypes.c_double, ctypes.POINTER(ctypes.c_void_p)
        self._step = code.step
        self._step.argtypes = [
            _POINTER, size, _POINTER, size, number, number, _POINTER, rows, number, size,
        ]  # fmt: skip
        self._step.restype = None
        self._rates = code.rates
        self._rates.argtypes = [
            _POINTER, size, _POINTER, size, _POINTER, _POINTER, _POINTER, rows,
        ]  # fmt: skip
        self._rates.restype = None
        self._current = code.current
        self._current.argtypes = [_POINTER, size, _POINTER, size, _POINTER, _POINTER, rows]
        self._current.restype = None

    @property
    def n_states(self) -> int:
        """Number of states without the potential."""
        return len(self.states)

    def initial_states(self, n: int = 1) -> Array:
        """Initial values, shape (n_states, n)."""
        values = [self.model.states[name] for name in self.states]
        return np.repeat(np.array(values)[:, None], n, axis=1)

    def step(
        self,
        states: Array,
        v: Array,
        t: float,
        dt: float,
        stimulus: float = 0.0,
        fields: Sequence[Array] = (),
    ) -> None:
        """Advance all cells in place by ``dt`` (ms), without diffusion.

        Args:
            states: Shape (n_states, n), C-contiguous.
            v: Potential (mV), shape (n,).
            t: Time (ms); the equations do not depend on it.
            dt: Step (ms).
            stimulus: Depolarising current per capacitance (mV/ms) in all cells.
            fields: Values of the parameters ``self.fields``, shape (n,) each.

        Raises:
            InputError: the arrays do not fit the model.
        """
        rows = self._check(states, v, fields)
        self._step(
            states, v.size, v, v.size, dt, stimulus, self._parameters, rows,
            self.tolerance, self.substeps,
        )  # fmt: skip

    def rates(self, states: Array, v: Array, fields: Sequence[Array] = ()) -> tuple[Array, Array]:
        """Right-hand side: dy/dt, shape (n_states, n), and dv/dt (mV/ms), shape (n,)."""
        rows = self._check(states, v, fields)
        dy, dv = np.empty_like(states), np.empty_like(v)
        self._rates(states, v.size, v, v.size, dy, dv, self._parameters, rows)
        return dy, dv

    def current(self, states: Array, v: Array, out: Array, fields: Sequence[Array] = ()) -> None:
        """Write dv/dt = −I_ion/C_m (mV/ms), shape (n,), into ``out``."""
        rows = self._check(states, v, fields)
        self._current(states, v.size, v, v.size, out, self._parameters, rows)

    def calcium(self, states: Array) -> Array:
        """Free cytosolic calcium (µM), shape (n,).

        Raises:
            InputError: the model has no calcium.
        """
        name = self.model.calcium
        if name is None:
            raise InputError(
                f"cell model `{self.model.name}`",
                "it has no calcium.",
                "Choose an ionic model with calcium, or another law of active tension.",
            )
        return np.asarray(states[self.states.index(name)] * self.model.to_micromolar)

    def _check(self, states: Array, v: Array, fields: Sequence[Array]) -> Any:
        """Addresses of the fields, once all shapes fit."""
        if states.shape != (self.n_states, v.size):
            raise InputError(
                f"kernel `{self.model.name}`",
                f"states of shape {states.shape} for {v.size} potentials.",
                f"Pass an array of shape ({self.n_states}, {v.size}).",
            )
        if [field.shape for field in fields] != [v.shape] * len(self.fields):
            raise InputError(
                f"kernel `{self.model.name}`",
                f"{len(fields)} fields of shapes {[field.shape for field in fields]}.",
                f"Pass one of shape {v.shape} for each of {list(self.fields)}.",
            )
        addresses = [field.ctypes.data for field in fields]
        return (ctypes.c_void_p * max(1, len(fields)))(*addresses)


def compile_kernel(
    model: CellModel,
    comm: MPI.Comm = MPI.COMM_SELF,
    *,
    scheme: Scheme = Scheme.GENERALISED_1,
    fields: Sequence[str] = (),
    substeps: int = 1,
    tolerance: float = 1.0,
) -> Kernel:
    """Build the kernel of a model, or take it from the cache; collective.

    Args:
        model: What to build.
        comm: Rank 0 compiles, the others load what it built.
        scheme: How the cells take a step.
        fields: Parameters that have a value of their own in each cell.
        substeps: See `Kernel`.
        tolerance: See `Kernel`.

    Raises:
        InputError: a field is no parameter of the model.
        SetupError: there is no working C compiler.
    """
    model.with_parameters(dict.fromkeys(fields, 0.0))
    generator = Path(codegen.__file__).read_text(encoding="utf-8")
    reader = Path(model_module.__file__).read_text(encoding="utf-8")
    content = "\n".join((generator, reader, scheme, *fields, model.potential, model.definition))

    def build() -> Path:
        return compiled(content, lambda: codegen.c_source(model, scheme, fields), kind="cells")

    library = on_root(comm, build)
    return Kernel(model, library, fields, substeps=substeps, tolerance=tolerance)
