"""Likelihoods p(x|z): from the decoder's output to log p(x|z) and a mean image, one file per family."""

from vaelab.likelihoods.base import Likelihood, sum_pixels
from vaelab.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from vaelab.likelihoods.discretized_logistic import DiscretizedLogistic
from vaelab.likelihoods.gaussian import Gaussian, LearnedGaussian, PredictedGaussian
from vaelab.likelihoods.laplace import Laplace

__all__ = [
    "Bernoulli",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Gaussian",
    "Laplace",
    "LearnedGaussian",
    "Likelihood",
    "PredictedGaussian",
    "sum_pixels",
]
