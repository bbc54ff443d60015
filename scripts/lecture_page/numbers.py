"""Numbers from records, claims on them, and pages made of a template and the numbers."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from lecture_page.questions import QUESTIONS, RANGE, Question, question_named
from vaelab.evaluation.trained_run import TrainedRun
from vaelab.functional.estimators import mutual_information
from vaelab.reports.statistics import fold
from vaelab.runs.find import sweep_records
from vaelab.runs.record import finite

Numbers = dict[str, dict[str, dict[str, Any]]]  # question -> run -> metric
Seeds = Sequence[TrainedRun]  # one run, with each of the seeds

DIGITS = 4  # significant ones that are kept
SLOT = re.compile(r"\{\{([^{}]+)\}\}")


def trained_runs(question: Question, outputs: Path) -> dict[str, list[TrainedRun]]:
    """The finished runs of a question's sweep by the swept value: a list with one run for each seed.

    Raises:
        SystemExit: one is missing.
    """
    sweep = outputs / "sweeps" / f"lecture-{question.name}"
    found = finished_runs(sweep, outputs)
    runs = {run: found.get(run, {}) for run in question.runs}
    for further in question.further:
        found = finished_runs(sweep.with_name(f"{sweep.name}-{further.name}"), outputs)
        runs |= {name: found.get(swept, {}) for name, swept in further.runs.items()}
    missing = [f"{run}, seed {seed}" for run in runs for seed in question.seeds if seed not in runs[run]]
    if missing:
        raise SystemExit(f"{sweep.name} has no finished run {missing[0]}: {'; '.join(question.commands)}")
    return {run: [seeds[seed] for seed in question.seeds] for run, seeds in runs.items()}


def finished_runs(sweep: Path, outputs: Path) -> dict[str, dict[int, TrainedRun]]:
    """The finished runs of a sweep by the swept values, joined, and by seed."""
    found: dict[str, dict[int, TrainedRun]] = {}
    for record in sweep_records(sweep):
        if record["status"] == "finished":
            key = "-".join(str(value) for name, value in record["swept"].items() if name != "seed")
            run = TrainedRun(record["folder"], record, outputs / "cache", quiet=True)
            found.setdefault(key, {})[record["seed"]] = run
    return found


def gathered(question: Question, runs: Mapping[str, Seeds]) -> dict[str, dict[str, Any]]:
    """The question's metrics of its runs, and what comparing the runs gives, rounded.

    Of one seed also the standard error ``<metric>_se`` where the record has one; of several seeds the mean,
    ``<metric>_half``, the half width of its 95% interval over seeds, and ``seeds``, their number.
    """
    from lecture_page.comparisons import COMPARISONS

    values = {key: of_seeds(question.metrics, seeds) for key, seeds in runs.items()}
    for name in question.comparisons:
        for key, found in COMPARISONS[name](runs).items():
            values[key] |= found
    return {key: {metric: rounded(value) for metric, value in found.items()} for key, found in values.items()}


def of_seeds(metrics: Sequence[str], seeds: Seeds) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for metric in metrics:
        values = [number(run, metric) for run in seeds]
        if len(seeds) == 1:
            found[metric] = values[0]
            if (error := known(seeds[0], f"{metric}_se")) is not None:
                found[f"{metric}_se"] = error
        elif isinstance(values[0], str):
            found[metric] = ", ".join(f"{n} {word}" for word, n in Counter(values).most_common())
        else:
            found |= mean_and_half(metric, values)
    return found if len(seeds) == 1 else found | {"seeds": len(seeds)}


def mean_and_half(metric: str, values: Sequence[float | None]) -> dict[str, Any]:
    """The mean over seeds, and the half width of its 95% interval as ``<metric>_half``."""
    stat = fold(values)
    return {metric: stat and stat.mean, f"{metric}_half": stat and stat.half}


def number(run: TrainedRun, metric: str) -> Any:
    """A metric of the test images, of an evaluation, or derived from these."""
    if metric in DERIVED:
        return DERIVED[metric](run)
    for name in (f"test/{metric}", f"eval/{metric}"):
        if name in run.record["metrics"]:
            return run.record["metrics"][name]
    raise SystemExit(f"{run.record['folder']} has no {metric}: was it evaluated?")


def known(run: TrainedRun, metric: str) -> Any:
    """As :func:`number`, but None where the record has no such metric."""
    metrics = run.record["metrics"]
    return next((metrics[name] for name in (f"test/{metric}", f"eval/{metric}") if name in metrics), None)


def images_per_code(run: TrainedRun) -> float:
    """exp H(n|z) with H(n|z) = log N - I_q(n; z): how many of N test images a code may belong to, 1 to N."""
    codes = run.codes("test")  # q(z) of these N images alone: nothing of it is an estimate but z
    return len(codes.z) * math.exp(-mutual_information(codes.z, codes.loc, codes.scale).item())


def objective(run: TrainedRun) -> float:
    """Distortion + beta * rate, the loss of a beta-VAE, whatever the run's own objective was."""
    metrics, beta = run.record["metrics"], run.record["config"]["model"]["beta"]
    return float(metrics["test/distortion"] + beta * metrics["test/rate"])


