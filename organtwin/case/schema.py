"""The case file's keys: a tree of frozen sections with units and bounds in the types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from organtwin.case.quantities import (
    Angle,
    Concentration,
    Count,
    DampingPerArea,
    InputFile,
    InverseLength,
    Length,
    MembraneCapacitance,
    Number,
    Pressure,
    Speed,
    StiffnessPerArea,
    Time,
    Viscosity,
    VolumetricCurrent,
)
from organtwin.case.schema_circulation import (
    Circulation,
    ClosedCirculation,
    Factor,
    Phase,
    StrokeShare,
)
from organtwin.case.schema_feedback import Feedback
from organtwin.case.schema_infarct import Infarct, Injection, LeadSite
from organtwin.case.schema_tension import Land2017, PrescribedTension, TensionLaw
from organtwin.case.section import Section
from organtwin.cells.catalogue import drugs, is_own, library
from organtwin.cells.model import CellModel
from organtwin.errors import suggestion

#: Label names that the biventricular geometry can't do without.
REQUIRED_LABELS = ("lv_myocardium", "lv_blood", "rv_blood")
ActivationSite = Literal["lv_septal", "lv_anterior", "lv_posterior", "rv_septal", "rv_lateral"]
#: Longest step of the tissue at rest (ms), which that of an upstroke can't exceed.
LONGEST_STEP = 0.4


class Image(Section):
    """The segmented image."""

    file: InputFile
    """Label map: NIfTI, NRRD or MHA; relative to the case file."""
    labels: dict[str, Annotated[Count, Field(ge=1)]]
    """Integer of each structure in the image, by anatomical name. `lv_myocardium`, `lv_blood` and
    `rv_blood` are needed; the RV wall never grows into any other named structure."""

    @field_validator("labels")
    @classmethod
    def _complete(cls, labels: dict[str, int]) -> dict[str, int]:
        for name in REQUIRED_LABELS:
            if name not in labels:
                raise ValueError(f"no `{name}`. {suggestion(name, labels)}")
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


PositiveSpeed = Annotated[Speed, Field(gt=0.0, le=10.0)]


class ConductionVelocity(Section):
    """Plane-wave velocities that the conductivities are tuned to, on the mesh that is used."""

    fibre: PositiveSpeed = 0.6
    """Along the fibres."""
    sheet: PositiveSpeed = 0.3
    """Along the sheets, across the fibres."""
    normal: PositiveSpeed = 0.3
    """Across the sheets."""
    endocardial_layer: PositiveSpeed = 1.5
    """In the layer next to the endocardium, which stands for the Purkinje network."""


class Layers(Section):
    """Cell models across the wall, by the distance from endocardium (0) to epicardium (1)."""

    endocardium: str = "ten_tusscher_2006_endo"
    """Model of the inner layer."""
    middle: str = "ten_tusscher_2006_m"
    """Model of the layer between."""
    epicardium: str = "ten_tusscher_2006_epi"
    """Model of the outer layer."""
    inner_border: Annotated[Number, Field(gt=0.0, lt=1.0)] = 0.3
    """Where the inner layer ends."""
    outer_border: Annotated[Number, Field(gt=0.0, lt=1.0)] = 0.7
    """Where the outer layer begins."""

    @model_validator(mode="after")
    def _known_and_in_order(self) -> Self:
        for name in (self.endocardium, self.middle, self.epicardium):
            _known_model(name)
        if self.inner_border >= self.outer_border:
            raise ValueError("inner_border must be below outer_border.")
        return self


class Drug(Section):
    """A drug that blocks ionic currents in all cells, those of a Purkinje tree included."""

    name: str
    """Bepridil, chlorpromazine, cisapride, diltiazem, dofetilide, mexiletine, ondansetron,
    quinidine, ranolazine, sotalol, terfenadine or verapamil, in small letters."""
    concentration: Annotated[Concentration, Field(ge=0.0)]
    """Free concentration at the cells."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in drugs():
            raise ValueError(f"no drug `{name}`. {suggestion(name, drugs())}")
        return name


