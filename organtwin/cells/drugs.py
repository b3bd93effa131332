"""Drugs that block ion channels, by concentration."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from organtwin.cells.conditions import Condition
from organtwin.cells.model import CellModel
from organtwin.errors import InputError, suggestion


@dataclass(frozen=True)
class Block:
    """Block of a current at equilibrium, independent of potential and rate.

    Attributes:
        ic50: Concentration that halves the current (nM), > 0.
        hill: Hill coefficient, > 0.

    Raises:
        InputError: one of them is not positive.
    """

    ic50: float
    hill: float = 1.0

    def __post_init__(self) -> None:
        if not (self.ic50 > 0 and self.hill > 0):
            raise InputError(
                "block", f"IC50 {self.ic50:g} nM, Hill coefficient {self.hill:g}.", "Both are > 0."
            )

    def factor(self, concentration: float) -> float:
        """What is left of the current, 1/(1 + (c/IC50)^h).

        Args:
            concentration: c (nM), ≥ 0.

        >>> Block(ic50=5.0, hill=0.9).factor(5.0)
        0.5
        """
        return float(1 / (1 + (concentration / self.ic50) ** self.hill))


@dataclass(frozen=True)
class Drug:
    """A drug and the currents it blocks.

    Attributes:
        name: Name.
        blocks: Block by current.
        source: Where the numbers come from.
        therapeutic: Largest free plasma concentration in therapy (nM); None if not known.
    """

    name: str
    blocks: Mapping[str, Block]
    source: str = ""
    therapeutic: float | None = None

    @classmethod
    def load(cls, name: str) -> Drug:
        """Drug of the library.

        Raises:
            InputError: there is none of that name.

        >>> Drug.load("dofetilide").blocks["IKr"].ic50
        4.87
        """
        entries = library()
        if name not in entries:
            raise InputError("drug", f"no `{name}`.", suggestion(name, entries))
        entry = entries[name]
        blocks = {
            current: Block(block["ic50_nM"], block["hill"])
            for current, block in entry["blocks"].items()
        }
        return cls(name, blocks, entry["source"], entry.get("therapeutic_nM"))

    def without(self, *currents: str) -> Drug:
        """The drug without some of its blocks, as for a model that lacks these currents.

        Raises:
            InputError: the drug does not block one of them.
        """
        for current in currents:
            if current not in self.blocks:
                raise InputError(
                    f"drug `{self.name}`",
                    f"it does not block `{current}`.",
                    suggestion(current, self.blocks),
                )
        kept = {name: block for name, block in self.blocks.items() if name not in currents}
        return replace(self, blocks=kept)

    def factors(self, concentration: float) -> dict[str, float]:
        """What is left of each current at a concentration (nM).

        Raises:
            InputError: the concentration is negative.
        """
        if not concentration >= 0:
            raise InputError(
                f"drug `{self.name}`", f"concentration {concentration:g} nM.", "It must be ≥ 0."
            )
        return {current: block.factor(concentration) for current, block in self.blocks.items()}


@dataclass(frozen=True)
class Dose:
    """A drug at a concentration.

    Attributes:
        drug: The drug.
        concentration: Free concentration at the cells (nM), ≥ 0.
    """

    drug: Drug
    concentration: float

    @property
    def effect(self) -> Condition:
        """What the drug does to cells.

        Raises:
            InputError: the concentration is negative.
        """
        factors = self.drug.factors(self.concentration)
        name = f"{self.drug.name}, {self.concentration:g} nM"
        return Condition(name, factors, source=self.drug.source)


@cache
def library() -> Mapping[str, dict[str, Any]]:
    """Entries of the library by name."""
    path = files("organtwin.cells") / "library" / "drugs.toml"
    return tomllib.loads(path.read_text("utf-8"))


def blocked(model: CellModel, drug: Drug, concentration: float) -> CellModel:
    """The model with its currents multiplied by 1/(1 + (c/IC50)^h).

    Args:
        model: Cell model.
        drug: What blocks its currents; see `Drug.without` for currents that it lacks.
        concentration: c (nM), ≥ 0.

    Raises:
        InputError: the model lacks a current, or the concentration is negative.
    """
    return model.with_currents_scaled(drug.factors(concentration))
