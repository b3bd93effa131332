"""What the literature says of stems: signs, on the demo's femur."""

import importlib.util
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
FILE = Path(__file__).parents[2] / "benchmarks/stem_trends.py"


@pytest.fixture(scope="module")
def trends():
    spec = importlib.util.spec_from_file_location("stem_trends", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_stiffer_stem_shields_the_calcar_more(trends, tmp_path):
    losses = [loss for _, loss in trends.by_material(tmp_path)]
    assert losses == sorted(losses)
    assert losses[-1] > losses[0] + 10.0


def test_less_coating_lets_a_stem_move_more(trends, tmp_path):
    motions = [motion for _, motion in trends.by_coating(tmp_path)]
    assert motions == sorted(motions)
    assert motions[-1] > 1.1 * motions[0]
