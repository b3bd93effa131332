"""How far an implant and its bone slide on each other between two states of a load cycle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.index import Found, Index
from organtwin.orthopaedics.weighted_indices import largest, mean, quantiles, share
from organtwin.parallel import agree, total

type Floats = NDArray[np.float64]
type Integers = NDArray[np.int64]

#: Micromotion (mm) up to which bone grows in, and from which fibrous tissue forms.
INGROWTH, FIBROUS = 0.040, 0.150
#: Share of the area that may move more than `FIBROUS`; our choice.
MOST = 0.05
#: µm in a millimetre.
MICRON = 1e3
SOURCE = (
    "40 µm: Engh et al. (1992), J. Bone Joint Surg. Am. 74:939; 150 µm: Pilliar, Lee & "
    "Maniatopoulos (1986), Clin. Orthop. 208:108; both remembered, not read. Retrieved stems that "
    "had grown in moved by 1.4 ± 1.3 µm in gait, Mann et al. (2011), read"
)  # fmt: skip


@dataclass(frozen=True)
class Micromotion:
    """Relative motion of implant and bone between two states, at points of their interface.

    Attributes:
        position: Places (mm), shape (n, 3).
        area: Area that each stands for (mm²), shape (n,).
        slip: Change of the slip (mm), shape (n, 3).
        opening: Change of the opening (mm), shape (n,).
    """

    position: Floats
    area: Floats
    slip: Floats
    opening: Floats

    @property
    def sliding(self) -> Floats:
        """|Δs| (mm), shape (n,)."""
        return np.asarray(np.linalg.norm(self.slip, axis=1))

    @property
    def magnitude(self) -> Floats:
        """√(|Δs|² + Δg²) of slip s and opening g (mm), shape (n,)."""
        return np.asarray(np.hypot(self.sliding, self.opening))


def micromotion(
    position: Floats, area: Floats, loaded: tuple[Floats, Floats], unloaded: tuple[Floats, Floats]
) -> Micromotion:
    """Micromotion between two states of the same points.

    Args:
        position: Places (mm), shape (n, 3).
        area: Area that each stands for (mm²), shape (n,).
        loaded: Slip (mm), shape (n, 3), and opening (mm), shape (n,), at the peak of the load.
        unloaded: The same when it is gone; zeros for a first loading.

    Raises:
        InputError: lengths differ.
    """
    lengths = {len(position), len(area), *map(len, loaded), *map(len, unloaded)}
    if len(lengths) > 1:
        raise InputError(
            "micromotion", f"arrays of {sorted(lengths)} points.",
            "Take slip and opening of the same interface in both states.",
        )  # fmt: skip
    return Micromotion(position, area, loaded[0] - unloaded[0], loaded[1] - unloaded[1])


def micromotion_indices(
    found: Micromotion, *, comm: MPI.Comm, zones: Integers | None = None, name: str = "interface"
) -> Found:
    """Shares of the area, quantiles and largest value, of the whole and by Gruen zone; collective.

    Args:
        found: Micromotion at this rank's points.
        comm: Communicator.
        zones: Gruen zone of each point, 0 for none.
        name: What messages call the interface.

    Raises:
        InputError: zones have another length.
    """
    wrong = zones is not None and len(zones) != len(found.area)
    agree(comm, InputError("micromotion", "zones of another length.", "Give one per point.")
          if wrong else None)  # fmt: skip
    size, area = found.magnitude, found.area
    if not total(comm, float(area.sum())) > 0.0:
        return [], [f"Micromotion is not told: `{name}` has no area on which both sides meet."]
    how = "of √(|Δslip|² + Δopening²) between the loaded and the unloaded state"
    middle, most = quantiles(comm, size, area, (0.50, 0.95))
    indices = [
        Index.of("micromotion", "micromotion_share_ingrowth",
                 100.0 * share(comm, size <= INGROWTH, area), "%",
                 f"share of the area with at most 40 µm {how}", SOURCE),
        Index.of("micromotion", "micromotion_share_fibrous",
                 100.0 * share(comm, size > FIBROUS, area), "%",
                 f"share of the area with more than 150 µm {how}",
                 f"{SOURCE}; that it be 5 % at most: our choice", None, 100.0 * MOST),
        Index.of("micromotion", "micromotion_50", MICRON * middle, "µm",
                 f"median over the area {how}", SOURCE, None, MICRON * INGROWTH),
        Index.of("micromotion", "micromotion_95", MICRON * most, "µm",
                 f"what 95 % of the area do not exceed {how}", SOURCE, None, MICRON * FIBROUS),
        Index.of("micromotion", "micromotion_max", MICRON * largest(comm, size), "µm",
                 f"largest value {how}", SOURCE),
        Index.of("micromotion", "micromotion_mean", MICRON * mean(comm, size, area), "µm",
                 f"mean over the area {how}", SOURCE),
        Index.of("micromotion", "micromotion_sliding_95",
                 MICRON * quantiles(comm, found.sliding, area, (0.95,))[0], "µm",
                 "what 95 % of the area do not exceed of |Δslip|", SOURCE),
    ]  # fmt: skip
    if zones is None:
        return indices, []
    notes = []
    for zone in range(1, 8):
        here = zones == zone
        if not total(comm, float(area[here].sum())) > 0.0:
            notes.append(f"Micromotion is not told of Gruen zone {zone}: no interface lies in it.")
            continue
        value = quantiles(comm, size[here], area[here], (0.95,))[0]
        indices.append(Index.of(
            "micromotion", f"micromotion_95_zone_{zone}", MICRON * value, "µm",
            f"what 95 % of the interface in Gruen zone {zone} do not exceed {how}", SOURCE, None,
            MICRON * FIBROUS,
        ))  # fmt: skip
    return indices, notes
