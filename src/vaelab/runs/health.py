"""Is the posterior collapsed? A verdict from a run's numbers, with its evidence. Light: plain floats.

The run's record, the callback that may stop it, the comparison and W&B all ask :func:`verdict`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from vaelab.runs.record import finite

HEALTHY, PARTIAL, COLLAPSED, DETERMINISTIC = "healthy", "partial", "collapsed", "deterministic"

LEAST = 0.5  # nats per image; log 2 = 0.69 would be one yes or no about an image
EVIDENCE = ("rate", "mutual_information", "active_units", "shuffle_gap", "prior_gap")
CRITERION = f"a rate or a shuffle gap below {LEAST:g} nats per image, or no active unit"


class Verdict(NamedTuple):
    """What is said of a run's latent space."""

    label: str  # healthy, partial, collapsed; deterministic where there is no posterior to collapse
    words: str  # why, in a sentence
    evidence: dict[str, float | None]  # what it rests on; None: undefined, or not measured

    def as_dict(self) -> dict[str, Any]:
        return self._asdict()


def verdict(metrics: Mapping[str, Any], split: str = "test") -> Verdict | None:
    """The verdict on the numbers ``<split>/...``; None if none was measured that could tell.

    - collapsed: the code says next to nothing about the image. The rate is below LEAST nats per image, or no
      unit is active (Burda et al., 2016), or the decoder ignores z: with another image's code
      (``shuffle_gap``) it loses less than LEAST nats.
    - partial: it says something, but some dimensions are not active: they are the same for every image.
    - healthy: every dimension is active.
    - deterministic: an autoencoder's code has no density, so no rate, and nothing pulls it to a prior.
    """
    evidence = {name: finite(metrics.get(f"{split}/{name}")) for name in EVIDENCE}
    kl = metrics.get(f"{split}/kl_per_dim")
    dimensions = len(kl) if isinstance(kl, list) else None
    rate, units, gap = evidence["rate"], evidence["active_units"], evidence["shuffle_gap"]
    shown = {**evidence, "latent_dim": None if dimensions is None else float(dimensions)}
    if units is None and gap is None and rate is None:
        return None
    if rate is None:
        return Verdict(DETERMINISTIC, _deterministic(gap), shown)
    reasons = [f"the rate is {rate:.2f} nats per image"] if rate < LEAST else []
    reasons += ["no unit is active"] if units == 0 else []
    if gap is not None and gap < LEAST:
        reasons.append(f"another image's code costs the decoder {gap:.2f} nats")
    if reasons:
        return Verdict(COLLAPSED, " and ".join(reasons), shown)
    cost = "" if gap is None else f", another image's code costs the decoder {gap:.1f}"
    facts = f"the rate is {rate:.2f} nats per image{cost}"
    if units is None or dimensions is None:
        return Verdict(HEALTHY, facts, shown)
    if units < dimensions:
        return Verdict(PARTIAL, f"{units:.0f} of {dimensions} dimensions are active; {facts}", shown)
    return Verdict(HEALTHY, f"all {dimensions} dimensions are active; {facts}", shown)


def _deterministic(gap: float | None) -> str:
    text = "the code has no density, so no rate that could collapse"
    if gap is None:
        return text
    listens = "ignores it" if gap < LEAST else "listens to it"
    return f"{text}; the decoder {listens}: another image's code costs {gap:.1f} nats"
