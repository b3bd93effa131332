"""The pictures of a result directory: each by itself, so that one that fails costs no other."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from organtwin.errors import InputError
from organtwin.export.atomic import write_text

logger = logging.getLogger(__name__)

#: Told the fraction done and the name of the next picture.
type Progress = Callable[[float, str], object]
#: Draws a picture into a file.
type Draw = Callable[[Path], object]


def draw_pictures(
    directory: Path,
    jobs: Mapping[str, Draw],
    progress: Progress | None = None,
    *,
    missing: Mapping[str, str] | None = None,
) -> list[Path]:
    """Draw pictures into ``pictures/`` of a result directory, over those that are there.

    Args:
        directory: Result directory.
        jobs: Name of a picture → what draws it.
        progress: Called with the fraction done and the name of the next picture.
        missing: What is known to be missing already, with the reason.

    Returns:
        The pictures drawn, in the order of the jobs. What could not be drawn is told, with the
        reason, in ``pictures/missing.json``.
    """
    folder = directory / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []
    reasons = dict(missing or {})
    for done, (name, draw) in enumerate(jobs.items()):
        if progress is not None:
            progress(done / len(jobs), name)
        path = folder / name
        path.unlink(missing_ok=True)
        try:
            draw(path)
            drawn.append(path)
        except InputError as error:
            reasons[name] = str(error)
        except FileNotFoundError as error:
            reasons[name] = f"no file {error.filename}"
        except KeyError as error:
            reasons[name] = f"no column or field {error}"
        except Exception as error:  # a picture is not worth the report of a long run
            logger.exception("%s can't be drawn", name)
            reasons[name] = f"{type(error).__name__}: {error}"
    write_text(folder / "missing.json", json.dumps(reasons, indent=1, ensure_ascii=False) + "\n")
    if progress is not None:
        progress(1.0, "pictures")
    return drawn
