"""Land et al. (2015), Proc. R. Soc. A 471:20150641."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.verify.ellipsoid import Grid, layered_ellipsoid
from organtwin.verify.land import helix, land_problem_1, land_problem_2, land_problem_3, wall_depth

WALL_VOLUME, CAVITY_VOLUME = 3234.734, 2492.127  # mm³, of the ellipsoids cut at z = 5 mm


def points_in_the_wall(depth):
    rng = np.random.default_rng(1)
    u, v = rng.uniform(-3.0, -1.9, 40), rng.uniform(0, 2 * np.pi, 40)
    short, long = 7 + 3 * depth, 17 + 3 * depth
    return np.stack(
        [short * np.sin(u) * np.cos(v), short * np.sin(u) * np.sin(v), long * np.cos(u)]
    )


def test_layers_of_curved_cells_fill_the_wall():
    domain = layered_ellipsoid(MPI.COMM_WORLD, Grid(size=3.0, apex=1.0, layers=2))
    assert domain.volume() == pytest.approx(WALL_VOLUME, rel=5e-4)
    assert domain.area("base") == pytest.approx(
        np.pi * (10**2 * (1 - 1 / 16) - 7**2 * (1 - 25 / 289)), rel=5e-4
    )
    whole = domain.area("lv_endo", "epi", "base")
    assert whole == pytest.approx(domain.area(), rel=1e-12)


@pytest.mark.parametrize("depth", [0.0, 0.3, 1.0])
def test_depth_in_the_wall(depth):
    assert wall_depth(points_in_the_wall(depth)) == pytest.approx(depth, abs=1e-12)


def test_fibres_run_to_the_apex_on_both_sides_and_around_between_them():
    around = [np.abs(helix(points_in_the_wall(t), np.full(40, t))[0][2]) for t in (0.0, 0.5, 1.0)]
    assert around[0].min() > 0.1
    assert around[1].max() < 1e-12
    fibre, outward = helix(points_in_the_wall(0.3), np.full(40, 0.3))
    assert np.abs((fibre * outward).sum(axis=0)).max() < 1e-12
    assert np.linalg.norm(fibre, axis=0) == pytest.approx(1.0)


def test_problem_1_deflection():
    """The published band of the deflected end is 4.17 ± 0.03 mm."""
    assert land_problem_1(MPI.COMM_SELF, (24, 4, 4)) == pytest.approx(4.17, abs=0.03)


@pytest.mark.slow
def test_problem_2_inflation():
    """Apex and volume as an axisymmetric Q2–P1 solution."""
    result = land_problem_2(MPI.COMM_SELF, Grid(size=3.0, apex=1.5, layers=3))
    assert result["endocardium"] == pytest.approx(-26.606, abs=0.08)
    assert result["epicardium"] == pytest.approx(-28.273, abs=0.08)
    assert result["volume"] == pytest.approx(10734.6, rel=0.002)


@pytest.mark.slow
def test_problem_3_contraction():
    """Apex and volume as an axisymmetric Q2–P1 solution (12 × 60)."""
    result = land_problem_3(MPI.COMM_SELF, Grid(size=3.0, apex=0.4, layers=5))
    assert result["endocardium"] == pytest.approx(-12.36, abs=0.08)
    assert result["epicardium"] == pytest.approx(-15.46, abs=0.08)
    assert result["volume"] == pytest.approx(1795.9, rel=0.005)
