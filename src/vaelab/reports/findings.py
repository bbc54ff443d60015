"""What the numbers say, in plain sentences: each names its criterion, none says more than the runs show."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from vaelab.reports.records import Run
from vaelab.reports.table import Row, Table, canonical, show, show_stat
from vaelab.runs.comparable import bears_on_result
from vaelab.runs.find import natural
from vaelab.runs.health import COLLAPSED, CRITERION, DETERMINISTIC, PARTIAL
from vaelab.runs.naming import MULTIRUN
from vaelab.runs.status import read_progress

MOST_SERIES = 6  # sentences about more than these are no help


def findings(table: Table) -> list[str]:
    """The sentences, most important first."""
    groups = comparable(table)
    sentences = [scope(table)]
    for name, rows in groups.items():
        sentences += best(table, rows, f"On {name}: " if len(groups) > 1 else "")
    for i, (series, rows) in enumerate(table.series.items()):
        prefix = f"{series}: " if len(table.series) > 1 else ""
        if i < MOST_SERIES:
            sentences += [prefixed(prefix, text) for text in along_beta(table, rows)]
    if len(table.series) > MOST_SERIES:
        sentences.append(
            f"{len(table.series) - MOST_SERIES} further series are in the table and the figures."
        )
    sentences += collapsed(table)
    sentences += undefined(table)
    told = {condition(rows[0]) for rows in groups.values()}
    if len(groups) > 1:
        reason = "Data or likelihood" if len(told) == 1 else "Data, likelihood or what the model is told"
        sentences.append(
            f"{reason} differ between runs: rate, distortion and ELBO compare only within one of "
            f"{', '.join(groups)}."
        )
    if told - {""}:
        sentences.append(
            "A model that is told y has an ELBO that bounds log p(x|y), not log p(x): what y says is free."
        )
    if table.repeats:
        sentences.append(
            f"{count(len(table.repeats), 'run')} repeated a configuration with the same seed and "
            f"{'is' if len(table.repeats) == 1 else 'are'} left out: a rerun is no further sample."
        )
    return sentences


def scope(table: Table) -> str:
    """What there is: ``6 finished runs, 6 configurations, one seed each.``"""
    states = Counter(run.status for run in table.runs)
    parts = [count(states.pop("finished", 0), "finished run")]
    parts += [f"{number} {state}" for state, number in states.items()]
    text = ", ".join(parts)
    if table.folded:
        text += f", {count(len(table.rows), 'configuration')}"
        seeds = sorted({row.n for row in table.rows if row.n})
        if seeds:
            span = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else count(seeds[0], "seed")
            text += f", {span} each"
    images = {"test": "test", "val": "validation"}[table.split]
    return f"{text}; numbers are of {images} images, in nats per image."


def best(table: Table, rows: Sequence[Row], prefix: str) -> list[str]:
    """Which configuration has the highest ELBO, and whether the runs tell it from the next."""
    metric = f"{table.split}/elbo"
    ranked = sorted((row for row in rows if metric in row.stats), key=lambda row: -row.stats[metric].mean)
    if not ranked:
        return []
    top = ranked[0]
    stat = top.stats[metric]
    text = f"{prefix}The best ELBO is {show_stat(stat, metric)}, at {top.label}"
    if len(ranked) == 1:
        return [f"{text}, the only one that has one."]
    second = ranked[1].stats[metric]
    gap = stat.mean - second.mean
    text += f"; next is {ranked[1].label}, {gap:.2f} lower"
    if stat.half is None or second.half is None:
        text += ". Single runs do not tell how much of that is chance"
    elif gap < stat.half + second.half:
        text += ". Their 95% intervals overlap: these seeds do not clearly tell them apart"
    betas = sorted({row.beta for row in ranked if row.series == top.series and row.beta is not None})
    if len(betas) > 2 and top.beta in (betas[0], betas[-1]):
        end = "smallest" if top.beta == betas[0] else "largest"
        text += f". It is the {end} beta tried, so the optimum may lie beyond"
    return [f"{text}."]


def prefixed(prefix: str, sentence: str) -> str:
    return prefix + sentence[0].lower() + sentence[1:] if prefix else sentence


def along_beta(table: Table, rows: Sequence[Row]) -> list[str]:
    """How rate, distortion and active units move with beta within one series."""
    sentences = []
    known = measured(table, rows, "rate")
    if len(known) > 1:
        first, last = known[0][0], known[-1][0]
        text = f"From beta {show(first.beta)} to {show(last.beta)} the rate goes "
        text += f"from {known[0][1]:.2f} to {known[-1][1]:.2f}"
        distortions = table.number(first, "distortion"), table.number(last, "distortion")
        if distortions[0] is not None and distortions[1] is not None:
            text += f" and the distortion from {distortions[0]:.2f} to {distortions[1]:.2f}"
        rises = [(a, b) for (a, x), (b, y) in pairwise(known) if y > x * 1.05 + 0.1]
        if rises:
            a, b = rises[0]
            text += (
                f". Between beta {show(a.beta)} and {show(b.beta)} the rate rises, which it would not do "
                "between two optima: too short a training, or chance"
            )
        sentences.append(f"{text}.")
    return sentences + active_units(measured(table, rows, "active_units"))


def active_units(known: Sequence[tuple[Row, float]]) -> list[str]:
    """Where active units first lie one or more below the most so far, and where they fall most."""
    if len(known) < 2:
        return []
    most = known[0][1]
    for (before, _), (row, value) in pairwise(known):
        if value <= most - 1:
            text = (
                f"Active units first drop by one or more at beta {show(row.beta)}, from {most:g} to {value:g}"
            )
            falls = [(x - y, a, b, x, y) for (a, x), (b, y) in pairwise(known)]
            _, a, b, x, y = max(falls, key=lambda fall: fall[0])
            if (a, b) != (before, row):
                text += f"; the largest drop, from {x:g} to {y:g}, "
                text += f"is between beta {show(a.beta)} and {show(b.beta)}"
            return [f"{text}."]
        most = max(most, value)
    values = sorted({value for _, value in known})
    span = f"{values[0]:g}" if len(values) == 1 else f"between {values[0]:g} and {values[-1]:g}"
    return [f"Active units do not drop by one or more over these betas: {span}."]


def collapsed(table: Table) -> list[str]:
    """Which configurations have collapsed, and which in part, with the criterion."""
    labels = {run.folder: found.label for run in table.runs if (found := run.verdict(table.split))}
    if not set(labels.values()) - {DETERMINISTIC}:
        return []
    sentences = []
    gone = named_with(table, labels, COLLAPSED, "rate", "rate {:.2f}")
    sentences.append(
        f"Collapsed ({CRITERION}): {'; '.join(shortened(gone))}."
        if gone
        else f"No run has collapsed ({CRITERION})."
    )
    part = named_with(table, labels, PARTIAL, "active_units", "{:g} active units")
    if part:
        sentences.append(
            f"Partly collapsed (some dimensions are the same for every image): {'; '.join(shortened(part))}."
        )
    return sentences


def named_with(table: Table, labels: dict[Path, str], label: str, metric: str, fact: str) -> list[str]:
    """The rows with a run of this verdict: ``beta 4 (rate 0.06, 2 of 3 seeds)``."""
    named = []
    for row in table.rows:
        found = sum(labels.get(run.folder) == label for run in row.runs)
        if found:
            value = table.number(row, metric)
            facts = [fact.format(value)] if value is not None else []
            facts += [f"{found} of {row.n} seeds"] if row.n > 1 else []
            named.append(row.label + (f" ({', '.join(facts)})" if facts else ""))
    return named


def undefined(table: Table) -> list[str]:
    """Configurations that have a distortion but no rate: autoencoders."""
    rows = [
        row for row in table.rows
        if row.n and table.number(row, "rate") is None and table.number(row, "distortion") is not None
    ]  # fmt: skip
    if not rows:
        return []
    each = [f"{row.label} (distortion {table.number(row, 'distortion'):.2f})" for row in rows]
    named = "; ".join(shortened(each))
    return [
        "Without a rate and an ELBO, since a deterministic code has no density; blank in the table and not "
        f"on the rate-distortion curve: {named}."
    ]


def shortened(names: list[str], most: int = 8) -> list[str]:
    return names if len(names) <= most else [*names[:most], f"and {len(names) - most} more"]


def comparable(table: Table) -> dict[str, list[Row]]:
    """The rows by what their nats refer to: data, likelihood, and what the model is told beside the image.

    Named by what tells the groups apart.
    """
    groups: dict[str, list[Row]] = {}
    for row in table.rows:
        if row.n:
            parts = {k: v for k, v in row.first.config.items() if k.startswith("likelihood.") or refers(k)}
            groups.setdefault(canonical([row.first.dataset, parts, condition(row)]), []).append(row)
    names: dict[str, list[Row]] = {}
    for rows in groups.values():
        run = rows[0].first
        likelihood = str(run.config.get("likelihood._target_", "")).rsplit(".", 1)[-1]
        given = condition(rows[0])
        details = ", ".join(filter(None, [likelihood, given and f"given {given}"]))
        name = " ".join(filter(None, [run.dataset, details and f"({details})"]))
        if name in names:
            name += f" [{rows[0].label}]"
        names[name] = rows
    return names


def condition(row: Row) -> str:
    """What the model is given beside the image, by its class's name (``label``); empty if nothing."""
    name = str(row.first.config.get("model.condition._target_", "")).rsplit(".", 1)[-1]
    return name.removesuffix("Condition").lower()


