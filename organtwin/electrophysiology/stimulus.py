"""Currents from outside the tissue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError


@dataclass(frozen=True)
class Stimulus:
    """A current injected around sites at the start of each beat.

    Attributes:
        sites: Points by name (mm), shape (3,) each.
        radius: Radius of the stimulated balls (mm).
        strength: Current per volume (µA/mm³), positive depolarises.
        duration: How long (ms).
        start: Time of the first stimulus (ms).
        period: Time between stimuli (ms); infinite for a single one.
    """

    sites: Mapping[str, NDArray[np.float64]]
    radius: float
    strength: float = 50.0
    duration: float = 2.0
    start: float = 0.0
    period: float = np.inf

    def nodes(self, V: fem.FunctionSpace) -> NDArray[np.int32]:
        """Local nodes (owned and ghosts) that are stimulated; collective.

        Raises:
            InputError: a site has no node of the mesh within its radius.
        """
        x = V.tabulate_dof_coordinates()
        chosen = np.zeros(len(x), dtype=bool)
        for name, point in self.sites.items():
            near = np.linalg.norm(x - point, axis=1) <= self.radius
            if not V.mesh.comm.allreduce(bool(near.any()), op=MPI.LOR):
                raise InputError(
                    f"stimulus site `{name}`",
                    f"no node of the mesh lies within {self.radius:g} mm of it.",
                    "Enlarge the radius, or move the site onto the tissue.",
                )
            chosen |= near
        return np.flatnonzero(chosen).astype(np.int32)

    def is_on(self, t: float) -> bool:
        """Whether the current flows right after ``t`` (ms)."""
        since = t - self.start
        if since < -1e-9:
            return False
        phase = since % self.period if np.isfinite(self.period) else since
        # Rounding of t must not cut or add a step.
        return bool(phase < self.duration - 1e-9 or self.period - phase < 1e-9)

    def overlaps(self, t0: float, t1: float) -> bool:
        """Whether the current flows at any time between ``t0`` and ``t1`` (ms)."""
        onset = self.start
        if np.isfinite(self.period):
            onset += max(0.0, np.floor((t1 - 1e-9 - self.start) / self.period)) * self.period
        return bool(onset < t1 - 1e-9 and onset + self.duration > t0 + 1e-9)

    def beat(self, t: float) -> int:
        """Number of the beat that ``t`` (ms) belongs to, 0 for the first."""
        if t < self.start or not np.isfinite(self.period):
            return 0
        return int((t - self.start + 1e-9) // self.period)
