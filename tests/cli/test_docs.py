"""What the documentation shows is what runs: the files of its examples, and links between its pages."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_runner import Result, small, trained

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with every file that docs/extend.md shows; Python finds its packages there."""
    text = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
    for block in re.findall(r"```\w+\n(# [\w/.]+\.(?:py|yaml).*?)```", text, re.DOTALL):
        file = tmp_path / re.match(r"# ([\w/.]+)", block)[1]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "mypackage"]:
        del sys.modules[name]


def test_a_variant_of_ones_own(examples, plain_table):
    result = trained(examples / "out", "--config-dir", str(examples / "my"), "-m", "model=half_beta,vae")
    assert [record["variant"] for record in result.records.values()] == ["half_beta", "vae"]
    half = next(iter(result.records.values()))
    assert (half["beta"], half["latent_dim"]) == (0.5, 4)


def test_a_term_of_ones_own(examples):
    result: Result = small(examples / "out", "--config-dir", str(examples / "my"), "model=penalised")
    assert result.code == 0, result.err
    assert result.record["metrics"]["train/pull"] > 0


def test_a_metric_of_ones_own(examples):
    metric = "+metrics.mean_norm={_target_: mypackage.metrics.MeanNorm}"
    metrics = trained(examples / "out", "model=vae", metric).record["metrics"]
    assert metrics["test/mean_norm"] > 0
    assert metrics["val/mean_norm"] > 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    made = {"reference"}  # by the docs build
    local = [t for t in targets if "://" not in t and t.partition("/")[0] not in made]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_the_readme_fits_a_few_screens():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
