"""Whether the posterior has collapsed: a verdict from a run's numbers, with its evidence."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from vaelab.runs.record import finite

__all__ = ["COLLAPSED", "CRITERION", "DETERMINISTIC", "HEALTHY", "PARTIAL", "Verdict", "verdict"]

HEALTHY, PARTIAL, COLLAPSED, DETERMINISTIC = "healthy", "partial", "collapsed", "deterministic"

LEAST = 0.5  # nats per image; log 2 = 0.69 is the information of one yes or no about an image
EVIDENCE = ("rate", "mutual_information", "active_units", "shuffle_gap", "prior_gap")
CRITERION = f"a rate or a shuffle gap below {LEAST:g} nats per image, or no active unit"


class Verdict(NamedTuple):
    """What a run's numbers say of its latent space."""

    label: str  # healthy, partial, collapsed; deterministic where there is no posterior to collapse
    reason: str  # why, in a sentence
    evidence: dict[str, float | None]  # the numbers that decide; None: undefined, or not measured

    def as_dict(self) -> dict[str, Any]:
        return self._asdict()


def verdict(metrics: Mapping[str, Any], split: str = "test") -> Verdict | None:
    """The verdict on the numbers ``<split>/...``; None if the numbers that decide are missing.

    - collapsed: the code says next to nothing about the image. The rate is below LEAST nats per image, or no
      unit is active (Burda et al., *Importance Weighted Autoencoders*, 2016), or the decoder ignores z: with
      the code of another image (``shuffle_gap``) it loses less than LEAST nats.
    - partial: the code says something, but some dimensions are the same for every image.
    - healthy: every dimension is active.
    - deterministic: the code of an autoencoder has no density, so no rate.

    >>> verdict({"test/rate": 0.1}).label
    'collapsed'
    """
    evidence = {name: finite(metrics.get(f"{split}/{name}")) for name in EVIDENCE}
    kl = metrics.get(f"{split}/kl_per_dim")
    dimensions = len(kl) if isinstance(kl, list) else None
    rate, units, gap = evidence["rate"], evidence["active_units"], evidence["shuffle_gap"]
    if units is None and gap is None and rate is None:
        return None
    evidence["latent_dim"] = None if dimensions is None else float(dimensions)
    if rate is None:
        return Verdict(DETERMINISTIC, _deterministic(gap), evidence)
    reasons = [f"the rate is {rate:.2f} nats per image"] if rate < LEAST else []
    reasons += ["no unit is active"] if units == 0 else []
    if gap is not None and gap < LEAST:
        reasons.append(f"another image's code costs the decoder {gap:.2f} nats")
    if reasons:
        return Verdict(COLLAPSED, " and ".join(reasons), evidence)
    cost = "" if gap is None else f", another image's code costs the decoder {gap:.1f}"
    facts = f"the rate is {rate:.2f} nats per image{cost}"
    if units is None or dimensions is None:
        return Verdict(HEALTHY, facts, evidence)
    if units < dimensions:
        return Verdict(PARTIAL, f"{units:.0f} of {dimensions} dimensions are active; {facts}", evidence)
    return Verdict(HEALTHY, f"all {dimensions} dimensions are active; {facts}", evidence)


def _deterministic(gap: float | None) -> str:
    text = "the code has no density, so no rate that could collapse"
    if gap is None:
        return text
    uses = "ignores it" if gap < LEAST else "uses it"
    return f"{text}; the decoder {uses}: another image's code costs {gap:.1f} nats"
