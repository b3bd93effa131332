"""From a CT to the cells of a mesh: integration, projection, partial volume, cortex, fabric."""

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
import SimpleITK as sitk
from dolfinx import mesh
from mpi4py import MPI
from scipy import ndimage
from scipy.spatial import cKDTree

from organtwin.bone.calibration import Calibration
from organtwin.bone.cortex import (
    fit_cortex,
    fit_surface,
    half_maximum,
    outer_face,
    restored,
    thick_level,
)
from organtwin.bone.fabric import fabric_at, nine_constants, orthotropic_bone
from organtwin.bone.integration import averages, sample_points, trilinear
from organtwin.bone.laws import stiffness
from organtwin.bone.mapping import Order, map_bone
from organtwin.bone.partial_volume import (
    share_of_mask,
    share_of_surface,
    without_partial_volume,
)
from organtwin.bone.scan import check_scan
from organtwin.bone.synthetic import Scanner, synthetic_ct
from organtwin.bone.tissues import from_tissues
from organtwin.errors import InputError
from organtwin.image.volume import Grid, Image
from organtwin.mesh.domain import Domain
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.verify.bone_density import density, jump_records, mapping_records
from organtwin.verify.geometry import box

TORSO = Path(__file__).parents[2] / "meshes" / "torso"
LINE = Calibration(0.0, 8e-4)
COMM = MPI.COMM_SELF


def grid(n=24, voxel=1.0, start=-4.0):
    return Grid((n, n, n), np.full(3, voxel), np.full(3, start), np.eye(3))


def linear(where):
    """Values that grow by 30, −20, 50 HU per mm."""
    x = where.points(np.indices(where.shape).reshape(3, -1).T)
    return Image((400.0 + x @ [30.0, -20.0, 50.0]).reshape(where.shape), where, "HU")


def some_tetrahedra(count=40, size=8.0, seed=2):
    rng = np.random.default_rng(seed)
    return (
        6.0
        + rng.uniform(-4.0, 4.0, (count, 1, 3))
        + rng.uniform(-size / 2, size / 2, (count, 4, 3))
    )


# --- integration --------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_samples_integrate_quadratics_exactly(parts):
    p = sample_points(parts)
    assert len(p) == 4 * parts**3 and p.min() > 0
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    second = p.T @ p / len(p)  # ∫ λ_i λ_j / V = (1 + δ_ij) / 20
    np.testing.assert_allclose(second, (1 + np.eye(4)) / 20, atol=1e-14)


@pytest.mark.parametrize("size", [0.2, 2.0, 12.0])
def test_averages_of_a_linear_image_are_exact_whatever_the_size(size):
    image, corners = linear(grid()), some_tetrahedra(size=size)
    found = averages(corners, image, {"hu": lambda hu: hu})["hu"]
    at = 400.0 + corners @ [30.0, -20.0, 50.0]
    np.testing.assert_allclose(found.means, at.mean(axis=1), rtol=1e-9)
    moments = (at + at.sum(axis=1, keepdims=True)) / 20
    np.testing.assert_allclose(found.moments, moments, rtol=1e-9)
    assert (found.least >= at.min(axis=1)).all() and (found.most <= at.max(axis=1)).all()


def test_averages_of_noise_agree_with_finer_pieces():
    rng = np.random.default_rng(0)
    image = Image(rng.normal(500.0, 300.0, (24,) * 3).astype(np.float32), grid(), "HU")
    corners = some_tetrahedra(30)
    way = stiffness("keyak_1998")
    of = {"E": lambda hu: way(LINE.density(hu))}
    usual, fine = (averages(corners, image, of, piece)["E"].means for piece in (1.0, 0.5))
    np.testing.assert_allclose(usual, fine, rtol=0.03)
    assert np.sqrt(((usual / fine - 1) ** 2).mean()) < 0.01
    turned = averages(corners[:, [2, 0, 3, 1]], image, of)["E"].means
    np.testing.assert_allclose(turned, usual, rtol=1e-12)


def test_cells_outside_the_image_are_refused():
    with pytest.raises(InputError, match="1 of 40 cells leave the image"):
        averages(
            np.concatenate([some_tetrahedra(39), some_tetrahedra(1) + 30.0]), linear(grid()), {}
        )
    with pytest.raises(InputError, match="piece"):
        averages(some_tetrahedra(), linear(grid()), {}, 0.0)


# --- fields -------------------------------------------------------------------------------------


