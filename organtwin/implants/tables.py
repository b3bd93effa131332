"""What files of implants are made of, and where those that come with organtwin lie."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from organtwin import tables
from organtwin.tables import Table, written_in

#: Files that come with organtwin.
CATALOGUE = Path(__file__).parent / "catalogue"

Length = Annotated[float, written_in("mm"), Field(gt=0)]
Height = Annotated[float, written_in("mm"), Field(ge=0)]
Shift = Annotated[float, written_in("mm")]
Angle = Annotated[float, written_in("degree")]
Stress = Annotated[float, written_in("kPa"), Field(gt=0)]
Density = Annotated[float, written_in("mg/mm^3"), Field(gt=0)]


def catalogue_names() -> list[str]:
    """Implant files that come with organtwin."""
    return sorted(file.stem for file in CATALOGUE.glob("*.toml") if file.stem != "materials")


def file_of(name: str | Path) -> Path:
    """The file of a name of the catalogue, or the path itself."""
    return CATALOGUE / f"{name}.toml" if str(name) in catalogue_names() else Path(name)


def read_table[T: Table](model: type[T], path: Path) -> T:
    """Read and check a file, as `organtwin.tables.read_table`."""
    return tables.read_table(model, path, known=catalogue_names(), guide="docs/implants.md")
