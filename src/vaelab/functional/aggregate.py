"""The aggregate posterior q(z) = E_x q(z|x): its density, and brackets of the parts of the rate.

Functions of numpy arrays or tensors; they return tensors, in nats. The posteriors are Gaussians q(z|x_n) =
N(loc_n, diag(scale_n^2)), or N(loc_n, L_n L_n^T) where ``tril`` gives L, or chains of Gaussians whose joint
density is given. Where a scale is 0 there is no density: NaN.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.functional.distributions import LOG_2PI, Values, standard_normal_log_prob

__all__ = [
    "AggregateBrackets",
    "Gaussians",
    "MixtureDensities",
    "aggregate_brackets",
    "aggregate_log_densities",
    "check_posteriors",
    "log_aggregate_posterior",
    "mixture_densities",
    "mixture_log_densities",
]

CHUNK = 2**18  # numbers in a table of z against posteriors: 1 MB of float32, which a processor's cache holds
INNER = 16  # by which the table of joint densities is smaller where a network gives each of its numbers
ERRORS = 3  # standard errors by which the ends of a bracket are moved outward


class Gaussians(NamedTuple):
    """Posteriors of M images.

    Where q(z|x) is a chain of Gaussians q(z_d|z_<d, x), ``loc`` and ``scale`` are those given z_<d of one
    draw of each posterior, and ``joint`` and ``draw`` give its density and further draws. The mixture of the
    q(z_d|z_<d, x) over images and draws is q(z_d), so that what is said below of a dimension's mixture holds.
    """

    loc: Tensor  # (M, D)
    scale: Tensor  # (M, D)  standard deviations of the single dimensions
    tril: Tensor | None = None  # (M, D, D)  Cholesky factors, where the dimensions are correlated
    joint: Callable[[Tensor], Tensor] | None = None  # z (n, 1, D) -> log q(z_i|x_j), (n, M)
    draw: Callable[[Tensor], Tensor] | None = None  # standard normal noise (M, D) -> a draw of each, (M, D)

    @property
    def correlated(self) -> bool:
        """Whether the joint density is another than the product over dimensions."""
        return self.tril is not None or self.joint is not None

    def sample(self, noise: Tensor) -> Tensor:
        """Standard normal noise (M, D) -> one draw of each posterior, (M, D)."""
        if self.draw is not None:
            return self.draw(noise)
        if self.tril is None:
            return self.loc + self.scale * noise
        return self.loc + (self.tril @ noise[..., None])[..., 0]


class MixtureDensities(NamedTuple):
    """Log densities of q(z) at N points, from below and above, (N,) each; see :func:`mixture_densities`."""

    joint_low: Tensor  # log q(z)
    joint_high: Tensor
    marginals_low: Tensor  # sum_d log q(z_d)
    marginals_high: Tensor


class AggregateBrackets(NamedTuple):
    """The parts of the rate, each () between two ends; see :func:`aggregate_brackets`."""

    mutual_information_low: Tensor  # I(x; z) = E[log q(z|x) - log q(z)]
    mutual_information_high: Tensor
    total_correlation_low: Tensor  # KL(q(z) || prod_d q(z_d))
    total_correlation_high: Tensor
    dimension_wise_kl_low: Tensor  # sum_d KL(q(z_d) || p(z_d)), where p(z) is a product of dimensions
    dimension_wise_kl_high: Tensor
    aggregate_kl_low: Tensor  # KL(q(z) || p(z)) = rate - I(x; z)
    aggregate_kl_high: Tensor


def log_aggregate_posterior(z: Values, loc: Values, scale: Values) -> Tensor:
    """log q(z) = log 1/N sum_n q(z|x_n), exact: z (..., D), loc and scale (N, D) -> (...).

    In chunks of z, so that memory stays small; M N D operations. The model's q(z) takes loc and
    scale of the whole data set.

    Raises:
        ValueError: a scale is not > 0 (all 0, of a deterministic encoder, gives NaN), a value is not finite,
            or the shapes do not fit.
    """
    z, loc, scale = (torch.as_tensor(value) for value in (z, loc, scale))
    check_posteriors(z, loc, scale)
    return aggregate_log_densities(z, loc, scale)[0]


def check_posteriors(z: Tensor, loc: Tensor, scale: Tensor) -> None:
    """Refuse what gives NaN by mistake; scales that are all 0 are a deterministic encoder's.

    Raises:
        ValueError: the shapes do not fit, a value is not finite, or a scale is not > 0 while another is.
    """
    if loc.ndim != 2 or scale.shape != loc.shape or z.shape[-1:] != loc.shape[1:]:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (z, loc, scale))
        raise ValueError(f"z (..., D), loc (N, D) and scale (N, D) must fit each other, got {shapes}")
    for name, tensor in {"z": z, "loc": loc, "scale": scale}.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} must be finite, got {tensor[~tensor.isfinite()][0].item()}")
    if scale.any() and not (scale > 0).all():
        raise ValueError(f"scale must be > 0, the standard deviations of q(z|x), got {scale.min().item():g}")


def aggregate_log_densities(
    z: Values, loc: Values, scale: Values, tril: Tensor | None = None, leave_out_own: bool = False
) -> tuple[Tensor, Tensor]:
    """(log q(z), sum_d log q(z_d)) under the mixture of the N posteriors given: z (..., D) -> (...) each.

    Args:
        tril: (N, D, D), the posteriors' Cholesky factors where their dimensions are correlated; ``scale``
            are their marginal standard deviations then.
        leave_out_own: z is (N, D), and the mixture at z_n is that of the other N - 1 posteriors.
    """
    z, loc, scale = (torch.as_tensor(value) for value in (z, loc, scale))
    return mixture_log_densities(z, Gaussians(loc, scale, tril), leave_out_own)


def mixture_log_densities(
    z: Tensor, mixture: Gaussians, leave_out_own: bool = False
) -> tuple[Tensor, Tensor]:
    """The same of any posteriors: z (..., D) -> log q(z) and sum_d log q(z_d), (...) each."""
    joint, marginals = _log_sums(z.reshape(-1, z.shape[-1]), mixture, leave_out_own)
    log_number = math.log(max(1, len(mixture.loc) - leave_out_own))
    return (joint - log_number).reshape(z.shape[:-1]), (marginals - log_number).sum(-1).reshape(z.shape[:-1])


def mixture_densities(z: Tensor, own: Gaussians, others: Gaussians | None = None) -> MixtureDensities:
    """Densities of q(z) at z_i ~ q(z|x_i), i = 1..N, that bound it in expectation: z (N, D) -> (N,) each.

    With M posteriors of further images drawn as x_i was,

        low_i = log 1/M sum_j q(z_i|x_j),  high_i = log 1/(M + 1) [q(z_i|x_i) + sum_j q(z_i|x_j)],

    E low_i <= E log q(z_i) <= E high_i, where the expectation is over the images and z_i:

    - low: the mixture q_M does not depend on z_i and E q_M = q, so that E log q_M(z) <= log q(z) for each z
      (Jensen). It holds for any M posteriors: E_q log r(z) <= E_q log q(z) for every density r (Gibbs).
    - high: x_i and the others are alike, so z_i could have come from any of them: given the M + 1 images, z_i
      is a draw from their own mixture q_(M+1). Hence E high_i - E log q(z_i) = E KL(q_(M+1) || q) >= 0. This
      asks that x_i is drawn like the others: training posteriors that differ from held-out ones as a set
      (an encoder that overfits) may break it.

    high_i >= log q(z_i|x_i) - log(M + 1): where codes do not overlap, it says no more than that. The same
    holds for each dimension, with q(z_id|x_j). "On Variational Bounds of Mutual Information" (Poole et al.,
    2019, section 2), https://arxiv.org/abs/1905.06922

    Args:
        own: q(z|x_i) of the N images.
        others: M posteriors of other images; None for the other N - 1 of ``own``.
    """
    alone = others is None
    joint, marginals = _log_sums(z, own if others is None else others, leave_out_own=alone)
    number = len(z) - 1 if others is None else len(others.loc)
    own_joint, own_marginals = _own_log_densities(z, own)

    def ends(rest: Tensor, this: Tensor) -> tuple[Tensor, Tensor]:
        return rest - math.log(max(1, number)), torch.logaddexp(rest, this) - math.log(number + 1)

    joint_low, joint_high = ends(joint, own_joint)
    marginals_low, marginals_high = ends(marginals, own_marginals)
    return MixtureDensities(joint_low, joint_high, marginals_low.sum(-1), marginals_high.sum(-1))


def aggregate_brackets(
    z: Tensor, own: Gaussians, log_q: Tensor, log_p: Tensor, others: Gaussians | None = None
) -> AggregateBrackets:
    """Brackets of the parts of the rate R = I(x; z) + KL(q(z) || p(z)) for the q(z) of all images.

    q(z) is that of the distribution that the images come from, not of the finite sample. From the densities
    of :func:`mixture_densities`, with means over the N images:

        KL(q || p):           mean(joint - log p), low and high
        I(x; z) = R - KL:     mean(log q(z|x) - joint), of high and low
        TC:                   mean(joint - marginals), of (low, high) and (high, low)
        sum_d KL(q_d || p_d): mean(marginals - log p), low and high

    Since TC >= 0, the marginals bound E log q(z) from below too; the better of the two lower bounds counts.
    Each end bounds its quantity in expectation only, so it is moved outward by three standard errors of the
    mean over images. (The images whose posteriors make the mixture are a sample too; to first order their
    choice does not matter, since the integral of q_M - q is 0.) What must hold then clips it: no part is
    negative, and neither I nor KL(q || p) is above R. The bracket is wide where codes do not overlap: its
    ends are then near 0 and R - log(M + 1).

    "ELBO surgery: yet another way to carve up the variational evidence lower bound" (Hoffman & Johnson,
    2016); "Isolating Sources of Disentanglement in Variational Autoencoders" (Chen et al., 2018, section 3),
    https://arxiv.org/abs/1802.04942

    Args:
        z: (N, D), one z_i ~ q(z|x_i) each; ``own`` are these posteriors.
        log_q, log_p: (N,), log q(z_i|x_i) and log p(z_i). log p = NaN leaves KL and dimension-wise KL NaN.
        others: M posteriors of other images; None for the other N - 1 of ``own``.

    Returns NaN for fewer than two images, and where a posterior has no density.
    """
    if len(z) < 2 or not (own.scale > 0).all() or not (others is None or (others.scale > 0).all()):
        return AggregateBrackets(*[z.new_tensor(torch.nan)] * 8)
    q = mixture_densities(z, own, others)

    def low(values: Tensor) -> Tensor:
        return values.mean() - ERRORS * values.std() / math.sqrt(len(values))

    def high(values: Tensor) -> Tensor:
        return values.mean() + ERRORS * values.std() / math.sqrt(len(values))

    rate = high(log_q - log_p)
    most = torch.minimum(high(log_q - q.joint_low), high(log_q - q.marginals_low))
    information = _bracket(
        low(log_q - q.joint_high), torch.fmin(most, rate)
    )  # fmin: without the rate if it is NaN
    correlation = _bracket(low(q.joint_low - q.marginals_high), high(q.joint_high - q.marginals_low))
    if z.shape[-1] == 1:
        correlation = torch.zeros_like(rate), torch.zeros_like(rate)
    single = _bracket(low(q.marginals_low - log_p), high(q.marginals_high - log_p))
    least = torch.maximum(low(q.joint_low - log_p), low(q.marginals_low - log_p))
    kl = _bracket(least, torch.minimum(high(q.joint_high - log_p), rate))
    return AggregateBrackets(*information, *correlation, *single, *kl)


def _bracket(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Both ends at least 0, and in order; NaN stays."""
    low = low.clamp(min=0)
    return low, torch.maximum(low, high)


