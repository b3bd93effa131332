"""All indices of a deployed valve, each with formula, unit, source, threshold and verdict.

| group | keys |
|---|---|
| frame | ``frame_{inflow,annulus,leaflets,outflow}_{diameter_min,diameter_max,expansion,eccentricity}``, ``frame_asymmetry``, ``frame_strain_max`` |
| position | ``implantation_depth``, ``implantation_depth_septum``, ``delta_msid``, ``frame_tilt``, ``frame_offset`` |
| anchoring | ``anchoring_force``, ``contact_length``, ``migration_load``, ``friction_needed``, ``migration_safety`` |
| contact | ``contact_pressure_max``, ``contact_pressure_index``, ``septum_contact_pressure_max``, ``septum_contact_force``, ``conduction_contact_pressure_index``, ``conduction_contact_pressure_max``, ``conduction_contact_force`` |
| wall | ``oversizing_area``, ``oversizing_perimeter``, ``annulus_stretch``, ``annulus_ellipticity``, ``areal_stretch``, ``{wall_stress,wall_stress_ratio,injury_margin}_{outflow_tract,annulus,sinuses,aorta}`` |
| leak | ``gap_area_{inflow,annulus,skirt_top,smallest}``, ``sealed_share``, ``paravalvular_flow``, ``regurgitant_volume``, ``regurgitant_fraction``, ``regurgitant_orifice``, ``paravalvular_grade`` |
| coronary | ``{valve_to_coronary,ostium_height,cusp_to_ostium,leaflet_tip_over_ostium,laceration}_{right,left}`` |
| flow | ``effective_orifice_area``, ``mean_gradient``, ``indexed_orifice_area`` |
| fatigue | ``strain_amplitude_max``, ``fatigue_safety`` |
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from organtwin.errors import OrgantwinError
from organtwin.index import Found, Index, require_groups
from organtwin.tavr.contact_indices import anchoring_indices, contact_indices
from organtwin.tavr.coronary_indices import coronary_indices
from organtwin.tavr.deployed import Deployed
from organtwin.tavr.fatigue import fatigue_indices
from organtwin.tavr.flow_indices import flow_indices
from organtwin.tavr.frame_indices import (
    Section,
    frame_indices,
    position_indices,
    sections,
)
from organtwin.tavr.groups import GROUPS
from organtwin.tavr.haemodynamics import Haemodynamics
from organtwin.tavr.leak_indices import SkirtGap, leak_indices, skirt_gap
from organtwin.tavr.root_record import RootRecord
from organtwin.tavr.wall_indices import wall_indices

__all__ = ["Haemodynamics", "Index", "Judgement", "RootRecord", "assess", "judge"]


@dataclass(frozen=True)
class Judgement:
    """A deployed valve as it is judged.

    Attributes:
        indices: In the order of a report.
        notes: What could not be had, or is to be known about it, one sentence each.
    """

    indices: tuple[Index, ...]
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> Index:
        for one in self.indices:
            if one.name == name:
                return one
        raise KeyError(name)


def assess(
    deployed: Deployed, root: RootRecord, haemodynamics: Haemodynamics | None = None
) -> Judgement:
    """All indices that the record allows, and why others are missing.

    Args:
        deployed: The valve.
        root: The root as it was measured.
        haemodynamics: Pressures and flows; of an adult at rest if None.
    """
    flow = haemodynamics or Haemodynamics()
    cuts, missed = sections(deployed, root)
    around = skirt_gap(deployed)
    parts: list[tuple[str, Callable[[], Found]]] = [
        ("frame", lambda: (frame_indices(deployed, cuts), missed)),
        ("position", lambda: (position_indices(deployed, root), [])),
        ("anchoring", lambda: anchoring_indices(deployed, flow, closed_area(around, cuts))),
        ("contact", lambda: contact_indices(deployed, root)),
        ("wall", lambda: wall_indices(deployed, root)),
        ("leak", lambda: leak_indices(around, root, flow)),
        ("coronary", lambda: coronary_indices(deployed, root)),
        ("flow", lambda: flow_indices(deployed, cuts, flow)),
        ("fatigue", lambda: fatigue_indices(deployed)),
    ]  # fmt: skip
    indices: list[Index] = []
    notes: list[str] = []
    for name, part in parts:
        try:
            found, why = part()
        except OrgantwinError as error:  # one that can't be had must not take the others along
            found, why = [], [f"Indices of the group `{name}` are missing: {error}"]
        indices += found
        notes += why
    require_groups(indices, GROUPS)
    return Judgement(tuple(indices), tuple(notes))


def judge(
    deployed: Deployed, root: RootRecord, haemodynamics: Haemodynamics | None = None
) -> tuple[Index, ...]:
    """The indices of `assess` alone."""
    return assess(deployed, root, haemodynamics).indices


def closed_area(around: SkirtGap | str, cuts: dict[str, Section]) -> float | None:
    """Area on which the pressure acts while the valve is closed: its largest section with skirt."""
    if not isinstance(around, str):
        turn = 2.0 * np.pi / around.gap.rays.count
        return float((0.5 * turn * (around.gap.skirt**2).sum(axis=1)).max())
    return cuts["inflow"].outline.area if "inflow" in cuts else None
