"""Damaged files are read or refused by a message of ours: nothing crashes, nothing grows.

The figures of docs/security.md are those of ``python -m tests.fuzzing 200 FOLDER``.
"""

import pytest

from tests.fuzzed_readers import APART, TARGETS
from tests.fuzzing import fuzzed, glanced

FEW, MANY = 3, 1500
#: Readers in the process itself, which take milliseconds; the others fork for each file.
QUICK = {name: target for name, target in TARGETS.items() if name not in APART}


def test_damaged_files_are_read_or_refused(tmp_path):
    found = glanced(QUICK, FEW, tmp_path)
    assert {name for name, record in found.items() if record["bugs"]} == set(), found
    assert all(record["count"]["inputs"] >= FEW for record in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_many_damaged_files_are_read_or_refused(name, tmp_path):
    found = fuzzed(TARGETS[name], MANY, tmp_path)
    assert found["count"]["inputs"] >= MANY
    assert not found["bugs"], found["bugs"]
