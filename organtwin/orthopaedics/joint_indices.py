"""A joint's surface after a fracture: steps, subsidence, contact; and how stiff a construct is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.index import Found, Index
from organtwin.orthopaedics.weighted_indices import largest, mean, quantiles
from organtwin.parallel import agree, total

type Floats = NDArray[np.float64]

#: Step and gap of a joint's surface that are tolerated (mm).
TOLERATED = 2.0
STEP = (
    "A gap and step of 2 mm as the largest tolerable: told as clinical practice in BMC "
    "Musculoskelet. Disord. 2019, s12891-019-3020-3, abstract read; articular incongruities of the "
    "plateau seem to be well tolerated, Giannoudis et al. (2010), Injury 41:986, abstract read"
)
STIFF = (
    "Compare: 562 ± 164 N/mm, bicondylar plateau fractures with two plates, BMC Musculoskelet. "
    "Disord. 2022, s12891-022-05024-2, abstract read"
)
MPA, NEWTON = 1e3, 1e3


@dataclass(frozen=True)
class Seam:
    """Pairs of points on both sides of a fracture line in a joint's surface.

    Attributes:
        one: Places on one fragment (mm), shape (n, 3).
        other: The places across the line on the other fragment (mm), shape (n, 3).
        one_moved: Displacements of the first (mm), shape (n, 3).
        other_moved: Displacements of the others (mm), shape (n, 3).
        length: Length of the line that each pair stands for (mm), shape (n,).
        normal: Unit normal of the joint's surface, shape (3,) or (n, 3).
        before: Height of one over other by which the fragments were reduced (mm), shape (n,).
            Without it (x₁ - x₂) · n, which tells the slope of a sound joint as a step too.
    """

    one: Floats
    other: Floats
    one_moved: Floats
    other_moved: Floats
    length: Floats
    normal: Floats
    before: Floats | None = None

    def steps(self, *, loaded: bool = True) -> Floats:
        """Height of one over other along the normal (mm), under load or before it, shape (n,)."""
        height = self.before
        if height is None:
            height = ((self.one - self.other) * self.normal).sum(axis=-1)
        moved = (self.one_moved - self.other_moved) * self.normal
        return np.asarray(height + moved.sum(axis=-1) if loaded else height)

    def widening(self) -> Floats:
        """How far the sides move apart along the surface under load (mm), shape (n,)."""
        moved = self.one_moved - self.other_moved
        along = (moved * self.normal).sum(axis=-1)[:, None] * self.normal
        return np.asarray(np.linalg.norm(moved - along, axis=1))


def step_indices(seam: Seam, *, comm: MPI.Comm) -> Found:
    """Step of the joint's surface before and under load, and widening of the gap; collective.

    Args:
        seam: Pairs of this rank.
        comm: Communicator.
    """
    if not total(comm, float(seam.length.sum())) > 0.0:
        return [], ["The step of the joint's surface is not told: no fracture line crosses it."]
    before, after = np.abs(seam.steps(loaded=False)), np.abs(seam.steps())
    if seam.before is None:
        start, how = "|(x₁ - x₂) · n|", "|(x₁ + u₁ - x₂ - u₂) · n| across the fracture line"
    else:
        start, how = "|h|", "|h + (u₁ - u₂) · n| across the fracture line, reduced with a step h"
    return [
        Index.of("joint", "step_off_initial", largest(comm, before), "mm",
                 f"largest {start} across the fracture line, without load", STEP, None,
                 TOLERATED),
        Index.of("joint", "step_off", largest(comm, after), "mm", f"largest {how}", STEP, None,
                 TOLERATED),
        Index.of("joint", "step_off_mean", mean(comm, after, seam.length), "mm", f"mean {how}",
                 STEP, None, TOLERATED),
        Index.of("joint", "step_off_change", largest(comm, np.abs(seam.steps()
                 - seam.steps(loaded=False))), "mm", "largest change of the step under load",
                 "our choice"),
        Index.of("joint", "gap_widening", largest(comm, seam.widening()), "mm",
                 "largest movement of both sides apart along the surface under load", STEP, None,
                 TOLERATED),
    ], []  # fmt: skip


def subsidence_indices(
    moved: Floats, normal: Floats, area: Floats, *, comm: MPI.Comm, key: str = "plateau"
) -> Found:
    """How far a joint's surface sinks under load; collective.

    Args:
        moved: Displacement of this rank's points of it (mm), shape (n, 3).
        normal: Unit normal of the surface, up, shape (3,) or (n, 3).
        area: Area that each point stands for (mm²), shape (n,).
        comm: Communicator.
        key: First word of the names.
    """
    if not total(comm, float(area.sum())) > 0.0:
        return [], [f"Subsidence of `{key}` is not told: it has no area."]
    down = -(moved * normal).sum(axis=-1)
    return [
        Index.of("joint", f"{key}_subsidence", mean(comm, down, area), "mm",
                 "mean of -u · n over the surface, relative to where the bone is held",
                 "our choice"),
        Index.of("joint", f"{key}_subsidence_max", quantiles(comm, down, area, (0.99,))[0], "mm",
                 "what 99 % of the area do not exceed of -u · n", "our choice"),
    ], []  # fmt: skip


def stiffness_index(force: Floats, moved: Floats, *, key: str = "construct") -> Index:
    """Stiffness of a construct: force over the displacement of its point of attack along it.

    Args:
        force: Force (mN), shape (3,).
        moved: Displacement of the point where it acts (mm), shape (3,), such as the mean over the
            loaded surface.
        key: First word of the name.

    Raises:
        InputError: it does not move along the force.
    """
    size = float(np.linalg.norm(force))
    along = float(np.asarray(moved) @ force) / size if size > 0.0 else 0.0
    if not along > 0.0:
        raise InputError(f"stiffness of `{key}`", f"it moves by {along:g} mm along the force.",
                         "Check the force and where it acts.")  # fmt: skip
    return Index.of("joint", f"{key}_stiffness", size / NEWTON / along, "N/mm",
                    "F / u, with the movement u of its point of attack along the force F",
                    STIFF)  # fmt: skip


def contact_indices(
    position: Floats, area: Floats, pressure: Floats, normal: Floats, *, comm: MPI.Comm,
    key: str = "cartilage",
) -> Found:  # fmt: skip
    """Pressure, area and resultant of a joint's contact; collective.

    Args:
        position: Places of this rank (mm), shape (n, 3).
        area: Area that each stands for (mm²), shape (n,).
        pressure: Contact pressure there (kPa), positive in contact, shape (n,).
        normal: Unit normals, shape (n, 3).
        comm: Communicator.
        key: First word of the names.

    Raises:
        InputError: lengths differ. Collective.
    """
    wrong = len({len(position), len(area), len(pressure), len(normal)}) > 1
    agree(comm, InputError(key, "arrays differ in length.", "Give one value per point.")
          if wrong else None)  # fmt: skip
    closed = pressure > 0.0
    touching = total(comm, float(area[closed].sum()))
    if not touching > 0.0:
        return [], [f"Contact of `{key}` is not told: nothing touches."]
    forces = (pressure * area)[closed, None] * normal[closed]
    resultant = np.asarray(comm.allreduce(forces.sum(axis=0)))
    pressed = total(comm, float((pressure * area)[closed].sum()))
    most = quantiles(comm, pressure[closed], area[closed], (0.99,))[0]
    return [
        Index.of("joint", f"{key}_pressure_max", largest(comm, pressure) / MPA, "MPa",
                 "largest contact pressure", "definition"),
        Index.of("joint", f"{key}_pressure_99", most / MPA, "MPa",
                 "what 99 % of the area in contact do not exceed", "definition"),
        Index.of("joint", f"{key}_pressure_mean", pressed / touching / MPA, "MPa",
                 "∫ p dA over the area in contact", "definition"),
        Index.of("joint", f"{key}_contact_area", touching, "mm²", "area with p > 0", "definition"),
        Index.of("joint", f"{key}_contact_force", float(np.linalg.norm(resultant)) / NEWTON, "N",
                 "|∫ p n dA|", "definition"),
    ], []  # fmt: skip


def centre_of_pressure(
    position: Floats, area: Floats, pressure: Floats, *, comm: MPI.Comm
) -> Floats:
    """∫ x p dA / ∫ p dA (mm), shape (3,); collective.

    Raises:
        InputError: nothing touches. Collective.
    """
    weight = np.maximum(pressure, 0.0) * area
    whole = total(comm, float(weight.sum()))
    if not whole > 0.0:
        raise InputError("centre of pressure", "nothing touches.", "Check load and gap.")
    return np.asarray(comm.allreduce(weight @ position)) / whole
