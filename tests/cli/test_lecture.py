"""The lecture's page: its commands exist, its slots are filled, its claims are true of its numbers."""

import json
import re
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from lecture_page.numbers import broken, holds, rendered, slots  # noqa: E402
from lecture_page.questions import QUESTIONS  # noqa: E402

TEMPLATES = {
    page: ROOT / "scripts" / "lecture_page" / page.replace(".md", ".en.md") for page in ("lecture.md",)
}
TEMPLATES["lecture.es.md"] = ROOT / "scripts" / "lecture_page" / "lecture.es.md"
NUMBERS = json.loads((ROOT / "docs" / "lecture_numbers.json").read_text())
NAMES = [question.name for question in QUESTIONS]


@pytest.mark.parametrize("page", TEMPLATES)
def test_the_page_is_its_template_with_the_numbers(page):
    assert (ROOT / "docs" / page).read_text() == rendered(TEMPLATES[page].read_text(), NUMBERS)


@pytest.mark.parametrize("page", TEMPLATES)
def test_every_question_has_a_command_a_picture_and_a_number(page):
    text, template = (ROOT / "docs" / page).read_text(), TEMPLATES[page].read_text()
    for question in QUESTIONS:
        assert all(command in text for command in question.commands)
        assert f"(images/lecture/{question.name}.png)" in text
        assert (ROOT / "docs" / "images" / "lecture" / f"{question.name}.png").stat().st_size < 150_000
        assert any(
            slot.startswith(f"{question.name}/") and "/" in slot.partition("/")[2] for slot in slots(template)
        )
    assert "{{" not in text


def test_both_pages_show_the_same_numbers():
    first, second = (slots(template.read_text()) for template in TEMPLATES.values())
    assert first == second


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
        rendered("{{holes/ae/hole_rat:.2f}}", NUMBERS)


def test_every_experiment_of_the_lecture_is_a_question():
    files = {file.stem for file in (ROOT / "conf" / "experiment" / "lecture").glob("*.yaml")}
    assert files == set(NAMES)


@pytest.mark.parametrize("question", QUESTIONS, ids=NAMES)
def test_its_commands_compose_and_sweep_over_its_runs(question):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [f"experiment=lecture/{question.name}"], return_hydra_config=True)
        assert cfg.sweep.name == f"lecture-{question.name}"
        swept = [str(values).split(",") for values in cfg.hydra.sweeper.params.values()]
        runs = [""]
        for values in swept:
            runs = [f"{run}-{value.strip()}".strip("-") for run in runs for value in values]
        assert tuple(runs) == question.runs
        if question.evaluation:
            evaluations = compose("evaluate", [f"eval=lecture/{question.evaluation}"]).eval
            assert all("_target_" in node for node in evaluations.values())


def test_the_makefile_runs_it():
    assert re.search(r"^lecture:.*\n\t.*scripts/lecture.py$", (ROOT / "Makefile").read_text(), re.MULTILINE)
