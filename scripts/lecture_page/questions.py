"""The questions: what is run for each, which numbers are kept, what must hold for the answer to be true."""

from typing import NamedTuple

EVIDENCE = ("rate", "distortion", "hole_rate", "shuffle_gap", "prior_gap")


class Question(NamedTuple):
    """``claims``: each a chain of numbers, in which every one must exceed the next.

    A number is written as in the page, ``run/metric``, or with a factor, ``10 * run/metric``, or as itself.
    """

    name: str  # conf/experiment/lecture/<name>.yaml, and the sweep lecture-<name>
    runs: tuple[str, ...]  # the swept values, as they are called in the page
    metrics: tuple[str, ...]  # of test/ and eval/, and the derived ones of numbers.py
    claims: tuple[tuple[str, ...], ...]
    evaluation: str = ""  # an option of conf/eval/lecture, if the runs are evaluated

    @property
    def commands(self) -> list[str]:
        """As they stand in the page, and as they are run."""
        train = f"vaelab-train experiment=lecture/{self.name}"
        evaluate = f"vaelab-evaluate lecture-{self.name} eval=lecture/{self.evaluation}"
        return [train, evaluate] if self.evaluation else [train]


def chain(runs: tuple[str, ...], metric: str) -> tuple[str, ...]:
    """A metric that falls from run to run."""
    return tuple(f"{run}/{metric}" for run in runs)


BETAS = ("0.1", "0.25", "0.5", "1", "2", "4")
SMOOTH = ("0.0001", "0.01", "0.1", "0.5", "1")
CURES = tuple(
    f"{model}-{beta}"
    for model in ("vae", "annealed_vae", "free_bits_vae", "target_rate_vae")
    for beta in ("2", "4")
)
WIDTHS = ("2", "8", "32")

QUESTIONS = (
    Question(
        "sampleable",
        ("ae", "vae"),
        ("hole_rate", "hole_rate_fitted", "prior_gap", "mse", "distortion"),
        (
            ("ae/hole_rate", "10 * vae/hole_rate"),
            ("ae/hole_rate_fitted", "3 * vae/hole_rate"),
            ("ae/prior_gap", "1.5 * vae/prior_gap"),
            ("vae/mse", "ae/mse"),
        ),
    ),
    Question(
        "holes",
        ("ae", "vae"),
        ("hole_rate", "hole_rate_fitted", "aggregate_images"),
        (("ae/hole_rate", "3 * vae/hole_rate"), ("0.1", "vae/hole_rate")),
    ),
    Question(
        "uncertainty",
        ("ae", "denoising_ae", "vae"),
        ("noise_gap", "path_length_linear", "longest_step_linear", "hole_rate", "mse"),
        (
            ("ae/noise_gap", "2 * vae/noise_gap"),
            ("ae/noise_gap", "1.5 * denoising_ae/noise_gap"),
            ("ae/path_length_linear", "denoising_ae/path_length_linear", "vae/path_length_linear"),
            ("denoising_ae/hole_rate", "10 * vae/hole_rate"),
            ("1.5", "vae/longest_step_linear"),
            ("1.5", "ae/longest_step_linear"),
        ),
        evaluation="paths",
    ),
    Question(
        "kl",
        ("0.001", "1", "20"),
        (*EVIDENCE, "elbo", "active_units"),
        (
            ("0.001/rate", "5 * 1/rate", "100 * 20/rate"),
            ("20/distortion", "1/distortion", "0.001/distortion"),
            ("0.001/hole_rate", "10 * 1/hole_rate"),
            ("1/elbo", "20/elbo", "0.001/elbo"),
            ("0.5", "20/shuffle_gap"),
        ),
    ),
    Question(
        "beta",
        BETAS,
        ("rate", "distortion", "elbo", "active_units", "total_correlation", "hole_rate"),
        (
            chain(BETAS, "rate"),
            chain(BETAS[::-1], "distortion"),
            ("0.1/active_units", "4/active_units"),
            ("1/elbo", "0.25/elbo", "0.1/elbo"),
            ("1/elbo", "2/elbo", "4/elbo"),
        ),
    ),
    Question(
        "gradient",
        WIDTHS,
        tuple(
            f"gradient_{name}"
            for name in (
                *("variance_reparametrised", "variance_score", "variance_score_baseline"),
                *("variance_ratio", "variance_ratio_baseline", "difference"),
            )
        ),
        (
            *((f"{width}/gradient_variance_ratio", "100") for width in WIDTHS),
            *((f"{width}/gradient_variance_ratio", f"{width}/gradient_variance_ratio_baseline", "2")
              for width in WIDTHS),
            *(("2", f"{width}/gradient_difference") for width in WIDTHS),
        ),
        evaluation="gradient_variance",
    ),
    Question(
        "smooth",
        SMOOTH,
        ("hole_rate", "aggregate_kl", "images_per_code", "path_length_linear", "noise_gap"),
        (
            chain(SMOOTH, "hole_rate"),
            chain(SMOOTH, "aggregate_kl"),
            chain(SMOOTH, "path_length_linear"),
            chain(SMOOTH, "noise_gap"),
            ("1/images_per_code", "0.5/images_per_code", "1.5 * 0.0001/images_per_code"),
        ),
        evaluation="paths",
    ),
    Question(
        "collapse",
        CURES,
        ("rate", "distortion", "objective", "active_units", "shuffle_gap", "verdict"),
        (
            ("0.5", "vae-2/rate"),
            ("0.5", "vae-2/shuffle_gap"),
            ("annealed_vae-2/shuffle_gap", "3"),
            ("vae-2/objective", "annealed_vae-2/objective"),
            ("0.5", "annealed_vae-4/rate"),
            ("free_bits_vae-4/objective", "1.1 * vae-4/objective"),
            ("target_rate_vae-4/objective", "1.1 * vae-4/objective"),
            ("free_bits_vae-2/shuffle_gap", "3"),
            ("free_bits_vae-4/shuffle_gap", "3"),
            ("12", "target_rate_vae-4/rate", "8"),
            ("target_rate_vae-4/shuffle_gap", "3"),
        ),
    ),
    Question(
        "structure",
        ("0.01", "1", "20"),
        ("mig", "probe_accuracy_x", "probe_accuracy_y", "probe_accuracy_shape", "hole_rate", "mse", "rate"),
        (
            *((f"20/probe_accuracy_{place}", f"1.3 * 1/probe_accuracy_{place}") for place in "xy"),
            ("1/probe_accuracy_shape", "20/probe_accuracy_shape"),
            ("0.01/hole_rate", "1/hole_rate", "3 * 20/hole_rate"),
            ("20/mse", "1/mse", "0.01/mse"),
            *(("0.1", f"{beta}/mig") for beta in ("0.01", "1", "20")),
        ),
        evaluation="factors",
    ),
)  # fmt: skip
