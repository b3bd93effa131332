"""How files of implants are read: TOML with a unit at each length, angle and stress."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from organtwin.errors import InputError
from organtwin.units import quantity

#: Files that come with organtwin.
CATALOGUE = Path(__file__).parent / "catalogue"


def _in(unit: str) -> BeforeValidator:
    def convert(value: Any) -> float:
        if not isinstance(value, str):
            raise ValueError(f'write it with its unit, for example "1 {unit}"')
        try:
            return quantity(value, unit, "")
        except InputError as error:
            raise ValueError(f"{error.problem} {error.remedy}") from None

    return BeforeValidator(convert)


Length = Annotated[float, _in("mm"), Field(gt=0)]
Height = Annotated[float, _in("mm"), Field(ge=0)]
Shift = Annotated[float, _in("mm")]
Angle = Annotated[float, _in("degree")]
Stress = Annotated[float, _in("kPa"), Field(gt=0)]
Density = Annotated[float, _in("mg/mm^3"), Field(gt=0)]


class Table(BaseModel):
    """A table of a file."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def catalogue_names() -> list[str]:
    """Implant files that come with organtwin."""
    return sorted(file.stem for file in CATALOGUE.glob("*.toml") if file.stem != "materials")


def file_of(name: str | Path) -> Path:
    """The file of a name of the catalogue, or the path itself."""
    return CATALOGUE / f"{name}.toml" if str(name) in catalogue_names() else Path(name)


def read_table[T: Table](model: type[T], path: Path) -> T:
    """Read and check a file.

    Raises:
        InputError: it can't be read, is no TOML, or has a wrong key, value or unit.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        known = ", ".join(catalogue_names())
        raise InputError(
            str(path), f"can't be read ({error.strerror}).", f"In the catalogue: {known}."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            str(path), f"is no TOML ({error}).", "Compare it with the catalogue's."
        ) from None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        found = "" if isinstance(first["input"], dict) else f" It is {first['input']!r}."
        raise InputError(
            f"{path}, {place}",
            f"{first['msg'].rstrip('.')}.{found}{more}",
            "See docs/implants.md for all keys.",
        ) from None