def _own_log_densities(z: Tensor, own: Gaussians) -> tuple[Tensor, Tensor]:
    """(log q(z_i|x_i), log q(z_id|x_i)): (N, D) -> (N,), (N, D)."""
    standard = (z - own.loc) / own.scale
    marginals = -0.5 * (LOG_2PI + standard.square()) - own.scale.log()
    if own.tril is None:
        return marginals.sum(-1), marginals
    white = torch.linalg.solve_triangular(own.tril, (z - own.loc)[..., None], upper=False)[..., 0]
    return standard_normal_log_prob(white) - _log_volume(own.tril), marginals


def _log_sums(z: Tensor, mixture: Gaussians, leave_out_own: bool) -> tuple[Tensor, Tensor]:
    """(log sum_j q(z_i|x_j), log sum_j q(z_id|x_j)): z (N, D) -> (N,), (N, D); no j = i if left out."""
    loc, scale, tril, joint_of, _ = mixture
    rows = max(1, CHUNK // max(1, len(loc)))
    # log N(z; loc, scale^2) = constant - ((z - loc) inverse)^2
    parts = loc, math.sqrt(0.5) / scale, -scale.log() - LOG_2PI / 2
    centre, inverse, constant = (part.T.contiguous() for part in parts)
    joint, marginals = [], []
    for start in range(0, len(z), rows):
        part = z[start : start + rows]
        row = torch.arange(len(part), device=part.device)
        total, separate = part.new_zeros(len(part), len(loc)), torch.empty_like(part)
        # one (n, M) table at a time is several times faster than (n, M, D) at once
        for d in range(z.shape[-1]):
            table = constant[d] - ((part[:, d, None] - centre[d]) * inverse[d]).square()
            total += table
            if leave_out_own:
                table[row, start + row] = -torch.inf
            separate[:, d] = table.logsumexp(1)
        if joint_of is not None:
            total = torch.cat([joint_of(few[:, None]) for few in part.split(max(1, rows // INNER))])
        elif tril is not None:
            total = _correlated_log_densities(part, loc, tril)
        if leave_out_own:
            total[row, start + row] = -torch.inf
        joint.append(total.logsumexp(1))
        marginals.append(separate)
    return torch.cat(joint), torch.cat(marginals)


def _correlated_log_densities(z: Tensor, loc: Tensor, tril: Tensor) -> Tensor:
    """log N(z_m; loc_n, L_n L_n^T): (M, D), (N, D), (N, D, D) -> (M, N)."""
    white = torch.linalg.solve_triangular(tril, (z - loc[:, None]).transpose(1, 2), upper=False)  # (N, D, M)
    return standard_normal_log_prob(white.permute(2, 0, 1)) - _log_volume(tril)


def _log_volume(tril: Tensor) -> Tensor:
    """log det L: (..., D, D) -> (...)."""
    return tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
