"""Sample quality: how close prior samples and reconstructions are to real images."""

import math
from collections.abc import Iterator
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vaelab.evaluation.feature_networks import FeatureNetwork, feature_network
from vaelab.evaluation.trained_run import SEED, NotApplicable, TrainedRun, require
from vaelab.functional.frechet import SUBSET, frechet_distance, kernel_distance
from vaelab.functional.measures import standard_error
from vaelab.functional.precision_recall import Support, expected_coverage, support
from vaelab.functional.randomness import generator
from vaelab.models.autoencoder import Autoencoder

__all__ = ["SampleQuality", "quality_of"]

CHUNK = 500  # images per pass
FEWEST = 4  # test images
GROUPS = 10  # of the jackknife
K, K_DENSITY = 3, 5  # neighbours for precision and recall, for density and coverage; as published


def quality_of(samples: Tensor, reference: Tensor) -> dict[str, float]:
    """How close the features of samples are to those of as many real images, (N, d) each.

    ``fid``, ``kid`` with its standard error ``kid_se``, ``precision``, ``recall``, ``density``, ``coverage``;
    all NaN if a feature is not finite.

    Raises:
        ValueError: the numbers of images differ.
    """
    if not (samples.isfinite().all() and reference.isfinite().all()):
        return dict.fromkeys(("fid", "kid", "kid_se", *Support._fields), math.nan)
    kid, error = kernel_distance(samples, reference)
    overlap = support(reference, samples, K, K_DENSITY)
    return {"fid": frechet_distance(samples, reference), "kid": kid, "kid_se": error, **overlap._asdict()}


def prior_images(model: Autoencoder, number: int, draw: int = 0) -> Iterator[Tensor]:
    """``number`` mean images E[x|z], z ~ p(z), in parts (n, C, H, W)."""
    for start in range(0, number, CHUNK):
        part = generator(SEED, "quality/prior", draw, start).initial_seed()
        yield model.sample(min(CHUNK, number - start), seed=part)


