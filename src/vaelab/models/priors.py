"""Priors p(z): a density, and samples as a function of given noise.

A prior that depends on the rest of the model (VampPrior on the encoder, codes on the codebook) becomes a
:class:`Density` once per forward pass: :meth:`Prior.bind`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from vaelab.functional.distributions import normal_log_prob, standard_normal_log_prob
from vaelab.functional.randomness import normal_quantile, uniform
from vaelab.models.numbers import check_whole, register_number
from vaelab.models.requirements import Property
from vaelab.types import AfterStep

__all__ = [
    "Density",
    "FittedCodes",
    "FlowPrior",
    "MixtureOfGaussians",
    "Prior",
    "StandardNormal",
    "UniformCodes",
    "VampPrior",
    "code_counts",
]


class Density(Protocol):
    """p(z)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats: (..., D) -> (...)."""

    def sample(self, noise: Tensor) -> Tensor:
        """Standard normal noise (N, D) -> samples of p(z), (N, D); a function of the noise alone."""


class Prior(nn.Module):
    """What the autoencoder asks of p(z). A new prior implements ``log_prob`` and ``sample``, or ``bind``."""

    provides: frozenset[Property] = frozenset()
    needs: frozenset[Property] = frozenset({"vectors"})

    def bind(self, posterior: Any, encode: Callable[[Tensor], Any]) -> Density:
        """The density of this prior beside this posterior; ``encode``: images -> parameters of q(z|x)."""
        return self

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats: (..., D) -> (...)."""
        raise NotImplementedError

    def sample(self, noise: Tensor) -> Tensor:
        """Standard normal noise (N, D) -> samples of p(z), (N, D); a function of the noise alone."""
        raise NotImplementedError


class StandardNormal(Prior):
    """p(z) = N(0, I)."""

    provides = frozenset({"kl per dimension"})

    def log_prob(self, z: Tensor) -> Tensor:
        return standard_normal_log_prob(z)

    def sample(self, noise: Tensor) -> Tensor:
        return noise


# mixtures


