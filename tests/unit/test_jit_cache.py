"""Compiled forms that a killed process left unfinished."""

from __future__ import annotations

import _ctypes
import os
import time
from pathlib import Path

from organtwin.solve.options import PATIENCE, forget_unfinished, heal, is_whole, jit


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


def test_libraries_that_were_cut_short_are_compiled_again(tmp_path) -> None:
    python = next(Path(_ctypes.__file__).parent.glob("_ctypes.*.so"))
    for name, share in (("whole", 1.0), ("half", 0.5), ("empty", 0.0), ("lost", None)):
        (tmp_path / f"{name}.c").touch()
        (tmp_path / f"{name}.c.cached").touch()
        if share is not None:
            content = python.read_bytes()
            (tmp_path / f"{name}.cpython.so").write_bytes(content[: int(share * len(content))])
    heal(tmp_path)
    assert {path.name for path in tmp_path.glob("*.c*")} == {
        "whole.c", "whole.c.cached", "whole.cpython.so",
    }  # fmt: skip
    assert is_whole(python)


def test_who_is_alone_does_not_wait_for_the_dead(tmp_path) -> None:
    (tmp_path / "left.c").touch()
    heal(tmp_path)
    assert not (tmp_path / "left.c").exists()
    (tmp_path / "running.c").touch()  # by this process, which has a lock now
    heal(tmp_path)
    assert (tmp_path / "running.c").exists()