def code_spread(run: TrainedRun) -> float:
    """The standard deviation of the codes of test images, the root of its mean square over dimensions."""
    return run.codes("test").z.var(0).mean().sqrt().item()


def information_limit(run: TrainedRun) -> float:
    """log(M + 1): no lower end of the mutual information from M posteriors is larger."""
    return math.log(run.record["metrics"]["test/aggregate_posteriors"] + 1)


DERIVED = {
    "objective": objective,
    "images_per_code": images_per_code,
    "code_spread": code_spread,
    "information_limit": information_limit,
    "information_below_limit": lambda run: (
        information_limit(run) - run.record["metrics"]["test/mutual_information_low"]
    ),
    "mixture": lambda run: run.record["metrics"]["test/aggregate_posteriors"] + 1,
    "train_loss": lambda run: run.record["metrics"]["train/loss"],
    "verdict": lambda run: run.record["verdict"]["label"],
}


def rounded(value: Any) -> Any:
    """A number with DIGITS significant digits, None where it is undefined; words as they are."""
    if value is None or isinstance(value, str):
        return value
    value = finite(value)
    return value if value is None else float(f"{value:.{DIGITS}g}")


# claims


def value_of(term: str, numbers: Mapping[str, Mapping[str, Any]]) -> float:
    """``run/metric``, ``factor * run/metric``, a plain number or a sum of these; NaN where undefined."""
    if " + " in term:
        return sum(value_of(part, numbers) for part in term.split(" + "))
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


def shown_error(value: float, error: float) -> tuple[str, str]:
    """A number and its error, which has two significant digits and as many places as the number.

    >>> shown_error(-24.5123, 0.1417)
    ('−24.51', '0.14')
    """
    if not error:
        return shown(value), "0"
    places = max(0, 1 - math.floor(math.log10(error)))
    return shown(value, f".{places}f"), shown(error, f".{places}f")


def shown_cell(values: Mapping[str, Any], metric: str) -> str:
    """``24.51 (0.14)`` with a standard error, ``24.5 ± 0.3`` over seeds, ``0.3 to 9.2`` for a range."""
    if metric.endswith(RANGE):
        name = metric.removesuffix(RANGE)
        low, high = values[f"{name}_low"], values[f"{name}_high"]
        return "–" if low is None else f"[{shown(low)}, {shown(high)}]"
    value = values[metric]
    for suffix, form in (("_se", "{} ({})"), ("_half", "{} ± {}")):
        if value is not None and (error := values.get(metric + suffix)) is not None:
            return form.format(*shown_error(value, error))
    return shown(value)


def rendered(template: str, numbers: Numbers) -> str:
    """The template with every slot filled.

    ==============================  ==============================================================
    ``{{question/commands}}``       the commands, a line each
    ``{{question/rows}}``           the table's rows, a run each
    ``{{question/run}}``            the cells of a run's row
    ``{{question/run/metric}}``     a number; a format may follow a colon, as in ``:.0%``
    ``{{question/run/metric:±}}``   a number and its standard error, or half the interval over seeds
    ==============================  ==============================================================

    Raises:
        LookupError: nothing fills a slot.
    """

    def cells(question: Question, run: str) -> str:
        values = numbers[question.name][run]
        texts = [(shown_cell(values, name.rstrip("*")), name[-1] == "*") for name in question.table]
        return " | ".join(f"**{text}**" if bold else text for text, bold in texts)

    def fill(match: re.Match[str]) -> str:
        name, _, form = match[1].partition(":")
        question, what, *metric = name.split("/")
        if metric and form == "±":
            values, metric_name = numbers[question][what], metric[0]
            ends = [f"{metric_name}{end}" for end in ("_se", "_half") if f"{metric_name}{end}" in values]
            return " ± ".join(shown_error(values[metric_name], values[ends[0]]))
        if metric:
            return shown(numbers[question][what][metric[0]], form)
        if what == "commands":
            return "\n".join(question_named(question).commands)
        if what == "rows":
            return "\n".join(
                f"| {run} | {cells(question_named(question), run)} |" for run in question_named(question).runs
            )
        return cells(question_named(question), what)

    return SLOT.sub(fill, template)
