"""Bench tests of a frame alone: crimping, radial force, recoil, crushing, fatigue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.cylinder import Cylinder, Plate
from organtwin.devices.device_files import Device
from organtwin.devices.equilibrium import BeamProblem
from organtwin.devices.frame import Frame, Part, build, problem
from organtwin.devices.load_path import follow
from organtwin.errors import InputError

Array = NDArray[np.float64]

#: Largest part of a drive in one step: histories and work are followed closely enough by it.
STEP = 0.04


@dataclass(frozen=True)
class Curve:
    """A tool's way and what it met, for the whole frame; one entry for each step.

    Attributes:
        diameter: Of the tool's surface (mm).
        force: Sum of the radial forces, outwards on the tool around a frame (mN).
        work: Done by the tool since the start (µJ).
        elastic: Elastic energy of the frame (µJ).
        other: Work on the metal that is not elastic: plastic, or of the transformation (µJ).
        contact: Energy in the penalty of the contact (µJ).
        strain: Largest strain of a fibre, in tension or compression.
        height: Of the frame (mm).
    """

    diameter: Array
    force: Array
    work: Array
    elastic: Array
    other: Array
    contact: Array
    strain: Array
    height: Array

    def force_at(self, diameter: float) -> float:
        """Radial force (mN) at a diameter (mm) on the way.

        Raises:
            InputError: the tool was not there.
        """
        low, high = self.diameter.min(), self.diameter.max()
        if not low <= diameter <= high:
            raise InputError(
                "Curve", f"{diameter:g} mm is off the curve.",
                f"It goes from {low:.2f} to {high:.2f} mm.",
            )  # fmt: skip
        order = np.argsort(self.diameter)
        return float(np.interp(diameter, self.diameter[order], self.force[order]))

    def hoop_force_at(self, diameter: float) -> float:
        """F/2π (mN): the tension in a thin sleeve that takes the radial force F."""
        return self.force_at(diameter) / (2 * np.pi)

    @property
    def imbalance(self) -> float:
        """Work less energies at the end, over the largest work."""
        stored = self.elastic + self.other + self.contact
        miss = (self.work - self.work[0]) - (stored - stored[0])
        return float(abs(miss[-1]) / np.abs(self.work - self.work[0]).max())


def _fibres(model: BeamProblem) -> Array:
    """Strains of all fibres, (k,)."""
    return np.concatenate([strains.ravel() for strains in model.fibre_strains()])


def largest_strain(model: BeamProblem) -> float:
    """Largest strain of a fibre, in tension or compression."""
    return float(np.abs(_fibres(model)).max())


def drive(
    model: BeamProblem, tool: Cylinder, radius: float, copies: int = 1, *, step: float = STEP,
    work: float = 0.0,
) -> Curve:  # fmt: skip
    """Move a cylinder to another radius (mm), and write down what happens.

    Args:
        model: The frame, with ``tool`` among its actions.
        tool: Crimper, vessel or balloon.
        radius: To end at (mm).
        copies: Times that the model stands in the frame.
        step: Largest part of the way in one step.
        work: Done before (µJ).

    Raises:
        SolverError: no equilibrium on the way.
    """
    start = tool.radius
    rows: list[list[float]] = []
    sign = -1.0 if tool.around else 1.0

    def note(_: float) -> None:
        force = copies * tool.force(model.x)
        done = rows[-1][2] + 0.5 * (force + rows[-1][1]) * sign * (
            tool.radius - 0.5 * rows[-1][0]
        ) if rows else work  # fmt: skip
        elastic, other = (copies * energy for energy in model.energies())
        rows.append([
            2 * tool.radius, force, done, elastic, other, copies * tool.energy(model.x),
            largest_strain(model),
            float(np.ptp(model.x[:, 2])),
        ])  # fmt: skip

    def apply(factor: float) -> None:
        tool.radius = start + factor * (radius - start)

    note(0.0)
    follow(model, apply, first=0.5 * step, largest=step, on_accept=note)
    return Curve(*np.array(rows).T)


# --- tests --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """A frame between its tools.

    Attributes:
        device: What is tested.
        frame: Its beams.
        model: Their equilibrium.
        crimper: Cylinder around it; also a sheath, or a rigid vessel.
        balloon: Cylinder within it.
    """

    device: Device
    frame: Frame
    model: BeamProblem
    crimper: Cylinder
    balloon: Cylinder

    def diameters(self) -> tuple[float, float]:
        """Smallest and largest outer diameter of the frame (mm)."""
        rho = np.hypot(self.model.x[:, 0], self.model.x[:, 1]) + self.device.struts.thickness / 2
        return 2 * float(rho.min()), 2 * float(rho.max())

    def around(self, diameter: float, step: float = STEP) -> Curve:
        """Bring the crimper to a diameter (mm)."""
        return drive(self.model, self.crimper, diameter / 2, self.frame.copies, step=step)

    def within(self, diameter: float, step: float = STEP) -> Curve:
        """Bring the balloon's surface to a diameter (mm); the crimper makes way for the frame."""
        room = 0.5 * diameter + self.device.struts.thickness
        self.crimper.radius = max(self.crimper.radius, 1.05 * room)
        return drive(self.model, self.balloon, diameter / 2, self.frame.copies, step=step)


