"""Frames brought into the anatomy by a balloon or from a sheath: what moves, stage by stage."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.balloon import Balloon, BalloonSurface
from organtwin.devices.crimped import Crimped as Crimped
from organtwin.devices.crimped import crimped as crimped
from organtwin.devices.cylinder import Cylinder, Strut
from organtwin.devices.device_files import Device
from organtwin.devices.equilibrium import BeamProblem
from organtwin.devices.frame import Frame, Part, build, problem
from organtwin.devices.frame_state import restore_frame
from organtwin.devices.load_path import Drag, Loaded, Path, follow
from organtwin.devices.placement import Placed, Placement, put
from organtwin.devices.sheath import Capsule, Hook
from organtwin.devices.tool_numbers import give_back, numbers
from organtwin.errors import InputError, SolverError

Array = NDArray[np.float64]
logger = logging.getLogger(__name__)

#: Drag on each node (mN per mm of a step) of a frame that nothing else holds yet, as a catheter
#: does: 300 nodes that slip by 0.1 mm meet 30 mN. Our choice.
HOLD = 1.0
#: Room between a folded balloon and the frame around it (mm).
ROOM = 0.01
#: Stiffness of a capsule and of what is packed within the frame, per length of strut (mN/mm²): with
#: skirt and leaflets between, struts that press with 500 mN/mm go in by 0.25 mm. Drag while the
#: frame leaves it, as `HOLD`. Our choice: stiffer ones make the release jerk.
PACKED, SLOWED = 2e3, 5.0
#: Drag that is left when a frame was let go: 600 nodes that slip by 0.1 mm meet 0.6 mN.
AT_REST = 1e-2
#: Stiffness of the hook at each crown of the outflow (mN/mm): 1 N moves it by 0.05 mm. Our choice.
HOOK = 2e4
#: Room of the funnel around the widest place of the free frame, as part of its radius: frames lean.
LEAN = 0.15
#: Largest part of a stage in one step: filling, dilating again, emptying; way of a sheath in one
#: step (mm).
FILLING, DILATING, EMPTYING, SLIDING = 0.02, 0.1, 0.2, 1.0


@dataclass(frozen=True)
class Implant:
    """A whole frame, crimped and placed in the anatomy, with its tools.

    Attributes:
        device: What it is.
        frame: Beams, in the device's own axes.
        beams: Their equilibrium, in the anatomy.
        placement: Of the device's axes in the anatomy.
        drag: That holds it while nothing else does.
        balloon: Within it, if it is delivered by one.
        sheath: Around it, if it is delivered by one.
        hook: That holds its outflow then.
        start: Height at which the mouth of the sheath begins (mm).
    """

    device: Device
    frame: Frame
    beams: BeamProblem
    placement: Placement
    drag: Drag
    balloon: BalloonSurface | None = None
    sheath: Capsule | None = None
    hook: Hook | None = None
    start: float = field(default=np.nan)

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

    def present(self) -> Placement:
        """Axes of the frame where it is now: from its inflow end, at height 0, to its outflow."""
        z = self.frame.mesh.points[:, 2]
        ends = [self.beams.x[np.abs(z - at) < 1e-6].mean(axis=0) for at in (z.min(), z.max())]
        x, y, up = (float(v) for v in ends[1] - ends[0])
        return Placement(centre=(float(ends[0][0]), float(ends[0][1]), float(ends[0][2])),
                         axis=(x, y, up))  # fmt: skip

    def tools_state(self) -> dict[str, float]:
        """All numbers that tools have; see `tool_numbers.numbers`."""
        return numbers(self.beams.actions)

    def restore_tools(self, saved: Mapping[str, float]) -> None:
        """Bring the tools back to what `tools_state` told; the frame is restored before.

        Args:
            saved: Of an implant made in the same way, with the same stages.

        Raises:
            InputError: it is of other tools.
        """
        give_back(self.beams.actions, saved)
        self.beams.commit()
        give_back(self.beams.actions, saved)  # what tools remembered, and the commit wrote over


def on_balloon_at(
    device: Device, placement: Placement, elements: int = 4, friction: float = 0.0, *,
    state: Crimped | None = None,
) -> Implant:  # fmt: skip
    """A whole frame, crimped onto its balloon, in the anatomy.

    It is crimped as half a cell, which stands for all of it, and released; the balloon's middle is
    that of the frame.

    Args:
        device: What is delivered.
        placement: Where.
        elements: Elements along a strut.
        friction: Coefficient between balloon and frame.
        state: Found by `crimped` before; None crimps it now.

    Raises:
        InputError: the device has no balloon, or the state is of another frame.
    """
    if device.balloon is None:
        raise InputError(
            device.name, "it has no balloon.", "Give its size a table `balloon` (docs/devices.md)."
        )
    frame, beams = _whole(device, elements, state or crimped(device, elements, sheathed=False))
    z, rho = beams.x[:, 2], np.hypot(*beams.x[:, :2].T)
    folded = float(rho.min()) - 0.5 * device.struts.thickness - ROOM
    surface = BalloonSurface(
        device.struts.felt(frame.mesh), friction, radius=folded, balloon=device.balloon,
        centre=0.5 * float(z.min() + z.max()),
    )  # fmt: skip
    drag = _put(beams, placement, [surface], HOLD)
    return Implant(device, frame, beams, placement, drag, surface)


def in_sheath_at(
    device: Device, placement: Placement, elements: int = 4, friction: float = 0.0, *,
    state: Crimped | None = None, bend: float = 8.0, slope: float = 1.0,
) -> Implant:  # fmt: skip
    """A whole frame, crimped into its sheath, in the anatomy.

    Crimped as half a cell (`delivery.in_sheath`). The sheath is a `Capsule`; a hook holds the
    crowns of the outflow along the axis. A core within, as wide as the crimped frame lets it be,
    stands for shaft, skirt and leaflets: without it crowns in the sheath are levered to the axis.

    Args:
        device: What is delivered.
        placement: Where.
        elements: Elements along a strut.
        friction: Coefficient between sheath and frame.
        state: Found by `crimped` before; None crimps it now.
        bend: Of the capsule (mm).
        slope: Of the capsule.

    Raises:
        InputError: the state is of another frame.
    """
    frame, beams = _whole(device, elements, state or crimped(device, elements, sheathed=True))
    felt, z = device.struts.felt(frame.mesh), beams.x[:, 2]
    start, top = float(z.min()), frame.mesh.points[:, 2]
    capsule = Capsule(
        felt, friction, penalty=PACKED, radius=0.5 * device.crimped, mouth=start,
        bend=bend, slope=slope,
    )  # fmt: skip
    within = float(np.hypot(*beams.x[:, :2].T).min()) - 0.5 * device.struts.thickness - ROOM
    core = Cylinder(felt, penalty=PACKED, radius=within, around=False)
    hook = Hook(np.where(top > top.max() - 1e-6, HOOK, 0.0), z.copy())
    drag = _put(beams, placement, [capsule, core, hook], SLOWED)
    return Implant(device, frame, beams, placement, drag, None, capsule, hook, start)


def _whole(device: Device, elements: int, state: Crimped) -> tuple[Frame, BeamProblem]:
    frame = build(device.pattern, elements, Part.WHOLE)
    beams = problem(frame, device.struts, [], pins=())
    if state.device != device.name or state.arrays["x"].shape != beams.x.shape:
        raise InputError(
            device.name, f"the crimped state is that of {state.device} with {state.elements} "
            f"elements along a strut and {len(state.arrays['x'])} nodes, the frame has {elements} "
            f"and {len(beams.x)}.",
            "Crimp this device with as many elements.",
        )  # fmt: skip
    restore_frame(beams, state.arrays)
    return frame, beams


def _put(
    beams: BeamProblem, placement: Placement, tools: Sequence[Cylinder | Hook], hold: float
) -> Drag:
    put(beams, placement)
    drag = Drag(np.full(len(beams.x), hold), beams.x)
    beams.actions[:] = [*(Placed(tool, placement) for tool in tools), drag]
    beams.commit()
    return drag


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


def unsheathing(implant: Implant, share: float = 1.0) -> Stage:
    """The sheath is drawn off, along a share of its way from where it covers all of the frame.

    At 1 its funnel is wider than the free frame everywhere.

    Args:
        implant: From `in_sheath_at`.
        share: Of the way, 0 to 1.

    Raises:
        InputError: there is no sheath, or the share is beyond the way.
    """
    sheath, hook = implant.sheath, implant.hook
    if sheath is None or hook is None:
        raise InputError("unsheathing", f"{implant.device.name} has no sheath.", "Fill a balloon.")
    if not 0 <= share <= 1:
        raise InputError("unsheathing", f"a share of {share:g}.", "Give one from 0 to 1.")
    pattern = implant.device.pattern
    radius = 0.5 * max(d for _, d in pattern.profile) + implant.device.struts.thickness
    clear = sheath.clear(float(hook.height[hook.stiffness > 0].max()), (1 + LEAN) * radius)
    end = implant.start + share * (clear - implant.start)

    def start() -> Callable[[float], None]:
        before = sheath.mouth

        def to(factor: float) -> None:
            sheath.mouth = before + factor * (end - before)

        return to

    step = SLIDING / max(abs(end - sheath.mouth), SLIDING)
    return Stage("unsheathing", start, step)


def letting_go(implant: Implant) -> Stage:
    """All tools of an implant are taken away, and it comes to rest.

    First the hook gives way, by and by, then the drag that holds the frame fades away.
    """
    drag = implant.drag

    def start() -> Callable[[float], None]:
        for tool in _tools(implant):
            if isinstance(tool, Cylinder):
                tool.active = False
        hooks = [(tool, tool.share) for tool in _tools(implant) if isinstance(tool, Hook)]
        before = float(drag.stiffness.max())

        def to(factor: float) -> None:
            for hook, share in hooks:
                hook.share = share * max(1 - 2 * factor, 0.0)
            drag.stiffness[:] = before * min(1.0, (AT_REST / before) ** (2 * factor - 1))

        return to

    return Stage("letting go", start, 0.125)


def post_dilation(
    implant: Implant, volume: float, *, balloon: Balloon | None = None,
    height: float | None = None, friction: float = 0.0,
) -> tuple[Stage, Stage]:  # fmt: skip
    """Another balloon is filled in a frame that was let go, and emptied.

    It lies on the axis that the frame has when the first of both stages begins. One that is too
    small to touch it is told by a warning.

    Args:
        implant: The frame; the balloon becomes one of its tools at once.
        volume: That it is filled to (mm³).
        balloon: That of the device if None.
        height: Of its middle above the frame's inflow end (mm); if None its cylinder begins there,
            or lies in the middle of a frame that is shorter.
        friction: Coefficient between it and the frame.

    Returns:
        Filling, emptying.

    Raises:
        InputError: there is no balloon, or that would burst it.
    """
    balloon = balloon or implant.device.balloon
    if balloon is None:
        raise InputError(
            "post_dilation", f"{implant.device.name} has no balloon.", "Give one by its chart."
        )
    tool = BalloonSurface(implant.felt, friction, active=False, radius=1e-3, balloon=balloon)
    actions = implant.beams.actions
    actions.append(Placed(tool, implant.placement))
    fill, empty = filling(tool, volume), emptying(tool)

    def start() -> Callable[[float], None]:
        if not tool.active:
            axes = implant.present()
            at = next(i for i, a in enumerate(actions) if isinstance(a, Placed) and a.tool is tool)
            actions[at] = Placed(tool, axes)
            x = axes.back(implant.beams.x)
            room = float(np.hypot(*x[:, :2].T).min()) - float(implant.felt.half_depth.max())
            tool.radius, tool.active = max(room - ROOM, 1e-3), True
            if balloon.diameter_of(volume) <= 2 * tool.radius:
                logger.warning(
                    "Post-dilation: a balloon of %.1f mm touches nothing, the frame leaves %.1f mm "
                    "free. Take a larger one.", balloon.diameter_of(volume), 2 * room,
                )  # fmt: skip
            middle = 0.5 * min(float(np.ptp(x[:, 2])), balloon.length)
            tool.centre = middle if height is None else height
            implant.beams.commit()
        return fill.start()

    return replace(fill, name="post-dilation", start=start, step=DILATING), replace(
        empty, name="post-dilation, emptying"
    )


def _tools(implant: Implant) -> list[object]:
    return [action.tool for action in implant.beams.actions if isinstance(action, Placed)]


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
