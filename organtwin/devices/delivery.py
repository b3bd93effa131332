"""Bench tests of delivery: a frame on its balloon, and a frame in its sheath."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.balloon import ATMOSPHERE, BalloonSurface
from organtwin.devices.bench import STEP, Bench, Curve, drive, largest_strain
from organtwin.devices.cylinder import Cylinder, Strut
from organtwin.devices.device_files import Device
from organtwin.devices.equilibrium import BeamProblem
from organtwin.devices.frame import Frame, build, problem
from organtwin.devices.load_path import follow
from organtwin.devices.sheath import Sheath
from organtwin.errors import InputError
from organtwin.units import ML

Array = NDArray[np.float64]

#: Stiffness of a sheath per length of strut (mN/mm²): where struts press with 500 mN/mm it gives
#: way by 0.025 mm, as a wall of polymer may. Our choice.
SHEATH_STIFFNESS = 2e4


# --- balloon ------------------------------------------------------------------------------------


def on_balloon(
    device: Device, elements: int = 8, friction: float = 0.0, *, corners: bool = False
) -> Bench:
    """Half a cell of a device, at rest, with the crimper around and its balloon within.

    Args:
        device: What is tested; its file must have a balloon.
        elements: Elements along a strut.
        friction: Coefficient against crimper and balloon.
        corners: Whether the metal of the corners counts.

    Raises:
        InputError: the device has no balloon.
    """
    if device.balloon is None:
        raise InputError(
            device.name, "it has no balloon.", "Give its size a table `balloon` (docs/devices.md)."
        )
    frame = build(device.pattern, elements, corners=_widths(device, corners))
    felt = device.struts.felt(frame.mesh)
    largest = max(d for _, d in device.pattern.profile) + device.struts.thickness
    crimper = Cylinder(felt, friction, radius=0.505 * largest)
    surface = BalloonSurface(felt, friction, radius=0.25 * device.crimped, balloon=device.balloon)
    model = problem(frame, device.struts, [crimper, surface])
    return Bench(device, frame, model, crimper, surface)


@dataclass(frozen=True)
class Inflation:
    """What a balloon met while it was filled; one entry for each step.

    Attributes:
        curve: Diameter of the balloon and its force; energies and strain of the frame.
        volume: Of the fluid (mm³).
        pressure: Of the fluid (kPa): what the wall and the frame take together.
    """

    curve: Curve
    volume: Array
    pressure: Array


@dataclass(frozen=True)
class Expansion:
    """Filling of a balloon within a frame, and its deflation.

    Attributes:
        filling: What the balloon met.
        full, left: Smallest and largest outer diameter of the frame on the full balloon, and
            without it (mm).
        height: Of the expanded frame (mm).
    """

    filling: Inflation
    full: tuple[float, float]
    left: tuple[float, float]
    height: float

    @property
    def recoil(self) -> float:
        """1 − left / full, of the mean diameters."""
        return 1.0 - sum(self.left) / sum(self.full)


def inflate(
    bench: Bench, volume: float, *, shift: float = 0.0, step: float = STEP
) -> Expansion:  # fmt: skip
    """Fill the balloon to a volume (mm³), as delivery systems are, then deflate it.

    Args:
        bench: Frame and balloon, from `on_balloon`.
        volume: Of the fluid (mm³).
        shift: Height of the balloon's middle above the frame's (mm).
        step: Largest part of the way in one step.

    Raises:
        InputError: the volume would burst the free balloon, or bursts it in the frame, whose
            resistance adds to the pressure; the frame is then as it was before.
    """
    surface = _placed(bench, shift)
    balloon = surface.balloon
    if not balloon.volume(2 * surface.radius) < volume <= balloon.largest_volume:
        raise InputError(
            "inflate", f"{volume / ML:.2f} mL.",
            f"The balloon takes {balloon.volume(2 * surface.radius) / ML:.2f} mL folded, "
            f"{balloon.nominal_volume / ML:.2f} mL nominally and "
            f"{balloon.largest_volume / ML:.2f} mL at its rated burst pressure.",
        )  # fmt: skip
    return _deflated(bench, _filled(bench, balloon.diameter_of(volume), step), step)


def inflate_to_pressure(
    bench: Bench, pressure: float, *, shift: float = 0.0, step: float = STEP
) -> Expansion:  # fmt: skip
    """Fill the balloon until its fluid has a pressure (kPa), then deflate it.

    The diameter d is found from d = chart(pressure − what the frame takes at d), from below.

    Args:
        bench: Frame and balloon, from `on_balloon`.
        pressure: Of the fluid (kPa).
        shift: Height of the balloon's middle above the frame's (mm).
        step: Largest part of the way in one step.

    Raises:
        InputError: the pressure is beyond the rated burst pressure, or too low to open the frame
            so far that the balloon is unfolded.
    """
    surface = _placed(bench, shift)
    balloon = surface.balloon
    balloon.diameter(pressure)  # refuses one beyond the rated burst pressure
    parts = [_filled(bench, balloon.chart[0][1], step)]
    for _ in range(40):
        worst = max(float(part.pressure.max()) for part in parts)
        if worst > pressure * (1 + 1e-9):
            raise InputError(
                "inflate_to_pressure",
                f"{pressure / ATMOSPHERE:.2f} atm do not open the frame: it takes "
                f"{worst / ATMOSPHERE:.2f} atm on the way.",
                "Give a higher pressure.",
            )  # fmt: skip
        now = 2 * surface.radius
        frame = float(parts[-1].pressure[-1] - balloon.pressure(np.array(now)))
        aim = balloon.diameter(max(pressure - frame, 0.0))
        if aim - now < 1e-5 * now:
            break
        parts.append(_filled(bench, now + 0.9 * (aim - now), 1.0))
    return _deflated(bench, _joined(parts), step)


def _widths(device: Device, corners: bool) -> tuple[float, ...] | None:
    return device.struts.ring_widths if corners else None


def _surface(bench: Bench) -> BalloonSurface:
    if not isinstance(bench.balloon, BalloonSurface):
        raise InputError("inflate", "there is a plain cylinder in the frame.", "Use on_balloon.")
    return bench.balloon


def _placed(bench: Bench, shift: float) -> BalloonSurface:
    surface, z = _surface(bench), bench.model.x[:, 2]
    surface.centre = 0.5 * float(z.min() + z.max()) + shift
    return surface


def _filled(bench: Bench, diameter: float, step: float) -> Inflation:
    """Fill to a diameter (mm); the frame as before if the balloon bursts."""
    surface, before = _surface(bench), bench.model.state()
    radius, balloon = surface.radius, surface.balloon
    curve = bench.within(diameter, step)
    volume = np.array([balloon.volume(d) for d in curve.diameter])
    pressure = balloon.pressure_in(curve.diameter, curve.force)
    burst = np.flatnonzero(pressure > balloon.rated_burst)
    if len(burst):
        surface.radius = radius
        bench.model.restore(before)
        bench.model.commit()
        first = burst[0]
        frame = pressure[first] - float(balloon.pressure(curve.diameter[first]))
        raise InputError(
            "inflate",
            f"the balloon comes to its rated burst pressure of "
            f"{balloon.rated_burst / ATMOSPHERE:.2f} atm at {volume[first] / ML:.2f} mL, with "
            f"{frame / ATMOSPHERE:.2f} atm from the frame.",
            "Fill it less, or take a larger device.",
        )  # fmt: skip
    return Inflation(curve, volume, pressure)


def _joined(parts: list[Inflation]) -> Inflation:
    """One after the other; their works add up."""
    fields = []
    for name in Curve.__dataclass_fields__:
        done, chain = 0.0, []
        for part in parts:
            values = getattr(part.curve, name)
            chain.append(values + done if name == "work" else values)
            done = float(chain[-1][-1])
        fields.append(np.concatenate(chain))
    return Inflation(
        Curve(*fields), np.concatenate([part.volume for part in parts]),
        np.concatenate([part.pressure for part in parts]),
    )  # fmt: skip


def _deflated(bench: Bench, filling: Inflation, step: float) -> Expansion:
    full = bench.diameters()
    bench.within(0.8 * 2 * bench.balloon.radius, step)
    bench.within(0.5 * bench.device.crimped, 1.0)
    return Expansion(filling, full, bench.diameters(), float(np.ptp(bench.model.x[:, 2])))


# --- sheath -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Catheter:
    """A crimped frame in a sheath; a crown of its outflow is held along the axis, as by a hook.

    Attributes:
        device: What is delivered.
        frame: Its beams.
        model: Their equilibrium.
        sheath: Around it.
        core: Within it: stands for the catheter's shaft and for struts side by side.
        bottom, top: Ends of the frame when it was crimped (mm).
        crimping: What the crimper met.
    """

    device: Device
    frame: Frame
    model: BeamProblem
    sheath: Sheath
    core: Cylinder
    bottom: float
    top: float
    crimping: Curve

    @property
    def share(self) -> float:
        """Part of the crimped frame's length that the sheath has left free."""
        return (self.sheath.mouth - self.bottom) / (self.top - self.bottom)


