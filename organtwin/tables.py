"""Files of devices and implants: TOML with a unit at each length, angle and stress."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from organtwin.errors import InputError
from organtwin.units import quantity


def written_in(unit: str) -> BeforeValidator:
    """Mark of a float that a file gives as a string with a unit, e.g. ``"3 mm"``."""

    def convert(value: Any) -> float:
        if not isinstance(value, str):
            raise ValueError(f'write it with its unit, for example "1 {unit}"')
        try:
            return quantity(value, unit, "")
        except InputError as error:
            raise ValueError(f"{error.problem} {error.remedy}") from None

    return BeforeValidator(convert)


class Table(BaseModel):
    """A table of a file."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def read_table[T: Table](model: type[T], path: Path, *, known: Sequence[str], guide: str) -> T:
    """Read and check a file.

    Args:
        model: What must be in it.
        path: The file.
        known: Names of the catalogue, for the message.
        guide: Page that tells all keys.

    Raises:
        InputError: it can't be read, is no TOML, or has a wrong key, value or unit.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            str(path),
            f"can't be read ({error.strerror}).",
            f"In the catalogue: {', '.join(known)}.",
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
            f"See {guide} for all keys.",
        ) from None
