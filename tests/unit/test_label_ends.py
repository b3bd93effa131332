import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.image.label_ends import cut_end, without_cap
from organtwin.image.volume import LabelMap
from organtwin.image.walls import grow_wall_around

#: Directions out of a ball of blood, of two veins that end 26 mm from its middle.
VEINS = {"along an axis": np.array([1.0, 0.0, 0.0]), "oblique": np.array([-0.6, 0.48, 0.64])}
RADIUS, LENGTH = 5.0, 26.0


@pytest.fixture(scope="module")
def labels():
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, -1.0]])
    blank = LabelMap(np.zeros((64, 64, 64), np.uint8), {"blood": 1}, np.ones(3), np.zeros(3), turn)
    origin = -blank.points(np.array([[31.5, 31.5, 31.5]]))[0]
    x = blank.points(np.indices((64, 64, 64)).reshape(3, -1).T) + origin
    inside = np.linalg.norm(x, axis=1) < 14.0
    for out in VEINS.values():
        along = x @ out
        aside = np.linalg.norm(x - along[:, None] * out, axis=1)
        inside |= (along > 0.0) & (along < LENGTH) & (aside < RADIUS)
    values = inside.reshape(64, 64, 64).astype(np.uint8)
    return LabelMap(values, {"blood": 1}, np.ones(3), origin, turn)


@pytest.mark.parametrize("out", VEINS.values(), ids=VEINS)
def test_the_end_of_a_vein_is_found_from_a_point_beside_its_middle(labels, out):
    beside = np.cross(out, [0.3, 0.8, 0.1])
    point = LENGTH * out + 2.0 * beside / np.linalg.norm(beside)
    cut, end = cut_end(labels, ["blood"], tuple(point), "x")
    assert np.degrees(np.arccos(end.normal @ out)) < 12.0
    assert end.radius == pytest.approx(RADIUS, rel=0.15)
    assert np.linalg.norm(end.centre - LENGTH * out) < 4.0
    assert 0.0 <= labels.volume_ml("blood") - cut.volume_ml("blood") < 0.35
    beyond = (cut.points(np.argwhere(cut.mask("blood"))) - end.centre) @ end.normal
    near = np.linalg.norm(cut.points(np.argwhere(cut.mask("blood"))) - end.centre, axis=1) < 8.0
    assert beyond[near].max() < 1.0


def test_a_wall_has_no_cap_at_a_cut_end(labels):
    out = VEINS["oblique"]
    cut, end = cut_end(labels, ["blood"], tuple(LENGTH * out), "x")
    grown = grow_wall_around(cut, ["blood"], 2.0, "wall").labels
    opened = without_cap(grown, "wall", end, 2.0)
    ahead = end.centre + 1.5 * end.normal
    beside = VEINS["along an axis"] * (LENGTH + 1.0)

    def at(labels, x):
        return labels.values[tuple(np.round(labels.grid.index([x])[0]).astype(int))]

    assert at(grown, ahead) == grown.names["wall"]
    assert at(opened, ahead) == 0
    assert at(opened, beside) == opened.names["wall"]


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ((0.0, -14.0, 0.0), r"no vessel ends at \(0, -14, 0\) mm"),
        ((60.0, 0.0, 0.0), "mm away from `blood`. Points are in patient coordinates"),
        ((400.0, 0.0, 0.0), "more than 26 mm away from `blood`"),
    ],
)
def test_points_that_are_at_no_end_are_refused(labels, point, message):
    with pytest.raises(InputError, match=message):
        cut_end(labels, ["blood"], point, "x")
