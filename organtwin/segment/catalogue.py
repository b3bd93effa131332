"""The recipes by name, and `segment`, which runs one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Several
from dataclasses import dataclass

from organtwin import __version__
from organtwin.errors import InputError, OrgantwinError, suggestion
from organtwin.image.volume import Image, Sequence
from organtwin.segment import bone, heart_ct
from organtwin.segment.morphology import Mask
from organtwin.segment.outside import Wanted, engine_name, module, regions
from organtwin.segment.recipe import ENGINES, Draft, Options, Segmented, painted

type Run = Callable[[Image, Options, Mapping[str, Mask] | None], Draft]

_VERTEBRAE = tuple(
    f"vertebrae_{part}{n}" for part, count in (("C", 7), ("T", 12), ("L", 5))
    for n in range(1, count + 1)
)  # fmt: skip
_PAIRED = ("humerus", "scapula", "clavicula", "femur", "hip")
_BONES = (
    *_VERTEBRAE, "vertebrae_S1", "sacrum", "sternum", "skull",
    *(f"rib_{side}_{n}" for side in ("left", "right") for n in range(1, 13)),
    *(f"{name}_{side}" for name in _PAIRED for side in ("left", "right")),
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """A recipe of the catalogue.

    Attributes:
        about: What it does, in one sentence.
        needs: The scan that it needs.
        run: Does it; None for `lv_cine_mr`, which takes several scans.
        wholes: Structure → labels that it is divided into.
        wanted: What another program can find for it.
    """

    about: str
    needs: str
    run: Run | None
    wholes: Mapping[str, tuple[str, ...]]
    wanted: Wanted | None


RECIPES: Mapping[str, Recipe] = {
    "heart_and_aorta_ct": Recipe(
        about="Blood in the chambers and the pulmonary artery; root, ascending aorta, arch, "
        "descending aorta; false lumen.",
        needs="CT of the chest with contrast, 3 mm or finer",
        run=heart_ct.heart_and_aorta_ct,
        wholes=heart_ct.WHOLES,
        wanted=Wanted(
            ("heart", "aorta"),
            {
                "aorta": ("aorta",),
                "heart": ("heart", "heart_*"),
                "lv_blood": ("heart_ventricle_left",),
                "rv_blood": ("heart_ventricle_right",),
                "la_blood": ("heart_atrium_left",),
                "ra_blood": ("heart_atrium_right",),
                "pulmonary_artery": ("pulmonary_artery",),
            },
        ),
    ),
    "bone_ct": Recipe(
        about="Cortical bone, trabecular bone with marrow, metal.",
        needs="CT with little contrast",
        run=bone.bone_ct,
        wholes=bone.WHOLES,
        wanted=Wanted(_BONES, {"bone": _BONES}),
    ),
    "lv_cine_mr": Recipe(
        about="Blood of the left ventricle at all phases, with volumes and ejection fraction.",
        needs="cine MR: short-axis slices, and long-axis ones if there are any",
        run=None,
        wholes={},
        wanted=None,
    ),
}


def recipes() -> tuple[str, ...]:
    """Names of the recipes."""
    return tuple(RECIPES)


def segment(
    image: Image | Sequence | Several[Sequence], recipe: str, options: Options | None = None
) -> Segmented:
    """Segment a scan by a recipe.

    With the engine ``auto`` another program is used where it is installed (for MONAI: where a
    bundle is given, too); if it fails, organtwin does the work itself, and says so.

    Args:
        image: Scan; for `lv_cine_mr` the cine sequences.
        recipe: One of `recipes`.
        options: Engine, threshold, device.

    Raises:
        InputError: unknown recipe or engine, another kind of scan, or the organ wasn't found.
        SetupError: the engine asked for isn't installed.
    """
    chosen = options or Options()
    if recipe not in RECIPES:
        raise InputError("segment", f"no recipe `{recipe}`.", suggestion(recipe, RECIPES))
    if chosen.engine not in ENGINES:
        remedy = suggestion(chosen.engine, ENGINES)
        raise InputError("segment", f"no engine `{chosen.engine}`.", remedy)
    entry = RECIPES[recipe]
    if entry.run is None or entry.wanted is None:
        return _cine(image, recipe, chosen)
    if not isinstance(image, Image):
        raise InputError(
            recipe, f"needs one {entry.needs}; this is a sequence.", "Choose one of its phases."
        )
    engine, given, notes = _regions(image, entry.wanted, chosen)
    draft = entry.run(image, chosen, given)
    return Segmented(
        labels=painted(draft, image.grid),
        recipe=recipe,
        engine=engine,
        decisions=(*notes, *draft.decisions),
        thresholds=draft.thresholds,
        seeds=draft.seeds,
        wholes=entry.wholes,
    )


def _regions(
    image: Image, wanted: Wanted, options: Options
) -> tuple[str, dict[str, Mask] | None, tuple[str, ...]]:
    """The engine's name, what it found, and what there is to say about the choice."""
    own = f"organtwin {__version__}"
    if options.engine == "own":
        return own, None, ()
    if options.engine != "auto":
        found = regions(image, options.engine, wanted, options)
        return _together(options.engine, found, own)
    usable = ["totalsegmentator"] + (["monai"] if options.bundle else [])
    failed: tuple[str, ...] = ()
    for engine in usable:
        if module(engine) is None:
            continue
        try:
            return _together(engine, regions(image, engine, wanted, options), own)
        except (OrgantwinError, RuntimeError, ValueError, OSError) as error:
            failed += (f"{engine_name(engine)} failed ({error}); organtwin did the work.",)
    return own, None, failed


def _together(
    engine: str, found: dict[str, Mask], own: str
) -> tuple[str, dict[str, Mask], tuple[str, ...]]:
    name = engine_name(engine)
    return f"{name} with {own}", found, (f"{name} found {', '.join(found)}; {own} the rest.",)


def _cine(image: Image | Sequence | Several[Sequence], recipe: str, options: Options) -> Segmented:
    """The ventricle at the end of diastole, and all phases with it."""
    if options.engine not in ("auto", "own"):
        raise InputError(recipe, f"`{options.engine}` can't do it.", "Choose the engine `own`.")
    if isinstance(image, Image):
        raise InputError(recipe, "needs a cine, this is a single image.", "Give its sequences.")
    from organtwin.segment.cine import segment_cine
    from organtwin.segment.cine_reading import short_and_long

    short, long = short_and_long([image] if isinstance(image, Sequence) else list(image))
    found = segment_cine(short, long)
    volumes = ", ".join(
        f"{volume:.1f} at {time:.0f} ms"
        for time, volume in zip(found.times, found.volumes, strict=True)
    )
    measures = (
        f"End-diastolic volume {found.edv:.1f} mL, end-systolic {found.esv:.1f} mL, ejection "
        f"fraction {100 * found.ejection_fraction:.0f} %; confidence {found.confidence:.2f}."
    )
    return Segmented(
        labels=found.labels(found.end_diastole),
        recipe=recipe,
        engine=f"organtwin {__version__}",
        decisions=(
            *found.decisions,
            measures,
            f"Volume of the left ventricle (mL): {volumes}.",
        ),
        thresholds={},
        seeds={},
        phase=found.end_diastole,
        cine=found,
    )
