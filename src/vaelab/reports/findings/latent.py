"""Collapse, missed targets, what limits the mutual information, and codes without a density."""

import math

from vaelab.reports.findings.sentences import listed, rows_with_verdict
from vaelab.reports.table import Table
from vaelab.runs.health import COLLAPSED, CRITERION, DETERMINISTIC, PRUNED, UNTRAINED, missed_target

__all__ = ["collapsed", "information_limit", "off_target", "without_rate"]


def collapsed(table: Table) -> list[str]:
    """Which configurations have collapsed, use only some dimensions, or are not trained enough to tell."""
    labels = {verdict.label for run in table.runs if (verdict := run.verdict(table.split))}
    if not labels - {DETERMINISTIC}:
        return []
    worse = rows_with_verdict(table, UNTRAINED)
    if worse:
        worse = f"Untrained (the decoder is worse than one that ignores z): {worse}."
    if not labels - {DETERMINISTIC, UNTRAINED}:
        return [worse]
    whole = rows_with_verdict(table, COLLAPSED)
    sentences = [f"Collapsed ({CRITERION}): {whole}." if whole else f"No run has collapsed ({CRITERION})."]
    part = rows_with_verdict(table, PRUNED, "{} active")
    if part:
        sentences.append(f"Pruned (the other dimensions are the same for every image): {part}.")
    return [*sentences, *([worse] if worse else [])]


def off_target(table: Table) -> list[str]:
    """Configurations whose objective has a target that a run does not reach."""
    texts = []
    for row in table.rows:
        missed = [text for run in row.runs if (text := missed_target(run.metrics))]
        if missed:
            seeds = f" in {len(missed)} of {len(row.runs)} runs" if len(row.runs) > 1 else ""
            texts.append(f"{row.label} ({missed[0].partition(': ')[2]}{seeds})")
    return (
        [f"Target not reached, so these are not what their objective asks for: {listed(texts)}."]
        if texts
        else []
    )


def information_limit(table: Table) -> list[str]:
    """Where the number of posteriors, and not the model, limits what is known of the mutual information.

    Its lower end is E[log q(z|x) - log mixture], where the mixture of M + 1 posteriors holds the image's own:
    it cannot exceed log(M + 1). Within NEARLY = log 2 of that, the own posterior makes up more than half of
    the mixture (its geometric mean over images), and the number tells how many posteriors there were.
    """
    limited: dict[int, list[str]] = {}
    for row in table.rows:
        low, others = (table.number(row, name) for name in ("mutual_information_low", "aggregate_posteriors"))
        if low is not None and others is not None and low > math.log(others + 1) - NEARLY:
            limited.setdefault(round(others), []).append(f"{row.label} (at least {low:.2f})")
    return [
        f"The number of posteriors limits what is known of the mutual information of {listed(rows)}: with "
        f"{others} of them no more than log({others + 1}) = {math.log(others + 1):.2f} nats can show. More "
        "would narrow its bracket and those of the aggregate KL and the total correlation."
        for others, rows in limited.items()
    ]


NEARLY = math.log(2)


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
