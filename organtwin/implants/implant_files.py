"""Implant files: families and sizes in TOML with a unit and a source for each number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from organtwin.errors import InputError, suggestion
from organtwin.implants.materials import names as materials
from organtwin.implants.plates import StraightPlate, TibialPlate
from organtwin.implants.screws import BoneScrew
from organtwin.implants.stem import HipStem
from organtwin.implants.tables import (
    Angle,
    Height,
    Length,
    catalogue_names,
    file_of,
    read_table,
)
from organtwin.tables import Table

type Generator = HipStem | BoneScrew | TibialPlate | StraightPlate


class StemTable(Table):
    """Numbers of a `HipStem`."""

    ccd: Angle
    offset: Length
    neck_length: Length
    length: Length
    head_diameter: Length
    tip_width: Length
    tip_depth: Length
    medial_taper: Angle
    lateral_taper: Angle
    ap_taper: Angle
    flare: Height
    flare_height: Length
    bend_radius: Length
    corner: Length
    coating_height: Length
    neck_diameter: Length
    taper_diameter: Length
    taper_angle: Angle
    taper_length: Length


class ScrewTable(Table):
    """Numbers of a `BoneScrew`; ``lengths`` are those that can be had."""

    diameter: Length
    core: Length
    pitch: Length
    head: Literal["spherical", "locking", "tulip"]
    head_diameter: Length
    head_height: Length
    drive: Height
    thread_length: Length | None = None
    lengths: Annotated[tuple[Length, ...], Field(min_length=1)]


class StraightPlateTable(Table):
    """Numbers of a `StraightPlate`."""

    length: Length
    width: Length
    thickness: Length
    holes: Annotated[int, Field(ge=0)]
    hole_diameter: Length
    spacing: Length
    kind: Literal["locking", "cortical"]
    edge: Height


class TibialPlateTable(Table):
    """Numbers of a `TibialPlate`."""

    length: Length
    shaft_width: Length
    head_width: Length
    head_height: Length
    anterior: Annotated[float, Field(ge=0, le=1)]
    thickness: Length
    head_holes: Annotated[int, Field(ge=0)]
    shaft_holes: Annotated[int, Field(ge=0)]
    hole_diameter: Length
    spacing: Length
    fillet: Length
    edge: Height
    kinds: tuple[Literal["locking", "cortical"], ...] = ("locking",)


_TABLES: dict[str, type[Table]] = {
    "stem": StemTable, "screw": ScrewTable, "straight_plate": StraightPlateTable,
    "tibial_plate": TibialPlateTable,
}  # fmt: skip


class ImplantTable(Table):
    """An implant file; ``common`` holds what all sizes share."""

    name: str
    kind: Literal["stem", "screw", "straight_plate", "tibial_plate"]
    about: str = ""
    material: str
    ascending: tuple[str, ...] = ()
    """Numbers that must not become smaller from size to size."""
    common: Mapping[str, Any] = {}
    sizes: Annotated[Mapping[str, Mapping[str, Any]], Field(min_length=1)]
    sources: Annotated[Mapping[str, str], Field(min_length=1)]


def implant_sizes(file: str | Path) -> list[str]:
    """Sizes that an implant file has, in its order.

    Raises:
        InputError: as `load_implant`.
    """
    return list(read_table(ImplantTable, file_of(file)).sizes)


def load_implant(file: str | Path, size: str, **changes: Any) -> Generator:
    """A size of an implant file, ready to make its surface.

    Args:
        file: Path of a TOML file, or one of `catalogue_names`.
        size: One of its sizes.
        changes: Attributes to change, in mm and degrees: ``length`` of a screw (one of the
            file's), which it needs; ``thread``, ``side`` of a tibial plate, and so on.

    Raises:
        InputError: no such file, size, length or attribute; a number without its unit or source,
            or outside the generator's limits; sizes that do not ascend as the file says.
    """
    path = file_of(file)
    table = read_table(ImplantTable, path)
    if size not in table.sizes:
        raise InputError(str(path), f"no size `{size}`.", suggestion(size, table.sizes))
    if table.material not in materials():
        known = suggestion(table.material, materials())
        raise InputError(f"{path}, material", f"no material `{table.material}`.", known)
    rows = {key: _row(path, table, key) for key in table.sizes}
    _check_sources(path, table, rows[size])
    _check_ascending(path, table, rows)
    made = _generator(path, table, size, rows[size], changes)
    for key in changes:
        if key not in type(made).__dataclass_fields__:
            raise InputError(
                f"{path}, sizes.{size}", f"no attribute `{key}`.",
                suggestion(key, type(made).__dataclass_fields__),
            )  # fmt: skip
    return replace(made, **changes)


def _row(path: Path, table: ImplantTable, size: str) -> Table:
    given = {**table.common, **table.sizes[size]}
    try:
        return _TABLES[table.kind].model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = "" if isinstance(first["input"], dict) else f" It is {first['input']!r}."
        raise InputError(
            f"{path}, sizes.{size}.{where}",
            f"{first['msg'].rstrip('.')}.{said}",
            "See docs/implants.md for all keys.",
        ) from None


def _check_sources(path: Path, table: ImplantTable, row: Table) -> None:
    missing = sorted(set(row.model_fields_set) - set(table.sources))
    if missing:
        raise InputError(
            f"{path}, sources", f"nothing for {', '.join(missing)}.",
            'Say where each number comes from, if only "our choice".',
        )  # fmt: skip


def _check_ascending(path: Path, table: ImplantTable, rows: Mapping[str, Table]) -> None:
    for key in table.ascending:
        if key not in _TABLES[table.kind].model_fields:
            raise InputError(
                f"{path}, ascending", f"no number `{key}`.",
                suggestion(key, _TABLES[table.kind].model_fields),
            )  # fmt: skip
        for (small, low), (large, high) in pairwise(rows.items()):
            if getattr(high, key) < getattr(low, key):
                raise InputError(
                    f"{path}, sizes.{large}.{key}",
                    f"is {getattr(high, key):g}, smaller than {getattr(low, key):g} of size "
                    f"{small}.",
                    "Correct it, or take it out of ascending.",
                )


def _generator(
    path: Path, table: ImplantTable, size: str, row: Table, changes: Mapping[str, Any]
) -> Generator:
    numbers: dict[str, Any] = {**dict(row), "name": f"{table.name} {size}"}
    numbers["material"] = table.material
    try:
        if isinstance(row, StemTable):
            return HipStem(**numbers)
        if isinstance(row, StraightPlateTable):
            return StraightPlate(**numbers)
        if isinstance(row, TibialPlateTable):
            return TibialPlate(**numbers)
        lengths = numbers.pop("lengths")
        length = changes.get("length")
        if length not in lengths:
            have = ", ".join(f"{x:g}" for x in lengths)
            said = "needs a length" if length is None else f"no length of {length:g} mm"
            raise InputError(str(path), f"{said}.", f"Give one of {have} mm.")
        return BoneScrew(**{**numbers, "length": length})
    except InputError as error:
        raise InputError(f"{path}, sizes.{size}", error.problem, error.remedy) from None


__all__ = ["Generator", "catalogue_names", "implant_sizes", "load_implant"]
