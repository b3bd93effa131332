"""The case file's keys: a tree of frozen sections with units and bounds in the types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from organtwin.case.quantities import (
    Angle,
    Count,
    DampingPerArea,
    InputFile,
    Length,
    Pressure,
    StiffnessPerArea,
    Time,
    Viscosity,
)
from organtwin.case.schema_circulation import (
    Circulation,
    ClosedCirculation,
    Factor,
    Phase,
    StrokeShare,
)
from organtwin.case.schema_credibility import Credibility
from organtwin.case.schema_electrical import Electrophysiology
from organtwin.case.schema_feedback import Feedback
from organtwin.case.schema_infarct import Infarct, Injection
from organtwin.case.schema_passive import HolzapfelOgden, PassiveLaw, PositivePressure
from organtwin.case.schema_tension import ExcitedTension, Land2017, TensionLaw
from organtwin.case.section import Section
from organtwin.cells.model import CellModel

#: Label names that the biventricular geometry can't do without.
REQUIRED_LABELS = ("lv_myocardium", "lv_blood", "rv_blood")


class Image(Section):
    """The segmented image."""

    file: InputFile
    """Label map: NIfTI, NRRD or MHA; relative to the case file."""
    labels: dict[str, Annotated[Count, Field(ge=1)]]
    """Integer of each structure in the image, by anatomical name. `lv_blood`, `rv_blood` and
    `lv_myocardium` are needed, or `myocardium` for the muscle of both ventricles. The RV wall is
    grown around its blood; `rv_myocardium` adds to it."""

    @field_validator("labels")
    @classmethod
    def _complete(cls, labels: dict[str, int]) -> dict[str, int]:
        for name in REQUIRED_LABELS:
            both = name == "lv_myocardium" and "myocardium" in labels
            if name not in labels and not both:
                given = ", ".join(f"`{one}`" for one in labels) or "none"
                raise ValueError(f"no `{name}`; given are {given}.")
        for name, value in labels.items():
            twin = next(other for other, number in labels.items() if number == value)
            if twin != name:
                raise ValueError(f"`{twin}` and `{name}` are both {value}.")
        return labels


class Geometry(Section):
    """From labels to a closed biventricular geometry."""

    resolution: Annotated[Length, Field(ge=0.2, le=5.0)] = 1.0
    """Grid on which the labels are resampled and smoothed."""
    smoothing: Annotated[Length, Field(ge=0.0, le=5.0)] = 1.0
    """Standard deviation of the Gaussian that smooths each label."""
    rv_wall_thickness: Annotated[Length, Field(gt=0.0, le=15.0)] = 3.0
    """Thickness to which the RV wall is grown outwards from the RV blood pool."""


class Mesh(Section):
    """Tetrahedra of the mechanics."""

    size: Annotated[Length, Field(ge=1.5, le=12.0)] = 5.0
    """Edge length."""


class Fibres(Section):
    """Rule-based fibre, sheet and normal directions; angles to the circumferential direction."""

    rule: Literal["bayer"] = "bayer"
    """Bayer et al. (2012): directions from Laplace problems."""
    alpha_endo: Annotated[Angle, Field(ge=-90, le=90)] = 60.0
    """Helix angle on the endocardium."""
    alpha_epi: Annotated[Angle, Field(ge=-90, le=90)] = -60.0
    """Helix angle on the epicardium."""
    beta_endo: Annotated[Angle, Field(ge=-90, le=90)] = -65.0
    """Sheet angle on the endocardium."""
    beta_epi: Annotated[Angle, Field(ge=-90, le=90)] = 25.0
    """Sheet angle on the epicardium."""


Spring = Annotated[StiffnessPerArea, Field(ge=0.0)]
Damper = Annotated[DampingPerArea, Field(ge=0.0)]


class Pericardium(Section):
    """Support of the epicardium, along its normal."""

    stiffness: Spring = 0.1
    """Force per area and displacement."""
    damping: Damper = 5.0
    """Force per area and velocity."""


class Base(Section):
    """Support of the cut base, in all directions."""

    stiffness: Spring = 0.1
    """Force per area and displacement."""
    damping: Damper = 5.0
    """Force per area and velocity."""


class ImagePressure(Section):
    """Pressures when the image was taken; without this section those of the settled circulation.

    If these are others, the heart is filled from the image's to them.
    """

    lv: Annotated[Pressure, Field(ge=0.0, le=10.0)]
    """In the left ventricle."""
    rv: Annotated[Pressure, Field(ge=0.0, le=10.0)]
    """In the right ventricle."""


class StepError(Section):
    """Local error that adaptive steps aim at; those with four times as much are taken again."""

    displacement: Annotated[Length, Field(gt=0.0, le=5.0)] = 0.02
    """Of the displacement at any node."""
    pressure: Annotated[Pressure, Field(gt=0.0, le=5.0)] = 0.02
    """Of the pressure in a cavity."""


#: Formulations that exist and do not serve here, with the reason.
UNFIT = {
    "P1": "linear displacements alone lock in tissue that keeps its volume",
    "Q2-DPC1": "it needs hexahedra, and the mesh of an image has tetrahedra",
}


class Mechanics(Section):
    """Finite-strain motion of the nearly incompressible wall."""

    time_step: Annotated[Time, Field(gt=0.0, le=20.0)] = 2.0
    """Step of mechanics and circulation."""
    steps: Literal["fixed", "adaptive"] = "fixed"
    """`adaptive`: steps between a quarter of `time_step` and four times it, by their error
    (`step_error`); they end where fields are written."""
    step_error: StepError = StepError()
    formulation: Literal["P2-P1", "P1-P1", "P2-P0", "P2"] = "P2-P1"
    """Degrees of displacement and pressure; see docs/choose-a-formulation.md. `P2` has no pressure
    and holds the volume by `bulk_modulus` alone."""
    shear_modulus: PositivePressure | None = None
    """Stiffness of the tissue under load, which scales the stabilisation of `P1-P1`; needed there,
    and without effect elsewhere."""
    bulk_modulus: PositivePressure = 5000.0
    """Resistance to a change of tissue volume."""
    viscosity: Annotated[Viscosity, Field(ge=0.0)] = 100.0
    """Kelvin–Voigt viscosity of the tissue."""
    reference_state: Literal["image", "unloaded", "prestressed"] = "image"
    """What the image shows. `image`: the heart free of load, which is then filled. `unloaded`: the
    heart at end-diastole, whose shape without load is sought. `prestressed`: the same, whose wall
    is given the stress that holds it, without a shape free of load."""
    unloading: Literal["inverse", "fixed_point"] = "inverse"
    """How the unloaded shape is found: by the inverse problem, or by repeated filling."""
    fibres_of: Literal["unloaded", "image"] = "unloaded"
    """Whose fibres the rule gives if the image is loaded. `unloaded`: those of the tissue without
    load. `image`: those of the image, which turn with the tissue on its way back; closer to what
    the electrical side assumes, and found at lower pressures only."""
    image_pressure: ImagePressure | None = None
    passive: Annotated[PassiveLaw, Field(discriminator="law")] = HolzapfelOgden()
    active: Annotated[TensionLaw, Field(discriminator="law")] = Land2017()
    contractility: Factor = 1.0
    """Factor of the active tension in the whole wall."""
    passive_stiffness: Factor = 1.0
    """Factor of the passive stress in the whole wall."""
    infarct: tuple[Infarct, ...] = ()
    """Infarcts; of two in one place the later one counts, and scar before border zone."""
    injection: Injection | None = None
    """Gel in the border zone of the infarcts."""
    feedback: Feedback = Feedback()
    pericardium: Pericardium = Pericardium()
    base: Base = Base()

    @field_validator("formulation", mode="before")
    @classmethod
    def _serves(cls, name: Any) -> Any:
        if isinstance(name, str) and name in UNFIT:
            raise ValueError(f'"{name}" does not serve here: {UNFIT[name]}. Take "P2-P1".')
        return name

    @model_validator(mode="after")
    def _injected_somewhere(self) -> Self:
        if self.injection is not None and not any(one.border_width for one in self.infarct):
            raise ValueError("an injection needs an [[mechanics.infarct]] with a border zone.")
        return self

    @model_validator(mode="after")
    def _stabilised(self) -> Self:
        if self.formulation == "P1-P1" and self.shear_modulus is None:
            raise ValueError(
                'formulation = "P1-P1" needs shear_modulus, the stiffness of the tissue under '
                'load. Write for example shear_modulus = "10 kPa".'
            )
        return self

    @model_validator(mode="after")
    def _steps_have_errors(self) -> Self:
        if self.steps == "fixed" and self.step_error != StepError():
            raise ValueError(
                'step_error has no effect while steps = "fixed". Write steps = "adaptive", or '
                "leave it out."
            )
        return self

    @model_validator(mode="after")
    def _loaded(self) -> Self:
        if self.reference_state == "image" and self.image_pressure is not None:
            raise ValueError(
                'image_pressure has no effect while reference_state = "image" takes the image as '
                'free of load. Write reference_state = "unloaded", or leave it out.'
            )
        if self.reference_state != "unloaded" and self.unloading == "fixed_point":
            raise ValueError(
                'unloading has no effect without reference_state = "unloaded". Write that, or '
                "leave it out."
            )
        return self

    @field_validator("passive", mode="before")
    @classmethod
    def _usual_law(cls, section: Any) -> Any:
        """Without `law` the parameters are those of the default law."""
        return {"law": "holzapfel_ogden", **section} if isinstance(section, dict) else section

    @field_validator("active", mode="before")
    @classmethod
    def _usual_tension(cls, section: Any) -> Any:
        """Without `law` the tension is that of Land et al."""
        return {"law": "land_2017", **section} if isinstance(section, dict) else section


class Run(Section):
    """How long to simulate."""

    physics: Literal["electromechanics", "electrophysiology"] = "electromechanics"
    """The beating heart, or its electrical activity alone."""
    beats: Annotated[Count, Field(ge=1, le=1000)] = 1
    """Heartbeats of the 3D heart."""
    limit_cycle: StrokeShare | None = None
    """Stop as soon as a beat moves no more blood than this part of its stroke volume from some
    chambers and vessels into others for good; `beats` is then the most. Between the beats an
    emulator of the heart leads the circulation towards its limit cycle."""


class Output(Section):
    """What is written, and where."""

    directory: Path = Path("results")
    """Result directory; relative to where the command is run."""
    field_interval: Annotated[Time, Field(gt=0.0)] = 10.0
    """Time between two stored fields; a multiple of the mechanics' step."""
    formats: Annotated[tuple[Literal["vtu", "vtx", "vtkhdf"], ...], Field(min_length=1)] = ("vtu",)
    """Formats of the fields; every ParaView opens `vtu`."""


