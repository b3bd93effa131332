"""Keys of the case file of a rehearsal: which plans, how they are ranked, what is varied."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from organtwin.case.quantities import Count, InputFile, Number
from organtwin.case.section import Section

#: Width of a change that is a length: half of the mean edge of the scan's voxels.
HALF_A_VOXEL = "half a voxel"
#: A value of a setting, as the case file of a single plan has it.
Value = str | bool | int | float | tuple[str | int | float, ...]


def _dotted(settings: object, place: str = "") -> object:
    """Sections in sections as dotted paths, since `root.size = …` and `"root.size" = …` differ."""
    if not isinstance(settings, dict):
        return settings
    found: dict[str, object] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            deeper = _dotted(value, f"{place}{key}.")
            assert isinstance(deeper, dict)
            found |= deeper
        else:
            found[f"{place}{key}"] = value
    return found


#: Dotted path → value.
Paths = Annotated[dict[str, Value], BeforeValidator(_dotted)]
#: Dotted path → values.
Lists = Annotated[dict[str, tuple[Value, ...]], BeforeValidator(_dotted)]


class Sweep(Section):
    """Plans: every value with every other; of implants all by `more`."""

    device: tuple[str, ...] = ()
    """Devices of the catalogue or device files (relative to the single case's file); that of
    the case without it."""
    size: tuple[Value, ...] | Literal["fitting"] = "fitting"
    """Sizes, or those of each device that are neither smaller than the annulus nor more than 30 %
    larger, by what the device is sized by."""
    depth: tuple[str, ...] = ()
    """Depths of the inflow below the annulus: `["3 mm", "5 mm"]`."""
    tilt: tuple[str, ...] = ()
    """Angles between the device's axis and the annulus' normal: `["0 deg", "5 deg"]`."""
    more: Lists = {}
    """Any other setting of the case by its dotted path: `deployment.filling = [0.9, 1.0]`."""

    @field_validator("more")
    @classmethod
    def _paths(cls, more: dict[str, tuple[Value, ...]]) -> dict[str, tuple[Value, ...]]:
        for name in more:
            if "." not in name:
                raise ValueError(f"`{name}` is no path. Write for example `deployment.filling`.")
        return more


class ChoiceSettings(Section):
    """How plans are ranked; see docs/tavr-sweep.md and docs/implant-sweep.md."""

    weights: dict[str, Annotated[Number, Field(ge=0.0)]] = {}
    """Criterion = weight, in place of the usual one; 0 leaves it out."""
    limits: dict[str, tuple[Number, Number]] = {}
    """Criterion = [good, bad], in place of the usual values."""
    without_rules: tuple[str, ...] = ()
    """Rules that are not looked at."""


class Factor(Section):
    """Something that is not known well, and how far it may be off."""

    key: str | tuple[str, ...] = ()
    """Setting of the case by its dotted path, or several that are changed together."""
    change: str | None = None
    """The setting more and less by this: `"1 mm"`, or `"half a voxel"` of the scan."""
    times: Annotated[Number, Field(gt=1.0)] | None = None
    """The setting times and over this."""
    runs: tuple[Paths, ...] = ()
    """Settings of each run instead: `[{ deployment.friction = 0.05 }, …]`."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Settings that are changed together."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = sum(bool(way) for way in (self.change, self.times, self.runs))
        if ways != 1 or bool(self.runs) == bool(self.key):
            raise ValueError("write `key` with `change` or with `times`, or `runs`.")
        return self


class SensitivitySettings(Section):
    """Which plan's indices get intervals, and from what."""

    of: str = "best"
    """Name of a member of the sweep, or the one that is ranked first."""
    factors: dict[str, Factor] = {}
    """What is varied, one at a time: `[sensitivity.factors.depth]`; naming any replaces the usual
    ones, which docs/tavr-sweep.md and docs/implant-sweep.md list."""
    runs: Annotated[Count, Field(ge=1, le=2)] = 2
    """Runs of each factor: to both sides, or the first alone, taken to count for both."""


class RehearsalOutput(Section):
    """Where the results are written."""

    directory: Path = Path("results/rehearsal")
    """Result directory; relative to where the command is run."""


class RehearsalCase(Section):
    """A rehearsal: many plans for one patient, ranked."""

    title: str = "Rehearsal"
    """Heading of the page."""
    case: InputFile
    """Case file of a single valve or implant; relative to this file."""
    settings: Paths = {}
    """Settings that all members have in place of the case's, by their dotted paths."""
    sweep: Sweep = Sweep()
    choice: ChoiceSettings = ChoiceSettings()
    sensitivity: SensitivitySettings = SensitivitySettings()
    output: RehearsalOutput = RehearsalOutput()
