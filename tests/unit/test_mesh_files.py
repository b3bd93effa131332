from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gmsh
import h5py
import meshio
import numpy as np
import pytest
import pyvista as pv
from dolfinx.io import XDMFFile
from mpi4py import MPI
from scipy.io import netcdf_file

from organtwin.errors import InputError
from organtwin.mesh.domain import read_domain
from organtwin.mesh.mesh_files import read_mesh, with_facets, write_mesh
from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.tetrahedra import gmsh_session
from organtwin.mesh.volume_mesh import TetrahedralMesh, nodal_directions, outer_facets

DATA = Path(__file__).parents[3] / "shared/data/heart-tet-meshes"
SIZES = (40.0, 20.0, 30.0)


@pytest.fixture(scope="module")
def mesh() -> TetrahedralMesh:
    """A block, its half x < 20 mm another region, its face z = 0 a surface, fibres along (3, 4)."""
    grid = np.stack(np.meshgrid(*(np.linspace(0, s, 5) for s in SIZES), indexing="ij"), axis=3)
    points = grid.reshape(-1, 3)
    cells = np.asarray(pv.PolyData(points).delaunay_3d().cells_dict[10], np.int64)
    volume = signed_volumes(points, cells)
    cells = cells[np.abs(volume) > 1e-9]
    cells[signed_volumes(points, cells) < 0] = cells[signed_volumes(points, cells) < 0][
        :, [0, 2, 1, 3]
    ]
    regions = np.where(points[cells].mean(axis=1)[:, 0] < 20.0, 3, 8)
    facets = outer_facets(cells)
    facets = facets[(points[facets][..., 2] == 0).all(axis=1)]
    f0 = np.tile([0.6, 0.8, 0.0], (len(cells), 1))
    s0 = np.tile([-0.8, 0.6, 0.0], (len(cells), 1))
    return TetrahedralMesh(
        points, cells, regions, {"septum": 3, "free wall": 8}, facets,
        np.full(len(facets), 5), {"base": 5}, {"phi": points[:, 0]},
        {"thickness": np.arange(len(cells), dtype=float)}, {"f0": f0, "s0": s0},
    )  # fmt: skip


@pytest.mark.parametrize("suffix", [".vtu", ".xdmf"])
def test_everything_comes_back(mesh, tmp_path, suffix):
    write_mesh(mesh, tmp_path / f"m{suffix}")
    again = read_mesh(tmp_path / f"m{suffix}")
    np.testing.assert_array_equal(again.points, mesh.points)
    np.testing.assert_array_equal(again.cells, mesh.cells)
    np.testing.assert_array_equal(again.regions, mesh.regions)
    np.testing.assert_array_equal(again.facets, mesh.facets)
    np.testing.assert_array_equal(again.facet_tags, mesh.facet_tags)
    assert again.region_names == mesh.region_names
    assert again.facet_names == mesh.facet_names
    for name in ("f0", "s0"):
        np.testing.assert_array_equal(again.fibres[name], mesh.fibres[name])
    np.testing.assert_array_equal(again.vertex_values["phi"], mesh.vertex_values["phi"])
    np.testing.assert_array_equal(again.cell_values["thickness"], mesh.cell_values["thickness"])
    assert again.volume("septum") + again.volume("free wall") == pytest.approx(24000.0)


def test_gmsh_file_is_a_domain(mesh, tmp_path):
    write_mesh(mesh, tmp_path / "m.msh")
    domain = read_domain(tmp_path / "m.msh", MPI.COMM_SELF)
    assert set(domain.regions) == {"septum", "free wall"}
    assert set(domain.surfaces) == {"base", "boundary"}
    assert domain.volume("septum") == pytest.approx(mesh.volume("septum"))
    assert domain.area("base") == pytest.approx(40.0 * 20.0)
    assert domain.area("boundary") == pytest.approx(40 * 20 + 2 * 40 * 30 + 2 * 20 * 30)
    again = read_mesh(tmp_path / "m.msh")
    assert set(again.region_names) == {"septum", "free wall"}
    assert again.volume("septum") == pytest.approx(mesh.volume("septum"))
    assert len(again.facets) == len(outer_facets(mesh.cells))


