"""The benchmark trains every contender and prints a ratio for each."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "benchmark.py"
CONTENDERS = ["vaelab", "vaelab, whole fit", "bare loop, Adam not fused", "plain LightningModule"]


@pytest.mark.slow
def test_the_benchmark_prints_a_ratio_for_each_contender(tmp_path):
    options = ["--networks=small", "--rounds=1", "--images=256", "--epochs=2", "--threads=1", "--peers"]
    command = [sys.executable, str(SCRIPT), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    for name in CONTENDERS:
        [line] = re.findall(rf"^{re.escape(name)} +([\d. ]+)$", done.stdout, re.MULTILINE)
        least, median, most = map(float, line.split())
        assert 0 < least == median == most
