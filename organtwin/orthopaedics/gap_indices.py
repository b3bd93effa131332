"""Movement and strain of a fracture gap, and how its tissue stiffens while it heals."""

from __future__ import annotations

from collections.abc import Sequence
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

#: Perren's window: strain below which bone heals directly, and above which none forms.
DIRECT, LARGEST = 0.02, 0.10
PERREN = (
    "Strain theory of Perren: movement of the gap's ends over its width, definition read in an "
    "abstract of SBC 2007 (ASME); its window of 2 to 10 % remembered, not read"
)
CLAES = "Claes & Heigele (1999), J. Biomech. 32:255-266, remembered, not read"
#: Tissue differentiation: largest strains and pressures (kPa) of Claes & Heigele.
STRAINS, PRESSURE = (0.05, 0.15), 150.0
TISSUES = ("intramembranous bone", "endochondral bone", "connective tissue or fibrocartilage")
#: Callus: weeks after the fracture and its Young's modulus (kPa), logarithmic in between.
HEALING: tuple[tuple[float, float], ...] = (
    (0.0, 1e3), (4.0, 1e4), (8.0, 1e6), (16.0, 6e6),
)  # fmt: skip
MICRON = 1e3
CARRERA = (
    "Compare, of a split under 400 N: 100 to 150 µm with a locking plate, 250 to 300 µm with "
    "cannulated screws, Carrera et al. (2016), Rev. Esp. Cir. Ortop. Traumatol., abstract read"
)
HEALING_SOURCE = (
    "Granulation tissue 1 MPa: Ghiasi et al. (2019), BMC Musculoskelet. Disord., "
    "s12891-019-2854-z, caption read; cartilage 10 MPa, immature bone 1 GPa and mature bone 6 GPa: "
    "Lacroix & Prendergast (2002), J. Biomech. 35:1163, remembered, not read; weeks and the law "
    "between them are our choice"
)
#: Stages of healing by name: weeks; our choice.
STAGES = {"fresh": 0.0, "early": 2.0, "soft callus": 4.0, "hard callus": 8.0, "healed": 16.0}


@dataclass(frozen=True)
class GapMotion:
    """Relative motion of both sides of a gap, at points of one side.

    Attributes:
        area: Area that each point stands for (mm²), shape (n,).
        axial: How much the gap closes there (mm), negative where it opens, shape (n,).
        shear: How far its sides shift along each other (mm), shape (n,).
        width: Width of the gap (mm), shape (n,).
    """

    area: Floats
    axial: Floats
    shear: Floats
    width: Floats

    @property
    def strain(self) -> Floats:
        """Perren's strain |axial| / width, shape (n,)."""
        return np.asarray(np.abs(self.axial) / self.width)


def gap_motion(
    area: Floats, normal: Floats, width: Floats | float, jump: Floats
) -> GapMotion:  # fmt: skip
    """Axial and shear movement of a gap.

    Args:
        area: Area that each point stands for (mm²), shape (n,).
        normal: Unit normals out of the first side, towards the second, shape (n, 3).
        width: Width of the gap (mm), a number or one per point; > 0.
        jump: u of the first side minus u of the second one (mm), shape (n, 3).

    Raises:
        InputError: a gap without width, or lengths that differ.
    """
    wide = np.broadcast_to(np.asarray(width, float), (len(area),))
    if not (wide > 0.0).all() or not len(area) == len(normal) == len(jump):
        raise InputError(
            "gap", "a gap has no width, or arrays differ in length.",
            "Perren's strain needs the width of the gap; of a closed fracture take `micromotion`.",
        )  # fmt: skip
    axial = np.einsum("ij,ij->i", jump, normal)
    shear = np.linalg.norm(jump - axial[:, None] * normal, axis=1)
    return GapMotion(area, axial, shear, wide)


def gap_indices(found: GapMotion, *, comm: MPI.Comm, name: str = "gap") -> Found:
    """Interfragmentary movement and strain; collective.

    Args:
        found: Movement at this rank's points.
        comm: Communicator.
        name: What messages call the gap.
    """
    area, strain = found.area, found.strain
    if not total(comm, float(area.sum())) > 0.0:
        return [], [f"Movement of `{name}` is not told: it has no area."]
    middle, most = quantiles(comm, strain, area, (0.50, 0.95))
    inside = (strain >= DIRECT) & (strain <= LARGEST)
    how = "of |axial movement| / width of the gap"
    return [
        Index.of("gap", "interfragmentary_strain_50", 100.0 * middle, "%",
                 f"median over the area {how}", PERREN, None, 100.0 * LARGEST),
        Index.of("gap", "interfragmentary_strain_95", 100.0 * most, "%",
                 f"what 95 % of the area do not exceed {how}", PERREN, None, 100.0 * LARGEST),
        Index.of("gap", "interfragmentary_window", 100.0 * share(comm, inside, area), "%",
                 f"share of the area with 2 to 10 % {how}, where callus forms", PERREN),
        Index.of("gap", "interfragmentary_excess",
                 100.0 * share(comm, strain > LARGEST, area), "%",
                 f"share of the area with more than 10 % {how}", PERREN),
        Index.of("gap", "interfragmentary_axial", mean(comm, found.axial, area), "mm",
                 "mean closing along the gap's normal", "our choice"),
        Index.of("gap", "interfragmentary_axial_max", largest(comm, np.abs(found.axial)), "mm",
                 "largest movement along the gap's normal", "our choice"),
        Index.of("gap", "interfragmentary_shear", mean(comm, found.shear, area), "mm",
                 "mean movement across the gap's normal", "our choice"),
        Index.of("gap", "interfragmentary_shear_max", largest(comm, found.shear), "mm",
                 "largest movement across the gap's normal", "our choice"),
    ], []  # fmt: skip


