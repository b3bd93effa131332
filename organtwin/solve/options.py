"""Compiler and solver options, one named set each."""

from __future__ import annotations

import hashlib
import os
import platform
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
    forget_unfinished(folder)
    return {
        "cffi_extra_compile_args": list(C_FLAGS),
        "cache_dir": folder,
        "timeout": PATIENCE,
    }


def forget_unfinished(folder: Path) -> None:
    """Delete what processes that were killed while compiling left: others would wait for it."""
    for source in folder.glob("*.c"):
        with suppress(FileNotFoundError):  # another process may do the same
            unfinished = not source.with_suffix(".c.cached").exists()
            if unfinished and time.time() - source.stat().st_mtime > PATIENCE:
                source.unlink()


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
