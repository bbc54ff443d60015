"""Posteriors q(z|x): from the encoder's output to a sample, and its density.

Another one than a variant's own: ``model.posterior._target_=vaelab.models.FullCovariance``.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vaelab.functional.aggregate import Gaussians
from vaelab.functional.distributions import LOG_2PI, gaussian_kl, normal_log_prob
from vaelab.functional.surrogate import with_gradient_of
from vaelab.models.requirements import Property

__all__ = [
    "Deterministic",
    "DiagonalGaussian",
    "FullCovariance",
    "FullGaussianParameters",
    "GaussianParameters",
    "Posterior",
    "placed",
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


class Posterior(nn.Module):
    """What an autoencoder asks of q(z|x). The encoder gives ``parameter_count`` numbers an image.

    Its parameters are a named tuple with at least the fields of :class:`GaussianParameters`.

    Args:
        latent_shape: (C, h, w) where z is a map. Its D = C h w numbers are a vector here all the same, row by
            row; who reads its places takes them from the attribute, which is (D,) for a vector.
    """

    provides: frozenset[Property] = frozenset({"vectors", "density", "independent dimensions"})
    needs: frozenset[Property] = frozenset()
    parameters_per_dimension = 1
    # of a posterior that chooses codes (vaelab.models.codebooks): those of an image, how many there are to
    # choose from at each place, from how many codebooks, and (G, h, w), the places in order
    places = 0
    number_of_codes = 0
    codebooks = 1
    code_shape: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()  # of a hierarchy the dimensions of each group, from coarse to fine
    closed_kl = False  # whether it is a chain of Gaussians: a dimension given those before it
    # posteriors that are no Gaussians: (parameters, draws) -> what aggregate densities need of them
    components: Callable[[Tensor, Tensor], Gaussians] | None = None

    def __init__(self, latent_dim: int, latent_shape: Sequence[int] = ()) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.latent_shape = tuple(latent_shape) or (latent_dim,)
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

    def standard_kl(self, q: Any, z: Tensor | None = None) -> Tensor:
        """E_q KL(q(z_d | z_<d, x) || N(0, 1)) in nats, (B, D); only of a posterior with :attr:`closed_kl`.

        Exact, or the mean over the samples ``z`` (S, B, D) of KLs in closed form given z_<d; without z, that
        along the posterior's means.
        """
        raise NotImplementedError

    def decoder_input(self, z: Tensor) -> Tensor:
        """What the decoder gets of z (..., D), (..., D)."""
        return z


def placed(q: Any, latent_shape: Sequence[int]) -> Any:
    """The parameters of q(z|x), each (B, D), as maps (B, C, h, w) where z is one."""
    places = latent_shape[1:]
    return q._make(part.unflatten(-1, (-1, *places)) for part in q) if places else q


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
    closed_kl = True

    def forward(self, encoded: Tensor) -> GaussianParameters:
        loc, log_var = encoded.chunk(2, dim=-1)
        log_var = bounded(log_var)
        return GaussianParameters(loc, (0.5 * log_var).exp(), log_var)

    def sample(self, q: GaussianParameters, noise: Tensor) -> Tensor:
        # reparametrised: differentiable in mu and sigma
        return q.loc + q.scale * noise

    def log_prob(self, q: GaussianParameters, z: Tensor) -> Tensor:
        return normal_log_prob(z, q.loc, q.log_var).sum(-1)

    def standard_kl(self, q: GaussianParameters, z: Tensor | None = None) -> Tensor:
        return gaussian_kl(q.loc, q.log_var)


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

    Raises:
        ValueError: the latents are maps.
    """

    provides = frozenset({"vectors", "density"})
    closed_kl = True
    below: Tensor

    def __init__(self, latent_dim: int, latent_shape: Sequence[int] = ()) -> None:
        super().__init__(latent_dim)
        if len(latent_shape) > 1:
            raise ValueError("the latents are maps: use DiagonalGaussian, or a network whose are vectors")
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

    def standard_kl(self, q: FullGaussianParameters, z: Tensor | None = None) -> Tensor:
        # q(z_d|z_<d) has variance L_dd^2 and a mean that itself varies by sum_(j<d) L_dj^2
        diagonal = q.tril.diagonal(dim1=-2, dim2=-1)
        return gaussian_kl(q.loc, 2 * diagonal.log()) + 0.5 * q.tril.tril(-1).square().sum(-1)
