"""Pictures in pages: small enough to be mailed, and still the same pictures."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from organtwin.export.pages import SMALL, embedded


def shaded(turn=0.0, width=900, height=600):
    """A ball in light, with grain: nothing that PNG packs well."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1.5 : 1.5 : width * 1j]
    depth = np.sqrt(np.clip(0.8 - x**2 - y**2, 0.0, None))
    grain = np.random.default_rng(0).normal(0.0, 3.0, (height, width, 3))
    light = np.clip(x * np.cos(turn) + y * np.sin(turn) + depth, 0.0, 1.5)
    colour = light[..., None] * np.array([150.0, 110.0, 90.0]) + grain
    return np.clip(np.where(depth[..., None] > 0, colour, 255.0), 0, 255).astype(np.uint8)


def opened(uri):
    head, data = uri.split(",")
    return head, Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_large_picture_is_a_quarter_of_its_size(tmp_path):
    file = tmp_path / "ball.png"
    Image.fromarray(shaded()).save(file)
    assert file.stat().st_size > SMALL
    uri = embedded(file)
    head, shown = opened(uri)
    assert head == "data:image/webp;base64"
    assert len(uri) < 0.25 * file.stat().st_size
    change = np.asarray(shown.convert("RGB"), float) - shaded()
    assert np.sqrt((change**2).mean()) < 4.0  # of 255, most of it grain


def test_a_film_keeps_its_frames(tmp_path):
    file = tmp_path / "ball.gif"
    frames = [Image.fromarray(shaded(turn, 450, 300)).quantize(128) for turn in (0.0, 1.0, 2.0)]
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=80, loop=0)
    assert file.stat().st_size > SMALL
    head, shown = opened(embedded(file))
    assert head == "data:image/webp;base64"
    assert (shown.n_frames, shown.info["loop"]) == (3, 0)


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_small_picture_stays(tmp_path, suffix):
    file = tmp_path / f"dot.{suffix}"
    Image.new("L", (8, 8)).save(file)
    head, data = embedded(file).split(",")
    assert head == f"data:image/{suffix};base64"
    assert base64.b64decode(data) == file.read_bytes()
