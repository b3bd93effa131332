"""Indices that every implant in a bone has: what is near yield, and what its material stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.implants.materials import load_material
from organtwin.index import Found, Index
from organtwin.orthopaedics.fracture_indices import BoneRisk, bone_indices, bone_risk
from organtwin.orthopaedics.model import unloaded_after
from organtwin.orthopaedics.operation import Healing, Load, Operation
from organtwin.orthopaedics.outcome import Outcome
from organtwin.orthopaedics.strength_indices import Cycle, cycle_of, strength_indices

type Array = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: Density (mg/mm³) above which a cell counts as bone; below lies marrow. Our choice.
MARROW = 0.03
ALONE = MPI.COMM_SELF


@dataclass
class Judged:
    """Indices and maps of an operated bone.

    Attributes:
        indices: All of them.
        notes: One sentence for each that could not be computed, and what is left out.
        maps: Name with unit → value of each cell of the assembly, NaN where there is none.
    """

    indices: list[Index] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    maps: dict[str, Array] = field(default_factory=dict)

    def add(self, found: Found, prefix: str = "") -> None:
        """Take indices and notes; names begin with the prefix."""
        indices, notes = found
        self.indices += [replace(one, name=f"{prefix}{one.name}") for one in indices]
        self.notes += [note for note in notes if note not in self.notes]


def bone_cells(outcome: Outcome, operation: Operation) -> Mask:
    """Cells of bone that stay and are more than marrow, shape (m,)."""
    density = outcome.tissue["density"]
    return np.asarray(outcome.within(*operation.bones) & (np.nan_to_num(density) > MARROW))


def cycle(outcome: Outcome, cells: Mask, load: Load, names: tuple[str, str]) -> Cycle:
    """Stress of cells over the cycle of a load; the names are those of its two steps."""
    loaded, gone = (outcome.operated[name]["stress"][cells] for name in names)
    return cycle_of(loaded, gone + load.least * (loaded - gone))


def add_bone(
    judged: Judged, outcome: Outcome, operation: Operation, load: Load, step: str, prefix: str
) -> BoneRisk:
    """Risk of yield of the operated bone, and of the intact one beside it."""
    cells = bone_cells(outcome, operation)
    places, volumes = outcome.middles[cells], outcome.volumes[cells]
    risk = bone_risk(places, outcome.operated[step]["strain"][cells], volumes, comm=ALONE)
    judged.add(bone_indices(risk, comm=ALONE), prefix)
    judged.maps[f"{prefix}risk"] = on_cells(outcome, cells, risk.risk)
    if load.name in outcome.intact:
        strain = outcome.intact[load.name]["strain"][cells]
        before = bone_risk(places, strain, volumes, comm=ALONE)
        judged.maps[f"{prefix}risk_intact"] = on_cells(outcome, cells, before.risk)
    return risk


def add_strength(
    judged: Judged, outcome: Outcome, operation: Operation, load: Load, names: tuple[str, str],
    prefix: str, keys: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Stress and safety of each implant over the cycle of a load."""
    for region, material in operation.implants.items():
        cells = outcome.within(region)
        found = cycle(outcome, cells, load, names)
        key = (keys or {}).get(region, region)
        made = load_material(material)
        judged.add(
            strength_indices(found, outcome.volumes[cells], made, comm=ALONE, key=key), prefix
        )
        peak = judged.maps.setdefault(f"{prefix}stress MPa", np.full(len(cells), np.nan))
        peak[cells] = found.peak / 1e3
        spare = judged.maps.setdefault(f"{prefix}safety", np.full(len(cells), np.nan))
        spare[cells] = made.yield_stress / np.maximum(found.peak, 1e-6 * made.yield_stress)


def steps_of(load: Load, suffix: str = "") -> tuple[str, str]:
    """Names of the step that applies a load and of the one that lets it go."""
    return f"{load.name}{suffix}", f"{unloaded_after(load.name)}{suffix}"


def prefix_of(operation: Operation, load: Load, stage: Healing) -> str:
    """What names of a load's indices and maps begin with; the stage too if there are several."""
    several = len(operation.healing) > 1
    return f"{load.name}_{stage.name.replace(' ', '_')}_" if several else f"{load.name}_"


def done(outcome: Outcome, operation: Operation, suffix: str = "") -> Iterable[Load]:
    """Loads whose two steps are done."""
    known = set(outcome.steps)
    return (load for load in operation.loads if set(steps_of(load, suffix)) <= known)


def on_cells(outcome: Outcome, cells: Mask, values: Array) -> Array:
    """Values of some cells as a map over all, NaN elsewhere."""
    found = np.full(len(outcome.cells), np.nan)
    found[cells] = values
    return found
