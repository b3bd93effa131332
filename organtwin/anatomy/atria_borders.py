"""Where the fields of an atrium have their values: the tip of its appendage, its top, its sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.anatomy.coordinates import facet_points, surface_dofs
from organtwin.errors import InputError, MeshError
from organtwin.mesh.domain import Domain

#: Distance (mm) from the tip of an appendage that still counts as the tip.
TIP = 5.0
#: Distance (mm) from the wall at which a point is no tip of it.
OFF = 10.0

#: Sine of the angle between rings, seen from the valve, below which they lie on one line.
_FLAT = 0.02

type Dofs = NDArray[np.int32]
type Values = NDArray[np.float64]


@dataclass(frozen=True)
class Borders:
    """Dofs on the septal and lateral side of the tricuspid ring and on the top of the atrium."""

    septal: Dofs
    lateral: Dofs
    top: Dofs


def check_surfaces(domain: Domain, names: Sequence[str]) -> None:
    """Refuse surfaces without facets; collective.

    Raises:
        InputError: no surface of that name.
        MeshError: a surface has no facets.
    """
    for name in names:
        if domain.comm.allreduce(len(domain.facets(name))) == 0:
            raise MeshError("atrium", f"surface `{name}` has no facets.", "Mesh it again.")


def check_rising(place: str, limits: object, names: Sequence[str], low: float) -> None:
    """Refuse limits that do not rise from ``low`` to 1.

    Raises:
        InputError: two of them in the wrong order, or one outside.
    """
    values = [low, *(getattr(limits, name) for name in names), 1.0]
    for k, name in enumerate(names):
        if not values[k] < values[k + 1]:
            below = names[k - 1] if k else f"{low:g}"
            raise InputError(
                place,
                f"{name} = {values[k + 1]:g} is not over {below}.",
                f"Give {low:g} < {' < '.join(names)} < 1.",
            )
    if not values[-2] < 1.0:
        raise InputError(place, f"{names[-1]} = {values[-2]:g} is not under 1.", "Lower it.")


def tip_dofs(
    domain: Domain, V: fem.FunctionSpace, appendage: str | tuple[float, float, float] | None
) -> Dofs | None:
    """Dofs at the tip of an appendage, ghosts too; collective.

    Args:
        domain: The wall.
        V: Scalar Lagrange space.
        appendage: Name of the ring where it was cut off, or its tip (mm); None for none.

    Returns:
        Dofs on the ring, or within `TIP` of the tip and at least the nearest ones.

    Raises:
        InputError: the tip is more than `OFF` away from the mesh.
    """
    if appendage is None or isinstance(appendage, str):
        return None if appendage is None else surface_dofs(V, domain.facets(appendage))
    x = V.tabulate_dof_coordinates()
    # Rounded, since ranks compute the places of the same dof in different ways.
    distance = np.round(np.linalg.norm(x - np.asarray(appendage), axis=1), 6)
    nearest = domain.comm.allreduce(float(distance.min(initial=np.inf)), op=MPI.MIN)
    if nearest > OFF:
        raise InputError(
            "atrium",
            f"the tip of the appendage is {nearest:.3g} mm away from the wall.",
            "Give it in patient coordinates (LPS, mm).",
        )
    return np.flatnonzero(distance <= max(TIP, nearest)).astype(np.int32)


def right_borders(
    domain: Domain, V: fem.FunctionSpace, tricuspid: str, superior: str, inferior: str
) -> Borders:
    """Sides of the tricuspid ring and top of a right atrium; collective.

    The plane through the centres c of the three rings has the normal

        (c_superior − c_tricuspid) × (c_inferior − c_tricuspid),

    which points to the lateral wall of any heart that is not mirrored. The top are the cells that
    it cuts behind the line from one caval vein to the other, seen from the valve.

    Args:
        domain: The wall.
        V: Scalar Lagrange space.
        tricuspid: Ring at the tricuspid valve.
        superior: Ring at the superior caval vein.
        inferior: Ring at the inferior caval vein.

    Raises:
        MeshError: the centres lie on one line, or their plane leaves a side or the top empty.
    """
    valve, upper, lower = (
        facet_points(domain, name).mean(axis=0) for name in (tricuspid, superior, inferior)
    )
    normal = np.cross(upper - valve, lower - valve)
    area = np.linalg.norm(normal)
    if area < _FLAT * np.linalg.norm(upper - valve) * np.linalg.norm(lower - valve) or area == 0.0:
        raise MeshError(
            "right atrium",
            f"the middles of the rings `{tricuspid}`, `{superior}`, `{inferior}` lie on one line.",
            "Check that the names belong to these rings.",
        )
    normal /= area
    x = V.tabulate_dof_coordinates()
    ring = surface_dofs(V, domain.facets(tricuspid))
    side = np.round((x[ring] - valve) @ normal, 6)
    behind = np.cross(lower - upper, normal)
    behind *= -np.sign(behind @ (valve - upper))
    top = _dofs_of(V, _cut_cells(domain, valve, normal, upper, behind))
    borders = Borders(ring[side <= 0.0], ring[side > 0.0], top)
    for name, dofs in (("sides", borders.septal), ("sides", borders.lateral), ("top", top)):
        if domain.comm.allreduce(len(dofs)) == 0:
            raise MeshError(
                "right atrium",
                f"the plane through the rings `{tricuspid}`, `{superior}`, `{inferior}` finds no "
                f"{name} of the atrium.",
                "Check that the names belong to these rings.",
            )
    return borders


def _cut_cells(
    domain: Domain, origin: Values, normal: Values, start: Values, behind: Values
) -> Dofs:
    """Own cells with vertices on both sides of a plane, all of them behind ``start``."""
    own = domain.mesh.topology.index_map(3).size_local
    x = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0][:own, :4]]
    height = np.round((x - origin) @ normal, 6)
    beyond = np.round((x - start) @ behind, 6).min(axis=1) > 0.0
    cut = (height.min(axis=1) < 0.0) & (height.max(axis=1) >= 0.0)
    return np.flatnonzero(cut & beyond).astype(np.int32)


def _dofs_of(V: fem.FunctionSpace, cells: Dofs) -> Dofs:
    """Dofs of cells, found by whichever rank, ghosts too."""
    V.mesh.topology.create_connectivity(3, 3)
    return np.asarray(fem.locate_dofs_topological(V, 3, cells), dtype=np.int32)
