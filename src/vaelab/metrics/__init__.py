"""What is reported: torchmetrics metrics, one file each, as thin shells over :mod:`vaelab.functional`.

The arguments of a metric's ``update`` are among the fields of :class:`~vaelab.types.LatentStats`, ``x``,
``reconstruction``, ``discrete``, ``y``, ``factors``, ``position`` (each image's index in its split),
``distortion_of`` (the distortion of the same images under other z), ``objective`` (what the variant
minimises, for each image), ``split`` (val or test), ``sample_prior``, ``training_posteriors``, ``components``
and ``quick`` (those of :class:`AggregatePosterior`); it gets the arguments that it names.
"""

from vaelab.metrics.active_units import ActiveUnits
from vaelab.metrics.aggregate_posterior import AggregatePosterior
from vaelab.metrics.bits_per_dimension import BitsPerDimension
from vaelab.metrics.decoder_test import DecoderTest
from vaelab.metrics.disentanglement import Disentanglement
from vaelab.metrics.importance_bound import ImportanceBound
from vaelab.metrics.kl_per_dimension import KLPerDimension
from vaelab.metrics.objective import Objective
from vaelab.metrics.per_image import PerImage
from vaelab.metrics.perplexity import Perplexity
from vaelab.metrics.rate_distortion import RateDistortion
from vaelab.metrics.reconstruction import ReconstructionError
from vaelab.metrics.reconstruction_quality import ReconstructionQuality

__all__ = [
    "ActiveUnits",
    "AggregatePosterior",
    "BitsPerDimension",
    "DecoderTest",
    "Disentanglement",
    "ImportanceBound",
    "KLPerDimension",
    "Objective",
    "PerImage",
    "Perplexity",
    "RateDistortion",
    "ReconstructionError",
    "ReconstructionQuality",
]
