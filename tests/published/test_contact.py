"""Contact against closed forms: Hertz, Coulomb, uniform stress."""

from __future__ import annotations

import pytest
from mpi4py import MPI

from organtwin.verify.contact import (
    contact_patch,
    hertz_deformable_sphere,
    hertz_rigid_sphere,
    ironing,
    roller,
)
from organtwin.verify.curved_contact import curved_patch

COMM = MPI.COMM_SELF


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sphere", "size"), [(hertz_rigid_sphere, 0.15), (hertz_deformable_sphere, 0.08)]
)
def test_pressure_and_radius_of_hertz(tmp_path, sphere, size):
    """Peak pressure and contact radius of a sphere on a plane, for the same force."""
    found = sphere(COMM, tmp_path / "hertz.msh", size)
    assert found.field == pytest.approx(1.0, abs=0.03)
    assert found.radius == pytest.approx(1.0, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("degree", "two_pass", "limit"), [(4, False, 0.02), (4, True, 0.01),
                                                           (12, False, 0.003)])  # fmt: skip
def test_stress_through_meshes_that_do_not_match(tmp_path, degree, two_pass, limit):
    """Penalty contact at quadrature points is not exact here; its error is what is bounded."""
    found = contact_patch(COMM, tmp_path / "blocks.msh", degree=degree, two_pass=two_pass)
    assert 1e-5 < found.stress < limit
    assert found.force == pytest.approx(1.0, abs=1e-6)


@pytest.mark.slow
def test_a_tie_passes_the_patch_test(tmp_path):
    found = contact_patch(COMM, tmp_path / "blocks.msh", tied=True)
    assert found.stress < 1e-9
    assert found.force == pytest.approx(1.0, abs=1e-9)
    assert found.jump == pytest.approx(1.0, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("friction", [0.0, 0.2])
def test_ironing_is_smooth(tmp_path, friction):
    found = ironing(COMM, tmp_path / "iron.msh", size=0.2, steps=8, friction=friction)
    assert found.ripple < 0.01
    assert (found.tangential / found.normal).max() == pytest.approx(friction, abs=0.01)


@pytest.mark.slow
def test_a_roller_skids_at_coulombs_limit_and_rolls_below_it():
    skids, rolls = (roller(COMM, rolls=turns) for turns in (False, True))
    assert skids.ratio[-1] == pytest.approx(1.0, abs=0.05)
    assert skids.sticking[-1] == 0.0
    assert abs(rolls.ratio[-1]) < 0.15
    assert rolls.sticking[-1] > 0.7


def test_tubes_in_each_other_are_like_one(tmp_path):
    coarse, fine = (curved_patch(COMM, tmp_path / "tubes.msh", size) for size in (2.0, 1.0))
    assert fine.pressure == pytest.approx(1.0, abs=0.01)
    assert fine.scatter < 0.1
    assert fine.stress < 3e-3
    assert fine.stress < coarse.stress / 3
