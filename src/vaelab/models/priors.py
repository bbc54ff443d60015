"""Priors p(z): a density, a divergence from a posterior, a sample from given noise.

A prior that depends on the rest of the model (VampPrior on the encoder, uniform codes on the codebook) turns
into a density of its own once a forward pass: :meth:`Prior.bind`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.errors import UserError
from vaelab.functional.distributions import gaussian_kl, normal_log_prob, standard_normal_log_prob
from vaelab.models.schedules import number
from vaelab.types import Total


class Prior(nn.Module):
    """What a posterior and the autoencoder ask of p(z). Nothing but ``log_prob`` and ``sample`` is needed."""

    discrete = False  # a distribution over codes, not over vectors
    factorised = False  # the rate is a sum over dimensions: :meth:`kl` knows them
    encodes = False  # needs the encoder: :meth:`bind` calls it

    def bind(self, posterior: Any, encode: Callable[[Tensor], Any]) -> "Prior":
        """This prior's density beside this posterior; ``encode``: images -> parameters of q(z|x)."""
        return self

    def kl(self, loc: Tensor, log_var: Tensor, spread: Tensor | float = 0.0) -> Tensor:
        """KL(N(loc_d, exp(log_var_d)) || p(z_d)) in nats, (B, D); NaN where it has no such parts.

        With ``spread`` (B, D): its mean over means of expectation ``loc`` and variance ``spread``.
        """
        return torch.full_like(loc, torch.nan)

    def rate(self, kl: Tensor, log_q: Tensor, log_p: Tensor) -> Tensor:
        """KL(q(z|x) || p(z)) in nats, (B,), from ``kl`` (B, D) or from log q and log p at samples, (S, B).

        Here the Monte Carlo estimate mean_s [log q(z_s|x) - log p(z_s)], z_s ~ q(z|x): unbiased, it can be
        negative for one image, and its gradient through reparametrised z_s is unbiased too.
        """
        return (log_q - log_p).mean(0)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats: (..., D) -> (...)."""
        raise NotImplementedError

    def sample(self, noise: Tensor) -> Tensor:
        """Standard normal noise (N, D) -> samples of p(z), (N, D); a function of the noise alone."""
        raise NotImplementedError


class StandardNormal(Prior):
    """p(z) = N(0, I). The rate is exact: the sum of the KL over the dimensions."""

    factorised = True

    def kl(self, loc: Tensor, log_var: Tensor, spread: Tensor | float = 0.0) -> Tensor:
        return gaussian_kl(loc, log_var) + 0.5 * spread

    def rate(self, kl: Tensor, log_q: Tensor, log_p: Tensor) -> Tensor:
        return kl.sum(-1)

    def log_prob(self, z: Tensor) -> Tensor:
        return standard_normal_log_prob(z)

    def sample(self, noise: Tensor) -> Tensor:
        return noise


# mixtures


def choose(noise: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Standard normal noise (N, D) -> components (N,) of a mixture, and noise (N, D) independent of them.

    By quantiles: u = Phi(noise_0) is uniform; component k is chosen where c_k <= u < c_k + w_k, with c the
    cumulative weights; given k, (u - c_k) / w_k is uniform again, so its normal quantile replaces noise_0.
    Exact, and no number is used twice. In double precision, since the split costs log2(1 / w_k) bits.
    """
    weights = log_weights.double().exp()
    below = weights.cumsum(-1) - weights  # c_k
    u = torch.special.ndtr(noise[:, 0].double())
    index = (u[:, None] >= below[1:]).sum(-1)
    rest = ((u - below[index]) / weights[index]).clamp(1e-12, 1 - 1e-12)
    first = torch.special.ndtri(rest).to(noise.dtype)
    return index, torch.cat([first[:, None], noise[:, 1:]], dim=-1)