def test_cells_of_any_kind_have_the_mean_of_a_linear_image():
    image = linear(grid())
    way = stiffness("crawford_2003", floor=1.0)
    for kind in (mesh.CellType.tetrahedron, mesh.CellType.hexahedron):
        domain = box(COMM, (12.0, 10.0, 9.0), (3, 2, 4), kind)
        found = map_bone(domain, image, LINE, way)
        nodes = domain.mesh.geometry.dofmaps[0]
        middle = domain.mesh.geometry.x[nodes].mean(axis=1)
        rho = 8e-4 * (400.0 + middle @ [30.0, -20.0, 50.0])
        np.testing.assert_allclose(found.density.x.array, rho, rtol=1e-9)
        np.testing.assert_allclose(found.modulus.x.array, 1e3 * (3230.0 * rho - 34.7), rtol=1e-6)
        assert found.report.volume == pytest.approx(1080.0)
        assert found.report.mineral == pytest.approx(1.080 * 8e-4 * (400 + 180 - 100 + 225))


def test_mean_modulus_is_above_the_modulus_of_the_mean():
    rng = np.random.default_rng(1)
    image = Image(rng.normal(600.0, 300.0, (24,) * 3).astype(np.float32), grid(), "HU")
    domain = box(COMM, (12.0,) * 3, (4,) * 3)
    way = stiffness("keller_1994_femur")
    of_places = map_bone(domain, image, LINE, way).modulus.x.array
    of_means = map_bone(domain, image, LINE, way, order=Order.DENSITY).modulus.x.array
    assert (of_places > of_means).all()
    assert of_places.mean() > 1.02 * of_means.mean()


def test_cells_of_other_regions_have_the_floor():
    domain = box(COMM, (12.0,) * 3, (4,) * 3)
    middle = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0]].mean(axis=1)
    tags = mesh.meshtags(
        domain.mesh,
        3,
        np.arange(len(middle), dtype=np.int32),
        (1 + (middle[:, 0] > 6)).astype(np.int32),
    )
    two = Domain(domain.mesh, tags, domain.facet_tags, {"bone": 1, "stem": 2}, domain.surfaces)
    way = stiffness("keyak_1998", floor=20e3)
    for smooth in (False, True):
        found = map_bone(two, linear(grid()), LINE, way, regions=("bone",), smooth=smooth)
        assert found.report.volume == pytest.approx(864.0)
        if not smooth:
            assert (found.modulus.x.array[tags.values == 2] == 20e3).all()
        assert found.modulus.x.array.max() > 1e6 and found.modulus.x.array.min() >= 20e3


def test_what_cannot_be_mapped_is_refused():
    domain = box(COMM, (12.0,) * 3, (2,) * 3)
    way = stiffness("keyak_1998")
    with pytest.raises(InputError, match="no image"):
        map_bone(domain, None, LINE, way)
    image = linear(grid())
    with pytest.raises(InputError, match="not HU"):
        map_bone(domain, Image(image.values, image.grid, "grey"), LINE, way)
    with pytest.raises(InputError, match="leave the image"):
        map_bone(domain, linear(grid(start=3.0)), LINE, way)
    cubes = box(COMM, (12.0,) * 3, (2,) * 3, mesh.CellType.hexahedron)
    with pytest.raises(InputError, match="no smooth field"):
        map_bone(cubes, image, LINE, way, smooth=True)


def test_smooth_fields_of_linear_images_are_exact():
    domain = box(COMM, (12.0,) * 3, (5,) * 3)
    found = map_bone(domain, linear(grid()), LINE, stiffness("keyak_1998"), smooth=True)
    x = found.density.function_space.tabulate_dof_coordinates()
    exact = 8e-4 * (400.0 + x @ [30.0, -20.0, 50.0])
    inside = ((x > 0.1) & (x < 11.9)).all(axis=1)
    np.testing.assert_allclose(found.density.x.array[inside], exact[inside], rtol=1e-9)
    # at the border the samples do not reach the nodes
    np.testing.assert_allclose(found.density.x.array, exact, rtol=0.25)


def test_smooth_fields_keep_bounds_and_content_of_a_rough_image():
    rough = np.where(np.random.default_rng(6).uniform(size=(24,) * 3) < 0.2, 1300.0, 0.0)
    image = Image(rough.astype(np.float32), grid(), "HU")
    domain = box(COMM, (12.0,) * 3, (8,) * 3)
    way = stiffness("keyak_1998")
    smooth, cells = (map_bone(domain, image, LINE, way, smooth=s) for s in (True, False))
    assert smooth.density.x.array.min() >= 0.0 and smooth.density.x.array.max() <= 1.04
    assert smooth.modulus.x.array.min() >= way(0.0)
    nodes = smooth.modulus.function_space.dofmap.list
    for one, other in ((smooth.density, cells.density), (smooth.modulus, cells.modulus)):
        assert one.x.array[nodes].mean() == pytest.approx(other.x.array.mean(), rel=1e-10)
    # it is more than the lumped projection, which is bounded by itself
    assert smooth.density.x.array.std() > 0.9 * cells.density.x.array.std()


