"""The sensitivity of the decoder to noise on the codes."""

import math
from typing import Any

import torch
from torch import Tensor

from vaelab.evaluation.trained_run import SEED, TrainedRun, mean_and_error, require
from vaelab.functional.measures import pair_standard_error
from vaelab.functional.randomness import normal_rows
from vaelab.models.latent_codes import Codes

__all__ = ["NoiseGap", "code_noise", "gap_share"]


def code_noise(codes: Codes, size: float, draws: int) -> Tensor:
    """Noise ``size`` s eps, (N, draws, D), where s is the standard deviation of the aggregate posterior."""
    number, dimensions = codes.loc.shape
    noise = normal_rows(0, number, draws * dimensions, SEED, "evaluation/noise")
    return size * codes.spread * noise.view(number, draws, -1)


class NoiseGap:
    """The increase of the distortion, in nats per image, when noise is added to the codes of test images.

    ``noise_gap`` is the mean over images and draws of -log p(x|z + size s eps) + log p(x|z), where
    z ~ q(z|x), eps ~ N(0, I), and s_d^2 = Var_x(mu_d) + E_x[sigma_d^2] is the variance of the aggregate
    posterior. It starts from z and not from the posterior mean, because codes of q(z|x) are what the decoder
    was trained on. Because the noise is relative to the spread of the codes, scaling the codes does not
    change the gap, and autoencoders can be compared with VAEs. Positive: noise costs nats.

    ``noise_gap_share`` is noise_gap / shuffle gap, the latter with the code of another image in place of
    z + noise: the mean of -log p(x_n|z_m) + log p(x_n|z_n), m = n + 1 in the split's random order. 0: noise
    costs nothing, a whole neighbourhood of the code is decoded to the same image; 1: as much as the code of
    another image, nothing is left of the image. NaN where the shuffle gap is below two standard errors: the
    decoder ignores z, and the noise gap is near 0 for that reason.

    ``noise_gap_se``, ``noise_gap_share_se``: standard errors over images; that of the share by the delta
    method, knowing that numerator and denominator are of the same images, and that a code serves two images.

    Args:
        images: the number of random test images, the same in every run.
        size: standard deviation of the noise, in standard deviations of the codes.
        draws: draws of eps per image.

    Raises:
        ValueError: fewer than three images, no draw, or a size that is not positive.
    """

    def __init__(self, images: int = 2000, size: float = 0.5, draws: int = 8) -> None:
        require(3, images=images)
        require(1, draws=draws)
        if not size > 0:
            raise ValueError(f"size must be > 0, got {size}")
        self.images, self.size, self.draws = images, size, draws

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        codes = run.codes("test", self.images)
        noisy = codes.z[:, None] + code_noise(codes, self.size, self.draws)
        x = run.images("test", self.images).to(run.device)
        y = None if codes.y is None else codes.y.to(run.device)

        def distortion(z: Tensor) -> Tensor:
            return -run.model.log_likelihood(x, z.to(run.device), y).cpu()

        matched = distortion(codes.z[None])
        gaps = (distortion(noisy.transpose(0, 1)) - matched).mean(0)
        shuffled = (distortion(codes.z.roll(-1, 0)[None]) - matched)[0]
        return {
            "metrics": mean_and_error("noise_gap", gaps) | gap_share(gaps, shuffled),
            "protocol": {
                "noise": f"{self.size:g} standard deviations of the aggregate posterior, in every dimension",
                "images": len(codes.loc),
                "split": "test",
                "draws": self.draws,
                "start": "one z ~ q(z|x) per image",
                "noise_gap_share": f"of the shuffle gap, {shuffled.mean().item():.4g} nats on these images",
            },
        }


def gap_share(gaps: Tensor, shuffled: Tensor) -> dict[str, float]:
    """mean(gaps) / mean(shuffled), (N,) each, where shuffled_n is of the codes of n and n + 1; its error."""
    number = len(gaps)
    gaps, shuffled = gaps.double(), shuffled.double()
    nth = torch.arange(number)
    pairs = torch.stack([nth, (nth + 1) % number], dim=1)
    if not shuffled.mean() > 2 * pair_standard_error(shuffled, pairs):  # NaN too
        return {"noise_gap_share": math.nan, "noise_gap_share_se": math.nan}
    share = gaps.mean() / shuffled.mean()
    error = pair_standard_error(gaps - share * shuffled, pairs) / shuffled.mean()
    return {"noise_gap_share": share.item(), "noise_gap_share_se": error.item()}
