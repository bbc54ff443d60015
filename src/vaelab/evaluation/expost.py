"""A Gaussian mixture fitted to a trained run's codes: its gain over the prior, and its samples."""

from typing import Any

import torch

from vaelab.evaluation.feature_networks import FeatureNetwork, feature_network
from vaelab.evaluation.sample_quality import quality_of
from vaelab.evaluation.trained_run import SEED, NotApplicable, TrainedRun, mean_and_error, require
from vaelab.figures.generation import mixture_images
from vaelab.functional.mixtures import fit_gaussian_mixture

__all__ = ["ExPostGain", "ExPostSampleQuality"]

METHOD = "Gaussian mixture, full covariances, EM (Ghosh et al., 2020)"


class ExPostGain:
    """The gain in log-density of test codes under a Gaussian mixture of training codes over the prior.

    Metrics are means over z ~ q(z|x) of test images in nats, with standard errors ``..._se`` over images:

    - ``expost_log_density``: log q(z) under the mixture. It depends on the scale of the codes, so it does not
      compare between models;
    - ``prior_log_density``: log p(z);
    - ``expost_gain``: their difference. Its expectation is KL(q(z) || p(z)) - KL(q(z) || mixture), a lower
      bound of KL(q(z) || p(z)) of test images;
    - ``expost_log_density_train``: the same for training codes. If it is well above
      ``expost_log_density``, the mixture has too many components.

    Args:
        components: of the mixture.
        train_images, images: the maximum numbers of training and test images.

    Raises:
        ValueError: no component, or fewer than two images.
    """

    def __init__(self, components: int = 10, train_images: int = 10_000, images: int = 10_000) -> None:
        require(1, components=components)
        require(2, train_images=train_images, images=images)
        self.components, self.train_images, self.images = components, train_images, images

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        """Raises NotApplicable for codes of a codebook."""
        if "codes" in run.model.posterior.provides:
            raise NotApplicable("codes of a codebook have no density")
        trained = run.codes("train", self.train_images).z
        z = run.codes("test", self.images).z
        mixture = fit_gaussian_mixture(trained, self.components, SEED)
        expost = mixture.log_prob(z)
        with torch.no_grad():
            density = run.model.prior_density()
            prior = torch.cat([density.log_prob(part.to(run.device)).cpu() for part in z.split(500)]).double()
        return {
            "metrics": {
                **mean_and_error("expost_log_density", expost),
                **mean_and_error("prior_log_density", prior),
                **mean_and_error("expost_gain", expost - prior),
                **mean_and_error("expost_log_density_train", mixture.log_prob(trained)),
            },
            "protocol": {
                "expost": METHOD,
                "components": mixture.components,
                "converged": mixture.converged,
                "train_images": len(trained),
                "images": len(z),
                "split": "test",
            },
        }


class ExPostSampleQuality:
    """Quality of images E[x|z] whose z come from a mixture fitted to the codes instead of the prior.

    The numbers of :class:`~vaelab.evaluation.sample_quality.SampleQuality` for one set of as many samples as
    test images: ``fid_expost``, ``kid_expost`` with ``kid_expost_se``, ``precision_expost``,
    ``recall_expost``, ``density_expost``, ``coverage_expost``. An autoencoder, whose codes follow no prior,
    can be sampled this way (Ghosh et al., 2020, "From Variational to Deterministic Autoencoders", section 4).

    Args:
        components: of the mixture.
        train_images, images: the maximum numbers of training and test images.
        features, weights: see :class:`~vaelab.evaluation.sample_quality.SampleQuality`.

    Raises:
        ValueError: no component, or fewer than two images.
    """

    def __init__(
        self,
        components: int = 10,
        train_images: int = 10_000,
        images: int = 10_000,
        features: str | FeatureNetwork = "auto",
        weights: str | None = None,
    ) -> None:
        require(1, components=components)
        require(2, train_images=train_images, images=images)
        self.components, self.train_images, self.images = components, train_images, images
        self.features, self.weights = features, weights

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        network = feature_network(run, self.features, self.weights)
        reference = run.images("test", self.images)
        codes = run.codes("train", self.train_images).z
        mixture = fit_gaussian_mixture(codes, self.components, SEED)
        samples = mixture_images(run.model, mixture, len(reference), SEED)
        quality = quality_of(network(samples), network(reference))
        metrics = {"kid_expost_se": quality.pop("kid_se")}
        return {
            "metrics": metrics | {f"{name}_expost": value for name, value in quality.items()},
            "protocol": {
                "expost": METHOD,
                "components": mixture.components,
                "train_images": len(codes),
                "samples": len(samples),
                "features": network.name,
            },
        }
