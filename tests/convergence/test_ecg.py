"""Orders of the pseudo-ECG, of electrograms and of a dipole in a sphere."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.verify.ecg import electrogram, pseudo_ecg, sphere


def test_pseudo_ecg_has_order_two():
    coarse, fine = (pseudo_ecg(MPI.COMM_SELF, n) for n in (8, 16))
    assert np.log2(coarse / fine) > 1.85
    assert fine < 0.08


def test_electrograms_inside_the_tissue_have_order_two():
    coarse, fine = (electrogram(MPI.COMM_SELF, n) for n in (8, 32))
    assert np.log2(coarse / fine) / 2 > 1.7
    assert fine < 0.02


@pytest.mark.parametrize(
    "direction", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)], ids=["radial", "tangential"]
)
def test_dipole_in_a_sphere_has_order_two(tmp_path, direction):
    coarse, fine = (
        sphere(MPI.COMM_SELF, tmp_path / f"{size}.msh", size=size, direction=direction)
        for size in (10.0, 5.0)
    )
    assert np.log2(coarse.surface / fine.surface) > 1.6
    assert fine.surface < 0.01
    assert fine.electrodes < 0.02
    assert max(coarse.reciprocity, fine.reciprocity) < 1e-8
