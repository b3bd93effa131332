"""Diseased cells: currents scaled and parameters replaced, as sets with a name."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from organtwin.cells.model import CellModel
from organtwin.errors import InputError, suggestion


@dataclass(frozen=True)
class Condition:
    """What a disease does to cells.

    Attributes:
        name: Name.
        factors: Current → factor on the parameter that scales it, ≥ 0.
        parameters: Parameter → value in its place, in the model's unit.
        source: Where the numbers come from.

    Raises:
        InputError: a factor is negative.
    """

    name: str
    factors: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        for current, factor in self.factors.items():
            if not factor >= 0:
                raise InputError(
                    f"condition `{self.name}`", f"{current}: factor {factor:g}.", "It must be ≥ 0."
                )

    @classmethod
    def load(cls, name: str) -> Condition:
        """Condition of the library.

        Raises:
            InputError: there is none of that name.

        >>> Condition.load("acute_border_zone_2").factors["INa"]
        0.38
        """
        entries = library()
        if name not in entries:
            raise InputError("condition", f"no `{name}`.", suggestion(name, entries))
        entry = entries[name]
        factors, parameters = entry.get("factors", {}), entry.get("parameters", {})
        return cls(name, factors, parameters, entry["source"])


@cache
def library() -> Mapping[str, dict[str, Any]]:
    """Entries of the library by name."""
    path = files("organtwin.cells") / "library" / "conditions.toml"
    return tomllib.loads(path.read_text("utf-8"))


def applied(model: CellModel, condition: Condition) -> CellModel:
    """The model under a condition: parameters replaced, then currents scaled.

    Raises:
        InputError: the model lacks one of the currents or parameters.
    """
    return model.with_parameters(condition.parameters).with_currents_scaled(condition.factors)
