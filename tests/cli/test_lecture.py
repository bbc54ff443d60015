"""The lecture's page: its commands exist, its slots are filled, its claims are true of its numbers."""

import json
import sys
from pathlib import Path

import pytest

from vaelab.cli.compose import composed

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from lecture_page.numbers import SLOT, broken, holds, rendered  # noqa: E402
from lecture_page.questions import QUESTIONS  # noqa: E402

TEMPLATES = {
    "lecture.md": ROOT / "scripts/lecture_page/lecture.en.md",
    "lecture.es.md": ROOT / "scripts/lecture_page/lecture.es.md",
}
NUMBERS = json.loads((ROOT / "docs/lecture_numbers.json").read_text())
NAMES = [question.name for question in QUESTIONS]


@pytest.mark.parametrize("page", TEMPLATES)
def test_the_page_is_its_template_with_the_numbers(page):
    text = (ROOT / "docs" / page).read_text()
    assert text == rendered(TEMPLATES[page].read_text(), NUMBERS)
    for name in NAMES:
        assert f"(images/lecture/{name}.png)" in text
        assert (ROOT / "docs/images/lecture" / f"{name}.png").stat().st_size < 150_000


def test_both_pages_show_the_same_numbers():
    english, spanish = (set(SLOT.findall(template.read_text())) for template in TEMPLATES.values())
    assert english == spanish


def test_what_the_page_says_is_true_of_its_numbers():
    assert broken(NUMBERS) == []
    assert all(question.claims for question in QUESTIONS)


def test_a_claim_can_fail():
    numbers = {"a": {"x": 1.0}, "b": {"x": 2.0}, "c": {"x": None}}
    assert holds(("b/x", "a/x"), numbers)
    assert not holds(("a/x", "b/x"), numbers)
    assert not holds(("b/x", "3 * a/x"), numbers)
    assert not holds(("b/x", "c/x"), numbers)  # undefined


def test_a_slot_without_a_number_is_an_error():
    with pytest.raises(KeyError):
        rendered("{{holes/ae/hole_rat}}", NUMBERS)


def test_every_experiment_of_the_lecture_is_a_question():
    files = {file.stem for file in (ROOT / "conf/experiment/lecture").glob("[!_]*.yaml")}
    assert files == set(NAMES)


@pytest.mark.parametrize("question", QUESTIONS, ids=NAMES)
def test_its_command_sweeps_over_its_runs(question):
    cfg = composed("train", [f"experiment=lecture/{question.name}"], with_hydra=True)
    assert cfg.sweep.name == f"lecture-{question.name}"
    runs = [""]
    for key, values in cfg.hydra.sweeper.params.items():
        if key == "seed":  # a run's name stands for all of its seeds
            continue
        runs = [f"{run}-{value.strip()}".strip("-") for run in runs for value in str(values).split(",")]
    assert tuple(runs) == question.runs
