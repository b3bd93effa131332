"""Files of gmsh read piece by piece: as DOLFINx reads them at once; damaged ones are refused."""

import gmsh
import numpy as np
import pytest
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import LinearProblem
from dolfinx.io import gmsh as gmshio
from dolfinx.mesh import compute_midpoints
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.mesh import msh_parts, ordering
from organtwin.mesh.domain import read_domain
from organtwin.mesh.tetrahedra import gmsh_session


def box(file, *, order=1, version=4.1, binary=0, first=1, hexahedra=False, renamed=()):
    """Two boxes that share a side, meshed by gmsh; their surfaces in two groups."""
    with gmsh_session():
        gmsh.model.occ.addBox(0, 0, 0, 10, 20, 20)
        gmsh.model.occ.addBox(10, 0, 0, 10, 20, 20)
        gmsh.model.occ.fragment([(3, 1)], [(3, 2)])
        gmsh.model.occ.synchronize()
        if hexahedra:
            for _, tag in gmsh.model.getEntities(1):
                gmsh.model.mesh.setTransfiniteCurve(tag, 4)
            for dim, tag in gmsh.model.getEntities(2):
                gmsh.model.mesh.setTransfiniteSurface(tag)
                gmsh.model.mesh.setRecombine(dim, tag)
            for _, tag in gmsh.model.getEntities(3):
                gmsh.model.mesh.setTransfiniteVolume(tag)
        gmsh.model.addPhysicalGroup(3, [1], 1, "left part")
        gmsh.model.addPhysicalGroup(3, [2], 2, "right")
        between = set(_sides(1)) & set(_sides(2))
        gmsh.model.addPhysicalGroup(2, sorted(between), 3, "between")
        gmsh.model.addPhysicalGroup(
            2, sorted((set(_sides(1)) | set(_sides(2))) - between), 4, "out"
        )
        for dim, tags, number in renamed:
            gmsh.model.addPhysicalGroup(dim, tags, number, "more")
        gmsh.option.setNumber("Mesh.MeshSizeMax", 6)
        gmsh.option.setNumber("Mesh.FirstNodeTag", first)
        gmsh.option.setNumber("Mesh.MshFileVersion", version)
        gmsh.option.setNumber("Mesh.Binary", binary)
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.setOrder(order)
        gmsh.write(str(file))
    return file


def _sides(volume):
    return [abs(tag) for _, tag in gmsh.model.getBoundary([(3, volume)])]


@pytest.mark.parametrize(
    "how", [{}, {"order": 2}, {"hexahedra": True}], ids=["straight", "curved", "hexahedra"]
)
def test_the_mesh_is_that_which_dolfinx_reads_at_once(how, tmp_path, monkeypatch):
    monkeypatch.setattr(msh_parts, "ROWS", 7)  # many pieces, the last of a block not full
    file = box(tmp_path / "m.msh", **how)
    with gmsh_session():
        gmsh.merge(str(file))
        whole = gmshio.model_to_mesh(gmsh.model, MPI.COMM_SELF, 0, gdim=3)
    domain = read_domain(file, MPI.COMM_SELF)
    assert (domain.mesh.geometry.x == whole.mesh.geometry.x).all()
    assert (domain.mesh.geometry.dofmaps[0] == whole.mesh.geometry.dofmaps[0]).all()
    for one, other in (
        (domain.cell_tags, whole.cell_tags), (domain.facet_tags, whole.facet_tags),
    ):  # fmt: skip
        assert (one.indices == other.indices).all()
        assert (one.values == other.values).all()
    assert domain.regions == {"left part": 1, "right": 2}
    assert domain.surfaces == {"between": 3, "out": 4}
    assert domain.area("between") == pytest.approx(400.0)
    assert domain.area("out") == pytest.approx(4 * 400.0 + 2 * 400.0)


@pytest.mark.parametrize("how", [{"version": 2.2}, {"binary": 1}], ids=["version 2.2", "binary"])
def test_other_files_are_written_anew(how, tmp_path):
    plain = read_domain(box(tmp_path / "plain.msh"), MPI.COMM_SELF)
    other = read_domain(box(tmp_path / "other.msh", **how), MPI.COMM_SELF)
    assert other.regions == plain.regions
    assert other.surfaces == plain.surfaces
    assert np.sort(other.mesh.geometry.x, axis=0) == pytest.approx(
        np.sort(plain.mesh.geometry.x, axis=0)
    )
    assert other.volume("left part") == pytest.approx(4000.0)


