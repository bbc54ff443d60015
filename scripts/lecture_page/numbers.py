"""Numbers from records, claims on them, and pages made of a template and the numbers."""

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from lecture_page.questions import QUESTIONS, Question
from vaelab.evaluation.trained_run import TrainedRun
from vaelab.functional.holes import matched_hole_rate
from vaelab.runs.find import sweep_records
from vaelab.runs.record import finite

Numbers = dict[str, dict[str, dict[str, Any]]]  # question -> run -> metric

DIGITS = 4  # significant ones that are kept
SLOT = re.compile(r"\{\{([^{}]+)\}\}")


def trained_runs(question: Question, outputs: Path) -> dict[str, TrainedRun]:
    """The finished runs of a question's sweep, by the swept value.

    Raises:
        SystemExit: one is missing.
    """
    found = {}
    for record in sweep_records(outputs / "sweeps" / f"lecture-{question.name}"):
        if record["status"] == "finished":
            key = "-".join(str(value) for value in record["swept"].values())
            found[key] = TrainedRun(record["folder"], record, outputs / "cache", quiet=True)
    missing = [run for run in question.runs if run not in found]
    if missing:
        raise SystemExit(f"lecture-{question.name} has no finished run {missing[0]}: {question.commands[0]}")
    return {run: found[run] for run in question.runs}


def gathered(question: Question, runs: Mapping[str, TrainedRun]) -> dict[str, dict[str, Any]]:
    """The question's metrics of its runs: of test images, or of an evaluation, or derived."""
    return {
        key: {metric: rounded(number(run, metric)) for metric in question.metrics}
        for key, run in runs.items()
    }


def number(run: TrainedRun, metric: str) -> Any:
    metrics = run.record["metrics"]
    if metric in DERIVED:
        return DERIVED[metric](run)
    for name in (f"test/{metric}", f"eval/{metric}"):
        if name in metrics:
            return metrics[name]
    raise SystemExit(f"{run.record['folder']} has no {metric}: was it evaluated?")


def hole_rate_fitted(run: TrainedRun) -> float:
    """The hole rate of draws from a Gaussian with the codes' mean and covariance, not from the prior."""
    return matched_hole_rate(run.codes("test").z).item()


def images_per_code(run: TrainedRun) -> float:
    """exp of H(n|z) = log N - I_q: of how many images a code may well be, between 1 and N."""
    metrics = run.record["metrics"]
    return float(metrics["test/aggregate_images"] * math.exp(-metrics["test/mutual_information"]))


def objective(run: TrainedRun) -> float:
    """Distortion + beta * rate, what a beta-VAE minimises, whatever the run itself was led by."""
    metrics, beta = run.record["metrics"], run.record["config"]["model"]["beta"]
    return float(metrics["test/distortion"] + beta * metrics["test/rate"])


DERIVED = {
    "objective": objective,
    "hole_rate_fitted": hole_rate_fitted,
    "images_per_code": images_per_code,
    "verdict": lambda run: run.record["verdict"]["label"],
}


def rounded(value: Any) -> Any:
    """To DIGITS significant digits; undefined is None."""
    if isinstance(value, str):
        return value
    value = finite(value)
    return value if value is None else float(f"{value:.{DIGITS}g}")


# claims


def value_of(term: str, numbers: Mapping[str, Mapping[str, Any]]) -> float:
    """``run/metric``, ``factor * run/metric`` or a plain number; NaN where it is undefined."""
    factor, star, name = term.partition(" * ")
    if not star:
        factor, name = "1", term
    run, slash, metric = name.partition("/")
    value = numbers[run][metric] if slash else float(name)
    return float(factor) * (math.nan if value is None else value)


def holds(claim: tuple[str, ...], numbers: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether each term exceeds the next."""
    values = [value_of(term, numbers) for term in claim]
    return all(left > right for left, right in pairwise(values))


def broken(numbers: Numbers) -> list[str]:
    """The claims that do not hold, with the numbers."""
    return [
        f"{question.name}: {claim_text(claim)}, but they are "
        + ", ".join(f"{value_of(term, numbers[question.name]):.4g}" for term in claim)
        for question in QUESTIONS
        for claim in question.claims
        if not holds(claim, numbers[question.name])
    ]


def claim_text(claim: tuple[str, ...]) -> str:
    return " > ".join(term.replace(" * ", " · ") for term in claim)


# pages


def rendered(template: str, numbers: Numbers) -> str:
    """The template with every slot filled.

    ``{{question/run/metric:format}}`` is a number, formatted as Python formats it; ``{{question/commands}}``
    the commands, a line each; ``{{question/claims}}`` what has been checked.

    Raises:
        KeyError: a slot that nothing fills.
    """
    questions = {question.name: question for question in QUESTIONS}

    def fill(match: re.Match[str]) -> str:
        name, _, form = match[1].partition(":")
        question, run, *metric = name.split("/")
        if run == "commands" and not metric:
            return "\n".join(questions[question].commands)
        if run == "claims" and not metric:
            return "; ".join(f"`{claim_text(claim)}`" for claim in questions[question].claims)
        value = numbers[question][run][metric[0]]
        return "–" if value is None else format(value, form).replace("-", "−" if form else "-")

    return SLOT.sub(fill, template)


def slots(template: str) -> set[str]:
    """The slots of a template without their formats."""
    return {match[1].partition(":")[0] for match in SLOT.finditer(template)}
