"""The case file's keys of the electrical side: cells, tissue, conduction, stimuli and leads."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from organtwin.case.quantities import (
    Concentration,
    Count,
    InverseLength,
    Length,
    MembraneCapacitance,
    Number,
    Speed,
    Time,
    VolumetricCurrent,
)
from organtwin.case.schema_infarct import LeadSite
from organtwin.case.section import Section
from organtwin.cells.catalogue import drugs, is_own, library
from organtwin.cells.model import CellModel
from organtwin.errors import suggestion

ActivationSite = Literal["lv_septal", "lv_anterior", "lv_posterior", "rv_septal", "rv_lateral"]
#: Longest step of the tissue at rest (ms), which that of an upstroke can't exceed.
LONGEST_STEP = 0.4


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
