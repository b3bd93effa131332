"""What a load is: forces on named places, in a bone's frame, as shares of the body's weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.orthopaedics.anatomical_frames import AnatomicalFrame

type Vector = NDArray[np.float64]

#: Bones and parts whose frames loads are told in.
FRAMES = ("femur", "tibia", "vertebra", "stem", "screw")
#: Gravity (mm/ms²), and weights of people (mN).
GRAVITY = 9.81e-3
LIGHTEST, HEAVIEST = 2e5, 2.5e6
#: mN in a newton.
NEWTON = 1e3


@dataclass(frozen=True)
class Force:
    """A force on a place.

    Attributes:
        place: Name of the place, such as ``head`` or ``greater_trochanter``.
        muscle: What pulls, or ``joint``.
        components: Along the axes of the frame: medial (of a vertebra left), anterior, proximal;
            shares of the body's weight, or newtons of an absolute load.
        source: Where it comes from.
        read: Whether the number itself was read there; False where it is remembered or a choice.
    """

    place: str
    muscle: str
    components: tuple[float, float, float]
    source: str
    read: bool


@dataclass(frozen=True)
class LoadCase:
    """Forces that act together.

    Attributes:
        name: Key, stable from version to version.
        phase: Instant of the activity.
        frame: One of `FRAMES`.
        forces: The forces.
        absolute: Whether components are newtons, else shares of the body's weight.
        least: Share of it that a cycle goes down to: 0 for walking, 300/2300 in ISO 7206-4.
        notes: What is to be known about it, one sentence each.
    """

    name: str
    phase: str
    frame: str
    forces: tuple[Force, ...]
    absolute: bool = False
    least: float = 0.0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.frame not in FRAMES:
            raise InputError(f"load `{self.name}`", f"frame {self.frame!r}.", ", ".join(FRAMES))
        if not 0.0 <= self.least < 1.0:
            raise InputError(f"load `{self.name}`", f"least = {self.least:g}.", "Give 0 to 1.")

    @property
    def places(self) -> tuple[str, ...]:
        """Places that forces act on, each once."""
        return tuple(dict.fromkeys(force.place for force in self.forces))

    @property
    def read(self) -> bool:
        """Whether all numbers were read at their source."""
        return all(force.read for force in self.forces)

    def only(self, *muscles: str) -> LoadCase:
        """The same with some of its forces, by ``muscle``; ``joint`` for the joint's alone.

        Raises:
            InputError: it has no such force.
        """
        for name in muscles:
            if name not in {force.muscle for force in self.forces}:
                raise InputError(f"load `{self.name}`", f"no force of `{name}`.",
                                 ", ".join(force.muscle for force in self.forces))  # fmt: skip
        kept = tuple(force for force in self.forces if force.muscle in muscles)
        return replace(self, forces=kept)

    def scaled(self, factor: float) -> LoadCase:
        """The same with all forces times a factor."""
        forces = []
        for force in self.forces:
            x, y, z = (factor * value for value in force.components)
            forces.append(replace(force, components=(x, y, z)))
        return replace(self, forces=tuple(forces))

    def in_mesh(
        self, frame: AnatomicalFrame, body_weight: float | None = None
    ) -> dict[str, Vector]:
        """Force (mN) on each place in the coordinates of the mesh, those on one place summed.

        Args:
            frame: The bone's frame; forces are mirrored as it is.
            body_weight: Weight of the body (mN), see `weight_of`; not needed by absolute loads.

        Raises:
            InputError: the weight is missing, or no weight of a person; the frame is that of
                another part.
        """
        if frame.part and frame.part != self.frame:
            raise InputError(
                f"load `{self.name}`", f"it is told in the frame of a {self.frame}, not of a "
                f"{frame.part}.", "Take `femoral_frame`, `tibial_frame`, `stem_frame`, ….",
            )  # fmt: skip
        unit = NEWTON
        if not self.absolute:
            if body_weight is None or not LIGHTEST <= body_weight <= HEAVIEST:
                raise InputError(
                    f"load `{self.name}`", f"a body weight of {body_weight} mN.",
                    f"Give {LIGHTEST:g} to {HEAVIEST:g} mN: `weight_of` a mass in kg.",
                )  # fmt: skip
            unit = body_weight
        found: dict[str, Vector] = {}
        for force in self.forces:
            one = unit * frame.vector(np.array(force.components))
            found[force.place] = found.get(force.place, np.zeros(3)) + one
        return found

    def sources(self) -> tuple[str, ...]:
        """Sources of its forces, each once, with those not read marked."""
        told = [f.source if f.read else f"{f.source} (number not read)" for f in self.forces]
        return tuple(dict.fromkeys(told))


def weight_of(mass_kg: float) -> float:
    """Weight (mN) of a body's mass (kg).

    Raises:
        InputError: it is no mass of a person.
    """
    weight = mass_kg * 1e6 * GRAVITY
    if not LIGHTEST <= weight <= HEAVIEST:
        raise InputError("body mass", f"{mass_kg:g} kg.", "Give the mass in kg, 21 to 254.")
    return weight


def load_of(known: Mapping[str, LoadCase], name: str, joint: str) -> LoadCase:
    """A load by its name.

    Raises:
        InputError: no such load.
    """
    if name not in known:
        raise InputError(f"{joint} load", f"no load `{name}`.", f"Known: {', '.join(known)}.")
    return known[name]


def percent(*values: float) -> tuple[float, float, float]:
    """Shares from per cent of the body's weight."""
    x, y, z = (0.01 * value for value in values)
    return x, y, z


def joint_only(
    name: str, phase: str, frame: str, place: str, values: Sequence[float], source: str,
    *, read: bool, notes: tuple[str, ...] = (),
) -> LoadCase:  # fmt: skip
    """A load of the joint's force alone, in per cent of the body's weight."""
    force = Force(place, "joint", percent(*values), source, read)
    return LoadCase(name, phase, frame, (force,), notes=notes)
