"""What screws carry, and what pulls them out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.implants.screws import BoneScrew
from organtwin.index import Found, Index

type Floats = NDArray[np.float64]

#: Shear strength of trabecular bone: S = a ρ^b with S in kPa and ρ in g/cm³ = mg/mm³.
SHEAR, EXPONENT = 21.6e3, 1.65
STONE = (
    "Shear strength: Stone et al. (1983), J. Biomech. 16:743-752, abstract read for the exponent "
    "1.65 (bovine); 21.6 MPa remembered, not read"
)
CHAPMAN = (
    "Chapman et al. (1996), J. Biomech. Eng. 118:391, remembered, not read; it may miss conical "
    "screws by 32 %: BMC Musculoskelet. Disord. 2009, 10:44, abstract read"
)
LOOSENING = (
    "PubMed 29866525, abstract read: HU along the trajectory told loosened from firm screws in "
    "women (AUC 0.88, cutoff 153.5; 206 screws), in men it did not (AUC 0.64)"
)
GERTZBEIN = (
    "Gertzbein and Robbins (1990), Spine 15:11-14, remembered, not read: breaches of a pedicle in "
    "steps of 2 mm; up to 2 mm (grades A and B) are commonly accepted"
)
#: Largest breach of a pedicle's wall (mm) that is accepted.
ACCEPTED = 2.0
#: Mean HU along a pedicle screw below which it raises concern.
LOW = 153.5
NEWTON = 1e3


def shear_strength(density: Floats) -> Floats:
    """Shear strength (kPa) of bone of an apparent density (mg/mm³); 0 without bone.

    Source:
        See `STONE`.
    """
    return SHEAR * np.maximum(density, 0.0) ** EXPONENT


def pull_out_force(screw: BoneScrew, along: Floats, density: Floats) -> float:
    """Force (mN) that pulls a screw out of bone whose density changes along it.

    The thread's pieces add up: F = Σ `BoneScrew.pull_out` of each with the strength there.

    Args:
        screw: The screw.
        along: Places along the thread at equal distances (mm), as `surgery.screws.trajectory`
            gives them, shape (n,).
        density: Apparent density there (mg/mm³), shape (n,).

    Source:
        See `CHAPMAN` and `STONE`.

    Raises:
        InputError: fewer than two places, places that don't grow evenly, or more than the thread.
    """
    steps = np.diff(along)
    if len(along) != len(density) or len(along) < 2 or not np.allclose(steps, steps[0], rtol=1e-3) \
            or not steps[0] > 0.0:  # fmt: skip
        raise InputError(screw.name, "places along the thread are uneven, or not as many as "
                         "densities.", "Take those of `trajectory`.")  # fmt: skip
    step = float(steps[0])
    if len(along) * step > screw.threaded + step:
        raise InputError(screw.name, f"{len(along) * step:.1f} mm of a thread of "
                         f"{screw.threaded:.1f} mm.", "Check the screw's length.")  # fmt: skip
    return float(sum(screw.pull_out(s, min(step, screw.threaded))
                     for s in shear_strength(np.asarray(density, float))))  # fmt: skip


def screw_indices(
    forces: Mapping[str, Floats], axes: Mapping[str, Floats], pull_out: Mapping[str, float], *,
    grey: Mapping[str, float] | None = None, breach: Mapping[str, float] | None = None,
) -> Found:  # fmt: skip
    """Load of each screw, its share, safety against pull-out, and density along it.

    Args:
        forces: Force (mN) that the construct exerts on each screw, shape (3,).
        axes: Unit vector from head to tip of each screw, shape (3,).
        pull_out: Force (mN) that pulls it out; of the screws for which it is known.
        grey: Mean HU along the thread.
        breach: By how much the thread stands out of the bone beside its way (mm).

    Raises:
        InputError: an axis is missing.
    """
    if missing := sorted(set(forces) - set(axes)):
        raise InputError("screws", f"no axis of {', '.join(missing)}.", "Give one per screw.")
    sizes = {name: float(np.linalg.norm(force)) for name, force in forces.items()}
    whole = sum(sizes.values())
    indices, notes = [], []
    for name, force in forces.items():
        out = max(-float(np.asarray(force) @ axes[name]), 0.0)
        indices.append(Index.of("screw", f"{name}_force", sizes[name] / NEWTON, "N",
                                "size of the force on the screw", "definition"))  # fmt: skip
        if whole > 0.0:
            indices.append(Index.of("screw", f"{name}_share", 100.0 * sizes[name] / whole, "%",
                                    "size of its force over the sum of all screws' sizes",
                                    "our choice"))  # fmt: skip
        indices.append(Index.of("screw", f"{name}_axial", out / NEWTON, "N",
                                "part of the force that pulls it out along its axis",
                                "definition"))  # fmt: skip
        if name not in pull_out:
            notes.append(f"Pull-out of `{name}` is not told: the density along it is not known.")
            continue
        strength = pull_out[name]
        indices.append(Index.of("screw", f"{name}_pull_out", strength / NEWTON, "N",
                                "Σ S π D dx (0.5 + 0.577 depth/pitch), S = 21.6 MPa ρ^1.65",
                                f"{CHAPMAN}. {STONE}"))  # fmt: skip
        if out > 0.0:
            indices.append(Index.of("screw", f"{name}_pull_out_safety", strength / out, "1",
                                    "pull-out force over the axial part of the force",
                                    f"Safe above 1, our choice. {CHAPMAN}. {STONE}",
                                    1.0))  # fmt: skip
    for name, value in (breach or {}).items():
        indices.append(Index.of("screw", f"{name}_breach", value, "mm",
                                "largest distance of the thread beyond the bone's surface",
                                GERTZBEIN, None, ACCEPTED))  # fmt: skip
    for name, value in (grey or {}).items():
        indices.append(Index.of("screw", f"{name}_density", value, "HU",
                                "mean between core and thread along the thread", LOOSENING,
                                LOW))  # fmt: skip
    return indices, notes
