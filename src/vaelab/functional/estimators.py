"""Estimates from samples: importance bound, aggregate posterior, total correlation, information, MMD.

Functions of numpy arrays or tensors; they return tensors, in nats. q(z) = 1/N sum_n q(z|x_n) is the
aggregate posterior of N images with diagonal Gaussian posteriors q(z|x_n) = N(loc_n, diag(scale_n^2)). Where
a scale is 0 there is no density: NaN.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from vaelab.functional.distributions import normal_log_prob, standard_normal_log_prob

__all__ = [
    "RateSplit",
    "aggregate_log_densities",
    "aggregate_posterior",
    "importance_bound",
    "inverse_multiquadric",
    "log_aggregate_posterior",
    "mmd",
    "mmd_of_tables",
    "mutual_information",
    "pairwise_log_densities",
    "rbf",
    "squared_distances",
    "stratified_log_weights",
    "total_correlation",
]

CHUNK = 2**22  # numbers in the largest intermediate table of the chunked functions: 16 MB of float32

Values = Tensor | ArrayLike


class RateSplit(NamedTuple):
    """The mean rate and its parts, each (); the first three sum to mean log q(z|x) - log p(z)."""

    mutual_information: Tensor  # I_q(n; z) = E[log q(z|x) - log q(z)]
    total_correlation: Tensor  # KL(q(z) || prod_d q(z_d))
    dimension_wise_kl: Tensor  # sum_d KL(q(z_d) || p(z_d)); holds where p(z) is a product of dimensions
    aggregate_kl: Tensor  # KL(q(z) || p(z)), the sum of the last two


def _tensors(*values: Values) -> list[Tensor]:
    return [torch.as_tensor(value) for value in values]


def importance_bound(log_w: Values) -> Tensor:
    """log 1/S sum_s w_s: log_w (S, B) = log p(x, z_s) - log q(z_s|x) -> (B,).

    Its mean is a lower bound of log p(x) that grows with S; with S = 1 it is the ELBO. Average over images
    afterwards, never before. "Importance Weighted Autoencoders" (Burda et al., 2016),
    https://arxiv.org/abs/1509.00519

    >>> importance_bound([[0.0, -3.0], [0.0, -3.0]])
    tensor([ 0., -3.])
    """
    (log_w,) = _tensors(log_w)
    return log_w.logsumexp(0) - math.log(len(log_w))


# the aggregate posterior


def pairwise_log_densities(z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """log N(z_id; loc_jd, scale_jd^2): z (..., M, D), loc and scale (N, D) -> (..., M, N, D)."""
    return normal_log_prob(z.unsqueeze(-2), loc, 2 * scale.log())


def log_aggregate_posterior(z: Values, loc: Values, scale: Values) -> Tensor:
    """log q(z) = log 1/N sum_n q(z|x_n), exact: z (..., D), loc and scale (N, D) -> (...).

    In chunks of z, so that memory stays small; M N D operations. The model's q(z) takes loc and
    scale of the whole data set.
    """
    return aggregate_log_densities(z, loc, scale)[0]


def aggregate_log_densities(
    z: Values, loc: Values, scale: Values, tril: Tensor | None = None, leave_out_own: bool = False
) -> tuple[Tensor, Tensor]:
    """(log q(z), sum_d log q(z_d)) under the mixture of the N posteriors given: z (..., D) -> (...) each.

    Args:
        tril: (N, D, D), the posteriors' Cholesky factors where their dimensions are correlated; ``scale``
            are their marginal standard deviations then.
        leave_out_own: z is (N, D), and the mixture at z_n is that of the other N - 1 posteriors.
    """
    z, loc, scale = _tensors(z, loc, scale)
    flat = z.reshape(-1, z.shape[-1])
    number = len(loc) - leave_out_own
    rows = max(1, CHUNK // max(1, len(loc)))
    joint, marginals = [], []
    for start in range(0, len(flat), rows):
        part = flat[start : start + rows]
        row = torch.arange(len(part), device=part.device)
        total, separate = part.new_zeros(len(part), len(loc)), part.new_zeros(len(part))
        # one (M, N) table at a time is several times faster than (M, N, D) at once
        for d in range(z.shape[-1]):
            table = normal_log_prob(part[:, d, None], loc[:, d], 2 * scale[:, d].log())
            total += table
            if leave_out_own:
                table[row, start + row] = -torch.inf
            separate += table.logsumexp(1) - math.log(number)
        if tril is not None:
            total = _correlated_log_densities(part, loc, tril)
        if leave_out_own:
            total[row, start + row] = -torch.inf
        joint.append(total.logsumexp(1) - math.log(number))
        marginals.append(separate)
    return torch.cat(joint).reshape(z.shape[:-1]), torch.cat(marginals).reshape(z.shape[:-1])


def _correlated_log_densities(z: Tensor, loc: Tensor, tril: Tensor) -> Tensor:
    """log N(z_m; loc_n, L_n L_n^T): (M, D), (N, D), (N, D, D) -> (M, N)."""
    white = torch.linalg.solve_triangular(tril, (z - loc[:, None]).transpose(1, 2), upper=False)  # (N, D, M)
    log_volume = tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return standard_normal_log_prob(white.permute(2, 0, 1)) - log_volume


def aggregate_posterior(
    z: Values,
    loc: Values,
    scale: Values,
    log_q: Values = torch.nan,
    log_p: Values = torch.nan,
    tril: Tensor | None = None,
) -> RateSplit:
    """The split of the rate at samples z (..., D), under the exact mixture of the N posteriors given.

    "Isolating Sources of Disentanglement in Variational Autoencoders" (Chen et al., 2018, section 3),
    https://arxiv.org/abs/1802.04942

    Args:
        loc, scale: (N, D), the posteriors.
        log_q, log_p: (...), log q(z|x) and log p(z) of the samples; what needs them is NaN without them.
        tril: (N, D, D), see :func:`aggregate_log_densities`.
    """
    joint, marginals = aggregate_log_densities(z, loc, scale, tril)
    log_q, log_p = (torch.as_tensor(value, device=joint.device) for value in (log_q, log_p))
    return RateSplit(
        (log_q - joint).mean(), (joint - marginals).mean(), (marginals - log_p).mean(), (joint - log_p).mean()
    )


def mutual_information(z: Values, loc: Values, scale: Values) -> Tensor:
    """I_q(n; z) = mean_i [log q(z_i|x_i) - log q(z_i)], z_i ~ q(z|x_i): z, loc, scale (N, D) -> ().

    It lies in [0, log N] but for the noise of the samples. Of a batch instead of the whole data set it is at
    most log B. "ELBO surgery: yet another way to carve up the variational evidence lower bound" (Hoffman &
    Johnson, 2016); "Lagging Inference Networks and Posterior Collapse in Variational Autoencoders" (He et
    al., 2019), https://arxiv.org/abs/1901.05534
    """
    z, loc, scale = _tensors(z, loc, scale)
    log_q = normal_log_prob(z, loc, 2 * scale.log()).sum(-1)
    return aggregate_posterior(z, loc, scale, log_q).mutual_information


def stratified_log_weights(batch: int, dataset_size: int) -> Tensor:
    """The logs of the weights of minibatch stratified sampling, (B, B): row i estimates q(z_i).

    With M = B - 1 other images in the batch, N in all: 1/N for the image's own posterior, (N - M) / (N M)
    for one of the others, 1/M for the rest, so that the expectation of sum_j w_ij q(z_i|x_j) over the choice
    of the others is q(z_i) (Chen et al., 2018, appendix C.2). Here "one of the others" is the next in the
    batch. The authors' code fills the matrix with a stride of B in place of B + 1, so that the 1/N are in the
    first column and not on the diagonal.

    Each row sums to 1. A lone image (B = 1) has the weight 1.
    """
    if not 1 <= batch <= dataset_size:
        raise ValueError(
            f"batch size {batch} must be from 1 to the size of the data set ({dataset_size} images)"
        )
    if batch == 1:
        return torch.zeros(1, 1)
    others = batch - 1
    weights = torch.full((batch, batch), 1 / others)
    row = torch.arange(batch)
    weights[row, row] = 1 / dataset_size
    weights[row, (row + 1) % batch] = (dataset_size - others) / (dataset_size * others)
    return weights.log()


def total_correlation(
    z: Values, loc: Values, scale: Values, dataset_size: int | None = None, estimator: str = "mss"
) -> Tensor:
    """TC = KL(q(z) || prod_d q(z_d)) = E_q(z)[log q(z) - sum_d log q(z_d)] -> (), in nats.

    Args:
        z: (B, D) or (S, B, D), samples z_i ~ q(z|x_i).
        loc, scale: (B, D), the posteriors of the same images.
        dataset_size: N, the number of images that the batch is drawn from; "full" does not need it.
        estimator: of log q(z_i) and log q(z_id) (Chen et al., 2018, appendix C):
            "mss", minibatch stratified sampling: unbiased for q(z_i), though not for its log;
            "mws", minibatch weighted sampling, log sum_j q(z_i|x_j) - log(N B): a lower bound of E log q(z)
            whose offset makes this TC too large by up to (D - 1) log N: for its gradients, not its value;
            "full", the exact mixture of the posteriors given (N, D), those of the whole data set; z may be
            any number of samples.
    """
    z, loc, scale = _tensors(z, loc, scale)
    if estimator == "full":
        return aggregate_posterior(z, loc, scale).total_correlation
    if dataset_size is None:
        raise ValueError(f"the estimator {estimator!r} needs dataset_size")
    batch = len(loc)
    if estimator == "mss":
        log_weights = stratified_log_weights(batch, dataset_size).to(z)
    elif estimator == "mws":
        log_weights = z.new_full((batch, batch), -math.log(dataset_size * batch))
    else:
        raise ValueError(f"estimator must be one of mss, mws, full, got {estimator!r}")
    densities = pairwise_log_densities(z, loc, scale)  # (..., B, B, D)
    joint = (densities.sum(-1) + log_weights).logsumexp(-1)
    marginals = (densities + log_weights[..., None]).logsumexp(-2).sum(-1)
    return (joint - marginals).mean()


# maximum mean discrepancy

Kernel = Callable[[Tensor], Tensor]  # squared distances -> the kernel, elementwise


def rbf(bandwidth: float | Tensor) -> Kernel:
    """k(x, y) = exp(-|x - y|^2 / (2 bandwidth^2)); several bandwidths (K,) are summed."""
    squares = torch.as_tensor(bandwidth).reshape(-1).square()
    return lambda distances: (-distances[..., None] / (2 * squares.to(distances))).exp().sum(-1)


def inverse_multiquadric(c: float | Tensor) -> Kernel:
    """k(x, y) = c / (c + |x - y|^2); several c (K,) are summed.

    "Wasserstein Auto-Encoders" (Tolstikhin et al., 2018, section 4), https://arxiv.org/abs/1711.01558
    """
    constants = torch.as_tensor(c).reshape(-1)

    def kernel(distances: Tensor) -> Tensor:
        constant = constants.to(distances)
        return (constant / (constant + distances[..., None])).sum(-1)

    return kernel


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|^2: (..., M, D), (..., N, D) -> (..., M, N)."""
    inner = x @ y.transpose(-1, -2)
    squares = x.square().sum(-1)[..., :, None] + y.square().sum(-1)[..., None, :]
    return (squares - 2 * inner).clamp(min=0)  # of equal points rounding may leave less than 0


