"""Posteriors q(z|x): from the encoder's output to a sample, and its density.

Another one than a variant's own: ``model.posterior._target_=vaelab.models.FullCovariance``.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vaelab.functional.distributions import LOG_2PI, normal_log_prob
from vaelab.functional.surrogate import with_gradient_of
from vaelab.models.numbers import check_whole, register_number
from vaelab.models.requirements import Property
from vaelab.types import Total

__all__ = [
    "Codebook",
    "CodebookParameters",
    "Deterministic",
    "DiagonalGaussian",
    "FullCovariance",
    "FullGaussianParameters",
    "GaussianParameters",
    "Posterior",
]


class GaussianParameters(NamedTuple):
    """The parameters of q(z|x) for a batch."""

    loc: Tensor  # (B, D)
    scale: Tensor  # (B, D)  standard deviation; 0 where q is deterministic
    log_var: Tensor  # (B, D)  2 log(scale)


class FullGaussianParameters(NamedTuple):
    """The parameters of a Gaussian q(z|x) with correlated dimensions: N(loc, L L^T)."""

    loc: Tensor  # (B, D)
    scale: Tensor  # (B, D)  standard deviation of each dimension
    log_var: Tensor  # (B, D)  2 log(scale)
    tril: Tensor  # (B, D, D)  L, lower triangular, with a positive diagonal


class CodebookParameters(NamedTuple):
    """The choice of codes for a batch."""

    loc: Tensor  # (B, D)  the chosen codes: their gradient goes to the codebook
    scale: Tensor  # (B, D)  0
    log_var: Tensor  # (B, D)  -inf
    encoded: Tensor  # (B, D)  the encoder's point, before it is replaced by codes
    codes: Tensor  # (B, n)  which ones


class Posterior(nn.Module):
    """What an autoencoder asks of q(z|x). The encoder gives ``parameter_count`` numbers an image.

    Its parameters are a named tuple with at least the fields of :class:`GaussianParameters`.
    """

    provides: frozenset[Property] = frozenset({"vectors", "density", "independent dimensions"})
    needs: frozenset[Property] = frozenset()
    parameters_per_dimension = 1

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.parameter_count = self.parameters_per_dimension * latent_dim

    def forward(self, encoded: Tensor) -> Any:
        """The encoder's output (B, parameter_count) -> the parameters of q(z|x), each (B, D)."""
        raise NotImplementedError

    def sample(self, q: Any, noise: Tensor) -> Tensor:
        """Standard normal noise (S, B, D) -> z (S, B, D)."""
        raise NotImplementedError

    def log_prob(self, q: Any, z: Tensor) -> Tensor:
        """log q(z|x) in nats: (S, B, D) -> (S, B)."""
        raise NotImplementedError

    def conditionals(self, q: Any) -> tuple[Tensor, Tensor, Tensor] | None:
        """q as a chain of Gaussians q(z_d | z_<d, x); None if it is not one.

        Returns the expectation of each one's mean, its log variance, and the variance of its mean, each (B,
        D).
        """
        return None


def bounded(log_var: Tensor) -> Tensor:
    """The log variance, between -42.6 and 42.6 in 32 bits: nearly half of the greatest number's logarithm.

    So neither a variance nor its inverse overflows, nor do their sums and squares, if an encoder's outputs
    are far out, as for images that are not scaled. The gradient goes through, so that the rate brings the
    variance back. Within these bounds nothing changes, to the last bit.
    """
    most = 0.48 * math.log(torch.finfo(log_var.dtype).max)
    return with_gradient_of(log_var.clamp(-most, most), log_var)


class DiagonalGaussian(Posterior):
    """q(z|x) = N(mu(x), diag(sigma(x)^2)); the encoder gives mu and log sigma^2.

    "Auto-Encoding Variational Bayes" (Kingma & Welling, 2014, arXiv:1312.6114).
    """

    parameters_per_dimension = 2

    def forward(self, encoded: Tensor) -> GaussianParameters:
        loc, log_var = encoded.chunk(2, dim=-1)
        log_var = bounded(log_var)
        return GaussianParameters(loc, (0.5 * log_var).exp(), log_var)

    def sample(self, q: GaussianParameters, noise: Tensor) -> Tensor:
        # reparametrised: differentiable in mu and sigma
        return q.loc + q.scale * noise

    def log_prob(self, q: GaussianParameters, z: Tensor) -> Tensor:
        return normal_log_prob(z, q.loc, q.log_var).sum(-1)

    def conditionals(self, q: GaussianParameters) -> tuple[Tensor, Tensor, Tensor]:
        return q.loc, q.log_var, torch.zeros_like(q.loc)


