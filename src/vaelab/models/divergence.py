"""KL(q(z|x) || p(z)): in closed form where there is one, else estimated from samples."""

from typing import Any

import torch
from torch import Tensor

from vaelab.models.posteriors import Posterior
from vaelab.models.priors import Density, StandardNormal
from vaelab.types import LatentStats

__all__ = ["kl_per_dimension", "log_prior", "rate"]


def log_prior(prior: Any, q: Any, z: Tensor) -> Tensor:
    """log p(z) in nats, (S, B), for samples z (S, B, D) of q(z|x); log p of the codes where q chooses codes.

    The codes are not looked for in z: a z that is the sum of several does not tell them.
    """
    if hasattr(q, "codes"):
        return prior.log_prob_of(q.codes).expand(z.shape[:-1])
    log_p: Tensor = prior.log_prob(z)
    return log_p


def rate(posterior: Posterior, q: Any, prior: Density, stats: LatentStats) -> Tensor:
    """KL(q(z|x) || p(z)) in nats, (B,), from ``stats.kl`` or ``stats.log_q`` and ``stats.log_p``.

    Beside N(0, I) the sum of :func:`kl_per_dimension`, which is exact for Gaussian posteriors. Otherwise the
    estimate mean_s [log q(z_s|x) - log p(z_s)] from the samples z_s ~ q(z|x): it is unbiased, as is its
    gradient through reparametrised samples, and can be negative for one image. NaN where q has no density.

    Args:
        q: the parameters of q(z|x), as ``posterior`` gives them.
    """
    if isinstance(prior, StandardNormal) and posterior.closed_kl:
        return stats.kl.sum(-1)
    return (stats.log_q - stats.log_p).mean(0)


def kl_per_dimension(posterior: Posterior, q: Any, prior: Any, z: Tensor | None = None) -> Tensor:
    """E_q KL(q(z_d | z_<d, x) || p(z_d)) in nats, (B, D): the rate, split by the chain rule.

    The parts are >= 0. For a posterior with correlated dimensions they depend on the order of the dimensions.
    NaN where the posterior is no chain of Gaussians or the prior is not N(0, I).

    Args:
        z: samples of q(z|x), (S, B, D), over which a hierarchy's parts are averaged: unbiased, and >= 0 for
            each. None: along the means.
    """
    if not posterior.closed_kl or not isinstance(prior, StandardNormal):
        return torch.full_like(q.loc, torch.nan)
    return posterior.standard_kl(q, z)
