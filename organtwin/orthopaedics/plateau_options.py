"""What is asked of a fractured tibial plateau: the fracture, its reduction, what holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from organtwin.errors import InputError, suggestion
from organtwin.orthopaedics.assembly import Fineness
from organtwin.orthopaedics.bone_model import CortexLaw

#: Cortex and density of a tibia by the height over the plateau; MRI tells neither. Our choice.
TIBIA = CortexLaw(
    (-90.0, -45.0, -20.0, -5.0), (3.5, 2.0, 1.2, 1.0), (0.0, 80.0, 150.0, 300.0), level=1200.0
)
FIXATIONS = ("plate", "screws", "none")
FRACTURES = ("split_depression", "split")
#: Least way (mm) of a split from the middle of the lateral plateau, by fracture.
MEDIAL = {"split_depression": 4.0, "split": -8.0}
#: Voxels of a gap that they show.
SHOWN = 1.2
#: Bodies that carry cartilage; the last one is the depressed piece.
CARRIERS = ("tibia", "lateral_fragment", "depressed_fragment")


@dataclass(frozen=True)
class TibialPlateauOptions:
    """The fracture, its reduction, and what holds it.

    Attributes:
        fixation: ``plate`` (lateral plate with screws), ``screws`` (lag screws as a raft) or
            ``none``.
        fracture: ``split_depression`` (Schatzker II), or ``split`` (Schatzker I) without a piece.
        aside: How far lateral of the middle of the lateral plateau the split enters the joint (mm).
        gap: Width of the fracture lines, filled by the region ``callus`` (mm). With 0 the fragments
            touch: the mesh is separated along the lines, and friction holds them.
        thick: Thickness of the depressed piece (mm).
        depth: How deep it was pressed before it was lifted (mm): the void under it.
        step: By how much it stays too low (mm).
        graft: Whether a region ``graft`` fills the void.
        plate: Implant file of the plate.
        plate_size: Its size.
        plate_turn: Turn of the plate and of its raft to the front from lateral (rad).
        plate_gap: Least distance of the plate from the bone (mm).
        raft: Number of lag screws without a plate.
        screw: Diameter and core of the screws (mm).
        raft_below: Depth of the raft below the joint (mm); just below the piece where screws have
            room, without it.
        cartilage: Whether the joint presses where its cartilages meet, and their pressure is told.
        slope: How far the plateau falls back against the shaft (rad), where the image shows too
            little of it.
        shaft: Length by which the shaft goes on straight below the image (mm).
        law: Cortex and density.
        fineness: Edge lengths.

    Raises:
        InputError: a length is out of its limits, or voxels would lose the fracture lines.
    """

    fixation: Literal["plate", "screws", "none"] = "plate"
    fracture: Literal["split_depression", "split"] = "split_depression"
    aside: float = 6.0
    gap: float = 1.2
    thick: float = 7.0
    depth: float = 8.0
    step: float = 0.0
    graft: bool = True
    plate: str | Path = "tibial_plateau_plate"
    plate_size: str = "3"
    plate_turn: float = 0.0
    plate_gap: float = 1.2
    raft: int = 3
    screw: tuple[float, float] = (3.5, 2.4)
    raft_below: float | None = None
    cartilage: bool = False
    slope: float = 0.14
    shaft: float = 62.0
    law: CortexLaw = TIBIA
    fineness: Fineness = field(default_factory=lambda: Fineness(4.0, 2.0, 2.0, 0.8))

    def __post_init__(self) -> None:
        for what, known in (("fixation", FIXATIONS), ("fracture", FRACTURES)):
            name = getattr(self, what)
            if name not in known:
                raise InputError(what, f"no {what} `{name}`.", suggestion(name, known))
        for name, low, high in (("gap", 0.5, 3.0), ("thick", 4.0, 15.0), ("depth", 0.0, 15.0),
                                ("step", 0.0, 8.0), ("raft_below", 5.0, 25.0)):  # fmt: skip
            value = getattr(self, name)
            closed = name == "gap" and self.closed
            also = ", or 0 for fragments that touch" if name == "gap" else ""
            if value is not None and not closed and not low <= value <= high:
                raise InputError(
                    f"tibial plateau {name}",
                    f"{value:g} mm.",
                    f"Give {low:g} to {high:g} mm{also}.",
                )
        if not (low := MEDIAL[self.fracture]) <= self.aside <= 12.0:
            raise InputError(
                "tibial plateau aside", f"{self.aside:g} mm.",
                f"Give {low:g} to 12 mm: a piece that was pressed in lies medial of the split.",
            )  # fmt: skip
        if self.step and self.fracture == "split":
            raise InputError(
                "tibial plateau step", "a split has no piece that could stay too low.",
                "Give 0, or fracture = split_depression.",
            )  # fmt: skip
        if self.step > self.depth:
            raise InputError(
                "tibial plateau step",
                f"the piece stays {self.step:g} mm too low and was pressed {self.depth:g} mm deep.",
                f"Give {self.depth:g} mm at most, or a larger `depth`.",
            )
        if not 1 <= self.raft <= 4:
            raise InputError("tibial plateau raft", f"{self.raft} screws.", "Give 1 to 4.")
        least = SHOWN * self.fineness.voxel
        if self.gap < least and not self.closed:
            raise InputError(
                "tibial plateau gap",
                f"{self.gap:g} mm in voxels of {self.fineness.voxel:g} mm would be lost.",
                f"Give {least:.2g} mm, smaller voxels, or 0 for fragments that touch.",
            )
        if self.closed and self.open and self.void < least:
            raise InputError(
                "tibial plateau depth",
                f"a void of {self.void:g} mm under the piece, in voxels of "
                f"{self.fineness.voxel:g} mm, would be lost.",
                f"Press the piece by 0 or by {self.step + least:.2g} mm or more.",
            )
        if self.closed and self.open and not self.graft:
            raise InputError(
                "depressed_fragment",
                "nothing holds it: its void is empty, and no callus is in closed fracture lines.",
                "Fill the void (`graft`), give a `gap`, or a `depth` of 0.",
            )

    @property
    def closed(self) -> bool:
        """Whether the fragments touch."""
        return self.gap == 0.0

    @property
    def void(self) -> float:
        """Height of what is empty under the piece, without the layers of callus (mm)."""
        return max(self.depth - self.step - self.gap, 0.0)

    @property
    def open(self) -> bool:
        """Whether a void is left: a lower one than a gap is callus."""
        return self.fracture == "split_depression" and self.void > self.gap
