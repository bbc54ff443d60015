"""The aggregate posterior q(z) in relation to the images and the prior: the split of the rate, and holes."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from vaelab.functional.estimators import aggregate_posterior
from vaelab.functional.holes import hole_rate, matched_hole_rate

__all__ = ["AggregatePosterior"]


class AggregatePosterior(Metric):
    """The split of the rate and the hole rate, of a split's first ``images``.

    With the exact mixture over these N images and one z_n ~ q(z|x_n) for each:

    - ``mutual_information``, ``total_correlation``, ``dimension_wise_kl``, ``aggregate_kl``: see
      :class:`~vaelab.functional.estimators.RateSplit`. The first is at most log N; near that it says that
      codes do not overlap, and no more. The third is NaN where the prior is no product of dimensions.
    - ``hole_rate``, ``hole_rate_matched``: of draws from the prior
      (:func:`~vaelab.functional.holes.hole_rate`), and from a Gaussian of the codes' mean and covariance
      (:func:`~vaelab.functional.holes.matched_hole_rate`).
    - ``aggregate_images``: N.

    All in nats but the last three. NaN where q has no density of z (a deterministic posterior, codes), but
    for the hole rates.
    """

    full_state_update = False

    def __init__(self, images: int = 2000) -> None:
        super().__init__()
        self.images = images
        for state in ("position", "z", "z_prior", "loc", "scale", "log_q", "log_p", "factorised", "tril"):
            self.add_state(state, [], dist_reduce_fx="cat")

    def update(
        self, position: Tensor, z: Tensor, z_prior: Tensor, loc: Tensor, scale: Tensor, log_q: Tensor,
        log_p: Tensor, kl: Tensor, q: Any = None,
    ) -> None:  # fmt: skip
        """position (B,); z (S, B, D), the first sample is used; the others (B, D); log_q, log_p (S, B)."""
        chosen = position < self.images
        rows = {
            "position": position, "z": z[0], "z_prior": z_prior, "loc": loc, "scale": scale,
            "log_q": log_q[0], "log_p": log_p[0], "factorised": kl.isfinite().all(-1),
        }  # fmt: skip
        if hasattr(q, "tril"):
            rows["tril"] = q.tril
        for name, values in rows.items():
            half = values.dtype in (torch.bfloat16, torch.float16)  # too coarse for sums
            getattr(self, name).append((values.float() if half else values)[chosen])

    def compute(self) -> dict[str, Tensor]:
        states = {name: getattr(self, name) for name in self._defaults}
        # by image: the same numbers whatever the batches and processes
        order = dim_zero_cat(states.pop("position")).argsort()
        rows = {name: dim_zero_cat(value)[order] for name, value in states.items() if len(value)}
        z, z_prior, factorised = rows.pop("z"), rows.pop("z_prior"), rows.pop("factorised")
        split = aggregate_posterior(z, **rows)
        if not factorised.all():
            split = split._replace(dimension_wise_kl=z.new_tensor(torch.nan))
        return {
            **split._asdict(),
            "hole_rate": hole_rate(z, z_prior),
            "hole_rate_matched": matched_hole_rate(z),
            "aggregate_images": z.new_tensor(float(len(z))),
        }
