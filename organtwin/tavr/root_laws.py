"""One law for all tissues of an aortic root, with numbers that differ from cell to cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from dolfinx import fem, mesh
from numpy.typing import NDArray

from organtwin.materials.arterial import HolzapfelGasserOgden
from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.kinematics import Scalar
from organtwin.mesh.domain import Domain
from organtwin.tavr.root_axis import RootAxis

if TYPE_CHECKING:
    from organtwin.tavr.root_tissue import RootTissue

type Vector = NDArray[np.float64]
type RootLaw = HolzapfelGasserOgden | NeoHookean

#: Regions, and how names of leaflets begin.
WALL, CALCIUM, LEAFLET = "wall", "calcium", "leaflet_"
#: Wall, outflow tract, leaflets: the forms are published, the numbers our choice.
SINUSES = HolzapfelGasserOgden(c=80.0, k_1=2000.0, k_2=5.0, angle=40.0, kappa=0.2)
OUTFLOW = NeoHookean(mu=500.0)
CUSPS = HolzapfelGasserOgden(c=100.0, k_1=200.0, k_2=10.0, angle=0.0, kappa=0.1)
#: Width of the switch between fibres that carry and those that don't.
SWITCH = 0.02


def law_of_cells(
    domain: Domain, axis: RootAxis, depth: Vector, tissue: RootTissue, leaflets: tuple[str, ...]
) -> tuple[HolzapfelGasserOgden, fem.Function]:
    """The law, and the bulk modulus (kPa); both with one number per cell. Collective.

    Rubber-like tissue is a layer without fibres, k₁ = 0. The wall is what its depth and its height
    over the annulus make of it.

    Args:
        domain: Mesh of a root.
        axis: Its axis.
        depth: Depth of this rank's cells within the wall, (n,).
        tissue: What it is made of.
        leaflets: Names of their regions.
    """
    V = fem.functionspace(domain.mesh, ("DG", 0))
    fields = {name: fem.Function(V, name=name) for name in (*_numbers(tissue.wall), "bulk")}
    place = V.dofmap.list[:, 0]

    def fill(cells: NDArray[np.int32], **values: Scalar) -> None:
        for name, value in values.items():
            fields[name].x.array[place[cells]] = value

    wall = domain.cells(WALL)
    fill(np.arange(len(place), dtype=np.int32), **_numbers(tissue.wall), bulk=tissue.bulk)
    if tissue.adventitia is not None:
        fill(wall[depth[wall] > tissue.media], **_numbers(tissue.adventitia))
    if tissue.outflow is not None:
        height = axis.height(mesh.compute_midpoints(domain.mesh, 3, wall))
        fill(wall[height < 0.0], **_numbers(tissue.outflow))
    if leaflets:
        fill(domain.cells(*leaflets), **_numbers(tissue.leaflets))
    if CALCIUM in domain.regions:
        E, nu = tissue.calcium, tissue.calcium_poisson
        rubber = _numbers(NeoHookean(E / (2 * (1 + nu))))
        fill(domain.cells(CALCIUM), **rubber, bulk=E / (3 * (1 - 2 * nu)))
    bulk = fields.pop("bulk")
    return HolzapfelGasserOgden(**fields, delta=SWITCH), bulk


def _numbers(law: RootLaw) -> dict[str, Scalar]:
    if isinstance(law, NeoHookean):
        return {"c": law.mu, "k_1": 0.0, "k_2": 1.0, "angle": 0.0, "kappa": 0.0}
    return {"c": law.c, "k_1": law.k_1, "k_2": law.k_2, "angle": law.angle,
            "kappa": law.kappa or 0.0}  # fmt: skip
