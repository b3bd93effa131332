"""Compiler and solver options, one named set each."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import struct
import sys
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import platformdirs

from organtwin.errors import InputError, suggestion

#: Flags of the form compiler's C code; only -ffast-math changes the speed (about twofold). Python
#: asks for debugging information by itself, which takes two fifths of the time for large forms.
C_FLAGS = ("-O3", "-march=native", "-ffast-math", "-g0")


def cache_directory() -> Path:
    """Where compiled forms and kernels are kept; ``ORGANTWIN_CACHE`` overrides it."""
    return Path(os.environ.get("ORGANTWIN_CACHE", platformdirs.user_cache_dir("organtwin")))


#: How long a process waits for another one that compiles the same form (s).
PATIENCE = 300


@cache
def jit() -> dict[str, Any]:
    """Options that every form is compiled with.

    The cache is kept apart per processor type, since ``-march=native`` code runs on no other.
    """
    folder = cache_directory() / f"forms-{processor()}"
    heal(folder)
    return {
        "cffi_extra_compile_args": list(C_FLAGS),
        "cache_dir": folder,
        "timeout": PATIENCE,
    }


#: Descriptor of the lock that tells other processes that this one uses the compiled forms.
_USING: list[int] = []


def heal(folder: Path) -> None:
    """Delete compiled forms that are unfinished or cut short; they are compiled again.

    Every process shares a lock while it lives. Who finds nobody else deletes all that is
    unfinished; with others about, only what is older than any of them would wait for.
    """
    alone = False
    with suppress(OSError):  # a file system without locks, or a cache that is only read
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".using", os.O_RDWR | os.O_CREAT, 0o600)
        _USING.append(descriptor)
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
            forget_unfinished(folder, 0.0)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    if not alone:
        forget_unfinished(folder)
    libraries = {library.name.split(".")[0]: library for library in folder.glob("*.so")}
    for ready in folder.glob("*.c.cached"):
        library = libraries.get(ready.name.split(".")[0])
        if library is None or not is_whole(library):
            with suppress(OSError):
                for file in (ready, ready.with_suffix(""), *([library] if library else [])):
                    file.unlink(missing_ok=True)


def forget_unfinished(folder: Path, patience: float = PATIENCE) -> None:
    """Delete what processes that were killed while compiling left: others would wait for it.

    Args:
        folder: Of the compiled forms.
        patience: Age (s) up to which a file may be that of a process that still compiles.
    """
    for source in folder.glob("*.c"):
        with suppress(OSError):  # another process may do the same; or the cache is only read
            unfinished = not source.with_suffix(".c.cached").exists()
            if unfinished and time.time() - source.stat().st_mtime >= patience:
                source.unlink()


def is_whole(library: Path) -> bool:
    """Whether a shared library has the length that its header tells; True for other formats.

    The table of an ELF file's sections, where the linker writes it last, ends the file (System V
    ABI, chapter 4: e_shoff, e_shentsize and e_shnum).
    """
    try:
        size = library.stat().st_size
        with library.open("rb") as stream:
            header = stream.read(64)
    except OSError:
        return False
    if sys.platform != "linux":
        return size > 0
    if len(header) < 64 or header[:4] != b"\x7fELF" or header[4] != 2:
        return False
    order = "<" if header[5] == 1 else ">"
    (start,) = struct.unpack_from(order + "Q", header, 0x28)
    entry, number = struct.unpack_from(order + "HH", header, 0x3A)
    return bool(start > 0 and start + entry * number <= size)


def processor() -> str:
    """Hash of what code compiled for this processor depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        flags = ""
    text = f"{platform.machine()} {flags} {C_FLAGS}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


#: PETSc options that linear solvers read most, for suggestions.
COMMON = (
    "ksp_type", "ksp_rtol", "ksp_atol", "ksp_max_it", "ksp_gmres_restart", "ksp_monitor",
    "ksp_view", "ksp_converged_reason", "pc_type", "pc_factor_mat_solver_type", "pc_gamg_threshold",
    "pc_fieldsplit_type", "pc_fieldsplit_schur_fact_type", "fieldsplit_u_ksp_type",
    "fieldsplit_u_pc_type", "fieldsplit_p_ksp_type", "fieldsplit_p_pc_type",
    "mg_levels_ksp_type", "mg_levels_ksp_max_it", "mg_levels_pc_type", "mg_coarse_pc_type",
    "fieldsplit_u_mg_levels_ksp_type", "fieldsplit_u_mg_levels_ksp_max_it",
    "fieldsplit_u_mg_levels_pc_type", "fieldsplit_u_mg_coarse_pc_type", "mat_mumps_icntl_14",
    "mat_mumps_icntl_35", "mat_mumps_cntl_7",
)  # fmt: skip


def _petsc() -> Any:
    """PETSc's options; imported here, as `organtwin doctor` has to run without PETSc."""
    from petsc4py import PETSc

    return PETSc.Options()


def get(name: str) -> str | None:
    """Value of a PETSc option, None if it is not set; empty for a flag."""
    database = _petsc()
    return str(database.getString(name, "")) if database.hasName(name) else None


def put(prefix: str, values: Mapping[str, object]) -> None:
    """Set PETSc options under a prefix, as ``-PREFIXNAME VALUE`` on the command line would.

    Args:
        prefix: For example ``mechanics_``.
        values: Name (without the prefix) to value; None for a flag.
    """
    database = _petsc()
    for name, value in values.items():
        database.setValue(prefix + name, "" if value is None else str(value))


class Defaults:
    """Our own options, set while a solver reads its options and where the user has set none."""

    def __init__(self, prefix: str, values: Mapping[str, str]) -> None:
        self._prefix = prefix
        self._values = values
        self._set: list[str] = []

    @property
    def names(self) -> tuple[str, ...]:
        """Options that are ours, with their prefix."""
        return tuple(self._set)

    def __enter__(self) -> None:
        """Set what is not set yet."""
        for name, value in self._values.items():
            if get(self._prefix + name) is None:
                put(self._prefix, {name: value})
                self._set.append(self._prefix + name)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove it."""
        for name in self._set:
            _petsc().delValue(name)
        self._set.clear()


def require_used(prefix: str, ours: Collection[str] = ()) -> None:
    """Refuse options under a prefix that no solver read: they are mistyped, or have no effect.

    Args:
        prefix: Of a solver that has been set up.
        ours: Options, with their prefix, that are not the user's.

    Raises:
        InputError: an option was set and not used.
    """
    database = _petsc()
    for name in database.getAll():
        if not name.startswith(prefix) or name in ours or database.used(name):
            continue
        short = name.removeprefix(prefix)
        if short.startswith("fallback_"):
            continue
        raise InputError(
            f"PETSc option -{name}",
            "no solver reads it, so it would have no effect.",
            suggestion(short, COMMON),
        )
