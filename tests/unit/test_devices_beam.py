"""Beams: derivatives, rotations, equilibrium and its verification problems."""

from itertools import pairwise

import numpy as np
import pytest

from organtwin.devices import rotations as rot
from organtwin.devices.beam import BeamMesh, Elements, line, straight_elements, triad
from organtwin.devices.equilibrium import BeamProblem
from organtwin.devices.load_path import follow
from organtwin.devices.section import LinearSection
from organtwin.devices.supports import Supports
from organtwin.errors import InputError, SolverError
from organtwin.verify import beams

RANDOM = np.random.default_rng(3)
STIFFNESS = (lambda A: A @ A.T + np.eye(6))(RANDOM.normal(size=(6, 6)))


def network(twist):
    """Five elements in a loop with a tail, curved at rest."""
    points = RANDOM.normal(size=(5, 3))
    ends = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [1, 4]])
    mesh = straight_elements(points, ends, RANDOM.normal(size=(5, 3)), RANDOM.uniform(0.5, 1, 5))
    triads = mesh.triads.copy()
    triads[:, 1] = rot.turned(triads[:, 1], twist * RANDOM.normal(size=(5, 3)))
    return BeamMesh(mesh.points, mesh.ends, triads, mesh.share)


def energy(elements, x, q):
    strain = elements.kinematics(x, q).strain
    density = 0.5 * np.einsum("ei,ij,ej->e", strain, STIFFNESS, strain)
    return density @ (elements.lengths * elements.mesh.share)


def forces(elements, x, q):
    k = elements.kinematics(x, q)
    parts = elements.forces(elements.gradient(k)[0], k.strain @ STIFFNESS)
    return np.bincount(elements.dofs.ravel(), parts.ravel(), elements.size)


# From nearly straight, where the functions of the angle are series, to nearly half a turn.
@pytest.mark.parametrize("turn", [1e-3, 0.02, 0.9])
def test_forces_and_tangent_are_derivatives(turn):
    mesh = network(0.3 * turn)
    elements = Elements(mesh)
    x = mesh.points + 0.3 * RANDOM.normal(size=mesh.points.shape)
    q = rot.quaternion(turn * RANDOM.normal(size=mesh.points.shape))
    k = elements.kinematics(x, q)
    gradient = elements.gradient(k)
    C = np.broadcast_to(STIFFNESS, (5, 6, 6))
    K = np.zeros((elements.size, elements.size))
    parts = elements.stiffness(k, *gradient, k.strain @ STIFFNESS, C)
    for dofs, part in zip(elements.dofs, parts, strict=True):
        K[np.ix_(dofs, dofs)] += part
    slope, tangent, h = np.empty(elements.size), np.empty_like(K), 1e-6
    for i in range(elements.size):
        step = (h * np.eye(elements.size)[i]).reshape(-1, 6)
        ends = [(x + s * step[:, :3], rot.turned(q, s * step[:, 3:])) for s in (1, -1)]
        slope[i] = np.subtract(*(energy(elements, *end) for end in ends)) / (2 * h)
        tangent[:, i] = np.subtract(*(forces(elements, *end) for end in ends)) / (2 * h)
    assert np.abs(slope - forces(elements, x, q)).max() < 1e-8 * np.abs(slope).max()
    assert np.abs(tangent - K).max() < 1e-8 * np.abs(K).max()


def test_quaternions_and_vectors():
    theta = RANDOM.normal(size=(50, 3))
    theta *= (np.pi * RANDOM.uniform(0, 1, 50) / np.linalg.norm(theta, axis=1))[:, None]
    q = rot.quaternion(theta)
    assert np.allclose(rot.vector(q), theta, atol=1e-12)
    assert np.allclose(rot.vector(-q), theta, atol=1e-12)
    R = rot.matrix(q)
    assert np.allclose(R @ R.transpose(0, 2, 1), np.eye(3), atol=1e-14)
    assert np.allclose(rot.matrix(rot.from_matrix(R)), R, atol=1e-14)
    assert np.allclose(rot.matrix(rot.product(q, q[::-1])), R @ R[::-1], atol=1e-14)


def test_coefficients_are_smooth_where_the_series_begins():
    for function in (rot.spin_coefficient, rot.half_coefficient):
        angles = 0.03 * (1 + np.array([-1e-9, 1e-9]))
        for values in function(angles):
            assert abs(values[1] / values[0] - 1) < 1e-6


def test_end_moment_rolls_up_in_few_iterations_however_slender():
    for thickness in (1e-1, 1e-4):
        beam = beams.cantilever(8, beams.slender(thickness))
        beam.load[-1, 5] = np.pi / 2
        attempt = beam.solve()
        assert attempt.converged and attempt.iterations <= 5
    assert beams.rolled_up(16)[0] < 1e-9


