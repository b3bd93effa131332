"""Verification problems of the ECG: pseudo-ECG, electrograms, and a dipole in a sphere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gmsh
import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.special import eval_legendre

from organtwin.electrophysiology.ecg import PseudoECG
from organtwin.electrophysiology.electrograms import Electrograms
from organtwin.electrophysiology.lead_field import LeadField, VolumeConductor, at_electrodes
from organtwin.mesh.domain import Domain, read_domain
from organtwin.mesh.tetrahedra import gmsh_session
from organtwin.parallel import on_root
from organtwin.solve.assembly import integral
from organtwin.verify.geometry import box
from organtwin.verify.norms import relative_error

Array = NDArray[np.float64]

#: Conductivities along x, y, z of the manufactured tissue (mS/mm).
SIGMA = np.array([1.1, 1.2, 0.3]) / np.pi**2
#: Electrodes around the unit cube of tissue (mm).
AROUND: Mapping[str, Array] = {
    "left": np.array([-0.5, 0.5, 0.5]),
    "right": np.array([1.5, 0.5, 0.5]),
    "below": np.array([1.2, 0.23, 0.61]),
    "beside": np.array([1.35, 0.74, 0.28]),
    "behind": np.array([1.55, 0.41, 0.83]),
}
#: Conductivity of the medium of the manufactured problem (mS/mm).
MEDIUM = 0.2


def pseudo_ecg(comm: MPI.Comm, n: int) -> float:
    """Error of the pseudo-ECG of v = cos πx cos 2πy cos 3πz in the unit cube.

    Args:
        comm: Communicator.
        n: Cells along an edge of the cube.

    Returns:
        Largest error over the electrodes, over the largest potential.
    """
    V = fem.functionspace(box(comm, (1.0, 1.0, 1.0), (n, n, n)).mesh, ("P", 1))
    v = fem.Function(V)
    v.interpolate(lambda x: np.prod([np.cos((d + 1) * np.pi * x[d]) for d in range(3)], axis=0))
    found = PseudoECG(V, ufl.diag(ufl.as_vector(SIGMA)), AROUND, sigma_b=MEDIUM)(v)
    exact = {name: _pseudo_ecg_by_gauss(point) for name, point in AROUND.items()}
    return max(abs(found[name] - exact[name]) for name in AROUND) / max(map(abs, exact.values()))


def _pseudo_ecg_by_gauss(electrode: Array, order: int = 96) -> float:
    """The same integral of the formula for v itself by Gauss's rule in each direction."""
    at, weights = np.polynomial.legendre.leggauss(order)
    at, weights = (at + 1) / 2, weights / 2
    x = np.stack(np.meshgrid(at, at, at, indexing="ij"))
    d = x - electrode[:, None, None, None]
    r3 = np.sum(d**2, axis=0) ** 1.5
    phase = [(k + 1) * np.pi * x[k] for k in range(3)]
    source = np.zeros_like(r3)
    for k in range(3):
        waves = [
            np.cos(phase[j]) if j != k else -(k + 1) * np.pi * np.sin(phase[k]) for j in range(3)
        ]
        source += SIGMA[k] * np.prod(waves, axis=0) * d[k]
    integral = np.einsum("i,j,k,ijk->", weights, weights, weights, source / r3)
    return float(integral / (4 * np.pi * MEDIUM))


def electrogram(comm: MPI.Comm, n: int) -> float:
    """Error of electrograms in the midst of a depolarised spot of isotropic tissue.

    Where v falls off to zero within tissue of one conductivity, and that of the medium is the
    same everywhere, φ = −(σ/σ_b) v at every point for point electrodes.

    Args:
        comm: Communicator.
        n: Cells along an edge of the box.

    Returns:
        Largest error over some points in the spot, over the largest potential.
    """
    width, sigma = 1.0, 0.1
    middle = np.full(3, 4.0)
    V = fem.functionspace(box(comm, (8.0, 8.0, 8.0), (n, n, n)).mesh, ("P", 1))
    v = fem.Function(V)

    def spot(x: Array) -> Array:
        return np.asarray(100 * np.exp(-np.sum((x - middle[:, None]) ** 2, axis=0) / 2 / width**2))

    v.interpolate(spot)
    shifts = ([0, 0, 0], [0.31, 0.17, -0.23], [1.07, -0.4, 0.6], [0.05, 1.51, 0.9])
    points = {f"{k}": middle + np.array(shift) for k, shift in enumerate(shifts)}
    found = Electrograms(V, sigma * ufl.Identity(3), points, sigma_b=MEDIUM, radius=1e-3)(v)
    errors = [abs(found[name] + sigma / MEDIUM * spot(p[:, None])[0]) for name, p in points.items()]
    return max(errors) / (100 * sigma / MEDIUM)


