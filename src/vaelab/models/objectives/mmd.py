"""Maximum mean discrepancy between aggregate posterior and prior.

"InfoVAE: Information Maximizing Variational Autoencoders" (Zhao et al., 2017, arXiv:1706.02262) and
"Wasserstein Auto-Encoders" (Tolstikhin et al., 2018, arXiv:1711.01558).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vaelab.functional.estimators import inverse_multiquadric, mmd, rbf
from vaelab.models.objectives.objective import Term
from vaelab.types import LatentStats

__all__ = ["MMD"]

TOLSTIKHIN = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class MMD(Term):
    """MMD^2(q(z), p(z)) from the batch, (): z ~ q(z|x) against as many z ~ p(z), the U-statistic.

    The estimate is unbiased, and so may be below 0. It is a pure number; with several kernels their sum.
    Lengths are in units of a standard normal prior, whose samples lie 2 D apart on average (squared):

    - "rbf": exp(-|z - z'|^2 / (2 D s));
    - "imq": 2 D s / (2 D s + |z - z'|^2) (Tolstikhin et al., 2018: s = 0.1, 0.2, 0.5, 1, 2, 5, 10 summed).

    With several samples of z per image it is the mean over them, since samples of one image belong
    together. A batch of a single image has no such estimate and adds nothing. In distributed training the
    batch is that of each rank.

    Args:
        weight: of the term; a number or a schedule.
        kernel: "rbf" or "imq".
        scales: s, one or more.

    Raises:
        ValueError: an unknown kernel, or scales that are not > 0.
    """

    per_image = False
    scales: Tensor

    def __init__(
        self, weight: float | nn.Module, kernel: str = "imq", scales: Sequence[float] = TOLSTIKHIN
    ) -> None:
        super().__init__(weight)
        if kernel not in ("rbf", "imq"):
            raise ValueError(f"kernel must be rbf or imq, got {kernel}")
        if not scales or min(scales) <= 0:
            raise ValueError(f"scales must be numbers > 0, got {list(scales)}")
        self.kernel = kernel
        self.register_buffer("scales", torch.tensor([float(s) for s in scales]), persistent=False)

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        images, dimensions = stats.z_prior.shape
        if images < 2:
            return stats.z.new_zeros(())
        lengths = self.scales * dimensions
        kernel = rbf(lengths.sqrt()) if self.kernel == "rbf" else inverse_multiquadric(2 * lengths)
        return torch.stack([mmd(z, stats.z_prior, kernel) for z in stats.z]).mean()
