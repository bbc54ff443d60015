"""Likelihoods p(x|z): from the decoder's output to log p(x|z) and a mean image, one file per family."""

from vaelab.models.likelihoods.base import Likelihood, sum_pixels
from vaelab.models.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from vaelab.models.likelihoods.discretized_logistic import DiscretizedLogistic
from vaelab.models.likelihoods.gaussian import Gaussian, LearnedGaussian, PredictedGaussian
from vaelab.models.likelihoods.laplace import Laplace

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
