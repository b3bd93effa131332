"""A file of gmsh, read once on rank 0 and dealt out on the way: no rank has a whole mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.msh_text import (
    DAMAGED,
    Head,
    Index,
    at_same_place,
    find,
    integers,
    numbers,
    plain,
    read_head,
    skip_lines,
)
from organtwin.parallel import on_root

type Points = NDArray[np.float64]

#: gmsh's number of a kind of element → its number of nodes.
NODES = {1: 2, 2: 3, 3: 4, 4: 4, 5: 8, 8: 3, 9: 6, 10: 9, 11: 10, 12: 27, 15: 1}
#: gmsh's number of straight tetrahedra.
TETRAHEDRA = 4
#: Rows that are read and dealt at once.
ROWS = 50_000


@dataclass
class Part:
    """What one rank has of a mesh: the next of the file's nodes and cells, and some facets.

    Attributes:
        head: What all ranks know.
        points: Nodes (mm), of the rank's share of all numbers, shape (n, 3).
        cells: Numbers of nodes from 0, in gmsh's order, shape (m, k).
        regions: Integer of the physical group of each cell, shape (m,).
        facets: Numbers of nodes from 0, shape (f, l).
        facet_tags: Integer of the physical group of each facet, shape (f,).
        kind: gmsh's number of the kind of cells.
    """

    head: Head
    points: Points
    cells: Index
    regions: NDArray[np.int32]
    facets: Index
    facet_tags: NDArray[np.int32]
    kind: int

    def take_mesh(self) -> tuple[Points, Index]:
        """Points and cells, which are not kept here any longer."""
        taken = self.points, self.cells
        self.points, self.cells = np.empty((0, 3)), np.empty((0, 0), np.int64)
        return taken


def read_parts(file: Path, comm: MPI.Comm) -> Part:
    """This rank's part of a mesh file; collective.

    Args:
        file: ``.msh`` file that rank 0 sees.
        comm: Ranks that get parts.

    Raises:
        InputError: the file is damaged, its cells are of several kinds or not in one physical
            group each.
    """
    with plain(file, comm) as readable:
        stream = readable.open("rb") if comm.rank == 0 else None
        try:
            head = on_root(comm, lambda: read_head(file, cast(BinaryIO, stream)))
            share = _Share(head, comm)
            if stream is not None:
                _deal(share, lambda: _read_body(file, stream, share))
            else:
                share.receive()
        finally:
            if stream is not None:
                stream.close()
    return share.part(file)


@dataclass
class _Share:
    """What this rank has got so far; on rank 0 also the way to the others."""

    head: Head
    comm: MPI.Comm
    points: Points = field(init=False)
    placed: int = 0
    cells: list[Index] = field(default_factory=list)
    regions: list[NDArray[np.int32]] = field(default_factory=list)
    facets: list[Index] = field(default_factory=list)
    facet_tags: list[NDArray[np.int32]] = field(default_factory=list)
    kinds: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        first = min(self.comm.rank * self.nodes_of_one, self.head.nodes)
        last = min(first + self.nodes_of_one, self.head.nodes)
        self.points = np.full((last - first, 3), np.nan)

    @property
    def nodes_of_one(self) -> int:
        """Nodes of each rank but the last ones."""
        return -(-self.head.nodes // self.comm.size)

    def give(self, rank: int, what: str, *arrays: NDArray[Any]) -> None:
        """Hand rows to a rank; on rank 0."""
        if rank == self.comm.rank:
            self.take(what, *arrays)
        else:
            self.comm.send((what, *arrays), rank)

    def take(self, what: str, rows: NDArray[Any], values: NDArray[Any]) -> None:
        """Keep rows."""
        if what == "points":
            self.points[rows - self.comm.rank * self.nodes_of_one] = values
            self.placed += len(rows)
        elif what == "cells":
            self.cells.append(rows)
            self.regions.append(values)
        else:
            self.facets.append(rows)
            self.facet_tags.append(values)

    def end(self, failure: Exception | None) -> None:
        """Tell the others that this was all; on rank 0."""
        for rank in range(1, self.comm.size):
            self.comm.send(("end", failure, self.kinds), rank)

    def receive(self) -> None:
        """Keep what rank 0 sends, until it says that this was all."""
        while True:
            what, *rows = self.comm.recv(source=0)
            if what == "end":
                failure, self.kinds = rows
                if failure is not None:
                    raise failure
                return
            self.take(what, *rows)

    def part(self, file: Path) -> Part:
        """All of it; collective."""
        if self.comm.allreduce(self.placed) != self.head.nodes or self.comm.allreduce(
            not np.isfinite(self.points).all()
        ):
            raise InputError(str(file), "nodes are missing or not finite.", DAMAGED)
        kind, facet_kind = self.kinds
        return Part(
            self.head, self.points, _joined(self.cells, NODES[kind]), _joined(self.regions),
            _joined(self.facets, NODES[facet_kind] if facet_kind else self.head.dim),
            _joined(self.facet_tags), kind,
        )  # fmt: skip


def _joined[T: np.generic](rows: list[NDArray[T]], width: int = 0) -> NDArray[T]:
    """One array of many, which are let go."""
    if not rows:
        kind: Any = np.int64 if width else np.int32
        return np.empty((0, width) if width else 0, kind)
    found = np.concatenate(rows)
    rows.clear()
    return found


def _deal(share: _Share, read: Callable[[], None]) -> None:
    try:
        read()
    except Exception as error:
        share.end(error)
        raise
    share.end(None)


def _read_body(file: Path, stream: BinaryIO, share: _Share) -> None:
    """Deal nodes and elements; on rank 0, whose stream is at the first block of nodes."""
    _deal_nodes(file, stream, share)
    find(file, stream, b"$Elements")
    _deal_elements(file, stream, share)


def _deal_nodes(file: Path, stream: BinaryIO, share: _Share) -> None:
    done = 0
    while done < share.head.nodes:
        dim, _, parametric, count = integers(file, stream, 4)
        width = 3 + (dim if parametric else 0)
        # In a block the numbers of all nodes come first, their places after.
        with at_same_place(stream) as places:
            skip_lines(file, places, count)
            for rows in _chunks(count):
                index = integers(file, stream, rows) - 1
                x = numbers(file, places, np.dtype(float), rows * width).reshape(rows, -1)[:, :3]
                if index.min() < 0 or index.max() >= share.head.nodes:
                    raise InputError(str(file), "a node has a wrong number.", DAMAGED)
                owner = index // share.nodes_of_one
                for rank in np.unique(owner):
                    share.give(int(rank), "points", index[owner == rank], x[owner == rank])
            stream.seek(places.tell())
        done += count


def _deal_elements(file: Path, stream: BinaryIO, share: _Share) -> None:
    head = share.head
    blocks, count, *_ = integers(file, stream, 4)
    # All elements are counted for a share, of which facets are the lesser part: the last ranks
    # get fewer cells, until they are partitioned.
    each = -(-int(count) // share.comm.size)
    done, turn, kinds = 0, 0, [0, 0]
    for _ in range(int(blocks)):
        dim, entity, kind, number = (int(k) for k in integers(file, stream, 4))
        if kind not in NODES:
            raise InputError(str(file), f"elements of gmsh's kind {kind}.", "Use tetrahedra.")
        codim = head.dim - dim
        groups = head.groups.get((dim, entity), ())
        if codim not in (0, 1) or (codim == 1 and not groups):
            skip_lines(file, stream, number)
            continue
        if len(groups) != 1:
            raise InputError(
                str(file),
                f"entity {entity} of dimension {dim} is in {len(groups)} physical groups.",
                "Give every volume one, and a surface no more than one.",
            )
        if kinds[codim] not in (0, kind):
            raise InputError(str(file), "cells are of several kinds.", "Use tetrahedra alone.")
        kinds[codim] = kind
        width = 1 + NODES[kind]
        for rows in _chunks(number):
            found = integers(file, stream, rows * width).reshape(rows, -1)[:, 1:] - 1
            if found.min() < 0 or found.max() >= head.nodes:
                raise InputError(str(file), "an element has a node that is not there.", DAMAGED)
            values = np.full(rows, groups[0], np.int32)
            if codim == 1:
                share.give(turn % share.comm.size, "facets", found, values)
                turn += 1
                continue
            owner = (done + np.arange(rows)) // each
            for rank in np.unique(owner):
                share.give(int(rank), "cells", found[owner == rank], values[owner == rank])
            done += rows
    if not kinds[0]:
        raise InputError(str(file), "holds no cells of a physical group.", "Mesh the volumes.")
    share.kinds = (kinds[0], kinds[1])


def _chunks(count: int) -> Iterator[int]:
    for first in range(0, int(count), ROWS):
        yield min(ROWS, int(count) - first)
