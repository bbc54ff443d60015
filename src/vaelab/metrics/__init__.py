"""What is reported: torchmetrics metrics, one file per family.

A metric's ``update`` names what it wants among the fields of :class:`~vaelab.types.LatentStats`, ``x``,
``reconstruction``, ``discrete``, ``y``, ``factors``, ``position`` (each image's place in its split) and
``distortion_of`` (what other z do to the same images); it is handed those and nothing else.
"""

from vaelab.metrics.active_units import ActiveUnits
from vaelab.metrics.aggregate_posterior import AggregatePosterior
from vaelab.metrics.bits_per_dimension import BitsPerDimension
from vaelab.metrics.decoder_test import DecoderTest
from vaelab.metrics.disentanglement import Disentanglement
from vaelab.metrics.importance_bound import ImportanceBound
from vaelab.metrics.kl_per_dimension import KLPerDimension
from vaelab.metrics.perplexity import Perplexity
from vaelab.metrics.rate_distortion import RateDistortion
from vaelab.metrics.reconstruction import ReconstructionError

__all__ = [
    "ActiveUnits",
    "AggregatePosterior",
    "BitsPerDimension",
    "DecoderTest",
    "Disentanglement",
    "ImportanceBound",
    "KLPerDimension",
    "Perplexity",
    "RateDistortion",
    "ReconstructionError",
]
