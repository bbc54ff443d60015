"""Disentanglement of trained runs: every metric of one, and the ranking of several without factors."""

from collections.abc import Iterable, Sequence
from typing import Any

from vaelab.errors import UserError
from vaelab.evaluation.trained_run import NotApplicable, TrainedRun
from vaelab.functional.disentanglement import METRICS, SIMILARITIES, as_classes, check_names, scores, udr
from vaelab.functional.distributions import gaussian_kl
from vaelab.models.latent_codes import Codes


class DisentanglementScores:
    """Disentanglement metrics of a run's posterior means on its test images (:mod:`vaelab.functional.disentanglement`).

    Factors that all images share are left out, continuous ones are cut into bins; the protocol says which.

    Args:
        images: how many at most; Locatello et al. (2019) take 10,000.
        metrics: which of ``METRICS``; None for all.
        seed: of splits, draws and models.
        factor_bins: bins of equal width for a factor of which hardly two images share a value.
    """

    def __init__(
        self,
        images: int = 10_000,
        metrics: Iterable[str] | None = None,
        seed: int = 0,
        factor_bins: int = 20,
    ) -> None:
        if isinstance(images, bool) or not isinstance(images, int) or images < 2:
            raise UserError(
                f"The evaluation of disentanglement needs at least 2 images, got images={images}."
            )
        self.images = images
        self.metrics = check_names(METRICS if metrics is None else metrics)
        self.seed = seed
        self.factor_bins = factor_bins

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        codes = run.codes("test", self.images)
        if codes.factors is None:
            raise NotApplicable("the data have no ground-truth factors")
        if codes.loc.shape[1] < 2:
            raise NotApplicable("the codes have a single dimension")
        factors = as_classes(codes.factors, self.factor_bins)
        if factors.values.shape[1] < 2:
            raise NotApplicable("fewer than two factors vary among the test images")
        found: dict[str, float] = {}
        for name in run.progress(self.metrics, "disentanglement", len(self.metrics)):
            try:
                found |= scores(codes.loc, factors.values, codes.scale, [name], self.seed)
            except ValueError as error:
                raise UserError(f"{name}: {error}") from error
        names = run.data.factor_names or [f"factor_{i}" for i in range(codes.factors.shape[1])]
        return {
            "metrics": found,
            "protocol": {
                "images": len(codes.loc),
                "images_asked_for": self.images,
                "split": "test",
                "codes": "posterior means; their noise counts in mig_chen alone",
                "factors": [name for i, name in enumerate(names) if i not in factors.constant],
                "constant_factors": [names[i] for i in factors.constant],
                f"factors_in_{self.factor_bins}_bins": [names[i] for i in factors.binned],
                "seed": self.seed,
                **{name: METRICS[name].protocol for name in self.metrics},
            },
        }


def udr_of_runs(
    runs: Sequence[TrainedRun], images: int = 10_000, similarity: str = "lasso", threshold: float = 0.01
) -> dict[str, Any]:
    """Unsupervised disentanglement ranking of runs that differ in their seed alone.

    :func:`vaelab.functional.disentanglement.udr` on the first ``images`` test images of each, which must be the same.
    The KL that tells informative dimensions is the posterior's from N(0, 1), mean over images, whatever prior
    the model was trained with.

    Returns:
        ``metrics``: ``udr``, each run's score in the given order, ``udr_mean``, and each run's
        ``udr_informative_dimensions``. ``pairwise``: the rows of the table. ``protocol``: method and sizes.

    Raises:
        NotApplicable: a run's posterior is deterministic: without a KL nothing tells which dimensions count.
        UserError: fewer than two runs, or runs on different images.
    """
    codes = [run.codes("test", images) for run in runs]
    for run, found in zip(runs, codes, strict=True):
        if not found.scale.all():
            raise NotApplicable(f"{run.folder}: the posterior has no density, so its dimensions have no KL")
    _check_same_images(runs, images)
    try:
        result = udr([(found.loc, _kl(found)) for found in codes], similarity, threshold)
    except ValueError as error:
        raise UserError(str(error)) from error
    return {
        "metrics": {
            "udr": result.scores.tolist(),
            "udr_mean": float(result.scores.mean()),
            "udr_informative_dimensions": result.informative.tolist(),
        },
        "pairwise": result.pairwise.tolist(),
        "protocol": {
            "udr": f"Duan et al. 2020; {SIMILARITIES[similarity]}; the median over the other runs",
            "informative": f"KL(q(z_d|x) || N(0, 1)) > {threshold} nats",
            "images": len(codes[0].loc) if codes else 0,
            "split": "test",
            "runs": [str(run.folder) for run in runs],
        },
    }


def _kl(codes: Codes) -> Any:
    return gaussian_kl(codes.loc, 2 * codes.scale.log()).mean(0)


def _check_same_images(runs: Sequence[TrainedRun], images: int, sample: int = 16) -> None:
    """A UserError unless the first few test images of all runs are the same."""
    few = min(images, sample)
    for run in runs[1:]:
        a, b = runs[0].images("test", few), run.images("test", few)
        if a.shape != b.shape or not a.equal(b):
            raise UserError(f"UDR needs runs on the same test images; {run.folder} has others.")
