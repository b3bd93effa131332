"""Rendered pictures side by side with titles, legends and colour bars, or one after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from organtwin.export.diagrams import STYLE
from organtwin.export.series import Array

type Picture = NDArray[np.uint8]


def panels(
    images: list[Picture], titles: list[str], columns: int | None = None
) -> tuple[Figure, list[Axes]]:
    """Rendered pictures side by side under their titles, white margins cut off alike."""
    images = _crop(images)
    height, width = images[0].shape[:2]
    columns = columns or len(images)
    each = 12.0 / columns
    figure = Figure(figsize=(12.0, each * height / width + 1.15), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, columns, squeeze=False)[0])
    for ax, image, title in zip(axes, images, titles, strict=True):
        ax.imshow(image, interpolation="lanczos")
        ax.set_title(title, fontsize=13)
        ax.set_axis_off()
    return figure, axes


def _crop(images: list[Picture], margin: int = 8) -> list[Picture]:
    """Cut the white frame that all images have in common."""
    ink = np.any([(image < 250).any(axis=2) for image in images], axis=0)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return images
    top, bottom = max(rows[0] - margin, 0), rows[-1] + margin
    left, right = max(columns[0] - margin, 0), columns[-1] + margin
    return [image[top:bottom, left:right] for image in images]


def legend(axes: Axes, names: Sequence[tuple[str, str]], columns: int = 2) -> None:
    """Legend under a picture of (colour, name)."""
    axes.legend(
        handles=[Patch(color=colour, label=name) for colour, name in names],
        loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=columns, fontsize=11,
        handlelength=1.2, handleheight=1.0, columnspacing=1.4,
    )  # fmt: skip


def colour_bar(
    figure: Figure,
    axes: list[Axes],
    colours: Colormap,
    norm: Normalize,
    label: str,
    ticks: Array | None = None,
) -> None:
    """One colour bar under all the pictures."""
    bar = figure.colorbar(
        ScalarMappable(norm, colours), ax=axes, location="bottom", shrink=0.5, aspect=36, pad=0.02,
        ticks=ticks,
    )  # fmt: skip
    bar.set_label(label, fontsize=12)
    bar.outline.set_visible(False)
    bar.ax.grid(visible=False)


def film_frames(
    images: list[Picture], titles: list[str], colours: Colormap, norm: Normalize, label: str
) -> list[Picture]:
    """Frames with a title and a colour bar."""
    images = _crop(images)
    height, width = images[0].shape[:2]
    with mpl.rc_context(STYLE | {"figure.dpi": 100}):
        figure = Figure(figsize=(7.0, 7.0 * height / width + 0.9), layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_axis_off()
        picture = axes.imshow(images[0], interpolation="lanczos")
        title = axes.set_title(titles[0], fontsize=13, family="DejaVu Sans Mono")
        colour_bar(figure, [axes], colours, norm, label)
        result = []
        for image, text in zip(images, titles, strict=True):
            picture.set_data(image)
            title.set_text(text)
            canvas.draw()
            frame = np.asarray(canvas.buffer_rgba())[..., :3]
            even = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
            result.append(np.ascontiguousarray(even))
            figure.set_layout_engine("none")  # the layout of the first frame is that of all
    return result


def save_film(frames: list[Picture], path: Path) -> Path:
    """GIF with one palette for all frames, so that nothing flickers, and MP4 beside it."""
    palette = _palette(frames[:: max(len(frames) // 8, 1)])
    pages = [Image.fromarray(f).quantize(palette=palette) for f in frames]
    colours = np.array(palette.getpalette()).reshape(-1, 3)
    colours[np.asarray(pages[0])[1, 1]] = 255  # the background is white, not nearly so
    for page in pages:
        page.putpalette(colours.ravel().tolist())
    pages[0].save(path, save_all=True, append_images=pages[1:], duration=80, loop=0, optimize=False)
    _save_mp4(frames, path.with_suffix(".mp4"))
    return path


def _palette(frames: list[Picture]) -> Image.Image:
    """256 colours that serve all frames; the white around would take most of them otherwise."""
    pixels = np.concatenate([frame[::3, ::3].reshape(-1, 3) for frame in frames])
    coloured = pixels[pixels.min(axis=1) < 245]
    side = max(1, int(np.sqrt(len(coloured))))
    square = np.resize(coloured, (side, side, 3)) if len(coloured) else pixels[:1].reshape(1, 1, 3)
    white = np.full((1, side, 3), 255, dtype=np.uint8)
    image = Image.fromarray(np.vstack([square, white]))
    return image.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=4)


def _save_mp4(frames: list[Picture], path: Path) -> None:
    """The same as MP4, three rounds; without ffmpeg there is only the GIF."""
    path.unlink(missing_ok=True)
    try:
        import imageio_ffmpeg

        height, width = frames[0].shape[:2]
        writer = imageio_ffmpeg.write_frames(
            str(path),
            (width, height),
            fps=12,
            quality=8,
            macro_block_size=2,
            ffmpeg_log_level="error",
        )
    except (ImportError, RuntimeError):
        return
    writer.send(None)
    for frame in frames * 3:
        writer.send(frame)
    writer.close()


def save(figure: Figure, path: Path) -> Path:
    """Write a figure without empty margins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, bbox_inches="tight", pad_inches=0.12)
    return path
