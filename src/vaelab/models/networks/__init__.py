"""Encoder and decoder pairs, one factory each: for any image size and channel count, or as published.

Initialisation, everywhere: weights of layers followed by the activation are Kaiming-normal (He et al.,
2015), weights of output layers Xavier-normal (Glorot & Bengio, 2010), all biases zero, the last ones too:
outputs start centred on mu = 0, log sigma^2 = 0 and, for a Bernoulli likelihood, on probability 1/2.
"""

from vaelab.models.networks.conv import conv
from vaelab.models.networks.dense import linear, mlp
from vaelab.models.networks.parts import ACTIVATIONS, Networks, check_widths
from vaelab.models.networks.published import burgess_conv, locatello_conv
from vaelab.models.networks.resnet import resnet

__all__ = [
    "ACTIVATIONS",
    "Networks",
    "burgess_conv",
    "check_widths",
    "conv",
    "linear",
    "locatello_conv",
    "mlp",
    "resnet",
]
