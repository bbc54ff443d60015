"""-log p(x) of held-out images, by importance sampling and by annealed importance sampling."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from vaelab.evaluation.marginal_likelihood import (
    Annealing,
    annealed_estimate,
    importance_estimate,
    simulate,
)
from vaelab.evaluation.trained_run import TrainedRun, mean_and_error, require
from vaelab.functional.annealed_importance import TARGET
from vaelab.functional.measures import bits_per_dimension
from vaelab.models.autoencoder import Autoencoder

__all__ = ["AIS", "ImportanceNLL"]

CONVENTION = (
    "nats per image, summed over pixels, averaged over images; conditional models: of p(x|label); "
    "_se: standard error of that mean over images, which leaves out the estimator's own"
)


def negative_log_likelihood(name: str, model: Autoencoder, x: Tensor, bound: Tensor) -> dict[str, float]:
    """``name``, ``name_se`` and ``name_bits`` (per dimension; NaN where p(x|z) is no probability of x)."""
    metrics = mean_and_error(name, -bound)
    bits = bits_per_dimension(torch.tensor(metrics[name]), x[0].numel()).item()
    return metrics | {f"{name}_bits": bits if bool(model.likelihood.discrete(x)) else torch.nan}


class ImportanceNLL:
    """-L_K, where L_K = log 1/K sum_k p(x, z_k) / q(z_k|x) and z_k ~ q(z|x).

    Its expectation is an upper bound of -log p(x) (Burda, Grosse & Salakhutdinov, 2016, "Importance Weighted
    Autoencoders", arXiv:1509.00519). It is positive for discrete images; a density may have either sign.

    Metrics: ``nll_importance`` with ``_se`` and ``_bits``; ``elbo_gap`` with ``_se``, L_K - ELBO of the same
    images and samples; ``importance_ess``, the median over images of the effective number of samples. If that
    is small compared with K, L_K may be far from log p(x); :class:`AIS` measures how far.

    Args:
        samples: K.
        images: the maximum number of test images, random ones that are the same in every run.
        batch: images per pass.
        chunk: samples of each image per pass; None for as many as fit in a cache.

    Raises:
        ValueError: one of the numbers is below 1.
    """

    def __init__(
        self, samples: int = 5000, images: int = 1000, batch: int = 64, chunk: int | None = None
    ) -> None:
        require(1, samples=samples, images=images, batch=batch)
        self.samples, self.images, self.batch, self.chunk = samples, images, batch, chunk

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        """Raises NotApplicable for a posterior without a density."""
        x, y = run.images("test", self.images), run.labels("test", self.images)
        estimate = importance_estimate(
            run.model, x, y, self.samples, self.batch, self.chunk, progress=run.progress
        )
        return {
            "metrics": {
                **negative_log_likelihood("nll_importance", run.model, x, estimate.bound),
                **mean_and_error("elbo_gap", estimate.bound - estimate.elbo),
                "importance_ess": estimate.effective.median().item(),
            },
            "protocol": {
                "method": "importance bound, samples from q(z|x) (Burda, Grosse & Salakhutdinov, 2016)",
                "samples": self.samples,
                "images": len(x),
                "split": "test",
                "convention": CONVENTION,
            },
        }


class AIS:
    """-log p(x) by annealed importance sampling, with its accuracy on simulated images.

    Wu, Burda, Salakhutdinov & Grosse (2017, "On the Quantitative Analysis of Decoder-Based Generative
    Models", arXiv:1611.04273). Metrics:

    - ``nll_ais`` with ``_se`` and ``_bits``: minus the lower bound of log p(x) on held-out images;
    - ``ais_simulated_lower``, ``ais_simulated_upper``, each with ``_se``: mean bounds of log p(x) on images
      drawn from the model, for which there is also an upper bound (bidirectional Monte Carlo);
    - ``ais_gap`` with ``_se``: upper - lower. Neither bound is further off in expectation; noise may turn the
      sign of a small gap. It holds for simulated images: those of the data may be harder for a poor model;
    - ``ais_acceptance``: the share of HMC proposals that are accepted; the step sizes aim at 0.65.

    Args:
        chains, steps, schedule, start, leapfrog_steps, pilot_chains: see
            :class:`~vaelab.evaluation.marginal_likelihood.Annealing`.
        images: the maximum number of test images, random ones that are the same in every run.
        simulated: the number of images to simulate; 0 for none, which leaves their metrics NaN.
        batch: images per pass; None for as many as fit in a cache.

    Raises:
        ValueError: a number is too small, or the schedule or the start is unknown.
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
    ) -> None:
        self.annealing = Annealing(chains, steps, schedule, start, leapfrog_steps, pilot_chains)
        require(1, images=images)
        require(0, simulated=simulated)
        self.images, self.simulated, self.batch = images, simulated, batch

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        """Raises NotApplicable for a prior over codes, and where there is no density to anneal from."""
        x, y = run.images("test", self.images), run.labels("test", self.images)
        real = annealed_estimate(run.model, x, y, self.annealing, batch=self.batch, progress=run.progress)
        return {
            "metrics": {
                **negative_log_likelihood("nll_ais", run.model, x, real.lower),
                **self._simulated_bounds(run, x, y),
                "ais_acceptance": real.acceptance.mean().item(),
            },
            "protocol": {
                "method": "annealed importance sampling with HMC, from below (Neal, 2001; Wu et al., 2017)",
                "gap": "bidirectional Monte Carlo on simulated images (Grosse et al., 2015)",
                "adaptation": f"step size per image and temperature, by pilot chains, to acceptance {TARGET}",
                **asdict(self.annealing),
                "images": len(x),
                "simulated": self.simulated,
                "split": "test",
                "convention": CONVENTION,
            },
        }

    def _simulated_bounds(self, run: TrainedRun, x: Tensor, y: Tensor | None) -> dict[str, float]:
        """Both bounds on simulated images, and the gap between them."""
        if not self.simulated:
            names = ("ais_simulated_lower", "ais_simulated_upper", "ais_gap")
            return {name + end: torch.nan for name in names for end in ("", "_se")}
        made = simulate(run.model, self.simulated, x.shape[1:], y)
        bounds = annealed_estimate(
            run.model, made.x, made.y, self.annealing, made.z, self.batch, progress=run.progress
        )
        return {
            **mean_and_error("ais_simulated_lower", bounds.lower),
            **mean_and_error("ais_simulated_upper", bounds.upper),
            **mean_and_error("ais_gap", bounds.upper - bounds.lower),
        }