@pytest.mark.slow
def test_smooth_fields_keep_bounds_and_content_at_a_jump():
    for record in jump_records(COMM, stiffness("keyak_1998")):
        assert record.met, record


@pytest.mark.slow
def test_density_mapping_verifies():
    records = mapping_records(COMM, quick=True)
    assert len(records) == 11
    assert all(record.met for record in records), [r for r in records if not r.met]


# --- surfaces of bones --------------------------------------------------------------------------


def sphere(radius=9.0, nsub=3):
    found = pv.Icosphere(radius=radius, nsub=nsub, center=(10.0, 11.0, 12.0))
    return TriangleSurface(
        np.asarray(found.points, dtype=float), np.asarray(found.regular_faces, dtype=np.int64)
    )


def ball(x, wall=np.inf):
    depth = 9.0 - np.linalg.norm(x - [10.0, 11.0, 12.0], axis=1)
    return np.where(depth < 0.0, 0.04, np.where(depth < wall, 1.1, 0.15))


@pytest.mark.parametrize("turned", [False, True])
def test_surroundings_are_taken_out_of_the_outermost_voxels(turned):
    where = grid(30, 1.0, -4.5)
    if turned:  # axes as scanners write them
        where = Grid(
            where.shape, where.spacing, np.array([24.5, 24.5, -4.5]), np.diag([-1.0, -1, 1])
        )
    image = synthetic_ct(ball, where, Scanner(LINE, blur=(0.7,) * 3, noise=10.0))
    surface = sphere()
    x = where.points(np.indices(where.shape).reshape(3, -1).T)
    mask = (np.linalg.norm(x - [10.0, 11.0, 12.0], axis=1) < 9.0).reshape(where.shape)
    shell = mask & (np.linalg.norm(x - [10.0, 11.0, 12.0], axis=1) > 8.0).reshape(where.shape)
    error = {
        name: LINE.density(np.asarray(one.values)[shell]).mean() / 1.1 - 1.0
        for name, one in {
            "as it is": image,
            "surface": without_partial_volume(image, share_of_surface(surface, where, 0.7)),
            "mask": without_partial_volume(image, share_of_mask(mask, where, 0.7)),
        }.items()
    }
    assert error["as it is"] < -0.2
    assert abs(error["surface"]) < 0.03 and abs(error["mask"]) < 0.1
    with pytest.raises(InputError, match="no voxel is mostly bone"):
        without_partial_volume(image, np.zeros(where.shape))
    with pytest.raises(InputError, match="for an image of"):
        without_partial_volume(image, np.zeros((2, 2, 2)))


def test_cortex_of_half_a_voxel_is_measured():
    normal = np.array([0.48, 0.6, 0.64])
    where = grid(24, 1.0, -11.5)
    across = np.linalg.svd(normal[None])[2][1:]
    rng = np.random.default_rng(4)
    places = rng.uniform(-3.0, 3.0, (40, 2)) @ across + rng.normal(0.0, 0.3, (40, 1)) * normal

    def wall(x):
        return np.where(x @ normal > 0.0, 0.04, np.where(x @ normal > -0.5, 1.1, 0.15))

    image = synthetic_ct(wall, where, Scanner(LINE, blur=(0.7,) * 3, noise=20.0))
    normals = np.tile(normal, (40, 1))
    level = float(LINE.hounsfield(1.1))
    blur = np.sqrt(0.7**2 + 1 / 12 + 1 / 6)  # point spread, voxel, interpolation
    found = fit_cortex(image, places, normals, level=level, blur=blur)
    assert found.trusted.mean() > 0.9
    assert np.median(found.thickness) == pytest.approx(0.5, abs=0.03)
    assert np.median(found.within) == pytest.approx(LINE.hounsfield(0.15), abs=15.0)
    np.testing.assert_allclose(found.depth, places @ normal, atol=0.25)
    within = np.abs(found.thickness - 0.5) < 2.0 * found.deviation + 0.03
    assert within.mean() > 0.8
    # the usual rule sees the blur, not the cortex
    assert np.median(half_maximum(image, found)) > 1.9
    # content is what the image tells; a level 10 % too high makes the cortex as much thinner
    dense = fit_cortex(image, places, normals, level=1.1 * level, blur=blur)
    assert np.median(dense.thickness) == pytest.approx(0.5 / 1.1, abs=0.04)
    assert thick_level(image, places, normals) < 0.6 * level
    with pytest.raises(InputError, match="none of 40 profiles"):
        fit_cortex(image, places + 100.0, normals, level=level)


