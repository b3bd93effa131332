"""Measures of a root as a JSON file, with units, intervals and definitions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from organtwin.aortic_root.calcium import RULES
from organtwin.aortic_root.measurements import RootMeasures
from organtwin.aortic_root.sizing import DeviceSize


def as_record(found: RootMeasures, devices: Sequence[DeviceSize] = ()) -> dict[str, Any]:
    """All measures as numbers and sentences.

    Args:
        found: The measures.
        devices: Sizes whose oversizing is told.
    """
    record: dict[str, Any] = {
        "measures": {
            name: {"value": one.value, "interval": [one.low, one.high], "unit": one.unit,
                   "definition": one.about}
            for name, one in found.quantities.items()
        },
        "landmarks": {
            one.name: {"source": one.source, "confidence": one.confidence.value}
            for one in found.landmarks
        },
        "notes": list(found.notes),
    }  # fmt: skip
    if found.calcium is not None:
        lime = found.calcium
        record["calcium"] = {
            "threshold HU": lime.threshold,
            "rule": f"{lime.rule}: {RULES[lime.rule]}",
            "blood HU": lime.blood.mean,
            "standard deviation of the blood HU": lime.blood.spread,
            "lesions": lime.lesions,
            "regions": {
                f"{cusp} {part}": {
                    "volume mm³": score.volume, "interval mm³": [score.low, score.high],
                    "volume corrected for blur mm³": score.corrected,
                    "Agatston-like score": score.agatston,
                }
                for (cusp, part), score in lime.regions.items()
            },
        }  # fmt: skip
    record["oversizing"] = {
        one.device.name: {
            "by area %": one.by_area, "by area, interval %": list(one.by_area_range),
            "by perimeter %": one.by_perimeter,
            "by perimeter, interval %": list(one.by_perimeter_range), "fits": one.fits,
        }
        for one in found.sizes(devices)
    }  # fmt: skip
    return record


def write_measures(
    found: RootMeasures, path: str | Path, devices: Sequence[DeviceSize] = ()
) -> Path:
    """Write `as_record` to a JSON file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_record(found, devices), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path
