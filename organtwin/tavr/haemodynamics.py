"""Pressures and flows that a deployed valve is judged with."""

from __future__ import annotations

from dataclasses import dataclass, field

from organtwin.devices.leak import Blood
from organtwin.errors import InputError

#: mmHg in kPa.
MMHG = 0.133322


@dataclass(frozen=True)
class Haemodynamics:
    """The patient's circulation; all defaults are our choice, of an adult at rest.

    Attributes:
        aortic: Pressure of the aorta in diastole (kPa); 80 mmHg.
        ventricular: Pressure of the left ventricle in diastole (kPa); 10 mmHg.
        heart_rate: Beats per minute.
        diastole: Length of diastole (ms).
        ejection: Time in which blood is ejected (ms).
        cardiac_output: Blood that goes forwards (mL/s); 5 L/min.
        blood: Viscosity and density.
        surface: Body surface area (m²); none where it is not known.
        obese: Whether the body mass index is 30 kg/m² or more.
    """

    aortic: float = 80.0 * MMHG
    ventricular: float = 10.0 * MMHG
    heart_rate: float = 70.0
    diastole: float = 550.0
    ejection: float = 300.0
    cardiac_output: float = 5000.0 / 60.0
    blood: Blood = field(default_factory=Blood)
    surface: float | None = None
    obese: bool = False

    def __post_init__(self) -> None:
        numbers = (self.diastole, self.ejection, self.heart_rate, self.cardiac_output)
        beat = 60e3 / self.heart_rate if self.heart_rate > 0.0 else 0.0
        if not (min(numbers) > 0.0 and self.diastole + self.ejection <= 1.01 * beat):
            raise InputError(
                "haemodynamics", f"{self.diastole:g} ms of diastole and {self.ejection:g} ms of "
                f"ejection at {self.heart_rate:g} beats per minute, {self.cardiac_output:g} mL/s.",
                "All are positive, and both times fit into a beat.",
            )  # fmt: skip
        if not self.aortic > self.ventricular >= 0.0:
            raise InputError(
                "haemodynamics", f"{self.aortic:g} kPa in the aorta and {self.ventricular:g} kPa "
                "in the ventricle.", "In diastole the aorta's pressure is higher.",
            )  # fmt: skip
        if self.surface is not None and not 0.3 < self.surface < 4.0:
            raise InputError(
                "haemodynamics",
                f"a body surface of {self.surface:g} m².",
                "Adults have 1.3 to 2.5.",
            )

    @property
    def closing(self) -> float:
        """Pressure over the closed valve (kPa)."""
        return self.aortic - self.ventricular

    @property
    def forward_flow(self) -> float:
        """Mean flow while blood is ejected (mL/s)."""
        return self.cardiac_output * 60e3 / self.heart_rate / self.ejection