# --- a dipole in a sphere -----------------------------------------------------------------------


def dipole_in_sphere(x: Array, p: Array, at: Array, *, radius: float, sigma: float) -> Array:
    """Potential on the surface of a sphere around the origin in which a current dipole lies.

        φ = p/(4πσ) · [ 2d/d³ + (x/R² + d/(R d)) / (R + d − x·r₀/R) ],   d = x − r₀

    Mean zero; no current leaves the sphere. Got from the potential of a point source, whose
    expansion on the surface is Σ (2n+1)/n r₀ⁿ/Rⁿ⁺¹ Pₙ(cos γ).

    Args:
        x: Points on the surface (mm), (n, 3).
        p: Dipole moment (µA mm), (3,).
        at: Its place r₀ (mm), (3,).
        radius: R (mm).
        sigma: Conductivity (mS/mm).

    Returns:
        Potential (mV), (n,).

    Source:
        Frank (1952), J. Appl. Phys. 23:1225–1228, poses the problem; derived here.
    """
    away = x - at
    d = np.linalg.norm(away, axis=1)
    inner = radius + d - x @ at / radius
    direct = 2 * (away @ p) / d**3
    image = (x @ p / radius**2 + away @ p / (radius * d)) / inner
    return np.asarray((direct + image) / (4 * np.pi * sigma))


def dipole_in_sphere_series(
    x: Array, p: Array, at: Array, *, radius: float, sigma: float, terms: int = 80
) -> Array:
    """The same by the first terms of its series.

        1/(4πσ) Σ (2n+1)/n r₀ⁿ⁻¹/Rⁿ⁺¹ [n Pₙ(c) p_r + Pₙ′(c) (p·x/R − c p_r)],   c = cos γ

    p_r is the component of p along r₀. A dipole in the centre has the first term alone,
    3 p·x/(4πσR³).

    Args:
        x: Points on the surface (mm), (n, 3).
        p: Dipole moment (µA mm), (3,).
        at: Its place r₀ (mm), (3,).
        radius: R (mm).
        sigma: Conductivity (mS/mm).
        terms: Number of terms.
    """
    r0 = float(np.linalg.norm(at))
    outward = at / r0 if r0 > 0 else p / np.linalg.norm(p)
    c = np.clip(x @ outward / radius, -1.0, 1.0)
    radial = float(p @ outward)
    across = x @ p / radius - c * radial
    total_ = np.zeros(len(x))
    slope_before, slope = np.zeros(len(x)), np.ones(len(x))  # P₀′ and P₁′
    for n in range(1, terms + 1):
        factor = (2 * n + 1) / n * r0 ** (n - 1) / radius ** (n + 1)
        total_ += factor * (n * eval_legendre(n, c) * radial + slope * across)
        # P′ₙ₊₁ = P′ₙ₋₁ + (2n+1) Pₙ
        slope_before, slope = slope, slope_before + (2 * n + 1) * eval_legendre(n, c)
    return total_ / (4 * np.pi * sigma)


@dataclass(frozen=True)
class SphereErrors:
    """A dipole in a sphere, computed.

    Attributes:
        surface: Relative L² error of the potential on the surface.
        electrodes: Largest error at electrodes on the surface over the largest potential there.
        reciprocity: Largest difference of lead field and direct solution at them, relative too.
    """

    surface: float
    electrodes: float
    reciprocity: float


