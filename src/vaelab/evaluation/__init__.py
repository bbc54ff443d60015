"""Evaluations of trained runs by ``vaelab-evaluate``, which would take too long in every training.

An evaluation is built from plain settings (``conf/eval/``) and called with a
:class:`~vaelab.evaluation.trained_run.TrainedRun`. It returns two dictionaries:

- ``metrics``: flat names -> numbers or lists of numbers, ``eval/<name>`` in the record and in W&B;
- ``protocol``: the method, its source and the sample sizes, as plain values.

An evaluation that makes no sense for a run raises :class:`~vaelab.evaluation.trained_run.NotApplicable` with
the reason.
"""

from vaelab.evaluation.code_prior import CodePrior
from vaelab.evaluation.disentanglement_scores import DisentanglementScores
from vaelab.evaluation.expost import ExPostGain, ExPostSampleQuality
from vaelab.evaluation.gradient_variance import GradientVariance
from vaelab.evaluation.latent_space import LatentSpace
from vaelab.evaluation.nll import AIS, ImportanceNLL
from vaelab.evaluation.noise_gap import NoiseGap
from vaelab.evaluation.path_length import PathLength
from vaelab.evaluation.probes import Probes
from vaelab.evaluation.sample_quality import SampleQuality
from vaelab.evaluation.trained_run import NotApplicable, TrainedRun

__all__ = [
    "AIS",
    "CodePrior",
    "DisentanglementScores",
    "ExPostGain",
    "ExPostSampleQuality",
    "GradientVariance",
    "ImportanceNLL",
    "LatentSpace",
    "NoiseGap",
    "NotApplicable",
    "PathLength",
    "Probes",
    "SampleQuality",
    "TrainedRun",
]
