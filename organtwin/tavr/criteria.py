"""Rules and criteria by which deployed valves are ranked; a start for a planners' discussion."""

from __future__ import annotations

from organtwin.choice import Choice, Criterion, Rule

#: Rules of a deployed valve; our choice, thresholds are those of the indices.
RULES = (
    Rule(
        "size", "oversizing_*", "the device is too large for the annulus, {value} over it by "
        "{part} (at most {limit})",
        "the device is too small for the annulus, {value} by {part}", high=30.0,
    ),
    Rule(
        "migration", "migration_safety",
        words_low="it does not hold: friction bears {value} times the load in diastole",
    ),
    Rule(
        "coronary", "laceration_*",
        "a native leaflet may close the {part} coronary artery", parts=("right", "left"),
    ),
    Rule(
        "injury", "injury_margin_*",
        words_low="the wall may tear, {part}: strength over stress is {value}",
        parts=("outflow tract", "annulus", "sinuses", "aorta"),
    ),
    Rule("stretch", "annulus_stretch", "the annulus is stretched {value} times (at most {limit})"),
)  # fmt: skip

#: Criteria; weights and what is good are our choice, see docs/tavr-sweep.md.
CRITERIA = (
    Criterion(
        "leak", "regurgitant_orifice", 3.0, 0.0, None, "{grade} leak past the skirt ({value})",
        ((0.0, "hardly any"), (1.0, "mild"), (10.0, "moderate"), (30.0, "severe")),
    ),
    Criterion(
        "conduction", "*contact_pressure_index", 3.0, 0.0, None,
        "struts press on {percent} of the conduction region",
    ),
    Criterion("gradient", "mean_gradient", 2.0, 5.0, None, "mean gradient {value}"),
    Criterion("depth", "delta_msid", 1.0, 3.0, 0.0, "{value} of septum left below the frame"),
    Criterion(
        "expansion", "frame_leaflets_expansion", 1.0, 1.0, None,
        "at the leaflets expanded to {percent} of its free area",
    ),
    Criterion(
        "roundness", "frame_leaflets_eccentricity", 1.0, 0.0, None,
        "eccentricity {value} at the leaflets",
    ),
    Criterion("hold", "migration_safety", 1.0, 3.0, 1.0, "holds {value} times the load"),
    Criterion("stretch", "annulus_stretch", 1.0, 1.0, None, "annulus stretched {value} times"),
)  # fmt: skip

DEFAULT = Choice(RULES, CRITERIA)
