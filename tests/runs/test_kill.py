"""A sweep that is killed again and again ends as one that was left alone; scripts/kill_test.py does it."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "kill_test.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_sweep_ends_as_an_undisturbed_one(tmp_path):
    command = [
        sys.executable,
        SCRIPT,
        "--kills",
        "2",
        "--longest",
        "2",
        "--folder",
        tmp_path / "kills",
        "seed=0",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No job was trained twice" in done.stdout
