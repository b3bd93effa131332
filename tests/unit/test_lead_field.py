"""Lead fields against the direct solution, and electrograms against what they must be."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.electrophysiology import electrograms
from organtwin.electrophysiology.bidomain import ExtracellularPotential
from organtwin.electrophysiology.ecg import PseudoECG
from organtwin.electrophysiology.electrograms import Electrograms, bipolar, cell_integrals
from organtwin.electrophysiology.lead_field import (
    HeartLeads,
    LeadField,
    VolumeConductor,
    at_electrodes,
)
from organtwin.electrophysiology.signals import Signals
from organtwin.errors import InputError
from organtwin.mesh.domain import Domain
from organtwin.verify.ecg import dipole_in_sphere, dipole_in_sphere_series
from organtwin.verify.geometry import box

SIGMA_I = np.diag([0.17, 0.02, 0.02])
SIGMA_E = np.diag([0.62, 0.24, 0.24])
LUNG, TORSO = 0.05, 0.22
ELECTRODES = {
    "left": np.array([0.0, 3.1, 4.3]), "right": np.array([10.0, 7.3, 5.2]),
    "top": np.array([4.4, 5.7, 10.0]), "in the heart": np.array([4.9, 5.1, 5.3]),
}  # fmt: skip


def torso(comm=MPI.COMM_SELF, n=10):
    """Cube of 10 mm with a heart in the middle and a lung beside it."""
    body = box(comm, (10.0, 10.0, 10.0), (n, n, n))
    middles = mesh.compute_midpoints(body.mesh, 3, body.cell_tags.indices)
    tags = np.full(len(middles), 3, dtype=np.int32)
    tags[np.abs(middles - 5.0).max(axis=1) < 2.0] = 1
    tags[middles[:, 0] > 8.0] = 2
    cells = mesh.meshtags(body.mesh, 3, body.cell_tags.indices, tags)
    regions = {"heart": 1, "lung": 2, "torso": 3}
    return Domain(body.mesh, cells, body.facet_tags, regions, body.surfaces)


def tensor(values):
    return ufl.as_matrix(values.tolist())


def conductor(domain, degree=1, **options):
    V = fem.functionspace(domain.mesh, ("P", degree))
    bulk = {"heart": tensor(SIGMA_I + SIGMA_E), "lung": LUNG, "torso": TORSO}
    return VolumeConductor(V, domain, bulk, {"heart": tensor(SIGMA_I)}, **options)


def front(V):
    v = fem.Function(V)
    v.interpolate(lambda x: -85 + 100 / (1 + np.exp((x[0] + 0.4 * x[1] - 0.2 * x[2] - 6.1) / 0.5)))
    return v


@pytest.mark.parametrize("degree", [1, 2])
def test_lead_field_equals_direct_solution(degree):
    body = conductor(torso(n=5 * (3 - degree)), degree, tolerance=1e-12)
    v = front(body.V)
    by_lead = LeadField(body, ELECTRODES)(v)
    direct = at_electrodes(body.potential(v), ELECTRODES)
    highest = max(map(abs, direct.values()))
    assert highest > 0.1
    for name in ELECTRODES:
        assert by_lead[name] == pytest.approx(direct[name], abs=1e-8 * highest)


def test_direct_solution_is_that_of_the_bidomain():
    """With the lung as part of the bath; two programs of the same equations."""
    domain = torso()
    body = conductor(domain)
    v = front(body.V)
    bath = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)))
    bath.x.array[domain.cells("torso")] = TORSO
    bath.x.array[domain.cells("lung")] = LUNG
    bidomain = ExtracellularPotential(
        body.V, tensor(SIGMA_I), tensor(SIGMA_E), dx=domain.dx("heart"),
        bath=(bath * ufl.Identity(3), domain.dx("lung", "torso")), tolerance=1e-11,
    )  # fmt: skip
    assert bidomain.solve(v) > 0
    phi = body.potential(v).x.array
    np.testing.assert_allclose(phi, bidomain.phi.x.array, atol=1e-8 * np.abs(phi).max())


def test_leads_on_a_mesh_of_the_heart_alone():
    """The heart's own mesh has the same nodes here, so that nothing is lost in between."""
    domain = torso()
    body = conductor(domain)
    leads = LeadField(body, ELECTRODES)
    heart = mesh.create_box(MPI.COMM_SELF, [[3.0] * 3, [7.0] * 3], [4, 4, 4])
    V = fem.functionspace(heart, ("P", 1))
    found = HeartLeads(V, tensor(SIGMA_I), leads)(front(V))
    expected = leads(front(body.V))
    for name in ELECTRODES:
        assert found[name] == pytest.approx(expected[name], rel=1e-9)


