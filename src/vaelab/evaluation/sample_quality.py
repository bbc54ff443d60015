"""Sample quality and what a simple classifier reads from the codes."""

import math
from collections.abc import Iterator, Sequence
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from vaelab.errors import UserError
from vaelab.evaluation.feature_networks import FeatureNetwork, feature_network, train_images
from vaelab.evaluation.trained_run import NotApplicable, TrainedRun
from vaelab.functional.frechet import SUBSET, frechet_distance, kernel_distance
from vaelab.functional.precision_recall import Support, expected_coverage, support
from vaelab.functional.probes import NEIGHBOURS, knn_probe, linear_probe, majority
from vaelab.functional.randomness import generator
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.latent_codes import Codes

CHUNK = 500  # images drawn at once
K, K_DENSITY = 3, 5  # neighbours for precision and recall, for density and coverage; as published
ACCURACIES = ("probe_accuracy", "knn_accuracy", "majority_accuracy")
MOST_CLASSES = 100  # values of a factor; one with more is a quantity, not a class


def quality_of(samples: Tensor, reference: Tensor, network: FeatureNetwork) -> dict[str, float]:
    """How close samples are to real images: as many of each, (N, C, H, W) floats, through the network.

    ``fid``, ``kid`` with ``kid_se`` (its standard error), ``precision``, ``recall``, ``density``,
    ``coverage``. All are NaN if a feature is not finite.

    Raises:
        ValueError: the numbers of images differ.
    """
    return quality_of_features(network(samples), network(reference))


def quality_of_features(samples: Tensor, reference: Tensor) -> dict[str, float]:
    """The same of features, (N, d) each."""
    if not (samples.isfinite().all() and reference.isfinite().all()):
        return dict.fromkeys(("fid", "kid", "kid_se", *Support._fields), math.nan)
    kid, error = kernel_distance(samples, reference)
    overlap = support(reference, samples, K, K_DENSITY)
    return {"fid": frechet_distance(samples, reference), "kid": kid, "kid_se": error, **overlap._asdict()}


def prior_images(model: Autoencoder, number: int, seed: int = 0, draw: int = 0) -> Iterator[Tensor]:
    """``number`` mean images E[x|z], z ~ p(z), by ``model.sample`` in parts (n, C, H, W)."""
    for start in range(0, number, CHUNK):
        part = generator(seed, "quality/prior", draw, start).initial_seed()
        yield model.sample(min(CHUNK, number - start), seed=part)


