"""The lecture's page: its commands exist, its slots are filled, its claims are true of its numbers."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vaelab.cli.compose import composed

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from lecture_page.comparisons import COMPARISONS  # noqa: E402
from lecture_page.numbers import SLOT, broken, holds, rendered, shown_cell  # noqa: E402
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
    assert holds(("a/x + 2 * b/x", "4.9"), numbers)
    assert not holds(("a/x + 2 * b/x", "5.1"), numbers)


def test_numbers_are_shown_with_their_errors():
    values = {
        "elbo": -24.5123,
        "elbo_se": 0.1417,
        "gap": 7.04,
        "gap_half": 0.5,
        "kl_low": 0.0,
        "kl_high": 88.3,
    }
    assert shown_cell(values, "elbo") == "−24.51 (0.14)"
    assert shown_cell(values, "gap") == "7.04 ± 0.50"
    assert shown_cell(values, "kl_range") == "[0, 88.3]"


def fake_run(tmp_path, beta, rate, distortion, constant):
    folder = tmp_path / str(beta)
    folder.mkdir()
    arrays = {"rate": rate, "distortion": distortion, "constant_distortion": constant}
    np.savez(folder / "per_image.npz", position=np.arange(len(rate)),
             **{name: np.float32(values) for name, values in arrays.items()})  # fmt: skip
    return SimpleNamespace(folder=folder, record={"config": {"model": {"beta": beta}}})


def test_each_beta_is_compared_at_its_own_objective_and_with_a_constant_image(tmp_path):
    """Costs at beta 1: 5, 6, and 9, 8 (means 5.5, 8.5); at beta 3: 9, 10, and 9, 8 (means 9.5, 8.5)."""
    runs = {
        "1": [fake_run(tmp_path, 1.0, [2, 2], [3, 4], [7, 9])],
        "3": [fake_run(tmp_path, 3.0, [0, 0], [9, 8], [7, 9])],
    }
    found = COMPARISONS["betas"](runs)
    assert found["1"]["own_lead"] == pytest.approx(3.0)
    assert found["1"]["own_lead_se"] == pytest.approx(1.0)  # of 4 and 2: sd √2, over √2
    assert found["3"]["own_lead"] == pytest.approx(1.0)
    assert found["1"]["elbo_below_best"] == 0
    assert found["3"]["elbo_below_best"] == pytest.approx(3.0)
    above = COMPARISONS["constant"](runs)
    assert above["1"]["above_constant"] == pytest.approx(-2.5)  # of -2 and -3
    assert above["3"]["above_constant"] == pytest.approx(0.5)  # of 2 and -1
    assert above["3"]["above_constant_se"] == pytest.approx(1.5)


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
