"""Densities and divergences as pure tensor functions, elementwise, in nats.

Everything that trains or is reported goes through these: one formula, one place.
"""

import math

import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, expm1

__all__ = [
    "LOG_2PI",
    "Values",
    "bernoulli_cross_entropy",
    "gaussian_kl",
    "normal_log_prob",
    "standard_normal_log_prob",
]

LOG_2PI = math.log(2 * math.pi)

Values = Tensor | ArrayLike  # what functions take that convert with torch.as_tensor


def normal_log_prob(x: Tensor, loc: Tensor, log_var: Tensor) -> Tensor:
    """log N(x; loc, exp(log_var)) = -1/2 [log 2 pi + log_var + (x - loc)^2 exp(-log_var)], elementwise."""
    return -0.5 * (LOG_2PI + log_var + (x - loc).square() * (-log_var).exp())


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) = -1/2 (D log 2 pi + |z|^2): (..., D) -> (...)."""
    return -0.5 * (z.shape[-1] * LOG_2PI + z.square().sum(-1))


def gaussian_kl(loc: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(loc, s^2) || N(0, 1)) = 1/2 (loc^2 + s^2 - log s^2 - 1) with s^2 = exp(log_var), elementwise.

    ``expm1`` keeps the digits that s^2 - 1 loses near a collapsed posterior, where s^2 is close to 1 and the
    KL close to 0. "Auto-Encoding Variational Bayes" (Kingma & Welling, 2014, appendix B),
    https://arxiv.org/abs/1312.6114

    >>> import torch
    >>> gaussian_kl(torch.tensor([0.0, 1.0]), torch.zeros(2))
    tensor([0.0000, 0.5000])
    """
    return 0.5 * (loc.square() + expm1(log_var) - log_var)


def bernoulli_cross_entropy(x: Tensor, logits: Tensor) -> Tensor:
    """-x log p - (1 - x) log(1 - p) with p = sigmoid(logits), elementwise; stable for any logit.

    It is -log p(x) of a Bernoulli variable for x in {0, 1}. For x strictly between it is a cross-entropy
    with a grey target, whose least value is the entropy of x rather than 0.
    """
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none")