class Deterministic(Posterior):
    """z = mu(x): the posterior of a plain autoencoder, a point mass.

    It has no density, so log q and the KL are undefined: NaN, never 0.
    """

    provides = frozenset({"vectors", "independent dimensions"})

    def forward(self, encoded: Tensor) -> GaussianParameters:
        return GaussianParameters(encoded, torch.zeros_like(encoded), torch.full_like(encoded, -torch.inf))

    def sample(self, q: GaussianParameters, noise: Tensor) -> Tensor:
        # the noise only says how many
        return q.loc.expand_as(noise)

    def log_prob(self, q: GaussianParameters, z: Tensor) -> Tensor:
        return torch.full_like(z[..., 0], torch.nan)


class FullCovariance(Posterior):
    """q(z|x) = N(mu(x), L(x) L(x)^T) ("An Introduction to Variational Autoencoders", arXiv:1906.02691).

    The encoder gives mu (D), log L_dd^2 (D) and L below its diagonal, row by row (D (D - 1) / 2).

    The rate is split by the chain rule, E_q KL(q(z_d|z_<d, x) || p(z_d)). (The KL of the marginals sum to
    less: the difference is the total correlation of q(z|x).)
    """

    provides = frozenset({"vectors", "density"})
    below: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        d = latent_dim
        self.parameter_count = d + d * (d + 1) // 2
        # (D, D): where each entry below the diagonal stands in what the encoder gives; 0: it is zero
        below = torch.zeros(d, d, dtype=torch.long)
        row, column = torch.tril_indices(d, d, offset=-1)
        below[row, column] = torch.arange(1, len(row) + 1)
        self.register_buffer("below", below, persistent=False)

    def forward(self, encoded: Tensor) -> FullGaussianParameters:
        d = self.latent_dim
        loc, log_diagonal, lower = encoded.split([d, d, encoded.shape[-1] - 2 * d], dim=-1)
        padded = torch.cat([torch.zeros_like(loc[..., :1]), lower], dim=-1)
        tril = padded[..., self.below] + torch.diag_embed((0.5 * bounded(log_diagonal)).exp())
        variance = tril.square().sum(-1)
        return FullGaussianParameters(loc, variance.sqrt(), variance.log(), tril)

    def sample(self, q: FullGaussianParameters, noise: Tensor) -> Tensor:
        return q.loc + (q.tril @ noise[..., None]).squeeze(-1)

    def log_prob(self, q: FullGaussianParameters, z: Tensor) -> Tensor:
        delta = (z - q.loc)[..., None]
        white = torch.linalg.solve_triangular(q.tril.expand(*delta.shape[:-2], -1, -1), delta, upper=False)
        diagonal = q.tril.diagonal(dim1=-2, dim2=-1)
        return -0.5 * (self.latent_dim * LOG_2PI + white.square().sum((-2, -1))) - diagonal.log().sum(-1)

    def conditionals(self, q: FullGaussianParameters) -> tuple[Tensor, Tensor, Tensor]:
        # q(z_d|z_<d) has variance L_dd^2 and a mean that itself varies by sum_(j<d) L_dj^2
        diagonal = q.tril.diagonal(dim1=-2, dim2=-1)
        return q.loc, 2 * diagonal.log(), q.tril.tril(-1).square().sum(-1)