def test_no_locking():
    """The tip of a slender beam moves as far as that of a stout one, with few elements too."""
    for thickness in (1e-2, 1e-5):
        beam = beams.cantilever(8, beams.slender(thickness))
        beam.load[-1, 1] = 1e-3
        assert beam.solve().converged
        shear = 1e-3 * 2.6 * thickness**2 / 12
        assert beam.x[-1, 1] == pytest.approx(1e-3 / 3 + shear, rel=5e-3)


def test_elastic_problems_meet_their_references():
    missed = [r.quantity for r in beams.elastic_records(quick=True) if not r.met]
    assert not missed


def test_bend_converges_to_the_limit_of_another_code():
    """Exudyn gives (46.90, 15.56, 53.60) with 32 elements that are curved at rest."""
    tips = [beams.bend_45(n, [600])[0] for n in (8, 16, 32)]
    changes = [np.linalg.norm(b - a) for a, b in pairwise(tips)]
    assert changes[0] / changes[1] > 3.5
    assert np.linalg.norm(tips[-1] - (46.90, 15.56, 53.60)) < 0.35


def test_prescribed_rotation_bends_to_a_semicircle():
    beam = beams.cantilever(24)
    beam.supports.held[-1, 3:] = True
    beam = BeamProblem(beam.mesh, [beams.slender()], supports=beam.supports)
    motion = np.zeros((25, 6))

    def turn(factor):
        motion[-1, 5] = np.pi * factor
        return motion.copy()

    follow(beam, turn, first=0.2)
    assert beam.x[-1] == pytest.approx([0, 2 / np.pi, 0], abs=2e-3)
    assert beam.reactions()[-1, 5] == pytest.approx(np.pi, rel=1e-7)


def test_a_loose_beam_is_told():
    points, ends = line((0, 0, 0), (1, 0, 0), 2)
    loose = BeamProblem(straight_elements(points, ends, (0, 1, 0)), [beams.slender(0.1)])

    def apply(factor):
        loose.load[-1, 0] = factor

    with pytest.raises(SolverError, match="load factor 0"):
        follow(loose, apply, smallest=0.01)


def test_planes_of_symmetry_give_the_whole_ring():
    quarter = beams.ring(1.0, 16, 4)
    angle = np.linspace(0, 2 * np.pi, 65)[:-1]
    points = np.column_stack([np.cos(angle), np.sin(angle), 0 * angle])
    first = np.arange(64)
    ends = np.column_stack([first, (first + 1) % 64])
    whole = BeamProblem(
        straight_elements(points, ends, points[ends].mean(axis=1)),
        [beams.slender(0.1)],
        supports=Supports.none(64).pinned(0, 1, 2, 3, 4, 5).pinned(32, 1),
    )
    part = BeamProblem(quarter.mesh, [beams.slender(0.1)], supports=quarter.supports)
    load = 0.8
    for model, nodes, share in ((whole, (16, 48), 1.0), (part, (16,), 0.5)):
        for node in nodes:
            model.load[node, 1] = -share * load * np.sign(model.mesh.points[node, 1])
        assert model.solve().converged
    assert np.ptp(whole.x[:, 1]) == pytest.approx(2 * part.x[:, 1].max(), rel=1e-8)
    assert np.ptp(whole.x[:, 1]) < 1.9


def test_bad_input():
    points, ends = line((0, 0, 0), (1, 0, 0), 2)
    with pytest.raises(InputError, match="no length"):
        BeamMesh(points * 0, ends, np.zeros((2, 2, 4)), np.ones(2))
    with pytest.raises(InputError, match="along the beam"):
        triad(np.array([[1.0, 0, 0]]), np.array([[2.0, 0, 0]]))
    mesh = straight_elements(points, ends, (0, 1, 0))
    with pytest.raises(InputError, match="kinds"):
        BeamProblem(mesh, [LinearSection((1,) * 6)], kind=np.array([0, 1]))


def test_a_shallow_arch_snaps_through():
    """Beyond its limit load no equilibrium is near; drag leads to the other side."""
    angle = np.linspace(-0.25, 0.25, 21)
    points = 4 * np.column_stack([np.sin(angle), np.cos(angle) - np.cos(0.25), 0 * angle])
    ends = np.column_stack([np.arange(20), np.arange(1, 21)])
    arch = BeamProblem(
        straight_elements(points, ends, (0, 0, 1)),
        [beams.slender(0.02)],
        supports=Supports.none(21).clamped(0, 20),
    )

    def apply(factor):
        arch.load[10, 1] = -200.0 * factor

    path = follow(arch, apply, first=0.05, largest=0.1)
    assert path.snaps >= 1 and path.dragged > 0
    assert arch.x[10, 1] < -0.05 < 0 < points[10, 1]
    residual = arch.internal() - arch.load
    assert np.abs(residual[1:-1]).max() < 1e-6 * np.abs(arch.internal()).max()