def refers(key: str) -> bool:
    sizes = ("data.batch_size", "data.train_size")
    return key.startswith("data.") and key not in sizes and bears_on_result(key)


def measured(table: Table, rows: Sequence[Row], metric: str) -> list[tuple[Row, float]]:
    """The rows that have a beta and the metric, with its mean, by ascending beta."""
    pairs = [(row, table.number(row, metric)) for row in rows if row.beta is not None]
    return [(row, value) for row, value in pairs if value is not None]


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Difference:
    """Settings that differ between runs, all in the same way, and each value with how many runs have it."""

    keys: tuple[str, ...]
    values: tuple[tuple[str, int], ...]


def differences(runs: Sequence[Run]) -> list[Difference]:
    """Everything that differs between the runs' configs, code and packages; names and places aside.

    Keys that differ in the same way, as a beta and the weight that follows it, share an entry.
    """
    known = [run for run in runs if run.config]
    settings = [{"model": r.variant, "data": r.dataset, **r.config, **r.setup} for r in known]
    keys = dict.fromkeys(key for setting in settings for key in setting)
    entries: dict[str, list[str]] = {}
    for key in keys:
        if not bears_on_result(key):
            continue
        values = [setting.get(key) for setting in settings]
        if len(set(map(canonical, values))) > 1:
            entries.setdefault(canonical(values), []).append(key)
    found = []
    for names in entries.values():
        texts = Counter(
            show(setting[names[0]]) if names[0] in setting else "(absent)" for setting in settings
        )
        found.append(
            Difference(
                tuple(names), tuple((text or "null", texts[text]) for text in sorted(texts, key=natural))
            )
        )
    return found


