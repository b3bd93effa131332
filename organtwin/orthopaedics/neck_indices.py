r"""Stress of a stem's neck, as a beam: above the cut of the bone nothing of it is meshed.

With the force F on the head's centre h, a section's middle c, its axes n (medially), y (to the
front) and t (along the neck), area A and second moments :math:`I_n = \int \beta^2`,
:math:`I_y = \int \alpha^2` of places :math:`\alpha n + \beta y`,

.. math:: \sigma = \frac{F \cdot t}{A} + \frac{M \cdot n}{I_n} \beta - \frac{M \cdot y}{I_y} \alpha,
    \qquad M = (h - c) \times F

(Bernoulli). Sections are rectangles with round corners. Shear and torsion are left out, and what
the taper's seat in the head adds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.implants.materials import ImplantMaterial
from organtwin.implants.stem import HipStem
from organtwin.index import Found, Index
from organtwin.orthopaedics.strength_indices import FATIGUE, MPA, SAFETY, Cycle, fatigue_use

type Points = NDArray[np.float64]

#: Sections between the cut of the neck and the head's taper.
SECTIONS = 60
#: Name of the assembly's table of them.
NECK = "neck"


@dataclass(frozen=True)
class NeckSections:
    """Sections of a neck in the stem's own axes; arrays have one entry for each.

    Attributes:
        centre: Their middles (mm), (n, 3).
        medial: n, (n, 3).
        along: t, (n, 3).
        half: Half widths along n and y, and radius of the corners (mm), (n, 3).
    """

    centre: Points
    medial: Points
    along: Points
    half: Points

    @classmethod
    def of(cls, stem: HipStem) -> NeckSections:
        """Sections of a stem from the cut of the neck to the seat of the head."""
        s = np.linspace(stem.resection, stem.end - stem.taper_length, SECTIONS)
        lateral, medial, front, corner = stem.half_widths(s)
        place, normal = stem.path(s)
        half = np.column_stack([0.5 * (lateral + medial), front, corner])
        across = np.broadcast_to([0.0, 1.0, 0.0], normal.shape)
        middle = place + 0.5 * (medial - lateral)[:, None] * normal
        return cls(middle, normal, np.cross(normal, across), half)

    def table(self) -> Points:
        """All numbers, (n, 12); `of_table` takes them back."""
        return np.column_stack([self.centre, self.medial, self.along, self.half])

    @classmethod
    def of_table(cls, table: Points) -> NeckSections:
        """What `table` gave."""
        return cls(*(table[:, k : k + 3] for k in (0, 3, 6, 9)))

    def inertia(self) -> tuple[Points, Points, Points]:
        """Areas (mm²), and second moments (mm⁴) I_n across the front and I_y across medially."""
        a, b, r = self.half.T
        area = 4.0 * a * b - (4.0 - np.pi) * r**2
        return area, _second_moment(a, b, r), _second_moment(b, a, r)

    def stress(self, head: Points, force: Points) -> tuple[Points, Points]:
        """Largest and smallest stress along the neck in each section (kPa), (n,) each.

        Args:
            head: Centre of the head in the stem's axes (mm), (3,).
            force: On it, in the stem's axes (mN), (3,).
        """
        area, across_front, across_medial = self.inertia()
        moment = np.cross(head - self.centre, force)
        alpha = moment[:, 1] / across_medial  # y is the second of the stem's axes
        beta = np.einsum("ki,ki->k", moment, self.medial) / across_front
        a, b, r = self.half.T
        bending = np.abs(alpha) * (a - r) + np.abs(beta) * (b - r) + r * np.hypot(alpha, beta)
        axial = self.along @ force / area
        return axial + bending, axial - bending


def _second_moment(a: Points, b: Points, r: Points) -> Points:
    """∫ β² over a rectangle of 2a × 2b (b along β) whose corners have the radius r."""
    square = r**4 / 12.0 + r**2 * (b - 0.5 * r) ** 2
    quarter = r**4 * (np.pi / 16.0 - 4.0 / (9.0 * np.pi))
    quarter += 0.25 * np.pi * r**2 * (b - r + 4.0 * r / (3.0 * np.pi)) ** 2
    return np.asarray(4.0 * a * b**3 / 3.0 - 4.0 * (square - quarter))


def neck_indices(
    sections: NeckSections, head: Points, force: Points, least: float, material: ImplantMaterial
) -> Found:
    """Stress of the neck under a force on the head, and its safety over the load's cycle.

    Args:
        sections: Of the neck.
        head: Centre of the head in the stem's axes (mm), (3,).
        force: On it, in the stem's axes (mN), (3,).
        least: Least over largest force of the cycle.
        material: Of the stem.
    """
    pulled, pressed = sections.stress(head, force)
    peak = np.maximum(np.abs(pulled), np.abs(pressed))
    worst = int(peak.argmax())
    arm = float(np.linalg.norm(head - sections.centre[worst]))
    sides = np.concatenate([pulled, pressed])
    cycle = Cycle(
        0.5 * (1.0 - least) * np.abs(sides), 0.5 * (1.0 + least) * np.maximum(sides, 0.0),
        np.abs(sides),
    )  # fmt: skip
    used = float(fatigue_use(cycle, material.fatigue_limit, material.yield_stress).max())
    beam = "σ = N/A + M/W, the largest of all sections between cut and taper"
    theory = "theory of beams (Bernoulli), textbooks; no shear, no torsion, no notches"
    indices = [Index.of(
        "implant", "neck_stress", peak[worst] / MPA, "MPa",
        f"{beam}; here {arm:.0f} mm from the head's centre", theory,
    )]  # fmt: skip
    if peak[worst] > 0.0:
        indices += [
            Index.of("implant", "neck_yield_safety", material.yield_stress / peak[worst], "1",
                     f"yield stress of {material.name} over the neck's stress",
                     f"{theory}. Yield stress: {material.sources['yield_stress']}", 1.0),
            Index.of("implant", "neck_fatigue_safety", 1.0 / used, "1",
                     "1 / (σa/Se + σm/Sm), Soderberg's line, over the load cycle, at the neck",
                     f"{SAFETY}. {FATIGUE}. Fatigue limit of {material.name}: "
                     f"{material.sources['fatigue_limit']}", 1.0),
        ]  # fmt: skip
    return indices, []
