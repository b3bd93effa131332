"""Results that are opened, looked at and handed on: a block of two regions that stretches."""

import asyncio
import base64
import json
import os
import re
import shutil
import struct
import subprocess

import numpy as np
import pytest
import pyvista as pv
import SimpleITK as sitk
from matplotlib.colors import to_rgb
from PIL import Image
from skimage.color import rgb2lab

from organtwin.errors import InputError
from organtwin.export.dressed import Look, dressed, frame_of
from organtwin.export.interchange import export
from organtwin.export.marks import marked
from organtwin.export.page3d import scene_3d, scene_content, write_view
from organtwin.export.paraview_macro import write_macro
from organtwin.export.quantities import QUANTITIES
from organtwin.export.result import open_result
from organtwin.export.scene import Stance
from organtwin.mesh.mesh_files import read_mesh
from organtwin.mesh.surface_files import read_surface
from tests.chromium import PROGRAM, opened

#: Sides of the block (mm) and how far its top goes at the end (mm).
SIDES, RISE = (30.0, 20.0, 40.0), 4.0


@pytest.fixture(scope="module")
def block(tmp_path_factory):
    """Left half `one`, right half `two`; the field is linear, the block stretches upwards."""
    folder = tmp_path_factory.mktemp("block")
    fields = folder / "fields" / "mechanics"
    fields.mkdir(parents=True)
    cells = (6, 4, 8)
    image = pv.ImageData(dimensions=np.add(cells, 1), spacing=np.divide(SIDES, cells))
    grid = image.to_tetrahedra(5, pass_data=False)
    x, y, z = np.asarray(grid.points).T
    region = np.where(grid.cell_centers().points[:, 0] < SIDES[0] / 2, 1.0, 2.0)
    entries = []
    for k, t in enumerate((0.0, 50.0, 100.0)):
        own = grid.copy()
        own.clear_data()
        own.point_data["displacement"] = np.column_stack(
            [0 * x, 0 * y, RISE * k / 2 * z / SIDES[2]]
        )
        own.point_data["active_tension"] = 2.0 * x + 0.5 * z + k
        own.cell_data["region"] = region
        own.cell_data["fibre"] = np.tile([0.0, 0.6, 0.8], (own.n_cells, 1))
        own.save(fields / f"mechanics_{k}.vtu")
        entries.append(f'<DataSet timestep="{t}" part="0" file="mechanics/mechanics_{k}.vtu"/>')
    (fields.parent / "mechanics.pvd").write_text(
        f'<VTKFile type="Collection"><Collection>{"".join(entries)}</Collection></VTKFile>'
    )
    (folder / "mesh.msh").write_bytes(
        b'$MeshFormat\n4.1 0 8\n$EndMeshFormat\n$PhysicalNames\n3\n2 7 "side"\n'
        b'3 1 "one"\n3 2 "two"\n$EndPhysicalNames\n'
    )
    (folder / "run.json").write_text('{"title": "A block </script>"}')
    return folder


def test_result_tells_fields_times_and_regions(block):
    result = open_result(block)
    (part,) = result.parts
    assert result.title == "A block </script>"
    assert part.fields[0] == "active_tension" and part.region_names == {"one": 1, "two": 2}
    assert part.moment(1) == "50 ms"
    assert np.ptp(part.points(2), axis=0) == pytest.approx([30.0, 20.0, 44.0])
    with pytest.raises(InputError, match="active_tension"):
        part.values(0, "active_tensoin")


@pytest.mark.parametrize("name", ["", "nothing"])
def test_no_result_is_said(tmp_path, name):
    with pytest.raises(InputError):
        open_result(tmp_path / name)


