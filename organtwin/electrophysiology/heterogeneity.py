"""Cells that differ from place to place: by region, along a coordinate, by disease and drug.

What differs between cells with the same equations becomes a field of one kernel; only cells with
other equations are another population.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from dolfinx import fem, la
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.cells.codegen import Scheme
from organtwin.cells.conditions import Condition, applied
from organtwin.cells.drugs import Dose
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import PacedCell
from organtwin.cells.population import Cells, Population
from organtwin.electrophysiology.reaction_diffusion import local_nodes
from organtwin.errors import InputError, suggestion
from organtwin.mesh.domain import Domain
from organtwin.parallel import agree, on_root

Array = NDArray[np.float64]

#: Values at the nodes: a continuous scalar field on the same mesh, or one value for each local node
#: (owned and ghosts).
type Values = fem.Function | Array

#: A node this close to a border of `Bands` lies on it.
ON_BORDER = 1e-6
#: Number of the variant at nodes without cells.
PASSIVE = -1


@dataclass(frozen=True)
class Bands:
    """Models in layers, as endocardial, mid-myocardial and epicardial cells.

    Attributes:
        coordinate: What the layers follow, such as `Coordinates.epi`.
        models: Model of each layer, by ascending coordinate.
        borders: Coordinates between the layers, ascending, one fewer than models. Nodes on a border
            belong to the layer below it.

    Raises:
        InputError: the borders do not fit the models.
    """

    coordinate: Values
    models: tuple[CellModel, ...]
    borders: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.borders) != len(self.models) - 1 or not (np.diff(self.borders) > 0).all():
            raise InputError(
                "bands of cells",
                f"borders {list(self.borders)} for {len(self.models)} models.",
                "Give one border between each two models, ascending.",
            )


@dataclass(frozen=True)
class Gradient:
    """Factor on a current or parameter, linear in a coordinate and constant outside ``between``.

    Attributes:
        name: Current (``IKs``) or parameter (``g_Ks``).
        coordinate: What it follows, such as `Coordinates.apicobasal`.
        start: Factor at the lower coordinate.
        end: Factor at the upper coordinate.
        between: Lower and upper coordinate.

    Raises:
        InputError: the upper coordinate is not above the lower one.
    """

    name: str
    coordinate: Values
    start: float
    end: float
    between: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not self.between[1] > self.between[0]:
            raise InputError(
                f"gradient of `{self.name}`",
                f"between {self.between}.",
                "Name the lower end first.",
            )

    def factor(self, x: Array) -> Array:
        """Factor at coordinates ``x``."""
        return np.asarray(np.interp(x, self.between, (self.start, self.end)))


@dataclass(frozen=True)
class RegionCells:
    """The cells of some regions.

    Attributes:
        regions: Names of the regions.
        model: Model, or models by layer.
        conditions: Diseases, in turn.
        gradients: Factors that follow coordinates.
        fields: Parameter → values in place of the models' and the conditions' own. Factors of
            conditions, drugs and gradients act on them too.
    """

    regions: tuple[str, ...]
    model: CellModel | Bands
    conditions: tuple[Condition, ...] = ()
    gradients: tuple[Gradient, ...] = ()
    fields: Mapping[str, Values] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """Cells with the same numbers, apart from gradients and fields.

    Attributes:
        part: Number of their `RegionCells`.
        base: Their model in health.
        changes: What conditions and drugs do to it, in turn.
        model: Their model with these changes.
    """

    part: int
    base: CellModel
    changes: tuple[Condition, ...]
    model: CellModel

    def factor(self, parameter: str) -> float:
        """Factor of the changes on a parameter."""
        return float(
            np.prod(
                [
                    factor
                    for change in self.changes
                    for current, factor in change.factors.items()
                    if self.base.currents[current] == parameter
                ]
            )
        )


@dataclass(frozen=True)
class Layout:
    """Who lives where.

    Attributes:
        variants: The kinds of cells.
        at: Number of the variant at each local node, `PASSIVE` where there is none.
    """

    variants: tuple[Variant, ...]
    at: NDArray[np.int64]


def layout(
    V: fem.FunctionSpace,
    domain: Domain,
    parts: Sequence[RegionCells],
    *,
    passive: Sequence[str] = (),
    doses: Sequence[Dose] = (),
) -> Layout:
    """Kinds of cells and where they live; see `cells_on`, collective."""
    _check_regions(domain, parts, passive)
    variants: list[Variant] = []
    part_of = _parts_of_nodes(V, domain, parts, passive)
    at = np.full(len(part_of), PASSIVE, dtype=np.int64)
    effects = _effects(parts, doses)
    for k, part in enumerate(parts):
        mine = part_of == k
        at[mine] = len(variants) + _band(V, part.model)[mine]
        variants += [_variant(k, model, part.conditions, effects) for model in _models(part)]
    return Layout(tuple(variants), at)


def cells_on(
    V: fem.FunctionSpace,
    domain: Domain,
    parts: Sequence[RegionCells],
    *,
    passive: Sequence[str] = (),
    doses: Sequence[Dose] = (),
    start: Callable[[CellModel], PacedCell] | None = None,
    scheme: Scheme = Scheme.GENERALISED_1,
    substeps: int = 1,
    tolerance: float = 1.0,
) -> Cells:
    """Cells at the nodes of a mesh; collective.

    A node on the border of several regions belongs to the part that stands first in ``parts``, and
    is without a cell only where all regions around it are passive. That, and all else here, is the
    same on any number of ranks.

    Args:
        V: Space of the potential.
        domain: Its mesh, with the names of the regions.
        parts: Cells by region; together with ``passive`` they name each region once.
        passive: Regions without cells, as scar. They still conduct: see `by_region` to give them
            a conductivity of zero.
        doses: Drugs, everywhere. A current that only some of the models have is blocked in these.
        start: Gives each variant its states at the start, such as one that calls `pace`. It is
            called on rank 0 alone, once for each model with its conditions and drugs. Without it
            cells start from the models' initial states. Gradients and fields do not count: their
            nodes take the states of their variant.
        scheme: How the cells take a step.
        substeps: See `Kernel`.
        tolerance: See `Kernel`.

    Returns:
        One population for each set of equations.

    Raises:
        InputError: a region is not in the mesh, named twice or not at all; a current or parameter
            is not in the model; a field does not fit the space.
    """
    places = layout(V, domain, parts, passive=passive, doses=doses)
    starts = _starts(V.mesh.comm, places.variants, start)
    populations = []
    for family in _families(places.variants):
        nodes = np.flatnonzero(np.isin(places.at, family)).astype(np.int32)
        fields = _fields(V, parts, places, family, nodes)
        kernel = compile_kernel(
            places.variants[family[0]].model, V.mesh.comm, scheme=scheme, fields=tuple(fields),
            substeps=substeps, tolerance=tolerance,
        )  # fmt: skip
        states, v = _spread(starts, places.at[nodes], len(kernel.states))
        everywhere = V.mesh.comm.allreduce(len(nodes) == len(places.at), op=MPI.LAND)
        populations.append(Population(kernel, states, v, None if everywhere else nodes, fields))
    return Cells(populations, len(places.at))


def by_region(domain: Domain, values: Mapping[str, float], other: float = 1.0) -> fem.Function:
    """Piecewise constant field with a value in each of some regions, ``other`` elsewhere.

    Multiplied with a conductivity it makes scar an insulator and slows the wave in a border zone.

    Args:
        domain: Mesh with the names.
        values: Region → value.
        other: Value everywhere else.

    Raises:
        InputError: no region of that name.
    """
    result = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)))
    result.x.array[:] = other
    for name, value in values.items():
        result.x.array[_owned_cells(domain, name)] = value
    result.x.scatter_forward()
    return result


def _check_regions(domain: Domain, parts: Sequence[RegionCells], passive: Sequence[str]) -> None:
    place = "cells by region"
    named = [name for part in parts for name in part.regions] + list(passive)
    for name in named:
        if name not in domain.regions:
            raise InputError(place, f"no region `{name}`.", suggestion(name, domain.regions))
        if named.count(name) > 1:
            raise InputError(place, f"`{name}` is named twice.", "Name it once.")
    for name in domain.regions:
        if name not in named:
            remedy = "Give it cells, or name it passive."
            raise InputError(place, f"nothing is said of `{name}`.", remedy)
    if not all(part.regions for part in parts):
        raise InputError(place, "cells without a region.", "Name the regions they live in.")


def _owned_cells(domain: Domain, *names: str) -> NDArray[np.int32]:
    """This rank's own cells of regions; the tags of ghosts may be missing."""
    cells = domain.cells(*names)
    topology = domain.mesh.topology
    return cells[cells < topology.index_map(topology.dim).size_local]


