"""`Domain`: a distributed mesh whose regions and surfaces have names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem, la, mesh
from dolfinx.io import gmsh as gmshio
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion
from organtwin.mesh import ordering
from organtwin.mesh.distributed_red import cut, cut_facets
from organtwin.mesh.msh_parts import TETRAHEDRA, Part, read_parts
from organtwin.mesh.tagging import cell_tags, facet_tags
from organtwin.parallel import on_root, total


@dataclass(frozen=True)
class Domain:
    """Mesh (mm) with named regions (cells) and surfaces (boundary facets, or between regions).

    A surface between regions is integrated over once, from the cell of the region with the larger
    integer: there the normal leaves ``wall`` on the surface ``wall-blood``.

    A thin wall is a mesh of triangles in space. Its surfaces are its borders, so that its volume is
    an area and their area a length.

    Attributes:
        mesh: The distributed mesh.
        cell_tags: Integer of the region of each cell.
        facet_tags: Integer of the surface of each tagged facet.
        regions: Region name → integer in ``cell_tags``.
        surfaces: Surface name → integer in ``facet_tags``.
    """

    mesh: mesh.Mesh
    cell_tags: mesh.MeshTags
    facet_tags: mesh.MeshTags
    regions: Mapping[str, int]
    surfaces: Mapping[str, int]

    @property
    def comm(self) -> MPI.Comm:
        """Communicator of the mesh."""
        return self.mesh.comm

    def dx(self, *regions: str, degree: int | None = None) -> ufl.Measure:
        """Volume measure over the named regions, over everything without a name.

        Raises:
            InputError: no region of that name.
        """
        measure = ufl.Measure(
            "dx", domain=self.mesh, subdomain_data=self.cell_tags, metadata=_metadata(degree)
        )
        return measure(self._tags("region", regions, self.regions)) if regions else measure

    def ds(self, *surfaces: str, degree: int | None = None) -> ufl.Measure:
        """Surface measure over the named surfaces, over the whole boundary without a name.

        Raises:
            InputError: no surface of that name.
        """
        measure = ufl.Measure(
            "ds", domain=self.mesh, subdomain_data=self._facet_data, metadata=_metadata(degree)
        )
        return measure(self._tags("surface", surfaces, self.surfaces)) if surfaces else measure

    def facets(self, *surfaces: str) -> NDArray[np.int32]:
        """Local indices of the facets of the named surfaces, sorted."""
        tags = self._tags("surface", surfaces, self.surfaces)
        return np.sort(np.concatenate([self.facet_tags.find(tag) for tag in tags]))

    def cells(self, *regions: str) -> NDArray[np.int32]:
        """Local indices of the cells of the named regions, sorted."""
        tags = self._tags("region", regions, self.regions)
        return np.sort(np.concatenate([self.cell_tags.find(tag) for tag in tags]))

    def volume(self, *regions: str) -> float:
        """Volume (mm³) of the named regions, of everything without a name; collective."""
        one = fem.Constant(self.mesh, 1.0)
        return total(self.comm, fem.assemble_scalar(fem.form(one * self.dx(*regions))))

    def area(self, *surfaces: str) -> float:
        """Area (mm²) of the named surfaces; collective."""
        one = fem.Constant(self.mesh, 1.0)
        return total(self.comm, fem.assemble_scalar(fem.form(one * self.ds(*surfaces))))

    @cached_property
    def _facet_data(self) -> mesh.MeshTags | list[tuple[int, NDArray[np.int32]]]:
        """What surface measures integrate over: each facet between cells from one of them only."""
        tagged = self.facet_tags.indices
        number_of_cells = _summed(self, np.ones(_own_cells(self)))
        if not self.comm.allreduce(int((number_of_cells[tagged] > 1.5).any())):
            return self.facet_tags
        cells, position = _behind(self, number_of_cells)
        numbers = sorted(set(self.surfaces.values()))
        values = self.facet_tags.values
        own = cells >= 0
        return [
            (k, np.column_stack([cells, position])[own & (values == k)].astype(np.int32).ravel())
            for k in numbers
        ]

    def _tags(self, kind: str, names: tuple[str, ...], known: Mapping[str, int]) -> tuple[int, ...]:
        for name in names:
            if name not in known:
                raise InputError("Domain", f"no {kind} `{name}`.", suggestion(name, known))
        return tuple(known[name] for name in names)


@dataclass(frozen=True)
class Refinement:
    """A domain and its refinement, cell by cell on the same rank.

    Attributes:
        coarse: The parent domain.
        fine: The refined domain.
        parent: Parent cell in ``coarse`` (local index) of each cell of ``fine``.
    """

    coarse: Domain
    fine: Domain
    parent: NDArray[np.int32]


def _own_cells(domain: Domain) -> int:
    return int(domain.mesh.topology.index_map(domain.mesh.topology.dim).size_local)


def _summed(domain: Domain, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over the cells at each facet of what this rank's cells have, (facets,); collective."""
    facets = _facets_of_cells(domain)
    vector = la.vector(
        domain.mesh.topology.index_map(domain.mesh.topology.dim - 1), 1, dtype=np.float64
    )
    vector.array[:] = 0.0
    np.add.at(vector.array, facets.ravel(), np.repeat(values, facets.shape[1]))
    vector.scatter_reverse(la.InsertMode.add)
    vector.scatter_forward()
    return np.asarray(vector.array)