class Mixture(Prior):
    """p(z) = sum_k w_k q_k(z), its components of the form of ``posterior`` with the parameters ``q``.

    Shapes: each field of ``q`` (K, ...), ``log_weights`` (K,), normalised.
    """

    posterior: Any

    def __init__(self, posterior: Any, q: Any, log_weights: Tensor) -> None:
        super().__init__()
        self.__dict__["posterior"] = posterior  # not a submodule: this object lives for one forward pass
        self.q = q
        self.log_weights = log_weights

    def log_prob(self, z: Tensor) -> Tensor:
        return (self.posterior.log_prob(self.q, z[..., None, :]) + self.log_weights).logsumexp(-1)

    def sample(self, noise: Tensor) -> Tensor:
        index, noise = choose(noise, self.log_weights)
        return self.posterior.sample(type(self.q)._make(part[index] for part in self.q), noise)


class MixtureOfGaussians(Prior):
    """p(z) = sum_k w_k N(z; mu_k, diag(s_k^2)) with learned weights, means and variances.

    The simplest of the learned priors that Tomczak & Welling (2018, section 3) compare. The means start as
    standard normal draws, the variances at 1, the weights equal.
    """

    def __init__(self, latent_dim: int, components: int = 50) -> None:
        super().__init__()
        _at_least_one("components", components)
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
    """p(z) = 1/K sum_k q(z|u_k) with K learned pseudo-inputs u_k (Tomczak & Welling, 2018).

    The pseudo-inputs are images: parameters, clamped to the data's range [``low``, ``high``] as in the
    paper's code. They start as the training images' mean (grey where it is not known) plus normal noise of
    standard deviation ``noise`` (a share of the range), or as ``start`` (K, C, H, W). It holds no encoder:
    :meth:`bind` brings it in, and the KL's gradient reaches the encoder through the pseudo-inputs too.
    """

    encodes = True

    def __init__(
        self,
        image_shape: Sequence[int],
        components: int = 50,
        low: float = 0.0,
        high: float = 1.0,
        noise: float = 0.1,
        mean_image: Tensor | None = None,
        start: Tensor | None = None,
    ) -> None:
        super().__init__()
        _at_least_one("components", components)
        if not low < high:
            raise UserError(f"prior.low={low} must be below prior.high={high}: the data's range.")
        if start is None:
            center = torch.full(tuple(image_shape), (low + high) / 2) if mean_image is None else mean_image
            start = center + noise * (high - low) * torch.randn(components, *image_shape)
        self.low, self.high = low, high
        self.pseudo_inputs = nn.Parameter(start.clamp(low, high))

    def images(self) -> Tensor:
        """The pseudo-inputs (K, C, H, W), in the data's range."""
        return self.pseudo_inputs.clamp(self.low, self.high)

    def bind(self, posterior: Any, encode: Callable[[Tensor], Any]) -> Prior:
        k = len(self.pseudo_inputs)
        return Mixture(posterior, encode(self.images()), self.pseudo_inputs.new_full((k,), -math.log(k)))


class FlowPrior(Prior):
    """p(z) = N(f(z); 0, I) |det df/dz| with a learned normalising flow f, from the library zuko.

    A neural spline flow (Durkan et al., 2019) of ``transforms`` coupling layers; as a prior for VAEs see
    Chen et al. (2017, Variational Lossy Autoencoder, section 3.2). Samples are f^-1(noise). Splines act
    within [-5, 5]; beyond, f is the identity.
    """

    def __init__(
        self, latent_dim: int, transforms: int = 3, hidden: Sequence[int] = (64, 64), bins: int = 8
    ) -> None:
        super().__init__()
        import zuko  # here, since nothing else needs it

        _at_least_one("transforms", transforms)
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


