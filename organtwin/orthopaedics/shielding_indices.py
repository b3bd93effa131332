"""What an implant takes off the bone: strain energy against the intact bone, and resorption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.index import Found, Index
from organtwin.orthopaedics import gruen_indices
from organtwin.orthopaedics.weighted_indices import share
from organtwin.parallel import agree, total

type Floats = NDArray[np.float64]
type Integers = NDArray[np.int64]

#: Half width of the dead zone: bone adapts where its stimulus changes by more.
DEAD_ZONE = 0.75
HUISKES = (
    "Stimulus: Huiskes et al. (1987), J. Biomech. 20:1135; dead zone of ±75 %: Huiskes, Weinans & "
    "van Rietbergen (1992), Clin. Orthop. 274:124-134; remembered, not read"
)
#: Loss of strain energy in the calcar (%) that raises concern; our choice.
CALCAR_LOSS = 75.0


@dataclass(frozen=True)
class Shielding:
    """Stimulus of each cell of bone before and after the operation.

    Attributes:
        intact: Stimulus of the intact bone (J/kg), shape (n,).
        operated: Stimulus with the implant (J/kg), shape (n,).
        mass: Mass of the cells (mg), shape (n,).
    """

    intact: Floats
    operated: Floats
    mass: Floats

    @property
    def change(self) -> Floats:
        """(S − S₀) / S₀ as a map; 0 where the intact bone carries nothing, shape (n,)."""
        used = self.intact > 0.0
        base = np.where(used, self.intact, 1.0)
        return np.where(used, self.operated / base - 1.0, 0.0)

    def resorbing(self, dead_zone: float = DEAD_ZONE) -> NDArray[np.bool_]:
        """Cells below the dead zone, S < (1 − s) S₀, shape (n,)."""
        return np.asarray(self.operated < (1.0 - dead_zone) * self.intact)

    def forming(self, dead_zone: float = DEAD_ZONE) -> NDArray[np.bool_]:
        """Cells above the dead zone, S > (1 + s) S₀, shape (n,)."""
        return np.asarray(self.operated > (1.0 + dead_zone) * self.intact)


def stimulus(energies: Sequence[Floats], density: Floats) -> Floats:
    r"""Strain energy per mass, averaged over loads (J/kg = kPa/(mg/mm³)), shape (n,).

    .. math:: S = \frac{1}{n} \sum_{i=1}^{n} \frac{U_i}{\rho}

    Args:
        energies: Strain energy density of the cells (kPa) under each load.
        density: Density (mg/mm³), shape (n,), > 0.

    Source:
        See `HUISKES`.

    Raises:
        InputError: no load, lengths that differ, or a density that is not positive.
    """
    if not energies or any(len(one) != len(density) for one in energies):
        raise InputError("stimulus", "no load, or arrays of different lengths.",
                         "Give one energy density per cell and load.")  # fmt: skip
    if not (density > 0.0).all():
        raise InputError("stimulus", f"a density of {density.min():g} mg/mm³.", "Give > 0.")
    return np.asarray(np.mean(energies, axis=0) / density)


def shielding(
    intact: Sequence[Floats], operated: Sequence[Floats], density: Floats, volume: Floats
) -> Shielding:
    """Stimulus before and after, of the same cells.

    Args:
        intact: Strain energy density (kPa) of the intact bone under each load, shape (n,).
        operated: The same with the implant, of the same cells in the same order.
        density: Density (mg/mm³), shape (n,).
        volume: Volumes of the cells (mm³), shape (n,).

    Raises:
        InputError: see `stimulus`; other loads before than after.
    """
    if len(intact) != len(operated):
        raise InputError("shielding", f"{len(intact)} loads before and {len(operated)} after.",
                         "Take the same loads.")  # fmt: skip
    return Shielding(stimulus(intact, density), stimulus(operated, density), density * volume)


def shielding_indices(
    found: Shielding, *, comm: MPI.Comm, zones: Integers | None = None, dead_zone: float = DEAD_ZONE
) -> Found:
    """Loss of strain energy and predicted resorption, of all and by Gruen zone; collective.

    Args:
        found: Stimulus of this rank's cells.
        comm: Communicator.
        zones: Gruen zone of each cell, 0 for none.
        dead_zone: s, 0 to 1.

    Raises:
        InputError: zones have another length, or a dead zone that is none. Collective.
    """
    wrong = (zones is not None and len(zones) != len(found.mass)) or not 0.0 <= dead_zone < 1.0
    agree(comm, InputError("shielding", "zones of another length, or a dead zone off 0 to 1.",
                           "Give one zone per cell.") if wrong else None)  # fmt: skip
    mass = found.mass
    if not total(comm, float(mass.sum())) > 0.0:
        return [], ["Stress shielding is not told: there is no bone to compare."]
    below, above = found.resorbing(dead_zone), found.forming(dead_zone)
    indices, notes = _loss(comm, found, np.ones(len(mass), bool), "shielding", "the bone", None)
    indices += [
        Index.of("shielding", "resorption", 100.0 * share(comm, below, mass), "%",
                 f"share of the bone's mass with S < {1.0 - dead_zone:g} S₀, S = U/ρ", HUISKES),
        Index.of("shielding", "formation", 100.0 * share(comm, above, mass), "%",
                 f"share of the bone's mass with S > {1.0 + dead_zone:g} S₀, S = U/ρ", HUISKES),
    ]  # fmt: skip
    for zone, where in gruen_indices.ZONES.items() if zones is not None else ():
        assert zones is not None
        here = zones == zone
        high = CALCAR_LOSS if zone == gruen_indices.CALCAR else None
        name = f"Gruen zone {zone}, {where}"
        one, missed = _loss(comm, found, here, f"shielding_zone_{zone}", name, high)
        indices, notes = indices + one, notes + missed
        if one:
            indices.append(Index.of(
                "shielding", f"resorption_zone_{zone}",
                100.0 * share(comm, below[here], mass[here]), "%",
                f"share of the mass in {name} with S < {1.0 - dead_zone:g} S₀", HUISKES,
            ))  # fmt: skip
    return indices, notes


def _loss(
    comm: MPI.Comm, found: Shielding, here: NDArray[np.bool_], key: str, where: str,
    high: float | None,
) -> Found:  # fmt: skip
    """Loss of strain energy of some cells."""
    before = total(comm, float(found.intact[here] @ found.mass[here]))
    after = total(comm, float(found.operated[here] @ found.mass[here]))
    if not before > 0.0:
        return [], [
            f"Stress shielding is not told of {where}: the intact bone has no energy there."
        ]
    source = f"{gruen_indices.SOURCE}. {HUISKES}" if key != "shielding" else HUISKES
    told = f"{source}; threshold of the calcar: our choice" if high is not None else source
    return [
        Index.of("shielding", key, 100.0 * (1.0 - after / before), "%",
                 f"loss of strain energy of {where}: 1 - ∫U / ∫U₀", told, None, high)
    ], []  # fmt: skip


def stress_loss(intact: Floats, operated: Floats) -> Floats:
    """1 − σ/σ₀ of von Mises stresses (kPa) as a map; 0 where the intact bone has none."""
    used = intact > 0.0
    return np.where(used, 1.0 - operated / np.where(used, intact, 1.0), 0.0)
