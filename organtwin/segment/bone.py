"""Recipe `bone_ct`: cortical and trabecular bone in a CT."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from organtwin.image.volume import Grid, Image
from organtwin.segment.morphology import Mask, closed, filled, grown, without_islands
from organtwin.segment.recipe import Draft, Options, refuse_unless_ct
from organtwin.segment.thresholds import hysteresis, levels
from organtwin.units import ML

#: Bone is above the first value and somewhere above the second one (HU).
BONE = (120.0, 250.0)
#: Metal is above this value (HU); no bone is.
METAL = 2000.0
#: Fat and air inside a bone's outline stay out (HU).
FAT = -80.0
#: Gaps in the cortex of up to twice this radius are closed (mm).
GAP = 4.0
#: Smaller pieces are no bones (mm³): calcifications, stones, contrast in the bowel.
PIECE = 3.0 * ML
#: Values above it don't count in the threshold between both kinds of bone (HU).
DENSEST = 1500.0
#: Names of structures that are divided here.
WHOLES = {"bone": ("bone_trabecular", "bone_cortical")}


def bone_ct(image: Image, options: Options, regions: Mapping[str, Mask] | None = None) -> Draft:
    """Label cortical bone, trabecular bone with the marrow, and metal.

    Bone is what is connected above a low threshold and somewhere above a high one; gaps in the
    cortex are closed and what it encloses in any plane is filled. The border between cortical and
    trabecular bone is the value with the largest variance between both (Otsu).

    Args:
        image: CT without contrast, or with little of it: vessels and kidneys with much are bright
            as bone.
        options: ``threshold`` replaces the one between cortical and trabecular bone.
        regions: ``bone`` where another program found it.

    Raises:
        InputError: no CT, or no bone in it.
    """
    refuse_unless_ct(image, "bone_ct")
    grid = image.grid
    metal = image.values > METAL
    given = (regions or {}).get("bone")
    bone = outlined(image) if given is None else given
    implants = grown(metal, grid, float(grid.spacing.max())) & (image.values > DENSEST)
    bone = bone & ~implants
    inside = image.values[bone & (image.values < DENSEST) & (image.values > FAT)]
    limit = options.threshold or (levels(inside, 2)[0] if len(np.unique(inside)) > 2 else BONE[1])
    dense = bone & (image.values >= limit)
    masks = {"bone_trabecular": bone & ~dense, "bone_cortical": dense, "metal": implants}
    return Draft(
        masks=masks,
        decisions=_account(limit, masks, grid, found=given is None),
        thresholds={"bone": BONE[0], "surely bone": BONE[1], "cortical": limit, "metal": METAL},
    )


def outlined(image: Image) -> Mask:
    """Bones with what their cortex encloses."""
    grid = image.grid
    solid = without_islands(hysteresis(image, *BONE), grid, PIECE)
    whole = closed(solid, grid, GAP)
    whole = filled(whole, slices=0) | filled(whole, slices=1) | filled(whole, slices=2)
    return np.asarray(whole & (image.values > FAT))


def _account(
    limit: float, masks: Mapping[str, Mask], grid: Grid, *, found: bool
) -> tuple[str, ...]:
    volumes = {name: mask.sum() * grid.voxel_volume / ML for name, mask in masks.items()}
    lines = [f"Cortical bone is above {limit:.0f} HU, trabecular bone and marrow below."]
    if found:
        lines.insert(
            0,
            f"Bone is connected above {BONE[0]:.0f} HU and reaches {BONE[1]:.0f} HU; gaps of up to "
            f"{2 * GAP:.0f} mm are closed, pieces below {PIECE / ML:.0f} mL dropped.",
        )
    if masks["metal"].any():
        lines.append(f"Metal above {METAL:.0f} HU: {volumes['metal']:.1f} mL, labelled apart.")
    return (*lines, *(f"{name}: {volume:.1f} mL." for name, volume in volumes.items()))
