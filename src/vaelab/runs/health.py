"""The verdict on posterior collapse from a run's metrics, with its evidence."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from vaelab.runs.record import finite

__all__ = [
    "COLLAPSED",
    "CRITERION",
    "DETERMINISTIC",
    "FEWEST",
    "HEALTHY",
    "OFF_TARGET",
    "PRUNED",
    "UNTRAINED",
    "Verdict",
    "missed_target",
    "verdict",
]

HEALTHY, PRUNED, COLLAPSED, DETERMINISTIC = "healthy", "pruned", "collapsed", "deterministic"
OFF_TARGET, UNTRAINED = "off target", "untrained"
SHARE = 0.02  # of the way from the best constant image to a target: so much a run may lack

FEWEST = 20  # images; with fewer, neither active units nor the gap tell a collapse from chance
ERRORS = 2  # standard errors of the shuffle gap; of a decoder that ignores z, 2.3% of test sets exceed them
EVIDENCE = (
    *("rate", "rate_se", "mutual_information_low", "mutual_information_high", "active_units"),
    *("shuffle_gap", "shuffle_gap_se", "prior_gap", "prior_gap_se"),
)
CRITERION = "no active unit, or a shuffle gap below two of its standard errors"


class Verdict(NamedTuple):
    """The verdict on a run's latent space."""

    label: str  # healthy, pruned, collapsed, untrained, off target; deterministic where none could collapse
    reason: str  # the reason, as a clause
    evidence: dict[str, float | None]  # the metrics that decide; None if undefined or not measured
    ground: str = ""  # the numbers that decided, for a table: "3 of 10", "shuffle gap 0.09 ± 0.05"
    groups: tuple[str, ...] = ()  # of a hierarchy "active" or "collapsed" for each group; else empty

    def as_dict(self) -> dict[str, Any]:
        return self._asdict()


def verdict(metrics: Mapping[str, Any], split: str = "test") -> Verdict | None:
    """The verdict on the metrics ``<split>/...``; None if the metrics that decide are missing.

    None as well for fewer than FEWEST images.

    - untrained: no optimizer step was taken (``train/steps``), or units are active, but the decoder is worse
      than the best one that ignores z (:func:`below_constant`): the other numbers say nothing about z.
    - collapsed: no unit is active (Burda et al., *Importance Weighted Autoencoders*, 2016), or the decoder
      ignores z: what the code of another image costs it (``shuffle_gap``) is not above ERRORS of its standard
      errors. Where the standard error is unknown, as of a single image, only a gap of 0 or less counts.
    - pruned: the decoder uses z, and some dimensions of it are the same for every image. A group of a
      hierarchy without an active unit has collapsed, whatever the other groups are (:func:`group_labels`).
    - healthy: the decoder uses z, and every dimension is active.
    - deterministic: the code of an autoencoder has no density and therefore no rate.
    - off target: the decoder uses z, but the objective's target is not reached (:func:`missed_target`).

    No number of nats decides: the best model of a small problem may have a rate below 0.5, and the decoder of
    a large image may ignore more.

    >>> verdict({"test/rate": 0.35, "test/active_units": 1, "test/kl_per_dim": [0.35]}).label
    'healthy'
    """
    found = verdict_of_whole(metrics, split)
    return None if found is None else found._replace(groups=group_labels(metrics, split))


def group_labels(metrics: Mapping[str, Any], split: str = "test") -> tuple[str, ...]:
    """Of each group of a hierarchy whether it has an active unit; empty where there are no groups.

    >>> group_labels({"test/active_units_per_group": [3.0, 0.0]})
    ('active', 'collapsed')
    """
    units = metrics.get(f"{split}/active_units_per_group")
    counts = [finite(count) for count in units] if isinstance(units, list) else []
    return () if None in counts else tuple("active" if count else COLLAPSED for count in counts)