def in_sheath(
    device: Device, elements: int = 8, friction: float = 0.0, *, lip: float = 2.0,
    step: float = 2 * STEP, corners: bool = False,
) -> Catheter:  # fmt: skip
    """Half a cell of a device, crimped and put into a sheath that covers all of it.

    Struts don't feel each other, so that the core within is as wide as struts side by side let it
    be: without it the crowns in the sheath would be levered to the axis.

    Args:
        device: What is delivered, best a self-expanding one.
        elements: Elements along a strut.
        friction: Coefficient between frame and sheath.
        lip: Radius of curvature of the sheath's mouth (mm): our choice, two or three elements or
            more, for contact is felt at the nodes.
        step: Largest part of crimping in one step.
        corners: Whether the metal of the corners counts.
    """
    frame = build(device.pattern, elements, corners=_widths(device, corners))
    felt = device.struts.felt(frame.mesh)
    largest = max(d for _, d in device.pattern.profile) + device.struts.thickness
    crimper = Cylinder(felt, radius=0.505 * largest)
    top = int(np.argmax(frame.mesh.points[:, 2]))
    packed = device.pattern.columns * max(device.struts.ring_widths) / np.pi
    core = Cylinder(felt, radius=packed - 0.5 * device.struts.thickness, around=False)
    model = problem(frame, device.struts, [crimper, core], node=top)
    crimping = drive(model, crimper, 0.5 * device.crimped, frame.copies, step=step)
    bottom, end = float(model.x[:, 2].min()), float(model.x[:, 2].max())
    sheath = Sheath(
        felt, friction, penalty=SHEATH_STIFFNESS, radius=0.5 * device.crimped, lip=lip,
        mouth=bottom - lip,
    )  # fmt: skip
    model.actions[:] = [sheath, core]
    follow(model, lambda _: None)  # from the crimper's stiffness to the sheath's
    return Catheter(device, frame, model, sheath, core, bottom, end, crimping)


