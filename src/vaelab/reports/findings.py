"""The findings of a comparison: sentences about its table, each of which names its criterion."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from vaelab.reports.records import RecordedRun
from vaelab.reports.table import Row, Table, canonical, show, show_stat
from vaelab.runs.comparable import bears_on_result
from vaelab.runs.find import natural
from vaelab.runs.health import COLLAPSED, CRITERION, DETERMINISTIC, PARTIAL
from vaelab.runs.naming import MULTIRUN
from vaelab.runs.status import read_progress

__all__ = ["Difference", "comparable_groups", "differing_settings", "findings", "unfinished"]

MOST_SERIES = 6  # sentences about more than these are no help
MOST_NAMES = 8
MOST_VALUES = 12
SIZES = ("data.batch_size", "data.train_size")  # nats per image mean the same whatever these are


def findings(table: Table) -> list[str]:
    """The sentences, most important first."""
    groups = comparable_groups(table)
    sentences = [scope(table)]
    for name, rows in groups.items():
        sentences += best(table, rows, f"On {name}: " if len(groups) > 1 else "")
    series = table.beta_series
    for name, rows in list(series.items())[:MOST_SERIES]:
        for sentence in [*rate_along_beta(table, rows), *active_units_along_beta(table, rows)]:
            sentences.append(f"{name}: {lower_first(sentence)}" if len(table.series) > 1 else sentence)
    if len(series) > MOST_SERIES:
        sentences.append(f"{len(series) - MOST_SERIES} further series are in the table and the figures.")
    sentences += collapsed(table)
    sentences += without_rate(table)
    conditions = {condition_of(rows[0]) for rows in groups.values()}
    if len(groups) > 1:
        reason = "Data or likelihood" if len(conditions) == 1 else "Data, likelihood or the condition"
        sentences.append(
            f"{reason} differ between runs: rate, distortion and ELBO compare only within one of "
            f"{', '.join(groups)}."
        )
    if conditions - {""}:
        sentences.append(
            "The ELBO of a model with a condition y bounds log p(x|y), not log p(x): the information in y "
            "costs no rate."
        )
    if table.repeats:
        sentences.append(
            f"{count(len(table.repeats), 'run')} repeated a configuration with the same seed and "
            f"{'is' if len(table.repeats) == 1 else 'are'} left out: a rerun is not a new sample."
        )
    return sentences


def scope(table: Table) -> str:
    """``6 finished runs, 6 configurations, 1 seed each; numbers are of test images, in nats per image.``"""
    states = Counter(run.status for run in table.runs)
    parts = [count(states.pop("finished", 0), "finished run")]
    parts += [f"{number} {state}" for state, number in states.items()]
    if table.folded:
        parts.append(count(len(table.rows), "configuration"))
        seeds = sorted({row.n for row in table.rows if row.n})
        if seeds:
            span = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else count(seeds[0], "seed")
            parts.append(f"{span} each")
    images = {"test": "test", "val": "validation"}[table.split]
    return f"{', '.join(parts)}; numbers are of {images} images, in nats per image."


def best(table: Table, rows: Sequence[Row], prefix: str) -> list[str]:
    """Which configuration has the highest ELBO, and whether its interval overlaps that of the second."""
    metric = f"{table.split}/elbo"
    ranked = sorted((row for row in rows if metric in row.stats), key=lambda row: -row.stats[metric].mean)
    if not ranked:
        return []
    first = ranked[0]
    stat = first.stats[metric]
    text = f"{prefix}The best ELBO is {show_stat(stat, metric)}, at {first.label}"
    if len(ranked) == 1:
        return [f"{text}, the only configuration with an ELBO."]
    second = ranked[1].stats[metric]
    gap = stat.mean - second.mean
    text += f"; next is {ranked[1].label}, {gap:.2f} lower"
    if stat.half is None or second.half is None:
        text += ". One run each does not show how much of that is chance"
    elif gap < stat.half + second.half:
        text += ". Their 95% intervals overlap, so these seeds do not separate them clearly"
    betas = [row.beta for row in table.beta_series.get(first.series, []) if metric in row.stats]
    if len(betas) > 2 and first.beta in (betas[0], betas[-1]):
        end = "smallest" if first.beta == betas[0] else "largest"
        text += f". It is the {end} beta tried, so the optimum may lie beyond"
    return [f"{text}."]


def rate_along_beta(table: Table, rows: Sequence[Row]) -> list[str]:
    """How rate and distortion move with beta.

    Between two optima of distortion + beta * rate the rate cannot rise with beta; a rise of more than 5% and
    0.1 nats is reported.
    """
    points = measured(table, rows, "rate")
    if len(points) < 2:
        return []
    (first, start), (last, end) = points[0], points[-1]
    text = f"From beta {show(first.beta)} to {show(last.beta)} the rate goes from {start:.2f} to {end:.2f}"
    before, after = table.number(first, "distortion"), table.number(last, "distortion")
    if before is not None and after is not None:
        text += f" and the distortion from {before:.2f} to {after:.2f}"
    rises = [(a, b) for (a, x), (b, y) in pairwise(points) if y > x * 1.05 + 0.1]
    if rises:
        a, b = rises[0]
        text += (
            f". Between beta {show(a.beta)} and {show(b.beta)} the rate rises, which it would not do "
            "between two optima: the training was too short, or it is chance"
        )
    return [f"{text}."]


def active_units_along_beta(table: Table, rows: Sequence[Row]) -> list[str]:
    """Where active units first lie one or more below the most so far, and where they fall most."""
    points = measured(table, rows, "active_units")
    if len(points) < 2:
        return []
    most = points[0][1]
    for row, value in points:
        if value <= most - 1:
            text = f"Active units first drop by one or more at beta {show(row.beta)}, "
            text += f"from {most:g} to {value:g}"
            drops = [(x - y, a, b, x, y) for (a, x), (b, y) in pairwise(points)]
            drop, a, b, x, y = max(drops, key=lambda drop: drop[0])
            if drop > most - value:
                text += f"; the largest drop, from {x:g} to {y:g}, "
                text += f"is between beta {show(a.beta)} and {show(b.beta)}"
            return [f"{text}."]
        most = max(most, value)
    values = sorted({value for _, value in points})
    if len(values) == 1:
        return [f"All betas have {values[0]:g} active units."]
    return [f"Active units stay between {values[0]:g} and {values[-1]:g} and never drop by one or more."]


def collapsed(table: Table) -> list[str]:
    """Which configurations have collapsed, and which in part, with the criterion."""
    labels = {verdict.label for run in table.runs if (verdict := run.verdict(table.split))}
    if not labels - {DETERMINISTIC}:
        return []
    whole = rows_with(table, COLLAPSED, "rate", "rate {:.2f}")
    sentences = [f"Collapsed ({CRITERION}): {whole}." if whole else f"No run has collapsed ({CRITERION})."]
    part = rows_with(table, PARTIAL, "active_units", "{:g} active units")
    if part:
        sentences.append(f"Partly collapsed (some dimensions are the same for every image): {part}.")
    return sentences


def rows_with(table: Table, label: str, metric: str, fact: str) -> str:
    """The rows with a run of this verdict: ``beta 4 (rate 0.06, 2 of 3 seeds)``."""
    texts = []
    for row in table.rows:
        verdicts = [run.verdict(table.split) for run in row.runs]
        number = sum(verdict is not None and verdict.label == label for verdict in verdicts)
        if number:
            value = table.number(row, metric)
            facts = [fact.format(value)] if value is not None else []
            facts += [f"{number} of {row.n} seeds"] if row.n > 1 else []
            texts.append(row.label + (f" ({', '.join(facts)})" if facts else ""))
    return listed(texts)


def without_rate(table: Table) -> list[str]:
    """Configurations that have a distortion but no rate: autoencoders."""
    rows = [row for row in table.rows if row.n and table.number(row, "rate") is None]
    distortions = [(row.label, table.number(row, "distortion")) for row in rows]
    texts = [f"{label} (distortion {value:.2f})" for label, value in distortions if value is not None]
    if not texts:
        return []
    return [
        "A deterministic code has no density, so these have no rate and no ELBO and are not on the "
        f"rate-distortion curve: {listed(texts)}."
    ]


def comparable_groups(table: Table) -> dict[str, list[Row]]:
    """The finished rows by what their nats refer to: data, likelihood and condition; named by these."""
    groups: dict[str, list[Row]] = {}
    for row in table.rows:
        if row.n:
            parts = {key: value for key, value in row.first.config.items() if defines_nats(key)}
            groups.setdefault(canonical([row.first.dataset, parts, condition_of(row)]), []).append(row)
    named: dict[str, list[Row]] = {}
    for rows in groups.values():
        run, condition = rows[0].first, condition_of(rows[0])
        likelihood = class_name(run, "likelihood")
        brackets = ", ".join(filter(None, [likelihood, condition and f"given {condition}"]))
        name = " ".join(filter(None, [run.dataset, brackets and f"({brackets})"]))
        named[f"{name} [{rows[0].label}]" if name in named else name] = rows
    return named


def defines_nats(key: str) -> bool:
    return key.startswith("likelihood.") or (
        key.startswith("data.") and key not in SIZES and bears_on_result(key)
    )


def condition_of(row: Row) -> str:
    """What the model receives beside the image, by its class's name (``label``); empty if nothing."""
    return class_name(row.first, "model.condition").removesuffix("Condition").lower()


