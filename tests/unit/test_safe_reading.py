"""Files that lie, hide programs or unpack to terabytes are refused before they do harm."""

import contextlib
import gzip
import resource
import struct
import tomllib
import zlib

import gmsh
import numpy as np
import pytest
import SimpleITK as sitk
from mpi4py import MPI

from organtwin.case.load import load_case
from organtwin.errors import InputError
from organtwin.image.claims import SWITCH, check_claims
from organtwin.image.readers import read_image
from organtwin.image.totalsegmentator import read_totalsegmentator
from organtwin.mesh.domain import read_domain
from organtwin.mesh.mesh_files import read_mesh
from organtwin.mesh.surface_files import read_surface
from tests.fuzzed_readers import dicom, image, mesh, surface, totalsegmentator

#: Nothing here may take more than this (bytes), whatever a file claims.
LITTLE = 200 << 20


@pytest.fixture(autouse=True)
def little_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < LITTLE


def changed(file, old, new):
    data = file.read_bytes()
    assert old in data
    file.write_bytes(data.replace(old, new, 1))
    return file


# --------------------------------------------------------------------------------------- programs


def test_a_script_of_gmsh_is_no_mesh_whatever_its_name(tmp_path):
    mark = tmp_path / "ran"
    for name in ("evil.msh", "evil.unv"):
        (tmp_path / name).write_text(f'SystemCall "touch {mark}";\n')
        with pytest.raises(InputError, match="does not begin as"):
            read_mesh(tmp_path / name)
        with pytest.raises(InputError):
            read_domain(tmp_path / name, MPI.COMM_SELF)
    assert not mark.exists()


def test_options_beside_a_mesh_are_not_run(tmp_path):
    mark, file = tmp_path / "ran", mesh(".msh")(tmp_path)
    (tmp_path / f"{file.name}.opt").write_text(f'SystemCall "touch {mark}";\n')
    assert len(read_mesh(file).cells) > 10
    read_domain(file, MPI.COMM_SELF)
    assert not mark.exists()
    # gmsh itself runs them: if that ends, the detour by a link can go.
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.merge(str(file))
    finally:
        gmsh.finalize()
    assert mark.exists()


# ----------------------------------------------------------------------------------------- claims


def lying(folder, kind):
    """An image of 6 x 7 x 8 voxels whose header claims thousands along each axis."""
    if kind == "nifti":
        file = image(".nii")(folder)
        return changed(file, struct.pack("<4h", 3, 6, 7, 8), struct.pack("<4h", 3, *[30000] * 3))
    if kind == "nifti, gzip":
        file = image(".nii")(folder)
        data = file.read_bytes().replace(
            struct.pack("<4h", 3, 6, 7, 8), struct.pack("<4h", 3, 2000, 2000, 2000)
        )
        packed = folder / "packed.nii.gz"
        packed.write_bytes(gzip.compress(data))
        return packed
    if kind == "nrrd":
        return changed(image(".nrrd")(folder), b"sizes: 6 7 8", b"sizes: 60000 70000 80000")
    if kind == "nrrd, gzip":
        file = image(".nrrd", compressed=True)(folder)
        return changed(file, b"sizes: 6 7 8", b"sizes: 2000 2000 2000")
    if kind == "nrrd, overflow":
        return changed(image(".nrrd")(folder), b"sizes: 6 7 8", b"sizes: 4294967296 4294967296 1")
    file = image(".mha", compressed=kind.endswith("zlib"))(folder)
    size = b"60000 70000 80000" if kind == "meta" else b"2000 2000 2000"
    return changed(file, b"DimSize = 6 7 8", b"DimSize = " + size)


@pytest.mark.parametrize(
    "kind", ["nifti", "nifti, gzip", "nrrd", "nrrd, gzip", "nrrd, overflow", "meta", "meta, zlib"]
)
def test_claims_beyond_the_file_are_refused(tmp_path, kind):
    with pytest.raises(InputError, match="its header claims"):
        read_image(lying(tmp_path, kind))


def test_images_above_the_limit_are_refused_and_the_limit_can_be_set(tmp_path, monkeypatch):
    file = image(".nii")(tmp_path)
    monkeypatch.setenv(SWITCH, "1e-7")
    with pytest.raises(InputError, match=f"raise it by {SWITCH}"):
        read_image(file)
    monkeypatch.setenv(SWITCH, "much")
    with pytest.raises(InputError, match="no number of GiB"):
        check_claims(file)
    monkeypatch.delenv(SWITCH)
    assert read_image(file).values.shape == (6, 7, 8)


