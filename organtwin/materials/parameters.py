"""What values the parameters of a law may take, declared beside them and checked once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, fields
from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI

from organtwin.errors import InputError


@dataclass(frozen=True)
class Range:
    """Unit and admissible values of a parameter.

    Attributes:
        unit: Unit in organtwin's system; "1" for a plain number.
        above, below: Bounds that must not be reached.
        at_least, at_most: Bounds that may be.
    """

    unit: str
    above: float = -np.inf
    at_least: float = -np.inf
    at_most: float = np.inf
    below: float = np.inf

    def admits(self, low: float, high: float) -> bool:
        """Whether all of [low, high] is allowed; what is infinite or no number never is."""
        return bool(
            np.isfinite(low + high)
            and low > self.above
            and low >= self.at_least
            and high <= self.at_most
            and high < self.below
        )

    @property
    def limits(self) -> tuple[float, float]:
        """Smallest and largest admissible value, whether reached or not."""
        return max(self.above, self.at_least), min(self.below, self.at_most)

    def __str__(self) -> str:
        bounds = ((">", self.above), ("≥", self.at_least), ("≤", self.at_most), ("<", self.below))
        wanted = [f"{sign} {bound:g}" for sign, bound in bounds if np.isfinite(bound)]
        return " and ".join(wanted or ["finite"])


def parameter(
    unit: str,
    *,
    above: float = -np.inf,
    at_least: float = -np.inf,
    at_most: float = np.inf,
    below: float = np.inf,
) -> Mapping[str, Range]:
    """Metadata of a dataclass field that holds a parameter, for ``field(metadata=...)``."""
    return {"range": Range(unit, above, at_least, at_most, below)}


def ranges(law: Any) -> dict[str, Range]:
    """Declared ranges of a law (or its class), by parameter name."""
    return {f.name: f.metadata["range"] for f in _declared(law)}


def check_parameters(law: Any) -> None:
    """Refuse a law whose parameters lie outside their ranges.

    Numbers, constants and fields are checked as they are now; with fields it is collective, and
    all ranks raise when one has a wrong value. Symbols (other UFL) are let through.

    Args:
        law: Frozen dataclass with ranges; to be called in its ``__post_init__``.

    Raises:
        InputError: a parameter is out of its range, or no number.
    """
    for declared in _declared(law):
        limits: Range = declared.metadata["range"]
        value = getattr(law, declared.name)
        for one in value if isinstance(value, tuple) else (value,):
            extent = _extent(one)
            if extent is not None and not limits.admits(*extent):
                low, high = extent
                found = f"{low:g}" if low == high else f"{low:g} to {high:g}"
                unit = "" if limits.unit == "1" else f" {limits.unit}"
                raise InputError(
                    type(law).__name__,
                    f"{declared.name} = {found}{unit}.",
                    f"It must be {limits}{unit}.",
                )


def _declared(law: Any) -> Iterator[Field[Any]]:
    return (f for f in fields(law) if "range" in f.metadata)


def _extent(value: Any) -> tuple[float, float] | None:
    """Smallest and largest value; None of what has no values yet."""
    match value:
        case fem.Function():
            return _extent_of_field(value)
        case fem.Constant():
            return float(value.value.min()), float(value.value.max())
        case int() | float() | np.floating():
            return float(value), float(value)
    return None


def _extent_of_field(field: fem.Function) -> tuple[float, float]:
    space = field.function_space
    owned = field.x.array[: space.dofmap.index_map.size_local * space.dofmap.index_map_bs]
    low, high = owned.min(initial=np.inf), owned.max(initial=-np.inf)
    comm = space.mesh.comm
    if np.isnan(owned).any():
        low = high = -np.inf
    return comm.allreduce(low, op=MPI.MIN), comm.allreduce(high, op=MPI.MAX)


def require_positive_definite(matrix: Sequence[Sequence[Any]], place: str, what: str) -> None:
    """Refuse a symmetric matrix of parameters with an eigenvalue ≤ 0; fields are let through.

    Raises:
        InputError: it is not positive definite.
    """
    extents = [[_extent(entry) for entry in row] for row in matrix]
    if any(e is None or e[0] != e[1] for row in extents for e in row):
        return
    smallest = np.linalg.eigvalsh(np.array(extents, dtype=np.float64)[:, :, 0]).min()
    if smallest <= 0:
        raise InputError(
            place,
            f"{what} has the eigenvalue {smallest:.3g}.",
            "It must be positive definite, or some strain would release energy.",
        )
