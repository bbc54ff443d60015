"""Encoder and decoder pairs, one factory each: for any image size and channel count, or as published.

First weights by ``init`` of a factory:

- ``torch``: torch's own, uniform within 1 / sqrt(fan_in), weights and biases; the default of mlp and linear.
- ``kaiming``: weights of layers followed by the activation are Kaiming-normal ("Delving Deep into
  Rectifiers", He et al., 2015, arXiv:1502.01852), those of output layers Xavier-normal, all biases zero; the
  default of conv and resnet. Outputs start centred on mu = 0, log sigma^2 = 0 and, for a Bernoulli
  likelihood, on probability 1/2.
- ``xavier``: Xavier-uniform ("Understanding the difficulty of training deep feedforward neural networks",
  Glorot & Bengio, 2010), uniform within sqrt(6 / (fan_in + fan_out)), all biases zero.

docs/variants.md has the measurements by which the defaults were chosen.
"""

from vaelab.models.networks.conv import conv
from vaelab.models.networks.dense import linear, mlp
from vaelab.models.networks.maps import conv_map, latent_shape_of
from vaelab.models.networks.parts import ACTIVATIONS, Networks, check_widths
from vaelab.models.networks.published import burgess_conv, locatello_conv
from vaelab.models.networks.resnet import resnet

__all__ = [
    "ACTIVATIONS",
    "Networks",
    "burgess_conv",
    "check_widths",
    "conv",
    "conv_map",
    "latent_shape_of",
    "linear",
    "locatello_conv",
    "mlp",
    "resnet",
]
