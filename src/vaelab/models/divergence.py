"""KL(q(z|x) || p(z)): in closed form where there is one, else estimated from samples."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from vaelab.functional.distributions import gaussian_kl
from vaelab.models.posteriors import Posterior
from vaelab.models.priors import Density, StandardNormal

__all__ = ["Divergence", "divergence", "kl_per_dimension"]


class Divergence(NamedTuple):
    """KL(q(z|x) || p(z)) in nats."""

    rate: Tensor  # (B,)
    per_dimension: Tensor  # (B, D)  sums to the rate; NaN where the rate is not such a sum


def divergence(posterior: Posterior, q: Any, prior: Density, log_q: Tensor, log_p: Tensor) -> Divergence:
    """KL(q(z|x) || p(z)).

    Exact for Gaussian posteriors beside N(0, I). Otherwise the estimate mean_s [log q(z_s|x) - log p(z_s)]
    from the samples z_s ~ q(z|x): it is unbiased, as is its gradient through reparametrised samples, and can
    be negative for one image. NaN where q has no density.

    Args:
        q: the parameters of q(z|x), as ``posterior`` gives them.
        log_q, log_p: (S, B), log q(z_s|x) and log p(z_s) in nats.
    """
    parts = kl_per_dimension(posterior, q, prior)
    exact = isinstance(prior, StandardNormal) and posterior.conditionals(q) is not None
    return Divergence(parts.sum(-1) if exact else (log_q - log_p).mean(0), parts)


def kl_per_dimension(posterior: Posterior, q: Any, prior: Any) -> Tensor:
    """E_q KL(q(z_d | z_<d, x) || p(z_d)) in nats, (B, D): the rate, split by the chain rule.

    The parts are >= 0. For a posterior with correlated dimensions they depend on the order of the dimensions.
    NaN where the posterior is not Gaussian or the prior is not N(0, I).
    """
    conditionals = posterior.conditionals(q)
    if conditionals is None or not isinstance(prior, StandardNormal):
        return torch.full_like(q.loc, torch.nan)
    loc, log_var, spread = conditionals
    return gaussian_kl(loc, log_var) + 0.5 * spread
