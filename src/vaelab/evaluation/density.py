"""The ex-post density of a trained run's codes, and how far the prior is from them."""

from typing import Any

import torch
from torch import Tensor

from vaelab.density import ExPostDensity, fit_density
from vaelab.evaluation.interpolation import mean_and_error
from vaelab.generation import density_images


class Density:
    """A Gaussian mixture fitted to training codes z ~ q(z|x), judged on held-out codes.

    Metrics in nats an image, means over held-out z ~ q(z|x), the first three with their standard errors:

    - ``expost_log_density``: log q(z) under the mixture (it has the scale of the codes: do not compare it
      between models);
    - ``prior_log_density``: log p(z);
    - ``expost_gain``: their difference. Its expectation is KL(q(z) || p(z)) - KL(q(z) || mixture), so it is a
      lower bound of KL(q(z) || p(z)) of held-out images: what sampling from the prior loses;
    - ``expost_log_density_train``: the first, of the codes that it was fitted to. Well above the held-out
      number, the mixture has too many components.

    Images for a measure of quality: :meth:`samples`. (Ghosh et al., 2020, section 4 and table 1.)

    Args:
        components: of the mixture.
        train_images, images: at most so many, to fit it to and to judge it on.
    """

    def __init__(
        self,
        components: int = 10,
        train_images: int = 10_000,
        images: int = 10_000,
        split: str = "test",
        seed: int = 0,
    ) -> None:
        self.components, self.train_images, self.images = components, train_images, images
        self.split, self.seed = split, seed

    def __call__(self, run: Any) -> dict[str, Any]:
        self._refuse_codebooks(run)
        trained = run.codes("train", self.train_images).z
        z = run.codes(self.split, self.images).z
        density = fit_density(trained, self.components, self.seed)
        ours = density.log_prob(z)
        with torch.no_grad():
            prior = run.model.density()
            theirs = torch.cat([prior.log_prob(part.to(run.device)).cpu() for part in z.split(500)]).double()
        metrics = (
            mean_and_error("expost_log_density", ours)
            | mean_and_error("prior_log_density", theirs)
            | mean_and_error("expost_gain", ours - theirs)
            | {"expost_log_density_train": density.log_prob(trained).mean().item()}
        )
        return {
            "metrics": metrics,
            "protocol": {
                "expost": "Gaussian mixture, full covariances, EM (Ghosh et al., 2020)",
                "components": density.components,
                "converged": density.converged,
                "train_images": len(trained),
                "images": len(z),
                "split": self.split,
            },
        }

    def samples(self, run: Any, n: int, seed: int = 0) -> Tensor:
        """n mean images of z from the density, (n, C, H, W) on the CPU, for a measure of their quality."""
        density: ExPostDensity = fit_density(
            run.codes("train", self.train_images).z, self.components, self.seed
        )
        return density_images(run.model, density, n, seed).cpu()

    @staticmethod
    def _refuse_codebooks(run: Any) -> None:
        if run.model.posterior.discrete:
            from vaelab.evaluation.run import NotApplicable

            raise NotApplicable("codes of a codebook have no density")
