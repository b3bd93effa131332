"""The slab of Niederer et al. (2011), as far as a coarse mesh goes."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.verify.electrical_problems import P8
from organtwin.verify.niederer import BY_NAME, DEFAULT, activation


@pytest.fixture(scope="module")
def default():
    return activation(MPI.COMM_SELF, 0.5, DEFAULT, 0.05)


def test_default_scheme_is_within_a_tenth_on_half_a_millimetre(default):
    assert default[7] == pytest.approx(P8, rel=0.1)


def test_the_wave_runs_faster_along_the_fibres(default):
    """From P1, the stimulated corner: 20 mm along the fibres cost as much as 7 mm across."""
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = default
    assert 1.0 < p1 < 2.0  # within the stimulus of 2 ms
    assert p1 < p5 < p9 < p8
    assert p8 == default[:8].max() or p4 == default[:8].max()
    assert 20.0 / (p3 - p1) > 1.5 * 7.0 / (p2 - p1)
    np.testing.assert_allclose([p6, p7], [p2, p3], rtol=0.1)


def test_naive_schemes_are_late_and_early():
    late = activation(MPI.COMM_SELF, 0.5, BY_NAME["P1 lumped, ICI"], 0.05)[7]
    early = activation(MPI.COMM_SELF, 0.5, BY_NAME["P1 consistent, SVI"], 0.05)[7]
    assert late > 2.5 * P8
    assert early < 0.9 * P8