class UniformCodes(Prior):
    """Every code of the posterior's codebook equally likely, at every place (van den Oord et al., 2017).

    A distribution over codes, so log p is the logarithm of a probability: with n places and K codes,
    log p(z) = -n log K, and the KL of a deterministic choice of codes to it is exactly n log K.
    """

    discrete = True

    def bind(self, posterior: Any, encode: Callable[[Tensor], Any]) -> Prior:
        codes = len(posterior.codebook)
        return Codes(posterior, posterior.codebook.new_full((posterior.places, codes), -math.log(codes)))


class FittedCodes(Prior):
    """p(z) = prod_n p_n(code at place n): at each place, how often training images choose each code.

    The rate, sum_n -log p_n(code), is then the length of the code of an image under frequencies that are
    fitted place by place. The places are taken to be independent, which they are not: an autoregressive prior
    (van den Oord et al., 2017, "Prior") would be below it. It has no part in the training, as no gradient
    of it reaches the codes.

    The frequencies are moving averages over optimizer steps, f <- gamma f + (1 - gamma) (share of the step's
    images), from uniform. p = (1 - s) f + s / K keeps a code that is new at its place possible: the price is
    at most -log(1 - s) nats a place, and no place costs more than log(K / s).

    Args:
        codes: K. ``code_dim``: numbers in a code; latent_dim / code_dim places.
        decay: gamma, from 0 to below 1.
        smoothing: s, above 0 and below 1.
    """

    discrete = True
    decay: Tensor
    smoothing: Tensor
    frequencies: Tensor

    def __init__(
        self, latent_dim: int, codes: int, code_dim: int, decay: float = 0.99, smoothing: float = 0.01
    ) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise UserError(f"prior.decay={decay} does not fit: it must be at least 0 and below 1.")
        if not 0 < smoothing < 1:
            raise UserError(f"prior.smoothing={smoothing} does not fit: it must be above 0 and below 1.")
        number(self, "decay", decay)
        number(self, "smoothing", smoothing)
        self.register_buffer("frequencies", torch.full((latent_dim // code_dim, codes), 1 / codes))

    def bind(self, posterior: Any, encode: Callable[[Tensor], Any]) -> Prior:
        share = (1 - self.smoothing) * self.frequencies + self.smoothing / self.frequencies.shape[-1]
        return Codes(posterior, share.log())

    def after_step(self, batches: Sequence[Any], total: Total) -> None:
        """Move the frequencies by the codes that were chosen in one optimizer step (``training.py``)."""
        chosen = torch.cat([q.codes for q in batches])  # (B, n)
        counts = total(nn.functional.one_hot(chosen, self.frequencies.shape[-1]).to(self.frequencies).sum(0))
        new = counts / counts.sum(-1, keepdim=True)
        self.frequencies.copy_(self.decay * self.frequencies + (1 - self.decay) * new)


class Codes(Prior):
    """Independent codes of the codebook of ``posterior``: z is n codes, one after the other.

    ``log_p`` (n, K): log p_n(code k).
    """

    posterior: Any
    discrete = True

    def __init__(self, posterior: Any, log_p: Tensor) -> None:
        super().__init__()
        self.__dict__["posterior"] = posterior  # not a submodule: this object lives for one forward pass
        self.log_p = log_p

    def log_prob(self, z: Tensor) -> Tensor:
        chosen = self.posterior.nearest(z.detach())  # z has been rounded
        log_p = self.log_p.expand(*chosen.shape, -1)
        return log_p.gather(-1, chosen[..., None]).squeeze(-1).sum(-1)

    def sample(self, noise: Tensor) -> Tensor:
        # by quantiles: the first number of each place chooses, its normal quantile being uniform
        u = torch.special.ndtr(noise.unflatten(-1, (len(self.log_p), -1))[..., 0].double())
        up_to = self.log_p.double().exp().cumsum(-1)[..., :-1]
        index = (u[..., None] >= up_to).sum(-1)
        z: Tensor = self.posterior.codebook[index].flatten(-2)
        return z


def _at_least_one(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"prior.{name} must be a whole number >= 1, got {value}.")
