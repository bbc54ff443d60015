"""How far around a code the decoder still draws the same image."""

from typing import Any

from torch import Tensor

from vaelab.errors import UserError
from vaelab.evaluation.trained_run import SEED, TrainedRun
from vaelab.functional.randomness import normal_rows
from vaelab.models.latent_codes import Codes


def code_noise(codes: Codes, size: float, draws: int) -> Tensor:
    """``size`` s eps: (N, draws, D); s, the standard deviation of the aggregate posterior, as below."""
    number, dimensions = codes.loc.shape
    spread = (codes.loc.var(0, correction=0) + codes.scale.square().mean(0)).sqrt()
    noise = normal_rows(0, number, draws * dimensions, SEED, "evaluation/noise")
    return size * spread * noise.view(number, draws, -1)


class NoiseGap:
    """By how many nats per image the distortion rises when noise is added to the codes of test images.

    ``noise_gap``: mean of -log p(x|mu + size s eps) + log p(x|mu), with mu the posterior mean, eps ~ N(0, I)
    and s_d the standard deviation of the aggregate posterior, s_d^2 = Var_x(mu_d) + E_x[sigma_d^2]. The noise
    is measured in the spread of the model's own codes: a model can't lower its gap by codes far apart, and an
    autoencoder, which has no prior to set a scale, can be held against a VAE. Near 0: a neighbourhood of each
    code is decoded to the same image. So it is for a decoder that ignores z: read it beside ``shuffle_gap``.
    ``noise_gap_se`` is over the images.

    Args:
        images: test images, the first so many (two at least).
        size: of the noise, in standard deviations of the codes.
        draws: of eps for each image.
    """

    def __init__(self, images: int = 2000, size: float = 0.5, draws: int = 8) -> None:
        if images < 2 or draws < 1 or size <= 0:
            raise UserError(
                "The evaluation of noise needs images of at least 2, draws of at least 1 and a size above 0, "
                f"got images={images}, draws={draws}, size={size}."
            )
        self.images, self.size, self.draws = images, size, draws

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        codes = run.codes("test", self.images)
        number = len(codes.loc)
        z = codes.loc[:, None] + code_noise(codes, self.size, self.draws)
        x = run.images("test", self.images).to(run.device)
        y = None if codes.y is None else codes.y.to(run.device)

        def distortion(z: Tensor) -> Tensor:
            return -run.model.log_likelihood(x, z.to(run.device), y)

        quiet = distortion(codes.loc[None])
        gaps = (distortion(z.transpose(0, 1)) - quiet).mean(0).double()
        return {
            "metrics": {
                "noise_gap": gaps.mean().item(),
                "noise_gap_se": gaps.std().item() / number**0.5,
            },
            "protocol": {
                "noise": f"{self.size:g} standard deviations of the aggregate posterior, in every dimension",
                "images": number,
                "split": "test",
                "draws": self.draws,
            },
        }