def on_bench(
    device: Device, elements: int = 8, friction: float = 0.0, *, corners: bool = False
) -> Bench:
    """Half a cell of a device, at rest, with the crimper just clear of it.

    Args:
        device: What is tested.
        elements: Elements along a strut.
        friction: Coefficient against crimper and balloon.
        corners: Whether the metal of the corners counts.
    """
    widths = device.struts.ring_widths if corners else None
    frame = build(device.pattern, elements, corners=widths)
    felt = device.struts.felt(frame.mesh)
    largest = max(d for _, d in device.pattern.profile) + device.struts.thickness
    crimper = Cylinder(felt, friction, radius=0.505 * largest)
    balloon = Cylinder(felt, friction, radius=0.25 * device.crimped, around=False)
    model = problem(frame, device.struts, [crimper, balloon])
    return Bench(device, frame, model, crimper, balloon)


@dataclass(frozen=True)
class CrimpRelease:
    """Crimping of a frame to its diameter in the catheter, and release into the open.

    Attributes:
        crimping, release: What the crimper met; their forces at the same diameter are the radial
            resistive force and, for a self-expanding frame, the chronic outward force.
        diameters: Smallest and largest outer diameter after release (mm).
        imbalance: Work of the crimper less energies stored and lost, over the work of crimping.
    """

    crimping: Curve
    release: Curve
    diameters: tuple[float, float]
    imbalance: float


def crimp_and_release(bench: Bench, *, step: float = STEP) -> CrimpRelease:
    """Crimp a frame and open the crimper again."""
    clear = 2 * bench.crimper.radius
    crimping = bench.around(bench.device.crimped, step)
    release = bench.around(clear, step)
    work = float(crimping.work[-1] + release.work[-1])
    left = float((release.elastic + release.other + release.contact)[-1])
    return CrimpRelease(
        crimping, release, bench.diameters(), abs(work - left) / float(crimping.work[-1])
    )


@dataclass(frozen=True)
class Recoil:
    """Expansion of a crimped frame by a balloon, and its recoil.

    Attributes:
        expansion: What the balloon met.
        full, left: Mean outer diameter with the full balloon, and without (mm).
        height: Of the expanded frame (mm).
    """

    expansion: Curve
    full: float
    left: float
    height: float

    @property
    def share(self) -> float:
        """Recoil: (full − left) / full."""
        return 1.0 - self.left / self.full


def expand(bench: Bench, diameter: float, *, step: float = STEP) -> Recoil:
    """Expand a frame to an outer diameter (mm), then take the balloon away.

    Raises:
        InputError: the diameter is below that of the frame.
    """
    inner = diameter - 2 * bench.device.struts.thickness
    if inner <= 2 * bench.balloon.radius:
        raise InputError(
            "expand", f"{diameter:g} mm is no expansion.", "Give a diameter above the frame's."
        )
    inflating = bench.within(inner, step)
    full = float(np.mean(bench.diameters()))
    bench.within(0.8 * inner, step)
    height = float(np.ptp(bench.model.x[:, 2]))
    return Recoil(inflating, full, float(np.mean(bench.diameters())), height)