def test_gmsh_regions_without_names_get_numbers(tmp_path):
    with gmsh_session():
        gmsh.model.occ.addBox(0, 0, 0, 20, 20, 20)
        gmsh.model.occ.synchronize()
        gmsh.option.setNumber("Mesh.MeshSizeMin", 10)
        gmsh.model.mesh.generate(3)
        for suffix, version in ((".msh", 4.1), ("2.msh", 2.2)):
            gmsh.option.setNumber("Mesh.MshFileVersion", version)
            gmsh.write(str(tmp_path / f"plain{suffix}"))
        gmsh.model.mesh.setOrder(2)
        gmsh.write(str(tmp_path / "curved.msh"))
    for name in ("plain.msh", "plain2.msh"):
        plain = read_mesh(tmp_path / name)
        assert list(plain.region_names) == ["body"]
        assert len(plain.facet_names) == 6
        assert plain.volume("body") == pytest.approx(8000.0)
    with pytest.raises(InputError, match=r"holds Tetrahedron 10; tetrahedra with four vertices"):
        read_mesh(tmp_path / "curved.msh")


def test_carp_files_are_in_micrometres(mesh, tmp_path):
    write_mesh(mesh, tmp_path / "heart.pts")
    head, first = (tmp_path / "heart.pts").read_text().splitlines()[:2]
    assert int(head) == len(mesh.points)
    np.testing.assert_allclose(np.array(first.split(), float), 1000.0 * mesh.points[0])
    assert (tmp_path / "heart.elem").read_text().splitlines()[1].startswith("Tt ")
    assert (tmp_path / "heart.lon").read_text().splitlines()[0] == "2"
    again = read_mesh(tmp_path / "heart.elem", region_names={"septum": 3})
    np.testing.assert_allclose(again.points, mesh.points, atol=1e-9)
    np.testing.assert_array_equal(again.cells, mesh.cells)
    assert again.region_names == {"septum": 3, "region8": 8}
    np.testing.assert_allclose(again.fibres["s0"], mesh.fibres["s0"], atol=1e-8)


def test_carp_written_by_hand(tmp_path):
    (tmp_path / "a.pts").write_text("4\n0 0 0\n12000 0 0\n0 12000 0\n0 0 12000\n")
    # Vertices in the wrong order, no region, one direction that is no unit vector.
    (tmp_path / "a.elem").write_text("1\nTt 0 2 1 3\n")
    (tmp_path / "a.lon").write_text("1\n0 0 2\n")
    mesh = read_mesh(tmp_path / "a.pts")
    assert mesh.volume("region1") == pytest.approx(12.0**3 / 6)
    np.testing.assert_array_equal(mesh.fibres["f0"], [[0.0, 0.0, 1.0]])
    assert "s0" not in mesh.fibres
    with pytest.raises(InputError, match=r"the mesh measures 1.2e\+04 .* in micrometres"):
        read_mesh(tmp_path / "a.pts", unit="mm")
    (tmp_path / "a.elem").write_text("1\nHx 0 2 1 3 4 5 6 7 1\n")
    with pytest.raises(InputError, match=r"holds elements Hx; tetrahedra \(Tt\) are wanted"):
        read_mesh(tmp_path / "a.pts")
    (tmp_path / "a.elem").write_text("1\nTt 0 2 1 9 1\n")
    with pytest.raises(InputError, match="an element has vertex 9, but there are 4"):
        read_mesh(tmp_path / "a.pts")
    (tmp_path / "a.elem").write_text("2\nTt 0 2 1 3 1\n")
    with pytest.raises(InputError, match="says 2 entries, but there are 1"):
        read_mesh(tmp_path / "a.pts")
    (tmp_path / "a.elem").write_text("1\nTt 0 2 1 3 1\n")
    (tmp_path / "a.lon").write_text("1\n0 0 1\n0 0 1\n")
    with pytest.raises(InputError, match="wanted are 1 or 2 directions in 1 elements"):
        read_mesh(tmp_path / "a.pts")
    (tmp_path / "a.elem").unlink()
    with pytest.raises(InputError, match="CARP needs both"):
        read_mesh(tmp_path / "a.pts")


def test_dolfinx_reads_the_xdmf(mesh, tmp_path):
    write_mesh(mesh, tmp_path / "m.xdmf")
    with XDMFFile(MPI.COMM_SELF, str(tmp_path / "m.xdmf"), "r") as file:
        msh = file.read_mesh(name="mesh")
        cells = file.read_meshtags(msh, name="mesh", attribute_name="region")
        msh.topology.create_connectivity(2, 3)
        facets = file.read_meshtags(msh, name="surfaces", attribute_name="region")
    assert sorted(cells.values) == sorted(mesh.regions)
    assert len(facets.values) == len(mesh.facets)


