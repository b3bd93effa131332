"""Parallel views with axes in mm, so that bars, names and distances are drawn over pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.patheffects as effects
import numpy as np
import pyvista as pv
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from organtwin.export.scene import Stance, render

Array = NDArray[np.float64]
#: Something that is seen, and how.
type Part = tuple[pv.DataSet, Mapping[str, object]]

#: Width of a picture's panel in pixels.
PIXELS = 820
_HALO = [effects.withStroke(linewidth=2.6, foreground="white")]


@dataclass(frozen=True)
class View:
    """A parallel view.

    Attributes:
        eye: Unit vector to the one who looks, (3,).
        up: Direction that points up on the picture, (3,).
        centre: In the middle of the picture (mm), (3,).
        size: Half of its width and height (mm).
    """

    eye: Array
    up: Array
    centre: Array
    size: tuple[float, float]

    @property
    def screen(self) -> Array:
        """Rows: to the right and up on the picture, (2, 3)."""
        right = np.cross(self.up, self.eye)
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(self.eye, right)])

    def flat(self, points: Array) -> Array:
        """Where points lie on the picture (mm), (..., 2)."""
        return np.asarray((points - self.centre) @ self.screen.T)

    def image(self, parts: Sequence[Part], pixels: int = PIXELS) -> NDArray[np.uint8]:
        """RGB picture."""
        wide, high = self.size
        stance = Stance(
            self.screen[1], self.screen[0], self.eye, self.centre, high, self.centre, self.centre
        )
        shape = (pixels, round(pixels * high / wide))
        return render(parts, stance, towards=self.eye, pixels=shape)


def text(ax: Axes, at: Iterable[float], words: str, **how: object) -> None:
    """Words with a white edge, readable over anything."""
    x, y = at
    look = {"fontsize": 10, "ha": "center", "va": "center", "path_effects": _HALO} | how
    ax.text(x, y, words, zorder=9, **look)


def bar(
    figure: Figure, axes: Axes | Sequence[Axes], colours: Colormap | str,
    limits: tuple[float, float], label: str, *, shrink: float = 0.45, extend: str = "neither",
) -> None:  # fmt: skip
    """A colour bar under pictures."""
    made = figure.colorbar(
        ScalarMappable(Normalize(*limits), colours), ax=axes, location="bottom", shrink=shrink,
        aspect=38, pad=0.02, extend=extend,
    )  # fmt: skip
    made.set_label(label, fontsize=11)
    made.outline.set_visible(False)
    made.ax.grid(visible=False)


def save(figure: Figure, path: Path) -> Path:
    """Write a picture without empty margins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=115, bbox_inches="tight", pad_inches=0.1)
    return path
