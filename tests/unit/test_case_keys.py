"""Every key of every case file, with a value that it can't have: told with file, key and remedy."""

import datetime
from typing import Any, get_args, get_type_hints

import pytest
import tomli_w
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel

from organtwin.case import load
from organtwin.case.load import CaseError
from organtwin.case.quantities import Unit, marks

#: Schema of a case file → what reads it; whatever is added to the module is tested too.
LOADERS = {
    get_type_hints(reader)["return"]: reader
    for name, reader in vars(load).items()
    if name.startswith("load_") and name.endswith("case")
}
#: TOML knows times of the day, and no key of a case file takes one.
TIME = datetime.time(7, 32)


def sections(annotation: Any) -> tuple[list[type[BaseModel]], str]:
    """Sections that a key may hold, and whether it holds one, a list or names of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation], "one"
    arguments = get_args(annotation)
    found = [kind for one in arguments for kind in sections(one)[0]]
    origin = getattr(annotation, "__origin__", None)
    inner = next((sections(one)[1] for one in arguments if sections(one)[0]), "one")
    if origin in (list, tuple):
        return found, "list"
    if isinstance(origin, type) and hasattr(origin, "keys"):
        return found, "names"
    return found, inner


def within(value: Any, shape: str) -> Any:
    return {"one": value, "list": [value], "names": {"one": value}}[shape]


def tags(model: type[BaseModel]) -> dict[str, Any]:
    """What chooses this member of a union: `law = "guccione"`."""
    return {
        name: get_args(field.annotation)[0]
        for name, field in model.model_fields.items()
        if len(get_args(field.annotation)) == 1 and isinstance(get_args(field.annotation)[0], str)
    }


def keys(model: type[BaseModel], place=(), depth=0):
    """Path of every key, and a function that puts a value there."""
    for name, field in model.model_fields.items():
        name = field.alias or name
        yield (*place, name), field, lambda value, name=name: {name: value}
        kinds, shape = sections(field.annotation)
        for kind in kinds if depth < 6 else []:
            chosen = tags(kind) if len(kinds) > 1 else {}
            for path, inner, put in keys(kind, (*place, name), depth + 1):
                yield (
                    path,
                    inner,
                    lambda value, put=put, name=name, chosen=chosen, shape=shape: {
                        name: within({**chosen, **put(value)}, shape)
                    },
                )


def wrong_values(field):
    """A time, and where numbers have bounds what lies beyond, in the unit of the key."""
    yield TIME
    unit = next((mark for mark in marks(field) if isinstance(mark, Unit)), None)
    for mark in marks(field):
        bound = {Ge: -1, Gt: 0, Le: 1, Lt: 0}.get(type(mark))
        if bound is None:
            continue
        limit = next(getattr(mark, n) for n in ("ge", "gt", "le", "lt") if hasattr(mark, n))
        if isinstance(limit, int | float):
            beyond = limit + bound * max(1, abs(limit))
            yield unit.text(beyond) if unit else beyond


def test_all_kinds_of_case_files_are_here():
    names = {schema.__name__ for schema in LOADERS}
    assert names >= {"Case", "OrganCase", "CalibrationCase", "TavrCase", "RehearsalCase"}
    assert all(len([*keys(schema)]) > 10 for schema in LOADERS)


@pytest.mark.parametrize("schema", LOADERS, ids=lambda schema: schema.__name__)
def test_wrong_values_are_told_with_file_key_and_remedy(tmp_path, schema):
    """All at once: a test for each of a thousand would spend its time on pytest."""
    file, wrong = tmp_path / "case.toml", []
    for path, field, put in keys(schema):
        for value in wrong_values(field):
            file.write_text(tomli_w.dumps(put(value)))
            key = f"{'.'.join(path)} = {value}"
            try:
                LOADERS[schema](file)
                wrong.append(f"{key}: accepted")
            except CaseError as error:
                told = [text for text in error.problems if is_about(text, path)]
                if not any(shows(text, value) for text in told):
                    wrong.append(f"{key}: {told or error}")
    assert not wrong, "\n".join(wrong)


def is_about(text, path):
    """Whether a sentence names file, section and key; what chooses a law stands in the problem."""
    place, _, problem = text.partition(": ")
    key, *above = path[::-1]
    named = key in place.replace(",", "").split() or f".{key}]" in place or f"[{key}]" in place
    chosen = problem.startswith(f"unknown {key} ")
    placed = place.startswith("case.toml") and all(name in place for name in above)
    return placed and (named or chosen)


REMEDIES = (
    "it must be", "Known: ", "Did you mean", "Write for example", " is needed", "It is: ",
    "write [[", "give ", "Give ", "is not a whole number",
)  # fmt: skip


def shows(text, value):
    """Whether a sentence cites the value and says what would be right."""
    cited = str(value) in text or repr(value) in text
    return cited and any(remedy in text for remedy in REMEDIES)