class Purkinje(Section):
    """A grown Purkinje system in place of the fast endocardial layer and the early sites."""

    velocity: PositiveSpeed = 3.0
    """Conduction velocity in the tree."""
    junction_delay: Annotated[Time, Field(ge=0.0, le=50.0)] = 5.0
    """From tree to muscle in the eikonal models; in the others it follows from the load."""
    ionic_model: str | None = None
    """Cell model of the tree in the monodomain and bidomain models: a name or file as for the
    muscle, whose model it is by default. `stewart_2009` is of Purkinje cells; it also beats by
    itself, at about 1 Hz, which is why it is not the default."""
    block: Literal["none", "left", "right"] = "none"
    """Bundle branch block: the tree beyond it can only be reached from the muscle."""
    seed: Annotated[Count, Field(ge=0)] = 1
    """Of the lengths of its branches."""

    @field_validator("ionic_model")
    @classmethod
    def _in_the_library(cls, name: str | None) -> str | None:
        return None if name is None else _known_model(name)


Point = tuple[Length, Length, Length]


class Pacing(Section):
    """A pacing lead or another stimulus at a point."""

    at: Point | None = None
    """Where, in the coordinates of the image."""
    site: LeadSite | None = None
    """Where, by name, in place of `at`: the endocardial apex of the right ventricle, or the
    epicardial middle of a segment of the left one."""
    radius: Annotated[Length, Field(gt=0.0, le=40.0)] = 2.5
    """Radius of the stimulated ball."""
    strength: Annotated[VolumetricCurrent, Field(gt=0.0)] = 50.0
    """Stimulus current per volume of tissue."""
    duration: Annotated[Time, Field(gt=0.0, le=20.0)] = 2.0
    """Length of each pulse."""
    onsets: Annotated[tuple[Time, ...], Field(min_length=1)] = (0.0,)
    """When pulses begin, counted from the beginning of each beat."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if (self.at is None) == (self.site is None):
            raise ValueError("a lead needs either `at` or `site`.")
        return self


def _known_model(name: str) -> str:
    if name not in library() and not is_own(name):
        raise ValueError(f"no cell model `{name}`. {suggestion(name, library())}")
    return name


class Activation(Section):
    """Where and how the ventricles are stimulated at the beginning of each beat."""

    sites: tuple[ActivationSite, ...] = (
        "lv_septal",
        "lv_anterior",
        "lv_posterior",
        "rv_septal",
        "rv_lateral",
    )
    """Earliest sites on the endocardia (after Durrer et al. 1970)."""
    radius: Annotated[Length, Field(gt=0.0, le=40.0)] = 4.0
    """Radius of each stimulated ball."""
    strength: Annotated[VolumetricCurrent, Field(gt=0.0)] = 50.0
    """Stimulus current per volume of tissue."""
    duration: Annotated[Time, Field(gt=0.0, le=20.0)] = 2.0
    """How long the stimulus lasts."""


def _currents_in_words(currents: set[str]) -> str:
    return (
        f"They have {', '.join(sorted(currents))}." if currents else "They have no named currents."
    )


class Electrophysiology(Section):
    """Propagation on a refinement of the mechanics mesh."""

    model: Literal[
        "eikonal",
        "reaction_eikonal",
        "reaction_eikonal_diffusion",
        "monodomain",
        "pseudo_bidomain",
        "bidomain",
    ] = "monodomain"
    """Tissue model, from the cheapest to the dearest; see docs/choose-a-tissue-model.md."""
    ionic_model: str = "ten_tusscher_2006_endo"
    """Cell model: a name in `organtwin/cells/library/library.toml`, or the `.toml` file of an
    imported one, seen from where organtwin is started. The conductivities are tuned with it."""
    layers: Layers | None = None
    """Cell models across the wall in place of the one everywhere."""
    drug: Drug | None = None
    """A drug in the blood."""
    pacing_beats: Annotated[Count, Field(ge=1, le=5000)] = 50
    """Beats of the single cell before the heart starts."""
    refinements: Annotated[Count, Field(ge=1, le=4)] = 2
    """How often the mechanics mesh is halved for the electrical one."""
    time_step: Annotated[Time, Field(gt=0.0, le=LONGEST_STEP)] = 0.05
    """Step while any part of the tissue is being activated; longer ones are chosen elsewhere."""
    substeps: Annotated[Count, Field(ge=1, le=64)] = 1
    """Parts that the step of a cell is cut into where its potential would move by more than 1 mV
    in one go: a remedy for models that are inaccurate with `time_step`."""
    surface_to_volume: Annotated[InverseLength, Field(gt=0.0)] = 140.0
    """Membrane area per volume of tissue, χ."""
    membrane_capacitance: Annotated[MembraneCapacitance, Field(gt=0.0)] = 0.01
    """Capacitance per membrane area, C_m."""
    conduction_velocity: ConductionVelocity = ConductionVelocity()
    activation: Activation = Activation()
    purkinje: Purkinje | None = None
    """A Purkinje tree; without it the endocardial layer stands for one."""
    pacing: tuple[Pacing, ...] = ()
    """Pacing leads and further stimuli."""
    electrodes: dict[str, Point] = {}
    """Electrodes RA, LA, LL and V1 to V6 in the coordinates of the image, in place of those of a
    standing adult."""

    @field_validator("ionic_model")
    @classmethod
    def _in_the_library(cls, name: str) -> str:
        return _known_model(name)

    @model_validator(mode="after")
    def _layers_have_cells(self) -> Self:
        if self.model == "eikonal" and self.layers is not None:
            raise ValueError(
                'model = "eikonal" follows the trace of one cell everywhere and has no `layers`. '
                'Take model = "reaction_eikonal", or leave them out.'
            )
        return self

    @property
    def muscle(self) -> tuple[str, ...]:
        """Names of the models of the muscle's cells."""
        layers = self.layers
        if layers is None:
            return (self.ionic_model,)
        return (layers.endocardium, layers.middle, layers.epicardium)

    @model_validator(mode="after")
    def _drug_blocks_something(self) -> Self:
        if self.drug is not None:
            blocks = drugs()[self.drug.name]["blocks"]
            currents = {name for model in self.muscle for name in CellModel.load(model).currents}
            if not currents & set(blocks):
                raise ValueError(
                    f"`{self.drug.name}` blocks {', '.join(blocks)}, and no cell model here has "
                    f"one of these. {_currents_in_words(currents)}"
                )
        return self

    @model_validator(mode="after")
    def _something_begins(self) -> Self:
        if self.purkinje is None and not self.activation.sites and not self.pacing:
            raise ValueError("nothing activates the heart: give sites, pacing or a Purkinje tree.")
        return self


