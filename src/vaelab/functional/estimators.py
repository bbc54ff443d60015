"""Estimates from samples: importance bound, total correlation, information, MMD.

Functions of numpy arrays or tensors; they return tensors, in nats. q(z) = 1/N sum_n q(z|x_n) is the mixture
of the posteriors q(z|x_n) = N(loc_n, diag(scale_n^2)) of N images. A scale must be > 0; scales that are all 0
are a deterministic encoder's, which has no density: NaN. Other scales, and values that are not finite,
raise ValueError. (Brackets of these for the q(z) of all images: :mod:`vaelab.functional.aggregate`.)
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vaelab.functional.aggregate import aggregate_log_densities, check_posteriors, log_aggregate_posterior
from vaelab.functional.distributions import Values, normal_log_prob

__all__ = [
    "importance_bound",
    "inverse_multiquadric",
    "mmd",
    "mmd_of_tables",
    "mutual_information",
    "pairwise_log_densities",
    "rbf",
    "squared_distances",
    "stratified_log_weights",
    "total_correlation",
]


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


# information and total correlation


def pairwise_log_densities(z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """log N(z_id; loc_jd, scale_jd^2): z (..., M, D), loc and scale (N, D) -> (..., M, N, D)."""
    return normal_log_prob(z.unsqueeze(-2), loc, 2 * scale.log())


def mutual_information(z: Values, loc: Values, scale: Values) -> Tensor:
    """I_q(n; z) = mean_i [log q(z_i|x_i) - log q(z_i)], z_i ~ q(z|x_i): z, loc, scale (N, D) -> ().

    That of the N images given, which lies in [0, log N] but for the noise of the samples: in expectation a
    lower bound of the I(x; z) of all images. Of a batch instead of the whole data set it is at most log B.
    "ELBO surgery: yet another way to carve up the variational evidence lower bound" (Hoffman & Johnson,
    2016); "Lagging Inference Networks and Posterior Collapse in Variational Autoencoders" (He et al., 2019),
    https://arxiv.org/abs/1901.05534

    Args:
        scale: standard deviations > 0, not variances or their logs. All 0, of a deterministic encoder: NaN.

    Raises:
        ValueError: a scale is not > 0, a value is not finite, or the shapes do not fit.
    """
    z, loc, scale = _tensors(z, loc, scale)
    check_posteriors(z, loc, scale)
    log_q = normal_log_prob(z, loc, 2 * scale.log()).sum(-1)
    return (log_q - log_aggregate_posterior(z, loc, scale)).mean()


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

    Scales must be > 0. "full" checks them like :func:`mutual_information`; "mss" and "mws", which stand in
    losses, look at no value and return NaN.

    Raises:
        ValueError: "full" has a wrong scale or value; an unknown estimator, or one without its dataset_size.
    """
    z, loc, scale = _tensors(z, loc, scale)
    if estimator == "full":
        check_posteriors(z, loc, scale)
        joint, marginals = aggregate_log_densities(z, loc, scale)
        return (joint - marginals).mean()
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
