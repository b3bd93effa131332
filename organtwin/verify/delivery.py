"""Verification problems of delivery: work of sheaths and balloons, friction in a sheath."""

from __future__ import annotations

import numpy as np

from organtwin.devices.balloon import Balloon
from organtwin.devices.bench import crimp_and_release, expand, on_bench
from organtwin.devices.delivery import in_sheath, inflate, on_balloon, slide
from organtwin.devices.device_files import Device, Fatigue
from organtwin.devices.fibre_laws import FibreLaw, SuperelasticFibre, cobalt_chromium
from organtwin.devices.frame import Pattern, Struts
from organtwin.materials.nitinol import Nitinol
from organtwin.verify.record import Record, Sense

#: Balloon of 15 mm at 300 kPa.
BALLOON = Balloon(((0.0, 14.0), (300.0, 15.0), (700.0, 16.0)), 300.0, 700.0, 20.0, 6.0)


def small_frame(law: FibreLaw, crimped: float) -> Device:
    """Two rings of eight diamonds, 16 mm wide; its skirt and annulus play no part here."""
    pattern = Pattern(8, (4.0, 4.0), (0.0,), ((0.0, 16.0), (8.0, 16.0)))
    return Device(
        "small frame", "any", pattern, Struts(law, 0.4, (0.3, 0.3), 0.4), 16.0, crimped, 0.0,
        (13.0, 15.0), Fatigue(amplitude=0.004), {}, BALLOON,
    )  # fmt: skip


def sheath_balance(step: float, elements: int) -> tuple[float, float]:
    """A frame of Nitinol comes out of its sheath by 60 % and is recaptured, without friction.

    Returns:
        Work of the sheath less the change of the frame's energy, over the work, on both ways.
    """
    catheter = in_sheath(small_frame(SuperelasticFibre(Nitinol.stent()), 8.0), elements, lip=1.5)
    out = slide(catheter, 0.6, step=step)
    return out.imbalance, slide(catheter, 0.0, step=step).imbalance


def pull_in_sheath(friction: float) -> float:
    """Force on a sheath that slides along a frame all within, over μ times the radial force."""
    catheter = in_sheath(
        small_frame(SuperelasticFibre(Nitinol.stent()), 8.0), 6, friction, lip=1.5
    )  # fmt: skip
    model, sheath = catheter.model, catheter.sheath
    slide(catheter, 0.01, step=0.02)
    return sheath.pull(model.x) / (friction * sheath.force(model.x))


def filled_frame(step: float) -> tuple[float, float]:
    """A crimped frame of cobalt–chromium on a balloon that is filled nominally.

    Returns:
        Work ∫ p dV of the fluid while the balloon is still folded over that done on the frame,
        less 1, and the frame's diameter after deflation over that after an expansion by a cylinder
        of the balloon's diameter, less 1.
    """
    device = small_frame(cobalt_chromium(), 9.0)
    bench = on_balloon(device, 3)
    crimp_and_release(bench, step=0.15)
    found = inflate(bench, BALLOON.nominal_volume, step=step)
    curve, folded = found.filling.curve, found.filling.curve.diameter <= BALLOON.chart[0][1]
    work = np.trapezoid(found.filling.pressure[folded], found.filling.volume[folded])
    plain = on_bench(device, 3)
    crimp_and_release(plain, step=0.15)
    known = expand(plain, 15.0 + 2 * device.struts.thickness, step=step)
    return float(work / curve.work[folded][-1] - 1), float(np.mean(found.left) / known.left - 1)


def delivery_records(*, quick: bool) -> list[Record]:
    """Sheaths and balloons."""
    name, at_most, balance = "delivery", Sense.AT_MOST, "work = stored + lost"
    release, recapture = sheath_balance(*((0.02, 8) if quick else (0.01, 16)))
    close = 0.02 if quick else 5e-3
    fluid, left = filled_frame(0.15 if quick else 0.05)
    return [
        Record(name, "sheath off by 60 %, energy not accounted for", release, "1", 0.0, close,
               balance, at_most),
        Record(name, "sheath back, energy not accounted for", recapture, "1", 0.0, close, balance,
               at_most),
        Record(name, "sheath along the crimped frame, force over μ times the radial force",
               pull_in_sheath(0.1), "1", 1.0, 1e-3, "Coulomb's law"),
        Record(name, "folded balloon, ∫ p dV over the work on the frame less 1", fluid, "1", 0.0,
               5e-3, "balance of virtual work"),
        Record(name, "frame after filling over that after a cylinder less 1", left, "1", 0.0, 1e-9,
               "the same diameter"),
    ]  # fmt: skip
