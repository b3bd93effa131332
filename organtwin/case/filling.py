"""How the heart of a case comes to the end of its diastole, from where the image shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from organtwin.case.blood import warmed_up
from organtwin.case.build import Assembly
from organtwin.case.schema import Case
from organtwin.case.schema_circulation import Circulation, ClosedCirculation
from organtwin.circulation.network import ClosedLoop
from organtwin.coupling.electromechanics import Electromechanics
from organtwin.coupling.reference import Held, Unloaded
from organtwin.errors import InputError, SolverError
from organtwin.units import ML, MMHG

Array = NDArray[np.float64]
#: What helps where there is no unloaded shape, or no prestress.
UNLOADED = (
    "The wall in the image is too soft or too thin for these pressures. Give those at which it was "
    "taken as [mechanics.image_pressure] (the heart is then filled from there), a stiffer "
    '[mechanics.passive] or a thicker rv_wall_thickness; fibres_of = "unloaded" is easier to solve.'
)
PRESTRESSED = (
    "The wall in the image is too soft for these pressures. Give those at which it was taken as "
    "[mechanics.image_pressure] (the heart is then filled from there), or a stiffer "
    '[mechanics.passive]; or take reference_state = "unloaded".'
)


@dataclass(frozen=True)
class Filled:
    """A heart at end-diastole.

    Attributes:
        size: Scale of the circulation.
        decisions: What was done, in words.
        results: Name → (value, unit).
    """

    size: float
    decisions: list[str]
    results: dict[str, tuple[float, str]] = field(default_factory=dict)


def filled(case: Case, assembly: Assembly) -> Filled:
    """Bring the heart to the end-diastolic pressures of the settled circulation; collective.

    Its shape in the image is free of load and filled, or it is loaded and its reference state is
    found first. The circulation is then scaled to the heart.

    Raises:
        SolverError: there is no equilibrium, or no reference state.
    """
    heart, section = assembly.heart, case.circulation
    loop = heart.loop
    settled, warming = warmed_up(section, loop)
    at_rest = loop.pressures(settled, 0.0)
    pressures = np.array([at_rest["lv"], at_rest["rv"]])
    given = case.mechanics.image_pressure
    shown = pressures if given is None else np.array([given.lv, given.rv])
    told, results = _reference(case, heart, shown)
    if told is None or given is not None:
        heart.fill(pressures)
    size = heart.fit_loop(settled, section.scale)
    blood = _infused(section, heart)
    start = (
        "The shape in the image is taken as free of load. It is filled to"
        if told is None
        else f"The image is taken to show the heart under {_words(shown)}. The rule's fibres are "
        f"those of {_fibres(case)}; springs are at rest without load. The beat begins at"
    )
    scaled = (
        f"and that circulation, of an adult at rest, is scaled by {size:.2f} to the left "
        "ventricle's volume."
        if section.scale is None
        else f"and that circulation is scaled by {size:g}, as the case asks for."
    )
    circulation = (
        f"{start} the end-diastolic pressures of the settled circulation ({_words(pressures)}), "
        f"{scaled}"
    )
    return Filled(size, [*([told] if told else []), warming, circulation, *blood], results)


def _infused(section: Circulation, heart: Electromechanics) -> list[str]:
    """Fill the systemic veins until the circulation has the blood asked for; what was done."""
    loop = heart.loop
    if not isinstance(section, ClosedCirculation) or section.blood_volume is None:
        return []
    assert isinstance(loop, ClosedLoop)
    missing = section.blood_volume - float(loop.blood(heart.loop_state).sum())
    heart.loop_state[:] = loop.filled(heart.loop_state, missing)
    pressure = loop.pressures(heart.loop_state, 0.0)["ven_sys"]
    if pressure < 0:
        raise InputError(
            "[circulation] blood_volume",
            f"{section.blood_volume / ML:.0f} mL leave the systemic veins at "
            f"{pressure / MMHG:.0f} mmHg.",
            f"Give more, or an extra_volume about {-missing / ML:.0f} mL lower.",
        )
    volume = f"{section.blood_volume / ML:.0f} mL"
    return [f"The systemic veins took {missing / ML:.0f} mL, so that the blood is {volume}."]


def _reference(
    case: Case, heart: Electromechanics, pressures: Array
) -> tuple[str | None, dict[str, tuple[float, str]]]:
    """Find the reference state of a loaded image and start there; what is said of it."""
    reference, mechanics = heart.muscle.reference, heart.mechanics
    shown = pressures.tolist()
    if isinstance(reference, Unloaded):
        by_fixed_point = case.mechanics.unloading == "fixed_point"
        with _remedies(UNLOADED):
            found = reference.find(mechanics, shown, by_fixed_point=by_fixed_point)
        mechanics.guess(reference.U)
        volumes = mechanics.volumes()
        heart.take_image(pressures, found.p)
        return found.sentence(), {
            "reference_residual": (found.residual, "mm"),
            "reference_displacement": (found.largest_displacement, "mm"),
            "lv_unloaded_volume": (volumes[0] / ML, "mL"),
            "rv_unloaded_volume": (volumes[1] / ML, "mL"),
        }
    if isinstance(reference, Held):
        with _remedies(PRESTRESSED):
            held = reference.find(mechanics, shown)
        heart.take_image(pressures, held.p)
        return held.sentence(), {"reference_residual": (held.residual, "mm")}
    return None, {}


def _fibres(case: Case) -> str:
    of_image = case.mechanics.fibres_of == "image"
    return "the image, carried back with the tissue" if of_image else "the tissue without load"


@contextmanager
def _remedies(remedy: str) -> Iterator[None]:
    """Tell what helps in the words of the case file."""
    try:
        yield
    except SolverError as error:
        raise SolverError(error.place, error.problem, remedy) from None


def _words(pressures: Array) -> str:
    lv, rv = (f"{p / MMHG:.1f} mmHg" for p in pressures)
    return f"LV {lv}, RV {rv}"
