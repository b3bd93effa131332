"""The same body in two places: its loaded image, and the reference state without load.

A term of the weak form is written in the reference state X. Here it is rewritten on the mesh of the
image, x, where a map X(x) is known or sought: then the mesh, its names and every field on it stay
as they are, whatever reference state is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import basix.ufl
import dolfinx.cpp
import numpy as np
import ufl
from dolfinx import fem, mesh
from ufl.algorithms import expand_derivatives
from ufl.algorithms.analysis import extract_coefficients
from ufl.core.expr import Expr
from ufl.corealg.traversal import unique_pre_traversal

from organtwin.errors import InputError
from organtwin.materials.kinematics import Directions
from organtwin.mechanics.terms import Fields, Term
from organtwin.mesh.domain import Domain

#: What a term may do beside giving a form; none of it knows of a reference state.
_BEYOND_FORMS = ("refresh", "commit", "add_residual", "tangent")


@dataclass(frozen=True)
class Pull:
    """How the reference state lies to the mesh.

    Attributes:
        G: ∂x/∂X, 3×3.
        f: ∂X/∂x, its inverse.
        X: Place in the reference state (mm).
        known: Gradients that are not those of a field: coefficient → ∂(·)/∂X.
    """

    G: Expr
    f: Expr
    X: Expr
    known: Mapping[Expr, Expr]


def pull(domain: Domain, U: Expr) -> Pull:
    """The map X = x + U(x) of a displacement from the mesh to the reference state."""
    f = ufl.Identity(3) + ufl.grad(U)
    G = ufl.inv(f)
    return Pull(G, f, ufl.SpatialCoordinate(domain.mesh) + U, _known(U, G))


def _known(U: Expr, G: Expr) -> dict[Expr, Expr]:
    """∂U/∂X = I − G, which spares the product ∂U/∂x G."""
    own = ufl.Identity(3) - G
    if isinstance(U, fem.Function):
        return {U: own}
    # Part of an unknown (U, p): the rows of its gradient that are not U's are as ever.
    (whole,) = extract_coefficients(U)
    rest = ufl.dot(ufl.grad(whole), G)
    rows = [
        [own[i, j] if i < 3 else rest[i, j] for j in range(3)] for i in range(whole.ufl_shape[0])
    ]
    return {whole: ufl.as_matrix(rows)}


def on_mesh(form: ufl.Form, domain: Domain, volume: Pull, surface: Pull) -> ufl.Form:
    """Change the variables of a form from the reference state to the mesh.

        ∂(·)/∂X = ∂(·)/∂x G,     dV = det f dv,     N dA = cof f n da

    The integrals and their quadrature points become those of the mesh; nothing is approximated.

    Args:
        form: Written as if the mesh were the reference state.
        domain: The mesh.
        volume: Map in integrals over cells.
        surface: Map in integrals over boundary facets.

    Raises:
        InputError: an integral over something else, or a second derivative.
    """
    integrals = []
    for integral in expand_derivatives(form).integrals():
        kind = integral.integral_type()
        if kind not in ("cell", "exterior_facet"):
            raise InputError("reference state", f"an integral over {kind}.", "Leave that term out.")
        place = volume if kind == "cell" else surface
        integrand = ufl.replace(integral.integrand(), _substitutes(integral, domain, place))
        integrals.append(integral.reconstruct(integrand * _measure(kind, domain, place)))
    return ufl.Form(integrals)


def _measure(kind: str, domain: Domain, place: Pull) -> Expr:
    """Size of a piece of the reference state over that of the same piece of the mesh."""
    if kind == "cell":
        return ufl.det(place.f)
    area = ufl.cofac(place.f) * ufl.FacetNormal(domain.mesh)
    return ufl.sqrt(ufl.dot(area, area))


def _substitutes(integral: ufl.Integral, domain: Domain, place: Pull) -> dict[Expr, Expr]:
    substitutes: dict[Expr, Expr] = {}
    for node in unique_pre_traversal(integral.integrand()):
        if isinstance(node, ufl.classes.Grad):
            (operand,) = node.ufl_operands
            if not operand._ufl_is_terminal_:
                raise InputError(
                    "reference state", "a term has second derivatives.", "Leave that term out."
                )
            substitutes[node] = place.known.get(operand, ufl.dot(node, place.G))
        elif isinstance(node, ufl.classes.FacetNormal):
            area = ufl.cofac(place.f) * ufl.FacetNormal(domain.mesh)
            substitutes[node] = area / ufl.sqrt(ufl.dot(area, area))
        elif isinstance(node, ufl.classes.SpatialCoordinate):
            substitutes[node] = place.X
        elif isinstance(node, ufl.classes.Jacobian):
            substitutes[node] = place.f * node
    return substitutes


@dataclass(frozen=True)
class FromReference:
    """A term of a body whose reference state is not the mesh.

    The unknown of the problem is the displacement from the *mesh*, so that cavities and prescribed
    displacements need no change; the term sees the one from the reference state, u − U.

    Attributes:
        term: As if the mesh were the reference state.
        U: Displacement (mm) from the mesh to the reference state.
        loaded_fibres: Whether the term's directions are those of the mesh, to be pulled back.
    """

    term: Term
    U: fem.Function
    loaded_fibres: bool = False

    def __post_init__(self) -> None:
        refuse_histories((self.term,))

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """The term on the mesh."""
        place = pull(domain, self.U)
        seen = replace(s, u=s.u - self.U, u_old=s.u_old - self.U)
        term = with_directions(self.term, -self.U) if self.loaded_fibres else self.term
        return on_mesh(term.form(domain, seen), domain, place, place)


def with_directions(term: Term, u: Expr) -> Term:
    """The term with directions that are as given after the displacement ``u``."""
    directions = getattr(term, "directions", None)
    if directions is None:
        return term
    F = ufl.Identity(3) + ufl.grad(u)
    return replace(term, directions=pulled_back(directions, F))  # type: ignore[type-var]


def pulled_back(directions: Directions, F: Expr) -> Directions:
    """Directions that the deformation ``F`` turns into the given ones.

    The fibre goes back as a line, f₀ ∝ F⁻¹ f, and the sheet as a plane: s₀ is the part of F⁻¹ s
    across f₀. The result is orthonormal.
    """
    back = ufl.inv(F)
    f0 = _unit(back * directions.f0)
    s = back * directions.s0
    s0 = _unit(s - ufl.dot(s, f0) * f0)
    return Directions(f0, s0, ufl.cross(f0, s0))


def _unit(v: Expr) -> Expr:
    return v / ufl.sqrt(ufl.dot(v, v))


def refuse_histories(terms: tuple[Term, ...]) -> None:
    """Refuse terms that are more than a form of the displacement.

    Raises:
        InputError: such a term.
    """
    for term in terms:
        beyond = [name for name in _BEYOND_FORMS if hasattr(term, name)]
        if beyond:
            raise InputError(
                "reference state",
                f"`{type(term).__name__}` has a history or a state of its own ({beyond[0]}).",
                "Find the reference state with elastic tissue and simple supports.",
            )


def moved(domain: Domain, u: fem.Function) -> Domain:
    """The domain displaced by ``u``: a mesh of ``u``'s degree with the same cells and names.

    Cells, facets and their distribution over the ranks stay, so that `carried` can take fields
    from one to the other.

    Args:
        domain: Where ``u`` lives.
        u: Displacement (mm), linear or quadratic.
    """
    V = u.function_space
    old = domain.mesh
    cell = old.basix_cell()
    element = basix.ufl.element("Lagrange", cell, V.ufl_element().degree, shape=(3,))
    nodes = V.dofmap.index_map
    everywhere = np.arange(nodes.size_local + nodes.num_ghosts, dtype=np.int32)
    geometry = mesh.create_geometry(
        nodes,
        np.ascontiguousarray(V.dofmap.list),
        fem.coordinate_element(element.basix_element),
        V.tabulate_dof_coordinates() + u.x.array.reshape(-1, 3),
        nodes.local_to_global(everywhere),
    )
    new = mesh.Mesh(
        dolfinx.cpp.mesh.Mesh_float64(old.comm, old.topology._cpp_object, geometry._cpp_object),
        ufl.Mesh(element),
    )
    cells, facets = (
        mesh.meshtags(new, tags.dim, tags.indices, tags.values)
        for tags in (domain.cell_tags, domain.facet_tags)
    )
    return Domain(new, cells, facets, domain.regions, domain.surfaces)


def carried(function: fem.Function, domain: Domain) -> fem.Function:
    """The same values at the same material points of a domain with the same cells (`moved`)."""
    old = function.function_space
    new = fem.functionspace(domain.mesh, old.ufl_element())
    size = old.dofmap.bs
    result = fem.Function(new, name=function.name)
    values = function.x.array.reshape(-1, size)[old.dofmap.list]
    result.x.array.reshape(-1, size)[new.dofmap.list] = values
    return result