@pytest.mark.parametrize("kind", ["nifti", "nrrd", "meta"])
def test_bombs_are_not_unpacked_to_their_end(tmp_path, kind):
    zeros = bytes(64 << 20)
    if kind == "nifti":
        plain = image(".nii")(tmp_path).read_bytes()
        file = tmp_path / "bomb.nii.gz"
        file.write_bytes(gzip.compress(plain + zeros, 1))
    elif kind == "nrrd":
        file = image(".nrrd", compressed=True)(tmp_path)
        header = file.read_bytes().partition(b"\n\n")[0]
        file.write_bytes(header + b"\n\n" + gzip.compress(zeros, 1))
    else:
        file = image(".mha", compressed=True)(tmp_path)
        header = file.read_bytes().partition(b"LOCAL\n")[0]
        file.write_bytes(header + b"LOCAL\n" + zlib.compress(zeros, 1))
    with pytest.raises(InputError, match="unpacking gives more than"):
        read_image(file)


def test_a_deflated_dicom_bomb_is_left_out(tmp_path, monkeypatch, caplog):
    file = dicom()(tmp_path)
    data = file.read_bytes()
    length = 144 + int.from_bytes(data[140:144], "little")
    meta = data[:length].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    meta = meta[:140] + struct.pack("<I", len(meta) - 144) + meta[144:]
    at = meta.index(b"1.2.840.10008.1.2.1.99")
    meta = meta[: at - 2] + struct.pack("<H", 22) + meta[at:]
    packer = zlib.compressobj(wbits=-15)
    file.write_bytes(meta + packer.compress(data[length:] + bytes(8 << 20)) + packer.flush())
    monkeypatch.setattr("organtwin.image.dicom_headers.LARGEST_UNPACKED", 1 << 20)
    assert read_image(tmp_path / "ct").grid.shape[2] == 2  # of three slices
    assert "1 DICOM file(s) are damaged" in caplog.text


def test_a_slice_of_impossible_size_is_refused(tmp_path):
    import pydicom

    file = dicom()(tmp_path)
    for one in sorted(file.parent.iterdir()):
        data = pydicom.dcmread(one)
        data.Rows = data.Columns = 65535
        data.PixelSpacing = [0.01, 0.01]
        data.save_as(one)
    with pytest.raises(InputError, match="slices of 65535 x 65535 pixels"):
        read_image(file.parent)
    data.Rows, data.Columns, data.NumberOfFrames = 16, 12, 2**31 - 1
    for one in list(file.parent.iterdir()):
        one.unlink()
    data.save_as(file)
    with pytest.raises(InputError, match="no DICOM images"):
        read_image(file.parent)


@pytest.mark.parametrize(
    ("suffix", "old", "new"),
    [
        (".vtk", b"POINTS 6", b"POINTS 999999999999"),
        (".ply", b"element vertex 6", b"element vertex 2000000000"),
        (".vtp", b'NumberOfPoints="6"', b'NumberOfPoints="999999999999"'),
    ],
)
def test_surfaces_that_claim_too_much_are_refused(tmp_path, suffix, old, new):
    with pytest.raises(InputError):
        read_surface(changed(surface(suffix)(tmp_path), old, new))


def test_a_binary_stl_has_as_many_triangles_as_it_has_room_for(tmp_path):
    file = surface(".stl")(tmp_path)
    data = bytearray(file.read_bytes())
    data[80:84] = struct.pack("<I", 2**32 - 1)
    file.write_bytes(data)
    with pytest.raises(InputError, match="the file ends after 8 of 4294967295 triangles"):
        read_surface(file)


def test_a_mesh_that_claims_too_much_is_refused(tmp_path):
    file = mesh(".msh")(tmp_path)
    head, nodes, rest = file.read_bytes().partition(b"$Nodes\n")
    counts = rest.split(b"\n", 1)
    file.write_bytes(head + nodes + b"1 99999999999 1 99999999999\n" + counts[1])
    with pytest.raises(InputError):
        read_mesh(file)


# ------------------------------------------------------------------------------- other files, XML


