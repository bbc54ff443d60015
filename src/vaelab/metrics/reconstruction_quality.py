"""How good the reconstructions look."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vaelab.functional.image_quality import psnr, ssim
from vaelab.metrics.per_image import PerImage

__all__ = ["ReconstructionQuality"]


class ReconstructionQuality(PerImage):
    """``psnr`` in decibels and ``ssim`` of E[x|z], z ~ q(z|x): means over images and samples of z.

    The scale of both is the data range: 0 to 1 for grey levels (8-bit and binary images), else from the
    least to the largest value of the run's images. PSNR is the mean of the images' own, at most 100 dB each;
    that of the mean squared error is lower. See :mod:`vaelab.functional.image_quality` for the formulas and
    the window of SSIM in images smaller than 11 pixels. Both are NaN if the images have a single value.

    ``psnr_se`` and ``ssim_se`` are standard errors over images, sd / sqrt(N), NaN of a single image. The
    numbers are those of the first pass over the images: the errors hold the little that z adds by chance.

    Args:
        images: how many of the split are measured: the first, whose order is random.
        value_range: the values that are 0 and 1 on the scale.
        levels: the number of grey levels, with which the range is 0 to 1; None if the values are no such.

    Raises:
        ValueError: ``images`` is less than 1, or the range does not ascend.
    """

    def __init__(
        self, images: int = 2000, value_range: Sequence[float] = (0.0, 1.0), levels: int | None = None
    ) -> None:
        super().__init__()
        if images < 1:
            raise ValueError(f"images must be >= 1, got {images}")
        self.low, high = (0.0, 1.0) if levels else value_range
        self.span = high - self.low
        if self.span < 0:
            raise ValueError(f"value_range must ascend, got {list(value_range)}")
        self.measured = images

    def update(self, x: Tensor, reconstruction: Tensor, position: Tensor) -> None:
        """x (B, C, H, W), reconstruction (S, B, C, H, W), position (B,)."""
        chosen = position < self.measured
        dtype = torch.promote_types(torch.promote_types(x.dtype, reconstruction.dtype), torch.float32)
        parts = (x[chosen].to(dtype), reconstruction[:, chosen].to(dtype))
        values = [(part - self.low) / (self.span or torch.nan) for part in parts]
        self.add(position[chosen], torch.stack([psnr(*values).mean(0), ssim(*values).mean(0)], dim=1))

    def refine(self, place: int, **_: Any) -> None:
        """Further passes change nothing: SSIM in each would take longer than a small decoder."""

    def compute(self) -> dict[str, Tensor]:
        images = self.images()
        means, errors = images.mean.mean(0), images.standard_error
        return {"psnr": means[0], "psnr_se": errors[0], "ssim": means[1], "ssim_se": errors[1]}
