"""How wide and how round a deployed frame is at each level, and how it lies in the root."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.aortic_root.outline import Outline
from organtwin.devices.cross_sections import cross_section
from organtwin.errors import InputError
from organtwin.index import Index
from organtwin.tavr.deployed import Deployed
from organtwin.tavr.root_record import RootRecord

Array = NDArray[np.float64]

#: Levels, from the ventricle to the aorta.
LEVELS = ("inflow", "annulus", "leaflets", "outflow")
#: Least expansion and largest eccentricity: mean and two standard deviations of deployed CoreValve
#: and SAPIEN frames (83 ± 7 % and 92 ± 4 %; least over largest diameter 82 ± 8 % and 95 ± 3 %).
EXPANSION = {"self-expanding": 0.69, "balloon-expandable": 0.84}
ECCENTRICITY = {"self-expanding": 0.34, "balloon-expandable": 0.11}
SPREAD = (
    "Threshold: mean and two standard deviations of 134 frames, our choice; Rodríguez-Olivares et "
    "al. (2016), Rev. Esp. Cardiol. 69:392-400, abstract read, where expansion may be defined "
    "otherwise."
)
#: Part by which levels may be wider than the narrowest and still count as its waist.
ALIKE = 0.01
#: Largest asymmetry of a balloon-expandable frame (%).
ASYMMETRY = 5.5
#: New conduction abnormalities by how far the frame overlaps the lower border of the septum.
OVERLAP = (
    "Jørgensen et al. (2022), EuroIntervention 17:1061-1069, abstract read: 7 % of patients had "
    "new conduction abnormalities where the valve did not cross the border, 19 % less than "
    "2.5 mm beyond, 47 % farther. The length is the mean of 107 candidates (Clin. Anat. 31 (2018) "
    "525), not this "
    "patient's."
)


@dataclass(frozen=True)
class Section:
    """A frame at one level.

    Attributes:
        outline: Around the outer sides of its struts now.
        free: The same of the frame free of stress, at the same height of its metal.
        rest: That height (mm).
    """

    outline: Outline
    free: Outline
    rest: float

    @property
    def expansion(self) -> float:
        """Area over that of the free frame."""
        return self.outline.area / self.free.area

    @property
    def eccentricity(self) -> float:
        """1 − D_min / D_max."""
        least, most = self.outline.calipers
        return 1.0 - least / most


def sections(deployed: Deployed, root: RootRecord) -> tuple[dict[str, Section], list[str]]:
    """The frame at each of `LEVELS`, and a sentence for each level that it misses.

    Inflow and outflow are the middles of the first and the last ring. The leaflets' level is where
    the frame at rest is narrowest in the middle half of its height, half way up where it is a
    cylinder. These follow the metal and lie across the frame's own axis; the annulus is cut in its
    own plane.
    """
    found, missed = {}, []
    half = 0.5 * float(deployed.thickness.mean())
    own, axes = deployed.nodes - deployed.origin, deployed.axes
    for name in LEVELS:
        try:
            if name == "annulus":
                rest = _rest_of(deployed, root.origin)
                cut = cross_section(
                    deployed.nodes - root.origin, deployed.ends, root.axes, 0.0, half
                )
            else:
                rest = _off(deployed, _rest_height(deployed, name))
                cut = cross_section(own, deployed.ends, axes, deployed.height_of(rest), half)
            free = cross_section(
                deployed.rest, deployed.ends, np.eye(3), _off(deployed, rest), half
            )
        except InputError as error:
            missed.append(f"The frame's {name} has no diameters: {error.problem}")
            continue
        found[name] = Section(cut, free, rest)
    return found, missed


def _off(deployed: Deployed, rest: float) -> float:
    """A height at rest moved off the crowns, where planes would meet nodes and not struts."""
    heights = np.array([deployed.rest[crown, 2].mean() for crown in deployed.crowns])
    near = int(np.argmin(np.abs(heights - rest)))
    if abs(heights[near] - rest) > 1e-3:
        return rest
    towards = 1.0 if near + 1 < len(heights) else -1.0
    return rest + 1e-2 * towards


def _rest_height(deployed: Deployed, level: str) -> float:
    """Height of the metal at a level, in the frame at rest (mm)."""
    crowns = deployed.crowns
    heights = np.array([deployed.rest[crown, 2].mean() for crown in crowns])
    count = np.array([len(crown) for crown in crowns])
    whole = count == count.max()  # between the corners of rings, where all struts are apart
    corners = heights[~whole] if (~whole).sum() > 1 else heights[[0, -1]]
    if level == "inflow":
        return 0.5 * float(corners[0] + corners[1])
    if level == "outflow":
        return 0.5 * float(corners[-2] + corners[-1])
    low, top = heights[0], heights[-1]
    inner = whole & (np.abs(heights - 0.5 * (low + top)) <= 0.25 * (top - low))
    rows = np.flatnonzero(inner if inner.any() else whole)
    radii = np.array([np.hypot(*deployed.rest[crowns[int(k)], :2].T).mean() for k in rows])
    narrow = rows[radii <= radii.min() * (1.0 + ALIKE)]
    return float(heights[narrow[np.argmin(np.abs(heights[narrow] - 0.5 * (low + top)))]])


def _rest_of(deployed: Deployed, point: Array) -> float:
    """Height of the metal at rest (mm) that is now beside a point."""
    now = np.array(
        [((deployed.nodes[c] - deployed.origin) @ deployed.axis).mean() for c in deployed.crowns]
    )
    rest = np.array([deployed.rest[crown, 2].mean() for crown in deployed.crowns])
    return float(np.interp((point - deployed.origin) @ deployed.axis, now, rest))


def frame_indices(deployed: Deployed, cuts: dict[str, Section]) -> list[Index]:
    """Diameters, expansion and eccentricity at each level."""
    found = []
    for name, one in cuts.items():
        least, most = one.outline.calipers
        about = "of parallels around the outer sides of the struts"
        found += [
            Index.of("frame", f"frame_{name}_diameter_min", least, "mm",
                     f"least distance {about}", "our choice"),
            Index.of("frame", f"frame_{name}_diameter_max", most, "mm",
                     f"largest distance {about}", "our choice"),
            Index.of("frame", f"frame_{name}_expansion", one.expansion, "1",
                     "A / A_free, the area over that of the free frame at this height of the metal",
                     SPREAD, EXPANSION[deployed.family]),
            Index.of("frame", f"frame_{name}_eccentricity", one.eccentricity, "1",
                     "1 - D_min / D_max", SPREAD, None, ECCENTRICITY[deployed.family]),
        ]  # fmt: skip
    uneven = _asymmetry(deployed)
    high = ASYMMETRY if deployed.family == "balloon-expandable" else None
    return [
        *found,
        Index.of("frame", "frame_asymmetry", uneven, "%",
                 "100 (h_long / h_short - 1), the largest over all views, with the heights h of "
                 "the frame at its two edges in a view across its axis",
                 "Maznyczka et al. (2024), JACC Cardiovasc. Interv., doi 10.1016/j.jcin.2024.05.039"
                 ", abstract read: more than 5.5 % in one fluoroscopic view goes with impaired "
                 "function of balloon-expandable valves (sensitivity 77 %, specificity 86 %)",
                 None, high),
        Index.of("frame", "frame_strain_max", float(np.abs(deployed.strain).max()), "1",
                 "largest strain of a fibre, in tension or compression", "our choice"),
    ]  # fmt: skip


def _asymmetry(deployed: Deployed) -> float:
    """Largest height of the frame's edge over that opposite, less one (%)."""
    first, last = deployed.crowns[0], deployed.crowns[-1]
    ask = np.radians(np.arange(0.0, 360.0, 5.0))
    low, top = (_edge(deployed, crown, ask) for crown in (first, last))
    height = top - low
    ratio = height / np.roll(height, len(ask) // 2)
    return 100.0 * (float(np.max(ratio)) - 1.0)


def _edge(deployed: Deployed, crown: NDArray[np.int64], ask: Array) -> Array:
    """Height of a crown of the frame in directions around its axis (mm)."""
    own = (deployed.nodes[crown] - deployed.origin) @ deployed.axes.T
    turn = np.arctan2(own[:, 1], own[:, 0]) % (2.0 * np.pi)
    order = np.argsort(turn)
    return np.interp(ask, turn[order], own[order, 2], period=2.0 * np.pi)


def position_indices(deployed: Deployed, root: RootRecord) -> list[Index]:
    """Depth, tilt, distance from the middle of the annulus, and the septum below the frame."""
    inflow = deployed.nodes[deployed.crowns[0]]
    depth = -root.height(inflow)
    turn = np.angle(np.exp(1j * (root.turn(inflow) - root.septum_direction)))
    order = np.argsort(turn)
    beside = float(np.interp(0.0, turn[order], depth[order], period=2.0 * np.pi))
    cosine = float(np.clip(deployed.axis @ root.up, -1.0, 1.0))
    along = ((root.origin - deployed.origin) @ root.up) / cosine if cosine > 0.1 else 0.0
    at = deployed.origin + along * deployed.axis - root.origin
    aside = float(np.linalg.norm(at - (at @ root.up) * root.up))
    return [
        Index.of("position", "implantation_depth", float(depth.mean()), "mm",
                 "mean depth of the frame's inflow below the plane of the annulus", "our choice"),
        Index.of("position", "implantation_depth_septum", beside, "mm",
                 "the same in the direction of the membranous septum", "our choice"),
        Index.of("position", "delta_msid", root.septum_below - beside, "mm",
                 "length of the membranous septum below the annulus less the depth of the frame "
                 "there", OVERLAP, 0.0),
        Index.of("position", "frame_tilt", float(np.degrees(np.arccos(cosine))), "°",
                 "angle between the frame's axis and the normal of the annulus", "our choice"),
        Index.of("position", "frame_offset", aside, "mm",
                 "distance of the frame's axis from the middle of the annulus, in its plane",
                 "our choice"),
    ]  # fmt: skip
