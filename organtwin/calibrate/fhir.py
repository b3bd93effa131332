"""Observations from HL7 FHIR: an Observation, or a Bundle of them, as JSON."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from organtwin.calibrate.observations import Observation, Observations
from organtwin.calibrate.quantities import BY_LOINC, Quantity
from organtwin.errors import InputError
from organtwin.units import quantity

logger = logging.getLogger(__name__)

LOINC = "http://loinc.org"
#: States of an observation that can be relied on.
_FINAL = ("final", "amended", "corrected")
#: Units of UCUM that pint writes otherwise.
_UCUM = {"mm[Hg]": "mmHg", "/min": "1/min", "{beats}/min": "1/min", "{Beats}/min": "1/min"}


class _Element(BaseModel):
    """A part of a resource, of which only what is needed here is looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Coding(_Element):
    system: str = ""
    code: str = ""


class _Concept(_Element):
    coding: tuple[_Coding, ...] = ()


class _Value(_Element):
    value: float
    unit: str = ""
    code: str = ""


class _Component(_Element):
    code: _Concept
    valueQuantity: _Value | None = None


class _Observation(_Component):
    resourceType: Literal["Observation"]
    status: str
    id: str = ""
    effectiveDateTime: str = ""
    component: tuple[_Component, ...] = ()


def read_fhir(path: str | Path, relative_error: float) -> Observations:
    """Observations of a FHIR file: those whose LOINC code is known.

    FHIR has no place for a standard error, so that is given. Of several observations of one
    quantity the latest counts. Observations that are not final are left out, and so are those of
    other codes; the log tells.

    Args:
        path: JSON file with a Bundle or an Observation.
        relative_error: Standard error of every value, relative to it, > 0.

    Raises:
        InputError: the file is no FHIR, a value has no or the wrong unit, or none is known.

    Source:
        HL7 FHIR R4, Observation: hl7.org/fhir/R4/observation.html; status, code, component,
        value[x]; units are UCUM.
    """
    file = Path(path)
    found: dict[str, tuple[str, Observation]] = {}
    for number, resource in _resources(_read(file), file):
        place = f"{file.name}, entry {number}"
        try:
            observation = _Observation.model_validate(resource)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise InputError(f"{place}, {where}", f"{first['msg']}.") from None
        if observation.status not in _FINAL:
            logger.warning("%s: its status is %s, left out.", place, observation.status)
            continue
        for one in _values(observation, place, relative_error):
            earlier = found.get(one.key)
            if earlier is None or earlier[0] <= observation.effectiveDateTime:
                found[one.key] = (observation.effectiveDateTime, one)
    if not found:
        raise InputError(
            str(file),
            "no final observation with a known LOINC code.",
            f"Known: {', '.join(f'{code} ({q.words})' for code, q in BY_LOINC.items())}.",
        )
    return Observations(tuple(observation for _, observation in found.values()))


def _read(file: Path) -> dict[str, Any]:
    import json

    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(str(file), f"can't be read as JSON ({error}).") from None
    if not isinstance(content, dict) or "resourceType" not in content:
        raise InputError(str(file), "no `resourceType`.", "Give a FHIR Bundle or Observation.")
    return content


def _resources(content: dict[str, Any], file: Path) -> Iterator[tuple[int, object]]:
    kind = content["resourceType"]
    if kind == "Observation":
        yield 1, content
        return
    if kind != "Bundle":
        raise InputError(str(file), f"a {kind}.", "Give a FHIR Bundle or Observation.")
    for number, entry in enumerate(content.get("entry", []), start=1):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict) and resource.get("resourceType") == "Observation":
            yield number, resource


def _values(observation: _Observation, place: str, error: float) -> Iterator[Observation]:
    for part in (observation, *observation.component):
        meant = _meant(part.code)
        if part.valueQuantity is None:
            continue
        if meant is None:
            codes = ", ".join(coding.code for coding in part.code.coding)
            logger.warning("%s: code %s is not known, left out.", place, codes or "none")
            continue
        unit = part.valueQuantity.code or part.valueQuantity.unit
        text = f"{part.valueQuantity.value!r} {_UCUM.get(unit, unit)}"
        value = quantity(text, meant.unit, f"{place}, valueQuantity ({meant.words})")
        yield Observation(meant.name, value, abs(value) * error, source=place)


def _meant(concept: _Concept) -> Quantity | None:
    codes = [coding.code for coding in concept.coding if coding.system == LOINC]
    return next((BY_LOINC[code] for code in codes if code in BY_LOINC), None)
