"""Keys of the case file of a valve's deployment: from a contrast CT to a deployed valve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from organtwin.case.quantities import (
    Angle,
    Count,
    Frequency,
    InputFile,
    InputPath,
    Length,
    Number,
    Pressure,
    StiffnessPerArea,
    Time,
    Unit,
)
from organtwin.case.schema_credibility import Credibility
from organtwin.case.section import Section
from organtwin.devices.device_files import names as devices
from organtwin.errors import suggestion
from organtwin.units import MMHG


class Scan(Section):
    """The contrast CT, its labels, and what a person placed in it."""

    file: InputPath
    """Scan: NIfTI, NRRD, MHA, DICOM file or folder; relative to the case file."""
    series: tuple[str | Count, ...] = ()
    """DICOM series by number or a part of the description; several are joined."""
    labels: InputPath | None = None
    """Segmentation with the aorta, better with `lv_blood`, on the grid of the scan; segmented by
    `recipe` without it."""
    names: dict[str, Annotated[Count, Field(ge=1, le=255)]] | None = None
    """Integer of each structure in `labels`, by anatomical name; not for files that have names."""
    recipe: Literal["heart_and_aorta_ct"] = "heart_and_aorta_ct"
    """How the scan is segmented without `labels`."""
    landmarks: InputFile | None = None
    """Markups of 3D Slicer (`.mrk.json`): landmarks placed by hand, which win."""
    calcium: Literal["adaptive", "blood_plus_100", "850", "450_or_850"] = "adaptive"
    """Rule for the threshold of calcium; see docs/aortic-root.md."""

    @model_validator(mode="after")
    def _names_need_labels(self) -> Self:
        if self.names is not None and self.labels is None:
            raise ValueError("`names` belong to `labels`.")
        return self


class Root(Section):
    """The root as tetrahedra; see docs/aortic-root-mesh.md."""

    size: Annotated[Length, Field(ge=0.5, le=5.0)] = 2.0
    """Edge length."""
    wall: Annotated[Length, Field(ge=0.3, le=6.0)] = 2.0
    """Thickness of the wall."""
    leaflets: Literal["open", "closed", "none"] = "open"
    """Native leaflets: pushed aside as by a wire and a balloon (`open`), as the scan has them in
    diastole, or left out."""
    leaflet_thickness: Annotated[Length, Field(ge=0.2, le=2.0)] = 0.8
    """Thickness of the leaflets."""
    commissures: Annotated[Number, Field(ge=0.4, le=0.97)] = 0.85
    """Height of the commissures between annulus and junction."""
    outwards: Annotated[Length, Field(ge=-2.0, le=2.0)] = 0.0
    """Shift of the wall out of the blood: what the segmentation leaves open."""
    below: Annotated[Length, Field(ge=3.0, le=15.0)] = 10.0
    """Length of the outflow tract below the annulus."""
    above: Annotated[Length, Field(ge=5.0, le=80.0)] | None = None
    """Length of the ascending aorta over the junction; as much as the device needs without it."""


BloodPressure = Annotated[float, Unit("kPa", "mmHg")]
Flow = Annotated[float, Unit("mL/s", "L/min")]
BodySurface = Annotated[float, Unit("m^2", "m^2")]
Stiffness = Annotated[Pressure, Field(ge=0.0)]
PositiveStiffness = Annotated[Pressure, Field(gt=0.0)]
SpringStiffness = Annotated[StiffnessPerArea, Field(ge=0.0)]


class Arterial(Section):
    """Matrix and two families of collagen, Holzapfel, Gasser & Ogden (2000), with dispersion."""

    law: Literal["holzapfel_gasser_ogden"] = "holzapfel_gasser_ogden"
    """This law, also without `law`."""
    c: PositiveStiffness = 80.0
    """Shear modulus of the matrix."""
    k_1: Stiffness = 2000.0
    """Stiffness of the fibres."""
    k_2: Annotated[Number, Field(gt=0.0)] = 5.0
    """Exponent of the fibres."""
    angle: Annotated[Angle, Field(ge=0.0, le=90.0)] = 40.0
    """Between fibres and the circumference."""
    kappa: Annotated[Number, Field(ge=0.0, le=1 / 3)] = 0.2
    """Dispersion: 0 for parallel fibres, 1/3 for none that is preferred."""


class ArterialLeaflet(Arterial):
    """The same law with other defaults."""

    c: PositiveStiffness = 100.0
    """Shear modulus of the matrix."""
    k_1: Stiffness = 200.0
    """Stiffness of the fibres."""
    k_2: Annotated[Number, Field(gt=0.0)] = 10.0
    """Exponent of the fibres."""
    angle: Annotated[Angle, Field(ge=0.0, le=90.0)] = 0.0
    """Between fibres and the circumference."""
    kappa: Annotated[Number, Field(ge=0.0, le=1 / 3)] = 0.1
    """Dispersion: 0 for parallel fibres, 1/3 for none that is preferred."""


class Rubber(Section):
    """The same in all directions."""

    law: Literal["neo_hooke"]
    mu: PositiveStiffness = 500.0
    """Shear modulus."""


class OutflowArterial(Arterial):
    """Matrix and two families of collagen, as the rest of the wall."""

    law: Literal["holzapfel_gasser_ogden"]


class OutflowRubber(Rubber):
    """The same in all directions: fibrous tissue and muscle."""

    law: Literal["neo_hooke"] = "neo_hooke"
    """This law, also without `law`."""


Factor = Annotated[Number, Field(gt=0.0, le=100.0)]


class Tissue(Section):
    """What the root is made of, and what holds it; see docs/aortic-root-model.md.

    `wall` is the law of sinuses and aorta, `adventitia` that of the outer part of the wall where it
    has one of its own, `outflow` that of the wall below the annulus, `leaflets` that of the native
    leaflets.
    """

    wall: Annotated[Arterial | Rubber, Field(discriminator="law")] = Arterial()
    adventitia: Annotated[Arterial | Rubber, Field(discriminator="law")] | None = None
    outflow: Annotated[OutflowRubber | OutflowArterial, Field(discriminator="law")] = (
        OutflowRubber()
    )
    leaflets: Annotated[ArterialLeaflet | Rubber, Field(discriminator="law")] = ArterialLeaflet()
    stiffness: Factor = 1.0
    """Factor of the stress in the whole wall."""
    media: Annotated[Number, Field(gt=0.0, lt=1.0)] = 2.0 / 3.0
    """Share of the wall's thickness within the `adventitia`, if that has a law of its own."""
    calcium: PositiveStiffness = 12_600.0
    """Young's modulus of calcium."""
    calcium_poisson: Annotated[Number, Field(ge=0.0, lt=0.5)] = 0.3
    """Poisson's ratio of calcium."""
    bulk: PositiveStiffness = 1000.0
    """Resistance to a change of volume."""
    bed: SpringStiffness = 0.1
    """Springs of the tissue around the aorta, on the outer side of the wall."""
    bed_outflow: SpringStiffness = 40.0
    """The same around the outflow tract."""
    ends: Annotated[StiffnessPerArea, Field(gt=0.0)] = 20.0
    """Springs where the root goes on into the ventricle and the aorta."""

    @field_validator("wall", "adventitia", "outflow", "leaflets", mode="before")
    @classmethod
    def _usual_law(cls, section: object, info: ValidationInfo) -> object:
        """Without `law` the parameters are those of the default law."""
        if isinstance(section, dict):
            rubber = info.field_name == "outflow"
            return {"law": "neo_hooke" if rubber else "holzapfel_gasser_ogden", **section}
        return section


