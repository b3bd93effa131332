"""Arrival times against exact ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.electrophysiology.eikonal import Eikonal, uniform_slowness
from organtwin.verify.eikonal import head_wave, plane_wave, point_source, sphere

COMM = MPI.COMM_SELF


def order(coarse, fine):
    return math.log2(coarse / fine)


def test_plane_wave_is_exact_on_an_irregular_anisotropic_mesh():
    assert plane_wave(COMM, 8).largest < 1e-12


@pytest.mark.parametrize(("axis", "speed"), [(0, 0.6), (1, 0.2), (2, 1.5)])
def test_wave_from_a_side_is_exact_on_an_aligned_mesh(axis, speed):
    msh = mesh.create_box(COMM, [np.zeros(3), np.array([6.0, 4.0, 5.0])], [6, 5, 7])
    V = fem.functionspace(msh, ("P", 1))
    x = V.tabulate_dof_coordinates()[:, axis]
    start = np.flatnonzero(x < 1e-9).astype(np.int32)
    D = np.diag(np.square([0.6, 0.2, 1.5]))
    T = Eikonal(V, uniform_slowness(msh, D)).solve(start, np.full(len(start), 3.0))
    np.testing.assert_allclose(T.x.array, 3.0 + x / speed, rtol=0.0, atol=1e-12)


def test_point_source_with_exact_ball_is_of_first_order():
    coarse, middle, fine = (point_source(COMM, n, radius=4.0) for n in (8, 16, 24))
    assert order(coarse.mean, middle.mean) > 0.95
    assert math.log(middle.mean / fine.mean) / math.log(1.5) > 0.95
    assert fine.mean < 0.7  # of 50 ms on average


def test_point_source_without_ball_still_converges():
    """Of first order but for a logarithm: measured are 0.57 to 0.72."""
    coarse, fine = point_source(COMM, 12), point_source(COMM, 24)
    assert 0.5 < order(coarse.mean, fine.mean) < 1.0
    assert fine.mean > 2 * point_source(COMM, 24, radius=4.0).mean


def test_irregular_obtuse_cells_converge():
    coarse, fine = (point_source(COMM, n, radius=4.0, irregular=True) for n in (12, 24))
    assert order(coarse.mean, fine.mean) > 0.9


def test_times_in_uniform_tissue_never_come_before_the_exact_ones():
    """Velocities 1 to 20 at an angle to long cells: seen with this metric most are obtuse."""
    msh = mesh.create_box(COMM, [np.zeros(3), np.array([20.0, 4.0, 2.0])], [8, 8, 8])
    V = fem.functionspace(msh, ("P", 1))
    a = 0.7
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    D = turn @ np.diag([4.0, 0.01, 0.04]) @ turn.T
    x = V.tabulate_dof_coordinates()
    start = np.array([0], dtype=np.int32)
    T = Eikonal(V, uniform_slowness(msh, D)).solve(start, np.zeros(1))
    d = x - x[0]
    exact = np.sqrt(np.einsum("ni,ij,nj->n", d, np.linalg.inv(D), d))
    assert (T.x.array >= exact - 1e-11).all()
    # Along an edge of the mesh nothing is lost.
    straight = (np.abs(d[:, 1:]) < 1e-9).all(axis=1)
    np.testing.assert_allclose(T.x.array[straight], exact[straight], rtol=1e-14)


def test_wave_through_the_fast_layer_arrives_by_the_law_of_refraction():
    coarse, fine = head_wave(COMM, 4), head_wave(COMM, 8)
    assert order(coarse.mean, fine.mean) > 0.9
    assert fine.largest < 0.15  # of 17 to 35 ms


def test_great_circles_on_a_sphere_of_triangles():
    coarse, fine = sphere(COMM, 4, radius=2.0), sphere(COMM, 5, radius=2.0)
    assert order(coarse.mean, fine.mean) > 0.9
    assert fine.largest < 0.01 * 20.0 * np.pi


@pytest.mark.slow
def test_orders_on_fine_meshes():
    coarse, fine = (point_source(COMM, n, radius=4.0) for n in (32, 64))
    assert order(coarse.mean, fine.mean) > 1.0
    coarse, fine = sphere(COMM, 5, radius=2.0), sphere(COMM, 6, radius=2.0)
    assert order(coarse.mean, fine.mean) > 0.95
    coarse, fine = head_wave(COMM, 16), head_wave(COMM, 32)
    assert order(coarse.mean, fine.mean) > 0.85
