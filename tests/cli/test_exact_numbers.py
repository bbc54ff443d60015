"""scripts/checks.py, which compares what runs report with what is known exactly."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from checks import Bracket, Estimate, judged  # noqa: E402


def estimates(*z: float) -> list[Estimate]:
    """Estimates of 5 that are so many standard errors too high."""
    return [Estimate("test/rate", 5.0, 5.0 + 0.1 * each, 0.1) for each in z]


NORMAL = np.linspace(-2, 2, 20)


@pytest.mark.parametrize(
    ("numbers", "check"),
    [
        (estimates(*NORMAL), "ok"),
        (estimates(*NORMAL[1:], 3.5), "ok"),  # one of 20 is beyond three errors with probability 0.05
        (estimates(*NORMAL[2:], 3.5, -3.5), "FAILED"),
        (estimates(*(NORMAL + 1)), "FAILED"),  # none is beyond three errors, but all together are too high
        (estimates(*NORMAL[1:], np.nan), "FAILED"),
        ([Bracket("test/aggregate_kl", 0.0, 0.0, 0.1, 0.0)] * 2, "ok"),
        ([Bracket("test/aggregate_kl", 0.0, 0.01, 0.1, 0.005)] * 2, "ok"),  # the truth's own error
        ([Bracket("test/aggregate_kl", 0.0, 0.02, 0.1, 0.005)] * 2, "FAILED"),
        ([Bracket("test/aggregate_kl", 0.2, 0.0, 0.1, 0.005)] * 2, "FAILED"),
        ([Bracket("test/aggregate_kl", 0.0, np.nan, np.nan, 0.0)] * 2, "FAILED"),
    ],
)
def test_what_is_wrong_fails(numbers, check):
    assert judged(numbers[0].quantity, numbers)[-1] == check


@pytest.mark.slow
def test_linear_vaes_report_their_exact_numbers(tmp_path):
    command = [
        sys.executable,
        SCRIPTS / "checks.py",
        "--seeds",
        "2",
        "--only",
        "estimates",
        "--folder",
        tmp_path,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("2 linear VAEs on Gaussian images") == 2
    assert "All checks hold." in done.stdout
