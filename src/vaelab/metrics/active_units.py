"""Active units: how many latent dimensions respond to the image."""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor
from torchmetrics import Metric

from vaelab.functional.measures import RunningMoments, active_units, merge, moments

__all__ = ["ActiveUnits"]


class ActiveUnits(Metric):
    """The number of dimensions d with Var_x(E_q[z_d|x]) > threshold.

    The variance is that of the posterior mean over the images of the split (divided by N). It can disagree
    with a threshold on the KL: a dimension whose mean is constant but whose scale is not 1 pays KL.
    See :func:`~vaelab.functional.measures.active_units`. NaN of a single image, which has no variance.

    Of latent maps (C, h, w) also ``active_channels``: the channels with an active unit at any place.

    Args:
        groups: the numbers of groups of dimensions, (G,), in place of that of all.
    """

    full_state_update = True  # forward(): torchmetrics can't merge states without a reduction
    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(
        self,
        latent_dim: int,
        threshold: float = 0.01,
        latent_shape: Sequence[int] = (),
        groups: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.groups = groups
        self.threshold = threshold
        self.channels = latent_shape[0] if len(latent_shape) > 1 else None
        # None: in distributed runs each state arrives stacked, one row per process, and compute merges them
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx=None)
        self.add_state("mean", torch.zeros(latent_dim), dist_reduce_fx=None)
        self.add_state("squares", torch.zeros(latent_dim), dist_reduce_fx=None)

    def update(self, loc: Tensor) -> None:
        """loc (B, D), the posterior means."""
        before = RunningMoments(self.count, self.mean, self.squares)
        self.count, self.mean, self.squares = merge(before, moments(loc))

    def moments(self) -> RunningMoments:
        """Of the posterior means of all images, of every process."""
        states = (self.count, self.mean, self.squares)
        if self.mean.ndim == 1:
            return RunningMoments(*states)
        return reduce(merge, map(RunningMoments._make, zip(*states, strict=True)))

    def variance(self) -> Tensor:
        """Var_x(E_q[z_d|x]), (D,)."""
        return self.moments().variance

    def compute(self) -> Tensor | dict[str, Tensor]:
        variance, defined = self.variance(), self.moments().n > 1

        def active(values: Tensor) -> Tensor:
            return torch.where(defined, active_units(values, self.threshold), torch.nan)

        if self.groups is not None:
            return torch.stack([active(part) for part in variance.split(list(self.groups))])
        if self.channels is None:
            return active(variance)
        most = variance.reshape(self.channels, -1).amax(-1)
        return {"active_units": active(variance), "active_channels": active(most)}
