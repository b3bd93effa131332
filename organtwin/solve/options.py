"""Compiler and solver options, one named set each."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs

#: Flags of the form compiler's C code; only -ffast-math changes the speed (about twofold).
C_FLAGS = ("-O3", "-march=native", "-ffast-math")


def cache_directory() -> Path:
    """Where compiled forms and kernels are kept; ``ORGANTWIN_CACHE`` overrides it."""
    return Path(os.environ.get("ORGANTWIN_CACHE", platformdirs.user_cache_dir("organtwin")))


@cache
def jit() -> dict[str, Any]:
    """Options that every form is compiled with.

    The cache is kept apart per processor type, since ``-march=native`` code runs on no other.
    """
    return {
        "cffi_extra_compile_args": list(C_FLAGS),
        "cache_dir": cache_directory() / f"forms-{processor()}",
    }


def processor() -> str:
    """Hash of what code compiled for this processor depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        flags = ""
    text = f"{platform.machine()} {flags} {C_FLAGS}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]