@dataclass(frozen=True)
class FaceMotion:
    """Both faces of a closed fracture line under a load.

    Attributes:
        area: Area that each point stands for (mm²), shape (n,).
        opening: How far they are apart (mm), shape (n,).
        slip: How far they slid along each other since they were reduced (mm), shape (n,).
        pressure: What they press each other with (kPa), shape (n,).
    """

    area: Floats
    opening: Floats
    slip: Floats
    pressure: Floats

    @property
    def moved(self) -> Floats:
        """√(opening² + slip²) (mm), shape (n,)."""
        return np.asarray(np.hypot(np.maximum(self.opening, 0.0), self.slip))


def face_indices(found: FaceMotion, *, comm: MPI.Comm) -> Found:
    """Movement of fragments that touch, and how much of their faces still does; collective.

    Args:
        found: Of all faces, at this rank's points.
        comm: Communicator.
    """
    area, moved = found.area, found.moved
    if not total(comm, float(area.sum())) > 0.0:
        return [], ["Movement of the fracture's faces is not told: they have no area."]
    how = "of √(opening² + slip²) of the fracture's faces under the load"
    touching = share(comm, found.pressure > 0.0, area)
    return [
        Index.of("gap", "fragments_movement_95",
                 MICRON * quantiles(comm, moved, area, (0.95,))[0], "µm",
                 f"what 95 % of the area do not exceed {how}", CARRERA),
        Index.of("gap", "fragments_movement_max", MICRON * largest(comm, moved), "µm",
                 f"largest value {how}", CARRERA),
        Index.of("gap", "fragments_opening_max",
                 MICRON * max(largest(comm, found.opening), 0.0), "µm",
                 "largest distance of the fracture's faces", CARRERA),
        Index.of("gap", "fragments_slip_max", MICRON * largest(comm, found.slip), "µm",
                 "largest slip of the fracture's faces since they were reduced", CARRERA),
        Index.of("gap", "fragments_touching", 100.0 * touching, "%",
                 "share of the area of the fracture's faces that press on each other",
                 "definition; no threshold"),
    ], []  # fmt: skip


def callus_modulus(
    weeks: float, stages: Sequence[tuple[float, float]] = HEALING
) -> float:  # fmt: skip
    """Young's modulus (kPa) of the callus so many weeks after the fracture.

    log E is linear in time between the stages, and constant before and after them.

    Args:
        weeks: Weeks, ≥ 0.
        stages: Weeks in growing order and the modulus (kPa) there.

    Source:
        See `HEALING_SOURCE`.

    Raises:
        InputError: a negative time, or stages that don't grow.
    """
    at, modulus = np.array(stages, float).T
    if not weeks >= 0.0 or not (np.diff(at) > 0.0).all() or not (modulus > 0.0).all():
        raise InputError("callus_modulus", f"{weeks:g} weeks, stages {list(stages)}.",
                         "Give weeks ≥ 0, growing stages and positive moduli.")  # fmt: skip
    return float(np.exp(np.interp(weeks, at, np.log(modulus))))


def callus_tissue(principal: Floats, pressure: Floats) -> Integers:
    """Tissue that forms in a callus: index into `TISSUES`, shape (n,).

    Intramembranous bone where |ε| ≤ 5 % and |p| ≤ 0.15 MPa, endochondral bone where |ε| ≤ 15 %
    under a pressure of more than 0.15 MPa, connective tissue or fibrocartilage elsewhere.

    Args:
        principal: Principal strains, shape (n, 3).
        pressure: Hydrostatic pressure −tr σ / 3 (kPa), positive in compression, shape (n,).

    Source:
        See `CLAES`.
    """
    strain = np.abs(principal).max(axis=1)
    soft = np.full(len(strain), 2)
    soft[(strain <= STRAINS[1]) & (pressure > PRESSURE)] = 1
    soft[(strain <= STRAINS[0]) & (np.abs(pressure) <= PRESSURE)] = 0
    return soft


def callus_indices(principal: Floats, pressure: Floats, volume: Floats, *, comm: MPI.Comm) -> Found:
    """Share of the callus's volume in each tissue, and its octahedral shear strain; collective.

    Args:
        principal: Principal strains of this rank's cells, shape (n, 3).
        pressure: Hydrostatic pressure (kPa), shape (n,).
        volume: Volumes of the cells (mm³), shape (n,).
        comm: Communicator.

    Raises:
        InputError: lengths differ.
    """
    wrong = not len(principal) == len(pressure) == len(volume)
    agree(comm, InputError("callus", "arrays differ in length.", "Give one value per cell.")
          if wrong else None)  # fmt: skip
    if not total(comm, float(volume.sum())) > 0.0:
        return [], ["Tissue of the callus is not told: there is none."]
    tissue = callus_tissue(principal, pressure)
    a, b, c = principal.T
    shear = 2.0 / 3.0 * np.sqrt((a - b) ** 2 + (b - c) ** 2 + (c - a) ** 2)
    keys = ("intramembranous", "endochondral", "connective")
    found = [
        Index.of("gap", f"callus_{key}", 100.0 * share(comm, tissue == k, volume), "%",
                 f"share of the callus's volume in which {TISSUES[k]} forms", CLAES)
        for k, key in enumerate(keys)
    ]  # fmt: skip
    found.append(
        Index.of("gap", "callus_octahedral_95",
                 100.0 * quantiles(comm, shear, volume, (0.95,))[0], "%",
                 "what 95 % of the callus do not exceed of the octahedral shear strain "
                 "2/3 √((ε1-ε2)² + (ε2-ε3)² + (ε3-ε1)²)", "definition; no threshold"),
    )  # fmt: skip
    return found, []
