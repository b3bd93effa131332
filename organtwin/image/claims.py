"""What the header of an image claims, held against what its file can hold, before anything is read.

The library that reads images believes headers: one that claims terabytes gets them allocated, one
with -1 dimensions ends the process. So NIfTI, NRRD and MetaImage headers are looked at here first.
Compressed data are unpacked piece by piece, and no further than what the header claims.
"""

from __future__ import annotations

import bz2
import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from organtwin.errors import InputError

#: Environment variable for the largest image that is read (GiB), and its value if not set.
SWITCH, LARGEST = "ORGANTWIN_LARGEST_IMAGE", 64.0
#: Bytes of a header at most; those of 3D Slicer's segmentations are the longest.
LONGEST_HEADER = 1 << 24
#: Bytes that may follow the voxels, unread.
SLACK = 1 << 20
#: Bytes that are unpacked at once.
PIECE = 1 << 22
#: Endings of the formats that are read.
NIFTI, NRRD, META = (
    (".nii", ".nii.gz", ".hdr", ".img", ".img.gz"),
    (".nrrd", ".nhdr"),
    (".mha", ".mhd"),
)
#: NIfTI's codes of types → bits.
NIFTI_BITS = {
    2: 8, 4: 16, 8: 32, 16: 32, 32: 64, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64,
    1280: 64, 1536: 128, 1792: 128, 2304: 32,
}  # fmt: skip
#: Types of NRRD → bytes, of which the signed and unsigned have several names.
NRRD_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8",
                     "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t",
                     "ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32",
                     "uint32_t", "float"), 4),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long",
                     "signed long long int", "int64", "int64_t", "ulonglong", "unsigned long long",
                     "unsigned long long int", "uint64", "uint64_t", "double"), 8),
}  # fmt: skip
META_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4,
    "MET_LONG": 4, "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}  # fmt: skip
REMEDY = "The file is damaged or incomplete; copy or download it again."