Stiffness = Annotated[Pressure, Field(ge=0.0)]
Exponent = Annotated[Number, Field(gt=0.0)]
Dispersion = Annotated[Number, Field(ge=0.0, le=1 / 3)]
PositivePressure = Annotated[Pressure, Field(gt=0.0)]


class HolzapfelOgden(Section):
    """Orthotropic myocardium of Holzapfel and Ogden (2009); defaults are their shear fit."""

    law: Literal["holzapfel_ogden"] = "holzapfel_ogden"
    """This law, also without `law`."""
    a: Stiffness = 0.059
    """Stiffness of the matrix."""
    b: Exponent = 8.023
    """Exponent of the matrix."""
    a_f: Stiffness = 18.472
    """Stiffness of the fibres."""
    b_f: Exponent = 16.026
    """Exponent of the fibres."""
    a_s: Stiffness = 2.481
    """Stiffness of the sheets."""
    b_s: Exponent = 11.12
    """Exponent of the sheets."""
    a_fs: Stiffness = 0.216
    """Stiffness of the coupling of fibres and sheets."""
    b_fs: Exponent = 11.436
    """Exponent of the coupling of fibres and sheets."""
    delta: Exponent = 0.04
    """Strain (squared stretch less one) over which a fibre's stiffness grows from zero."""
    kappa_f: Dispersion | None = None
    """Dispersion of the fibres: none if absent, the same in all directions at 1/3."""
    kappa_s: Dispersion | None = None
    """Dispersion of the sheets."""