def test_cuts_and_regions_leave_what_they_should(block):
    part = open_result(block).parts[0]
    whole = dressed(part, 0, Look("active_tension"))
    assert whole.area == pytest.approx(2 * (30 * 20 + 20 * 40 + 30 * 40), rel=1e-6)
    assert np.abs(whole["value"] - (2 * whole.points[:, 0] + 0.5 * whole.points[:, 2])).max() < 1e-4
    half = dressed(part, 0, Look("active_tension", frozenset({2})))
    assert half.bounds[1] == pytest.approx(15.0)
    assert half.area == pytest.approx(2 * (15 * 20 + 20 * 40 + 15 * 40), rel=1e-6)
    frame = frame_of(open_result(block))
    open_ = dressed(part, 0, Look("active_tension", cut="top", depth=0.25), frame)
    assert open_.bounds[3] == pytest.approx(40.0 / 2 - 0.25 * 40.0, abs=1e-4)  # y is up
    with pytest.raises(InputError, match="front"):
        dressed(part, 0, Look(cut="frnt"))


def test_page_holds_places_and_values_to_its_precision(block):
    result = open_result(block)
    content = scene_content(result)
    places = np.frombuffer(base64.b64decode(content["states"][2]["places"]), "<i2")
    own = places.reshape(-1, 3) * content["step"]
    assert np.ptp(own, axis=0) == pytest.approx([30.0, 44.0, 20.0], abs=0.01)
    field = content["fields"][0]
    level = np.frombuffer(base64.b64decode(field["values"][0]), "u1") / 255.0
    rest = np.frombuffer(base64.b64decode(content["states"][0]["places"]), "<i2").reshape(-1, 3)
    rest = rest * content["step"]
    expected = 2.0 * (rest[:, 0] + 15.0) + 0.5 * (rest[:, 1] + 20.0)
    shown = np.clip(expected, field["low"], field["high"])
    found = field["low"] + level * (field["high"] - field["low"])
    assert np.abs(found - shown).max() < 0.01 * (field["high"] - field["low"])
    assert field["title"] == "Active tension (kPa)"


def test_page_is_one_file_that_loads_nothing(block, tmp_path):
    both = [open_result(block)] * 2
    text = write_view(both, tmp_path / "view.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|src=|@import", text) and len(text) < 2_000_000
    assert text.count('<section class="scene3d">') == 2
    assert "A block &lt;/script&gt;" in text  # a title is no markup
    assert scene_3d(tmp_path / "nothing") == ""


def test_every_map_is_even_and_readable_without_colour():
    """Lightness runs one way (or to the middle and back), in steps that are nearly the same."""
    for one in QUANTITIES.values():
        light = rgb2lab(np.array([[to_rgb(c) for _, c in one.stops(65)]]))[0, :, 0]
        steps = np.diff(light[:33]) if one.centred else np.diff(light)
        steps = steps * np.sign(steps.sum())
        assert steps.min() > -0.3, one.name
        assert abs(steps.sum()) > 40.0, one.name


def test_bar_of_a_picture_has_its_length():
    """400 pixels for 100 mm: the longest bar below 0.3 of the width is 20 mm, 80 pixels."""
    view = Stance(*np.eye(3)[[2, 0]], -np.eye(3)[1], np.zeros(3), 50.0, np.zeros(3), np.zeros(3))
    image = np.full((400, 400, 3), 255, np.uint8)
    image[150:250, 100:300] = 180
    found = marked(image, view)
    dark = (found < 70).all(axis=2)[:, 200:]
    assert found.shape == image.shape and dark.sum(axis=1).max() == pytest.approx(80, abs=2)
    assert (found[:, :200] < 70).any()


def test_surfaces_come_back(block, tmp_path):
    files = export(open_result(block), "stl", tmp_path, index=-1)
    assert [file.name for file in files] == ["mechanics_one.stl", "mechanics_two.stl"]
    back = read_surface(files[0])
    assert back.extent == pytest.approx([15.0, 20.0, 44.0], abs=1e-4)
    a, b, c = (back.points[back.triangles[:, k]] for k in range(3))
    volume = np.einsum("ij,ij->", a, np.cross(b, c)) / 6  # positive: normals outwards
    assert volume == pytest.approx(15.0 * 20.0 * 44.0, rel=1e-4)


