"""Materials of implants with the source of each number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from organtwin.errors import InputError, suggestion
from organtwin.implants.tables import CATALOGUE, Density, Stress, read_table
from organtwin.tables import Table


@dataclass(frozen=True)
class ImplantMaterial:
    """A linear elastic, isotropic material.

    Attributes:
        name: What it is called.
        youngs_modulus: Young's modulus (kPa).
        poissons_ratio: Poisson's ratio.
        density: Density (mg/mm³).
        yield_stress: Stress at which it yields (kPa); of PMMA, at which it breaks in tension.
        fatigue_limit: Amplitude or largest stress (kPa), as ``sources`` says, that it stands for
            the cycles named there.
        sources: Where each number comes from, by its name.
    """

    name: str
    youngs_modulus: float
    poissons_ratio: float
    density: float
    yield_stress: float
    fatigue_limit: float
    sources: Mapping[str, str]

    @property
    def shear_modulus(self) -> float:
        """E / (2 (1 + ν)) (kPa)."""
        return self.youngs_modulus / (2.0 * (1.0 + self.poissons_ratio))


class _Material(Table):
    youngs_modulus: Stress
    poissons_ratio: Annotated[float, Field(gt=-1, lt=0.5)]
    density: Density
    yield_stress: Stress
    fatigue_limit: Stress
    sources: Mapping[str, str]


class _Materials(Table):
    materials: Annotated[Mapping[str, _Material], Field(min_length=1)]


def names(file: str | Path | None = None) -> list[str]:
    """Materials of a file, of the catalogue without one."""
    return list(_read(file).materials)


def load_material(name: str, file: str | Path | None = None) -> ImplantMaterial:
    """A material of the catalogue, or of a file like it.

    Args:
        name: One of `names`.
        file: TOML file with tables ``[materials.NAME]``; None for the catalogue.

    Raises:
        InputError: no such material, or the file can't be used; a number without source counts.
    """
    known = _read(file).materials
    place = str(file or "materials")
    if name not in known:
        raise InputError(place, f"no material `{name}`.", suggestion(name, known))
    table = known[name]
    numbers = {key for key in type(table).model_fields if key != "sources"}
    if missing := sorted(numbers - set(table.sources)):
        raise InputError(
            f"{place}, materials.{name}.sources",
            f"nothing for {', '.join(missing)}.",
            'Say where each number comes from, if only "our choice".',
        )
    if table.fatigue_limit > table.yield_stress:
        raise InputError(
            f"{place}, materials.{name}", "its fatigue limit is above its yield stress.",
            "Check both and their units.",
        )  # fmt: skip
    return ImplantMaterial(name, **dict(table))


def _read(file: str | Path | None) -> _Materials:
    return read_table(_Materials, Path(file) if file else CATALOGUE / "materials.toml")
