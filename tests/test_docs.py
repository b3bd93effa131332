"""Examples of the documentation run as they stand, one after the other."""

import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.slow
@pytest.mark.parametrize("page", ["shapes.md"])
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text(encoding="utf-8")
    names = {}
    for example in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(compile(example, page, "exec"), names)
    assert (tmp_path / "slice.msh").is_file()


def test_the_page_of_verification_knows_every_problem_with_its_quantities():
    from organtwin.verify.problems import PROBLEMS

    known = json.loads((DOCS / "site/verification.json").read_text(encoding="utf-8"))
    assert list(known) == [problem.name for problem in PROBLEMS]
    assert [one["about"] for one in known.values()] == [problem.about for problem in PROBLEMS]
    for one in known.values():
        assert one["found"] is None or one["found"]["records"]
