"""Readers that a damaged or hostile file may crash, each in a process of its own.

VTK, gmsh, HDF5 and meshio believe the counts of a file: one that claims a thousand million cells
gets them allocated, and some ends the process. So they read in a forked one, with a limit of memory
and of time in proportion to the file, and hand back plain arrays and text (never pickles).
"""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, MeshError
from organtwin.mesh.conforming.child import in_child

type Arrays = tuple[NDArray[Any], ...]

#: Memory that a reader may take (bytes), and how many bytes more for each byte of the file: text
#: is some 40 bytes for a tetrahedron, of which gmsh makes some 500; compressed data grow more.
MEMORY, GROWTH = 2 << 30, 200
#: Time that a reader may take (s), and bytes of a file that it reads in another second at least.
PATIENCE, PACE = 120.0, 2e5


def read_apart[T](file: Path, read: Callable[[Path], T], kind: type[T]) -> T:
    """What a reader makes of a file, read in another process.

    Args:
        file: The file.
        read: Reader; must not touch MPI.
        kind: Dataclass of arrays, text, numbers and mappings of them that it gives.

    Raises:
        InputError: the reader's, or that it crashed, or took too much memory or too long.
    """
    size = file.stat().st_size

    def work() -> Arrays:
        _limit(MEMORY + GROWTH * size)
        try:
            return _packed(read(file))
        except InputError as error:
            return _as_text({"error": [error.place, error.problem, error.remedy]})
        except MemoryError:
            return _as_text({"error": [str(file), "claims more than it can hold.", REMEDY]})

    try:
        found = in_child(work, PATIENCE + size / PACE, str(file))
    except MeshError as error:
        told = error.problem.rstrip(".")
        raise InputError(str(file), f"can't be read ({told}).", REMEDY) from None
    return _unpacked(found, kind)


REMEDY = "The file is damaged, or claims more than it holds; export it again."


def _limit(more: int) -> None:
    """Limit the address space of this process to what it has and some more."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    room = pages * resource.getpagesize() + more
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or room < hard:
        resource.setrlimit(resource.RLIMIT_AS, (room, hard))


def _as_text(content: Any) -> Arrays:
    return (np.frombuffer(json.dumps(content).encode(), np.uint8),)


def _packed(found: Any) -> Arrays:
    """Text that tells what is where, then the arrays."""
    arrays: list[NDArray[Any]] = []

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays.append(value.astype(str) if value.dtype == object else value)
            return {"array": len(arrays)}
        if isinstance(value, np.generic):
            return {"value": value.item()}
        if isinstance(value, Mapping):
            return {"mapping": [[str(name), plain(one)] for name, one in value.items()]}
        if isinstance(value, tuple):
            return {"tuple": [plain(one) for one in value]}
        return {"value": value}

    layout = {field.name: plain(getattr(found, field.name)) for field in fields(found)}
    return (*_as_text({"fields": layout}), *arrays)


def _unpacked[T](arrays: Arrays, kind: type[T]) -> T:
    content = json.loads(arrays[0].tobytes())
    if "error" in content:
        raise InputError(*content["error"])

    def whole(told: Mapping[str, Any]) -> Any:
        if "array" in told:
            return arrays[told["array"]]
        if "mapping" in told:
            return {name: whole(one) for name, one in told["mapping"]}
        if "tuple" in told:
            return tuple(whole(one) for one in told["tuple"])
        return told["value"]

    return kind(**{name: whole(told) for name, told in content["fields"].items()})
