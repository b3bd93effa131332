"""A hip stem, pedicle screws and a broken plateau, from real images to meshes."""

import re
from pathlib import Path

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.image.readers import read_image, read_labels
from organtwin.mesh.quality import dihedral_angles
from organtwin.mesh.surface_files import read_surface
from organtwin.orthopaedics.assembly import Fineness, surface_area
from organtwin.orthopaedics.cartilage_contact import Columns
from organtwin.orthopaedics.hip_stem import HipStemOptions, hip_stem
from organtwin.orthopaedics.pedicle_screw import PedicleScrewOptions, pedicle_screw
from organtwin.orthopaedics.plateau_options import TibialPlateauOptions
from organtwin.orthopaedics.tibial_plateau import tibial_plateau
from organtwin.surgery.bodies import bodies_of_labels

MESHES = Path(__file__).parents[2] / "meshes"
pytestmark = pytest.mark.slow


def sound(made, least=5.0):
    """Smallest angle (degrees) and volumes against those of the bodies."""
    assert dihedral_angles(made.mesh.points, made.mesh.cells).min() > least
    errors = [v for n, v in made.fit.items() if n.startswith("volume error")]
    assert errors and max(np.abs(errors)) < 0.06


def test_a_stem_in_a_real_femur():
    femur = read_surface(MESHES / "femur/m4_lfemur_mm.stl")
    coarse = Fineness(5.0, 3.5, 3.0, 1.6)
    made = hip_stem(femur, HipStemOptions(fineness=coarse), side="left")
    sound(made)
    assert {"femur", "stem", "removed"} == set(made.mesh.region_names)
    intact, left = made.intact(), made.operated()
    assert set(left.cells) < set(intact.cells)
    assert len(left.mesh.points) > len(np.unique(made.mesh.cells[left.cells]))
    for zone in ("coated", "polished"):
        both = [surface_area(left.mesh, f"{a}_at_{b}_{zone}") for a, b in
                (("stem", "femur"), ("femur", "stem"))]  # fmt: skip
        assert both[0] == pytest.approx(both[1], rel=1e-9) and both[0] > 500.0
    # The fixed end is a plane across the shaft below the tip.
    assert 300.0 < surface_area(left.mesh, "distal") < 1200.0
    assert 200.0 < surface_area(left.mesh, "stem_neck") < 1000.0
    # The tip lies in the canal: in bone, far from its outside.
    assert 0.4 < made.fit["canal fill, largest"] < 1.3
    assert made.fit["bone around the stem, least mm"] >= 2.0
    assert made.scan is not None and made.scan.quantity == "HU"
    assert any("goes on straight" in note for note in made.notes)
    # The hip's centre comes back where it was, in the plane of the stem.
    off = made.points["head_centre"] - made.points["native_head_centre"]
    across = off @ made.frames["stem"].axes.T
    assert across[[2, 0]] == pytest.approx(
        [made.fit["leg longer by mm"], made.fit["offset larger by mm"]], abs=0.1
    )
    assert np.hypot(across[0], across[2]) < 5.0
    with pytest.raises(InputError, match=r"larger than the canal|mm of bone"):
        hip_stem(femur, HipStemOptions(size="8", keep=4.0, fineness=coarse))
    with pytest.raises(InputError, match="it is a left one"):
        hip_stem(femur, HipStemOptions(size="1"), side="right")
    with pytest.raises(InputError, match="too early"):
        hip_stem(femur, HipStemOptions(size="1", longer=False))


def test_a_femur_that_its_image_cuts_off_takes_the_rest_of_another():
    folder = MESHES / "torso"
    scan = read_image(folder / "example_ct.nii.gz")
    labels = read_labels(folder / "example_seg_fast_force_split.nii.gz", {"femur_right": 76})
    bone = bodies_of_labels(labels, ("femur_right",), voxel=1.6).surface("femur_right")
    template = read_surface(MESHES / "femur/m4_lfemur_mm.stl")
    with pytest.raises(InputError, match="its image ends too early"):
        hip_stem(bone, side="right")
    options = HipStemOptions(fineness=Fineness(7.0, 4.5, 4.0, 1.6))
    made = hip_stem(bone, options, scan=scan, side="right", template=template)
    sound(made)
    told = next(note for note in made.notes if "another person's femur" in note)
    assert float(re.search(r"within ([0-9.]+) mm", told)[1]) < 1.0


