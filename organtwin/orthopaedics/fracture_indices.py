"""How near bone is to yield: strains against those that bone stands in tension and compression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.index import Found, Index
from organtwin.mechanics.recovery import tensors
from organtwin.orthopaedics.weighted_indices import ball_average, largest, quantiles, share
from organtwin.parallel import total

type Floats = NDArray[np.float64]

#: Strain at which bone yields in tension and in compression.
TENSION, COMPRESSION = 0.0073, 0.0104
#: Radius of the ball that strains are averaged in (mm).
RADIUS = 3.0
#: Share of the volume whose risk is not larger than what is told.
SHARE = 0.999
YIELD = (
    "0.73 % in tension and 1.04 % in compression: Schileo et al. (2008), J. Biomech. 41:356-367, "
    "after Bayraktar et al. (2004), J. Biomech. 37:27-35; remembered, not read. Averaging is our "
    "choice"
)


@dataclass(frozen=True)
class BoneRisk:
    """Risk factor of each cell of bone: 1 at yield.

    Attributes:
        tension: Largest principal strain over that at yield, 0 without tension, shape (n,).
        compression: The same of the smallest principal strain, shape (n,).
        volume: Volumes of the cells (mm³), shape (n,).
        radius: Radius of the balls (mm).
        yields: Strain at yield in tension and in compression.
    """

    tension: Floats
    compression: Floats
    volume: Floats
    radius: float = RADIUS
    yields: tuple[float, float] = (TENSION, COMPRESSION)

    @property
    def risk(self) -> Floats:
        """The larger of both, each held against the strain of its own side, shape (n,)."""
        return np.maximum(self.tension, self.compression)


def bone_risk(
    points: Floats, strain: Floats, volume: Floats, *, comm: MPI.Comm, radius: float = RADIUS,
    yields: tuple[float, float] = (TENSION, COMPRESSION),
) -> BoneRisk:  # fmt: skip
    """Risk factors of strains averaged in a ball: no single element decides; collective.

    Args:
        points: Middles of this rank's cells of bone (mm), shape (n, 3).
        strain: Strains in six numbers as `mechanics.recovery` has them, shape (n, 6).
        volume: Volumes of the cells (mm³), shape (n,).
        comm: Communicator.
        radius: Radius of the ball (mm), 0 for none.
        yields: Strain at yield in tension and in compression, both > 0.

    Source:
        See `YIELD`.

    Raises:
        InputError: a yield strain that is not positive, strains that are not six numbers.
    """
    if not min(yields) > 0.0 or strain.ndim != 2 or strain.shape[1] != 6:
        raise InputError("bone_risk", f"yields {yields}, strains of shape {strain.shape}.",
                         "Give positive yield strains and (n, 6).")  # fmt: skip
    smooth = ball_average(comm, points, volume, strain, radius)
    principal = np.linalg.eigvalsh(tensors(smooth))
    return BoneRisk(
        np.maximum(principal[:, 2], 0.0) / yields[0],
        np.maximum(-principal[:, 0], 0.0) / yields[1],
        volume,
        radius,
        yields,
    )


def bone_indices(found: BoneRisk, *, comm: MPI.Comm, key: str = "bone") -> Found:
    """Largest risk, load factor to yield and volume over yield; collective.

    Args:
        found: Risk of this rank's cells.
        comm: Communicator.
        key: First word of the names, to tell several bones apart.
    """
    if not total(comm, float(found.volume.sum())) > 0.0:
        return [], ["Risk of fracture is not told: there is no bone."]
    risk = found.risk
    most = quantiles(comm, risk, found.volume, (SHARE,))[0]
    tension, compression = (f"{100.0 * x:.3g} %" for x in found.yields)
    how = f"of max(ε1 / {tension}, -ε3 / {compression})"
    how += f", strains averaged in a ball of {found.radius:g} mm" if found.radius else ""
    indices = [
        Index.of("bone", f"{key}_risk_max", largest(comm, risk), "1", f"largest value {how}", YIELD,
                 None, 1.0),
        Index.of("bone", f"{key}_risk_999", most, "1",
                 f"what 99.9 % of the volume do not exceed {how}", YIELD, None, 1.0),
        Index.of("bone", f"{key}_risk_tension", largest(comm, found.tension), "1",
                 f"largest value {how}, tension alone", YIELD, None, 1.0),
        Index.of("bone", f"{key}_risk_compression", largest(comm, found.compression), "1",
                 f"largest value {how}, compression alone", YIELD, None, 1.0),
        Index.of("bone", f"{key}_yielded", 100.0 * share(comm, risk > 1.0, found.volume), "%",
                 "share of the volume with a risk above 1", YIELD),
    ]  # fmt: skip
    if most > 0.0:
        indices.append(Index.of(
            "bone", f"{key}_load_to_yield", 1.0 / most, "1",
            "factor on the load at which 0.1 % of the volume yields, the bone being linear", YIELD,
            1.0, None,
        ))  # fmt: skip
    return indices, []
