"""The line and the table of the memory that reading a mesh needs, and the boxes it reads."""

import numpy as np
import pytest

from benchmarks.mesh_memory import BEYOND, line, shuffled_box, table
from organtwin.mesh.quality import signed_volumes


def account(cells, ranks, rank, peak, left):
    return {"cells": cells, "ranks": ranks, "rank": rank, "peak": peak, "left": left}


def test_the_line_finds_its_own_coefficients():
    n = np.array([1e5, 2.5e5, 1e6])
    assert line(n, 3.0 + 4e-4 * n) == pytest.approx((3.0, 4e-4))


def test_no_memory_is_negative_at_nothing():
    a, b = line([1e5, 2e5, 4e5], [20.0, 50.0, 110.0])  # would start below zero
    assert a == 0.0
    assert b > 0.0


def test_the_table_tells_ratios_and_says_what_is_extrapolated():
    accounts = [account(200_000, 1, 0, 62.0, 31.0), account(100_000, 2, 1, 40.0, 16.0),
                account(100_000, 1, 0, 32.0, 16.0), account(100_000, 2, 0, 20.0, 16.0)]  # fmt: skip
    told = table(accounts).splitlines()
    assert told[2] == "| 100,000 | 1 | 0 | 32 | 16 | 2.00 |"
    assert told[4] == "| 100,000 | 2 | 0 | 20 | 16 | 1.25 |"
    # 2 MiB and 300 MiB of a million: two ranks do not count.
    assert f"{BEYOND:,} tetrahedra on one rank (extrapolated from 200,000)" in told[-1]
    assert f"peak {(2 + 3000) / 1024:.1f} GiB, left {(1 + 1500) / 1024:.1f} GiB" in told[-1]


def test_one_size_gives_no_line():
    assert "nothing of others" in table([account(100_000, 1, 0, 32.0, 16.0)])


def test_a_box_is_whole_and_in_no_order():
    box = shuffled_box(6 * 4**3)
    volume = signed_volumes(box.points, box.cells)
    assert len(volume) == 6 * 4**3
    assert (volume > 0.0).all()
    assert volume.sum() == pytest.approx(1e6)
    assert np.unique(box.cells).tolist() == list(range(5**3))
    assert np.count_nonzero(box.regions == 1) == len(volume) // 2
    assert np.abs(np.diff(box.cells[:, 0])).mean() > 20  # neighbours in the file are not near
