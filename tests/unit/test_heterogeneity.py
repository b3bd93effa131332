"""Cells that differ from place to place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.cells.conditions import Condition, applied
from organtwin.cells.drugs import Block, Dose, Drug, blocked
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
from organtwin.electrophysiology.reaction_diffusion import (
    NOT_ACTIVATED,
    Discretisation,
    Interpolation,
)
from organtwin.electrophysiology.stimulus import Box, Stimulus
from organtwin.errors import InputError
from organtwin.verify.geometry import box

ENDO, MID, EPI = (CellModel.load(f"ten_tusscher_2006_{kind}") for kind in ("endo", "m", "epi"))
ATRIAL = CellModel.load("courtemanche_1998")
LENGTH = 6.0
EVERYTHING = ("left", "middle", "right")
BORDER_ZONE = Condition("border zone", {"INa": 0.38, "IKr": 0.3})


def bar(cells=(12, 2, 2)):
    """Bar along x in thirds: left, middle, right."""
    domain = box(MPI.COMM_SELF, (LENGTH, 1.0, 1.0), cells)
    count = np.arange(domain.mesh.topology.index_map(3).size_local, dtype=np.int32)
    x = mesh.compute_midpoints(domain.mesh, 3, count)[:, 0]
    tags = mesh.meshtags(domain.mesh, 3, count, (1 + 3 * x / LENGTH).astype(np.int32))
    return replace(domain, cell_tags=tags, regions={"left": 1, "middle": 2, "right": 3})


@pytest.fixture(scope="module")
def domain():
    return bar()


@pytest.fixture(scope="module")
def V(domain):
    return fem.functionspace(domain.mesh, ("P", 1))


@pytest.fixture(scope="module")
def x(V):
    """Coordinate along the bar, 0 to 1, at the nodes."""
    return V.tabulate_dof_coordinates()[:, 0] / LENGTH


def field(cells, name, population=0):
    kernel = cells.populations[population].kernel
    return cells.fields(population)[kernel.fields.index(name)]


def bands(x):
    """Of all three kinds of cells: each set of fields is a kernel, which takes seconds to build."""
    return Bands(x, (ENDO, MID, EPI), (0.25, 0.75))


# --- regions --------------------------------------------------------------------------------------


def test_one_model_everywhere_has_no_fields(V, domain):
    cells = cells_on(V, domain, [RegionCells(EVERYTHING, EPI)])
    assert cells.excitable.all() and len(cells.populations) == 1
    assert cells.populations[0].nodes is None
    assert cells.populations[0].kernel.fields == ()
    assert (cells.rest(len(cells.excitable)) == EPI.states["V"]).all()


def test_nodes_on_a_border_belong_to_the_part_that_stands_first(V, domain, x):
    parts = [RegionCells(("left",), EPI), RegionCells(("middle", "right"), ATRIAL)]
    for order, left in ((parts, x < 1 / 3 + 1e-9), (parts[::-1], x < 1 / 3 - 1e-9)):
        cells = cells_on(V, domain, order)
        assert len(cells.populations) == 2
        where = {p.kernel.model.name: p.nodes for p in cells.populations}
        np.testing.assert_array_equal(where[EPI.name], np.flatnonzero(left))
        np.testing.assert_array_equal(where[ATRIAL.name], np.flatnonzero(~left))


def test_scar_begins_where_the_tissue_ends(V, domain, x):
    places = layout(V, domain, [RegionCells(("left", "middle"), EPI)], passive=("right",))
    np.testing.assert_array_equal(places.at == PASSIVE, x > 2 / 3 + 1e-9)


def test_condition_in_a_region_is_a_field_of_one_kernel(V, domain, x):
    healthy = RegionCells(("left", "right"), EPI)
    ill = RegionCells(("middle",), EPI, (BORDER_ZONE,))
    cells = cells_on(V, domain, [ill, healthy])
    assert len(cells.populations) == 1
    assert set(cells.populations[0].kernel.fields) == {"g_Na", "g_Kr"}
    inside = (x > 1 / 3 - 1e-9) & (x < 2 / 3 + 1e-9)
    g_Na = EPI.parameters["g_Na"]
    np.testing.assert_array_equal(field(cells, "g_Na"), np.where(inside, 0.38 * g_Na, g_Na))


def test_quadratic_elements(domain):
    V = fem.functionspace(domain.mesh, ("P", 2))
    places = layout(V, domain, [RegionCells(("left",), EPI)], passive=("middle", "right"))
    x = V.tabulate_dof_coordinates()[:, 0] / LENGTH
    np.testing.assert_array_equal(places.at == PASSIVE, x > 1 / 3 + 1e-9)


def test_by_region(domain):
    sigma = by_region(domain, {"right": 0.0, "middle": 0.5})
    whole = fem.assemble_scalar(fem.form(sigma * ufl.dx))
    assert whole == pytest.approx(LENGTH / 3 * (1 + 0.5))


# --- bands, gradients, fields ---------------------------------------------------------------------


def test_bands_become_fields_of_one_kernel(V, domain, x):
    cells = cells_on(V, domain, [RegionCells(EVERYTHING, bands(x))])
    (population,) = cells.populations
    differing = {
        name
        for name, value in EPI.parameters.items()
        if {ENDO.parameters[name], MID.parameters[name]} != {value}
    }
    assert set(population.kernel.fields) == differing and len(differing) > 5
    np.testing.assert_array_equal(
        field(cells, "g_Ks"),
        np.where((x > 0.25 + 1e-9) & (x < 0.75 + 1e-9), MID.parameters["g_Ks"], 0.392),
    )
    np.testing.assert_array_equal(field(cells, "g_to") == 0.073, x < 0.25 + 1e-9)


def test_cells_in_bands_beat_like_cells_of_their_models(V, domain, x):
    cells = cells_on(V, domain, [RegionCells(EVERYTHING, bands(x))])
    v = cells.rest(len(x))
    alone = {}
    for model in (ENDO, MID, EPI):
        kernel = compile_kernel(model)
        alone[model.name] = (kernel, kernel.initial_states(1), np.array([model.states["V"]]))
    v += 60.0
    for _, _, u in alone.values():
        u += 60.0
    for n in range(200):
        cells.step(v, 0.1 * n, 0.1)
        for kernel, states, u in alone.values():
            kernel.step(states, u, 0.1 * n, 0.1)
    inner, outer = x < 0.25 + 1e-9, x > 0.75 + 1e-9
    u = {name: potential for name, (_, _, potential) in alone.items()}
    expected = np.select([inner, outer], [u[ENDO.name], u[EPI.name]], u[MID.name])
    np.testing.assert_allclose(v, expected, rtol=1e-10)
    assert abs(u[ENDO.name] - u[EPI.name]) > 1.0
    assert np.ptp(list(u.values())) > 1.0


def test_band_follows_a_field_of_another_degree(domain, V, x):
    W = fem.functionspace(domain.mesh, ("P", 2))
    coordinate = fem.Function(W)
    coordinate.interpolate(lambda points: points[0] / LENGTH)
    part = RegionCells(EVERYTHING, Bands(coordinate, (ENDO, EPI), (0.5,)))
    np.testing.assert_array_equal(layout(V, domain, [part]).at, (x > 0.5 + 1e-9).astype(int))


@pytest.mark.parametrize("name", ["IKs", "g_Ks"])
def test_gradient_scales_a_current(V, domain, x, name):
    gradient = Gradient(name, x, 1.0, 0.4, between=(0.25, 0.75))
    cells = cells_on(V, domain, [RegionCells(EVERYTHING, EPI, gradients=(gradient,))])
    assert cells.populations[0].kernel.fields == ("g_Ks",)
    expected = EPI.parameters["g_Ks"] * (1 - 0.6 * np.clip(2 * x - 0.5, 0, 1))
    np.testing.assert_allclose(field(cells, "g_Ks"), expected, rtol=1e-14)


def test_factors_act_on_bands_and_on_fields(V, domain, x):
    """g = (field or model) × condition × drug × gradient."""
    drug = Drug("x", {"IKr": Block(10.0, 1.0)})
    gradient = Gradient("IKr", x, 1.0, 3.0)
    part = RegionCells(EVERYTHING, EPI, (BORDER_ZONE,), (gradient,), {"g_Kr": 1.0 + x})
    cells = cells_on(V, domain, [part], doses=[Dose(drug, 10.0)])
    np.testing.assert_allclose(field(cells, "g_Kr"), (1 + x) * 0.3 * 0.5 * (1 + 2 * x))
    without = RegionCells(EVERYTHING, EPI, (BORDER_ZONE,), (gradient,))
    cells = cells_on(V, domain, [without], doses=[Dose(drug, 10.0)])
    np.testing.assert_allclose(field(cells, "g_Kr"), 0.153 * 0.3 * 0.5 * (1 + 2 * x))


def test_field_in_one_part_leaves_the_other_alone(V, domain, x):
    g_Ks = fem.Function(V)
    g_Ks.interpolate(lambda points: 5.0 + points[0])
    parts = [
        RegionCells(("left",), EPI, fields={"g_Ks": g_Ks}),
        RegionCells(("middle", "right"), EPI),
    ]
    cells = cells_on(V, domain, parts)
    np.testing.assert_allclose(
        field(cells, "g_Ks"), np.where(x < 1 / 3 + 1e-9, 5.0 + LENGTH * x, EPI.parameters["g_Ks"])
    )


# --- drugs ----------------------------------------------------------------------------------------


def test_drug_everywhere_needs_no_field(V, domain):
    drug = Drug("x", {"IKr": Block(10.0, 1.0)})
    cells = cells_on(V, domain, [RegionCells(EVERYTHING, EPI)], doses=[Dose(drug, 30.0)])
    (population,) = cells.populations
    assert population.kernel.fields == ()
    assert population.kernel.model.parameters == blocked(EPI, drug, 30.0).parameters


def test_drug_blocks_a_current_where_there_is_one(V, domain):
    parts = [RegionCells(("left",), ATRIAL), RegionCells(("middle", "right"), EPI)]
    drug = Drug("x", {"IKur": Block(10.0, 1.0), "IpK": Block(10.0, 1.0)})
    atrial, ventricular = (
        variant.model for variant in layout(V, domain, parts, doses=[Dose(drug, 10.0)]).variants
    )
    assert atrial.parameters["g_Kur"] == ATRIAL.parameters["g_Kur"] / 2
    assert ventricular.parameters["g_pK"] == EPI.parameters["g_pK"] / 2


# --- states at the start --------------------------------------------------------------------------


def test_nodes_start_from_the_states_of_their_variant(V, domain, x):
    asked = []

    def start(model):
        asked.append(model)
        return pace(compile_kernel(model), cycle_length=300.0, beats=1, dt=0.1)

    ill = applied(EPI, BORDER_ZONE)
    parts = [
        RegionCells(("left",), EPI, (BORDER_ZONE,)),
        RegionCells(("middle",), EPI, gradients=(Gradient("IKr", x, 1.0, 2.0),)),
        RegionCells(("right",), EPI),
    ]
    cells = cells_on(V, domain, parts, start=start)
    assert [model.parameters for model in asked] == [ill.parameters, EPI.parameters]
    for model, here in ((ill, x < 1 / 3 + 1e-9), (EPI, x > 1 / 3 + 1e-9)):
        paced = start(model)
        assert (cells.rest(len(x))[here] == paced.v).all()
        assert (cells.state["states"][:, here] == paced.states[:, None]).all()


# --- a wave ---------------------------------------------------------------------------------------


def test_wave_ends_at_a_scar_that_does_not_conduct():
    domain = bar((24, 2, 2))
    V = fem.functionspace(domain.mesh, ("P", 1))
    x = V.tabulate_dof_coordinates()[:, 0]
    cells = cells_on(V, domain, [RegionCells(("left", "right"), EPI)], passive=("middle",))
    sigma = 0.13 * by_region(domain, {"middle": 0.0}) * ufl.Identity(3)
    stimulus = Stimulus(Box((0.0, 0.0, 0.0), (0.6, 1.0, 1.0)))
    scheme = Discretisation(interpolation=Interpolation.CURRENT)
    tissue = monodomain(V, cells, sigma, [stimulus], scheme=scheme)
    before = tissue.v.x.array.copy()
    assert tissue.advance(0.0, 12.0).converged
    times = tissue.activation_time.x.array
    assert (times[x < 2 + 1e-9] > 0).all()
    assert (times[x > 4 - 1e-9] == NOT_ACTIVATED).all()
    inner = (x > 2.5) & (x < 3.5)
    assert not cells.excitable[inner].any()
    np.testing.assert_allclose(tissue.v.x.array[inner], before[inner], atol=5.0)


def test_bands_and_gradients_keep_state_interpolation(V, domain, x):
    """It needs one kernel at all nodes; regions with other equations would not do."""
    part = RegionCells(EVERYTHING, bands(x), gradients=(Gradient("IKs", x, 1, 2),))
    stimulus = Stimulus(Box((0.0, 0.0, 0.0), (0.6, 1.0, 1.0)))
    tissue = monodomain(V, cells_on(V, domain, [part]), 0.13 * ufl.Identity(3), [stimulus])
    assert tissue.advance(0.0, 16.0).converged
    assert (np.diff(tissue.activation_time.x.array[np.argsort(x)][::9]) >= 0).all()
    assert tissue.activated_fraction() == 1.0


# --- what goes wrong ------------------------------------------------------------------------------


def error(V, domain, parts, **options):
    with pytest.raises(InputError) as raised:
        cells_on(V, domain, parts, **options)
    return str(raised.value)


def test_names_of_regions(V, domain):
    misspelt = error(V, domain, [RegionCells(("lfet", "middle", "right"), EPI)])
    assert "no region `lfet`. Did you mean `left`?" in misspelt
    assert "no region `middel`" in error(
        V, domain, [RegionCells(("left",), EPI)], passive=["middel"]
    )
    forgotten = error(V, domain, [RegionCells(("left", "right"), EPI)])
    assert "nothing is said of `middle`" in forgotten
    both = error(V, domain, [RegionCells(EVERYTHING, EPI)], passive=["left"])
    assert "`left` is named twice" in both
    assert "cells without a region" in error(
        V, domain, [RegionCells((), EPI), RegionCells(EVERYTHING, EPI)]
    )


def test_cells_outside_all_regions(V, domain):
    few = domain.cell_tags.find(1)
    tags = mesh.meshtags(domain.mesh, 3, few, np.ones(len(few), dtype=np.int32))
    bare = replace(domain, cell_tags=tags, regions={"left": 1})
    assert "lies in no named region" in error(V, bare, [RegionCells(("left",), EPI)])


def test_names_of_currents_and_parameters(V, domain, x):
    part = RegionCells(EVERYTHING, EPI)
    gradient = replace(part, gradients=(Gradient("IKss", x, 1.0, 2.0),))
    assert "no current or parameter `IKss`. Did you mean `IKs`?" in error(V, domain, [gradient])
    named = replace(part, fields={"g_NA": x})
    assert "no parameter `g_NA`. Did you mean `g_Na`?" in error(V, domain, [named])
    condition = replace(part, conditions=(Condition("x", {"INaL": 2.0}),))
    assert "no current `INaL`" in error(V, domain, [condition])
    dose = Dose(Drug.load("ranolazine"), 2000.0)
    assert "no model has a current `INaL`" in error(V, domain, [part], doses=[dose])


def test_values_that_do_not_fit(V, domain, x):
    def told(values):
        return error(V, domain, [RegionCells(EVERYTHING, EPI, fields={"g_Na": values})])

    assert "values of shape (3,)" in told(np.ones(3))
    assert "not all finite" in told(np.where(x < 0.5, np.nan, 1.0))
    piecewise = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)))
    assert "not a continuous scalar field" in told(piecewise)
    vector = fem.Function(fem.functionspace(domain.mesh, ("P", 1, (3,))))
    assert "not a continuous scalar field" in told(vector)
    elsewhere = fem.Function(fem.functionspace(bar().mesh, ("P", 1)))
    assert "not a continuous scalar field on the mesh" in told(elsewhere)


def test_bands_and_gradients_that_make_no_sense(x):
    for borders in ((), (0.2, 0.5), (0.5, 0.2, 0.7)):
        with pytest.raises(InputError, match="one border between each two models"):
            Bands(x, (ENDO, EPI), borders)
    with pytest.raises(InputError, match="one border between each two models"):
        Bands(x, (ENDO, MID, EPI), (0.5, 0.5))
    with pytest.raises(InputError, match="Name the lower end first"):
        Gradient("IKs", x, 1.0, 2.0, between=(1.0, 0.0))
