"""The loss: :class:`Objective`, a weighted sum of :class:`Term`, one file per family of terms."""

from vaelab.models.objectives.dip import CovariancePenalty
from vaelab.models.objectives.elbo import KL, Distortion
from vaelab.models.objectives.groups import GroupKL
from vaelab.models.objectives.importance import ImportanceBound
from vaelab.models.objectives.mmd import MMD
from vaelab.models.objectives.objective import Objective, Term, TermShape
from vaelab.models.objectives.quantization import CodebookLoss, Commitment
from vaelab.models.objectives.rate_control import Capacity, Constrained, FreeBits
from vaelab.models.objectives.regularized import DecoderL2, LatentL2
from vaelab.models.objectives.similarity import StructuralSimilarity
from vaelab.models.objectives.total_correlation import FactorTotalCorrelation, TotalCorrelation
from vaelab.models.objectives.weights import WeightCombination

__all__ = [
    "KL",
    "MMD",
    "Capacity",
    "CodebookLoss",
    "Commitment",
    "Constrained",
    "CovariancePenalty",
    "DecoderL2",
    "Distortion",
    "FactorTotalCorrelation",
    "FreeBits",
    "GroupKL",
    "ImportanceBound",
    "LatentL2",
    "Objective",
    "StructuralSimilarity",
    "Term",
    "TermShape",
    "TotalCorrelation",
    "WeightCombination",
]
