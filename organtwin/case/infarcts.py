"""From the infarcts of a case to fields: tension, stiffness, gel and conduction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.anatomy.coordinates import Coordinates
from organtwin.anatomy.infarct import Ball, Segments, Zones, wall_point, zones
from organtwin.anatomy.injections import gel_share, injection_sites
from organtwin.case.schema import Mechanics
from organtwin.case.schema_infarct import Infarct, Injection
from organtwin.coupling.ventricles import Myocardium
from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.kinematics import Scalar
from organtwin.materials.mixture import Mixture
from organtwin.mesh.domain import Domain

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Extent:
    """An infarct on a mesh.

    Attributes:
        section: What the case says of it.
        zones: Its cells.
    """

    section: Infarct
    zones: Zones


def extents(
    infarcts: Sequence[Infarct],
    domain: Domain,
    *,
    coarse: Domain | None = None,
    at: Coordinates | None = None,
) -> list[Extent]:
    """Where the infarcts are on a mesh; collective.

    Args:
        infarcts: Sections of the case.
        domain: The mesh.
        coarse: Coarser mesh of the same heart, which places are looked up on; if omitted the mesh.
        at: Coordinates of the heart, if they are known.
    """
    return [
        Extent(one, zones(domain, _place(one, coarse or domain), one.border_width, at=at))
        for one in infarcts
    ]


def ill(
    tissue: Myocardium, section: Mechanics, domain: Domain, *, at: Coordinates | None = None
) -> Myocardium:
    """The tissue of a case with its weakness, stiffness, infarcts and gel; collective.

    Args:
        tissue: In health.
        section: What ails it.
        domain: Mesh of the mechanics.
        at: Coordinates on it, if they are known.
    """
    found = extents(section.infarct, domain, at=at)
    weak, stiff = section.contractility, section.passive_stiffness
    if not found and weak == stiff == 1.0:
        return tissue
    owned = domain.mesh.topology.index_map(3).size_local
    strength = weak * _values(domain, found, "contractility")[:owned]
    stiffness: Scalar = stiff
    if found:
        stiffness = _field(domain, stiff * _values(domain, found, "stiffness"))
    if section.injection is None:
        passive = Mixture((tissue.passive,), (stiffness,))
        return replace(tissue, passive=passive, strength=strength)
    gel = NeoHookean(mu=section.injection.shear_modulus)
    share = _gel(section.injection, domain, found)
    passive = Mixture((tissue.passive, gel), (stiffness, share))
    return replace(tissue, passive=passive, strength=strength)


def injected(section: Mechanics, domain: Domain, *, at: Coordinates | None = None) -> fem.Function:
    """Share of each cell that is filled with gel, zero without an injection; collective."""
    injection = section.injection
    if injection is None:
        return fem.Function(fem.functionspace(domain.mesh, ("DG", 0)), name="gel")
    return _gel(injection, domain, extents(section.infarct, domain, at=at))


def conduction(section: Mechanics, domain: Domain, coarse: Domain, at: Coordinates) -> Array | None:
    """Factor of the conduction velocity in each local cell, None without infarct; collective.

    Args:
        section: The infarcts.
        domain: Mesh of the electrophysiology.
        coarse: That of the mechanics.
        at: Coordinates on it.
    """
    if not section.infarct:
        return None
    return _values(domain, extents(section.infarct, domain, coarse=coarse, at=at), "conduction")


def squared(domain: Domain, factor: Array) -> fem.Function:
    """Factor of the conductivity in each cell that slows a plane wave by ``factor``, c ∝ √σ."""
    return _field(domain, factor**2)


def border_zone(found: Sequence[Extent]) -> NDArray[np.bool_]:
    """Local cells that are border zone of an infarct and scar of none."""
    near = np.any([one.zones.border for one in found], axis=0)
    return np.asarray(near & ~np.any([one.zones.scar for one in found], axis=0))


def _gel(injection: Injection, domain: Domain, found: Sequence[Extent]) -> fem.Function:
    sites = injection_sites(domain, border_zone(found), injection.sites)
    return gel_share(domain, sites, injection.volume)


def _place(section: Infarct, domain: Domain) -> Segments | Ball:
    if section.centre is None or section.radius is None:
        return Segments(section.segments)
    centre = wall_point(domain, section.centre.height, np.radians(section.centre.angle))
    return Ball(centre, section.radius)


def _values(domain: Domain, found: Sequence[Extent], name: str) -> Array:
    """A factor in the local cells: scar counts before border zone, the later before the earlier."""
    cells = domain.mesh.topology.index_map(3)
    values = np.ones(cells.size_local + cells.num_ghosts)
    for one in found:
        values[one.zones.border] = getattr(one.section, f"border_{name}")
    for one in found:
        values[one.zones.scar] = getattr(one.section, name)
    return values


def _field(domain: Domain, values: Array) -> fem.Function:
    field = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)))
    field.x.array[:] = values
    return field
