"""The patient's directions and a bar that tells the scale, drawn into a rendered picture."""

from __future__ import annotations

import numpy as np
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from organtwin.export.scene import Stance
from organtwin.export.series import Array

_INK = (60, 60, 60)
#: Lengths of bars (mm).
_BARS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)


def marked(
    image: NDArray[np.uint8], view: Stance, *, towards: Array | None = None, zoom: float = 1.0
) -> NDArray[np.uint8]:
    """Draw arrows to the patient's left, back and head, and a bar, in the lower corners.

    Args:
        image: What `organtwin.export.scene.render` drew, (height, width, 3).
        view: How it stands.
        towards: As it was rendered.
        zoom: As it was rendered.

    Returns:
        The picture with its marks, of the same size.
    """
    eye = view.front if towards is None else towards
    eye = eye / np.linalg.norm(eye)
    right = np.cross(view.up, eye)
    right /= np.linalg.norm(right)
    rows = np.stack([right, np.cross(eye, right)])
    height, width = image.shape[:2]
    per_mm = zoom * height / (2.0 * view.size)
    inked = np.flatnonzero((image < 250).any(axis=(1, 2)))
    size = 0.05 * width
    bottom = min(int(inked[-1]) if len(inked) else height, height - 4.2 * size)
    page = Image.fromarray(np.ascontiguousarray(image))
    pen = ImageDraw.Draw(page)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), max(9, int(0.024 * width)))
    inked = np.flatnonzero((image < 250).any(axis=(0, 2)))
    left, end = (int(inked[0]), int(inked[-1])) if len(inked) else (0, width)
    at = np.array([left + 1.8 * size, bottom + 2.1 * size])
    line = max(2, width // 350)
    for axis, letter in zip(np.eye(3), "LPH", strict=True):
        way = rows @ axis * [1.0, -1.0]
        if np.linalg.norm(way) < 0.25:
            continue
        pen.line([*at, *(at + size * way)], fill=_INK, width=line)
        pen.text(tuple(at + 1.45 * size * way), letter, fill=_INK, font=font, anchor="mm")
    length = max((b for b in _BARS if b * per_mm < 0.3 * width), default=_BARS[0])
    x, y = end - 0.5 * size, bottom + 2.6 * size
    pen.line([x - length * per_mm, y, x, y], fill=_INK, width=2 * line)
    pen.text((x - 0.5 * length * per_mm, y - 0.5 * size), f"{length:g} mm", fill=_INK, font=font,
             anchor="mm")  # fmt: skip
    return np.asarray(page)
