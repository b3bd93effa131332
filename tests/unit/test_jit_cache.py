"""Compiled forms that a killed process left unfinished."""

from __future__ import annotations

import os
import time

from organtwin.solve.options import PATIENCE, forget_unfinished, jit


def test_only_what_is_old_and_unfinished_is_deleted(tmp_path) -> None:
    for name in ("finished", "running", "left"):
        (tmp_path / f"{name}.c").touch()
    (tmp_path / "finished.c.cached").touch()
    old = time.time() - 2 * PATIENCE
    for name in ("finished", "left"):
        os.utime(tmp_path / f"{name}.c", (old, old))
    forget_unfinished(tmp_path)
    assert {path.name for path in tmp_path.glob("*.c")} == {"finished.c", "running.c"}
    forget_unfinished(tmp_path / "not there yet")


def test_a_process_waits_for_another_that_compiles() -> None:
    assert jit()["timeout"] == PATIENCE >= 60
