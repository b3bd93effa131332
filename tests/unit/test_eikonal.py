"""Slowness of fibrous tissue, sources, and what the eikonal solver refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.electrophysiology.eikonal import (
    Eikonal,
    Slowness,
    Velocity,
    slowness,
    stimulated,
    uniform_slowness,
)
from organtwin.electrophysiology.reaction_diffusion import NOT_ACTIVATED
from organtwin.electrophysiology.stimulus import Balls, Box, Region, Stimulus
from organtwin.errors import InputError
from organtwin.mesh.domain import Domain, cellwise_vectors
from organtwin.verify.geometry import box

VELOCITY = Velocity(fibre=0.6, sheet=0.3, normal=0.2, endocardial_layer=2.0)
NONE = np.empty(0, dtype=np.int32), np.empty(0)


@pytest.fixture(scope="module")
def domain():
    """Box of 6 × 2 × 2 mm whose middle third along x is a scar."""
    whole = box(MPI.COMM_SELF, (6.0, 2.0, 2.0), (12, 4, 4))
    msh = whole.mesh
    middle = msh.geometry.x[msh.geometry.dofmaps[0]].mean(axis=1)[:, 0]
    values = np.where((middle > 2.0) & (middle < 4.0), 2, 1).astype(np.int32)
    tags = mesh.meshtags(msh, 3, np.arange(len(values), dtype=np.int32), values)
    return Domain(msh, tags, whole.facet_tags, {"healthy": 1, "scar": 2}, whole.surfaces)


@pytest.fixture(scope="module")
def frame(domain):
    V = cellwise_vectors(domain)
    f0, s0, n0 = (fem.Function(V, name=name) for name in ("f0", "s0", "n0"))
    f0.interpolate(lambda x: np.stack([np.cos(x[2]), np.sin(x[2]), 0 * x[2]]))
    s0.interpolate(lambda x: np.stack([-np.sin(x[2]), np.cos(x[2]), 0 * x[2]]))
    n0.interpolate(lambda x: np.stack([0 * x[2], 0 * x[2], 1 + 0 * x[2]]))
    return f0, s0, n0


@pytest.fixture(scope="module")
def V(domain):
    return fem.functionspace(domain.mesh, ("P", 1))


def at_end(V):
    nodes = np.flatnonzero(V.tabulate_dof_coordinates()[:, 0] < 1e-9).astype(np.int32)
    return nodes, np.zeros(len(nodes))


def test_velocities_are_found_again_along_the_axes(domain, frame):
    M = slowness(domain, VELOCITY, *frame).tensor
    for speed, function in zip((0.6, 0.3, 0.2), frame, strict=True):
        d = function.x.array.reshape(-1, 3)
        np.testing.assert_allclose(np.einsum("ci,cij,cj->c", d, M, d), speed**-2, rtol=1e-12)


def test_endocardial_layer_is_isotropic(domain, frame):
    M = slowness(domain, VELOCITY, *frame, endocardium=("z0",)).tensor
    z = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0]][..., 2]
    touches = np.isclose(z, 0.0).any(axis=1)
    in_layer = np.isclose(M, 0.25 * np.eye(3)).all(axis=(1, 2))
    np.testing.assert_array_equal(in_layer, touches)


def test_slow_regions_and_their_boundary(domain, frame, V):
    """Isotropic tissue: the wave takes twice the time through the middle third."""
    same = Velocity(0.5, 0.5, 0.5, 0.5)
    T = Eikonal(V, slowness(domain, same, *frame, factors={"scar": 0.5})).solve(*at_end(V))
    x = V.tabulate_dof_coordinates()[:, 0]
    expected = 2 * x + 2 * np.clip(x - 2.0, 0.0, 2.0)
    np.testing.assert_allclose(T.x.array, expected, rtol=0.0, atol=1e-12)


def test_blocked_region_is_not_crossed_and_not_reached_nodes_are_told(domain, frame, V):
    eikonal = Eikonal(V, slowness(domain, VELOCITY, *frame, factors={"scar": 0.0}))
    T = eikonal.solve(*at_end(V)).x.array
    x = V.tabulate_dof_coordinates()[:, 0]
    np.testing.assert_array_equal(T == NOT_ACTIVATED, x > 2.0 + 1e-9)
    assert (T[x < 2.0 + 1e-9] >= 0.0).all()
    times = eikonal.arrival(*at_end(V))
    np.testing.assert_array_equal(np.isinf(times), T == NOT_ACTIVATED)


def test_a_source_within_a_scar_starts_nothing(domain, frame, V):
    eikonal = Eikonal(V, slowness(domain, VELOCITY, *frame, factors={"scar": 0.0}))
    x = V.tabulate_dof_coordinates()[:, 0]
    inner = np.flatnonzero(np.abs(x - 3.0) < 0.1).astype(np.int32)
    with pytest.raises(InputError, match="no wave starts in conducting tissue"):
        eikonal.solve(inner, np.zeros(len(inner)))


def test_without_a_source_there_is_an_error_or_nothing(V):
    eikonal = Eikonal(V, uniform_slowness(V.mesh, np.eye(3)))
    with pytest.raises(InputError, match="no wave starts"):
        eikonal.solve(*NONE)
    with pytest.raises(InputError, match="no wave starts"):
        eikonal.solve(np.array([0], dtype=np.int32), np.array([np.inf]))
    assert np.isinf(eikonal.arrival(*NONE)).all()


@pytest.mark.parametrize("times", [[-1.0], [np.nan], [1.0, 2.0]])
def test_times_that_make_no_sense_are_refused(V, times):
    eikonal = Eikonal(V, uniform_slowness(V.mesh, np.eye(3)))
    with pytest.raises(InputError, match="a time ≥ 0"):
        eikonal.solve(np.array([0], dtype=np.int32), np.array(times))
    with pytest.raises(InputError, match="local nodes"):
        eikonal.solve(np.array([10**6], dtype=np.int32), np.zeros(1))


@pytest.mark.parametrize("name", ["fibre", "sheet", "normal", "endocardial_layer"])
@pytest.mark.parametrize("value", [0.0, -0.3, np.nan, np.inf])
def test_velocities_must_be_positive(name, value):
    with pytest.raises(InputError, match=f"velocity `{name}`"):
        dataclasses.replace(VELOCITY, **{name: value})


def test_factors_are_checked_with_the_region_named(domain, frame):
    with pytest.raises(InputError, match=r"region `scar`.*-0\.5"):
        slowness(domain, VELOCITY, *frame, factors={"scar": -0.5})
    with pytest.raises(InputError, match=r"no region `scra`. Did you mean `scar`\?"):
        slowness(domain, VELOCITY, *frame, factors={"scra": 0.5})


def test_directions_that_vanish_or_vary_within_cells_are_refused(domain, frame, V):
    empty = fem.Function(frame[0].function_space)
    with pytest.raises(InputError, match="span no space in"):
        slowness(domain, VELOCITY, empty, *frame[1:])
    smooth = fem.Function(fem.functionspace(domain.mesh, ("P", 1, (3,))), name="f0")
    with pytest.raises(InputError, match="`f0` is not a vector for each cell"):
        slowness(domain, VELOCITY, smooth, *frame[1:])


def test_tensors_and_spaces_that_do_not_fit_are_refused(V):
    with pytest.raises(InputError, match="positive definite"):
        uniform_slowness(V.mesh, np.diag([1.0, 0.0, 1.0]))
    with pytest.raises(InputError, match="slowness of 3 cells"):
        Eikonal(V, Slowness(np.zeros((3, 3, 3)), np.ones(3, dtype=bool)))
    quadratic = fem.functionspace(V.mesh, ("P", 2))
    with pytest.raises(InputError, match="degree 2"):
        Eikonal(quadratic, uniform_slowness(V.mesh, np.eye(3)))


def test_the_ball_is_exact_and_stays_in_its_tissue(domain, frame, V):
    same = Velocity(0.5, 0.5, 0.5, 0.5)
    eikonal = Eikonal(V, slowness(domain, same, *frame, factors={"scar": 0.5}))
    point = np.array([1.5, 1.0, 1.0])
    nodes, times = eikonal.around(point, np.array([4.0]), radius=1.1)
    d = np.linalg.norm(V.tabulate_dof_coordinates() - point, axis=1)
    np.testing.assert_allclose(times, 4.0 + 2.0 * d[nodes], atol=1e-12)
    x = V.tabulate_dof_coordinates()[:, 0]
    assert x[nodes].max() == pytest.approx(2.0)
    assert len(nodes) > 20
    alone, _ = eikonal.around(point, np.array([4.0]), radius=0.0)
    np.testing.assert_array_equal(alone, np.flatnonzero(d < 1e-9))


def test_points_off_the_tissue_are_refused(domain, frame, V):
    eikonal = Eikonal(V, slowness(domain, VELOCITY, *frame, factors={"scar": 0.0}))
    with pytest.raises(InputError, match="5 mm from tissue"):
        eikonal.around(np.array([11.0, 1.0, 1.0]), np.zeros(1), 1.0)


def test_stimuli_as_sources(V):
    stimuli = [
        Stimulus(Balls({"left": np.zeros(3)}, radius=0.1), onsets=(7.0, 400.0)),
        Stimulus(Balls({"near": np.zeros(3)}, radius=0.6), onsets=(9.0,)),
    ]
    nodes, times = stimulated(V, stimuli)
    x = V.tabulate_dof_coordinates()[nodes]
    assert len(nodes) > 1
    np.testing.assert_array_equal(times, np.where(np.linalg.norm(x, axis=1) < 0.1, 7.0, 9.0))


def sources(V, *stimuli):
    return V.tabulate_dof_coordinates()[stimulated(V, stimuli)[0]]


def test_sources_do_not_swell_beyond_their_place(domain, V):
    """Cells are 0.5 mm long."""
    x = sources(V, Stimulus(Region(domain, ("scar",))))
    # Borders of the region, at 2 and 4 mm, lie half in it.
    assert x[:, 0].min() == pytest.approx(2.0)
    assert x[:, 0].max() == pytest.approx(4.0)
    x = sources(V, Stimulus(Box((-1.0, -1.0, -1.0), (1.1, 3.0, 3.0))))
    assert x[:, 0].max() == pytest.approx(1.0)
    # Of the nodes up to there only those at edges of the block have less than half inside.
    assert np.count_nonzero(x[:, 0] < 0.9) == 2 * 5 * 5
    assert len(x) > 3 * 5 * 5 - 4


def test_a_place_smaller_than_a_cell_is_a_single_node(V):
    x = sources(V, Stimulus(Box((1.35, 0.9, 0.9), (1.65, 1.1, 1.1))))
    np.testing.assert_allclose(x, [[1.5, 1.0, 1.0]], atol=1e-12)
    # Two nodes with the same share: the smaller coordinates count.
    x = sources(V, Stimulus(Box((1.0, 0.9, 0.9), (2.0, 1.1, 1.1))))
    assert len(x) == 1


def test_only_what_depolarises_starts_a_wave(V):
    left, right = (Balls({"place": np.array([x, 0.0, 0.0])}, radius=0.1) for x in (0.0, 6.0))
    x = sources(V, Stimulus(left), Stimulus(right, strength=-50.0))
    np.testing.assert_allclose(x, [[0.0, 0.0, 0.0]], atol=1e-12)
    assert not len(sources(V, Stimulus(left, strength=0.0)))


def test_every_time_is_the_least_that_the_cells_around_allow(V):
    """Against a search over the points of the opposite faces, written once more."""
    D = np.diag([0.36, 0.01, 0.04])
    T = Eikonal(V, uniform_slowness(V.mesh, D)).solve(np.array([0]), np.zeros(1)).x.array
    x, cells, M = V.tabulate_dof_coordinates(), V.dofmap.list, np.linalg.inv(D)
    n = 40
    share = np.array([(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)]) / n
    least = np.full(len(x), np.inf)
    for corner in range(4):
        face = np.delete(cells, corner, axis=1)
        d = x[cells[:, None, corner]] - share @ x[face]
        times = T[face] @ share.T + np.sqrt(np.einsum("cpi,ij,cpj->cp", d, M, d))
        np.minimum.at(least, cells[:, corner], times.min(axis=1))
    excess = np.delete(least - T, 0)
    assert (excess > -1e-10).all()
    assert excess.max() < 0.01
