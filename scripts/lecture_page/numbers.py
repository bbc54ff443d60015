"""Numbers from records, claims on them, and pages made of a template and the numbers."""

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from lecture_page.questions import QUESTIONS, Question
from vaelab.evaluation.trained_run import TrainedRun
from vaelab.functional.estimators import mutual_information
from vaelab.runs.find import sweep_records
from vaelab.runs.record import finite

Numbers = dict[str, dict[str, dict[str, Any]]]  # question -> run -> metric

DIGITS = 4  # significant ones that are kept
SLOT = re.compile(r"\{\{([^{}]+)\}\}")


def trained_runs(question: Question, outputs: Path) -> dict[str, TrainedRun]:
    """The finished runs of a question's sweep by the swept value.

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
    """The question's metrics of its runs, rounded."""
    return {
        key: {metric: rounded(number(run, metric)) for metric in question.metrics}
        for key, run in runs.items()
    }


def number(run: TrainedRun, metric: str) -> Any:
    """A metric of the test images, of an evaluation, or derived from these."""
    metrics = run.record["metrics"]
    if metric in DERIVED:
        return DERIVED[metric](run)
    for name in (f"test/{metric}", f"eval/{metric}"):
        if name in metrics:
            return metrics[name]
    raise SystemExit(f"{run.record['folder']} has no {metric}: was it evaluated?")


def images_per_code(run: TrainedRun) -> float:
    """exp H(n|z) with H(n|z) = log N - I_q(n; z): how many of N test images a code may belong to, 1 to N."""
    codes = run.codes("test")
    return len(codes.z) * math.exp(-mutual_information(codes.z, codes.loc, codes.scale).item())


def objective(run: TrainedRun) -> float:
    """Distortion + beta * rate, the loss of a beta-VAE, whatever the run's own objective was."""
    metrics, beta = run.record["metrics"], run.record["config"]["model"]["beta"]
    return float(metrics["test/distortion"] + beta * metrics["test/rate"])


DERIVED = {
    "objective": objective,
    "images_per_code": images_per_code,
    "verdict": lambda run: run.record["verdict"]["label"],
}


def rounded(value: Any) -> Any:
    """A number with DIGITS significant digits, None where it is undefined; words as they are."""
    if isinstance(value, str):
        return value
    value = finite(value)
    return value if value is None else float(f"{value:.{DIGITS}g}")


# claims


def value_of(term: str, numbers: Mapping[str, Mapping[str, Any]]) -> float:
    """``run/metric``, ``factor * run/metric`` or a plain number; NaN where it is undefined."""
    factor, star, name = term.rpartition(" * ")
    run, slash, metric = name.partition("/")
    value = numbers[run][metric] if slash else float(name)
    return (float(factor) if star else 1.0) * (math.nan if value is None else value)


def holds(claim: tuple[str, ...], numbers: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether each term exceeds the next."""
    return all(left > right for left, right in pairwise(value_of(term, numbers) for term in claim))


def broken(numbers: Numbers) -> list[str]:
    """The claims that do not hold, with the numbers."""
    return [
        f"{question.name}: {' > '.join(claim)}, but they are "
        + ", ".join(f"{value_of(term, numbers[question.name]):.4g}" for term in claim)
        for question in QUESTIONS
        for claim in question.claims
        if not holds(claim, numbers[question.name])
    ]


# pages


def shown(value: Any, form: str = "") -> str:
    """A number with three significant digits, or as ``form`` says; a dash where it is undefined."""
    if value is None or isinstance(value, str):
        return value or "–"
    return format(value, form or (".0f" if abs(value) >= 100 else ".3g")).replace("-", "−")


def rendered(template: str, numbers: Numbers) -> str:
    """The template with every slot filled.

    ==============================  ==============================================================
    ``{{question/commands}}``       the commands, a line each
    ``{{question/rows}}``           the table's rows, a run each
    ``{{question/run}}``            the cells of a run's row
    ``{{question/run/metric}}``     a number; a format may follow a colon, as in ``:.0%``
    ==============================  ==============================================================

    Raises:
        KeyError: nothing fills a slot.
    """
    questions = {question.name: question for question in QUESTIONS}

    def cells(question: Question, run: str) -> str:
        texts = [
            (shown(numbers[question.name][run][name.rstrip("*")]), name[-1] == "*") for name in question.table
        ]
        return " | ".join(f"**{text}**" if bold else text for text, bold in texts)

    def fill(match: re.Match[str]) -> str:
        name, _, form = match[1].partition(":")
        question, what, *metric = name.split("/")
        if metric:
            return shown(numbers[question][what][metric[0]], form)
        if what == "commands":
            return "\n".join(questions[question].commands)
        if what == "rows":
            return "\n".join(
                f"| {run} | {cells(questions[question], run)} |" for run in questions[question].runs
            )
        return cells(questions[question], what)

    return SLOT.sub(fill, template)
