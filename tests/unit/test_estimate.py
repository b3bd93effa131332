"""The size that --dry-run foretells is about that of the runs it was fitted to."""

from pathlib import Path

import pytest

from organtwin.case import estimate as module
from organtwin.case.estimate import estimate
from organtwin.case.load import load_case

DEMOS = Path(__file__).parents[2] / "demos"
CASE = DEMOS / "heartbeat/case.toml"
#: Runs of demos on one rank: processor time (s), largest memory of a stage (MiB).
MEASURED = {"crt_optimisation": (148.0, 1189.0), "healthy_heart": (277.0, 1183.0)}
of_image = module.tissue


@pytest.fixture(scope="module")
def tissue():
    """Volume and surface of the walls: what is asked of the image, which all cases here share."""
    return module.tissue(load_case(CASE))


@pytest.fixture(autouse=True)
def read_once(tissue, monkeypatch):
    monkeypatch.setattr(module, "tissue", lambda case: tissue)


@pytest.mark.parametrize(
    # Edge (mm), tetrahedra, wall time (s) and memory (MiB) of the solve stage on two ranks.
    ("size", "cells", "time", "memory"),
    [(5.0, 9699, 299.0, 1948.0), (8.0, 3701, 114.0, 1220.0)],
)
def test_estimate_is_that_of_measured_runs(size, cells, time, memory):
    found = estimate(load_case(CASE, [f"mesh.size={size} mm"]), ranks=2)
    assert found.cells == pytest.approx(cells, rel=0.1)
    assert found.time - module.FIXED_TIME == pytest.approx(time, rel=0.5)
    assert found.memory == pytest.approx(memory, rel=0.5)
    assert found.tissue_volume == pytest.approx(105.0, rel=0.05)


@pytest.mark.parametrize("demo", MEASURED)
def test_estimates_are_good_to_a_factor_of_two(demo, monkeypatch):
    monkeypatch.setattr(module, "tissue", of_image)
    found = estimate(load_case(DEMOS / demo / "case.toml"))
    time, memory = MEASURED[demo]
    assert 0.5 < found.time / time < 2.0
    assert 0.5 < found.memory / memory < 2.0


def test_cheaper_models_and_adaptive_steps_are_expected_to_take_less():
    usual, eikonal, bidomain, adaptive = (
        estimate(load_case(CASE, settings)).time
        for settings in (
            [], ["electrophysiology.model=eikonal"], ["electrophysiology.model=bidomain"],
            ["mechanics.steps=adaptive"],
        )
    )  # fmt: skip
    assert eikonal < usual < bidomain
    assert adaptive < usual
    shared = estimate(load_case(CASE), ranks=4).time
    assert module.FIXED_TIME + (usual - module.FIXED_TIME) / 4 < shared < usual


def test_half_the_edge_makes_more_cells_and_refinement_eight_times_as_many():
    coarse, fine = (estimate(load_case(CASE, [f"mesh.size={h} mm"])) for h in (6.0, 3.0))
    assert 4 < fine.cells / coarse.cells < 8
    once = estimate(load_case(CASE, ["electrophysiology.refinements=1"]))
    twice = estimate(load_case(CASE, ["electrophysiology.refinements=2"]))
    assert twice.electrical_cells == pytest.approx(8 * once.electrical_cells, rel=1e-4)
