import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.image.editing import kept, merged
from organtwin.image.volume import LabelMap

VALUES = np.array([0, 1, 2, 5, 5, 9], np.uint8).reshape(6, 1, 1)
LABELS = LabelMap(
    VALUES, {"left": 1, "right": 2, "spleen": 5, "liver": 9}, np.ones(3), np.zeros(3), np.eye(3)
)


def test_merged_labels_share_an_integer() -> None:
    found = merged(LABELS, {"kidneys": ("left", "right")}, "[labels] merge")
    assert found.values.ravel().tolist() == [0, 1, 1, 5, 5, 9]
    assert found.names == {"kidneys": 1, "spleen": 5, "liver": 9}


def test_a_label_may_give_its_name_to_the_group() -> None:
    found = merged(LABELS, {"liver": ("liver", "spleen")}, "[labels] merge")
    assert found.volume_ml("liver") == pytest.approx(0.003)


def test_labels_that_are_not_kept_become_background() -> None:
    found = kept(LABELS, ("liver", "left"), "[labels] keep")
    assert found.values.ravel().tolist() == [0, 1, 0, 0, 0, 9]
    assert set(found.names) == {"left", "liver"}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"x": ("lft",)}, "no label `lft`. Did you mean `left`"),
        ({"x": ("left",), "y": ("left",)}, "another group has it"),
        ({"liver": ("left",)}, "there is a label `liver` already"),
    ],
)
def test_impossible_groups_are_refused(groups: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        merged(LABELS, groups, "[labels] merge")


def test_unknown_labels_are_refused() -> None:
    with pytest.raises(InputError, match=r"no label `livr`\. Did you mean `liver`"):
        kept(LABELS, ("livr",), "[labels] keep")