def mmd(x: Values, y: Values, kernel: Kernel, biased: bool = False) -> Tensor:
    """The squared maximum mean discrepancy of two sets of samples: (M, D), (N, D) -> ().

    MMD^2 = E k(x, x') - 2 E k(x, y) + E k(y, y'). Unbiased, it leaves out the pairs i = j within a set and
    may be below 0 (the U-statistic); NaN for a set of one. ``biased`` keeps them, and is the squared distance
    of two means, never below 0 (the V-statistic). "A Kernel Two-Sample Test" (Gretton et al., JMLR 2012)
    """
    x, y = _tensors(x, y)
    xx, yy, xy = (kernel(squared_distances(a, b)) for a, b in ((x, x), (y, y), (x, y)))
    return mmd_of_tables(xx, yy, xy, biased)


def mmd_of_tables(xx: Tensor, yy: Tensor, xy: Tensor, biased: bool = False) -> Tensor:
    """:func:`mmd` from the kernel's values within and between the sets: (M, M), (N, N), (M, N) -> ()."""
    return _mean_within(xx, biased) + _mean_within(yy, biased) - 2 * xy.mean()


def _mean_within(table: Tensor, biased: bool) -> Tensor:
    """The mean of a square table, without its diagonal unless ``biased``."""
    if biased:
        return table.mean()
    number = len(table)
    pairs = number * (number - 1)
    total = table.sum() - table.diagonal().sum()
    return total / pairs if pairs else total * torch.nan
