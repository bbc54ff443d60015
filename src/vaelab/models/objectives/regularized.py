"""RAE-L2: a deterministic autoencoder with a bounded code and a smooth decoder (Ghosh et al., 2020)."""

import torch
from torch import Tensor, nn

from vaelab.models.objectives.objective import Term
from vaelab.types import LatentStats


class LatentL2(Term):
    """1/2 |z|^2, (S, B): the code's L2 norm, what is left of a KL without noise (Ghosh et al., 2020)."""

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        return 0.5 * stats.z.square().sum(-1)


class DecoderL2(Term):
    """|theta|^2, (): the sum over all weights and biases of the decoder (Ghosh et al., 2020).

    A term and not the optimizer's weight decay: it is the decoder's alone, and the same number under every
    optimizer (AdamW's decay is not an L2 penalty).

    Args:
        decoder: the model's own; the assembly knows it. It is referred to, and stays where it is in the
            model: its weights are not in this term's ``state_dict``.
    """

    def __init__(self, weight: float | nn.Module, decoder: nn.Module) -> None:
        super().__init__(weight)
        self._decoder = (decoder,)  # in a tuple, so that torch does not register it a second time

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        [decoder] = self._decoder
        return torch.stack([weight.square().sum() for weight in decoder.parameters()]).sum()