def test_what_cannot_be_used_is_refused(mesh, tmp_path):
    path = tmp_path / "m.vtu"
    write_mesh(replace(mesh, points=mesh.points / 1000.0), path)
    with pytest.raises(InputError, match=r"measures 0\.04 x 0\.02 x 0\.03 mm; .* in metres"):
        read_mesh(path)
    assert read_mesh(path, unit="m").volume("septum") == pytest.approx(mesh.volume("septum"))
    flat = mesh.points.copy()
    flat[mesh.cells[7]] = flat[mesh.cells[7][0]]
    write_mesh(replace(mesh, points=flat), path)
    with pytest.raises(InputError, match=r"tetrahedra have no volume, the first at \("):
        read_mesh(path)
    with pytest.raises(InputError, match=r"nothing has region 4 \(`lv`\). Present: \[3, 8\]"):
        write_mesh(mesh, path)
        read_mesh(path, region_names={"lv": 4})
    pv.ImageData(dimensions=(3, 3, 3), spacing=(9, 9, 9)).cast_to_unstructured_grid().save(path)
    with pytest.raises(InputError, match="tetrahedra with four vertices are wanted"):
        read_mesh(path)
    with pytest.raises(InputError, match="no such mesh file"):
        read_mesh(tmp_path / "none.msh")
    with pytest.raises(InputError, match="no known mesh format"):
        read_mesh(tmp_path / "m.stp")
    with pytest.raises(InputError, match="no known mesh format"):
        write_mesh(mesh, tmp_path / "m.stp")
    (tmp_path / "m.msh").write_text("$MeshFormat\n4.1 0 8\n$EndMeshFormat\n$Nodes\n1 x")
    with pytest.raises(InputError, match=r"gmsh can't read it|holds no volume cells"):
        read_mesh(tmp_path / "m.msh")
    write_mesh(mesh, tmp_path / "m.xdmf")
    (tmp_path / "m.h5").unlink()
    with pytest.raises(InputError, match=r"can't be read.*Keep the \.h5 file beside it"):
        read_mesh(tmp_path / "m.xdmf")
    (tmp_path / "m.xdmf").write_text("<Xdmf")
    with pytest.raises(InputError, match="can't be read"):
        read_mesh(tmp_path / "m.xdmf")


def by_name(mesh: TetrahedralMesh) -> dict[str, set[tuple[int, ...]]]:
    """Vertices of the cells and facets under each name."""
    parts = [(mesh.region_names, mesh.cells, mesh.regions),
             (mesh.facet_names, mesh.facets, mesh.facet_tags)]  # fmt: skip
    return {
        name: {tuple(own) for own in np.sort(corners[tags == tag], axis=1).tolist()}
        for names, corners, tags in parts
        for name, tag in names.items()
    }


@pytest.mark.parametrize("suffix", [".inp", ".med", ".exo"])
def test_names_come_back(mesh, tmp_path, suffix, capsys):
    write_mesh(mesh, tmp_path / f"m{suffix}")
    again = read_mesh(tmp_path / f"m{suffix}")
    np.testing.assert_array_equal(again.points, mesh.points)
    assert by_name(again) == by_name(mesh)
    assert again.volume("free wall") == pytest.approx(mesh.volume("free wall"))
    assert capsys.readouterr() == ("", "")
    if suffix != ".inp":
        np.testing.assert_array_equal(again.vertex_values["phi"], mesh.vertex_values["phi"])
        np.testing.assert_allclose(again.fibres["s0"], mesh.fibres["s0"])
        order = np.argsort(again.cell_values["thickness"])
        np.testing.assert_array_equal(np.sort(again.cells[order]), np.sort(mesh.cells))


@pytest.mark.parametrize("suffix", [".mesh", ".meshb"])
def test_medit_keeps_integers(mesh, tmp_path, suffix):
    write_mesh(mesh, tmp_path / f"m{suffix}")
    again = read_mesh(tmp_path / f"m{suffix}", region_names=mesh.region_names)
    assert again.region_names == mesh.region_names
    assert again.facet_names == {"surface5": 5}
    np.testing.assert_array_equal(again.cells, mesh.cells)
    np.testing.assert_array_equal(again.facet_tags, mesh.facet_tags)


