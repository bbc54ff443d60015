import math

import pytest

from vaelab.cli.tables import cell, text_table


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (3, "3"), (3.0, "3.00"), (-101.256, "-101.26"), ("beta", "beta"), (math.nan, "")],
)
def test_cells(value, text):
    assert cell(value) == text


def test_digits_can_be_set():
    assert cell(0.12345, digits=4) == "0.1235"


def test_columns_are_aligned_to_the_right():
    table = text_table(["beta", "rate"], [[0.5, 101.25], [16, None]])
    assert table == "\n".join(
        [
            "beta    rate",
            "----  ------",
            "0.50  101.25",
            "  16        ",
        ]
    )


def test_a_table_may_have_no_rows():
    assert text_table(["beta", "rate"], []) == "beta  rate\n----  ----"


def test_a_row_of_another_length_is_refused():
    with pytest.raises((ValueError, IndexError)):
        text_table(["beta", "rate"], [[1, 2, 3]])