def test_numbers_of_nodes_may_have_gaps(tmp_path):
    file = box(tmp_path / "m.msh", first=1000)
    head = file.read_text().split("$Nodes\n")[1].split()[:4]
    assert int(head[2]) >= 1000
    assert read_domain(file, MPI.COMM_SELF).volume() == pytest.approx(8000.0)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("$EndElements", None, "ends too early|words for numbers"),
        ("$Elements", None, "section"),
        ("$Nodes", None, "no section|no nodes"),
        ("$Entities", "$Nothing", "no physical groups"),
        ('"right"', "right", "no name"),
        ("$Elements\n", "$Elements\nx ", "words for numbers"),
    ],
)
def test_damaged_files_are_refused(old, new, told, tmp_path):
    text = box(tmp_path / "m.msh").read_text()
    place = text.index(old)
    # Cut off, some lines before the end of a section.
    cut = text[: place - 60] if old.startswith("$End") else text[:place]
    (tmp_path / "bad.msh").write_text(cut if new is None else text.replace(old, new, 1))
    with pytest.raises(InputError, match=told):
        read_domain(tmp_path / "bad.msh", MPI.COMM_SELF)


def test_wrong_numbers_are_refused(tmp_path):
    text = box(tmp_path / "m.msh").read_text()
    before, after = text.split("$EndElements")
    lines = before.rstrip().split("\n")
    lines[-1] = " ".join([*lines[-1].split()[:-1], "99999"])
    (tmp_path / "bad.msh").write_text("\n".join(lines) + "\n$EndElements" + after)
    with pytest.raises(InputError, match="a node that is not there"):
        read_domain(tmp_path / "bad.msh", MPI.COMM_SELF)
    blocks, count, least, most = text.split("$Nodes\n")[1].split()[:4]
    many = text.replace(f"{blocks} {count} {least} {most}", f"{blocks} {10**15} 1 {10**15}", 1)
    (tmp_path / "bad.msh").write_text(many)
    with pytest.raises(InputError, match="can't hold"):
        read_domain(tmp_path / "bad.msh", MPI.COMM_SELF)


def test_a_volume_has_one_group(tmp_path):
    file = box(tmp_path / "m.msh", renamed=[(3, [1], 9)])
    with pytest.raises(InputError, match="2 physical groups"):
        read_domain(file, MPI.COMM_SELF)


def test_a_large_mesh_is_ordered_by_place_and_else_the_same(tmp_path, monkeypatch):
    file = box(tmp_path / "m.msh")
    usual = read_domain(file, MPI.COMM_SELF)
    monkeypatch.setattr(ordering, "LARGE", 1)
    large = read_domain(file, MPI.COMM_SELF)
    assert middles(large) == pytest.approx(middles(usual))
    assert large.regions == usual.regions
    for index, what in enumerate(("cell_tags", "facet_tags")):
        ours, theirs = getattr(large, what), getattr(usual, what)
        assert len(ours.indices) == len(theirs.indices)
        assert tagged(large, 3 - index, ours) == pytest.approx(tagged(usual, 3 - index, theirs))
    places = large.mesh.geometry.x[large.mesh.geometry.dofmaps[0]].mean(axis=1)
    before = usual.mesh.geometry.x[usual.mesh.geometry.dofmaps[0]].mean(axis=1)
    near = np.linalg.norm(np.diff(places, axis=0), axis=1).mean()
    assert near < 1.5 * np.linalg.norm(np.diff(before, axis=0), axis=1).mean()
    assert energy(large) == pytest.approx(energy(usual), rel=1e-10)


def middles(domain):
    """Middles of the cells in the order of the file; vertices where the file has them."""
    x = domain.mesh.geometry.x
    cells = x[domain.mesh.geometry.dofmaps[0]].mean(axis=1)
    index = domain.mesh.topology.original_cell_index
    vertices = domain.mesh.geometry.input_global_indices
    return np.concatenate([cells[np.argsort(index)], x[np.argsort(vertices)]])


def tagged(domain, dim, tags):
    """Middles of tagged entities with their values, sorted."""
    places = compute_midpoints(domain.mesh, dim, tags.indices)
    rows = np.round(np.column_stack([tags.values, places]), 6)
    return rows[np.lexsort(rows.T[::-1])]


def energy(domain):
    """Dirichlet's integral of the potential between the surface between and a source."""
    V = fem.functionspace(domain.mesh, ("P", 2))
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    held = fem.locate_dofs_topological(V, 2, domain.facets("between"))
    x = ufl.SpatialCoordinate(domain.mesh)
    problem = LinearProblem(
        ufl.inner(ufl.grad(u), ufl.grad(v)) * domain.dx(), x[1] * v * domain.ds("out"),
        bcs=[fem.dirichletbc(0.0, held, V)], petsc_options_prefix="test_ordering_",
        petsc_options={"ksp_type": "preonly", "pc_type": "cholesky"},
    )  # fmt: skip
    solution = problem.solve()
    form = ufl.inner(ufl.grad(solution), ufl.grad(solution)) * domain.dx("right")
    return fem.assemble_scalar(fem.form(form))