class Guccione(Section):
    """Transversely isotropic Fung law of Guccione et al. (1991)."""

    law: Literal["guccione"]
    stiffness: PositivePressure = 2.0
    """Factor C of the law."""
    b_f: Exponent = 8.0
    """Exponent along the fibres."""
    b_t: Exponent = 2.0
    """Exponent across the fibres."""
    b_fs: Exponent = 4.0
    """Exponent of shear between the two."""


class Usyk(Section):
    """Orthotropic Fung law of Usyk et al. (2000), whose numbers are quoted differently."""

    law: Literal["usyk"]
    stiffness: PositivePressure
    """Factor C of the law."""
    b_f: Exponent
    """Exponent along the fibres."""
    b_s: Exponent
    """Exponent along the sheets, across the fibres."""
    b_n: Exponent
    """Exponent across the sheets."""
    b_fs: Exponent
    """Exponent of shear of fibres and sheets."""
    b_fn: Exponent
    """Exponent of shear of fibres and sheet normals."""
    b_sn: Exponent
    """Exponent of shear of sheets and their normals."""


class Fung(Section):
    """General orthotropic exponential law of Chuong and Fung (1983)."""

    law: Literal["fung"]
    stiffness: PositivePressure
    """Factor C of the law."""
    a_ff: Exponent
    """Exponent along the fibres."""
    a_ss: Exponent
    """Exponent along the sheets, across the fibres."""
    a_nn: Exponent
    """Exponent across the sheets."""
    a_fs: Number = 0.0
    """Coupling of the strains along fibres and sheets."""
    a_fn: Number = 0.0
    """Coupling of the strains along fibres and sheet normals."""
    a_sn: Number = 0.0
    """Coupling of the strains along sheets and their normals."""
    b_fs: Exponent
    """Exponent of shear of fibres and sheets."""
    b_fn: Exponent
    """Exponent of shear of fibres and sheet normals."""
    b_sn: Exponent
    """Exponent of shear of sheets and their normals."""

    @model_validator(mode="after")
    def _no_strain_for_nothing(self) -> Self:
        matrix = [
            [self.a_ff, self.a_fs, self.a_fn],
            [self.a_fs, self.a_ss, self.a_sn],
            [self.a_fn, self.a_sn, self.a_nn],
        ]
        if np.linalg.eigvalsh(matrix)[0] <= 0:
            raise ValueError(
                "the matrix of a_ff, a_ss, a_nn and their couplings is not positive definite: some "
                "strain would release energy. Make a_fs, a_fn and a_sn smaller."
            )
        return self


class NeoHooke(Section):
    """Rubber, the same in all directions: for comparison, not for myocardium."""

    law: Literal["neo_hooke"]
    mu: PositivePressure
    """Shear modulus."""


class MooneyRivlin(Section):
    """Rubber with a second invariant, the same in all directions: for comparison."""

    law: Literal["mooney_rivlin"]
    c_1: PositivePressure
    """Factor of the first invariant; the shear modulus at rest is 2 (c_1 + c_2)."""
    c_2: Stiffness = 0.0
    """Factor of the second invariant."""


PassiveLaw = HolzapfelOgden | Guccione | Usyk | Fung | NeoHooke | MooneyRivlin


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
    """`adaptive`: steps between a quarter of `time_step` and four times it, by their error; they
    end where fields are written."""
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
        follows_calcium = not isinstance(self.mechanics.active, PrescribedTension)
        pulls = self.run.physics == "electromechanics" and follows_calcium
        for name in section.muscle if pulls else ():
            if CellModel.load(name).calcium is None:
                raise ValueError(
                    f"`{name}` has no calcium, which the tension follows. Take another "
                    '[electrophysiology] ionic_model, [mechanics.active] law = "prescribed", or '
                    '[run] physics = "electrophysiology".'
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
