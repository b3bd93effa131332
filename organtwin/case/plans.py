"""Which kind of plan a rehearsal is of."""

from __future__ import annotations

from pathlib import Path

from organtwin.case.load import is_implant_case, is_tavr_case
from organtwin.case.schema_rehearsal import RehearsalCase
from organtwin.case.sweep import Plans
from organtwin.errors import InputError


def plans_of(case: RehearsalCase, out: Path) -> Plans:
    """Plans of a rehearsal, by the kind of its case file.

    Args:
        case: The rehearsal.
        out: Its result directory.

    Raises:
        InputError: its case file is of no kind that is rehearsed.
    """
    if is_tavr_case(case.case):
        from organtwin.case.tavr_plans import TavrPlans

        return TavrPlans(case, out)
    if is_implant_case(case.case):
        from organtwin.case.implant_plans import ImplantPlans

        return ImplantPlans(case)
    raise InputError(
        str(case.case), "neither a case of a valve nor of an implant.",
        "Rehearse one with the section [device], [hip_stem], [pedicle_screw] or [tibial_plateau].",
    )  # fmt: skip
