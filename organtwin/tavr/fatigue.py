"""Fatigue of a frame in the beating vessel, from its fibres' strains at both ends of the beat."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.device_files import Fatigue
from organtwin.devices.equilibrium import BeamProblem
from organtwin.errors import InputError
from organtwin.index import Found, Index
from organtwin.tavr.deployed import Deployed

Array = NDArray[np.float64]

#: Use of a frame that does not move: no safety is told beyond its inverse.
LEAST = 1e-12


@dataclass(frozen=True)
class FatigueStrains:
    """Of the worst fibre of each element.

    Attributes:
        amplitude: Half the change of its strain, (m,).
        mean: Its mean strain, (m,).
        safety: Of the worst of all, 1 / max(amplitude/limit + |mean|/static).
    """

    amplitude: Array
    mean: Array
    safety: float


def fibre_strains(beams: BeamProblem) -> Array:
    """Strains of the fibres of each element, (m, f).

    Raises:
        InputError: sections differ in their number of fibres.
    """
    strains = beams.fibre_strains()
    if len({part.shape[1] for part in strains}) != 1:
        raise InputError(
            "fibre strains", "sections have different numbers of fibres.", "Use one kind of them."
        )
    found = np.empty((len(beams.mesh.ends), strains[0].shape[1]))
    for (_, part), values in zip(beams.parts, strains, strict=True):
        found[part] = values
    return found


def fatigue(diastole: Array, systole: Array, limits: Fatigue) -> FatigueStrains:
    """Use of each fibre between two states, in strains.

    Args:
        diastole: Strains of the fibres of each element, (m, f): `fibre_strains`.
        systole: The same at the other end of the beat, (m, f).
        limits: Of the device.

    Raises:
        InputError: the two do not belong together.

    Source:
        Goodman's rule in strains, as in `organtwin.devices.bench.pulsate`; with no static limit
        that of a constant amplitude, which Pelton et al. (2008) found for Nitinol (as remembered).
    """
    if diastole.shape != systole.shape or diastole.ndim != 2 or diastole.size == 0:
        raise InputError(
            "fatigue", f"strains of {diastole.shape} and {systole.shape} fibres.",
            "Give those of one frame at both ends of a beat.",
        )  # fmt: skip
    amplitude, mean = 0.5 * np.abs(systole - diastole), 0.5 * (systole + diastole)
    use = amplitude / limits.amplitude
    if limits.static is not None:
        use = use + np.abs(mean) / limits.static
    rows, worst = np.arange(len(use)), np.argmax(use, axis=1)
    safety = float(1.0 / max(float(use.max()), LEAST))
    return FatigueStrains(amplitude[rows, worst], mean[rows, worst], safety)


def with_fatigue(deployed: Deployed, strains: FatigueStrains) -> Deployed:
    """The record with the fatigue of its frame."""
    return replace(
        deployed, strain_amplitude=strains.amplitude, strain_mean=strains.mean,
        fatigue_safety=strains.safety,
    )  # fmt: skip


def fatigue_indices(deployed: Deployed) -> Found:
    """Largest amplitude, and safety."""
    if deployed.strain_amplitude is None or deployed.fatigue_safety is None:
        return [], ["Fatigue is not told: the frame was not brought through a beat."]
    return [
        Index.of("fatigue", "strain_amplitude_max", float(deployed.strain_amplitude.max()), "1",
                 "half the change of a fibre's strain between diastole and systole, the largest of "
                 "the elements' worst fibres", "our choice"),
        Index.of("fatigue", "fatigue_safety", deployed.fatigue_safety, "1",
                 "1 / max(amplitude / limit + |mean| / static limit) over all fibres",
                 "Goodman's rule in strains; limits of the device file, which tells their sources",
                 1.0),
    ], []  # fmt: skip
