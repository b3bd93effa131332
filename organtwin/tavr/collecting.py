"""From a frame in tissue to the record of the deployed valve."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.devices.deployment import Deployment
from organtwin.devices.equilibrium import BeamProblem
from organtwin.devices.implantation import Implant
from organtwin.errors import InputError
from organtwin.mechanics.contact_surface import facet_nodes, surface
from organtwin.mechanics.problem import Mechanics
from organtwin.parallel import agree
from organtwin.tavr.deployed import COVERED, LEAFLETS, WALL, Deployed

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Points of the mesh nearer than this are one (mm).
SAME = 1e-6


def collect(
    both: Deployment, implant: Implant, *,
    stress: Array | None = None, before: Deployed | None = None,
) -> Deployed:  # fmt: skip
    """The record of a valve in tissue as it is now; collective, the same on all ranks.

    Surfaces of the tissue that the mesh does not name are left out. Curved facets become the
    triangles of their corners. The surfaces that frames meet have some thousand triangles, so
    that all of them are gathered.

    Args:
        both: Frame and tissue.
        implant: The device.
        stress: Largest principal Cauchy stress of each cell of this rank now (kPa), ghosts at the
            end or left out; none if it is not known.
        before: Record from before the deployment, whose stress is compared.

    Raises:
        InputError: the mesh has no inner wall, or the stress is not that of its cells.
    """
    tissue, beams, device = both.tissue, both.beams, implant.device
    names = [name for name in (*WALL, *LEAFLETS) if name in tissue.domain.surfaces]
    if "inner" not in names:
        raise InputError(
            "deployed valve", "the mesh has no surface `inner`.",
            "Mesh it by `organtwin root --mesh`, see docs/aortic-root-mesh.md.",
        )  # fmt: skip
    agree(tissue.domain.comm, _unlike(tissue, stress))
    patches = {name: _patch(tissue, (name,), stress) for name in names}
    covered = tuple(
        name for name in tissue.domain.surfaces if "-" in name and "wall" in name.split("-")
    )
    if covered:
        patches[COVERED] = _patch(tissue, covered, stress, region="wall")
    frame, struts = implant.frame, device.struts
    rings = np.array(struts.ring_widths)[frame.row]
    width = np.where(frame.kind == 1, struts.link_width, rings)
    pressed = both.contact.pressed()
    name, _, size = device.name.rpartition(" ")
    placement = implant.placement
    first, second = placement.across()
    return Deployed(
        device=name, size=size, family=device.family, nominal=device.nominal, skirt=device.skirt,
        friction=both.contact.law.friction, nodes=beams.x.copy(), rest=frame.mesh.points.copy(),
        ends=frame.mesh.ends.copy(), thickness=np.full(len(width), struts.thickness), width=width,
        strain=_strain_range(beams), placement_centre=np.array(placement.centre, float),
        placement_axes=np.stack([first, second, np.cross(first, second)]), pressed=pressed,
        pressed_width=_nearest_width(pressed.places, beams.x[frame.mesh.ends], width),
        surfaces={key: (one.now, one.triangles) for key, one in patches.items()},
        surfaces_before={key: one.scan for key, one in patches.items()},
        stress=None if stress is None else np.concatenate(
            [patches[key].stress for key in WALL if key in patches]
        ),
        stress_before=None if before is None else before.stress,
        calcified=np.concatenate([patches[key].calcified for key in WALL if key in patches]),
    )  # fmt: skip


@dataclass(frozen=True)
class _Patch:
    """A surface from all ranks: points now and in the scan; of triangles stress and calcium."""

    now: Array
    scan: Array
    triangles: Integers
    stress: Array
    calcified: NDArray[np.bool_]


def _unlike(tissue: Mechanics, stress: Array | None) -> InputError | None:
    """What is wrong with a stress."""
    cells = tissue.domain.mesh.topology.index_map(tissue.domain.mesh.topology.dim).size_local
    if stress is None or (stress.ndim == 1 and len(stress) >= cells):
        return None
    return InputError(
        "wall stress", f"values of the shape {stress.shape} for {cells} cells.",
        "Give one value for each cell of the rank.",
    )  # fmt: skip


def _patch(
    tissue: Mechanics, names: tuple[str, ...], stress: Array | None, region: str | None = None
) -> _Patch:
    """Surfaces now and before, from the cells of a region if one is given; collective.

    Triangles are in the order of their middles in the reference state, so that ranks don't matter.
    """
    own = surface(tissue, *names)
    cells, _, _ = facet_nodes(tissue.domain, tissue.V, *names)
    if region is not None:  # surfaces between regions come from both sides
        kept = np.isin(cells, _cells(tissue, region))
        own = replace(own, X=own.X[kept], dofs=own.dofs[kept], side=own.side[kept])
        cells = cells[kept]
    if own.element.is_triangle:
        corners = np.array([[0, 1, 2]])
    else:  # the corners of a quadrilateral come row by row
        corners = np.array([[0, 1, 3], [0, 3, 2]])
    # Normals point out of the tissue.
    order = np.where((own.side < 0)[:, None, None], corners[:, [0, 2, 1]], corners)
    index = np.arange(len(cells))[:, None, None]
    values = np.zeros(len(cells)) if stress is None else stress[cells]
    lime = np.isin(cells, _cells(tissue, "calcium"))
    comm = tissue.domain.comm
    scan, now, felt, hard = (
        np.concatenate(comm.allgather(part))
        for part in (
            own.X[index, order].reshape(-1, 3, 3),
            own.positions(tissue.at_level())[index, order].reshape(-1, 3, 3),
            np.repeat(values, len(corners)),
            np.repeat(lime, len(corners)),
        )
    )
    sort = np.lexsort(np.rint(scan.mean(axis=1) / SAME).T[::-1])
    scan, now = scan[sort].reshape(-1, 3), now[sort].reshape(-1, 3)
    _, first, corner = np.unique(
        np.rint(scan / SAME), axis=0, return_index=True, return_inverse=True
    )
    triangles = corner.reshape(-1, 3).astype(np.int64)
    return _Patch(now[first], scan[first], triangles, felt[sort], hard[sort])


def _cells(tissue: Mechanics, region: str) -> Integers:
    """This rank's cells of a region; none where the mesh has no such."""
    domain = tissue.domain
    if region not in domain.regions:
        return np.zeros(0, np.int64)
    return np.asarray(domain.cells(region), np.int64)


def _strain_range(beams: BeamProblem) -> Array:
    """Least and largest strain of the fibres of each element, (m, 2)."""
    found = np.zeros((len(beams.mesh.ends), 2))
    for (_, part), strains in zip(beams.parts, beams.fibre_strains(), strict=True):
        if len(part):
            found[part] = np.stack([strains.min(axis=1), strains.max(axis=1)], axis=1)
    return found


def _nearest_width(places: Array, elements: Array, width: Array) -> Array:
    """Width of the strut next to each place; elements (m, 2, 3)."""
    if len(places) == 0:
        return np.zeros(0)
    return np.asarray(width[cKDTree(elements.mean(axis=1)).query(places)[1]])