def _parts_of_nodes(
    V: fem.FunctionSpace, domain: Domain, parts: Sequence[RegionCells], passive: Sequence[str]
) -> NDArray[np.int64]:
    """Number of the first part among the cells around each local node, `PASSIVE` for none."""
    result = np.full(local_nodes(V), PASSIVE, dtype=np.int64)
    for k in reversed(range(len(parts))):
        result[_touched(V, _owned_cells(domain, *parts[k].regions))] = k
    known = result != PASSIVE
    if passive:
        known |= _touched(V, _owned_cells(domain, *passive))
    found = None
    if not known.all():
        x, y, z = V.tabulate_dof_coordinates()[int(np.argmin(known))]
        found = InputError(
            "cells by region",
            f"the node at ({x:.4g}, {y:.4g}, {z:.4g}) mm lies in no named region.",
            "Tag all cells of the mesh.",
        )
    agree(V.mesh.comm, found)
    return result


def _touched(V: fem.FunctionSpace, cells: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Local nodes of cells that may be on any rank; collective."""
    touched = fem.Function(V)
    touched.x.array[np.unique(V.dofmap.list[cells])] = 1.0
    touched.x.scatter_reverse(la.InsertMode.add)
    touched.x.scatter_forward()
    return np.asarray(touched.x.array > 0)


def _models(part: RegionCells) -> tuple[CellModel, ...]:
    return part.model.models if isinstance(part.model, Bands) else (part.model,)


def _band(V: fem.FunctionSpace, model: CellModel | Bands) -> NDArray[np.int64]:
    """Number of the layer at each local node."""
    if not isinstance(model, Bands):
        return np.zeros(local_nodes(V), dtype=np.int64)
    coordinate = _nodal(V, model.coordinate, "bands of cells")
    return np.searchsorted(np.array(model.borders) + ON_BORDER, coordinate).astype(np.int64)


def _effects(parts: Sequence[RegionCells], doses: Sequence[Dose]) -> list[Condition]:
    """What drugs do, once each of their currents is one of some model's."""
    effects = [dose.effect for dose in doses]
    known = {current for part in parts for model in _models(part) for current in model.currents}
    for effect in effects:
        for current in effect.factors:
            if current not in known:
                raise InputError(
                    f"drug `{effect.name}`",
                    f"no model has a current `{current}`.",
                    f"{suggestion(current, known)} Or leave it out with `Drug.without`."
                    if known
                    else "Choose a model with ionic currents.",
                )
    return effects


def _variant(
    part: int, base: CellModel, conditions: Sequence[Condition], effects: Sequence[Condition]
) -> Variant:
    own = [
        Condition(
            effect.name,
            {name: f for name, f in effect.factors.items() if name in base.currents},
            source=effect.source,
        )
        for effect in effects
    ]
    model = base
    for change in (*conditions, *own):
        model = applied(model, change)
    return Variant(part, base, (*conditions, *own), model)


_Start = tuple[Array, float]


def _starts(
    comm: MPI.Comm,
    variants: Sequence[Variant],
    start: Callable[[CellModel], PacedCell] | None,
) -> list[_Start]:
    """States without the potential, and the potential, of each variant; collective."""
    if start is None:
        return [_initial(variant.model) for variant in variants]

    def work() -> list[_Start]:
        """Each different cell once, on one rank."""
        found: dict[tuple[object, ...], _Start] = {}
        keys = [(v.model.definition, *v.model.parameters.values()) for v in variants]
        for key, variant in zip(keys, variants, strict=True):
            if key not in found:
                cell = start(variant.model)
                found[key] = cell.states, cell.v
        return [found[key] for key in keys]

    return on_root(comm, work)


def _initial(model: CellModel) -> _Start:
    states = [value for name, value in model.states.items() if name != model.potential]
    return np.array(states), model.states[model.potential]


def _spread(starts: Sequence[_Start], at: NDArray[np.int64], n_states: int) -> tuple[Array, Array]:
    """States (n_states, n) and potential (n,) of nodes from those of their variants."""
    states, v = np.empty((n_states, len(at))), np.empty(len(at))
    for k in np.unique(at):
        states[:, at == k], v[at == k] = starts[k][0][:, None], starts[k][1]
    return states, v


def _families(variants: Sequence[Variant]) -> list[list[int]]:
    """Numbers of the variants that share equations."""
    families: dict[tuple[str, str], list[int]] = {}
    for k, variant in enumerate(variants):
        key = (variant.model.definition, variant.model.potential)
        families.setdefault(key, []).append(k)
    return list(families.values())


@dataclass(frozen=True)
class _Local:
    """What a part says node by node: parameters' own values, and factors of gradients."""

    values: Mapping[str, Array]
    factors: Mapping[str, Array]

    def of(self, variant: Variant, parameter: str, n: int) -> Array:
        """A parameter of a variant at the nodes."""
        given = self.values.get(parameter)
        base = (
            np.full(n, variant.model.parameters[parameter])
            if given is None
            else given * variant.factor(parameter)
        )
        return np.asarray(base * self.factors.get(parameter, 1.0))


def _fields(
    V: fem.FunctionSpace,
    parts: Sequence[RegionCells],
    places: Layout,
    family: Sequence[int],
    nodes: NDArray[np.int32],
) -> dict[str, Array]:
    """Values at ``nodes`` of the parameters that are not the same in all cells of a family."""
    variants = [places.variants[k] for k in family]
    model = variants[0].model
    mine = sorted({variant.part for variant in variants})
    local = {k: _local(V, parts[k], model, nodes) for k in mine}
    nodal = {name for found in local.values() for name in (*found.values, *found.factors)}
    fields = {
        name: np.empty(len(nodes))
        for name in model.parameters
        if name in nodal or len({variant.model.parameters[name] for variant in variants}) > 1
    }
    for k, variant in zip(family, variants, strict=True):
        here = places.at[nodes] == k
        for name, values in fields.items():
            values[here] = local[variant.part].of(variant, name, len(nodes))[here]
    return fields


def _local(
    V: fem.FunctionSpace, part: RegionCells, model: CellModel, nodes: NDArray[np.int32]
) -> _Local:
    """What a part says of ``nodes``; collective.

    Raises:
        InputError: the model lacks a parameter, or values do not fit the space.
    """
    place = f"cells of {', '.join(part.regions)}"
    values: dict[str, Array] = {}
    factors: dict[str, Array] = {}
    for name, given in part.fields.items():
        if name not in model.parameters:
            known = suggestion(name, model.parameters)
            raise InputError(place, f"`{model.name}` has no parameter `{name}`.", known)
        values[name] = _nodal(V, given, f"{place}, `{name}`")[nodes]
    for gradient in part.gradients:
        name = model.currents.get(gradient.name, gradient.name)
        if name not in model.parameters:
            known = suggestion(gradient.name, (*model.currents, *model.parameters))
            problem = f"`{model.name}` has no current or parameter `{gradient.name}`."
            raise InputError(place, problem, known)
        x = _nodal(V, gradient.coordinate, f"{place}, gradient of `{gradient.name}`")
        factors[name] = gradient.factor(x[nodes]) * factors.get(name, 1.0)
    return _Local(values, factors)


def _nodal(V: fem.FunctionSpace, values: Values, place: str) -> Array:
    """Values at the local nodes; collective."""
    found: InputError | None = None
    nodal = np.empty(0)
    try:
        nodal = _of_function(V, values, place) if isinstance(values, fem.Function) else values
        if nodal.shape != (local_nodes(V),) or not np.isfinite(nodal).all():
            raise InputError(
                place,
                f"values of shape {nodal.shape} for {local_nodes(V)} nodes, or not all finite.",
                "Give one finite value for each local node.",
            )
    except InputError as error:
        found = error
    agree(V.mesh.comm, found)
    return nodal


def _of_function(V: fem.FunctionSpace, values: fem.Function, place: str) -> Array:
    W = values.function_space
    if W.mesh is not V.mesh or W.element.basix_element.discontinuous or W.value_shape:
        raise InputError(
            place,
            "not a continuous scalar field on the mesh of the potential.",
            "Interpolate it into a Lagrange space of that mesh first.",
        )
    if W is V or W == V:
        return np.array(values.x.array)
    nodal = fem.Function(V)
    nodal.interpolate(values)
    nodal.x.scatter_forward()
    return np.array(nodal.x.array)
