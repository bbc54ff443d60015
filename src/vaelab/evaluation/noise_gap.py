"""The sensitivity of the decoder to noise on the codes."""

from typing import Any

from torch import Tensor

from vaelab.evaluation.trained_run import SEED, TrainedRun, mean_and_error, require
from vaelab.functional.randomness import normal_rows
from vaelab.models.latent_codes import Codes

__all__ = ["NoiseGap", "code_noise"]


def code_noise(codes: Codes, size: float, draws: int) -> Tensor:
    """Noise ``size`` s eps, (N, draws, D), where s is the standard deviation of the aggregate posterior."""
    number, dimensions = codes.loc.shape
    spread = (codes.loc.var(0, correction=0) + codes.scale.square().mean(0)).sqrt()
    noise = normal_rows(0, number, draws * dimensions, SEED, "evaluation/noise")
    return size * spread * noise.view(number, draws, -1)


class NoiseGap:
    """The increase of the distortion, in nats per image, when noise is added to the codes of test images.

    ``noise_gap`` is the mean over images and draws of -log p(x|mu + size s eps) + log p(x|mu), where mu is
    the posterior mean, eps ~ N(0, I), and s_d^2 = Var_x(mu_d) + E_x[sigma_d^2] is the variance of the
    aggregate posterior; ``noise_gap_se`` is its standard error over images. Because the noise is
    relative to the spread of the codes, scaling the codes does not change the gap, and autoencoders can be
    compared with VAEs. The gap is near 0 where a neighbourhood of each code is decoded to the same image, but
    also where the decoder ignores z: read it beside ``shuffle_gap``.

    Args:
        images: the number of random test images, the same in every run.
        size: standard deviation of the noise, in standard deviations of the codes.
        draws: draws of eps per image.

    Raises:
        ValueError: fewer than two images, no draw, or a size that is not positive.
    """

    def __init__(self, images: int = 2000, size: float = 0.5, draws: int = 8) -> None:
        require(2, images=images)
        require(1, draws=draws)
        if not size > 0:
            raise ValueError(f"size must be > 0, got {size}")
        self.images, self.size, self.draws = images, size, draws

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        codes = run.codes("test", self.images)
        z = codes.loc[:, None] + code_noise(codes, self.size, self.draws)
        x = run.images("test", self.images).to(run.device)
        y = None if codes.y is None else codes.y.to(run.device)

        def distortion(z: Tensor) -> Tensor:
            return -run.model.log_likelihood(x, z.to(run.device), y)

        gaps = (distortion(z.transpose(0, 1)) - distortion(codes.loc[None])).mean(0)
        return {
            "metrics": mean_and_error("noise_gap", gaps),
            "protocol": {
                "noise": f"{self.size:g} standard deviations of the aggregate posterior, in every dimension",
                "images": len(codes.loc),
                "split": "test",
                "draws": self.draws,
            },
        }
