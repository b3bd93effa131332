"""The record of a deployed valve on all ranks equals that on one, and holds the mesh's surfaces."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from dolfinx import mesh
from mpi4py import MPI

from organtwin.devices.fibre_laws import ElasticFibre
from organtwin.devices.placement import Placement
from organtwin.devices.tissue_contact import StrutLaw, TissueContact
from organtwin.errors import InputError
from organtwin.mechanics.formulation import PENALTY_P1
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.parallel import on_root
from organtwin.tavr.collecting import collect
from organtwin.verify import tissue_rings
from organtwin.verify.rings import METAL, Tube

TUBE = Tube(9.99, 12.0, 0.2, 3e4)


def in_tissue(comm):
    """A quarter of a ring in a tube whose inner side has a septum, and the device that it is."""
    both = tissue_rings.ring_within(
        comm, ElasticFibre(METAL), TUBE, 1, formulation=PENALTY_P1, stiff=10
    )
    domain = both.tissue.domain
    tags, inside = domain.facet_tags, domain.surfaces["inside"]
    middle = mesh.compute_midpoints(domain.mesh, 2, tags.indices)
    septum = (tags.values == inside) & (middle[:, 1] > middle[:, 0])
    # Half of the tube is calcium, which stands on the other half.
    topology = domain.mesh.topology
    cells = np.arange(topology.index_map(3).size_local + topology.index_map(3).num_ghosts)
    centre = mesh.compute_midpoints(domain.mesh, 3, cells.astype(np.int32))
    lime = centre[:, 1] > centre[:, 0]
    topology.create_connectivity(2, 3)
    around = topology.connectivity(2, 3)
    between = np.array(
        [f for f in range(around.num_nodes) if len(set(lime[around.links(f)])) == 2], np.int32
    )
    facets = np.concatenate([tags.indices, between])
    values = np.concatenate([np.where(septum, 99, tags.values), np.full(len(between), 98)]).astype(
        np.int32
    )
    order = np.argsort(facets)
    changed = mesh.meshtags(domain.mesh, 2, facets[order], values[order])
    regions = mesh.meshtags(
        domain.mesh, 3, cells.astype(np.int32), np.where(lime, 2, 1).astype(np.int32)
    )
    names = {("inner" if k == "inside" else k): v for k, v in domain.surfaces.items()}
    tissue = both.tissue
    tissue.domain = replace(
        domain, facet_tags=changed, cell_tags=regions, regions={"wall": 1, "calcium": 2},
        surfaces={**names, "membranous_septum": 99, "calcium-wall": 98},
    )  # fmt: skip
    both.contact = TissueContact(
        tissue, ("inner", "membranous_septum"), both.contact.points, StrutLaw(3e5, 0.1)
    )
    m = len(both.beams.mesh.ends)
    frame = SimpleNamespace(mesh=both.beams.mesh, kind=np.zeros(m, int), row=np.zeros(m, int))
    device = SimpleNamespace(
        name="Ring like 20", family="self-expanding", nominal=20.0, skirt=0.0,
        struts=SimpleNamespace(thickness=0.2, ring_widths=(0.3,), link_width=0.4),
    )  # fmt: skip
    return both, SimpleNamespace(device=device, frame=frame, placement=Placement(tilt=10.0))


def record(comm):
    both, implant = in_tissue(comm)
    x = both.tissue.V.tabulate_dof_coordinates()
    swollen = 0.01 * x * np.array([1.0, 1.0, 0.0])
    both.tissue.w.x.array[both.tissue._u_dofs] = swollen.ravel()
    both.contact.refresh(both.beams.x * [1.02, 1.02, 1.0], both.beams.q)
    domain = both.tissue.domain
    cells = np.arange(len(domain.mesh.geometry.dofmaps[0]), dtype=np.int32)
    stress = mesh.compute_midpoints(domain.mesh, 3, cells)[:, 0]
    before = collect(both, implant, stress=stress)
    return both, implant, collect(both, implant, stress=2.0 * stress, before=before)


def test_ranks_do_not_matter_and_surfaces_are_the_meshs():
    comm = MPI.COMM_WORLD
    both, implant, together = record(comm)
    alone = on_root(comm, lambda: record(MPI.COMM_SELF)[2])
    assert list(together.surfaces) == ["inner", "membranous_septum", "covered_wall"]
    for name, (points, triangles) in together.surfaces.items():
        np.testing.assert_allclose(points, alone.surfaces[name][0], rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(triangles, alone.surfaces[name][1])
        scan = together.surfaces_before[name]
        np.testing.assert_allclose(points, scan * [1.01, 1.01, 1.0], rtol=1e-12, atol=1e-12)
    for name in ("nodes", "rest", "ends", "width", "strain", "stress", "stress_before"):
        np.testing.assert_allclose(getattr(together, name), getattr(alone, name), atol=1e-12)
    np.testing.assert_allclose(together.stress, 2.0 * together.stress_before)
    np.testing.assert_allclose(together.pressed.normal, alone.pressed.normal)
    assert len(together.pressed.normal) > 0
    assert (together.device, together.size) == ("Ring like", "20")
    assert (together.friction, set(together.width), set(together.pressed_width)) == (
        0.1, {0.3}, {0.3},
    )  # fmt: skip
    # Eight chords around each quarter, half of them in the septum.
    chord = 2 * TUBE.inner * np.sin(np.pi / 32)
    septum = (
        together.surfaces_before["membranous_septum"],
        together.surfaces["membranous_septum"][1],
    )
    assert TriangleSurface(*septum).areas.sum() == pytest.approx(4 * chord * TUBE.height)
    covered = together.surfaces_before["covered_wall"], together.surfaces["covered_wall"][1]
    strip = (TUBE.outer - TUBE.inner) * TUBE.height
    assert TriangleSurface(*covered).areas.sum() == pytest.approx(strip)
    assert len(together.lumen[1]) == len(together.wall[1]) + len(covered[1])
    middle = together.wall_before[together.wall[1]].mean(axis=1)
    np.testing.assert_array_equal(together.calcified, middle[:, 1] > middle[:, 0])
    normals = TriangleSurface(*together.surfaces["inner"])
    a, b, c = (normals.points[normals.triangles[:, k]] for k in range(3))
    assert (np.einsum("ij,ij->i", np.cross(b - a, c - a), a * [1.0, 1.0, 0.0]) < 0).all()
    with pytest.raises(InputError, match="one value for each cell"):
        collect(both, implant, stress=np.zeros((3, 3)))
