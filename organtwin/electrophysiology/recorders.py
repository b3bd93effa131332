"""On-the-fly observers of the electrical activity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Recorder(Protocol):
    """Looks at every electrical step."""

    @property
    def state(self) -> Mapping[str, Array]:
        """Views of what has to be kept to go on from here."""
        ...

    def record(self, t: float, dt: float, before: Array, after: Array) -> None:
        """Look at the step from ``t`` to ``t + dt`` (ms): v (mV) at its ends, at local nodes."""
        ...