def test_a_surface_beside_the_bone_is_moved_onto_it():
    image = synthetic_ct(
        lambda x: ball(x, 1.0), grid(33, 1.0, -4.5), Scanner(LINE, blur=(0.7,) * 3, samples=2)
    )
    wide = sphere(10.0, nsub=2)
    found = fit_surface(image, wide, level=float(LINE.hounsfield(1.1)), blur=0.85)
    assert found.seen.all() and found.trusted.mean() > 0.95
    moved = outer_face(wide, found)
    away = np.linalg.norm(moved.points - [10.0, 11.0, 12.0], axis=1)
    # 0.1 mm within: the blur moves a curved face by its variance over its radius
    np.testing.assert_allclose(away, 8.92, atol=0.1)
    # where the image ends nothing is known, nothing moves and nothing is restored
    half = Image(image.values[:, :, :17], Grid((33, 33, 17), *_rest(image.grid)), "HU")
    cut = fit_surface(half, wide, level=float(LINE.hounsfield(1.1)), blur=0.85)
    assert not cut.seen[wide.points[:, 2] > 12.5].any() and cut.seen[wide.points[:, 2] < 5].all()
    still = np.linalg.norm(outer_face(wide, cut).points - wide.points, axis=1)
    assert (still[~cut.seen] == 0).all() and still[cut.seen].max() > 0.8


def _rest(where):
    return where.spacing, where.origin, where.direction


@pytest.mark.slow
def test_restored_cortex_is_as_stiff_as_it_was():
    where = grid(22, 1.5, -6.0)
    image = synthetic_ct(
        lambda x: ball(x, 1.0), where, Scanner(LINE, blur=(0.7,) * 3, noise=15.0, samples=4)
    )
    surface = sphere()
    found = fit_surface(image, surface, level=float(LINE.hounsfield(1.1)))
    assert np.median(found.thickness[found.trusted]) == pytest.approx(1.0, abs=0.05)
    fine = restored(image, surface, found, 0.3)
    way = stiffness("keller_1994_femur")
    middle = surface.points.mean(axis=0)
    corners = np.concatenate(
        [surface.points[surface.triangles], np.tile(middle, (len(surface.triangles), 1, 1))], axis=1
    )
    points = np.einsum("qc,ncx->nqx", sample_points(30), corners[::160])
    truth = way(ball(points.reshape(-1, 3), 1.0)).reshape(len(points), -1).mean()
    sums = {
        name: averages(corners[::160], one, {"E": lambda hu: way(LINE.density(hu))})["E"].means
        for name, one in {"raw": image, "restored": fine}.items()
    }
    assert sums["raw"].mean() < 0.5 * truth
    assert sums["restored"].mean() == pytest.approx(truth, rel=0.03)


# --- directions ---------------------------------------------------------------------------------


def rods(direction, voxel=0.3):
    """Trabeculae that run along a direction, thrown at random across it."""
    rng = np.random.default_rng(0)
    where = Grid((44,) * 3, np.full(3, voxel), np.zeros(3), np.diag([-1.0, -1.0, 1.0]))
    across = np.linalg.svd(direction[None])[2][1:]
    x = where.points(np.indices(where.shape).reshape(3, -1).T) @ across.T
    away = cKDTree(rng.uniform(-25, 25, (2500, 2))).query(x)[0]
    told = np.where(away < 0.25, 1200.0, 0.0) + rng.normal(0.0, 30.0, len(x))
    return Image(told.reshape(where.shape), where, "HU")


def test_fabric_finds_the_direction_of_trabeculae():
    direction = np.array([1.0, 2.0, 2.0]) / 3
    image = rods(direction)
    places = image.grid.points(np.random.default_rng(1).uniform(15, 29, (20, 3)))
    found = fabric_at(image, places, window=1.5, most=10.0)
    assert np.abs(found.axes[:, :, 0] @ direction).min() > np.cos(np.radians(1.0))
    assert found.anisotropy.min() > 4.0
    np.testing.assert_allclose(found.values.sum(axis=1), 3.0)
    np.testing.assert_allclose(np.linalg.det(found.axes), 1.0)
    bounded = fabric_at(image, places, window=1.5)
    np.testing.assert_allclose(bounded.anisotropy, 2.0)
    noise = Image(np.random.default_rng(2).normal(0, 50, (44,) * 3), image.grid, "HU")
    assert fabric_at(noise, places, window=1.5, noise=50.0).anisotropy.max() < 1.1
    with pytest.raises(InputError, match=r"window of 0\.1 mm"):
        fabric_at(image, places, window=0.1)