def test_glb_holds_surfaces_and_colours(block, tmp_path):
    (file,) = export(open_result(block), "glb", tmp_path)
    data = file.read_bytes()
    magic, version, size = struct.unpack("<4sII", data[:12])
    assert (magic, version, size) == (b"glTF", 2, len(data))
    length = struct.unpack("<I", data[12:16])[0]
    head = json.loads(data[20 : 20 + length])
    assert [mesh["name"] for mesh in head["meshes"]] == ["one", "two"]
    scene = pv.read(file)
    assert np.ptp(scene.combine().points, axis=0) == pytest.approx([0.03, 0.04, 0.02], abs=1e-6)
    assert all("COLOR_0" in mesh["primitives"][0]["attributes"] for mesh in head["meshes"])


def test_nifti_has_the_field_on_the_voxels(block, tmp_path):
    like = sitk.Image([8, 6, 10], sitk.sitkUInt8)
    like.SetSpacing([5.0, 5.0, 5.0])
    like.SetOrigin([30.0, 22.5, -2.5])
    like.SetDirection([-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0])
    sitk.WriteImage(like, str(tmp_path / "like.nii.gz"))
    file, mask = export(
        open_result(block), "nifti", tmp_path, field="active_tension", like=tmp_path / "like.nii.gz"
    )
    image, known = sitk.ReadImage(str(file)), sitk.ReadImage(str(mask))
    assert image.GetOrigin() == pytest.approx(like.GetOrigin())
    inside = 0
    for index in np.ndindex(*image.GetSize()):
        x, y, z = image.TransformIndexToPhysicalPoint(tuple(map(int, index)))
        value = image[tuple(map(int, index))]
        if 0.1 < x < 29.9 and 0.1 < y < 19.9 and 0.1 < z < 39.9:
            assert value == pytest.approx(2 * x + 0.5 * z, abs=1e-3)
            inside += known[tuple(map(int, index))]
        elif not (0 <= x <= 30 and 0 <= y <= 20 and 0 <= z <= 40):
            assert (value, known[tuple(map(int, index))]) == (0.0, 0)
    assert inside == 5 * 4 * 8
    with pytest.raises(InputError, match="holds no image"):
        export(open_result(block), "nifti", tmp_path)


@pytest.mark.parametrize(("to", "name"), [("carp", "mechanics.pts"), ("abaqus", "mechanics.inp")])
def test_meshes_come_back(block, tmp_path, to, name):
    result = open_result(block)
    export(result, to, tmp_path)
    back = read_mesh(tmp_path / name)
    assert len(back.cells) == result.parts[0].mesh.n_cells
    assert np.ptp(back.points, axis=0) == pytest.approx(SIDES, abs=1e-4)
    volumes = sorted(back.volume(region) for region in back.region_names)
    assert volumes == pytest.approx([12_000.0, 12_000.0], rel=1e-5)
    if to == "carp":
        assert np.abs(back.fibres["f0"] @ [0.0, 0.6, 0.8]) == pytest.approx(1.0, abs=1e-6)


def test_export_refuses_what_is_not_there(block, tmp_path):
    for wrong in ({"to": "slt"}, {"to": "stl", "index": 3}, {"to": "stl", "part": "no"}):
        with pytest.raises(InputError):
            export(open_result(block), **{"out": tmp_path, **wrong})


def test_macro_is_a_script_of_this_result(block):
    """That it is Python and names what is there: ParaView is not among the requirements."""
    script = write_macro(open_result(block)).read_text(encoding="utf-8")
    compile(script, "show.py", "exec")
    assert "mechanics.pvd" in script and "'active_tension'" in script and "WarpByVector" in script


