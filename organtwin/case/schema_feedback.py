"""What the motion does to tension, cells and conduction, in a case file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from organtwin.case.quantities import Number, Unit
from organtwin.case.schema_tension import Potential
from organtwin.case.section import Section

Rate = Annotated[float, Unit("1/ms", "1/ms")]


class StretchActivatedCurrent(Section):
    """Current through channels that open when fibres are longer than at rest.

    I = g (λ − 1)/(λ_max − 1) (V − E) at stretches λ above 1.
    """

    conductance: Annotated[Rate, Field(ge=0.0, le=1.0)]
    """Conductance g per capacitance at the stretch λ_max; 1 / ms is 1 nS/pF. Published values
    differ widely."""
    reversal_potential: Potential = -20.0
    """Reversal potential E."""
    largest_stretch: Annotated[Number, Field(gt=1.0, le=2.0)] = 1.1
    """Stretch λ_max."""


class Feedback(Section):
    """What the motion does; each part can be switched to see what it does."""

    stretch: bool = True
    """Stretch changes filament overlap and calcium sensitivity; if not, those of a stretch of 1."""
    stretch_rate: bool = True
    """The stretch rate strains the cross-bridges; if not, as in an isometric fibre."""
    stretch_activated_current: StretchActivatedCurrent | None = None
    conduction: bool = False
    """The potential spreads through the deformed wall, with the models `monodomain` and
    `reaction_eikonal_diffusion`; if not, through that of the image."""
    conduction_tolerance: Annotated[Number, Field(gt=0.0, le=1.0)] = 0.01
    """Change of an entry of the deformation gradient anywhere after which `conduction` follows."""
