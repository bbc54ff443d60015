"""The importance-weighted autoencoder: a bound of log p(x) from K samples of z."""

import torch
from torch import Tensor, nn

from vaelab.errors import UserError
from vaelab.functional.estimators import importance_bound
from vaelab.models.objectives.objective import Term
from vaelab.types import LatentStats


class ImportanceBound(Term):
    """-L_K = -log 1/K sum_k w_k, (B,), w_k = p(x, z_k) / q(z_k|x): in place of distortion and KL.

    Source: Burda, Grosse & Salakhutdinov (2016). K is ``model.samples``. The term is the negative
    bound itself, not the surrogate of normalised weights times log w_k, whose gradient it has.

    gradient:
        - "standard": that of the bound, reparametrised.
        - "dreg": doubly reparametrised, IWAE-DReG (Tucker et al., 2019): the same expectation with less
          variance in the encoder, sum_k w~_k^2 (d log w_k / dz_k) (dz_k / dphi) with w~ the normalised
          weights; the decoder's gradient is the standard one, sum_k w~_k d log w_k / dtheta. The value is the
          same bound.

    How "dreg" comes about: log q takes z's gradient alone (``detached_log_q``), and what arrives at z, w~_k
    d log w_k / dz_k, is multiplied by w~_k once more on its way to the encoder. So it stands for the whole
    loss: gradients of other terms would be multiplied too, and it is refused beside others. Gradients are
    to be taken within a vmap, as vmap(grad(...)), not around it.
    """

    needs_density = True

    def __init__(self, weight: float | nn.Module = 1.0, gradient: str = "standard") -> None:
        super().__init__(weight)
        if gradient not in ("standard", "dreg"):
            raise UserError(f"model.gradient must be standard or dreg, got {gradient}.")
        self.detached_log_q = gradient == "dreg"

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        log_w = stats.log_p - stats.distortion - stats.log_q
        if self.detached_log_q and torch.is_grad_enabled():
            shares = log_w.detach().softmax(0)[..., None]  # w~, (K, B, 1)
            stats.z.register_hook(lambda gradient: gradient * shares)
        return -importance_bound(log_w)