def test_heart_that_sticks_out_of_the_body_is_refused():
    leads = LeadField(conductor(torso(n=5)), {"left": ELECTRODES["left"]})
    heart = mesh.create_box(MPI.COMM_SELF, [[8.0] * 3, [12.0] * 3], [4, 4, 4])
    with pytest.raises(InputError, match="heart's mesh"):
        HeartLeads(fem.functionspace(heart, ("P", 1)), tensor(SIGMA_I), leads)


def test_mean_potential_is_zero():
    body = conductor(torso())
    phi = body.potential(front(body.V))
    size = fem.assemble_scalar(fem.form(abs(phi) * ufl.dx))
    assert abs(fem.assemble_scalar(fem.form(phi * ufl.dx))) < 1e-9 * size


def test_regions_are_checked():
    domain = torso(n=5)
    V = fem.functionspace(domain.mesh, ("P", 1))
    with pytest.raises(InputError, match=r"no region `lungs`.*`lung`"):
        VolumeConductor(V, domain, {"heart": 1.0, "lungs": 1.0, "torso": 1.0}, {"heart": 1.0})
    with pytest.raises(InputError, match="`torso` has no conductivity"):
        VolumeConductor(V, domain, {"heart": 1.0, "lung": 1.0}, {"heart": 1.0})
    with pytest.raises(InputError, match="must be > 0"):
        VolumeConductor(V, domain, {"heart": 1.0, "lung": 0.0, "torso": 1.0}, {"heart": 1.0})


def test_electrode_off_the_body_is_refused():
    with pytest.raises(InputError, match="electrode `far`"):
        LeadField(conductor(torso(n=5)), {"far": np.array([0.0, 0.0, 30.0])})


@pytest.mark.parametrize("at", [(0.0, 0.0, 0.0), (25.0, 0.0, 0.0), (10.0, -30.0, 15.0)])
@pytest.mark.parametrize("p", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, -2.0, 3.0)])
def test_dipole_in_a_sphere(at, p):
    """Closed form, series, and the formula for the dipole in the centre."""
    at, p = np.array(at), np.array(p)
    x = np.random.default_rng(3).normal(size=(30, 3))
    x *= 50 / np.linalg.norm(x, axis=1)[:, None]
    found = dipole_in_sphere(x, p, at, radius=50.0, sigma=0.2)
    series = dipole_in_sphere_series(x, p, at, radius=50.0, sigma=0.2, terms=150)
    np.testing.assert_allclose(found, series, atol=1e-12 * np.abs(found).max())
    if not at.any():
        np.testing.assert_allclose(found, 3 * x @ p / (4 * np.pi * 0.2 * 50**3))


