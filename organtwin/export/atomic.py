"""Files that are either the old or the new ones, never half of either."""

from __future__ import annotations

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in one go: a kill or a power cut leaves a whole file."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")  # others may write it as well
    with draft.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
