"""Which configuration is the best, and how sure that is."""

from collections.abc import Sequence

from vaelab.reports.differences import cost_difference
from vaelab.reports.findings.sentences import IMAGES, listed, with_error
from vaelab.reports.statistics import ALPHA, MeanDifference
from vaelab.reports.table import Row, Table, show_stat

__all__ = ["best", "ranked"]


def ranked(table: Table, rows: Sequence[Row]) -> tuple[list[Row], str]:
    """The rows with an ELBO by falling mean, and the split whose ELBO ranks them.

    They are chosen on validation images and reported on test images. Where a row has no validation ELBO the
    reported split has to do both: the number of the chosen one is then the largest of several that each hold
    some chance, and too high.
    """
    reported = [row for row in rows if f"{table.split}/elbo" in row.stats]
    split = "val" if all("val/elbo" in row.stats for row in reported) else table.split
    return sorted(reported, key=lambda row: -row.stats[f"{split}/elbo"].mean), split


def best(table: Table, rows: Sequence[Row], prefix: str) -> list[str]:
    """The best configuration, its distance from the next, and which others might be the best."""
    order, chosen_on = ranked(table, rows)
    if not order:
        return []
    first = order[0]
    value = show_stat(first.stats[f"{table.split}/elbo"], "elbo")
    reported, choice = IMAGES[table.split], IMAGES[chosen_on]
    if chosen_on != table.split:
        text = f"{prefix}The best by {choice} ELBO is {first.label}; its {reported} ELBO is {value}"
    else:
        text = f"{prefix}The best {reported} ELBO is {value}, at {first.label}"
    if len(order) == 1:
        return [f"{text}, the only configuration with an ELBO."]
    if chosen_on == table.split:
        text += f". The {choice} images also made the choice, so this number is optimistic"
    betas = [row.beta for row in table.beta_series.get(first.series, []) if row in order]
    if len(betas) > 2 and first.beta in (betas[0], betas[-1]):
        end = "smallest" if first.beta == betas[0] else "largest"
        text += f". It is the {end} beta tried, so the optimum may lie beyond"
    differences = [(row, cost_difference(row, first, table.split)) for row in order[1:]]
    known = [(row, difference) for row, difference in differences if difference is not None]
    sentences = [f"{text}."]
    if known:
        sentences.append(distance(first, *known[0], reported))
        sentences += contenders(first, known, reported)
    return sentences


def distance(first: Row, second: Row, difference: MeanDifference, images: str) -> str:
    """``beta 1.5 is 0.66 ± 0.21 nats above beta 1, the next (paired over 3 seeds, 95%).``"""
    side = "below" if difference.mean < 0 else "above"
    text = f"{first.label} is {with_error(difference)} nats {side} {second.label}, the next"
    if difference.error is None:
        return f"{text}. {SINGLE}, and these records hold no standard error over {images} images."
    text += f" ({difference.over}, {1 - ALPHA:.0%})"
    clear = difference.is_positive() or difference.is_negative()
    if difference.source == "seeds":
        return f"{text}." if clear else f"{text}: these seeds do not separate them."
    unclear = "" if clear else ", which alone could make this difference"
    return f"{text}: that is the chance in the {images} images{unclear}. {SINGLE}."


SINGLE = "A single seed says nothing about the chance in training"


def contenders(first: Row, known: Sequence[tuple[Row, MeanDifference]], images: str) -> list[str]:
    """Which of several configurations might still be the best, and which are above the chosen one.

    A configuration is ruled out if ``first`` is above it, with ALPHA shared among all K - 1 comparisons
    (Bonferroni). Whichever the chosen one is, the truly best one is ruled out with a probability of at most
    ALPHA / 2, for one of the K - 1 others has to be above it by the quantile of ALPHA / (K - 1) (Hsu,
    "Constrained simultaneous confidence intervals for multiple comparisons with the best", Annals of
    Statistics 1984).
    """
    source = known[0][1].source
    if len(known) < 2 or any(d.error is None or d.source != source for _, d in known):
        return []
    share = ALPHA / len(known)
    left = [row.label for row, difference in known if not difference.is_positive(share)]
    above = [row.label for row, difference in known if difference.is_negative(share)]
    subject = "The seeds" if source == "seeds" else f"Chance in the {images} images alone"
    verb = "leave" if source == "seeds" else "leaves"
    names = f": {listed(left)}" if left else ""
    text = (
        f"{subject} {verb} {len(left) or 'none'} of the {len(known)} others as possibly the best{names} "
        f"({ALPHA:.0%} shared among {len(known)} comparisons)"
    )
    if left and min(difference.degrees for _, difference in known) < 2:
        text += "; two seeds rule out little"
    text += f"; clearly above {first.label} on these images: {listed(above)}" if above else ""
    return [f"{text}."]
