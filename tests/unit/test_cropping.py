import numpy as np
import pytest

from organtwin.image.cropping import cropped
from organtwin.image.volume import Grid, Image

TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, -1.0]])


@pytest.fixture(scope="module")
def image():
    grid = Grid((20, 16, 12), np.array([1.0, 2.0, 3.0]), np.array([5.0, -7.0, 30.0]), TURN)
    return Image(np.arange(20 * 16 * 12, dtype=np.float32).reshape(grid.shape), grid, "HU")


def test_voxels_stay_where_they_are(image):
    places = image.grid.points(np.array([[8.2, 6.0, 5.0], [10.0, 8.0, 6.0]]))
    near = cropped(image, places, 3.0)
    assert near.values.shape == (9, 7, 4)
    for index in ((0, 0, 0), (8, 6, 3)):
        there = np.round(image.grid.index(near.grid.points(np.array(index)))).astype(int)
        assert near.values[index] == image.values[tuple(there)]


def test_one_voxel_is_left_of_places_outside(image):
    near = cropped(image, image.grid.points(np.array([[-50.0, -50.0, -50.0]])), 1.0)
    assert near.values.shape == (1, 1, 1)
