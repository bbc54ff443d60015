"""How probable held-out images are to a model: -log p(x), by importance sampling and by annealing."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from vaelab.evaluation.marginal_likelihood import (
    Annealing,
    annealed_estimate,
    at_least,
    importance_estimate,
    simulate,
    why_no_annealing,
    why_no_importance_bound,
)
from vaelab.evaluation.trained_run import NotApplicable, TrainedRun
from vaelab.functional.annealed_importance import TARGET
from vaelab.functional.measures import bits_per_dimension
from vaelab.models.autoencoder import Autoencoder

CONVENTION = (
    "nats per image, summed over pixels, averaged over images; conditional models: of p(x|label); "
    "_se: standard error of that mean over images, which leaves out the estimator's own"
)


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """The mean of (N,) and its standard error, sd / sqrt(N); NaN for a single value."""
    error = values.std() / len(values) ** 0.5 if len(values) > 1 else torch.tensor(torch.nan)
    return values.mean().item(), error.item()


def negative_log_likelihood(name: str, model: Autoencoder, x: Tensor, bound: Tensor) -> dict[str, float]:
    """``name``, ``name_se`` and ``name_bits`` (per dimension; NaN where p(x|z) is no probability of x)."""
    mean, error = mean_and_error(-bound)
    bits = bits_per_dimension(torch.tensor(mean), x[0].numel()).item()
    return {
        name: mean,
        f"{name}_se": error,
        f"{name}_bits": bits if bool(model.likelihood.discrete(x)) else torch.nan,
    }


class ImportanceNLL:
    """-L_K, with L_K = log 1/K sum_k p(x, z_k) / q(z_k|x), z_k ~ q(z|x) (Burda et al., 2016).

    In expectation an upper bound of -log p(x). Positive for discrete images; a density may have either sign.

    Metrics: ``nll_importance`` with its ``_se`` and ``_bits``; ``elbo_gap``, L_K - ELBO of the same images
    and samples, which is what the ELBO lacks at least; ``importance_ess``, the median over images of the
    effective number of samples: where it is small against K, L_K may still be far from log p(x), and
    :class:`AIS` tells how far.

    Args:
        samples: K.
        images: at most that many, the first of the split.
        batch: images at once.
        chunk: samples of each at once; None for what a cache holds.
        split: of the data.
    """

    def __init__(
        self,
        samples: int = 5000,
        images: int = 1000,
        batch: int = 64,
        chunk: int | None = None,
        split: str = "test",
    ) -> None:
        at_least(1, "samples", samples)
        at_least(1, "images", images)
        at_least(1, "batch", batch)
        self.samples = samples
        self.images = images
        self.batch = batch
        self.chunk = chunk
        self.split = split

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        reason = why_no_importance_bound(run.model)
        if reason is not None:
            raise NotApplicable(reason)
        x, y = run.images(self.split, self.images), run.labels(self.split, self.images)
        found = importance_estimate(
            run.model, x, y, self.samples, self.batch, self.chunk, progress=run.progress
        )
        metrics = {
            **negative_log_likelihood("nll_importance", run.model, x, found.bound),
            "elbo_gap": (found.bound - found.elbo).mean().item(),
            "importance_ess": found.effective.median().item(),
        }
        protocol = {
            "method": "importance bound, samples from q(z|x) (Burda, Grosse & Salakhutdinov, 2016)",
            "samples": self.samples,
            "images": len(x),
            "split": self.split,
            "convention": CONVENTION,
        }
        return {"metrics": metrics, "protocol": protocol}


class AIS:
    """-log p(x) by annealed importance sampling, with its accuracy on simulated images (Wu et al., 2017).

    Metrics:
        ``nll_ais`` with its ``_se`` and ``_bits``: minus the lower bound of log p(x) on held-out images;
        ``ais_simulated_lower``, ``ais_simulated_upper``: the mean bounds of log p(x) on images that the model
        draws itself, where there is one from above too (bidirectional Monte Carlo);
        ``ais_gap``: upper - lower, with its ``_se``. In expectation neither bound is further off than that,
        and noise may turn its sign once it is small. It speaks of simulated images: those of the data may be
        harder for a poor model (Wu et al. discuss it);
        ``ais_acceptance``: the share of HMC proposals accepted; the step sizes aim at 0.65.

    Args:
        images: at most that many, the first of the split.
        simulated: how many images to simulate; 0 for none, and NaN for what they would tell.
        batch: images at once; None for what a cache holds.
        split: of the data.
        chains, steps, schedule, start, leapfrog_steps, pilot_chains: see
            :class:`~vaelab.evaluation.marginal_likelihood.Annealing`.
    """

    def __init__(
        self,
        chains: int = 16,
        steps: int = 500,
        images: int = 100,
        simulated: int = 20,
        schedule: str = "sigmoid",
        start: str = "prior",
        leapfrog_steps: int = 5,
        pilot_chains: int = 4,
        batch: int | None = None,
        split: str = "test",
    ) -> None:
        self.annealing = Annealing(chains, steps, schedule, start, leapfrog_steps, pilot_chains)
        at_least(1, "images", images)
        at_least(0, "simulated", simulated)
        self.images = images
        self.simulated = simulated
        self.batch = batch
        self.split = split

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        reason = why_no_annealing(run.model, self.annealing.start)
        if reason is not None:
            raise NotApplicable(reason)
        x, y = run.images(self.split, self.images), run.labels(self.split, self.images)
        real = annealed_estimate(run.model, x, y, self.annealing, batch=self.batch, progress=run.progress)
        metrics = {
            **negative_log_likelihood("nll_ais", run.model, x, real.lower),
            **self._sandwich(run, x, y),
            "ais_acceptance": real.acceptance.mean().item(),
        }
        protocol = {
            "method": "annealed importance sampling with HMC, from below (Neal, 2001; Wu et al., 2017)",
            "gap": "bidirectional Monte Carlo on simulated images (Grosse et al., 2015)",
            "adaptation": f"step size per image and temperature, by pilot chains, to acceptance {TARGET}",
            **asdict(self.annealing),
            "images": len(x),
            "simulated": self.simulated,
            "split": self.split,
            "convention": CONVENTION,
        }
        return {"metrics": metrics, "protocol": protocol}

    def _sandwich(self, run: TrainedRun, x: Tensor, y: Tensor | None) -> dict[str, float]:
        """Both bounds on simulated images, and the gap between them."""
        names = ("ais_simulated_lower", "ais_simulated_upper", "ais_gap", "ais_gap_se")
        if not self.simulated:
            return dict.fromkeys(names, torch.nan)
        made = simulate(run.model, self.simulated, x.shape[1:], y)
        found = annealed_estimate(
            run.model, made.x, made.y, self.annealing, made.z, self.batch, progress=run.progress
        )
        gap = mean_and_error(found.upper - found.lower)
        values = (found.lower.mean().item(), found.upper.mean().item(), *gap)
        return dict(zip(names, values, strict=True))