def test_screws_in_a_real_vertebra():
    folder = MESHES / "torso"
    labels = read_labels(
        folder / "example_seg_fast_force_split.nii.gz", {"L3": 29, "spinal_cord": 79}
    )
    scan = read_image(folder / "example_ct.nii.gz")
    options = PedicleScrewOptions(fineness=Fineness(3.2, 2.0, 1.7, 0.8))
    made = pedicle_screw(labels, options, scan=scan)
    sound(made)
    for side, sign in (("screw_left", 1.0), ("screw_right", -1.0)):
        assert made.fit[f"{side}: distance from the canal mm"] > 2.0
        assert made.fit[f"{side}: breach of the wall mm"] < 1.0
        assert made.fit[f"{side}: tip beyond the far cortex mm"] < -5.0
        entry, tip = made.points[f"{side}_entry"], made.points[f"{side}_tip"]
        assert sign * (entry[0] - made.points["canal"][0]) > 10.0
        assert tip[1] < entry[1] - 30.0
    left = made.operated().mesh
    one, two = (surface_area(left, n) for n in ("endplate_upper", "endplate_lower"))
    assert 1000.0 < one < 2500.0 and 1000.0 < two < 2500.0
    assert "vertebra_at_screw_left" in left.facet_names
    assert "screw_right_head" in left.facet_names


KNEE = {
    "tibia": 96, "fibula": 97, "femur": 95, "femoral_cartilage": 83,
    "lateral_tibial_cartilage": 84, "medial_tibial_cartilage": 85,
}  # fmt: skip


@pytest.fixture(scope="module")
def knee():
    return read_labels(MESHES / "knee/seg.nrrd", KNEE)


@pytest.mark.parametrize(
    ("fixation", "step", "graft"), [("plate", 0.0, True), ("screws", 3.0, False)]
)
def test_a_broken_plateau_and_what_holds_it(knee, fixation, step, graft):
    options = TibialPlateauOptions(
        fixation=fixation, gap=1.5, plate_gap=1.4, step=step, graft=graft,
        cartilage=fixation == "plate", fineness=Fineness(5.0, 2.5, 2.5, 1.0),
    )  # fmt: skip
    made = tibial_plateau(knee, options)
    assert dihedral_angles(made.mesh.points, made.mesh.cells).min() > 5.0
    regions = ("tibia", "lateral_fragment", "depressed_fragment", "callus")
    for region in (*regions, *(["graft"] if graft else [])):
        assert made.mesh.volume(region) > 100.0
        assert abs(made.fit[f"volume error of {region}"]) < 0.15
    assert ("graft" in made.mesh.region_names) == graft
    assert surface_area(made.mesh, "plateau_medial") > 400.0
    assert surface_area(made.mesh, "plateau_lateral") > 300.0
    # The raft lies along the joint, in the split fragment and below the piece.
    up = made.frames["knee"].axes[2]
    raft = range(1, 5) if fixation == "plate" else range(1, 4)
    for k in raft:
        entry, tip = (made.points[f"screw{k}_{end}"] for end in ("entry", "tip"))
        assert abs((tip - entry) @ up) < 0.01 * np.linalg.norm(tip - entry)
        assert made.fit[f"screw{k}: in the lateral fragment mm"] > 3.0
    assert made.fit["screws below the depressed fragment"] == len(raft)
    if fixation == "plate":
        assert made.fit["plate's depth in the bone mm"] < 0.05
        assert made.fit["plate's mean distance from the bone mm"] < 6.0
        assert made.fit["plate's turn against the plateau's normal degrees"] < 10.0
        assert made.fit["largest lean of a raft screw in the plate degrees"] < 35.0
        columns = Columns.of_table(made.tables["cartilage"])
        for half in (0, 1):
            own = columns.of_half(half)
            # Areas and thicknesses of a grown person's tibial and femoral cartilage together.
            assert 300.0 < own.area.sum() < 1800.0
            assert 2.0 < np.median(own.thickness) < 8.0


def test_a_plateau_without_room_or_cartilage_is_refused(knee):
    coarse = Fineness(6.0, 3.5, 3.0, 1.2)
    with pytest.raises(InputError, match="the shaft ends above"):
        tibial_plateau(knee, TibialPlateauOptions(plate_size="9", gap=1.5, fineness=coarse))
    only = read_labels(MESHES / "knee/seg.nrrd", {"tibia": 96, "fibula": 97})
    with pytest.raises(InputError, match="no `femur`"):
        tibial_plateau(
            only, TibialPlateauOptions(fixation="none", cartilage=True, gap=1.5, fineness=coarse)
        )
