"""Device files: frames of transcatheter valves by family and size, with sources."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from organtwin.devices.balloon import Balloon
from organtwin.devices.fibre_laws import FibreLaw, PlasticFibre, SuperelasticFibre
from organtwin.devices.frame import Pattern, Struts
from organtwin.errors import InputError, suggestion
from organtwin.materials.nitinol import Nitinol
from organtwin.materials.plastic import J2Plasticity
from organtwin.tables import Table, read_table, written_in

#: Files that come with organtwin.
CATALOGUE = Path(__file__).parent / "catalogue"


Length = Annotated[float, written_in("mm"), Field(gt=0)]
LinkLength = Annotated[float, written_in("mm"), Field(ge=0)]
Height = Annotated[float, written_in("mm"), Field(ge=0)]
Stress = Annotated[float, written_in("kPa"), Field(gt=0)]
Pressure = Annotated[float, written_in("kPa"), Field(ge=0)]
Hardening = Annotated[float, written_in("kPa"), Field(ge=0)]


class PlasticMetal(Table):
    """Metal that yields: cobalt–chromium, steel."""

    law: Literal["plastic"]
    youngs_modulus: Stress
    poissons_ratio: Annotated[float, Field(gt=-1, le=0.5)] = 0.3
    yield_stress: Stress
    hardening: Hardening = 0.0

    def fibre(self) -> FibreLaw:
        """Its law."""
        metal = J2Plasticity.from_engineering(
            self.youngs_modulus, self.poissons_ratio, self.yield_stress, hardening=self.hardening
        )
        return PlasticFibre(metal, self.poissons_ratio)


class SuperelasticMetal(Table):
    """Nitinol."""

    law: Literal["superelastic"]
    austenite: Stress
    martensite: Stress
    poissons_ratio: Annotated[float, Field(gt=-1, lt=0.5)] = 0.33
    transformation_strain: Annotated[float, Field(gt=0, lt=0.2)]
    loading: tuple[Stress, Stress]
    """Stress at which loading begins and ends to make martensite."""
    unloading: tuple[Stress, Stress]
    """Stress at which unloading begins and ends to remove it."""
    asymmetry: Annotated[float, Field(ge=0, lt=0.8)] = 0.0

    def fibre(self) -> FibreLaw:
        """Its law."""
        return SuperelasticFibre(
            Nitinol(
                self.austenite, self.martensite, self.poissons_ratio, self.transformation_strain,
                *self.loading, *self.unloading, self.asymmetry,
            )
        )  # fmt: skip


class Fatigue(Table):
    """Limits of the fibres' strain: 1/safety = amplitude/limit + mean/static."""

    amplitude: Annotated[float, Field(gt=0, lt=0.1)]
    static: Annotated[float, Field(gt=0)] | None = None
    """Mean strain that alone breaks the metal; without it the mean does not count."""


class BalloonTable(Table):
    """Balloon of a size."""

    chart: tuple[tuple[Pressure, Length], ...]
    """Pairs of pressure and diameter of the free balloon, from no pressure on."""
    nominal_pressure: Pressure
    rated_burst: Pressure
    length: Length
    """Of its cylinder."""
    shoulder: Length
    """Height of the caps at its ends."""


class SizeTable(Table):
    """One size."""

    rings: tuple[Length, ...]
    links: tuple[LinkLength, ...]
    profile: tuple[tuple[Height, Length], ...]
    ring_widths: tuple[Length, ...]
    link_width: Length
    thickness: Length
    skirt_height: Height = 0.0
    nominal_diameter: Length
    crimped_diameter: Length
    annulus: tuple[Length, Length]
    """Diameters of the annulus that it is made for."""
    balloon: BalloonTable | None = None


class DeviceTable(Table):
    """A device file."""

    name: str
    family: Literal["balloon-expandable", "self-expanding"]
    about: str = ""
    columns: Annotated[int, Field(ge=3, le=60)]
    metal: Annotated[PlasticMetal | SuperelasticMetal, Field(discriminator="law")]
    fatigue: Fatigue
    sizes: Annotated[Mapping[str, SizeTable], Field(min_length=1)]
    sources: Annotated[Mapping[str, str], Field(min_length=1)]


@dataclass(frozen=True)
class Device:
    """A frame in one size.

    Attributes:
        name: Device and size.
        family: How it is expanded: ``balloon-expandable`` or ``self-expanding``.
        pattern: Its frame, stress-free.
        struts: Metal and sections.
        nominal: Diameter (mm) by which it is called.
        crimped: Outer diameter (mm) in the catheter.
        skirt: Height of the skirt from the inflow (mm); 0 if not known.
        annulus: Smallest and largest diameter (mm) of the annulus that it is made for.
        fatigue: Limits.
        balloon: That it is expanded by, if its file says so.
        sources: Where its numbers come from, by name.
    """

    name: str
    family: str
    pattern: Pattern
    struts: Struts
    nominal: float
    crimped: float
    skirt: float
    annulus: tuple[float, float]
    fatigue: Fatigue
    sources: Mapping[str, str]
    balloon: Balloon | None = None


def names() -> list[str]:
    """Device files that come with organtwin."""
    return sorted(file.stem for file in CATALOGUE.glob("*.toml"))


def load_device(file: str | Path, size: str) -> Device:
    """A device from a file, or from the catalogue by its name.

    Args:
        file: Path of a TOML file, or one of `names`.
        size: One of its sizes.

    Raises:
        InputError: no such file or size, or what is in it can't be used.
    """
    path = Path(file)
    if str(file) in names():
        path = CATALOGUE / f"{file}.toml"
    table = _read(path)
    if size not in table.sizes:
        raise InputError(str(path), f"no size `{size}`.", suggestion(size, table.sizes))
    return _device(path, table, size)


def sizes(file: str | Path) -> list[str]:
    """Sizes that a device file has.

    Raises:
        InputError: as `load_device`.
    """
    return list(_read(CATALOGUE / f"{file}.toml" if str(file) in names() else Path(file)).sizes)


def _read(path: Path) -> DeviceTable:
    return read_table(DeviceTable, path, known=names(), guide="docs/devices.md")


def _device(path: Path, table: DeviceTable, size: str) -> Device:
    chosen = table.sizes[size]
    place = f"{path}, sizes.{size}"
    try:
        pattern = Pattern(table.columns, chosen.rings, chosen.links, chosen.profile)
        law = table.metal.fibre()
        balloon = None if chosen.balloon is None else Balloon(**dict(chosen.balloon))
    except InputError as error:
        raise InputError(place, error.problem, error.remedy) from None
    if len(chosen.ring_widths) != len(chosen.rings):
        raise InputError(
            place, f"{len(chosen.ring_widths)} ring_widths for {len(chosen.rings)} rings.",
            "Give one width for each ring.",
        )  # fmt: skip
    room = 2 * table.columns * max(chosen.ring_widths) / math.pi
    if chosen.crimped_diameter < room + chosen.thickness:
        raise InputError(
            place,
            f"crimped_diameter = {chosen.crimped_diameter:g} mm: {2 * table.columns} struts of "
            f"{max(chosen.ring_widths):g} mm side by side need {room + chosen.thickness:.2f} mm.",
            "Crimp it less, or make the struts narrower.",
        )  # fmt: skip
    struts = Struts(law, chosen.thickness, chosen.ring_widths, chosen.link_width)
    return Device(
        f"{table.name} {size}", table.family, pattern, struts, chosen.nominal_diameter,
        chosen.crimped_diameter, chosen.skirt_height, chosen.annulus, table.fatigue, table.sources,
        balloon,
    )  # fmt: skip