def _facets_of_cells(domain: Domain) -> NDArray[np.int32]:
    """Facets of each cell that this rank has, shape (cells, facets of one)."""
    topology = domain.mesh.topology
    topology.create_connectivity(topology.dim, topology.dim - 1)
    links = topology.connectivity(topology.dim, topology.dim - 1)
    own = _own_cells(domain)
    return np.asarray(links.array[: links.offsets[own]].reshape(own, -1))


def _behind(
    domain: Domain, number_of_cells: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each tagged facet the cell that it is integrated from, −1 if another rank has it.

    Args:
        domain: The domain.
        number_of_cells: At each facet, on all ranks together, (facets,).

    Returns:
        Cell of the region with the larger integer, of equal ones the cell with the smaller global
        number; number of the facet in it. Collective.
    """
    own = _own_cells(domain)
    cell_map = domain.mesh.topology.index_map(domain.mesh.topology.dim)
    region = np.zeros(own + cell_map.num_ghosts)
    region[domain.cell_tags.indices] = domain.cell_tags.values
    share = (cell_map.local_range[0] + np.arange(own)) / max(cell_map.size_global, 1)
    rank = region[:own] + 0.5 * (1.0 - share)
    facets = _facets_of_cells(domain)
    sums = _summed(domain, rank)
    tagged = domain.facet_tags.indices
    place = np.full(len(sums), -1)
    place[tagged] = np.arange(len(tagged))
    cell, number = np.nonzero(place[facets] >= 0)
    facet = facets[cell, number]
    first = (rank[cell] >= 0.5 * sums[facet]) | (number_of_cells[facet] < 1.5)
    cells, position = (np.full(len(tagged), -1) for _ in range(2))
    cells[place[facet[first]]] = cell[first]
    position[place[facet[first]]] = number[first]
    return cells, position


def read_domain(path: str | Path, comm: MPI.Comm) -> Domain:
    """Distribute a gmsh file whose physical groups are named; collective.

    Args:
        path: ``.msh`` file with tetrahedra in named volume groups and facets in named surface
            groups, or with triangles in named surface groups and edges in named curve groups.
        comm: Communicator to distribute over.

    Raises:
        InputError: the file is missing, can't be read or lacks named groups.
    """
    file = Path(path)
    on_root(comm, lambda: _check_readable(file))
    part = read_parts(file, comm)
    head = part.head
    regions = {name: tag for (dim, name), tag in head.names.items() if dim == head.dim}
    surfaces = {name: tag for (dim, name), tag in head.names.items() if dim == head.dim - 1}
    if not regions or not surfaces:
        raise InputError(
            str(file),
            "the mesh has no named volume or surface groups.",
            "Give every volume and boundary surface a physical group in gmsh; of a mesh of "
            "triangles every surface and border.",
        )
    spread = _spread(part, comm)
    tags = cell_tags(spread, part.regions), facet_tags(spread, part.facets, part.facet_tags)
    return Domain(spread, *tags, regions, surfaces)


def refine(domain: Domain, times: int = 1) -> Refinement:
    """Refine uniformly, keeping names and keeping every cell on the rank of its parent.

    The refined mesh does not depend on the number of ranks; see `distributed_red.cut`.

    Args:
        domain: What to refine.
        times: How often each edge is halved; 0 gives the domain itself.

    Returns:
        Both domains and the parent of each fine cell. Collective.

    Raises:
        InputError: the mesh has ghost cells, whose parents would not be known.
    """
    cells = domain.mesh.topology.index_map(domain.mesh.topology.dim)
    parent = np.arange(cells.size_local + cells.num_ghosts, dtype=np.int32)
    fine = domain
    for _ in range(times):
        fine, step = _eight_of_each(fine) if _tetrahedra(fine) else _refine_once(fine)
        parent = parent[step]
    return Refinement(domain, fine, parent)


def refine_cells(domain: Domain, cells: NDArray[np.int32]) -> Refinement:
    """Refine where it is asked for, keeping names and every cell on the rank of its parent.

    All edges of the cells are halved, and of their neighbours as many as keep the mesh conforming
    (Plaza & Carey's bisection by longest edges, in DOLFINx). Ranks may end with unequal shares.

    Args:
        domain: What to refine.
        cells: Own cells to refine, local indices; may be none on some ranks.

    Returns:
        Both domains and the parent of each fine cell. Collective.

    Raises:
        InputError: the mesh has ghost cells, whose parents would not be known.
    """
    topology = domain.mesh.topology
    topology.create_entities(1)
    topology.create_connectivity(topology.dim, 1)
    edges = mesh.compute_incident_entities(topology, cells, topology.dim, 1)
    fine, parent = _refine_once(domain, edges)
    return Refinement(domain, fine, parent)


def refuse_ghost_cells(domain: Domain, place: str) -> None:
    """Stop where only this rank's own cells are served, if it has copies of others; collective.

    Raises:
        InputError: there are ghost cells.
    """
    ghosts = total(domain.comm, domain.mesh.topology.index_map(domain.mesh.topology.dim).num_ghosts)
    if ghosts:
        raise InputError(
            place,
            f"the mesh has {ghosts:.0f} ghost cells, copies of other ranks' cells.",
            "Make it with `ghost_mode=dolfinx.mesh.GhostMode.none`, or write it as a gmsh file and "
            "read that by `read_domain`.",
        )


def region_field(domain: Domain) -> fem.Function:
    """Integer of the region of each cell, as a field."""
    region = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)), name="region")
    region.x.array[domain.cell_tags.indices] = domain.cell_tags.values
    return region


def cellwise_vectors(domain: Domain) -> fem.FunctionSpace:
    """Space of vectors that are constant in each cell, as fibres for piecewise linear fields."""
    return fem.functionspace(domain.mesh, ("DG", 0, (3,)))


def _tetrahedra(domain: Domain) -> bool:
    return domain.mesh.topology.cell_type == mesh.CellType.tetrahedron


def _eight_of_each(domain: Domain) -> tuple[Domain, NDArray[np.int32]]:
    """All tetrahedra cut into eight, and the parent of each part."""
    refuse_ghost_cells(domain, "refine")
    made = cut(domain.mesh)
    of_cell = np.full(_own_cells(domain), -1, np.int32)
    of_cell[domain.cell_tags.indices] = domain.cell_tags.values
    values = of_cell[made.parent]
    tagged = np.flatnonzero(values >= 0).astype(np.int32)
    facets = cut_facets(domain.mesh, domain.facet_tags.indices, made.rows)
    fine = Domain(
        made.mesh,
        mesh.meshtags(made.mesh, 3, tagged, values[tagged]),
        facet_tags(made.mesh, facets, np.repeat(domain.facet_tags.values, 4)),
        domain.regions,
        domain.surfaces,
    )
    return fine, made.parent


def _refine_once(
    domain: Domain, edges: NDArray[np.int32] | None = None
) -> tuple[Domain, NDArray[np.int32]]:
    refuse_ghost_cells(domain, "refine")
    msh = domain.mesh
    msh.topology.create_entities(1)
    refined, parent_cell, parent_facet = mesh.refine(
        msh, edges, partitioner=None, option=mesh.RefinementOption.parent_cell_and_facet
    )
    dim = msh.topology.dim
    for topology in (msh.topology, refined.topology):
        topology.create_connectivity(dim, dim - 1)
        topology.create_connectivity(dim - 1, dim)
    cell_tags = mesh.transfer_meshtag(domain.cell_tags, refined, parent_cell)
    facet_tags = mesh.transfer_meshtag(domain.facet_tags, refined, parent_cell, parent_facet)
    # Cells are numbered anew after parents have been noted.
    first = refined.topology.index_map(dim).local_range[0]
    order = np.asarray(refined.topology.original_cell_index) - first
    fine = Domain(refined, cell_tags, facet_tags, domain.regions, domain.surfaces)
    return fine, np.asarray(parent_cell[order], dtype=np.int32)


def _spread(part: Part, comm: MPI.Comm) -> mesh.Mesh:
    """The mesh of all parts, partitioned; they lose points and cells. Collective."""
    element = gmshio.ufl_mesh(part.kind, 3, np.float64)
    shape = mesh.to_type(str(element.ufl_cell()))
    points, cells = part.take_mesh()
    if comm.size == 1 and part.kind == TETRAHEDRA and len(cells) >= ordering.LARGE:
        return ordering.ordered_mesh(comm, points, cells, element)
    order = gmshio.cell_perm_array(shape, cells.shape[1])
    if list(order) != sorted(order):
        cells = cells[:, order]
    return mesh.create_mesh(comm, cells, element, points)


def _metadata(degree: int | None) -> dict[str, int]:
    return {} if degree is None else {"quadrature_degree": degree}


def _check_readable(file: Path) -> None:
    if not file.is_file():
        raise InputError(str(file), "no such mesh file.", "Check the path.")
    with file.open("rb") as stream:
        if not stream.read(11).startswith(b"$MeshFormat"):
            raise InputError(str(file), "not a gmsh file.", "Write it with gmsh as MSH 4.1.")