def values_text(entry: Difference, most: int = 12) -> str:
    """``0.5 (2), 1 (2), 2 (2)``"""
    texts = [f"{text} ({number})" for text, number in entry.values[:most]]
    return ", ".join(texts) + (f", and {len(entry.values) - most} more" if len(entry.values) > most else "")


def unfinished(runs: Sequence[Run]) -> list[tuple[str, str, str]]:
    """(run, state, why) for every run without its final numbers."""
    return [(str(run.folder), run.status, why(run)) for run in runs if not run.finished]


def why(run: Run) -> str:
    """Why a run has no final numbers; an interrupted run has not failed, and is taken up again."""
    done = epochs_done(run)
    if run.status == "running":
        return f"still training, {done} done" if done else "still training"
    if run.status == "interrupted":
        goes_on = "; the same command goes on from there" if (run.folder.parent / MULTIRUN).is_file() else ""
        return f"stopped {f'after {done}' if done else 'before its end'}{goes_on}"
    return run.error.strip().splitlines()[0] if run.error else "no reason in its record"


def epochs_done(run: Run) -> str:
    """``7 of 40 epochs``; empty if that is not known."""
    progress = read_progress(run.folder)
    if progress is None:
        return ""
    return f"{progress.epoch} of {progress.max_epochs} epochs" if progress.max_epochs else ""