# --- electrograms -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "point", [(0.2, 0.3, 0.1), (0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (0.7, 0.9, 0.8), (3.0, 1.0, -2.0)]
)
def test_integral_over_a_cell(point):
    """Against Gauss's rule on a fine grid of a cube cut in six; at corners and edges, too."""
    point, radius = np.array(point), 0.2
    cube = mesh.create_box(MPI.COMM_SELF, [[0.0] * 3, [1.0] * 3], [1, 1, 1])
    corners = cube.geometry.x[cube.geometry.dofmaps[0]]
    size = np.linalg.det(corners[:, 1:] - corners[:, :1])
    corners[size < 0] = corners[size < 0][:, [0, 1, 3, 2]]
    at, weight = np.polynomial.legendre.leggauss(80)
    at, weight = (at + 1) / 2, weight / 2
    d = np.stack(np.meshgrid(at, at, at, indexing="ij")) - point[:, None, None, None]
    rho = np.sqrt(np.sum(d**2, axis=0) + radius**2)
    expected = -np.einsum("i,j,k,cijk->c", weight, weight, weight, d / rho**3)
    found = cell_integrals(corners, point, radius).sum(axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_far_and_near_formulas_agree(monkeypatch):
    corners = np.array([[[0, 0, 0], [1, 0, 0], [0, 1.2, 0.1], [0.1, 0, 0.8]]], dtype=float)
    middle = corners[0].mean(axis=0)
    size = np.linalg.norm(corners[0] - middle, axis=1).max()
    for direction in np.eye(3):
        point = middle + electrograms.FAR * size * direction
        far = cell_integrals(corners, point + 1e-9 * direction, 0.3)
        monkeypatch.setattr(electrograms, "FAR", np.inf)
        near = cell_integrals(corners, point + 1e-9 * direction, 0.3)
        np.testing.assert_allclose(far, near, atol=1e-6 * np.linalg.norm(near))
        monkeypatch.undo()
        assert not np.array_equal(far, near)


@pytest.mark.parametrize("degree", [1, 2])
def test_electrogram_inside_even_tissue_mirrors_v(degree):
    """Where v vanishes at the border, φ = −(σ/σ_b) v exactly, whatever v is in the nodes."""
    V = fem.functionspace(box(MPI.COMM_SELF, (4.0, 4.0, 4.0), (4, 4, 4)).mesh, ("P", degree))
    v = fem.Function(V)
    v.interpolate(lambda x: np.prod(np.sin(np.pi * x / 4), axis=0) * 100)
    points = {"node": np.full(3, 2.0), "in a cell": np.array([1.3, 2.2, 2.9])}
    found = Electrograms(V, 0.1 * ufl.Identity(3), points, sigma_b=0.4, radius=1e-5)(v)
    assert found["node"] == pytest.approx(-25.0, rel=1e-4)
    if degree == 1:
        expected = -0.25 * at_electrodes(v, points)["in a cell"]
        assert found["in a cell"] == pytest.approx(expected, rel=1e-4)


def test_electrogram_far_away_is_the_pseudo_ecg():
    V = fem.functionspace(box(MPI.COMM_SELF, (4.0, 4.0, 4.0), (4, 4, 4)).mesh, ("P", 1))
    v = fem.Function(V)
    v.interpolate(lambda x: 20 * x[0] - x[1] ** 2 + x[1] * x[2])
    points = {"a": np.array([30.0, 2.0, 5.0]), "b": np.array([-9.0, -20.0, 12.0])}
    sigma = tensor(np.diag([0.3, 0.1, 0.05]))
    found = Electrograms(V, sigma, points, radius=1e-3)(v)
    expected = PseudoECG(V, sigma, points)(v)
    for name in points:
        assert found[name] == pytest.approx(expected[name], rel=1e-5)


def test_bipolar():
    potentials = {"tip": -3.0, "ring": 1.5}
    assert bipolar(potentials, {"distal": ("tip", "ring")}) == {"distal": -4.5}
    with pytest.raises(InputError, match=r"no electrode `rng`.*`ring`"):
        bipolar(potentials, {"distal": ("tip", "rng")})
    with pytest.raises(InputError, match="Give two"):
        bipolar(potentials, {"distal": ("tip",)})


def test_electrode_has_a_size():
    V = fem.functionspace(box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (1, 1, 1)).mesh, ("P", 1))
    with pytest.raises(InputError, match="radius 0 mm"):
        Electrograms(V, ufl.Identity(3), {}, radius=0.0)


# --- signals over time --------------------------------------------------------------------------


def test_signals_are_linear_between_steps(tmp_path):
    V = fem.functionspace(box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (1, 1, 1)).mesh, ("P", 1))
    signals = Signals(V, lambda v: {"a": v.x.array[0], "b": -v.x.array.sum()}, until=3.0)
    n = len(fem.Function(V).x.array)
    for t, dt in ((0.0, 0.4), (0.4, 1.2), (1.6, 2.0)):
        signals.record(t, dt, np.full(n, 10 * t), np.full(n, 10 * (t + dt)))
    np.testing.assert_allclose(signals.times, [0.0, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(signals.voltages["a"], [0.0, 10.0, 20.0, 30.0])
    np.testing.assert_allclose(signals.voltages["b"], -n * signals.voltages["a"])
    signals.write(tmp_path / "ecg.csv")
    lines = (tmp_path / "ecg.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "t [ms],a [mV],b [mV]"
    assert lines[2] == f"1,10,{-10 * n}"


def test_signals_go_on_from_a_state():
    V = fem.functionspace(box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (1, 1, 1)).mesh, ("P", 1))
    signals = Signals(V, lambda v: {"a": v.x.array[0]}, until=5.0)
    n = len(fem.Function(V).x.array)
    signals.record(0.0, 2.5, np.zeros(n), np.full(n, 2.5))
    kept = {name: array.copy() for name, array in signals.state.items()}
    signals.record(2.5, 2.5, np.full(n, 99.0), np.full(n, 99.0))
    for name, array in signals.state.items():
        array[:] = kept[name]
    signals.record(2.5, 2.5, np.full(n, 2.5), np.full(n, 5.0))
    np.testing.assert_allclose(signals.voltages["a"], np.arange(6.0))
