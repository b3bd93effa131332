"""A frame that moves before the tissue around it: a guess of where both meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.equilibrium import BeamProblem
from organtwin.devices.newton import Touching
from organtwin.devices.tissue_contact import TissueContact

Array = NDArray[np.float64]

#: Springs of the tissue where a frame that leads presses, over the penalty of the contact: about
#: what tissue yields, where penalties are ten times its Young's modulus.
BED = 0.05


@dataclass(frozen=True)
class Bed:
    """Forces on nodes (mN), (n, 3), that springs (mN/mm), (n,), change as they move."""

    force: Array
    stiffness: Array
    x: Array

    def foresee(self, x: Array, dx: Array) -> Touching:
        """No contact."""
        return np.zeros(len(x), bool)

    def push(self, x: Array, touching: Touching | None = None) -> tuple[Array, Array]:
        """Forces and their derivatives."""
        k = self.stiffness[:, None]
        return self.force - k * (x - self.x), -k[:, :, None] * np.eye(3)

    def commit(self, x: Array) -> None:
        """Nothing."""


def go_first(beams: BeamProblem, contact: TissueContact) -> bool:
    """Move a frame to its equilibrium with its tools, the tissue's forces, and springs for more.

    Most of what is not linear is in the frame and its tools, and a frame alone costs a tenth of
    both. Our choice.

    Args:
        beams: The frame.
        contact: With the tissue, at its last `refresh`.

    Returns:
        Whether there is one; the frame stays where it was if not.
    """
    felt, before = contact.felt(), beams.place()
    at = contact.pairs.point[felt.on]
    stiffness = np.zeros(len(beams.x))
    values = contact.points.share[at] * (BED * felt.rub.eps)[:, None]
    np.add.at(stiffness, contact.points.nodes[at], values)
    bed = Bed(contact.on_nodes(felt, len(beams.x)), stiffness, beams.x)
    beams.actions.append(bed)
    try:
        found = beams.solve().converged
    finally:
        beams.actions.remove(bed)
    if not found:
        beams.put(before)
    return found
