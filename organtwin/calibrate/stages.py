"""The stages of a calibration: what is found from what, in an order that people recognise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.calibrate.members import Runner
from organtwin.calibrate.observations import Observations
from organtwin.calibrate.parameters import draw
from organtwin.calibrate.posterior import Posterior
from organtwin.calibrate.smoother import Course, Smoother, assimilate
from organtwin.errors import InputError, suggestion

type Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Stage:
    """A step from some measurements to some parameters.

    Attributes:
        name: As in a case file.
        words: What it finds from what.
        parameters: Beginnings of the names of what it may change.
        observations: Names of what it is calibrated to.
    """

    name: str
    words: str
    parameters: tuple[str, ...]
    observations: tuple[str, ...]


STAGES = (
    Stage(
        "filling",
        "unloaded volume and passive stiffness from diastolic volumes and pressures",
        (
            "lv.passive_elastance", "lv.unloaded_volume", "rv.passive_elastance",
            "rv.unloaded_volume", "circulation.blood_volume", "circulation.extra_volume",
            "mechanics.passive.", "mechanics.passive_stiffness", "mechanics.image_pressure.",
        ),
        (
            "lv_unloaded_volume", "lv_end_diastolic_volume", "rv_end_diastolic_volume",
            "lv_end_diastolic_pressure", "rv_end_diastolic_pressure", "la_mean_pressure",
            "ra_mean_pressure",
        ),
    ),
    Stage(
        "circulation",
        "resistances and compliances from pressures and flows",
        ("circulation.",),
        (
            "arterial_systolic_pressure", "arterial_diastolic_pressure", "arterial_mean_pressure",
            "arterial_pressure", "pulmonary_systolic_pressure", "pulmonary_diastolic_pressure",
            "pulmonary_mean_pressure", "cardiac_output", "lv_stroke_volume", "rv_stroke_volume",
            "heart_rate",
        ),
    ),
    Stage(
        "contractility",
        "contractility from ejection and pressure",
        (
            "lv.active_elastance", "rv.active_elastance", "lv.contraction_time",
            "rv.contraction_time", "lv.relaxation_time", "rv.relaxation_time",
            "activation.delay", "mechanics.active.", "mechanics.contractility",
        ),
        (
            "lv_end_systolic_volume", "rv_end_systolic_volume", "lv_ejection_fraction",
            "rv_ejection_fraction", "lv_peak_pressure", "rv_peak_pressure", "lv_volume",
            "rv_volume", "lv_pressure", "lv_longitudinal_strain", "lv_circumferential_strain",
            "lv_endocardial_longitudinal_strain", "lv_endocardial_circumferential_strain",
            "rv_longitudinal_strain",
        ),
    ),
    Stage(
        "activation",
        "conduction from the QRS complex",
        ("electrophysiology.",),
        ("qrs_duration", "qt_interval", "total_activation_time"),
    ),
)  # fmt: skip
_BY_NAME = {stage.name: stage for stage in STAGES}


def stages(names: Sequence[str]) -> tuple[Stage, ...]:
    """Stages of the given names, in their order.

    Raises:
        InputError: no such stage.
    """
    for name in names:
        if name not in _BY_NAME:
            raise InputError(
                "[calibration] stages", f"no stage `{name}`.", suggestion(name, _BY_NAME)
            )
    return tuple(_BY_NAME[name] for name in names)


def calibrate(
    runner: Runner, observations: Observations, smoother: Smoother, names: Sequence[str] = ()
) -> tuple[Posterior, list[Course]]:
    """Calibrate all at once, or stage by stage.

    All at once uses every measurement for every parameter and is the right answer of Bayes' rule
    as far as the smoother goes. By stages each measurement counts once, in the stage that it
    belongs to, and changes the parameters of that stage alone; the ensemble carries what is
    uncertain from one to the next. A stage without measurements or parameters is left out.

    Args:
        runner: Runs members.
        observations: All of them.
        smoother: Size, inflation, seed.
        names: Stages; none calibrates all at once.

    Raises:
        InputError: a measurement belongs to no stage that runs, or a parameter does.
    """
    z = draw(runner.parameters, smoother.members, smoother.seed)
    if not names:
        courses = [assimilate(runner, observations, smoother, start=z)]
    else:
        chosen = stages(names)
        _refuse_left_out(runner, observations, chosen)
        courses = []
        for number, stage in enumerate(chosen):
            changes = [p.name.startswith(stage.parameters) for p in runner.parameters]
            others = [o.key for o in observations.all if o.name not in stage.observations]
            own = observations.holding_out(others)
            if not any(changes) or not own.is_used.any():
                continue
            step = Smoother(smoother.members, smoother.inflation, smoother.seed + number)
            courses.append(assimilate(runner, own, step, start=z, changes=changes))
            z = courses[-1].ensembles[-1]
    first, last = courses[0], courses[-1]
    return Posterior(
        tuple(runner.parameters), observations,
        first.ensembles[0], last.ensembles[-1], first.predictions[0], last.predictions[-1],
    ), courses  # fmt: skip


def _refuse_left_out(runner: Runner, observations: Observations, chosen: Sequence[Stage]) -> None:
    measured = {name for stage in chosen for name in stage.observations}
    changed = tuple(start for stage in chosen for start in stage.parameters)
    for one in observations.used.all:
        if one.name not in measured:
            raise InputError(
                "[calibration] stages",
                f"`{one.key}` belongs to none of them.",
                "Hold it out, or add its stage.",
            )
    for parameter in runner.parameters:
        if not parameter.name.startswith(changed):
            raise InputError(
                "[calibration] stages",
                f"no stage may change `{parameter.name}`.",
                "Give its value instead of a prior, or add its stage.",
            )
