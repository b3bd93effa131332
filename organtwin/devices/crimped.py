"""Whole frames as crimping leaves them: arrays that serve many placements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.bench import crimp_and_release, on_bench
from organtwin.devices.delivery import in_sheath
from organtwin.devices.device_files import Device
from organtwin.devices.frame import Part, build, problem
from organtwin.devices.frame_state import frame_arrays
from organtwin.devices.unfolding import unfold

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Crimped:
    """A whole frame as it lies on its balloon or in its sheath, in its own axes.

    Attributes:
        device: Name of the device and its size.
        elements: Along a strut.
        arrays: Positions, rotations and histories, as `deployment.frame_arrays` names them.
    """

    device: str
    elements: int
    arrays: Mapping[str, Array]

    def save(self, file: Path) -> None:
        """Write it to an ``.npz`` file."""
        content: dict[str, Any] = {"device": self.device, "elements": self.elements}
        np.savez_compressed(file, **(content | dict(self.arrays)))

    @classmethod
    def load(cls, file: Path) -> Crimped:
        """Read it."""
        with np.load(file) as read:
            arrays = {name: read[name] for name in read.files}
        return cls(str(arrays.pop("device")), int(arrays.pop("elements")), arrays)


def crimped(device: Device, elements: int = 4, *, sheathed: bool) -> Crimped:
    """Crimp a device: half a cell, which is exact by symmetry, unfolded.

    Args:
        device: What is crimped.
        elements: Elements along a strut.
        sheathed: Whether it stays within a sheath; if not it is released, as onto its balloon.
    """
    if sheathed:
        catheter = in_sheath(device, elements)
        half, model = catheter.frame, catheter.model
    else:
        bench = on_bench(device, elements)
        crimp_and_release(bench)
        half, model = bench.frame, bench.model
    frame = build(device.pattern, elements, Part.WHOLE)
    beams = problem(frame, device.struts, [], pins=())
    unfold(half, model, frame, beams)
    return Crimped(device.name, elements, frame_arrays(beams))
