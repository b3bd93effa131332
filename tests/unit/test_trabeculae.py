import numpy as np
import pytest

from organtwin.anatomy.trabeculae import trabecular_directions
from organtwin.errors import InputError
from organtwin.image.volume import Grid, Image

TURN = np.radians(35.0)
DIRECTION = np.array(
    [[np.cos(TURN), -np.sin(TURN), 0], [np.sin(TURN), np.cos(TURN), 0], [0, 0, -1.0]]
)
GRID = Grid((48, 48, 24), np.array([0.5, 0.5, 1.0]), np.array([5.0, -8.0, 30.0]), DIRECTION)
RODS = np.array([0.48, 0.6, 0.64])


def image(noise: float) -> Image:
    """Bright rods along `RODS`, 2.5 mm apart."""
    index = np.stack(np.indices(GRID.shape), axis=3).reshape(-1, 3)
    x = GRID.points(index)
    across = np.linalg.svd(RODS[None])[2][1:]
    phase = 2 * np.pi * (x @ across.T) / 2.5
    rods = 200 * (np.cos(phase[:, 0]) + np.cos(phase[:, 1]))
    rods += np.random.default_rng(1).normal(scale=noise, size=len(rods))
    return Image(rods.reshape(GRID.shape).astype(np.float32), GRID, "HU")


PLACES = GRID.points(np.random.default_rng(2).uniform(8, 15, (40, 3)))


def test_rods_are_found_in_an_oblique_and_mirrored_image_with_noise() -> None:
    found = trabecular_directions(image(100.0), PLACES, noise=0.4, window=2.0)
    angle = np.degrees(np.arccos(np.clip(np.abs(found.direction @ RODS), 0.0, 1.0)))
    assert angle.max() < 4.0
    assert found.anisotropy.min() > 0.8


def test_noise_alone_has_no_direction() -> None:
    values = np.random.default_rng(3).normal(size=GRID.shape).astype(np.float32)
    found = trabecular_directions(Image(values, GRID, "HU"), PLACES, noise=1.0, window=4.0)
    assert found.anisotropy.mean() < 0.5


def test_places_outside_of_the_image_are_refused() -> None:
    with pytest.raises(InputError, match=r"1 places lie outside of the image, the first at \(500"):
        trabecular_directions(image(0.0), np.vstack([PLACES, [500.0, 0.0, 0.0]]))
