"""A measured root in one file, to be read back as it was: numbers and names, nothing that runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from organtwin.aortic_root.calcium import Blood, Calcium, Score
from organtwin.aortic_root.definitions import Quantity
from organtwin.aortic_root.levels import Levels, RootFrame
from organtwin.aortic_root.measurements import RootMeasures
from organtwin.aortic_root.ostia import Ostium
from organtwin.aortic_root.outline import Outline
from organtwin.aortic_root.septum import MembranousSeptum
from organtwin.errors import InputError
from organtwin.landmarks.record import Confidence, Curve, Evidence, Landmark, Plane, Point

#: All that a file may make.
RECORDS: Mapping[str, type[Any]] = {
    one.__name__: one
    for one in (
        Blood, Calcium, Confidence, Curve, Evidence, Landmark, Levels, MembranousSeptum, Ostium,
        Outline, Plane, Point, Quantity, RootFrame, RootMeasures, Score,
    )
}  # fmt: skip
#: Name of the tree beside the arrays.
TREE = "tree"


def store_measures(found: RootMeasures, path: str | Path) -> Path:
    """Write what `measure_root` found.

    Args:
        found: Measures.
        path: ``.npz`` file.
    """
    arrays: list[NDArray[Any]] = []
    tree = json.dumps(_plain(found, arrays))
    named = {f"a{number}": array for number, array in enumerate(arrays)}
    with Path(path).open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **{TREE: np.array(tree)}, **named)
    return Path(path)


def stored_measures(path: str | Path) -> RootMeasures:
    """Read what `store_measures` wrote.

    Raises:
        InputError: the file is missing, damaged, or of another version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = _built(json.loads(str(file[TREE])), file)
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise InputError(str(path), f"no measures of a root: {error}", "Measure again.") from None
    if not isinstance(found, RootMeasures):
        raise InputError(str(path), "no measures of a root.", "Measure again.")
    return found


def _plain(one: Any, arrays: list[NDArray[Any]]) -> Any:
    """What JSON knows of it; arrays are put aside and referred to by their number."""
    name = type(one).__name__
    if RECORDS.get(name) is type(one):
        return {"is": name, **{f.name: _plain(getattr(one, f.name), arrays) for f in fields(one)}}
    match one:
        case np.ndarray():
            arrays.append(one)
            return {"is": "array", "number": len(arrays) - 1}
        case np.generic():
            return one.item()
        case tuple() | list():
            return {"is": "tuple", "of": [_plain(part, arrays) for part in one]}
        case Mapping():
            pairs = [[_plain(k, arrays), _plain(v, arrays)] for k, v in one.items()]
            return {"is": "mapping", "of": pairs}
        case None | bool() | int() | float() | str():
            return one
    raise TypeError(f"a measure of the kind {name} can't be stored")


def _built(plain: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """What `_plain` was made of."""
    if not isinstance(plain, dict):
        return plain
    rest = {key: value for key, value in plain.items() if key != "is"}
    match plain["is"]:
        case "array":
            return arrays[f"a{rest['number']:d}"]
        case "tuple":
            return tuple(_built(part, arrays) for part in rest["of"])
        case "mapping":
            return {_built(k, arrays): _built(v, arrays) for k, v in rest["of"]}
        case name:
            return RECORDS[name](**{key: _built(value, arrays) for key, value in rest.items()})