def decoded(model: Autoencoder, z: Tensor, y: Tensor | None, device: torch.device) -> Iterator[Tensor]:
    """Mean images E[x|z] of codes z (N, D) and, for a conditional model, labels y (N,), in parts."""
    labels = [None] * -(-len(z) // CHUNK) if y is None else [part.to(device) for part in y.split(CHUNK)]
    for part, label in zip(z.split(CHUNK), labels, strict=True):
        yield model.decode(part.to(device), label)


class Difference(NamedTuple):
    """Of samples z ~ p(z) and z ~ q(z|x) of other images than the reference's."""

    posterior: float  # the Fréchet distance of z ~ q(z|x)
    value: float  # that of z ~ p(z) less that of z ~ q(z|x)
    error: float  # standard error of the difference


def difference(prior: Tensor, posterior: Tensor, reference: Tensor, groups: int = GROUPS) -> Difference:
    """The Fréchet distance of prior samples less that of posterior samples, features (N, d) each.

    Row n of ``posterior`` is of z ~ q(z|x_n), row n of ``reference`` of x_n. The rows are cut into halves;
    the samples of one are compared with the reference of the other, N/2 with N/2, both ways. So samples and
    reference are independent, and both distances have the same bias if p(z) = q(z).

    The standard error is the delete-a-group jackknife's: each of ``groups`` equal parts of all rows, images
    with their samples, is left out once. Copies, as of a bootstrap, would lower the rank of the covariances.
    At p(z) = q(z), where the distances are quadratic in the noise, it is too large rather than too small. It
    takes ``groups`` times the computation of the value, which needs no decoder.
    """
    half = len(reference) // 2
    sets = [(part[:half], part[half : 2 * half]) for part in (prior, posterior, reference)]

    def distances(keep: Tensor) -> tuple[float, float]:
        p, q, x = ([side[keep] for side in part] for part in sets)
        return tuple(  # type: ignore[return-value]
            fmean(frechet_distance(part[i], x[1 - i]) for i in range(2)) for part in (p, q)
        )

    of_prior, of_posterior = distances(torch.arange(half))
    groups = min(groups, half)
    error = math.nan
    if half > 2:
        rows = torch.arange(half) % groups
        left = [p - q for p, q in (distances((rows != group).nonzero()[:, 0]) for group in range(groups))]
        error = math.sqrt((groups - 1) / groups) * math.sqrt(sum((v - fmean(left)) ** 2 for v in left))
    return Difference(of_posterior, of_prior - of_posterior, error)


class SampleQuality:
    """How close prior samples and reconstructions are to test images: FID, KID, precision and recall.

    A sample is a mean image E[x|z], as in the pictures, and not a draw of pixels from p(x|z): where the data
    are binary, the grey levels alone make a distance, also for reconstructions. There are as many samples as
    test images, N; those of a conditional model get labels in turn. Metrics:

    - ``fid_prior``: of z ~ p(z), the mean over ``draws`` sets of N samples; ``fid_prior_se`` is its standard
      error over the sets, which leaves out the noise of the test images that all runs share;
    - ``fid_posterior``: of z ~ q(z|x), where x are one half of the test images and the other half is the
      reference, averaged over both ways: N/2 samples, so that it is not comparable with fid_prior;
    - ``fid_difference``: the same of z ~ p(z) less fid_posterior, from the same halves and as many samples:
      the loss from drawing z from the prior. It indicates holes, because its expectation is 0 if the
      aggregate posterior equals the prior. (Of the reference's own images z would give images nearer to it.)
      ``fid_difference_se`` is its jackknife standard error over images and samples (:func:`difference`);
    - ``fid_reconstructions``: of the posterior means of the test images, each compared with a set that holds
      its own image: this number says nothing about what prior samples could reach;
    - ``fid_data``: of other real images, which a perfect model would reach with as many samples; NaN where
      the run has fewer than N others;
    - ``kid_prior`` with its standard error ``kid_prior_se``, 0 in expectation of a perfect model;
      ``precision``, ``recall``, ``density``, ``coverage``: of the first set;
    - ``precision_data``, ``recall_data``: of the images of fid_data, for what a perfect model would reach.

    Args:
        images: the maximum number of test images.
        draws: sets of prior samples; one set gives no standard error.
        features: a kind of feature network (:func:`~vaelab.evaluation.feature_networks.feature_network`), or
            a feature network.
        weights: file of InceptionV3's weights, for features="inception".

    Raises:
        ValueError: fewer than four images, or no draw.
    """

    def __init__(
        self,
        images: int = 10_000,
        draws: int = 3,
        features: str | FeatureNetwork = "auto",
        weights: str | None = None,
    ) -> None:
        require(FEWEST, images=images)
        require(1, draws=draws)
        self.images, self.draws = images, draws
        self.features, self.weights = features, weights

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        network = feature_network(run, self.features, self.weights)
        reference = network(run.images("test", self.images))
        number = len(reference)
        if number < FEWEST:
            raise NotApplicable(f"it needs at least {FEWEST} test images, the data have {number}")
        codes = run.codes("test", self.images)
        model, parts = run.model, -(-number // CHUNK)

        def features_of(images: Iterator[Tensor], label: str) -> Tensor:
            return torch.cat([network(part) for part in run.progress(images, label, parts)])

        samples = [
            features_of(prior_images(model, number, draw), "prior samples") for draw in range(self.draws)
        ]
        of_z = features_of(decoded(model, codes.z, codes.y, run.device), "posterior samples")
        of_loc = features_of(decoded(model, codes.loc, codes.y, run.device), "reconstructions")
        quality = quality_of(samples[0], reference)
        fids = [quality["fid"], *(frechet_distance(part, reference) for part in samples[1:])]
        others, baseline = other_images(run, number)
        of_data = (
            dict.fromkeys(quality, math.nan) if others is None else quality_of(network(others), reference)
        )
        apart = difference(samples[0], of_z, reference)
        fid = {
            "fid_prior": fmean(fids),
            "fid_prior_se": standard_error(torch.tensor(fids, dtype=torch.float64)).item(),
            "fid_posterior": apart.posterior,
            "fid_difference": apart.value,
            "fid_difference_se": apart.error,
            "fid_reconstructions": frechet_distance(of_loc, reference),
            "fid_data": of_data["fid"],
        }
        kid = {"kid_prior": quality["kid"], "kid_prior_se": quality["kid_se"]}
        overlap = {name: quality[name] for name in Support._fields}
        overlap |= {f"{name}_data": of_data[name] for name in ("precision", "recall")}
        return {
            "metrics": fid | kid | overlap,
            "protocol": {
                "features": network.name,
                "feature_dimension": reference.shape[1],
                "samples": number,
                "draws": self.draws,
                "reference": f"{number} random test images, the same in every run",
                "sample": "mean images E[x|z]; z ~ p(z) (prior), z ~ q(z|x) (posterior), "
                "the mean of q(z|x) (reconstructions)",
                "fid": "Fréchet distance of the features (Heusel et al., 2017), equal counts on both sides",
                "fid_posterior, fid_difference": f"{number // 2} samples, of images that are not in the "
                f"reference, averaged over both halves; jackknife over {min(GROUPS, number // 2)} groups",
                "fid_data": baseline,
                "kid": f"polynomial kernel, unbiased (Bińkowski et al., 2018), {max(1, number // SUBSET)} "
                "disjoint subsets",
                "precision, recall": f"Kynkäänniemi et al. (2019), k={K}",
                "density, coverage": f"Naeem et al. (2020), k={K_DENSITY}; of a perfect model "
                f"1 and {expected_coverage(number, K_DENSITY):.3f}",
            },
        }


def other_images(run: TrainedRun, number: int) -> tuple[Tensor | None, str]:
    """``number`` real images that are not test images, and a description of them for the protocol."""
    if run.data.val is not None and len(run.data.val) >= number:
        return run.images("val", number), f"{number} random validation images"
    if len(run.data.train) >= number:
        note = f"{number} random training images, which a classifier of features has seen"
        return run.images("train", number), note
    return None, f"undefined: there are fewer than {number} validation and training images"
