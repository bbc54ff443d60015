"""The curve in the record of a multi-rate run: a list of points, each what a run of one beta records."""

from collections.abc import Iterator, Mapping
from typing import Any

from vaelab.runs.record import finite

__all__ = ["point_at", "point_folder", "point_records"]

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
