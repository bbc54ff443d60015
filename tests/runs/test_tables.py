"""Tables as text: aligned and whole wherever they are printed, coloured on a terminal alone."""

import math

import pytest

from cli_runner import Terminal
from vaelab.runs.tables import cell, text_table


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (3, "3"), (3.0, "3.00"), (-101.256, "-101.26"), ("a\nb", "a b"), (math.nan, "")],
)
def test_cells(value, text):
    assert cell(value) == text


def test_numbers_are_aligned_to_the_right_and_words_to_the_left():
    rows = [[0.5, "-25.02 ±0.31", "mlp"], [16, None, "conv [400]"], [16, "-5 (n=2)", None]]
    assert text_table(["beta", "ELBO", "network"], rows).splitlines() == [
        "beta          ELBO  network",
        "----- ------------- ----------",
        "0.50  -25.02 ±0.31  mlp",
        "  16                conv [400]",
        "  16      -5 (n=2)",
    ]


def test_a_table_may_have_no_rows():
    assert text_table(["beta", "rate"], []).split() == ["beta", "rate", "-----", "----"]


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="longer"):
        text_table(["beta", "rate"], [[1, 2, 3]])


ROWS = [["x" * 300, "2 healthy, 1 collapsed"]]


def test_nothing_is_cut_and_nothing_is_coloured_without_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert text_table(["network", "verdict"], ROWS).splitlines()[-1] == "  ".join(ROWS[0])


def test_verdicts_are_coloured_on_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    last = text_table(["network", "verdict"], ROWS).splitlines()[-1]
    assert last == f"{'x' * 300}  2 \x1b[32mhealthy\x1b[0m, 1 \x1b[1;31mcollapsed\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in text_table(["network", "verdict"], ROWS)
