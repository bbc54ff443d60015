"""The verdict on posterior collapse from a run's metrics, with its evidence."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from vaelab.runs.record import finite

__all__ = ["COLLAPSED", "CRITERION", "DETERMINISTIC", "HEALTHY", "PARTIAL", "Verdict", "verdict"]

HEALTHY, PARTIAL, COLLAPSED, DETERMINISTIC = "healthy", "partial", "collapsed", "deterministic"

LEAST = 0.5  # nats per image; one bit is log 2 = 0.69 nats
EVIDENCE = ("rate", "mutual_information_low", "active_units", "shuffle_gap", "prior_gap")
CRITERION = f"a rate or a shuffle gap below {LEAST:g} nats per image, or no active unit"


class Verdict(NamedTuple):
    """The verdict on a run's latent space."""

    label: str  # healthy, partial, collapsed; deterministic where there is no posterior to collapse
    reason: str  # the reason, as a clause
    evidence: dict[str, float | None]  # the metrics that decide; None if undefined or not measured

    def as_dict(self) -> dict[str, Any]:
        return self._asdict()


def verdict(metrics: Mapping[str, Any], split: str = "test") -> Verdict | None:
    """The verdict on the metrics ``<split>/...``; None if the metrics that decide are missing.

    - collapsed: the rate is below LEAST nats per image, or no unit is active (Burda et al., *Importance
      Weighted Autoencoders*, 2016), or the decoder ignores z: the code of another image raises the distortion
      by less than LEAST nats (``shuffle_gap``).
    - partial: some dimensions are not active.
    - healthy: every dimension is active.
    - deterministic: the code of an autoencoder has no density and therefore no rate.

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
