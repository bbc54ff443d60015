"""Pixels in [0, 1]: Bernoulli for binary ones, continuous Bernoulli for grey ones."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vaelab.functional.distributions import bernoulli_cross_entropy
from vaelab.functional.images import on_grid
from vaelab.functional.randomness import uniform
from vaelab.models.likelihoods.base import Likelihood, check_unit_interval, smoothed_unit_mean, sum_pixels


class Bernoulli(Likelihood):
    """p(x|z) = prod_i Bernoulli(x_i; sigmoid(logit_i)) for pixels in [0, 1].

    Grey pixels are allowed, as the literature does, and then even a perfect reconstruction costs the
    entropy of the image; ``data.binarize`` gives images for which this is a proper likelihood.
    """

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        # minus after the sum, not before: a pass over the pixels less in each direction
        return -sum_pixels(bernoulli_cross_entropy(x.expand_as(decoded), decoded))

    def mean(self, decoded: Tensor) -> Tensor:
        return decoded.sigmoid()

    def sample(self, decoded: Tensor, noise: Tensor) -> Tensor:
        # black or white, whatever the pixels that it was trained on
        return (uniform(noise) < decoded.sigmoid()).to(decoded)

    def constant(self, groups: Sequence[Tensor]) -> tuple[Likelihood, Tensor]:
        # D = sum_i h(mean_i), the entropies of the mean pixels
        return self, torch.stack([smoothed_unit_mean(x) for x in groups]).logit()

    def curvature(self, decoded: Tensor) -> Tensor:
        return decoded.sigmoid() * (-decoded).sigmoid()  # the variance p (1 - p)

    def least_distortion(self, x: Tensor) -> Tensor:
        return sum_pixels(torch.special.entr(x) + torch.special.entr(1 - x))

    def check(self, low: float, high: float, levels: int | None = None) -> None:
        check_unit_interval("a Bernoulli likelihood", low, high)

    def discrete(self, x: Tensor) -> Tensor:
        return on_grid(x, 2)


class ContinuousBernoulli(Likelihood):
    """p(x|z) = prod_i C(l_i) l_i^x_i (1 - l_i)^(1 - x_i) on [0, 1], with l = sigmoid(logit).

    It is the density that a Bernoulli likelihood of grey pixels lacks the normaliser of: C(l) =
    2 artanh(1 - 2l) / (1 - 2l), and C(1/2) = 2: "The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders" (Loaiza-Ganem & Cunningham, 2019, arXiv:1907.06845), section 3. The mean is
    not l: see :func:`continuous_bernoulli_mean`.
    """

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        # l^x (1-l)^(1-x) C(l) = exp(logit (x - 1/2)) / sinhc(logit / 2): log C = -log(l (1-l))/2 - log sinhc
        return sum_pixels((x - 0.5) * decoded - log_sinhc(0.5 * decoded))

    def mean(self, decoded: Tensor) -> Tensor:
        return continuous_bernoulli_mean(decoded)

    def sample(self, decoded: Tensor, noise: Tensor) -> Tensor:
        return continuous_bernoulli_quantile(noise, decoded)

    def constant(self, groups: Sequence[Tensor]) -> tuple[Likelihood, Tensor]:
        # the logits whose mean is that of the pixels, by bisection: |mean - 1/2| < 1/2 - 1/|logit|
        mean = torch.stack([smoothed_unit_mean(x) for x in groups])
        high = 2 / torch.minimum(mean, 1 - mean)
        low = -high
        for _ in range(60):
            middle = (low + high) / 2
            below = continuous_bernoulli_mean(middle) < mean
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return self, (low + high) / 2

    def curvature(self, decoded: Tensor) -> Tensor:
        # the variance: the derivative of the mean of an exponential family
        with torch.enable_grad():
            logits = decoded.detach().requires_grad_()
            (variance,) = torch.autograd.grad(self.mean(logits).sum(), logits)
        return variance

    def check(self, low: float, high: float, levels: int | None = None) -> None:
        check_unit_interval("a continuous Bernoulli likelihood", low, high)


NEAR_ZERO = 0.25  # below it the series is exact to 2e-14, above it the closed form loses few digits


def log_sinhc(y: Tensor) -> Tensor:
    """log(sinh(y) / y), elementwise: even, 0 at 0, |y| far out.

    The continuous Bernoulli's: the integral of exp(logit (x - 1/2)) over [0, 1] is sinhc(logit/2). Near 0,
    where y cancels, its Taylor series to y^10. Both sides of the ``where`` are finite everywhere, with finite
    gradients, since a NaN in the one not taken would reach the gradient all the same.
    """
    near = y.abs() < NEAR_ZERO
    small = torch.where(near, y, 0.0).square()
    series = small * (1 / 6 + small * (-1 / 180 + small * (1 / 2835 + small * (-1 / 37800 + small / 467775))))
    large = torch.where(near, 1.0, y.abs())
    closed = large + torch.log(-torch.expm1(-2 * large)) - torch.log(2 * large)
    return torch.where(near, series, closed)


def continuous_bernoulli_mean(logits: Tensor) -> Tensor:
    """E[x] = l/(2l - 1) + 1/(2 artanh(1 - 2l)) = 1/2 + (coth(y) - 1/y)/2 with y = logit/2; 1/2 at logit 0.

    Near 0 the Taylor series of coth(y) - 1/y to y^9.
    """
    y = 0.5 * logits
    near = y.abs() < NEAR_ZERO
    small = torch.where(near, y, 0.0)
    square = small.square()
    series = small * (
        1 / 3 + square * (-1 / 45 + square * (2 / 945 + square * (-1 / 4725 + square * 2 / 93555)))
    )
    large = torch.where(near, 1.0, y)
    closed = 1 / torch.tanh(large) - 1 / large
    return 0.5 + 0.5 * torch.where(near, series, closed)


def continuous_bernoulli_quantile(noise: Tensor, logits: Tensor) -> Tensor:
    """x with F(x) = Phi(noise), where F(x) = (e^(a x) - 1) / (e^a - 1) and a is the logit: elementwise.

    x = log(1 + u (e^a - 1)) / a; a > 0 by symmetry, 1 - x of -a and 1 - u; near a = 0 its Taylor series.
    """
    a = -logits.to(torch.promote_types(logits.dtype, torch.float32)).abs()
    u = uniform(torch.where(logits > 0, -noise, noise))
    near = a > -1e-5
    far = torch.where(near, -1.0, a)
    x = torch.where(near, u + 0.5 * a * u * (1 - u), torch.log1p(u * torch.expm1(far)) / far)
    return torch.where(logits > 0, 1 - x, x).clamp(0, 1).to(logits)
