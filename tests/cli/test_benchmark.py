"""The benchmark trains every contender and prints a ratio for each."""

import re
import runpy
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "benchmark.py"
CONTENDERS = ["vaelab", "vaelab, whole fit", "bare loop, Adam not fused", "plain LightningModule"]


@pytest.mark.slow
def test_the_benchmark_prints_a_ratio_for_each_contender(tmp_path):
    options = ["--networks=small", "--rounds=1", "--images=256", "--epochs=2", "--threads=1", "--peers"]
    command = [sys.executable, str(SCRIPT), *options, f"--plot={tmp_path / 'ratios.png'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    for name in CONTENDERS:
        [line] = re.findall(rf"^{re.escape(name)} +([\d. ]+)$", done.stdout, re.MULTILINE)
        least, median, most = map(float, line.split())
        assert 0 < least == median == most
    with Image.open(tmp_path / "ratios.png") as picture:
        assert picture.width > picture.height > 100


@pytest.mark.exhaustive
@pytest.mark.slow
def test_each_of_the_processes_ends_well(tmp_path):
    options = Namespace(batch=128, fit_epochs=1, peers=False)
    commands = runpy.run_path(str(SCRIPT))["processes"](options)
    for what in ("one step, bare", "one step, vaelab, plain"):
        outputs = [f"paths.outputs={tmp_path}"] if "vaelab" in what else []
        command = [sys.executable, *commands[what], *outputs]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    [record] = tmp_path.glob("runs/*/results.json")
    assert '"train/steps": 1,' in record.read_text()


def test_the_processes_make_eight_fits_of_the_same_epochs():
    options = Namespace(batch=32, fit_epochs=5, peers=True)
    commands = runpy.run_path(str(SCRIPT))["processes"](options)
    fits = {name: command for name, command in commands.items() if name.startswith("eight")}
    assert {name.removeprefix("eight fits, ") for name in fits} >= {"bare", "lightning", "vaelab"}
    for command in fits.values():
        if "-m" in command:
            [betas] = [part for part in command if part.startswith("model.beta=")]
            assert len(betas.split(",")) == 8
            assert {"trainer.max_epochs=5", "data.batch_size=32", "network.hidden=[64]"} <= set(command)
        else:
            assert {"--epochs=5", "--fits=8", "--batch=32"} <= set(command)