@pytest.mark.slow
@pytest.mark.skipif(not all(map(shutil.which, ("pvpython", "xvfb-run"))), reason="no ParaView")
def test_macro_draws_in_paraview(block, tmp_path):
    """ParaView 5.11, as Debian has it: body and colour bar on white, in more than one colour."""
    script, picture = write_macro(open_result(block)), tmp_path / "shown.png"
    # ParaView brings its own Python, which must not see the modules of this one.
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        ["xvfb-run", "-a", "pvpython", script, picture], check=True, timeout=300, env=surroundings
    )
    pixels = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3)
    coloured = (pixels.min(axis=1) < 250) & (np.ptp(pixels.astype(int), axis=1) > 20)
    assert 0.02 < coloured.mean() < 0.9
    assert len(np.unique(pixels[coloured], axis=0)) > 100


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium")
def test_page_draws_in_a_browser(block, tmp_path):
    """Turning, cutting, time and regions change the picture; both panels follow; all local."""
    page = write_view([open_result(block)] * 2, tmp_path / "view.html")
    pixels = """(() => [...document.querySelectorAll('[data-s3="picture"]')].map(c => {
        const g = c.getContext('webgl'), p = new Uint8Array(4 * c.width * c.height);
        g.readPixels(0, 0, c.width, c.height, g.RGBA, g.UNSIGNED_BYTE, p);
        let n = 0; for (let k = 0; k < p.length; k += 4) n += p[k] + p[k + 1] + p[k + 2] < 750;
        return n; }))()"""

    def choose(name, value, event):
        return (
            f"(() => {{ const e = document.querySelector('[data-s3=\"{name}\"]');"
            f" e.value = '{value}'; e.dispatchEvent(new Event('{event}')); }})()"
        )

    async def work():
        async with opened(page.as_uri(), tmp_path / "profile") as browser:
            await browser.until(f"{pixels}[1] > 1000")
            whole = await browser.value(pixels)
            await browser.value(choose("time", 2, "input"))
            taller = await browser.value(pixels)
            await browser.value(choose("cut", "1,1", "change"))
            cut = await browser.value(pixels)
            await browser.value("document.querySelector('[data-s3=\"regions\"] input').click()")
            less = await browser.value(pixels)
            await browser.picture(tmp_path / "view.png")
            return whole, taller, cut, less, browser.requested, browser.complaints

    whole, taller, cut, less, requested, complaints = asyncio.run(work())
    for before, after, factor in ((whole, taller, 1.02), (cut, taller, 1.5), (less, cut, 1.4)):
        assert all(b > factor * a for a, b in zip(before, after, strict=True))
    assert not complaints
    assert {url.split(":")[0] for url in requested} <= {"file", "data"}


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium")
def test_two_results_are_shown_at_one_time(block, tmp_path):
    """Times of the second are 0, 20 and 60 ms: 50 ms are nearest to its last one."""
    other = tmp_path / "other"
    shutil.copytree(block, other)
    series = other / "fields" / "mechanics.pvd"
    text = series.read_text()
    for old, new in (('timestep="50', 'timestep="20'), ('timestep="100', 'timestep="60')):
        assert old in text
        text = text.replace(old, new)
    series.write_text(text)
    content = scene_content(open_result(other))
    assert [state["time"] for state in content["states"]] == [0.0, 20.0, 60.0]
    page = write_view([open_result(block), open_result(other)], tmp_path / "view.html")
    moments = "[...document.querySelectorAll('[data-s3=\"moment\"]')].map(e => e.textContent)"
    slide = (
        "(() => {{ const e = document.querySelectorAll('[data-s3=\"time\"]')[{}]; e.value = {};"
        " e.dispatchEvent(new Event('input')); }})()"
    )

    async def work():
        async with opened(page.as_uri(), tmp_path / "profile") as browser:
            await browser.until(f"{moments}.every(t => t)")
            found = []
            for scene, state in ((0, 1), (0, 2), (1, 1)):
                await browser.value(slide.format(scene, state))
                found.append(await browser.value(moments))
            return found

    assert asyncio.run(work()) == [["50 ms", "60 ms"], ["100 ms", "60 ms"], ["0 ms", "20 ms"]]
