"""The left ventricle in a synthetic beating heart of known volume."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from organtwin.cli import app
from organtwin.cli_segment import still
from organtwin.errors import InputError
from organtwin.export.volume_curve import volume_curve
from organtwin.image.volume import Grid, Image, Sequence
from organtwin.mesh.defects import inspect
from organtwin.mesh.surface_files import read_surface, write_surface
from organtwin.segment.cine import Cine, CineOptions, segment_cine
from organtwin.segment.cine_base import base_plane, smooth_ends
from organtwin.segment.cine_contours import Tracing, closed_path, hull_radii
from organtwin.segment.cine_planes import at_phases, beat, stack
from organtwin.segment.cine_quality import reference_volumes, section_dice
from organtwin.segment.cine_reading import read_cine
from organtwin.segment.cine_surface import PARTS, Frame, Star, closed, fit, harmonics, rasterise
from organtwin.segment.recipe import Segmented

type Array = NDArray[np.float64]

PHASES, CYCLE = 4, 900.0
#: Rows: across, across, from apex to base.
AXES = Rotation.from_euler("xyz", [35.0, -25.0, 10.0], degrees=True).as_matrix()
ORIGIN = np.array([12.0, -20.0, 5.0])
BLOOD, MUSCLE, FAT, LUNG, NOISE = 400.0, 100.0, 450.0, 15.0, 15.0


@dataclass(frozen=True)
class Heart:
    """Truncated ellipsoid with its apex near z = -60 mm; semi-axes and base height (mm)."""

    width: float
    length: float
    base: float

    @property
    def volume(self) -> float:
        """Of the pool (mL)."""
        z, c = self.base, self.length
        return float(np.pi * self.width**2 * (z + c - (z**3 + c**3) / (3.0 * c**2)) / 1000.0)

    def signal(self, points: Array) -> Array:
        """Steady-state signal at points (mm), shape (..., 3)."""
        x, y, z = np.moveaxis((points - ORIGIN) @ AXES.T, -1, 0)
        across = np.hypot(x, y)
        inner = np.hypot(across / self.width, z / self.length)
        outer = np.hypot(across / 34.0, z / 70.0)
        atrium = 1.05 * self.width
        value = np.where(x < -5.0, FAT, LUNG)
        right = (x < -5.0) & (np.hypot(across / 52.0, z / 62.0) < 1.0)
        value = np.where(right, BLOOD, value)
        value = np.where((outer < 1.0) & (z < self.base), MUSCLE, value)
        above = z >= self.base
        value = np.where(above & (across < 45.0) & (z < self.base + 15.0), FAT, value)
        value = np.where(above & (across < atrium + 2.0) & (z < self.base + 45.0), MUSCLE, value)
        value = np.where(above & (across < atrium) & (z < self.base + 43.0), BLOOD, value)
        value = np.where((inner < 1.0) & ~above, BLOOD, value)
        for angle in (0.9, 3.6):  # papillary muscles, attached to the wall
            away = np.hypot(
                x - (self.width - 5.0) * np.cos(angle), y - (self.width - 5.0) * np.sin(angle)
            )
            value = np.where((away < 3.5) & (z > -25.0) & (z < 0.0), MUSCLE, value)
        return np.asarray(value)


def heart(phase: int) -> Heart:
    contraction = 0.5 - 0.5 * np.cos(2.0 * np.pi * phase / PHASES)
    return Heart(25.0 - 7.0 * contraction, 60.0 - 5.0 * contraction, 25.0 - 11.0 * contraction)


VOLUMES = np.array([heart(k).volume for k in range(PHASES)])


def scan(centre: Array, axes: Array, slices: int, gap: float) -> Sequence:
    """Cine of the phantom: slices across the third of the axes (columns of the result)."""
    size, pixel = 108, 1.5
    corner = (
        centre
        - (size - 1) / 2.0 * pixel * (axes[0] + axes[1])
        - 0.5 * (slices - 1) * gap * (axes[2])
    )
    grid = Grid((size, size, slices), np.array([pixel, pixel, gap]), corner, axes.T.copy())
    points = grid.points(np.indices(grid.shape).reshape(3, -1).T).reshape(*grid.shape, 3)
    noise = np.random.default_rng(round(1e3 * abs(float(axes[0, 0]))))
    images = tuple(
        Image(
            np.clip(heart(k).signal(points) + noise.normal(0.0, NOISE, grid.shape), 0, 2000).astype(
                np.int16
            ),
            grid,
            "MR",
        )
        for k in range(PHASES)
    )
    return Sequence(images, np.arange(PHASES) * CYCLE / PHASES, CYCLE)


@cache
def short_axis() -> Sequence:
    return scan(ORIGIN - 10.0 * AXES[2], AXES, 7, 13.0)


@cache
def long_axes() -> tuple[Sequence, ...]:
    planes = []
    for angle in (0.3, 1.4, 2.4):
        across = np.cos(angle) * AXES[0] + np.sin(angle) * AXES[1]
        planes.append(scan(ORIGIN, np.array([across, AXES[2], np.cross(across, AXES[2])]), 1, 6.0))
    return tuple(planes)


#: The phantom has no trabeculae: its border is halfway between blood and wall.
SHARP = CineOptions(tracing=Tracing(least=0.5))


@cache
def found() -> Cine:
    return segment_cine(short_axis(), long_axes(), SHARP)


def test_volumes_of_the_phantom_are_found() -> None:
    cine = found()
    np.testing.assert_allclose(cine.volumes, VOLUMES, rtol=0.03)
    assert cine.end_diastole == 0
    assert cine.end_systole == 2
    fraction = 1.0 - VOLUMES.min() / VOLUMES.max()
    assert cine.ejection_fraction == pytest.approx(fraction, rel=0.03)


def test_the_border_that_includes_trabeculae_lies_less_than_a_pixel_further_out() -> None:
    cine = segment_cine(short_axis(), long_axes())
    excess = 1000.0 * (cine.volumes - found().volumes)
    area = [s.areas[s.triangle_values["part"] == PARTS["lv_endo"]].sum() for s in cine.surfaces]
    shift = excess / np.array(area)
    assert shift.min() > 0.1
    assert shift.max() < 0.75


def test_base_follows_the_valve_plane() -> None:
    heights = (found().bases[:, 0] - ORIGIN) @ AXES[2]
    expected = [heart(k).base for k in range(PHASES)]
    np.testing.assert_allclose(heights, expected, atol=2.0)
    angle = np.degrees(np.arccos((found().bases[:, 1] @ AXES[2]).clip(max=1.0)))
    assert angle.max() < 8.0


def test_surfaces_are_closed_and_correspond() -> None:
    cine = found()
    for surface in cine.surfaces:
        assert surface.volume > 0.0
        assert inspect(surface).sound
        assert surface.triangles.shape == cine.surfaces[0].triangles.shape


def test_labels_have_the_volume_of_the_surface() -> None:
    cine = found()
    labels = cine.labels(cine.end_systole)
    assert labels.volume_ml("lv_blood") == pytest.approx(cine.esv, rel=0.02)
    assert not labels.values[0].any() and not labels.values[:, :, -1].any()


@pytest.mark.slow
def test_a_seed_off_the_centre_gives_the_same() -> None:
    seeded = segment_cine(
        short_axis(), long_axes(), SHARP, seed=ORIGIN + np.array([4.0, -5.0, 6.0])
    )
    np.testing.assert_allclose(seeded.volumes, found().volumes, rtol=0.03)


@pytest.mark.slow
def test_without_long_axes_the_result_is_marked_doubtful() -> None:
    alone = segment_cine(short_axis(), options=SHARP)
    assert alone.confidence < 0.35
    assert any("no long axis" in note for note in alone.decisions)
    assert alone.edv == pytest.approx(VOLUMES[0], rel=0.2)


@pytest.mark.slow
def test_a_plane_beside_the_ventricle_is_left_out() -> None:
    beside = long_axes()[0]
    grid = beside.grid
    moved = Grid(
        grid.shape, grid.spacing, grid.origin + 40.0 * grid.direction[:, 2], grid.direction
    )
    far = Sequence(
        tuple(replace(image, grid=moved) for image in beside.images), beside.times, beside.cycle
    )
    cine = segment_cine(short_axis(), [*long_axes(), far], SHARP)
    assert "long axis 4: 40 mm off" in " ".join(cine.decisions)
    np.testing.assert_allclose(cine.volumes, found().volumes)


def test_noise_has_no_ventricle() -> None:
    still = short_axis()
    rng = np.random.default_rng(1)
    flat = tuple(
        replace(image, values=rng.integers(90, 110, image.values.shape).astype(np.int16))
        for image in still.images
    )
    with pytest.raises(InputError, match="pool"):
        segment_cine(Sequence(flat, still.times, still.cycle))


def test_closed_path_finds_the_valley_across_the_seam() -> None:
    rays, radii = 24, 30
    wanted = np.round(12 + 6 * np.cos(2 * np.pi * np.arange(rays) / rays)).astype(int)
    cost = np.abs(np.arange(radii)[None, :] - wanted[:, None]).astype(float)
    np.testing.assert_array_equal(closed_path(cost[None], 0.1, 3)[0], wanted)


def test_hull_bridges_a_dent_only() -> None:
    radii = np.full(72, 20.0)
    radii[10:14] = 12.0
    hull = hull_radii(radii)
    assert hull[12] == pytest.approx(20.0 * np.cos(np.radians(12.5)) / np.cos(np.radians(2.5)))
    assert hull[12] == pytest.approx(hull[11])
    np.testing.assert_allclose(np.delete(hull, range(10, 14)), 20.0, rtol=1e-9)


def ball(radius: float) -> tuple[Frame, Star]:
    frame = Frame.along(ORIGIN, AXES[2], 1.8)
    rng = np.random.default_rng(0)
    ways = rng.normal(size=(600, 3))
    points = ORIGIN + radius * ways / np.linalg.norm(ways, axis=1, keepdims=True)
    return frame, fit(frame, points, np.ones(600), degree=8, smoothness=1e-9)


def test_half_a_ball_has_its_volume() -> None:
    frame, star = ball(30.0)
    surface = closed(star, frame.origin, frame.axes[2], rows=60, around=96)
    exact = 2.0 / 3.0 * np.pi * 30.0**3
    assert surface.volume == pytest.approx(exact, rel=5e-3)
    base = surface.points[np.unique(surface.part("base"))]
    np.testing.assert_allclose((base - frame.origin) @ frame.axes[2], 0.0, atol=0.05)
    grid = Grid((45, 45, 45), np.full(3, 1.5), ORIGIN - 33.0, np.eye(3))
    labels = rasterise(star, frame.origin, frame.axes[2], grid, "lv_blood")
    assert labels.volume_ml("lv_blood") == pytest.approx(exact / 1000.0, rel=0.01)


def test_fit_ignores_a_few_outliers() -> None:
    frame = Frame.along(ORIGIN, AXES[2], 1.8)
    ways = np.random.default_rng(2).normal(size=(500, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    points = ORIGIN + 25.0 * ways
    points[::25] += 15.0 * ways[::25]
    star = fit(frame, points, np.ones(500), degree=6, smoothness=1e-6)
    length = np.linalg.norm(star.points(frame.stretched(ORIGIN + ways)) - ORIGIN, axis=1)
    assert abs(np.median(length) - 25.0) < 0.3


def test_harmonics_are_orthogonal() -> None:
    ways = np.random.default_rng(3).normal(size=(40000, 3))
    matrix = harmonics(ways, 3)
    gram = matrix.T @ matrix / len(ways) * 4.0 * np.pi
    np.testing.assert_allclose(gram, np.eye(16), atol=0.05)


def test_base_plane_through_tilted_ends_with_one_astray() -> None:
    angle = np.linspace(0.0, 2.0 * np.pi, 8, endpoint=False)
    ring = 30.0 * np.stack([np.cos(angle), np.sin(angle), 0.1 * np.cos(angle)], axis=1)
    ring[3, 2] += 20.0
    point, normal = base_plane(ring, np.ones(8), np.array([0.0, 0.0, 1.0]))
    assert abs(point @ normal) < 1.0
    assert np.degrees(np.arccos(normal[2])) < 8.0


def test_an_unseen_end_moves_as_the_others() -> None:
    phases = 9
    motion = -6.0 + 6.0 * np.cos(2.0 * np.pi * np.arange(phases) / phases)
    places = np.array([[25.0, 0, 40], [-25, 0, 42], [0, 25, 44], [0, -25, 41]])
    points = np.repeat(places[:, None], phases, axis=1)
    points[:, :, 2] += motion
    certain = np.ones((4, phases))
    truth = points.copy()
    points[0, 3:6, 2] += 25.0
    certain[0, 3:6] = 0.0
    smooth = smooth_ends(points, certain, 2)
    np.testing.assert_allclose(smooth[..., 2], truth[..., 2], atol=1.5)


def test_phases_are_matched_by_their_share_of_the_beat() -> None:
    other = Sequence(
        tuple(short_axis().images[k % PHASES] for k in range(12)),
        50.0 * np.arange(12, dtype=np.float64),
        600.0,
    )
    chosen = at_phases(other, np.arange(PHASES, dtype=np.float64) / PHASES)
    np.testing.assert_allclose(chosen.times, np.arange(0, 12, 3) * 50.0)
    assert beat(replace(other, cycle=None)) == pytest.approx(600.0)


def test_slices_are_sorted_along_their_normal() -> None:
    whole = short_axis()
    heights = [float(p.grid.origin @ p.normal) for p in stack(whole)]
    assert np.all(np.diff(heights) > 0.0)


def test_long_axes_among_the_short_axis_are_refused() -> None:
    with pytest.raises(InputError, match="aren't parallel"):
        segment_cine([short_axis(), long_axes()[0]])
    with pytest.raises(InputError, match="no short-axis"):
        segment_cine([])


def test_sections_of_shifted_balls_overlap_in_part() -> None:
    frame, star = ball(30.0)
    surface = closed(star, frame.origin + 40.0 * frame.axes[2], frame.axes[2])
    shifted = replace(surface, points=surface.points + 10.0 * AXES[0])
    middle = stack(short_axis())[3]
    assert section_dice(surface, surface, [middle])[0] == 1.0
    assert 0.6 < section_dice(surface, shifted, [middle])[0] < 0.9


def test_curve_is_drawn_and_needs_as_many_times_as_volumes(tmp_path: Path) -> None:
    times = 900.0 / PHASES * np.arange(PHASES, dtype=np.float64)
    path = volume_curve(
        times, VOLUMES, tmp_path / "curve.png", cycle=900.0, reference=(times, 1.1 * VOLUMES)
    )
    assert path.stat().st_size > 10_000
    with pytest.raises(InputError, match="3 times and 4 volumes"):
        volume_curve(times[:3], VOLUMES, tmp_path / "none.png")


def written(sequence: Sequence, file: Path) -> Path:
    """The sequence as a four-dimensional file."""
    sitk.WriteImage(sitk.JoinSeries([image.to_sitk() for image in sequence.images]), str(file))
    return file


def test_the_command_writes_the_curve_the_figures_and_a_surface_for_each_phase(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "cine"
    folder.mkdir()
    for name, sequence in (("short", short_axis()), *zip("abc", long_axes(), strict=True)):
        written(sequence, folder / f"{name}.nrrd")
    reference = tmp_path / "reference"
    for k, surface in enumerate(found().surfaces):
        open_end = surface.select(surface.triangle_values["part"] == PARTS["lv_endo"])
        write_surface(open_end, reference / f"LV_ENDO_{k:03d}.vtk")
        write_surface(surface, reference / f"RV_ENDO_{k:03d}.vtk")
    out = tmp_path / "lv.seg.nrrd"
    arguments = ["segment", folder, "--recipe", "lv_cine_mr", "-o", out, "--reference", reference]
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    assert "long axis 3" in result.output and "EF" in result.output
    beat = json.loads((tmp_path / "lv.json").read_text())["beat"]
    assert beat["end_diastole"]["phase"] == 0 and beat["end_systole"]["phase"] == 2
    assert beat["volumes_ml"] == pytest.approx(VOLUMES, rel=0.12)
    assert [tmp_path / name for name in beat["surfaces"]] == sorted(
        (tmp_path / "lv-surfaces").iterdir()
    )
    surfaces = [read_surface(tmp_path / name).volume / 1000.0 for name in beat["surfaces"]]
    assert surfaces == pytest.approx(beat["volumes_ml"], rel=1e-5)
    compared, full = beat["reference"], beat["end_diastole"]["volume_ml"]
    assert compared["edv_ml"] == pytest.approx(found().edv, rel=1e-3)
    assert compared["edv_error"] == pytest.approx(full / found().edv - 1.0, abs=1e-3)
    assert compared["ejection_fraction_error"] == pytest.approx(
        beat["ejection_fraction"] - found().ejection_fraction, abs=1e-3
    )
    assert (tmp_path / "lv-volume.png").stat().st_size > 10_000


def test_series_stay_apart_and_what_has_no_phases_is_left_out(tmp_path: Path) -> None:
    sequence = long_axes()[0]
    written(sequence, tmp_path / "two.nrrd")
    written(sequence, tmp_path / "four.nrrd")
    sitk.WriteImage(sequence.images[0].to_sitk(), str(tmp_path / "localiser.nrrd"))
    assert len(read_cine(tmp_path)) == 2
    assert len(read_cine(tmp_path, ["two"])) == 1
    assert len(read_cine(tmp_path / "two.nrrd")) == 1
    with pytest.raises(InputError, match="single image"):
        read_cine(tmp_path, ["local"])
    with pytest.raises(InputError, match=r"no file `three`.*four.nrrd"):
        read_cine(tmp_path, ["three"])


def test_a_beat_lasts_a_step_for_each_phase_unless_told() -> None:
    still = long_axes()[0].images
    times = np.array([20.0, 220.0, 420.0, 620.0])
    assert beat(Sequence(still, times)) == 800.0
    assert beat(Sequence(still, times, 900.0)) == 900.0
    assert beat(Sequence(still, times, 500.0)) == 800.0


def test_references_of_several_structures_are_refused(tmp_path: Path) -> None:
    for name in ("epi_0", "right_0"):
        write_surface(found().surfaces[0], tmp_path / f"{name}.vtp")
    with pytest.raises(InputError, match="surfaces of 2 structures: epi, right"):
        reference_volumes(tmp_path)


def test_slices_are_drawn_at_the_share_of_the_beat_that_the_labels_have() -> None:
    phases = short_axis().images
    finer = Sequence(
        tuple(phases[k // 2] for k in range(2 * PHASES)),
        np.arange(2.0 * PHASES) * CYCLE / (2 * PHASES),
        CYCLE,
    )
    systole = Segmented(found().labels(2), "lv_cine_mr", "", (), {}, {}, phase=2, cine=found())
    assert still(finer, systole) is phases[2]
    assert still(short_axis(), systole) is phases[2]
