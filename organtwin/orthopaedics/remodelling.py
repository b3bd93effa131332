"""Bone that adapts its density to its strain energy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.orthopaedics.weighted_indices import largest
from organtwin.parallel import agree, total

type Floats = NDArray[np.float64]

#: Limits of the density (mg/mm³), and share of it that one step changes at most; our choice.
LOWEST, HIGHEST, STEP = 0.05, 1.92, 0.10


@dataclass(frozen=True)
class RemodellingLaw:
    r"""Density that follows the stimulus outside of a dead zone.

    .. math:: \dot\rho = B (S - (1 + s) S_0) \text{ above, } 0 \text{ within, } B (S - (1 - s) S_0)
        \text{ below}

    Attributes:
        rate: B (mg/mm³ per J/kg and unit of time).
        dead_zone: s, 0 to 1.
        lowest: Least density (mg/mm³).
        highest: Largest density (mg/mm³).

    Source:
        Weinans, Huiskes & Grootenboer (1992), J. Biomech. 25:1425-1441, remembered, not read; with
        S₀ = 4 J/kg for all bone there, or that of the intact bone cell by cell. Limits and steps
        are our choice.
    """

    rate: float = 1.0
    dead_zone: float = 0.0
    lowest: float = LOWEST
    highest: float = HIGHEST

    def __post_init__(self) -> None:
        if not self.rate > 0.0 or not 0.0 <= self.dead_zone < 1.0:
            raise InputError("remodelling", f"rate {self.rate:g}, dead zone {self.dead_zone:g}.",
                             "Give a positive rate and a dead zone of 0 to 1.")  # fmt: skip
        if not 0.0 < self.lowest < self.highest:
            raise InputError("remodelling", f"{self.lowest:g} to {self.highest:g} mg/mm³.",
                             "Give 0 < lowest < highest.")  # fmt: skip

    def speed(self, stimulus: Floats, reference: Floats | float) -> Floats:
        """Rate of the density (mg/mm³ per unit of time), shape (n,)."""
        over = np.maximum(stimulus - (1.0 + self.dead_zone) * reference, 0.0)
        under = np.minimum(stimulus - (1.0 - self.dead_zone) * reference, 0.0)
        return np.asarray(self.rate * (over + under))


@dataclass(frozen=True)
class Adapted:
    """What became of the bone.

    Attributes:
        density: Density at the end (mg/mm³), shape (n,).
        time: Times of all steps.
        mass: Mass of the bone at these times (mg).
        settled: Whether no density changes by more than the tolerance per unit of time any more.
    """

    density: Floats
    time: tuple[float, ...]
    mass: tuple[float, ...]
    settled: bool


def adapt_density(
    density: Floats, volume: Floats, energy: Callable[[Floats], Floats], law: RemodellingLaw, *,
    reference: Floats | float, comm: MPI.Comm, step: float, until: float,
    largest_change: float = STEP, tolerance: float = 1e-6,
) -> Adapted:  # fmt: skip
    """Density in explicit steps, each of which changes it by a bounded share; collective.

    Args:
        density: Density of this rank's cells at the start (mg/mm³), shape (n,).
        volume: Their volumes (mm³), shape (n,).
        energy: Strain energy density (kPa, mean over loads) of a density; it solves, collective.
        law: How the density follows.
        reference: S₀ (J/kg), of all or of each cell.
        comm: Communicator.
        step: Largest step of time.
        until: Time to stop at.
        largest_change: Share of its density that a cell gains or loses in a step at most.
        tolerance: Largest rate over density that counts as settled (per unit of time).

    Raises:
        InputError: no positive density, step, time or change. Collective.
    """
    wrong = (
        not (density > 0.0).all() or not step > 0.0 or not until > 0.0
        or not 0.0 < largest_change < 1.0
    )  # fmt: skip
    agree(comm, InputError("remodelling", "a density, step, time or change that is not positive.",
                           "Check the densities.") if wrong else None)  # fmt: skip
    now, at = np.clip(density, law.lowest, law.highest), 0.0
    times, masses, settled = [0.0], [total(comm, float(now @ volume))], False
    while at < until * (1.0 - 1e-12):
        speed = law.speed(energy(now) / now, reference)
        # At a limit nothing goes on.
        stuck = ((now <= law.lowest) & (speed < 0.0)) | ((now >= law.highest) & (speed > 0.0))
        speed = np.where(stuck, 0.0, speed)
        fastest = largest(comm, np.abs(speed) / now)
        settled = fastest <= tolerance
        if settled:
            break
        dt = min(step, until - at, largest_change / fastest)
        now = np.clip(now + dt * speed, law.lowest, law.highest)
        at += dt
        times.append(at)
        masses.append(total(comm, float(now @ volume)))
    return Adapted(now, tuple(times), tuple(masses), settled)