@dataclass(frozen=True)
class Slide:
    """A way of the sheath; one entry for each step, for the whole frame.

    Attributes:
        share: Part of the crimped frame's length that is free.
        pull: Force that moves the sheath off the frame (mN); negative where the frame pushes it
            off, or where it is pushed back over the frame.
        work: Done on the sheath since the start (µJ).
        elastic, other, contact: Energies as in `Curve`; without friction their change is the work.
        strain: Largest strain of a fibre.
        widest: Largest outer diameter of the frame (mm).
        dragged: Energy that snapping, and the last crowns that spring off, took on all of the way
            (µJ).
    """

    share: Array
    pull: Array
    work: Array
    elastic: Array
    other: Array
    contact: Array
    strain: Array
    widest: Array
    dragged: float

    @property
    def imbalance(self) -> float:
        """Work less change of the energies and what snapping took, over the largest work.

        With friction it is what was rubbed away.
        """
        stored = self.elastic + self.other + self.contact
        miss = self.work[-1] - (stored[-1] - stored[0]) - self.dragged
        return float(abs(miss) / np.abs(self.work).max())


def slide(catheter: Catheter, share: float, *, step: float = 0.01) -> Slide:
    """Move the sheath until a share of the crimped frame's length is free.

    Args:
        catheter: Frame in its sheath, anywhere on its way.
        share: To reach: 0 covers all of the frame, 1 sets it free.
        step: Largest part of the crimped length in one step.

    Raises:
        InputError: the share is negative, or a frame that has left the sheath is to be recaptured.
        SolverError: no equilibrium on the way.
    """
    sheath, model, copies = catheter.sheath, catheter.model, catheter.frame.copies
    length = catheter.top - catheter.bottom
    if share < 0 or (catheter.share >= 1 and share < 1):
        raise InputError(
            "slide", f"from a free share of {catheter.share:.2f} to {share:g}.",
            "A frame that has left the sheath can't be recaptured; shares are not negative.",
        )  # fmt: skip
    start = sheath.mouth
    # The lip covers the end, too.
    end = catheter.bottom + length * min(share, 1.0) - (sheath.lip if share == 0 else 0.0)
    rows: list[list[float]] = []

    def note(_: float) -> None:
        pull = copies * sheath.pull(model.x)
        done = 0.0
        if rows:
            moved = sheath.mouth - (catheter.bottom + length * rows[-1][0])
            done = rows[-1][2] + 0.5 * (pull + rows[-1][1]) * moved
        elastic, other = (copies * energy for energy in model.energies())
        depth = catheter.device.struts.thickness
        pressed = copies * (sheath.energy(model.x) + catheter.core.energy(model.x))
        rows.append([
            catheter.share, pull, done, elastic, other, pressed,
            largest_strain(model), 2 * float(np.hypot(*model.x[:, :2].T).max()) + depth,
        ])  # fmt: skip

    def apply(factor: float) -> None:
        sheath.mouth = start + factor * (end - start)

    note(0.0)
    largest = step * length / max(abs(end - start), 1e-9)
    path = follow(model, apply, first=min(largest, 1.0), largest=min(largest, 1.0),
                  smallest=1e-2 * min(largest, 1.0), on_accept=note)  # fmt: skip
    dragged = copies * path.dragged
    if share >= 1:
        before = sum(rows[-1][3:6])
        _spring_off(catheter)
        note(1.0)
        dragged += before - sum(rows[-1][3:6])
    free, pull, work, elastic, other, contact, strain, widest = np.array(rows).T
    return Slide(free, pull, work, elastic, other, contact, strain, widest, dragged)


def _spring_off(catheter: Catheter) -> None:
    """Let the last crowns go, which spring off the lip: a cylinder that holds them opens."""
    model, sheath = catheter.model, catheter.sheath
    held = sheath.pressing(model.x)[0] > 0
    model.actions[:] = [catheter.core]
    if held.any():
        depth = sheath.strut.half_depth
        rho = np.hypot(model.x[:, 0], model.x[:, 1])
        felt = Strut(depth, np.where(held, sheath.strut.length, 0.0))
        hoop = Cylinder(felt, penalty=SHEATH_STIFFNESS, radius=float((rho + depth)[held].max()))
        model.actions.append(hoop)
        largest = max(d for _, d in catheter.device.pattern.profile)
        drive(model, hoop, 0.6 * largest, step=2 * STEP)
        model.actions[:] = [catheter.core]
    sheath.active = False
    follow(model, lambda _: None)
