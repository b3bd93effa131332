"""Types of a case file: floats in organtwin's units that are written as "3 mm" or "80 mmHg"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, ValidationInfo
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from organtwin.errors import InputError
from organtwin.units import quantity, registry

_PLAIN_NUMBER = re.compile(r"\s*[-+]?[0-9.]+([eE][-+]?[0-9]+)?\s*")


@dataclass(frozen=True)
class Unit:
    """Mark of a float that a case file gives as a string with a unit.

    Attributes:
        inside: Unit that organtwin computes in.
        shown: Unit that resolved cases and the documentation are written in.
    """

    inside: str
    shown: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            self.read,
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(
                self.text, when_used="json"
            ),
        )

    def read(self, value: object) -> float:
        """Value in ``inside`` of what stands in the file.

        Raises:
            ValueError: without unit, or with one of another dimension (pydantic collects these).
        """
        if isinstance(value, str) and not _PLAIN_NUMBER.fullmatch(value):
            try:
                return quantity(value, self.inside, "")
            except InputError as error:
                raise ValueError(f"{error.problem} {error.remedy}") from None
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            number = str(value).strip()
            raise ValueError(f'{value!r} has no unit. Write for example "{number} {self._suffix}".')
        shown = str(value) if isinstance(value, date | time) else repr(value)
        raise ValueError(
            f'{shown} is not a number with a unit. Write for example "1 {self._suffix}".'
        )

    def text(self, value: float) -> str:
        """Number and unit as a case file has them.

        >>> Unit("1/ms", "1/min").text(75 / 60000)
        '75 / min'
        """
        number = registry().Quantity(value, self.inside).to(self.shown).magnitude
        return f"{number:.12g} {self._suffix}"

    @property
    def _suffix(self) -> str:
        return self.shown.replace("1/", "/ ") if self.shown.startswith("1/") else self.shown


Length = Annotated[float, Unit("mm", "mm")]
Time = Annotated[float, Unit("ms", "ms")]
Pressure = Annotated[float, Unit("kPa", "kPa")]
Speed = Annotated[float, Unit("mm/ms", "m/s")]
Angle = Annotated[float, Unit("degree", "deg")]
Frequency = Annotated[float, Unit("1/ms", "1/min")]
Area = Annotated[float, Unit("mm^2", "cm^2")]
Volume = Annotated[float, Unit("mm^3", "mL")]
Conductivity = Annotated[float, Unit("mS/mm", "S/m")]
Viscosity = Annotated[float, Unit("kPa*ms", "kPa*s")]
StiffnessPerArea = Annotated[float, Unit("kPa/mm", "kPa/mm")]
DampingPerArea = Annotated[float, Unit("kPa*ms/mm", "kPa*ms/mm")]
FlowResistance = Annotated[float, Unit("kPa*ms/mm^3", "mmHg*s/mL")]
Compliance = Annotated[float, Unit("mm^3/kPa", "mL/mmHg")]
Elastance = Annotated[float, Unit("kPa/mm^3", "mmHg/mL")]
InverseLength = Annotated[float, Unit("1/mm", "1/mm")]
MembraneCapacitance = Annotated[float, Unit("uF/mm^2", "uF/mm^2")]
Concentration = Annotated[float, Unit("nmol/L", "nmol/L")]
VolumetricCurrent = Annotated[float, Unit("uA/mm^3", "uA/mm^3")]


def marks(field: FieldInfo) -> list[Any]:
    """What annotates a value, each one of a list, or a value that may be absent."""
    annotation = field.annotation
    several = get_origin(annotation) in (tuple, Union, UnionType)
    inner = [
        mark
        for member in (get_args(annotation) if several else ())
        for mark in getattr(member, "__metadata__", ())
    ]
    return [*field.metadata, *(m for mark in inner for m in getattr(mark, "metadata", [mark]))]


def _existing_file(path: Path, info: ValidationInfo) -> Path:
    """Absolute path of a file that is named relative to the case file."""
    folder = Path((info.context or {}).get("folder", "."))
    file = (folder / path).resolve()
    if file.is_dir():
        raise ValueError(f'"{path}" is a folder ({file}): name the file in it.')
    if not file.is_file():
        raise ValueError(f'no such file "{path}" (looked for {file}).')
    return file


#: A file that must be there; relative paths start at the case file.
InputFile = Annotated[Path, AfterValidator(_existing_file)]


def _existing_path(path: Path, info: ValidationInfo) -> Path:
    """Absolute path of a file or folder that is named relative to the case file."""
    folder = Path((info.context or {}).get("folder", "."))
    place = (folder / path).resolve()
    if not place.exists():
        raise ValueError(f'no such file or folder "{path}" (looked for {place}).')
    return place


#: A file or folder that must be there; relative paths start at the case file.
InputPath = Annotated[Path, AfterValidator(_existing_path)]
#: A number without unit.
Number = Annotated[float, Field(strict=True)]
#: A whole number.
Count = Annotated[int, Field(strict=True)]
