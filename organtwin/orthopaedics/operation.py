"""What is computed of an operated bone: supports, loads, interfaces, stages of healing.

A record in plain numbers beside the meshes, so that all ranks can set the problem up from files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from organtwin.errors import InputError, suggestion

type Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Seat:
    """How two surfaces of an operated bone lie on each other.

    Attributes:
        name: Name in results, such as ``stem, coated``.
        surface: First surface, that of the implant; slips are those of it against the other.
        other: Surface opposite.
        friction: Coefficient of Coulomb friction.
        interference: By how much the first was larger than its seat (mm).
        cohesion: Shear strength without pressure (kPa): ingrowth, a thread.
        tension: Normal strength (kPa).
        bond_length: Slip after which both are lost (mm); never if None.
    """

    name: str
    surface: str
    other: str
    friction: float
    interference: float = 0.0
    cohesion: float = 0.0
    tension: float = 0.0
    bond_length: float | None = None


@dataclass(frozen=True)
class Place:
    """Where a force acts.

    Attributes:
        point: Point that its line of action passes through (mm).
        surfaces: Surfaces that it is spread over.
        radius: Distance from the point within which they take part (mm); all of them if None.
    """

    point: Triple
    surfaces: tuple[str, ...]
    radius: float | None = None


@dataclass(frozen=True)
class Load:
    """Forces that act together.

    Attributes:
        name: Name in results.
        phase: What it is the load of.
        forces: Name of a place → force (mN).
        intact: Whether the intact bone takes it too; a bench test of a screw has no such.
        least: Share of it that a cycle goes down to.
        sources: Where the numbers come from.
    """

    name: str
    phase: str
    forces: Mapping[str, Triple]
    intact: bool = True
    least: float = 0.0
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Healing:
    """A time after surgery.

    Attributes:
        name: Name in results, such as ``6 weeks``.
        moduli: Region → Young's modulus (kPa) of what heals then.
    """

    name: str
    moduli: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """An operated bone as it is computed.

    Attributes:
        kind: ``hip_stem``, ``pedicle_screw`` or ``tibial_plateau``.
        name: What it is, in words.
        bones: Regions whose modulus follows from the scan.
        implants: Region → name of its material.
        support: Surfaces that are held.
        seats: Interfaces.
        places: Where forces act on the operated bone.
        intact_places: Where they act on the intact one.
        loads: One after the other, each let go before the next.
        healing: Stages; each is computed from the start.
        poisson: Poisson's ratio of bone and of what heals.
        bed: Stiffness (kPa/mm) of springs that the support rests on; it does not move if None.
        guided: Place → direction along which alone it may move on the intact bone; the forces that
            this takes act on the operated one too.
    """

    kind: str
    name: str
    bones: tuple[str, ...]
    implants: Mapping[str, str]
    support: tuple[str, ...]
    seats: tuple[Seat, ...]
    places: Mapping[str, Place]
    intact_places: Mapping[str, Place]
    loads: tuple[Load, ...]
    healing: tuple[Healing, ...] = (Healing("operated"),)
    poisson: float = 0.3
    bed: float | None = None
    guided: Mapping[str, Triple] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for load in self.loads:
            for name in load.forces:
                if name not in self.places:
                    raise InputError(
                        f"load `{load.name}`", f"no place `{name}`.", suggestion(name, self.places)
                    )
        if not self.loads or not self.support:
            raise InputError(self.name, "no loads or no support.", "Give at least one of each.")

    def load(self, name: str) -> Load:
        """A load by its name.

        Raises:
            InputError: no such load.
        """
        found = next((load for load in self.loads if load.name == name), None)
        if found is None:
            known = [load.name for load in self.loads]
            raise InputError(self.name, f"no load `{name}`.", suggestion(name, known))
        return found

    def record(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return asdict(self)

    @classmethod
    def from_record(cls, found: Mapping[str, Any]) -> Operation:
        """What `record` gave, also after a way through JSON.

        Raises:
            InputError: something is missing or wrong.
        """
        try:
            return cls(
                kind=found["kind"], name=found["name"], bones=tuple(found["bones"]),
                implants=dict(found["implants"]), support=tuple(found["support"]),
                seats=tuple(Seat(**one) for one in found["seats"]),
                places={k: _place(v) for k, v in found["places"].items()},
                intact_places={k: _place(v) for k, v in found["intact_places"].items()},
                loads=tuple(_load(one) for one in found["loads"]),
                healing=tuple(Healing(**one) for one in found["healing"]),
                poisson=found["poisson"], bed=found.get("bed"),
                guided={name: (x, y, z) for name, (x, y, z) in found.get("guided", {}).items()},
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise InputError("operation", f"its record lacks {error}.", "Plan again.") from None


def _place(found: Mapping[str, Any]) -> Place:
    x, y, z = found["point"]
    return Place((x, y, z), tuple(found["surfaces"]), found["radius"])


def _load(found: Mapping[str, Any]) -> Load:
    forces = {name: (x, y, z) for name, (x, y, z) in found["forces"].items()}
    kept = {**found, "forces": forces, "sources": tuple(found["sources"])}
    return Load(**kept)
