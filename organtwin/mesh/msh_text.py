"""Text of gmsh's files: what stands before nodes and elements, and numbers piece by piece.

Format: MSH 4.1 as text, see gmsh's reference manual, "MSH file format". Other files are first
written anew by gmsh.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import gmsh
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.gmsh_reading import merge_mesh
from organtwin.parallel import on_root

type Index = NDArray[np.int64]

#: First line of files that are read as they are.
PLAIN = b"4.1 0 8"
#: Bytes that are searched at once for ends of lines.
BLOCK = 1 << 20
#: Bytes that a node takes at least.
LEAST = 8
DAMAGED = "The file is damaged; write it again."


@dataclass(frozen=True)
class Head:
    """What is known of a mesh before its nodes are read.

    Attributes:
        dim: Dimension of the cells.
        names: Dimension and name of a physical group → its integer.
        groups: Dimension and integer of an entity → integers of its groups.
        nodes: Number of nodes.
    """

    dim: int
    names: Mapping[tuple[int, str], int]
    groups: Mapping[tuple[int, int], tuple[int, ...]]
    nodes: int


@contextmanager
def plain(file: Path, comm: MPI.Comm) -> Iterator[Path]:
    """A file that can be read piece by piece: this one, or one that gmsh wrote of it; collective.

    Args:
        file: Any ``.msh`` file, seen by rank 0.
        comm: Ranks that wait meanwhile.

    Yields:
        File for rank 0.
    """

    def is_plain() -> bool:
        with file.open("rb") as stream:
            return stream.readline().strip() == b"$MeshFormat" and (
                stream.readline().strip() == PLAIN and _numbered(file, stream)
            )

    if on_root(comm, is_plain):
        yield file
        return
    with TemporaryDirectory(prefix="organtwin-msh-") as folder:
        new = Path(folder) / "mesh.msh"
        on_root(comm, lambda: _rewrite(file, new))
        yield new


def _numbered(file: Path, stream: BinaryIO) -> bool:
    """Whether nodes have the numbers from 1 on."""
    find(file, stream, b"$Nodes")
    _, count, least, most = integers(file, stream, 4)
    return bool((least, most) == (1, count))


def _rewrite(file: Path, new: Path) -> None:
    gmsh.initialize(interruptible=False)
    try:
        for option, value in (
            ("General.Verbosity", 1), ("Mesh.Binary", 0), ("Mesh.MshFileVersion", 4.1),
        ):  # fmt: skip
            gmsh.option.setNumber(option, value)
        merge_mesh(file)
        gmsh.model.mesh.renumberNodes()
        gmsh.write(str(new))
    finally:
        gmsh.finalize()


def read_head(file: Path, stream: BinaryIO) -> Head:
    """Everything before the nodes; the stream is left at their first block.

    Raises:
        InputError: it is damaged, or there are no physical groups.
    """
    try:
        names, groups = _names_and_groups(file, stream)
    except (ValueError, IndexError):
        raise InputError(str(file), "its beginning can't be read.", DAMAGED) from None
    if not groups:
        raise InputError(
            str(file), "the mesh has no physical groups.",
            "Give every volume and boundary surface a physical group in gmsh.",
        )  # fmt: skip
    _, nodes, *_ = integers(file, stream, 4)
    if not 0 < nodes <= file.stat().st_size // LEAST:
        raise InputError(str(file), f"can't hold its {nodes} nodes.", DAMAGED)
    return Head(max(dim for dim, _ in groups), names, groups, int(nodes))


def _names_and_groups(
    file: Path, stream: BinaryIO
) -> tuple[dict[tuple[int, str], int], dict[tuple[int, int], tuple[int, ...]]]:
    names: dict[tuple[int, str], int] = {}
    groups: dict[tuple[int, int], tuple[int, ...]] = {}
    while (section := _line(stream)) != b"$Nodes":
        if not section:
            raise InputError(str(file), "holds no nodes.", DAMAGED)
        if section == b"$PhysicalNames":
            for _ in range(int(_line(stream))):
                names |= _name(file, _line(stream).decode(errors="replace"))
        elif section == b"$Entities":
            groups |= _entities(file, stream)
    return names, groups


def _name(file: Path, line: str) -> dict[tuple[int, str], int]:
    found = re.fullmatch(r'(\d+) (-?\d+) "(.*)"', line)
    if found is None:
        raise InputError(str(file), f"no name of a physical group: {line}", DAMAGED)
    return {(int(found[1]), found[3]): abs(int(found[2]))}


def _entities(file: Path, stream: BinaryIO) -> dict[tuple[int, int], tuple[int, ...]]:
    """Groups of the entities that are in any."""
    found = {}
    for dim, count in enumerate(_line(stream).split()):
        # A point has its place here, all others the corners of their box.
        before = 4 if dim == 0 else 7
        for _ in range(int(count)):
            words = _line(stream).split()
            number = int(words[before]) if len(words) > before else -1
            if not 0 <= number <= len(words) - before - 1:
                raise InputError(str(file), "an entity is cut short.", DAMAGED)
            tags = tuple(abs(int(word)) for word in words[before + 1 : before + 1 + number])
            if tags:
                found[dim, int(words[0])] = tags
    return found


@contextmanager
def at_same_place(stream: BinaryIO) -> Iterator[BinaryIO]:
    """The same file once more, at the same place."""
    with Path(stream.name).open("rb") as other:
        other.seek(stream.tell())
        yield other


def integers(file: Path, stream: BinaryIO, count: int) -> Index:
    """The next integers of a text, see `numbers`."""
    return numbers(file, stream, np.dtype(np.int64), count)


def numbers(file: Path, stream: BinaryIO, kind: np.dtype[Any], count: int) -> NDArray[Any]:
    """The next numbers of a text; the stream is left behind the white space that follows.

    Raises:
        InputError: there are fewer.
    """
    try:
        found = np.fromfile(stream, kind, int(count), sep=" ")
    except ValueError:
        raise InputError(str(file), "has words for numbers.", DAMAGED) from None
    if len(found) < count:
        raise InputError(str(file), "ends too early.", DAMAGED)
    return found


def _line(stream: BinaryIO) -> bytes:
    """The next line that is not empty; b"" at the end."""
    for line in stream:
        if stripped := line.strip():
            return stripped
    return b""


def find(file: Path, stream: BinaryIO, section: bytes) -> None:
    """Go to the line after the title of a section.

    Raises:
        InputError: there is none.
    """
    while (line := _line(stream)) != section:
        if not line:
            raise InputError(str(file), f"has no section {section.decode()}.", DAMAGED)


def skip_lines(file: Path, stream: BinaryIO, count: int) -> None:
    """Go so many lines further from the beginning of one, where `numbers` ends.

    Raises:
        InputError: there are fewer.
    """
    count = int(count)
    while count > 0:
        start = stream.tell()
        block = stream.read(BLOCK)
        if not block:
            raise InputError(str(file), "ends too early.", DAMAGED)
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
        if len(ends) >= count:
            stream.seek(start + int(ends[count - 1]) + 1)
            return
        count -= len(ends)
