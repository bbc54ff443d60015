"""The findings of a comparison: sentences about its table, each of which names its criterion."""

from collections import Counter

from vaelab.reports.findings.curve import active_units_along_beta, constant_image, dominance, rate_along_beta
from vaelab.reports.findings.groups import comparable_groups, condition_of
from vaelab.reports.findings.latent import collapsed, information_limit, off_target, without_rate
from vaelab.reports.findings.ranking import best, ranked
from vaelab.reports.findings.sentences import IMAGES, count, lower_first
from vaelab.reports.findings.settings import Difference, differing_settings, unfinished
from vaelab.reports.table import Table

__all__ = ["Difference", "comparable_groups", "differing_settings", "findings", "ranked", "unfinished"]

MOST_SERIES = 6  # sentences about more than these are no help


def findings(table: Table) -> list[str]:
    """The sentences, most important first."""
    groups = comparable_groups(table)
    sentences = [scope(table)]
    for name, rows in groups.items():
        sentences += best(table, rows, f"On {name}: " if len(groups) > 1 else "")
    series = table.beta_series
    for name, rows in list(series.items())[:MOST_SERIES]:
        for sentence in [
            *rate_along_beta(table, rows),
            *dominance(table, rows),
            *active_units_along_beta(table, rows),
        ]:
            sentences.append(f"{name}: {lower_first(sentence)}" if len(table.series) > 1 else sentence)
    if len(series) > MOST_SERIES:
        sentences.append(f"{len(series) - MOST_SERIES} further series are in the table and the figures.")
    for name, rows in groups.items():
        sentences += constant_image(table, rows, f"On {name}: " if len(groups) > 1 else "")
    sentences += collapsed(table)
    sentences += off_target(table)
    sentences += information_limit(table)
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
    return f"{', '.join(parts)}; numbers are of {IMAGES[table.split]} images, in nats per image."
