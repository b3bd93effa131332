"""How near an implant is to yielding and to breaking by fatigue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.implants.materials import ImplantMaterial
from organtwin.index import Found, Index
from organtwin.mechanics.derived import von_mises
from organtwin.orthopaedics.weighted_indices import largest, quantiles
from organtwin.parallel import agree, total

type Floats = NDArray[np.float64]

#: Share of an implant's volume whose stress is not larger than what is told.
SHARE = 0.999
#: Least over largest stress of the cycles that the fatigue limits of the catalogue stand for; they
#: are told as largest stresses. Our choice: the usual one of bench tests.
RATIO = 0.1
MPA = 1e3
SAFETY = "Safe above 1; no margin is in it. Our choice of the volume left out"
FATIGUE = (
    "Straight lines of Goodman and Soderberg, textbooks, remembered; von Mises' measure of "
    "amplitude and mean, the mean counted in tension alone, is our choice"
)


@dataclass(frozen=True)
class Cycle:
    """Stress of each cell of an implant over a load cycle.

    Attributes:
        amplitude: von Mises stress of half the difference of both states (kPa), shape (n,).
        mean: von Mises stress of their mean where its trace is positive, else 0 (kPa), shape (n,).
        peak: The larger von Mises stress of both states (kPa), shape (n,).
    """

    amplitude: Floats
    mean: Floats
    peak: Floats


def cycle_of(loaded: Floats, unloaded: Floats) -> Cycle:
    """Amplitude and mean between two states of stress in six numbers (`recovery`), (n, 6).

    Raises:
        InputError: they differ in shape.
    """
    if loaded.shape != unloaded.shape or loaded.shape[-1:] != (6,):
        raise InputError("cycle", f"stresses of shapes {loaded.shape} and {unloaded.shape}.",
                         "Give six numbers per cell in both states.")  # fmt: skip
    half, middle = 0.5 * (loaded - unloaded), 0.5 * (loaded + unloaded)
    pulled = middle[:, :3].sum(axis=1) > 0.0
    peak = np.maximum(von_mises(loaded), von_mises(unloaded))
    return Cycle(von_mises(half), np.where(pulled, von_mises(middle), 0.0), peak)


def reversed_limit(limit: float, strength: float, ratio: float = RATIO) -> float:
    r"""Fatigue limit (kPa) of fully reversed cycles from that of others, along a straight line.

    .. math:: S_e = \frac{\frac{1 - R}{2} S}{1 - \frac{1 + R}{2} S / S_m}

    Args:
        limit: S, the largest stress (kPa) that is stood; at R = −1 it is the amplitude.
        strength: S_m, yield (Soderberg) or ultimate strength (Goodman) (kPa).
        ratio: R, least over largest stress, −1 to below 1.

    Raises:
        InputError: a ratio off these limits, or a limit that exceeds the strength.
    """
    if not -1.0 <= ratio < 1.0 or not 0.0 < limit < strength:
        raise InputError("fatigue", f"limit {limit:g}, strength {strength:g} kPa, ratio {ratio:g}.",
                         "Give 0 < limit < strength and a ratio of -1 to 1.")  # fmt: skip
    return 0.5 * (1.0 - ratio) * limit / (1.0 - 0.5 * (1.0 + ratio) * limit / strength)


def fatigue_use(
    cycle: Cycle, limit: float, strength: float, *, ratio: float = RATIO
) -> Floats:  # fmt: skip
    r"""Use :math:`\sigma_a / S_e + \sigma_m / S_m` of the fatigue strength, 1 at its end, (n,).

    Args:
        cycle: Stresses.
        limit: Fatigue limit (kPa), see `reversed_limit`.
        strength: Yield stress for Soderberg's line, ultimate strength for Goodman's (kPa).
        ratio: R of the limit.
    """
    alternating = reversed_limit(limit, strength, ratio)
    return np.asarray(cycle.amplitude / alternating + cycle.mean / strength)


def strength_indices(
    cycle: Cycle, volume: Floats, material: ImplantMaterial, *, comm: MPI.Comm,
    key: str = "implant", ultimate: float | None = None, ratio: float = RATIO,
) -> Found:  # fmt: skip
    """Largest stress and safety against yield and fatigue of one part; collective.

    Args:
        cycle: Stress of this rank's cells.
        volume: Volumes of the cells (mm³), shape (n,).
        material: What it is made of.
        comm: Communicator.
        key: First word of the names: ``stem``, ``plate``, ``screw_1``.
        ultimate: Ultimate strength (kPa) for Goodman's line; Soderberg's with the yield stress
            without one.
        ratio: Least over largest stress of the cycles of the material's fatigue limit.

    Raises:
        InputError: lengths differ. Collective.
    """
    wrong = len(cycle.peak) != len(volume)
    agree(comm, InputError(key, "stress and volume differ in length.", "Give one per cell.")
          if wrong else None)  # fmt: skip
    if not total(comm, float(volume.sum())) > 0.0:
        return [], [f"Strength of `{key}` is not told: it has no cells."]
    line = "Soderberg" if ultimate is None else "Goodman"
    use = fatigue_use(cycle, material.fatigue_limit, ultimate or material.yield_stress, ratio=ratio)
    most = quantiles(comm, cycle.peak, volume, (SHARE,))[0]
    used = quantiles(comm, use, volume, (SHARE,))[0]
    few = "what 99.9 % of the volume do not exceed"
    indices = [
        Index.of("implant", f"{key}_stress_max", largest(comm, cycle.peak) / MPA, "MPa",
                 "largest von Mises stress of both states; grows with finer meshes at edges",
                 "definition"),
        Index.of("implant", f"{key}_stress_999", most / MPA, "MPa",
                 f"von Mises stress: {few}", "definition"),
    ]  # fmt: skip
    if most > 0.0:
        indices.append(Index.of(
            "implant", f"{key}_yield_safety", material.yield_stress / most, "1",
            f"yield stress of {material.name} over the von Mises stress: {few}",
            f"{SAFETY}. Yield stress: {material.sources['yield_stress']}", 1.0,
        ))  # fmt: skip
    if used > 0.0:
        indices.append(Index.of(
            "implant", f"{key}_fatigue_safety", 1.0 / used, "1",
            f"1 / (σa/Se + σm/Sm), {line}'s line, over the load cycle: of that use, {few}",
            f"{SAFETY}. {FATIGUE}. Fatigue limit of {material.name}: "
            f"{material.sources['fatigue_limit']}", 1.0,
        ))  # fmt: skip
    return indices, []
