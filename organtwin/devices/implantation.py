"""Frames brought into the anatomy by a balloon: what moves, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.balloon import BalloonSurface
from organtwin.devices.bench import crimp_and_release, on_bench
from organtwin.devices.cylinder import Cylinder, Strut
from organtwin.devices.device_files import Device
from organtwin.devices.equilibrium import BeamProblem
from organtwin.devices.frame import Frame, Part, build, problem
from organtwin.devices.load_path import Drag, Loaded, Path, follow
from organtwin.devices.placement import Placed, Placement, put
from organtwin.devices.unfolding import unfold
from organtwin.errors import InputError, SolverError

Array = NDArray[np.float64]

#: Drag on each node (mN per mm of a step) of a frame that nothing else holds yet, as a catheter
#: does: 300 nodes that slip by 0.1 mm meet 30 mN. Our choice.
HOLD = 1.0
#: Room between a folded balloon and the frame around it (mm).
ROOM = 0.01
#: Largest part of a stage in one step: filling, emptying.
FILLING, EMPTYING = 0.02, 0.2


@dataclass(frozen=True)
class Implant:
    """A whole frame, crimped and placed in the anatomy, with its tools.

    Attributes:
        device: What it is.
        frame: Beams, in the device's own axes.
        beams: Their equilibrium, in the anatomy.
        placement: Of the device's axes in the anatomy.
        balloon: Within it.
        drag: That holds it while nothing else does.
    """

    device: Device
    frame: Frame
    beams: BeamProblem
    placement: Placement
    balloon: BalloonSurface
    drag: Drag

    @property
    def felt(self) -> Strut:
        """What tools feel of its struts."""
        return self.device.struts.felt(self.frame.mesh)

    def own(self) -> Array:
        """Positions of its nodes in the device's axes (mm), (n, 3)."""
        return self.placement.back(self.beams.x)

    def diameters(self) -> tuple[float, float]:
        """Smallest and largest outer diameter about the device's axis (mm)."""
        rho = np.hypot(*self.own()[:, :2].T) + 0.5 * self.device.struts.thickness
        return 2 * float(rho.min()), 2 * float(rho.max())


def on_balloon_at(
    device: Device, placement: Placement, elements: int = 4, friction: float = 0.0
) -> Implant:
    """A whole frame, crimped onto its balloon, in the anatomy.

    It is crimped as half a cell, which stands for all of it, and released; the balloon's middle is
    that of the frame.

    Args:
        device: What is delivered.
        placement: Where.
        elements: Elements along a strut.
        friction: Coefficient between balloon and frame.

    Raises:
        InputError: the device has no balloon.
    """
    if device.balloon is None:
        raise InputError(
            device.name, "it has no balloon.", "Give its size a table `balloon` (docs/devices.md)."
        )
    bench = on_bench(device, elements)
    crimp_and_release(bench)
    frame = build(device.pattern, elements, Part.WHOLE)
    beams = problem(frame, device.struts, [], pins=())
    unfold(bench.frame, bench.model, frame, beams)
    z, rho = beams.x[:, 2], np.hypot(*beams.x[:, :2].T)
    folded = float(rho.min()) - 0.5 * device.struts.thickness - ROOM
    surface = BalloonSurface(
        device.struts.felt(frame.mesh), friction, radius=folded, balloon=device.balloon,
        centre=0.5 * float(z.min() + z.max()),
    )  # fmt: skip
    return _placed(device, frame, beams, placement, surface)


def _placed(
    device: Device, frame: Frame, beams: BeamProblem, placement: Placement, surface: BalloonSurface
) -> Implant:
    put(beams, placement)
    drag = Drag(np.full(len(beams.x), HOLD), beams.x)
    beams.actions[:] = [Placed(surface, placement), drag]
    beams.commit()
    return Implant(device, frame, beams, placement, surface, drag)


# --- stages -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """A part of a deployment.

    Attributes:
        name: As it is told.
        start: Called before it, to see where tools are; returns what sets them to a factor from 0
            to 1.
        step: Largest part of the way in one step.
    """

    name: str
    start: Callable[[], Callable[[float], None]]
    step: float


def filling(balloon: BalloonSurface, volume: float) -> Stage:
    """A balloon is filled to a volume (mm³).

    Raises:
        InputError: that would burst it.
    """
    if not volume <= balloon.balloon.largest_volume:
        raise InputError(
            "filling", f"{volume:.0f} mm³.",
            f"The balloon takes {balloon.balloon.largest_volume:.0f} mm³ at its rated burst "
            "pressure.",
        )  # fmt: skip
    return Stage("filling", _to_radius(balloon, 0.5 * balloon.balloon.diameter_of(volume)), FILLING)


def emptying(balloon: BalloonSurface, radius: float = 0.0) -> Stage:
    """A balloon is emptied to a radius (mm), or to nothing: the frame recoils."""
    return Stage("emptying", _to_radius(balloon, max(radius, 1e-3)), EMPTYING)


def letting_go(implant: Implant) -> Stage:
    """All tools of an implant are taken away, and it comes to rest."""

    def start() -> Callable[[float], None]:
        for action in implant.beams.actions:
            if isinstance(action, Placed) and isinstance(action.tool, Cylinder):
                action.tool.active = False
        return lambda factor: None

    return Stage("letting go", start, 0.34)


def _to_radius(tool: Cylinder, radius: float) -> Callable[[], Callable[[float], None]]:
    def start() -> Callable[[float], None]:
        before = tool.radius

        def to(factor: float) -> None:
            tool.radius = before + factor * (radius - before)

        return to

    return start


@dataclass(frozen=True)
class Account:
    """How a deployment went.

    Attributes:
        paths: Of the stages that were completed, by name, in order.
        stage: The last one that was begun.
        reached: Part of it that is done.
        reason: Why it was given up; empty if it was not.
    """

    paths: tuple[tuple[str, Path], ...]
    stage: str
    reached: float
    reason: str

    @property
    def complete(self) -> bool:
        """Whether all stages were completed."""
        return not self.reason


def deploy(
    problem: Loaded,
    stages: Sequence[Stage],
    *,
    on_accept: Callable[[str, float], None] | None = None,
) -> Account:
    """Go through the stages; where one fails, the problem stays at the last good state.

    Args:
        problem: A `Deployment`, or a frame alone.
        stages: In order.
        on_accept: Called with the name of the stage and the part that is done, after each step.
    """
    done: list[tuple[str, Path]] = []
    reached, name = 0.0, ""
    for stage in stages:
        name, reached = stage.name, 0.0

        def note(factor: float, name: str = name) -> None:
            nonlocal reached
            reached = factor
            if on_accept is not None:
                on_accept(name, factor)

        try:
            path = follow(
                problem, stage.start(), first=0.3 * stage.step, largest=stage.step,
                smallest=1e-3 * stage.step, on_accept=note,
            )  # fmt: skip
        except SolverError as error:
            return Account(tuple(done), name, reached, f"{name}: {error.problem} {error.remedy}")
        done.append((name, path))
    return Account(tuple(done), name, reached, "")
