"""Any point of a multi-rate run's curve, and the beta at which it has a given rate, distortion or size."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from vaelab.errors import UserError
from vaelab.evaluation.trained_run import TrainedRun
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.rate_condition import RateCondition
from vaelab.runs.curve import point_at
from vaelab.runs.request import RunRequest
from vaelab.training.curve import measure_point
from vaelab.training.held_out_noise import HeldOutNoise
from vaelab.training.measure import STEPS, constant_metrics
from vaelab.training.setup import build_module
from vaelab.types import Noise

__all__ = ["beta_for", "crossing", "default_beta", "ensure_point"]

IMAGES = 2000  # held-out images on which a beta is searched for
STEPS_OF_SEARCH = 40  # halvings of the range
THRESHOLD = 0.01  # variance of the mean from which a unit is active
TARGETS = ("rate", "distortion", "active_units", "elbo")


def multi_rate_model(run: TrainedRun) -> tuple[Autoencoder, RateCondition]:
    """The model of a multi-rate run and its condition.

    Raises:
        UserError: the run was trained with one beta.
    """
    model = run.loaded.model
    if not isinstance(model.condition, RateCondition):
        raise UserError("it was trained with one beta: beta=... and target... are for model=multi_rate_vae.")
    return model.requires_grad_(False), model.condition


def default_beta(run: TrainedRun) -> float | None:
    """The beta at which a multi-rate run is evaluated if none is given; None for an ordinary run."""
    return multi_rate_model(run)[1].default if run.record.get("curve") else None


def ensure_point(run: TrainedRun, beta: float) -> dict[str, Any]:
    """The point of the run's curve at ``beta``, measured and added to its record if it is not there.

    Raises:
        UserError: beta is outside of the range of the training, or the run has a single one.
    """
    model, _ = multi_rate_model(run)
    try:
        model.at(beta)
    except ValueError as error:
        raise UserError(f"{error}.") from error
    known = point_at(run.record, beta)
    if known is not None:
        return known
    config = run.config.copy()
    if run.device.type == "cpu":
        OmegaConf.update(config, "trainer.accelerator", "cpu")
    with torch.random.fork_rng(devices=[]):
        module = build_module(config, run.data)
    checkpoint = torch.load(run.folder / run.record["weights"], map_location="cpu", weights_only=True)
    module.load_state_dict(checkpoint["state_dict"])
    module.at_rate_zero, constant = constant_metrics(module, run.data)
    steps = {STEPS: run.record["metrics"][STEPS]}
    point = measure_point(config, module, run.data, request_of(run), constant, steps, beta)
    run.record["curve"] = sorted([*run.record["curve"], point], key=lambda point: float(point["beta"]))
    return point


def request_of(run: TrainedRun) -> RunRequest:
    record = run.record
    return RunRequest(run.folder, str(record.get("variant")), run.dataset, str(record.get("name")))


def beta_for(run: TrainedRun, target: Mapping[str, Any]) -> float:
    """The beta that has what ``target`` says, a single one of TARGETS, on validation (else test) images.

    - ``rate`` or ``distortion``, nats: where the curve crosses it.
    - ``active_units``: the least beta at which no more are active.
    - ``elbo: best``: the greatest ELBO, -(rate + distortion).

    Raises:
        UserError: the curve does not reach the target, or more than one is given.
    """
    (name, value), *others = [(name, value) for name, value in target.items() if value is not None]
    if others:
        raise UserError(f"target.{name} and target.{others[0][0]}: give one of them.")
    model, condition = multi_rate_model(run)
    measured = measures(run, model)
    low, high = math.log(condition.low), math.log(condition.high)
    if name == "elbo":
        return rounded(greatest(lambda log_beta: -sum(measured(math.exp(log_beta))[:2]), low, high))
    column = TARGETS.index(name)
    ends = [measured(condition.low)[column], measured(condition.high)[column]]
    if not min(ends) <= value <= max(ends):
        raise UserError(
            f"target.{name}={value:g}: on this curve it goes from {ends[0]:.4g} at beta {condition.low:g} to "
            f"{ends[1]:.4g} at beta {condition.high:g}."
        )
    sign = 1 if name == "distortion" else -1  # the distortion rises with beta, the others fall
    return rounded(
        crossing(lambda log_beta: sign * measured(math.exp(log_beta))[column], sign * value, low, high)
    )


def measures(run: TrainedRun, model: Autoencoder) -> Callable[[float], tuple[float, float, int]]:
    """beta -> rate, distortion and active units on held-out images, with the noise of a validation."""
    split = "test" if run.data.val is None else "val"
    x, y = run.images(split, IMAGES).to(run.device), run.labels(split, IMAGES)
    y = None if y is None else y.to(run.device)
    assert isinstance(model.condition, RateCondition)
    low, high = model.condition.low, model.condition.high
    drawn = HeldOutNoise(model.samples, model.latent_dim)(split, torch.arange(len(x)))
    noise = Noise._make(part.to(x) for part in drawn)

    @torch.no_grad()
    def measured(beta: float) -> tuple[float, float, int]:
        stats = model.at(min(max(beta, low), high))(x, noise, 0, y).stats
        active: Tensor = stats.loc.var(0) > THRESHOLD
        return stats.rate.mean().item(), stats.distortion.mean().item(), int(active.sum())

    return measured


def crossing(rising: Callable[[float], float], value: float, low: float, high: float) -> float:
    """The least x in [low, high] at which a rising function is at least ``value``, by bisection.

    >>> round(crossing(lambda x: x**2, 2.0, 0.0, 2.0), 6)
    1.414214
    """
    for _ in range(STEPS_OF_SEARCH):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) >= value else (middle, high)
    return high


def greatest(function: Callable[[float], float], low: float, high: float) -> float:
    """The x in [low, high] at which a function with one peak is greatest, by thirds of the range.

    >>> round(greatest(lambda x: -((x - 0.3) ** 2), -1.0, 1.0), 4)
    0.3
    """
    for _ in range(2 * STEPS_OF_SEARCH):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (a, high) if function(a) < function(b) else (low, b)
    return (low + high) / 2


def rounded(log_beta: float) -> float:
    """beta to four digits."""
    return float(f"{math.exp(log_beta):.4g}")
