"""What a case file tells of the credibility of its results; see docs/credibility.md."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from organtwin.case.section import Section

Text = Annotated[str, Field(min_length=1, max_length=2000)]
Grade = Literal["low", "medium", "high"]


class Evidence(Section):
    """Evidence that lies outside of this run."""

    category: Literal[
        "code_verification",
        "calibration",
        "bench_validation",
        "in_vivo_validation",
        "population_validation",
        "emergent_behavior",
        "plausibility",
        "calculation_verification",
        "sensitivity",
        "applicability",
    ]
    """Category: the eight of the FDA's guidance of 2023, sensitivity, or applicability."""
    statement: Text
    """What was found, in words; taken over as it stands."""
    source: Text | None = None
    """Where it can be looked up."""


class Credibility(Section):
    """What the results are for, and what speaks for them besides this run."""

    question_of_interest: Text | None = None
    """The question or decision that the results are to help with (ASME V&V 40)."""
    context_of_use: Text | None = None
    """Role and scope of the model in answering it."""
    model_influence: Grade | None = None
    """Weight of the model beside other evidence."""
    decision_consequence: Grade | None = None
    """Significance of the harm of a wrong decision."""
    evidence: tuple[Evidence, ...] = ()
    """Evidence from elsewhere."""
