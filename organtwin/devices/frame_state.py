"""The state of a frame as named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.equilibrium import BeamProblem

Array = NDArray[np.float64]


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


def copies(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Copies of arrays, their names with a prefix."""
    return {prefix + name: np.array(values) for name, values in arrays.items()}


def within(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays whose names have a prefix, without it."""
    n = len(prefix)
    return {name[n:]: values for name, values in arrays.items() if name.startswith(prefix)}