class Case(Section):
    """One simulation from image to report."""

    title: str = "Heartbeat"
    """Heading of the report."""
    preset: tuple[str, ...] = ()
    """Pathologies whose keys lie below those of this file: a name, or several, of which the later
    ones lie above the earlier ones; see docs/pathologies.md."""
    image: Image
    geometry: Geometry = Geometry()
    mesh: Mesh = Mesh()
    fibres: Fibres = Fibres()
    electrophysiology: Electrophysiology = Electrophysiology()
    mechanics: Mechanics = Mechanics()
    circulation: Annotated[Circulation, Field(discriminator="model")] = ClosedCirculation()
    run: Run = Run()
    protocol: tuple[Phase, ...] = ()
    """Phases under changed conditions, one after the other."""
    output: Output = Output()
    credibility: Credibility = Credibility()

    @field_validator("preset", mode="before")
    @classmethod
    def _one_or_several(cls, names: object) -> object:
        return (names,) if isinstance(names, str) else names

    @field_validator("circulation", mode="before")
    @classmethod
    def _closed_unless_told(cls, section: object) -> object:
        return {"model": "closed_loop", **section} if isinstance(section, dict) else section

    @property
    def duration(self) -> float:
        """Longest simulated time of the 3D heart (ms)."""
        usual = self.circulation.heart_rate
        phases = sum(phase.beats / (phase.heart_rate or usual) for phase in self.protocol)
        return self.run.beats / usual + phases

    @model_validator(mode="after")
    def _protocol_fits(self) -> Self:
        if self.run.physics != "electromechanics" and (self.protocol or self.run.limit_cycle):
            raise ValueError("[[protocol]] and [run] limit_cycle need a beating heart.")
        if self.protocol and self.output.formats != ("vtu",):
            raise ValueError('[[protocol]] needs [output] formats = ["vtu"], to go on with.')
        closed = isinstance(self.circulation, ClosedCirculation)
        for number, phase in enumerate(self.protocol, 1):
            if phase.heart_rate is not None and self.electrophysiology.model == "eikonal":
                raise ValueError(
                    f"[[protocol]] {number}: the cells of the eikonal model repeat one beat and "
                    "don't follow another `heart_rate`. Take reaction_eikonal or monodomain."
                )
            if closed and phase.atrial_pressures != 1.0:
                raise ValueError(
                    f"[[protocol]] {number}: a closed loop has no given `atrial_pressures`. Change "
                    "its preload by `extra_volume`."
                )
            if not closed and phase.extra_volume != 0.0:
                raise ValueError(
                    f"[[protocol]] {number}: an open loop takes no `extra_volume`. Change its "
                    "preload by `atrial_pressures`."
                )
        return self

    @model_validator(mode="after")
    def _cells_can_pull(self) -> Self:
        section = self.electrophysiology
        follows_calcium = not isinstance(self.mechanics.active, ExcitedTension)
        pulls = self.run.physics == "electromechanics" and follows_calcium
        for name in section.muscle if pulls else ():
            if CellModel.load(name).calcium is None:
                raise ValueError(
                    f"`{name}` has no calcium, which the tension follows. Take another "
                    '[electrophysiology] ionic_model, [mechanics.active] law = "prescribed" or '
                    '"twitch", or [run] physics = "electrophysiology".'
                )
        return self

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        step, electrical = self.mechanics.time_step, self.electrophysiology.time_step
        if electrical > step:
            raise ValueError(
                f"[electrophysiology] time_step ({electrical:g} ms) is longer than "
                f"[mechanics] time_step ({step:g} ms). Make it a part of it."
            )
        ratio = self.output.field_interval / step
        if abs(ratio - round(ratio)) > 1e-9 or round(ratio) < 1:
            raise ValueError(
                f"[output] field_interval ({self.output.field_interval:g} ms) is no multiple of "
                f'[mechanics] time_step ({step:g} ms). Write for example "{5 * step:g} ms".'
            )
        return self
