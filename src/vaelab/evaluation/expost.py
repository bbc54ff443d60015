"""The ex-post density of a trained run's codes, and how far the prior is from them."""

from typing import Any

import torch

from vaelab.evaluation.feature_networks import FeatureNetwork, feature_network
from vaelab.evaluation.path_length import mean_and_error
from vaelab.evaluation.sample_quality import quality_of
from vaelab.evaluation.trained_run import NotApplicable, TrainedRun
from vaelab.figures.generation import density_images
from vaelab.functional.mixtures import fit_gaussian_mixture


class ExPostGain:
    """A Gaussian mixture fitted to training codes z ~ q(z|x), judged on held-out codes.

    Metrics in nats an image, means over held-out z ~ q(z|x), the first three with their standard errors:

    - ``expost_log_density``: log q(z) under the mixture (it has the scale of the codes: do not compare it
      between models);
    - ``prior_log_density``: log p(z);
    - ``expost_gain``: their difference. Its expectation is KL(q(z) || p(z)) - KL(q(z) || mixture), so it is a
      lower bound of KL(q(z) || p(z)) of held-out images: what sampling from the prior loses;
    - ``expost_log_density_train``: the first, of the codes that it was fitted to. Well above the held-out
      number, the mixture has too many components.

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

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        if run.model.posterior.discrete:
            raise NotApplicable("codes of a codebook have no density")
        trained = run.codes("train", self.train_images).z
        z = run.codes(self.split, self.images).z
        density = fit_gaussian_mixture(trained, self.components, self.seed)
        ours = density.log_prob(z)
        with torch.no_grad():
            prior = run.model.prior_density()
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


class ExPostSampleQuality:
    """The quality of images E[x|z] with z from the ex-post density, not from the prior.

    :class:`~vaelab.evaluation.sample_quality.SampleQuality`'s numbers of prior samples, of as many as there
    are test images: ``fid_expost``, ``kid_expost`` with ``kid_expost_se``, ``precision_expost``,
    ``recall_expost``, ``density_expost``, ``coverage_expost``. So an autoencoder, whose codes follow no
    prior, can be sampled (Ghosh et al., 2020, section 4 and table 1).

    Args:
        components: of the mixture.
        train_images, images: at most so many, to fit it to and to judge it on.
        features, weights: the feature network (:func:`~vaelab.evaluation.feature_networks.feature_network`).
    """

    def __init__(
        self,
        components: int = 10,
        train_images: int = 10_000,
        images: int = 10_000,
        features: str | FeatureNetwork = "auto",
        weights: str | None = None,
        seed: int = 0,
    ) -> None:
        self.components, self.train_images, self.images = components, train_images, images
        self.features, self.weights, self.seed = features, weights, seed

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        network = self.features
        if not isinstance(network, FeatureNetwork):
            network = feature_network(run, network, self.weights)
        reference = run.images("test", self.images)
        density = fit_gaussian_mixture(run.codes("train", self.train_images).z, self.components, self.seed)
        samples = density_images(run.model, density, len(reference), self.seed)
        return {
            "metrics": {expost(k): v for k, v in quality_of(samples, reference, network).items()},
            "protocol": {
                "expost": "Gaussian mixture, full covariances, EM (Ghosh et al., 2020)",
                "components": density.components,
                "train_images": min(self.train_images, len(run.data.train)),
                "samples": len(samples),
                "features": network.name,
            },
        }


def expost(name: str) -> str:
    """``fid`` -> ``fid_expost``; a standard error keeps its ending: ``kid_expost_se``."""
    return f"{name.removesuffix('_se')}_expost{'_se' if name.endswith('_se') else ''}"