def choose(noise: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Standard normal noise (N, D) -> components (N,) of a mixture, and noise (N, D) independent of them.

    By quantiles: u = Phi(noise_0) is uniform; component k is chosen where c_k <= u < c_k + w_k, with c the
    cumulative weights; given k, (u - c_k) / w_k is uniform again, so its normal quantile replaces noise_0.
    In float32 that uniform number is off by about 1e-7 / w_k: 5e-6 with 50 equal components.
    """
    weights = log_weights.exp()
    below = weights.cumsum(-1) - weights  # c_k
    u = uniform(noise[:, 0])
    index = (u[:, None] >= below[1:]).sum(-1)
    first = normal_quantile((u - below[index]) / weights[index]).to(noise.dtype)
    return index, torch.cat([first[:, None], noise[:, 1:]], dim=-1)


class Mixture(NamedTuple):
    """The density sum_k w_k q_k(z): each component is a q(z|x) of ``posterior``.

    Not a module: it lives for one forward pass and owns no parameters.
    """

    posterior: Any
    q: Any  # the components' parameters, each field (K, ...)
    log_weights: Tensor  # (K,)  normalised

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats: (..., D) -> (...)."""
        parts: Tensor = self.posterior.log_prob(self.q, z[..., None, :]) + self.log_weights
        return parts.logsumexp(-1)

    def sample(self, noise: Tensor) -> Tensor:
        """Standard normal noise (N, D) -> samples (N, D)."""
        index, noise = choose(noise, self.log_weights)
        z: Tensor = self.posterior.sample(type(self.q)._make(part[index] for part in self.q), noise)
        return z


class MixtureOfGaussians(Prior):
    """p(z) = sum_k w_k N(z; mu_k, diag(s_k^2)) with learned weights, means and variances.

    The simplest of the learned priors compared in "VAE with a VampPrior" (Tomczak & Welling, 2018,
    arXiv:1705.07120), section 3. The means start as standard normal draws, the variances at 1, the weights
    equal.

    Raises:
        ValueError: ``components`` < 1.
    """

    def __init__(self, latent_dim: int, components: int = 50) -> None:
        super().__init__()
        check_whole("components", components, least=1)
        self.loc = nn.Parameter(torch.randn(components, latent_dim))
        self.log_var = nn.Parameter(torch.zeros(components, latent_dim))
        self.logits = nn.Parameter(torch.zeros(components))

    def log_prob(self, z: Tensor) -> Tensor:
        parts = normal_log_prob(z[..., None, :], self.loc, self.log_var).sum(-1)
        return (parts + self.logits.log_softmax(-1)).logsumexp(-1)

    def sample(self, noise: Tensor) -> Tensor:
        index, noise = choose(noise, self.logits.log_softmax(-1))
        return self.loc[index] + (0.5 * self.log_var[index]).exp() * noise


class VampPrior(Prior):
    """p(z) = 1/K sum_k q(z|u_k) with K learned pseudo-inputs u_k.

    "VAE with a VampPrior" (Tomczak & Welling, 2018, arXiv:1705.07120). The pseudo-inputs are images:
    parameters, clamped to the data's range as in the paper's code. They start as the mean of training images
    plus normal noise. The KL's gradient reaches the encoder through the pseudo-inputs too.

    Args:
        image_shape: (C, H, W).
        components: K.
        value_range: the least and the largest value of the data.
        noise: standard deviation at the start, as a share of the range.
        mean_image: (C, H, W); the middle of the range where it is not known.

    Raises:
        ValueError: ``components`` < 1, or a range without extent.
    """

    needs = frozenset({"vectors", "encoder without labels"})

    def __init__(
        self,
        image_shape: Sequence[int],
        components: int = 50,
        value_range: tuple[float, float] = (0.0, 1.0),
        noise: float = 0.1,
        mean_image: Tensor | None = None,
    ) -> None:
        super().__init__()
        check_whole("components", components, least=1)
        self.low, self.high = value_range
        if not self.low < self.high:
            raise ValueError(f"value_range must have an extent, got {value_range}: all pixels are equal")
        if mean_image is None:
            mean_image = torch.full(tuple(image_shape), (self.low + self.high) / 2)
        start = mean_image + noise * (self.high - self.low) * torch.randn(components, *image_shape)
        self.pseudo_inputs = nn.Parameter(start.clamp(self.low, self.high))

    def images(self) -> Tensor:
        """The pseudo-inputs (K, C, H, W), in the data's range."""
        return self.pseudo_inputs.clamp(self.low, self.high)

    def bind(self, posterior: Any, encode: Callable[[Tensor], Any]) -> Density:
        k = len(self.pseudo_inputs)
        return Mixture(posterior, encode(self.images()), self.pseudo_inputs.new_full((k,), -math.log(k)))


class FlowPrior(Prior):
    """p(z) = N(f(z); 0, I) |det df/dz| with a learned normalising flow f, from the library zuko.

    "Neural Spline Flows" (Durkan et al., 2019, arXiv:1906.04032) with ``transforms`` coupling layers; as a
    prior for VAEs see "Variational Lossy Autoencoder" (Chen et al., 2017, arXiv:1611.02731), section 3.2.
    Samples are f^-1(noise). Splines act within [-5, 5]; beyond, f is the identity.

    Raises:
        ValueError: ``transforms`` < 1.
    """

    def __init__(
        self, latent_dim: int, transforms: int = 3, hidden: Sequence[int] = (64, 64), bins: int = 8
    ) -> None:
        super().__init__()
        import zuko  # here, since nothing else needs it

        check_whole("transforms", transforms, least=1)
        self.flow = zuko.flows.NSF(
            latent_dim, transforms=transforms, hidden_features=tuple(hidden), bins=bins, passes=2
        )

    def log_prob(self, z: Tensor) -> Tensor:
        density: Tensor = self.flow().log_prob(z)
        return density

    def sample(self, noise: Tensor) -> Tensor:
        inverse: Tensor = self.flow().transform.inv(noise)
        return inverse


# codes


class IndependentCodes(NamedTuple):
    """The density of n independent choices of the ``posterior``'s codes.

    log p is the logarithm of a probability. Not a module, for the same reason as :class:`Mixture`.
    """

    posterior: Any  # :mod:`vaelab.models.codebooks` says what it has
    log_p: Tensor  # (n, K)  log p_n(code k)

    def log_prob_of(self, codes: Tensor) -> Tensor:
        """log p(codes) in nats: (..., n) -> (...)."""
        log_p = self.log_p.expand(*codes.shape, -1)
        return log_p.gather(-1, codes[..., None]).squeeze(-1).sum(-1)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p in nats of the codes that the posterior chooses for z: (..., D) -> (...)."""
        return self.log_prob_of(self.posterior.nearest(z.detach()))

    def sample(self, noise: Tensor) -> Tensor:
        """Standard normal noise (N, D) -> samples (N, D): a number of the noise chooses each code."""
        u = uniform(self.posterior.numbers(noise))
        up_to = self.log_p.exp().cumsum(-1)[..., :-1]
        # how many of the bounds are not above: a search in order, as N n K numbers would not fit
        index = torch.searchsorted(up_to.contiguous(), u.T.contiguous(), right=True).T
        z: Tensor = self.posterior.vectors(index)
        return z


class UniformCodes(Prior):
    """Every code of the posterior equally likely, at every place.

    "Neural Discrete Representation Learning" (van den Oord et al., 2017, arXiv:1711.00937). With n places and
    K codes log p(z) = -n log K, and the KL of a deterministic choice of codes to it is exactly n log K.
    """

    needs = frozenset({"codes"})
    zero: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer(
            "zero", torch.zeros(()), persistent=False
        )  # has the model's device and precision

    def bind(self, posterior: Any, encode: Callable[[Tensor], Any]) -> Density:
        codes = posterior.number_of_codes
        log_p = (self.zero - math.log(codes)).expand(posterior.places, codes)
        return IndependentCodes(posterior, log_p)


class FittedCodes(Prior):
    """p(z) = prod_n p_n(code at place n): at each place, how often training images choose each code.

    The rate, sum_n -log p_n(code), is then the length of the code of an image under frequencies that are
    fitted place by place. The places are taken to be independent; an autoregressive prior would give a lower
    rate. The prior does not influence the training: no gradient of it reaches the codes.

    The frequencies are moving averages over optimizer steps, f <- gamma f + (1 - gamma) (share of the step's
    images), from uniform. p = (1 - s) f + s / K keeps a code that is new at its place possible: the price is
    at most -log(1 - s) nats a place, and no place costs more than log(K / s).

    Args:
        places: n, and ``number_of_codes``: K; those of the posterior (:mod:`vaelab.models.codebooks`).
        decay: gamma, from 0 to below 1.
        smoothing: s, above 0 and below 1.

    Raises:
        ValueError: ``decay`` or ``smoothing`` out of range.
    """

    needs = frozenset({"codes"})
    decay: Tensor
    smoothing: Tensor
    frequencies: Tensor

    def __init__(
        self, places: int, number_of_codes: int, decay: float = 0.99, smoothing: float = 0.01
    ) -> None:
        super().__init__()
        register_number(self, "decay", decay, least=0, below=1)
        register_number(self, "smoothing", smoothing, above=0, below=1)
        # without codes (n = K = 0) the autoencoder refuses the prior
        self.register_buffer("frequencies", torch.ones(places, number_of_codes) / max(1, number_of_codes))

    def bind(self, posterior: Any, encode: Callable[[Tensor], Any]) -> Density:
        share = (1 - self.smoothing) * self.frequencies + self.smoothing / self.frequencies.shape[-1]
        return IndependentCodes(posterior, share.log())

    def after_step(self, batches: Sequence[Any], step: AfterStep) -> None:
        """Move the frequencies by the codes that were chosen in one optimizer step."""
        chosen = torch.cat([q.codes for q in batches])  # (B, n)
        counts = step.total(code_counts(chosen, self.frequencies.shape[-1]).to(self.frequencies))
        new = counts / counts.sum(-1, keepdim=True)
        self.frequencies.copy_(self.decay * self.frequencies + (1 - self.decay) * new)


def code_counts(codes: Tensor, number_of_codes: int) -> Tensor:
    """How often each of K codes is chosen at each place: (B, n) -> (n, K)."""
    n, k = codes.shape[1], number_of_codes
    apart = codes + k * torch.arange(n, device=codes.device)  # so that each place has its own K numbers
    return torch.bincount(apart.flatten(), minlength=n * k).view(n, k)
