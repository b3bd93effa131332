"""Who lives where, and what becomes of them, does not depend on the ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.cells.conditions import Condition
from organtwin.cells.drugs import Block, Dose, Drug
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import pace
from organtwin.electrophysiology.heterogeneity import (
    PASSIVE,
    Bands,
    Gradient,
    RegionCells,
    by_region,
    cells_on,
    layout,
)
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import Discretisation, Interpolation
from organtwin.electrophysiology.stimulus import Balls, Stimulus
from organtwin.errors import InputError
from organtwin.verify.geometry import box

SIZE = (8.0, 4.0, 2.0)
DIVISIONS = (16, 8, 4)
ENDO, MID, EPI = (CellModel.load(f"ten_tusscher_2006_{kind}") for kind in ("endo", "m", "epi"))
ATRIAL = CellModel.load("courtemanche_1998")


def four_regions(comm):
    """Tissue with two kinds of cells, a border zone and a scar inside it."""
    domain = box(comm, SIZE, DIVISIONS)
    count = np.arange(domain.mesh.topology.index_map(3).size_local, dtype=np.int32)
    x, y, _ = mesh.compute_midpoints(domain.mesh, 3, count).T
    values = np.where(x > 6.0, 2, 1)
    values[(abs(x - 3.5) < 1.5) & (y > 1.5)] = 3
    values[(abs(x - 3.5) < 1.0) & (y > 2.0)] = 4
    tags = mesh.meshtags(domain.mesh, 3, count, values.astype(np.int32))
    names = {"ventricle": 1, "atrium": 2, "border_zone": 3, "scar": 4}
    return replace(domain, cell_tags=tags, regions=names)


def parts(V):
    """Layers across z, a gradient along y and a field; borders of layers lie on nodes."""
    transmural, along, K_o = (fem.Function(V) for _ in range(3))
    transmural.interpolate(lambda p: p[2] / SIZE[2])
    along.interpolate(lambda p: p[1] / SIZE[1])
    K_o.interpolate(lambda p: 5.4 + 0.2 * p[0])
    bands = Bands(transmural, (ENDO, MID, EPI), (0.25, 0.75))
    return [
        RegionCells(("ventricle",), bands, gradients=(Gradient("IKs", along, 1.0, 2.0),)),
        RegionCells(
            ("border_zone",), bands, (Condition.load("acute_border_zone_2"),), (), {"K_o": K_o}
        ),
        RegionCells(("atrium",), ATRIAL),
    ]


OPTIONS = {"passive": ("scar",), "doses": (Dose(Drug("x", {"IKr": Block(10.0)}), 5.0),)}


def on_grid(V, values):
    """Nodal values on all ranks, by place instead of by number; collective."""
    own = V.dofmap.index_map.size_local
    x = np.concatenate(V.mesh.comm.allgather(V.tabulate_dof_coordinates()[:own]))
    gathered = np.concatenate(V.mesh.comm.allgather(values[:own]))
    return gathered[np.lexsort(np.round(x / 0.125).T)]


def ventricular_fields(cells):
    """Parameter → values at all local nodes, NaN where there is no ventricular cell."""
    ventricular = cells.populations[0]
    fields = {}
    for name, values in zip(ventricular.kernel.fields, cells.fields(0), strict=True):
        fields[name] = np.full(len(cells.excitable), np.nan)
        fields[name][ventricular.nodes] = values
    return fields


@pytest.mark.parametrize("degree", [1, 2])
def test_layout_does_not_depend_on_the_ranks(degree):
    found = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        domain = four_regions(comm)
        V = fem.functionspace(domain.mesh, ("P", degree))
        places = layout(V, domain, parts(V), **OPTIONS)
        ghosted = fem.Function(V)
        ghosted.x.array[:] = places.at
        ghosted.x.scatter_forward()
        np.testing.assert_array_equal(ghosted.x.array, places.at)
        found.append(on_grid(V, places.at))
    np.testing.assert_array_equal(*found)
    assert set(found[1]) == {PASSIVE, *range(7)}


def test_cells_do_not_depend_on_the_ranks():
    found = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        domain = four_regions(comm)
        V = fem.functionspace(domain.mesh, ("P", 1))
        cells = cells_on(V, domain, parts(V), **OPTIONS)
        assert [p.kernel.model.name for p in cells.populations] == [ENDO.name, ATRIAL.name]
        fields = ventricular_fields(cells)
        assert {"g_Ks", "g_Kr", "g_Na", "g_CaL", "K_o"} < fields.keys()
        nodal = [cells.rest(len(cells.excitable)), cells.excitable, *fields.values()]
        found.append([on_grid(V, values) for values in nodal])
    for here, alone in zip(*found, strict=True):
        np.testing.assert_allclose(here, alone, rtol=1e-14)


def test_states_at_the_start_come_from_rank_0():
    domain = four_regions(MPI.COMM_WORLD)
    V = fem.functionspace(domain.mesh, ("P", 1))
    paced = []

    def start(model):
        paced.append(model.name)
        return pace(compile_kernel(model), cycle_length=300.0, beats=1, dt=0.1)

    cells = cells_on(V, domain, parts(V), start=start, **OPTIONS)
    assert len(paced) == (7 if MPI.COMM_WORLD.rank == 0 else 0)
    v = fem.Function(V)
    v.x.array[:] = cells.rest(len(cells.excitable))
    v.x.scatter_forward()
    np.testing.assert_array_equal(v.x.array, cells.rest(len(cells.excitable)))


def test_wave_does_not_depend_on_the_ranks():
    found = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        domain = four_regions(comm)
        V = fem.functionspace(domain.mesh, ("P", 1))
        sigma = 0.2 * by_region(domain, {"scar": 0.0, "border_zone": 0.5}) * ufl.Identity(3)
        tissue = monodomain(
            V,
            cells_on(V, domain, parts(V), **OPTIONS),
            sigma,
            [Stimulus(Balls({"corner": np.zeros(3)}, radius=1.6))],
            scheme=Discretisation(interpolation=Interpolation.CURRENT),
        )
        assert tissue.advance(0.0, 10.0).converged
        found.append([on_grid(V, tissue.activation_time.x.array), on_grid(V, tissue.v.x.array)])
        assert 0.2 < tissue.activated_fraction() < 0.98
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-4)


def test_values_wrong_on_one_rank_are_an_error_on_all():
    domain = four_regions(MPI.COMM_WORLD)
    V = fem.functionspace(domain.mesh, ("P", 1))
    n = len(fem.Function(V).x.array)
    values = np.ones(n if MPI.COMM_WORLD.rank else n + 1)
    part = RegionCells(tuple(domain.regions), EPI, fields={"g_Na": values})
    with pytest.raises(InputError, match="one finite value for each local node"):
        cells_on(V, domain, [part])
