"""Left-ventricular volumes of a real cine scan against the surfaces that came with it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from organtwin.export.volume_curve import volume_curve
from organtwin.image.readers import read_image
from organtwin.image.volume import Sequence
from organtwin.mesh.defects import inspect
from organtwin.mesh.repair import repair
from organtwin.mesh.surface_files import TriangleSurface, read_surface
from organtwin.segment.cine import Cine, segment_cine
from organtwin.segment.cine_planes import Plane, stack
from organtwin.segment.cine_quality import reference_volumes as volumes_of
from organtwin.segment.cine_quality import section_dice, volume_errors
from organtwin.segment.cine_reading import read_cine, short_and_long
from organtwin.units import ML

FOLDER = Path(__file__).parents[3] / "shared/data/cardiac-cine-mr"
needs_shared = pytest.mark.skipif(not FOLDER.is_dir(), reason="no shared data here")
#: Series numbers: short axis, long axes with the left ventricle, and one beside it.
SHORT, LONG, RIGHT = [7001, 8001, 9001, 10001, 11001, 12001], [14001, 16001, 17001], 19001
#: Of the 25 frames of the reference, those whose images are there.
FRAMES = range(0, 25, 3)


def read(series: int | list[int]) -> Sequence:
    found = read_image(FOLDER / "dicom", series)
    assert isinstance(found, Sequence)
    return found


@cache
def short_axis() -> Sequence:
    return read(SHORT)


@cache
def cine() -> Cine:
    return segment_cine(short_axis(), [read(number) for number in [*LONG, RIGHT]])


@cache
def reference(frame: int) -> TriangleSurface:
    fitted = read_surface(FOLDER / f"vtk/patient1_LV_ENDOCARDIAL_{frame:03d}.vtk")
    return repair(fitted).surface


def reference_volumes() -> NDArray[np.float64]:
    return np.array([reference(frame).volume / ML for frame in FRAMES])


@needs_shared
def test_volumes_and_ejection_fraction_are_within_ten_percent() -> None:
    expected = reference_volumes()
    found = cine()
    assert found.edv == pytest.approx(expected.max(), rel=0.10)
    assert found.esv == pytest.approx(expected.min(), rel=0.10)
    fraction = 1.0 - expected.min() / expected.max()
    assert found.ejection_fraction == pytest.approx(fraction, rel=0.10)
    assert found.end_systole == int(np.argmin(expected))
    assert found.end_diastole in (0, len(expected) - 1)
    np.testing.assert_allclose(found.volumes, expected, rtol=0.12)


@needs_shared
@pytest.mark.slow
def test_every_frame_of_the_reference_is_compared() -> None:
    found = volume_errors(cine(), volumes_of(FOLDER / "vtk"))
    assert len(found.volumes) == 25
    np.testing.assert_allclose(found.volumes[list(FRAMES)], reference_volumes(), rtol=1e-9)
    assert abs(found.edv) < 0.10 and abs(found.esv) < 0.10
    assert abs(found.ejection_fraction) < 0.06


@needs_shared
@pytest.mark.slow
def test_series_of_a_folder_are_told_apart_by_their_orientation() -> None:
    short, long = short_and_long(read_cine(FOLDER / "dicom", [*SHORT, *LONG]))
    assert len(short) == len(SHORT) and len(long) == len(LONG)
    assert segment_cine(short, long).edv == pytest.approx(cine().edv, rel=0.02)


@needs_shared
def test_the_plane_through_the_right_ventricle_is_left_out() -> None:
    long = [note for note in cine().decisions if note.startswith("long axis")]
    assert [("left out" in note) for note in long] == [False, False, False, True]


@needs_shared
def test_sections_overlap_those_of_the_reference() -> None:
    found = cine()
    slices = stack(short_axis())
    inner = slices[1:-1]  # the outermost show the apex and the valves
    full = section_dice(found.surfaces[0], reference(0), inner)
    assert full.min() > 0.9
    empty = section_dice(found.surfaces[3], reference(9), inner)
    assert np.median(empty) > 0.8
    assert empty.min() > 0.6


@needs_shared
def test_surfaces_of_a_real_heart_are_sound() -> None:
    for surface in cine().surfaces:
        assert inspect(surface).sound


@needs_shared
def test_curve_is_drawn(tmp_path: Path) -> None:
    found = cine()
    picture = volume_curve(
        found.times,
        found.volumes,
        tmp_path / "curve.png",
        cycle=short_axis().cycle,
        reference=(found.times, reference_volumes()),
    )
    assert picture.stat().st_size > 10_000


def without(slices: Sequence, left_out: int) -> list[Sequence]:
    """The slices as series of their own, one left out."""
    from organtwin.image.volume import Image

    singles: list[Plane] = [p for k, p in enumerate(stack(slices)) if k != left_out]
    return [
        Sequence(
            tuple(Image(v[:, :, None], p.grid, slices.quantity) for v in p.values),
            slices.times,
            slices.cycle,
        )
        for p in singles
    ]


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("left_out", range(6))
def test_one_missing_slice_keeps_the_volumes_near_the_reference(left_out: int) -> None:
    long = [read(number) for number in LONG]
    found, expected = segment_cine(without(short_axis(), left_out), long), reference_volumes()
    assert found.edv == pytest.approx(expected.max(), rel=0.10)
    assert found.esv == pytest.approx(expected.min(), rel=0.15)
    fraction = 1.0 - expected.min() / expected.max()
    assert found.ejection_fraction == pytest.approx(fraction, rel=0.10)


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("shift", [(10.0, 0.0, 0.0), (0.0, -10.0, 0.0), (0.0, 0.0, 10.0)])
def test_a_rough_seed_is_enough(shift: tuple[float, float, float]) -> None:
    middle = cine().stars[0].frame.origin
    seeded = segment_cine(
        short_axis(), [read(number) for number in LONG], seed=middle + np.array(shift)
    )
    assert seeded.edv == pytest.approx(cine().edv, rel=0.05)
    assert seeded.esv == pytest.approx(cine().esv, rel=0.10)
