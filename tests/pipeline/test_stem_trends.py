"""What the literature says of stems: signs, on the demo's femur."""

import pytest

from benchmarks.stem_trends import by_coating, by_material

pytestmark = pytest.mark.slow


def test_a_stiffer_stem_shields_the_calcar_more(tmp_path):
    losses = [loss for _, loss in by_material(tmp_path)]
    assert losses == sorted(losses)
    assert losses[-1] > losses[0] + 10.0


def test_less_coating_lets_a_stem_move_more(tmp_path):
    motions = [motion for _, motion in by_coating(tmp_path)]
    assert motions == sorted(motions)
    assert motions[-1] > 1.1 * motions[0]
