"""Thickness of a cortex that the voxels do not resolve, by fitting a blurred wall to profiles."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special
from scipy.spatial import cKDTree

from organtwin.bone.integration import trilinear
from organtwin.errors import InputError
from organtwin.image.volume import Grid, Image
from organtwin.mesh.closest import closest_on_triangles
from organtwin.mesh.layers import vertex_normals
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.vectors import unit
from organtwin.mesh.voxelising import inside

type Array = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: Profiles reach this far outwards and inwards (mm).
REACH = (5.0, 9.0)
#: Distance of samples, as a share of the smallest voxel edge.
STEP = 0.25
#: Thicknesses that fits start from, in units of the blur.
STARTS = (0.3, 1.2, 3.0)
#: Thinnest and thickest cortex (mm).
BOUNDS = (0.05, 12.0)
#: Rounds of Levenberg's and Marquardt's method.
ROUNDS = 40
#: A fit is trusted if its thickness is known to this share (standard deviation), and its residual
#: is below this share of the cortex's own height.
DOUBT, MISFIT = 0.35, 0.15
#: Share of the cortex's height that what lies beyond it may have, else it is another bone.
NEIGHBOUR = 0.15
#: Neighbours that stand in for a fit that is not trusted.
NEIGHBOURS = 16
#: Profiles fitted at once, which bounds the memory.
BATCH = 4000


@dataclass(frozen=True)
class Cortex:
    """What profiles across a surface tell of the cortex under it; one row per place.

    Attributes:
        points: Places on the surface (mm, LPS), (n, 3).
        normals: Unit vectors outwards, (n, 3).
        thickness: Of the cortex (mm), (n,).
        deviation: Standard deviation of it from the fit (mm), (n,).
        depth: Of its outer face below the given surface (mm), negative above it, (n,).
        outside: Value beyond it (HU), (n,).
        within: Value under it, of trabecular bone or marrow (HU), (n,).
        residual: Root mean square of what the fit leaves (HU), (n,).
        seen: Whether the profile lies in the image; not so where the image cuts the bone, (n,).
        trusted: Whether the fit can be used, (n,).
        level: Value of the cortex that was used (HU).
        blur: Standard deviation of the whole blur that was used (mm).
    """

    points: Array
    normals: Array
    thickness: Array
    deviation: Array
    depth: Array
    outside: Array
    within: Array
    residual: Array
    seen: Mask
    trusted: Mask
    level: float
    blur: float


def fit_cortex(
    image: Image,
    points: Array,
    normals: Array,
    *,
    level: float,
    blur: float | None = None,
    reach: tuple[float, float] = REACH,
) -> Cortex:
    """Thickness under places of a bone's surface, far below the size of a voxel.

    Along the inward normal the values are those of a wall with two faces, blurred by a Gaussian:

        y(x) = o + (c − o) Φ((x − x₀)/σ) + (i − c) Φ((x − x₀ − t)/σ)

    with o outside, c in the cortex, i within. Once a cortex is thinner than the blur its height
    and its thickness cannot be told apart, only their product; so c is given, one for the whole
    bone, and x₀, t, o, i are fitted: the idea of Treece, Gee, Mayhew and Poole (2010), Med. Image
    Anal. 14:276 (recalled, not read); the method and the code are our own. A wrong c makes t wrong
    by the same share.

    Args:
        image: The CT (HU).
        points: Places on or near the outer surface (mm, LPS), (n, 3).
        normals: Vectors outwards, (n, 3).
        level: c (HU): of compact bone, such as ``calibration.hounsfield(1.1)``, or of the image's
            thickest cortex (`thick_level`).
        blur: σ (mm) of point spread, voxel and interpolation together; fitted without it, one for
            all profiles.
        reach: How far profiles go outwards and inwards (mm).

    Raises:
        InputError: no places, or all profiles leave the image.
    """
    x, profiles, known = _profiles(image, points, normals, reach)
    if not known.any():
        raise InputError(
            "cortex", f"none of {len(points)} profiles lies in the image.",
            "Surface and CT must be in the same coordinates (mm, LPS).",
        )  # fmt: skip
    sigma = _fitted_blur(x, profiles[known], level, image) if blur is None else blur
    fitted = _Fit.of(x, profiles, level, sigma)
    thickness = np.exp(fitted.values[:, 1])
    height = np.maximum(level - fitted.values[:, 2], 1.0)
    trusted = (
        known
        & (fitted.deviation < DOUBT * thickness + 0.05)
        & (fitted.residual < MISFIT * height)
        & (thickness > 1.5 * BOUNDS[0])
        & (thickness < 0.9 * BOUNDS[1])
        & (np.abs(fitted.values[:, 0]) < 0.8 * reach[0])
        & (fitted.values[:, 3] < 0.9 * level)
        & ~_beside_another_bone(x, profiles, fitted.values, level, sigma)
    )
    return Cortex(
        points=np.asarray(points, dtype=np.float64),
        normals=unit(np.asarray(normals, dtype=np.float64)),
        thickness=thickness,
        deviation=fitted.deviation,
        depth=fitted.values[:, 0],
        outside=fitted.values[:, 2],
        within=fitted.values[:, 3],
        residual=fitted.residual,
        seen=known,
        trusted=np.asarray(trusted),
        level=float(level),
        blur=float(sigma),
    )


def fit_surface(
    image: Image, surface: TriangleSurface, *, level: float, blur: float | None = None
) -> Cortex:
    """`fit_cortex` at the vertices of a closed surface with triangles that face outwards."""
    normals = vertex_normals(surface.points, surface.triangles)
    return fit_cortex(image, surface.points, normals, level=level, blur=blur)


def thick_level(
    image: Image, points: Array, normals: Array, reach: tuple[float, float] = REACH
) -> float:
    """Value (HU) of the thickest cortex: what one profile in fifty exceeds at its highest.

    Too low where the cortex is nowhere thicker than two blurs; give a level of compact bone then.
    """
    _, profiles, known = _profiles(image, points, normals, reach)
    if not known.any():
        raise InputError("cortex", "no profile lies in the image.", "Check the coordinates.")
    return float(np.percentile(profiles[known].max(axis=1), 98.0))


def half_maximum(image: Image, cortex: Cortex, reach: tuple[float, float] = REACH) -> Array:
    """Thickness (mm) by the usual rule, the width at half height, for comparison.

    It cannot go below 2.35 σ and overestimates every cortex that is thinner.
    """
    x, profiles, _ = _profiles(image, cortex.points, cortex.normals, reach)
    top = profiles.argmax(axis=1)
    rows = np.arange(len(profiles))
    peak = profiles[rows, top]
    outer = (peak + cortex.outside) / 2
    inner = (peak + cortex.within) / 2
    before = np.where(np.arange(len(x)) < top[:, None], profiles < outer[:, None], False)
    after = np.where(np.arange(len(x)) > top[:, None], profiles < inner[:, None], False)
    start = np.where(before.any(axis=1), len(x) - 1 - before[:, ::-1].argmax(axis=1), 0)
    end = np.where(after.any(axis=1), after.argmax(axis=1), len(x) - 1)
    return np.asarray(x[end] - x[start])


def outer_face(
    surface: TriangleSurface, cortex: Cortex, *, outwards: float = 0.5, rounds: int = 10
) -> TriangleSurface:
    """The surface moved onto the outer face of the cortex, as the profiles show it.

    Labels made on coarse voxels, or by a network, lie a millimetre and more beside it; what they
    add to the bone would be filled with bone. Places whose fit is not trusted move with their
    neighbours; the shifts are averaged over neighbours so that the surface stays smooth. Where the
    image cuts the bone nothing moves. Check the result for self-intersections before meshing.

    Args:
        surface: Closed surface (mm, LPS).
        cortex: Of `fit_surface` on it.
        outwards: How far it may move out (mm): across a narrow joint the profiles of one bone
            begin in the other, and would pull it there.
        rounds: How often the shifts are averaged with those of the neighbours.
    """
    (shift,) = _usable(cortex, cortex.depth)
    shift = np.where(cortex.seen, np.maximum(shift, -outwards), 0.0)
    edges = np.concatenate([surface.triangles[:, [a, (a + 1) % 3]] for a in range(3)])
    count = np.bincount(edges.ravel(), minlength=len(shift))
    for _ in range(rounds):
        around = np.zeros_like(shift)
        np.add.at(around, edges[:, 0], shift[edges[:, 1]])
        np.add.at(around, edges[:, 1], shift[edges[:, 0]])
        shift = np.where(cortex.seen, 0.5 * shift + 0.5 * around / np.maximum(count, 1), 0.0)
    return replace(surface, points=surface.points - shift[:, None] * cortex.normals)


def restored(image: Image, surface: TriangleSurface, cortex: Cortex, voxel: float) -> Image:
    """The image on finer voxels with the cortex as thick and as dense as it was fitted.

    Under the surface each voxel that lies in the fitted cortex has its level; below, as far as the
    blur has carried the cortex inwards, the fitted value of what is within; deeper the image's own.
    Outside the bone the level is continued for two voxels, so that elements at the surface average
    bone only. Map the result as any CT. Places whose fit is not trusted have the median thickness
    of the sixteen nearest that are; where the image cuts the bone there is no cortex.

    Args:
        image: The CT (HU).
        surface: Closed surface of the bone (mm, LPS).
        cortex: Of `fit_cortex` at the vertices of the surface.
        voxel: Edge of the new voxels (mm), at most a third of the thickness that matters.

    Raises:
        InputError: no fit is trusted, or the voxels would be too many.
    """
    thickness, within = _usable(cortex, cortex.thickness, cortex.within)
    thickness[~cortex.seen] = 0.0
    index = image.grid.index(surface.points)
    low, high = index.min(axis=0), index.max(axis=0)
    ratio = np.maximum(1, np.round(image.grid.spacing / voxel)).astype(int)
    grid, fine = _finer(image, low, high, ratio)
    own = TriangleSurface(grid.index(surface.points), surface.triangles)
    bone = inside(own, Grid(grid.shape, np.ones(3), np.zeros(3), np.eye(3)))
    sampling = grid.spacing.tolist()
    deepest = float(thickness.max()) + 3.0 * cortex.blur
    beyond = 2.0 * float(grid.spacing.max())
    band = ndimage.distance_transform_edt(bone, sampling=sampling) <= deepest
    band &= ndimage.distance_transform_edt(~bone, sampling=sampling) <= beyond
    places = grid.points(np.argwhere(band))
    foot, triangle = closest_on_triangles(places, surface.points, surface.triangles)
    corners = surface.triangles[triangle]
    away = np.linalg.norm(places - foot, axis=1)
    depth = np.where(bone[band], away, -away)
    weight = _nearness(foot, surface.points[corners])
    t = (weight * thickness[corners]).sum(axis=1)
    inner = (weight * within[corners]).sum(axis=1)
    values = fine[band].astype(np.float64)
    values = np.where(depth < t + 2.5 * cortex.blur, inner, values)
    values = np.where(depth < t, cortex.level, values)
    fine[band] = values
    return Image(fine, grid, image.quantity)


def _finer(
    image: Image, low: Array, high: Array, ratio: NDArray[np.int64]
) -> tuple[Grid, NDArray[np.float32]]:
    """The part of an image around a bone on voxels that divide its own."""
    last = np.array(image.grid.shape) - 1
    start = np.clip(np.floor(low) - 3, 0, last).astype(int)
    stop = np.clip(np.ceil(high) + 3, 0, last).astype(int)
    # Half a voxel more at either end, as far as the image itself is taken to reach.
    shape = (stop - start + 1) * ratio + 1
    if np.prod(shape) > 2e8:
        raise InputError(
            "cortex", f"{' x '.join(map(str, shape.tolist()))} voxels are too many.",
            "Take larger voxels, or a part of the bone.",
        )  # fmt: skip
    axes = [start[k] - 0.5 + np.arange(shape[k]) / ratio[k] for k in range(3)]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    values = trilinear(np.asarray(image.values), index).reshape(shape).astype(np.float32)
    grid = Grid(
        (int(shape[0]), int(shape[1]), int(shape[2])),
        image.grid.spacing / ratio,
        image.grid.points(start - 0.5),
        image.grid.direction,
    )
    return grid, values


def _nearness(foot: Array, corners: Array) -> Array:
    """Weights of the corners of a triangle at a place in it, by inverse distance, (n, 3)."""
    apart = np.linalg.norm(corners - foot[:, None], axis=2)
    weight = 1.0 / np.maximum(apart, 1e-6)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def _usable(cortex: Cortex, *of: Array) -> list[Array]:
    """Values at all places, where a fit is not trusted the median of neighbours that are."""
    good = np.flatnonzero(cortex.trusted)
    if not len(good):
        raise InputError("cortex", "no fit is trusted.", "Check level, blur and surface.")
    bad = np.flatnonzero(~cortex.trusted)
    number = min(NEIGHBOURS, len(good))
    near = cKDTree(cortex.points[good]).query(cortex.points[bad], number)[1]
    found = []
    for values in of:
        filled = values.copy()
        filled[bad] = np.median(values[good[np.asarray(near).reshape(len(bad), number)]], axis=1)
        found.append(filled)
    return found


def _profiles(
    image: Image, points: Array, normals: Array, reach: tuple[float, float]
) -> tuple[Array, Array, Mask]:
    """Depths (mm), values along them, (n, m), and which lie in the image as a whole."""
    start = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    if not len(start) or len(start) != len(np.asarray(normals).reshape(-1, 3)):
        raise InputError("cortex", "no places, or not one normal for each.", "Give both, (n, 3).")
    x = np.arange(-reach[0], reach[1] + 1e-9, STEP * float(image.grid.spacing.min()))
    inward = -unit(np.asarray(normals, dtype=np.float64).reshape(-1, 3))
    places = start[:, None] + x[:, None] * inward[:, None]
    index = image.grid.index(places.reshape(-1, 3))
    last = np.array(image.grid.shape) - 1
    known = (
        ((index >= -0.5) & (index <= last + 0.5)).all(axis=1).reshape(len(start), -1).all(axis=1)
    )
    values = trilinear(np.asarray(image.values), index).reshape(len(start), -1)
    return x, values, np.asarray(known)


def _beside_another_bone(x: Array, y: Array, values: Array, level: float, sigma: float) -> Mask:
    """Whether something bright lies beyond the cortex: the other side of a joint, cement, a rib."""
    height = np.maximum(level - values[:, 2:3], 1.0)
    beyond = x < values[:, 0:1] - 2.5 * sigma
    bright = (beyond & (y > values[:, 2:3] + NEIGHBOUR * height)).any(axis=1)
    return np.asarray(bright | (values[:, 2] > NEIGHBOUR * level))


def _fitted_blur(x: Array, profiles: Array, level: float, image: Image) -> float:
    """The blur that leaves least, by golden section, of at most 400 profiles."""
    chosen = profiles[:: max(1, len(profiles) // 400)]
    voxel = float(image.grid.spacing.mean())

    def left(logarithm: float) -> float:
        fit = _Fit.of(x, chosen, level, float(np.exp(logarithm)))
        return float(np.median(fit.residual))

    low, high = np.log(0.25 * voxel), np.log(2.5 * voxel)
    ratio = (5.0**0.5 - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    fa, fb = left(a), left(b)
    for _ in range(12):
        if fa < fb:
            high, b, fb = b, a, fa
            a = high - ratio * (high - low)
            fa = left(a)
        else:
            low, a, fa = a, b, fb
            b = low + ratio * (high - low)
            fb = left(b)
    return float(np.exp((low + high) / 2))


@dataclass(frozen=True)
class _Fit:
    """Parameters x₀, ln t, o, i of each profile, (n, 4), and what they leave."""

    values: Array
    residual: Array
    deviation: Array

    @classmethod
    def of(cls, x: Array, profiles: Array, level: float, sigma: float) -> _Fit:
        parts = [
            _best(x, profiles[k : k + BATCH], level, sigma) for k in range(0, len(profiles), BATCH)
        ]
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in
                     ("values", "residual", "deviation")))  # fmt: skip


def _best(x: Array, y: Array, level: float, sigma: float) -> _Fit:
    """The best of fits from several thicknesses."""
    best: tuple[Array, Array] | None = None
    steepest = x[np.gradient(ndimage.gaussian_filter1d(y, 2.0, axis=1), axis=1).argmax(axis=1)]
    inner, outer = y[:, -len(x) // 5 :].mean(axis=1), y[:, : len(x) // 5].mean(axis=1)
    for share in STARTS:
        start = np.stack([steepest, np.full(len(y), np.log(share * sigma)), outer, inner], axis=1)
        values, square = _marquardt(x, y, level, sigma, start)
        if best is None:
            best = values, square
        else:
            better = square < best[1]
            best[0][better], best[1][better] = values[better], square[better]
    assert best is not None
    values, square = best
    _, slope = _model(x, values, level, sigma)
    normal = np.einsum("nma,nmb->nab", slope, slope)
    normal += 1e-9 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(4)
    variance = square / max(len(x) - 4, 1)
    deviation = np.sqrt(np.maximum(np.linalg.inv(normal)[:, 1, 1] * variance, 0.0))
    # Samples closer than the blur are no independent ones.
    dependent = np.sqrt(max(1.0, sigma / (x[1] - x[0])))
    return _Fit(values, np.sqrt(square / len(x)), np.exp(values[:, 1]) * deviation * dependent)


def _model(x: Array, p: Array, level: float, sigma: float) -> tuple[Array, Array]:
    """Values of the blurred wall, (n, m), and their derivatives by its parameters, (n, m, 4)."""
    t = np.exp(p[:, 1:2])
    u = (x - p[:, 0:1]) / sigma
    v = u - t / sigma
    first, second = special.ndtr(u), special.ndtr(v)
    outside, within = p[:, 2:3], p[:, 3:4]
    y = outside + (level - outside) * first + (within - level) * second
    bell = np.exp(-0.5 * u**2) / (np.sqrt(2 * np.pi) * sigma)
    dell = np.exp(-0.5 * v**2) / (np.sqrt(2 * np.pi) * sigma)
    slope = np.stack([
        -(level - outside) * bell - (within - level) * dell,
        -(within - level) * dell * t,
        1.0 - first,
        second,
    ], axis=2)  # fmt: skip
    return y, slope


def _marquardt(x: Array, y: Array, level: float, sigma: float, start: Array) -> tuple[Array, Array]:
    """Least squares of all profiles at once; each has its own damping."""
    p = start.copy()
    damping = np.full(len(p), 1e-2)
    model, slope = _model(x, p, level, sigma)
    square = ((y - model) ** 2).sum(axis=1)
    low, high = np.log(BOUNDS[0]), np.log(BOUNDS[1])
    for _ in range(ROUNDS):
        normal = np.einsum("nma,nmb->nab", slope, slope)
        scale = np.einsum("naa->na", normal) + 1e-12
        right = np.einsum("nma,nm->na", slope, y - model)
        damped = normal + (damping[:, None] * scale)[:, :, None] * np.eye(4)
        step = np.linalg.solve(damped, right[:, :, None])[:, :, 0]
        trial = p + step
        trial[:, 1] = np.clip(trial[:, 1], low, high)
        trial[:, 0] = np.clip(trial[:, 0], x[0], x[-1])
        model_t, slope_t = _model(x, trial, level, sigma)
        square_t = ((y - model_t) ** 2).sum(axis=1)
        good = square_t < square
        change = np.where(good, (square - square_t) / np.maximum(square, 1e-30), 0.0)
        p[good], model[good], slope[good] = trial[good], model_t[good], slope_t[good]
        square[good] = square_t[good]
        damping = np.where(good, damping / 5.0, damping * 4.0).clip(1e-9, 1e9)
        if (change < 1e-7).all() and good.sum() < 0.02 * len(p) + 1:
            break
    return p, square