def verdict_of_whole(metrics: Mapping[str, Any], split: str) -> Verdict | None:
    """The verdict on all dimensions together."""
    evidence = {name: finite(metrics.get(f"{split}/{name}")) for name in EVIDENCE}
    kl = metrics.get(f"{split}/kl_per_dim")
    dimensions = len(kl) if isinstance(kl, list) else None
    evidence["latent_dim"] = None if dimensions is None else float(dimensions)
    if metrics.get("train/steps") == 0:
        return Verdict(UNTRAINED, "no optimizer step was taken", evidence, "no optimizer step")
    rate, units, gap = evidence["rate"], evidence["active_units"], evidence["shuffle_gap"]
    images = finite(metrics.get(f"{split}/aggregate_images"))
    if (units is None and gap is None) or (images is not None and images < FEWEST):
        return None
    error = evidence["shuffle_gap_se"]
    ignored = gap is not None and gap <= ERRORS * (error or 0.0)
    facts = []
    if rate is not None:
        below = ", an estimate below 0, which no rate is" if rate < 0 else ""
        facts.append(f"the rate is {rate:.2f} nats per image{below}")
    if gap is not None:
        margin = "" if error is None else f" ± {error:.2g}"
        if gap < 0 and error is not None and gap >= -ERRORS * error:
            facts.append(f"another image's code costs the decoder nothing ({gap:.3g}{margin} nats)")
        else:
            does = "costs" if gap >= 0 else "saves"
            facts.append(f"another image's code {does} the decoder {abs(gap):.3g}{margin} nats")
    worse, of_gap = below_constant(metrics, split), shown_gap(gap, error)
    missed, miss = missed_target(metrics), target_miss(metrics)
    facts = [*([missed] if missed else []), *facts]
    if worse and units != 0:
        ground = "distortion {:.2f}, constant {:.2f}".format(*worse)
        return Verdict(UNTRAINED, "; ".join([UNTRAINED_REASON.format(*worse), *facts]), evidence, ground)
    if rate is None:
        uses = [] if gap is None else ["the decoder ignores it" if ignored else "the decoder uses it"]
        no_rate = "the code has no density, so no rate that could collapse"
        ground = of_gap if ignored else ""
        return Verdict(DETERMINISTIC, "; ".join([no_rate, *uses, *facts]), evidence, ground)
    of = "" if dimensions is None else f" of {dimensions} dimensions"
    active = [] if units is None else [f"{units:.0f}{of or ' dimensions'} are active"]
    if units == 0:
        return Verdict(COLLAPSED, "; ".join(["no unit is active", *facts]), evidence, "no active unit")
    if ignored:
        reason = "; ".join(["the decoder ignores the code", *facts, *active])
        return Verdict(COLLAPSED, reason, evidence, of_gap)
    if miss:
        ground = "{} {:.2f}, target {:.2f}".format(*miss)
        return Verdict(OFF_TARGET, "; ".join([*facts, *active]), evidence, ground)
    if units is not None and dimensions is not None and units < dimensions:
        gone = [str(group) for group, label in enumerate(group_labels(metrics, split)) if label == COLLAPSED]
        of_groups = f"none of group {' and '.join(gone)}" if gone else ""
        ground = ", ".join(filter(None, [f"{units:.0f} of {dimensions}", of_groups]))
        collapsed = [f"group {group} has collapsed, it has no active unit" for group in gone]
        return Verdict(PRUNED, "; ".join([*active, *collapsed, *facts]), evidence, ground)
    return Verdict(HEALTHY, "; ".join([*active, *facts]), evidence)


UNTRAINED_REASON = (
    "the distortion is {:.1f} nats, that of the best constant image {:.1f}: a longer training or more images"
)


def shown_gap(gap: float | None, error: float | None) -> str:
    """``shuffle gap 0.09 ± 0.05``, the gap and its standard error."""
    if gap is None:
        return ""
    return f"shuffle gap {gap:.2g}" + ("" if error is None else f" ± {error:.2g}")


def below_constant(metrics: Mapping[str, Any], split: str = "test") -> tuple[float, float] | None:
    """The distortion and that of the best constant image, if it is worse by ERRORS standard errors.

    >>> below_constant({"test/distortion": 40.0, "test/constant_distortion": 27.3})
    (40.0, 27.3)
    """
    names = [f"{split}/{of}{end}" for end in ("", "_se") for of in ("distortion", "constant_distortion")]
    distortion, constant, *errors = (finite(metrics.get(name)) for name in names)
    if distortion is None or constant is None:
        return None
    margin = ERRORS * math.hypot(*(error or 0.0 for error in errors))
    return (distortion, constant) if distortion - constant > margin else None


def missed_target(metrics: Mapping[str, Any]) -> str | None:
    """A clause about the target that the objective drives the rate or the distortion to, if it is missed.

    >>> missed_target({"train/distortion_target": 20, "train/distortion_reached": 221.6})
    'target not reached: the distortion of training images is 221.60 nats, the target 20.00'
    """
    miss = target_miss(metrics)
    text = "target not reached: the {} of training images is {:.2f} nats, the target {:.2f}"
    return text.format(*miss) if miss else None


def target_miss(metrics: Mapping[str, Any]) -> tuple[str, float, float] | None:
    """What misses its target, what it has reached, and the target.

    The way to a target begins at the best constant image, which has rate 0 and the distortion
    ``constant_distortion``: nats of rate have a zero, those of distortion have none. A target is missed by
    more than SHARE of its way and ERRORS standard errors of the mean over training images; a distortion below
    its target meets it. Where the constant's distortion is unknown, the errors alone decide.
    """
    constants = (finite(metrics.get(f"{split}/constant_distortion")) for split in ("test", "val"))
    constant = next((value for value in constants if value is not None), None)
    for of in ("rate", "distortion"):
        target, reached = (finite(metrics.get(f"train/{of}_{name}")) for name in ("target", "reached"))
        if target is None or reached is None:
            continue
        error = finite(metrics.get(f"train/{of}_reached_se")) or 0.0
        if of == "rate":
            miss, way = abs(reached - target), target
        else:
            miss, way = reached - target, 0.0 if constant is None else constant - target
        if miss > max(SHARE * way, ERRORS * error):
            return of, reached, target
    return None
