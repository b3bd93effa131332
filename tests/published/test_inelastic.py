"""Materials that remember, against closed forms and other codes."""

from __future__ import annotations

import pytest
from mpi4py import MPI

from organtwin.materials.nitinol import Nitinol, asymmetry
from organtwin.verify import inelastic

COMM = MPI.COMM_WORLD


@pytest.mark.slow
def test_relaxation_of_a_held_stretch():
    assert inelastic.relaxation(COMM) < 1e-8


def test_superelastic_loop_of_nitinol():
    """Loading from 385 to 460 MPa, unloading from 200 to 180 MPa, and nothing is left."""
    records = inelastic.nitinol_records(COMM)
    assert all(record.met for record in records), [r for r in records if not r.met]


def test_cube_that_grows_with_its_stretch():
    """Corner displacement of ambit's regression test."""
    found = inelastic.growth_by_stretch(COMM)
    assert found == pytest.approx([1.0812823521, -0.1436029181, -0.1436029181], abs=1e-8)


@pytest.mark.slow
def test_cube_that_grows_under_pressure():
    """Corner displacement of ambit's regression test."""
    found = inelastic.growth_by_stress(COMM)
    assert found == pytest.approx([0.17091249480] * 3, abs=1e-8)


@pytest.mark.slow
def test_creep_is_second_order_in_the_step():
    coarse, fine = inelastic.creep(COMM, 20), inelastic.creep(COMM, 40)
    assert fine < 2e-4
    # What is left beside the steps is the nonlinearity of a strain of 7e-6.
    assert coarse / fine > 3


@pytest.mark.slow
def test_compression_of_asymmetric_nitinol():
    law = Nitinol(52.65e6, 38.25e6, 0.33, 0.06, 385e3, 460e3, 200e3, 180e3, asymmetry(385e3, 500e3))
    loop = inelastic.nitinol_loop(COMM, law, largest=-0.03, steps=12)
    turn = loop.strain.argmin()
    xi, stress = loop.martensite[: turn + 1], loop.stress[: turn + 1]
    inside = (xi > 1e-6) & (xi < 1)
    slope = (stress[inside][-1] - stress[inside][0]) / (xi[inside][-1] - xi[inside][0])
    assert stress[inside][0] - slope * xi[inside][0] == pytest.approx(-500e3, rel=1e-3)
    assert loop.martensite[-1] == 0


@pytest.mark.slow
def test_yielding_tube():
    """Hill (1950): outer displacement at three radii of the plastic front."""
    coarse, fine = inelastic.plastic_tube(COMM, 4), inelastic.plastic_tube(COMM, 8)
    assert abs(fine).max() < 2.5e-3
    assert abs(fine).max() < abs(coarse).max() / 3


@pytest.mark.slow
def test_cook_membrane_of_hardening_metal():
    """Simo & Armero (1992) 6.97, Abaqus 6.90 mm."""
    assert inelastic.cook_plastic(COMM, 16) == pytest.approx(6.935, abs=0.07)


def test_growth_is_told_from_none():
    """Tolerances are well below what grows, and nothing is compared that is fixed."""
    tables = [table for *_, table in inelastic.GROWN.values()]
    references = [x for table in tables for row in table.values() for x in row]
    assert len(references) == 11
    assert all(abs(x - 1) * (1 - inelastic.SHARE) > 1e-3 for x in references)


@pytest.mark.slow
def test_growth_laws():
    records = inelastic.growth_records(COMM, quick=False)
    assert all(record.met for record in records), [r for r in records if not r.met]