@pytest.mark.parametrize(
    ("suffix", "form", "tags"),
    [
        (".vol", "netgen", "netgen:index"),
        (".avs", "avsucd", "avsucd:material"),
        (".dat", "tecplot", None),
        (".bdf", "nastran", "nastran:ref"),
        (".fem", "nastran", "nastran:ref"),
    ],
)
def test_what_others_wrote_is_read(mesh, tmp_path, suffix, form, tags, capsys):
    cells = [("tetra", mesh.cells)]
    if tags:
        cells.append(("triangle", mesh.facets))
    raw = meshio.Mesh(mesh.points, cells)
    if tags:
        raw.cell_data[tags] = [mesh.regions, mesh.facet_tags]
    meshio.write(tmp_path / f"m{suffix}", raw, form)
    capsys.readouterr()
    again = read_mesh(tmp_path / f"m{suffix}")
    assert capsys.readouterr() == ("", "")
    np.testing.assert_allclose(again.points, mesh.points, atol=1e-6)
    np.testing.assert_array_equal(np.sort(again.cells), np.sort(mesh.cells))
    if tags:
        assert set(map(tuple, np.sort(again.facets))) == set(map(tuple, np.sort(mesh.facets)))
        assert list(again.facet_names.values()) == [5]
    if tags:
        np.testing.assert_array_equal(again.regions, mesh.regions)
    else:
        assert list(again.region_names) == ["body"]


def test_netgen_and_su2_names(tmp_path):
    corners = "0 0 0\n20 0 0\n0 20 0\n0 0 20\n"
    (tmp_path / "a.vol").write_text(
        "mesh3d\ndimension\n3\ngeomtype\n0\nsurfaceelements\n1\n1 2 1 0 3 1 2 3\n"
        f"volumeelements\n1\n7 4 1 2 3 4\npoints\n4\n{corners}"
        "materials\n1\n7 bone\nbcnames\n1\n2 base\nendmesh\n"
    )
    assert set(by_name(read_mesh(tmp_path / "a.vol"))) == {"bone", "base"}
    (tmp_path / "a.su2").write_text(
        f"NDIME= 3\nNELEM= 1\n10 0 1 2 3 0\nNPOIN= 4\n{corners}NMARK= 2\n"
        "MARKER_TAG= inlet\nMARKER_ELEMS= 1\n5 0 1 2\n"
        "MARKER_TAG= wall\nMARKER_ELEMS= 1\n5 0 1 3\n"
    )
    found = by_name(read_mesh(tmp_path / "a.su2"))
    assert found["inlet"] == {(0, 1, 2)}
    assert found["wall"] == {(0, 1, 3)}


DECK = """*Heading
** two tetrahedra
*Node
 10, 0., 0., 0.
 20, 20., 0., 0.
 30, 0., 20., 0.
 40, 0., 0., 20.
 50, 20., 20., 20.
*Element, type=S3, elset=Lid
 7, 10, 20, 30
*Element, type=C3D4
 1, 10, 20, 30, 40
 2, 20, 30, 40, 50
*Elset, elset=Whole, generate
 1, 2, 1
*Elset, elset=Core
 2,
*Elset, elset=Inner
 CORE
*Elset, elset=_Face_S2, internal
 1
*Nset, nset=Side
 10, 30,
 40
*Nset, nset=All
 Side, 20, 50
*Surface, type=ELEMENT, name=Face
 _Face_S2, S2
*Surface, type=NODE, name=Nodes
 Side
*Surface, type=ELEMENT, name=Shell
 Lid, SPOS
"""


def test_abaqus_sets_become_names(tmp_path):
    path = tmp_path / "a.inp"
    path.write_text(DECK)
    mesh = read_mesh(path)
    assert by_name(mesh) == {
        "Whole": {(0, 1, 2, 3)}, "Inner": {(1, 2, 3, 4)}, "Lid": {(0, 1, 2)},
        "Face": {(0, 1, 3)}, "Side": {(0, 2, 3)},
    }  # fmt: skip
    for old, new, told in (
        ("C3D4", "C3D8", "holds C3D8; tetrahedra"),
        (" 2, 20, 30, 40, 50", " 2, 20, 30, 40", "a line is damaged"),
        (" 2, 20, 30, 40, 50", " 2, 20, 30, 40, 60", "has node 60, which is not there"),
        (" 20, 20., 0., 0.", " 10, 20., 0., 0.", "node 10 occurs more than once"),
        (" CORE", " NONE", "a line is damaged"),
        ("*Heading", "*Include, input=b.inp", r"has \*INCLUDE, which is not followed"),
        ("*Node", "*Other", "has no nodes"),
    ):
        path.write_text(DECK.replace(old, new))
        with pytest.raises(InputError, match=told):
            read_mesh(path)