class Device(Section):
    """What is implanted."""

    name: str
    """Device of the catalogue (`sapien3_like`, `evolut_like`), or a device file (docs/devices.md),
    relative to the case file."""
    size: str = "auto"
    """One of its sizes; `auto` takes the one that the annulus asks for, and tells why."""
    refuse_too_large: bool = True
    """Whether a device more than 30 % larger than the annulus is refused."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        if name in devices():
            return name
        file = Path((info.context or {}).get("folder", "."), name).resolve()
        if not file.is_file():
            raise ValueError(
                f'no device "{name}" in the catalogue, and no such file. '
                f"{suggestion(name, devices())} Or give a device file (docs/devices.md)."
            )
        return str(file)

    @field_validator("size", mode="before")
    @classmethod
    def _number(cls, size: object) -> object:
        return str(size) if isinstance(size, int) and not isinstance(size, bool) else size


class Deployment(Section):
    """Where the device is put, and how it is let go."""

    depth: Annotated[Length, Field(ge=-10.0, le=20.0)] = 4.0
    """Inflow end of the expanded frame below the annulus that is aimed at; friction and recoil
    decide where it ends."""
    along: Literal["auto", "annulus", "lumen"] = "auto"
    """What the device's axis follows: the normal of the annulus, or the lumen up to the device's
    upper end. `auto` takes the lumen for a self-expanding device, which is long and straight in its
    sheath, and the annulus for one on a balloon."""
    tilt: Annotated[Angle, Field(ge=0.0, le=30.0)] = 0.0
    """Between the device's axis and what it follows."""
    towards: Annotated[Angle, Field(ge=-360.0, le=360.0)] = 0.0
    """Direction that the device's axis is tilted to, from the hinge point of the right cusp on,
    counter-clockwise seen from the aorta."""
    turn: Annotated[Angle, Field(ge=-360.0, le=360.0)] = 0.0
    """Of the device about its own axis; 0 has a crown of the inflow towards the hinge point of the
    right cusp."""
    filling: Annotated[Number, Field(gt=0.3, le=1.5)] = 1.0
    """Volume in the balloon over its nominal one."""
    post_dilation: Annotated[Length, Field(gt=5.0, le=40.0)] | None = None
    """Diameter of a second balloon that is filled in the deployed frame; none without it."""
    friction: Annotated[Number, Field(ge=0.0, le=1.0)] = 0.3
    """Coefficient of Coulomb friction between struts and tissue."""
    elements: Annotated[Count, Field(ge=1, le=16)] = 3
    """Beam elements along a strut."""
    spacing: Annotated[Length, Field(ge=0.1, le=5.0)] = 1.0
    """Largest distance of the points along struts that feel the tissue."""
    penalty: Annotated[Pressure, Field(gt=0.0)] = 1e4
    """Contact stiffness per length of strut; some ten times Young's modulus of the tissue."""


