"""The importance-weighted autoencoder: a bound of log p(x) from K samples of z."""

from torch import Tensor, nn

from vaelab.functional.estimators import importance_bound
from vaelab.functional.surrogate import with_gradient_of
from vaelab.models.objectives.objective import Term
from vaelab.types import LatentStats

__all__ = ["ImportanceBound"]


class ImportanceBound(Term):
    """-L_K = -log 1/K sum_k w_k, (B,), w_k = p(x, z_k) / q(z_k|x): in place of distortion and KL.

    "Importance Weighted Autoencoders" (Burda, Grosse & Salakhutdinov, 2016, arXiv:1509.00519). K is
    ``model.samples``.

    ``gradient="standard"`` is that of the bound, reparametrised. ``gradient="dreg"`` is IWAE-DReG of "Doubly
    Reparameterized Gradient Estimators for Monte Carlo Objectives" (Tucker et al., 2019, arXiv:1810.04152):
    the same expectation with less variance in the encoder. With w~ the normalised weights the encoder gets
    sum_k w~_k^2 (d log w_k / dz_k) (dz_k / dphi) and the decoder, as before, sum_k w~_k d log w_k / dtheta.
    It is the gradient of a surrogate, whose weights are constants:

        sum_k w~_k^2 log w_k(z_k, theta) + (w~_k - w~_k^2) log w_k(z_k held fixed, theta)

    where the first log w_k reaches the encoder through z_k alone. The value is the bound in either case.

    Raises:
        ValueError: another ``gradient``.
    """

    needs = frozenset({"density"})

    def __init__(self, weight: float | nn.Module = 1.0, gradient: str = "standard") -> None:
        super().__init__(weight)
        if gradient not in ("standard", "dreg"):
            raise ValueError(f"gradient must be standard or dreg, got {gradient}")
        self.gradient = gradient

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        return -importance_bound(stats.log_p - stats.distortion - stats.log_q)

    def loss_value(self, value: Tensor, stats: LatentStats, step: int | Tensor) -> Tensor:
        if self.gradient == "standard":
            return value
        through_z, fixed_z = stats.log_weights
        share = through_z.detach().softmax(0)  # w~
        surrogate = (share.square() * through_z + (share - share.square()) * fixed_z).sum(0)
        return with_gradient_of(value, -surrogate.mean())
