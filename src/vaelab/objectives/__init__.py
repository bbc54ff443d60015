"""What is minimised: :class:`Objective`, a weighted sum of :class:`Term`, one file per family of terms."""

from vaelab.objectives.dip import Diagonal, OffDiagonal
from vaelab.objectives.elbo import KL, Distortion
from vaelab.objectives.importance import ImportanceBound
from vaelab.objectives.mmd import MMD
from vaelab.objectives.objective import Objective, Term
from vaelab.objectives.quantization import CodebookLoss, Commitment
from vaelab.objectives.rate_control import Capacity, FreeBits, Geco, TargetRate
from vaelab.objectives.regularized import DecoderL2, LatentL2
from vaelab.objectives.total_correlation import FactorTotalCorrelation, TotalCorrelation
from vaelab.objectives.weights import Combination

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