def class_name(run: RecordedRun, key: str) -> str:
    return str(run.config.get(f"{key}._target_", "")).rsplit(".", 1)[-1]


def measured(table: Table, rows: Sequence[Row], metric: str) -> list[tuple[Row, float]]:
    pairs = [(row, table.number(row, metric)) for row in rows]
    return [(row, value) for row, value in pairs if value is not None]


def lower_first(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def listed(names: list[str]) -> str:
    more = [f"and {len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return "; ".join(names[:MOST_NAMES] + more)


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Difference:
    """Settings that differ between runs, all in the same way, and each value with how many runs have it."""

    keys: tuple[str, ...]
    values: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        """``0.5 (2), 1 (2), 2 (2)``"""
        texts = [f"{text} ({number})" for text, number in self.values[:MOST_VALUES]]
        more = len(self.values) - MOST_VALUES
        return ", ".join(texts) + (f", and {more} more" if more > 0 else "")


def differing_settings(runs: Sequence[RecordedRun]) -> list[Difference]:
    """Whatever bears on the result and differs between the runs' configs, code and packages.

    Keys that differ in the same way, as a beta and the weight that follows it, share an entry.
    """
    settings = [
        {"model": run.variant, "data": run.dataset, **run.config, **run.setup} for run in runs if run.config
    ]
    entries: dict[str, list[str]] = {}
    for key in filter(bears_on_result, dict.fromkeys(key for setting in settings for key in setting)):
        values = [canonical(setting.get(key)) for setting in settings]
        if len(set(values)) > 1:
            entries.setdefault(canonical(values), []).append(key)
    differences = []
    for keys in entries.values():
        texts = Counter(
            show(setting[keys[0]]) or "null" if keys[0] in setting else "(absent)" for setting in settings
        )
        differences.append(
            Difference(tuple(keys), tuple((text, texts[text]) for text in sorted(texts, key=natural)))
        )
    return differences


def unfinished(runs: Sequence[RecordedRun]) -> list[tuple[RecordedRun, str]]:
    """Every run without its final numbers, and why it has none."""
    return [(run, reason(run)) for run in runs if not run.finished]


def reason(run: RecordedRun) -> str:
    """Why a run has no final numbers; an interrupted run has not failed, and can be resumed."""
    progress = read_progress(run.folder)
    done = f"{progress.epoch} of {progress.max_epochs} epochs" if progress and progress.max_epochs else ""
    if run.status == "running":
        return f"still training, {done} done" if done else "still training"
    if run.status == "interrupted":
        resumes = "; the same command resumes it" if (run.folder.parent / MULTIRUN).is_file() else ""
        return f"stopped {f'after {done}' if done else 'before its end'}{resumes}"
    return run.error.strip().splitlines()[0] if run.error else "no reason in its record"