@pytest.mark.parametrize("where", ["/etc/hostname", "../other.raw", "a/../../other.raw"])
def test_voxels_elsewhere_are_refused(tmp_path, where):
    (tmp_path / "own").mkdir()
    (tmp_path / "other.raw").write_bytes(bytes(2 * 6 * 7 * 8))
    header = (
        "ObjectType = Image\nNDims = 3\nDimSize = 6 7 8\nElementSpacing = 10 10 10\n"
        f"ElementType = MET_SHORT\nElementDataFile = {where}\n"
    )
    (tmp_path / "own" / "scan.mhd").write_text(header)
    with pytest.raises(InputError, match="outside of its folder"):
        read_image(tmp_path / "own" / "scan.mhd")
    header = (
        f"NRRD0004\ntype: short\ndimension: 3\nsizes: 6 7 8\nencoding: raw\ndata file: {where}\n"
    )
    (tmp_path / "own" / "scan.nhdr").write_text(header)
    with pytest.raises(InputError, match="outside of its folder"):
        read_image(tmp_path / "own" / "scan.nhdr")


def test_voxels_beside_the_header_are_read(tmp_path):
    found = sitk.GetImageFromArray(np.arange(336, dtype=np.int16).reshape(8, 7, 6))
    found.SetSpacing((10.0, 10.0, 10.0))
    for name in ("scan.mhd", "scan.nhdr"):
        for compressed in (False, True):
            sitk.WriteImage(found, str(tmp_path / name), useCompression=compressed)
            assert read_image(tmp_path / name).values[1, 0, 0] == 1


ENTITIES = (
    '<!DOCTYPE x [<!ENTITY a "0123456789">'
    + "".join(
        f'<!ENTITY {new} "{f"&{old};" * 10}">'
        for old, new in zip("abcdefghi", "bcdefghij", strict=True)
    )
    + "]>"
).encode()


def test_entities_of_xml_do_not_grow(tmp_path):
    """A thousand million of them in a kilobyte, and one that is another file."""
    (tmp_path / "secret").write_text("1 2 3")
    outside = f'<!DOCTYPE x [<!ENTITY j SYSTEM "{tmp_path / "secret"}">]>'.encode()
    for entities in (ENTITIES, outside):
        file = mesh(".xdmf")(tmp_path)
        data = file.read_bytes()
        start = data.index(b"<Xdmf")
        file.write_bytes(data[:start] + entities + data[start:].replace(b"<Geo", b"&j;<Geo", 1))
        with pytest.raises(InputError, match="can't be read"):
            read_mesh(file)
        file = surface(".vtp")(tmp_path)
        data = file.read_bytes()
        start = data.index(b"<VTKFile")
        file.write_bytes(
            data[:start] + entities + data[start:].replace(b"<Points", b"&j;<Points", 1)
        )
        with contextlib.suppress(InputError):  # VTK passes over text between elements
            assert len(read_surface(file).triangles) == 8
    file = totalsegmentator(tmp_path)
    changed(file, b"<CaretExtension>", b"<CaretExtension>&undefined;")
    with pytest.raises(InputError, match="table of labels"):
        read_totalsegmentator(file)


def test_data_of_xdmf_lie_beside_it(tmp_path):
    (tmp_path / "own").mkdir()
    file = mesh(".xdmf")(tmp_path / "own")
    (tmp_path / "own" / "box.h5").rename(tmp_path / "box.h5")
    text = file.read_text()
    for where in ("../box.h5", str(tmp_path / "box.h5")):
        file.write_text(text.replace("box.h5", where))
        with pytest.raises(InputError, match="outside of its folder"):
            read_mesh(file)


# ------------------------------------------------------------------------------------- case files


def test_case_files_of_absurd_depth_or_size_are_refused(tmp_path):
    file = tmp_path / "case.toml"
    for text in ("a = " + "[" * 100_000, "a." * 5000 + "b = 1", "#" * (2 << 20)):
        file.write_text(text)
        with pytest.raises(InputError):
            load_case(file)


def test_case_files_are_data(tmp_path):
    """What looks like a program in them is a text."""
    mark = tmp_path / "ran"
    code = f"__import__('os').system('touch {mark}')"
    file = tmp_path / "case.toml"
    for key in ("title", "mesh.size", "electrophysiology.ionic_model", "preset"):
        file.write_text(f'{key} = "{code}"\n')
        tomllib.loads(file.read_text())
        with pytest.raises(InputError):
            load_case(file)
    assert not mark.exists()
