"""What the documentation shows is what runs: the files of its examples, and links between its pages."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_runner import small, trained

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]


@pytest.fixture
def examples(tmp_path: Path) -> Iterator[Path]:
    """A folder with every file that docs/extend.md shows."""
    text = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
    for block in re.findall(r"```\w+\n(# [\w/.]+\.(?:py|yaml).*?)```", text, re.DOTALL):
        file = tmp_path / re.match(r"# ([\w/.]+)", block)[1]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block, encoding="utf-8")
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "mypackage"]:
        del sys.modules[name]


def test_a_variant_of_ones_own(examples, plain_table):
    result = trained(examples / "out", "--config-dir", str(examples / "my"), "-m", "model=half_beta,vae")
    assert [record["variant"] for record in result.records.values()] == ["half_beta", "vae"]
    half = next(iter(result.records.values()))
    assert (half["beta"], half["latent_dim"]) == (0.5, 4)


def test_a_term_of_ones_own(examples):
    result = trained(examples / "out", "--config-dir", "my", "model=penalised", cwd=examples)
    assert result.record["metrics"]["train/pull"] > 0


def test_a_term_is_found_beside_its_options_from_anywhere(examples):
    result = trained(examples / "out", "--config-dir", str(examples / "my"), "model=penalised")
    assert result.record["metrics"]["train/pull"] > 0


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("from vaelab.models import Terms", "cannot import name 'Terms' from 'vaelab.models'"),
        ("import nonexistent", "No module named 'nonexistent'"),
        ("def f(:", "SyntaxError: "),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("class MeanPenality: pass", "has no name 'MeanPenalty'. Did you mean 'MeanPenality'?"),
        ("MeanPenalty = 3", "it is of type int, not a class or a function."),
        ("class MeanPenalty:\n def __init__(self, weight): {}['a']", "KeyError: 'a'"),
        ("class MeanPenalty:\n def __init__(self, weight): raise ValueError('see:\\nhere')", "see: here"),
    ],
)
def test_a_term_that_fails_says_why_in_one_line(examples, code, message):
    (examples / "mypackage" / "terms.py").write_text(code)
    result = small(examples / "out", "--config-dir", "my", "model=penalised", cwd=examples)
    assert (result.code, len(result.err.splitlines())) == (2, 1), result.err
    assert result.err.startswith("vaelab-train: model.objective.pull")
    assert message in result.err


def test_a_metric_of_ones_own(examples):
    metric = "+metrics.mean_norm={_target_: mypackage.metrics.MeanNorm}"
    metrics = trained(examples / "out", "model=vae", metric, cwd=examples).record["metrics"]
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
