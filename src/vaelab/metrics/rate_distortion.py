"""Rate, distortion and ELBO over a data set."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from vaelab.metrics.per_image import PerImage

__all__ = ["ImageRates", "RateDistortion"]


class ImageRates(NamedTuple):
    """Rate and distortion of each image in nats, averaged over draws of z, by ascending position."""

    position: Tensor  # (N,)
    rate: Tensor  # (N,)
    distortion: Tensor  # (N,)


class RateDistortion(PerImage):
    """R = mean KL(q(z|x) || p(z)), D = mean E_q[-log p(x|z)] and ELBO = -(R + D), always with beta = 1.

    Sums over pixels, latent dimensions and nothing else; means over images (and over the samples of z).
    In nats per image. Where the rate is undefined (a deterministic posterior) it and the ELBO are NaN.

    - ``elbo_se``, ``rate_se``, ``distortion_se``: standard errors of these means over images, sd / sqrt(N),
      from the numbers of each image averaged over its draws of z; NaN of a single image.
    - ``elbo_draws``: draws of z per image.
    - ``elbo_mc_se``: the part of ``elbo_se`` that is due to the number of draws; NaN if there was one pass.

    Attributes:
        rates: the numbers of each image that the latest ``compute`` averaged.
    """

    samples: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("samples", torch.tensor(0.0), dist_reduce_fx="max")
        self.rates: ImageRates | None = None

    def update(self, rate: Tensor, distortion: Tensor, position: Tensor) -> None:
        """rate (B,), distortion (S, B), position (B,)."""
        self.samples.fill_(len(distortion))
        self.add(position, self._values(rate, distortion))

    def refine(self, place: int, rate: Tensor, distortion: Tensor, **_: Any) -> None:  # type: ignore[override]
        self.average(place, self._values(rate, distortion))

    def _values(self, rate: Tensor, distortion: Tensor) -> Tensor:
        mean = distortion.to(torch.promote_types(distortion.dtype, torch.float32)).mean(0)
        return torch.stack([-(rate + mean), rate.to(mean.dtype), mean], dim=1)

    def compute(self) -> dict[str, Tensor]:
        images = self.images()
        elbo, rate, distortion = images.mean.mean(0)
        self.rates = ImageRates(images.position, images.mean[:, 1], images.mean[:, 2])
        errors = zip(("elbo_se", "rate_se", "distortion_se"), images.standard_error, strict=True)
        return {
            "elbo": elbo,
            "rate": rate,
            "distortion": distortion,
            **dict(errors),
            "elbo_draws": self.samples * images.passes.max(),
            "elbo_mc_se": images.monte_carlo_error[0],
        }