def test_nine_constants_follow_the_fabric():
    image = rods(np.array([0.0, 0.0, 1.0]))
    places = image.grid.points(np.full((3, 3), 22.0))
    found = fabric_at(image, places, window=1.5)
    E = np.array([1e6, 2e6, 5e6])
    constants = nine_constants(E, found)
    ratio = constants["E_f"] / constants["E_n"]
    np.testing.assert_allclose(ratio, found.anisotropy**2)
    m = found.values
    np.testing.assert_allclose(constants["nu_fs"] / constants["E_f"], 0.3 / (E * m[:, 0] * m[:, 1]))
    uniform = nine_constants(E, type(found)(np.ones((3, 3)), found.axes))
    np.testing.assert_allclose(uniform["E_s"], E)
    np.testing.assert_allclose(uniform["G_fn"], E / 2.6)


def test_orthotropic_law_has_a_direction_in_each_cell():
    image = rods(np.array([0.0, 0.0, 1.0]), voxel=0.4)
    low, _ = image.grid.box()
    domain = box(COMM, (8.0,) * 3, (2,) * 3)
    domain.mesh.geometry.x[:] += low + 4.0
    way = stiffness("keyak_1998")
    found = map_bone(domain, image, LINE, way)
    bone, axes = orthotropic_bone(domain, image, found.modulus, window=1.5)
    assert np.abs(axes.f0.x.array.reshape(-1, 3)[:, 2]).min() > 0.99
    assert (bone.E_f.x.array > bone.E_n.x.array).all()
    smooth = map_bone(domain, image, LINE, way, smooth=True)
    with pytest.raises(InputError, match="one value per cell"):
        orthotropic_bone(domain, image, smooth.modulus)


# --- a real scan --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torso():
    image = Image.from_sitk(sitk.ReadImage(TORSO / "example_ct.nii.gz"), "HU")
    labels = sitk.ReadImage(TORSO / "example_seg_fast_force_split.nii.gz")
    return image, sitk.GetArrayFromImage(labels).transpose(2, 1, 0), from_tissues(image)


def test_a_real_scan_calibrates_itself(torso):
    image, labels, calibration = torso
    assert 7e-4 < calibration.slope < 9.5e-4
    assert calibration.residual < 0.02 and calibration.r2 > 0.999
    told = " ".join(check_scan(image, None, calibration, bone=labels == 76))
    assert "Voxels of 3.0 mm" in told and "Metal" in told
    with pytest.raises(InputError, match="metal"):
        check_scan(image, None, calibration, bone=labels == 75)  # an implant in the left hip


@pytest.mark.parametrize(
    ("label", "law", "mineral", "modulus"),
    [
        (29, "kopperdahl_2002", (0.08, 0.25), (0.2e6, 0.8e6)),  # body of L3
        (76, "morgan_2003_femoral_neck", (0.1, 0.35), (0.8e6, 4e6)),  # right femoral head
    ],
)
def test_trabecular_bone_of_a_real_scan_is_plausible(torso, label, law, mineral, modulus):
    image, labels, calibration = torso
    inside = np.argwhere(labels == label)
    deep = ndimage.distance_transform_edt(labels == label)
    solid = inside[np.argmax(deep[tuple(inside.T)])]
    domain = box(COMM, (10.0,) * 3, (3,) * 3)
    domain.mesh.geometry.x[:] += image.grid.points(solid) - 5.0
    found = map_bone(domain, image, calibration, stiffness(law, calibration.mineral))
    rho, E = found.density.x.array, found.modulus.x.array
    assert mineral[0] < rho.mean() < mineral[1]
    assert modulus[0] < E.mean() < modulus[1]
    at = trilinear(np.asarray(image.values), solid[None].astype(float))
    assert calibration.density(at)[0] == pytest.approx(rho.mean(), abs=0.1)


def test_densities_of_the_verified_block_span_marrow_to_bone():
    x = np.random.default_rng(0).uniform(0.0, 20.0, (1000, 3))
    assert density(x).min() > 0.05 and density(x).max() < 1.1
