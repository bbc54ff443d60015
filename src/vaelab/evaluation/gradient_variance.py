"""Variance of the gradient of the distortion: reparametrised, or by the score function."""

from typing import Any

from torch import Tensor

from vaelab.evaluation.trained_run import SEED, NotApplicable, TrainedRun, mean_and_error, require
from vaelab.functional.gradient_estimators import compare_estimators
from vaelab.functional.randomness import normal_rows
from vaelab.models.posteriors import DiagonalGaussian

__all__ = ["GradientVariance"]


class GradientVariance:
    """Variances of two unbiased estimates of d E_q[-log p(x|z)] / d(mu, log sigma) on test images.

    Both use the same model, images and draws of z (:mod:`vaelab.functional.gradient_estimators`). Variances
    are summed over an image's 2 D parameters and averaged over images, in nats^2. The KL has a closed form,
    so its gradient has no variance. Variances and ratios have standard errors ``..._se`` over images, those
    of ratios by the delta method.

    - ``gradient_variance_reparametrised``;
    - ``gradient_variance_score``, ``gradient_variance_score_baseline``: the score function without a baseline
      and with the mean of the other draws as baseline;
    - ``gradient_variance_ratio``, ``gradient_variance_ratio_baseline``: those two divided by the first, which
      is how many times as many draws the score function needs for an equally exact estimate;
    - ``gradient_difference``: root mean square of (mean with baseline - mean reparametrised) in standard
      errors; near 1 if both estimates have the same expectation.

    Args:
        images: the number of random test images, the same in every run.
        samples: draws of z in one estimate.
        repetitions: estimates over which the variance is taken.

    Raises:
        ValueError: no image, or fewer than two samples or repetitions.
    """

    def __init__(self, images: int = 100, samples: int = 8, repetitions: int = 100) -> None:
        require(1, images=images)
        require(2, samples=samples, repetitions=repetitions)
        self.images, self.samples, self.repetitions = images, samples, repetitions

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        """Raises NotApplicable unless q(z|x) is a diagonal Gaussian."""
        if not isinstance(run.model.posterior, DiagonalGaussian):
            raise NotApplicable("its posterior is not a diagonal Gaussian")
        codes = run.codes("test", self.images)
        number, draws = len(codes.loc), self.samples * self.repetitions
        x = run.images("test", self.images).to(run.device)
        y = None if codes.y is None else codes.y.to(run.device)
        noise = normal_rows(0, draws * number, run.model.latent_dim, SEED, "evaluation/gradients")

        def distortion(z: Tensor) -> Tensor:
            return -run.model.log_likelihood(x, z, y)

        variances = compare_estimators(
            distortion,
            codes.loc.to(run.device),
            codes.scale.to(run.device),
            noise.unflatten(0, (draws, number)).to(run.device),
            self.samples,
        )
        mean = {name: value.cpu().double().mean().item() for name, value in variances._asdict().items()}
        smallest = mean["reparametrised"]
        metrics: dict[str, float] = {}
        for name, values in list(variances._asdict().items())[:3]:
            metrics |= mean_and_error(f"gradient_variance_{name}", values.cpu())
        for name, ending in (("score", ""), ("score_baseline", "_baseline")):
            ratio = mean[name] / smallest
            rest = getattr(variances, name).cpu().double() - ratio * variances.reparametrised.cpu().double()
            metrics[f"gradient_variance_ratio{ending}"] = ratio
            metrics[f"gradient_variance_ratio{ending}_se"] = (
                mean_and_error("rest", rest)["rest_se"] / smallest
            )
        metrics["gradient_difference"] = mean["difference"] ** 0.5
        return {
            "metrics": metrics,
            "protocol": {
                "gradient": "of E_q[-log p(x|z)] in mu and log sigma, summed over both, nats^2",
                "reparametrised": "Kingma & Welling 2014",
                "score": "Williams 1992; baseline: mean of the other draws (Kool et al. 2019)",
                "images": number,
                "split": "test",
                "samples": self.samples,
                "repetitions": self.repetitions,
            },
        }
