"""Rules and criteria by which plans of implants are ranked; a start for a surgeons' discussion."""

from __future__ import annotations

from types import MappingProxyType

from organtwin.choice import Choice, Criterion, Rule

#: What no implant may do, and what is better or worse about each; of all loads the worst counts.
_SAFE = (
    Rule("yield", "*_yield_safety", words_low="{part}: yield stress over stress is {value}"),
    Rule("fatigue", "*_fatigue_safety", words_low="{part} may break: safety of fatigue {value}"),
    Rule("bone", "*_bone_risk_999", "bone may yield, {part}: strain over that of yield {value}"),
)
_BONE = Criterion("bone", "*_bone_risk_999", 2.0, 0.3, None, "bone strained to {percent} of yield")
_METAL = Criterion("metal", "*_fatigue_safety", 1.0, 3.0, 1.0, "safety of fatigue {value}")


def _plateau(fracture: Criterion) -> Choice:
    """Of a plateau, with what tells how still its fracture is held."""
    return Choice(
        (*_SAFE, Rule("step", "*_step_off", "a step of {value} in the joint, {part}")),
        (
            fracture,
            Criterion("step", "*_step_off", 3.0, 0.0, None, "a step of {value} in the joint"),
            Criterion("subsidence", "*_subsidence_max", 2.0, 0.0, 2.0, "sinks by {value}"),
            _BONE, _METAL,
        ),
    )  # fmt: skip


#: By the kind of a case, and of a plateau whose fragments touch; limits and weights are our choice
#: where the indices have none.
CHOICES = MappingProxyType({
    "hip_stem": Choice(
        (*_SAFE, Rule("micromotion", "*_micromotion_share_fibrous",
                      "more than 150 µm of micromotion over {value} of the interface, {part}")),
        (
            Criterion("micromotion", "*_micromotion_95", 3.0, 10.0, None,
                      "micromotion of {value} (95 % of the interface)"),
            Criterion("calcar", "shielding_zone_7", 2.0, 0.0, None,
                      "calcar relieved of {value} of its strain energy"),
            Criterion("resorption", "resorption", 2.0, 0.0, 30.0,
                      "{value} of the bone in reach may be resorbed"),
            Criterion("fill", "canal_fill", 3.0, 90.0, 60.0, "fills {value} of the canal's width"),
            _BONE, _METAL,
        ),
    ),
    "pedicle_screw": Choice(
        (*_SAFE, Rule("pull-out", "*_pull_out_safety",
                      words_low="{part} may be pulled out: safety {value}"),
         Rule("breach", "*_breach", "{part} stands {value} out of the pedicle")),
        (
            Criterion("pull-out", "*_pull_out_safety", 3.0, 5.0, 1.0, "pull-out safety {value}"),
            Criterion("breach", "*_breach", 2.0, 0.0, None, "breach of {value}"),
            Criterion("density", "screw_*_density", 1.0, 200.0, None,
                      "{value} along the thread"),
            _BONE, _METAL,
        ),
    ),
    "tibial_plateau": _plateau(Criterion(
        "strain", "*_interfragmentary_strain_95", 3.0, 2.0, None,
        "{value} of strain between fragments",
    )),
    "touching_plateau": _plateau(Criterion(
        "movement", "*_fragments_movement_95", 3.0, 0.0, 150.0,
        "faces of the fracture move by {value}",
    )),
})  # fmt: skip
