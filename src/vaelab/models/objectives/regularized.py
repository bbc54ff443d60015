"""RAE-L2: a deterministic autoencoder with a bounded code and a smooth decoder.

"From Variational to Deterministic Autoencoders" (Ghosh et al., 2020, arXiv:1903.12436).
"""

import torch
from torch import Tensor, nn

from vaelab.models.objectives.objective import Term
from vaelab.types import LatentStats

__all__ = ["DecoderL2", "LatentL2"]


class LatentL2(Term):
    """1/2 |z|^2, (S, B): the code's L2 norm, what remains of a KL without noise."""

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        return 0.5 * stats.z.square().sum(-1)


class DecoderL2(Term):
    """|theta|^2, (): the sum over all weights and biases of the decoder.

    A term and not the optimizer's weight decay: it is the decoder's alone, and the same number under every
    optimizer (AdamW's decay is not an L2 penalty).

    Args:
        decoder: the model's own, which the assembly offers.
    """

    def __init__(self, weight: float | nn.Module, decoder: nn.Module) -> None:
        super().__init__(weight)
        # a list of one: torch registers modules that are attributes, and a second registration would put the
        # decoder's weights into the checkpoint twice and double them in the optimizer
        self.decoder = [decoder]

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        return torch.stack([weight.square().sum() for weight in self.decoder[0].parameters()]).sum()
