"""The curve in the record of a multi-rate run: a list of points, each what a run of one beta records."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vaelab.runs.record import finite

__all__ = ["beta_name", "named_by_beta", "point_at", "point_folder", "point_records"]

DRAWN = "vaelab.models.DrawnBeta"
CONDITION = "vaelab.models.RateCondition"


def point_folder(beta: float) -> str:
    """The folder of a point's pictures and numbers of each image, within the run's.

    >>> point_folder(0.5)
    'curve/beta_0.5'
    """
    return f"curve/beta_{beta:g}"


def point_at(record: Mapping[str, Any], beta: float) -> dict[str, Any] | None:
    """The point of the record's curve at ``beta``; None if it was not measured there."""
    return next((point for point in record.get("curve") or () if point["beta"] == beta), None)


def beta_name(beta: float) -> str:
    """The part of a metric's name that says the beta, without a dot, by which W&B would nest it.

    >>> beta_name(0.5), beta_name(4.0)
    ('beta_0_5', 'beta_4')
    """
    return f"beta_{beta:g}".replace(".", "_")


def named_by_beta(curve: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The metrics of a curve's points in one dictionary.

    >>> named_by_beta([{"beta": 0.5, "metrics": {"test/rate": 3.0}}])
    {'test/beta_0_5/rate': 3.0}
    """
    named = {}
    for point in curve:
        for name, value in point["metrics"].items():
            split, _, rest = name.partition("/")
            named[f"{split}/{beta_name(point['beta'])}/{rest}"] = value
    return named


def point_records(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A record for each point of the curve, as an ordinary run of that beta would have; none without a curve.

    Its config is that of a single beta: in place of each drawn one, and without the condition on it.
    """
    for point in record.get("curve") or ():
        beta = finite(point.get("beta"))
        if beta is None or not isinstance(point.get("metrics"), dict):
            raise ValueError("a point of its curve has no beta or no metrics")
        config = with_beta(record.get("config") or {}, beta)
        yield {**record, **point, "config": config, "beta": beta, "curve": None}


def with_beta(config: Any, beta: float) -> Any:
    """The config with the number ``beta`` in place of each drawn one, and without the condition on beta.

    >>> with_beta({"weight": {"_target_": "vaelab.models.DrawnBeta"}, "lr": 1}, 0.5)
    {'weight': 0.5, 'lr': 1}
    """
    if isinstance(config, Mapping):
        if config.get("_target_") == DRAWN:
            return beta
        if config.get("_target_") == CONDITION:
            return config.get("inner")
        return {key: with_beta(value, beta) for key, value in config.items()}
    if isinstance(config, list):
        return [with_beta(value, beta) for value in config]
    return config