class Codebook(Posterior):
    """z is made of the codes nearest to what the encoder gives: the VQ-VAE.

    "Neural Discrete Representation Learning" (van den Oord et al., 2017, arXiv:1711.00937). The encoder's D
    numbers are n = D / ``code_dim`` points; each becomes the nearest of ``codes`` learned vectors. (The
    paper's latents are a map of codes; here they are a vector, as for every other posterior, so that every
    network fits.) The gradient of z passes straight through to the encoder, which keeps near the codes by
    :class:`~vaelab.models.objectives.Commitment`. The codes follow in one of two ways:

    - ``decay=None``: they are parameters, moved by :class:`~vaelab.models.objectives.CodebookLoss`.
    - ``decay=gamma`` (the paper's appendix A.1; there 0.99): they are moving averages of the points that
      chose them, :func:`moved_averages`, taken after each optimizer step, outside of the forward pass.

    log q is the logarithm of a probability: 0, the choice being certain. No dimension has a KL of its own.

    Raises:
        ValueError: fewer than two codes, a ``code_dim`` that does not divide ``latent_dim``, or a ``decay``
            outside [0, 1).
    """

    codebook: Tensor
    decay: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, latent_dim: int, codes: int, code_dim: int, decay: float | None = None) -> None:
        super().__init__(latent_dim)
        check_whole("codes", codes, least=2)
        check_whole("code_dim", code_dim, least=1)
        if latent_dim % code_dim:
            raise ValueError(f"code_dim must divide latent_dim={latent_dim}, got {code_dim}")
        self.places = latent_dim // code_dim
        start = torch.randn(codes, code_dim)
        if decay is None:
            self.provides, self.needs = frozenset({"codes", "trainable codes"}), frozenset({"codebook loss"})
            self.codebook = nn.Parameter(start)
        else:
            self.provides = frozenset({"codes"})
            register_number(self, "decay", decay, least=0, below=1)
            self.register_buffer("codebook", start)
            self.register_buffer("counts", torch.ones(codes))  # N_i
            self.register_buffer("sums", start.clone())  # m_i: each code starts as the mean of one point

    def forward(self, encoded: Tensor) -> CodebookParameters:
        chosen = self.nearest(encoded)
        loc = self.codebook[chosen].flatten(-2)
        return CodebookParameters(
            loc, torch.zeros_like(loc), torch.full_like(loc, -torch.inf), encoded, chosen
        )

    def nearest(self, z: Tensor) -> Tensor:
        """Which code is the nearest at each place: (..., D) -> (..., n)."""
        points = z.unflatten(-1, (self.places, -1))  # (..., n, d)
        # |p - e|^2 = |p|^2 - 2 p.e + |e|^2; the first is the same for every code
        distance = self.codebook.square().sum(-1) - 2 * points @ self.codebook.T
        return distance.argmin(-1)

    def after_step(self, batches: Sequence[CodebookParameters], total: Total) -> None:
        """Move the averages by the points that chose each code in one optimizer step."""
        if "trainable codes" in self.provides:
            return
        codes = torch.cat([q.codes.flatten() for q in batches])
        points = torch.cat([q.encoded for q in batches]).reshape(-1, self.codebook.shape[-1])
        one_hot = nn.functional.one_hot(codes, len(self.codebook)).to(points)
        state = self.counts, self.sums, self.codebook
        new = moved_averages(*state, total(one_hot.sum(0)), total(one_hot.T @ points), self.decay)
        for buffer, value in zip(state, new, strict=True):
            buffer.copy_(value)

    def sample(self, q: CodebookParameters, noise: Tensor) -> Tensor:
        # the codes; the gradient goes to the encoder as if nothing had been replaced
        return (q.encoded + (q.loc - q.encoded).detach()).expand_as(noise)

    def log_prob(self, q: CodebookParameters, z: Tensor) -> Tensor:
        return torch.zeros_like(z[..., 0])


def moved_averages(
    counts: Tensor, sums: Tensor, codebook: Tensor, chosen: Tensor, points: Tensor, decay: float | Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The moving averages of a codebook one step on (van den Oord et al., 2017, appendix A.1).

    N_i <- gamma N_i + (1 - gamma) n_i, m_i <- gamma m_i + (1 - gamma) (sum of the n_i points that chose e_i),
    e_i <- m_i / N_i. A code that no point chose stays where it is, exactly: its N_i and m_i fade by the same
    factor. (Their quotient would be lost once both underflow, so it is not taken; no smoothing is needed.)

    Shapes: counts N and chosen n (K,); sums m, codebook e and points (K, d).
    """
    counts = decay * counts + (1 - decay) * chosen
    sums = decay * sums + (1 - decay) * points
    used = (chosen > 0)[:, None]
    return counts, sums, torch.where(used, sums / counts.where(chosen > 0, 1.0)[:, None], codebook)