def sphere(
    comm: MPI.Comm, path: Path, *, size: float, direction: tuple[float, float, float]
) -> SphereErrors:
    """Dipole halfway between the centre and the surface of a sphere of radius 50 mm.

    The dipole is a ball of tissue, 10 mm in radius, in which v rises evenly: potentials on the
    surface are those of a point dipole in its middle, as they are means of harmonic functions.

    Args:
        comm: Communicator.
        path: Where the gmsh file is written.
        size: Edge length of the mesh (mm), at the surface; half of that in the ball.
        direction: Of the dipole, which lies on the x axis: x is radial.
    """
    radius, at, sigma, sigma_i = 50.0, np.array([25.0, 0.0, 0.0]), 0.2, 0.15
    on_root(comm, lambda: _write_sphere(path, radius, at, 10.0, size))
    domain = read_domain(path, comm)
    V = fem.functionspace(domain.mesh, ("P", 1))
    slope = np.asarray(direction, dtype=np.float64)
    v = fem.Function(V)
    v.interpolate(lambda x: slope @ x)
    conductor = VolumeConductor(V, domain, {"tissue": sigma, "body": sigma}, {"tissue": sigma_i})
    p = -sigma_i * slope * domain.volume("tissue")
    electrodes = _on_sphere(radius, 12)
    x = np.array(list(electrodes.values()))
    exact = dipole_in_sphere(x, p, at, radius=radius, sigma=sigma)
    by_lead = np.array(list(LeadField(conductor, electrodes)(v).values()))
    phi = conductor.potential(v)
    direct = np.array(list(at_electrodes(phi, electrodes).values()))
    highest = np.abs(exact).max()
    # The reference is the mean over the body there and over the surface here.
    shift = _mean_on_surface(domain, phi)
    return SphereErrors(
        _surface_error(domain, phi, shift, p, at, radius, sigma),
        float(np.abs(by_lead - shift - exact).max() / highest),
        float(np.abs(by_lead - direct).max() / highest),
    )


def _on_sphere(radius: float, number: int) -> dict[str, Array]:
    """Points spread evenly over a sphere, on a spiral."""
    k = np.arange(number) + 0.5
    height, angle = 1 - 2 * k / number, np.pi * (1 + np.sqrt(5.0)) * k
    across = np.sqrt(1 - height**2)
    x = radius * np.stack([across * np.cos(angle), across * np.sin(angle), height], axis=1)
    return {f"e{i}": point for i, point in enumerate(x)}


def _mean_on_surface(domain: Domain, phi: fem.Function) -> float:
    return integral(phi * domain.ds()) / domain.area("surface")


def _surface_error(
    domain: Domain,
    phi: fem.Function,
    shift: float,
    p: Array,
    at: Array,
    radius: float,
    sigma: float,
) -> float:
    exact = fem.Function(phi.function_space)

    def formula(x: Array) -> Array:
        on_surface = radius * x.T / np.maximum(np.linalg.norm(x, axis=0), 1e-9)[:, None]
        return dipole_in_sphere(on_surface, p, at, radius=radius, sigma=sigma)

    exact.interpolate(formula)
    return relative_error(phi - shift, exact, domain.ds())


def _write_sphere(path: Path, radius: float, at: Array, ball: float, size: float) -> None:
    """Ball ``tissue`` within a ball ``body`` with the surface ``surface``, as gmsh file."""
    with gmsh_session():
        occ = gmsh.model.occ
        outer, inner = occ.addSphere(0, 0, 0, radius), occ.addSphere(*at, ball)
        parts, _ = occ.fragment([(3, outer)], [(3, inner)])
        occ.synchronize()
        tissue = min((tag for _, tag in parts), key=lambda tag: occ.getMass(3, tag))
        body = [tag for _, tag in parts if tag != tissue]
        gmsh.model.addPhysicalGroup(3, [tissue], 1, "tissue")
        gmsh.model.addPhysicalGroup(3, body, 2, "body")
        skin = gmsh.model.getBoundary(parts, combined=True, oriented=False)
        gmsh.model.addPhysicalGroup(2, [tag for _, tag in skin], 1, "surface")
        gmsh.option.setNumber("Mesh.MeshSizeMin", size / 2)
        gmsh.option.setNumber("Mesh.MeshSizeMax", size)
        gmsh.model.mesh.setSize(gmsh.model.getBoundary([(3, tissue)], recursive=True), size / 2)
        gmsh.model.mesh.generate(3)
        gmsh.write(str(path))