@dataclass(frozen=True)
class Crush:
    """A frame between two plates.

    Attributes:
        distance: Of the plates (mm).
        force: On one plate (mN).
        strain: Largest strain of a fibre.
    """

    distance: Array
    force: Array
    strain: Array


def crush(device: Device, distance: float, *, elements: int = 4, step: float = 0.1) -> Crush:
    """Press a frame between rigid plates without friction; half of it is modelled.

    Args:
        device: Frame, at rest.
        distance: Of the plates at the end (mm).
        elements: Elements along a strut.
        step: Largest part of the way in one step.

    Raises:
        InputError: the plates would not touch it.
        SolverError: no equilibrium on the way.
    """
    frame = build(device.pattern, elements, Part.HALF)
    felt = device.struts.felt(frame.mesh)
    start = float(frame.mesh.points[:, 1].max() + felt.half_depth.max())
    if not 0 < distance < 2 * start:
        raise InputError(
            "crush", f"plates at {distance:g} mm.", f"The frame is {2 * start:.1f} mm wide."
        )
    plate = Plate(felt, normal=(0.0, -1.0, 0.0), place=-start)
    # What presses along y leaves sliding along x and z and turning about y; they need no force.
    model = problem(frame, device.struts, [plate], pins=(1, 2, 3))
    rows = [[2 * start, 0.0, 0.0]]

    def apply(factor: float) -> None:
        plate.place = -start - factor * (0.5 * distance - start)

    def note(_: float) -> None:
        rows.append([-2 * plate.place, plate.force(model.x), largest_strain(model)])

    follow(model, apply, first=0.3 * step, largest=step, on_accept=note)
    return Crush(*np.array(rows).T)


@dataclass(frozen=True)
class Pulsation:
    """Strains of the fibres while the diameter of a vessel changes with the beat.

    Attributes:
        mean: Mean of the largest and the smallest strain of each fibre, (k,).
        amplitude: Half their difference, (k,).
        safety: Of the worst fibre, 1 / max(amplitude/limit + |mean|/static).
    """

    mean: Array
    amplitude: Array
    safety: float


def pulsate(
    bench: Bench, diameter: float, change: float, *, cycles: int = 2, step: float = 0.25
) -> Pulsation:
    """Put a frame into a rigid vessel and let the vessel's diameter beat.

    The first cycles, until the metal has settled, are not counted.

    Args:
        bench: Frame, crimped before if that is to count.
        diameter: Mean diameter of the vessel (mm).
        change: Largest less smallest diameter, over the mean.
        cycles: The last one counts.
        step: Largest part of a half cycle in one step.

    Source:
        The rule is Goodman's, in strains; with no static limit it is that of a constant amplitude,
        which Pelton et al. (2008) found for Nitinol.
    """
    bench.around(diameter)
    ends: Sequence[Callable[[Array, Array], Array]] = (np.maximum, np.minimum)
    extremes = [_fibres(bench.model)] * 2
    for cycle in range(cycles):
        for end in (1 + change / 2, 1 - change / 2, 1.0):
            bench.around(end * diameter, step)
            now = _fibres(bench.model)
            if cycle == cycles - 1:
                extremes = [f(e, now) for f, e in zip(ends, extremes, strict=True)]
        if cycle == cycles - 2:
            extremes = [now, now]
    mean, amplitude = 0.5 * (extremes[0] + extremes[1]), 0.5 * (extremes[0] - extremes[1])
    limits = bench.device.fatigue
    use = amplitude / limits.amplitude
    if limits.static is not None:
        use = use + np.abs(mean) / limits.static
    return Pulsation(mean, amplitude, float(1.0 / max(use.max(), 1e-12)))
