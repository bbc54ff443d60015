"""What is minimised: :class:`Objective`, a weighted sum of :class:`Term`, one file per family of terms."""

from vaelab.models.objectives.dip import Diagonal, OffDiagonal
from vaelab.models.objectives.elbo import KL, Distortion
from vaelab.models.objectives.importance import ImportanceBound
from vaelab.models.objectives.mmd import MMD
from vaelab.models.objectives.objective import Objective, Term
from vaelab.models.objectives.quantization import CodebookLoss, Commitment
from vaelab.models.objectives.rate_control import Capacity, FreeBits, Geco, TargetRate
from vaelab.models.objectives.regularized import DecoderL2, LatentL2
from vaelab.models.objectives.total_correlation import FactorTotalCorrelation, TotalCorrelation
from vaelab.models.objectives.weights import Combination

__all__ = [
    "KL",
    "MMD",
    "Capacity",
    "CodebookLoss",
    "Combination",
    "Commitment",
    "DecoderL2",
    "Diagonal",
    "Distortion",
    "FactorTotalCorrelation",
    "FreeBits",
    "Geco",
    "ImportanceBound",
    "LatentL2",
    "Objective",
    "OffDiagonal",
    "TargetRate",
    "Term",
    "TotalCorrelation",
]
