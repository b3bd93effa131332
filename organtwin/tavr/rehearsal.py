"""A valve brought into a root, stage by stage: on a mesh, with a state that it can go on from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.balloon import ATMOSPHERE, Balloon
from organtwin.devices.deployment import Deployment
from organtwin.devices.device_files import Device
from organtwin.devices.implantation import (
    Implant,
    Stage,
    crimped,
    deploy,
    emptying,
    filling,
    in_sheath_at,
    letting_go,
    on_balloon_at,
    post_dilation,
    unsheathing,
)
from organtwin.devices.placement import Placement
from organtwin.devices.tissue_contact import StrutLaw, TissueContact, strut_points
from organtwin.mechanics.problem import Mechanics
from organtwin.mesh.domain import Domain
from organtwin.process import Places, keyed
from organtwin.tavr.collecting import collect
from organtwin.tavr.deployed import Deployed
from organtwin.tavr.fatigue import fatigue, fibre_strains, with_fatigue
from organtwin.tavr.root_axis import RootAxis
from organtwin.tavr.root_record import RootRecord
from organtwin.tavr.root_tissue import (
    BloodPressure,
    RootTissue,
    blood_pressure,
    root_problem,
    wall_stress,
)
from organtwin.units import MMHG

Array = NDArray[np.float64]

#: Surfaces of a root that struts may touch, as far as it has them.
TOUCHED = (
    "inner", "ostium_right", "ostium_left", "membranous_septum", "ventricular", "free_edge",
)  # fmt: skip


#: Name of the stage after the deployment, for fatigue.
SYSTOLE = "systole"
#: Drag of the tissue (mN/mm per mm³) over that of each of the frame's nodes (mN/mm): a leaflet of
#: 0.8 mm that moves by 0.1 mm in a step meets 1.6 kPa, a hundredth of that once it is let go. Our
#: choice: with a twentieth of it leaflets that fold and snap ended the deployment in a real root.
VISCOUS = 20.0
#: A device that follows the lumen meets its axis at this share of the height that it reaches.
MEETS = 0.85


type Along = Literal["auto", "annulus", "lumen"]


@dataclass(frozen=True)
class Settings:
    """Where a device is put, and how it is let go.

    Attributes:
        depth: Inflow end of the expanded frame below the annulus that is aimed at (mm).
        along: What the device's axis follows: the normal of the ``annulus``, or the ``lumen`` up to
            the device's upper end; ``auto`` takes the lumen for a self-expanding device, which is
            long and straight in its sheath.
        tilt: Between the device's axis and that (°).
        towards: Direction that it is tilted to (°), from the first axis of the root on.
        turn: Of the device about its own axis (°); 0 has a crown of the inflow on that axis.
        filling: Volume in the balloon over its nominal one.
        post_dilation: Diameter of a second balloon (mm); none without it.
        friction: Coefficient between struts and tissue.
        elements: Elements along a strut.
        spacing: Largest distance of the points that feel the tissue along a strut (mm).
        penalty: Contact stiffness (kPa), see `StrutLaw`.
        diastole: Pressures of aorta and ventricle while the valve is deployed (kPa).
        systole: The same in systole, to which the root is brought in the end; not without it.
    """

    depth: float = 4.0
    along: Along = "auto"
    tilt: float = 0.0
    towards: float = 0.0
    turn: float = 0.0
    filling: float = 1.0
    post_dilation: float | None = None
    friction: float = 0.3
    elements: int = 3
    spacing: float = 1.0
    penalty: float = 1e4
    diastole: tuple[float, float] = (80.0 * MMHG, 10.0 * MMHG)
    systole: tuple[float, float] | None = None


@dataclass(frozen=True)
class Passed:
    """A stage that is done.

    Attributes:
        name: Of the stage.
        steps: Steps that were accepted, of those since the last start of the program.
        retries: Steps that failed.
        iterations: Newton corrections.
        snaps: Instabilities that the frame was led through.
    """

    name: str
    steps: int
    retries: int
    iterations: int
    snaps: int


@dataclass(frozen=True)
class Went:
    """How far a deployment went.

    Attributes:
        passed: Stages that are done, in order.
        stage: The last one that was begun.
        reached: Part of it that is done.
        reason: Why it was given up; empty if it was not.
    """

    passed: tuple[Passed, ...]
    stage: str
    reached: float
    reason: str

    @property
    def complete(self) -> bool:
        """Whether all stages are done."""
        return not self.reason


def placement(
    origin: Array, axes: Array, device: Device, ends: tuple[float, float], settings: Settings
) -> Placement:
    """Where a crimped device is put so that it lands at a depth below the annulus.

    A frame on a balloon shortens to both sides of its middle; one that leaves a sheath is held at
    its outflow end, and its inflow end rises by all that it shortens. So the heights of the
    expanded frame's inflow end are, with its height h₀ at rest and the ends a, b of the crimped
    one, (a + b)/2 − h₀/2 and b − h₀. In tissue it shortens less, and friction holds it: our choice
    of an aim, not a prediction.

    Args:
        origin: Middle of the annulus (mm), shape (3,).
        axes: Rows: direction from which angles are counted, 90° on, and upwards, shape (3, 3).
        device: The device.
        ends: Heights of the crimped frame's ends in its own axes (mm).
        settings: Depth, tilt, turn.
    """
    low, high = ends
    rest = max(height for height, _ in device.pattern.profile)
    balloon = device.family == "balloon-expandable"
    inflow = 0.5 * (low + high - rest) if balloon else high - rest
    bare = Placement(tuple(origin.tolist()), tuple(axes[2].tolist()), inflow + settings.depth)
    first, second = bare.across() @ axes[0]
    zero = math.degrees(math.atan2(second, first))
    return replace(
        bare, tilt=settings.tilt, towards=settings.towards + zero,
        # The tilt turns about an axis across, so that turns add up.
        turn=settings.turn + zero,
    )  # fmt: skip


class Rehearsal:
    """A device in a root, on its way through the stages of its deployment.

    Args:
        tissue: The root at rest, under its pressure.
        implant: The crimped device, placed in it.
        settings: How it is deployed.

    Attributes:
        both: Frame and tissue.
        implant: As it was given.
        stages: What is done, in order.
        passed: Those that are done.
        reached: Part of the next one that is done.
    """

    def __init__(self, tissue: Mechanics, implant: Implant, settings: Settings) -> None:
        self.implant = implant
        surfaces = tuple(name for name in TOUCHED if name in tissue.domain.surfaces)
        points = strut_points(implant.frame.mesh, implant.felt.half_depth, settings.spacing)
        law = StrutLaw(settings.penalty, settings.friction)
        contact = TissueContact(tissue, surfaces, points, law)
        drag = implant.drag
        self.both = Deployment(
            tissue, implant.beams, contact, drag=lambda: VISCOUS * float(drag.stiffness.max())
        )
        self.both.commit()
        self.stages = stages_of(implant, settings)
        if settings.systole is not None:
            beat = systole(blood_pressure(tissue), settings.diastole, settings.systole)
            self.stages = (*self.stages, beat)
        self.passed: list[Passed] = []
        self.reached = 0.0
        #: Tools when the stage that is under way had begun.
        self._begun = implant.tools_state()

    def run(
        self,
        *,
        on_accept: Callable[[str, float], None] | None = None,
        on_stage: Callable[[str], None] | None = None,
    ) -> Went:
        """Go through the stages that are left; where one fails the last good state stays.

        Args:
            on_accept: Called with the name of the stage and the part that is done, after each step.
            on_stage: Called with the name of a stage that is done.
        """
        while len(self.passed) < len(self.stages):
            stage = self.stages[len(self.passed)]
            account = deploy(
                self.both, [self._rest_of(stage)], on_accept=self._noted(stage, on_accept)
            )
            if not account.complete:
                reason = account.reason.partition(": ")[2]
                return Went(tuple(self.passed), stage.name, self.reached, reason)
            ((_, path),) = account.paths
            done = Passed(stage.name, path.steps, path.retries, path.iterations, path.snaps)
            self.passed.append(done)
            self.reached = 0.0
            if on_stage is not None:
                on_stage(stage.name)
        return Went(tuple(self.passed), self.stages[-1].name, 1.0, "")

    def record(self, before: Deployed | None = None) -> Deployed:
        """The valve as it is now, with the stress in the wall; collective.

        Args:
            before: Record from before the deployment, to compare.
        """
        stress = wall_stress(self.both.tissue)
        return collect(self.both, self.implant, stress=stress, before=before)

    @property
    def share(self) -> float:
        """Part of all stages that is done, each counted alike."""
        return (len(self.passed) + self.reached) / len(self.stages)

    def _rest_of(self, stage: Stage) -> Stage:
        """What is left of a stage, as one of its own from 0 to 1."""
        reached, tools = self.reached, self.implant

        def begin() -> Callable[[float], None]:
            whole = stage.start()
            self._begun = tools.tools_state()
            return whole

        def go_on() -> Callable[[float], None]:
            now = tools.tools_state()
            tools.restore_tools(self._begun)
            whole = stage.start()
            tools.restore_tools(now)
            return lambda factor: whole(reached + factor * (1.0 - reached))

        if reached == 0.0:
            return Stage(stage.name, begin, stage.step)
        return Stage(stage.name, go_on, min(stage.step / (1.0 - reached), 1.0))

    def _noted(
        self, stage: Stage, on_accept: Callable[[str, float], None] | None
    ) -> Callable[[str, float], None]:
        before = self.reached

        def note(name: str, factor: float) -> None:
            self.reached = before + factor * (1.0 - before)
            if on_accept is not None:
                on_accept(stage.name, self.reached)

        return note

    # --- going on in another process --------------------------------------------------------------

    @property
    def state(self) -> Mapping[str, Array]:
        """All arrays of frame, tissue and contact; copies."""
        return self.both.state

    @property
    def note(self) -> dict[str, object]:
        """What else is needed to go on, as JSON knows it."""
        return {
            "passed": [asdict(one) for one in self.passed],
            "reached": self.reached,
            "begun": self._begun,
            "tools": self.implant.tools_state(),
        }

    def go_on(self, state: Mapping[str, Array], note: Mapping[str, object]) -> None:
        """Take over the state and the note of a deployment that was stopped; collective."""
        passed, begun, tools = note["passed"], note["begun"], note["tools"]
        assert isinstance(passed, list)
        assert isinstance(begun, dict)
        assert isinstance(tools, dict)
        self.passed = [Passed(**one) for one in passed]
        self.reached, self._begun = float(str(note["reached"])), dict(begun)
        self.both.restore(state)
        self.implant.restore_tools(tools)

    def places(self) -> Places:
        """Where the entries of `state` are, for another number of ranks."""
        tissue = self.both.tissue
        keys = np.empty((len(tissue.w.x.array), 4))
        keys[tissue._u_dofs] = keyed(tissue.V.tabulate_dof_coordinates(), 3)
        if tissue.Q is not None:
            keys[tissue._p_dofs] = keyed(tissue.Q.tabulate_dof_coordinates())
            keys[tissue._p_dofs, 3] = 3.0
        names = ("tissue.w", "tissue.w_old")
        return Places({"unknowns": keys}, dict.fromkeys(names, "unknowns"))


@dataclass(frozen=True)
class Rehearsed:
    """A valve that was brought into a root.

    Attributes:
        before: Crimped, in the untouched root.
        deployed: As it was let go, in diastole, or the last good state.
        went: How far the deployment went.
    """

    before: Deployed
    deployed: Deployed
    went: Went


def rehearse(
    domain: Domain, root: RootRecord, axis: RootAxis, device: Device,
    settings: Settings | None = None, tissue: RootTissue | None = None, *,
    on_accept: Callable[[str, float], None] | None = None,
) -> Rehearsed:  # fmt: skip
    """Bring a device into a root, from the mesh to the record of the deployed valve; collective.

    Args:
        domain: Mesh of the root, see docs/aortic-root-mesh.md.
        root: What was measured of it.
        axis: Curve through its lumen.
        device: The device.
        settings: Where it is put, and how it is let go.
        tissue: What the root is made of; the pressures are those of the settings.
        on_accept: Called with the name of the stage and the part that is done, after each step.

    Raises:
        SolverError: the root has no equilibrium under its pressure. A deployment that fails is told
            by `Went`.
    """
    settings = settings or Settings()
    aortic, ventricular = settings.diastole
    filled = replace(tissue or RootTissue(), aortic=aortic, ventricular=ventricular)
    implant = placed(device, root, axis, settings)
    rehearsal = Rehearsal(root_problem(domain, axis, filled), implant, settings)
    before = deployed = rehearsal.record()
    strains = fibre_strains(implant.beams)

    def look(name: str) -> None:
        nonlocal deployed, strains
        now = fibre_strains(implant.beams)
        if name == SYSTOLE:
            deployed = with_fatigue(deployed, fatigue(strains, now, device.fatigue))
        else:
            deployed, strains = rehearsal.record(before), now

    went = rehearsal.run(on_accept=on_accept, on_stage=look)
    if not went.complete and went.stage != SYSTOLE:
        deployed = rehearsal.record(before)
    return Rehearsed(before, deployed, went)


def placed(device: Device, root: RootRecord, axis: RootAxis, settings: Settings) -> Implant:
    """A device, crimped onto its balloon or into its sheath, placed in a root.

    Args:
        device: The device.
        root: Where the annulus is.
        axis: Curve through the lumen.
        settings: Depth, tilt, turn, elements.

    Raises:
        InputError: a device that a balloon expands has none.
    """
    sheathed = device.family == "self-expanding"
    state = crimped(device, settings.elements, sheathed=sheathed)
    heights = state.arrays["x"][:, 2]
    ends = float(heights.min()), float(heights.max())
    where = placement(root.origin, root.axes, device, ends, settings)
    if settings.along == "lumen" or (settings.along == "auto" and sheathed):
        axes = axis.leading(root.origin, root.axes, MEETS * (ends[1] - where.height))
        where = placement(root.origin, axes, device, ends, settings)
    make = in_sheath_at if sheathed else on_balloon_at
    return make(device, where, settings.elements, state=state)


def stages_of(implant: Implant, settings: Settings) -> tuple[Stage, ...]:
    """The stages of a device's deployment; the balloon of a post-dilation becomes one of its tools.

    Raises:
        InputError: a balloon would burst.
    """
    device, balloon = implant.device, implant.balloon
    if balloon is not None and device.balloon is not None:
        volume = settings.filling * device.balloon.nominal_volume
        stages = [filling(balloon, volume), emptying(balloon), letting_go(implant)]
    else:
        stages = [unsheathing(implant), letting_go(implant)]
    if settings.post_dilation is not None:
        second = balloon_of(settings.post_dilation)
        stages += post_dilation(implant, second.nominal_volume, balloon=second)
    return tuple(stages)


def systole(blood: BloodPressure, low: tuple[float, float], high: tuple[float, float]) -> Stage:
    """Blood presses on the root as in systole; nothing else moves.

    Args:
        blood: That presses.
        low: Pressures of aorta and ventricle before (kPa).
        high: The same after.
    """

    def to(factor: float) -> None:
        blood.set(*(a + factor * (b - a) for a, b in zip(low, high, strict=True)))

    return Stage(SYSTOLE, lambda: to, 0.5)


def balloon_of(diameter: float) -> Balloon:
    """A balloon for post-dilation with a nominal diameter (mm); all of it is our choice.

    2 % wider per atmosphere, 40 mm long, caps as high as 0.4 diameters.
    """
    chart = ((0.0, 0.94 * diameter), (3 * ATMOSPHERE, diameter), (7 * ATMOSPHERE, 1.08 * diameter))
    return Balloon(chart, 3 * ATMOSPHERE, 7 * ATMOSPHERE, length=40.0, shoulder=0.4 * diameter)
