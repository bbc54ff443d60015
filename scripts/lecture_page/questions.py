"""The questions: what is run for each, which numbers are kept, and what must hold of them for the answer."""

from typing import NamedTuple


class Question(NamedTuple):
    """A question of the lecture.

    A claim is a chain of numbers, each of which must exceed the next. A number is ``run/metric``, such a
    number with a factor, ``10 * run/metric``, or a plain number.
    """

    name: str  # conf/experiment/lecture/<name>.yaml, and the sweep lecture-<name>
    runs: tuple[str, ...]  # the swept values, as the page calls them
    table: tuple[str, ...]  # the metrics of a row of the page's table; bold with a * at the end
    others: tuple[str, ...]  # further metrics that are kept, for claims, pictures and sentences
    claims: tuple[tuple[str, ...], ...]
    evaluation: str = ""  # an option of conf/eval/lecture, if the runs are evaluated

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are kept: names in test/ and eval/, and the derived ones of numbers.py."""
        return tuple(metric.rstrip("*") for metric in self.table) + self.others

    @property
    def commands(self) -> list[str]:
        """The commands that the page shows, and that are run."""
        train = f"vaelab-train experiment=lecture/{self.name}"
        evaluate = f"vaelab-evaluate lecture-{self.name} eval=lecture/{self.evaluation}"
        return [train, evaluate] if self.evaluation else [train]


def falling(runs: tuple[str, ...], metric: str) -> tuple[str, ...]:
    """The claim that a metric falls from run to run."""
    return tuple(f"{run}/{metric}" for run in runs)


BETAS = ("0.1", "0.25", "0.5", "1", "2", "4")
SMOOTH = ("0.0001", "0.01", "0.1", "0.5", "1")
MODELS = ("vae", "annealed_vae", "free_bits_vae", "target_rate_vae")
WIDTHS = ("2", "8", "32")

QUESTIONS = (
    Question(
        "sampling",
        ("ae", "vae"),
        ("hole_rate*", "hole_rate_matched", "mse"),
        ("prior_gap", "distortion"),
        (
            ("ae/hole_rate", "10 * vae/hole_rate"),
            ("ae/hole_rate_matched", "3 * vae/hole_rate"),
            ("ae/prior_gap", "1.5 * vae/prior_gap"),
            ("vae/mse", "ae/mse"),
        ),
    ),
    Question(
        "holes",
        ("ae", "vae"),
        ("hole_rate*",),
        ("hole_rate_matched", "aggregate_images"),
        (("ae/hole_rate", "3 * vae/hole_rate"), ("0.1", "vae/hole_rate")),
    ),
    Question(
        "noisy_codes",
        ("ae", "denoising_ae", "vae"),
        ("noise_gap*", "noise_gap_share", "path_length_linear", "hole_rate"),
        ("longest_step_linear", "mse"),
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
        "kl_weight",
        ("0.001", "1", "20"),
        ("rate*", "distortion", "elbo", "active_units", "hole_rate", "shuffle_gap"),
        ("prior_gap",),
        (
            ("0.001/rate", "5 * 1/rate", "100 * 20/rate"),
            ("20/distortion", "1/distortion", "0.001/distortion"),
            ("0.001/hole_rate", "10 * 1/hole_rate"),
            ("1/elbo", "20/elbo", "0.001/elbo"),
            ("0.5", "20/shuffle_gap"),
        ),
    ),
    Question(
        "raising_beta",
        BETAS,
        ("rate", "distortion", "elbo", "active_units", "hole_rate"),
        ("total_correlation_low", "total_correlation_high"),
        (
            falling(BETAS, "rate"),
            falling(BETAS[::-1], "distortion"),
            ("0.1/active_units", "4/active_units"),
            ("1/elbo", "0.25/elbo", "0.1/elbo"),
            ("1/elbo", "2/elbo", "4/elbo"),
        ),
    ),
    Question(
        "reparametrisation",
        WIDTHS,
        ("gradient_variance_reparametrised", "gradient_variance_ratio*", "gradient_variance_ratio_baseline"),
        ("gradient_variance_score", "gradient_variance_score_baseline", "gradient_difference"),
        (
            *((f"{width}/gradient_variance_ratio", "100") for width in WIDTHS),
            *((f"{width}/gradient_variance_ratio", f"{width}/gradient_variance_ratio_baseline", "2")
              for width in WIDTHS),
            *(("2", f"{width}/gradient_difference") for width in WIDTHS),
        ),
        evaluation="gradient_variance",
    ),
    Question(
        "smooth_paths",
        SMOOTH,
        ("images_per_code", "aggregate_kl_low", "aggregate_kl_high", "path_length_linear*", "hole_rate"),
        ("noise_gap", "noise_gap_share"),
        (
            falling(SMOOTH, "hole_rate"),
            falling(SMOOTH, "aggregate_kl_high"),
            falling(SMOOTH, "path_length_linear"),
            falling(SMOOTH, "noise_gap"),
            ("1/images_per_code", "0.5/images_per_code", "1.5 * 0.0001/images_per_code"),
        ),
        evaluation="paths",
    ),
    Question(
        "collapse",
        tuple(f"{model}-{beta}" for model in MODELS for beta in ("2", "4")),
        ("rate", "active_units", "shuffle_gap*", "verdict"),
        ("distortion", "objective"),
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
        "factors",
        ("0.01", "1", "20"),
        ("probe_accuracy_x*", "probe_accuracy_shape", "mig", "hole_rate", "mse"),
        ("probe_accuracy_y", "rate"),
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