@dataclass(frozen=True)
class Claim:
    """What a header says of the voxels.

    Attributes:
        sizes: Voxels along each axis, and values of each.
        width: Bytes of a value.
        offset: Where the voxels begin (bytes), in the file or after unpacking.
        packing: ``raw``, ``gzip``, ``zlib``, ``bzip2``, ``text`` or ``hex``.
        files: Where they are, if not in the same file.
        start: Where packed data begin (bytes).
    """

    sizes: tuple[int, ...]
    width: float
    offset: int = 0
    packing: str = "raw"
    files: tuple[Path, ...] = ()
    start: int = 0
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Bytes of all voxels."""
        return math.ceil(math.prod(self.sizes) * self.width)


def check_claims(file: Path, *, unpack: bool = True) -> None:
    """Refuse an image whose header claims what can't be.

    Only formats are read whose headers are known here: NIfTI, NRRD and MetaImage.

    Args:
        file: The image.
        unpack: Whether packed data are unpacked to see what they hold.

    Raises:
        InputError: the file is of another format; the header is damaged; it claims more voxels
            than the file holds, or than ``ORGANTWIN_LARGEST_IMAGE`` (GiB; 64, at most this
            machine's memory) allows; packed data are cut off or hold more than is claimed; or the
            voxels are in a file elsewhere.
    """
    name = file.name.lower()
    try:
        if name.endswith(NIFTI):
            claim = _nifti(file)
        elif name.endswith(NRRD):
            claim = _nrrd(file)
        elif name.endswith(META):
            claim = _meta(file)
        else:
            raise InputError(
                str(file),
                f"can't be read as an image (`{file.suffix or file.name}` is no format of scans).",
                "Give a NIfTI (.nii, .nii.gz), NRRD (.nrrd) or MetaImage (.mha, .mhd) file.",
            )
    except (struct.error, ValueError, OverflowError, KeyError, IndexError) as error:
        said = f"no `{error.args[0]}`" if isinstance(error, KeyError) else str(error)
        raise InputError(
            str(file), f"can't be read as an image (its header: {said}).", REMEDY
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(str(file), f"can't be read as an image ({error}).", REMEDY) from None
    _hold(file, claim, unpack)


def _hold(file: Path, claim: Claim, unpack: bool) -> None:
    """Hold the claim against the limit and the file."""
    shown = " x ".join(map(str, claim.sizes))
    if not all(size >= 1 for size in claim.sizes) or not claim.sizes:
        raise InputError(str(file), f"its header claims {shown} voxels.", REMEDY)
    limit = largest()
    if claim.bytes > limit:
        raise InputError(
            str(file),
            f"its header claims {shown} voxels, {claim.bytes / 2**30:.3g} GiB; the limit is "
            f"{limit / 2**30:.3g} GiB.",
            f"If that is right, raise it by {SWITCH} (GiB) on a machine with more memory.",
        )
    if claim.packing != "raw" and not unpack:
        return
    try:
        held = _held(file, claim)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(str(file), f"can't be read as an image ({error}).", REMEDY) from None
    if held < claim.bytes:
        raise InputError(
            str(file),
            f"its header claims {shown} voxels, {claim.bytes} bytes, and the file holds {held}.",
            REMEDY,
        )
    if claim.packing != "raw" and held > claim.bytes + SLACK:
        raise InputError(
            str(file),
            f"its header claims {claim.bytes} bytes, and unpacking gives more than {held}.",
            REMEDY,
        )


def largest() -> float:
    """Bytes of the largest image that is read.

    Raises:
        InputError: the environment variable is no number.
    """
    told = os.environ.get(SWITCH, str(LARGEST))
    try:
        wanted = float(told)
    except ValueError:
        wanted = math.nan
    if not wanted > 0:
        raise InputError(SWITCH, f"`{told}` is no number of GiB.", "Write for example 100.")
    return min(wanted * 2**30, float(psutil.virtual_memory().total))


def _held(file: Path, claim: Claim) -> int:
    """Bytes of voxels that there are, of packed ones unpacked up to a little more than claimed."""
    if claim.files and claim.packing == "raw":
        return sum(one.stat().st_size for one in claim.files)
    if len(claim.files) > 1:
        return claim.bytes  # packed slice by slice: each is small
    source = claim.files[0] if claim.files else file
    if claim.packing == "raw":
        return source.stat().st_size - claim.offset
    if claim.packing in ("text", "hex"):
        # Two characters for a byte, or a digit and a space for a value at least.
        return int((source.stat().st_size - claim.start + 1) / 2 * max(claim.width, 1))
    most = claim.offset + claim.bytes + 2 * SLACK
    return _unpacked(source, claim.start, claim.packing, most) - claim.offset


def _unpacked(file: Path, start: int, packing: str, most: int) -> int:
    """Number of bytes that unpacking gives, counted up to a limit."""
    with file.open("rb") as stream:
        stream.seek(start)
        return sum(map(len, _pieces(stream, packing, most)))


def _pieces(stream: IO[bytes], packing: str, most: int) -> Iterator[bytes]:
    if packing in ("gzip", "bzip2"):
        opened: Any = gzip.GzipFile(fileobj=stream) if packing == "gzip" else bz2.BZ2File(stream)
        count = 0
        while count < most and (piece := opened.read(PIECE)):
            count += len(piece)
            yield piece
        return
    unpacker, count = zlib.decompressobj(), 0
    while count < most and not unpacker.eof:
        packed = unpacker.unconsumed_tail or stream.read(1 << 16)
        if not packed:
            return
        piece = unpacker.decompress(packed, PIECE)
        count += len(piece)
        yield piece


# --------------------------------------------------------------------------------- NIfTI, Analyze


def _nifti(file: Path) -> Claim:
    """Source: nifti1.h and nifti2.h (NIfTI-1 and NIfTI-2 data formats), for places of fields."""
    packed = file.suffix.lower() == ".gz"
    if file.name.lower().endswith((".img", ".img.gz")):
        plain = file.with_suffix("") if packed else file
        file = next((f for f in (plain.with_suffix(".hdr"),) if f.is_file()), file)
    with gzip.open(file) if file.suffix.lower() == ".gz" else file.open("rb") as stream:
        header = stream.read(544)
    order = next((o for o in "<>" if struct.unpack_from(o + "i", header)[0] in (348, 540)), "")
    if not order:
        raise ValueError("no NIfTI file")
    second = struct.unpack_from(order + "i", header)[0] == 540
    magic = header[4:8] if second else header[344:348]
    if second:
        kind, bits = struct.unpack_from(order + "hh", header, 12)
        dims = struct.unpack_from(order + "8q", header, 16)
        (offset,) = struct.unpack_from(order + "q", header, 168)
    else:
        dims = struct.unpack_from(order + "8h", header, 40)
        kind, bits = struct.unpack_from(order + "hh", header, 70)
        offset = struct.unpack_from(order + "f", header, 108)[0]
    if not 1 <= dims[0] <= 7:
        raise ValueError(f"{dims[0]} dimensions")
    if NIFTI_BITS.get(kind) != bits:
        raise ValueError(f"values of type {kind} with {bits} bits")
    if not (math.isfinite(offset) and 0 <= offset < 1 << 31):
        raise ValueError(f"voxels begin at byte {offset}")
    # Beyond space some programs leave 0, which counts as 1.
    sizes = tuple(int(n) if n or k < 3 else 1 for k, n in enumerate(dims[1 : dims[0] + 1]))
    single = magic[:2] == b"n+"
    other = () if single else _voxels_beside(file)
    gz = any(f.suffix == ".gz" for f in other) if other else packed
    return Claim(sizes, bits / 8, int(offset) if single else 0, "gzip" if gz else "raw", other)


def _voxels_beside(header: Path) -> tuple[Path, ...]:
    """Voxels of a header file; a single file that says it is a pair has none."""
    plain = header.with_suffix("") if header.suffix.lower() == ".gz" else header
    names = (plain.with_suffix(".img"), plain.with_suffix(".img.gz"))
    found = tuple(name for name in names if name.is_file())[:1]
    if not found:
        raise ValueError("the voxels should be in a file .img beside")
    return found


# ------------------------------------------------------------------------------------------- NRRD


def _nrrd(file: Path) -> Claim:
    """Source: "Definition of NRRD File Format", teem.sourceforge.net/nrrd/format.html."""
    facts: dict[str, str] = {}
    names: list[str] = []
    with file.open("rb") as stream:
        if not stream.readline(80).startswith(b"NRRD000"):
            raise ValueError("no NRRD file")
        while stream.tell() < LONGEST_HEADER:
            line = stream.readline(LONGEST_HEADER)
            text = line.decode("utf-8", "replace").strip()
            if not line or (not text and not names):
                break
            if names:
                names.append(text)
                continue
            key, colon, value = text.partition(":")
            key = key.strip().lower()
            if not text.startswith("#") and colon and not value.startswith("="):
                facts[key] = value.strip()
                if key in ("data file", "datafile") and value.split()[:1] == ["LIST"]:
                    names = [""]
        else:
            raise ValueError(f"longer than {LONGEST_HEADER} bytes")
        start = stream.tell()
    sizes = tuple(int(n) for n in facts["sizes"].split())
    if len(sizes) != int(facts["dimension"]):
        raise ValueError(f"{len(sizes)} sizes for {facts['dimension']} dimensions")
    width = NRRD_BYTES[facts["type"].lower()]
    encoding = facts.get("encoding", "raw").lower()
    packing = {"gz": "gzip", "bz2": "bzip2", "txt": "text", "ascii": "text"}.get(encoding, encoding)
    if packing not in ("raw", "gzip", "bzip2", "text", "hex"):
        raise ValueError(f"unknown encoding {encoding}")
    told = facts.get("data file", facts.get("datafile", ""))
    files = _beside(file, [n for n in names if n] if names else [told] if told else [])
    skip = int(facts.get("byte skip", facts.get("byteskip", "0")))
    lines = int(facts.get("line skip", facts.get("lineskip", "0")))
    if skip < -1 or not 0 <= lines < SLACK:
        raise ValueError(f"{skip} bytes and {lines} lines to skip")
    at = start + max(skip, 0) if packing == "raw" else max(skip, 0)
    return Claim(sizes, width, 0 if files or skip == -1 else at, packing, files,
                 0 if files else start, facts)  # fmt: skip


# -------------------------------------------------------------------------------------- MetaImage


def _meta(file: Path) -> Claim:
    """Source: "MetaIO documentation", itk.org/Wiki/MetaIO/Documentation, Reference: tags."""
    facts: dict[str, str] = {}
    with file.open("rb") as stream:
        while "ElementDataFile" not in facts:
            line = stream.readline(LONGEST_HEADER)
            key, equals, value = line.decode("utf-8", "replace").partition("=")
            if not equals or stream.tell() > LONGEST_HEADER:
                raise ValueError("no `ElementDataFile` in it")
            facts[key.strip()] = value.strip()
        start = stream.tell()
        rest = stream.read(SLACK).decode("utf-8", "replace").split("\n")
    count = int(facts["NDims"])
    if not 1 <= count <= 5:
        raise ValueError(f"{count} dimensions")
    for key, wanted in (("ElementSpacing", count), ("ElementSize", count), ("Offset", count),
                        ("Position", count), ("Origin", count), ("CenterOfRotation", count),
                        ("TransformMatrix", count * count), ("Rotation", count * count),
                        ("Orientation", count * count)):  # fmt: skip
        numbers = [float(word) for word in facts.get(key, "").split()]
        if numbers and (len(numbers) != wanted or not all(map(math.isfinite, numbers))):
            raise ValueError(f"`{key}` has not {wanted} numbers")
    sizes = tuple(int(n) for n in facts["DimSize"].split())
    if len(sizes) != count:
        raise ValueError(f"{len(sizes)} sizes for {count} dimensions")
    kind = facts["ElementType"].removesuffix("_ARRAY")
    values = int(facts.get("ElementNumberOfChannels", "1"))
    where = facts["ElementDataFile"].split()
    if where[0] == "LOCAL":
        files: tuple[Path, ...] = ()
    else:
        names = [text.strip() for text in rest if text.strip()]
        pattern = "%" in where[0] or where[0] == "LIST"
        files = _beside(file, (names if where[0] == "LIST" else [where[0]]) if pattern
                        else [facts["ElementDataFile"]])  # fmt: skip
    text = facts.get("BinaryData", "True").lower().startswith("f")
    packed = facts.get("CompressedData", "False").lower().startswith("t")
    skip = int(facts.get("HeaderSize", "0"))
    packing = "zlib" if packed else "text" if text else "raw"
    at = start if not files and packing == "raw" else 0
    if skip < -1:
        raise ValueError(f"a header of {skip} bytes")
    return Claim((*sizes, values), META_BYTES[kind], at + max(skip, 0) * (packing == "raw"),
                 packing, files, 0 if files else start, facts)  # fmt: skip


def _beside(header: Path, names: list[str]) -> tuple[Path, ...]:
    """Files that a header names: beside it or below, there; of a pattern those that fit.

    A header from outside could name any file that its reader may read, whose content would end in
    results that are handed on.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name.split()[0] if "%" in name else name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"its voxels are in `{name}`, outside of its folder")
        if "%" in name:
            found += sorted((header.parent / path).parent.glob(f"*{path.suffix}"))
            continue
        if not (header.parent / path).is_file():
            raise ValueError(f"its voxels should be in `{name}`, which is not there")
        found.append(header.parent / path)
    return tuple(found)
