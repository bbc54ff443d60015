"""Disentanglement scores of a trained run, and the unsupervised ranking of several runs."""

from collections.abc import Iterable, Sequence
from typing import Any

from vaelab.errors import UserError
from vaelab.evaluation.trained_run import SEED, NotApplicable, TrainedRun, require
from vaelab.functional.disentanglement import METRICS, SIMILARITIES, as_classes, check_names, scores, udr
from vaelab.functional.distributions import gaussian_kl

__all__ = ["DisentanglementScores", "udr_of_runs"]

SAME_IMAGES = 16  # images compared to check that runs have the same test images


class DisentanglementScores:
    """Scores of a run's posterior means on test images against ground-truth factors of variation.

    The scores are those of :mod:`vaelab.functional.disentanglement`. Factors with the same value in all
    images are left out and continuous factors are binned; the protocol lists both.

    Args:
        images: the most images; Locatello et al. (2019) use 10,000.
        metrics: names in ``METRICS``; None for all.
        factor_bins: bins of equal width for a continuous factor.

    Raises:
        ValueError: fewer than two images, or an unknown metric.
    """

    def __init__(
        self, images: int = 10_000, metrics: Iterable[str] | None = None, factor_bins: int = 20
    ) -> None:
        require(2, images=images)
        self.images = images
        self.metrics = check_names(METRICS if metrics is None else metrics)
        self.factor_bins = factor_bins

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        """Raises NotApplicable if fewer than two factors vary, or for a single latent dimension."""
        codes = run.codes("test", self.images)
        if codes.factors is None:
            raise NotApplicable("the data have no ground-truth factors")
        if codes.loc.shape[1] < 2:
            raise NotApplicable("the codes have a single dimension")
        factors = as_classes(codes.factors, self.factor_bins)
        if factors.values.shape[1] < 2:
            raise NotApplicable("fewer than two factors vary among the test images")
        metrics: dict[str, float] = {}
        for name in run.progress(self.metrics, "disentanglement", len(self.metrics)):
            try:
                metrics |= scores(codes.loc, factors.values, codes.marginal_scale, [name], SEED)
            except ValueError as error:
                raise UserError(f"{name}: {error}") from error
        names = run.data.factor_names or [f"factor_{i}" for i in range(codes.factors.shape[1])]
        return {
            "metrics": metrics,
            "protocol": {
                "images": len(codes.loc),
                "images_asked_for": self.images,
                "split": "test",
                "codes": "posterior means; their noise counts in mig_chen alone",
                "factors": [name for i, name in enumerate(names) if i not in factors.constant],
                "constant_factors": [names[i] for i in factors.constant],
                f"factors_in_{self.factor_bins}_bins": [names[i] for i in factors.binned],
                "seed": SEED,
                **{name: METRICS[name].protocol for name in self.metrics},
            },
        }


def udr_of_runs(
    runs: Sequence[TrainedRun], images: int = 10_000, similarity: str = "lasso", threshold: float = 0.01
) -> dict[str, Any]:
    """Unsupervised disentanglement ranking (UDR) of runs that differ in their seed alone.

    :func:`vaelab.functional.disentanglement.udr` on ``images`` random test images, which all runs must
    share. A dimension is informative by KL(q(z_d|x) || N(0, 1)), averaged over images, whatever prior the
    model was trained with.

    Returns:
        ``metrics``: ``udr`` and ``udr_informative_dimensions``, lists with an entry per run; ``protocol``.

    Raises:
        NotApplicable: a posterior is deterministic, so that no KL says which dimensions are informative.
        UserError: fewer than two runs, or runs on different images.
    """
    codes = [run.codes("test", images) for run in runs]
    few = min(images, SAME_IMAGES)
    for run, code in zip(runs, codes, strict=True):
        if not code.scale.all():
            raise NotApplicable(f"{run.folder}: the posterior has no density, so its dimensions have no KL")
        first, here = runs[0].images("test", few), run.images("test", few)
        if first.shape != here.shape or not first.equal(here):
            raise UserError(f"UDR needs runs with the same test images; those of {run.folder} differ.")
    kl = [gaussian_kl(code.loc, 2 * code.scale.log()).mean(0) for code in codes]
    try:
        result = udr(list(zip((code.loc for code in codes), kl, strict=True)), similarity, threshold)
    except ValueError as error:
        raise UserError(str(error)) from error
    return {
        "metrics": {
            "udr": result.scores.tolist(),
            "udr_informative_dimensions": result.informative.tolist(),
        },
        "protocol": {
            "udr": f"Duan et al. 2020; {SIMILARITIES[similarity]}; the median over the other runs",
            "informative": f"KL(q(z_d|x) || N(0, 1)) > {threshold} nats",
            "images": len(codes[0].loc),
            "split": "test",
            "runs": [str(run.folder) for run in runs],
        },
    }
