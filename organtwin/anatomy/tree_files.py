"""Purkinje trees in files: VTK's XML formats for other programs, JSON for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
from mpi4py import MPI

from organtwin.anatomy.purkinje import REGIONS, Tree
from organtwin.errors import InputError
from organtwin.parallel import on_root

_LINE = 3  # VTK's number of a cell of two points
_FORMATS = (".vtp", ".vtu", ".json")


def write_tree(tree: Tree, path: str | Path) -> Path:
    """Write a tree; by one rank only.

    Args:
        tree: The tree.
        path: ``.vtp`` or ``.vtu`` with the point arrays ``region``, ``junction`` and ``root``, or
            ``.json`` with the attributes of `Tree`.

    Raises:
        InputError: the suffix is none of these.
    """
    file = Path(path)
    _check_format(file)
    if file.suffix == ".json":
        file.write_text(json.dumps(_plain(tree)), encoding="utf-8")
        return file
    lines = np.column_stack([np.full(len(tree.segments), 2), tree.segments])
    if file.suffix == ".vtp":
        grid = pv.PolyData(tree.points, lines=lines.ravel())
    else:
        kinds = np.full(len(lines), _LINE, dtype=np.uint8)
        grid = pv.UnstructuredGrid(lines.ravel(), kinds, tree.points)
    ends = np.zeros(len(tree.points), dtype=np.int8)
    ends[tree.junctions] = 1
    grid.point_data["region"] = tree.region
    grid.point_data["junction"] = ends
    grid.point_data["root"] = (np.arange(len(tree.points)) == tree.root).astype(np.int8)
    grid.save(str(file))
    return file


def read_tree(path: str | Path, comm: MPI.Comm = MPI.COMM_SELF) -> Tree:
    """Read a tree; collective.

    Args:
        path: ``.vtp`` or ``.vtu`` with lines in mm and, at the points, ``root`` (1 at one point),
            ``junction`` (default: 1 at ends other than the root) and ``region`` (0 his, 1 left,
            2 right; default: all 0). Or ``.json`` with ``points``, ``segments``, ``root`` and
            optionally ``junctions`` and ``region`` (names).
        comm: Rank 0 reads.

    Raises:
        InputError: the file can't be read or is no tree of finite points and proper segments.
    """
    file = Path(path)
    return on_root(comm, lambda: _checked(_read(file), file))


def _read(file: Path) -> Tree:
    _check_format(file)
    if not file.is_file():
        raise InputError(str(file), "no such file.", "Check the path.")
    if file.suffix == ".json":
        return _from_json(file)
    try:
        grid = pv.read(str(file))
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(str(file), f"can't be read ({error}).", "Write it again.") from None
    return _from_grid(grid, file)


def _from_json(file: Path) -> Tree:
    try:
        plain: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        points = np.array(plain["points"], dtype=np.float64).reshape(-1, 3)
        segments = np.array(plain["segments"], dtype=np.int64).reshape(-1, 2)
        root = int(plain["root"])
        junctions = plain.get("junctions")
        names = plain.get("region", ["his"] * len(points))
        region = np.array([REGIONS.index(name) for name in names], dtype=np.int8)
    except KeyError as error:
        raise InputError(str(file), f"no {error}.", "Give points, segments and root.") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            str(file),
            f"not a tree ({error}).",
            f"points: triples, segments: pairs of integers, region: of {', '.join(REGIONS)}.",
        ) from None
    ends = _ends(segments, root, len(points)) if junctions is None else junctions
    return Tree(points, segments, np.unique(np.array(ends, dtype=np.int64)), region, root)


def _from_grid(grid: Any, file: Path) -> Tree:
    points, segments = np.asarray(grid.points, dtype=np.float64), _lines(grid, file)
    root = np.flatnonzero(_array(grid, "root", file))
    if len(root) != 1:
        raise InputError(
            str(file),
            f"{len(root)} points are marked as the root.",
            "Give a point array `root` that is 1 at one point and 0 elsewhere.",
        )
    junctions = _ends(segments, int(root[0]), len(points))
    if "junction" in grid.point_data:
        junctions = np.flatnonzero(_array(grid, "junction", file))
    region = np.zeros(len(points), dtype=np.int8)
    if "region" in grid.point_data:
        region = _array(grid, "region", file).astype(np.int8)
    return Tree(points, segments, junctions, region, int(root[0]))


def _array(grid: Any, name: str, file: Path) -> Any:
    if name not in grid.point_data:
        raise InputError(str(file), f"no point array `{name}`.", f"Add `{name}`.")
    values = np.asarray(grid.point_data[name])
    if values.ndim != 1:
        raise InputError(str(file), f"`{name}` has {values.ndim} axes.", "Give one number a point.")
    return values


def _lines(grid: Any, file: Path) -> Any:
    """Segments of the lines, polylines cut into them."""
    if isinstance(grid, pv.PolyData):
        flat, others = np.asarray(grid.lines), grid.n_cells - grid.n_lines
    elif isinstance(grid, pv.UnstructuredGrid):
        flat = np.asarray(grid.cells)
        others = int(np.count_nonzero(~np.isin(grid.celltypes, (_LINE, 4))))
    else:
        raise InputError(str(file), f"a {type(grid).__name__}.", "Save lines as .vtp or .vtu.")
    if others:
        raise InputError(str(file), f"{others} cells are no lines.", "Leave lines only.")
    pairs, place = [], 0
    while place < len(flat):
        nodes = flat[place + 1 : place + 1 + flat[place]]
        pairs.append(np.column_stack([nodes[:-1], nodes[1:]]))
        place += 1 + int(flat[place])
    return np.concatenate(pairs).astype(np.int64) if pairs else np.empty((0, 2), np.int64)


def _ends(segments: Any, root: int, n: int) -> Any:
    degree = np.bincount(segments[(segments >= 0) & (segments < n)], minlength=n)
    degree[root if 0 <= root < n else []] = 0
    return np.flatnonzero(degree == 1)


def _checked(tree: Tree, file: Path) -> Tree:
    """The tree, if it can be computed with."""
    n = len(tree.points)
    problem = ""
    if not len(tree.segments):
        problem = "no segments."
    elif not np.isfinite(tree.points).all():
        problem = f"{int((~np.isfinite(tree.points)).any(axis=1).sum())} points are not finite."
    elif len(tree.region) != n or not np.isin(tree.region, range(len(REGIONS))).all():
        problem = f"regions other than 0 to {len(REGIONS) - 1}, or not one for each point."
    elif not 0 <= tree.root < n:
        problem = f"root {tree.root} is not one of {n} points."
    elif _outside(tree.segments, n) or _outside(tree.junctions, n):
        problem = f"segments or junctions name points outside 0 to {n - 1}."
    elif len(np.unique(np.sort(tree.segments, axis=1), axis=0)) < len(tree.segments):
        problem = "some segments occur twice."
    elif (tree.lengths == 0.0).any():
        problem = f"{int((tree.lengths == 0.0).sum())} segments have no length."
    elif not len(tree.junctions):
        problem = "no junctions with the muscle."
    elif not tree.connected().all():
        problem = f"{int((~tree.connected()).sum())} points are not connected to the root."
    if problem:
        raise InputError(str(file), problem, "Correct the tree, lengths in mm.")
    return tree


def _outside(indices: Any, n: int) -> bool:
    return bool(((indices < 0) | (indices >= n)).any())


def _check_format(file: Path) -> None:
    if file.suffix not in _FORMATS:
        raise InputError(
            str(file), f"unknown format `{file.suffix}`.", f"Use {', '.join(_FORMATS)}."
        )


def _plain(tree: Tree) -> dict[str, Any]:
    return {
        "points": tree.points.tolist(),
        "segments": tree.segments.tolist(),
        "junctions": tree.junctions.tolist(),
        "region": [REGIONS[int(number)] for number in tree.region],
        "root": tree.root,
    }
