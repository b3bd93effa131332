"""The model of scaling that the harness fits, and its table."""

import json

import numpy as np
import pytest

from benchmarks.scaling import FILE, fitted, foreseen, table


def test_the_model_finds_its_own_coefficients():
    known = np.array([2e-5, 3e-4, 1e-3])
    n = np.array([1e5, 1e5, 1e5, 2e5, 4e5, 8e5])
    p = np.array([1.0, 2.0, 4.0, 2.0, 4.0, 8.0])
    t = [foreseen(known, *pair) for pair in zip(n, p, strict=True)]
    found = fitted(n, p, t)
    assert found == pytest.approx(known, rel=1e-6)
    assert foreseen(found, 1e5, 1) == pytest.approx(2.0)  # work alone: no halo, no reductions


def test_no_coefficient_is_negative():
    found = fitted([1e5, 1e5, 1e5], [1, 2, 4], [1.0, 0.45, 0.2])  # better than linear
    assert (found >= 0.0).all()
    assert found[1:] == pytest.approx(0.0, abs=1e-12)


def test_the_table_tells_efficiency_and_says_what_is_extrapolated(tmp_path):
    def account(ranks, kind, unknowns, seconds):
        return {
            "problem": "bone", "kind": kind, "ranks": ranks, "unknowns": unknowns,
            "iterations": 9, "seconds": seconds, "messages": 10.0, "bytes": 2e4,
            "memory_rank_mib": 300.0, "memory_mib": 300.0 * ranks,
        }  # fmt: skip

    rows = [account(2, "strong", 1000, 0.6), account(1, "strong", 1000, 1.0),
            account(1, "weak", 1000, 1.0), account(2, "weak", 2000, 1.25)]  # fmt: skip
    (tmp_path / FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = table(tmp_path)
    strong = next(line for line in told.splitlines() if "| strong | 2 |" in line)
    weak = next(line for line in told.splitlines() if "| weak | 2 |" in line)
    assert "| 83 % |" in strong
    assert "| 80 % |" in weak
    assert "| 2.0 |" in strong  # kB of a message
    assert "(extrapolated) 16:" in told
    assert (tmp_path / "scaling.png").is_file()