def test_vtk_reads_the_exodus_file(mesh, tmp_path):
    write_mesh(mesh, tmp_path / "m.exo")
    reader = pv.get_reader(tmp_path / "m.exo")
    reader.side_sets.enable_all()
    data = reader.read()
    blocks = data["Element Blocks"]
    assert set(blocks.keys()) == {"septum", "free wall"}
    volume = mesh.volume("free wall")
    assert blocks["free wall"].volume == pytest.approx(volume)
    np.testing.assert_allclose(blocks["septum"].cell_data["f0"][0], [0.6, 0.8, 0.0])
    base = data["Side Sets"]["base"]
    assert base.n_cells == len(mesh.facets)
    assert np.ptp(np.asarray(base.points)[:, 2]) == 0.0


def test_exodus_in_hdf5_is_read(mesh, tmp_path):
    write_mesh(mesh, tmp_path / "m.exo")
    with (
        netcdf_file(tmp_path / "m.exo", mmap=False) as old,
        h5py.File(tmp_path / "m.e", "w") as new,
    ):
        for name, item in old.variables.items():
            new[name] = item[...]
            if hasattr(item, "elem_type"):
                new[name].attrs["elem_type"] = item.elem_type
    again = read_mesh(tmp_path / "m.e")
    assert by_name(again) == by_name(mesh)
    np.testing.assert_allclose(again.fibres["f0"][3], [0.6, 0.8, 0.0])


def test_node_numbers_beyond_the_last_are_refused(tmp_path):
    (tmp_path / "a.mesh").write_text(
        "MeshVersionFormatted 2\nDimension 3\nVertices\n4\n0 0 0 1\n20 0 0 1\n0 20 0 1\n"
        "0 0 20 1\nTetrahedra\n1\n1 2 3 5 1\nEnd\n"
    )
    with pytest.raises(InputError, match=r"vertex 4 \(from 0\), but there are 4"):
        read_mesh(tmp_path / "a.mesh")


def test_gmsh_decks_are_read(tmp_path):
    with gmsh_session():
        for x, name in ((0, "bone"), (20, "muscle")):
            box = gmsh.model.occ.addBox(x, 0, 0, 20, 20, 20)
            gmsh.model.occ.synchronize()
            gmsh.model.addPhysicalGroup(3, [box], name=name)
        gmsh.option.setNumber("Mesh.MeshSizeMin", 10)
        gmsh.model.mesh.generate(3)
        for suffix in ("inp", "med", "bdf", "unv"):
            gmsh.write(str(tmp_path / f"two.{suffix}"))
    for suffix in ("inp", "med", "unv"):
        two = read_mesh(tmp_path / f"two.{suffix}")
        assert two.volume("bone") == pytest.approx(8000.0)
        assert set(two.region_names) == {"bone", "muscle"}
    plain = read_mesh(tmp_path / "two.bdf")
    assert plain.volume("region2") == pytest.approx(8000.0, rel=1e-4)


@pytest.mark.parametrize("suffix", [".inp", ".med", ".exo", ".mesh", ".vol", ".avs", ".su2",
                                    ".dat", ".bdf", ".meshb"])  # fmt: skip
def test_damaged_files_are_refused(mesh, tmp_path, suffix, capsys):
    path = tmp_path / f"m{suffix}"
    for content in (b"", b"\x89HDF\r\n\x1a\nxx", b"CDF\x01ab", b"BEGIN BULK\n", b"hello\n1 2 3\n"):
        path.write_bytes(content)
        with pytest.raises(InputError):
            read_mesh(path)
    if suffix in (".inp", ".med", ".exo", ".mesh"):
        write_mesh(mesh, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
        with pytest.raises(InputError):
            read_mesh(path)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("suffix", "form"), [(".dat", "tecplot"), (".bdf", "nastran")])
def test_readers_stop_where_a_file_ends_early(mesh, tmp_path, suffix, form):
    path = tmp_path / f"m{suffix}"
    meshio.write(path, meshio.Mesh(mesh.points, [("tetra", mesh.cells)]), form)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(InputError, match="can't be read"):
        read_mesh(path)