class Haemodynamics(Section):
    """The patient's circulation: loads of the root, and what the deployed valve is judged with."""

    diastolic_pressure: Annotated[BloodPressure, Field(gt=0.0, le=30.0)] = 80 * MMHG
    """Of the aorta when the scan was taken, while the valve is deployed, and in diastole."""
    ventricular_pressure: Annotated[BloodPressure, Field(ge=0.0, le=10.0)] = 10 * MMHG
    """Of the left ventricle in diastole."""
    systole: bool = True
    """Whether systole follows the deployment: the frame's fatigue is between it and diastole."""
    systolic_pressure: Annotated[BloodPressure, Field(gt=0.0, le=30.0)] = 120 * MMHG
    """Of aorta and ventricle in systole."""
    heart_rate: Annotated[Frequency, Field(gt=0.0)] = 70 / 60000
    """Beats per time."""
    diastole: Annotated[Time, Field(gt=0.0, le=3000.0)] = 550.0
    """How long the valve is closed in a beat."""
    ejection: Annotated[Time, Field(gt=0.0, le=1000.0)] = 300.0
    """How long blood is ejected in a beat."""
    cardiac_output: Annotated[Flow, Field(gt=0.0)] = 5000.0 / 60.0
    """Blood that goes forwards per time."""
    body_surface: Annotated[BodySurface, Field(gt=0.3, lt=4.0)] | None = None
    """Body surface area, for the indexed orifice."""
    obese: bool = False
    """Whether the body mass index is 30 kg/m² or more, where other limits hold."""

    @model_validator(mode="after")
    def _gradient(self) -> Self:
        if not self.diastolic_pressure > self.ventricular_pressure:
            raise ValueError(
                "`diastolic_pressure` must be higher than `ventricular_pressure`: else nothing "
                "closes the valve."
            )
        if not self.systolic_pressure > self.diastolic_pressure:
            raise ValueError("`systolic_pressure` must be higher than `diastolic_pressure`.")
        if not (self.diastole + self.ejection) * self.heart_rate <= 1.0:
            raise ValueError(
                "`diastole` and `ejection` are longer than a beat at this `heart_rate`."
            )
        return self


class TavrOutput(Section):
    """What is written, and where."""

    directory: Path = Path("results/tavr")
    """Result directory; relative to where the command is run."""
    save_every: Annotated[Count, Field(ge=1, le=1000)] = 5
    """Accepted steps between two states that a stopped deployment goes on from."""


class TavrCase(Section):
    """One valve in one patient, from CT to report."""

    title: str = "Transcatheter valve"
    """Heading of the report."""
    scan: Scan
    root: Root = Root()
    tissue: Tissue = Tissue()
    device: Device
    deployment: Deployment = Deployment()
    haemodynamics: Haemodynamics = Haemodynamics()
    output: TavrOutput = TavrOutput()
    credibility: Credibility = Credibility()
