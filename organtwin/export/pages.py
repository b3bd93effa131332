"""HTML pages from the files of a result directory: what all reports share."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from organtwin.errors import InputError
from organtwin.export.atomic import write_text

#: Pictures up to this size stand in a page as they are (bytes); the quality of the others.
SMALL, QUALITY = 50_000, 90


@dataclass(frozen=True)
class Picture:
    """A picture in a report."""

    name: str
    title: str
    caption: str
    data: str


def templates() -> jinja2.Environment:
    """The package's templates; what is not known is left blank."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("organtwin.export"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.ChainableUndefined,
    )


def write_page(
    folder: Path, template: str, captions: Mapping[str, tuple[str, str]], **content: Any
) -> Path:
    """Write ``report.html`` with the pictures of the folder and the record of its run.

    Args:
        folder: Result directory.
        template: Name of the template.
        captions: Name of a picture → title and caption.
        content: What else the template names.
    """
    environment = templates()
    environment.filters |= {"number": _number, "duration": _duration, "moment": _moment}
    run = read_run(folder)
    hashes = run.get("inputs", {}).values()
    html = environment.get_template(template).render(
        run={**run, "inputs": {f"input {k}": h for k, h in enumerate(hashes, 1)}},
        pictures={picture.name: picture for picture in _pictures(folder / "pictures", captions)},
        missing=read_json(folder / "pictures" / "missing.json"),
        mesh=read_json(folder / "stages" / "mesh" / "mesh.json"),
        case=list(_flat(run.get("case", {}))),
        credibility=read_json(folder / "credibility.json"),
        directory=folder,
        **content,
    )
    path = folder / "report.html"
    write_text(path, html)
    return path


def read_run(folder: Path) -> dict[str, Any]:
    """Record of the run in a result directory.

    Raises:
        InputError: there is none.
    """
    run = read_json(folder / "run.json")
    if not run:
        raise InputError(str(folder / "run.json"), "no record of a run.", "Run the case first.")
    return run


def state_in_words(run: Mapping[str, Any]) -> str:
    """What became of a run, in a sentence."""
    return {
        "complete": "The run is complete.",
        "running": "The run had not ended when this was written.",
        "interrupted": "The run was interrupted: what follows is what it got to.",
        "failed": "The run failed: what follows is what it got to.",
    }.get(str(run.get("status")), "")


def _pictures(folder: Path, captions: Mapping[str, tuple[str, str]]) -> Iterator[Picture]:
    for name, (title, caption) in captions.items():
        path = folder / name
        if path.is_file():
            yield Picture(name, title, caption, embedded(path))


def embedded(path: Path) -> str:
    """A picture or film as a data URI for a page, which is handed on by mail.

    As WebP, a quarter of the size of what lies in ``pictures/`` for print; small ones as they are.
    """
    data, kind = path.read_bytes(), path.suffix.removeprefix(".")
    if len(data) > SMALL:
        packed = io.BytesIO()
        with Image.open(path) as picture:
            picture.save(packed, "WEBP", quality=QUALITY, save_all=kind == "gif")
        if packed.tell() < len(data):
            data, kind = packed.getvalue(), "webp"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file; empty if it is missing or broken."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content


def _flat(section: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    """Settings one per line: ``mesh.size`` → ``5 mm``."""
    for key, value in section.items():
        name = f"{place}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, list):
            yield name, ", ".join(_number(_nameless(item)) for item in value)
        else:
            yield name, _number(_nameless(value))


def _nameless(value: object) -> object:
    """A path by its place: reports are handed on, and people call files after patients."""
    return "in run.json" if isinstance(value, str) and value.startswith("/") else value


def _number(value: object) -> str:
    """A number with the digits that mean something; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, float | int):
        return "–" if value is None else str(value)
    if (float(value).is_integer() or abs(value) >= 1e3) and abs(value) < 1e7:
        return f"{value:,.0f}".replace(",", "\u202f")
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:.3g}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def _moment(text: str) -> str:
    """A time such as ``2026-11-21T05:00:00+0000`` as people write it."""
    try:
        return f"{datetime.fromisoformat(text):%-d %B %Y, %H:%M (UTC%:z)}"
    except (TypeError, ValueError):
        return str(text)