def decoded(model: Autoencoder, z: Tensor, y: Tensor | None, device: torch.device) -> Iterator[Tensor]:
    """Mean images E[x|z] of codes z (N, D) and, for a conditional model, labels y (N,), in parts."""
    labels = [None] * -(-len(z) // CHUNK) if y is None else [part.to(device) for part in y.split(CHUNK)]
    for part, label in zip(z.split(CHUNK), labels, strict=True):
        yield model.decode(part.to(device), label)


class SampleQuality:
    """How close prior samples and reconstructions are to test images: FID, KID, precision and recall.

    A sample is a mean image E[x|z], as in the pictures, not a draw of pixels from p(x|z): where the data are
    binary its greys alone are a distance, in reconstructions as well. There are as many samples as test
    images, N; those of a conditional model have the labels in turn. Metrics:

    - ``fid_prior``: of z ~ p(z), mean over ``draws`` sets of N samples, with its standard error
      ``fid_prior_se``: the noise of the samples, not that of the test images, which all runs share;
    - ``fid_posterior``: of z ~ q(z|x), one for each test image x;
    - ``fid_difference``: fid_prior - fid_posterior, what is lost by drawing z from the prior: a sign of
      holes, since it is 0 but for the noise of sampling where the aggregate posterior is the prior;
    - ``fid_reconstructions``: of the posterior means of the test images, as reconstructions are shown. Their
      codes spread less than z ~ q(z|x), so that they say nothing of what prior samples could be;
    - ``fid_data``: of other real images, which a perfect model would get from as many samples; NaN where the
      run has not N more;
    - ``kid_prior`` and its standard error ``kid_prior_se``, ``precision``, ``recall``, ``density``,
      ``coverage``: of the first set.

    Args:
        images: N at most.
        draws: sets of prior samples; with one there is no standard error.
        features: the kind of feature network (:func:`~vaelab.evaluation.feature_networks.feature_network`), or one.
        weights: InceptionV3's, for features="inception".
        seed: of the prior's noise.
    """

    def __init__(
        self,
        images: int = 10_000,
        draws: int = 3,
        features: str | FeatureNetwork = "auto",
        weights: str | None = None,
        seed: int = 0,
    ) -> None:
        for name, value, least in (("images", images, 2), ("draws", draws, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(f"Sample quality: {name} is {value}; it must be a whole number from {least}.")
        self.images = images
        self.draws = draws
        self.features = features
        self.weights = weights
        self.seed = seed

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        network = self.features
        if not isinstance(network, FeatureNetwork):
            network = feature_network(run, network, self.weights)
        reference = network(run.images("test", self.images))
        number = len(reference)
        codes = run.codes("test", self.images)
        model, parts = run.model, -(-number // CHUNK)

        def embedded(images: Iterator[Tensor], label: str) -> Tensor:
            return torch.cat([network(part) for part in run.progress(images, label, parts)])

        samples = [
            embedded(prior_images(model, number, self.seed, draw), "prior samples")
            for draw in range(self.draws)
        ]
        of_z = embedded(decoded(model, codes.z, codes.y, run.device), "posterior samples")
        of_loc = embedded(decoded(model, codes.loc, codes.y, run.device), "reconstructions")
        quality = quality_of_features(samples[0], reference)
        fids = [quality["fid"], *(frechet_distance(part, reference) for part in samples[1:])]
        others, baseline = other_images(run, number)
        fid = {
            "fid_prior": fmean(fids),
            "fid_prior_se": stdev(fids) / math.sqrt(self.draws) if self.draws > 1 else math.nan,
            "fid_posterior": frechet_distance(of_z, reference),
            "fid_reconstructions": frechet_distance(of_loc, reference),
            "fid_data": math.nan if others is None else frechet_distance(network(others), reference),
        }
        fid["fid_difference"] = fid["fid_prior"] - fid["fid_posterior"]
        of_prior = {"kid_prior": quality["kid"], "kid_prior_se": quality["kid_se"]}
        overlap = {name: quality[name] for name in Support._fields}
        return {
            "metrics": fid | of_prior | overlap,
            "protocol": {
                "features": network.name,
                "feature_dimension": reference.shape[1],
                "samples": number,
                "draws": self.draws,
                "reference": f"the first {number} test images",
                "sample": "mean images E[x|z]; z ~ p(z) (prior), z ~ q(z|x) (posterior), "
                "the mean of q(z|x) (reconstructions)",
                "fid": "Fréchet distance of the features (Heusel et al., 2017), equal counts on both sides",
                "fid_data": baseline,
                "kid": f"polynomial kernel, unbiased (Bińkowski et al., 2018), {max(1, number // SUBSET)} "
                "disjoint subsets",
                "precision, recall": f"Kynkäänniemi et al. (2019), k={K}",
                "density, coverage": f"Naeem et al. (2020), k={K_DENSITY}; of a perfect model "
                f"1 and {expected_coverage(number, K_DENSITY):.3f}",
                "seed": self.seed,
            },
        }


def other_images(run: TrainedRun, number: int) -> tuple[Tensor | None, str]:
    """So many real images beside the test images, and which: of validation, else of training."""
    if run.data.val is not None and len(run.data.val) >= number:
        return run.images("val", number), f"the first {number} validation images"
    if len(run.data.train) >= number:
        seen = "which a classifier of features has seen"
        return train_images(run, number), f"the first {number} training images, {seen}"
    return None, f"undefined: there are fewer than {number} validation and training images"


class Probes:
    """What simple classifiers, trained on the codes of training images, say of the test images' classes.

    Codes are posterior means. ``probe_accuracy``: a linear classifier on standardised codes;
    ``knn_accuracy``: the 5 nearest codes; ``majority_accuracy``: what can be had without any code. Data with
    factors of variation add ``probe_accuracy_<factor>`` and ``knn_accuracy_<factor>``, each factor's values
    taken as classes (a factor of more than 100 values is left out); without labels the three names without a
    factor are the means over the factors.

    Args:
        train, test: images at most.
    """

    def __init__(self, train: int = 10_000, test: int = 10_000) -> None:
        self.train = train
        self.test = test

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        """Raises NotApplicable where the data have neither labels nor factors that are classes."""
        train, test = run.codes("train", self.train), run.codes("test", self.test)
        by_factor = probed_factors(train, test, run.data.factor_names)
        if train.y is not None and test.y is not None:
            classes, whole = "labels", probed(train, test, train.y, test.y)
        elif by_factor:
            classes = f"factors, mean over {', '.join(by_factor)}"
            whole = {key: fmean(found[key] for found in by_factor.values()) for key in ACCURACIES}
        else:
            raise NotApplicable("the data have neither labels nor factors that are classes")
        each = {f"{key}_{name}": found[key] for name, found in by_factor.items() for key in ACCURACIES[:2]}
        return {
            "metrics": whole | each,
            "protocol": {
                "codes": "posterior means",
                "classes": classes,
                "factors": ", ".join(by_factor) or "none",
                "probe": "multinomial logistic regression on standardised codes, L2 penalty 1 (scikit-learn)",
                "knn": f"k={NEIGHBOURS}, Euclidean distance, codes not standardised",
                "train": len(train.loc),
                "test": len(test.loc),
            },
        }


def probed(train: Codes, test: Codes, y: Tensor, y_test: Tensor) -> dict[str, float]:
    """The three accuracies for one set of classes."""
    codes = (train.loc, y, test.loc, y_test)
    return dict(zip(ACCURACIES, (linear_probe(*codes), knn_probe(*codes), majority(y, y_test)), strict=True))


def probed_factors(train: Codes, test: Codes, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """The three accuracies for each factor of at most MOST_CLASSES values, by name; none without factors."""
    if train.factors is None or test.factors is None:
        return {}
    found = {}
    for name, *columns in zip(names, train.factors.T, test.factors.T, strict=True):
        values, classes = torch.cat(columns).unique(return_inverse=True)  # numbers need not be whole
        if len(values) <= MOST_CLASSES:
            found[name] = probed(train, test, *classes.split([len(train.loc), len(test.loc)]))
    return found
