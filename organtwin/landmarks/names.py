"""Names that structures of the heart have in label maps: those of the recipes and others'."""

from __future__ import annotations

from organtwin.image.volume import LabelMap

#: Parts of the aorta that hold the blood of its true lumen, in the order of the flow.
AORTA = (
    "aorta", "aorta_true_lumen", "aortic_root", "ascending_aorta", "aorta_ascending", "aortic_arch",
    "aorta_arch", "descending_aorta", "aorta_descending",
)  # fmt: skip
#: Of these the parts that the left ventricle opens into.
OUTFLOW = ("aorta", "aorta_true_lumen", "aortic_root", "ascending_aorta", "aorta_ascending")
LEFT_ATRIUM = ("la_blood", "left_atrium", "heart_atrium_left")
RIGHT_ATRIUM = ("ra_blood", "right_atrium", "heart_atrium_right")
PULMONARY_ARTERY = ("pulmonary_artery", "pulmonary_trunk")


def labelled(labels: LabelMap, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some names that a label map has voxels of."""
    known = [name for name in names if name in labels.names]
    return tuple(name for name in known if labels.mask(name).any())
