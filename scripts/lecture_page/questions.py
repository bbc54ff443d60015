"""The questions: what is run for each, which numbers are kept, and what must hold of them for the answer."""

from itertools import pairwise
from typing import NamedTuple

RANGE = "_range"  # a cell with both ends, <name>_low and <name>_high


class Further(NamedTuple):
    """A further sweep of a question, lecture-<question>-<name>."""

    name: str
    settings: str  # of its command
    runs: dict[str, str]  # the swept values, without seeds, by the names that the page gives the runs


class Question(NamedTuple):
    """A question of the lecture.

    A claim is a chain of numbers, each of which must exceed the next. A number is ``run/metric``, such a
    number with a factor, ``10 * run/metric``, a plain number, or a sum of these.
    """

    name: str  # conf/experiment/lecture/<name>.yaml, and the sweep lecture-<name>
    runs: tuple[str, ...]  # the swept values, as the page calls them
    table: tuple[str, ...]  # the metrics of a row of the page's table; bold with a * at the end
    others: tuple[str, ...]  # further metrics that are kept, for claims, pictures and sentences
    claims: tuple[tuple[str, ...], ...]
    evaluation: str = ""  # an option of conf/eval/lecture, if the runs are evaluated
    comparisons: tuple[str, ...] = ()  # names in comparisons.py, whose numbers are kept too
    seeds: tuple[int, ...] = (0,)  # swept where there are several
    further: tuple[Further, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are kept: names in test/ and eval/, and the derived ones of numbers.py."""
        names = [metric.rstrip("*") for metric in (*self.table, *self.others)]
        ends = ("_low", "_high")
        return tuple(
            name.removesuffix(RANGE) + end
            for name in names
            for end in (ends if name.endswith(RANGE) else ("",))
        )

    @property
    def commands(self) -> list[str]:
        """The commands that the page shows, and that are run."""
        train = f"vaelab-train experiment=lecture/{self.name}"
        evaluate = f"vaelab-evaluate lecture-{self.name} eval=lecture/{self.evaluation}"
        further = [
            f"vaelab-train {sweep.settings} sweep.name=lecture-{self.name}-{sweep.name}"
            for sweep in self.further
        ]
        return [train, evaluate, *further] if self.evaluation else [train, *further]


def significant(*names: str) -> tuple[tuple[str, str], ...]:
    """The claims that numbers are positive, by more than two of their standard errors."""
    return tuple((name, f"2 * {name}_se") for name in names)


def beyond(metric: str, *runs: str) -> tuple[tuple[str, str], ...]:
    """The claims that a metric falls from run to run by more than about two errors of the difference.

    For independent errors: 2 √(a² + b²) is at most 2 (a + b), and 1.5 (a + b) where they are about equal.
    """
    return tuple(
        (f"{a}/{metric}", f"{b}/{metric} + 1.5 * {a}/{metric}_se + 1.5 * {b}/{metric}_se")
        for a, b in pairwise(runs)
    )


def within(metric: str, a: str, b: str) -> tuple[tuple[str, str], ...]:
    """The claims that a metric of two runs differs by less than about two errors of the difference."""
    errors = f"1.5 * {a}/{metric}_se + 1.5 * {b}/{metric}_se"
    return (f"{a}/{metric} + {errors}", f"{b}/{metric}"), (f"{b}/{metric} + {errors}", f"{a}/{metric}")


def falling(runs: tuple[str, ...], metric: str) -> tuple[str, ...]:
    """The claim that a metric falls from run to run."""
    return tuple(f"{run}/{metric}" for run in runs)


SHARE = "noise_gap_share"
BETAS = ("0.1", "0.25", "0.5", "1", "2", "4")
SMOOTH = ("0.0001", "0.01", "0.1", "0.5", "1")
MODELS = ("vae", "annealed_vae", "free_bits_vae", "target_rate_vae")
WIDTHS = ("2", "8", "32")

QUESTIONS = (
    Question(
        "sampling",
        ("ae", "vae"),
        ("hole_rate*", "hole_rate_matched", "mse"),
        ("prior_gap", "distortion", "hole_rate_null", "aggregate_images"),
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
        ("hole_rate_matched*", "hole_rate"),
        ("hole_rate_null", "code_spread"),
        (
            ("ae/code_spread", "1.5"),
            ("ae/hole_rate_matched", "3 * vae/hole_rate_matched"),
            ("0.05", "vae/hole_rate_matched"),
            ("0.05", "ae/hole_rate"),
        ),
    ),
    Question(
        "noisy_codes",
        ("ae", "denoising_ae", "vae"),
        ("noise_gap*", "noise_gap_share", "path_length_linear", "hole_rate"),
        ("longest_step_linear", "mse"),
        (
            ("ae/noise_gap", "2 * vae/noise_gap"),
            *within("noise_gap_share", "ae", "vae"),
            *beyond("noise_gap_share", "ae", "denoising_ae"),
            *beyond("noise_gap_share", "vae", "denoising_ae"),
            *beyond("path_length_linear", "ae", "denoising_ae", "vae"),
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
        ("prior_gap", "constant_distortion"),
        (
            ("0.001/rate", "5 * 1/rate", "100 * 20/rate"),
            ("20/distortion", "1/distortion", "0.001/distortion"),
            ("0.001/hole_rate", "10 * 1/hole_rate"),
            ("1/elbo", "20/elbo", "0.001/elbo"),
            ("0.5", "20/shuffle_gap"),
            ("20/distortion", "20/constant_distortion"),
            *significant("20/above_constant"),
        ),
        comparisons=("constant",),
    ),
    Question(
        "raising_beta",
        BETAS,
        ("rate", "distortion", "elbo", "active_units", "hole_rate"),
        ("constant_distortion",),
        (
            falling(BETAS, "rate"),
            falling(BETAS[::-1], "distortion"),
            ("0.1/active_units", "2/active_units", "4/active_units"),
            ("0.1/hole_rate", "0.25/hole_rate", "0.5/hole_rate", "1/hole_rate"),
            *significant(*(f"{beta}/elbo_below_best" for beta in BETAS if beta != "1")),
            ("0.01", "1/elbo_below_best"),  # it is the best
            *significant(*(f"{beta}/own_lead" for beta in BETAS)),
            *significant("4/above_constant"),
            *(("0", f"{beta}/above_constant") for beta in BETAS[:-1]),
        ),
        comparisons=("betas", "constant"),
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
        ("images_per_code", "aggregate_kl_range", "path_length_linear*", "hole_rate"),
        (
            "noise_gap", "noise_gap_share", "rate", "mutual_information_low", "information_limit",
            "information_below_limit", "mixture", "aggregate_images",
        ),
        (
            *beyond("hole_rate", *SMOOTH),
            *beyond("path_length_linear", *SMOOTH[1:]),
            *within("path_length_linear", *SMOOTH[:2]),
            ("1/images_per_code", "0.5/images_per_code", "0.1/images_per_code", "0.01/images_per_code"),
            # the ranges of the aggregate KL that do not overlap, and those that do
            ("0.01/aggregate_kl_low", "0.5/aggregate_kl_high"),
            ("0.5/aggregate_kl_low", "1/aggregate_kl_high"),
            ("0.1/aggregate_kl_high", "0.01/aggregate_kl_low"),
            *(("1/aggregate_kl_high", f"{beta}/aggregate_kl_low") for beta in ("0.0001", "0.1")),
            # up to 0.1 the code's own posterior makes up more than half of the mixture (log 2 = 0.693)
            *(("0.693", f"{beta}/information_below_limit") for beta in SMOOTH[:3]),
            *((f"{beta}/information_below_limit", "0.693") for beta in SMOOTH[3:]),
            *((f"0.0001/{SHARE}", f"{beta}/{SHARE}") for beta in SMOOTH[1:]),
            *((f"{beta}/{SHARE}", f"0.1/{SHARE}") for beta in SMOOTH if beta != "0.1"),
            *((f"1.05 * {beta}/rate", f"{beta}/aggregate_kl_high + {beta}/information_limit", f"{beta}/rate")
              for beta in SMOOTH[:3]),
        ),
        evaluation="paths",
    ),
    Question(
        "collapse",
        tuple(f"{model}-{beta}" for model in MODELS for beta in ("2", "4")),
        ("rate", "active_units", "shuffle_gap*", "verdict"),
        ("distortion", "objective", "train_loss", "constant_distortion"),
        (
            ("0.5", "vae-2/rate"),
            ("0.5", "vae-2/shuffle_gap"),
            ("annealed_vae-2/shuffle_gap", "3"),
            ("annealed_vae-2/below_vae", "annealed_vae-2/below_vae_half"),
            ("annealed_vae-2/train_below_vae", "annealed_vae-2/train_below_vae_half"),
            ("0.5", "torch-annealed_vae-2/shuffle_gap"),
            ("0.5", "torch-annealed_vae-2/rate"),
            ("0.5", "annealed_vae-4/rate"),
            *((f"{run}-4/above_constant", "0") for run in MODELS),
            ("free_bits_vae-4/objective", "1.1 * vae-4/objective"),
            ("target_rate_vae-4/objective", "1.1 * vae-4/objective"),
            ("free_bits_vae-2/shuffle_gap", "3"),
            ("free_bits_vae-4/shuffle_gap", "3"),
            ("10.5", "target_rate_vae-4/rate", "9.5"),
            ("target_rate_vae-4/shuffle_gap", "3"),
        ),
        comparisons=("plain_vae", "constant"),
        seeds=(0, 1, 2, 3),
        further=(
            Further(
                "torch",
                "experiment=lecture/collapse network.init=torch model=vae,annealed_vae model.beta=2",
                {"torch-vae-2": "vae", "torch-annealed_vae-2": "annealed_vae"},
            ),
        ),
    ),
    Question(
        "factors",
        ("0.01", "1", "20"),
        ("probe_accuracy_x*", "probe_accuracy_shape", "mig", "hole_rate", "mse"),
        ("probe_accuracy_y", "rate", "hole_rate_null"),
        (
            *beyond("probe_accuracy_x", "20", "1"),
            *beyond("probe_accuracy_y", "20", "1"),
            *within("probe_accuracy_shape", "20", "1"),
            *(("0.42", f"{beta}/probe_accuracy_shape") for beta in ("0.01", "1", "20")),
            ("0.01/hole_rate", "1/hole_rate", "3 * 20/hole_rate"),
            ("20/mse", "1/mse", "0.01/mse"),
            *(("0.1", f"{beta}/mig") for beta in ("0.01", "1", "20")),
        ),
        evaluation="factors",
    ),
)  # fmt: skip


def question_named(name: str) -> Question:
    return next(question for question in QUESTIONS if question.name == name)
