"""CSV tables are read whole, cut short or not at all."""

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.export.tables import read_table


def test_columns_by_header(tmp_path):
    path = tmp_path / "scalars.csv"
    path.write_text("t [ms],V_lv [mL]\n0,120.5\n2,119.25\n", encoding="utf-8")
    table = read_table(path)
    assert list(table) == ["t [ms]", "V_lv [mL]"]
    np.testing.assert_array_equal(table["V_lv [mL]"], [120.5, 119.25])


def test_a_row_cut_short_is_left_out(tmp_path):
    path = tmp_path / "scalars.csv"
    path.write_text("t [ms],p [mmHg]\n0,1\n2,3\n4,5", encoding="utf-8")
    np.testing.assert_array_equal(read_table(path)["t [ms]"], [0.0, 2.0])


def test_what_is_no_table_is_named(tmp_path):
    with pytest.raises(InputError, match="no such table"):
        read_table(tmp_path / "b.csv")
    bad = {"": "empty", "a,b\n1,x\n": "not a table", "a,b\n1\n": "not a table"}
    for text, problem in bad.items():
        (tmp_path / "c.csv").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=problem):
            read_table(tmp_path / "c.csv")
