"""The case file of a calibration: measurements, parameters, smoother."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from organtwin.case.quantities import Count, InputFile, InputPath, Number
from organtwin.case.section import Section


class Measured(Section):
    """A measurement written in the case file."""

    value: str
    """Value with its unit: `"58 %"`, `"120 mmHg"`."""
    error: str
    """One standard deviation of the measurement, with a unit."""
    held_out: bool = False
    """Kept from the calibration, to be predicted."""


class ObservationSources(Section):
    """What was measured: files, and single values by the name of their quantity."""

    files: tuple[InputPath, ...] = ()
    """CSV tables (`.csv`), HL7 FHIR (`.json`) and WFDB records (`.hea`); relative to the case
    file."""
    relative_error: Annotated[Number, Field(gt=0.0, le=1.0)] = 0.05
    """Standard error of values from FHIR, which tells none, relative to the value."""
    klotz_error: Annotated[Number, Field(gt=0.0, le=1.0)] | None = None
    """Relative error with which the unloaded volume of the curve of Klotz et al. (2006), through
    the measured end-diastolic volume and pressure of the left ventricle, counts as a measurement:
    a prior for the passive stiffness of the 3D heart. Without it the curve is not looked at."""
    values: dict[str, Measured] = {}
    """Single measurements: `[calibration.observations.values.lv_ejection_fraction]`."""
    hold_out: tuple[str, ...] = ()
    """Measurements kept from the calibration, to be predicted: names of quantities, or of one time
    of a curve, such as `lv_volume@240ms`."""


class NormalPrior(Section):
    """A normal distribution."""

    prior: Literal["normal"]
    mean: str
    """Mean, with its unit."""
    deviation: str
    """Standard deviation, with its unit."""


class LogNormalPrior(Section):
    """A distribution of what is positive: its logarithm is normal."""

    prior: Literal["lognormal"]
    median: str
    """Median, with its unit."""
    spread: Annotated[Number, Field(gt=0.0, le=3.0)]
    """Standard deviation of the logarithm; 0.2 is about 20 %."""


class UniformPrior(Section):
    """Anything between two bounds."""

    prior: Literal["uniform"]
    low: str
    """Lower bound, with its unit."""
    high: str
    """Upper bound, with its unit."""


class KlotzPrior(Section):
    """From measured end-diastolic volume and pressure by the curve of Klotz et al. (2006).

    Of `lv.unloaded_volume` and `lv.passive_elastance`: V₀ of the curve, and the slope from there to
    the measured point.
    """

    prior: Literal["klotz"]
    spread: Annotated[Number, Field(gt=0.0, le=3.0)] = 0.2
    """Standard deviation of the logarithm: how far a heart may be from the curve."""


PriorChoice = Annotated[
    NormalPrior | LogNormalPrior | UniformPrior | KlotzPrior, Field(discriminator="prior")
]


class SmootherSettings(Section):
    """Ensemble smoother with multiple data assimilation (Emerick & Reynolds 2013)."""

    members: Annotated[Count, Field(ge=8, le=100_000)] = 200
    """Size of the ensemble. Intervals of fewer than about 100 are too narrow."""
    assimilations: Annotated[Count, Field(ge=1, le=50)] = 4
    """How often the measurements are taken in, each time with their variance times this number."""
    seed: Annotated[Count, Field(ge=0)] = 1
    """Of all random numbers."""
    retries: Annotated[Count, Field(ge=0, le=10)] = 2
    """Further tries at a member that failed, each with half the time step."""


class EmulatorSettings(Section):
    """Few runs of the 3D heart instead of one for each member.

    Ventricles that answer as in those runs are put into the circulation, the ensemble is calibrated
    with them, and the 3D heart is run at what was found.
    """

    runs: Annotated[Count, Field(ge=4, le=10_000)]
    """Runs of the 3D heart with parameters from their priors, one beat each; at least two more
    than there are parameters, and than twice those of the tissue."""
    rounds: Annotated[Count, Field(ge=1, le=10)] = 2
    """Calibrations, each followed by a run of the 3D heart at what was found. It comes to its limit
    cycle in the beats that the case allows, and the next round learns from it."""
    discrepancy: Annotated[Number, Field(gt=0.0)] = 0.25
    """Root mean square difference of that run from what the emulated heart told, in standard errors
    of the measurements, that ends the rounds."""


class SensitivitySettings(Section):
    """Global sensitivity before the calibration: Sobol' indices over the priors."""

    samples: Annotated[Count, Field(ge=0, le=65536)] = 0
    """Blocks of samples, a power of two; each costs two runs more than there are parameters. Zero
    leaves it out."""

    @field_validator("samples")
    @classmethod
    def _power_of_two(cls, samples: int) -> int:
        if samples and (samples < 8 or samples & (samples - 1)):
            raise ValueError(
                f"{samples} is not a power of two of at least 8. Write for example 64."
            )
        return samples


class Calibration(Section):
    """From measurements to parameters."""

    model: Literal["closed_loop", "case"] = "closed_loop"
    """The reduced-order heart, or the 3D heart of a case file."""
    case: InputFile | None = None
    """Case file of the 3D heart, for `model = "case"`."""
    stages: tuple[str, ...] = ()
    """`filling`, `circulation`, `contractility`, `activation`, in their order; without it all
    parameters are calibrated at once."""
    parameters: dict[str, PriorChoice]
    """What is to be found, by its dotted path: `[calibration.parameters."lv.active_elastance"]`."""
    given: dict[str, str] = {}
    """What is known of the reduced-order heart: path = "value with unit". A measured heart rate is
    taken from the measurements."""
    observations: ObservationSources
    smoother: SmootherSettings = SmootherSettings()
    emulator: EmulatorSettings | None = None
    sensitivity: SensitivitySettings = SensitivitySettings()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.parameters:
            raise ValueError("no [calibration.parameters]: nothing to find.")
        if not self.observations.files and not self.observations.values:
            raise ValueError("[calibration.observations] names neither files nor values.")
        if (self.model == "case") != (self.case is not None):
            raise ValueError('`case` belongs to model = "case", and is needed for it.')
        if self.emulator is not None and self.model != "case":
            raise ValueError('`emulator` belongs to model = "case".')
        if self.model == "case" and self.given:
            raise ValueError(
                '`given` belongs to model = "closed_loop"; the case has its own values.'
            )
        return self


class CalibrationOutput(Section):
    """Where the results are written."""

    directory: Path = Path("results/calibration")
    """Result directory; relative to where the command is run."""


class CalibrationCase(Section):
    """A calibration, from measurements to a report."""

    title: str = "Calibration"
    """Heading of the report."""
    calibration: Calibration
    output: CalibrationOutput = CalibrationOutput()