def test_gmsh_reads_the_med_file(mesh, tmp_path):
    write_mesh(mesh, tmp_path / "m.med")
    with gmsh_session():
        gmsh.merge(str(tmp_path / "m.med"))
        groups = {gmsh.model.getPhysicalName(*group) for group in gmsh.model.getPhysicalGroups()}
        tetrahedra = gmsh.model.mesh.getElementsByType(4)[0]
    assert groups == {"septum", "free wall", "base"}
    assert len(tetrahedra) == len(mesh.cells)


@pytest.mark.parametrize(("suffix", "name"), [(".inp", "a,b"), (".med", "a/b"), (".med", "wänd")])
def test_names_that_a_format_lacks_are_refused(mesh, tmp_path, suffix, name):
    with pytest.raises(InputError, match=r"can't be in it\. Rename it"):
        write_mesh(replace(mesh, facet_names={name: 5}), tmp_path / f"m{suffix}")


@pytest.mark.parametrize("suffix", [".inp", ".exo"])
def test_facets_inside_no_cell_are_refused(mesh, tmp_path, suffix):
    wrong = replace(mesh, facets=np.array([[0, 1, 124]]), facet_tags=np.array([5]))
    with pytest.raises(InputError, match="1 facets are no faces of a cell"):
        write_mesh(wrong, tmp_path / f"m{suffix}")


def test_vertices_without_cells_are_left_out(mesh, tmp_path):
    more = replace(
        mesh,
        points=np.concatenate([[[99.0, 0, 0]], mesh.points]),
        cells=mesh.cells + 1,
        facets=mesh.facets + 1,
        vertex_values={"phi": np.concatenate([[-1.0], mesh.points[:, 0]])},
    )
    write_mesh(more, tmp_path / "m.vtu")
    again = read_mesh(tmp_path / "m.vtu")
    np.testing.assert_array_equal(again.points, mesh.points)
    np.testing.assert_array_equal(again.facets, mesh.facets)
    np.testing.assert_array_equal(again.vertex_values["phi"], again.points[:, 0])


def test_directions_at_vertices_have_no_sign(mesh):
    sign = np.where(np.arange(len(mesh.points)) % 2, 1.0, -1.0)[:, None]
    nodal = replace(mesh, vertex_values={"fiber": sign * [0.6, 0.8, 0.0]})
    found = nodal_directions(nodal, "fiber")
    np.testing.assert_allclose(np.abs(found @ [0.6, 0.8, 0.0]), 1.0)
    with pytest.raises(InputError, match=r"no vectors `fibre`. Did you mean `fiber`"):
        nodal_directions(nodal, "fibre")


def real(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not here")
    return DATA / name


def test_real_atrium_and_ventricle_become_a_domain(tmp_path):
    mesh = read_mesh(real("lalv_domain.xdmf"), region_names={"lv": 1, "la": 2})
    assert len(mesh.points) == 1994
    assert len(mesh.cells) == 8225
    mesh = with_facets(mesh, real("lalv_boundary.xdmf"), {"inner": 1})
    assert set(mesh.facet_names) == {"inner", *(f"surface{k}" for k in range(3, 9))}
    write_mesh(mesh, tmp_path / "lalv.msh")
    domain = read_domain(tmp_path / "lalv.msh", MPI.COMM_SELF)
    assert domain.volume("lv") == pytest.approx(mesh.volume("lv"))
    assert "inner" in domain.surfaces
    with pytest.raises(InputError, match="are no facets of the mesh"):
        with_facets(mesh, real("heart3D_boundary.xdmf"))


def test_real_fibres_go_to_carp_and_back(tmp_path):
    mesh = read_mesh(real("fib_fiber_nodal.xdmf"))
    assert mesh.volume("body") == pytest.approx(203750, rel=1e-4)
    mesh = replace(mesh, fibres={"f0": nodal_directions(mesh, "fiber")})
    write_mesh(mesh, tmp_path / "heart.pts")
    again = read_mesh(tmp_path / "heart.pts")
    np.testing.assert_allclose(again.fibres["f0"], mesh.fibres["f0"], atol=1e-8)
    assert again.volume("region1") == pytest.approx(mesh.volume("body"))
    text = read_mesh(real("heart3D_domain.xdmf"))
    assert text.volume("region1") == pytest.approx(mesh.volume("body"))
