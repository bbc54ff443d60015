"""How dependent the dimensions of codes are, measured on their covariance: no factors needed.

"Challenging Common Assumptions in the Unsupervised Learning of Disentangled Representations" (Locatello et
al., 2019, appendix), https://arxiv.org/abs/1811.12359; there of 10,000 posterior means or samples.
"""

import math

import numpy as np

from vaelab.functional.disentanglement.inputs import Floats, Values, code_array

__all__ = ["gaussian_total_correlation", "wasserstein_correlation"]


def gaussian_total_correlation(codes: Values) -> float:
    """The total correlation of a Gaussian with the codes' covariance C, in nats: 0 if uncorrelated.

    TC = 1/2 (sum_i log C_ii - log det C) = -1/2 log det of the correlations, whatever the scales. Constant
    dimensions are independent of all others and left out. Infinite where one dimension is a linear function
    of others.
    """
    z = code_array(codes)
    z = z[:, z.std(0) > 0]
    if z.shape[1] < 2:
        return 0.0
    correlation = np.corrcoef(z.T)
    values = np.linalg.eigvalsh(correlation)
    if values[0] <= len(values) * np.finfo(np.float64).eps * values[-1]:
        return math.inf
    return max(0.0, float(-0.5 * np.log(values).sum()))


def wasserstein_correlation(codes: Values, normalised: bool = False) -> float:
    """The squared 2-Wasserstein distance of N(0, C), C the codes' covariance, from N(0, diag C).

    W = 2 tr C - 2 tr (D^1/2 C D^1/2)^1/2 with D = diag C: 0 if uncorrelated, finite for any C. It grows with
    the square of the codes' scale, unless ``normalised``: then it is divided by tr C (NaN if that is 0).
    """
    z = code_array(codes)
    covariance: Floats = np.atleast_2d(np.cov(z.T))  # ddof = 1, as in disentanglement_lib
    total = np.trace(covariance)
    root = np.sqrt(np.diag(covariance))
    values = np.linalg.eigvalsh(root[:, None] * covariance * root)
    distance = max(0.0, float(2 * total - 2 * np.sqrt(values.clip(min=0)).sum()))
    if not normalised:
        return distance
    return distance / float(total) if total else math.nan
