"""Which kind of plan a rehearsal is of."""

from __future__ import annotations

from pathlib import Path

from organtwin.case.load import is_tavr_case
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
    raise InputError(
        str(case.case), "no case of a valve.", "Rehearse a case with the section [device]."
    )
